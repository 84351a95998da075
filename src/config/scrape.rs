//! `metrics.scrape` entries: Prometheus' `scrape_config` by its own names, from what was written to a job's settings.
//!
//! Promises: what Prometheus knows and lugger does not is refused with what to do instead; none is passed over in silence. Leaves to others: who we are
//! and whom we trust (`access`), rules (`pipeline`), files of targets.

use super::access::{self, Access};
use super::check::Check;
use super::metrics::{self, Times};
use super::pipeline;
use super::raw::{FileDiscovery, Scrape, StaticConfig};
use super::tree::Node;
use crate::base::access::{Auth, Credential};
use crate::base::limits::{
    NAME_BYTES, PATTERN_BYTES, SCRAPE_BODY_BYTES_DEFAULT, SCRAPE_BODY_BYTES_MAX, SCRAPE_INTERVAL_MS_RANGE,
    TARGETS_REFRESH_MS_DEFAULT, TARGETS_REFRESH_MS_RANGE,
};
use crate::base::units::format_size;
use crate::base::words::suggest;
use crate::format::prometheus::parse::Form;
use crate::pipeline::relabel;
use crate::source::scrape::settings::{self, Files, Group, Protocol, Settings};
use crate::source::series;
use reqwest::Url;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Headers that the agent or its HTTP client sets, in lower case.
const OWN_HEADERS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authorization",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-scrape-timeout-seconds",
];

/// What to do without a key that Prometheus knows.
pub(super) fn unsupported(key: &str) -> Option<&'static str> {
    const ONE_NAME: &str = "remove it: names have letters, digits, _ and :, as Prometheus' `legacy` scheme has it";
    const HISTOGRAMS: &str = "remove it: histograms come as their classic series, which targets tell as well";
    Some(match key {
        "docker_sd_configs" | "dockerswarm_sd_configs" => {
            "run lugger where the containers are, and name their published ports in `static_configs`, or write a file for `file_sd_configs`"
        }
        "dns_sd_configs" => {
            "name the hosts in `static_configs`: each name is resolved anew when there is no connection"
        }
        "http_sd_configs" => {
            "have something fetch the list into a file, such as a timer with curl, and name that in `file_sd_configs`: the form is the same"
        }
        "kubernetes_sd_configs" => {
            "lugger is an agent for hosts: scrape the cluster from inside of it, or write a file for `file_sd_configs`"
        }
        _ if key.ends_with("_sd_configs") => {
            "lugger discovers targets by `static_configs` and `file_sd_configs`: write the list to a file, which is read again when it changes"
        }
        "oauth2" => {
            "remove it; `authorization: { credentials_file: … }` takes a token that something else renews, and reads it again when it is refused"
        }
        "enable_http2" => "remove it: lugger speaks HTTP/1.1, which all targets do",
        "no_proxy" => "remove it: `proxy_url` is for this job alone, and without it there is no proxy",
        "proxy_from_environment" => "write the proxy into `proxy_url`",
        "proxy_connect_header" => "remove it: proxies that want headers of their own are not supported",
        "scrape_native_histograms"
        | "scrape_classic_histograms"
        | "always_scrape_classic_histograms"
        | "convert_classic_histograms_to_nhcb"
        | "native_histogram_bucket_limit"
        | "native_histogram_min_bucket_factor" => HISTOGRAMS,
        "metric_name_validation_scheme" | "metric_name_escaping_scheme" => ONE_NAME,
        "scrape_failure_log_file" => {
            "remove it: failures are in lugger's own log, on its status page and in its metrics"
        }
        "keep_dropped_targets" => "remove it: dropped targets are counted only",
        _ => return None,
    })
}

/// All entries.
pub(super) fn plan(
    raw: &[Scrape],
    metrics: &Node,
    times: Times,
    outer: &[(String, String)],
    endpoints: &[&str],
    check: &mut Check<'_>,
) -> Vec<(Settings, Vec<usize>)> {
    let list = metrics.child("scrape");
    let mut names: HashSet<&str> = HashSet::new();
    for (i, entry) in raw.iter().enumerate() {
        let node = list.item(i);
        let Some(name) = entry.job_name.as_deref() else {
            if !node.has_lost("job_name") {
                check.error(node.span, "this job has no `job_name`", "add one: its series get it as the label job");
            }
            continue;
        };
        let place = node.child("job_name");
        if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
            check.error(place.span, "this is not a name of a job", format!("write up to {NAME_BYTES} bytes of text"));
        } else if !names.insert(name) {
            check.error(place.span, format!("two jobs are named {name:?}"), "give each a name of its own");
        }
    }
    let jobs = raw.iter().enumerate();
    jobs.map(|(i, entry)| {
        let node = list.item(i);
        (job(entry, node, times, outer, check), metrics::to(entry.to.as_ref(), node, endpoints, check))
    })
    .collect()
}

fn job(raw: &Scrape, node: &Node, global: Times, outer: &[(String, String)], check: &mut Check<'_>) -> Settings {
    let name = raw.job_name.as_deref().unwrap_or_default();
    let Times { interval, timeout } = times(raw, node, global, check);
    let scheme = raw.scheme.as_deref().unwrap_or("http");
    if !matches!(scheme, "http" | "https") {
        check.error(
            node.child("scheme").span,
            format!("{scheme:?} is no scheme"),
            suggest(scheme, "they are", ["http", "https"]),
        );
    }
    let path = raw.metrics_path.as_deref().unwrap_or("/metrics");
    if let Some(at) = path.find('?') {
        check.error(
            node.child("metrics_path").span,
            "parameters do not belong into metrics_path, which would be asked for with an encoded question mark",
            format!(
                "end it with {:?}, and write the rest as `params: {{ name: [value] }}`",
                path.get(..at).unwrap_or(path)
            ),
        );
    }
    let relabel = rules(raw.relabel_configs.is_some(), node, "relabel_configs", check);
    let access = access(raw, node, check);
    let groups = groups(raw.static_configs.as_deref().unwrap_or_default(), node, relabel.is_empty(), check);
    let files = files(raw.file_sd_configs.as_deref().unwrap_or_default(), node, check);
    if raw.static_configs.is_none() && raw.file_sd_configs.is_none() && !node.is_damaged() {
        check.error(
            node.key_span("job_name"),
            "this job has no targets",
            "add `static_configs: [{ targets: [\"127.0.0.1:9100\"] }]`, or files of targets by `file_sd_configs`",
        );
    }
    open_secrets(&access.auth, scheme, &groups, node, check);
    Settings {
        interval,
        timeout,
        scheme: scheme.to_owned(),
        path: path.to_owned(),
        params: raw.params.iter().flatten().map(|(name, values)| (name.clone(), values.0.clone())).collect(),
        access,
        fallback: fallback(raw, node, check),
        body_bytes: body_bytes(raw, node, check),
        target_limit: raw.target_limit.unwrap_or(0),
        relabel,
        groups,
        files,
        series: series::Settings {
            honor_labels: raw.honor_labels.unwrap_or(false),
            honor_timestamps: raw.honor_timestamps.unwrap_or(true),
            track_timestamps_staleness: raw.track_timestamps_staleness.unwrap_or(false),
            relabel: rules(raw.metric_relabel_configs.is_some(), node, "metric_relabel_configs", check),
            outer: outer.to_vec(),
            limits: series::Limits {
                samples: raw.sample_limit.unwrap_or(0),
                labels: raw.label_limit.unwrap_or(0),
                label_name_bytes: raw.label_name_length_limit.unwrap_or(0),
                label_value_bytes: raw.label_value_length_limit.unwrap_or(0),
            },
            extra_metrics: raw.extra_scrape_metrics.unwrap_or(false),
        },
        ..Settings::new(name)
    }
}

fn times(raw: &Scrape, node: &Node, global: Times, check: &mut Check<'_>) -> Times {
    let range = SCRAPE_INTERVAL_MS_RANGE;
    let interval = match raw.scrape_interval {
        Some(_) => check.time(raw.scrape_interval, node.child("scrape_interval"), 0, range),
        None => global.interval,
    };
    let Some(_) = raw.scrape_timeout else { return Times { interval, timeout: global.timeout.min(interval) } };
    let timeout = check.time(raw.scrape_timeout, node.child("scrape_timeout"), 0, range);
    if timeout > interval {
        check.error(
            node.child("scrape_timeout").span,
            "scrape_timeout is longer than the interval",
            "a scrape has to be over when the next one begins: shorten it, or set a longer scrape_interval",
        );
    }
    Times { interval, timeout }
}

fn rules(is_there: bool, node: &Node, key: &str, check: &mut Check<'_>) -> Vec<relabel::Settings> {
    node.entry(key).filter(|_| is_there).and_then(|rules| pipeline::relabel(&rules.value, check)).unwrap_or_default()
}

fn body_bytes(raw: &Scrape, node: &Node, check: &mut Check<'_>) -> u64 {
    match raw.body_size_limit.map(|size| size.0) {
        None => SCRAPE_BODY_BYTES_DEFAULT,
        // No bound, which is the largest that there is.
        Some(0) => SCRAPE_BODY_BYTES_MAX,
        Some(bytes) => {
            if bytes > SCRAPE_BODY_BYTES_MAX {
                let help = format!("it is at most {}, which 0 stands for as well", format_size(SCRAPE_BODY_BYTES_MAX));
                check.error(node.child("body_size_limit").span, "this is out of range", help);
            }
            bytes
        }
    }
}

/// A format by its name; `None`: reported.
fn protocol(name: &str, node: &Node, check: &mut Check<'_>) -> Option<Protocol> {
    let known = Protocol::NAMES.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol);
    if known.is_none() {
        let help = match name {
            "PrometheusProto" => "remove it: lugger reads the text formats, which every target has".to_owned(),
            _ => suggest(name, "they are", Protocol::NAMES.map(|(name, _)| name)),
        };
        check.error(node.span, format!("{name:?} is no format that lugger reads"), help);
    }
    known
}

fn fallback(raw: &Scrape, node: &Node, check: &mut Check<'_>) -> Form {
    let name = raw.fallback_scrape_protocol.as_deref();
    let found = name.and_then(|name| protocol(name, node.child("fallback_scrape_protocol"), check));
    found.map_or(Form::Text, Protocol::form)
}

fn access(raw: &Scrape, node: &Node, check: &mut Check<'_>) -> settings::Access {
    let shared = Access {
        headers: None,
        basic_auth: raw.basic_auth.as_ref(),
        bearer_token: raw.bearer_token.as_ref(),
        bearer_token_file: raw.bearer_token_file.as_deref(),
        authorization: raw.authorization.as_ref(),
        tls_config: raw.tls_config.as_ref(),
        proxy_url: raw.proxy_url.as_deref(),
    };
    let mut protocols = settings::Access::default().protocols;
    if let Some(names) = &raw.scrape_protocols {
        let place = node.child("scrape_protocols");
        let found = names.0.iter().enumerate().map(|(i, name)| protocol(name, place.item(i), check));
        protocols = found.collect::<Vec<_>>().into_iter().flatten().collect();
        let mut seen = Vec::new();
        for (i, protocol) in protocols.iter().enumerate() {
            if seen.contains(protocol) {
                check.error(place.item(i).span, "this format is here for the second time", "keep one of them");
            }
            seen.push(*protocol);
        }
        if names.0.is_empty() && !place.is_damaged() {
            check.error(node.key_span("scrape_protocols"), "`scrape_protocols` is empty", "name one, or remove it");
        }
    }
    let auth = access::auth(&shared, node, check);
    let tls = access::tls(&shared, node, None, check);
    if tls.server_name.is_some() && raw.proxy_url.is_some() {
        check.error(
            node.child("tls_config").key_span("server_name"),
            "server_name does not work through a proxy, which connects by the target's name",
            "remove it, or `proxy_url`",
        );
    }
    settings::Access {
        headers: headers(raw, &auth, node, check),
        auth,
        tls,
        proxy: access::proxy(&shared, node, check),
        follow_redirects: raw.follow_redirects.unwrap_or(true),
        protocols,
        compression: raw.enable_compression.unwrap_or(true),
    }
}

fn headers(raw: &Scrape, auth: &Auth, node: &Node, check: &mut Check<'_>) -> Vec<(String, Credential)> {
    let place = node.child("http_headers");
    let mut headers = Vec::new();
    let mut seen = HashSet::new();
    for entry in place.entries() {
        let Some(header) = raw.http_headers.as_ref().and_then(|headers| headers.get(&entry.key)) else { continue };
        let (name, lower) = (&entry.key, entry.key.to_ascii_lowercase());
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(fits) {
            check.error(entry.key_span, "this is not the name of a header", "a name has ASCII letters, digits and -");
        } else if OWN_HEADERS.contains(&lower.as_str()) {
            check.error(
                entry.key_span,
                format!("the header {name} cannot be set here"),
                "remove it: the agent sets it",
            );
        } else if lower == "authorization" && *auth != Auth::None {
            let help = "keep one of them";
            check.error(
                entry.key_span,
                "the header Authorization cannot be used together with another way to show who you are",
                help,
            );
        } else if !seen.insert(lower) {
            let help = "upper and lower case are the same: keep one, with all values";
            check.error(entry.key_span, format!("the header {name} is here for the second time"), help);
        }
        for (key, list) in [("values", &header.values), ("secrets", &header.secrets)] {
            for (i, value) in list.iter().flatten().enumerate() {
                access::check_header_value(&value.0, entry.value.child(key).item(i), "value", check);
                headers.push((name.clone(), Credential::Inline(value.0.clone())));
            }
        }
        for (i, path) in header.files.iter().flatten().enumerate() {
            headers.push((name.clone(), Credential::File(check.file(path, entry.value.child("files").item(i)))));
        }
        if header.values.is_none() && header.secrets.is_none() && header.files.is_none() && !entry.value.is_damaged() {
            check.error(
                entry.key_span,
                format!("the header {name} has no value"),
                "write `values: [text]`, or `secrets` or `files`",
            );
        }
    }
    headers
}

fn groups(raw: &[StaticConfig], node: &Node, plain: bool, check: &mut Check<'_>) -> Vec<Group> {
    let list = node.child("static_configs");
    let mut groups = Vec::new();
    for (i, group) in raw.iter().enumerate() {
        let node = list.item(i);
        let targets = group.targets.as_ref().map(|targets| targets.0.clone()).unwrap_or_default();
        if group.targets.is_none() && !node.has_lost("targets") {
            check.error(node.span, "this entry has no `targets`", "add them, such as `targets: [\"127.0.0.1:9100\"]`");
        }
        for (i, target) in targets.iter().enumerate().filter(|(_, target)| plain && target.contains('/')) {
            check.error(
                node.child("targets").item(i).span,
                format!("{target:?} is no address of a target"),
                "write HOST:PORT; what is before it goes into `scheme`, what is behind it into `metrics_path`",
            );
        }
        let labels = group.labels.clone().unwrap_or_default();
        for name in labels.keys() {
            let mut bytes = name.bytes();
            let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
            if !bytes.next().is_some_and(letter) || !bytes.all(|byte| letter(byte) || byte.is_ascii_digit()) {
                check.error(
                    node.child("labels").key_span(name),
                    format!("{name:?} is no label name"),
                    "it starts with a letter or _ and goes on with letters, digits or _",
                );
            }
        }
        groups.push(Group { targets, labels: labels.into_iter().collect::<BTreeMap<_, _>>() });
    }
    groups
}

fn files(raw: &[FileDiscovery], node: &Node, check: &mut Check<'_>) -> Vec<Files> {
    let list = node.child("file_sd_configs");
    let mut all = Vec::new();
    for (i, discovery) in raw.iter().enumerate() {
        let node = list.item(i);
        let refresh = check.time(
            discovery.refresh_interval,
            node.child("refresh_interval"),
            TARGETS_REFRESH_MS_DEFAULT,
            TARGETS_REFRESH_MS_RANGE,
        );
        let patterns = discovery.files.as_ref().map(|files| files.0.clone()).unwrap_or_default();
        if patterns.is_empty() && !node.has_lost("files") && !node.child("files").is_damaged() {
            check.error(
                node.span,
                "this entry has no `files`",
                "add them, such as `files: [/etc/lugger/targets/*.yml]`",
            );
        }
        for (i, pattern) in patterns.iter().enumerate() {
            let span = node.child("files").item(i).span;
            if let Some((problem, help)) = pattern_problem(pattern) {
                check.error(span, problem, help);
            }
        }
        all.push(Files { patterns, refresh });
    }
    all
}

/// What is wrong with a pattern, and what to do.
fn pattern_problem(pattern: &str) -> Option<(String, &'static str)> {
    let path = Path::new(pattern);
    let is_known =
        |extension: &std::ffi::OsStr| ["json", "yml", "yaml"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    let directory = path.parent().map(Path::to_string_lossy).unwrap_or_default();
    if !pattern.starts_with('/') {
        Some((format!("the path {pattern:?} is not absolute"), "begin it with /"))
    } else if pattern.len() > PATTERN_BYTES || pattern.contains('\0') {
        Some(("this path matches no file".to_owned(), "no path has a NUL character or is longer than 4096 bytes"))
    } else if !path.extension().is_some_and(is_known) {
        let problem = format!("{pattern:?} does not end in .json, .yml or .yaml");
        Some((problem, "the ending says how a file is read: name it so"))
    } else if directory.contains(['*', '?', '[', '{']) {
        Some((format!("in {pattern:?} a directory is a pattern"), "only the last part of the path may have a *"))
    } else {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let error = globset::GlobBuilder::new(&name).literal_separator(true).build().err()?;
        Some((format!("{pattern:?} is not a pattern: {}", error.kind()), "write it like /etc/lugger/targets/*.yml"))
    }
}

/// A password over plain HTTP is fine on the host itself, and nowhere else.
fn open_secrets(auth: &Auth, scheme: &str, groups: &[Group], node: &Node, check: &mut Check<'_>) {
    if scheme != "http" {
        return;
    }
    let urls = groups
        .iter()
        .flat_map(|group| &group.targets)
        .filter_map(|target| Url::parse(&format!("http://{target}")).ok());
    for url in urls {
        let before = check.count();
        access::warn_of_open_secrets(&url, node, auth, check);
        if check.count() > before {
            return;
        }
    }
}
