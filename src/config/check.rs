//! From what was written to a plan: meaning, ranges, defaults; here for the file as a whole, its entries in `endpoint` and `logs`.
//!
//! Promises: it reports everything that it can judge, also beside errors of form; it does not report what follows only from something that
//! was reported already. Leaves to others: the form of values (`raw`, `de`).

use super::env::Lookup;
use super::file::plain;
use super::plan::{DockerSource, JournalSource, Plan};
use super::raw;
use super::report::{Finding, Severity};
use super::source::Span;
use super::tree::Node;
use super::{de, endpoint, logs, metrics, positions, remote_write};
use crate::base::limits::{
    LABEL_NAME_RANGE, LABEL_VALUE_RANGE, LABELS_RANGE, LINE_BYTES_DEFAULT, LINE_BYTES_MAX, LINE_BYTES_MIN,
    MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, NAME_BYTES, RATE_BURST_MS, RATE_BURST_MS_DEFAULT,
    RATE_BYTES_MAX, RATE_BYTES_MIN, RATE_LINES_MAX, SPOOL_AGE_MS_DEFAULT, SPOOL_AGE_MS_MAX, SPOOL_AGE_MS_MIN,
    SPOOL_BYTES_DEFAULT, SPOOL_BYTES_MAX, SPOOL_ENDPOINT_BYTES_MIN,
};
use crate::base::rate::{RateLimit, WhenOver};
use crate::base::units::{format_duration, format_size};
use crate::model::labels::LabelCaps;
use crate::source::file::import::Positions;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the agent keeps its state if neither the configuration nor systemd says otherwise.
const STATE_DIR: &str = "/var/lib/lugger";
/// The port of /ready and /metrics.
const HTTP_PORT: u16 = 9080;

/// The plan; to be used only if no error was found.
pub(super) fn plan(raw: &raw::File, root: &Node, env: &Lookup<'_>, findings: &mut Vec<Finding>) -> Option<Plan> {
    let mut check = Check::new(findings);
    let limits = check.limits(raw.limits.as_ref(), root.child("limits"));
    let http = check.http(raw.http.as_ref(), root.child("http"));
    let state_dir = check.state_dir(raw.state_dir.as_deref(), root, env);
    let imports = check.imports(raw.import_positions.as_ref(), root.child("import_positions"));
    let global = logs::Global::new(raw, root, limits.label_caps, &mut check);

    let loki = endpoint::plan(raw.loki.as_deref().unwrap_or_default(), root, &mut check);
    let remote_write = remote_write::plan(raw.remote_write.as_deref().unwrap_or_default(), root, &mut check);
    let names: Vec<&str> = loki.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let logs = raw.logs.as_deref().unwrap_or_default();
    let caps = logs::Caps { line_bytes: limits.line_bytes, labels: limits.label_caps };
    let sources = logs::plan(logs, root, &global, &names, caps, http, &mut check);
    // Without an endpoint sources are checked and not run.
    let sources = if loki.is_empty() { logs::Sources::default() } else { sources };
    let logs::Sources { files, mut journals, mut dockers, receivers } = sources;
    for JournalSource { settings, .. } in &mut journals {
        // A job that was divided has its own name first.
        let is_its =
            |job: &str| settings.name.strip_prefix(job).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
        let cursors = imports.iter().flat_map(|positions| &positions.cursors);
        settings.imported = cursors.into_iter().find(|(job, _)| is_its(job)).map(|(_, cursor)| *cursor);
    }
    for DockerSource { settings, .. } in &mut dockers {
        settings.imported = imports.iter().flat_map(|positions| positions.containers.iter().cloned()).collect();
    }
    let names: Vec<&str> = remote_write.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let outer = raw.labels.clone().unwrap_or_default();
    let metrics = raw.metrics.as_ref();
    let metrics = metrics.map(|raw| metrics::plan(raw, root.child("metrics"), &outer, &names, &mut check));
    check.completeness(raw, root);
    let goes = files.iter().map(|file| &*file.to).chain(journals.iter().map(|journal| &*journal.to));
    let goes = goes.chain(dockers.iter().map(|docker| &*docker.to));
    let goes: Vec<&[usize]> = goes.chain(receivers.iter().map(|receiver| &*receiver.to)).collect();
    for (i, endpoint) in loki.iter().enumerate() {
        if !goes.is_empty() && !root.child("logs").is_damaged() && goes.iter().all(|to| !to.contains(&i)) {
            let span = root.child("loki").item(i).span;
            check.warn(
                span,
                format!("nothing goes to the endpoint {:?}", endpoint.name),
                "name it in the `to` of a `logs` entry, or remove it",
            );
        }
    }
    let shared = (0..loki.len()).filter(|i| goes.iter().any(|to| to.len() > 1 && to.contains(i))).count();
    check.spool_share(limits.spool_bytes, shared, root.child("limits").child("spool"));
    let Limits { memory_bytes, spool_bytes, spool_age, .. } = limits;
    Some(Plan {
        loki,
        remote_write,
        files,
        journals,
        dockers,
        receivers,
        metrics,
        imports,
        http,
        state_dir,
        memory_bytes,
        spool_bytes,
        spool_age,
    })
}

/// What `limits` comes to.
struct Limits {
    memory_bytes: u64,
    line_bytes: usize,
    spool_bytes: u64,
    spool_age: Duration,
    label_caps: LabelCaps,
}

/// Collects what is found.
pub(super) struct Check<'a> {
    findings: &'a mut Vec<Finding>,
}

impl<'a> Check<'a> {
    pub(super) fn new(findings: &'a mut Vec<Finding>) -> Self {
        Check { findings }
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// Reads a part of the file as a type; what does not fit is reported and removed from `node`.
    pub(super) fn read<T: DeserializeOwned>(&mut self, node: &mut Node) -> Option<T> {
        de::read(node, self.findings)
    }

    /// How much was found so far, for [`Check::said_since`].
    pub(super) fn count(&self) -> usize {
        self.findings.len()
    }

    /// What was found since then, other than errors, as comments for people.
    pub(super) fn said_since(&self, count: usize) -> Vec<String> {
        let said = self.findings.iter().skip(count).filter(|finding| finding.severity != Severity::Error);
        let text = |finding: &Finding| {
            let line = finding.span.map_or(String::new(), |span| format!("Line {}: ", span.start.line));
            format!("{line}{}", finding.message)
        };
        said.map(text).collect()
    }

    pub(super) fn note(&mut self, span: Span, message: impl Into<String>) {
        self.findings.push(Finding::note(span, message));
    }

    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding::error(span, message).help(help));
    }

    /// An error that is about this host alone: a file for another one may be right all the same.
    pub(super) fn error_here(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding::error(span, message).help(help).of_host());
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding::warning(span, message).help(help));
    }

    /// A duration within its range, or the default.
    pub(super) fn time(
        &mut self,
        time: Option<raw::Time>,
        node: &Node,
        default_ms: u64,
        range_ms: (u64, u64),
    ) -> Duration {
        let Some(raw::Time(time)) = time else { return Duration::from_millis(default_ms) };
        let (min, max) = (Duration::from_millis(range_ms.0), Duration::from_millis(range_ms.1));
        if time < min || time > max {
            let (min, max) = (format_duration(min), format_duration(max));
            self.error(
                node.span,
                format!("{} is out of range", format_duration(time)),
                format!("it has to be from {min} to {max}"),
            );
        }
        time
    }

    /// A size within its range, or the default.
    pub(super) fn size(&mut self, size: Option<raw::Size>, node: &Node, default: u64, range: (u64, u64)) -> u64 {
        let Some(raw::Size(size)) = size else { return default };
        let (min, max) = range;
        if size < min || size > max {
            let (min, max) = (format_size(min), format_size(max));
            self.error(
                node.span,
                format!("{} is out of range", format_size(size)),
                format!("it has to be from {min} to {max}"),
            );
        }
        size
    }

    /// A bound of lines and bytes a second.
    pub(super) fn rate(&mut self, rate: Option<&raw::Rate>, parent: &Node) -> Option<RateLimit> {
        let rate = rate?;
        let node = parent.child("rate");
        let lines = self.number(rate.lines, node.child("lines"), (1, RATE_LINES_MAX));
        let range = (RATE_BYTES_MIN, RATE_BYTES_MAX);
        let bytes = rate.bytes.map(|size| self.size(Some(size), node.child("bytes"), 0, range));
        if lines.is_none() && bytes.is_none() && !node.is_damaged() {
            self.error(
                parent.key_span("rate"),
                "`rate` bounds nothing",
                "add `lines`, `bytes` or both: so much a second, such as `rate: { bytes: 1MiB }`",
            );
        }
        let burst = self.time(rate.burst, node.child("burst"), RATE_BURST_MS_DEFAULT, RATE_BURST_MS);
        let when_over = match rate.when_over {
            Some(raw::WhenOver::Drop) => WhenOver::Drop,
            Some(raw::WhenOver::Block) | None => WhenOver::Block,
        };
        Some(RateLimit { lines, bytes, burst, when_over })
    }

    /// A number within its range, if it is there.
    pub(super) fn number(&mut self, number: Option<u64>, node: &Node, range: (u64, u64)) -> Option<u64> {
        let number = number?;
        let (min, max) = range;
        if number < min || number > max {
            self.error(node.span, format!("{number} is out of range"), format!("it has to be from {min} to {max}"));
        }
        Some(number)
    }

    /// The name that somebody gave to a source or endpoint. It becomes part of metrics, messages and file names.
    pub(super) fn name(&mut self, name: &str, node: &Node) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
        if name.is_empty() || name.len() > NAME_BYTES || name.starts_with('.') || !name.chars().all(fits) {
            self.error(
                node.span,
                format!("{name:?} is not a name"),
                format!("a name has letters, digits and . _ - : and is at most {NAME_BYTES} bytes long; it does not begin with a dot"),
            );
        }
    }

    /// A file that has to be there and readable, by an absolute path: a service's working directory is nowhere in particular.
    pub(super) fn file(&mut self, path: &str, node: &Node) -> PathBuf {
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            self.error(node.span, "this path is not absolute", "begin it with /");
        } else if let Err(error) = readable(&path) {
            self.error_here(
                node.span,
                format!("this file cannot be read: {}", plain(&error)),
                "create it, readable for the user that lugger runs as",
            );
        }
        path
    }

    fn limits(&mut self, limits: Option<&raw::Limits>, node: &Node) -> Limits {
        let memory = limits.and_then(|limits| limits.memory);
        let line = limits.and_then(|limits| limits.line);
        let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let memory_bytes =
            self.size(memory, node.child("memory"), MEMORY_BYTES_DEFAULT, (MEMORY_BYTES_MIN, MEMORY_BYTES_MAX));
        let range = (wide(LINE_BYTES_MIN), wide(LINE_BYTES_MAX));
        let line_bytes = self.size(line, node.child("line"), wide(LINE_BYTES_DEFAULT), range);
        if line_bytes > wide(LINE_BYTES_DEFAULT) && line_bytes <= range.1 {
            self.warn(
                node.child("line").span,
                format!("a default Loki refuses lines above {}", format_size(wide(LINE_BYTES_DEFAULT))),
                "raise `limits_config.max_line_size` in Loki too",
            );
        }
        let spool_bytes = match limits.and_then(|limits| limits.spool) {
            Some(raw::Size(0)) => 0,
            spool => {
                let range = (SPOOL_ENDPOINT_BYTES_MIN, SPOOL_BYTES_MAX);
                self.size(spool, node.child("spool"), SPOOL_BYTES_DEFAULT, range)
            }
        };
        let spool_age = limits.and_then(|limits| limits.spool_age);
        let range = (SPOOL_AGE_MS_MIN, SPOOL_AGE_MS_MAX);
        let spool_age = self.time(spool_age, node.child("spool_age"), SPOOL_AGE_MS_DEFAULT, range);
        let line_bytes = usize::try_from(line_bytes).unwrap_or(LINE_BYTES_DEFAULT);
        let label_caps = self.label_caps(limits, node);
        Limits { memory_bytes, line_bytes, spool_bytes, spool_age, label_caps }
    }

    fn label_caps(&mut self, limits: Option<&raw::Limits>, node: &Node) -> LabelCaps {
        let default = LabelCaps::default();
        let Some(limits) = limits else { return default };
        // What is out of range is reported here; labels are not to be blamed for it.
        let within = |number: Option<u64>, (min, max): (u64, u64), default: usize| {
            let number = number.filter(|number| (min..=max).contains(number));
            number.and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
        };
        let count = self.number(limits.labels, node.child("labels"), LABELS_RANGE);
        let count = within(count, LABELS_RANGE, default.count);
        let mut bytes = |size: Option<raw::Size>, key, range, default| {
            within(size.map(|_| self.size(size, node.child(key), 0, range)), range, default)
        };
        let name_bytes = bytes(limits.label_name, "label_name", LABEL_NAME_RANGE, default.name_bytes);
        let value_bytes = bytes(limits.label_value, "label_value", LABEL_VALUE_RANGE, default.value_bytes);
        for (key, set, most, option) in [
            ("labels", count, default.count, "max_label_names_per_series"),
            ("label_name", name_bytes, default.name_bytes, "max_label_name_length"),
            ("label_value", value_bytes, default.value_bytes, "max_label_value_length"),
        ] {
            if set > most {
                self.warn(
                    node.child(key).span,
                    format!("a default Loki takes no more than {most} here"),
                    format!("raise `limits_config.{option}` in Loki too"),
                );
            }
        }
        LabelCaps { count, name_bytes, value_bytes }
    }

    /// Each endpoint's part of the spool has to take its requests.
    fn spool_share(&mut self, bytes: u64, endpoints: usize, node: &Node) {
        let least = SPOOL_ENDPOINT_BYTES_MIN.saturating_mul(endpoints as u64);
        if bytes >= SPOOL_ENDPOINT_BYTES_MIN && bytes < least {
            self.error(
                node.span,
                format!("{} are too little for {endpoints} endpoints", format_size(bytes)),
                format!("it has to be at least {}, or 0 to switch the spool off", format_size(least)),
            );
        }
    }

    fn http(&mut self, http: Option<&raw::Http>, node: &Node) -> Option<SocketAddr> {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
        let Some(listen) = http.and_then(|http| http.listen.as_deref()) else { return Some(default) };
        if listen == "none" {
            return None;
        }
        let address = listen.parse();
        if address.is_err() {
            let port = listen.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(HTTP_PORT);
            let host = if listen.starts_with(':') { "0.0.0.0" } else { "127.0.0.1" };
            self.error(
                node.child("listen").span,
                "expected an IP address and a port, or none",
                format!("write it like {host}:{port} or [::1]:{port}"),
            );
        }
        Some(address.unwrap_or(default))
    }

    fn state_dir(&mut self, written: Option<&str>, root: &Node, env: &Lookup<'_>) -> PathBuf {
        let Some(written) = written else {
            // systemd gives a list if the unit has several; the first is the service's main one.
            let given = env("STATE_DIRECTORY").unwrap_or_default();
            let first = given.split(':').next().unwrap_or("");
            if first.is_empty() {
                return PathBuf::from(STATE_DIR);
            }
            if !Path::new(first).is_absolute() {
                let message = "the environment variable STATE_DIRECTORY is not an absolute path";
                self.findings.push(Finding::nowhere(message).help("correct it, or set `state_dir`"));
            }
            return PathBuf::from(first);
        };
        let span = root.child("state_dir").span;
        let path = PathBuf::from(written);
        if !path.is_absolute() {
            self.error(span, "this path is not absolute", format!("begin it with /, such as {STATE_DIR}"));
        } else if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_dir()) {
            self.error(span, "this is not a directory", "name a directory; it is created if it is not there");
        }
        path
    }

    /// Positions of another agent. A file that is not there is none: it may go once it was taken over.
    fn imports(&mut self, paths: Option<&raw::OneOrMany>, node: &Node) -> Vec<Positions> {
        let mut imports: Vec<Positions> = Vec::new();
        for (i, path) in paths.map_or(&[][..], |paths| &paths.0).iter().enumerate() {
            let span = node.item(i).span;
            if !Path::new(path).is_absolute() {
                self.error(
                    span,
                    "this path is not absolute",
                    "begin it with /, such as /var/lib/promtail/positions.yaml",
                );
                continue;
            }
            match positions::read(Path::new(path)) {
                Ok(found) => imports.extend(found),
                Err(error) => self.error_here(
                    span,
                    format!("these positions cannot be read: {error}"),
                    "make the file readable and whole, so that nothing is sent again; or remove it: then all files are read from their beginning",
                ),
            }
        }
        imports
    }

    /// Something to read, and somewhere to send it.
    fn completeness(&mut self, raw: &raw::File, root: &Node) {
        let empty = |key: &str, count: Option<usize>| {
            let damaged = root.entry(key).is_some_and(|entry| entry.value.is_damaged());
            count.unwrap_or(0) == 0 && !root.has_lost(key) && !damaged
        };
        let logs = empty("logs", raw.logs.as_ref().map(Vec::len));
        let loki = empty("loki", raw.loki.as_ref().map(Vec::len));
        let metrics = raw.metrics.is_none() && !root.has_lost("metrics");
        if logs && metrics {
            self.error(
                root.key_span("logs"),
                "there is nothing to do: `logs` is missing or empty",
                "say where logs come from, such as `logs: [{ file: { include: [/var/log/*.log] } }]`, or metrics, such as `metrics: { host: {} }`",
            );
        }
        let reads_logs = !logs || metrics;
        if loki && reads_logs && raw.loki.is_some() {
            // Written down as empty: one who prepares a configuration, as packages do.
            self.warn(
                root.key_span("loki"),
                "no logs are read, and none are sent: `loki` is an empty list",
                "say where logs go, such as `loki: [{ url: \"http://127.0.0.1:3100\" }]`",
            );
        } else if loki && reads_logs {
            self.error(
                root.key_span("loki"),
                "there is nowhere to send logs to: `loki` is missing or empty",
                "say where logs go, such as `loki: [{ url: \"http://127.0.0.1:3100\" }]`",
            );
        }
        let remote_write = empty("remote_write", raw.remote_write.as_ref().map(Vec::len));
        let scrapes = raw
            .metrics
            .as_ref()
            .is_some_and(|metrics| metrics.scrape.as_ref().is_some_and(|scrape| !scrape.is_empty()));
        if remote_write && scrapes {
            self.error(
                root.child("metrics").key_span("scrape"),
                "there is nowhere to send what is scraped to: `remote_write` is missing or empty",
                "say where metrics go, such as `remote_write: [{ url: \"http://127.0.0.1:9090/api/v1/write\" }]`",
            );
        }
        if metrics && !remote_write {
            self.error(
                root.key_span("remote_write"),
                "there is nothing to send to it: `metrics` is missing",
                "say what to measure, such as `metrics: { host: {} }`, or remove it",
            );
        }
        if logs && !loki && !metrics {
            self.warn(
                root.key_span("loki"),
                "nothing goes there: `logs` is missing or empty",
                "say where logs come from, or remove it",
            );
        }
    }
}

/// Whether a file can be opened and read. What is no plain file (a pipe, a device) is not touched: reading it could block, or use it up.
fn readable(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() {
        let mut byte = [0u8; 1];
        let _ = File::open(path)?.read(&mut byte)?;
    }
    Ok(())
}
