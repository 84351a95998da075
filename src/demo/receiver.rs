//! A receiver that speaks the Loki push protocol and shows what comes in on a page.
//!
//! Promises: 204 for what it took, 4xx with the reason for what it did not; bounded memory; what it shows is only shown to
//! those who ask for it by this host's own name. Leaves to others: storing anything.

use super::keep::{Keep, Tail, Totals};
use super::push::{Push, Refusal, decode};
use crate::base::limits::{ERROR_TEXT_BYTES, RECEIVER_BODY_BYTES, RECEIVER_PENDING_BYTES, RECEIVER_TAIL_ENTRIES};
use crate::base::serve::{self, ListenError, Listener, Reply};
use crate::base::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// The path that pushes go to.
pub const PUSH_PATH: &str = "/loki/api/v1/push";

const PATHS: &str = "/, /ready, /api/tail and, for POST, /loki/api/v1/push";

/// Is shown each push before it is kept.
pub type Observer = Arc<dyn Fn(&Push) + Send + Sync>;

/// A receiver that listens but does not answer yet.
pub struct Receiver {
    listener: Listener,
    shared: Shared,
}

/// Looks at a running receiver. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Mutex<Keep>>);

impl Watch {
    /// The counts since the start.
    pub fn totals(&self) -> Totals {
        self.lock().totals().clone()
    }

    /// Bytes and entries kept now.
    pub fn kept(&self) -> (usize, usize) {
        self.lock().kept()
    }

    fn lock(&self) -> MutexGuard<'_, Keep> {
        // What a panic could leave behind is at worst a count that is off by one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Shared {
    address: SocketAddr,
    keep: Watch,
    /// Bytes of bodies that may still be read at the same time.
    room: Arc<Semaphore>,
    observer: Observer,
}

impl Receiver {
    /// Listens on `address`; `observer` sees each push. Must be called within a tokio runtime.
    pub async fn bind(address: SocketAddr, observer: Observer) -> Result<Self, ListenError> {
        let listener = Listener::bind(address).await?;
        let keep = Watch(Arc::default());
        let room = Arc::new(Semaphore::new(RECEIVER_PENDING_BYTES));
        let shared = Shared { address: listener.address(), keep, room, observer };
        Ok(Receiver { listener, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// A handle for looking at it while it serves.
    pub fn watch(&self) -> Watch {
        self.shared.keep.clone()
    }

    /// Answers until `shutdown` is raised.
    pub async fn serve(self, shutdown: Shutdown) {
        let shared = self.shared;
        self.listener.serve(move |request| route(shared.clone(), request), shutdown).await;
    }
}

async fn route(shared: Shared, request: Request<Incoming>) -> Reply {
    let path = request.uri().path();
    if path == PUSH_PATH {
        return if request.method() == Method::POST {
            push(&shared, request).await
        } else {
            serve::wrong_method("POST")
        };
    }
    let known = matches!(path, "/" | "/page.css" | "/page.js" | "/ready" | "/api/tail");
    if !known {
        return serve::not_found(PATHS);
    }
    if !serve::is_read(request.method()) {
        return serve::wrong_method("GET, HEAD");
    }
    if serve::is_foreign(shared.address, request.headers()) {
        let words = "this receiver listens on loopback and shows itself under localhost or an address only";
        return serve::text(StatusCode::FORBIDDEN, words);
    }
    match path {
        "/ready" => serve::text(StatusCode::OK, "ready"),
        "/page.css" => serve::reply(StatusCode::OK, "text/css; charset=utf-8", include_str!("page.css")),
        "/page.js" => serve::reply(StatusCode::OK, "text/javascript; charset=utf-8", include_str!("page.js")),
        "/api/tail" => tail(&shared, request.uri().query()),
        _ => serve::reply(StatusCode::OK, "text/html; charset=utf-8", include_str!("page.html")),
    }
}

fn tail(shared: &Shared, query: Option<&str>) -> Reply {
    let number = |name: &str, default: u64| match serve::query_value(query, name) {
        None => Some(default),
        Some(text) => text.parse::<u64>().ok(),
    };
    let (Some(after), Some(limit)) = (number("after", 0), number("limit", RECEIVER_TAIL_ENTRIES as u64)) else {
        return serve::text(
            StatusCode::BAD_REQUEST,
            "after and limit are whole numbers, as in /api/tail?after=0&limit=100",
        );
    };
    let limit = usize::try_from(limit).unwrap_or(RECEIVER_TAIL_ENTRIES);
    let filter = serve::query_value(query, "filter").unwrap_or_default();
    let keep = shared.keep.lock();
    let tail: Tail<'_> = keep.tail(after, limit, &filter);
    serve::json(StatusCode::OK, &tail)
}

async fn push(shared: &Shared, request: Request<Incoming>) -> Reply {
    match take(shared, request).await {
        Ok(()) => {
            let mut reply = Response::default();
            *reply.status_mut() = StatusCode::NO_CONTENT;
            reply
        }
        Err((status, why)) => {
            shared.keep.lock().refuse(why.chars().take(ERROR_TEXT_BYTES).collect());
            serve::text(status, &why)
        }
    }
}

async fn take(shared: &Shared, request: Request<Incoming>) -> Result<(), (StatusCode, String)> {
    let (head, body) = request.into_parts();
    let text = |headers: &HeaderMap, name: &str| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let content_type = text(&head.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let encoding = text(&head.headers, header::CONTENT_ENCODING.as_str());
    let tenant = text(&head.headers, "x-scope-orgid");
    let (body, _held) = serve::read_body(body, RECEIVER_BODY_BYTES, &shared.room)
        .await
        .map_err(|error| (error.status(), error.to_string()))?;
    let push = decode(&content_type, encoding.as_deref(), tenant, &body)
        .map_err(|refusal: Refusal| (refusal.status(), refusal.to_string()))?;
    (shared.observer)(&push);
    shared.keep.lock().add(push);
    Ok(())
}
