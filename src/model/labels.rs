//! Label sets: sorted names with values, and the form in which Loki wants them.
//!
//! Promises: a [`Labels`] is never invalid: names match `[a-zA-Z_][a-zA-Z0-9_]*` and are not reserved, no value is
//! empty, names are sorted and unique, and the caps hold that it was made with. Leaves to others: interning, counting repairs.

use crate::base::limits::{LABEL_NAME_BYTES, LABEL_VALUE_BYTES, LABELS_MAX};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;

/// Names that Loki gives a meaning of its own (`pkg/distributor`, `pkg/constants`); streams with them are refused or misrouted.
const RESERVED: [&str; 5] =
    ["__stream_shard__", "__time_shard__", "__aggregated_metric__", "__pattern__", "__backfill__"];

/// The label of a stream that takes the lines of streams above a bound ([`crate::model::flow::StreamBound`]).
pub const MERGED: &str = "lugger_merged";

/// What Loki takes of labels. The default is a default Loki's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelCaps {
    /// Labels of a stream.
    pub count: usize,
    /// Length of a name, bytes; not 0.
    pub name_bytes: usize,
    /// Length of a value, bytes.
    pub value_bytes: usize,
}

impl Default for LabelCaps {
    fn default() -> Self {
        LabelCaps { count: LABELS_MAX, name_bytes: LABEL_NAME_BYTES, value_bytes: LABEL_VALUE_BYTES }
    }
}

/// Why a label set is not one; the text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The name has characters Loki does not take.
    #[error("label name {0:?} is not valid: it starts with a letter or _ and goes on with letters, digits or _")]
    Name(String),
    /// The name is longer than this.
    #[error("label name {0:?} is longer than {1} bytes")]
    NameLength(String, usize),
    /// The name is Loki's own.
    #[error("label name {0:?} is reserved by Loki")]
    Reserved(String),
    /// The value is longer than this.
    #[error("the value of label {0:?} is longer than {1} bytes")]
    ValueLength(String, usize),
    /// So many labels, where so many are taken.
    #[error("a stream has {0} labels, Loki takes {1}: remove some")]
    Count(usize, usize),
}

/// What [`Labels::capped`] had to change, in labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Names with characters that became `_`, or without any character, or reserved by Loki.
    pub invalid_name: u64,
    /// Names that were cut.
    pub name_too_long: u64,
    /// Values that were cut.
    pub value_too_long: u64,
    /// Labels that went because another one has the name that theirs became.
    pub same_name: u64,
    /// Labels that went because there were too many.
    pub too_many: u64,
}

impl Repairs {
    /// Whether nothing was changed.
    pub fn is_empty(self) -> bool {
        self == Repairs::default()
    }
}

/// A valid label set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// Builds a set that a default Loki takes from pairs; of equal names the last wins, an empty value removes the label (as in Prometheus).
    pub fn new<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, LabelError> {
        Self::within(pairs, LabelCaps::default())
    }

    /// The same, with other caps.
    pub fn within<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
        caps: LabelCaps,
    ) -> Result<Self, LabelError> {
        let mut sorted = BTreeMap::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            check_name(&name, caps)?;
            if value.len() > caps.value_bytes {
                return Err(LabelError::ValueLength(name, caps.value_bytes));
            }
            sorted.insert(name, value);
        }
        sorted.retain(|_, value| !value.is_empty());
        if sorted.len() > caps.count {
            return Err(LabelError::Count(sorted.len(), caps.count));
        }
        Ok(Labels(sorted.into_iter().collect()))
    }

    /// Builds a set from pairs that nobody has checked, and says what had to be changed for that: characters that a name cannot have become
    /// `_`, names and values are cut, and of too many labels the last by name go. A name that was valid goes before one that became the same.
    pub fn capped<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
        caps: LabelCaps,
    ) -> (Self, Repairs) {
        let mut repairs = Repairs::default();
        let mut sorted: BTreeMap<String, String> = BTreeMap::new();
        let mut renamed = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if value.is_empty() {
                // Nothing of it is left, whatever its name: only a label of the very same name goes with it.
                sorted.remove(name);
                continue;
            }
            let cut = value.get(..value.floor_char_boundary(caps.value_bytes)).unwrap_or_default();
            repairs.value_too_long += u64::from(cut.len() < value.len());
            match check_name(name, caps) {
                Ok(()) => {
                    sorted.insert(name.to_owned(), cut.to_owned());
                }
                Err(error) => {
                    match error {
                        LabelError::NameLength(..) => repairs.name_too_long += 1,
                        _ => repairs.invalid_name += 1,
                    }
                    renamed.push((valid_name(name, caps), cut.to_owned()));
                }
            }
        }
        for (name, value) in renamed {
            match sorted.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(_) => repairs.same_name += 1,
            }
        }
        // A value can be cut to nothing where the cap is shorter than its first character.
        sorted.retain(|_, value| !value.is_empty());
        let mut pairs: Vec<(String, String)> = sorted.into_iter().collect();
        repairs.too_many = u64::try_from(pairs.len().saturating_sub(caps.count)).unwrap_or(u64::MAX);
        pairs.truncate(caps.count);
        (Labels(pairs), repairs)
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
pub fn check_name(name: &str, caps: LabelCaps) -> Result<(), LabelError> {
    let mut bytes = name.bytes();
    let valid = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !valid {
        return Err(LabelError::Name(name.to_owned()));
    }
    if name.len() > caps.name_bytes {
        return Err(LabelError::NameLength(name.to_owned(), caps.name_bytes));
    }
    if RESERVED.contains(&name) {
        return Err(LabelError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// The valid name that is most like this one.
fn valid_name(name: &str, caps: LabelCaps) -> String {
    let fits = |i: usize, c: char| c == '_' || c.is_ascii_alphabetic() || (c.is_ascii_digit() && i > 0);
    // One byte each by now, so that any place is between two characters.
    let mut valid: String =
        name.chars().take(caps.name_bytes.max(1)).enumerate().map(|(i, c)| if fits(i, c) { c } else { '_' }).collect();
    if valid.is_empty() {
        valid.push('_');
    }
    if RESERVED.contains(&valid.as_str()) {
        // None of these is reserved without its first character.
        valid.remove(0);
    }
    valid
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
    use proptest::prelude::*;

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

    #[test]
    fn what_nobody_checked_is_made_valid() {
        let caps = LabelCaps { count: 9, name_bytes: 16, value_bytes: 5 };
        for (name, value, expected, repairs) in [
            ("a", "v", r#"{a="v"}"#, Repairs::default()),
            ("a-b.c", "v", r#"{a_b_c="v"}"#, Repairs { invalid_name: 1, ..Repairs::default() }),
            ("1a", "v", r#"{_a="v"}"#, Repairs { invalid_name: 1, ..Repairs::default() }),
            ("", "v", r#"{_="v"}"#, Repairs { invalid_name: 1, ..Repairs::default() }),
            ("größe", "v", r#"{gr__e="v"}"#, Repairs { invalid_name: 1, ..Repairs::default() }),
            ("__stream_shard__", "v", r#"{_stream_shard__="v"}"#, Repairs { invalid_name: 1, ..Repairs::default() }),
            (
                "a23456789012345678",
                "v",
                r#"{a234567890123456="v"}"#,
                Repairs { name_too_long: 1, ..Repairs::default() },
            ),
            ("a", "1234ü", r#"{a="1234"}"#, Repairs { value_too_long: 1, ..Repairs::default() }),
            ("a-b", "", "{}", Repairs::default()),
        ] {
            let (labels, done) = Labels::capped([(name, value)], caps);
            assert_eq!((labels.encoded().as_str(), done), (expected, repairs), "{name} {value}");
        }
        let caps = LabelCaps { count: 2, ..LabelCaps::default() };
        let (labels, repairs) = Labels::capped([("c", "3"), ("a-", "x"), ("b", "2"), ("a_", "1"), ("a+", "y")], caps);
        assert_eq!(labels.encoded(), r#"{a_="1", b="2"}"#);
        assert_eq!(repairs, Repairs { invalid_name: 2, same_name: 2, too_many: 1, ..Repairs::default() });
    }

    /// Names and values that are often nearly right, now and then alike or reserved.
    fn pair() -> impl Strategy<Value = (String, String)> {
        let name = prop_oneof![
            4 => "[a-c_][a-c0-9_]{0,3}",
            2 => "[a-cä1.-]{0,6}",
            1 => proptest::sample::select(&RESERVED).prop_map(|name| format!("{name}tail")),
            1 => proptest::sample::select(&RESERVED).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        (name, prop_oneof!["[a-zü€😀]{0,8}", any::<String>()])
    }

    proptest! {
        #[test]
        fn whatever_comes_is_valid_under_the_caps(
            pairs in proptest::collection::vec(pair(), 0..12),
            count in 0usize..8,
            name_bytes in 1usize..20,
            value_bytes in 0usize..12,
        ) {
            let caps = LabelCaps { count, name_bytes, value_bytes };
            let (labels, repairs) = Labels::capped(pairs.clone(), caps);
            let again = Labels::within(labels.iter(), caps);
            prop_assert_eq!(again.as_ref(), Ok(&labels));
            prop_assert_eq!(Labels::capped(labels.iter(), caps), (labels.clone(), Repairs::default()));
            // What is valid as it is stays as it is, and only that is not repaired.
            match Labels::within(pairs.clone(), caps) {
                Ok(valid) => prop_assert_eq!((labels, repairs.is_empty()), (valid, true)),
                Err(_) => prop_assert!(!repairs.is_empty() || pairs.iter().any(|(_, value)| value.is_empty())),
            }
        }
    }
}
