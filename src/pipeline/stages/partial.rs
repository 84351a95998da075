//! Lines that a container runtime divided (16 KiB, mostly), put together again for `docker` and `cri`.
//!
//! The parts of a stream are held until the one that ends the line; the entry has the time of that one, as in Promtail. Where the end does not
//! come, because the container ended, the parts are sent after a minute. The key of the text is put together as the text is.

use crate::base::limits::PARTIAL_WAIT_MS;
use crate::model::value::Value;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};

/// How parts are put together.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Joining {
    /// Streams that are gathered at the same time.
    pub streams: usize,
    /// The key that has the text, as the entry has.
    pub key: Key,
    /// Length at which a line is cut off, bytes.
    pub cut: Option<usize>,
}

impl Joining {
    /// Whether something that is held has to go before the text of a stream can be taken; then it is named in the context.
    pub(super) fn is_blocked(
        self,
        entry: &Entry<'_>,
        context: &mut Context<'_>,
        stream: Value,
        text: Value,
        is_partial: bool,
    ) -> bool {
        context.stream.clear();
        context.stream.extend_from_slice(entry.text(stream).as_bytes());
        if let Some(held) = context.state.held(context.at, context.stream) {
            return self.cut.is_none() && held.text.len() + text.range().len() > context.line_bytes;
        }
        is_partial
            && context.state.count(context.at) >= self.streams
            && context.state.oldest(context.at, context.stream)
    }

    /// Takes a text that is not blocked. The entry is as it shall be, but for its text.
    pub(super) fn take(self, entry: &mut Entry<'_>, context: &mut Context<'_>, text: Value, is_partial: bool) -> Flow {
        let wait_ns = (PARTIAL_WAIT_MS * 1_000_000) as i64;
        let text = self.cut_off(entry, text);
        entry.line = text;
        if let Some(held) = context.state.held(context.at, context.stream) {
            held.text.push_str(entry.text(text));
            if let Some(cut) = self.cut {
                held.text.truncate(held.text.floor_char_boundary(cut));
            }
            held.due_ns = context.now_ns.saturating_add(wait_ns);
            context.state.set_due();
            if is_partial {
                return Flow::Hold;
            }
            if let Some(taken) = context.state.take(context.at, context.stream) {
                entry.line = entry.push(&taken.held.text);
                entry.extract(self.key, Some(entry.line));
                context.state.join(taken);
            }
            return Flow::Next;
        }
        if is_partial {
            context.state.hold(context.at, context.stream, (context.now_ns, wait_ns), entry, text);
            if let Some(held) = context.state.held(context.at, context.stream) {
                held.key = Some(self.key);
            }
            return Flow::Hold;
        }
        Flow::Next
    }

    fn cut_off(self, entry: &Entry<'_>, text: Value) -> Value {
        let all = entry.text(text);
        match self.cut {
            Some(cut) if all.len() > cut => text.cut(all.floor_char_boundary(cut)),
            _ => text,
        }
    }
}
