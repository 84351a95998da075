//! The keys that Promtail files have, and what becomes of those that lugger has no use for.
//!
//! Promises: no key is passed over in silence: it is used, or noted, or an error. Leaves to others: the meaning of those that are used.

use crate::base::words::suggest;
use crate::config::check::Check;
use crate::config::tree::{Node, Value};

/// What becomes of a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// It is read.
    Used,
    /// Nobody misses it; the text says why.
    Note(&'static str),
    /// Somebody may miss it: what is so, and what to do.
    Warn(&'static str, &'static str),
    /// The agent would do something else than what is meant: what to do.
    Refuse(&'static str),
}
use Fate::{Note, Refuse, Used, Warn};

/// Keys of a map. A name that ends in `*` stands for all that begin like it.
pub(super) type Keys = [(&'static str, Fate)];

const NO_GRPC: Fate = Note("lugger has no gRPC server");
const HTTP_TUNING: Fate = Note("lugger's status server has bounds of its own");
const NOT_BOTH: Fate = Refuse(
    "a file is Promtail's or lugger's: remove it, or the keys of Promtail (`lugger convert` writes them in lugger's form)",
);

pub(super) const TOP: &Keys = &[
    ("server", Used),
    ("positions", Used),
    ("client", Used),
    ("clients", Used),
    ("scrape_configs", Used),
    ("limits_config", Used),
    ("target_config", Used),
    ("global", Used),
    (
        "options",
        Note(
            "the label of the lag has no counterpart: lugger shows lag by source in lugger_source_lag_bytes and _seconds",
        ),
    ),
    ("tracing", Note("lugger sends no traces of itself")),
    ("wal", Note("it is not needed: what is not yet stored is read again from the log files")),
    ("loki", NOT_BOTH),
    ("logs", NOT_BOTH),
    ("labels", NOT_BOTH),
    ("limits", NOT_BOTH),
    ("http", NOT_BOTH),
    ("late_labels", NOT_BOTH),
    ("import_positions", NOT_BOTH),
    (
        "state_dir",
        Refuse(
            "a file is Promtail's or lugger's: with one of Promtail state is in /var/lib/lugger, or where the environment variable STATE_DIRECTORY says \
             (systemd's StateDirectory=); `lugger convert` writes the file in lugger's form, which has state_dir",
        ),
    ),
];

pub(super) const GLOBAL: &Keys =
    &[("file_watch_config", Note("it is not needed: the kernel tells lugger of changes as they happen"))];

pub(super) const SERVER: &Keys = &[
    ("http_listen_address", Used),
    ("http_listen_port", Used),
    ("disable", Used),
    ("log_level", Note("it is an option of the command: lugger --log-level error|warn|info|debug")),
    ("log_format", Note("it is an option of the command: lugger --log-format human|logfmt|json")),
    ("http_path_prefix", Warn("lugger's pages have no prefix", "use /ready and /metrics without it")),
    ("external_url", Note("lugger's pages need no URL of their own")),
    ("health_check_target", Note("/ready is 503 while no files are read, or an endpoint needs a person's help")),
    ("enable_runtime_reload", Note("reloading is always possible: SIGHUP, or POST /-/reload from the host itself")),
    ("profiling_enabled", Note("lugger has no profiling pages")),
    ("register_instrumentation", HTTP_TUNING),
    ("graceful_shutdown_timeout", Note("lugger stops within 5 s")),
    (
        "http_tls_config",
        Refuse("remove it: lugger's status page has no TLS; put a proxy before it, or let it listen on 127.0.0.1"),
    ),
    ("grpc_*", NO_GRPC),
    ("http_listen_network", HTTP_TUNING),
    ("http_listen_conn_limit", HTTP_TUNING),
    ("http_server_*", HTTP_TUNING),
    ("http_log_*", HTTP_TUNING),
    ("tls_*", HTTP_TUNING),
    ("log_source_*", HTTP_TUNING),
    ("log_request_*", HTTP_TUNING),
];

pub(super) const POSITIONS: &Keys = &[
    ("filename", Used),
    ("ignore_invalid_yaml", Used),
    ("sync_period", Note("it is not needed: positions are written down as lines are stored")),
];

pub(super) const LIMITS: &Keys = &[
    ("readline_rate", Used),
    ("readline_burst", Used),
    ("readline_rate_enabled", Used),
    ("readline_rate_drop", Used),
    ("max_streams", Used),
    ("max_line_size", Used),
    ("max_line_size_truncate", Used),
];

pub(super) const TARGET: &Keys =
    &[("sync_period", Note("it is not needed: new files are found as they appear")), ("stdin", Used)];

const HEADERS: &str = "put the header into `headers` of the client";
const PEM: &str = "write the certificate or key into a file, and name that: ca_file, cert_file, key_file";

pub(super) const CLIENT: &Keys = &[
    ("name", Used),
    ("url", Used),
    ("tenant_id", Used),
    ("headers", Used),
    ("basic_auth", Used),
    ("authorization", Used),
    ("bearer_token", Used),
    ("bearer_token_file", Used),
    ("tls_config", Used),
    ("proxy_url", Used),
    ("timeout", Used),
    ("batchwait", Used),
    ("batchsize", Used),
    ("backoff_config", Used),
    ("external_labels", Used),
    (
        "oauth2",
        Refuse(
            "lugger cannot fetch tokens: let another program write the token into a file, and name it in bearer_token_file",
        ),
    ),
    ("proxy_from_environment", Refuse("write the proxy's address into proxy_url")),
    ("proxy_connect_header", Refuse("proxies that want headers are not supported")),
    (
        "no_proxy",
        Warn("the proxy is used for this endpoint whatever its host", "remove proxy_url if it should not be used"),
    ),
    ("http_headers", Refuse(HEADERS)),
    (
        "drop_rate_limited_batches",
        Warn(
            "lugger waits when Loki says that it is too much, and drops nothing",
            "the log files are the queue; `rate` with `when_over: drop` in lugger's own form drops",
        ),
    ),
    ("follow_redirects", Note("lugger does not follow redirects: `url` has to be where Loki is")),
    ("enable_http2", Note("lugger speaks HTTP/1.1")),
    ("queue", Note("lugger has one queue an endpoint, bounded by its memory")),
];

pub(super) const BACKOFF: &Keys = &[
    ("min_period", Used),
    ("max_period", Used),
    ("max_retries", Note("lugger drops nothing: it tries again for as long as it takes")),
];

pub(super) const BASIC_AUTH: &Keys = &[
    ("username", Used),
    ("password", Used),
    ("password_file", Used),
    ("username_file", Refuse("write the user's name into `username`")),
    ("username_ref", Refuse("write the user's name into `username`")),
    ("password_ref", Refuse("use password_file")),
];

pub(super) const AUTHORIZATION: &Keys = &[
    ("type", Used),
    ("credentials", Used),
    ("credentials_file", Used),
    ("credentials_ref", Refuse("use credentials_file")),
];

pub(super) const TLS: &Keys = &[
    ("ca_file", Used),
    ("cert_file", Used),
    ("key_file", Used),
    ("server_name", Used),
    ("insecure_skip_verify", Used),
    ("ca", Refuse(PEM)),
    ("cert", Refuse(PEM)),
    ("key", Refuse(PEM)),
    ("ca_ref", Refuse(PEM)),
    ("cert_ref", Refuse(PEM)),
    ("key_ref", Refuse(PEM)),
    ("min_version", Note("lugger speaks TLS 1.2 and 1.3 only")),
    ("max_version", Note("lugger speaks TLS 1.2 and 1.3 only")),
];

const NICHE: Fate = Refuse("lugger does not have this source: remove it, and keep another agent for it if you need it");

pub(super) const JOB: &Keys = &[
    ("job_name", Used),
    ("static_configs", Used),
    ("file_sd_configs", Used),
    ("pipeline_stages", Used),
    ("relabel_configs", Used),
    ("encoding", Used),
    ("decompression", Used),
    ("journal", Used),
    ("syslog", Used),
    ("docker_sd_configs", Used),
    ("kubernetes_sd_configs", Used),
    ("loki_push_api", Used),
    ("gelf", Used),
    (
        "entry_parser",
        Refuse("it is gone from Promtail, too: write `pipeline_stages: [{ docker: {} }]`, or cri in place of docker"),
    ),
    ("gcplog", NICHE),
    ("windows_events", NICHE),
    ("kafka", NICHE),
    ("azure_event_hubs", NICHE),
    ("cloudflare", NICHE),
    ("heroku_drain", NICHE),
    ("dns_sd_configs", NICHE),
    ("consul_sd_configs", NICHE),
    ("consulagent_sd_configs", NICHE),
    ("digitalocean_sd_configs", NICHE),
    ("dockerswarm_sd_configs", NICHE),
    ("serverset_sd_configs", NICHE),
    ("nerve_sd_configs", NICHE),
    ("marathon_sd_configs", NICHE),
    ("gce_sd_configs", NICHE),
    ("ec2_sd_configs", NICHE),
    ("openstack_sd_configs", NICHE),
    ("azure_sd_configs", NICHE),
    ("triton_sd_configs", NICHE),
];

pub(super) const STATIC: &Keys = &[("targets", Used), ("labels", Used)];

pub(super) const FILE_SD: &Keys = &[
    ("files", Used),
    ("refresh_interval", Note("these files are read when lugger starts and when it is told to reload (SIGHUP)")),
];

pub(super) const DECOMPRESSION: &Keys =
    &[("enabled", Used), ("initial_delay", Used), ("initial_sleep", Used), ("format", Used)];

pub(super) const JOURNAL: &Keys =
    &[("json", Used), ("max_age", Used), ("labels", Used), ("path", Used), ("matches", Used)];

pub(super) const SYSLOG: &Keys = &[
    ("listen_address", Used),
    ("listen_protocol", Used),
    ("idle_timeout", Used),
    ("label_structured_data", Used),
    ("labels", Used),
    ("use_incoming_timestamp", Used),
    ("use_rfc5424_message", Used),
    ("syslog_format", Note("lugger tells the formats apart by themselves")),
    ("max_message_length", Used),
    ("tls_config", Used),
];

pub(super) const PUSH: &Keys =
    &[("server", Used), ("labels", Used), ("use_incoming_timestamp", Used), ("max_send_msg_size", Used)];

/// Who one is to Docker, and how to get there.
const NO_REMOTE: Fate =
    Warn("lugger speaks to Docker's own socket, or by plain TCP", "run lugger on Docker's own host, with its socket");
const ONE_TARGET: Fate =
    Note("it matters for scraping; here a container is one target, whatever its networks and ports");

pub(super) const GELF: &Keys = &[("listen_address", Used), ("labels", Used), ("use_incoming_timestamp", Used)];

/// What a syslog server shows, and whom it trusts.
pub(super) const SYSLOG_TLS: &Keys = &[
    ("ca_file", Used),
    ("cert_file", Used),
    ("key_file", Used),
    ("ca", Refuse(PEM)),
    ("cert", Refuse(PEM)),
    ("key", Refuse(PEM)),
    ("server_name", Note("it is for clients")),
    ("insecure_skip_verify", Note("it is for clients")),
    ("min_version", Note("lugger speaks TLS 1.2 and 1.3 only")),
];

/// The same of the server for pushes.
pub(super) const SERVER_TLS: &Keys = &[
    ("cert_file", Used),
    ("key_file", Used),
    ("client_ca_file", Used),
    ("client_auth_type", Used),
    ("cert", Refuse(PEM)),
    ("key", Refuse(PEM)),
    ("client_ca", Refuse(PEM)),
];

/// The server for pushes.
pub(super) const PUSH_SERVER: &Keys = &[
    ("http_listen_address", Used),
    ("http_listen_port", Used),
    ("http_tls_config", Used),
    ("log_level", Note("it is an option of the command: lugger --log-level error|warn|info|debug")),
    ("log_format", Note("it is an option of the command: lugger --log-format human|logfmt|json")),
    ("http_path_prefix", Refuse("remove it: pushes are taken at /loki/api/v1/push and /api/v1/raw alone")),
    ("graceful_shutdown_timeout", Note("lugger stops within 5 s")),
    ("register_instrumentation", HTTP_TUNING),
    ("grpc_*", NO_GRPC),
    ("http_listen_network", HTTP_TUNING),
    ("http_listen_conn_limit", HTTP_TUNING),
    ("http_server_*", HTTP_TUNING),
    ("http_log_*", HTTP_TUNING),
    ("tls_*", HTTP_TUNING),
    ("log_source_*", HTTP_TUNING),
    ("log_request_*", HTTP_TUNING),
];

pub(super) const DOCKER: &Keys = &[
    ("host", Used),
    ("filters", Used),
    ("refresh_interval", Used),
    ("port", ONE_TARGET),
    ("host_networking_host", ONE_TARGET),
    ("match_first_network", ONE_TARGET),
    ("proxy_url", NO_REMOTE),
    ("tls_config", NO_REMOTE),
    ("basic_auth", NO_REMOTE),
    ("authorization", NO_REMOTE),
    ("oauth2", NO_REMOTE),
    ("bearer_token", NO_REMOTE),
    ("bearer_token_file", NO_REMOTE),
    ("no_proxy", NO_REMOTE),
    ("proxy_from_environment", NO_REMOTE),
    ("follow_redirects", Note("Docker does not redirect")),
    ("enable_http2", Note("Docker's socket speaks HTTP/1.1")),
];

pub(super) const DOCKER_FILTER: &Keys = &[("name", Used), ("values", Used)];

/// Reports the keys of `node` that are not used, and what is no map. True: it is a map.
pub(super) fn survey(node: &Node, keys: &Keys, check: &mut Check<'_>) -> bool {
    if node.is_null() {
        return false;
    }
    if !matches!(node.value, Value::Map(_)) {
        check.error(node.span, "expected a map", "write `key: value` lines, indented");
        return false;
    }
    for entry in node.entries() {
        let is_it = |(name, _): &&(&str, Fate)| {
            name.strip_suffix('*').map_or(entry.key == *name, |prefix| entry.key.starts_with(prefix))
        };
        let Some((_, fate)) = keys.iter().find(is_it) else {
            let known = keys.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('*'));
            let help = suggest(&entry.key, "the keys here are", known.collect::<Vec<_>>());
            check.error(entry.key_span, format!("unknown {}", entry.quoted_key()), help);
            continue;
        };
        // What is switched off, or left to its default, says nothing.
        if is_nothing(&entry.value) {
            continue;
        }
        let key = &entry.key;
        match fate {
            Used => {}
            Note(text) => check.note(entry.key_span, format!("`{key}` has no effect: {text}")),
            Warn(text, help) => check.warn(entry.key_span, format!("`{key}` has no effect: {text}"), *help),
            Refuse(help) => check.error(entry.key_span, format!("`{key}` is not supported"), *help),
        }
    }
    true
}

fn is_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => {
            scalar.is_null()
                || scalar.text.is_empty()
                || matches!(scalar.text.as_str(), "false" | "False" | "FALSE" | "0")
        }
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.iter().all(|entry| is_nothing(&entry.value)),
    }
}
