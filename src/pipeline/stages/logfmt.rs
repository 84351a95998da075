//! `logfmt`: values of a text of `key=value` pairs become extracted keys.
//!
//! ```yaml
//! - logfmt: { mapping: { level: , duration: took }, source: message }
//! ```
//!
//! A field is named on the right; without one it is the key's own name. What is not there changes nothing. Of a text that is malformed
//! somewhere, what stands before that is taken. Reading ends with the last field that some other stage reads.

use super::Stage;
use crate::format::logfmt::Fields;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Logfmt {
    wanted: Vec<(Key, String)>,
    keys: Vec<Key>,
    fields: Fields,
    source: Option<Key>,
}

impl Logfmt {
    /// `wanted`: keys and their fields.
    pub(in crate::pipeline) fn new(wanted: Vec<(Key, String)>, source: Option<Key>) -> Self {
        let names: Vec<&str> = wanted.iter().map(|(_, name)| name.as_str()).collect();
        let fields = Fields::new(&names);
        let keys = wanted.iter().map(|(key, _)| *key).collect();
        Logfmt { wanted, keys, fields, source }
    }
}

impl Stage for Logfmt {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        let source = match self.source {
            Some(key) => entry.extracted(key),
            None => Some(entry.line),
        };
        if let Some(source) = source
            && !self.keys.is_empty()
        {
            // What stands before a malformed place counts.
            let _ = entry.look_into(source, &self.keys, |text, scratch, found| self.fields.find(text, scratch, found));
        }
        Flow::Next
    }

    fn prune(&mut self, is_read: &dyn Fn(Key) -> bool) {
        let wanted = self.wanted.iter().filter(|(key, _)| is_read(*key)).cloned().collect();
        *self = Logfmt::new(wanted, self.source);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    fn two(entry: &Entry<'_>) -> [Option<String>; 2] {
        [0, 1].map(|key| entry.extracted_text(Key(key)).map(str::to_owned))
    }

    fn stage(source: Option<Key>) -> Logfmt {
        Logfmt::new(vec![(Key(0), "level".into()), (Key(1), "msg".into())], source)
    }

    #[test]
    fn fields_become_keys() {
        for (line, level, msg) in [
            ("level=info msg=\"all is \\\"well\\\"\"", Some("info"), Some("all is \"well\"")),
            ("level= other=1", Some(""), Some("old")),
            ("nothing", Some("old"), Some("old")),
            ("level=warn msg=\"open", Some("warn"), Some("old")),
        ] {
            let found = once(&mut stage(None), line, &[(Key(0), "old"), (Key(1), "old")], two).1;
            assert_eq!(found, [level, msg].map(|text| text.map(str::to_owned)), "{line}");
        }
    }

    #[test]
    fn another_source_and_pruning() {
        let mut logfmt = stage(Some(Key(5)));
        assert_eq!(once(&mut logfmt, "level=x", &[], two).1, [None, None]);
        logfmt.prune(&|key| key == Key(1));
        assert_eq!(once(&mut logfmt, "", &[(Key(5), "level=x msg=y")], two).1, [None, Some("y".to_owned())]);
    }
}
