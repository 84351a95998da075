//! A TCP stream of syslog messages, cut into messages as RFC 6587 describes senders: `57 <13>…` with the number of bytes in front (octet
//! counting), or each ended by a newline or NUL.
//!
//! Each frame is looked at anew: a number, a blank and the `<` of a priority make it a counted one. A sender that counts wrong
//! (characters for bytes is the usual mistake) is found again: behind counted frames, what begins with neither ends also where a count
//! and a priority begin.
//!
//! Promises: which messages come out depends on the bytes alone, never on how they were cut on their way. Memory is bounded by the
//! longest message; of a longer one the head is given, with the number of bytes that are missing. Work is linear: what was looked at is
//! not looked at again. A message that lies in what was read is not copied. Leaves to others: the connection and its time limits, showing
//! that a message was cut.

use crate::base::limits::{SYSLOG_BUFFER_BYTES, SYSLOG_COUNT_MAX};

/// How far a count and a priority can reach: seven digits, a blank, `<191>`.
const HEAD: usize = 13;

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its bytes, without those that frame it; never empty.
    pub bytes: &'a [u8],
    /// How many bytes more it had than are given.
    pub missing: u64,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Framer {
    max: usize,
    /// What came and cannot be decided on yet.
    held: Vec<u8>,
    /// How much of it needs no second look for the end of the line.
    seen: usize,
    /// What is given of a message that is too long.
    head: Vec<u8>,
    state: State,
    /// Whether the last frame was counted.
    counted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of a frame.
    Frame,
    /// In a counted message that is too long: so many bytes are still to come, so many will be missing.
    Count { left: u64, missing: u64 },
    /// In a line that is too long, of which so many bytes were passed over behind its head.
    Line { missing: u64, stray: bool },
}

/// What the bytes at hand are.
enum Step {
    /// To be passed over.
    Skip(usize),
    /// A message in this place; the next frame begins at `next`.
    Whole { start: usize, end: usize, next: usize },
    /// A counted message that is too long; its text begins there.
    LongCount { start: usize, len: u64 },
    /// A line that is too long.
    LongLine { stray: bool },
    /// Not yet to be told.
    More { seen: usize },
}

impl Framer {
    /// For messages of at most `max` bytes, at least 1.
    pub fn new(max: usize) -> Self {
        let max = max.max(1);
        Framer { max, held: Vec::new(), seen: 0, head: Vec::new(), state: State::Frame, counted: false }
    }

    /// From the next message on the longest one has `max` bytes; one that was found to be too long stays so.
    pub fn set_max(&mut self, max: usize) {
        if self.state == State::Frame {
            self.max = max.max(1);
        }
    }

    /// Bytes that wait for more.
    pub fn held(&self) -> usize {
        self.held.len() + self.head.len()
    }

    /// Whether no message has begun that has not ended.
    pub fn is_between(&self) -> bool {
        self.held.is_empty() && self.state == State::Frame
    }

    /// Takes in what was read, and gives each message that is complete with it.
    pub fn push(&mut self, input: &[u8], mut take: impl FnMut(Frame<'_>)) {
        if self.held.is_empty() {
            let used = self.run(input, &mut take);
            self.held.extend_from_slice(input.get(used..).unwrap_or_default());
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(input);
        let used = self.run(&held, &mut take);
        held.drain(..used);
        if held.is_empty() {
            held.shrink_to(SYSLOG_BUFFER_BYTES);
        }
        self.held = held;
    }

    /// The stream has ended: gives what is left as a message, whole or not. The next stream may begin.
    pub fn finish(&mut self, mut take: impl FnMut(Frame<'_>)) {
        let held = self.held.len() as u64;
        match self.state {
            State::Frame => {
                // Of a counted message the count is none of its text.
                let start = if let Counted::Yes { start, .. } = count(&self.held) { start } else { 0 };
                let text = self.held.get(start..).unwrap_or_default();
                let head = text.get(..text.len().min(self.max)).unwrap_or_default();
                give(head, (text.len() - head.len()) as u64, &mut take);
            }
            State::Count { left, missing } => give(&self.head, missing.saturating_sub(left), &mut take),
            State::Line { missing, .. } => give(&self.head, missing + held, &mut take),
        }
        *self = Framer::new(self.max);
    }

    /// Goes through bytes as far as can be decided; tells how far that is.
    fn run(&mut self, bytes: &[u8], take: &mut impl FnMut(Frame<'_>)) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let seen = std::mem::take(&mut self.seen);
            match self.state {
                State::Frame => match step(rest, seen, self.max, self.counted) {
                    Step::Skip(len) => at += len,
                    Step::Whole { start, end, next } => {
                        give(rest.get(start..end).unwrap_or_default(), 0, take);
                        self.counted = start > 0;
                        at += next;
                    }
                    Step::LongCount { start, len } => {
                        self.counted = true;
                        self.state = State::Count { left: len, missing: len.saturating_sub(self.max as u64) };
                        at += start;
                    }
                    Step::LongLine { stray } => {
                        self.head.extend_from_slice(rest.get(..self.max).unwrap_or_default());
                        // Behind a stray line counted ones are still to be expected.
                        self.counted = stray;
                        self.state = State::Line { missing: 0, stray };
                        at += self.max;
                    }
                    Step::More { seen } => {
                        self.seen = seen;
                        return at;
                    }
                },
                State::Count { left, missing } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let room = self.max.saturating_sub(self.head.len()).min(here);
                    self.head.extend_from_slice(rest.get(..room).unwrap_or_default());
                    self.state = State::Count { left: left - here as u64, missing };
                    at += here;
                    if here as u64 == left {
                        self.cut(missing, take);
                    }
                }
                State::Line { missing, stray } => match end_of_line(rest, seen, stray) {
                    Ok((end, next)) => {
                        self.cut(missing + end as u64, take);
                        at += next;
                    }
                    Err(seen) => {
                        // A count that has begun may still turn out to be one.
                        let done = if stray { seen.saturating_sub(HEAD) } else { seen };
                        self.state = State::Line { missing: missing + done as u64, stray };
                        self.seen = seen - done;
                        return at + done;
                    }
                },
            }
        }
        at
    }

    /// Gives a message that was too long.
    fn cut(&mut self, missing: u64, take: &mut impl FnMut(Frame<'_>)) {
        give(&self.head, missing, take);
        self.head.clear();
        self.head.shrink_to(SYSLOG_BUFFER_BYTES);
        self.state = State::Frame;
    }
}

/// Gives a message without the line ends and NULs behind it, if anything is left.
fn give(bytes: &[u8], missing: u64, take: &mut impl FnMut(Frame<'_>)) {
    let bytes = match missing {
        0 => {
            let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |last| last + 1);
            bytes.get(..end).unwrap_or_default()
        }
        _ => bytes,
    };
    if !bytes.is_empty() {
        take(Frame { bytes, missing });
    }
}

enum Counted {
    Yes { start: usize, len: u64 },
    No,
    Unknown,
}

/// Whether a counted frame begins here: `57 <`.
fn count(bytes: &[u8]) -> Counted {
    if !matches!(bytes.first(), Some(b'1'..=b'9')) {
        return Counted::No;
    }
    let mut len = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                len = len * 10 + u64::from(byte - b'0');
                if len > SYSLOG_COUNT_MAX {
                    return Counted::No;
                }
            }
            b' ' => {
                return match bytes.get(at + 1) {
                    Some(b'<') => Counted::Yes { start: at + 1, len },
                    Some(_) => Counted::No,
                    None => Counted::Unknown,
                };
            }
            _ => return Counted::No,
        }
    }
    Counted::Unknown
}

/// What the frame at the beginning of `bytes` is. Up to `seen` there is no end of a line. `counted`: whether the frame before had a count.
fn step(bytes: &[u8], seen: usize, max: usize, counted: bool) -> Step {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
    if blank > 0 {
        return Step::Skip(blank);
    }
    match count(bytes) {
        Counted::Yes { start, len } if len > max as u64 => return Step::LongCount { start, len },
        Counted::Yes { start, len } => {
            let end = start + usize::try_from(len).unwrap_or(usize::MAX);
            return if bytes.len() < end { Step::More { seen: 0 } } else { Step::Whole { start, end, next: end } };
        }
        Counted::Unknown => return Step::More { seen: 0 },
        Counted::No => {}
    }
    let stray = counted && bytes.first() != Some(&b'<');
    match end_of_line(bytes, seen, stray) {
        Ok((end, next)) if end <= max => Step::Whole { start: 0, end, next },
        Err(seen) if bytes.len() <= max + HEAD => Step::More { seen },
        _ => Step::LongLine { stray },
    }
}

/// Where the line ends and the next frame begins; or up to where there is no end. A `stray` line ends also where a counted frame begins.
fn end_of_line(bytes: &[u8], seen: usize, stray: bool) -> Result<(usize, usize), usize> {
    if !stray {
        let rest = bytes.get(seen..).unwrap_or_default();
        return memchr::memchr2(b'\n', 0, rest).map(|found| (seen + found, seen + found + 1)).ok_or(bytes.len());
    }
    let mut at = seen;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr3(b'\n', 0, b'<', rest)) {
        at += found;
        if bytes.get(at) != Some(&b'<') {
            return Ok((at, at + 1));
        }
        if let Some(start) = counted_before(bytes, at) {
            match priority(bytes.get(at + 1..).unwrap_or_default()) {
                Some(true) => return Ok((start, start)),
                Some(false) => {}
                None => return Err(at),
            }
        }
        at += 1;
    }
    Err(bytes.len())
}

/// Where the count begins that ends in a blank before `at`: one to seven digits.
fn counted_before(bytes: &[u8], at: usize) -> Option<usize> {
    let blank = at.checked_sub(1).filter(|blank| bytes.get(*blank) == Some(&b' '))?;
    let digits = bytes.get(..blank)?.iter().rev().take(8).take_while(|byte| byte.is_ascii_digit()).count();
    let start = blank - digits;
    ((1..=7).contains(&digits) && bytes.get(start) != Some(&b'0')).then_some(start)
}

/// Whether `13>` follows; `None` if that cannot be told yet.
fn priority(bytes: &[u8]) -> Option<bool> {
    let digits = bytes.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    match bytes.get(digits) {
        None if digits < 4 => None,
        Some(b'>') => Some((1..=3).contains(&digits)),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Messages and missing bytes, of a stream that comes in pieces of these lengths, again and again.
    fn frames(stream: &[u8], max: usize, pieces: &[usize]) -> Vec<(String, u64)> {
        let mut framer = Framer::new(max);
        let mut out = Vec::new();
        let mut rest = stream;
        let mut lengths = pieces.iter().cycle();
        while !rest.is_empty() {
            let len = lengths.next().map_or(rest.len(), |len| (*len).clamp(1, rest.len()));
            let (piece, after) = rest.split_at(len);
            framer.push(piece, |frame| out.push((String::from_utf8_lossy(frame.bytes).into_owned(), frame.missing)));
            assert!(framer.held() <= max + 2 * HEAD, "{} held", framer.held());
            rest = after;
        }
        framer.finish(|frame| out.push((String::from_utf8_lossy(frame.bytes).into_owned(), frame.missing)));
        out
    }

    #[track_caller]
    fn holds(stream: &str, want: &[&str]) {
        for pieces in [&[][..], &[1], &[3], &[2, 5, 1]] {
            let found = frames(stream.as_bytes(), 100, pieces);
            let want: Vec<_> = want.iter().map(|text| ((*text).to_owned(), 0)).collect();
            assert_eq!(found, want, "{stream:?} in pieces of {pieces:?}");
        }
    }

    #[test]
    fn framings() {
        holds("<13>one\n<13>two\r\n\n<13>three", &["<13>one", "<13>two", "<13>three"]);
        holds("<13>one\0<13>two\0\n", &["<13>one", "<13>two"]);
        holds("7 <13>one7 <13>two", &["<13>one", "<13>two"]);
        holds("8 <13>one\n9 <13>a\nb\n\n7 <13>two\n", &["<13>one", "<13>a\nb", "<13>two"]);
        // All in one stream.
        holds("<13>one\n7 <13>two<13>three\n9 <13>four4", &["<13>one", "<13>two", "<13>three", "<13>four4"]);
        // Text without a priority, and numbers that are no counts.
        holds("hello\n  12 apples\n12 apples\n7\n7 x\n", &["hello", "  12 apples", "12 apples", "7", "7 x"]);
        holds("12345678 <13>x\n0 <13>x\n", &["12345678 <13>x", "0 <13>x"]);
        // Nothing is no message.
        holds("\n\0\r\n", &[]);
        holds("", &[]);
        // What is left at the end.
        holds("<13>one\n<13>tw", &["<13>one", "<13>tw"]);
        holds("7 <13>one20 <13>tw", &["<13>one", "<13>tw"]);
        holds("7 <13>one20 ", &["<13>one", "20 "]);
    }

    #[test]
    fn a_wrong_count_costs_one_message() {
        // Too small, as when characters were counted: the rest is a message of its own.
        holds("5 <13>one7 <13>two8 <13>more", &["<13>o", "ne", "<13>two", "<13>more"]);
        // Too large: it takes from the next one.
        holds("9 <13>one7 <13>two8 <13>more", &["<13>one7 ", "<13>two8 <13>more"]);
        holds("10 <13>one7 <13>two8 <13>more", &["<13>one7 <", "13>two", "<13>more"]);
        // Signs that look like it are no beginning.
        holds("5 <13>one 8 <x> 9<13> <14> 7 <1234> 00 <13>\n", &["<13>o", "ne 8 <x> 9<13> <14> 7 <1234> 00 <13>"]);
        // Before anything was counted a line is a line.
        holds("see 7 <13>two\n", &["see 7 <13>two"]);
    }

    #[test]
    fn a_long_message_is_cut() {
        for pieces in [&[][..], &[1], &[7], &[100], &[9000, 1]] {
            let cut = |stream: &str, max| frames(stream.as_bytes(), max, pieces);
            let x = "x".repeat(20_000);
            let stream = format!("<13>{x}\n<13>one\n");
            assert_eq!(cut(&stream, 10), [("<13>xxxxxx".to_owned(), 19_994), ("<13>one".to_owned(), 0)]);
            let stream = format!("20004 <13>{x}7 <13>one");
            assert_eq!(cut(&stream, 10), [("<13>xxxxxx".to_owned(), 19_994), ("<13>one".to_owned(), 0)]);
            // In a stray line the next frame is found all the same.
            let stream = format!("7 <13>one{x}7 <13>two7 <13>six");
            let one = |text: &str| (text.to_owned(), 0);
            assert_eq!(cut(&stream, 10), [one("<13>one"), ("x".repeat(10), 19_990), one("<13>two"), one("<13>six")]);
            let stream = format!("7 <13>one{x}104 <13>{}", "y".repeat(100));
            let long = ("<13>yyyyyy".to_owned(), 94);
            assert_eq!(cut(&stream, 10), [one("<13>one"), ("x".repeat(10), 19_990), long]);
            // As long as it may be.
            assert_eq!(cut("<13>abcdef\n10 <13>abcdef", 10), [one("<13>abcdef"), one("<13>abcdef")]);
            assert_eq!(
                cut("<13>abcdefg\n11 <13>abcdefg", 10),
                [("<13>abcdef".to_owned(), 1), ("<13>abcdef".to_owned(), 1)]
            );
            // It ends with the stream.
            assert_eq!(cut(&format!("<13>{x}"), 10), [("<13>xxxxxx".to_owned(), 19_994)]);
            assert_eq!(cut("20004 <13>xxxxxxxxxx", 10), [("<13>xxxxxx".to_owned(), 4)]);
        }
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            "[a-z<>0-9 \n\0]{0,12}".prop_map(String::into_bytes),
            "[a-z]{0,20}".prop_map(|text| format!("{} <13>{text}", text.len() + 4).into_bytes()),
            "[a-z]{0,20}".prop_map(|text| format!("<13>{text}\n").into_bytes()),
            ("[a-z\n]{0,30}", 1..40_usize).prop_map(|(text, len)| format!("{len} <13>{text}").into_bytes()),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(stream in stream(), max in 1..40_usize, pieces in prop::collection::vec(1..30_usize, 1..6)) {
            let whole = frames(&stream, max, &[]);
            prop_assert_eq!(&frames(&stream, max, &[1]), &whole);
            prop_assert_eq!(&frames(&stream, max, &pieces), &whole);
            for (text, missing) in &whole {
                prop_assert!(!text.is_empty());
                prop_assert!(text.chars().count() <= max);
                prop_assert!(*missing <= SYSLOG_COUNT_MAX);
            }
        }

        #[test]
        fn what_was_framed_is_found(texts in prop::collection::vec(("[^\n\r\0<]{0,30}", any::<bool>()), 0..10), pieces in prop::collection::vec(1..30_usize, 1..4)) {
            let mut stream = String::new();
            let mut want = Vec::new();
            for (text, counted) in texts {
                let text = format!("<13>{text}");
                if counted {
                    stream.push_str(&format!("{} {text}", text.len()));
                } else {
                    stream.push_str(&format!("{text}\n"));
                }
                want.push((text, 0));
            }
            prop_assert_eq!(frames(stream.as_bytes(), 1000, &pieces), want);
        }
    }
}
