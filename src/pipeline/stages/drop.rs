//! `drop`: entries that are not sent.
//!
//! ```yaml
//! - drop: { source: level, value: debug }
//! - drop: { expression: "healthz", older_than: 24h, longer_than: 8KiB, drop_counter_reason: noise }
//! ```
//!
//! All conditions must hold. Without `source` the entry's text is looked at. `source` alone drops what has the key. With several keys their
//! values are joined by `separator`; an entry that lacks one of them stays.

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
        let text = match self.source.as_slice() {
            [] => line,
            [key] => match entry.extracted_text(*key) {
                Some(text) => text,
                None => return false,
            },
            keys => {
                self.joined.clear();
                for (i, key) in keys.iter().enumerate() {
                    let Some(text) = entry.extracted_text(*key) else { return false };
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
}
