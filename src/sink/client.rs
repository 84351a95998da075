//! One endpoint's HTTP client: who it says it is, where it connects to, and what it reads of an answer.
//!
//! Promises: HTTP/1.1 with keep-alive, one timeout from connect to the last byte, no redirects, no proxy but the configured one,
//! no compression beside the body's own; secrets are never part of an error or of the text of an answer. Leaves to others: what an
//! answer means, retrying.

use super::settings::{Auth, Connection, Credential, Endpoint};
use super::tls::{self, TlsError};
use crate::base::base64;
use crate::base::limits::{CONNECTION_IDLE_MS, ERROR_BODY_BYTES, ERROR_TEXT_BYTES};
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Method, Proxy, Request, Url};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why an endpoint cannot be set up; the text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL.
    #[error("{0:?} is not a URL of the form http://host:port/path or https://…")]
    Url(String),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS options where there is no TLS.
    #[error("tls_config is set, but neither url nor proxy is https://")]
    TlsUnused,
    /// A header.
    #[error("header {0:?} has a name or value that cannot be sent")]
    Header(String),
    /// Credentials.
    #[error("cannot read the credentials file {path}: {error}")]
    Credentials {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Credentials that do not fit into a header.
    #[error("the user name, password or token has characters that cannot be sent")]
    Authorization,
    /// The proxy.
    #[error("the proxy is not a URL of the form http://host:port or https://host:port")]
    Proxy,
    /// The name override.
    #[error("tls_config.server_name {0:?} is not a host name")]
    ServerName(String),
    /// The name override with a proxy.
    #[error(
        "tls_config.server_name does not work through a proxy, which connects by the name in url: remove one of them"
    )]
    ServerNameWithProxy,
    /// The HTTP client refused its configuration.
    #[error("the HTTP client cannot be set up: {0}")]
    Build(String),
}

/// An endpoint's answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The header of this name.
    pub retry_after: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// The first [`ERROR_BODY_BYTES`], without secrets.
    pub body: String,
}

impl Answer {
    /// A header, as far as it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An attempt without an answer.
#[derive(Debug)]
pub struct SendError {
    /// `timeout`, `connect` or `transport`; bounded, for metrics.
    pub kind: &'static str,
    /// What happened, without secrets.
    pub text: String,
}

/// One endpoint's client. Not `Debug`: it holds secrets in the clear.
pub struct Client {
    http: reqwest::Client,
    url: Url,
    shown_url: String,
    headers: HeaderMap,
    auth: Auth,
    secrets: Vec<String>,
    /// Whether such a status says all, so that a body that breaks off does not matter.
    is_stored: fn(u16) -> bool,
}

impl Client {
    /// Sets up the client of a Loki; reads the TLS and credential files.
    pub fn new(settings: &Endpoint) -> Result<Self, ClientError> {
        let mut client = Self::connecting(&settings.connection(), |status| matches!(status, 200 | 204))?;
        client.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if let Some(tenant) = &settings.tenant_id {
            insert(&mut client.headers, TENANT, tenant, false)?;
        }
        // What a person wrote has precedence.
        for (name, value) in &settings.headers {
            insert(&mut client.headers, name, value.expose(), true)?;
        }
        Ok(client)
    }

    /// Sets up a client; reads the TLS and credential files. `is_stored`: whether an answer of this status says that all is stored.
    pub fn connecting(settings: &Connection<'_>, is_stored: fn(u16) -> bool) -> Result<Self, ClientError> {
        let mut url = Url::parse(settings.url).map_err(|_| ClientError::Url(settings.url.to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(ClientError::Url(settings.url.to_owned()));
        }
        let shown_url = shown(&url);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lugger/", env!("CARGO_PKG_VERSION"))));
        let mut secrets = Vec::new();
        for (name, value) in settings.headers {
            insert(&mut headers, name, value.expose(), true)?;
            secrets.push(value.expose().to_owned());
        }

        let proxy_tls = settings.proxy.is_some_and(|proxy| proxy.starts_with("https:"));
        let with_tls = url.scheme() == "https" || proxy_tls;
        let tls = settings.tls;
        let asked = tls.ca_file.is_some() || tls.cert_file.is_some() || tls.key_file.is_some();
        if !with_tls && (asked || tls.server_name.is_some() || tls.insecure_skip_verify) {
            return Err(ClientError::TlsUnused);
        }
        let config = if with_tls { tls::client_config(tls)? } else { tls::unused_config()? };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_millis(CONNECTION_IDLE_MS))
            .timeout(settings.timeout);
        if let Some(proxy) = settings.proxy {
            secrets.extend(Url::parse(proxy).ok().and_then(|url| url.password().map(str::to_owned)));
            builder = builder.proxy(Proxy::all(proxy).map_err(|_| ClientError::Proxy)?);
        }
        if let Some(name) = &tls.server_name {
            if settings.proxy.is_some() {
                return Err(ClientError::ServerNameWithProxy);
            }
            // The connection goes to the host of `url`, but under the other name: the certificate is checked against it, and it is
            // sent as SNI. The request itself still names the host of `url`.
            let host = authority(&url);
            headers.insert(HOST, HeaderValue::from_str(&host).map_err(|_| ClientError::Url(settings.url.to_owned()))?);
            let target = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let is_address = name.parse::<std::net::IpAddr>().is_ok();
            if is_address || url.set_host(Some(name)).is_err() {
                return Err(ClientError::ServerName(name.clone()));
            }
            builder = builder.dns_resolver(Arc::new(FixedTarget(target)));
        }
        let http = builder.build().map_err(|error| ClientError::Build(chain(&error.without_url())))?;
        let mut client = Client { http, url, shown_url, headers, auth: settings.auth.clone(), secrets, is_stored };
        client.reload_credentials()?;
        Ok(client)
    }

    /// Where it sends to, without anything secret.
    pub fn shown_url(&self) -> &str {
        &self.shown_url
    }

    /// Whether credentials come from a file, so that reading it again can help.
    pub fn has_credentials_file(&self) -> bool {
        matches!(self.auth.secret(), Some(Credential::File(_)))
    }

    /// Reads the credentials again. On an error the previous ones stay.
    pub fn reload_credentials(&mut self) -> Result<(), ClientError> {
        let value = match &self.auth {
            Auth::None => return Ok(()),
            Auth::Basic { username, password } => {
                let password = secret_text(password)?;
                let encoded = base64::encode(format!("{username}:{password}").as_bytes());
                self.secrets.push(password);
                self.secrets.push(encoded.clone());
                format!("Basic {encoded}")
            }
            Auth::Bearer(token) => {
                let token = secret_text(token)?;
                self.secrets.push(token.clone());
                format!("Bearer {token}")
            }
            Auth::Other { scheme, credentials } => {
                let credentials = secret_text(credentials)?;
                self.secrets.push(credentials.clone());
                format!("{scheme} {credentials}")
            }
        };
        self.secrets.sort_unstable();
        self.secrets.dedup();
        let mut value = HeaderValue::from_str(&value).map_err(|_| ClientError::Authorization)?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    /// Sends one body to a Loki and reads the answer. `tenant`: whose it is, in the place of the endpoint's own.
    pub async fn send(&self, body: Bytes, tenant: Option<&str>) -> Result<Answer, SendError> {
        let mut headers = self.headers.clone();
        if let Some(tenant) = tenant
            && insert(&mut headers, TENANT, tenant, false).is_err()
        {
            let text = format!("the tenant {tenant:?} cannot be named in a header");
            return Err(SendError { kind: "transport", text });
        }
        self.exchange(body, headers).await
    }

    /// Sends one body with these headers beside its own, and reads the answer.
    pub async fn post(&self, body: Bytes, more: &[(HeaderName, HeaderValue)]) -> Result<Answer, SendError> {
        let mut headers = self.headers.clone();
        for (name, value) in more {
            headers.insert(name.clone(), value.clone());
        }
        self.exchange(body, headers).await
    }

    async fn exchange(&self, body: Bytes, headers: HeaderMap) -> Result<Answer, SendError> {
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        let mut response = self.http.execute(request).await.map_err(|error| self.failed(error))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let retry_after = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        // The body is read to its end, within bounds, or the connection could not be used again.
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    let room = ERROR_BODY_BYTES.saturating_sub(body.len());
                    body.extend_from_slice(chunk.get(..chunk.len().min(room)).unwrap_or_default());
                    if chunk.len() > room {
                        break;
                    }
                }
                Ok(None) => break,
                // The status has said that all is stored; what follows it does not matter.
                Err(_) if (self.is_stored)(status) => break,
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(Answer { status, retry_after, headers, body: self.redact(&String::from_utf8_lossy(&body)) })
    }

    fn failed(&self, error: reqwest::Error) -> SendError {
        let kind = if error.is_timeout() {
            "timeout"
        } else if error.is_connect() {
            "connect"
        } else {
            "transport"
        };
        SendError { kind, text: self.redact(&chain(&error.without_url())) }
    }

    /// `text` without any of this client's secrets: an endpoint or a proxy may echo what it was sent.
    fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter().filter(|secret| secret.len() >= 3) {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "<secret>");
            }
        }
        text
    }
}

/// The start of `text` on one line, at most [`ERROR_TEXT_BYTES`] long, for messages.
pub fn excerpt(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if out.len() + word.len() >= ERROR_TEXT_BYTES {
            let room = ERROR_TEXT_BYTES.saturating_sub(out.len() + 1);
            let end = word.char_indices().map(|(at, _)| at).take_while(|at| *at <= room).last().unwrap_or(0);
            out.push(' ');
            out.push_str(word.get(..end).unwrap_or_default());
            out.push('…');
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// An error and its causes, outermost first.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Loki's header for the tenant.
const TENANT: &str = "X-Scope-OrgID";

fn insert(headers: &mut HeaderMap, name: &str, value: &str, sensitive: bool) -> Result<(), ClientError> {
    let fail = || ClientError::Header(name.to_owned());
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| fail())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| fail())?;
    value.set_sensitive(sensitive);
    headers.insert(key, value);
    Ok(())
}

fn secret_text(credential: &Credential) -> Result<String, ClientError> {
    match credential {
        Credential::Inline(secret) => Ok(secret.expose().to_owned()),
        Credential::File(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| ClientError::Credentials { path: path.clone(), error }),
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Scheme, host, port and path: credentials and parameters can be secret.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), url.path())
}

/// Resolves every name to the addresses of one host.
struct FixedTarget(String);

impl Resolve for FixedTarget {
    fn resolve(&self, _name: Name) -> Resolving {
        let target = self.0.clone();
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((target.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(excerpt(" a\n\tb\u{1}c "), "a b c");
        let long = excerpt(&"ä".repeat(1000));
        assert!(long.len() <= ERROR_TEXT_BYTES + 4, "{}", long.len());
        assert!(excerpt(&"word ".repeat(1000)).len() <= ERROR_TEXT_BYTES + 4);
    }
}
