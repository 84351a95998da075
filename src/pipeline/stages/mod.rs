//! The stages, one file each: what it is for, what it takes, what it does, its tests.
//!
//! Promises: a stage whose source is missing changes nothing; none panics. Leaves to others: the order (`program`), names and settings (`compile`).

pub(super) mod cri;
pub(super) mod decolorize;
pub(super) mod docker;
pub(super) mod drop;
#[cfg(feature = "geoip")]
pub(super) mod geoip;
pub(super) mod json;
pub(super) mod labels;
pub(super) mod limit;
pub(super) mod logfmt;
pub(super) mod matching;
pub(super) mod metadata;
pub(super) mod metrics;
pub(super) mod multiline;
pub(super) mod output;
pub(super) mod pack;
pub(super) mod partial;
pub(super) mod redact;
pub(super) mod regex;
pub(super) mod replace;
pub(super) mod sampling;
pub(super) mod template;
pub(super) mod tenant;
pub(super) mod timestamp;

use super::entry::Entry;
use super::keys::{Key, Label};
use super::program::{Context, Flow};
use std::fmt::Debug;

/// One compiled stage.
pub(super) trait Stage: Debug + Send {
    /// Does its work on an entry.
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow;

    /// Leaves out what nobody reads: `is_read` knows all readers of the program.
    fn prune(&mut self, is_read: &dyn Fn(Key) -> bool) {
        let _ = is_read;
    }

    /// Says where to go on with what does not go through the nested stages that follow.
    fn pass_over_to(&mut self, step: usize) {
        let _ = step;
    }

    /// Labels that an earlier stage may have set, with the keys of their names, if this stage or a later one reads them.
    fn see_labels(&mut self, labels: &mut dyn Iterator<Item = (Label, Key)>) {
        let _ = labels;
    }

    /// Whether it may put entries aside.
    fn holds(&self) -> bool {
        false
    }

    /// Until when no more should be read, because more than the rate went through; nanoseconds since 1970.
    fn wait_until_ns(&self) -> Option<i64> {
        None
    }
}

/// Runs single stages in tests.
#[cfg(test)]
pub(super) mod bench {
    use super::*;
    use crate::model::labels::Labels;
    use crate::pipeline::entry::Work;
    use crate::pipeline::keys::Names;
    use crate::pipeline::program::LabelNames;
    use crate::pipeline::state::State;
    use std::sync::Arc;

    /// The time at which lines are read here.
    pub const NOW_NS: i64 = 1_000;

    /// Names `0` to `15` for keys, `l0` to `l15` for labels.
    fn names() -> Names {
        let mut names = Names::default();
        for number in 0..16 {
            names.key(&number.to_string()).unwrap();
            names.label(&format!("l{number}")).unwrap();
        }
        names
    }

    /// A stage on one line, with keys that were extracted before; what it says, and what `look` sees of the entry afterwards. The source has the
    /// label `l15="base"`.
    pub fn once<R>(
        stage: &mut dyn Stage,
        line: &str,
        extracted: &[(Key, &str)],
        look: impl FnOnce(&Entry<'_>) -> R,
    ) -> (Flow, R) {
        at(stage, &mut State::default(), NOW_NS, line, extracted, look)
    }

    /// The same at another time, with what is remembered.
    pub fn at<R>(
        stage: &mut dyn Stage,
        state: &mut State,
        now_ns: i64,
        line: &str,
        extracted: &[(Key, &str)],
        look: impl FnOnce(&Entry<'_>) -> R,
    ) -> (Flow, R) {
        let labels = LabelNames { names: names(), ..LabelNames::default() };
        let mut work = Work::new(Arc::new(Labels::new([("l15", "base")]).unwrap()), 0, &labels.names);
        let mut entry = Entry::begin(line, now_ns, &mut work);
        for (key, text) in extracted {
            let value = entry.push(text);
            entry.extract(*key, Some(value));
        }
        let mut stream = Vec::new();
        let mut context = Context { state, at: 0, now_ns, stream: &mut stream, labels: &labels, line_bytes: 1_000 };
        let flow = stage.run(&mut entry, &mut context);
        (flow, look(&entry))
    }
}
