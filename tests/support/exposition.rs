//! Reads Prometheus' text format, plainly and apart from the product's own reader, for tests that look at what is exposed.

use std::collections::BTreeMap;

/// A series' labels, sorted; without those that are empty, as they are none.
pub type Labels = Vec<(String, String)>;

/// A family of metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Family {
    /// What `# TYPE` says.
    pub kind: String,
    /// Values by labels.
    pub series: BTreeMap<Labels, f64>,
}

/// All families by name. Panics at what is not in the format.
pub fn read(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP ")) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.kind.is_empty(), "{name} has two types");
            family.kind = kind.to_owned();
            continue;
        }
        let (name, mut labels, value) = sample(line).unwrap_or_else(|| panic!("{line}"));
        // Series of histograms and summaries have names of their own, which is one more label here.
        let of = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let of = of.filter(|_| !families.contains_key(name));
        if of.is_some() {
            labels.insert(0, ("__name__".to_owned(), name.to_owned()));
        }
        let family = families.get_mut(of.unwrap_or(name)).unwrap_or_else(|| panic!("{name} has no type"));
        assert!(family.series.insert(labels, value).is_none(), "twice: {line}");
    }
    families
}

fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.trim_start_matches(',').split_once("=\"")?;
            let mut value = String::new();
            let mut chars = after.char_indices();
            rest = loop {
                match chars.next()? {
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        c => c,
                    }),
                    (at, '"') => break &after[at + 1..],
                    (_, c) => value.push(c),
                }
            };
            if !value.is_empty() {
                labels.push((label.to_owned(), value));
            }
        }
        rest = &rest[1..];
    }
    labels.sort();
    let value = match rest.trim() {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some((name, labels, value))
}
