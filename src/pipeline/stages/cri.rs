//! `cri`: a line of a container runtime's log (containerd, CRI-O) gives the entry's text, its time and the label `stream`.
//!
//! ```yaml
//! - cri: { max_partial_lines: 100, max_partial_line_size: 0, max_partial_line_size_truncate: false }
//! ```
//!
//! The keys `time`, `stream`, `flags` and `content` are extracted. Lines that the runtime divided are put together, `content` too; of more than `max_partial_lines` streams
//! at a time the oldest is sent as it is. A line that is not of this form passes as it is.

use super::Stage;
use super::partial::Joining;
use crate::format::cri;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Cri {
    /// Keys for time, stream, flags, content.
    pub(in crate::pipeline) keys: [Key; 4],
    pub(in crate::pipeline) label: Label,
    pub(in crate::pipeline) joining: Joining,
}

impl Stage for Cri {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let (line, found) = entry.look_at(entry.line, |text, _, found| {
            let line = cri::parse(text).ok()?;
            *found = [Some(line.time), Some(line.stream), Some(line.flags), Some(line.text)];
            Some((line.partial, line.time_ns))
        });
        let (Some((is_partial, time_ns)), [_, Some(stream), _, Some(text)]) = (line, found) else { return Flow::Next };
        if self.joining.is_blocked(entry, context, stream, text, is_partial) {
            return Flow::Release;
        }
        for (key, value) in self.keys.iter().zip(found) {
            entry.extract(*key, value);
        }
        entry.set_label(self.label, stream);
        if let Some(time_ns) = time_ns {
            entry.time_ns = time_ns;
        }
        self.joining.take(entry, context, text, is_partial)
    }

    fn holds(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::at;
    use super::*;
    use crate::pipeline::state::State;

    fn run(state: &mut State, cut: Option<usize>, line: &str) -> (Flow, [String; 3], i64) {
        let keys = [Key(0), Key(1), Key(2), Key(3)];
        let mut stage = Cri { keys, label: Label(0), joining: Joining { streams: 2, key: Key(3), cut } };
        let (flow, (texts, time)) = at(&mut stage, state, 7, line, &[], |entry| {
            let flags = entry.extracted_text(Key(2)).unwrap_or("-").to_owned();
            ([entry.line_text().to_owned(), entry.label_text(Label(0)).to_owned(), flags], entry.time_ns)
        });
        (flow, texts, time)
    }

    fn own(texts: [&str; 3]) -> [String; 3] {
        texts.map(str::to_owned)
    }

    #[test]
    fn text_time_and_stream() {
        let mut state = State::default();
        let line = "1970-01-01T00:00:01Z stderr F some full line";
        assert_eq!(run(&mut state, None, line), (Flow::Next, own(["some full line", "stderr", "F"]), 1_000_000_000));
        assert_eq!(run(&mut state, None, "3242 stdout F m"), (Flow::Next, own(["m", "stdout", "F"]), 7));
        assert_eq!(run(&mut state, None, "i'm invalid!"), (Flow::Next, own(["i'm invalid!", "", "-"]), 7));
        assert!(!state.is_holding());
    }

    /// The case of Promtail's documentation: parts of two streams, one between the other.
    #[test]
    fn parts_are_put_together_by_stream() {
        let mut state = State::default();
        let line = |stream: &str, flag: &str, text: &str| format!("1970-01-01T00:00:02Z {stream} {flag} {text}");
        assert_eq!(run(&mut state, None, &line("stdout", "P", "partial line 1 ")).0, Flow::Hold);
        assert_eq!(run(&mut state, None, &line("stderr", "P", "err ")).0, Flow::Hold);
        assert_eq!(run(&mut state, None, &line("stdout", "P", "partial line 2 ")).0, Flow::Hold);
        let end = run(&mut state, None, &line("stdout", "F", "full"));
        assert_eq!(end.1, own(["partial line 1 partial line 2 full", "stdout", "F"]));
        assert_eq!(run(&mut state, None, &line("stderr", "F", "full")).1[0], "err full");
        assert!(!state.is_holding());
    }

    #[test]
    fn long_lines_are_cut_or_sent_in_parts() {
        let mut state = State::default();
        let line = |flag: &str, text: &str| format!("1970-01-01T00:00:02Z stdout {flag} {text}");
        run(&mut state, Some(5), &line("P", "abc"));
        run(&mut state, Some(5), &line("P", "def"));
        assert_eq!(run(&mut state, Some(5), &line("F", "g")).1[0], "abcde");
        assert_eq!(run(&mut state, Some(5), &line("F", "abcdefg")).1[0], "abcde");
        assert_eq!(run(&mut state, None, &line("P", &"x".repeat(900))).0, Flow::Hold);
        assert_eq!(run(&mut state, None, &line("P", &"x".repeat(200))).0, Flow::Release);
    }
}
