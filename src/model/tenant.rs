//! Names of tenants.
//!
//! Promises: what passes here is what a Loki of several tenants takes (`pkg/tenant` of dskit): the name becomes a directory there. Leaves to others:
//! what is done with entries whose tenant does not.

use crate::base::limits::TENANT_BYTES;

/// The label that is the tenant of the entry that has it, and that is not sent. Promtail's name.
pub const TENANT_LABEL: &str = "__tenant_id__";

/// What a tenant may be called, for people.
pub const TENANT_RULE: &str =
    "a tenant has up to 150 ASCII letters, digits and ! - _ . * ' ( ) in its name, and is not . or ..";

/// Whether Loki takes it for the name of a tenant.
pub fn is_tenant(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!-_.*'()".contains(&b);
    !matches!(text, "" | "." | "..") && text.len() <= TENANT_BYTES && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_those_that_loki_takes() {
        for good in ["t", "team-1_x.y", "!-_.*'()", "...", &"t".repeat(TENANT_BYTES)] {
            assert!(is_tenant(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a|b", "a b", "a@b", "a:b", "ü", "a\n", &"t".repeat(TENANT_BYTES + 1)] {
            assert!(!is_tenant(bad), "{bad}");
        }
        assert!(TENANT_RULE.contains(&TENANT_BYTES.to_string()));
    }
}
