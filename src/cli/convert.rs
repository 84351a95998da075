//! `lugger convert`: a configuration in another form.

use super::output::complain;
use crate::config;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Write recipes out: `format: nginx` becomes the `stages` that it stands for; all else stays as it is
    #[arg(long, required = true)]
    expand: bool,

    /// The configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command: the new text goes to stdout.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    match config::expand(&options.file) {
        Ok(text) => {
            // Nobody is there to be told that nobody is there.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Err(report) => {
            complain(&format!("{report:#}"));
            Ok(ExitCode::FAILURE)
        }
    }
}
