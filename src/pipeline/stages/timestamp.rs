//! `timestamp`: the entry's time, from an extracted key.
//!
//! ```yaml
//! - timestamp: { source: ts, format: RFC3339, fallback_formats: [Unix], location: Europe/Berlin, action_on_failure: fudge }
//! ```
//!
//! Formats are tried in their order. If none fits, or the key is not there, `fudge` gives the last time that the stage gave in the stream and a
//! nanosecond (so that what follows a line stays behind it), and `skip` leaves the time as it was, as does `fudge` when there is none. A stream is
//! that of the labels at this stage; those of the last streams of the file are known. A layout without a year means the present one.

use super::Stage;
use crate::format::time::Layout;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};
use crate::pipeline::state::State;
use crate::pipeline::streams::checksum_of;

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Timestamp {
    pub(in crate::pipeline) source: Key,
    pub(in crate::pipeline) layouts: Vec<Layout>,
    pub(in crate::pipeline) fudge: bool,
}

impl Stage for Timestamp {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let text = entry.extracted_text(self.source);
        let found =
            text.and_then(|text| self.layouts.iter().find_map(|layout| layout.parse(text, context.now_ns).ok()));
        if !self.fudge {
            entry.time_ns = found.unwrap_or(entry.time_ns);
            return Flow::Next;
        }
        let key = checksum_of(entry, context.at, context.stream);
        let last = |state: &State| state.memory().get(key).map(|last| last.saturating_add(1));
        if let Some(time_ns) = found.or_else(|| last(context.state)) {
            entry.time_ns = time_ns;
            context.state.memory_mut().set(key, time_ns);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::at;
    use super::*;

    fn times(fudge: bool, texts: &[Option<&str>]) -> Vec<i64> {
        let layouts = ["2006-01-02 15:04:05", "Unix"].map(|text| Layout::compile(text, Some("UTC")).unwrap()).to_vec();
        let mut stage = Timestamp { source: Key(0), layouts, fudge };
        let mut state = State::default();
        let time = |text: &Option<&str>| {
            let keys: Vec<(Key, &str)> = text.iter().map(|text| (Key(0), *text)).collect();
            at(&mut stage, &mut state, 7, "", &keys, |entry| entry.time_ns).1
        };
        texts.iter().map(time).collect()
    }

    #[test]
    fn formats_in_their_order_and_failures() {
        let texts = [None, Some("bad"), Some("1970-01-01 00:00:01"), None, Some("bad"), Some("2"), None];
        let second = 1_000_000_000;
        assert_eq!(times(true, &texts), [7, 7, second, second + 1, second + 2, 2 * second, 2 * second + 1]);
        assert_eq!(times(false, &texts), [7, 7, second, 7, 7, 2 * second, 7]);
    }
}
