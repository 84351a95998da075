//! `structured_metadata`: extracted keys, or labels, that go with an entry without telling its stream apart.
//!
//! ```yaml
//! - structured_metadata: { trace_id: , user: user_name }    # a name, and the key or label that it gets its value from
//! ```
//!
//! A label that is named as source is taken away from the labels. A source that is missing, null or empty adds nothing.

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Metadata {
    /// Its name, its source as a key, its source as a label.
    pub(in crate::pipeline) fields: Vec<(Label, Key, Label)>,
}

impl Stage for Metadata {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        for (name, key, label) in &self.fields {
            let value = entry.label(*label).or_else(|| entry.extracted(*key));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                entry.set_metadata(*name, value);
                entry.remove_label(*label);
            }
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;
    use crate::pipeline::entry::Change;

    #[test]
    fn keys_and_labels_become_metadata() {
        let fields = vec![(Label(0), Key(0), Label(1)), (Label(2), Key(1), Label(3)), (Label(4), Key(2), Label(15))];
        let mut stage = Metadata { fields };
        let (_, seen) = once(&mut stage, "", &[(Key(0), "abc")], |entry| {
            let texts: Vec<(Label, String)> =
                entry.metadata().iter().map(|(name, value)| (*name, entry.text(*value).to_owned())).collect();
            (texts, entry.change(Label(1)), entry.change(Label(15)))
        });
        let wanted = vec![(Label(0), "abc".to_owned()), (Label(4), "base".to_owned())];
        assert_eq!(seen, (wanted, Change::Keep, Change::Remove));
    }
}
