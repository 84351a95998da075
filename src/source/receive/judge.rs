//! Which entries of a push Loki would not take, for their labels: its sender is told, so that nothing is dropped, and no stream becomes another one,
//! after an answer that it is taken.
//!
//! Promises: judges as the source's rules do when the record is read; what a rule drops is meant to be dropped, and is no fault. Leaves to others:
//! what stages do to labels.

use crate::model::labels::{LabelCaps, Labels};
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{self, RelabelError, Rules, Scratch};

/// What labels entries of a source have, whatever is pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct Naming {
    /// Stages may give them labels.
    pub is_given: bool,
    /// Stages may take labels from them.
    pub is_taken: bool,
    /// Labels that the rules see beside those of a push.
    pub own: Labels,
    /// Labels that the rules do not see.
    pub outer: Labels,
    /// The rules. They compile.
    pub relabel: Vec<relabel::Settings>,
    /// What Loki takes of labels.
    pub caps: LabelCaps,
}

/// Compiled.
#[derive(Debug)]
pub(super) struct Judge {
    naming: Naming,
    rules: Rules,
}

impl Judge {
    pub(super) fn new(naming: &Naming) -> Result<Self, RelabelError> {
        Ok(Judge { rules: Rules::compile(&naming.relabel)?, naming: naming.clone() })
    }

    /// For the streams of one push.
    pub(super) fn of_push(&self) -> Judging<'_> {
        Judging { judge: self, map: LabelMap::new(), scratch: self.rules.scratch() }
    }
}

/// Space for judging.
pub(super) struct Judging<'a> {
    judge: &'a Judge,
    map: LabelMap,
    scratch: Scratch,
}

impl Judging<'_> {
    /// Why Loki would not take an entry with these labels and the source's own; `None`: it would, or a rule drops it.
    pub(super) fn fault<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
        let Judging { judge: Judge { naming, rules }, map, scratch } = self;
        map.clear();
        for (name, value) in labels {
            map.set(name, value);
        }
        for (name, value) in naming.own.iter() {
            map.set(name, value);
        }
        if !rules.apply(map, scratch) {
            return None;
        }
        map.drop_internal();
        let all = || naming.outer.iter().chain(map.iter());
        let (labels, repairs) = Labels::capped(all(), naming.caps);
        if labels.is_empty() && !naming.is_given {
            let why = "a stream has no labels that Loki takes, and the source has none for it: send some, or give the source `labels`";
            return Some(why.to_owned());
        }
        if repairs.is_empty() || naming.is_taken {
            return None;
        }
        Some(Labels::within(all(), naming.caps).err()?.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming() -> Naming {
        let none = Labels::default;
        let caps = LabelCaps { count: 2, name_bytes: 4, value_bytes: 3 };
        Naming { is_given: false, is_taken: false, own: none(), outer: none(), relabel: Vec::new(), caps }
    }

    fn fault(naming: &Naming, labels: &[(&str, &str)]) -> String {
        Judge::new(naming).unwrap().of_push().fault(labels.iter().copied()).unwrap_or_default()
    }

    #[test]
    fn what_is_left_of_labels_is_what_counts() {
        for bare in [&[][..], &[("__a", "x")], &[("a", "")]] {
            assert!(fault(&naming(), bare).contains("no labels"), "{bare:?}");
        }
        assert_eq!(fault(&naming(), &[("a", "b")]), "");
        let label = Labels::new([("job", "p")]).unwrap();
        for sure in [
            Naming { is_given: true, ..naming() },
            Naming { own: label.clone(), ..naming() },
            Naming { outer: label.clone(), ..naming() },
        ] {
            assert_eq!(fault(&sure, &[]), "");
        }
    }

    #[test]
    fn labels_that_would_be_cut_or_left_out_are_a_fault_unless_stages_take_some() {
        let many: &[(&str, &str)] = &[("a", "1"), ("b", "2"), ("c", "3")];
        for (labels, word) in [
            (many, "3 labels, Loki takes 2"),
            (&[("a", "1234")], "longer than 3 bytes"),
            (&[("abcde", "1")], "longer than 4 bytes"),
        ] {
            let said = fault(&naming(), labels);
            assert!(said.contains(word), "{said}");
            assert_eq!(fault(&Naming { is_taken: true, ..naming() }, labels), "");
        }
        let outer = Labels::new([("x", "y")]).unwrap();
        let said = fault(&Naming { outer, ..naming() }, &many[..2]);
        assert!(said.contains("3 labels"), "{said}");
    }
}
