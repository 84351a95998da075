//! An endpoint of metrics as the agent holds it: prepared, started, changed, looked at.
//!
//! Promises: what can fail fails before anything runs. When the task has ended everything is delivered, on disk, or counted as dropped. Leaves to
//! others: sending (`sender`), where its spool is.

use super::pending::{Form, Pending};
use super::queue::Queue;
use super::sender::{Parts, Sender};
use super::settings::Endpoint;
use super::status::Status;
use crate::base::metrics::Registry;
use crate::base::shutdown::{self, Shutdown};
use crate::model::points::Output;
use crate::pipeline::relabel::RelabelError;
use crate::sink::change::Change;
use crate::sink::client::{Client, ClientError};
use crate::sink::spool::Store;
use crate::sink::status::{EndpointStatus, State};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The label of its metrics that has its name.
pub const LABEL: &str = super::status::LABEL;

/// Why an endpoint cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("remote_write endpoint {endpoint}: {error}")]
pub struct PrepareError {
    /// Its name in the configuration.
    pub endpoint: String,
    /// What is wrong.
    pub error: What,
}

/// What is wrong with an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum What {
    /// How it is reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// `write_relabel_configs`.
    #[error("write_relabel_configs: {0}")]
    Relabel(#[from] RelabelError),
}

/// An endpoint whose settings are understood, and whose files are read: it can be started, or take the place of one that runs.
pub struct Prepared {
    settings: Endpoint,
    client: Client,
    form: Form,
}

impl Prepared {
    /// Does all that can fail.
    pub fn new(settings: Endpoint) -> Result<Self, PrepareError> {
        let understood = || -> Result<_, What> {
            // Whatever a 2xx says behind its status, all is stored.
            let client = Client::connecting(&settings.connection(), |status| (200..300).contains(&status))?;
            Ok((client, Form::new(&settings)?))
        };
        match understood() {
            Ok((client, form)) => Ok(Prepared { settings, client, form }),
            Err(error) => Err(PrepareError { endpoint: settings.name, error }),
        }
    }
}

/// A running endpoint.
#[derive(Debug)]
pub struct Handle {
    /// Ends after shutdown.
    pub task: JoinHandle<()>,
    pending: Arc<Pending>,
    status: Arc<Status>,
    queue: Arc<Queue>,
    change: Arc<Change<(Endpoint, Client)>>,
}

impl Handle {
    /// What collections write to.
    pub fn output(&self) -> Arc<dyn Output> {
        Arc::clone(&self.pending) as Arc<dyn Output>
    }

    /// Goes on under other settings: what is written from now on, and the next attempt; a pause between attempts is ended for it. The name stays.
    pub fn reconfigure(&self, prepared: Prepared) {
        let Prepared { settings, client, form } = prepared;
        self.status.moved(client.shown_url());
        self.pending.reform(form);
        self.change.put((settings, client));
    }

    /// How the endpoint is doing.
    pub fn status(&self) -> EndpointStatus {
        self.status.snapshot()
    }

    /// What sees the endpoint from the outside.
    pub fn monitor(&self) -> Monitor {
        Monitor(Arc::clone(&self.status))
    }

    /// Whether all that was sealed is delivered.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Sees how an endpoint is doing; may outlive it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Status>);

impl Monitor {
    /// How the endpoint is doing. `entries` are samples, `queued` sealed requests in memory.
    pub fn status(&self) -> EndpointStatus {
        self.0.snapshot()
    }

    /// Whether the last attempt failed, so that waiting a few seconds will hardly help.
    pub fn is_hopeless(&self) -> bool {
        matches!(self.0.snapshot().state, State::Retrying | State::Degraded)
    }
}

/// Starts an endpoint's sender as a task of the current tokio runtime. `store`: its spool ([`Store::of_metrics`]), if it has one. After `shutdown` what was
/// written by then is sent for two thirds of `stop_within`, or until an attempt fails; what is left goes to the spool in the rest of it.
pub fn start(
    settings: Endpoint,
    store: Option<Store>,
    registry: &Registry,
    shutdown: Shutdown,
    stop_within: Duration,
) -> Result<Handle, PrepareError> {
    Ok(launch(Prepared::new(settings)?, store, registry, shutdown, stop_within))
}

/// The same for an endpoint that is prepared.
pub fn launch(
    prepared: Prepared,
    store: Option<Store>,
    registry: &Registry,
    shutdown: Shutdown,
    stop_within: Duration,
) -> Handle {
    let Prepared { settings, client, form } = prepared;
    let status = Arc::new(Status::new(&settings.name, client.shown_url(), store.clone(), registry));
    let queue = Arc::new(Queue::new(store, Arc::clone(&status)));
    let pending = Arc::new(Pending::new(form, Arc::clone(&queue), Arc::clone(&status)));
    let change = Arc::new(Change::default());
    let sender = Sender::new(Parts {
        settings,
        client,
        queue: Arc::clone(&queue),
        pending: Arc::clone(&pending),
        status: Arc::clone(&status),
        change: Arc::clone(&change),
        shutdown,
        send_within: stop_within * 2 / 3,
    });
    let task = tokio::spawn(run(sender, Arc::clone(&queue), Arc::clone(&pending), stop_within / 3));
    Handle { task, pending, status, queue, change }
}

/// The sender, what seals by age, and what puts requests on disk; a panic of one ends all.
async fn run(sender: Sender, queue: Arc<Queue>, pending: Arc<Pending>, disk_within: Duration) {
    let (stop, stopped) = shutdown::channel();
    let mut stopping = stopped.clone();
    let spill = queue.spill(stopped);
    let work = async {
        tokio::select! {
            () = sender.run() => {}
            () = pending.watch() => {}
        }
        queue.spill_all();
        stop.raise();
    };
    let bounded = async {
        tokio::pin!(spill);
        tokio::select! {
            () = &mut spill => {}
            () = stopping.raised() => {
                // A disk that does not answer is not waited for.
                let _ = tokio::time::timeout(disk_within, spill).await;
            }
        }
    };
    tokio::join!(work, bounded);
    queue.close(disk_within / 2).await;
}
