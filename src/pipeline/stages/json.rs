//! `json`: values of a JSON text become extracted keys.
//!
//! ```yaml
//! - json: { expressions: { level: , took: http.duration }, source: message, drop_malformed: false }
//! ```
//!
//! An expression is JMESPath; without one it is the key's own name. What is not there, or null, takes away what the key had. A text that is no
//! JSON object changes nothing; with `drop_malformed` its entry is dropped. Expressions that no other stage reads are not looked for.

use super::Stage;
use crate::format::json::{CompileError, Expressions, Work};
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Json {
    wanted: Vec<(Key, String)>,
    keys: Vec<Key>,
    expressions: Expressions,
    source: Option<Key>,
    drop_malformed: Option<u16>,
    work: Work,
}

impl Json {
    /// `wanted`: keys and their expressions. `drop_malformed`: the reason, if entries without JSON are dropped.
    pub(in crate::pipeline) fn new(
        wanted: Vec<(Key, String)>,
        source: Option<Key>,
        drop_malformed: Option<u16>,
    ) -> Result<Self, CompileError> {
        let texts: Vec<&str> = wanted.iter().map(|(_, text)| text.as_str()).collect();
        let expressions = Expressions::compile(&texts)?;
        let keys = wanted.iter().map(|(key, _)| *key).collect();
        Ok(Json { wanted, keys, expressions, source, drop_malformed, work: Work::default() })
    }
}

impl Stage for Json {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        if self.keys.is_empty() && self.drop_malformed.is_none() {
            return Flow::Next;
        }
        let source = match self.source {
            Some(key) => entry.extracted(key),
            None => Some(entry.line),
        };
        let Some(source) = source else { return Flow::Next };
        let Json { expressions, keys, work, .. } = self;
        let (mut is_good, keys) = (true, keys.as_slice());
        // What is malformed takes nothing away: it is found out before anything is put under a key.
        entry.look_into_if(source, keys, |text, scratch, found| {
            is_good = expressions.find(text, work, scratch, found).is_ok();
            is_good
        });
        match self.drop_malformed {
            Some(reason) if !is_good => Flow::Drop(reason),
            _ => Flow::Next,
        }
    }

    fn prune(&mut self, is_read: &dyn Fn(Key) -> bool) {
        let wanted: Vec<(Key, String)> = self.wanted.iter().filter(|(key, _)| is_read(*key)).cloned().collect();
        // What compiled once compiles again.
        if let Ok(pruned) = Json::new(wanted, self.source, self.drop_malformed) {
            *self = pruned;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    fn stage(source: Option<Key>, drop_malformed: Option<u16>) -> Json {
        let wanted = [(0, "level"), (1, "http.status"), (2, "length(tags)")];
        let wanted = wanted.map(|(key, text)| (Key(key), text.to_owned())).to_vec();
        Json::new(wanted, source, drop_malformed).unwrap()
    }

    fn three(entry: &Entry<'_>) -> [Option<String>; 3] {
        [0, 1, 2].map(|key| entry.extracted_text(Key(key)).map(str::to_owned))
    }

    fn own(texts: [Option<&str>; 3]) -> [Option<String>; 3] {
        texts.map(|text| text.map(str::to_owned))
    }

    #[test]
    fn values_become_keys() {
        let line = r#"{"level":"in\tfo","http":{"status":200},"tags":["a","b"]}"#;
        let mut json = stage(None, None);
        assert_eq!(once(&mut json, line, &[], three).1, own([Some("in\tfo"), Some("200"), Some("2")]));
        // What is not there, or null, takes away what was there.
        let old = [(Key(0), "old"), (Key(1), "old")];
        assert_eq!(once(&mut json, r#"{"level":null,"tags":[]}"#, &old, three).1, own([None, None, Some("0")]));
        assert_eq!(once(&mut json, r#"{"http":{"status":{"a":1}}}"#, &[], three).1[1].as_deref(), Some(r#"{"a":1}"#));
    }

    #[test]
    fn what_is_no_json_changes_nothing_or_is_dropped() {
        for line in ["", "text", "[1]", r#"{"level":"x""#] {
            let old = [(Key(0), "old")];
            let (flow, keys) = once(&mut stage(None, None), line, &old, three);
            assert_eq!((flow, keys), (Flow::Next, own([Some("old"), None, None])), "{line}");
            assert_eq!(once(&mut stage(None, Some(3)), line, &[], |_| ()).0, Flow::Drop(3), "{line}");
        }
        assert_eq!(once(&mut stage(None, Some(3)), "{}", &[], |_| ()).0, Flow::Next);
    }

    #[test]
    fn another_source_and_pruning() {
        let mut json = stage(Some(Key(9)), None);
        assert_eq!(once(&mut json, r#"{"level":"x"}"#, &[], three).1, own([None; 3]));
        let keys = [(Key(9), r#"{"level":"x","http":{"status":1}}"#)];
        assert_eq!(once(&mut json, "", &keys, three).1, own([Some("x"), Some("1"), None]));
        json.prune(&|key| key == Key(1));
        assert_eq!(once(&mut json, "", &keys, three).1, own([None, Some("1"), None]));
        json.prune(&|_| false);
        assert_eq!(once(&mut json, "", &keys, three).1, own([None; 3]));
    }
}
