//! What the program says on stderr: one line a message, in a form that fits whoever reads it, with repetitions summed up.
//!
//! Promises: a message never waits for stderr (a thread of its own writes; what it cannot keep up with is counted and dropped); a
//! closed stderr is no error; whatever a message contains, it stays on one line; equal messages are written a few times
//! and then summed up. Spans are not shown: an event carries its own fields.
//! Leaves to others: what is worth saying.

mod record;
mod repeat;
mod style;
mod time;
mod writer;

use record::Record;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::Arc;
use style::Style;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use writer::Writer;

/// Events with this target are never summed up: for commands whose purpose is to show each one.
pub const EACH: &str = "lugger::each";

/// From which level on messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// What needs somebody's attention now.
    Error,
    /// What will, if it goes on.
    Warn,
    /// What the program does, in outline.
    Info,
    /// What it does, in detail.
    Debug,
    /// Everything, also of the libraries inside.
    Trace,
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// human on a terminal, logfmt elsewhere; for the systemd journal with its priorities and without time.
    Auto,
    /// For eyes: time, level, words; coloured on a terminal unless NO_COLOR is set.
    Human,
    /// ts=… level=… msg="…" key=value
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Keeps logging alive; dropping it writes what is waiting, for a moment at the most.
#[derive(Debug)]
pub struct Guard(Arc<Writer>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Starts logging for the whole process. A second call in one process changes nothing.
pub fn start(level: Level, format: Format) -> std::io::Result<Guard> {
    let writer = Arc::new(Writer::start(std::io::stderr(), choose(format))?);
    let filter = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::registry().with(Lines { writer: writer.clone(), level: filter });
    // An error means that there is a subscriber already (tests in one process); the first one stays.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread failed; please report this")));
    }
    Ok(Guard(writer))
}

/// `text` on one line: what could break a line or steer a terminal is written as an escape.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    style::escape(text, false, &mut out);
    out
}

/// The style for this process's stderr.
fn choose(format: Format) -> Style {
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match format {
        Format::Human => Style::Human { colour },
        Format::Logfmt => Style::Logfmt,
        Format::Json => Style::Json,
        Format::Auto if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref(), std::io::stderr()) => {
            Style::Journal
        }
        Format::Auto if terminal => Style::Human { colour },
        Format::Auto => Style::Logfmt,
    }
}

/// Whether `stream`, the value of JOURNAL_STREAM (`device:inode`), is what `stderr` is connected to. It is inherited by children
/// whose stderr goes elsewhere; therefore the comparison.
fn is_journal(stream: Option<&str>, stderr: impl AsFd) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else { return false };
    let (Ok(device), Ok(inode)) = (device.parse::<u64>(), inode.parse::<u64>()) else { return false };
    rustix::fs::fstat(stderr).is_ok_and(|stat| stat.st_dev == device && stat.st_ino == inode)
}

/// Hands events to the writer.
struct Lines {
    writer: Arc<Writer>,
    level: LevelFilter,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        if *metadata.level() > self.level {
            return false;
        }
        // The libraries inside speak of their own matters: only warnings, unless everything is asked for.
        metadata.target().starts_with("lugger")
            || *metadata.level() <= tracing::Level::WARN
            || self.level == LevelFilter::TRACE
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.writer.write(Record::new(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::fs::MetadataExt;

    #[test]
    fn the_journal_is_told_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let meta = file.metadata().unwrap();
        let (device, inode) = (meta.st_dev(), meta.st_ino());
        assert!(is_journal(Some(&format!("{device}:{inode}")), &file));
        assert!(!is_journal(Some(&format!("{device}:{}", inode + 1)), &file));
        for bad in [None, Some(""), Some("1"), Some("a:b"), Some("-1:2")] {
            assert!(!is_journal(bad, &file), "{bad:?}");
        }
    }
}
