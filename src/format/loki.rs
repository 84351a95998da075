//! The Loki push protocol: decoding what a client sent.
//!
//! Promises: memory is bounded by the caller's bound; bad bytes are errors. Leaves to others: HTTP.

use prost::Message;
use std::collections::BTreeMap;

/// A push.
#[derive(Clone, PartialEq, Message)]
pub struct PushRequest {
    /// Its streams.
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<StreamAdapter>,
}

/// A stream of a push.
#[derive(Clone, PartialEq, Message)]
pub struct StreamAdapter {
    /// `{a="b", c="d"}`.
    #[prost(string, tag = "1")]
    pub labels: String,
    /// Its entries.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<EntryAdapter>,
    /// Never set by clients.
    #[prost(uint64, tag = "3")]
    pub hash: u64,
}

/// An entry of a stream.
#[derive(Clone, PartialEq, Message)]
pub struct EntryAdapter {
    /// When it happened.
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    /// Its text.
    #[prost(string, tag = "2")]
    pub line: String,
    /// Structured metadata.
    #[prost(message, repeated, tag = "3")]
    pub structured_metadata: Vec<LabelPairAdapter>,
}

/// A name and its value.
#[derive(Clone, PartialEq, Message)]
pub struct LabelPairAdapter {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A point in time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds within the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// Why a push was not understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Larger than the caller's bound.
    #[error("the request has {0} bytes after decompression, the bound is {1}")]
    TooLarge(usize, usize),
    /// Not a raw snappy block.
    #[error("the body is not a raw snappy block: {0}")]
    Snappy(#[from] snap::Error),
    /// Not a push request.
    #[error("the body is not a push request: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// Not the JSON form.
    #[error("the body is not a push request in JSON: {0}")]
    Json(String),
    /// Not a label set.
    #[error("the labels {0:?} cannot be read")]
    Labels(String),
}

/// Decodes one raw snappy block with a push of at most `max` bytes.
pub fn decode_snappy(body: &[u8], max: usize) -> Result<PushRequest, DecodeError> {
    let size = snap::raw::decompress_len(body)?;
    if size > max {
        return Err(DecodeError::TooLarge(size, max));
    }
    Ok(PushRequest::decode(snap::raw::Decoder::new().decompress_vec(body)?.as_slice())?)
}

/// Decodes the JSON form.
pub fn decode_json(body: &[u8]) -> Result<PushRequest, DecodeError> {
    #[derive(serde::Deserialize)]
    struct Push {
        streams: Vec<Stream>,
    }
    #[derive(serde::Deserialize)]
    struct Stream {
        stream: BTreeMap<String, String>,
        values: Vec<Vec<serde_json::Value>>,
    }
    let bad = |text: &str| DecodeError::Json(text.to_owned());
    let push: Push = serde_json::from_slice(body).map_err(|error| DecodeError::Json(error.to_string()))?;
    let mut streams = Vec::new();
    for stream in push.streams {
        let mut entries = Vec::new();
        for value in stream.values {
            let [time, line, meta @ ..] = value.as_slice() else { return Err(bad("a value needs a time and a line")) };
            let ns: i64 =
                time.as_str().and_then(|t| t.parse().ok()).ok_or_else(|| bad("a time is a string of nanoseconds"))?;
            let line = line.as_str().ok_or_else(|| bad("a line is a string"))?.to_owned();
            let mut structured_metadata = Vec::new();
            if let Some(meta) = meta.first() {
                let pairs = meta.as_object().ok_or_else(|| bad("metadata is an object"))?;
                for (name, value) in pairs {
                    let value = value.as_str().ok_or_else(|| bad("metadata has strings as values"))?.to_owned();
                    structured_metadata.push(LabelPairAdapter { name: name.clone(), value });
                }
            }
            let seconds = ns.div_euclid(1_000_000_000);
            let nanos = i32::try_from(ns.rem_euclid(1_000_000_000)).unwrap_or(0);
            entries.push(EntryAdapter { timestamp: Some(Timestamp { seconds, nanos }), line, structured_metadata });
        }
        let pairs: Vec<String> = stream.stream.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        streams.push(StreamAdapter { labels: format!("{{{}}}", pairs.join(", ")), entries, hash: 0 });
    }
    Ok(PushRequest { streams })
}

/// Reads `{a="b", c="d"}`.
pub fn parse_labels(text: &str) -> Result<Vec<(String, String)>, DecodeError> {
    parse_pairs(text).ok_or_else(|| DecodeError::Labels(text.chars().take(200).collect()))
}

fn parse_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut pairs = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return after.is_empty().then_some(pairs);
        }
        let (name, after) = rest.split_once('=')?;
        let mut characters = after.trim_start().strip_prefix('"')?.chars();
        let mut value = String::new();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(match characters.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    'x' => code(&mut characters, 2)?,
                    'u' => code(&mut characters, 4)?,
                    'U' => code(&mut characters, 8)?,
                    c @ ('"' | '\\') => c,
                    _ => return None,
                }),
                c => value.push(c),
            }
        }
        pairs.push((name.trim().to_owned(), value));
        rest = characters.as_str().trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None => rest,
        };
    }
}

fn code(characters: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let mut code = 0u32;
    for _ in 0..digits {
        code = code.checked_mul(16)?.checked_add(characters.next()?.to_digit(16)?)?;
    }
    char::from_u32(code)
}
