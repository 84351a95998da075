//! The task that listens to Docker's API: what containers there are, and what happens to them.
//!
//! It says of itself that it is degraded while there is nobody to listen to, tries again with pauses, and asks for the events since the last one
//! that it has seen. The list is asked for now and then all the same, so that nothing missed lasts.
//!
//! Promises: never ends by itself; a container that is gone before it could be asked about is no error; one that the API fails to tell about, or whose
//! log breaks off, keeps nobody from the others, and is asked for again. Leaves to others: logs on disk.

use super::api::{Api, ApiError, Event};
use super::containers::Containers;
use super::description::{Description, networks};
use super::settings::{ApiLogs, Host};
use super::tap::{self, End, Places, Tapped};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::limits::{DOCKER_LOG_RETRY_MS, DOCKER_LOGS, DOCKER_RETRY_MS};
use crate::base::text::head;
use rustix::process::{Resource, getrlimit};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The driver that keeps nothing.
const NOWHERE: &str = "none";
/// What it is noted under that there are more logs than places.
const CROWDED: &str = "places";
/// What problems with networks are noted under.
const NETWORKS: &str = "networks";

/// Listens until it is dropped.
pub async fn watch(containers: Arc<Containers>, clock: Clock) {
    let (min, max) = DOCKER_RETRY_MS;
    let mut backoff = Backoff::new(Duration::from_millis(min), Duration::from_millis(max));
    // What happens from now on; what was before is in the list.
    let mut since_ns = clock.now_ns();
    let status = containers.status();
    if !status.has_worked() && std::fs::read_dir(&containers.settings().containers).is_err() {
        let host = &containers.settings().host;
        status.fails(&format!("Docker's API at {host} has not answered yet"), true);
    }
    loop {
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
    /// Places for those that are connected.
    places: Arc<Places>,
    /// How many there are.
    room: usize,
    /// Containers that were asked about, and what is done about their logs.
    known: HashMap<String, Log>,
}

/// What is done about the log of a container.
#[derive(Debug, Default)]
struct Log {
    /// It is taken now, or will be soon.
    is_taken: bool,
    /// It was started again meanwhile.
    again: bool,
    /// Pauses before it is asked for again, where it breaks off.
    backoff: Option<Backoff>,
    /// When it was last asked for.
    begun: Option<Instant>,
}

/// Listens until there is an error.
async fn listen(containers: &Containers, since_ns: &mut i64, backoff: &mut Backoff) -> Result<Infallible, ApiError> {
    let settings = containers.settings();
    let mut api = Api::new(&settings.host)?;
    api.negotiate().await?;
    // Before the list, so that nothing falls between.
    let mut events = api.events(*since_ns).await?;
    let api = Arc::new(api);
    let descriptors = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most / 2).ok());
    let room = descriptors.unwrap_or(DOCKER_LOGS).clamp(1, DOCKER_LOGS);
    let places = Arc::new(Places::new(room));
    let mut session = Session { api, containers, tasks: JoinSet::new(), places, room, known: HashMap::new() };
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
            // What was not wanted may be now.
            "rename" | "connect" => self.describe(&event.id, false).await,
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
            if !self.known.contains_key(id) {
                self.describe(id, false).await?;
            }
        }
        let ids: HashSet<String> = ids.into_iter().collect();
        self.known.retain(|id, _| ids.contains(id));
        self.containers.listed(&ids);
        Ok(())
    }

    async fn learn_networks(&self) -> Result<(), ApiError> {
        if self.containers.wants_details() {
            match self.api.networks().await {
                Ok(list) => {
                    self.containers.set_networks(networks(&list));
                    self.containers.status().container_works(NETWORKS);
                }
                // Such as one that is not allowed to tell.
                Err(error) if error.is_of_one() => self.tell(NETWORKS, &format!("networks are not known: {error}")),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Asks about a container, and does what follows. `has_started`: just now. An error is one of the API as a whole.
    async fn describe(&mut self, id: &str, has_started: bool) -> Result<(), ApiError> {
        if !self.containers.is_described(id) {
            self.learn_networks().await?;
        }
        let answer = match self.api.inspect(id).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if error.is_of_one() => {
                // It is asked about again with the next list.
                self.tell(id, &format!("container {}: {error}", head(id, 12)));
                match self.known.get_mut(id) {
                    Some(log) if log.is_taken => log.again |= has_started,
                    _ => _ = self.known.remove(id),
                }
                return Ok(());
            }
            Err(error) => return Err(error),
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
        let is_known = self.known.contains_key(id);
        let log = self.known.entry(id.to_owned()).or_default();
        log.again |= has_started;
        match tapped {
            // What is wanted only now is not taken yet, whether it has just started or not.
            Some(tapped) if !log.is_taken && (has_started || !is_known || log.begun.is_none()) => {
                self.begin(tapped, Duration::ZERO);
            }
            _ => {}
        }
        Ok(())
    }

    /// Begins to take a log, in a while.
    fn begin(&mut self, tapped: Tapped, pause: Duration) {
        let Some(tap) = self.containers.tap().cloned() else { return };
        let log = self.known.entry(tapped.id.clone()).or_default();
        (log.is_taken, log.again, log.begun) = (true, false, Some(Instant::now() + pause));
        let (api, status) = (Arc::clone(&self.api), self.containers.status().clone());
        let (places, room) = (Arc::clone(&self.places), self.room);
        let source = self.containers.settings().name.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            let crowded = || {
                let problem = format!(
                    "lugger takes {room} logs from Docker's API at a time, and more containers have some: they take turns, and lines come late. \
                     {DOCKER_LOGS} is the most; fewer are half of the limit of open files (LimitNOFILE)"
                );
                if status.container_fails(CROWDED, &problem) {
                    tracing::warn!(source, "{problem}");
                }
            };
            // Whether there is room is known only here: those that begin with this one may have been quicker.
            let place = places.take(crowded).await;
            let end = tap::take(&api, &tap, &status, &tapped, &places).await;
            drop(place);
            (tapped, end)
        });
    }

    /// A log was taken to its end, or as far as it is told now.
    fn ended(&mut self, tapped: Tapped, end: End) {
        let log = self.known.get_mut(&tapped.id);
        let begins_again = log.as_ref().is_some_and(|log| match end {
            End::Over => log.again,
            End::Gone => false,
            End::Turn | End::Broken | End::Unreadable(_) => true,
        });
        if self.tasks.len().saturating_add(usize::from(begins_again)) <= self.room {
            self.containers.status().container_works(CROWDED);
        }
        let Some(log) = log else { return };
        log.is_taken = false;
        match end {
            End::Turn => self.begin(tapped, Duration::ZERO),
            // Started again while the last of it was taken.
            End::Over if log.again => self.begin(tapped, Duration::ZERO),
            End::Over | End::Gone => {}
            End::Broken => self.begin_again(tapped),
            End::Unreadable(problem) => {
                self.tell(&tapped.id, &format!("container {}: {problem}", tapped.name));
                self.begin_again(tapped);
            }
        }
    }

    fn begin_again(&mut self, tapped: Tapped) {
        let Some(log) = self.known.get_mut(&tapped.id) else { return };
        let (min, max) = DOCKER_LOG_RETRY_MS;
        let max = Duration::from_millis(max);
        let backoff = log.backoff.get_or_insert_with(|| Backoff::new(Duration::from_millis(min), max));
        if log.begun.is_some_and(|begun| begun.elapsed() > max) {
            backoff.reset();
        }
        let pause = backoff.next_pause();
        self.begin(tapped, pause);
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
    // Whatever it is, it is not waited for.
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW).bits();
    let flags = i32::try_from(flags).unwrap_or_default();
    match std::fs::File::options().read(true).custom_flags(flags).open(&description.log_path) {
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
    let why = match containers.settings().api_logs {
        ApiLogs::DryRun => "a dry run does not ask the API",
        ApiLogs::Off | ApiLogs::Taken => "`api_logs` is false",
    };
    if driver != "json-file" {
        return Some(format!("its log goes to the driver {driver}, and {why}"));
    }
    let directory = description.log_path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    Some(format!("its log in {} cannot be read, and {why}", directory.display()))
}
