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
    #[arg(long)]
    expand: bool,

    /// The file: one of Promtail, which is printed in lugger's form; with --expand, one of lugger
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command: the new text goes to stdout, what has no counterpart in it to stderr.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    let converted = if options.expand {
        config::expand(&options.file)
    } else {
        config::convert(&options.file).map(|converted| {
            if !converted.warnings.is_empty() {
                complain(&format!("{}\n", converted.warnings));
            }
            converted.yaml
        })
    };
    match converted {
        Ok(text) => {
            // Nobody is there to be told that nobody is there.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Err(report) => {
            // The report is complete in itself.
            complain(&format!("{report:#}"));
            Ok(ExitCode::FAILURE)
        }
    }
}
