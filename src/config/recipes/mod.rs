//! Named recipes: what `format: nginx` stands for. Each is a short list of ordinary stages in a file of its own, as a person would write it; labels
//! are few, and of few values (level, status, method), since each of their combinations is a stream.
//!
//! Times without a zone are the host's. Promises: every recipe compiles. Leaves to others: reading stages.

use super::check::Check;
use super::pipeline;
use super::tree::{self, Node};
use crate::pipeline::settings::Stage;

/// Name and text.
const RECIPES: [(&str, &str); 18] = [
    ("nginx", include_str!("nginx.yaml")),
    ("apache", include_str!("apache.yaml")),
    ("json", include_str!("json.yaml")),
    ("logfmt", include_str!("logfmt.yaml")),
    ("syslog", include_str!("syslog.yaml")),
    ("klog", include_str!("klog.yaml")),
    ("postgres", include_str!("postgres.yaml")),
    ("mysql", include_str!("mysql.yaml")),
    ("redis", include_str!("redis.yaml")),
    ("gunicorn", include_str!("gunicorn.yaml")),
    ("celery", include_str!("celery.yaml")),
    ("docker", include_str!("docker.yaml")),
    ("cri", include_str!("cri.yaml")),
    ("caddy", include_str!("caddy.yaml")),
    ("traefik", include_str!("traefik.yaml")),
    ("haproxy", include_str!("haproxy.yaml")),
    ("gelf", include_str!("gelf.yaml")),
    ("security", include_str!("security.yaml")),
];

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    RECIPES.iter().map(|(name, _)| *name)
}

/// The list of stages as YAML.
pub(super) fn text(name: &str) -> Option<&'static str> {
    RECIPES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The list of stages as it was parsed. `None`: there is no such recipe.
pub(super) fn node(name: &str) -> Option<Node> {
    tree::parse(text(name)?).ok().map(|parsed| parsed.root)
}

/// The stages. `None`: there is no such recipe.
pub(super) fn stages(name: &str) -> Option<Vec<Stage>> {
    let mut findings = Vec::new();
    pipeline::stages(&node(name)?, &mut Check::new(&mut findings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::compile;

    #[test]
    fn every_recipe_compiles() {
        for name in names() {
            let stages = stages(name).unwrap_or_else(|| panic!("{name} has errors"));
            compile(&stages).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(stages("no such recipe").is_none());
    }
}
