//! `os`: which distribution this is, from /etc/os-release or /usr/lib/os-release (os-release(5)), which is read again when it changed.

use super::files::{Buffer, read_once};
use super::{Collector, Fail, Settings};
use crate::format::civil::days_of;
use crate::model::samples::{Kind, Samples};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Labels, which are the file's names in small letters.
const LABELS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

pub(super) struct Os {
    paths: [PathBuf; 2],
    /// Which file it was: path, inode, time of its last change.
    read: Option<(usize, u64, i64, i64)>,
    values: [String; LABELS.len()],
    version: Option<f64>,
    support_end: Option<f64>,
    buffer: Buffer,
}

impl Os {
    pub(super) fn new(settings: &Settings) -> Os {
        Os {
            paths: ["/etc/os-release", "/usr/lib/os-release"].map(|path| settings.roots.rootfs(path)),
            read: None,
            values: Default::default(),
            version: None,
            support_end: None,
            buffer: Buffer::default(),
        }
    }

    fn parse(&mut self, number: usize) -> Result<(), Fail> {
        let Some(path) = self.paths.get(number) else { return Err(Fail::NoData) };
        let bytes = read_once(path, &mut self.buffer).map_err(|error| Fail::io(path, error))?;
        let content = String::from_utf8_lossy(bytes);
        self.values = Default::default();
        self.version = None;
        self.support_end = None;
        for line in content.lines() {
            let Some((name, value)) = line.trim().split_once('=') else { continue };
            let value = unquoted(value);
            match name {
                "VERSION_ID" => self.version = leading_number(&value),
                "SUPPORT_END" => self.support_end = day(&value),
                _ => {}
            }
            if let Some(at) = LABELS.iter().position(|label| label.eq_ignore_ascii_case(name))
                && let Some(place) = self.values.get_mut(at)
            {
                *place = value;
            }
        }
        Ok(())
    }

    fn value(&self, label: &str) -> &str {
        let at = LABELS.iter().position(|known| *known == label);
        at.and_then(|at| self.values.get(at)).map_or("", String::as_str)
    }
}

/// A value as a shell would read it.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    if let Some(value) = quoted('\'') {
        return value.to_owned();
    }
    let mut out = String::new();
    let mut escaped = false;
    for c in quoted('"').unwrap_or(value).chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(c);
        }
    }
    out
}

/// `22.04` of 22.04.1, `12` of 12.
fn leading_number(version: &str) -> Option<f64> {
    let mut points = 0;
    let end = version.find(|c: char| {
        points += u32::from(c == '.');
        !(c.is_ascii_digit() || c == '.' && points == 1)
    });
    version.get(..end.unwrap_or(version.len()))?.trim_end_matches('.').parse().ok()
}

/// The first moment of a day, 2026-05-13, in seconds since 1970.
fn day(text: &str) -> Option<f64> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let known = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    known.then(|| (days_of(year, month, day) * 86_400) as f64)
}

impl Collector for Os {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let found = self.paths.iter().enumerate().find_map(|(at, path)| {
            let found = std::fs::metadata(path).ok()?;
            Some((at, found.ino(), found.mtime(), found.mtime_nsec()))
        });
        let Some(found) = found else { return Err(Fail::NoData) };
        if self.read != Some(found) {
            self.parse(found.0)?;
            self.read = Some(found);
        }
        out.family("node_os_info", "Which distribution this is.", Kind::Gauge);
        let mut labels = LABELS.map(|label| (label, ""));
        for (label, value) in labels.iter_mut().zip(&self.values) {
            label.1 = value;
        }
        out.add(&labels, 1.0);
        if let Some(end) = self.support_end {
            out.one(
                "node_os_support_end_timestamp_seconds",
                "When it is supported no longer, seconds since 1970.",
                Kind::Gauge,
                end,
            );
        }
        if let Some(version) = self.version {
            out.family("node_os_version", "The distribution's version, as far as it is a number.", Kind::Gauge);
            let labels = ["id", "id_like", "name"].map(|label| (label, self.value(label)));
            out.add(&labels, version);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(
            (unquoted("\"a \\\"b\\\"\""), unquoted("'a b'"), unquoted("x")),
            ("a \"b\"".into(), "a b".into(), "x".into())
        );
        assert_eq!(
            (leading_number("22.04.1"), leading_number("12"), leading_number("9.x")),
            (Some(22.04), Some(12.0), Some(9.0))
        );
        assert_eq!((leading_number("rolling"), leading_number("")), (None, None));
        assert_eq!((day("2026-05-13"), day("2026-13-01"), day("soon")), (Some(1_778_630_400.0), None, None));
    }
}
