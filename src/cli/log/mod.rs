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

    #[derive(Clone, Default)]
    struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `say` runs.
    fn said(level: LevelFilter, say: impl FnOnce()) -> String {
        let out = Shared::default();
        let writer = Arc::new(Writer::start(out.clone(), Style::Journal).unwrap());
        let subscriber = tracing_subscriber::registry().with(Lines { writer: writer.clone(), level });
        tracing::subscriber::with_default(subscriber, say);
        writer.flush();
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot send")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn events_become_lines_with_all_their_fields() {
        let error = Outer(std::io::Error::other("connection refused"));
        let error: &(dyn std::error::Error + 'static) = &error;
        let words = said(LevelFilter::INFO, || {
            tracing::warn!(
                endpoint = "home",
                tries = 3,
                ratio = 0.5,
                nan = f64::NAN,
                ok = false,
                error,
                "no {}",
                "luck"
            );
            tracing::info!(path = %std::path::Path::new("/a b").display());
            tracing::debug!("too detailed");
        });
        assert_eq!(
            words,
            "<4>level=warn msg=\"no luck\" endpoint=home tries=3 ratio=0.5 nan=NaN ok=false \
             error=\"cannot send: connection refused\"\n<6>level=info msg=\"\" path=\"/a b\"\n"
        );
    }

    #[test]
    fn libraries_are_heard_only_when_they_warn() {
        let say = || {
            tracing::info!(target: "hyper::proto", "chatter");
            tracing::warn!(target: "hyper::proto", "trouble");
        };
        assert_eq!(said(LevelFilter::DEBUG, say), "<4>level=warn msg=trouble\n");
        assert!(said(LevelFilter::TRACE, say).contains("chatter"));
    }

    #[test]
    fn repetitions_are_summed_up_by_endpoint_but_not_where_each_counts() {
        let words = said(LevelFilter::INFO, || {
            for i in 0..30 {
                tracing::warn!(endpoint = "a", attempt = i, "refused");
                tracing::info!(target: EACH, "push");
            }
            tracing::warn!(endpoint = "b", "refused");
        });
        assert_eq!(words.matches("msg=push").count(), 30, "{words}");
        assert_eq!(words.matches("msg=refused endpoint=a").count(), 5, "{words}");
        assert_eq!(words.matches("msg=refused endpoint=b").count(), 1, "{words}");
        let summary =
            "<4>level=warn msg=\"refused (repeated 25 times in the last 10 s)\" endpoint=a attempt=29 repeated=25\n";
        assert!(words.contains(summary), "{words}");
    }

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
