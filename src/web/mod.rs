//! Floor 7: what the agent shows of itself: /ready, /metrics, the status page and its JSON.
//!
//! Promises: only reads (but for POST /-/reload, which neither a page of a browser nor another host can ask for), and only what a snapshot and the registry have (no secrets, no log lines); what comes from files or endpoints is
//! shown as text, never as markup. Leaves to others: gathering the snapshot (agent), the server's bounds (`base::serve`).

mod process;

use crate::agent::status::Snapshot;
use crate::base::metrics::Registry;
use crate::base::serve::{self, FromThisHost, ListenError, Listener, Reply};
use crate::base::shutdown::Shutdown;
use crate::format::prometheus::text::CONTENT_TYPE;
use crate::source::host::ticker::Asker;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, header};
use process::Process;
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

const PATHS: &str = "/, /ready, /metrics, /metrics/host, /api/status, /-/reload";

/// Asks for the configuration to be read again. The answer: a line that says so, or why it is not used.
#[derive(Debug)]
pub struct ReloadRequest(pub oneshot::Sender<Result<String, String>>);

/// What is shown. Cheap to clone.
#[derive(Clone)]
pub struct View {
    /// Gives the agent's state at this moment.
    pub snapshot: Arc<dyn Fn() -> Snapshot + Send + Sync>,
    /// The agent's own metrics.
    pub registry: Registry,
    /// Gives who collects the host's metrics for those who ask, if somebody does.
    pub host: Arc<dyn Fn() -> Option<Asker> + Send + Sync>,
    /// Who reads the configuration again; `None`: nobody.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
}

/// A server that listens but does not answer yet.
pub struct Web(Listener);

impl Web {
    /// Listens on `address`. Must be called within a tokio runtime.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        Ok(Web(Listener::bind(address).await?))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Shows `view` until `shutdown` is raised.
    pub async fn serve(self, view: View, shutdown: Shutdown) {
        let (process, address) = (Arc::new(Process::new()), self.0.address());
        let handler = move |request: Request<Incoming>| {
            let (view, process) = (view.clone(), Arc::clone(&process));
            async move {
                match &view.reload {
                    Some(ask) if request.uri().path() == "/-/reload" => reload(ask, address, &request).await,
                    _ if request.uri().path() == "/metrics/host" => host(&view, &request).await,
                    _ => route(&view, &process, address, &request),
                }
            }
        };
        self.0.serve(handler, shutdown).await;
    }
}

/// A page in a browser must not be able to ask: browsers say which page a POST is from. Nor must other hosts, who may look at the rest
/// if the server does not listen on loopback: reading everything again costs something, and the answer shows parts of the file.
async fn reload<B>(ask: &mpsc::Sender<ReloadRequest>, address: SocketAddr, request: &Request<B>) -> Reply {
    if request.method() != Method::POST {
        return serve::wrong_method("POST");
    }
    if request.headers().contains_key(header::ORIGIN) || serve::is_foreign(address, request.headers()) {
        return serve::text(StatusCode::FORBIDDEN, "a web page may not do this; use curl -X POST, or send SIGHUP");
    }
    if request.extensions().get() != Some(&FromThisHost(true)) {
        return serve::text(StatusCode::FORBIDDEN, "this is for programs on the agent's own host; send SIGHUP there");
    }
    let (answer, answered) = oneshot::channel();
    let result = match ask.send(ReloadRequest(answer)).await {
        Ok(()) => answered.await.ok(),
        Err(_) => None,
    };
    match result {
        Some(Ok(words)) => serve::text(StatusCode::OK, &words),
        Some(Err(words)) => serve::text(StatusCode::INTERNAL_SERVER_ERROR, &words),
        None => serve::text(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping"),
    }
}

/// The host's metrics, collected now.
async fn host<B>(view: &View, request: &Request<B>) -> Reply {
    if !serve::is_read(request.method()) {
        return serve::wrong_method("GET, HEAD");
    }
    let Some(asker) = (view.host)() else {
        let words = "the host's metrics are not collected: add `metrics: { host: {} }` to the configuration";
        return serve::text(StatusCode::NOT_FOUND, words);
    };
    match asker.text().await {
        Ok(text) => serve::reply(StatusCode::OK, CONTENT_TYPE, text),
        Err(error) => serve::text(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn route<B>(view: &View, process: &Process, address: SocketAddr, request: &Request<B>) -> Reply {
    let path = request.uri().path();
    if !matches!(path, "/" | "/page.css" | "/page.js" | "/ready" | "/metrics" | "/api/status") {
        return serve::not_found(PATHS);
    }
    if !serve::is_read(request.method()) {
        return serve::wrong_method("GET, HEAD");
    }
    match path {
        "/ready" => ready(&(view.snapshot)(), wants_json(request)),
        "/metrics" => {
            let mut text = view.registry.render();
            process.render(&mut text);
            serve::reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        "/api/status" if serve::is_foreign(address, request.headers()) => {
            let words = "this agent listens on loopback and shows its status under localhost or an address only";
            serve::text(StatusCode::FORBIDDEN, words)
        }
        "/api/status" => serve::json(StatusCode::OK, &(view.snapshot)()),
        "/page.css" => serve::reply(StatusCode::OK, "text/css; charset=utf-8", include_str!("page.css")),
        "/page.js" => serve::reply(StatusCode::OK, "text/javascript; charset=utf-8", include_str!("page.js")),
        _ => serve::reply(StatusCode::OK, "text/html; charset=utf-8", include_str!("page.html")),
    }
}

fn wants_json<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.split(',').any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json"))
}

fn ready(snapshot: &Snapshot, as_json: bool) -> Reply {
    #[derive(Serialize)]
    struct Ready<'a> {
        ready: bool,
        problems: &'a [String],
        notes: &'a [String],
    }
    let status = if snapshot.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if as_json {
        return serve::json(
            status,
            &Ready { ready: snapshot.ready, problems: &snapshot.problems, notes: &snapshot.notes },
        );
    }
    let first = match (snapshot.ready, snapshot.problems.is_empty()) {
        (true, _) => Some("ready".to_owned()),
        (false, true) => Some("not ready yet".to_owned()),
        (false, false) => None,
    };
    // One problem stays on one line, whatever an endpoint answered.
    let details = snapshot.problems.iter().chain(&snapshot.notes).map(|text| text.replace(['\n', '\r'], " "));
    let lines: Vec<String> = first.into_iter().chain(details).collect();
    serve::text(status, &lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of a reload that is asked for by somebody who is on this host, or not.
    async fn asked(from: Option<FromThisHost>) -> StatusCode {
        let (ask, mut asked) = mpsc::channel::<ReloadRequest>(1);
        let answering = tokio::spawn(async move {
            let Some(ReloadRequest(answer)) = asked.recv().await else { return };
            answer.send(Ok("read".to_owned())).unwrap();
        });
        let mut request = Request::builder().method(Method::POST).uri("/-/reload").body(()).unwrap();
        if let Some(from) = from {
            request.extensions_mut().insert(from);
        }
        let status = reload(&ask, "0.0.0.0:80".parse().unwrap(), &request).await.status();
        drop(ask);
        answering.await.unwrap();
        status
    }

    #[tokio::test]
    async fn only_this_host_may_have_the_configuration_read_again() {
        assert_eq!(asked(Some(FromThisHost(true))).await, StatusCode::OK);
        assert_eq!(asked(Some(FromThisHost(false))).await, StatusCode::FORBIDDEN);
        assert_eq!(asked(None).await, StatusCode::FORBIDDEN);
    }
}
