//! A dead letter: an entry that an endpoint refused for good, as one line of JSON.
//!
//! `time` (of the refusal), `endpoint`, `reason`, `message` (what the endpoint said), `tenant` (if it was not the endpoint's own), `labels`, `timestamp` (the entry's, nanoseconds as
//! text, for JSON's numbers are not exact), `line`, `metadata`. What JSON's text cannot carry as it is, bytes that are not UTF-8 and lines
//! that escapes would blow up, is in `line_base64` too, and `line` is then only for reading. `stamp` is the time under which the entry
//! is being sent anew. `truncated`: too large to be kept whole.
//!
//! Promises: an entry is read back as it was written, its metadata in their order, unless it says `truncated`; a line is never longer than
//! [`LETTER_BYTES`]. Leaves to others: files.

use crate::base::base64;
use crate::base::limits::LETTER_BYTES;
use crate::base::text::head;
use crate::format::loki::{EntryAdapter, LabelPairAdapter, Timestamp};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// When the entry was refused, RFC 3339.
    pub time: String,
    /// By which endpoint.
    pub endpoint: String,
    /// Why: a [`super::push_response::Reason`] by its name.
    pub reason: String,
    /// What the endpoint said.
    pub message: String,
    /// Whose it is, if not the endpoint's own tenant's.
    pub tenant: Option<String>,
    /// The stream's labels as they were sent.
    pub labels: String,
    /// The entry as it was sent.
    pub entry: EntryAdapter,
    /// The time under which it is being sent anew, nanoseconds since 1970.
    pub stamp: Option<i64>,
    /// Whether a part of the entry is missing.
    pub truncated: bool,
}

/// Why a line is not a dead letter.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// Not the JSON of a letter.
    #[error("not a dead letter: {0}")]
    Json(#[from] serde_json::Error),
    /// A time that is no number.
    #[error("{0:?} is no number of nanoseconds")]
    Time(String),
    /// The exact line.
    #[error("line_base64 is not base64")]
    Base64,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    time: String,
    endpoint: String,
    reason: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    labels: String,
    timestamp: String,
    line: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Pairs::is_empty")]
    metadata: Pairs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// A map that keeps its order, and names that are there twice.
#[derive(Default)]
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Characters of a line that are shown where `line_base64` has the whole.
const SHOWN_BYTES: usize = 16 * 1024;

impl Letter {
    /// One line of JSON with its newline.
    pub fn encode(&self) -> Vec<u8> {
        let text = std::str::from_utf8(&self.entry.line);
        let mut wire = Wire {
            time: self.time.clone(),
            endpoint: self.endpoint.clone(),
            reason: self.reason.clone(),
            message: self.message.clone(),
            tenant: self.tenant.clone(),
            labels: self.labels.clone(),
            timestamp: self.entry.ns().to_string(),
            line: self.entry.text().into_owned(),
            line_base64: text.is_err().then(|| base64::encode(&self.entry.line)),
            metadata: Pairs(self.entry.structured_metadata.iter().map(|p| (p.name.clone(), p.value.clone())).collect()),
            stamp: self.stamp.map(|ns| ns.to_string()),
            truncated: self.truncated,
        };
        // Texts and maps of texts always have a JSON form.
        let mut json = serde_json::to_vec(&wire).unwrap_or_default();
        if json.len() >= LETTER_BYTES {
            wire.line = head(&wire.line, SHOWN_BYTES).to_owned();
            wire.line_base64 = Some(base64::encode(&self.entry.line));
            json = serde_json::to_vec(&wire).unwrap_or_default();
        }
        if json.len() >= LETTER_BYTES {
            wire.line_base64 = None;
            wire.metadata.0.clear();
            wire.labels = head(&wire.labels, SHOWN_BYTES).to_owned();
            wire.message = head(&wire.message, SHOWN_BYTES).to_owned();
            wire.truncated = true;
            json = serde_json::to_vec(&wire).unwrap_or_default();
        }
        json.push(b'\n');
        json
    }

    /// Reads what [`Letter::encode`] wrote, with or without its newline.
    pub fn decode(json: &[u8]) -> Result<Letter, LetterError> {
        let wire: Wire = serde_json::from_slice(json)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| LetterError::Time(text.to_owned()));
        let line = match &wire.line_base64 {
            Some(exact) => base64::decode(exact).ok_or(LetterError::Base64)?,
            None => wire.line.into_bytes(),
        };
        let pairs = wire.metadata.0.into_iter().map(|(name, value)| LabelPairAdapter { name, value });
        Ok(Letter {
            entry: EntryAdapter {
                timestamp: Some(Timestamp::from_ns(number(&wire.timestamp)?)),
                line,
                structured_metadata: pairs.collect(),
            },
            time: wire.time,
            endpoint: wire.endpoint,
            reason: wire.reason,
            message: wire.message,
            tenant: wire.tenant,
            labels: wire.labels,
            stamp: wire.stamp.as_deref().map(number).transpose()?,
            truncated: wire.truncated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letter(line: Vec<u8>, metadata: Vec<(String, String)>) -> Letter {
        Letter {
            time: "1970-01-01T00:00:00.000Z".into(),
            endpoint: "home".into(),
            reason: "too_old".into(),
            message: "no".into(),
            tenant: None,
            labels: "{a=\"b\"}".into(),
            entry: EntryAdapter {
                timestamp: Some(Timestamp::from_ns(5)),
                line,
                structured_metadata: metadata
                    .into_iter()
                    .map(|(name, value)| LabelPairAdapter { name, value })
                    .collect(),
            },
            stamp: None,
            truncated: false,
        }
    }

    #[test]
    fn another_tenant_is_named() {
        let other = Letter { tenant: Some("t1".into()), ..letter(b"x".to_vec(), Vec::new()) };
        let json = other.encode();
        assert!(String::from_utf8_lossy(&json).contains("\"tenant\":\"t1\",\"labels\""));
        assert_eq!(Letter::decode(&json).unwrap(), other);
    }

    #[test]
    fn bytes_that_are_no_text_are_there_twice() {
        let text = letter(b"x\xff".to_vec(), Vec::new()).encode();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"endpoint\":\"home\",\"reason\":\"too_old\",\"message\":\"no\",\
             \"labels\":\"{a=\\\"b\\\"}\",\"timestamp\":\"5\",\"line\":\"x\u{fffd}\",\"line_base64\":\"eP8=\"}\n"
        );
    }

    #[test]
    fn the_largest_line_is_kept_whole_and_what_is_above_all_sense_says_so() {
        let evil = letter(vec![1; crate::base::limits::LINE_BYTES_MAX], Vec::new());
        let json = evil.encode();
        assert!(json.len() <= LETTER_BYTES, "{}", json.len());
        assert_eq!(Letter::decode(&json).unwrap(), evil);
        let absurd = letter(b"x".to_vec(), vec![("a".into(), "b".repeat(LETTER_BYTES))]).encode();
        assert!(absurd.len() <= LETTER_BYTES && Letter::decode(&absurd).unwrap().truncated);
    }

    #[test]
    fn what_is_no_letter_is_an_error() {
        let good = String::from_utf8(letter(b"x".to_vec(), Vec::new()).encode()).unwrap();
        assert!(Letter::decode(good.as_bytes()).is_ok());
        for bad in [
            "",
            "{}",
            "{\"torn",
            &good.replace("\"5\"", "\"five\""),
            &good.replace("\"x\"", "\"x\",\"line_base64\":\"!\""),
        ] {
            assert!(Letter::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_letter_is_read_back_as_it_was(
            line: Vec<u8>,
            metadata in prop::collection::vec((".{0,6}", ".{0,6}"), 0..4),
            ns: i64,
            stamp: Option<i64>,
            labels: String,
        ) {
            let mut letter = letter(line, metadata);
            let ns = ns / 1_000_000_000 * 1_000_000_000 + 7;
            letter.entry.timestamp = Some(Timestamp::from_ns(ns));
            letter.stamp = stamp;
            letter.labels = labels;
            prop_assert_eq!(Letter::decode(&letter.encode()).unwrap(), letter);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            let _ = Letter::decode(&bytes);
        }
    }
}
