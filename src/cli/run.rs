//! `lugger run`: the agent, until it is told to stop; with another configuration when it is told to read it again.

use super::output::complain;
use super::rehearse;
use super::service::Service;
use super::signals::{Hangups, Signals};
use super::start::{load, view};
use crate::agent::Agent;
use crate::base::metrics::Registry;
use crate::base::shutdown;
use crate::config::plan::Plan;
use crate::web::{ReloadRequest, Web};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::sync::mpsc;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/lugger/agent.yaml")]
    pub config: PathBuf,

    /// Print what would be sent; send nothing and move no cursor
    #[arg(long)]
    dry_run: bool,

    /// Feed stdin to the pipeline of an entry of `logs`, in place of its files
    #[arg(long, requires = "dry_run")]
    stdin: bool,

    /// The entry of `logs` that stdin is for; without this the first one
    #[arg(long, value_name = "NAME", requires = "stdin")]
    source: Option<String>,

    /// Show what each stage changes
    #[arg(long, requires = "dry_run")]
    inspect: bool,
}

/// Runs the command.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    let plan = match load(&options.config) {
        Ok(plan) => plan,
        Err(error) => {
            // The report is complete in itself.
            complain(&format!("{error:#}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    if options.stdin {
        return rehearse::stdin(&plan, options.source.as_deref(), options.inspect);
    }
    let runtime = super::runtime()?;
    let ended = if options.dry_run {
        runtime.block_on(rehearse::files(plan, options.inspect))
    } else {
        runtime.block_on(serve(plan, options))
    };
    // A disk or a name server that does not answer is not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(plan: Plan, options: &Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let mut hangups = Hangups::listen()?;
    let service = Service::from_environment();
    // Before anything else is started: an address in use is the likeliest mistake.
    let web = match plan.http {
        Some(address) => Some(Web::bind(address).await?),
        None => None,
    };
    let (sources, endpoints) = (plan.sources(), plan.endpoints());
    let mut agent = Agent::start(plan, Registry::default()).await?;
    let (stop_web, stopping) = shutdown::channel();
    let (ask, mut asked) = mpsc::channel(1);
    let http = web.as_ref().map(Web::address);
    let web = web.map(|web| tokio::spawn(web.serve(view(&agent, Some(ask)), stopping)));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %options.config.display(),
        sources,
        endpoints,
        http = http.map_or("off".to_owned(), |address| format!("http://{address}/")),
        "lugger runs"
    );
    service.watch(&agent);
    let failed = loop {
        let request = tokio::select! {
            signal = signals.next() => {
                say_stopping(signal);
                break false;
            }
            () = agent.failed() => break true,
            () = agent.finished() => {
                let input = agent.input();
                if !input.has_failed() && input.lost() == 0 {
                    tracing::info!("stdin has ended, and all of it is stored: there is nothing left to do");
                }
                break false;
            }
            () = hangups.next() => None,
            Some(request) = asked.recv() => Some(request),
        };
        service.reloading();
        let result = tokio::select! {
            result = reload(&mut agent, &options.config) => result,
            signal = signals.next() => {
                say_stopping(signal);
                break false;
            }
        };
        service.reloaded(&agent);
        if let Some(ReloadRequest(answer)) = request {
            // Whoever asked may be gone.
            let _ = answer.send(result);
        }
    };
    service.stopping();
    // Those who ask from now on are told that the agent stops.
    drop(asked);
    let input = agent.input();
    signals.impatient(agent.stop()).await?;
    stop_web.raise();
    if let Some(web) = web {
        // It ends by itself; an error would be a panic, which has been shown already.
        let _ = web.await;
    }
    anyhow::ensure!(
        !failed,
        "lugger ends because a part of it failed, which is a bug; nothing is lost, start it again"
    );
    let lost = input.lost();
    if lost > 0 {
        tracing::error!(lines = lost, "not all of stdin is stored: these lines were read and are lost");
    }
    tracing::info!("stopped");
    Ok(if input.has_failed() || lost > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn say_stopping(signal: &str) {
    tracing::info!(signal, "stopping; what is under way is finished first");
}

/// Reads the configuration again and changes to it. What came of it, in words: an error is the whole report, and the configuration before
/// runs on.
async fn reload(agent: &mut Agent, config: &Path) -> Result<String, String> {
    let path = config.to_owned();
    // Files of secrets and certificates are read as well, and a disk may be slow: nothing else waits for it.
    let loaded = tokio::task::spawn_blocking(move || load(&path)).await;
    let result = match loaded.unwrap_or_else(|failed| Err(anyhow::Error::new(failed))) {
        Ok(plan) => {
            let (sources, endpoints) = (plan.sources(), plan.endpoints());
            agent.reload(plan).await.map(|()| (sources, endpoints)).map_err(|error| error.to_string())
        }
        Err(error) => {
            let report = format!("{error:#}");
            agent.reload_failed(&report);
            Err(report)
        }
    };
    match result {
        Ok((sources, endpoints)) => {
            tracing::info!(config = %config.display(), sources, endpoints, "the configuration was read again and runs");
            Ok(format!("the configuration was read again and runs: {sources} sources, {endpoints} endpoints"))
        }
        Err(report) => {
            tracing::error!("the configuration was read again and has an error; the one before runs on\n{report}");
            Err(report)
        }
    }
}
