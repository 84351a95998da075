//! `write_relabel_configs`: what becomes of series on their way to one endpoint.
//!
//! Promises: a series that is known costs a look; what is remembered is bounded. Leaves to others: the rules (`pipeline::relabel`).

use crate::base::limits::{REMOTE_RELABEL_BYTES, REMOTE_RELABEL_MS, REMOTE_RELABEL_ROUNDS, REMOTE_RELABEL_SERIES};
use crate::format::remote_write::cache::{Series, SeriesCache};
use crate::format::remote_write::labels::LabelSet;
use crate::format::remote_write::labels_in;
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{Outcome, RelabelError, Rules, Scratch, Settings};
use crate::sink::trouble::is_over;
use std::time::{Duration, Instant};

/// The rules of one endpoint, and what they made of series.
pub(super) struct Relabel {
    endpoint: String,
    rules: Rules,
    cache: SeriesCache,
    set: LabelSet,
    map: LabelMap,
    scratch: Scratch,
    round: Instant,
    /// When it was said that rules leave a series without a name.
    said: Option<Instant>,
}

impl Relabel {
    /// `Ok(None)`: there are no rules.
    pub(super) fn new(rules: &[Settings], endpoint: &str) -> Result<Option<Self>, RelabelError> {
        let rules = Rules::compile(rules)?;
        if rules.is_empty() {
            return Ok(None);
        }
        let scratch = rules.scratch();
        Ok(Some(Relabel {
            endpoint: endpoint.to_owned(),
            rules,
            cache: SeriesCache::new(REMOTE_RELABEL_SERIES, REMOTE_RELABEL_BYTES),
            set: LabelSet::default(),
            map: LabelMap::new(),
            scratch,
            round: Instant::now(),
            said: None,
        }))
    }

    /// Forgets series that are no more there. To be called with each collection.
    pub(super) fn begin(&mut self, now: Instant) {
        if now.saturating_duration_since(self.round) >= Duration::from_millis(REMOTE_RELABEL_MS) {
            self.round = now;
            self.cache.begin(REMOTE_RELABEL_ROUNDS);
        }
    }

    /// The encoded labels that a series with these has at the endpoint; `None`: it does not go there.
    pub(super) fn apply(&mut self, labels: &[u8]) -> Option<&[u8]> {
        let Self { endpoint, rules, cache, set, map, scratch, said, .. } = self;
        let series = cache.get(labels, false, &mut |labels, out| {
            set.clear();
            for (_, name, value) in labels_in(labels) {
                let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
                set.set(text(name), text(value));
            }
            let outcome = rules.apply_to_series(set, map, scratch);
            if outcome == Outcome::NoName && is_over(*said) {
                *said = Some(Instant::now());
                tracing::warn!(
                    %endpoint,
                    "write_relabel_configs leave series without a valid name (__name__), which no endpoint takes; they are dropped"
                );
            }
            let kept = outcome == Outcome::Kept;
            if kept {
                set.encode(out);
            }
            kept
        });
        match series {
            Series::Dropped => None,
            Series::Again(labels) | Series::Labels(labels) => Some(labels),
        }
    }
}
