//! Who listens to Docker for the sources of a plan.
//!
//! Promises: a source whose settings stay goes on with what it knows. Leaves to others: what is listened to (`source/docker`).

use super::Joints;
use crate::base::clock::Clock;
use crate::source::docker::containers::{Containers, SettingsError};
use crate::source::docker::settings::Settings;
use crate::source::docker::status::Status;
use crate::source::docker::watch::watch;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A docker source, and the task that listens for it. Dropping it ends the task.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) containers: Arc<Containers>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Joints {
    /// What is known of a source's containers: with the settings that it has already, or with others.
    pub(super) fn containers(
        &self,
        settings: &Settings,
        listening: &[Listening],
    ) -> Result<Arc<Containers>, SettingsError> {
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
        Containers::new(settings.clone(), status, &self.registry, self.wake.clone(), before.map(|before| &**before))
    }
}

/// Listens for these from now on, and for nobody else. Must be called within a tokio runtime.
pub(super) fn listen(next: Vec<Arc<Containers>>, mut before: Vec<Listening>, clock: &Clock) -> Vec<Listening> {
    let mut listening = Vec::new();
    for containers in next {
        let stays = before.iter().position(|before| Arc::ptr_eq(&before.containers, &containers));
        listening.push(match stays {
            Some(at) => before.swap_remove(at),
            None => {
                let task = tokio::spawn(watch(Arc::clone(&containers), clock.clone()));
                Listening { containers, task }
            }
        });
    }
    listening
}
