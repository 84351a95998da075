//! A received message as one line of text, as it waits in an inlet until the file worker reads it.
//!
//! ```text
//! S98501b17 1785578405000000000 - acme 10.0.0.1 job=syslog,site=b - <30>Aug  1 10:00:00 web app: text
//! ```
//!
//! Eight fields with one space between them: the kind (a capital letter) with the CRC-32 of all behind its space, when it was received and its own time (nanoseconds since 1970), tenant,
//! peer, labels and metadata (`name=value` with commas), and the message, which goes to the end of the line. `-` is a field that there is
//! not. A backslash begins an escape: `\n` `\r` `\0` `\\`; in fields `\s` `\c` `\e` (blank, comma, equals sign) and `\-`; in messages
//! `\x`, `\y` and `\z` with two, four and six hexadecimal digits for a sequence of one to three bytes that is not UTF-8. What earlier versions
//! wrote has a small letter for its kind, and no checksum.
//!
//! Promises: any bytes in any piece come back as they were; a line that is not as it was written is no record, but for one case in four billion; the line is UTF-8, has no control character that a reader of lines would
//! repair or take for an end, and is at most [`EXPANSION`] times as long as its pieces, plus [`OVERHEAD`] and two bytes a pair. Decoding
//! allocates nothing, and looks at the message twice. Leaves to others: appending it to a file, what becomes of a line that is no record.

use std::borrow::Cow;

/// How much longer a piece can become, times: a byte that is not UTF-8 becomes four.
pub const EXPANSION: usize = 4;
/// What a line has beside its pieces, bytes at most: kind, checksum, two times, separators, newline.
pub const OVERHEAD: usize = 64;

/// What the message of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A syslog message as it came from the network.
    Syslog,
    /// A syslog message from the host's own socket, where no hostname is sent.
    SyslogLocal,
    /// The text of an entry that was pushed, with its labels and metadata.
    Push,
    /// A GELF message, as JSON.
    Gelf,
    /// A line without any form: stdin, a raw push.
    Line,
    /// What a container wrote.
    Docker,
}

const KINDS: [(Kind, u8); 6] = [
    (Kind::Syslog, b's'),
    (Kind::SyslogLocal, b'u'),
    (Kind::Push, b'p'),
    (Kind::Gelf, b'g'),
    (Kind::Line, b'l'),
    (Kind::Docker, b'd'),
];

/// Hexadecimal digits of the checksum.
const SUM_DIGITS: usize = 8;

/// The pieces of a record that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Pieces<'a> {
    /// What the message is.
    pub kind: Kind,
    /// When it was received, nanoseconds since 1970.
    pub received_ns: i64,
    /// Its own time, if the sender gave one beside the message.
    pub time_ns: Option<i64>,
    /// Whose it is.
    pub tenant: Option<&'a str>,
    /// The address that it came from.
    pub peer: Option<&'a str>,
    /// The message, any bytes.
    pub message: &'a [u8],
}

/// Appends a record and its newline.
///
/// ```
/// use lugger::format::record::{Kind, Pieces, decode, encode};
/// let pieces = Pieces { kind: Kind::Line, received_ns: 7, time_ns: None, tenant: None, peer: None, message: b"a\nb" };
/// let mut line = Vec::new();
/// encode(&pieces, [("job", "x y")], [], &mut line);
/// assert_eq!(line, b"L47ece67f 7 - - - job=x\\sy - a\\nb\n");
/// let line = std::str::from_utf8(&line).unwrap().trim_end_matches('\n');
/// assert_eq!(decode(line).unwrap().message.text(), "a\nb");
/// ```
pub fn encode<'p>(
    pieces: &Pieces<'_>,
    labels: impl IntoIterator<Item = (&'p str, &'p str)>,
    metadata: impl IntoIterator<Item = (&'p str, &'p str)>,
    to: &mut Vec<u8>,
) {
    let letter = KINDS.iter().find(|(kind, _)| *kind == pieces.kind).map_or(b'l', |(_, letter)| *letter);
    to.push(letter.to_ascii_uppercase());
    let sum_at = to.len();
    to.extend_from_slice(&[0; SUM_DIGITS]);
    to.push(b' ');
    write_number(pieces.received_ns, to);
    to.push(b' ');
    match pieces.time_ns {
        Some(ns) => write_number(ns, to),
        None => to.push(b'-'),
    }
    for field in [pieces.tenant, pieces.peer] {
        to.push(b' ');
        match field {
            // Not to be taken for a field that there is not.
            Some("-") => to.extend_from_slice(b"\\-"),
            Some(text) => write_field(text, to),
            None => to.push(b'-'),
        }
    }
    write_pairs(labels, to);
    write_pairs(metadata, to);
    to.push(b' ');
    write_message(pieces.message, to);
    let sum = sum(letter, to.get(sum_at + SUM_DIGITS + 1..).unwrap_or_default());
    if let Some(place) = to.get_mut(sum_at..sum_at + SUM_DIGITS) {
        place.copy_from_slice(&sum);
    }
    to.push(b'\n');
}

/// The checksum as it is written, of a kind and what is behind it.
fn sum(letter: u8, bytes: &[u8]) -> [u8; SUM_DIGITS] {
    let mut hasher = crc32fast::Hasher::new_with_initial(u32::from(letter));
    hasher.update(bytes);
    let mut digits = [0; SUM_DIGITS];
    for (place, byte) in digits.chunks_exact_mut(2).zip(hasher.finalize().to_be_bytes()) {
        place.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}

/// A value below 16 as a hexadecimal digit.
fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

fn write_pairs<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>, to: &mut Vec<u8>) {
    let mut separator = b' ';
    for (name, value) in pairs {
        to.push(separator);
        write_field(name, to);
        to.push(b'=');
        write_field(value, to);
        separator = b',';
    }
    if separator == b' ' {
        to.extend_from_slice(b" -");
    }
}

/// A short text: names, values, addresses.
fn write_field(text: &str, to: &mut Vec<u8>) {
    for byte in text.bytes() {
        let letter = match byte {
            b' ' => b's',
            b',' => b'c',
            b'=' => b'e',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            0 => b'0',
            _ => {
                to.push(byte);
                continue;
            }
        };
        to.extend_from_slice(&[b'\\', letter]);
    }
}

fn write_message(message: &[u8], to: &mut Vec<u8>) {
    match std::str::from_utf8(message) {
        Ok(_) => write_text(message, to),
        Err(_) => {
            for piece in message.utf8_chunks() {
                write_text(piece.valid().as_bytes(), to);
                write_invalid(piece.invalid(), to);
            }
        }
    }
}

/// One sequence that is not UTF-8, so that it can be shown as one.
fn write_invalid(bytes: &[u8], to: &mut Vec<u8>) {
    let letter = match bytes.len() {
        0 => return,
        1 => b'x',
        2 => b'y',
        _ => b'z',
    };
    to.extend_from_slice(&[b'\\', letter]);
    to.extend(bytes.iter().take(3).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// Text in UTF-8. Mostly nothing in it has to be escaped.
fn write_text(text: &[u8], to: &mut Vec<u8>) {
    to.reserve(text.len());
    if memchr::memchr(0, text).is_none() {
        return write_lines(text, to);
    }
    for (index, part) in text.split(|byte| *byte == 0).enumerate() {
        if index > 0 {
            to.extend_from_slice(b"\\0");
        }
        write_lines(part, to);
    }
}

fn write_lines(text: &[u8], to: &mut Vec<u8>) {
    let mut done = 0;
    for at in memchr::memchr3_iter(b'\n', b'\r', b'\\', text) {
        to.extend_from_slice(text.get(done..at).unwrap_or_default());
        let letter = match text.get(at) {
            Some(b'\n') => b'n',
            Some(b'\r') => b'r',
            _ => b'\\',
        };
        to.extend_from_slice(&[b'\\', letter]);
        done = at + 1;
    }
    to.extend_from_slice(text.get(done..).unwrap_or_default());
}

fn write_number(number: i64, to: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut rest = number.unsigned_abs();
    let mut len = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        len += 1;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        to.push(b'-');
    }
    to.extend_from_slice(digits.get(digits.len() - len..).unwrap_or_default());
}

/// A record, taken apart; all pieces are borrowed from its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the message is.
    pub kind: Kind,
    /// When it was received, nanoseconds since 1970.
    pub received_ns: i64,
    /// Its own time, if the sender gave one beside the message.
    pub time_ns: Option<i64>,
    /// Whose it is.
    pub tenant: Option<Text<'a>>,
    /// The address that it came from.
    pub peer: Option<Text<'a>>,
    /// Labels.
    pub labels: Pairs<'a>,
    /// Structured metadata.
    pub metadata: Pairs<'a>,
    /// The message.
    pub message: Text<'a>,
}

/// That a line is no record: which field is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record: its {0} is missing or malformed")]
pub struct Malformed(pub &'static str);

/// Takes a line apart, without its newline. One that is damaged is none.
pub fn decode(line: &str) -> Result<Record<'_>, Malformed> {
    let (first, mut rest) = line.split_once(' ').ok_or(Malformed("kind"))?;
    let (letter, written) = first.as_bytes().split_first().ok_or(Malformed("kind"))?;
    let is_kind = |(_, known): &&(Kind, u8)| *known == letter.to_ascii_lowercase();
    let (kind, known) = *KINDS.iter().find(is_kind).ok_or(Malformed("kind"))?;
    if letter.is_ascii_uppercase() {
        if *written != sum(known, rest.as_bytes()) {
            return Err(Malformed("checksum"));
        }
    } else if !written.is_empty() {
        return Err(Malformed("kind"));
    }
    let mut field = |name: &'static str| {
        let (field, after) = rest.split_once(' ').ok_or(Malformed(name))?;
        rest = after;
        Ok(field)
    };
    let received_ns = field("time of receipt")?.parse().map_err(|_| Malformed("time of receipt"))?;
    let time_ns = match field("time")? {
        "-" => None,
        digits => Some(digits.parse().map_err(|_| Malformed("time"))?),
    };
    let tenant = text(field("tenant")?);
    let peer = text(field("peer")?);
    let labels = Pairs::of(field("labels")?);
    let metadata = Pairs::of(field("metadata")?);
    Ok(Record { kind, received_ns, time_ns, tenant, peer, labels, metadata, message: Text(rest) })
}

fn text(field: &str) -> Option<Text<'_>> {
    (field != "-").then_some(Text(field))
}

/// Text as it stands in the line, with its escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// The text where there is nothing to unescape, which is the usual case.
    pub fn plain(self) -> Option<&'a str> {
        memchr::memchr(b'\\', self.0.as_bytes()).is_none().then_some(self.0)
    }

    /// The text, with U+FFFD where it is not UTF-8. Allocates only where there is something to unescape.
    pub fn text(self) -> Cow<'a, str> {
        self.plain().map_or_else(
            || {
                let mut text = String::with_capacity(self.0.len());
                self.write(&mut text);
                Cow::Owned(text)
            },
            Cow::Borrowed,
        )
    }

    /// Appends the text, with U+FFFD where it is not UTF-8.
    pub fn write(self, to: &mut String) {
        for part in self.parts() {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Invalid(..) => to.push(char::REPLACEMENT_CHARACTER),
            }
        }
    }

    /// Appends the bytes that were written.
    pub fn write_bytes(self, to: &mut Vec<u8>) {
        for part in self.parts() {
            match part {
                Part::Text(text) => to.extend_from_slice(text.as_bytes()),
                Part::Invalid(bytes, len) => to.extend(bytes.into_iter().take(len)),
            }
        }
    }

    fn parts(self) -> Parts<'a> {
        Parts(self.0)
    }
}

enum Part<'a> {
    Text(&'a str),
    /// So many bytes that are not UTF-8.
    Invalid([u8; 3], usize),
}

/// What a text is made of. An escape that there is not, which nobody writes, stands for itself.
struct Parts<'a>(&'a str);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let text = self.0;
        if text.is_empty() {
            return None;
        }
        let Some(after) = text.strip_prefix('\\') else {
            let len = memchr::memchr(b'\\', text.as_bytes()).unwrap_or(text.len());
            let (plain, rest) = text.split_at_checked(len)?;
            self.0 = rest;
            return Some(Part::Text(plain));
        };
        let meaning = match after.as_bytes().first() {
            Some(b'n') => "\n",
            Some(b'r') => "\r",
            Some(b'0') => "\0",
            Some(b's') => " ",
            Some(b'c') => ",",
            Some(b'e') => "=",
            Some(b'-') => "-",
            Some(b'\\') => "\\",
            Some(letter @ b'x'..=b'z') => {
                let len = usize::from(letter - b'x') + 1;
                let Some(bytes) = after.get(1..1 + 2 * len).and_then(hexadecimal) else {
                    self.0 = after;
                    return Some(Part::Text("\\"));
                };
                self.0 = after.get(1 + 2 * len..)?;
                return Some(Part::Invalid(bytes, len));
            }
            _ => {
                self.0 = after;
                return Some(Part::Text("\\"));
            }
        };
        self.0 = after.get(1..)?;
        Some(Part::Text(meaning))
    }
}

/// Up to three bytes in hexadecimal digits.
fn hexadecimal(digits: &str) -> Option<[u8; 3]> {
    let mut bytes = [0; 3];
    for (place, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        for digit in pair {
            *place = *place << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(bytes)
}

/// Names with values, in the order in which they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pairs<'a>(&'a str);

impl<'a> Pairs<'a> {
    fn of(field: &'a str) -> Self {
        Pairs(if field == "-" { "" } else { field })
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// As they stand in the line: the same pairs in the same order are the same text.
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// Each name with its value. What has no equals sign, which nobody writes, is passed over.
    pub fn iter(self) -> impl Iterator<Item = (Text<'a>, Text<'a>)> {
        let pairs = self.0.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (Text(name), Text(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(message: &[u8]) -> Pieces<'_> {
        Pieces { kind: Kind::Syslog, received_ns: 5, time_ns: None, tenant: None, peer: None, message }
    }

    fn line(pieces: &Pieces<'_>, labels: &[(&str, &str)]) -> String {
        let mut line = Vec::new();
        encode(pieces, labels.iter().copied(), [], &mut line);
        String::from_utf8(line).unwrap()
    }

    /// As an earlier version wrote it.
    fn unsummed(line: &str) -> String {
        line[..1].to_lowercase() + &line[1 + SUM_DIGITS..]
    }

    #[test]
    fn lines() {
        let plain = pieces(b"<13>Aug  1 10:00:00 web app: x");
        assert_eq!(line(&plain, &[]), "S2c81d942 5 - - - - - <13>Aug  1 10:00:00 web app: x\n");
        let full = Pieces {
            kind: Kind::Push,
            received_ns: i64::MIN,
            time_ns: Some(i64::MAX),
            tenant: Some("a b"),
            peer: Some("::1"),
            message: b" a\\b\r\n\0\xff\xc3\xa4 ",
        };
        let text = line(&full, &[("job", "x=1,2"), ("", "")]);
        assert_eq!(
            unsummed(&text),
            "p -9223372036854775808 9223372036854775807 a\\sb ::1 job=x\\e1\\c2,= -  a\\\\b\\r\\n\\0\\xffä \n"
        );
        let dash = Pieces { tenant: Some("-"), peer: Some(""), ..pieces(b"") };
        assert_eq!(unsummed(&line(&dash, &[])), "s 5 - \\-  - - \n");
        let text = line(&dash, &[]);
        let found = decode(text.trim_end_matches('\n')).unwrap();
        assert_eq!(found.tenant.map(Text::text).as_deref(), Some("-"));
        assert_eq!(found.peer.map(Text::text).as_deref(), Some(""));
        assert_eq!(found.message.plain(), Some(""));
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let found = decode("s 5 - acme - a=b - x").unwrap();
        assert_eq!((found.kind, found.received_ns, found.message.plain()), (Kind::Syslog, 5, Some("x")));
    }

    #[test]
    fn what_is_no_record() {
        for (bad, field) in [
            ("", "kind"),
            ("s", "kind"),
            ("? 5 - - - - - x", "kind"),
            ("ss 5 - - - - - x", "kind"),
            ("s - - - - - - x", "time of receipt"),
            ("s 99999999999999999999 - - - - - x", "time of receipt"),
            ("s 5 x - - - - x", "time"),
            ("s 5 - -", "tenant"),
            ("s 5 - - -", "peer"),
            ("s 5 - - - -", "labels"),
            ("s 5 - - - - -", "metadata"),
            ("s00000000 5 - - - - - x", "kind"),
            ("S 5 - - - - - x", "checksum"),
            ("S00000000 5 - - - - - x", "checksum"),
        ] {
            assert_eq!(decode(bad), Err(Malformed(field)), "{bad}");
        }
    }

    #[test]
    fn bad_bytes_are_shown_as_everywhere() {
        for bytes in [
            b"\xff\xfea".as_slice(),
            b"\xe2\x82",
            b"\xe2\x82\xe2\x82\xac",
            b"\xf0\x9f\x98\xff\xff\xff\xff\xffx",
            b"\xed\xa0\x80",
        ] {
            let text = line(&pieces(bytes), &[]);
            let found = decode(text.trim_end_matches('\n')).unwrap();
            assert_eq!(found.message.text(), String::from_utf8_lossy(bytes), "{bytes:?}");
            assert_eq!(found.message.plain(), None);
        }
        // Nobody writes these; they are themselves.
        for odd in ["\\", "\\q", "\\x", "\\x1", "\\xqq", "\\y123", "\\zäää", "a\\ä"] {
            assert_eq!(Text(odd).text(), odd);
        }
    }

    proptest! {
        #[test]
        fn everything_comes_back(
            kind in 0..KINDS.len(),
            times in any::<(i64, Option<i64>)>(),
            tenant in prop::option::of("(-|[a =,\\\\\n\0ä]{0,5})"),
            peer in prop::option::of("\\PC{0,9}"),
            labels in prop::collection::vec(("[a-z =,\\\\-]{0,5}", any::<String>()), 0..4),
            metadata in prop::collection::vec(any::<(String, String)>(), 0..3),
            message in prop_oneof![any::<Vec<u8>>(), "[\\\\xyznr0-9 \n\r\0]{0,20}".prop_map(String::into_bytes)],
        ) {
            let (received_ns, time_ns) = times;
            let kind = KINDS[kind].0;
            let written = Pieces { kind, received_ns, time_ns, tenant: tenant.as_deref(), peer: peer.as_deref(), message: &message };
            let borrowed = |pairs: &[(String, String)]| pairs.iter().map(|(n, v)| (n.clone(), v.clone())).collect::<Vec<_>>();
            let mut line = Vec::new();
            encode(
                &written,
                labels.iter().map(|(n, v)| (n.as_str(), v.as_str())),
                metadata.iter().map(|(n, v)| (n.as_str(), v.as_str())),
                &mut line,
            );
            let size: usize = tenant.iter().chain(&peer).map(String::len).sum::<usize>()
                + labels.iter().chain(&metadata).map(|(n, v)| n.len() + v.len() + 2).sum::<usize>()
                + message.len();
            prop_assert!(line.len() <= EXPANSION * size + OVERHEAD);
            prop_assert_eq!(line.pop(), Some(b'\n'));
            prop_assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)));
            let line = String::from_utf8(line).unwrap();
            let found = decode(&line).unwrap();
            prop_assert_eq!((found.kind, found.received_ns, found.time_ns), (kind, received_ns, time_ns));
            prop_assert_eq!(found.tenant.map(|t| t.text().into_owned()), tenant);
            prop_assert_eq!(found.peer.map(|t| t.text().into_owned()), peer);
            let owned = |pairs: Pairs<'_>| pairs.iter().map(|(n, v)| (n.text().into_owned(), v.text().into_owned())).collect::<Vec<_>>();
            prop_assert_eq!(owned(found.labels), borrowed(&labels));
            prop_assert_eq!(owned(found.metadata), borrowed(&metadata));
            let mut bytes = Vec::new();
            found.message.write_bytes(&mut bytes);
            prop_assert_eq!(&bytes, &message);
            prop_assert_eq!(found.message.text(), String::from_utf8_lossy(&message));
        }

        #[test]
        fn what_is_damaged_is_no_record(message in "\\PC{0,60}", bit in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
            let labels = [("job", "x")];
            // What is damaged is read as U+FFFD: one that was there itself, and is damaged, is the same as before.
            let message = message.replace('\u{fffd}', "x");
            let whole = line(&pieces(message.as_bytes()), &labels);
            let whole = whole.trim_end_matches('\n');
            prop_assert!(decode(whole).is_ok());
            let mut bytes = whole.as_bytes().to_vec();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&String::from_utf8_lossy(&bytes)).is_err());
            // What is torn is joined with the next one.
            let at = cut.index(whole.len());
            let torn = String::from_utf8_lossy(&whole.as_bytes()[..at]).into_owned();
            prop_assert!(decode(&torn).is_err());
            prop_assert!(decode(&(torn + whole)).is_err() || at == 0);
        }

        #[test]
        fn never_panics(line in "(s |5 |- |[-a=,\\\\x0-9 ä]){0,20}") {
            if let Ok(found) = decode(&line) {
                prop_assert!(found.labels.iter().chain(found.metadata.iter()).all(|(n, v)| n.text().len() + v.text().len() <= line.len()));
                let _ = found.message.text();
            }
        }
    }
}
