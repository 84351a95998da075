//! The body of a push in JSON: `{"streams":[{"stream":{"app":"web"},"values":[["<nanoseconds>","line",{"trace":"1"}]]}]}`.
//!
//! Read in one pass over each stream and without building anything, so that a receiver can write entries where they go as they are found.
//! The form of Loki's first API is taken as well, which old clients send:
//! `{"labels":"{app=\"web\"}","entries":[{"ts":"2026-08-01T10:00:00Z","line":"…"}]}`.
//!
//! Promises: strict as Loki is (times in quotes, names and values in quotes), with `null` for what is empty, as Go clients write it; the
//! error tells stream, entry and byte. Entries before the place of an error were handed on already: who takes them undoes that. Allocates
//! nothing an entry in the steady state. Leaves to others: whether labels are valid, how many entries there may be, decompression.

use super::json::scan::Scanner;
use super::json::{Malformed, text};
use super::loki;
use super::rfc3339;
use crate::base::limits::PUSH_JSON_PAIRS;
use crate::model::value::Value;
use std::ops::Range;

/// Why a body is not a push, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what} at byte {at}", Place(*stream, *entry))]
pub struct PushError {
    /// In which stream, from 0.
    pub stream: Option<usize>,
    /// In which of its entries, from 0.
    pub entry: Option<usize>,
    /// Where, bytes from the beginning of the body.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

struct Place(Option<usize>, Option<usize>);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0, self.1) {
            (Some(stream), Some(entry)) => write!(f, "streams[{stream}], entry {entry}: "),
            (Some(stream), None) => write!(f, "streams[{stream}]: "),
            (None, _) => Ok(()),
        }
    }
}

/// Names with values, in the order of the body.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    list: &'a [(Value, Value)],
    body: &'a str,
    scratch: &'a str,
}

impl<'a> Pairs<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (body, scratch) = (self.body, self.scratch);
        self.list.iter().map(move |(name, value)| (name.of(body, scratch), value.of(body, scratch)))
    }
}

/// What is found, in the order of the body.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// A stream begins, with these labels; it may have no entries.
    Stream(Pairs<'a>),
    /// An entry of it.
    Entry(Entry<'a>),
}

/// An entry, with the labels of its stream.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The stream's labels; not checked.
    pub labels: Pairs<'a>,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
    /// Its text.
    pub line: &'a str,
    /// Its structured metadata.
    pub metadata: Pairs<'a>,
}

/// Reads one body after the other.
#[derive(Debug, Default)]
pub struct Decoder {
    labels: Vec<(Value, Value)>,
    metadata: Vec<(Value, Value)>,
    scratch: String,
}

/// Something that is wrong, without the place in the body's structure.
struct Wrong {
    at: usize,
    what: String,
}

impl From<Malformed> for Wrong {
    fn from(error: Malformed) -> Self {
        Wrong { at: error.at, what: error.what.to_owned() }
    }
}

fn wrong(at: usize, what: &str) -> Wrong {
    Wrong { at, what: what.to_owned() }
}

impl Decoder {
    /// Hands on each stream and entry.
    ///
    /// # Errors
    /// At the first thing that is wrong.
    pub fn decode(&mut self, body: &[u8], mut each: impl FnMut(Found<'_>)) -> Result<(), PushError> {
        let plain = |wrong: Wrong| PushError { stream: None, entry: None, at: wrong.at, what: wrong.what };
        let body = std::str::from_utf8(body).map_err(|error| plain(wrong(error.valid_up_to(), "not UTF-8")))?;
        let streams = streams(body).map_err(plain)?;
        let mut scanner = Scanner::starting(body, streams.start);
        let mut count = 0;
        let mut more = open(&mut scanner, body, b'[', "expected a list of streams").map_err(plain)?;
        while more {
            let mut entry = None;
            let failed = |wrong: Wrong, entry| PushError { stream: Some(count), entry, at: wrong.at, what: wrong.what };
            let start = scanner.next();
            let range = scanner.skip().map_err(|error| failed(error.into(), None))?;
            if start != b'{' {
                return Err(failed(wrong(range.start, "expected a stream, {\"stream\": …, \"values\": …}"), None));
            }
            self.stream(body, range, &mut entry, &mut each).map_err(|wrong| failed(wrong, entry))?;
            more = scanner.another(b']').map_err(|error| plain(error.into()))?;
            count += 1;
        }
        Ok(())
    }

    /// One stream. `at_entry` is which entry it is at.
    fn stream(
        &mut self,
        body: &str,
        range: Range<usize>,
        at_entry: &mut Option<usize>,
        each: &mut impl FnMut(Found<'_>),
    ) -> Result<(), Wrong> {
        self.labels.clear();
        self.scratch.clear();
        let parts = Parts::find(body, range.start)?;
        let is_old = parts.labels.is_none() && parts.old_labels.is_some();
        match (parts.labels, parts.old_labels) {
            (Some(at), _) => pairs(&mut Scanner::starting(body, at), body, &mut self.scratch, &mut self.labels)?,
            (None, Some(at)) => self.old_labels(body, at)?,
            (None, None) => return Err(wrong(range.start, "a stream without its labels, \"stream\": {…},")),
        }
        let values = if is_old { parts.entries.or(parts.values) } else { parts.values.or(parts.entries) };
        let at = values.ok_or_else(|| wrong(range.start, "a stream without its entries, \"values\": […],"))?;
        each(Found::Stream(Pairs { list: &self.labels, body, scratch: &self.scratch }));
        let mut scanner = Scanner::starting(body, at);
        let mut more = open(&mut scanner, body, b'[', "expected a list of entries")?;
        let kept = self.scratch.len();
        let mut index = 0;
        while more {
            *at_entry = Some(index);
            self.scratch.truncate(kept);
            self.metadata.clear();
            let (time_ns, line) = match scanner.next() {
                b'[' => self.entry(body, &mut scanner)?,
                b'{' => self.old_entry(body, &mut scanner)?,
                _ => return Err(wrong(scanner.at(), "expected an entry, [\"<nanoseconds>\", \"line\"],")),
            };
            let of = |list| Pairs { list, body, scratch: &self.scratch };
            each(Found::Entry(Entry {
                labels: of(&self.labels),
                time_ns,
                line: line.of(body, &self.scratch),
                metadata: of(&self.metadata),
            }));
            more = scanner.another(b']')?;
            index += 1;
        }
        *at_entry = None;
        Ok(())
    }

    /// `["<nanoseconds>", "line", {"name": "value"}]`.
    fn entry(&mut self, body: &str, scanner: &mut Scanner<'_>) -> Result<(i64, Value), Wrong> {
        const MISSING: &str = "an entry has a time, a line and maybe metadata: expected one more";
        let start = scanner.at();
        let mut more = scanner.open(b']')?;
        if !more {
            return Err(wrong(start, MISSING));
        }
        scanner.next();
        let at = scanner.at();
        let time = string(scanner, body, &mut self.scratch, "expected nanoseconds since 1970, in quotes,")?;
        let time_ns = time.of(body, &self.scratch).parse();
        let time_ns = time_ns.map_err(|_| wrong(at, "expected nanoseconds since 1970, in quotes,"))?;
        more = more && scanner.another(b']')?;
        if !more {
            return Err(wrong(scanner.at(), MISSING));
        }
        let line = string(scanner, body, &mut self.scratch, "expected the line, in quotes,")?;
        more = scanner.another(b']')?;
        if more {
            pairs(scanner, body, &mut self.scratch, &mut self.metadata)?;
            if scanner.another(b']')? {
                return Err(wrong(scanner.at(), "an entry has a time, a line and maybe metadata: one more was found"));
            }
        }
        Ok((time_ns, line))
    }

    /// `{"ts": "2026-08-01T10:00:00Z", "line": "…"}`.
    fn old_entry(&mut self, body: &str, scanner: &mut Scanner<'_>) -> Result<(i64, Value), Wrong> {
        let start = scanner.at();
        let (mut time_ns, mut line) = (None, None);
        let mut more = scanner.open(b'}')?;
        while more {
            let key = scanner.key()?;
            scanner.next();
            let at = scanner.at();
            match body.get(key.range) {
                Some("ts" | "timestamp") => {
                    let time = string(scanner, body, &mut self.scratch, "expected a time, in quotes,")?;
                    let ns = rfc3339::parse(time.of(body, &self.scratch));
                    time_ns = Some(ns.ok_or_else(|| wrong(at, "expected a time as in RFC 3339"))?);
                }
                Some("line") => {
                    line = Some(string(scanner, body, &mut self.scratch, "expected the line, in quotes,")?);
                }
                _ => {
                    scanner.skip()?;
                }
            }
            more = scanner.another(b'}')?;
        }
        time_ns.zip(line).ok_or_else(|| wrong(start, "an entry without \"ts\" or \"line\""))
    }

    /// `"{app=\"web\"}"`.
    fn old_labels(&mut self, body: &str, at: usize) -> Result<(), Wrong> {
        let mut scanner = Scanner::starting(body, at);
        let quoted = string(&mut scanner, body, &mut self.scratch, "expected labels, in quotes,")?;
        let found = loki::parse_labels(quoted.of(body, &self.scratch));
        for (name, value) in found.map_err(|error| Wrong { at, what: error.to_string() })? {
            let name = Value::push(&mut self.scratch, &name);
            self.labels.push((name, Value::push(&mut self.scratch, &value)));
        }
        Ok(())
    }
}

/// Where the list of streams is; the whole body is checked on the way.
fn streams(body: &str) -> Result<Range<usize>, Wrong> {
    let mut scanner = Scanner::new(body);
    if scanner.next() != b'{' {
        return Err(wrong(scanner.at(), "expected {\"streams\": …}"));
    }
    let mut found = None;
    let mut more = scanner.open(b'}')?;
    while more {
        let key = scanner.key()?;
        let range = scanner.skip()?;
        if body.get(key.range) == Some("streams") && found.replace(range).is_some() {
            return Err(wrong(scanner.at(), "\"streams\" is there twice"));
        }
        more = scanner.another(b'}')?;
    }
    scanner.end()?;
    found.ok_or_else(|| wrong(scanner.at(), "expected \"streams\", which is not there,"))
}

/// Where the parts of a stream begin. They come in any order, and entries cannot be handed on before the labels are known.
#[derive(Default)]
struct Parts {
    labels: Option<usize>,
    old_labels: Option<usize>,
    values: Option<usize>,
    entries: Option<usize>,
}

impl Parts {
    fn find(body: &str, at: usize) -> Result<Self, Wrong> {
        let mut scanner = Scanner::starting(body, at);
        let mut found = Parts::default();
        let mut more = scanner.open(b'}')?;
        while more {
            let key = scanner.key()?;
            let range = scanner.skip()?;
            let place = match body.get(key.range) {
                Some("stream") => Some(&mut found.labels),
                Some("labels") => Some(&mut found.old_labels),
                Some("values") => Some(&mut found.values),
                Some("entries") => Some(&mut found.entries),
                _ => None,
            };
            if let Some(place) = place
                && place.replace(range.start).is_some()
            {
                return Err(wrong(range.start, "a key of a stream is there twice"));
            }
            more = scanner.another(b'}')?;
        }
        Ok(found)
    }
}

/// Into a list or object; `null` is an empty one. Tells whether there is anything in it.
fn open(scanner: &mut Scanner<'_>, body: &str, with: u8, expected: &str) -> Result<bool, Wrong> {
    match scanner.next() {
        byte if byte == with => Ok(scanner.open(if with == b'[' { b']' } else { b'}' })?),
        b'n' if body.get(scanner.at()..).is_some_and(|rest| rest.starts_with("null")) => {
            scanner.word("null")?;
            Ok(false)
        }
        _ => Err(wrong(scanner.at(), expected)),
    }
}

/// An object of texts.
fn pairs(
    scanner: &mut Scanner<'_>,
    body: &str,
    scratch: &mut String,
    to: &mut Vec<(Value, Value)>,
) -> Result<(), Wrong> {
    let mut more = open(scanner, body, b'{', "expected names with values, {\"name\": \"value\"},")?;
    while more {
        if to.len() == PUSH_JSON_PAIRS {
            return Err(Wrong { at: scanner.at(), what: format!("more than {PUSH_JSON_PAIRS} names with values") });
        }
        let name = scanner.key()?;
        let name = text::string(body, name, scratch);
        let value = string(scanner, body, scratch, "expected a value in quotes")?;
        // Of equal names the last one counts.
        match to.iter_mut().find(|(known, _)| known.of(body, scratch) == name.of(body, scratch)) {
            Some(known) => known.1 = value,
            None => to.push((name, value)),
        }
        more = scanner.another(b'}')?;
    }
    Ok(())
}

fn string(scanner: &mut Scanner<'_>, body: &str, scratch: &mut String, expected: &str) -> Result<Value, Wrong> {
    if scanner.next() != b'"' {
        return Err(wrong(scanner.at(), expected));
    }
    let quoted = scanner.string()?;
    Ok(text::string(body, quoted, scratch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (usize, Vec<(String, String)>, i64, String, Vec<(String, String)>);

    fn decode(body: &[u8]) -> Result<Vec<Owned>, PushError> {
        let owned = |pairs: Pairs<'_>| pairs.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let (mut found, mut streams) = (Vec::new(), 0);
        Decoder::default().decode(body, |part| {
            let Found::Entry(entry) = part else { return streams += 1 };
            found.push((streams - 1, owned(entry.labels), entry.time_ns, entry.line.to_owned(), owned(entry.metadata)));
        })?;
        Ok(found)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn bodies() {
        let body = r#" {"x":[{}],"streams":[
            {"values":[["-1","l\"1\n",{"m":"v","k":"\u00e4"}],["2","",null],[ "3" , "x" , {} ]],"stream":{"b":"2","a":"\n"},"y":1},
            {"stream":{},"values":[]},{"stream":null,"values":null},
            {"stream":{"a":"1","a":"2"},"values":[["9223372036854775807","ä"]]}]} "#;
        let labels = vec![pair("b", "2"), pair("a", "\n")];
        let want = vec![
            (0, labels.clone(), -1, "l\"1\n".to_owned(), vec![pair("m", "v"), pair("k", "ä")]),
            (0, labels.clone(), 2, String::new(), vec![]),
            (0, labels, 3, "x".to_owned(), vec![]),
            (3, vec![pair("a", "2")], i64::MAX, "ä".to_owned(), vec![]),
        ];
        assert_eq!(decode(body.as_bytes()), Ok(want));
        for empty in [r#"{"streams":[]}"#, r#"{"streams":null}"#] {
            assert_eq!(decode(empty.as_bytes()), Ok(vec![]));
        }
    }

    #[test]
    fn the_first_api() {
        let body = r#"{"streams":[{"labels":"{app=\"web\", b=`c`}","entries":[
            {"ts":"2018-12-18T08:28:06.801064-04:00","line":"one"},{"line":"two","x":[],"ts":"1970-01-01T00:00:00Z"}]}]}"#;
        let labels = vec![pair("app", "web"), pair("b", "c")];
        let want = vec![
            (0, labels.clone(), 1_545_136_086_801_064_000, "one".to_owned(), vec![]),
            (0, labels, 0, "two".to_owned(), vec![]),
        ];
        assert_eq!(decode(body.as_bytes()), Ok(want));
    }

    #[test]
    fn errors_tell_the_place() {
        let stream = |values: &str| {
            format!(r#"{{"streams":[{{"stream":{{}},"values":[]}},{{"stream":{{"a":"1"}},"values":{values}}}]}}"#)
        };
        for (values, want) in [
            ("1", "streams[1]: expected a list of entries at byte 67"),
            ("[1]", "streams[1], entry 0: expected an entry, [\"<nanoseconds>\", \"line\"], at byte 68"),
            (
                "[[]]",
                "streams[1], entry 0: an entry has a time, a line and maybe metadata: expected one more at byte 68",
            ),
            (
                "[[\"1\"]]",
                "streams[1], entry 0: an entry has a time, a line and maybe metadata: expected one more at byte 73",
            ),
            ("[[1,\"x\"]]", "streams[1], entry 0: expected nanoseconds since 1970, in quotes, at byte 69"),
            ("[[\"x\",\"x\"]]", "streams[1], entry 0: expected nanoseconds since 1970, in quotes, at byte 69"),
            ("[[\"1.5\",\"x\"]]", "streams[1], entry 0: expected nanoseconds since 1970, in quotes, at byte 69"),
            (
                "[[\"9223372036854775808\",\"x\"]]",
                "streams[1], entry 0: expected nanoseconds since 1970, in quotes, at byte 69",
            ),
            ("[[\"1\",\"x\"],[\"1\",2]]", "streams[1], entry 1: expected the line, in quotes, at byte 83"),
            ("[[\"1\",\"x\",1]]", "streams[1], entry 0: expected names with values, {\"name\": \"value\"}, at byte 77"),
            ("[[\"1\",\"x\",{\"a\":1}]]", "streams[1], entry 0: expected a value in quotes at byte 82"),
            (
                "[[\"1\",\"x\",{},1]]",
                "streams[1], entry 0: an entry has a time, a line and maybe metadata: one more was found at byte 80",
            ),
            ("[{\"ts\":\"1\",\"line\":\"x\"}]", "streams[1], entry 0: expected a time as in RFC 3339 at byte 74"),
            ("[{\"line\":\"x\"}]", "streams[1], entry 0: an entry without \"ts\" or \"line\" at byte 68"),
        ] {
            let error = decode(stream(values).as_bytes()).expect_err(values);
            assert_eq!(error.to_string(), want, "{values}");
        }
        for (body, want) in [
            ("", "expected {\"streams\": …} at byte 0"),
            ("[]", "expected {\"streams\": …} at byte 0"),
            ("{}", "expected \"streams\", which is not there, at byte 2"),
            ("{\"streams\":[]", "expected , or } at byte 13"),
            ("{\"streams\":[]} x", "something follows the value at byte 15"),
            ("{\"streams\":{}}", "expected a list of streams at byte 11"),
            ("{\"streams\":[],\"streams\":[]}", "\"streams\" is there twice at byte 26"),
            ("{\"streams\":[1]}", "streams[0]: expected a stream, {\"stream\": …, \"values\": …} at byte 12"),
            ("{\"streams\":[{\"values\":[]}]}", "streams[0]: a stream without its labels, \"stream\": {…}, at byte 12"),
            (
                "{\"streams\":[{\"stream\":{}}]}",
                "streams[0]: a stream without its entries, \"values\": […], at byte 12",
            ),
            (
                "{\"streams\":[{\"stream\":{},\"stream\":{}}]}",
                "streams[0]: a key of a stream is there twice at byte 34",
            ),
            (
                "{\"streams\":[{\"stream\":{\"a\":1},\"values\":[]}]}",
                "streams[0]: expected a value in quotes at byte 27",
            ),
            (
                "{\"streams\":[{\"stream\":[],\"values\":[]}]}",
                "streams[0]: expected names with values, {\"name\": \"value\"}, at byte 22",
            ),
            (
                "{\"streams\":[{\"labels\":\"{a}\",\"entries\":[]}]}",
                "streams[0]: labels are written {a=\"b\", c=\"d\"}: expected = at byte 2 at byte 22",
            ),
        ] {
            assert_eq!(decode(body.as_bytes()).expect_err(body).to_string(), want, "{body}");
        }
        assert_eq!(decode(b"{\"streams\xff").unwrap_err().at, 9);
        let many: Vec<String> = (0..=PUSH_JSON_PAIRS).map(|n| format!("\"n{n}\":\"\"")).collect();
        assert!(
            decode(format!("{{\"streams\":[{{\"stream\":{{{}}},\"values\":[]}}]}}", many.join(",")).as_bytes())
                .is_err()
        );
    }

    fn texts() -> impl Strategy<Value = Vec<(String, String)>> {
        prop::collection::btree_map("[a-z\"\\\\\n]{0,4}", any::<String>(), 0..3)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_a_full_writer_writes_is_read(streams in prop::collection::vec((texts(), prop::collection::vec((any::<i64>(), any::<String>(), texts()), 0..4), any::<bool>()), 0..4)) {
            let object = |pairs: &[(String, String)]| serde_json::Value::Object(pairs.iter().map(|(n, v)| (n.clone(), v.clone().into())).collect());
            let mut want = Vec::new();
            let mut written = Vec::new();
            for (index, (labels, entries, turned)) in streams.iter().enumerate() {
                let values: Vec<_> = entries.iter().map(|(ns, line, metadata)| serde_json::json!([ns.to_string(), line, object(metadata)])).collect();
                let mut parts = [format!("\"stream\":{}", object(labels)), format!("\"values\":{}", serde_json::Value::from(values))];
                parts.rotate_left(usize::from(*turned));
                written.push(format!("{{{}}}", parts.join(",")));
                want.extend(entries.iter().map(|(ns, line, metadata)| (index, labels.clone(), *ns, line.clone(), metadata.clone())));
            }
            let found = decode(format!("{{\"streams\":[{}]}}", written.join(",")).as_bytes());
            let sorted = |mut list: Vec<Owned>| {
                for (_, labels, _, _, metadata) in &mut list {
                    labels.sort();
                    metadata.sort();
                }
                list
            };
            prop_assert_eq!(found.map(sorted), Ok(sorted(want)));
        }

        #[test]
        fn never_panics(body in r#"(\{|\}|"streams":|"stream":|"values":|"labels":|"entries":|"ts":|"line":|"1"|:|,|"|\\n|1|null|\[|\]|ä){0,24}"#, bytes: Vec<u8>) {
            let _ = decode(body.as_bytes());
            let _ = decode(format!("{{\"streams\":[{{\"stream\":{{}},\"values\":[{body}]}}]}}").as_bytes());
            let _ = decode(&bytes);
        }
    }
}
