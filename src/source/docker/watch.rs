//! The task that listens to Docker's API: what containers there are, and what happens to them.
//!
//! It says of itself that it is degraded while there is nobody to listen to, tries again with pauses, and asks for the events since the last one
//! that it has seen. The list is asked for now and then all the same, so that nothing missed lasts.
//!
//! Promises: never ends by itself; a container that is gone before it could be asked about is no error. Leaves to others: logs on disk.

use super::api::{Api, ApiError, Event};
use super::containers::Containers;
use super::description::{Description, networks};
use super::settings::Host;
use super::tap::{self, End, Tapped};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::limits::DOCKER_RETRY_MS;
use crate::base::text::head;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The driver that keeps nothing.
const NOWHERE: &str = "none";

/// Listens until it is dropped.
pub async fn watch(containers: Arc<Containers>, clock: Clock) {
    let (min, max) = DOCKER_RETRY_MS;
    let mut backoff = Backoff::new(Duration::from_millis(min), Duration::from_millis(max));
    // What happens from now on; what was before is in the list.
    let mut since_ns = clock.now_ns();
    loop {
        let status = containers.status();
        let Err(error) = listen(&containers, &mut since_ns, &mut backoff).await;
        if status.up.get() > 0.0 {
            status.lost.add(1);
        }
        let settings = containers.settings();
        let is_needed = std::fs::read_dir(&settings.containers).is_err();
        if status.fails(&error.to_string(), is_needed) {
            let goes_on = if is_needed {
                "no logs of containers are read until it does"
            } else {
                "logs on disk are read all the same"
            };
            tracing::warn!(source = %settings.name, "{error}; {goes_on}");
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

/// A connection to the API, and the logs that are taken by it.
struct Session<'a> {
    api: Arc<Api>,
    containers: &'a Containers,
    /// A task for each log that is taken, with its container; dropping the session ends them.
    tasks: JoinSet<(Tapped, End)>,
    /// Whose logs are taken, or were taken to the end. `true`: it was started again meanwhile.
    tapped: HashMap<String, bool>,
    /// Whose logs are taken now.
    taking: HashSet<String>,
}

/// Listens until there is an error.
async fn listen(containers: &Containers, since_ns: &mut i64, backoff: &mut Backoff) -> Result<Infallible, ApiError> {
    let settings = containers.settings();
    let mut api = Api::new(&settings.host)?;
    api.negotiate().await?;
    // Before the list, so that nothing falls between.
    let mut events = api.events(*since_ns).await?;
    let api = Arc::new(api);
    let mut session =
        Session { api, containers, tasks: JoinSet::new(), tapped: HashMap::new(), taking: HashSet::new() };
    session.refresh().await?;
    backoff.reset();
    if containers.status().works() {
        tracing::info!(source = %settings.name, host = %settings.host, "Docker's API answers again");
    }
    let mut refresh_at = Instant::now() + settings.refresh;
    loop {
        tokio::select! {
            event = events.next() => {
                let event = event?;
                *since_ns = event.time_ns.max(*since_ns);
                session.take(&event).await?;
            }
            Some(ended) = session.tasks.join_next() => {
                // What panicked has been shown.
                if let Ok((tapped, end)) = ended {
                    session.ended(tapped, end);
                }
            }
            () = tokio::time::sleep_until(refresh_at) => {
                session.refresh().await?;
                refresh_at = Instant::now() + settings.refresh;
            }
        }
    }
}

impl Session<'_> {
    /// Takes in one event.
    async fn take(&mut self, event: &Event) -> Result<(), ApiError> {
        match event.action.as_str() {
            "start" => self.describe(&event.id, true).await,
            // When it is made the file that its log goes to is not there yet.
            "create" if !self.containers.is_described(&event.id) => self.describe(&event.id, false).await,
            "destroy" => {
                self.containers.status().container_works(&event.id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes in the list.
    async fn refresh(&mut self) -> Result<(), ApiError> {
        self.learn_networks().await?;
        let ids = self.api.containers().await?;
        for id in &ids {
            // A session asks once about each: its log may be one to be taken.
            if !self.tapped.contains_key(id) {
                self.describe(id, false).await?;
            }
        }
        self.tapped.retain(|id, _| ids.contains(id));
        self.containers.listed(&ids);
        Ok(())
    }

    async fn learn_networks(&self) -> Result<(), ApiError> {
        if self.containers.wants_details() {
            self.containers.set_networks(networks(&self.api.networks().await?));
        }
        Ok(())
    }

    /// Asks about a container, and does what follows. `has_started`: just now.
    async fn describe(&mut self, id: &str, has_started: bool) -> Result<(), ApiError> {
        if !self.containers.is_described(id) {
            self.learn_networks().await?;
        }
        let answer = match self.api.inspect(id).await {
            Err(error) if error.is_not_found() => return Ok(()),
            answer => answer?,
        };
        let Some(description) = Description::of(&answer, None) else { return Ok(()) };
        let is_on_disk = is_on_disk(self.containers, &description);
        let problem = problem(self.containers, &description, is_on_disk);
        let tapped = if is_on_disk || problem.is_some() || description.driver == NOWHERE {
            None
        } else {
            self.containers.tapped(&description)
        };
        let short_name = description.short_name().to_owned();
        let is_wanted = self.containers.describe(description);
        match problem.filter(|_| is_wanted) {
            Some(problem) => self.tell(id, &format!("container {short_name}: {problem}")),
            None => self.containers.status().container_works(id),
        }
        let is_known = self.tapped.get_mut(id).map(|again| *again = has_started).is_some();
        match tapped {
            Some(tapped) if !is_known => self.begin(tapped),
            _ if !is_known => _ = self.tapped.insert(id.to_owned(), false),
            Some(tapped) if has_started && !self.is_taking(id) => self.begin(tapped),
            _ => {}
        }
        Ok(())
    }

    fn is_taking(&self, id: &str) -> bool {
        self.taking.contains(id)
    }

    /// Begins to take a log.
    fn begin(&mut self, tapped: Tapped) {
        let Some(tap) = self.containers.tap().cloned() else { return };
        self.tapped.insert(tapped.id.clone(), false);
        self.taking.insert(tapped.id.clone());
        let api = Arc::clone(&self.api);
        self.tasks.spawn(async move {
            let end = tap::take(&api, &tap, &tapped).await;
            (tapped, end)
        });
    }

    /// A log is taken to its end.
    fn ended(&mut self, tapped: Tapped, end: End) {
        let id = tapped.id.clone();
        self.taking.remove(&id);
        match end {
            End::Over => {
                // Started again while the last of it was taken.
                if self.tapped.get(&id).copied().unwrap_or_default() {
                    self.begin(tapped);
                }
            }
            End::Gone => {}
            End::Unreadable(problem) => self.tell(&id, &format!("container {}: {problem}", head(&id, 12))),
            // The next session goes on, or the next look at the list.
            End::Broken => _ = self.tapped.remove(&id),
        }
    }

    fn tell(&self, id: &str, problem: &str) {
        if self.containers.status().container_fails(id, problem) {
            tracing::warn!(source = %self.containers.settings().name, "{problem}");
        }
    }
}

/// Whether the file source reads, or will read, the log of a container.
fn is_on_disk(containers: &Containers, description: &Description) -> bool {
    if description.driver != "json-file" || matches!(containers.settings().host, Host::Tcp(_)) {
        return false;
    }
    let expected = &containers.settings().containers;
    let Some(directory) = description.log_path.parent().and_then(Path::parent) else {
        // It was never started.
        return std::fs::read_dir(expected).is_ok();
    };
    let is_same = || std::fs::canonicalize(expected).is_ok_and(|expected| expected == *directory);
    if directory != expected && !is_same() {
        return false;
    }
    match std::fs::File::open(&description.log_path) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound && std::fs::read_dir(expected).is_ok(),
    }
}

/// Why the log of a container is not read.
fn problem(containers: &Containers, description: &Description, is_on_disk: bool) -> Option<String> {
    let driver = description.driver.as_str();
    if is_on_disk || driver == NOWHERE || containers.tap().is_some() {
        return None;
    }
    if driver != "json-file" {
        return Some(format!("its log goes to the driver {driver}, and `api_logs` is false"));
    }
    let directory = description.log_path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    Some(format!("its log in {} cannot be read, and `api_logs` is false", directory.display()))
}
