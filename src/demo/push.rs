//! From the body of a push to entries that can be kept and shown.
//!
//! Promises: what a decoded push takes is bounded by [`RECEIVER_DECODED_BYTES`] and [`RECEIVER_PUSH_ENTRIES`], checked before
//! anything is allocated for an entry. Leaves to others: HTTP, keeping.

use crate::base::limits::{RECEIVER_DECODED_BYTES, RECEIVER_PUSH_ENTRIES};
use crate::format::loki;
use prost::Message;
use std::sync::Arc;

/// A decoded push.
#[derive(Debug)]
pub struct Push {
    /// Its streams, in the order sent.
    pub streams: Vec<Stream>,
    /// Size of the body as sent.
    pub body_bytes: usize,
    /// The tenant, if the client named one.
    pub tenant: Option<String>,
}

impl Push {
    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.streams.iter().map(|stream| stream.entries.len()).sum()
    }

    /// Bytes of its lines.
    pub fn line_bytes(&self) -> usize {
        self.streams.iter().flat_map(|stream| &stream.entries).map(|entry| entry.line.len()).sum()
    }
}

/// One stream of a push.
#[derive(Debug)]
pub struct Stream {
    /// Its labels as sent, `{a="b"}`.
    pub text: String,
    /// Its labels, as pairs.
    pub labels: Arc<[(String, String)]>,
    /// Its entries, in the order sent.
    pub entries: Vec<Entry>,
}

/// One entry of a stream.
#[derive(Debug)]
pub struct Entry {
    /// Its time, nanoseconds since 1970.
    pub time_ns: i64,
    /// Its text, with U+FFFD where it was not UTF-8.
    pub line: String,
    /// Structured metadata.
    pub metadata: Vec<(String, String)>,
}

/// Why a push is refused; the text goes to the client.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not in a form that is spoken here.
    #[error("content type {0:?} is not taken: send application/x-protobuf (a raw snappy block) or application/json")]
    ContentType(String),
    /// Compressed beyond snappy.
    #[error(
        "content encoding {0:?} is not taken: send the body without one (protobuf is a raw snappy block by itself)"
    )]
    ContentEncoding(String),
    /// The body cannot be decoded.
    #[error("{0}")]
    Body(String),
    /// Too large.
    #[error("{0}")]
    TooLarge(String),
    /// A stream is not one.
    #[error("{0}")]
    Stream(String),
    /// Nothing in it.
    #[error("the push has no streams")]
    Empty,
}

impl Refusal {
    /// The status that Loki gives for it.
    pub fn status(&self) -> hyper::StatusCode {
        match self {
            Refusal::TooLarge(_) => hyper::StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Empty => hyper::StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::ContentType(_) | Refusal::ContentEncoding(_) | Refusal::Body(_) | Refusal::Stream(_) => {
                hyper::StatusCode::BAD_REQUEST
            }
        }
    }
}

/// Decodes a body by its content type.
pub fn decode(
    content_type: &str,
    encoding: Option<&str>,
    tenant: Option<String>,
    body: &[u8],
) -> Result<Push, Refusal> {
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let encoding = encoding.unwrap_or("").trim();
    let request = match kind.as_str() {
        "application/x-protobuf" if matches!(encoding, "" | "snappy" | "identity") => decode_protobuf(body)?,
        "application/json" if matches!(encoding, "" | "identity") => decode_json(body)?,
        "application/x-protobuf" | "application/json" => return Err(Refusal::ContentEncoding(encoding.to_owned())),
        _ => return Err(Refusal::ContentType(content_type.to_owned())),
    };
    if request.streams.is_empty() {
        return Err(Refusal::Empty);
    }
    let streams = request.streams.into_iter().map(stream).collect::<Result<_, _>>()?;
    Ok(Push { streams, body_bytes: body.len(), tenant })
}

fn decode_protobuf(body: &[u8]) -> Result<loki::PushRequest, Refusal> {
    let bad = |error: snap::Error| Refusal::Body(format!("the body is not a raw snappy block: {error}"));
    let size = snap::raw::decompress_len(body).map_err(bad)?;
    if size > RECEIVER_DECODED_BYTES {
        return Err(Refusal::TooLarge(format!(
            "the push has {size} bytes after decompression, at most {RECEIVER_DECODED_BYTES} are taken"
        )));
    }
    let raw = snap::raw::Decoder::new().decompress_vec(body).map_err(bad)?;
    check_parts(count_parts(&raw))?;
    loki::PushRequest::decode(raw.as_slice())
        .map_err(|error| Refusal::Body(format!("the body is not a push request in protobuf: {error}")))
}

fn decode_json(body: &[u8]) -> Result<loki::PushRequest, Refusal> {
    if body.len() > RECEIVER_DECODED_BYTES {
        return Err(Refusal::TooLarge(format!(
            "the push has {} bytes, at most {RECEIVER_DECODED_BYTES} are taken",
            body.len()
        )));
    }
    // Each entry is an array: a cheap upper bound before anything is allocated for one.
    check_parts(memchr::memchr_iter(b'[', body).count())?;
    loki::decode_json(body).map_err(|error| Refusal::Body(error.to_string()))
}

fn check_parts(parts: usize) -> Result<(), Refusal> {
    if parts > RECEIVER_PUSH_ENTRIES {
        return Err(Refusal::TooLarge(format!(
            "the push has more than {RECEIVER_PUSH_ENTRIES} entries: send smaller batches"
        )));
    }
    Ok(())
}

/// Streams, entries and metadata pairs of an encoded push, counted without decoding it. Counting stops where the
/// encoding is wrong; the decoder stops there, too.
fn count_parts(raw: &[u8]) -> usize {
    let streams = Fields(raw).filter(|(tag, _)| *tag == 1);
    streams.fold(0usize, |parts, (_, stream)| {
        let entries = Fields(stream).filter(|(tag, _)| *tag == 2);
        let inner: usize = entries.map(|(_, entry)| 1 + Fields(entry).filter(|(tag, _)| *tag == 3).count()).sum();
        parts.saturating_add(1).saturating_add(inner)
    })
}

/// The length-delimited fields of a protobuf message, by tag.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let key = varint(&mut self.0)?;
            match key & 7 {
                0 => {
                    varint(&mut self.0)?;
                }
                1 => self.0 = self.0.get(8..)?,
                2 => {
                    let length = usize::try_from(varint(&mut self.0)?).ok()?;
                    let (value, rest) = self.0.split_at_checked(length)?;
                    self.0 = rest;
                    return Some((key >> 3, value));
                }
                5 => self.0 = self.0.get(4..)?,
                _ => return None,
            }
        }
        None
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn stream(sent: loki::StreamAdapter) -> Result<Stream, Refusal> {
    let labels = loki::parse_labels(&sent.labels).map_err(|error| Refusal::Stream(error.to_string()))?;
    if labels.is_empty() {
        return Err(Refusal::Stream("a stream has no labels: it needs at least one".to_owned()));
    }
    let entries = sent.entries.into_iter().map(entry).collect();
    Ok(Stream { text: sent.labels, labels: labels.into(), entries })
}

fn entry(sent: loki::EntryAdapter) -> Entry {
    let time_ns = sent.ns();
    // Loki's own definition says UTF-8; what is not is shown as far as it goes.
    let line = String::from_utf8(sent.line).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    let metadata = sent.structured_metadata.into_iter().map(|pair| (pair.name, pair.value)).collect();
    Entry { time_ns, line, metadata }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::loki::{EntryAdapter, LabelPairAdapter, PushRequest, StreamAdapter, Timestamp};
    use proptest::prelude::*;

    fn body(request: &PushRequest) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
    }

    fn request(entries: usize) -> PushRequest {
        let entry = EntryAdapter {
            timestamp: Some(Timestamp { seconds: 1, nanos: 5 }),
            line: b"x".to_vec(),
            structured_metadata: vec![LabelPairAdapter { name: "m".to_owned(), value: "v".to_owned() }],
        };
        PushRequest {
            streams: vec![StreamAdapter {
                labels: "{a=\"1\"}".to_owned(),
                entries: vec![entry; entries],
                ..Default::default()
            }],
        }
    }

    #[test]
    fn protobuf_and_json_give_the_same() {
        let protobuf = decode("application/x-protobuf", None, None, &body(&request(1))).unwrap();
        let json = br#"{"streams":[{"stream":{"a":"1"},"values":[["1000000005","x",{"m":"v"}]]}]}"#;
        let json = decode("application/json; charset=utf-8", None, None, json).unwrap();
        for push in [protobuf, json] {
            let stream = &push.streams[0];
            assert_eq!(*stream.labels, [("a".to_owned(), "1".to_owned())]);
            let entry = &stream.entries[0];
            assert_eq!((entry.time_ns, entry.line.as_str()), (1_000_000_005, "x"));
            assert_eq!(entry.metadata, [("m".to_owned(), "v".to_owned())]);
        }
    }

    #[test]
    fn too_many_entries_are_refused_before_they_are_decoded() {
        assert_eq!(count_parts(&request(3).encode_to_vec()), 1 + 2 * 3);
        // An empty entry takes two bytes on the wire and forty times that decoded.
        let mut stream = vec![0x0a, 5, b'{', b'a', b'=', b'"', b'}'];
        stream.extend([0x12, 0].repeat(RECEIVER_PUSH_ENTRIES + 1));
        let mut raw = vec![0x0a];
        prost::encoding::encode_varint(stream.len() as u64, &mut raw);
        raw.extend(stream);
        let body = snap::raw::Encoder::new().compress_vec(&raw).unwrap();
        let refusal = decode("application/x-protobuf", None, None, &body).unwrap_err();
        assert_eq!(refusal.status(), 413);
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let body = snap::raw::Encoder::new().compress_vec(&vec![0; RECEIVER_DECODED_BYTES + 1]).unwrap();
        assert!(body.len() < 300_000);
        assert_eq!(decode("application/x-protobuf", None, None, &body).unwrap_err().status(), 413);
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_it_is_an_error_and_never_a_panic(raw: Vec<u8>) {
            let _ = count_parts(&raw);
            let _ = decode("application/x-protobuf", None, None, &raw);
            let _ = decode("application/x-protobuf", None, None, &snap::raw::Encoder::new().compress_vec(&raw).unwrap());
            let _ = decode("application/json", None, None, &raw);
        }
    }
}
