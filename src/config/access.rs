//! How an endpoint of any kind is reached: URLs, headers, who we are, TLS; from what was written to settings.
//!
//! Promises: no text of a URL, header, user, password or token gets into a message. Leaves to others: reading the files that secrets are in, and
//! connecting.

use super::check::Check;
use super::raw::{Authorization, BasicAuth, Hidden, TlsConfig};
use super::tree::Node;
use crate::base::secret::Secret;
use crate::sink::settings::{Auth, Credential, Tls};
// The parser that the HTTP client itself uses, so that both understand a URL in the same way.
use reqwest::Url;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// What entries of all kinds of endpoints have in common, as it was written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Access<'a> {
    pub(super) headers: Option<&'a BTreeMap<String, Hidden>>,
    pub(super) basic_auth: Option<&'a BasicAuth>,
    pub(super) bearer_token: Option<&'a Hidden>,
    pub(super) bearer_token_file: Option<&'a str>,
    pub(super) authorization: Option<&'a Authorization>,
    pub(super) tls_config: Option<&'a TlsConfig>,
    pub(super) proxy_url: Option<&'a str>,
}

impl Access<'_> {
    fn has_auth(&self) -> bool {
        self.basic_auth.is_some()
            || self.bearer_token.is_some()
            || self.bearer_token_file.is_some()
            || self.authorization.is_some()
    }
}

/// The URL that requests go to; `None`: reported. `example` is a good one.
pub(super) fn target(text: Option<&str>, node: &Node, example: &str, check: &mut Check<'_>) -> Option<Url> {
    let Some(text) = text else {
        if !node.has_lost("url") {
            check.error(node.span, "the endpoint has no `url`", format!("add one, such as `url: {example}`"));
        }
        return None;
    };
    let place = node.child("url");
    let url = http_url(text, place, example, check)?;
    if !url.username().is_empty() || url.password().is_some() {
        check.error(
            place.span,
            "user and password do not belong into the URL, where they would be shown",
            "write `basic_auth: { username: …, password_file: … }`",
        );
        return None;
    }
    Some(url)
}

/// `http` or `https` with a host and nothing that does not belong into a setting; `None`: reported.
fn http_url(text: &str, node: &Node, example: &str, check: &mut Check<'_>) -> Option<Url> {
    let help = format!("write it like {example}");
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            check.error(node.span, format!("this is not a URL: {error}"), help);
            return None;
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        check.error(node.span, "the URL has to begin with http:// or https://", help);
        return None;
    }
    if url.fragment().is_some() {
        check.error(node.span, "the URL has a fragment (#), which is never sent", "remove it");
        return None;
    }
    Some(url)
}

/// The proxy on the way.
pub(super) fn proxy(raw: &Access<'_>, node: &Node, check: &mut Check<'_>) -> Option<String> {
    let text = raw.proxy_url?;
    let place = node.child("proxy_url");
    let url = http_url(text, place, "http://proxy.example.org:3128", check)?;
    if !url.username().is_empty() || url.password().is_some() {
        check.error(place.span, "proxies with a password are not supported", "remove user and password from the URL");
        return None;
    }
    Some(url.into())
}

/// Who we are.
pub(super) fn auth(raw: &Access<'_>, node: &Node, check: &mut Check<'_>) -> Auth {
    let used: Vec<&str> = [
        ("basic_auth", raw.basic_auth.is_some()),
        ("bearer_token", raw.bearer_token.is_some()),
        ("bearer_token_file", raw.bearer_token_file.is_some()),
        ("authorization", raw.authorization.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, used)| used.then_some(key))
    .collect();
    if let [first, .., last] = used.as_slice() {
        check.error(
            node.key_span(last),
            format!("{first} and {last} cannot be used together"),
            "an endpoint has one way to show who you are: keep one of them",
        );
    }
    let mut result = Auth::None;
    if let Some(token) = raw.bearer_token {
        check_header_value(&token.0, node.child("bearer_token"), "token", check);
        if token.0.expose().is_empty() {
            check.error(node.key_span("bearer_token"), "the token is empty", "give one, or remove the key");
        }
        result = Auth::Bearer(Credential::Inline(token.0.clone()));
    }
    if let Some(path) = raw.bearer_token_file {
        result = Auth::Bearer(Credential::File(check.file(path, node.child("bearer_token_file"))));
    }
    if let Some(authorization) = raw.authorization {
        result = own_scheme(authorization, node, check);
    }
    if let Some(basic) = raw.basic_auth {
        let place = node.child("basic_auth");
        let username = basic.username.clone().unwrap_or_default();
        if basic.username.is_none() && !place.has_lost("username") {
            check.error(node.key_span("basic_auth"), "basic_auth has no `username`", "add it");
        } else if username.contains(':') || username.chars().any(char::is_control) {
            check.error(
                place.child("username").span,
                "a user name cannot contain colons and control characters",
                "basic authentication has no way to send them",
            );
        }
        let password = match (&basic.password, &basic.password_file) {
            (Some(_), Some(_)) => {
                check.error(
                    place.key_span("password_file"),
                    "password and password_file cannot be used together",
                    "keep one of them",
                );
                None
            }
            (Some(password), None) => {
                if password.0.expose().chars().any(char::is_control) {
                    check.error(
                        place.child("password").span,
                        "the password contains control characters",
                        "is there a line break at its end? In a file of its own it would not count",
                    );
                }
                Some(Credential::Inline(password.0.clone()))
            }
            (None, Some(path)) => Some(Credential::File(check.file(path, place.child("password_file")))),
            (None, None) => {
                if !place.has_lost("password") && !place.has_lost("password_file") {
                    check.error(
                        node.key_span("basic_auth"),
                        "basic_auth has no password",
                        "add `password_file` (or `password`)",
                    );
                }
                None
            }
        };
        if let Some(password) = password {
            result = Auth::Basic { username, password };
        }
    }
    result
}

/// `authorization`.
fn own_scheme(raw: &Authorization, node: &Node, check: &mut Check<'_>) -> Auth {
    let place = node.child("authorization");
    let scheme = raw.kind.as_deref().unwrap_or("Bearer").trim();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if scheme.eq_ignore_ascii_case("basic") {
        check.error(
            place.child("type").span,
            "this kind of authorization has a key of its own",
            "write `basic_auth: { username: …, password_file: … }`",
        );
    } else if scheme.is_empty() || !scheme.bytes().all(fits) {
        check.error(place.child("type").span, "this is not a kind of authorization", "such as Bearer, the default");
    }
    let credentials = match (&raw.credentials, &raw.credentials_file) {
        (Some(_), Some(_)) => {
            check.error(
                place.key_span("credentials_file"),
                "credentials and credentials_file cannot be used together",
                "keep one of them",
            );
            return Auth::None;
        }
        (Some(credentials), None) => {
            check_header_value(&credentials.0, place.child("credentials"), "credential", check);
            Credential::Inline(credentials.0.clone())
        }
        (None, Some(path)) => Credential::File(check.file(path, place.child("credentials_file"))),
        (None, None) => {
            if !place.has_lost("credentials") && !place.has_lost("credentials_file") {
                check.error(
                    node.key_span("authorization"),
                    "authorization has no credentials",
                    "add `credentials_file` (or `credentials`)",
                );
            }
            return Auth::None;
        }
    };
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Auth::Bearer(credentials),
        false => Auth::Other { scheme: scheme.to_owned(), credentials },
    }
}

/// What may follow a header's name: printable ASCII. The message does not show it.
fn check_header_value(value: &Secret, node: &Node, what: &str, check: &mut Check<'_>) {
    if !value.expose().bytes().all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic()) {
        check.error(
            node.span,
            format!("the {what} contains characters that cannot be sent"),
            "it may have ASCII letters, digits, signs and blanks, and no line break",
        );
    }
}

/// Further headers. `own`: those in lower case that the agent or its HTTP client sets, with what to do instead.
pub(super) fn headers(
    raw: &Access<'_>,
    own: &[(&str, &str)],
    node: &Node,
    check: &mut Check<'_>,
) -> Vec<(String, Secret)> {
    let place = node.child("headers");
    let mut seen: HashSet<String> = HashSet::new();
    let mut headers = Vec::new();
    // In the order of the file, so that of two equal names the second is the one reported.
    for entry in place.entries() {
        let Some(value) = raw.headers.and_then(|headers| headers.get(&entry.key)) else { continue };
        let (name, lower) = (&entry.key, entry.key.to_ascii_lowercase());
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(fits) {
            check.error(entry.key_span, "this is not the name of a header", "a name has ASCII letters, digits and -");
        } else if let Some((_, help)) = own.iter().find(|(own, _)| *own == lower) {
            check.error(entry.key_span, format!("the header {name} cannot be set here"), *help);
        } else if lower == "authorization" && raw.has_auth() {
            check.error(
                entry.key_span,
                "the header Authorization cannot be used together with basic_auth or a bearer token",
                "keep one of them",
            );
        } else if !seen.insert(lower) {
            check.error(
                entry.key_span,
                format!("the header {name} is here for the second time"),
                "upper and lower case are the same: keep one",
            );
        }
        check_header_value(&value.0, &entry.value, "value", check);
        headers.push((name.clone(), value.0.clone()));
    }
    headers
}

/// TLS towards `url`.
pub(super) fn tls(raw: &Access<'_>, node: &Node, url: Option<&Url>, check: &mut Check<'_>) -> Tls {
    let Some(tls) = raw.tls_config else { return Tls::default() };
    let place = node.child("tls_config");
    if url.is_some_and(|url| url.scheme() == "http") {
        check.error(
            node.key_span("tls_config"),
            "tls_config has no effect on an http:// URL",
            "write https:// in `url`, or remove tls_config",
        );
    }
    for (key, there, other, other_there) in [
        ("cert_file", tls.cert_file.is_some(), "key_file", tls.key_file.is_some()),
        ("key_file", tls.key_file.is_some(), "cert_file", tls.cert_file.is_some()),
    ] {
        if there && !other_there && !place.has_lost(other) {
            let help = "a client certificate needs both: the chain (cert_file) and its key (key_file)";
            check.error(place.key_span(key), format!("{key} without {other}"), help);
        }
    }
    if let Some(name) = &tls.server_name {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.parse::<IpAddr>().is_err() && (name.is_empty() || !name.chars().all(fits)) {
            check.error(
                place.child("server_name").span,
                "this is not a host name",
                "write the name in the endpoint's certificate, such as loki.example.org",
            );
        }
    }
    let insecure_skip_verify = tls.insecure_skip_verify == Some(true);
    if insecure_skip_verify {
        check.warn(
            place.key_span("insecure_skip_verify"),
            "the endpoint's certificate is not checked: anybody between here and there can read and change what is sent",
            "name the authority that signed it in ca_file instead",
        );
    }
    let mut file = |path: &Option<String>, key: &str| -> Option<PathBuf> {
        path.as_ref().map(|path| check.file(path, place.child(key)))
    };
    Tls {
        ca_file: file(&tls.ca_file, "ca_file"),
        cert_file: file(&tls.cert_file, "cert_file"),
        key_file: file(&tls.key_file, "key_file"),
        server_name: tls.server_name.clone(),
        insecure_skip_verify,
    }
}

/// A password over plain HTTP is fine on the host itself, and nowhere else.
pub(super) fn warn_of_open_secrets(url: &Url, node: &Node, auth: &Auth, check: &mut Check<'_>) {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let what = match auth {
        Auth::None => return,
        Auth::Basic { .. } => "password",
        Auth::Bearer(_) | Auth::Other { .. } => "token",
    };
    if url.scheme() == "http" && !local {
        check.warn(
            node.child("url").span,
            format!("the {what} is sent in the clear over http://"),
            "use https:// if the endpoint offers it",
        );
    }
}
