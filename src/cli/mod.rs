//! Floor 8: the command line, one file a subcommand.
//!
//! Promises: exit code 0 for success, 1 for what went wrong, 2 for a command line that is not understood; what a command is asked
//! for goes to stdout, everything else to stderr; a closed stdout or stderr is no panic. Leaves to others: doing it.

mod check;
mod convert;
mod dead_letters;
mod demo;
mod directory;
mod health;
mod host;
pub mod log;
mod output;
mod receive;
mod rehearse;
mod run;
mod service;
mod signals;
mod start;
mod trials;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

const ABOUT: &str = "lugger carries a Linux host's log files to Loki: one binary, one YAML file, every line once.";

const LONG_ABOUT: &str = "lugger carries a Linux host's log files to Loki.

It follows files through rotations, truncations and restarts, sends each line once, and
waits as long as it takes when an endpoint is away. It needs one YAML file and a directory
for its state.";

const NEXT: &str = "\
A configuration that works:

  labels: { host: \"${HOSTNAME}\" }
  loki:
    - url: http://loki.example.org:3100/loki/api/v1/push
  logs:
    - name: system
      file: { include: [/var/log/*.log, /var/log/syslog] }

Where to go next:

  lugger demo                    see it work on this host, without any server
  lugger check --config FILE     find out what is wrong with a file before it runs
  lugger test --config FILE      run the tests of its pipelines
  lugger run --dry-run           see what would be sent; --inspect shows what each stage does
  lugger run --config FILE       run it; stop it with Ctrl-C or SIGTERM
  lugger convert FILE            print a Promtail file in lugger's form; run and check take it as it is
  lugger health                  whether the agent here is ready, and what is wrong if not
  lugger dead-letters print      see the lines that an endpoint refused for good; `send` re-sends
  lugger help COMMAND            what a command does and takes
  agent.example.yaml             every option, explained, in lugger's source directory
";

#[derive(Debug, Parser)]
#[command(name = "lugger", version, about = ABOUT, long_about = LONG_ABOUT, after_help = NEXT)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// From which level on messages are written to stderr.
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value = "info")]
    log_level: log::Level,

    /// How messages are written to stderr.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "auto")]
    log_format: log::Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until it is told to stop
    Run(run::Options),
    /// Check a configuration file and say what would run
    Check(check::Options),
    /// Run the tests of pipelines that stand beside a configuration
    Test(trials::Options),
    /// Print a Promtail file in lugger's own form, or recipes as their stages
    Convert(convert::Options),
    /// Show the agent at work on this host's own logs, without any server
    Demo(demo::Options),
    /// Print or re-send the lines that an endpoint refused for good
    DeadLetters(dead_letters::Options),
    /// Print the metrics of this host
    Host(host::Options),
    /// Ask the agent that runs here whether it is ready
    Health(health::Options),
    /// Receive Loki pushes and show them on a page, for debugging
    Receive(receive::Options),
}

/// Runs what the process's arguments ask for.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing fails only if nobody listens any more.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Some(command) = arguments.command else {
        output::say(&Arguments::command().render_long_help().to_string());
        return ExitCode::SUCCESS;
    };
    let result = log::start(arguments.log_level, arguments.log_format)
        .context("the thread that writes messages cannot be started")
        .and_then(|_guard| match command {
            Command::Run(options) => run::main(&options),
            Command::Check(options) => check::main(&options),
            Command::Test(options) => trials::main(&options),
            Command::Convert(options) => convert::main(&options),
            Command::Demo(options) => demo::main(&options),
            Command::DeadLetters(options) => dead_letters::main(&options),
            Command::Host(options) => host::main(&options),
            Command::Health(options) => health::main(&options),
            Command::Receive(options) => receive::main(&options),
        });
    result.unwrap_or_else(|error| {
        output::complain(&format!("lugger: {error:#}"));
        ExitCode::FAILURE
    })
}

/// The command line, for manual pages and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// A runtime on this thread, which is all that sending and serving need.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the async runtime cannot be started")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_and_global_options() {
        let arguments = Arguments::try_parse_from(["lugger", "run", "--log-level", "debug"]).unwrap();
        assert_eq!(arguments.log_level, log::Level::Debug);
        let Some(Command::Run(options)) = arguments.command else { panic!("run") };
        assert_eq!(options.config, std::path::Path::new("/etc/lugger/agent.yaml"));
        for wrong in [&["lugger", "run", "--no-such"][..], &["lugger", "walk"], &["lugger", "receive"]] {
            assert_eq!(Arguments::try_parse_from(wrong).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn help_teaches() {
        let help = Arguments::command().render_long_help().to_string();
        for word in ["log files to Loki", "loki:", "include:", "lugger demo", "agent.example.yaml", "--log-format"] {
            assert!(help.contains(word), "{word}\n{help}");
        }
    }
}
