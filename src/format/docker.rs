//! Lines of docker's json-file driver: `{"log":"text\n","stream":"stdout","time":"2026-08-01T10:00:00.123456789Z","attrs":{...}}`.
//!
//! Promises: keys in any order, the whole line checked, of equal keys the last one counts, as with the `json` stage that Promtail uses here;
//! a text without escapes but its newline is borrowed, another one lies in scratch; no allocation in the steady state. The newline at the
//! end of a text is taken off (Promtail leaves it on), with the `\r` that terminals put before it; a text without it is one that docker divided. Leaves to others: joining the parts,
//! values of `attrs`.

use super::json::scan::Scanner;
use super::json::{self, Malformed, scalar, text};
use crate::format::rfc3339;
use crate::model::value::{Kind, Value};

/// A line, taken apart. What the line has not, or as `null`, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Line {
    /// What the container wrote, without the newline at its end, nor the `\r` before that.
    pub log: Option<Value>,
    /// Whether there was no newline: the next line of the same stream continues this one.
    pub partial: bool,
    /// `stdout` or `stderr`.
    pub stream: Option<Value>,
    /// The time as written.
    pub time: Option<Value>,
    /// The time, nanoseconds since 1970. `None` also if it is not RFC 3339 or out of range.
    pub time_ns: Option<i64>,
    /// Labels and variables that the driver was told to add: a JSON object as it stands in the line.
    pub attrs: Option<Value>,
}

/// Takes a line apart.
///
/// ```
/// use lugger::format::{docker, json};
/// let line = r#"{"log":"hello\n","stream":"stdout","time":"2026-08-01T10:00:00Z"}"#;
/// let mut scratch = String::new();
/// let found = docker::parse(line, &mut json::Work::default(), &mut scratch).unwrap();
/// assert_eq!((found.log.unwrap().of(line, &scratch), found.partial), ("hello", false));
/// ```
pub fn parse(line: &str, work: &mut json::Work, scratch: &mut String) -> Result<Line, Malformed> {
    let bytes = line.as_bytes();
    let mut scanner = Scanner::new(line);
    let mut found = Line::default();
    let mut newline = false;
    if scanner.next() != b'{' {
        return Err(scanner.malformed("expected {"));
    }
    let mut more = scanner.open(b'}')?;
    while more {
        let key = scanner.key()?;
        let name = match (key.escaped, bytes.get(key.range.clone())) {
            (false, Some(name)) => name,
            // Docker has no need to escape its keys; but what is equal is equal.
            _ => unescaped_name(line.get(key.range).unwrap_or_default(), scratch),
        };
        match name {
            b"log" => (found.log, newline) = log(&mut scanner, line, work, scratch)?,
            b"stream" => found.stream = some(value(&mut scanner, line, work, scratch)?),
            b"time" => found.time = some(value(&mut scanner, line, work, scratch)?),
            b"attrs" => {
                let first = scanner.next();
                let range = scanner.skip()?;
                found.attrs = (first == b'{').then(|| Value::in_line(range));
            }
            _ => {
                scanner.skip()?;
            }
        }
        more = scanner.another(b'}')?;
    }
    scanner.end()?;
    found.partial = found.log.is_some() && !newline;
    found.time_ns = found.time.and_then(|time| rfc3339::parse(time.of(line, scratch)));
    Ok(found)
}

/// The text, and whether a newline was taken off.
fn log(
    scanner: &mut Scanner,
    line: &str,
    work: &mut json::Work,
    scratch: &mut String,
) -> Result<(Option<Value>, bool), Malformed> {
    if scanner.next() != b'"' {
        // Another writer's line; nothing says that it goes on.
        let value = value(scanner, line, work, scratch)?;
        return Ok((some(value), true));
    }
    let mut quoted = scanner.string()?;
    let raw = line.get(quoted.range.clone()).unwrap_or_default();
    // The usual line: its newline is its only escape, and all else can be borrowed.
    if let Some(body) = raw.strip_suffix("\\n")
        && memchr::memchr(b'\\', body.as_bytes()).is_none()
    {
        quoted.range.end = quoted.range.start + body.len();
        return Ok((Some(Value::in_line(quoted.range)), true));
    }
    let value = text::string(line, quoted, scratch);
    let Some(body) = value.of(line, scratch).strip_suffix('\n') else { return Ok((Some(value), false)) };
    let start = value.range().start;
    let length = body.strip_suffix('\r').unwrap_or(body).len();
    Ok((Some(Value::in_scratch(start..start + length)), true))
}

/// Any value, as the `json` stage would extract it.
fn value(scanner: &mut Scanner, line: &str, work: &mut json::Work, scratch: &mut String) -> Result<Value, Malformed> {
    if !matches!(scanner.next(), b'{' | b'[') {
        return scalar(scanner, line, scratch);
    }
    let at = scanner.skip()?.start;
    text::compact(line, at, work, scratch)
}

fn some(value: Value) -> Option<Value> {
    (value.kind() != Kind::Null).then_some(value)
}

/// Which of the known keys an escaped one is; nothing for others.
fn unescaped_name(raw: &str, scratch: &mut String) -> &'static [u8] {
    let start = scratch.len();
    text::unescape(raw, false, scratch);
    let name = ["log", "stream", "time", "attrs"].into_iter().find(|name| scratch.get(start..) == Some(name));
    scratch.truncate(start);
    name.unwrap_or_default().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    struct Texts {
        log: Option<String>,
        partial: bool,
        stream: Option<String>,
        time_ns: Option<i64>,
        attrs: Option<String>,
    }

    fn texts(line: &str) -> Result<Texts, Malformed> {
        let mut scratch = String::from("left over");
        let found = parse(line, &mut json::Work::default(), &mut scratch)?;
        let text = |value: Option<Value>| value.map(|value| value.of(line, &scratch).to_owned());
        Ok(Texts {
            log: text(found.log),
            partial: found.partial,
            stream: text(found.stream),
            time_ns: found.time_ns,
            attrs: text(found.attrs),
        })
    }

    #[test]
    fn lines() {
        let ns = Some(1_556_590_361_844_351_500);
        for (line, log, partial, stream, time_ns, attrs) in [
            (
                r#"{"log":"hello\n","stream":"stderr","time":"2019-04-30T02:12:41.8443515Z"}"#,
                Some("hello"),
                false,
                Some("stderr"),
                ns,
                None,
            ),
            (
                r#"{"time":"2019-04-30T02:12:41.8443515Z","stream":"stdout","log":"a \"b\"\\n\n"}"#,
                Some("a \"b\"\\n"),
                false,
                Some("stdout"),
                ns,
                None,
            ),
            (r#"{"log":"half","stream":"stdout","time":"hi!"}"#, Some("half"), true, Some("stdout"), None, None),
            (r#"{"log":"half\\n","attrs":{"a":"b"}}"#, Some("half\\n"), true, None, None, Some(r#"{"a":"b"}"#)),
            (r#"{"log":"\n"}"#, Some(""), false, None, None, None),
            (r#"{"log":""}"#, Some(""), true, None, None, None),
            (r#"{"log":"\u000a"}"#, Some(""), false, None, None, None),
            (r#"{"log":"a\n\n"}"#, Some("a\n"), false, None, None, None),
            (r#"{"log":"x\u001b[0m\r\n"}"#, Some("x\u{1b}[0m"), false, None, None, None),
            (r#" { "log" : "x" , "other" : [ {} ] } "#, Some("x"), true, None, None, None),
            (r#"{"log":"a\n","log":"b","l\u006fg":"c\n"}"#, Some("c"), false, None, None, None),
            (r#"{"log":null,"stream":null,"attrs":"x"}"#, None, false, None, None, None),
            (r#"{"log":1.50,"stream":{"b":1,"a":2}}"#, Some("1.5"), false, Some(r#"{"a":2,"b":1}"#), None, None),
            ("{}", None, false, None, None, None),
        ] {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let want = Texts { log: own(log), partial, stream: own(stream), time_ns, attrs: own(attrs) };
            assert_eq!(texts(line), Ok(want), "{line}");
        }
    }

    #[test]
    fn malformed_lines() {
        for line in [
            "",
            "i'm not json!",
            "[]",
            "null",
            "{\"log\":\"x\"",
            "{\"log\":\"x\\q\"}",
            "{\"log\":\"x\"} y",
            "{\"log\":\"x\",\"stream\":}",
            "{\"log\":\"a\nb\"}",
        ] {
            assert!(texts(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_usual_line_is_borrowed() {
        let mut scratch = String::new();
        parse(r#"{"log":"hello\n","stream":"stderr","time":"x"}"#, &mut json::Work::default(), &mut scratch).unwrap();
        assert_eq!(scratch, "");
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parser(log in "[a-z\"\\\\\n\r\té]{0,20}", stream in "[a-z]{0,8}", turn in 0..3_usize) {
            let mut members = [
                format!("\"log\":{}", serde_json::Value::from(log.clone())),
                format!("\"stream\":\"{stream}\""),
                "\"time\":\"1970-01-01T00:00:00.000000007Z\"".to_owned(),
            ];
            members.rotate_left(turn);
            let found = texts(&format!("{{{}}}", members.join(",")));
            let want = Texts {
                log: Some(log.strip_suffix("\r\n").or_else(|| log.strip_suffix('\n')).unwrap_or(&log).to_owned()),
                partial: !log.ends_with('\n'),
                stream: Some(stream),
                time_ns: Some(7),
                attrs: None,
            };
            prop_assert_eq!(found, Ok(want));
        }

        #[test]
        fn never_panics(line in r#"(\{|\}|"log"|"time"|"attrs"|:|,|"|\\n|\\u00|1|null|\[|\]|ä){0,20}"#) {
            let found = texts(&line);
            let valid = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&line).is_ok();
            prop_assert_eq!(found.is_ok(), valid, "{}", line);
        }
    }
}
