//! Asks a target for its metrics: the HTTP clients of a job, and how a body comes in.
//!
//! Promises: HTTP/1.1 with connections that are kept; what is received is bounded, also what compressed bytes become; credentials and own headers go to the
//! target alone, not to where it redirects to on another host, and are in no error. Files with credentials are read anew when a target refuses us. Leaves
//! to others: how long it may take, what the body says.

use super::room::{Body, Room};
use super::settings::Access;
use super::target::Target;
use crate::base::access::{Auth, Credential};
use crate::base::base64;
use crate::base::limits::{
    SCRAPE_BODY_STEP_BYTES, SCRAPE_IDLE_MS, SCRAPE_INFLATE_BYTES, SCRAPE_NAMED_HOSTS, SCRAPE_REDIRECTS,
};
use crate::base::tls::{self, TlsError};
use crate::base::units::format_size;
use crate::format::prometheus::parse::Form;
use flate2::write::MultiGzDecoder;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, USER_AGENT,
};
use reqwest::{Client, Method, Proxy, Request, Response, Url};
use rustls::ClientConfig;
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The header by which a target hears how long it has, seconds.
const TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// Why a job's targets cannot be reached at all; the text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A header.
    #[error("http_headers: {0:?} has a name or value that cannot be sent")]
    Header(String),
    /// Credentials.
    #[error("cannot read the credentials file {path}: {error}")]
    Credentials {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Credentials that do not fit into a header.
    #[error("the user name, password or token has characters that cannot be sent")]
    Authorization,
    /// The proxy.
    #[error("proxy_url is not a URL of the form http://host:port or https://host:port")]
    Proxy,
    /// The name override.
    #[error("tls_config.server_name {0:?} is not a host name")]
    ServerName(String),
    /// The name override with a proxy.
    #[error(
        "tls_config.server_name does not work through a proxy, which connects by the target's name: remove one of them"
    )]
    ServerNameWithProxy,
    /// The HTTP client refused its configuration.
    #[error("the HTTP client cannot be set up: {0}")]
    Build(String),
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Connect(String),
    #[error("{0}")]
    Transport(String),
    #[error("the target answered with HTTP status {0}")]
    Status(String),
    #[error("the target redirects, and {0}")]
    Redirect(String),
    #[error("the body is larger than the body_size_limit of {}: raise it, or have the target tell less", format_size(*.0))]
    TooLarge(u64),
    #[error(
        "the body has more than the {} KiB for which `limits.memory` has room ({samples} series are in that): raise it, or have the target tell less",
        .room / 1024
    )]
    Memory { room: u64, samples: usize },
    #[error("the body says that it is compressed by gzip, and is not: {0}")]
    Gzip(String),
    #[error("the body is compressed in a way that was not asked for: {0}")]
    Encoding(String),
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl FetchError {
    /// For metrics; one of a few.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            FetchError::Connect(_) => "connect",
            FetchError::Transport(_) => "transport",
            FetchError::Status(_) | FetchError::Redirect(_) => "status",
            FetchError::TooLarge(_) => "too_large",
            FetchError::Memory { .. } => "memory",
            FetchError::Gzip(_) | FetchError::Encoding(_) => "encoding",
            FetchError::Access(_) => "setup",
        }
    }
}

/// A body and what it is said to be.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Body,
    /// `None`: nothing was said, or something else.
    pub(super) form: Option<Form>,
}

/// The clients of a job. Not `Debug`: it holds secrets in the clear.
pub(super) struct Fetcher {
    access: Access,
    /// For `http`, and nothing is trusted; unless a proxy is reached by TLS.
    plain: Client,
    /// For `https`, made when there is need.
    secure: Mutex<Option<Client>>,
    /// The same for each host, where another name is expected.
    named: Mutex<HashMap<String, Client>>,
    /// What every request has.
    fixed: HeaderMap,
    /// What goes to the target alone, and the texts in it that nobody may see.
    own: Mutex<Arc<Own>>,
}

#[derive(PartialEq)]
struct Own {
    headers: HeaderMap,
    secrets: Vec<String>,
}

impl Fetcher {
    /// Sets up the clients; reads files of credentials, and those of TLS if `with_tls` or it is configured.
    pub(super) fn new(access: &Access, with_tls: bool) -> Result<Self, AccessError> {
        let tls = &access.tls;
        if let Some(name) = &tls.server_name {
            let fits = Url::parse("http://h").is_ok_and(|mut url| url.set_host(Some(name)).is_ok());
            if !fits || name.parse::<std::net::IpAddr>().is_ok() {
                return Err(AccessError::ServerName(name.clone()));
            }
            if access.proxy.is_some() {
                return Err(AccessError::ServerNameWithProxy);
            }
        }
        let to_proxy = access.proxy.as_deref().is_some_and(|proxy| proxy.starts_with("https:"));
        let plain = client(access, if to_proxy { tls::client_config(tls)? } else { tls::unused_config()? }, None)?;
        let asked = tls.ca_file.is_some() || tls.cert_file.is_some() || tls.key_file.is_some();
        let secure = if with_tls || asked { Some(client(access, tls::client_config(tls)?, None)?) } else { None };
        let mut fixed = HeaderMap::new();
        fixed.insert(USER_AGENT, HeaderValue::from_static(concat!("lugger/", env!("CARGO_PKG_VERSION"))));
        let accept = HeaderValue::from_str(&accept(access)).map_err(|_| AccessError::Header("Accept".to_owned()))?;
        fixed.insert(ACCEPT, accept);
        let encoding = if access.compression { "gzip" } else { "identity" };
        fixed.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        Ok(Fetcher {
            plain,
            secure: Mutex::new(secure),
            named: Mutex::default(),
            fixed,
            own: Mutex::new(Arc::new(own(access)?)),
            access: access.clone(),
        })
    }

    /// Whether it was made of this and nothing of it can have changed since.
    pub(super) fn is_of(&self, access: &Access) -> bool {
        self.access == *access && !access.names_files()
    }

    /// Asks a target. At most `most` bytes are taken, decompressed; not so many are.
    pub(super) async fn fetch(&self, target: &Target, most: u64, room: &Arc<Room>) -> Result<Fetched, FetchError> {
        let own = Arc::clone(&lock(&self.own));
        let mut response = self.follow(target, &own).await?;
        if matches!(response.status().as_u16(), 401 | 403) && self.access.names_files() {
            // They may have been replaced.
            let renewed = Arc::new(self::own(&self.access)?);
            if renewed != own {
                *lock(&self.own) = Arc::clone(&renewed);
                response = self.follow(target, &renewed).await?;
            }
        }
        if response.status().as_u16() != 200 {
            return Err(FetchError::Status(response.status().to_string()));
        }
        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let form = header(CONTENT_TYPE).and_then(Form::of_content_type);
        let encoding = header(CONTENT_ENCODING).map(str::trim).unwrap_or_default();
        let gzip = match encoding {
            "" => false,
            other if other.eq_ignore_ascii_case("identity") => false,
            other if other.eq_ignore_ascii_case("gzip") => true,
            other => return Err(FetchError::Encoding(other.to_owned())),
        };
        let body = room.body();
        let most = Most { configured: most, room: room.body_most() as u64 };
        let body = if gzip {
            inflated(response, body, most, &own).await?
        } else {
            received(response, body, most, &own).await?
        };
        Ok(Fetched { body, form })
    }

    /// The answer behind all redirects.
    async fn follow(&self, target: &Target, own: &Own) -> Result<Response, FetchError> {
        let mut url = target.url.clone();
        for _ in 0..=SCRAPE_REDIRECTS {
            let is_own =
                url.host_str() == target.url.host_str() && (url.scheme() == "https" || target.url.scheme() == "http");
            let response = self.ask(&url, target.timeout, is_own.then_some(own), own).await?;
            let status = response.status().as_u16();
            if !self.access.follow_redirects || !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let Some(location) = response.headers().get(LOCATION) else { return Ok(response) };
            let next = location.to_str().ok().and_then(|location| url.join(location).ok());
            let next = next.filter(|next| matches!(next.scheme(), "http" | "https"));
            url = next.ok_or_else(|| FetchError::Redirect("its Location is no URL".to_owned()))?;
        }
        Err(FetchError::Redirect(format!("that more than {SCRAPE_REDIRECTS} times: is it a circle?")))
    }

    async fn ask(&self, url: &Url, timeout: Duration, own: Option<&Own>, hidden: &Own) -> Result<Response, FetchError> {
        let mut headers = self.fixed.clone();
        if let Ok(seconds) = HeaderValue::from_str(&timeout.as_secs_f64().to_string()) {
            headers.insert(TIMEOUT, seconds);
        }
        for (name, value) in own.into_iter().flat_map(|own| &own.headers) {
            headers.append(name, value.clone());
        }
        let mut url = url.clone();
        let client = self.client(&mut url, &mut headers)?;
        let mut request = Request::new(Method::GET, url);
        *request.headers_mut() = headers;
        client.execute(request).await.map_err(|error| failed(error, hidden))
    }

    /// Who asks. Where another name is expected the URL gets it, and the client connects to the host all the same.
    fn client(&self, url: &mut Url, headers: &mut HeaderMap) -> Result<Client, AccessError> {
        if url.scheme() != "https" {
            return Ok(self.plain.clone());
        }
        let tls = &self.access.tls;
        let Some(name) = &tls.server_name else {
            let mut secure = lock(&self.secure);
            if let Some(secure) = &*secure {
                return Ok(secure.clone());
            }
            let made = client(&self.access, tls::client_config(tls)?, None)?;
            *secure = Some(made.clone());
            return Ok(made);
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|_| AccessError::Header("Host".to_owned()))?);
        url.set_host(Some(name)).map_err(|_| AccessError::ServerName(name.clone()))?;
        let mut named = lock(&self.named);
        if let Some(known) = named.get(&host) {
            return Ok(known.clone());
        }
        if named.len() >= SCRAPE_NAMED_HOSTS {
            named.clear();
        }
        let target = host.trim_matches(['[', ']']).to_owned();
        let made = client(&self.access, tls::client_config(tls)?, Some(FixedTarget(target)))?;
        named.insert(host, made.clone());
        Ok(made)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is replaced in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn client(access: &Access, config: ClientConfig, fixed: Option<FixedTarget>) -> Result<Client, AccessError> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_millis(SCRAPE_IDLE_MS));
    if let Some(proxy) = &access.proxy {
        builder = builder.proxy(Proxy::all(proxy).map_err(|_| AccessError::Proxy)?);
    }
    if let Some(fixed) = fixed {
        builder = builder.dns_resolver(Arc::new(fixed));
    }
    builder.build().map_err(|error| AccessError::Build(chain(&error.without_url())))
}

/// What may come, the preferred one first; anything else is still better than nothing.
fn accept(access: &Access) -> String {
    let mut text = String::new();
    let count = access.protocols.len();
    for (at, protocol) in access.protocols.iter().enumerate() {
        let weight = (count - at + 1).min(9);
        text.push_str(&format!("{};q=0.{weight},", protocol.media_type()));
    }
    text.push_str("*/*;q=0.1");
    text
}

fn own(access: &Access) -> Result<Own, AccessError> {
    let mut own = Own { headers: HeaderMap::new(), secrets: Vec::new() };
    for (name, value) in &access.headers {
        let fail = || AccessError::Header(name.clone());
        let text = secret_text(value)?;
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| fail())?;
        let mut value = HeaderValue::from_str(&text).map_err(|_| fail())?;
        value.set_sensitive(true);
        own.headers.append(key, value);
        own.secrets.push(text);
    }
    let value = match &access.auth {
        Auth::None => return Ok(own),
        Auth::Basic { username, password } => {
            let password = secret_text(password)?;
            let encoded = base64::encode(format!("{username}:{password}").as_bytes());
            own.secrets.extend([password, encoded.clone()]);
            format!("Basic {encoded}")
        }
        Auth::Bearer(token) => {
            let token = secret_text(token)?;
            own.secrets.push(token.clone());
            format!("Bearer {token}")
        }
        Auth::Other { scheme, credentials } => {
            let credentials = secret_text(credentials)?;
            own.secrets.push(credentials.clone());
            format!("{scheme} {credentials}")
        }
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| AccessError::Authorization)?;
    value.set_sensitive(true);
    own.headers.insert(AUTHORIZATION, value);
    Ok(own)
}

fn secret_text(credential: &Credential) -> Result<String, AccessError> {
    match credential {
        Credential::Inline(secret) => Ok(secret.expose().to_owned()),
        Credential::File(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| AccessError::Credentials { path: path.clone(), error }),
    }
}

/// How large a body may be.
#[derive(Clone, Copy)]
struct Most {
    /// `body_size_limit`.
    configured: u64,
    /// What there is memory for.
    room: u64,
}

impl Most {
    /// A body of so many is too large.
    fn bytes(self) -> u64 {
        self.configured.min(self.room)
    }

    /// What is said of a body that begins with this and is too large.
    fn refusal(self, bytes: &[u8]) -> FetchError {
        if self.configured <= self.room {
            return FetchError::TooLarge(self.configured);
        }
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', bytes).map(|at| at + 1));
        let samples = starts.filter(|at| !matches!(bytes.get(*at), None | Some(b'#' | b'\n'))).count();
        FetchError::Memory { room: self.room, samples }
    }
}

/// A body as it is.
async fn received(mut response: Response, mut body: Body, most: Most, own: &Own) -> Result<Body, FetchError> {
    let said = response.content_length().unwrap_or(0);
    if said >= most.configured {
        return Err(FetchError::TooLarge(most.configured));
    }
    // What is said is believed as far as it costs nothing.
    body.bytes.reserve(usize::try_from(said).unwrap_or(0).min(SCRAPE_BODY_STEP_BYTES));
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(error, own))? {
        if (body.bytes.len() + chunk.len()) as u64 >= most.bytes() {
            return Err(most.refusal(&body.bytes));
        }
        body.bytes.extend_from_slice(&chunk);
        body.settle().await;
    }
    Ok(body)
}

/// A body that is compressed by gzip.
async fn inflated(mut response: Response, mut body: Body, most: Most, own: &Own) -> Result<Body, FetchError> {
    let bytes = std::mem::take(&mut body.bytes);
    let mut decoder = MultiGzDecoder::new(Bounded { bytes, most: most.bytes(), is_over: false });
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(error, own))? {
        for piece in chunk.chunks(SCRAPE_INFLATE_BYTES) {
            let written = decoder.write_all(piece);
            let bounded = decoder.get_mut();
            if bounded.is_over {
                return Err(most.refusal(&bounded.bytes));
            }
            written.map_err(|error| FetchError::Gzip(error.to_string()))?;
            std::mem::swap(&mut body.bytes, &mut bounded.bytes);
            body.settle().await;
            std::mem::swap(&mut body.bytes, &mut decoder.get_mut().bytes);
        }
    }
    let finished = decoder.try_finish();
    let bounded = decoder.get_mut();
    body.bytes = std::mem::take(&mut bounded.bytes);
    if bounded.is_over {
        return Err(most.refusal(&body.bytes));
    }
    finished.map_err(|error| FetchError::Gzip(error.to_string()))?;
    body.settle().await;
    Ok(body)
}

/// Takes fewer bytes than `most`.
struct Bounded {
    bytes: Vec<u8>,
    most: u64,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 >= self.most {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(error: reqwest::Error, own: &Own) -> FetchError {
    let is_connect = error.is_connect();
    let mut text = chain(&error.without_url());
    for secret in own.secrets.iter().filter(|secret| secret.len() >= 3) {
        text = text.replace(secret.as_str(), "<secret>");
    }
    if is_connect { FetchError::Connect(text) } else { FetchError::Transport(text) }
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
