//! `tenant`: whose an entry is.
//!
//! ```yaml
//! - tenant: { source: customer }    # or label: NAME, or value: TEXT
//! ```
//!
//! A source or label that is missing or empty leaves the tenant of the endpoint.

use super::Stage;
use crate::model::value::Value;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) enum Tenant {
    Label(Label),
    Source(Key),
    Value(String),
}

impl Stage for Tenant {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        let value: Option<Value> = match self {
            Tenant::Label(label) => entry.label(*label),
            Tenant::Source(key) => entry.extracted(*key),
            Tenant::Value(text) => Some(entry.push(text)),
        };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            entry.tenant = Some(value);
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    #[test]
    fn from_a_key_a_label_or_fixed() {
        let tenant = |entry: &Entry<'_>| entry.tenant.map(|value| entry.text(value).to_owned());
        let some = Some("t1".to_owned());
        assert_eq!(once(&mut Tenant::Source(Key(0)), "", &[(Key(0), "t1")], tenant).1, some);
        assert_eq!(once(&mut Tenant::Source(Key(0)), "", &[], tenant).1, None);
        assert_eq!(once(&mut Tenant::Label(Label(15)), "", &[], tenant).1.as_deref(), Some("base"));
        assert_eq!(once(&mut Tenant::Label(Label(0)), "", &[(Key(0), "t1")], tenant).1, None);
        assert_eq!(once(&mut Tenant::Value("t1".into()), "", &[], tenant).1, some);
    }
}
