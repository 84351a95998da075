//! Which entries are wanted: `matches`, `units`, `priority`, and not those of the agent's own unit.
//!
//! Promises: what `journalctl` would show for the same words, and nothing is allocated for an entry. Leaves to others: relabelling, stages.

use super::settings::{Match, Settings};
use crate::format::journal::Fields;
use globset::{GlobBuilder, GlobMatcher};

/// A field, and the values of which it has to have one.
type OneOf = (Box<[u8]>, Vec<Box<[u8]>>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Alternatives; of each all have to hold.
    matches: Vec<Vec<OneOf>>,
    units: Option<Units>,
    priority: Option<(u8, u8)>,
    /// A field and its value by which entries of the agent itself are known.
    own: Option<(&'static [u8], Box<[u8]>)>,
}

#[derive(Debug)]
struct Units {
    exact: Vec<Box<[u8]>>,
    globs: Vec<GlobMatcher>,
}

/// What journald says of a unit's own entries, and what systemd and its helpers say of others.
const UNIT: &[u8] = b"_SYSTEMD_UNIT";
/// The id of messages that processes have dumped core.
const COREDUMP: &[u8] = b"fc2e22bc6ee647b6b90729ab34a250b1";
const UNIT_FIELDS: [&str; 7] =
    ["_SYSTEMD_UNIT", "UNIT", "_PID", "_UID", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT", "MESSAGE_ID"];

impl Filter {
    /// `own`: the field and value that [`own_unit`] found.
    pub(super) fn new(settings: &Settings, own: Option<(&'static [u8], Box<[u8]>)>) -> Filter {
        Filter {
            matches: settings.matches.iter().map(|all| group(all)).collect(),
            units: (!settings.units.is_empty()).then(|| Units::new(&settings.units)),
            priority: settings.priority,
            own: own.filter(|_| !settings.own_unit),
        }
    }

    /// The fields that it looks at.
    pub(super) fn fields(&self) -> Vec<String> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let mut names: Vec<String> = self.matches.iter().flatten().map(|(field, _)| text(field)).collect();
        names.extend(self.own.iter().map(|(field, _)| text(field)));
        if self.units.is_some() {
            names.extend(UNIT_FIELDS.map(str::to_owned));
        }
        if self.priority.is_some() {
            names.push("PRIORITY".to_owned());
        }
        names
    }

    /// Whether an entry is wanted.
    pub(super) fn admits(&self, fields: &Fields) -> bool {
        let has = |field: &[u8], value: &[u8]| fields.iter().any(|(f, v)| f == field && v == value);
        if let Some((field, value)) = &self.own
            && has(field, value)
        {
            return false;
        }
        if let Some((from, to)) = self.priority
            && !priority(fields).is_some_and(|priority| (from..=to).contains(&priority))
        {
            return false;
        }
        if let Some(units) = &self.units
            && !units.admit(fields)
        {
            return false;
        }
        let one_of = |(field, values): &OneOf| values.iter().any(|value| has(field, value));
        self.matches.is_empty() || self.matches.iter().any(|all| all.iter().all(one_of))
    }
}

/// An entry's priority, 0 to 7.
pub(super) fn priority(fields: &Fields) -> Option<u8> {
    match fields.get(b"PRIORITY")? {
        [digit @ b'0'..=b'7'] => Some(digit - b'0'),
        _ => None,
    }
}

/// Conditions on one field come together.
fn group(all: &[Match]) -> Vec<OneOf> {
    let mut grouped: Vec<OneOf> = Vec::new();
    for Match { field, value } in all {
        let value = value.as_bytes().into();
        match grouped.iter_mut().find(|(known, _)| **known == *field.as_bytes()) {
            Some((_, values)) => values.push(value),
            None => grouped.push((field.as_bytes().into(), vec![value])),
        }
    }
    grouped
}

impl Units {
    fn new(names: &[String]) -> Units {
        let mut units = Units { exact: Vec::new(), globs: Vec::new() };
        for name in names {
            let glob = GlobBuilder::new(name).build().ok().filter(|_| name.contains(['*', '?', '[']));
            match glob {
                Some(glob) => units.globs.push(glob.compile_matcher()),
                None => units.exact.push(name.as_bytes().into()),
            }
        }
        units
    }

    fn has(&self, name: &[u8]) -> bool {
        let is_like = |glob: &GlobMatcher| std::str::from_utf8(name).is_ok_and(|name| glob.is_match(name));
        self.exact.iter().any(|exact| **exact == *name) || self.globs.iter().any(is_like)
    }

    /// As `journalctl --unit`: what the unit says, and what those say of it who may.
    fn admit(&self, fields: &Fields) -> bool {
        let names = |field: &[u8]| fields.get(field).is_some_and(|name| self.has(name));
        let is = |field: &[u8], value: &[u8]| fields.get(field) == Some(value);
        names(UNIT)
            || (names(b"UNIT") && is(b"_PID", b"1"))
            || (is(b"_UID", b"0")
                && (names(b"OBJECT_SYSTEMD_UNIT") || (names(b"COREDUMP_UNIT") && is(b"MESSAGE_ID", COREDUMP))))
    }
}

/// By which field and value journald knows the process with this `/proc/PID/cgroup`, if it is a service.
pub(super) fn own_unit(cgroup: &str) -> Option<(&'static [u8], Box<[u8]>)> {
    // `0::/system.slice/lugger.service`; the other lines are of the older hierarchies.
    let path =
        cgroup.lines().find_map(|line| line.strip_prefix("0::").or_else(|| line.split(":name=systemd:").nth(1)))?;
    let mut services = path.split('/').filter(|part| part.ends_with(".service"));
    let first = services.next()?;
    if !first.starts_with("user@") {
        return Some((UNIT, first.as_bytes().into()));
    }
    // A service of a user's own manager: the system's unit is all that the user runs.
    services.next().map(|unit| (&b"_SYSTEMD_USER_UNIT"[..], unit.as_bytes().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_unit_is_the_service_of_the_process() {
        let own = |text: &str| {
            own_unit(text).map(|(field, value)| {
                (String::from_utf8(field.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap())
            })
        };
        let some = |field: &str, value: &str| Some((field.to_owned(), value.to_owned()));
        assert_eq!(own("0::/system.slice/lugger.service\n"), some("_SYSTEMD_UNIT", "lugger.service"));
        assert_eq!(own("0::/system.slice/system-a.slice/a@b.service/sub"), some("_SYSTEMD_UNIT", "a@b.service"));
        assert_eq!(own("1:name=systemd:/system.slice/x.service\n"), some("_SYSTEMD_UNIT", "x.service"));
        let user = "0::/user.slice/user-7.slice/user@7.service/app.slice/lugger.service";
        assert_eq!(own(user), some("_SYSTEMD_USER_UNIT", "lugger.service"));
        for none in
            ["0::/user.slice/user-7.slice/session-1.scope", "0::/", "", "0::/user.slice/user@7.service/init.scope"]
        {
            assert_eq!(own(none), None, "{none}");
        }
    }
}
