//! `drop`: entries that are not sent.
//!
//! ```yaml
//! - drop: { source: level, value: debug }
//! - drop: { expression: "healthz", older_than: 24h, longer_than: 8KiB, drop_counter_reason: noise }
//! ```
//!
//! All conditions must hold. Without `source` the entry's text is looked at. `source` alone drops what has all of its keys. With `value` or
//! `expression` the values of the keys that are there are joined by `separator`; without any the text is empty. A key that `json` looked for and
//! did not find is null, which has no text at all: then the entry stays.

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};
use regex::Regex;

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Drop {
    pub(in crate::pipeline) source: Vec<Key>,
    pub(in crate::pipeline) separator: String,
    pub(in crate::pipeline) value: Option<String>,
    pub(in crate::pipeline) regex: Option<Regex>,
    /// Age, nanoseconds.
    pub(in crate::pipeline) older_than_ns: Option<i64>,
    /// Length, bytes.
    pub(in crate::pipeline) longer_than: Option<u64>,
    pub(in crate::pipeline) reason: u16,
    pub(in crate::pipeline) joined: String,
}

impl Drop {
    fn fits(&mut self, entry: &Entry<'_>, now_ns: i64) -> bool {
        let line = entry.line_text();
        if self.longer_than.is_some_and(|longest| line.len() as u64 <= longest) {
            return false;
        }
        if self.older_than_ns.is_some_and(|age| entry.time_ns >= now_ns.saturating_sub(age)) {
            return false;
        }
        let is_compared = self.value.is_some() || self.regex.is_some();
        if self.source.iter().any(|key| entry.is_null(*key) || !is_compared && entry.extracted(*key).is_none()) {
            return false;
        }
        let text = match self.source.as_slice() {
            [] => line,
            [key] => entry.extracted_text(*key).unwrap_or_default(),
            keys => {
                self.joined.clear();
                for (i, text) in keys.iter().filter_map(|key| entry.extracted_text(*key)).enumerate() {
                    if i > 0 {
                        self.joined.push_str(&self.separator);
                    }
                    self.joined.push_str(text);
                }
                &self.joined
            }
        };
        self.value.as_deref().is_none_or(|value| value == text)
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

impl Stage for Drop {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        if self.fits(entry, context.now_ns) { Flow::Drop(self.reason) } else { Flow::Next }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    fn stage() -> Drop {
        Drop {
            source: Vec::new(),
            separator: ";".into(),
            value: None,
            regex: None,
            older_than_ns: None,
            longer_than: None,
            reason: 7,
            joined: String::new(),
        }
    }

    #[track_caller]
    fn drops(mut stage: Drop, line: &str, keys: &[(Key, &str)], wanted: bool) {
        let flow = once(&mut stage, line, keys, |_| ()).0;
        assert_eq!(flow == Flow::Drop(7), wanted, "{stage:?} on {line:?} with {keys:?}");
    }

    #[test]
    fn each_condition() {
        let key = || vec![Key(0)];
        drops(Drop { regex: Regex::new("x+").ok(), ..stage() }, "axb", &[], true);
        drops(Drop { regex: Regex::new("x+").ok(), ..stage() }, "ab", &[], false);
        drops(Drop { source: key(), ..stage() }, "", &[(Key(0), "")], true);
        drops(Drop { source: key(), ..stage() }, "", &[], false);
        drops(Drop { source: key(), value: Some("debug".into()), ..stage() }, "", &[(Key(0), "debug")], true);
        drops(Drop { source: key(), value: Some("debug".into()), ..stage() }, "debug", &[(Key(0), "info")], false);
        drops(Drop { longer_than: Some(3), ..stage() }, "abcd", &[], true);
        drops(Drop { longer_than: Some(3), ..stage() }, "abc", &[], false);
        // Entries here are of the present.
        drops(Drop { older_than_ns: Some(-1), ..stage() }, "", &[], true);
        drops(Drop { older_than_ns: Some(0), ..stage() }, "", &[], false);
    }

    #[test]
    fn conditions_are_joined_by_and_keys_by_the_separator() {
        let both = || Drop { longer_than: Some(3), regex: Regex::new("x").ok(), ..stage() };
        drops(both(), "xxxx", &[], true);
        drops(both(), "x", &[], false);
        let keys = || Drop { source: vec![Key(0), Key(1)], value: Some("a;b".into()), ..stage() };
        drops(keys(), "", &[(Key(0), "a"), (Key(1), "b")], true);
        drops(keys(), "", &[(Key(0), "a")], false);
    }

    #[test]
    fn keys_that_are_missing_have_no_text_and_null_is_never_dropped() {
        let one = || vec![Key(0)];
        let two = || vec![Key(0), Key(1)];
        let regex = |text: &str| Regex::new(text).ok();
        for (source, value, pattern, keys, wanted) in [
            (two(), None, Some("^x"), &[(Key(0), "x")][..], true),
            (two(), None, Some("^x$"), &[(Key(1), "x")], true),
            (two(), None, Some("^x;$"), &[(Key(0), "x")], false),
            (two(), Some("x"), None, &[(Key(0), "x")], true),
            (two(), Some(""), None, &[], true),
            (one(), None, Some("^(debug|trace|)$"), &[], true),
            (one(), None, Some("debug"), &[], false),
            (one(), Some(""), None, &[], true),
            // Without anything to compare, all keys have to be there.
            (two(), None, None, &[(Key(0), "x")], false),
            (two(), None, None, &[(Key(0), "x"), (Key(1), "")], true),
        ] {
            let value = value.map(str::to_owned);
            drops(Drop { source, value, regex: pattern.and_then(regex), ..stage() }, "line", keys, wanted);
        }
    }
}
