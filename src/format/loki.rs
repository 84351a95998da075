//! Loki's push protocol: its protobuf messages, its JSON form and the text form of a label set.
//!
//! Promises: a compressed body is refused by its announced size before anything is allocated for it; a line that is not UTF-8
//! is taken as it is. The message types mirror Loki's `push.proto` (field numbers as there). Leaves to others: the encoder of
//! the hot path, limits that a receiver enforces.

use super::push_json::{Decoder, Found, PushError};
use crate::base::limits::PUSH_BYTES_A_MESSAGE_MIN;
use crate::model::labels::{LabelCaps, LabelError, Labels};
use prost::Message;
use std::borrow::Cow;

/// The body of a push.
#[derive(Clone, PartialEq, Message)]
pub struct PushRequest {
    /// The streams, each with its entries.
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<StreamAdapter>,
}

/// Entries of one stream.
#[derive(Clone, PartialEq, Message)]
pub struct StreamAdapter {
    /// `{a="b", c="d"}`.
    #[prost(string, tag = "1")]
    pub labels: String,
    /// In the order of sending.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<EntryAdapter>,
    /// Loki's own; never set by a client.
    #[prost(uint64, tag = "3")]
    pub hash: u64,
}

/// One line.
#[derive(Clone, PartialEq, Message)]
pub struct EntryAdapter {
    /// When.
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    /// What. A `string` in the definition, but nobody checks that it is UTF-8; on the wire the two are the same.
    #[prost(bytes = "vec", tag = "2")]
    pub line: Vec<u8>,
    /// Pairs that belong to this line only.
    #[prost(message, repeated, tag = "3")]
    pub structured_metadata: Vec<LabelPairAdapter>,
}

/// A name and its value.
#[derive(Clone, PartialEq, Message)]
pub struct LabelPairAdapter {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// From nanoseconds since 1970.
    pub fn from_ns(ns: i64) -> Self {
        let nanos = i32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or(0);
        Timestamp { seconds: ns.div_euclid(1_000_000_000), nanos }
    }

    /// Nanoseconds since 1970; held at the ends of what 64 bits can say.
    pub fn as_ns(&self) -> i64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(self.nanos))
    }
}

impl EntryAdapter {
    /// Nanoseconds since 1970; 0 when there is no timestamp.
    pub fn ns(&self) -> i64 {
        self.timestamp.map_or(0, |t| t.as_ns())
    }

    /// The line, with U+FFFD where it is not UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.line)
    }
}

impl PushRequest {
    /// How many entries there are in all streams.
    pub fn entries(&self) -> usize {
        self.streams.iter().map(|s| s.entries.len()).sum()
    }
}

/// Why a body is not a push request.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The announced size is above the limit.
    #[error("the body is {announced} bytes uncompressed, the limit is {limit}")]
    TooLarge {
        /// What the snappy header says, bytes.
        announced: usize,
        /// What is allowed, bytes.
        limit: usize,
    },
    /// More messages than a real request has.
    #[error("the body has {messages} messages in {bytes} bytes, which no real push request has")]
    TooMany {
        /// Streams, entries and pairs.
        messages: usize,
        /// Uncompressed bytes.
        bytes: usize,
    },
    /// More messages than are taken.
    #[error("the body has {messages} streams, entries and pairs, the limit is {limit}: send smaller ones")]
    TooLong {
        /// Streams, entries and pairs.
        messages: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not a raw snappy block.
    #[error("the body is not one raw snappy block: {0}")]
    Snappy(#[from] snap::Error),
    /// Not protobuf.
    #[error("the body is not a push request in protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// Not the JSON form.
    #[error("the body is not a push request in JSON: {0}")]
    Json(#[from] PushError),
    /// Labels of a stream in the JSON form.
    #[error("a stream's labels are not valid: {0}")]
    Labels(#[from] LabelError),
}

/// Decodes one raw snappy block of a push request of at most `max_bytes` uncompressed.
pub fn decode_snappy(body: &[u8], max_bytes: usize) -> Result<PushRequest, DecodeError> {
    decode_snappy_within(body, max_bytes, usize::MAX)
}

/// The same of at most `max_messages` streams, entries and pairs, which bounds the memory it takes.
pub fn decode_snappy_within(body: &[u8], max_bytes: usize, max_messages: usize) -> Result<PushRequest, DecodeError> {
    let announced = snap::raw::decompress_len(body)?;
    if announced > max_bytes {
        return Err(DecodeError::TooLarge { announced, limit: max_bytes });
    }
    let raw = snap::raw::Decoder::new().decompress_vec(body)?;
    let messages = count_messages(&raw);
    if messages > max_messages {
        return Err(DecodeError::TooLong { messages, limit: max_messages });
    }
    if messages > raw.len() / PUSH_BYTES_A_MESSAGE_MIN + 1 {
        return Err(DecodeError::TooMany { messages, bytes: raw.len() });
    }
    Ok(PushRequest::decode(raw.as_slice())?)
}

/// How many messages a push request has, streams, entries and all in them; a cheap walk over lengths that stops where the bytes make
/// no sense. A message takes two bytes on the wire and up to a hundred in memory, so that this is asked before decoding.
fn count_messages(request: &[u8]) -> usize {
    let mut count = 0;
    // Lengths of a request nest as streams (1) > entries (2) > timestamp (1) and pairs (3).
    let streams = fields(request).filter(|(tag, _)| *tag == 1);
    for (_, stream) in streams {
        count += 1;
        for (_, entry) in fields(stream).filter(|(tag, _)| *tag == 2) {
            count += 1 + fields(entry).filter(|(tag, _)| *tag == 3).count();
        }
    }
    count
}

/// The length-delimited fields of a message with their numbers.
fn fields(message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let key = varint(message, &mut at)?;
            match key & 7 {
                0 => {
                    varint(message, &mut at)?;
                }
                1 => at = at.checked_add(8)?,
                2 => {
                    let len = usize::try_from(varint(message, &mut at)?).ok()?;
                    let end = at.checked_add(len)?;
                    let field = message.get(at..end)?;
                    at = end;
                    return Some((key >> 3, field));
                }
                5 => at = at.checked_add(4)?,
                // The ends of a group; what is inside counts as if it were outside.
                3 | 4 => {}
                _ => return None,
            }
        }
    })
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Encodes and compresses. For rare paths and tests; batches are made by the hot path's own encoder.
pub fn encode_snappy(request: &PushRequest) -> Vec<u8> {
    let raw = request.encode_to_vec();
    // The only error is an input above 4 GiB, which no batch comes near.
    snap::raw::Encoder::new().compress_vec(&raw).unwrap_or_default()
}

/// Decodes the JSON form, `{"streams":[{"stream":{"k":"v"},"values":[["<ns>","line",{"meta":"v"}]]}]}`, into messages. A receiver that wants none
/// has [`super::push_json`].
pub fn decode_json(body: &[u8]) -> Result<PushRequest, DecodeError> {
    let mut streams: Vec<StreamAdapter> = Vec::new();
    let mut bad = None;
    Decoder::default().decode(body, |found| match found {
        Found::Stream(labels) => {
            let labels = Labels::new(labels.iter()).unwrap_or_else(|error| {
                bad = bad.take().or(Some(error));
                Labels::default()
            });
            streams.push(StreamAdapter { labels: labels.encoded(), entries: Vec::new(), hash: 0 });
        }
        Found::Entry(entry) => {
            let pairs = entry.metadata.iter();
            let pairs = pairs.map(|(name, value)| LabelPairAdapter { name: name.to_owned(), value: value.to_owned() });
            if let Some(stream) = streams.last_mut() {
                stream.entries.push(EntryAdapter {
                    timestamp: Some(Timestamp::from_ns(entry.time_ns)),
                    line: entry.line.into(),
                    structured_metadata: pairs.collect(),
                });
            }
        }
    })?;
    bad.map_or(Ok(PushRequest { streams }), |error| Err(error.into()))
}

/// Why a text is not a label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("labels are written {{a=\"b\", c=\"d\"}}: expected {expected} at byte {at}")]
pub struct LabelsTextError {
    /// What should have come.
    pub expected: &'static str,
    /// Where, in bytes from the start.
    pub at: usize,
}

/// Parses `{a="b", c="d"}`, values quoted as Go quotes them.
pub fn parse_labels(text: &str) -> Result<Vec<(String, String)>, LabelsTextError> {
    let trimmed = text.trim();
    let (pairs, len) = parse_labels_prefix(trimmed)?;
    if len == trimmed.len() { Ok(pairs) } else { Err(LabelsTextError { expected: "the end", at: len }) }
}

/// Like [`parse_labels`], with more text behind it; tells also how many bytes the label set took.
pub fn parse_labels_prefix(text: &str) -> Result<(Vec<(String, String)>, usize), LabelsTextError> {
    let mut at = 0;
    let mut pairs = Vec::new();
    expect(text, &mut at, b'{', "{")?;
    loop {
        skip_spaces(text, &mut at);
        if peek(text, at) == Some(b'}') {
            at += 1;
            return Ok((pairs, at));
        }
        let start = at;
        while peek(text, at).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
            at += 1;
        }
        let name = text.get(start..at).unwrap_or_default();
        if crate::model::labels::check_name(name, LabelCaps::default()).is_err_and(|e| matches!(e, LabelError::Name(_)))
        {
            return Err(LabelsTextError { expected: "a label name or }", at: start });
        }
        skip_spaces(text, &mut at);
        expect(text, &mut at, b'=', "=")?;
        skip_spaces(text, &mut at);
        let value = quoted(text, &mut at)?;
        pairs.push((name.to_owned(), value));
        skip_spaces(text, &mut at);
        match peek(text, at) {
            Some(b',') => at += 1,
            Some(b'}') => {}
            _ => return Err(LabelsTextError { expected: ", or }", at }),
        }
    }
}

fn peek(text: &str, at: usize) -> Option<u8> {
    text.as_bytes().get(at).copied()
}

fn skip_spaces(text: &str, at: &mut usize) {
    while peek(text, *at).is_some_and(|b| b.is_ascii_whitespace()) {
        *at += 1;
    }
}

fn expect(text: &str, at: &mut usize, byte: u8, expected: &'static str) -> Result<(), LabelsTextError> {
    if peek(text, *at) != Some(byte) {
        return Err(LabelsTextError { expected, at: *at });
    }
    *at += 1;
    Ok(())
}

/// A Go string literal: `"…"` with escapes or `` `…` `` as it stands.
fn quoted(text: &str, at: &mut usize) -> Result<String, LabelsTextError> {
    let mut out = Vec::new();
    if peek(text, *at) == Some(b'`') {
        let start = *at + 1;
        let len = text.get(start..).and_then(|rest| rest.find('`'));
        let len = len.ok_or(LabelsTextError { expected: "a closing `", at: text.len() })?;
        *at = start + len + 1;
        return Ok(text.get(start..start + len).unwrap_or_default().to_owned());
    }
    expect(text, at, b'"', "a quoted value")?;
    loop {
        match peek(text, *at) {
            None | Some(b'\n') => return Err(LabelsTextError { expected: "a closing \"", at: *at }),
            Some(b'"') => {
                *at += 1;
                // `\x` escapes can spell bytes that are not UTF-8; a text cannot hold them.
                return Ok(
                    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
                );
            }
            Some(b'\\') => {
                unescape(text, at, &mut out)?;
            }
            Some(byte) => {
                out.push(byte);
                *at += 1;
            }
        }
    }
}

fn unescape(text: &str, at: &mut usize, out: &mut Vec<u8>) -> Result<(), LabelsTextError> {
    let fail = LabelsTextError { expected: "a Go escape sequence", at: *at };
    let kind = peek(text, *at + 1).ok_or_else(|| fail.clone())?;
    let simple = match kind {
        b'a' => Some(7),
        b'b' => Some(8),
        b'f' => Some(12),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(11),
        b'\\' | b'"' => Some(kind),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        *at += 2;
        return Ok(());
    }
    let (start, len, radix) = match kind {
        b'x' => (*at + 2, 2, 16),
        b'u' => (*at + 2, 4, 16),
        b'U' => (*at + 2, 8, 16),
        b'0'..=b'7' => (*at + 1, 3, 8),
        _ => return Err(fail),
    };
    let digits = text.get(start..start + len).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
    let code = digits.and_then(|d| u32::from_str_radix(d, radix).ok()).ok_or_else(|| fail.clone())?;
    if kind == b'u' || kind == b'U' {
        let c = char::from_u32(code).ok_or_else(|| fail.clone())?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.push(u8::try_from(code).map_err(|_| fail)?);
    }
    *at = start + len;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(ns: i64, line: &str) -> EntryAdapter {
        EntryAdapter { timestamp: Some(Timestamp::from_ns(ns)), line: line.into(), structured_metadata: Vec::new() }
    }

    #[test]
    fn the_bytes_are_those_of_the_definition() {
        let request = PushRequest {
            streams: vec![StreamAdapter {
                labels: "{a=\"b\"}".into(),
                entries: vec![entry(1_000_000_002, "hi")],
                hash: 0,
            }],
        };
        let expected = b"\x0a\x15\x0a\x07{a=\"b\"}\x12\x0a\x0a\x04\x08\x01\x10\x02\x12\x02hi";
        assert_eq!(request.encode_to_vec(), expected.to_vec());
        assert_eq!(decode_snappy(&encode_snappy(&request), 1000).ok(), Some(request));
    }

    #[test]
    fn a_bomb_is_refused_by_its_announced_size() {
        let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
        assert!(matches!(decode_snappy(&bomb, 1000), Err(DecodeError::TooLarge { announced: 1_048_576, limit: 1000 })));
    }

    #[test]
    fn a_request_that_would_take_many_times_its_size_is_refused() {
        let entries = vec![EntryAdapter::default(); 10_000];
        let request = PushRequest { streams: vec![StreamAdapter { labels: "{}".into(), entries, hash: 1 }] };
        assert!(matches!(decode_snappy(&encode_snappy(&request), 1 << 20), Err(DecodeError::TooMany { .. })));
        let pairs = vec![LabelPairAdapter::default(); 10_000];
        let entries = vec![EntryAdapter { structured_metadata: pairs, ..entry(1, "x") }];
        let request = PushRequest { streams: vec![StreamAdapter { labels: "{}".into(), entries, hash: 1 }] };
        assert!(matches!(decode_snappy(&encode_snappy(&request), 1 << 20), Err(DecodeError::TooMany { .. })));
        let entries = vec![entry(1, ""); 10_000];
        let request = PushRequest { streams: vec![StreamAdapter { labels: "{}".into(), entries, hash: 1 }] };
        assert_eq!(decode_snappy(&encode_snappy(&request), 1 << 20).ok(), Some(request));
    }

    #[test]
    fn a_line_that_is_not_utf8_is_taken() {
        let request = PushRequest {
            streams: vec![StreamAdapter {
                labels: "{a=\"b\"}".into(),
                entries: vec![EntryAdapter {
                    timestamp: None,
                    line: vec![b'x', 0xff],
                    structured_metadata: Vec::new(),
                }],
                hash: 0,
            }],
        };
        let decoded = decode_snappy(&encode_snappy(&request), 1000).unwrap();
        assert_eq!(decoded.streams[0].entries[0].text(), "x\u{fffd}");
    }

    #[test]
    fn json() {
        let body =
            br#"{"streams":[{"stream":{"b":"2","a":"1"},"values":[["-1","line"],["1000000001","two",{"m":"v"}]]}]}"#;
        let request = decode_json(body).unwrap();
        assert_eq!(request.streams[0].labels, r#"{a="1", b="2"}"#);
        assert_eq!(request.streams[0].entries[0], entry(-1, "line"));
        assert_eq!(request.streams[0].entries[1].ns(), 1_000_000_001);
        assert_eq!(request.streams[0].entries[1].structured_metadata[0].value, "v");
        for bad in [
            "",
            "{}",
            r#"{"streams":[{"stream":{"a":"1"},"values":[[1,"line"]]}]}"#,
            r#"{"streams":[{"stream":{"a":"1"},"values":[["x","line"]]}]}"#,
            r#"{"streams":[{"stream":{"a":"1"},"values":[["1"]]}]}"#,
            r#"{"streams":[{"stream":{"a":"1"},"values":[["1","l",{},1]]}]}"#,
            r#"{"streams":[{"stream":{"a-b":"1"},"values":[["1","l"]]}]}"#,
        ] {
            assert!(decode_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn label_texts() {
        let ok = |text| parse_labels(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(ok("{}"), vec![]);
        assert_eq!(ok(" { a = \"b\" , c=`d\\n`, } "), vec![("a".into(), "b".into()), ("c".into(), "d\\n".into())]);
        assert_eq!(ok(r#"{a="\x41\101\u00e4\U0001F600\"\\\n"}"#)[0].1, "AAä😀\"\\\n");
        for bad in [
            "",
            "{",
            "}",
            "{a}",
            "{a=}",
            "{a=\"b}",
            "{a=\"b\" c=\"d\"}",
            "{1=\"b\"}",
            "{a=\"\\q\"}",
            "{a=\"b\"}x",
            "{a=\"\\777\"}",
            "{a=\"\\x+1\"}",
            "{a=\"\\uä",
        ] {
            assert!(parse_labels(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn encoded_labels_are_read_back(pairs in proptest::collection::btree_map("[a-zA-Z][a-zA-Z0-9_]{0,8}", any::<String>(), 0..10)) {
            let labels = Labels::new(pairs).unwrap();
            let expected: Vec<_> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(parse_labels(&labels.encoded()), Ok(expected));
        }

        #[test]
        fn nothing_panics(text: String, bytes: Vec<u8>, raw in "[{}a=\"`,\\\\xuU0-9 ä]{0,30}") {
            let _ = parse_labels(&text);
            let _ = parse_labels(&raw);
            let _ = decode_snappy(&bytes, 1 << 16);
            let _ = decode_json(&bytes);
        }
    }
}
