//! What is known of containers, by id: asked by the thread that reads files, told by the task that listens to Docker's API.
//!
//! Whose a log is is decided once, when it is met: a rename later on changes nothing, so that what is sent again after a crash has the labels that
//! it had; but what was not wanted may come to be. Where rules want what is known only when the container runs (networks, ports), the file waits for that; not for ever.
//!
//! Promises: an answer takes two small reads at the most, and no waiting; what is known of a container that is gone is kept until its log is read;
//! what is kept is bounded. Leaves to others: the API, the files.

use super::description::{ADDRESS, Description, NETWORK, Networks, PORT, STREAM, label_name};
use super::filter::Filters;
use super::settings::Settings;
use super::status::Status;
use super::tap::{Tap, Tapped};
use crate::base::expression::ExpressionError;
use crate::base::limits::{DOCKER_AWAIT_MS, DOCKER_CONTAINERS, DOCKER_DETAILS_MS, DOCKER_GONE_MS};
use crate::base::metrics::{Counter, Registry};
use crate::base::wake::Wake;
use crate::format::civil::format_rfc3339_ns;
use crate::model::labels::Labels;
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{RelabelError, Rules, Scratch};
use crate::source::file::settings::StartAt;
use crate::source::owner::{Marked, NotBefore, OwnLabels, Owner, Owners};
use crate::source::stages::{LabelRepairs, dropped};
use crate::store::inlet::InletError;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What stands before the stream of a line in a log, and the stream that is not the usual one.
const STREAM_KEY: &str = ",\"stream\":\"";
const STDERR: &str = "stderr\"";
/// What stands before the time of a line there, which is UTC.
const TIME_KEY: &str = "\"time\":\"";
/// The length of a time to the second.
const TO_SECONDS: usize = "2026-01-01T00:00:00".len();
/// Labels that `docker compose` gives to its containers, and what they become.
const COMPOSE: [(&str, &str); 2] =
    [("com.docker.compose.project", "compose_project"), ("com.docker.compose.service", "compose_service")];

/// Why the settings cannot be used; the configuration has refused them before.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Rules.
    #[error(transparent)]
    Rules(#[from] RelabelError),
    /// A filter.
    #[error(transparent)]
    Filter(#[from] ExpressionError),
    /// The inlet for what the API tells.
    #[error(transparent)]
    Inlet(#[from] InletError),
}

/// See the module.
#[derive(Debug)]
pub struct Containers {
    settings: Settings,
    filters: Filters,
    /// `None`: the usual labels.
    rules: Option<Rules>,
    wants: Wants,
    /// The container that the agent itself runs in, unless it is to be read.
    own: Option<String>,
    status: Status,
    unwanted: (Counter, Counter),
    repaired: LabelRepairs,
    /// Where logs that the API tells are put.
    tap: Option<Arc<Tap>>,
    /// Wakes the thread that reads files.
    wake: Wake,
    table: Mutex<Table>,
}

/// What the rules look at.
#[derive(Debug, Clone, Copy, Default)]
struct Wants {
    /// Which stream a line is of.
    stream: bool,
    /// What is known once the container runs.
    running: bool,
    /// What the API alone knows.
    details: bool,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<String, Known>,
    networks: Networks,
    scratch: Option<Scratch>,
    map: LabelMap,
}

#[derive(Debug)]
struct Known {
    description: Option<Description>,
    /// The description has all that rules look at.
    is_complete: bool,
    /// What was decided.
    owner: Option<Owner>,
    /// When it is decided at the latest, once somebody asked.
    deadline: Option<Instant>,
    /// When it was last asked for, or told of.
    used: Instant,
}

impl Containers {
    /// For a source. What was known `before` the settings changed is still known.
    pub fn new(
        settings: Settings,
        (status, tap): (Status, Option<Arc<Tap>>),
        registry: &Registry,
        wake: Wake,
        before: Option<&Containers>,
    ) -> Result<Arc<Self>, SettingsError> {
        let rules = settings.relabel.as_ref().map(|rules| Rules::compile(rules)).transpose()?;
        let filters = Filters::new(&settings.filters)?;
        let mut wants = rules.as_ref().map(wants).unwrap_or_default();
        wants.running |= filters.want_networks();
        let mut table = Table::default();
        if let Some(before) = before {
            let has_details = before.wants.details || !wants.details;
            let before = before.lock();
            table.networks = before.networks.clone();
            // What was enough for other rules may not be for these.
            let is_enough = |known: &Description| !wants.running || (known.has_started && has_details);
            let again = |known: &Known| Known {
                is_complete: known.description.as_ref().is_some_and(is_enough),
                description: known.description.clone(),
                owner: None,
                deadline: None,
                used: known.used,
            };
            table.known = before.known.iter().map(|(id, known)| (id.clone(), again(known))).collect();
        }
        Ok(Arc::new(Containers {
            filters,
            wants,
            rules,
            own: if settings.own_container { None } else { own_container() },
            status,
            unwanted: dropped(registry, &settings.name, "relabel"),
            repaired: LabelRepairs::new(registry, &settings.name),
            tap,
            wake,
            table: Mutex::new(table),
            settings,
        }))
    }

    /// What it was made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it tells of itself.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Where logs that the API tells are put; `None`: they are not taken.
    pub fn tap(&self) -> Option<&Arc<Tap>> {
        self.tap.as_ref()
    }

    /// How the log of a container is taken from the API. `None`: it is not wanted.
    pub(super) fn tapped(&self, description: &Description) -> Option<Tapped> {
        if !self.is_wanted(description) {
            return None;
        }
        let mut table = self.lock();
        let labels = ["stdout", "stderr"].map(|stream| {
            let labels = self.labels(&mut table, description, stream)?;
            // What the stage before the others does for files.
            let own = if self.rules.is_none() { Some(("stream", stream)) } else { None };
            Some(Labels::capped(labels.iter().chain(own), self.settings.label_caps).0)
        });
        drop(table);
        let imported = self.settings.imported.iter().find(|(id, _)| *id == description.id);
        let imported_ns = imported.map(|(_, seconds)| seconds.saturating_mul(1_000_000_000));
        let at_end = self.settings.start_at == StartAt::End;
        let new_ns = self.tap.as_ref().map(|tap| tap.begun_ns()).filter(|_| at_end);
        labels.iter().any(Option::is_some).then(|| Tapped {
            id: description.id.clone(),
            name: description.short_name().to_owned(),
            is_raw: description.has_terminal,
            labels,
            line_bytes: self.settings.line_bytes,
            since_ns: imported_ns.into_iter().chain(new_ns).max().unwrap_or_default(),
        })
    }

    /// Whether rules look at what the API alone knows of networks.
    pub(super) fn wants_details(&self) -> bool {
        self.wants.details
    }

    /// The API has told of networks.
    pub(super) fn set_networks(&self, networks: Networks) {
        self.lock().networks = networks;
    }

    /// Whether nothing more can be learned of a container.
    pub(super) fn is_described(&self, id: &str) -> bool {
        self.lock().known.get(id).is_some_and(|known| known.is_complete)
    }

    /// The API has told of a container. True if it is wanted.
    pub(super) fn describe(&self, description: Description) -> bool {
        let mut table = self.lock();
        let is_wanted = self.is_wanted(&description);
        let id = description.id.clone();
        let now = Instant::now();
        table.make_room(&self.settings.containers, now);
        let known = table.known.entry(id).or_insert_with(|| Known::new(now));
        known.used = now;
        if is_wanted && matches!(known.owner, Some(Owner::Unwanted)) {
            // It has another name now, or another network.
            *known = Known::new(now);
        }
        if known.owner.is_none() && (description.has_started || !self.wants.running || known.description.is_none()) {
            known.is_complete |= description.has_started || !self.wants.running;
            known.description = Some(description);
            if known.is_complete && known.deadline.is_some() {
                // Its log waits for this.
                self.wake.wake();
            }
        }
        is_wanted
    }

    /// The API has listed all containers: what is not among them is gone, and is forgotten in a while.
    pub(super) fn listed(&self, ids: &HashSet<String>) {
        let mut table = self.lock();
        let now = Instant::now();
        for id in ids {
            if let Some(known) = table.known.get_mut(id) {
                known.used = now;
            }
        }
        table.known.retain(|_, known| now.duration_since(known.used) < Duration::from_millis(DOCKER_GONE_MS));
        let listed = ids.iter().filter_map(|id| table.known.get(id)?.description.as_ref());
        let wanted = listed.filter(|description| self.is_wanted(description)).count();
        self.status.containers.set(wanted as f64);
        drop(table);
        if let Some(tap) = &self.tap {
            tap.living(ids);
        }
    }

    fn is_wanted(&self, description: &Description) -> bool {
        self.own.as_ref() != Some(&description.id) && self.filters.agree(description)
    }

    /// Whether it is wanted, or may be once it runs.
    fn may_be_wanted(&self, description: &Description) -> bool {
        if description.has_started {
            return self.is_wanted(description);
        }
        self.own.as_ref() != Some(&description.id) && self.filters.may_agree(description)
    }

    fn owner(&self, table: &mut Table, id: &str, now: Instant) -> Owner {
        table.make_room(&self.settings.containers, now);
        let wait = now + Duration::from_millis(DOCKER_AWAIT_MS);
        let known = table.known.entry(id.to_owned()).or_insert_with(|| Known::new(now));
        known.used = now;
        if let Some(owner) = &known.owner {
            return owner.clone();
        }
        let deadline = *known.deadline.get_or_insert(wait);
        let mut error = None;
        if !known.is_complete {
            match Description::on_disk(&self.settings.containers.join(id)) {
                Ok(description) => {
                    known.is_complete = !self.wants.running || (description.has_started && !self.wants.details);
                    known.description = Some(description);
                }
                Err(found) => error = Some(found),
            }
        }
        // What no filter wants needs not be known better.
        let is_unwanted = known.description.as_ref().is_some_and(|description| !self.may_be_wanted(description));
        if !known.is_complete && !is_unwanted {
            if now < deadline {
                return Owner::Awaited(deadline);
            }
            // At the start of a host the agent may be there before Docker.
            let late = deadline + Duration::from_millis(DOCKER_DETAILS_MS);
            if self.wants.details && !self.status.has_worked() && now < late {
                return Owner::Awaited(now + Duration::from_millis(DOCKER_AWAIT_MS));
            }
            if known.description.is_some() {
                self.tell_incomplete(id);
            }
        }
        let description = known.description.clone();
        if description.is_none()
            && let Some((path, error)) = error
        {
            self.tell_nameless(id, &path, &error);
        }
        let owner = self.decide(table, &description.unwrap_or_else(|| Description::unknown(id)));
        if let Some(known) = table.known.get_mut(id) {
            known.owner = Some(owner.clone());
        }
        owner
    }

    fn tell_incomplete(&self, id: &str) {
        let short = id.get(..12).unwrap_or(id);
        let text = format!(
            "container {short}: not all that the rules or filters look at is known (networks, ports), since it has not started or Docker's API did not \
             tell; its log is judged by what is known"
        );
        if self.status.container_fails(id, &text) {
            tracing::warn!(source = %self.settings.name, "{text}");
        }
    }

    fn tell_nameless(&self, id: &str, path: &Path, error: &io::Error) {
        let short = id.get(..12).unwrap_or(id);
        let text = format!(
            "container {short}: its name and labels are not known: {} cannot be read ({error}), and Docker's API did not tell; its id stands \
             for its name",
            path.display()
        );
        if self.status.container_fails(id, &text) {
            tracing::warn!(source = %self.settings.name, "{text}");
        }
    }

    fn decide(&self, table: &mut Table, description: &Description) -> Owner {
        if !self.is_wanted(description) {
            return Owner::Unwanted;
        }
        let usual = self.labels(table, description, "stdout");
        let marked = self.wants.stream.then(|| Marked {
            key: STREAM_KEY,
            value: STDERR,
            labels: self.labels(table, description, "stderr"),
        });
        if usual.is_none() && marked.as_ref().is_none_or(|marked| marked.labels.is_none()) {
            return Owner::Unwanted;
        }
        if description.truncates {
            tracing::warn!(
                source = %self.settings.name, container = %description.short_name(),
                "Docker truncates this container's log when it is full, and what is not read by then is lost: set the log option max-file to 2 \
                 or more"
            );
        }
        let imported = self.settings.imported.iter().find(|(id, _)| *id == description.id);
        let not_before = imported.map(|(_, seconds)| {
            let mut time = format_rfc3339_ns(seconds.saturating_mul(1_000_000_000));
            time.truncate(TO_SECONDS);
            NotBefore { key: TIME_KEY, time }
        });
        Owner::Known(Arc::new(OwnLabels { usual, marked, not_before, unwanted: self.unwanted.clone() }))
    }

    /// The labels of lines of a stream. `None`: rules drop them.
    fn labels(&self, table: &mut Table, description: &Description, stream: &str) -> Option<Labels> {
        let settings = &self.settings;
        let Table { networks, scratch, map, .. } = table;
        map.clear();
        match &self.rules {
            None => {
                map.set("container", description.short_name());
                for (name, label) in COMPOSE {
                    map.set(label, description.label(name).unwrap_or_default());
                }
                for name in &settings.keep_labels {
                    map.set(&label_name("", name), description.label(name).unwrap_or_default());
                }
                settings.labels.iter().for_each(|(name, value)| map.set(name, value));
            }
            Some(rules) => {
                settings.labels.iter().for_each(|(name, value)| map.set(name, value));
                description.discover(networks, map);
                map.set(STREAM, stream);
                let scratch = scratch.get_or_insert_with(|| rules.scratch());
                if !rules.apply(map, scratch) {
                    return None;
                }
                map.drop_internal();
            }
        }
        let (labels, repairs) = Labels::capped(settings.outer_labels.iter().chain(map.iter()), settings.label_caps);
        self.repaired.add(repairs);
        Some(labels)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Entries are put in whole; a panic between leaves at worst one that is decided anew.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owners for Containers {
    fn of(&self, path: &Path) -> Owner {
        let Some(id) = id_of(path) else { return Owner::Unwanted };
        self.owner(&mut self.lock(), id, Instant::now())
    }
}

impl Known {
    fn new(now: Instant) -> Self {
        Known { description: None, is_complete: false, owner: None, deadline: None, used: now }
    }
}

impl Table {
    /// Above the bound those go that are gone and were not asked for in a while.
    fn make_room(&mut self, containers: &Path, now: Instant) {
        if self.known.len() < DOCKER_CONTAINERS {
            return;
        }
        let is_old = |known: &Known| now.duration_since(known.used) >= Duration::from_millis(DOCKER_GONE_MS);
        self.known.retain(|id, known| !is_old(known) || containers.join(id).is_dir());
    }
}

/// Whose log it is, by its path: `…/ID/ID-json.log`.
fn id_of(path: &Path) -> Option<&str> {
    let id = path.parent()?.file_name()?.to_str()?;
    let is_log = path.file_name()?.to_str()?.strip_suffix("-json.log") == Some(id);
    (is_log && !id.is_empty()).then_some(id)
}

/// What rules look at.
fn wants(rules: &Rules) -> Wants {
    let mut scratch = rules.scratch();
    let mut reads = |names: &[&str], prefix: &str| {
        let by_name =
            rules.reads().any(|read| names.contains(&read) || (!prefix.is_empty() && read.starts_with(prefix)));
        by_name || names.iter().any(|name| rules.maps(name, &mut scratch))
    };
    let of = |prefix: &str, names: &[&str]| names.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>();
    let plain = of(NETWORK, &["id", "name", "ip"]);
    let ports = of(PORT, &["private", "public", "public_ip"]);
    let known: Vec<&str> = plain.iter().chain(&ports).map(String::as_str).chain([ADDRESS]).collect();
    let details = of(NETWORK, &["ingress", "internal", "scope", "label_any"]);
    let details: Vec<&str> = details.iter().map(String::as_str).collect();
    let details = reads(&details, &format!("{NETWORK}label_"));
    Wants { stream: reads(&[STREAM], ""), running: details || reads(&known, ""), details }
}

/// The container that this process runs in: Docker mounts files of its directory into it.
fn own_container() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let id = |line: &str| {
        let behind = line.split_once("/containers/")?.1;
        let id = behind.split('/').next()?;
        (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
    };
    mounts.lines().filter(|line| line.contains("/etc/hostname ")).find_map(id)
}

#[cfg(test)]
#[path = "containers_tests.rs"]
mod tests;
