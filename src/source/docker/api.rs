//! Docker's Engine API, as far as it is needed: which version it speaks, the list of containers, what one is, networks, and events.
//!
//! The HTTP client is the one that endpoints are spoken to with, over a unix socket or plain TCP; nothing is added to the binary for it. The version
//! is the newest that both know, so that Docker 20.10 (1.41) works, and Podman, which speaks the same.
//!
//! Promises: what an answer may take is bounded, in time and bytes, but for the time of events. Leaves to others: what answers mean.

use super::access::{denied, missing};
use super::settings::Host;
use crate::base::limits::{DOCKER_ANSWER_BYTES, DOCKER_EVENT_BYTES, DOCKER_TIMEOUT_MS};
use crate::base::text::head;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The newest version that this was written for.
const NEWEST: (u32, u32) = (1, 51);
/// What is asked for of events: `{"type":["container","network"],"event":["start","create","destroy","rename","connect"]}`. Each health check is
/// several others, which nobody needs.
const EVENTS: &str = "%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C%22event%22%3A%5B%22start%22%2C%22create%22%2C%22destroy%22%2C%22rename%22\
                      %2C%22connect%22%5D%7D";
/// `{"type":["container"]}`
const ALL_EVENTS: &str = "%7B%22type%22%3A%5B%22container%22%5D%7D";
/// A message of an error is cut to so much, bytes.
const MESSAGE_BYTES: usize = 300;

/// Why the API gave no answer; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The socket cannot be used.
    #[error("{0}")]
    Socket(String),
    /// There is no connection.
    #[error("Docker's API at {host} does not answer: {why}")]
    Unreachable {
        /// Where.
        host: String,
        /// Why.
        why: String,
    },
    /// It answered with an error.
    #[error("Docker's API at {host} answered {path} with status {status}: {message}")]
    Status {
        /// Where.
        host: String,
        /// What was asked.
        path: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It answered something else.
    #[error("Docker's API at {host} answered {path} with something else than expected: {why}")]
    Answer {
        /// Where.
        host: String,
        /// What was asked.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// It takes too long.
    #[error("Docker's API at {host} does not answer {path} within {} seconds", DOCKER_TIMEOUT_MS / 1000)]
    Slow {
        /// Where.
        host: String,
        /// What was asked.
        path: String,
    },
    /// The events ended.
    #[error("Docker's API at {0} closed the connection")]
    Ended(String),
}

impl ApiError {
    /// Whether what was asked for does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, ApiError::Status { status: 404, .. })
    }

    /// Whether it is about what was asked for, and other questions may well be answered.
    pub(super) fn is_of_one(&self) -> bool {
        matches!(self, ApiError::Status { .. } | ApiError::Answer { .. } | ApiError::Slow { .. })
    }
}

/// A client.
#[derive(Debug)]
pub(super) struct Api {
    http: Client,
    host: Host,
    /// Where paths are appended.
    base: String,
}

impl Api {
    /// A client that has not asked anything yet.
    pub(super) fn new(host: &Host) -> Result<Self, ApiError> {
        let fail = |why: String| ApiError::Unreachable { host: host.to_string(), why };
        // Nothing is encrypted here; but the client wants to know how it would be.
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(error.to_string()))?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Questions are rare: no connection is kept for the next one.
            .pool_max_idle_per_host(0);
        let base = match host {
            Host::Unix(path) => {
                builder = builder.unix_socket(path.as_path());
                "http://docker".to_owned()
            }
            Host::Tcp(address) => format!("http://{address}"),
        };
        let http = builder.build().map_err(|error| fail(chain(&error)))?;
        Ok(Api { http, host: host.clone(), base })
    }

    /// Asks which version is spoken, for all further questions.
    pub(super) async fn negotiate(&mut self) -> Result<(), ApiError> {
        let response = self.get("/_ping", true).await?;
        let version = response.headers().get("api-version").and_then(|version| version.to_str().ok());
        // One that says nothing takes paths without a version.
        if let Some((major, minor)) = version.and_then(|version| version.split_once('.'))
            && let (Ok(major), Ok(minor)) = (major.parse(), minor.parse())
        {
            let (major, minor) = NEWEST.min((major, minor));
            self.base.push_str(&format!("/v{major}.{minor}"));
        }
        Ok(())
    }

    /// The ids of all containers, also of those that do not run.
    pub(super) async fn containers(&self) -> Result<Vec<String>, ApiError> {
        let path = "/containers/json?all=true";
        let list = self.json(path).await?;
        let Value::Array(list) = list else { return Err(self.odd(path, "no list")) };
        Ok(list.iter().filter_map(|container| Some(container.get("Id")?.as_str()?.to_owned())).collect())
    }

    /// All that is known of a container.
    pub(super) async fn inspect(&self, id: &str) -> Result<Value, ApiError> {
        self.json(&format!("/containers/{id}/json")).await
    }

    /// All networks.
    pub(super) async fn networks(&self) -> Result<Value, ApiError> {
        self.json("/networks").await
    }

    /// What happens to containers from now on, or from a time on: nanoseconds since 1970.
    pub(super) async fn events(&self, since_ns: i64) -> Result<Events, ApiError> {
        let since = seconds(since_ns);
        let ask = async |filters: &str| self.get(&format!("/events?since={since}&filters={filters}"), false).await;
        let response = match ask(EVENTS).await {
            // One that does not know some of them.
            Err(ApiError::Status { status: 400 | 500, .. }) => ask(ALL_EVENTS).await?,
            answer => answer?,
        };
        Ok(Events { response, host: self.host.to_string(), buffer: Vec::new(), read: 0 })
    }

    /// A container's log from a time on, nanoseconds since 1970, for as long as the container runs.
    pub(super) async fn logs(&self, id: &str, since_ns: i64) -> Result<Log, ApiError> {
        let since = seconds(since_ns);
        let path = format!("/containers/{id}/logs?follow=true&stdout=true&stderr=true&timestamps=true&since={since}");
        let response = self.get(&path, false).await?;
        Ok(Log { response, host: self.host.to_string() })
    }

    async fn json(&self, path: &str) -> Result<Value, ApiError> {
        let mut response = self.get(path, true).await?;
        let mut body = Vec::new();
        let fail = |error: reqwest::Error| if error.is_timeout() { self.slow(path) } else { self.failed(&error) };
        while let Some(part) = response.chunk().await.map_err(fail)? {
            if body.len() + part.len() > DOCKER_ANSWER_BYTES {
                return Err(self.odd(path, "it is too large"));
            }
            body.extend_from_slice(&part);
        }
        serde_json::from_slice(&body).map_err(|error| self.odd(path, &error.to_string()))
    }

    async fn get(&self, path: &str, is_bounded: bool) -> Result<Response, ApiError> {
        let mut request = self.http.get(format!("{}{path}", self.base));
        if is_bounded {
            request = request.timeout(Duration::from_millis(DOCKER_TIMEOUT_MS));
        }
        // What goes on without end begins in time all the same.
        let sent = tokio::time::timeout(Duration::from_millis(DOCKER_TIMEOUT_MS), request.send()).await;
        let sent = sent.map_err(|_| self.slow(path))?;
        let mut response =
            sent.map_err(|error| if error.is_timeout() { self.slow(path) } else { self.failed(&error) })?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        // {"message":"..."}
        let first = tokio::time::timeout(Duration::from_millis(DOCKER_TIMEOUT_MS), response.chunk()).await;
        let first = first.ok().and_then(Result::ok).flatten().unwrap_or_default();
        let said = serde_json::from_slice::<Value>(&first).ok();
        let said = said.as_ref().and_then(|said| said.get("message")?.as_str());
        let message = head(said.unwrap_or_default(), MESSAGE_BYTES).to_owned();
        Err(ApiError::Status { host: self.host.to_string(), path: plain(path), status, message })
    }

    fn slow(&self, path: &str) -> ApiError {
        ApiError::Slow { host: self.host.to_string(), path: plain(path) }
    }

    fn odd(&self, path: &str, why: &str) -> ApiError {
        ApiError::Answer { host: self.host.to_string(), path: path.to_owned(), why: why.to_owned() }
    }

    fn failed(&self, error: &reqwest::Error) -> ApiError {
        if let Host::Unix(path) = &self.host {
            match io_kind(error) {
                Some(io::ErrorKind::NotFound) => return ApiError::Socket(missing(path)),
                Some(io::ErrorKind::PermissionDenied) => return ApiError::Socket(denied(path)),
                _ => {}
            }
        }
        ApiError::Unreachable { host: self.host.to_string(), why: chain(error) }
    }
}

/// What follows a question mark helps nobody.
fn plain(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

/// A time as the API wants it.
fn seconds(ns: i64) -> String {
    format!("{}.{:09}", ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000))
}

/// A container's log as it comes.
#[derive(Debug)]
pub(super) struct Log {
    response: Response,
    host: String,
}

impl Log {
    /// The next bytes. `None`: it has ended.
    pub(super) async fn next(&mut self) -> Result<Option<bytes::Bytes>, ApiError> {
        let fail = |error: reqwest::Error| ApiError::Unreachable { host: self.host.clone(), why: chain(&error) };
        self.response.chunk().await.map_err(fail)
    }

    /// It is something else.
    pub(super) fn odd(&self, why: &str) -> ApiError {
        ApiError::Answer { host: self.host.clone(), path: "logs".to_owned(), why: why.to_owned() }
    }
}

/// Events as they come.
#[derive(Debug)]
pub(super) struct Events {
    response: Response,
    host: String,
    buffer: Vec<u8>,
    /// So much of the buffer was given.
    read: usize,
}

/// Something happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Such as `start`.
    pub action: String,
    pub id: String,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
}

impl Events {
    /// The next event. Waits for it; nothing is lost if this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<Event, ApiError> {
        loop {
            while let Some(length) = self.buffer.get(self.read..).and_then(|rest| memchr::memchr(b'\n', rest)) {
                let line = self.buffer.get(self.read..self.read + length).unwrap_or_default();
                let event = event(line);
                self.read += length + 1;
                if let Some(event) = event {
                    return Ok(event);
                }
            }
            self.buffer.drain(..self.read.min(self.buffer.len()));
            self.read = 0;
            if self.buffer.len() > DOCKER_EVENT_BYTES {
                // Nobody needs what is that long.
                self.buffer.clear();
            }
            let part = self.response.chunk().await;
            let fail = |error: reqwest::Error| ApiError::Unreachable { host: self.host.clone(), why: chain(&error) };
            let part = part.map_err(fail)?.ok_or_else(|| ApiError::Ended(self.host.clone()))?;
            self.buffer.extend_from_slice(&part);
        }
    }
}

/// `None`: it is none, or not of a container.
fn event(line: &[u8]) -> Option<Event> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let id = match value.get("Type").and_then(Value::as_str) {
        // A container is connected to it.
        Some("network") => value.pointer("/Actor/Attributes/container"),
        None | Some("container") => value.pointer("/Actor/ID").or_else(|| value.get("id")),
        Some(_) => None,
    };
    let id = id?.as_str()?.to_owned();
    let action = value.get("Action").or_else(|| value.get("status"))?.as_str()?.to_owned();
    let time_ns = value.get("timeNano").and_then(Value::as_i64);
    let seconds = || value.get("time").and_then(Value::as_i64).unwrap_or_default().saturating_mul(1_000_000_000);
    Some(Event { action, id, time_ns: time_ns.unwrap_or_else(seconds) })
}

/// What the system said, if it did.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.raw_os_error().is_some()
        {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}

/// The last reason of an error, which is the one that helps.
fn chain(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    head(&last.to_string(), MESSAGE_BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_containers() {
        let line = br#"{"status":"start","id":"ab","from":"x","Type":"container","Action":"start","Actor":{"ID":"ab"},"time":5,"timeNano":5000000007}"#;
        let start = Event { action: "start".into(), id: "ab".into(), time_ns: 5_000_000_007 };
        assert_eq!(event(line), Some(start.clone()));
        // As Podman may say it.
        assert_eq!(
            event(br#"{"Type":"container","Action":"start","Actor":{"ID":"ab"},"timeNano":5000000007}"#),
            Some(start)
        );
        let connect =
            br#"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"ab"}},"timeNano":7}"#;
        assert_eq!(event(connect), Some(Event { action: "connect".into(), id: "ab".into(), time_ns: 7 }));
        for other in
            ["", "{}", r#"{"Type":"network","Action":"remove","Actor":{"ID":"n"}}"#, "[1]", r#"{"Action":"x"}"#]
        {
            assert_eq!(event(other.as_bytes()), None, "{other}");
        }
    }
}
