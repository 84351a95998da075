//! GELF 1.1, Graylog's format: a JSON object a message, over UDP compressed (`unpack`) and in chunks (`chunks`).
//!
//! Promises: pieces are borrowed from the message or lie in scratch; nothing is allocated in the steady state; the whole message is
//! checked; of equal keys the last one counts. Other versions, a level in quotes and additional fields of any type are taken as well, as
//! senders have them. Leaves to others: the socket, what becomes of additional fields.

mod chunks;
mod unpack;

pub use chunks::{Assembler, Lost, Outcome, Refused};
pub use unpack::{UnpackError, Unpacker};

use super::json::scan::Scanner;
use super::json::{self, Malformed, scalar, text};
use crate::model::value::{Kind, Value};

/// `emergency` to `debug`.
pub const LEVEL: &str = "__gelf_message_level";
/// The sender as it names itself.
pub const HOST: &str = "__gelf_message_host";
/// The version of GELF.
pub const VERSION: &str = "__gelf_message_version";
/// The facility, a free text.
pub const FACILITY: &str = "__gelf_message_facility";

/// A message, taken apart. What it does not have, or as `null`, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Message {
    /// `1.1`.
    pub version: Option<Value>,
    /// The sender as it names itself.
    pub host: Option<Value>,
    /// The text.
    pub short_message: Option<Value>,
    /// A longer text, mostly with a backtrace; it mostly repeats the short one.
    pub full_message: Option<Value>,
    /// Nanoseconds since 1970, exact in the digits that were sent.
    pub time_ns: Option<i64>,
    /// 0 (emergency) to 7 (debug), as syslog's severities.
    pub level: Option<u8>,
    /// Of version 1.0.
    pub facility: Option<Value>,
    /// Of version 1.0: where in the source.
    pub line: Option<Value>,
    /// Of version 1.0: in which file of the source.
    pub file: Option<Value>,
}

/// Why a message is not GELF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No JSON object.
    #[error("a GELF message is a JSON object: {0}")]
    Malformed(#[from] Malformed),
    /// Nothing to show.
    #[error("a GELF message needs short_message or full_message: neither is there as text")]
    NoMessage,
}

impl Message {
    /// The text of the entry: the full one if there is one, else the short one.
    pub fn text(&self) -> Value {
        self.full_message.or(self.short_message).unwrap_or_default()
    }

    /// The labels of what the message has, under Promtail's names. `line` and `scratch` are those that it was parsed with.
    pub fn labels<'a>(&self, line: &'a str, scratch: &'a str) -> impl Iterator<Item = (&'static str, &'a str)> {
        let of = |value: Option<Value>| value.map(|value| value.of(line, scratch));
        let all = [
            (LEVEL, self.level.and_then(super::syslog::severity)),
            (HOST, of(self.host)),
            (VERSION, of(self.version)),
            (FACILITY, of(self.facility)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Takes a message apart. `extras` gets the name (without its `_`) and value of each additional field, in their order.
///
/// ```
/// use lugger::format::{gelf, json};
/// let line = r#"{"version":"1.1","host":"web","short_message":"hello","timestamp":1.5,"level":3,"_id":7}"#;
/// let (mut scratch, mut extras) = (String::new(), Vec::new());
/// let found = gelf::parse(line, &mut json::Work::default(), &mut scratch, &mut extras).unwrap();
/// assert_eq!((found.text().of(line, &scratch), found.time_ns, found.level), ("hello", Some(1_500_000_000), Some(3)));
/// assert_eq!(extras[0].0.of(line, &scratch), "id");
/// ```
pub fn parse(
    line: &str,
    work: &mut json::Work,
    scratch: &mut String,
    extras: &mut Vec<(Value, Value)>,
) -> Result<Message, Error> {
    let mut scanner = Scanner::new(line);
    let mut found = Message::default();
    extras.clear();
    if scanner.next() != b'{' {
        return Err(scanner.malformed("expected {").into());
    }
    let mut more = scanner.open(b'}')?;
    while more {
        let quoted = scanner.key()?;
        let before = scratch.len();
        let key = text::string(line, quoted, scratch);
        let kind = field(key.of(line, scratch));
        if !matches!(kind, Field::Extra) {
            scratch.truncate(before);
        }
        match kind {
            Field::Extra => {
                let range = key.range();
                let name = range.start + 1..range.end;
                let name = match key.place() {
                    crate::model::value::Place::Line => Value::in_line(name),
                    crate::model::value::Place::Scratch => Value::in_scratch(name),
                };
                if let Some(value) = value(&mut scanner, line, work, scratch)? {
                    extras.push((name, value));
                }
            }
            Field::Time => {
                let value = value(&mut scanner, line, work, scratch)?;
                found.time_ns = value.and_then(|_| seconds(last_raw(line, &scanner)));
            }
            Field::Level => {
                let value = value(&mut scanner, line, work, scratch)?;
                found.level = value.and_then(|value| value.of(line, scratch).parse().ok()).filter(|level| *level < 8);
            }
            Field::Version => found.version = value(&mut scanner, line, work, scratch)?,
            Field::Host => found.host = value(&mut scanner, line, work, scratch)?,
            Field::Short => found.short_message = value(&mut scanner, line, work, scratch)?,
            Field::Full => found.full_message = value(&mut scanner, line, work, scratch)?,
            Field::Facility => found.facility = value(&mut scanner, line, work, scratch)?,
            Field::Line => found.line = value(&mut scanner, line, work, scratch)?,
            Field::File => found.file = value(&mut scanner, line, work, scratch)?,
            Field::Other => {
                scanner.skip()?;
            }
        }
        more = scanner.another(b'}')?;
    }
    scanner.end()?;
    // What is empty says nothing.
    found.full_message = found.full_message.filter(|value| !value.is_empty());
    if found.short_message.is_none() && found.full_message.is_none() {
        return Err(Error::NoMessage);
    }
    Ok(found)
}

enum Field {
    Version,
    Host,
    Short,
    Full,
    Time,
    Level,
    Facility,
    Line,
    File,
    Extra,
    Other,
}

fn field(name: &str) -> Field {
    match name {
        "version" => Field::Version,
        "host" => Field::Host,
        "short_message" => Field::Short,
        "full_message" => Field::Full,
        "timestamp" => Field::Time,
        "level" => Field::Level,
        "facility" => Field::Facility,
        "line" => Field::Line,
        "file" => Field::File,
        _ if name.len() > 1 && name.starts_with('_') => Field::Extra,
        _ => Field::Other,
    }
}

/// Any value, objects and arrays as compact JSON; `None` for null.
fn value(
    scanner: &mut Scanner<'_>,
    line: &str,
    work: &mut json::Work,
    scratch: &mut String,
) -> Result<Option<Value>, Malformed> {
    let value = if matches!(scanner.next(), b'{' | b'[') {
        let at = scanner.skip()?.start;
        text::compact(line, at, work, scratch)?
    } else {
        scalar(scanner, line, scratch)?
    };
    Ok((value.kind() != Kind::Null).then_some(value))
}

/// The value that the scanner has just passed, as it stands in the line: a float would not hold its digits.
fn last_raw<'a>(line: &'a str, scanner: &Scanner<'_>) -> &'a str {
    let before = line.get(..scanner.at()).unwrap_or_default();
    let start = before.rfind([':', ' ', '\t', '\n', '\r']).map_or(0, |at| at + 1);
    before.get(start..).unwrap_or_default().trim_matches('"')
}

/// Seconds since 1970 with a fraction, as nanoseconds; further digits are cut off. With an exponent, as exact as a float is.
fn seconds(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.is_empty() {
        let seconds: f64 = text.parse().ok()?;
        let micros = (seconds * 1e6).round();
        // Beyond this, nanoseconds do not fit 64 bits.
        return (micros.abs() < 9.2e15).then(|| micros as i64 * 1000);
    }
    let mut nanos = 0_i64;
    let mut scale = 100_000_000;
    for digit in fraction.bytes().take(9) {
        nanos += i64::from(digit - b'0') * scale;
        scale /= 10;
    }
    let ns = whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(if negative { -ns } else { ns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Texts = (Option<i64>, Option<u8>, Vec<(String, String)>, Vec<(String, String)>, String);

    /// Time, level, labels without the level, additional fields, text.
    fn texts(line: &str) -> Result<Texts, Error> {
        let (mut scratch, mut extras) = (String::new(), Vec::new());
        let found = parse(line, &mut json::Work::default(), &mut scratch, &mut extras)?;
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = found.labels(line, &scratch).filter(|(name, _)| *name != LEVEL);
        Ok((
            found.time_ns,
            found.level,
            labels.map(|(name, value)| owned(name, value)).collect(),
            extras.iter().map(|(name, value)| owned(name.of(line, &scratch), value.of(line, &scratch))).collect(),
            found.text().of(line, &scratch).to_owned(),
        ))
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn messages() {
        let line = r#"{
            "version": "1.1", "host": "example.org", "short_message": "A short message", "full_message": "Backtrace here\n\nmore stuff",
            "timestamp": 1385053862.3072, "level": 1, "_user_id": 9001, "_some_info": "foo", "_some_env_var": "bar" }"#;
        let want = (
            Some(1_385_053_862_307_200_000),
            Some(1),
            pairs(&[(HOST, "example.org"), (VERSION, "1.1")]),
            pairs(&[("user_id", "9001"), ("some_info", "foo"), ("some_env_var", "bar")]),
            "Backtrace here\n\nmore stuff".to_owned(),
        );
        assert_eq!(texts(line), Ok(want));
        let line = r#"{"short_message":"x","full_message":"","facility":"f","file":"a.c","line":7,"level":"4","timestamp":"1.000001",
            "_a\u0062":true,"_n":null,"_o":{"b":[1, 2]},"_":"no","other":[{}],"host":null}"#;
        let want = (
            Some(1_000_001_000),
            Some(4),
            pairs(&[(FACILITY, "f")]),
            pairs(&[("ab", "true"), ("o", r#"{"b":[1,2]}"#)]),
            "x".to_owned(),
        );
        assert_eq!(texts(line), Ok(want));
        let line = r#"{"short_message":"x","level":8}"#;
        assert_eq!(texts(line), Ok((None, None, vec![], vec![], "x".to_owned())));
        let mut scratch = String::new();
        let found =
            parse(r#"{"short_message":"","level":6}"#, &mut json::Work::default(), &mut scratch, &mut vec![]).unwrap();
        assert_eq!(found.labels("", "").collect::<Vec<_>>(), [(LEVEL, "informational")]);
    }

    #[test]
    fn what_is_not_gelf() {
        for bad in ["", "[]", "null", "x", "{", r#"{"short_message":"x"} x"#, r#"{"short_message":"x",}"#] {
            assert!(matches!(texts(bad), Err(Error::Malformed(_))), "{bad}");
        }
        for bad in ["{}", r#"{"short_message":null}"#, r#"{"full_message":""}"#, r#"{"message":"x"}"#] {
            assert_eq!(texts(bad), Err(Error::NoMessage), "{bad}");
        }
    }

    #[test]
    fn times_are_exact() {
        for (text, want) in [
            ("0", Some(0)),
            ("1385053862.3072", Some(1_385_053_862_307_200_000)),
            ("1785571200.123456", Some(1_785_571_200_123_456_000)),
            ("1785571200.123456789", Some(1_785_571_200_123_456_789)),
            ("1785571200.1234567899", Some(1_785_571_200_123_456_789)),
            ("-1.5", Some(-1_500_000_000)),
            ("1.5e9", Some(1_500_000_000_000_000_000)),
            ("9300000000", None),
            ("1e300", None),
            ("now", None),
            ("", None),
            (".5", Some(500_000_000)),
            ("NaN", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parser(short in "[a-z\"\\\\\n\té]{0,20}", micros in 0..4_000_000_000_000_000_i64, extra in any::<String>(), turn in 0..4_usize) {
            let mut members = [
                format!("\"short_message\":{}", serde_json::Value::from(short.clone())),
                format!("\"timestamp\" : {}.{:06}", micros / 1_000_000, micros % 1_000_000),
                format!("\"_e\":{}", serde_json::Value::from(extra.clone())),
                "\"level\":3".to_owned(),
            ];
            members.rotate_left(turn);
            let want = (Some(micros * 1000), Some(3), vec![], vec![("e".to_owned(), extra)], short);
            prop_assert_eq!(texts(&format!("{{{}}}", members.join(","))), Ok(want));
        }

        #[test]
        fn never_panics(line in r#"(\{|\}|"short_message"|"timestamp"|"_a"|"level"|:|,|"|\\u00|1|-|\.|e|null|\[|\]|ä){0,20}"#) {
            let _ = texts(&line);
            let _ = seconds(&line);
        }
    }
}
