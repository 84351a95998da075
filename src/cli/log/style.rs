//! How a message looks as a line.
//!
//! Promises: exactly one newline, at the end; no control character reaches a terminal or breaks a line, whatever a message
//! contains; logfmt and JSON can be parsed back. Leaves to others: when it is written.

use super::record::{Record, Value};
use super::time::rfc3339;
use std::fmt::Write;
use tracing::Level;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For eyes.
    Human {
        /// With colours.
        colour: bool,
    },
    /// `ts=… level=… msg="…" key=value`.
    Logfmt,
    /// logfmt without the time, which the journal adds, and with the priority that it understands (sd-daemon(3)).
    Journal,
    /// A JSON object.
    Json,
}

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl Style {
    /// Appends `record` as a line.
    pub fn line(self, record: &Record, out: &mut String) {
        match self {
            Style::Human { colour } => human(record, colour, out),
            Style::Logfmt => {
                out.push_str("ts=");
                out.push_str(&rfc3339(record.time_ns));
                out.push(' ');
                logfmt(record, out);
            }
            Style::Journal => {
                out.push_str(match record.level {
                    Level::ERROR => "<3>",
                    Level::WARN => "<4>",
                    Level::INFO => "<6>",
                    _ => "<7>",
                });
                logfmt(record, out);
            }
            Style::Json => json(record, out),
        }
        out.push('\n');
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        _ => "trace",
    }
}

fn human(record: &Record, colour: bool, out: &mut String) {
    let (dim, plain) = if colour { (DIM, PLAIN) } else { ("", "") };
    let time = rfc3339(record.time_ns);
    let clock = time.get(11..23).unwrap_or(&time);
    let (paint, word) = match record.level {
        Level::ERROR => ("\x1b[1;31m", "ERROR"),
        Level::WARN => ("\x1b[33m", "WARN "),
        Level::INFO => ("\x1b[32m", "INFO "),
        Level::DEBUG => ("\x1b[34m", "DEBUG"),
        _ => ("\x1b[35m", "TRACE"),
    };
    let paint = if colour { paint } else { "" };
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "{dim}{clock}{plain} {paint}{word}{plain} ");
    escape(&record.message, false, out);
    for (key, value) in &record.fields {
        let _ = write!(out, " {dim}{key}={plain}");
        quoted(value.text(), out);
    }
}

fn logfmt(record: &Record, out: &mut String) {
    let _ = write!(out, "level={} msg=", name(record.level));
    quoted(&record.message, out);
    for (key, value) in &record.fields {
        let _ = write!(out, " {key}=");
        quoted(value.text(), out);
    }
}

/// A logfmt value: bare if it is one word of harmless characters, else quoted.
fn quoted(text: &str, out: &mut String) {
    let bare = !text.is_empty()
        && text.chars().all(|c| !c.is_whitespace() && !must_escape(c) && !matches!(c, '"' | '=' | '\\'));
    if bare {
        out.push_str(text);
        return;
    }
    out.push('"');
    escape(text, true, out);
    out.push('"');
}

/// Whether a character could break a line, move a terminal's cursor or turn the direction of writing.
fn must_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends `text` with everything that could break a line or steer a terminal written out as an escape.
pub fn escape(text: &str, in_quotes: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' if in_quotes => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if must_escape(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

fn json(record: &Record, out: &mut String) {
    let _ = write!(out, "{{\"ts\":\"{}\",\"level\":\"{}\",\"msg\":", rfc3339(record.time_ns), name(record.level));
    json_string(&record.message, out);
    for (index, (key, value)) in record.fields.iter().enumerate() {
        let own = matches!(*key, "ts" | "level" | "msg");
        // A key stands once: the first use of it wins, and the line's own keys come before all.
        if own || record.fields.iter().take(index).any(|(earlier, _)| earlier == key) {
            continue;
        }
        out.push(',');
        json_string(key, out);
        out.push(':');
        match value {
            Value::Text(text) => json_string(text, out),
            Value::Bare(text) => out.push_str(text),
        }
    }
    out.push('}');
}

fn json_string(text: &str, out: &mut String) {
    out.push('"');
    escape(text, true, out);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn record(level: Level, message: &str, fields: &[(&'static str, Value)]) -> Record {
        Record { time_ns: 0, level, target: "lugger", place: 1, message: message.to_owned(), fields: fields.to_vec() }
    }

    fn line(style: Style, record: &Record) -> String {
        let mut out = String::new();
        style.line(record, &mut out);
        out
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn each_style_in_one_line() {
        let fields = [("file", text("/var/log/a b")), ("lines", Value::Bare("3".to_owned())), ("none", text(""))];
        let record = record(Level::WARN, "it \"works\"\nreally", &fields);
        let rest = "msg=\"it \\\"works\\\"\\nreally\" file=\"/var/log/a b\" lines=3 none=\"\"\n";
        assert_eq!(line(Style::Logfmt, &record), format!("ts=1970-01-01T00:00:00.000Z level=warn {rest}"));
        assert_eq!(line(Style::Journal, &record), format!("<4>level=warn {rest}"));
        assert_eq!(
            line(Style::Human { colour: false }, &record),
            "00:00:00.000 WARN  it \"works\"\\nreally file=\"/var/log/a b\" lines=3 none=\"\"\n"
        );
        assert_eq!(
            line(Style::Json, &record),
            "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"warn\",\"msg\":\"it \\\"works\\\"\\nreally\",\
             \"file\":\"/var/log/a b\",\"lines\":3,\"none\":\"\"}\n"
        );
    }

    #[test]
    fn priorities_of_the_journal() {
        for (level, prefix) in [
            (Level::ERROR, "<3>"),
            (Level::WARN, "<4>"),
            (Level::INFO, "<6>"),
            (Level::DEBUG, "<7>"),
            (Level::TRACE, "<7>"),
        ] {
            assert!(line(Style::Journal, &record(level, "x", &[])).starts_with(&format!("{prefix}level=")));
        }
    }

    #[test]
    fn colours_only_when_wanted_and_never_from_a_message() {
        let hostile = record(Level::ERROR, "\x1b[2Jgone\u{202e}", &[("k", text("\x07\u{9b}31m"))]);
        let plain = line(Style::Human { colour: false }, &hostile);
        assert!(!plain.contains('\x1b') && !plain.contains('\u{9b}') && !plain.contains('\u{202e}'), "{plain:?}");
        assert!(line(Style::Human { colour: true }, &hostile).contains("\x1b[1;31mERROR"));
    }

    #[test]
    fn a_key_stands_once_in_json() {
        let record = record(Level::INFO, "x", &[("msg", text("y")), ("a", text("1")), ("a", text("2"))]);
        let value: serde_json::Value = serde_json::from_str(&line(Style::Json, &record)).unwrap();
        assert_eq!((&value["msg"], &value["a"]), (&"x".into(), &"1".into()));
    }

    proptest! {
        #[test]
        fn whatever_is_said_stays_on_one_line_and_json_reads_back(message: String, value: String) {
            let record = record(Level::INFO, &message, &[("key", text(&value))]);
            for style in [Style::Logfmt, Style::Journal, Style::Json, Style::Human { colour: false }] {
                let line = line(style, &record);
                let body = line.strip_suffix('\n').unwrap();
                prop_assert!(!body.chars().any(|c| c.is_control() || c == '\u{2028}'), "{:?}", body);
            }
            let read: serde_json::Value = serde_json::from_str(&line(Style::Json, &record)).unwrap();
            prop_assert_eq!(read["msg"].as_str(), Some(message.as_str()));
            prop_assert_eq!(read["key"].as_str(), Some(value.as_str()));
        }
    }
}
