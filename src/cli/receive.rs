//! `lugger receive`: the embedded receiver alone, for looking at what a client pushes.

use super::log::{self, visible};
use super::output::{say, size};
use super::signals::Signals;
use crate::base::shutdown;
use crate::demo::Push;
use crate::demo::receiver::{PUSH_PATH, Receiver};
use crate::format::civil::format_rfc3339_ns;
use anyhow::Context;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::Notify;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The address to listen on, such as 127.0.0.1:3100; port 0 takes a free one.
    ///
    /// Everybody who reaches the address sees the lines.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,

    /// Print each entry that arrives to stdout: time, labels, structured metadata, tenant, a tab, text
    #[arg(long)]
    print: bool,
}

/// Runs the command.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(receive(options))
}

async fn receive(options: &Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let unread = Arc::new(Notify::new());
    let (print, closed) = (options.print, unread.clone());
    let observer = move |push: &Push| {
        let tenant = push.tenant.as_deref().unwrap_or("");
        let (streams, entries) = (push.streams.len(), push.entries());
        let (line_bytes, body_bytes) = (push.line_bytes(), push.body_bytes);
        tracing::info!(target: log::EACH, streams, entries, line_bytes, body_bytes, tenant, "push");
        // Without a reader there is nothing left to do.
        if print && print_lines(push).is_err() {
            closed.notify_one();
        }
    };
    let receiver = Receiver::bind(options.listen, Arc::new(observer)).await?;
    let (address, watch) = (receiver.address(), receiver.watch());
    tracing::info!(page = %format_args!("http://{address}/"), push = %format_args!("http://{address}{PUSH_PATH}"), "receiving");
    let (stop, stopping) = shutdown::channel();
    let server = tokio::spawn(receiver.serve(stopping));
    tokio::select! {
        _ = signals.next() => {}
        () = unread.notified() => {}
    }
    stop.raise();
    signals.impatient(server).await?.context("the receiver failed")?;
    let totals = watch.totals();
    let words = format!(
        "{} lines ({}) in {} streams by {} pushes; {} pushes refused",
        totals.entries,
        size(totals.line_bytes),
        totals.streams,
        totals.pushes,
        totals.refused
    );
    if options.print {
        tracing::info!("{words}");
    } else {
        say(&words);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_lines(push: &Push) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for stream in &push.streams {
        for entry in &stream.entries {
            write!(out, "{} {}", format_rfc3339_ns(entry.time_ns), visible(&stream.text))?;
            for (name, value) in &entry.metadata {
                write!(out, " {}={value:?}", visible(name))?;
            }
            if let Some(tenant) = &push.tenant {
                write!(out, " tenant={tenant:?}")?;
            }
            writeln!(out, "\t{}", visible(&entry.line))?;
        }
    }
    out.flush()
}
