//! Lines in the API's stream of a container's log.
//!
//! Without a terminal the stream is in frames: the number of the stream, three zeros, the length as four bytes in big-endian order, and a message.
//! With one it is the messages alone, all of stdout, and nothing tells where one ends but a newline or, for a part, its size. A message is its time
//! and a blank, then what the container wrote. Docker divides long lines into parts of one size with one time; a part has no newline, and where the
//! driver is `local` the last one may have none either. So a line ends at a newline, with a part that is shorter than the one before, and where another time
//! begins; what has no end at all is given when nothing comes for a while.
//!
//! What has no time is a word of the daemon itself, such as that it cannot read an entry: it goes on with the next one, and so does this.
//!
//! Promises: parts are joined up to a bound, and what is longer is cut there; what waits is bounded; nothing is allocated for a line once the buffers
//! have grown. Leaves to others: connections, what was taken before.

use crate::format::rfc3339;

/// A frame that says that it is longer is no frame, bytes. Docker's own have a part and a time; drivers may ask for parts of 256 KiB.
const FRAME_BYTES: usize = 1024 * 1024;
/// A time takes no more, bytes.
const TIME_BYTES: usize = 40;
/// Docker divides lines into parts of so much, bytes.
const PART_BYTES: usize = 16 * 1024;
/// The number of a stream in which the daemon itself speaks.
const DAEMON: u8 = 3;

/// The stream is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its log is in a form that lugger does not know")]
pub(super) struct Malformed;

/// What is in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A line: its stream (0 is stdout, 1 stderr), its time in nanoseconds since 1970, its text.
    Line(usize, i64, &'a [u8]),
    /// The daemon says something.
    Said(&'a [u8]),
}

/// Takes a stream apart.
#[derive(Debug)]
pub(super) struct Frames {
    /// Without frames.
    is_raw: bool,
    /// A line is cut to so much, bytes.
    most: usize,
    buffer: Vec<u8>,
    /// Parts of lines, by stream.
    parts: [Parts; 2],
    /// Without frames: the message that is being read.
    message: Message,
}

/// Parts of a line that has not ended.
#[derive(Debug, Default)]
struct Parts {
    /// Their time; `None`: there are none.
    time_ns: Option<i64>,
    /// The size of the last one, bytes.
    last: usize,
    text: Vec<u8>,
}

/// Where a stream without frames is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// Before one. With the time of the last, if that may still go on.
    Next(Option<i64>),
    /// In the text of one of this time. `true`: it is longer than parts are.
    Text(i64, bool),
    /// In what has no time.
    Other,
}

impl Frames {
    /// For a container with a terminal, or without; lines are cut to `most` bytes.
    pub(super) fn new(is_raw: bool, most: usize) -> Self {
        Frames { is_raw, most, buffer: Vec::new(), parts: Default::default(), message: Message::Next(None) }
    }

    /// Takes in bytes; what is whole is given to `take`, also if an error follows it.
    pub(super) fn feed(&mut self, bytes: &[u8], take: &mut (impl FnMut(Found<'_>) + ?Sized)) -> Result<(), Malformed> {
        self.buffer.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut self.buffer);
        let (read, fed) = if self.is_raw { (self.raw(&buffer, take), Ok(())) } else { self.framed(&buffer, take) };
        buffer.drain(..read.min(buffer.len()));
        self.buffer = buffer;
        fed
    }

    /// The frames in `buffer`: how much of it they take.
    fn framed(&mut self, buffer: &[u8], take: &mut (impl FnMut(Found<'_>) + ?Sized)) -> (usize, Result<(), Malformed>) {
        let mut read = 0;
        loop {
            let rest = buffer.get(read..).unwrap_or_default();
            let Some((head, after)) = rest.split_first_chunk::<8>() else { return (read, Ok(())) };
            let &[stream, 0, 0, 0, a, b, c, d] = head else { return (read, Err(Malformed)) };
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if stream > DAEMON || length > FRAME_BYTES {
                return (read, Err(Malformed));
            }
            let Some(message) = after.get(..length) else { return (read, Ok(())) };
            read += head.len() + length;
            match time_at(message).filter(|_| stream != DAEMON) {
                Some((time_ns, start)) => {
                    let text = message.get(start..).unwrap_or_default();
                    // 0 is stdin, which is written to stdout.
                    self.text(usize::from(stream == 2), time_ns, text, take);
                }
                None => take(Found::Said(message.trim_ascii_end())),
            }
        }
    }

    /// The messages in `buffer`: how much of it they take.
    fn raw(&mut self, buffer: &[u8], take: &mut (impl FnMut(Found<'_>) + ?Sized)) -> usize {
        let mut read = 0;
        loop {
            let rest = buffer.get(read..).unwrap_or_default();
            if rest.is_empty() {
                return read;
            }
            match self.message {
                Message::Next(before) => {
                    if let Some((time_ns, start)) = time_at(rest) {
                        self.message = Message::Text(time_ns, false);
                        read += start;
                    } else if rest.len() < TIME_BYTES && !rest.contains(&b'\n') {
                        return read;
                    } else {
                        self.message = before.map_or(Message::Other, |time_ns| Message::Text(time_ns, false));
                    }
                }
                Message::Other => {
                    let end = memchr::memchr(b'\n', rest);
                    let Some(length) =
                        end.map(|end| end + 1).or_else(|| (rest.len() >= PART_BYTES).then_some(PART_BYTES))
                    else {
                        return read;
                    };
                    take(Found::Said(rest.get(..length).unwrap_or_default().trim_ascii_end()));
                    self.message = if end.is_some() { Message::Next(None) } else { Message::Other };
                    read += length;
                }
                Message::Text(time_ns, is_long) => {
                    let Some((length, is_end)) = self.text_end(rest, is_long) else { return read };
                    let text = rest.get(..length).unwrap_or_default();
                    read += length;
                    if is_end {
                        self.message = Message::Next(None);
                        self.text(0, time_ns, text, take);
                    } else {
                        // A size that no part has: it only ends where it ends.
                        self.message = Message::Text(time_ns, true);
                        self.parts[0].push(time_ns, text, self.most);
                    }
                }
            }
        }
    }

    /// How long the text of a message is, and whether the message ends there. `None`: that is not to be seen yet.
    fn text_end(&self, rest: &[u8], is_long: bool) -> Option<(usize, bool)> {
        let head = rest.get(..PART_BYTES).unwrap_or(rest);
        let newline = memchr::memchr(b'\n', head);
        let within = newline.map_or(head, |end| head.get(..end).unwrap_or(head));
        // The last part of a line may have lost its newline, and has what a terminal writes before it.
        if self.parts[0].time_ns.is_some() && !is_long {
            // There may also be nothing left for it.
            let mut ends = std::iter::once(0).chain(memchr::memchr_iter(b'\r', within).map(|at| at + 1));
            let found = ends.find(|end| rest.get(*end..).is_some_and(|after| time_at(after).is_some()));
            if let Some(end) = found {
                return Some((end, true));
            }
        }
        if let Some(newline) = newline {
            return Some((newline + 1, true));
        }
        let after = rest.get(PART_BYTES..)?;
        if !is_long && time_at(after).is_some() {
            return Some((PART_BYTES, true));
        }
        // A time may follow that is not there as a whole.
        (after.len() >= TIME_BYTES).then_some((PART_BYTES, false))
    }

    /// Takes in the text of a message.
    fn text(&mut self, stream: usize, time_ns: i64, text: &[u8], take: &mut (impl FnMut(Found<'_>) + ?Sized)) {
        let Some(parts) = self.parts.get_mut(stream) else { return };
        if parts.time_ns.is_some_and(|before| before != time_ns) {
            parts.end(stream, take);
        }
        let whole = text.strip_suffix(b"\n");
        if let Some(body) = whole
            && parts.time_ns.is_none()
        {
            let body = body.strip_suffix(b"\r").unwrap_or(body);
            take(Found::Line(stream, time_ns, body.get(..self.most).unwrap_or(body)));
            return;
        }
        let is_last = whole.is_some() || (parts.time_ns.is_some() && text.len() < parts.last);
        let body = whole.unwrap_or(text);
        let body = if is_last { body.strip_suffix(b"\r").unwrap_or(body) } else { body };
        parts.push(time_ns, body, self.most);
        if is_last {
            parts.end(stream, take);
        }
    }

    /// The time of the first line that has begun and not ended; it is not given yet.
    pub(super) fn waiting_ns(&self) -> Option<i64> {
        let begun = match self.message {
            Message::Text(time_ns, _) if !self.buffer.is_empty() => Some(time_ns),
            _ => None,
        };
        self.parts.iter().filter_map(|parts| parts.time_ns).chain(begun).min()
    }

    /// A mark of what waits in each stream: as long as it is the same nothing was added. `None`: nothing waits.
    pub(super) fn waiting(&self) -> [Option<(i64, usize)>; 2] {
        let mut waiting = [0, 1].map(|at: usize| {
            let parts = self.parts.get(at)?;
            Some((parts.time_ns?, parts.last))
        });
        if let (Message::Text(time_ns, _), false) = (self.message, self.buffer.is_empty()) {
            waiting[0] = Some((time_ns, self.buffer.len()));
        }
        waiting
    }

    /// Nothing comes for a stream (any more): what has no end is given as it is.
    pub(super) fn end(&mut self, stream: usize, take: &mut (impl FnMut(Found<'_>) + ?Sized)) {
        if stream == 0 && self.is_raw && !self.buffer.is_empty() {
            let rest = std::mem::take(&mut self.buffer);
            match self.message {
                Message::Text(time_ns, _) => {
                    self.text(0, time_ns, &rest, take);
                    // Should it go on all the same, that is no message.
                    self.message = Message::Next(Some(time_ns));
                }
                Message::Next(_) | Message::Other => take(Found::Said(rest.trim_ascii_end())),
            }
        }
        if let Some(parts) = self.parts.get_mut(stream) {
            parts.end(stream, take);
        }
    }
}

impl Parts {
    fn push(&mut self, time_ns: i64, text: &[u8], most: usize) {
        self.time_ns = Some(time_ns);
        self.last = text.len();
        let room = most.saturating_sub(self.text.len());
        self.text.extend_from_slice(text.get(..room).unwrap_or(text));
    }

    fn end(&mut self, stream: usize, take: &mut (impl FnMut(Found<'_>) + ?Sized)) {
        if let Some(time_ns) = self.time_ns.take() {
            take(Found::Line(stream, time_ns, &self.text));
            self.text.clear();
        }
    }
}

/// The time that a message begins with, and where its text does. `None`: it begins with none.
fn time_at(message: &[u8]) -> Option<(i64, usize)> {
    // A cheap look first: this is asked behind each carriage return.
    if message.get(4) != Some(&b'-') {
        return None;
    }
    let head = message.get(..TIME_BYTES).unwrap_or(message);
    let blank = memchr::memchr(b' ', head)?;
    let time = std::str::from_utf8(head.get(..blank)?).ok()?;
    Some((rfc3339::parse(time)?, blank + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(stream: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], message].concat()
    }

    fn at(n: u8, text: &str) -> Vec<u8> {
        format!("1970-01-01T00:00:00.00000000{n}Z {text}").into_bytes()
    }

    type Line = (usize, i64, String);

    fn fed(frames: &mut Frames, bytes: &[u8], step: usize) -> (Vec<Line>, Vec<String>) {
        let (mut lines, mut said) = (Vec::new(), Vec::new());
        let mut take = |found: Found<'_>| match found {
            Found::Line(stream, time, text) => lines.push((stream, time, String::from_utf8(text.to_vec()).unwrap())),
            Found::Said(text) => said.push(String::from_utf8(text.to_vec()).unwrap()),
        };
        for piece in bytes.chunks(step) {
            frames.feed(piece, &mut take).unwrap();
        }
        (lines, said)
    }

    /// Long texts by their length and end.
    fn short(lines: Vec<Line>) -> Vec<Line> {
        let end = |text: String| format!("{} {:?}", text.len(), &text[text.len().saturating_sub(20)..]);
        lines.into_iter().map(|(stream, time, text)| (stream, time, end(text))).collect()
    }

    fn all(is_raw: bool, most: usize, bytes: &[u8], step: usize) -> (Vec<Line>, Vec<String>) {
        let mut frames = Frames::new(is_raw, most);
        let (mut lines, said) = fed(&mut frames, bytes, step);
        for stream in [0, 1] {
            frames.end(stream, &mut |found| match found {
                Found::Line(stream, time, text) => {
                    lines.push((stream, time, String::from_utf8(text.to_vec()).unwrap()));
                }
                Found::Said(_) => {}
            });
        }
        assert_eq!((frames.waiting(), frames.waiting_ns()), ([None; 2], None));
        (lines, said)
    }

    const STEPS: [usize; 4] = [1, 7, 1000, 1 << 20];

    #[test]
    fn frames_and_parts() {
        let stream = [
            frame(1, &at(1, "one\n")),
            frame(1, &at(2, "a long ")),
            frame(2, &at(3, "error\n")),
            frame(1, &at(2, "line\n")),
            frame(2, &at(5, "abcdefghijklmnopqrstuvwxyz\n")),
            frame(2, &at(6, "\n")),
            frame(1, &at(7, "unended")),
        ]
        .concat();
        let want = [
            (0, 1, "one"),
            (1, 3, "error"),
            (0, 2, "a long line"),
            (1, 5, "abcdefghijklmnopqrst"),
            (1, 6, ""),
            (0, 7, "unended"),
        ]
        .map(|(stream, time, text)| (stream, time, text.to_owned()));
        for step in STEPS {
            assert_eq!(all(false, 20, &stream, step).0, want);
        }
    }

    #[test]
    fn the_last_part_needs_no_newline() {
        let part = "x".repeat(PART_BYTES);
        let stream = [
            frame(1, &at(1, &part)),
            frame(1, &at(1, "end")),
            frame(1, &at(2, "after\n")),
            frame(2, &at(3, &part)),
            frame(2, &at(4, "another\n")),
            frame(1, &at(5, &part)),
            frame(1, &at(5, "")),
        ]
        .concat();
        let want = [
            (0, 1, part.clone() + "end"),
            (0, 2, "after".to_owned()),
            (1, 3, part.clone()),
            (1, 4, "another".to_owned()),
            (0, 5, part.clone()),
        ];
        for step in STEPS {
            let mut frames = Frames::new(false, 1 << 20);
            assert_eq!(
                short(fed(&mut frames, &stream, step).0),
                short(want.to_vec()),
                "nothing waits for what comes next"
            );
        }
        let mut frames = Frames::new(false, 1 << 20);
        assert_eq!(fed(&mut frames, &frame(2, &at(8, &part)), 1 << 20).0, []);
        assert_eq!((frames.waiting_ns(), frames.waiting()), (Some(8), [None, Some((8, PART_BYTES))]));
    }

    #[test]
    fn terminals_have_no_frames() {
        let text = [at(1, "one\r\n"), at(2, "2026-01-01T00:00:00Z two\r\n"), at(3, "three")].concat();
        let want = [(0, 1, "one"), (0, 2, "2026-01-01T00:00:00Z two"), (0, 3, "three")];
        let want = want.map(|(stream, time, text)| (stream, time, text.to_owned()));
        for step in STEPS {
            assert_eq!(all(true, 1000, &text, step).0, want);
        }
    }

    #[test]
    fn parts_of_terminals() {
        let part = "x".repeat(PART_BYTES);
        let spin = "\r".repeat(PART_BYTES);
        let text = [
            // As of `local`, where the last part has no newline; and as of `json-file`.
            at(1, &part),
            at(1, &part),
            at(1, "end\r"),
            at(2, "after\r\n"),
            at(3, &part),
            at(3, "end\r\n"),
            // A progress bar, and a line of which nothing is left for the last part.
            at(4, &spin),
            at(4, &spin),
            at(4, "\r"),
            at(5, "later\r\n"),
            at(6, &part),
            at(6, ""),
            at(7, "last\r\n"),
        ]
        .concat();
        let want = [
            (0, 1, part.repeat(2) + "end"),
            (0, 2, "after".to_owned()),
            (0, 3, part.clone() + "end"),
            (0, 4, spin.repeat(2)),
            (0, 5, "later".to_owned()),
            (0, 6, part.clone()),
            (0, 7, "last".to_owned()),
        ];
        for step in STEPS {
            assert_eq!(short(all(true, 1 << 20, &text, step).0), short(want.to_vec()), "in steps of {step}");
        }
        let cut = all(true, 20_000, &text, 1000).0;
        assert_eq!(cut.iter().map(|(_, _, text)| text.len()).max(), Some(20_000));
        // Longer than any part.
        let long = at(1, &("y".repeat(100_000) + "\r\n"));
        let want = [(0, 1, "y".repeat(100_000))];
        for step in STEPS {
            assert_eq!(short(all(true, 1 << 20, &long, step).0), short(want.to_vec()));
        }
    }

    #[test]
    fn what_the_daemon_says_is_no_line() {
        let said = ["Error grabbing logs: unexpected EOF".to_owned()];
        let want = [(0, 1, "one".to_owned()), (0, 2, "two".to_owned())];
        let error = b"Error grabbing logs: unexpected EOF\n";
        for stream in [1, 3] {
            let framed = [frame(1, &at(1, "one\n")), frame(stream, error), frame(1, &at(2, "two\n"))].concat();
            let raw = [&at(1, "one\r\n"), &error[..], &at(2, "two\r\n")].concat();
            for step in STEPS {
                assert_eq!(all(false, 100, &framed, step), (want.to_vec(), said.to_vec()));
                assert_eq!(all(true, 100, &raw, step), (want.to_vec(), said.to_vec()));
            }
        }
    }

    #[test]
    fn what_is_no_stream_comes_behind_what_is_one() {
        for bad in [&b"HTTP/1.1 200 OK"[..], &frame(9, b"x"), &[1, 0, 0, 0, 255, 255, 255, 255]] {
            let mut lines = 0;
            let bytes = [&frame(1, &at(1, "one\n")), bad].concat();
            assert!(Frames::new(false, 20).feed(&bytes, &mut |_| lines += 1).is_err());
            assert_eq!(lines, 1);
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut frames = Frames::new(true, 1000);
        frames.feed(&at(1, ""), &mut |_| {}).unwrap();
        for _ in 0..1000 {
            frames.feed(&[b'\r'; 9000], &mut |_| {}).unwrap();
            assert!(frames.buffer.len() + frames.parts[0].text.len() < 30_000);
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(0u8..4, 0..60), is_raw in proptest::bool::ANY) {
            let mut frames = Frames::new(is_raw, 20);
            let _ = frames.feed(&bytes, &mut |_| {});
            frames.end(0, &mut |_| {});
            frames.end(1, &mut |_| {});
        }
    }
}
