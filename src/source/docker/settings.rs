//! What a docker source is told: plain values, already checked.

use crate::base::rate::RateLimit;
use crate::model::labels::{LabelCaps, Labels};
use crate::pipeline::relabel;
use crate::pipeline::settings::Stage;
use crate::source::file::settings::StartAt;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the Engine API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A unix socket.
    Unix(PathBuf),
    /// Host and port, without TLS.
    Tcp(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Unix(path) => write!(f, "unix://{}", path.display()),
            Host::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// Which containers are wanted, by one of their properties; several filters have to agree all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The property.
    pub property: Property,
    /// What it has to be.
    pub values: Vec<String>,
}

/// What filters look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// A container's label, `key` or `key=value`. All of them have to be there.
    Label,
    /// Its name: a regular expression that may match anywhere, with or without the slash. One of them.
    Name,
    /// Its id: the same.
    Id,
    /// The name or id of a network that it is in. One of them.
    Network,
    /// The image that it was made from: as it was named then, or by id. One of them.
    Ancestor,
}

impl Property {
    /// All of them, by the names that Docker has for them.
    pub const NAMES: [(&'static str, Property); 5] = [
        ("label", Property::Label),
        ("name", Property::Name),
        ("id", Property::Id),
        ("network", Property::Network),
        ("ancestor", Property::Ancestor),
    ];
}

/// Whether logs that cannot be read from disk are taken from the API, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiLogs {
    /// They are.
    Taken,
    /// The configuration leaves them out.
    Off,
    /// How far they were taken is not among the cursors, so a dry run would begin anew.
    DryRun,
}

/// One `logs` entry with a `docker` source.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name in metrics, messages and checkpoints; unique among sources.
    pub name: String,
    /// Where the API is.
    pub host: Host,
    /// The directory in which Docker keeps a directory for each container.
    pub containers: PathBuf,
    /// Nobody has said so: Docker was asked and did not answer.
    pub is_guess: bool,
    /// Which containers are read.
    pub filters: Vec<Filter>,
    /// Where to start in logs that are there when the source runs for the first time.
    pub start_at: StartAt,
    /// Labels of containers that become labels of their streams, where there are no rules.
    pub keep_labels: Vec<String>,
    /// How often the list of containers is asked for, beside the events.
    pub refresh: Duration,
    /// Times up to which another agent has read containers, by id: seconds since 1970. Lines before are passed over.
    pub imported: Vec<(String, i64)>,
    /// Whether logs that cannot be read from disk are taken from the API.
    pub api_logs: ApiLogs,
    /// Whether the container that the agent itself runs in is read.
    pub own_container: bool,
    /// Rules that see what is known of a container. `None`: the usual labels.
    pub relabel: Option<Vec<relabel::Settings>>,
    /// Labels that rules see.
    pub labels: Labels,
    /// Labels beneath: what has one of that name has its own.
    pub outer_labels: Labels,
    /// Labels of what has none of that name when its stages are through.
    pub late_labels: Labels,
    /// What Loki takes of labels.
    pub label_caps: LabelCaps,
    /// The cap of a line, bytes.
    pub line_bytes: usize,
    /// What may be read a second, of all containers together; `None`: all there is.
    pub rate: Option<RateLimit>,
    /// What happens to the lines, behind what Docker has put around them.
    pub stages: Vec<Stage>,
}
