//! `syslog`, `loki_push_api` and `gelf` of a job, as sources in lugger's own form.
//!
//! Promises: what Promtail does by default is written out where lugger's default is another one, or the difference is told. Leaves to others: the job
//! around them (`jobs`).

use super::keys::{self, survey};
use super::native::{entry, map, text, word};
use super::read;
use super::targets::plain;
use crate::base::limits::{MESSAGE_BYTES_MIN, PUSH_BYTES_DEFAULT, PUSH_BYTES_RANGE, PUSH_RECORDS, QUEUE_BYTES_DEFAULT};
use crate::base::units::{format_duration, format_size};
use crate::config::check::Check;
use crate::config::tree::{Entry, Node};

/// Kinds of sources that receive: Promtail's key, lugger's, and what Promtail's may have. In the order in which Promtail looks for them.
pub(super) const KINDS: [(&str, &str, &keys::Keys); 3] =
    [("syslog", "syslog", keys::SYSLOG), ("loki_push_api", "push", keys::PUSH), ("gelf", "gelf", keys::GELF)];

/// The largest push that Promtail takes if nothing is said, bytes.
const PROMTAIL_PUSH_BYTES: u64 = 100 * 1024 * 1024;

/// Where Promtail listens for GELF if nothing is said.
const GELF_ADDRESS: &str = "0.0.0.0:12201";

/// The source of a job, in lugger's form; lines are cut at `line_bytes`. `None`: it was reported.
pub(super) fn source(kind: &str, node: &Node, line_bytes: u64, check: &mut Check<'_>) -> Option<Vec<Entry>> {
    match kind {
        "syslog" => syslog(node, line_bytes, check),
        "push" => push(node, check),
        _ => Some(gelf(node, check)),
    }
}

fn syslog(node: &Node, line_bytes: u64, check: &mut Check<'_>) -> Option<Vec<Entry>> {
    let Some(address) = read::text_at(node, "listen_address", check) else {
        check.error(node.span, "`syslog` has no `listen_address`", "write an address and a port, such as 0.0.0.0:1514");
        return None;
    };
    let tls = node.entry("tls_config").filter(|found| survey(&found.value, keys::SYSLOG_TLS, check));
    let tls = tls.map(|found| (found, tls_of(&found.value, "ca_file", check))).filter(|(_, tls)| !tls.is_empty());
    let protocol = read::text_at(node, "listen_protocol", check).unwrap_or("tcp");
    let scheme = match (protocol, &tls) {
        ("udp", _) => "udp",
        ("tcp" | "", None) => "tcp",
        ("tcp" | "", Some(_)) => "tls",
        _ => {
            let help = "write tcp or udp";
            check.error(node.child("listen_protocol").span, format!("{protocol:?} is no protocol of syslog"), help);
            return None;
        }
    };
    let place = node.child("listen_address").span;
    let mut out = vec![entry("listen", node.key_span("listen_address"), text(place, format!("{scheme}://{address}")))];
    if let Some((found, tls)) = tls.filter(|_| scheme == "tls") {
        out.push(entry("tls_config", found.key_span, map(found.value.span, tls)));
    }
    // Over UDP there is nothing to be idle.
    if let Some(time) = read::duration(node, "idle_timeout", check).filter(|time| scheme != "udp" && !time.is_zero()) {
        let key = node.key_span("idle_timeout");
        out.push(entry("idle_timeout", key, text(node.child("idle_timeout").span, format_duration(time))));
    }
    if let Some(bytes) = read::number(node, "max_message_length", check).filter(|bytes| *bytes > 0) {
        let key = node.key_span("max_message_length");
        let fit = bytes.clamp(MESSAGE_BYTES_MIN, line_bytes);
        if fit != bytes {
            check.note(key, format!("longer messages than {} are cut there, and marked", format_size(fit)));
        }
        out.push(entry("max_message_length", key, text(node.child("max_message_length").span, format_size(fit))));
    }
    flags(node, &["label_structured_data", "use_incoming_timestamp", "use_rfc5424_message"], &mut out, check);
    Some(out)
}

fn push(node: &Node, check: &mut Check<'_>) -> Option<Vec<Entry>> {
    let server = node.entry("server").map(|found| &found.value);
    let Some(server) = server.filter(|server| survey(server, keys::PUSH_SERVER, check)) else {
        check.error(node.span, "`loki_push_api` has no `server`", "write `server: { http_listen_port: 3500 }`");
        return None;
    };
    let Some(port) = read::number(server, "http_listen_port", check).filter(|port| *port > 0) else {
        let help = "write `http_listen_port`; without it Promtail takes port 80";
        check.error(node.key_span("server"), "the server of `loki_push_api` has no port", help);
        return None;
    };
    let host = read::text_at(server, "http_listen_address", check).filter(|host| !host.is_empty());
    let host = host
        .map_or("0.0.0.0".to_owned(), |host| if host.contains(':') { format!("[{host}]") } else { host.to_owned() });
    let place = server.child("http_listen_port").span;
    let mut out = vec![entry("listen", node.key_span("server"), text(place, format!("{host}:{port}")))];
    if let Some(found) = server.entry("http_tls_config").filter(|found| survey(&found.value, keys::SERVER_TLS, check)) {
        let mut tls = tls_of(&found.value, "client_ca_file", check);
        match read::text_at(&found.value, "client_auth_type", check).unwrap_or("") {
            "" | "NoClientCert" | "RequireAndVerifyClientCert" => {}
            "VerifyClientCertIfGiven" => {
                let span = found.value.child("client_auth_type").span;
                tls.push(entry("client_cert", found.value.key_span("client_auth_type"), text(span, "optional")));
            }
            other => {
                let help = "use RequireAndVerifyClientCert, VerifyClientCertIfGiven or NoClientCert";
                let span = found.value.child("client_auth_type").span;
                check.error(span, format!("{other:?} is not supported: it takes certificates of anybody"), help);
            }
        }
        if !tls.is_empty() {
            out.push(entry("tls_config", found.key_span, map(found.value.span, tls)));
        }
    }
    match read::size(node, "max_send_msg_size", check).filter(|bytes| *bytes > 0) {
        Some(bytes) => {
            let (key, place) = (node.key_span("max_send_msg_size"), node.child("max_send_msg_size").span);
            let (least, most) = PUSH_BYTES_RANGE;
            let fit = bytes.clamp(least, most);
            if fit < bytes {
                check.note(key, format!("larger pushes than {} are refused with 413", format_size(fit)));
            }
            out.push(entry("max_send_msg_size", key, text(place, format_size(fit))));
            // As records it may be as large again.
            let queue = fit.saturating_mul(PUSH_RECORDS as u64);
            if queue > QUEUE_BYTES_DEFAULT {
                out.push(entry("queue", key, text(place, format_size(queue))));
            }
        }
        None => {
            let (own, its) = (format_size(PUSH_BYTES_DEFAULT), format_size(PROMTAIL_PUSH_BYTES));
            let text = format!(
                "larger pushes than {own} are refused with 413, where Promtail takes {its}; `max_send_msg_size` says another bound"
            );
            check.note(node.key_span("server"), text);
        }
    }
    // In lugger's own form pushed entries keep their times unless it is said otherwise.
    let keeps = read::flag(node, "use_incoming_timestamp", check).unwrap_or(false);
    out.push(entry("use_incoming_timestamp", node.key_span("use_incoming_timestamp"), word(node.span, keeps)));
    Some(out)
}

fn gelf(node: &Node, check: &mut Check<'_>) -> Vec<Entry> {
    let address = read::text_at(node, "listen_address", check).filter(|address| !address.is_empty());
    let address = address.unwrap_or(GELF_ADDRESS);
    let place = node.child("listen_address").span;
    let mut out = vec![entry("listen", node.key_span("listen_address"), text(place, format!("udp://{address}")))];
    flags(node, &["use_incoming_timestamp"], &mut out, check);
    out
}

/// Truth values that are true; false is the default.
fn flags(node: &Node, names: &[&'static str], out: &mut Vec<Entry>, check: &mut Check<'_>) {
    for name in names {
        if read::flag(node, name, check) == Some(true) {
            out.push(entry(*name, node.key_span(name), word(node.child(name).span, true)));
        }
    }
}

/// Certificate, key, and the authority of clients, which is named `ca`.
fn tls_of(node: &Node, ca: &str, check: &mut Check<'_>) -> Vec<Entry> {
    let names = [("cert_file", "cert_file"), ("key_file", "key_file"), (ca, "client_ca_file")];
    let of = |(written, native): (&str, &str)| {
        read::text_at(node, written, check).filter(|path| !path.is_empty())?;
        let found = node.child(written);
        Some(entry(native, node.key_span(written), text(found.span, plain(found))))
    };
    names.into_iter().filter_map(of).collect()
}
