//! `docker`: a line of docker's json-file driver gives the entry's text, its time and the label `stream`.
//!
//! ```yaml
//! - docker: {}
//! ```
//!
//! The keys `output`, `stream` and `timestamp` are extracted. Lines that docker divided are put together (Promtail does not), `output` too. A line that is not of this form
//! passes as it is.

use super::Stage;
use super::partial::Joining;
use crate::format::docker;
use crate::format::json::Work;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Docker {
    pub(in crate::pipeline) output: Key,
    pub(in crate::pipeline) stream: Key,
    pub(in crate::pipeline) timestamp: Key,
    /// Which the stream becomes, if it becomes one.
    pub(in crate::pipeline) label: Option<Label>,
    pub(in crate::pipeline) joining: Joining,
    pub(in crate::pipeline) work: Work,
}

impl Stage for Docker {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let work = &mut self.work;
        let (line, [log, stream, time]) = entry.look_at(entry.line, |text, scratch, found| {
            let line = docker::parse(text, work, scratch).ok()?;
            *found = [line.log, line.stream, line.time];
            Some((line.partial, line.time_ns))
        });
        let Some((is_partial, time_ns)) = line else { return Flow::Next };
        if let Some(log) = log
            && self.joining.is_blocked(entry, context, stream.unwrap_or_default(), log, is_partial)
        {
            return Flow::Release;
        }
        entry.extract(self.output, log);
        entry.extract(self.stream, stream);
        entry.extract(self.timestamp, time);
        if let (Some(label), Some(stream)) = (self.label, stream) {
            entry.set_label(label, stream);
        }
        if let Some(time_ns) = time_ns {
            entry.time_ns = time_ns;
        }
        match log {
            Some(log) => self.joining.take(entry, context, log, is_partial),
            None => Flow::Next,
        }
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

    fn run(state: &mut State, line: &str) -> (Flow, [String; 3], i64) {
        let joining = Joining { streams: 2, key: Key(0), cut: None };
        let mut stage = Docker {
            output: Key(0),
            stream: Key(1),
            timestamp: Key(2),
            label: Some(Label(0)),
            joining,
            work: Work::default(),
        };
        let (flow, (texts, time)) = at(&mut stage, state, 7, line, &[], |entry| {
            let key = |key| entry.extracted_text(Key(key)).unwrap_or("-").to_owned();
            ([entry.line_text().to_owned(), entry.label_text(Label(0)).to_owned(), key(1)], entry.time_ns)
        });
        (flow, texts, time)
    }

    fn own(texts: [&str; 3]) -> [String; 3] {
        texts.map(str::to_owned)
    }

    #[test]
    fn text_time_and_stream() {
        let mut state = State::default();
        let line = r#"{"log":"hello\n","stream":"stderr","time":"1970-01-01T00:00:01Z"}"#;
        assert_eq!(run(&mut state, line), (Flow::Next, own(["hello", "stderr", "stderr"]), 1_000_000_000));
        assert_eq!(run(&mut state, "plain"), (Flow::Next, own(["plain", "", "-"]), 7));
        assert_eq!(run(&mut state, r#"{"a":1}"#), (Flow::Next, own([r#"{"a":1}"#, "", "-"]), 7));
        let line = r#"{"log":"x\n","stream":"stdout","time":"yesterday"}"#;
        assert_eq!(run(&mut state, line), (Flow::Next, own(["x", "stdout", "stdout"]), 7));
        assert!(!state.is_holding());
    }

    #[test]
    fn parts_are_put_together() {
        let mut state = State::default();
        let part = |log: &str, stream: &str, second: u8| {
            format!(r#"{{"log":"{log}","stream":"{stream}","time":"1970-01-01T00:00:0{second}Z"}}"#)
        };
        assert_eq!(run(&mut state, &part("one ", "stdout", 1)).0, Flow::Hold);
        assert_eq!(run(&mut state, &part("err\\n", "stderr", 1)).1[0], "err");
        assert_eq!(run(&mut state, &part("two ", "stdout", 2)).0, Flow::Hold);
        let end = run(&mut state, &part("three\\n", "stdout", 3));
        assert_eq!(end, (Flow::Next, own(["one two three", "stdout", "stdout"]), 3_000_000_000));
        assert!(!state.is_holding());
        // Streams and bytes are bounded.
        for stream in ["a", "b"] {
            assert_eq!(run(&mut state, &part("x", stream, 1)).0, Flow::Hold);
        }
        assert_eq!(run(&mut state, &part("x", "c", 1)).0, Flow::Release);
        assert_eq!(run(&mut state, &part(&"x".repeat(1000), "a", 1)).0, Flow::Release);
    }
}
