//! Which containers are wanted: Docker's filters, judged here, so that they hold for a container that is gone before anybody could ask for it.
//!
//! Promises: what `docker ps --filter` gives for these properties, but that images made from an `ancestor` do not count. Leaves to others: what is
//! known of a container.

use super::description::Description;
use super::settings::{Filter, Property};
use crate::base::expression::{self, ExpressionError};
use regex::Regex;

/// Filters, compiled.
#[derive(Debug)]
pub(super) struct Filters(Vec<Test>);

#[derive(Debug)]
enum Test {
    Labels(Vec<String>),
    Name(Vec<Regex>),
    Id(Vec<Regex>),
    Network(Vec<String>),
    Ancestor(Vec<String>),
}

impl Filters {
    /// Compiles filters.
    pub(super) fn new(filters: &[Filter]) -> Result<Self, ExpressionError> {
        let test = |filter: &Filter| {
            let values = || filter.values.clone();
            let compile = |value: &String| expression::compile(value);
            let expressions = || filter.values.iter().map(compile).collect::<Result<Vec<Regex>, _>>();
            Ok(match filter.property {
                Property::Label => Test::Labels(values()),
                Property::Name => Test::Name(expressions()?),
                Property::Id => Test::Id(expressions()?),
                Property::Network => Test::Network(values()),
                Property::Ancestor => Test::Ancestor(values()),
            })
        };
        Ok(Filters(filters.iter().map(test).collect::<Result<_, _>>()?))
    }

    /// Whether all of them agree.
    pub(super) fn agree(&self, container: &Description) -> bool {
        self.0.iter().all(|test| test.agrees(container))
    }

    /// Whether they look at networks, which are known when the container runs.
    pub(super) fn want_networks(&self) -> bool {
        self.0.iter().any(Test::is_of_networks)
    }

    /// Whether all of them agree that can judge a container that has not started.
    pub(super) fn may_agree(&self, container: &Description) -> bool {
        self.0.iter().all(|test| test.is_of_networks() || test.agrees(container))
    }
}

impl Test {
    fn is_of_networks(&self) -> bool {
        matches!(self, Test::Network(_))
    }

    fn agrees(&self, container: &Description) -> bool {
        match self {
            Test::Labels(wanted) => wanted.iter().all(|wanted| match wanted.split_once('=') {
                Some((name, value)) => container.label(name) == Some(value),
                None => container.label(wanted).is_some(),
            }),
            Test::Name(expressions) => {
                let name = &container.name;
                let short = name.strip_prefix('/').unwrap_or(name);
                expressions.iter().any(|expression| expression.is_match(short) || expression.is_match(name))
            }
            Test::Id(expressions) => expressions.iter().any(|expression| expression.is_match(&container.id)),
            Test::Network(wanted) => {
                wanted.iter().any(|wanted| container.networks.iter().any(|n| n.name == *wanted || n.id == *wanted))
            }
            Test::Ancestor(wanted) => wanted.iter().any(|wanted| is_image(wanted, container)),
        }
    }
}

/// Whether the container's image is meant by this name or id.
fn is_image(wanted: &str, container: &Description) -> bool {
    let whole = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or(name);
        if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
    };
    let id = container.image_id.strip_prefix("sha256:").unwrap_or(&container.image_id);
    let wanted_id = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let is_id = wanted_id.len() >= 12 && wanted_id.bytes().all(|b| b.is_ascii_hexdigit()) && id.starts_with(wanted_id);
    is_id || whole(wanted) == whole(&container.image)
}

#[cfg(test)]
mod tests {
    use super::super::description::Network;
    use super::*;

    fn agrees(filters: &[(Property, &[&str])]) -> bool {
        let container = Description {
            id: "0123456789abcdef".into(),
            name: "/shop-web-1".into(),
            image: "registry:5000/shop".into(),
            image_id: "sha256:fedcba9876543210".into(),
            labels: vec![("logging".into(), "yes".into()), ("team".into(), "".into())],
            networks: vec![Network { name: "front".into(), id: "n1".into(), ip: String::new() }],
            ..Description::default()
        };
        let filter = |(property, values): &(Property, &[&str])| Filter {
            property: *property,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        Filters::new(&filters.iter().map(filter).collect::<Vec<_>>()).unwrap().agree(&container)
    }

    #[test]
    fn as_docker_filters() {
        use Property::{Ancestor, Id, Label, Name, Network};
        assert!(agrees(&[]));
        for (property, yes, no) in [
            (Label, &["logging=yes", "logging", "team", "team="][..], &["logging=no", "other", "logging="][..]),
            (Name, &["shop", "^shop-web-1$", "^/shop", "web|db"], &["^web", "db"]),
            (Id, &["0123", "cdef$"], &["^1"]),
            (Network, &["front", "n1"], &["n", "back"]),
            (
                Ancestor,
                &["registry:5000/shop", "registry:5000/shop:latest", "fedcba987654", "sha256:fedcba9876543210"],
                &["shop", "registry:5000/shop:2", "fedcba"],
            ),
        ] {
            for value in yes {
                assert!(agrees(&[(property, &[value])]), "{property:?} {value}");
            }
            for value in no {
                assert!(!agrees(&[(property, &[value])]), "{property:?} {value}");
            }
        }
        assert!(!agrees(&[(Label, &["logging=yes", "other"])]), "all labels");
        assert!(agrees(&[(Name, &["db", "web"])]), "one of the names");
        assert!(!agrees(&[(Label, &["logging"]), (Name, &["db"])]), "all filters");
        let bad = Filter { property: Name, values: vec!["(".into()] };
        assert!(Filters::new(&[bad]).is_err());
    }
}
