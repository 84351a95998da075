//! What the agent says of itself at one moment: plain values for /ready, the status page and its JSON.
//!
//! Promises: no secrets, no text of a log line. Leaves to others: how it is shown.

use serde::Serialize;

/// The whole agent.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// Version of the binary.
    pub version: &'static str,
    /// When the agent started, seconds since 1970.
    pub started_s: i64,
    /// Whether every source runs and no endpoint is degraded.
    pub ready: bool,
    /// What keeps it from being ready, one sentence each, with what to do.
    pub problems: Vec<String>,
    /// What does not keep it from that and should be known all the same, one sentence each: that the configuration on disk has an error.
    pub notes: Vec<String>,
    /// Bytes of sealed batches in flight, and their bound.
    pub in_flight_bytes: u64,
    /// The bound of `in_flight_bytes`.
    pub in_flight_bytes_max: u64,
    /// By name, in the order of the configuration.
    pub sources: Vec<Source>,
    /// By name, in the order of the configuration.
    pub endpoints: Vec<Endpoint>,
}

/// One source.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// Its name in the configuration.
    pub name: String,
    /// `file`, `journal`, …
    pub kind: &'static str,
    /// Files (or containers, connections) followed now.
    pub followed: u64,
    /// Bytes read since the start.
    pub bytes: u64,
    /// Lines read since the start.
    pub lines: u64,
    /// Bytes that are on the host but not yet stored by every endpoint.
    pub lag_bytes: u64,
    /// Age of the oldest chunk that is read but not yet stored, seconds.
    pub lag_s: f64,
    /// What is wrong now (an unreadable file, …), one sentence each; at most a few.
    pub errors: Vec<String>,
}

/// One endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct Endpoint {
    /// Its name in the configuration.
    pub name: String,
    /// `loki`, …
    pub kind: &'static str,
    /// Where it is, without credentials.
    pub url: String,
    /// `ok`, `waiting` (not yet used), `retrying` or `degraded`.
    pub state: &'static str,
    /// Batches in its queue in memory, the one being sent included.
    pub queued: u64,
    /// What waits for it on disk; `None`: it has no spool.
    pub spool: Option<Spool>,
    /// Entries stored since the start.
    pub entries: u64,
    /// Compressed bytes stored since the start.
    pub bytes: u64,
    /// Entries refused for good since the start.
    pub refused: u64,
    /// Attempts that failed since the start.
    pub retries: u64,
    /// When a batch was stored last, seconds since 1970; 0: never.
    pub last_success_s: i64,
    /// The last error, if the last attempt failed.
    pub error: Option<String>,
}

/// What waits on disk for an endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct Spool {
    /// Size of the files, bytes.
    pub bytes: u64,
    /// Requests.
    pub frames: u64,
    /// When the oldest of them was written, seconds since 1970; 0: there is none.
    pub oldest_s: i64,
}
