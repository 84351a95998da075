//! One message: its level, words and fields, as plain values.
//!
//! Promises: nothing is longer than [`LOG_TEXT_BYTES`]. Leaves to others: how it is written.

use crate::base::clock::Clock;
use crate::base::limits::LOG_TEXT_BYTES;
use crate::base::text::head;
use std::fmt::{self, Debug, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Words.
    Text(String),
    /// A number or a truth value, as written in JSON.
    Bare(String),
}

impl Value {
    /// The value without quotes.
    pub fn text(&self) -> &str {
        match self {
            Value::Text(text) | Value::Bare(text) => text,
        }
    }
}

/// One message.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it was said, nanoseconds since 1970.
    pub time_ns: i64,
    /// How bad it is.
    pub level: Level,
    /// Where in the code it comes from.
    pub target: &'static str,
    /// The place in the code, as a number: equal for equal places.
    pub place: usize,
    /// The words.
    pub message: String,
    /// The rest, in the order given.
    pub fields: Vec<(&'static str, Value)>,
}

impl Record {
    /// Copies an event.
    pub fn new(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut record = Record {
            time_ns: Clock::System.now_ns(),
            level: *metadata.level(),
            target: metadata.target(),
            // The metadata of a place in the code is a static of its own.
            place: std::ptr::from_ref(metadata).addr(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut record);
        record
    }

    /// What, beside the place in the code, makes two messages the same: whom they are about.
    pub fn subject(&self) -> String {
        let mut subject = String::new();
        for (name, value) in &self.fields {
            if matches!(*name, "endpoint" | "source" | "file" | "path" | "address") {
                subject.push_str(value.text());
                subject.push('\0');
            }
        }
        subject
    }

    fn add(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.text().to_owned();
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = Capped(String::new());
        // The only error is that the cap is reached; what is there by then is shown.
        let _ = write!(text, "{value:?}");
        self.add(field, Value::Text(text.0));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = Capped(String::new());
        let _ = write!(text, "{value}");
        let mut cause = value.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Many errors repeat their cause in their own words.
            if !text.0.contains(&words) && write!(text, ": {words}").is_err() {
                break;
            }
            cause = error.source();
        }
        self.add(field, Value::Text(text.0));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Capped(String::new());
        let _ = text.write_str(value);
        self.add(field, Value::Text(text.0));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is not a number.
        self.add(
            field,
            if value.is_finite() { Value::Bare(value.to_string()) } else { Value::Text(value.to_string()) },
        );
    }
}

/// Text that stops growing at the cap, with a mark.
struct Capped(String);

impl Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LOG_TEXT_BYTES.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(head(text, room));
        self.0.push('…');
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_capped_with_a_mark() {
        let mut text = Capped(String::new());
        assert!(write!(text, "{}", "é".repeat(LOG_TEXT_BYTES)).is_err());
        assert!(text.0.len() <= LOG_TEXT_BYTES + '…'.len_utf8() && text.0.ends_with('…'));
    }
}
