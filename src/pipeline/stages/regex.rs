//! `regex`: the named groups of a regular expression become extracted keys.
//!
//! ```yaml
//! - regex: { expression: '^(?P<ip>\S+) .* "(?P<method>\S+)', source: message }    # without source: the entry's text
//! ```
//!
//! Where the expression does not match, nothing changes. A group that took no part in a match is empty, as in Promtail. Groups that no other
//! stage reads are not looked for: a search that has to find fewer groups is several times faster.

use super::Stage;
use crate::model::value::Value;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};
use regex::{CaptureLocations, Regex};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Groups {
    regex: Regex,
    source: Option<Key>,
    /// Number of the group, and its key; side by side.
    groups: Vec<usize>,
    keys: Vec<Key>,
    /// Groups that become labels, by their keys.
    labels: Vec<(Label, Key)>,
    places: CaptureLocations,
}

impl Groups {
    /// `groups`: numbers of the expression's groups, with their keys. `labels`: keys of groups that become labels.
    pub(in crate::pipeline) fn new(
        regex: Regex,
        source: Option<Key>,
        groups: Vec<(usize, Key)>,
        labels: Vec<(Label, Key)>,
    ) -> Self {
        let places = regex.capture_locations();
        let (groups, keys) = groups.into_iter().unzip();
        Groups { regex, source, groups, keys, labels, places }
    }
}

impl Stage for Groups {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        let source = match self.source {
            Some(key) => entry.extracted(key),
            None => Some(entry.line),
        };
        let Some(source) = source else { return Flow::Next };
        let Groups { regex, groups, keys, labels, places, .. } = self;
        if keys.is_empty() {
            return Flow::Next;
        }
        let matches = entry.look_into(source, keys, |text, _, found| {
            if regex.captures_read(places, text).is_none() {
                return false;
            }
            for (group, found) in groups.iter().zip(found) {
                let (start, end) = places.get(*group).unwrap_or((0, 0));
                *found = Some(Value::in_line(start..end));
            }
            true
        });
        if matches {
            for (label, key) in labels {
                if let Some(value) = entry.extracted(*key) {
                    entry.set_label(*label, value);
                }
            }
        }
        Flow::Next
    }

    fn prune(&mut self, is_read: &dyn Fn(Key) -> bool) {
        let kept: Vec<(usize, Key)> =
            self.groups.iter().copied().zip(self.keys.iter().copied()).filter(|(_, key)| is_read(*key)).collect();
        (self.groups, self.keys) = kept.into_iter().unzip();
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    fn stage(expression: &str, source: Option<Key>) -> Groups {
        let regex = Regex::new(expression).unwrap();
        let groups = regex.capture_names().enumerate().filter(|(_, name)| name.is_some()).map(|(i, _)| i);
        let groups = groups.zip((0u16..).map(Key)).collect();
        Groups::new(regex, source, groups, vec![(Label(0), Key(0))])
    }

    fn two(entry: &Entry<'_>) -> (Option<String>, Option<String>) {
        let text = |key| entry.extracted_text(Key(key)).map(str::to_owned);
        (text(0), text(1))
    }

    #[test]
    fn groups_become_keys() {
        let mut groups = stage(r"(?P<a>\d+) (?:x|(?P<b>y))", None);
        assert_eq!(once(&mut groups, "12 y", &[], two).1, (Some("12".into()), Some("y".into())));
        assert_eq!(once(&mut groups, "12 x", &[], two).1, (Some("12".into()), Some(String::new())));
        assert_eq!(once(&mut groups, "no", &[(Key(0), "old")], two).1, (Some("old".into()), None));
        let label = |entry: &Entry<'_>| entry.label_text(Label(0)).to_owned();
        assert_eq!(once(&mut groups, "12 y", &[], label).1, "12");
        assert_eq!(once(&mut groups, "no", &[(Key(0), "old")], label).1, "");
    }

    #[test]
    fn another_source_and_pruning() {
        let mut groups = stage(r"(?P<a>\w)(?P<b>\w)", Some(Key(5)));
        assert_eq!(once(&mut groups, "12", &[], two).1, (None, None));
        assert_eq!(once(&mut groups, "12", &[(Key(5), "xy")], two).1, (Some("x".into()), Some("y".into())));
        groups.prune(&|key| key == Key(1));
        assert_eq!(once(&mut groups, "12", &[(Key(5), "xy")], two).1, (None, Some("y".into())));
    }
}
