//! `syslog`, `push`, `gelf` and `stdin` of a `logs` entry: from what was written to how a source receives, and what becomes of its records.
//!
//! Promises: addresses are such that a socket can be asked for; no two sources want the same one. Leaves to others: what all entries of `logs` have
//! (`logs`), opening anything.

use super::check::Check;
use super::logs::{Caps, Entry};
use super::plan::Receiver;
use super::raw::{BasicAuth, ClientCert, Log, PushLog, ServerTls, Size, SyslogLog};
use super::tree::Node;
use crate::base::limits::{
    IDLE_TIMEOUT_MS_DEFAULT, IDLE_TIMEOUT_MS_RANGE, MESSAGE_BYTES_MIN, PUSH_BYTES_DEFAULT, PUSH_BYTES_RANGE,
    QUEUE_BYTES_DEFAULT, QUEUE_BYTES_RANGE, UNIX_PATH_BYTES,
};
use crate::base::units::format_size;
use crate::format::syslog::CONNECTION_HOSTNAME;
use crate::format::time::Zone;
use crate::model::labels::Labels;
use crate::pipeline::relabel;
use crate::source::file::encoding::Encoding;
use crate::source::file::settings::{self as file, Meaning, Records, StartAt};
use crate::source::receive::settings::{Address, From, Password, Push, Settings, Syslog, Tls};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Where GELF comes in, as Graylog has it.
const GELF_PORT: u16 = 12201;

/// An entry's source. `relabel`: its rules; `None`: they were reported.
pub(super) fn plan(
    log: &Log,
    kind: &str,
    entry: Entry<'_>,
    relabel: Option<Vec<relabel::Settings>>,
    caps: Caps,
    check: &mut Check<'_>,
) -> Option<Receiver> {
    let place = entry.node.child(kind);
    let key = entry.node.key_span(kind);
    let mut message_bytes = caps.line_bytes;
    let mut records = Records {
        meaning: Meaning::Text,
        labels: Labels::default(),
        outer_labels: Labels::default(),
        relabel: Vec::new(),
        use_incoming_timestamp: false,
        label_structured_data: false,
        use_rfc5424_message: false,
        zone: None,
        ahead_bytes: None,
    };
    let (from, queue) = match (&log.syslog, &log.push, &log.gelf, &log.stdin) {
        (Some(raw), ..) => {
            records.meaning = Meaning::Syslog;
            records.use_incoming_timestamp = raw.use_incoming_timestamp.unwrap_or(false);
            records.label_structured_data = raw.label_structured_data.unwrap_or(false);
            records.use_rfc5424_message = raw.use_rfc5424_message.unwrap_or(false);
            records.zone = zone(raw, place, check);
            if let Some(length) = raw.max_message_length {
                let most = caps.line_bytes as u64;
                let range = (MESSAGE_BYTES_MIN, most);
                let bytes = check.size(Some(length), place.child("max_message_length"), most, range);
                message_bytes = usize::try_from(bytes).unwrap_or(message_bytes);
            }
            (syslog(raw, entry.node, place, check).map(From::Syslog), raw.queue)
        }
        (_, Some(raw), ..) => {
            // Whoever pushes the same once more, having heard no answer, pushes it with the same times: Loki shows it once.
            records.use_incoming_timestamp = raw.use_incoming_timestamp.unwrap_or(true);
            (push(raw, entry.node, place, queue_bytes(raw.queue), check).map(From::Push), raw.queue)
        }
        (_, _, Some(raw), _) => {
            records.meaning = Meaning::Gelf;
            records.use_incoming_timestamp = raw.use_incoming_timestamp.unwrap_or(false);
            let default = SocketAddr::from((Ipv4Addr::UNSPECIFIED, GELF_PORT));
            let address = match &raw.listen {
                None => Some(default),
                Some(text) if text.starts_with("tcp://") || text.starts_with("tls://") => {
                    let help =
                        "write udp:// in its place; Docker's driver `gelf` and most libraries send so by themselves";
                    check.error(place.child("listen").span, "GELF is taken by UDP only", help);
                    None
                }
                Some(text) => {
                    socket_address(text.strip_prefix("udp://").unwrap_or(text), place, "udp://0.0.0.0:12201", check)
                }
            };
            (address.map(From::Gelf), raw.queue)
        }
        (.., Some(raw)) => (Some(From::Stdin), raw.queue),
        _ => return None,
    };
    let queue_bytes = check.size(queue, place.child("queue"), QUEUE_BYTES_DEFAULT, QUEUE_BYTES_RANGE);
    if message_bytes as u64 > queue_bytes {
        let (message, queue) = (format_size(message_bytes as u64), format_size(queue_bytes));
        check.error(
            place.child("queue").span,
            format!("a message may have {message}, and does not fit into a queue of {queue}"),
            format!(
                "make `queue` larger, or let messages be shorter (`limits.line`{})",
                match &log.syslog {
                    Some(_) => ", `max_message_length`",
                    None => "",
                }
            ),
        );
    }
    let Entry { name, node, own, outer, late_labels, rate, stages, to } = entry;
    let relabel = relabel?;
    if relabel.iter().any(|rule| rule.source_labels.iter().any(|label| label == CONNECTION_HOSTNAME)) {
        check.warn(
            node.key_span("relabel_configs"),
            format!("{CONNECTION_HOSTNAME} is never there: lugger asks no name server who sends"),
            "use __syslog_message_hostname or __syslog_connection_ip_address",
        );
    }
    if kind != "push"
        && own.is_empty()
        && outer.is_empty()
        && late_labels.is_empty()
        && relabel.is_empty()
        && stages.is_empty()
    {
        check.error(
            key,
            "these entries would have no labels, and Loki takes no stream without one",
            format!("add `labels`, such as `labels: {{ job: {kind} }}`"),
        );
    }
    let Caps { line_bytes, labels: label_caps } = caps;
    let labels = outer.iter().chain(&own).map(|(name, value)| (name.clone(), value.clone()));
    let all = Labels::within(labels, label_caps).unwrap_or_default();
    // What could make these fail has been reported, label by label.
    let records = Records {
        labels: Labels::within(own, label_caps).unwrap_or_default(),
        outer_labels: Labels::within(outer, label_caps).unwrap_or_default(),
        relabel,
        ..records
    };
    let from = from?;
    let settings = Settings { name: name.clone(), from, message_bytes, queue_bytes };
    let records = Records { ahead_bytes: settings.ahead_bytes(), ..records };
    let records = file::Settings {
        name,
        include: Vec::new(),
        exclude: Vec::new(),
        start_at: StartAt::Beginning,
        encoding: Encoding::default(),
        labels: all,
        late_labels,
        label_caps,
        line_bytes,
        rate,
        stages,
        owners: None,
        records: Some(records),
    };
    Some(Receiver { settings, records, to })
}

fn queue_bytes(queue: Option<Size>) -> u64 {
    queue.map_or(QUEUE_BYTES_DEFAULT, |Size(bytes)| bytes)
}

fn syslog(raw: &SyslogLog, node: &Node, place: &Node, check: &mut Check<'_>) -> Option<Syslog> {
    const EXAMPLES: &str = "write it like udp://0.0.0.0:1514, tcp://0.0.0.0:1514, tls://0.0.0.0:6514, unix:///run/lugger/log or unixgram:///run/lugger/log";
    let listen = place.child("listen");
    let Some(text) = &raw.listen else {
        if !place.has_lost("listen") && !place.is_damaged() {
            check.error(node.key_span("syslog"), "`syslog` has no `listen`", EXAMPLES);
        }
        return None;
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        check.error(listen.span, format!("{:?} does not say how it listens", shown(text)), EXAMPLES);
        return None;
    };
    let address = match scheme {
        "udp" => Address::Udp(socket_address(rest, place, "udp://0.0.0.0:1514", check)?),
        "tcp" | "tls" => Address::Tcp(socket_address(rest, place, "tcp://0.0.0.0:1514", check)?),
        "unix" => Address::UnixStream(socket_path(rest, listen, check)?),
        "unixgram" => Address::UnixDatagram(socket_path(rest, listen, check)?),
        _ => {
            check.error(listen.span, format!("{:?} is no way to listen", shown(scheme)), EXAMPLES);
            return None;
        }
    };
    let tls = match (&raw.tls_config, scheme) {
        (Some(tls), "tls") => Some(server_tls(tls, place, check)?),
        (Some(_), _) => {
            let help = "write tls:// in `listen`, or remove `tls_config`";
            check.error(place.key_span("tls_config"), format!("there is no TLS over {scheme}"), help);
            None
        }
        (None, "tls") => {
            let help = "add `tls_config: { cert_file: …, key_file: … }`";
            check.error(listen.span, "TLS needs a certificate and its key", help);
            None
        }
        (None, _) => None,
    };
    let is_stream = matches!(address, Address::Tcp(_) | Address::UnixStream(_));
    let idle_timeout =
        check.time(raw.idle_timeout, place.child("idle_timeout"), IDLE_TIMEOUT_MS_DEFAULT, IDLE_TIMEOUT_MS_RANGE);
    if raw.idle_timeout.is_some() && !is_stream {
        let help = "remove it";
        check.warn(place.key_span("idle_timeout"), "`idle_timeout` has no effect: there are no connections", help);
    }
    Some(Syslog { address, tls, idle_timeout })
}

fn zone(raw: &SyslogLog, place: &Node, check: &mut Check<'_>) -> Option<Zone> {
    let name = raw.location.as_deref()?;
    let zone = Zone::named(name);
    if let Err(error) = &zone {
        let help = "write a name such as Europe/Berlin, Local or UTC; Debian has them in the package tzdata";
        check.error(place.child("location").span, format!("{name:?} is no time zone of this host: {error}"), help);
    }
    zone.ok().flatten()
}

fn push(raw: &PushLog, node: &Node, place: &Node, queue_bytes: u64, check: &mut Check<'_>) -> Option<Push> {
    let Some(text) = &raw.listen else {
        if !place.has_lost("listen") && !place.is_damaged() {
            let help = "write an IP address and a port, such as `push: { listen: 127.0.0.1:3500 }`";
            check.error(node.key_span("push"), "`push` has no `listen`", help);
        }
        return None;
    };
    let address = socket_address(text, place, "127.0.0.1:3500", check);
    let tls = raw.tls_config.as_ref().map(|tls| server_tls(tls, place, check));
    let basic_auth = raw.basic_auth.as_ref().map(|basic| basic_auth(basic, place, check));
    let default = PUSH_BYTES_DEFAULT.min(queue_bytes);
    let body = check.size(raw.max_send_msg_size, place.child("max_send_msg_size"), default, PUSH_BYTES_RANGE);
    if body > queue_bytes {
        let (largest, queue) = (format_size(body), format_size(queue_bytes));
        check.error(
            place.child("max_send_msg_size").span,
            format!("a push of {largest} does not fit into a queue of {queue}, so that it could never be taken"),
            format!("make `queue` at least {largest}, better twice as large, or `max_send_msg_size` smaller"),
        );
    }
    let tls = match tls {
        Some(tls) => Some(tls?),
        None => None,
    };
    let basic_auth = match basic_auth {
        Some(basic) => Some(basic?),
        None => None,
    };
    Some(Push { address: address?, tls, basic_auth, body_bytes: usize::try_from(body).unwrap_or(usize::MAX) })
}

fn basic_auth(basic: &BasicAuth, parent: &Node, check: &mut Check<'_>) -> Option<(String, Password)> {
    let place = parent.child("basic_auth");
    let password = match (&basic.password, &basic.password_file) {
        (Some(password), None) => Some(Password::Inline(password.0.clone())),
        (None, Some(path)) => Some(Password::File(check.file(path, place.child("password_file")))),
        (Some(_), Some(_)) => {
            let span = place.key_span("password_file");
            check.error(span, "password and password_file cannot be used together", "keep one of them");
            None
        }
        (None, None) => None,
    };
    let user = basic.username.clone().filter(|user| !user.is_empty() && !user.contains(':'));
    if (user.is_none() || (basic.password.is_none() && basic.password_file.is_none())) && !place.is_damaged() {
        let help = "write `basic_auth: { username: …, password_file: … }`; a user name has no colon";
        check.error(parent.key_span("basic_auth"), "basic_auth needs a user name and a password", help);
    }
    user.zip(password)
}

fn server_tls(raw: &ServerTls, parent: &Node, check: &mut Check<'_>) -> Option<Tls> {
    let place = parent.child("tls_config");
    let mut file = |path: &Option<String>, key| path.as_ref().map(|path| check.file(path, place.child(key)));
    let (cert, key) = (file(&raw.cert_file, "cert_file"), file(&raw.key_file, "key_file"));
    let client_ca_file = file(&raw.client_ca_file, "client_ca_file");
    if (cert.is_none() || key.is_none()) && !place.is_damaged() {
        let help = "add the server's certificate and its key: `cert_file` and `key_file`";
        check.error(parent.key_span("tls_config"), "TLS needs a certificate and its key", help);
    }
    if raw.client_cert.is_some() && client_ca_file.is_none() {
        let help = "add `client_ca_file`: the authority of the clients' certificates";
        check.error(place.key_span("client_cert"), "nobody says which certificates of clients are good", help);
    }
    let client_optional = raw.client_cert == Some(ClientCert::Optional);
    Some(Tls { cert_file: cert?, key_file: key?, client_ca_file, client_optional })
}

/// A text that may be shown: without what could be a name and a password in front of an address.
fn shown(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, address)| address)
}

/// An IP address and a port; `localhost` is 127.0.0.1, and no address is any.
fn socket_address(text: &str, place: &Node, example: &str, check: &mut Check<'_>) -> Option<SocketAddr> {
    let parsed = text.parse().ok().or_else(|| {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        match host {
            "localhost" => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            "" => Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
            _ => None,
        }
    });
    let Some(address) = parsed else {
        let help = format!("write it like {example}");
        check.error(place.child("listen").span, format!("{:?} is no IP address and port", shown(text)), help);
        return None;
    };
    if (1..1024).contains(&address.port()) && !may_bind_low_ports() {
        check.warn(
            place.child("listen").span,
            format!("the port {} is for privileged processes, and this one is not", address.port()),
            "choose a port above 1023, or give lugger the capability CAP_NET_BIND_SERVICE",
        );
    }
    Some(address)
}

/// Whether the process may listen on ports below 1024: the host may let everybody.
fn may_bind_low_ports() -> bool {
    const CAP_NET_BIND_SERVICE: u32 = 10;
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let is_open = first.is_ok_and(|first| first.trim() == "0");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    is_open || capabilities.is_none_or(|all| all >> CAP_NET_BIND_SERVICE & 1 == 1)
}

fn socket_path(text: &str, listen: &Node, check: &mut Check<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    if !path.is_absolute() || text.ends_with('/') || text.len() > UNIX_PATH_BYTES {
        check.error(
            listen.span,
            format!("{:?} is no path of a socket", shown(text)),
            format!("write an absolute path of at most {UNIX_PATH_BYTES} bytes, such as unix:///run/lugger/log"),
        );
        return None;
    }
    if path.parent().is_some_and(|parent| !parent.is_dir()) {
        let help = "create it, writable for the user that lugger runs as (systemd: RuntimeDirectory=lugger)";
        check.warn(listen.span, "the directory of this socket is not there", help);
    }
    Some(path)
}

/// No address can be had twice, nor can that of the status page. Each receiver comes with its place in `list`.
pub(super) fn check_addresses(
    receivers: &[Receiver],
    places: &[usize],
    http: Option<SocketAddr>,
    list: &Node,
    check: &mut Check<'_>,
) {
    for (at, (receiver, place)) in receivers.iter().zip(places).enumerate() {
        let own = &receiver.settings;
        let address = own.address();
        let is_same = |other: &&Receiver| match (&address, other.settings.address()) {
            (Some(address), Some(other)) => address.clashes(&other),
            (None, None) => true,
            _ => false,
        };
        let span = list.item(*place).span;
        if let Some(first) = receivers.iter().take(at).find(is_same) {
            let (name, first) = (&own.name, &first.settings.name);
            let what = address.as_ref().map_or("stdin".to_owned(), |address| address.to_string());
            let help = "give each source an address of its own";
            check.error(span, format!("the sources {first:?} and {name:?} both want {what}"), help);
        }
        if let (Some(Address::Tcp(own_at)), Some(http)) = (&address, http)
            && overlap(*own_at, http)
        {
            let message = format!("the source {:?} wants {own_at}, and the status page listens on {http}", own.name);
            check.error(span, message, "give one of them another port; the status page's address is `http.listen`");
        }
    }
}

/// Whether one host cannot listen on both: the ports are the same, and so are the addresses, or one of them is any.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    // [::] takes IPv4 as well.
    let takes = |any: SocketAddr, of: SocketAddr| any.ip().is_unspecified() && (any.is_ipv6() || of.is_ipv4());
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || takes(one, other) || takes(other, one))
}
