//! The task that listens to Docker's API: what containers there are, and what happens to them.
//!
//! It says of itself that it is degraded while there is nobody to listen to, tries again with pauses, and asks for the events since the last one
//! that it has seen. The list is asked for now and then all the same, so that nothing missed lasts.
//!
//! Promises: never ends by itself; a container that is gone before it could be asked about is no error. Leaves to others: logs.

use super::api::{Api, ApiError, Event};
use super::containers::Containers;
use super::description::{Description, networks};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::limits::DOCKER_RETRY_MS;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

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

/// Listens until there is an error.
async fn listen(containers: &Containers, since_ns: &mut i64, backoff: &mut Backoff) -> Result<Infallible, ApiError> {
    let settings = containers.settings();
    let mut api = Api::new(&settings.host)?;
    api.negotiate().await?;
    // Before the list, so that nothing falls between.
    let mut events = api.events(*since_ns).await?;
    refresh(&api, containers).await?;
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
                take(&api, containers, &event).await?;
            }
            () = tokio::time::sleep_until(refresh_at) => {
                refresh(&api, containers).await?;
                refresh_at = Instant::now() + settings.refresh;
            }
        }
    }
}

/// Takes in one event.
async fn take(api: &Api, containers: &Containers, event: &Event) -> Result<(), ApiError> {
    match event.action.as_str() {
        // When it is made the file that its log goes to is not there yet; when it has started its networks are known.
        "create" | "start" if !containers.is_described(&event.id) => describe(api, containers, &event.id).await,
        "destroy" => {
            containers.status().container_works(&event.id);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Takes in the list.
async fn refresh(api: &Api, containers: &Containers) -> Result<(), ApiError> {
    if containers.wants_details() {
        containers.set_networks(networks(&api.networks().await?));
    }
    let ids = api.containers().await?;
    for id in ids.iter().filter(|id| !containers.is_described(id)) {
        describe(api, containers, id).await?;
    }
    containers.listed(&ids);
    Ok(())
}

async fn describe(api: &Api, containers: &Containers, id: &str) -> Result<(), ApiError> {
    if containers.wants_details() {
        containers.set_networks(networks(&api.networks().await?));
    }
    let answer = match api.inspect(id).await {
        Err(error) if error.is_not_found() => return Ok(()),
        answer => answer?,
    };
    let Some(description) = Description::of(&answer, None) else { return Ok(()) };
    let problem = problem(containers, &description);
    let (id, short_name) = (description.id.clone(), description.short_name().to_owned());
    let is_wanted = containers.describe(description);
    match problem.filter(|_| is_wanted) {
        Some(problem) => {
            let text = format!("container {short_name}: {problem}");
            if containers.status().container_fails(&id, &text) {
                tracing::warn!(source = %containers.settings().name, "{text}");
            }
        }
        None => containers.status().container_works(&id),
    }
    Ok(())
}

/// Why the log of a container is not read.
fn problem(containers: &Containers, description: &Description) -> Option<String> {
    let driver = description.driver.as_str();
    if driver != "json-file" {
        let help = match driver {
            "journald" => "a `journal` source reads it, by CONTAINER_NAME",
            _ => "only logs of the driver json-file are read",
        };
        return Some(format!("its log goes to the driver {driver}: {help}"));
    }
    let directory = description.log_path.parent().and_then(|directory| directory.parent())?;
    let expected = &containers.settings().containers;
    let is_same = || std::fs::canonicalize(expected).is_ok_and(|expected| expected == *directory);
    (directory != expected && !is_same())
        .then(|| format!("its log is in {}: write that as `containers` of the source", directory.display()))
}
