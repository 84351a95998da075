//! `lugger run`: the agent, until it is told to stop.

use super::output::complain;
use super::signals::Signals;
use super::start::{load, view};
use crate::agent::Agent;
use crate::base::metrics::Registry;
use crate::base::shutdown;
use crate::config::plan::Plan;
use crate::web::Web;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/lugger/agent.yaml")]
    pub config: PathBuf,
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
    let runtime = super::runtime()?;
    let ended = runtime.block_on(serve(plan, options));
    // A disk or a name server that does not answer is not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(plan: Plan, options: &Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    // Before anything else is started: an address in use is the likeliest mistake.
    let web = match plan.http {
        Some(address) => Some(Web::bind(address).await?),
        None => None,
    };
    let (sources, endpoints) = (plan.files.len(), plan.loki.len());
    let agent = Agent::start(plan, Registry::default())?;
    let (stop_web, stopping) = shutdown::channel();
    let http = web.as_ref().map(Web::address);
    let web = web.map(|web| tokio::spawn(web.serve(view(&agent), stopping)));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %options.config.display(),
        sources,
        endpoints,
        http = http.map_or("off".to_owned(), |address| format!("http://{address}/")),
        "lugger runs"
    );
    let failed = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping; what is under way is finished first");
            false
        }
        () = agent.failed() => true,
    };
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
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
