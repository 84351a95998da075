//! What the bytes of a file mean, where they are not UTF-8.
//!
//! Names are those of the WHATWG Encoding Standard, which has the usual IANA names and aliases (`latin1`, `shift_jis`, `gbk`). A file keeps
//! its raw bytes: offsets count them, lines are cut at the newlines among them, and only the text of a line is decoded, each line by
//! itself. That works since in all of these encodings but UTF-16 the byte 0x0A is always a newline, never a part of another character; in
//! UTF-16 a newline is the unit 0x000A at an even offset.
//!
//! Promises: the text of a line depends on its bytes alone; decoding never fails, what is not decodable becomes U+FFFD and is told.
//! Leaves to others: reading, the cap of a line.

use super::read::read_at;
use std::fs::File;
use std::io;

/// The encoding of a source's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Encoding(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// Taken as it is.
    #[default]
    Utf8,
    /// UTF-16 whose byte order its first two bytes tell; little-endian without such a mark, as on Windows.
    Utf16,
    Other(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// The encoding with this name, in upper or lower case. `None` for unknown names, and for encodings that no text can be decoded from.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        if name.eq_ignore_ascii_case("utf-16") || name.eq_ignore_ascii_case("utf16") {
            return Some(Encoding(Kind::Utf16));
        }
        // Stateful over lines, or made for something else than text.
        let is_unfit =
            |e| e == encoding_rs::REPLACEMENT || e == encoding_rs::X_USER_DEFINED || e == encoding_rs::ISO_2022_JP;
        let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).filter(|e| !is_unfit(*e))?;
        Some(Encoding(if encoding == encoding_rs::UTF_8 { Kind::Utf8 } else { Kind::Other(encoding) }))
    }

    /// Names to suggest to somebody who wrote another one.
    pub const COMMON: [&'static str; 14] = [
        "utf-8",
        "utf-16",
        "utf-16le",
        "utf-16be",
        "latin1",
        "iso-8859-15",
        "windows-1251",
        "windows-1252",
        "koi8-r",
        "shift_jis",
        "euc-jp",
        "euc-kr",
        "gbk",
        "big5",
    ];

    /// How to decode `file`. `None`: its bytes are taken for UTF-8 as they are.
    pub(super) fn of_file(self, file: &File) -> io::Result<Option<Decoding>> {
        let encoding = match self.0 {
            Kind::Utf8 => return Ok(None),
            Kind::Other(encoding) => encoding,
            Kind::Utf16 => {
                let mut mark = [0; 2];
                let got = read_at(file, &mut mark, 0)?;
                if got == 2 && mark == BIG_ENDIAN_MARK { encoding_rs::UTF_16BE } else { encoding_rs::UTF_16LE }
            }
        };
        Ok(Some(Decoding::new(encoding)))
    }
}

const BIG_ENDIAN_MARK: [u8; 2] = [0xfe, 0xff];
const LITTLE_ENDIAN_MARK: [u8; 2] = [0xff, 0xfe];

/// Whether `head`, the first bytes of a file, are UTF-16's byte order mark. UTF-8 never has these bytes.
pub(super) fn begins_as_utf16(head: &[u8]) -> bool {
    head.starts_with(&BIG_ENDIAN_MARK) || head.starts_with(&LITTLE_ENDIAN_MARK)
}

/// How to find and decode the lines of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decoding {
    encoding: &'static encoding_rs::Encoding,
    wide: Option<Wide>,
}

/// Units of two bytes.
#[derive(Debug, Clone, Copy)]
struct Wide {
    /// Where in a newline's unit the byte 0x0A is: 0 or 1.
    place: usize,
}

impl Decoding {
    fn new(encoding: &'static encoding_rs::Encoding) -> Self {
        let wide = |place| Some(Wide { place });
        let wide = match encoding {
            e if e == encoding_rs::UTF_16LE => wide(0),
            e if e == encoding_rs::UTF_16BE => wide(1),
            _ => None,
        };
        Decoding { encoding, wide }
    }

    /// Bytes of a unit, and so of a newline: 1 or 2.
    pub(super) fn unit(&self) -> usize {
        if self.wide.is_some() { 2 } else { 1 }
    }

    /// How many bytes before the first whole unit there are in what begins at `offset` of the file: 0, or 1 after a torn unit.
    pub(super) fn torn(&self, offset: u64) -> usize {
        usize::from(self.wide.is_some() && !offset.is_multiple_of(2))
    }

    /// Where the first newline at or after `from` begins, in bytes that lie at `offset` of the file.
    pub(super) fn newline(&self, data: &[u8], from: usize, offset: u64) -> Option<usize> {
        memchr::memchr_iter(b'\n', data.get(from..)?).find_map(|at| self.newline_with(data, from, from + at, offset))
    }

    /// Where the last newline begins.
    pub(super) fn last_newline(&self, data: &[u8], offset: u64) -> Option<usize> {
        memchr::memrchr_iter(b'\n', data).find_map(|at| self.newline_with(data, 0, at, offset))
    }

    /// Where the newline begins that the byte 0x0A at `at` belongs to, if it is one of a newline and that does not begin before `from`.
    fn newline_with(&self, data: &[u8], from: usize, at: usize, offset: u64) -> Option<usize> {
        let Some(wide) = self.wide else { return Some(at) };
        let start = at.checked_sub(wide.place).filter(|start| *start >= from)?;
        let other = data.get(start + 1 - wide.place)?;
        let is_aligned = (offset + start as u64).is_multiple_of(2);
        (is_aligned && *other == 0).then_some(start)
    }

    /// Whether bytes that lie at `offset` end with a newline.
    pub(super) fn ends_with_newline(&self, data: &[u8], offset: u64) -> bool {
        data.len().checked_sub(self.unit()).is_some_and(|at| self.newline(data, at, offset) == Some(at))
    }

    /// Appends the text of a line. `is_first`: it begins the file, so that a byte order mark does not count. `is_whole`: nothing of it
    /// follows, so that half a character at its end is an error. Gives false if something was not decodable.
    pub(super) fn decode(&self, line: &[u8], is_first: bool, is_whole: bool, text: &mut Vec<u8>) -> bool {
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        let start = text.len();
        // A line is bounded by what is read at once, so that this is far from overflowing.
        let room = decoder.max_utf8_buffer_length(line.len()).unwrap_or(line.len().saturating_mul(3));
        text.resize(start + room, 0);
        let out = text.get_mut(start..).unwrap_or_default();
        let (_, _, written, had_errors) = decoder.decode_to_utf8(line, out, is_whole);
        text.truncate(start + written);
        const MARK: &[u8] = "\u{feff}".as_bytes();
        if is_first && text.get(start..).is_some_and(|t| t.starts_with(MARK)) {
            text.drain(start..start + MARK.len());
        }
        if text.get(start..).is_some_and(|t| t.ends_with(b"\r")) && is_whole {
            text.pop();
        }
        !had_errors
    }
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
