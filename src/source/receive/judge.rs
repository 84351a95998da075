//! Which entries of a push would be left without labels: Loki takes no such stream, so that its sender is told, and nothing is dropped after an answer
//! that it is taken.
//!
//! Promises: judges as the source's rules do when the record is read; what a rule drops is meant to be dropped, and is no fault. Leaves to others:
//! what stages do to labels.

use crate::model::labels::{LabelCaps, Labels};
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{self, RelabelError, Rules, Scratch};

/// What labels entries of a source have, whatever is pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct Naming {
    /// All have some: rules do not see them.
    pub is_sure: bool,
    /// Labels that the rules see beside those of a push.
    pub own: Labels,
    /// The rules. They compile.
    pub relabel: Vec<relabel::Settings>,
    /// What Loki takes of labels.
    pub caps: LabelCaps,
}

/// Compiled.
#[derive(Debug)]
pub(super) struct Judge {
    is_sure: bool,
    own: Labels,
    rules: Rules,
    caps: LabelCaps,
}

impl Judge {
    pub(super) fn new(naming: &Naming) -> Result<Self, RelabelError> {
        let rules = Rules::compile(&naming.relabel)?;
        Ok(Judge { is_sure: naming.is_sure, own: naming.own.clone(), rules, caps: naming.caps })
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
    /// Whether nothing is left of these labels and the source's own, of an entry that no rule drops.
    pub(super) fn is_bare<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
        let Judging { judge, map, scratch } = self;
        if judge.is_sure {
            return false;
        }
        map.clear();
        for (name, value) in labels {
            map.set(name, value);
        }
        for (name, value) in judge.own.iter() {
            map.set(name, value);
        }
        if !judge.rules.apply(map, scratch) {
            return false;
        }
        map.drop_internal();
        Labels::capped(map.iter(), judge.caps).0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_labels_is_what_counts() {
        let naming = Naming { is_sure: false, own: Labels::default(), relabel: Vec::new(), caps: LabelCaps::default() };
        let judge = Judge::new(&naming).unwrap();
        let mut judging = judge.of_push();
        for bare in [&[][..], &[("__a", "x")], &[("a", "")]] {
            assert!(judging.is_bare(bare.iter().copied()), "{bare:?}");
        }
        assert!(!judging.is_bare([("a", "b")].into_iter()));
        let sure = Judge::new(&Naming { is_sure: true, ..naming.clone() }).unwrap();
        assert!(!sure.of_push().is_bare(std::iter::empty()));
        let own = Labels::new([("job", "p")]).unwrap();
        let own = Judge::new(&Naming { own, ..naming }).unwrap();
        assert!(!own.of_push().is_bare(std::iter::empty()));
    }
}
