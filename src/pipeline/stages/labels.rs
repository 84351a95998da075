//! `labels`, `static_labels`, `labeldrop` and `labelallow`: what the stream of an entry is told apart by.
//!
//! ```yaml
//! - labels: { level: , status: code }    # a label, and the extracted key it gets its value from (its own name, if there is none)
//! - static_labels: { job: web }
//! - labeldrop: [filename]
//! - labelallow: [job, level]             # all others go
//! ```
//!
//! The label `__tenant_id__` is the entry's tenant, and not a label: to be set or dropped here is to be set or dropped there.
//!
//! A key that is missing or null leaves its label as it is; an empty value removes it, as Prometheus has it.

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};

/// `labels`.
#[derive(Debug)]
pub(in crate::pipeline) struct FromKeys {
    pub(in crate::pipeline) labels: Vec<(Label, Key)>,
    /// Where the tenant comes from.
    pub(in crate::pipeline) tenant: Option<Key>,
}

impl Stage for FromKeys {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        for (label, key) in &self.labels {
            if let Some(value) = entry.extracted(*key) {
                entry.set_label(*label, value);
            }
        }
        if let Some(value) = self.tenant.and_then(|key| entry.extracted(key)) {
            entry.tenant = Some(value).filter(|value| !value.is_empty());
        }
        Flow::Next
    }
}

/// `static_labels`.
#[derive(Debug)]
pub(in crate::pipeline) struct Fixed {
    pub(in crate::pipeline) labels: Vec<(Label, String)>,
    pub(in crate::pipeline) tenant: Option<String>,
}

impl Stage for Fixed {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        for (label, text) in &self.labels {
            let value = entry.push(text);
            entry.set_label(*label, value);
        }
        if let Some(text) = &self.tenant {
            entry.tenant = Some(entry.push(text));
        }
        Flow::Next
    }
}

/// `labeldrop`.
#[derive(Debug)]
pub(in crate::pipeline) struct Without {
    pub(in crate::pipeline) labels: Vec<Label>,
    /// Whether the tenant goes, too.
    pub(in crate::pipeline) tenant: bool,
}

impl Stage for Without {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        for label in &self.labels {
            entry.remove_label(*label);
        }
        if self.tenant {
            entry.tenant = None;
        }
        Flow::Next
    }
}

/// `labelallow`.
#[derive(Debug)]
pub(in crate::pipeline) struct Only {
    pub(in crate::pipeline) labels: Vec<Label>,
    /// The number of the list of their names in the program: the source may have labels that have no number.
    pub(in crate::pipeline) list: u16,
}

impl Stage for Only {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        entry.allow_labels(self.list, |label| self.labels.contains(&label));
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;
    use crate::pipeline::entry::Change;

    fn change(label: u16) -> impl Fn(&Entry<'_>) -> Option<String> {
        move |entry| match entry.change(Label(label)) {
            Change::Keep => None,
            Change::Remove => Some("gone".to_owned()),
            Change::Set(value) => Some(entry.text(value).to_owned()),
        }
    }

    #[test]
    fn labels_come_from_keys_and_go_with_empty_values() {
        let mut stage = FromKeys { labels: vec![(Label(0), Key(0)), (Label(1), Key(1))], tenant: None };
        assert_eq!(once(&mut stage, "", &[(Key(0), "info")], change(0)).1.as_deref(), Some("info"));
        assert_eq!(once(&mut stage, "", &[(Key(0), "info")], change(1)).1, None);
        // There is none to take away; of the source there is one.
        assert_eq!(once(&mut stage, "", &[(Key(0), "")], change(0)).1, None);
        let mut stage = FromKeys { labels: vec![(Label(15), Key(0))], tenant: None };
        assert_eq!(once(&mut stage, "", &[(Key(0), "")], change(15)).1.as_deref(), Some("gone"));
    }

    #[test]
    fn fixed_dropped_and_allowed() {
        let mut fixed = Fixed { labels: vec![(Label(0), "web".into())], tenant: None };
        assert_eq!(once(&mut fixed, "", &[], change(0)).1.as_deref(), Some("web"));
        let mut without = Without { labels: vec![Label(1), Label(15)], tenant: false };
        assert_eq!(
            once(&mut without, "", &[], |entry| (change(1)(entry), change(15)(entry))).1,
            (None, Some("gone".to_owned()))
        );
        let mut only = Only { labels: vec![Label(1)], list: 4 };
        let seen = once(&mut only, "", &[], |entry| (change(0)(entry), change(1)(entry), entry.changes().1.to_vec()));
        assert_eq!(seen.1, (Some("gone".to_owned()), None, vec![4]));
    }

    #[test]
    fn the_tenant_is_set_and_dropped_like_a_label() {
        let tenant = |entry: &Entry<'_>| entry.tenant.map(|value| entry.text(value).to_owned());
        let mut from_key = FromKeys { labels: Vec::new(), tenant: Some(Key(0)) };
        assert_eq!(once(&mut from_key, "", &[(Key(0), "a")], tenant).1.as_deref(), Some("a"));
        assert_eq!(once(&mut from_key, "", &[(Key(0), "")], tenant).1, None);
        assert_eq!(once(&mut from_key, "", &[], tenant).1, None);
        let mut fixed = Fixed { labels: Vec::new(), tenant: Some("b".to_owned()) };
        assert_eq!(once(&mut fixed, "", &[], tenant).1.as_deref(), Some("b"));
    }
}
