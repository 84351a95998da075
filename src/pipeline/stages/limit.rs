//! `limit`: no more than so many entries a second.
//!
//! ```yaml
//! - limit: { rate: 10, burst: 100, drop: true, by_label_name: app, max_distinct_labels: 10000 }
//! ```
//!
//! With `drop` entries over the rate are dropped; without it nothing is lost: reading of the source waits until the rate has caught up. Time is the
//! time at which lines were read. Lines that are sent again are not dropped, whether they came through the first time or not.
//! `by_label_name` gives each value of a label a rate of its own; it works with `drop` only.

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Label;
use crate::pipeline::program::{Context, Flow};
use foldhash::{HashMap, HashMapExt};

/// Entries a second, with a burst. May be in debt.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at_ns: i64,
}

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Limit {
    rate: f64,
    burst: f64,
    drops: bool,
    by: Option<Label>,
    distinct: usize,
    reason: u16,
    whole: Option<Bucket>,
    each: HashMap<Box<str>, Bucket>,
}

impl Limit {
    /// `rate` entries a second, above 0; `drops`: what is over it is dropped.
    pub(in crate::pipeline) fn new(rate: f64, burst: u64, drops: bool, reason: u16) -> Self {
        let each = HashMap::new();
        Limit { rate, burst: burst.max(1) as f64, drops, by: None, distinct: 0, reason, whole: None, each }
    }

    /// A rate for each value of a label, of which `distinct` are told apart.
    pub(in crate::pipeline) fn by(self, label: Label, distinct: usize) -> Self {
        Limit { by: Some(label), distinct: distinct.max(1), ..self }
    }
}

impl Stage for Limit {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let full = Bucket { tokens: self.burst, at_ns: context.now_ns };
        let bucket = match self.by {
            None => self.whole.get_or_insert(full),
            Some(label) => {
                // An entry without the label is not limited.
                let Some(value) = entry.label(label) else { return Flow::Next };
                let text = entry.text(value);
                if !self.each.contains_key(text) {
                    if self.each.len() >= self.distinct {
                        // As if they had been idle: a bounded memory forgets who was busy.
                        self.each.clear();
                    }
                    self.each.insert(text.into(), full);
                }
                match self.each.get_mut(text) {
                    Some(bucket) => bucket,
                    None => return Flow::Next,
                }
            }
        };
        let passed = context.now_ns.saturating_sub(bucket.at_ns).max(0) as f64 / 1e9;
        bucket.tokens = (bucket.tokens + passed * self.rate).min(self.burst);
        bucket.at_ns = context.now_ns;
        if self.drops && bucket.tokens < 1.0 {
            // What was sent before went through then, whoever used up the rate since.
            return if context.state.is_replayed() { Flow::Next } else { Flow::Drop(self.reason) };
        }
        bucket.tokens -= 1.0;
        Flow::Next
    }

    fn wait_until_ns(&self) -> Option<i64> {
        let bucket = self.whole.filter(|bucket| !self.drops && bucket.tokens < 0.0)?;
        // A cast from f64 saturates.
        Some(bucket.at_ns.saturating_add((-bucket.tokens / self.rate * 1e9) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::{NOW_NS, at, once};
    use super::super::labels::FromKeys;
    use super::*;
    use crate::pipeline::keys::Key;
    use crate::pipeline::state::State;

    fn passes(stage: &mut Limit, count: usize) -> usize {
        (0..count).filter(|_| once(stage, "x", &[], |_| ()).0 == Flow::Next).count()
    }

    #[test]
    fn a_burst_passes_and_the_rest_is_dropped() {
        let mut stage = Limit::new(2.0, 3, true, 1);
        assert_eq!(passes(&mut stage, 10), 3);
        assert_eq!(stage.wait_until_ns(), None);
        // A second later there are two more.
        let mut later = || at(&mut stage, &mut State::default(), NOW_NS + 1_000_000_000, "x", &[], |_| ()).0;
        assert_eq!([later(), later(), later()], [Flow::Next, Flow::Next, Flow::Drop(1)]);
    }

    #[test]
    fn what_was_sent_before_is_not_dropped() {
        let mut stage = Limit::new(0.001, 1, true, 1);
        let mut state = State::default();
        let mut run = |state: &mut State| at(&mut stage, state, NOW_NS, "x", &[], |_| ()).0;
        assert_eq!([run(&mut state), run(&mut state)], [Flow::Next, Flow::Drop(1)]);
        state.set_replayed(true);
        assert_eq!([run(&mut state), run(&mut state)], [Flow::Next, Flow::Next]);
        state.set_replayed(false);
        assert_eq!(run(&mut state), Flow::Drop(1));
    }

    #[test]
    fn without_drop_reading_waits() {
        let mut stage = Limit::new(1.0, 3, false, 1);
        assert_eq!(passes(&mut stage, 3), 3);
        assert_eq!(stage.wait_until_ns(), None);
        assert_eq!(passes(&mut stage, 5), 5);
        assert_eq!(stage.wait_until_ns(), Some(NOW_NS + 5_000_000_000));
    }

    /// Gives an entry a label before the limit sees it.
    #[derive(Debug)]
    struct Labelled(FromKeys, Limit);

    impl Stage for Labelled {
        fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
            self.0.run(entry, context);
            self.1.run(entry, context)
        }
    }

    #[test]
    fn each_value_has_its_own_and_their_number_is_bounded() {
        let limit = Limit::new(0.001, 1, true, 1).by(Label(0), 2);
        let mut stage = Labelled(FromKeys { labels: vec![(Label(0), Key(0))], tenant: None }, limit);
        let mut passes =
            |keys: &[(Key, &str)]| (0..5).filter(|_| once(&mut stage, "x", keys, |_| ()).0 == Flow::Next).count();
        assert_eq!(passes(&[(Key(0), "a")]), 1);
        assert_eq!(passes(&[(Key(0), "b")]), 1);
        assert_eq!(passes(&[]), 5);
        assert_eq!(passes(&[(Key(0), "c")]), 1);
        assert!(stage.1.each.len() <= 2);
    }
}
