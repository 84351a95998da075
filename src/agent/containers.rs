//! Who listens to Docker for the sources of a plan.
//!
//! Each has a thread of its own, `lugger-docker`, since what the API tells goes to disk. Promises: a source whose settings stay goes on with what it knows;
//! of two that follow each other only one listens at a time. Leaves to others: what is listened to (`source/docker`).

use super::Joints;
use crate::base::atomic_file::Replacement;
use crate::base::clock::Clock;
use crate::base::limits::DOCKER_STOP_MS;
use crate::base::shutdown::{self, Shutdown, Trigger};
use crate::source::docker::containers::{Containers, SettingsError};
use crate::source::docker::settings::{ApiLogs, Settings};
use crate::source::docker::status::Status;
use crate::source::docker::tap::Tap;
use crate::source::docker::told_name;
use crate::source::docker::watch::watch;
use crate::source::file::stored;
use crate::source::receive::inlet_path;
use crate::store::checkpoint::Checkpoints;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The directory of places in logs that Docker's API tells, in the state directory.
const PLACES: &str = "docker";

/// A docker source, and the thread that listens for it. Dropping it tells the thread to end.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) containers: Arc<Containers>,
    stop: Trigger,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

impl Joints {
    /// The directory of containers as Docker said it last, where it says nothing now: a source must not go from the disk to the API, and tell everything
    /// again, since Docker is slow to answer.
    fn settled(&self, settings: &Settings) -> Settings {
        let mut settled = Settings { is_guess: false, ..settings.clone() };
        let path = self.state_dir.join(PLACES).join(format!("{}.root", settings.name));
        let host = settings.host.to_string();
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        // The host, and a line behind it the directory; both may be of another configuration.
        let known =
            known.split_once('\n').filter(|(of, root)| *of == host && root.starts_with('/')).map(|(_, root)| root);
        if settings.is_guess {
            match known {
                Some(known) => settled.containers = known.into(),
                None => tracing::warn!(
                    source = %settings.name, host, containers = %settings.containers.display(),
                    "Docker did not say where it keeps its containers: they are expected in the usual place; `containers` says it once and for all"
                ),
            }
        } else if let Some(root) = settings.containers.to_str()
            && known != Some(root)
            && !root.contains('\n')
        {
            let written = std::fs::create_dir_all(self.state_dir.join(PLACES))
                .and_then(|()| Replacement::begin(&path))
                .and_then(|mut file| file.write_all(format!("{host}\n{root}").as_bytes()).and_then(|()| file.commit()));
            if let Err(error) = written {
                tracing::warn!(path = %path.display(), %error, "where Docker keeps its containers cannot be noted");
            }
        }
        settled
    }

    /// What is known of a source's containers: with the settings that it has already, or with others.
    pub(super) fn containers(
        &self,
        settings: &Settings,
        listening: &[Listening],
        store: &Checkpoints,
    ) -> Result<Arc<Containers>, SettingsError> {
        let settings = &self.settled(settings);
        let before = listening.iter().find(|listening| listening.containers.settings().name == settings.name);
        let before = before.map(|listening| &listening.containers);
        if let Some(before) = before
            && before.settings() == settings
        {
            return Ok(Arc::clone(before));
        }
        let status = match before {
            Some(before) => before.status().clone(),
            None => Status::new(&self.registry, &settings.name),
        };
        let tap = match before.and_then(|before| before.tap()) {
            _ if settings.api_logs != ApiLogs::Taken => None,
            Some(tap) => Some(Arc::clone(tap)),
            None => {
                let name = told_name(settings);
                let directory = inlet_path(&self.state_dir, &name);
                let (store, source, place) = (store.clone(), name.clone(), directory.clone());
                let delivered = Box::new(move |file: &str| stored(&store, &source, &place.join(file)));
                let places = self.state_dir.join(PLACES).join(format!("{}.json", settings.name));
                Some(Tap::open((&directory, places), &name, self.clock.clone(), &self.registry, delivered, &status)?)
            }
        };
        let before = before.map(|before| &**before);
        Containers::new(settings.clone(), (status, tap), &self.registry, self.wake.clone(), before)
    }
}

/// Listens for these from now on, and for nobody else.
pub(super) fn listen(next: Vec<Arc<Containers>>, mut before: Vec<Listening>, clock: &Clock) -> Vec<Listening> {
    let mut listening = Vec::new();
    for containers in next {
        let same = before.iter().position(|before| Arc::ptr_eq(&before.containers, &containers));
        if let Some(at) = same {
            listening.push(before.swap_remove(at));
            continue;
        }
        let name = &containers.settings().name;
        let replaced = before.iter_mut().find(|before| before.containers.settings().name == *name);
        let predecessor = replaced.and_then(|before| {
            before.stop.raise();
            before.thread.take()
        });
        let (stop, stopping) = shutdown::channel();
        let (its, clock) = (Arc::clone(&containers), clock.clone());
        let run = move || {
            // What it put down is to be known before anything is asked for.
            if let Some(predecessor) = predecessor {
                // An error is a panic, which has been shown.
                let _ = predecessor.join();
            }
            if let Err(error) = run(its, &clock, stopping) {
                tracing::error!(%error, "nobody listens to Docker: no runtime can be made");
            }
        };
        let thread = std::thread::Builder::new().name("lugger-docker".into()).spawn(run);
        let thread =
            thread.inspect_err(|error| tracing::error!(%error, "nobody listens to Docker: no thread can be made"));
        listening.push(Listening { containers, stop, thread: thread.ok() });
    }
    listening
}

/// The thread: listens until it is to stop.
fn run(containers: Arc<Containers>, clock: &Clock, mut stopping: Shutdown) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tap = containers.tap().cloned();
    runtime.block_on(async {
        let sync = async {
            match &tap {
                Some(tap) => tap.keep_synced().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopping.raised() => {}
            () = watch(containers, clock.clone()) => {}
            () = sync => {}
        }
    });
    // Tasks that take logs end with it.
    drop(runtime);
    if let Some(tap) = tap {
        tap.sync();
    }
    Ok(())
}

/// Stops all of them, and waits until they have put down what they have: not for long, if a disk does not answer.
pub(super) async fn stop(listening: Vec<Listening>) {
    let threads: Vec<JoinHandle<()>> = listening.into_iter().filter_map(|mut one| one.thread.take()).collect();
    let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| _ = thread.join()));
    let _ = tokio::time::timeout(Duration::from_millis(DOCKER_STOP_MS), joined).await;
}
