//! From what is discovered to targets: labels, relabelling, the URL.
//!
//! As Prometheus 3 does it: `__address__`, `__scheme__`, `__metrics_path__`, `__param_*`, `__scrape_interval__` and `__scrape_timeout__` are labels that
//! rules may change; no port is added; `instance` is the address unless something else says so; what begins with `__` goes no further.
//!
//! Promises: a target can be scraped, as far as its labels say. Leaves to others: finding groups, equal targets.

use super::settings::Settings;
use crate::base::limits::SCRAPE_INTERVAL_MS_RANGE;
use crate::base::units::{format_duration, parse_duration};
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{Rules, Scratch};
use reqwest::Url;
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of the label that is a target's address.
const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";
/// Which file a target is from.
pub(super) const FILE: &str = "__meta_filepath";

/// Something to scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// What its series get, sorted.
    pub(super) labels: Vec<(String, String)>,
    pub(super) url: Url,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

impl Target {
    /// What it is told apart by from others of its job.
    pub(super) fn identity(&self) -> String {
        format!("{}\n{}", self.url, self.labels_text())
    }

    /// Its labels in one text.
    pub(super) fn labels_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.labels {
            // Neither has this byte in a place where it could be taken for the other's.
            text.push_str(name);
            text.push('\u{0}');
            text.push_str(value);
            text.push('\u{0}');
        }
        text
    }

    /// Scheme, host, port and path, for people: parameters can be secret.
    pub(super) fn shown_url(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.into()
    }
}

/// Why labels are no target; the text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("a target has no address: relabel_configs have to leave __address__")]
    NoAddress,
    #[error("{0:?} is no address of a target: write HOST:PORT, and the path in metrics_path")]
    Address(String),
    #[error("{0:?} is no scheme of a target: __scheme__ is http or https")]
    Scheme(String),
    #[error("{value:?} in {label} is no duration that a target can have: write one such as 15s")]
    Duration { label: &'static str, value: String },
    #[error("the scrape timeout of {timeout} is longer than the interval of {interval}")]
    Timeout { timeout: String, interval: String },
}

/// Makes a target of an address with the labels of its group. `None`: a rule drops it. `map` is memory to work in.
pub(super) fn make(
    settings: &Settings,
    (rules, scratch): (&Rules, &mut Scratch),
    address: &str,
    group: &BTreeMap<String, String>,
    file: Option<&str>,
    map: &mut LabelMap,
) -> Result<Option<Target>, TargetError> {
    map.clear();
    for (name, value) in group {
        map.set(name, value);
    }
    if let Some(file) = file {
        map.set(FILE, file);
    }
    map.set(ADDRESS, address);
    let (interval, timeout) = (format_duration(settings.interval), format_duration(settings.timeout));
    let defaults = [
        ("job", settings.job.as_str()),
        (INTERVAL, &interval),
        (TIMEOUT, &timeout),
        (PATH, &settings.path),
        (SCHEME, &settings.scheme),
    ];
    for (name, value) in defaults {
        set_default(map, name, value);
    }
    for (name, values) in &settings.params {
        if let Some(first) = values.first() {
            set_default(map, &[PARAM, name].concat(), first);
        }
    }
    if !rules.apply(map, scratch) {
        return Ok(None);
    }
    if map.get(ADDRESS).is_empty() {
        return Err(TargetError::NoAddress);
    }
    let interval = duration(map, INTERVAL)?;
    let timeout = duration(map, TIMEOUT)?;
    if timeout > interval {
        return Err(TargetError::Timeout { timeout: format_duration(timeout), interval: format_duration(interval) });
    }
    let url = url(settings, map)?;
    let address = map.get(ADDRESS).to_owned();
    set_default(map, "instance", &address);
    map.drop_internal();
    let labels = map.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Some(Target { labels, url, interval, timeout }))
}

fn set_default(map: &mut LabelMap, name: &str, value: &str) {
    if map.get(name).is_empty() {
        map.set(name, value);
    }
}

fn duration(map: &LabelMap, label: &'static str) -> Result<Duration, TargetError> {
    let value = map.get(label);
    let (min, max) = SCRAPE_INTERVAL_MS_RANGE;
    let range = Duration::from_millis(min)..=Duration::from_millis(max);
    let found = parse_duration(value).ok().filter(|duration| range.contains(duration));
    found.ok_or_else(|| TargetError::Duration { label, value: value.to_owned() })
}

fn url(settings: &Settings, map: &LabelMap) -> Result<Url, TargetError> {
    let (scheme, address) = (map.get(SCHEME), map.get(ADDRESS));
    if !matches!(scheme, "http" | "https") {
        return Err(TargetError::Scheme(scheme.to_owned()));
    }
    let wrong = || TargetError::Address(address.to_owned());
    if address.contains(['/', '@', '?', '#', '\\']) || address.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong());
    }
    let mut url = Url::parse(&format!("{scheme}://{address}")).map_err(|_| wrong())?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    url.set_path(map.get(PATH));
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &settings.params {
        params.insert(name, values.iter().map(String::as_str).collect());
    }
    for (name, value) in map.iter() {
        let Some(name) = name.strip_prefix(PARAM) else { continue };
        let values = params.entry(name).or_default();
        match values.first_mut() {
            Some(first) => *first = value,
            None => values.push(value),
        }
    }
    if params.values().any(|values| !values.is_empty()) {
        let mut pairs = url.query_pairs_mut();
        for (name, values) in params {
            for value in values {
                pairs.append_pair(name, value);
            }
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::relabel::{self, Action};

    fn made(settings: &Settings, address: &str, group: &[(&str, &str)]) -> Result<Option<Target>, TargetError> {
        let rules = Rules::compile(&settings.relabel).unwrap();
        let group = group.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        make(settings, (&rules, &mut rules.scratch()), address, &group, Some("/t/a.yml"), &mut LabelMap::new())
    }

    fn told(target: Result<Option<Target>, TargetError>) -> String {
        match target {
            Err(error) => format!("error: {error}"),
            Ok(None) => "dropped".to_owned(),
            Ok(Some(target)) => {
                let labels: Vec<_> = target.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
                format!(
                    "{} {} {}/{}",
                    target.url,
                    labels.join(","),
                    format_duration(target.interval),
                    format_duration(target.timeout)
                )
            }
        }
    }

    fn replace(source: &str, target: &str, replacement: &str) -> relabel::Settings {
        relabel::Settings {
            source_labels: if source.is_empty() { vec![] } else { vec![source.into()] },
            target_label: target.into(),
            replacement: Some(replacement.into()),
            ..relabel::Settings::default()
        }
    }

    #[test]
    fn targets_are_made_as_in_prometheus() {
        let plain = Settings::new("j");
        let mut rich = Settings { scheme: "https".into(), path: "/probe".into(), ..Settings::new("j") };
        rich.params = vec![("module".into(), vec!["http".into(), "two".into()]), ("target".into(), vec!["a b".into()])];
        let with = |rules: Vec<relabel::Settings>| Settings { relabel: rules, ..plain.clone() };
        let drop = relabel::Settings {
            action: Action::Drop,
            source_labels: vec![FILE.into()],
            regex: Some("/t/.*".into()),
            ..relabel::Settings::default()
        };
        // The blackbox exporter's usual rules.
        let blackbox = Settings {
            relabel: vec![
                replace("__address__", "__param_target", "$1"),
                replace("__param_target", "instance", "$1"),
                replace("", "__address__", "127.0.0.1:9115"),
            ],
            ..rich.clone()
        };
        for (settings, address, group, expected) in [
            (&plain, "h:9100", &[][..], "http://h:9100/metrics instance=h:9100,job=j 15s/10s"),
            (&plain, "h", &[("job", "own"), ("instance", "me")], "http://h/metrics instance=me,job=own 15s/10s"),
            (
                &plain,
                "[::1]:1",
                &[("__meta_x", "1"), ("a", "")],
                "http://[::1]:1/metrics instance=[::1]:1,job=j 15s/10s",
            ),
            (
                &plain,
                "h:1",
                &[
                    ("__scheme__", "https"),
                    ("__metrics_path__", "x?y"),
                    ("__scrape_interval__", "1m"),
                    ("__param_q", "1"),
                ],
                "https://h:1/x%3Fy?q=1 instance=h:1,job=j 1m/10s",
            ),
            (&rich, "h:1", &[], "https://h:1/probe?module=http&module=two&target=a+b instance=h:1,job=j 15s/10s"),
            (
                &blackbox,
                "https://example.org/x",
                &[],
                "https://127.0.0.1:9115/probe?module=http&module=two&target=https%3A%2F%2Fexample.org%2Fx instance=https://example.org/x,job=j 15s/10s",
            ),
            (&with(vec![drop]), "h:1", &[], "dropped"),
            (&with(vec![replace("", "__address__", "")]), "h:1", &[], "error: a target has no address"),
            (&plain, "http://h:1", &[], "error: \"http://h:1\" is no address"),
            (&plain, "u:p@h:1", &[], "error: \"u:p@h:1\" is no address"),
            (&plain, "h:x", &[], "error: \"h:x\" is no address"),
            (&plain, "h:1", &[("__scheme__", "unix")], "error: \"unix\" is no scheme"),
            (&plain, "h:1", &[("__scrape_interval__", "often")], "error: \"often\" in __scrape_interval__"),
            (&plain, "h:1", &[("__scrape_interval__", "0")], "error: \"0\" in __scrape_interval__"),
            (
                &plain,
                "h:1",
                &[("__scrape_timeout__", "1m")],
                "error: the scrape timeout of 1m is longer than the interval of 15s",
            ),
        ] {
            let told = told(made(settings, address, group));
            assert!(told.starts_with(expected), "{address} {group:?}\n{told}\n{expected}");
        }
    }

    #[test]
    fn parameters_are_not_shown() {
        let target = made(&Settings::new("j"), "h:1", &[("__param_key", "hunter2")]).unwrap().unwrap();
        assert_eq!(target.shown_url(), "http://h:1/metrics");
        assert!(target.identity().contains("hunter2"));
    }
}
