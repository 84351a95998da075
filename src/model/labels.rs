//! Label sets: sorted names with values, and the form in which Loki wants them.
//!
//! Promises: a [`Labels`] is never invalid: names match `[a-zA-Z_][a-zA-Z0-9_]*` and are not reserved, no value is
//! empty, names are sorted and unique, and Loki's default caps hold. Leaves to others: interning.

use crate::base::limits::{LABEL_NAME_BYTES, LABEL_VALUE_BYTES, LABELS_MAX};
use std::fmt::Write;

/// Names that Loki gives a meaning of its own (`pkg/distributor`, `pkg/constants`); streams with them are refused or misrouted.
const RESERVED: [&str; 5] =
    ["__stream_shard__", "__time_shard__", "__aggregated_metric__", "__pattern__", "__backfill__"];

/// Why a label set is not one; the text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The name has characters Loki does not take.
    #[error("label name {0:?} is not valid: it starts with a letter or _ and goes on with letters, digits or _")]
    Name(String),
    /// The name is too long.
    #[error("label name {0:?} is longer than {LABEL_NAME_BYTES} bytes")]
    NameLength(String),
    /// The name is Loki's own.
    #[error("label name {0:?} is reserved by Loki")]
    Reserved(String),
    /// The value is too long.
    #[error("the value of label {0:?} is longer than {LABEL_VALUE_BYTES} bytes")]
    ValueLength(String),
    /// Too many labels.
    #[error("a stream has {0} labels, a default Loki takes {LABELS_MAX}: remove some")]
    Count(usize),
}

/// A valid label set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// Builds a set from pairs; of equal names the last wins, an empty value removes the label (as in Prometheus).
    pub fn new<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, LabelError> {
        let mut sorted = std::collections::BTreeMap::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            check_name(&name)?;
            if value.len() > LABEL_VALUE_BYTES {
                return Err(LabelError::ValueLength(name));
            }
            sorted.insert(name, value);
        }
        sorted.retain(|_, value| !value.is_empty());
        if sorted.len() > LABELS_MAX {
            return Err(LabelError::Count(sorted.len()));
        }
        Ok(Labels(sorted.into_iter().collect()))
    }

    /// The pairs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no label; Loki refuses such a stream.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `{a="b", c="d"}` with values quoted as Go quotes them: the `labels` field of a pushed stream.
    pub fn encoded(&self) -> String {
        let mut text = String::from("{");
        for (i, (name, value)) in self.0.iter().enumerate() {
            if i > 0 {
                text.push_str(", ");
            }
            text.push_str(name);
            text.push('=');
            quote(value, &mut text);
        }
        text.push('}');
        text
    }
}

/// Checks one label name.
pub fn check_name(name: &str) -> Result<(), LabelError> {
    let mut bytes = name.bytes();
    let valid = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !valid {
        return Err(LabelError::Name(name.to_owned()));
    }
    if name.len() > LABEL_NAME_BYTES {
        return Err(LabelError::NameLength(name.to_owned()));
    }
    if RESERVED.contains(&name) {
        return Err(LabelError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// Go's `strconv.Quote` for text that is valid UTF-8.
fn quote(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            // Writing to a String cannot fail.
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_unique_without_empty_values() {
        let labels = Labels::new([("b", "2"), ("a", "x"), ("a", "1"), ("gone", "")]);
        assert_eq!(labels.map(|l| l.encoded()), Ok("{a=\"1\", b=\"2\"}".to_owned()));
    }

    #[test]
    fn values_are_quoted_as_go_quotes_them() {
        let labels = Labels::new([("a", "\"\\\n\t\u{1}\u{85}ü")]);
        assert_eq!(labels.map(|l| l.encoded()), Ok("{a=\"\\\"\\\\\\n\\t\\x01\\u0085ü\"}".to_owned()));
    }

    #[test]
    fn what_loki_would_refuse_is_refused_here() {
        for name in ["", "1a", "a-b", "a b", "ä", "__stream_shard__"] {
            assert!(Labels::new([(name, "v")]).is_err(), "{name}");
        }
        assert!(Labels::new([("a".repeat(LABEL_NAME_BYTES + 1), "v")]).is_err());
        assert!(Labels::new([("a", "v".repeat(LABEL_VALUE_BYTES + 1))]).is_err());
        assert!(Labels::new((0..LABELS_MAX + 1).map(|i| (format!("l{i}"), "v"))).is_err());
        assert!(Labels::new((0..LABELS_MAX).map(|i| (format!("l{i}"), "v"))).is_ok());
    }
}
