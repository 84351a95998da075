//! `pack`: the text and some labels or extracted keys become one JSON text, which Loki's `unpack` takes apart again.
//!
//! ```yaml
//! - pack: { labels: [pod, trace_id], ingest_timestamp: true }
//! ```
//!
//! `{"pod":"a","_entry":"the text"}`, with the keys in order. Labels that are packed are taken away. With `ingest_timestamp` the entry has the time at which
//! it was read, since packed streams come together from sources with different times.

use super::Stage;
use crate::format::json;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Pack {
    /// Sorted by name.
    pub(in crate::pipeline) labels: Vec<(String, Key, Label)>,
    pub(in crate::pipeline) ingest_timestamp: bool,
}

impl Stage for Pack {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        let made = entry.rewrite(|entry, out| {
            out.push('{');
            for (name, key, label) in &self.labels {
                if let Some(value) = entry.extracted(*key).or_else(|| entry.label(*label)) {
                    json::quote(name, out);
                    out.push(':');
                    json::quote(entry.text(value), out);
                    out.push(',');
                }
            }
            out.push_str("\"_entry\":");
            json::quote(entry.line_text(), out);
            out.push('}');
            Ok::<(), std::convert::Infallible>(())
        });
        match made {
            Ok(value) => entry.line = value,
            Err(never) => match never {},
        }
        for (_, _, label) in &self.labels {
            entry.remove_label(*label);
        }
        if self.ingest_timestamp {
            entry.time_ns = entry.read_ns;
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    #[test]
    fn labels_and_keys_are_packed() {
        let labels = vec![
            ("a".to_owned(), Key(0), Label(0)),
            ("gone".to_owned(), Key(1), Label(1)),
            ("l15".to_owned(), Key(15), Label(15)),
        ];
        for (ingest_timestamp, time_ns) in [(true, super::super::bench::NOW_NS), (false, 5)] {
            let mut stage = Early(Pack { labels: labels.clone(), ingest_timestamp });
            let seen = once(&mut stage, "the \"text\" <1>", &[(Key(0), "x\n")], |entry| {
                (entry.line_text().to_owned(), entry.label_text(Label(15)).to_owned(), entry.time_ns)
            });
            let text = r#"{"a":"x\n","l15":"base","_entry":"the \"text\" \u003c1\u003e"}"#;
            assert_eq!(seen.1, (text.to_owned(), String::new(), time_ns));
        }
    }

    /// An entry whose time was found before.
    #[derive(Debug)]
    struct Early(Pack);

    impl Stage for Early {
        fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
            entry.time_ns = 5;
            self.0.run(entry, context)
        }
    }
}
