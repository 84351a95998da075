//! `multiline`: lines that belong together become one entry, such as a stack trace.
//!
//! ```yaml
//! - multiline: { firstline: '^\d{4}-\d{2}-\d{2}', max_lines: 128, max_wait_time: 3s }
//! ```
//!
//! An entry begins with a line that matches `firstline` and ends before the next one, at `max_lines`, at the length that a line may have, or when
//! no line has come for `max_wait_time`. It has the time, labels, keys and metadata of its first line. Entries of different labels are
//! gathered apart. Lines before any first line of their stream go on one by one; those that come when an entry was let go are gathered again. That there
//! was one is known of the last streams of the file.

use super::Stage;
use crate::base::limits::MULTILINE_STREAMS;
use crate::pipeline::entry::Entry;
use crate::pipeline::program::{Context, Flow};
use crate::pipeline::streams::{checksum, key_of};
use regex::Regex;

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Multiline {
    pub(in crate::pipeline) first: Regex,
    pub(in crate::pipeline) max_lines: usize,
    /// How long a further line is waited for, nanoseconds.
    pub(in crate::pipeline) max_wait_ns: i64,
}

impl Stage for Multiline {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        key_of(entry, context.stream);
        let is_first = self.first.is_match(entry.line_text());
        let due_ns = context.now_ns.saturating_add(self.max_wait_ns);
        if let Some(held) = context.state.held(context.at, context.stream) {
            let is_full =
                held.lines >= self.max_lines || held.text.len() + entry.line_text().len() >= context.line_bytes;
            if is_first || is_full {
                return Flow::Release;
            }
            held.text.push('\n');
            held.text.push_str(entry.line_text());
            held.lines += 1;
            held.due_ns = due_ns;
            context.state.set_due();
            return Flow::Hold;
        }
        let key = checksum(context.at, context.stream);
        if !is_first && context.state.memory().get(key).is_none() {
            return Flow::Next;
        }
        context.state.memory_mut().set(key, 0);
        if context.state.count(context.at) >= MULTILINE_STREAMS {
            // More streams than are gathered at the same time: this line goes alone.
            return Flow::Next;
        }
        context.state.hold(context.at, context.stream, (context.now_ns, self.max_wait_ns), entry, entry.line);
        Flow::Hold
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

    fn stage() -> Multiline {
        Multiline { first: Regex::new("^F").unwrap(), max_lines: 3, max_wait_ns: 100 }
    }

    fn run(state: &mut State, now_ns: i64, line: &str) -> Flow {
        at(&mut stage(), state, now_ns, line, &[], |_| ()).0
    }

    fn held(state: &mut State) -> (String, i64, i64) {
        let held = &mut state.take_due(None).unwrap().held;
        (held.text.clone(), held.time_ns, held.due_ns)
    }

    #[test]
    fn lines_are_gathered_up_to_the_next_first_one() {
        let mut state = State::default();
        assert_eq!(run(&mut state, 5, "First"), Flow::Hold);
        assert_eq!(run(&mut state, 7, " second"), Flow::Hold);
        assert_eq!(run(&mut state, 9, "First"), Flow::Release);
        assert_eq!(held(&mut state), ("First\n second".to_owned(), 5, 107));
    }

    #[test]
    fn lines_before_any_first_one_go_on_alone() {
        let mut state = State::default();
        assert_eq!([run(&mut state, 5, "rest"), run(&mut state, 6, "rest")], [Flow::Next, Flow::Next]);
        assert_eq!(run(&mut state, 7, "First"), Flow::Hold);
        assert_eq!(held(&mut state).0, "First");
        assert_eq!([run(&mut state, 8, "rest"), run(&mut state, 9, "rest")], [Flow::Hold, Flow::Hold]);
        assert_eq!(held(&mut state).0, "rest\nrest");
    }

    #[test]
    fn lines_and_bytes_are_bounded() {
        let mut state = State::default();
        let flows = ["F", "a", "b", "c"].map(|line| run(&mut state, 5, line));
        assert_eq!(flows, [Flow::Hold, Flow::Hold, Flow::Hold, Flow::Release]);
        let mut state = State::default();
        // Here a text has 1,000 bytes.
        let flows = ["F", &"a".repeat(500), &"b".repeat(500)].map(|line| run(&mut state, 5, line));
        assert_eq!(flows, [Flow::Hold, Flow::Hold, Flow::Release]);
    }
}
