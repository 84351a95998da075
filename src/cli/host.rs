//! `lugger host`: the metrics of this host, for people and for those who want to see what would be collected.

use crate::base::words::suggest;
use crate::format::prometheus::text::Writer;
use crate::model::samples::Samples;
use crate::source::host::{Host, Roots, Settings, collectors};
use anyhow::Context;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Collect once, print what was found as Prometheus text, and end
    #[arg(long, required = true)]
    once: bool,

    /// Where the host's /proc is
    #[arg(long, value_name = "DIRECTORY", default_value = "/proc")]
    proc_root: PathBuf,

    /// Where the host's /sys is
    #[arg(long, value_name = "DIRECTORY", default_value = "/sys")]
    sys_root: PathBuf,

    /// Where the host's root is mounted
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    rootfs: PathBuf,

    /// Where udev's database is
    #[arg(long, value_name = "DIRECTORY", default_value = "/run/udev/data")]
    udev_root: PathBuf,

    /// Run this collector too; with --only, no others
    #[arg(long = "collector", value_name = "NAME")]
    collectors: Vec<String>,

    /// Leave this collector out
    #[arg(long = "no-collector", value_name = "NAME")]
    left_out: Vec<String>,

    /// Run no collectors but those that --collector names
    #[arg(long, requires = "collectors")]
    only: bool,

    /// Read *.prom files of this directory, which may have wildcards
    #[arg(long, value_name = "DIRECTORY")]
    textfile: Vec<PathBuf>,
}

/// Runs the command. What failed goes to stderr; the exit code is 0 also then, as the rest is good.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    for (option, root) in
        [("--proc-root", &options.proc_root), ("--sys-root", &options.sys_root), ("--rootfs", &options.rootfs)]
    {
        anyhow::ensure!(root.is_dir(), "{option}: {} is no directory", root.display());
    }
    let mut settings = Settings::new(Roots {
        proc: options.proc_root.clone(),
        sys: options.sys_root.clone(),
        rootfs: options.rootfs.clone(),
        udev: options.udev_root.clone(),
    });
    if options.only {
        settings.none();
    }
    settings.textfile_directories.clone_from(&options.textfile);
    let names: Vec<&str> = collectors().map(|(name, _)| name).collect();
    let on = options.collectors.iter().map(|name| (name, true));
    for (name, on) in on.chain(options.left_out.iter().map(|name| (name, false))) {
        settings.set(name, on).map_err(|error| {
            let what = suggest(name, "they are", names.iter().copied());
            anyhow::anyhow!("{error}; {what}")
        })?;
    }
    let mut host = Host::new(&settings).context("a thread for a collector cannot be started")?;
    let mut samples = Samples::default();
    host.collect(&mut samples);
    for failure in host.failures() {
        tracing::warn!(collector = failure.collector, "{}", failure.what);
    }
    let mut text = Vec::new();
    Writer::default().write(&samples, &mut text);
    std::io::stdout().write_all(&text).context("stdout cannot be written to")?;
    Ok(ExitCode::SUCCESS)
}
