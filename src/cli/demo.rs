//! `lugger demo`: the agent and a receiver on this host, with something to see.

use super::directory::Directory;
use super::output::{count, say, size};
use super::signals::Signals;
use super::start::view;
use crate::agent::Agent;
use crate::base::metrics::Registry;
use crate::base::serve::ListenError;
use crate::base::shutdown;
use crate::base::units::{UnitError, parse_duration};
use crate::demo::host;
use crate::demo::receiver::{Observer, Receiver};
use crate::demo::sample::Sample;
use crate::web::Web;
use anyhow::Context;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the receiver listens if it can: Loki's own port.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3100);

/// Where the agent's own status page is if it can be: where the documentation has it.
const STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9080);

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// End after this time, such as 10s: exit code 0 only if lines arrived [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,

    /// Where the page and the receiver listen [default: 127.0.0.1:3100, or a free port if that is taken].
    ///
    /// Everybody who reaches the address sees this host's log lines.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

fn duration(text: &str) -> Result<Duration, UnitError> {
    parse_duration(text)
}

/// Runs the command.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(demo(options))
}

async fn demo(options: &Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let receiver = bind(options.listen).await?;
    let (address, watch) = (receiver.address(), receiver.watch());
    let directory = Directory::make("demo")?;
    let (sample_directory, state_directory) = (directory.make_inside("sample")?, directory.make_inside("state")?);
    let sample = Sample::start(&sample_directory)
        .with_context(|| format!("the sample log in {} cannot be written", sample_directory.display()))?;
    let logs = host::readable_logs();
    let plan = host::plan(reachable(address), &host_name(), &logs, &sample_directory, &state_directory)?;

    let (stop_receiver, stopping) = shutdown::channel();
    let server = tokio::spawn(receiver.serve(stopping));
    let web = bind_status().await?;
    let status = web.address();
    let agent = Agent::start(plan, Registry::default()).await?;
    let (stop_web, stopping) = shutdown::channel();
    let shown = view(&agent, None);
    let web = tokio::spawn(web.serve(shown.clone(), stopping));
    let started = Instant::now();
    let until =
        options.duration.map_or("Ctrl-C ends it".to_owned(), |t| format!("it ends after {} s", t.as_secs_f64()));
    let seen = if address.ip().is_loopback() {
        "Everything stays on this host".to_owned()
    } else {
        format!("Everybody who reaches {address} sees these lines")
    };
    say(&format!(
        "\n  The lines are here:          http://{}/\n  The agent's own status here: http://{status}/\n\n  lugger follows {} of this host and a sample log, {}.\n  {seen}; {until}.\n",
        reachable(address),
        count(logs.len() as u64, "log file", "log files"),
        sample_directory.join("shop.log").display(),
    ));

    match options.duration {
        Some(time) => {
            tokio::select! {
                _ = signals.next() => {}
                () = tokio::time::sleep(time) => {}
            }
        }
        None => {
            signals.next().await;
        }
    }

    let elapsed = started.elapsed();
    drop(sample);
    let lag_s = (shown.snapshot)().sources.iter().map(|source| source.lag_s).fold(0.0, f64::max);
    signals.impatient(agent.stop()).await?;
    stop_web.raise();
    stop_receiver.raise();
    signals.impatient(server).await?.context("the receiver failed")?;
    signals.impatient(web).await?.context("the status page failed")?;
    let totals = watch.totals();
    say(&format!(
        "In {:.1} s {} ({}) arrived in {} by {}. The oldest line under way at the end was {lag_s:.1} s old.",
        elapsed.as_secs_f64(),
        count(totals.entries, "line", "lines"),
        size(totals.line_bytes),
        count(totals.streams, "stream", "streams"),
        count(totals.pushes, "push", "pushes"),
    ));
    if totals.entries == 0 {
        anyhow::bail!("no line arrived; the messages above say why");
    }
    Ok(ExitCode::SUCCESS)
}

async fn bind(listen: Option<SocketAddr>) -> Result<Receiver, ListenError> {
    let observer: Observer = Arc::new(|_| ());
    match Receiver::bind(listen.unwrap_or(ADDRESS), observer.clone()).await {
        // Nobody asked for this very address: any other does as well.
        Err(ListenError::InUse(_)) if listen.is_none() => {
            Receiver::bind(SocketAddr::new(ADDRESS.ip(), 0), observer).await
        }
        other => other,
    }
}

async fn bind_status() -> Result<Web, ListenError> {
    match Web::bind(STATUS).await {
        Err(ListenError::InUse(_)) => Web::bind(SocketAddr::new(STATUS.ip(), 0)).await,
        other => other,
    }
}

/// The address as this host itself reaches it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_reached_by_loopback() {
        assert_eq!(reachable("0.0.0.0:1".parse().unwrap()), "127.0.0.1:1".parse().unwrap());
        assert_eq!(reachable("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
        assert_eq!(reachable("10.1.2.3:1".parse().unwrap()), "10.1.2.3:1".parse().unwrap());
    }
}
