//! Relabelling of series: `metric_relabel_configs` and `write_relabel_configs`.
//!
//! It is done once a series, when its labels are made for the first time, and kept with them (`format/remote_write/cache`).
//!
//! Promises: what comes out is a series as Prometheus would store it, or none. Labels with `__` at the beginning stay, as they do there. Leaves to
//! others: when it is done, and what becomes of a scrape with a series that has no name any more.

use super::{Rules, Scratch};
use crate::format::remote_write::labels::{LabelSet, NAME};
use crate::pipeline::label_map::LabelMap;

/// What rules make of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has the labels that are in the set now.
    Kept,
    /// A rule drops it, or took all its labels.
    Dropped,
    /// It has labels, but no name, or one that is none: Prometheus then refuses the whole scrape.
    NoName,
}

impl Rules {
    /// Applies the rules to the labels of a series, its name (`__name__`) among them. `map` is memory to work in.
    pub fn apply_to_series(&self, set: &mut LabelSet, map: &mut LabelMap, scratch: &mut Scratch) -> Outcome {
        if self.is_empty() {
            return Outcome::Kept;
        }
        map.clear();
        for (name, value) in set.iter() {
            map.set(name, value);
        }
        if !self.apply(map, scratch) || map.is_empty() {
            return Outcome::Dropped;
        }
        let mut name = map.get(NAME).bytes();
        let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
        if !name.next().is_some_and(letter) || !name.all(|byte| letter(byte) || byte.is_ascii_digit()) {
            return Outcome::NoName;
        }
        set.clear();
        for (name, value) in map.iter() {
            set.set(name, value);
        }
        Outcome::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::relabel::{Action, Settings};

    fn rule(action: Action, source: &str, regex: &str, target: &str, replacement: &str) -> Settings {
        Settings {
            action,
            source_labels: if source.is_empty() { vec![] } else { vec![source.into()] },
            regex: Some(regex.into()),
            target_label: target.into(),
            replacement: (!replacement.is_empty()).then(|| replacement.into()),
            ..Settings::default()
        }
    }

    #[track_caller]
    fn assert_becomes(rules: &[Settings], key: &[u8], expected: Result<&[(&str, &str)], Outcome>) {
        let rules = Rules::compile(rules).unwrap();
        let (mut set, mut map, mut scratch) = (LabelSet::default(), LabelMap::new(), rules.scratch());
        set.set_key(key);
        let outcome = rules.apply_to_series(&mut set, &mut map, &mut scratch);
        let mut labels: Vec<_> = set.iter().collect();
        labels.sort_unstable();
        match expected {
            Ok(expected) => assert_eq!((outcome, &labels[..]), (Outcome::Kept, expected)),
            Err(expected) => assert_eq!(outcome, expected),
        }
    }

    #[test]
    fn rules_see_the_name_and_the_labels() {
        let key = b"go_gc_seconds\xffa\xff1\xffempty\xff\xffb\xff2\xff";
        let as_is = [("__name__", "go_gc_seconds"), ("a", "1"), ("b", "2")];
        assert_becomes(&[], key, Ok(&as_is));
        assert_becomes(&[rule(Action::Drop, "__name__", "go_.*", "", "")], key, Err(Outcome::Dropped));
        assert_becomes(&[rule(Action::Keep, "__name__", "go_.*", "", "")], key, Ok(&as_is));
        assert_becomes(&[rule(Action::Keep, "a", "2", "", "")], key, Err(Outcome::Dropped));
        let renamed = [("__name__", "gc_seconds"), ("a", "1"), ("b", "2")];
        assert_becomes(&[rule(Action::Replace, "__name__", "go_(.*)", "__name__", "$1")], key, Ok(&renamed));
        let tmp = [("__name__", "go_gc_seconds"), ("__tmp", "1"), ("b", "2")];
        let rules = [rule(Action::Replace, "a", "(.*)", "__tmp", "$1"), rule(Action::LabelDrop, "", "a", "", "")];
        assert_becomes(&rules, key, Ok(&tmp));
    }

    #[test]
    fn a_series_without_a_name_is_told() {
        let key = b"up\xffa\xff1\xff";
        assert_becomes(&[rule(Action::LabelDrop, "", "__name__", "", "")], key, Err(Outcome::NoName));
        assert_becomes(&[rule(Action::LabelDrop, "", ".*", "", "")], key, Err(Outcome::Dropped));
        assert_becomes(&[rule(Action::Replace, "a", "(.*)", "__name__", "$1")], key, Err(Outcome::NoName));
        assert_becomes(
            &[rule(Action::Replace, "a", "(.*)", "__name__", "x:$1")],
            key,
            Ok(&[("__name__", "x:1"), ("a", "1")]),
        );
        assert_becomes(&[rule(Action::Replace, "a", "(.*)", "__name__", "x.$1")], key, Err(Outcome::NoName));
    }
}
