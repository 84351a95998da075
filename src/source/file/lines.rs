//! Cutting what was read into lines, and repairing the lines that Loki would not take.
//!
//! A line ends with `\n`; a `\r` before it does not count. The usual chunk is cut without touching a byte: the index refers to
//! the read buffer. Only when a chunk has a line that is too long, bytes that are not UTF-8, or a run of NUL bytes, its lines are
//! copied, and each repair is visible in the line and counted:
//!
//! - too long: the head is kept, followed by ` [truncated: line of N bytes]`, the cap in all;
//! - not UTF-8: each bad sequence becomes U+FFFD;
//! - not decodable, where another encoding was named: the same;
//! - a run of at least [`NUL_RUN_BYTES`] NUL bytes (a hole, a block that was never written): `[N NUL bytes]`.
//!
//! Promises: every span is valid UTF-8 and at most the cap long; the cut depends on the bytes alone. No I/O.

use super::encoding::Decoding;
use crate::base::limits::{CHUNK_LINES, NUL_RUN_BYTES};
use crate::base::rate::Allowance;
use crate::model::flow::Span;
use std::fmt::Write;

/// How many lines were repaired, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Repairs {
    pub truncated: u64,
    pub not_utf8: u64,
    pub not_decodable: u64,
    pub nul_runs: u64,
}

/// A line, or the head of one that is too long to be held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    /// What is here of it.
    pub bytes: &'a [u8],
    /// How many NUL bytes come before that.
    pub leading_nuls: u64,
    /// Its bytes in the file, newline apart.
    pub total: u64,
    /// Nothing of it comes after.
    pub is_whole: bool,
}

/// Recycled space for the cutting of one chunk after the other.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    spans: Vec<Span>,
    repaired: Vec<u8>,
    is_repaired: bool,
    text: String,
    decoded: Vec<u8>,
}

impl Cutter {
    #[cfg(test)]
    pub(super) fn cut(&mut self, data: &[u8], line_bytes: usize, last_too: bool) -> (usize, Repairs) {
        self.cut_some(data, line_bytes, last_too, CHUNK_LINES)
    }

    /// Cuts `data`, which begins at the start of a line. Gives the number of bytes that are in complete lines, at most `most` and at most
    /// [`CHUNK_LINES`] of them, and the repairs. With `last_too`, a rest without newline counts as a line.
    pub(super) fn cut_some(&mut self, data: &[u8], line_bytes: usize, last_too: bool, most: usize) -> (usize, Repairs) {
        let most = most.clamp(1, CHUNK_LINES);
        self.spans.clear();
        self.is_repaired = false;
        let mut start = 0;
        let mut longest = 0;
        for newline in memchr::memchr_iter(b'\n', data) {
            longest = longest.max(newline - start);
            self.push_span(data, start, newline);
            start = newline + 1;
            if self.spans.len() == most {
                break;
            }
        }
        if last_too && start < data.len() && self.spans.len() < most {
            longest = longest.max(data.len() - start);
            self.push_span(data, start, data.len());
            start = data.len();
        }
        let whole = data.get(..start).unwrap_or_default();
        let suspicious = longest > line_bytes || has_nul_run(whole) || std::str::from_utf8(whole).is_err();
        let repairs = if suspicious { self.repair_all(whole, line_bytes) } else { Repairs::default() };
        (start, repairs)
    }

    /// As [`Cutter::cut_some`], for bytes of another encoding that lie at `offset` of their file.
    pub(super) fn cut_encoded(
        &mut self,
        data: &[u8],
        decoding: &Decoding,
        offset: u64,
        line_bytes: usize,
        last_too: bool,
        allowance: Allowance,
    ) -> (usize, Repairs) {
        self.spans.clear();
        self.repaired.clear();
        self.is_repaired = true;
        let mut repairs = Repairs::default();
        let mut start = 0;
        // The second half of a unit whose first half was sent as the end of a line.
        let mut from = decoding.torn(offset).min(data.len());
        let most = usize::try_from(allowance.lines).unwrap_or(usize::MAX).clamp(1, CHUNK_LINES);
        while self.spans.len() < most {
            let (end, next) = match decoding.newline(data, from, offset) {
                Some(newline) => (newline, newline + decoding.unit()),
                None if last_too && start < data.len() => (data.len(), data.len()),
                None => break,
            };
            if next as u64 > allowance.bytes && !self.spans.is_empty() {
                break;
            }
            let line = data.get(from..end).unwrap_or_default();
            let is_first = offset == 0 && start == 0;
            let line = Found { bytes: line, leading_nuls: 0, total: line.len() as u64, is_whole: true };
            self.push_decoded(&line, decoding, is_first, line_bytes, &mut repairs);
            (start, from) = (next, next);
        }
        (start, repairs)
    }

    /// As [`Cutter::long_line`], for a line of another encoding that begins its file or does not.
    pub(super) fn long_line_encoded(
        &mut self,
        line: &Found<'_>,
        decoding: &Decoding,
        is_first: bool,
        line_bytes: usize,
    ) -> Repairs {
        self.spans.clear();
        self.repaired.clear();
        self.is_repaired = true;
        let mut repairs = Repairs::default();
        self.push_decoded(line, decoding, is_first, line_bytes, &mut repairs);
        repairs
    }

    /// Makes the chunk of a single line that is longer than a chunk.
    pub(super) fn long_line(&mut self, line: &Found<'_>, line_bytes: usize) -> Repairs {
        self.spans.clear();
        self.repaired.clear();
        self.is_repaired = true;
        let mut repairs = Repairs::default();
        self.push_repaired(line, 1, line_bytes, &mut repairs);
        repairs
    }

    /// The lines of the last cut.
    pub(super) fn lines(&self) -> &[Span] {
        &self.spans
    }

    /// The bytes that the lines refer to, given the data of the last cut.
    pub(super) fn bytes<'a>(&'a self, data: &'a [u8]) -> &'a [u8] {
        if self.is_repaired { &self.repaired } else { data }
    }

    fn push_span(&mut self, data: &[u8], start: usize, end: usize) {
        let has_return = end > start && data.get(end - 1) == Some(&b'\r');
        // A chunk is far below 4 GiB.
        self.spans.push(Span { start: start as u32, end: (end - usize::from(has_return)) as u32 });
    }

    fn repair_all(&mut self, data: &[u8], line_bytes: usize) -> Repairs {
        let mut repairs = Repairs::default();
        let spans = std::mem::take(&mut self.spans);
        self.spans.reserve(spans.len());
        self.repaired.clear();
        self.is_repaired = true;
        for span in &spans {
            let line = data.get(span.start as usize..span.end as usize).unwrap_or_default();
            let line = Found { bytes: line, leading_nuls: 0, total: line.len() as u64, is_whole: true };
            self.push_repaired(&line, 1, line_bytes, &mut repairs);
        }
        repairs
    }

    /// Decodes a line, or the head of one, and repairs what has to be.
    fn push_decoded(
        &mut self,
        line: &Found<'_>,
        decoding: &Decoding,
        is_first: bool,
        line_bytes: usize,
        repairs: &mut Repairs,
    ) {
        let start = self.repaired.len();
        let is_first = is_first && line.leading_nuls == 0;
        let is_clean = decoding.decode(line.bytes, is_first, line.is_whole, &mut self.repaired);
        repairs.not_decodable += u64::from(!is_clean);
        let text = self.repaired.get(start..).unwrap_or_default();
        let fits = line.is_whole && line.leading_nuls == 0 && text.len() <= line_bytes && !has_nul_run(text);
        if fits {
            self.spans.push(Span { start: start as u32, end: self.repaired.len() as u32 });
            return;
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        decoded.extend_from_slice(text);
        self.repaired.truncate(start);
        let unit = decoding.unit() as u64;
        let line = Found { bytes: &decoded, leading_nuls: line.leading_nuls / unit, ..*line };
        self.push_repaired(&line, unit, line_bytes, repairs);
        self.decoded = decoded;
    }

    /// `unit`: how many bytes of the file a NUL was.
    fn push_repaired(&mut self, line: &Found<'_>, unit: u64, line_bytes: usize, repairs: &mut Repairs) {
        let total = line.total;
        self.text.clear();
        let mut nul_run = line.leading_nuls;
        let mut had_nul_run = false;
        let mut not_utf8 = false;
        let mut rest = line.bytes;
        // Enough of the line to fill the cap; the rest is cut off anyway.
        while self.text.len() <= line_bytes {
            let nuls = rest.iter().take_while(|b| **b == 0).count();
            nul_run += nuls as u64;
            rest = rest.get(nuls..).unwrap_or_default();
            if nul_run >= NUL_RUN_BYTES as u64 {
                had_nul_run = true;
                // Writing to a String cannot fail.
                let _ = write!(self.text, "[{} NUL bytes]", nul_run * unit);
            } else {
                self.text.extend(std::iter::repeat_n('\0', nul_run as usize));
            }
            nul_run = 0;
            if rest.is_empty() {
                break;
            }
            let end = memchr::memchr(0, rest).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            for piece in part.utf8_chunks() {
                self.text.push_str(piece.valid());
                if !piece.invalid().is_empty() {
                    not_utf8 = true;
                    self.text.push(char::REPLACEMENT_CHARACTER);
                }
                if self.text.len() > line_bytes {
                    break;
                }
            }
            rest = after;
        }
        // A line that shrank by its repair may fit after all; one of which only the head is here does not.
        if self.text.len() > line_bytes || !line.is_whole {
            repairs.truncated += 1;
            let mark = format!(" [truncated: line of {total} bytes]");
            let keep = self.text.floor_char_boundary(line_bytes.saturating_sub(mark.len()));
            self.text.truncate(keep);
            self.text.push_str(&mark);
        }
        repairs.nul_runs += u64::from(had_nul_run);
        repairs.not_utf8 += u64::from(not_utf8);
        let start = self.repaired.len() as u32;
        self.repaired.extend_from_slice(self.text.as_bytes());
        self.spans.push(Span { start, end: self.repaired.len() as u32 });
    }
}

/// A line that does not come from a file, as it would be sent if it did. `head`: its beginning, at least as much as a line may be long and one
/// byte more; `total`: its length, bytes; `line_bytes`: the cap.
pub fn repaired(head: &[u8], total: u64, line_bytes: usize) -> String {
    let is_whole = head.len() as u64 == total;
    let head = head.strip_suffix(b"\r").filter(|_| is_whole).unwrap_or(head);
    let mut cutter = Cutter::default();
    cutter.long_line(&Found { bytes: head, leading_nuls: 0, total, is_whole }, line_bytes);
    String::from_utf8_lossy(cutter.bytes(&[])).into_owned()
}

fn has_nul_run(data: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = data.get(at..).and_then(|rest| memchr::memchr(0, rest)) {
        let start = at + found;
        let run = data.get(start..).unwrap_or_default().iter().take(NUL_RUN_BYTES).take_while(|b| **b == 0).count();
        if run >= NUL_RUN_BYTES {
            return true;
        }
        at = start + run;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(data: &[u8], line_bytes: usize, last_too: bool) -> (Vec<String>, usize, Repairs) {
        let mut cutter = Cutter::default();
        let (consumed, repairs) = cutter.cut(data, line_bytes, last_too);
        (texts(&cutter, data), consumed, repairs)
    }

    fn texts(cutter: &Cutter, data: &[u8]) -> Vec<String> {
        let bytes = cutter.bytes(data);
        let line = |s: &Span| String::from_utf8(bytes[s.start as usize..s.end as usize].to_vec()).unwrap();
        cutter.lines().iter().map(line).collect()
    }

    #[test]
    fn lines_end_with_newline_and_a_return_does_not_count() {
        let (lines, consumed, repairs) = cut(b"one\r\n\n\r\ntwo\rx\nrest", 256, false);
        assert_eq!(lines, ["one", "", "", "two\rx"]);
        assert_eq!((consumed, repairs), (14, Repairs::default()));
        assert_eq!(cut(b"a\nrest", 256, true).0, ["a", "rest"]);
        assert_eq!(cut(b"a\n", 256, true).0, ["a"]);
        assert_eq!(cut(b"rest", 256, false), (vec![], 0, Repairs::default()));
    }

    #[test]
    fn a_line_over_the_cap_keeps_its_head_and_says_its_length() {
        let data = [b"ok\n".as_slice(), "ä".repeat(300).as_bytes(), b"\nafter\n"].concat();
        let (lines, _, repairs) = cut(&data, 256, false);
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("ää") && lines[1].ends_with(" [truncated: line of 600 bytes]"), "{}", lines[1]);
        assert!(lines[1].len() <= 256);
        assert_eq!((lines[0].as_str(), lines[2].as_str()), ("ok", "after"));
        assert_eq!(repairs, Repairs { truncated: 1, ..Repairs::default() });
    }

    #[test]
    fn bad_utf8_and_nul_runs_are_visible() {
        let data = [b"a\xffb\n".as_slice(), b"x", &[0; 20], b"y\n", b"few\0\0nuls\n"].concat();
        let (lines, _, repairs) = cut(&data, 256, false);
        assert_eq!(lines, ["a\u{fffd}b", "x[20 NUL bytes]y", "few\0\0nuls"]);
        assert_eq!(repairs, Repairs { not_utf8: 1, nul_runs: 1, ..Repairs::default() });
    }

    #[test]
    fn a_long_line_is_made_of_its_head() {
        let mut cutter = Cutter::default();
        let line = Found { bytes: b"head", leading_nuls: 1 << 30, total: (1 << 30) + 4, is_whole: true };
        let repairs = cutter.long_line(&line, 256);
        assert_eq!(texts(&cutter, b""), ["[1073741824 NUL bytes]head"]);
        assert_eq!(repairs, Repairs { nul_runs: 1, ..Repairs::default() });
        let line = Found { bytes: &[b'x'; 1000], leading_nuls: 0, total: 5000, is_whole: false };
        let repairs = cutter.long_line(&line, 256);
        assert!(texts(&cutter, b"")[0].ends_with("x [truncated: line of 5000 bytes]"));
        assert_eq!(repairs, Repairs { truncated: 1, ..Repairs::default() });
    }

    #[test]
    fn a_chunk_has_a_bounded_number_of_lines() {
        let data = vec![b'\n'; CHUNK_LINES + 5];
        let (lines, consumed, _) = cut(&data, 256, false);
        assert_eq!((lines.len(), consumed), (CHUNK_LINES, CHUNK_LINES));
    }

    proptest! {
        #[test]
        fn any_bytes_give_valid_lines_within_the_cap(
            data in prop::collection::vec(prop_oneof![Just(b'\n'), Just(0u8), any::<u8>(), Just(b'a')], 0..3000),
            last_too: bool,
        ) {
            let (lines, consumed, _) = cut(&data, 300, last_too);
            prop_assert!(lines.iter().all(|l| l.len() <= 300 && !l.contains('\n')));
            let newlines = data[..consumed].iter().filter(|b| **b == b'\n').count();
            let rest = consumed > 0 && data[consumed - 1] != b'\n';
            prop_assert_eq!(lines.len(), newlines + usize::from(rest));
            prop_assert!(!data[consumed..].contains(&b'\n'));
        }
    }
}
