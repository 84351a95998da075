//! `lugger run --dry-run`: what would be sent, printed.
//!
//! For files, journals and containers the agent itself runs, with all that it does about reading, but to a receiver of its own, without stages, and with
//! a copy of the cursors; what arrives runs through the stages here and is printed. So it goes on where the real agent would, and nothing of that changes.
//!
//! Promises: nothing is sent to an endpoint, nothing is written to the state directory. Leaves to others: what stages do.

mod show;

use super::directory::Directory;
use super::signals::Signals;
use crate::agent::Agent;
use crate::base::clock::Clock;
use crate::base::limits::LINE_BYTES_MAX;
use crate::base::metrics::Registry;
use crate::base::shutdown;
use crate::base::words::suggest;
use crate::config::plan::{Pipeline, Plan};
use crate::demo::Push;
use crate::demo::receiver::{PUSH_PATH, Receiver};
use crate::model::labels::{LabelCaps, Labels};
use crate::pipeline::rehearsal::{Lines, Outcome, Rehearsal};
use crate::pipeline::trace::stage_names;
use crate::sink::settings::{Auth, Tls};
use crate::source::docker::settings::ApiLogs;
use crate::source::file::lines;
use anyhow::Context;
use show::Show;
use std::collections::HashMap;
use std::io::{self, BufRead, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The label that tells the sources apart on the way to the receiver.
const SOURCE: &str = "lugger_source";
/// The label that names a file.
const FILENAME: &str = "filename";
/// How often it is looked whether something was held long enough.
const TICK: Duration = Duration::from_millis(250);

/// The stages of one source and what is printed of them.
struct Stages {
    source: String,
    rehearsal: Rehearsal,
    names: Vec<String>,
    caps: LabelCaps,
    line_bytes: usize,
    has_filename: bool,
}

impl Stages {
    fn new(pipeline: &Pipeline<'_>, inspect: bool) -> anyhow::Result<Self> {
        let &Pipeline { stages, label_caps, line_bytes, has_filename, .. } = pipeline;
        let mut rehearsal = Rehearsal::new(stages, pipeline.late_labels.clone(), label_caps, line_bytes)?;
        if inspect {
            rehearsal.watch();
        }
        let (source, names) = (pipeline.name.to_owned(), stage_names(stages));
        Ok(Stages { source, rehearsal, names, caps: label_caps, line_bytes, has_filename })
    }

    fn line(&mut self, text: &str, time_ns: i64, file: &mut File, show: &mut Show) -> io::Result<()> {
        // A line of a file has the time of its reading, any other one brings its own.
        let read_ns = if self.has_filename { time_ns } else { Clock::System.now_ns() };
        let out = self.rehearsal.line_with_time(text, read_ns, time_ns, &mut file.lines);
        show.line(text)?;
        self.print(&out, file, show)
    }

    fn release(&mut self, time_ns: i64, is_end: bool, file: &mut File, show: &mut Show) -> io::Result<()> {
        let out = self.rehearsal.release(time_ns, is_end, &mut file.lines);
        self.print(&out, file, show)
    }

    fn print(&self, out: &[Outcome], file: &File, show: &mut Show) -> io::Result<()> {
        show.passages(&self.rehearsal.passages(), &self.names)?;
        show.outcomes(out, &self.source, &file.path)
    }
}

/// What a file has left with the stages, and its path; empty: it is none.
struct File {
    lines: Lines,
    path: String,
}

/// The source of this name; without one the first, which is told if there are others.
fn chosen<'a>(plan: &'a Plan, name: Option<&str>) -> anyhow::Result<Pipeline<'a>> {
    let all = plan.pipelines();
    let first = *all.first().context("the configuration has no entry in `logs`")?;
    let Some(name) = name else {
        if all.len() > 1 {
            let source = first.name;
            tracing::info!(source, "stdin is taken for the first entry of `logs`; --source NAME takes another one");
        }
        return Ok(first);
    };
    all.iter().find(|pipeline| pipeline.name == name).copied().with_context(|| {
        let help = suggest(name, "the entries are", all.iter().map(|pipeline| pipeline.name).collect::<Vec<_>>());
        format!("--source: the configuration has no entry in `logs` of the name {name:?}; {help}")
    })
}

/// Feeds stdin to the stages of the source of this name, or of the first one.
pub(super) fn stdin(plan: &Plan, name: Option<&str>, inspect: bool) -> anyhow::Result<ExitCode> {
    let pipeline = chosen(plan, name)?;
    let mut stages = Stages::new(&pipeline, inspect)?;
    let labels = pipeline.begin(std::iter::empty()).context("the labels of the lines")?.with_context(|| {
        let name = pipeline.name;
        format!("the rules of {name:?} drop lines that have its own labels alone; a test (`lugger test`) can give them others")
    })?;
    let mut show = Show::stdout(inspect);
    let lines = stages.rehearsal.begin(labels, stages.has_filename);
    let mut from_stdin = File { lines, path: String::new() };
    let mut input = io::stdin().lock();
    let mut head = Vec::new();
    while let Some(total) = next_line(&mut input, &mut head).context("stdin cannot be read")? {
        // As it would be read from a file.
        let text = lines::repaired(&head, total, stages.line_bytes);
        if let Err(error) =
            stages.line(&text, Clock::System.now_ns(), &mut from_stdin, &mut show).and_then(|()| show.flush())
        {
            return closed(error);
        }
    }
    match stages.release(Clock::System.now_ns(), true, &mut from_stdin, &mut show).and_then(|()| show.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => closed(error),
    }
}

/// Reads a line without its newline: as much of it as the longest line that can be configured needs, and its whole length, bytes. `None`: there is
/// none.
fn next_line(input: &mut impl BufRead, head: &mut Vec<u8>) -> io::Result<Option<u64>> {
    head.clear();
    let mut total = 0u64;
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok((total > 0).then_some(total));
        }
        let newline = memchr::memchr(b'\n', bytes);
        let part = bytes.get(..newline.unwrap_or(bytes.len())).unwrap_or_default();
        let room = (LINE_BYTES_MAX + 1).saturating_sub(head.len());
        head.extend_from_slice(part.get(..room).unwrap_or(part));
        total += part.len() as u64;
        let used = part.len() + usize::from(newline.is_some());
        input.consume(used);
        if newline.is_some() {
            return Ok(Some(total));
        }
    }
}

/// A reader that has seen enough is no failure.
fn closed(error: io::Error) -> anyhow::Result<ExitCode> {
    if error.kind() == ErrorKind::BrokenPipe {
        return Ok(ExitCode::SUCCESS);
    }
    Err(error).context("stdout cannot be written")
}

/// All that is rehearsed, and where it is shown.
struct Stage {
    sources: Vec<Stages>,
    /// By source and labels as they arrive.
    files: HashMap<(usize, String), File>,
    show: Show,
    error: Option<io::Error>,
}

impl Stage {
    fn push(&mut self, push: &Push) -> io::Result<()> {
        for stream in &push.streams {
            let source = stream.labels.iter().find(|(name, _)| name == SOURCE);
            let Some(source) = source.and_then(|(_, index)| index.parse::<usize>().ok()) else { continue };
            let Some(stages) = self.sources.get_mut(source) else { continue };
            let file = self.files.entry((source, stream.text.clone())).or_insert_with(|| {
                let path = stream.labels.iter().find(|(name, _)| name == FILENAME);
                let path = path.map_or_else(String::new, |(_, path)| path.clone());
                let own = stream.labels.iter().filter(|(name, _)| name != SOURCE);
                let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
                File { lines: stages.rehearsal.begin(Labels::capped(own, stages.caps).0, stages.has_filename), path }
            });
            for entry in &stream.entries {
                stages.line(&entry.line, entry.time_ns, file, &mut self.show)?;
            }
        }
        self.show.flush()
    }

    fn release(&mut self, is_end: bool) -> io::Result<()> {
        for ((source, _), file) in &mut self.files {
            if let Some(stages) = self.sources.get_mut(*source) {
                stages.release(Clock::System.now_ns(), is_end, file, &mut self.show)?;
            }
        }
        self.show.flush()
    }
}

/// Shows what would be sent of the plan's files, until it is told to stop.
pub(super) async fn files(plan: Plan, inspect: bool) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let pipelines = plan.pipelines();
    let sources = pipelines.iter().map(|pipeline| Stages::new(pipeline, inspect)).collect::<anyhow::Result<_>>()?;
    let stage = Stage { sources, files: HashMap::new(), show: Show::stdout(inspect), error: None };
    let stage = Arc::new(Mutex::new(stage));
    let unread = Arc::new(Notify::new());
    let (shown, closed_now) = (stage.clone(), unread.clone());
    let observer = move |push: &Push| {
        let mut stage = lock(&shown);
        if let Err(error) = stage.push(push) {
            stage.error.get_or_insert(error);
            closed_now.notify_one();
        }
    };
    let receiver = Receiver::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Arc::new(observer)).await?;
    let address = receiver.address();
    let directory = Directory::make("dry-run")?;
    let state = directory.make_inside("state")?;
    copy_cursors(&plan.state_dir, &state);
    let plan = diverted(plan, address, &state)?;
    let (stop, stopping) = shutdown::channel();
    let server = tokio::spawn(receiver.serve(stopping));
    let agent = Agent::start(plan, Registry::default()).await?;
    tracing::info!("dry run: nothing is sent and no cursor moves; Ctrl-C ends it");
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = signals.next() => break,
            () = unread.notified() => break,
            () = agent.failed() => break,
            _ = tick.tick() => {
                let mut stage = lock(&stage);
                if let Err(error) = stage.release(false) {
                    stage.error.get_or_insert(error);
                    break;
                }
            }
        }
    }
    signals.impatient(agent.stop()).await?;
    stop.raise();
    signals.impatient(server).await?.context("the receiver failed")?;
    let mut stage = lock(&stage);
    let end = match stage.error.take() {
        Some(error) => Err(error),
        None => stage.release(true),
    };
    end.map_or_else(closed, |()| Ok(ExitCode::SUCCESS))
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The plan with all lines going to the receiver as they are.
fn diverted(mut plan: Plan, receiver: SocketAddr, state: &Path) -> anyhow::Result<Plan> {
    let mut endpoint = plan.loki.first().context("the configuration has no endpoint")?.clone();
    endpoint.name = "dry-run".to_owned();
    endpoint.url = format!("http://{receiver}{PUSH_PATH}");
    (endpoint.tenant_id, endpoint.proxy) = (None, None);
    (endpoint.auth, endpoint.tls) = (Auth::None, Tls::default());
    endpoint.headers = Vec::new();
    (endpoint.rate, endpoint.max_streams) = (None, None);
    endpoint.batch_wait = TICK;
    plan.loki = vec![endpoint];
    // They are numbered as their pipelines are.
    let mut number = 0;
    let mut divert = |labels: &mut Labels, late: &mut Labels, stages: &mut Vec<_>, caps: &mut LabelCaps| {
        (*stages, *late) = (Vec::new(), Labels::default());
        caps.count += 1;
        let index = number.to_string();
        number += 1;
        *labels = Labels::within(labels.iter().chain([(SOURCE, index.as_str())]), *caps)?;
        anyhow::Ok(vec![0])
    };
    for source in &mut plan.files {
        let it = &mut source.settings;
        source.to = divert(&mut it.labels, &mut it.late_labels, &mut it.stages, &mut it.label_caps)?;
    }
    // Rules must not take the number away.
    for source in &mut plan.journals {
        let it = &mut source.settings;
        source.to = divert(&mut it.outer_labels, &mut it.late_labels, &mut it.stages, &mut it.label_caps)?;
    }
    for source in &mut plan.dockers {
        let it = &mut source.settings;
        source.to = divert(&mut it.outer_labels, &mut it.late_labels, &mut it.stages, &mut it.label_caps)?;
        if it.api_logs == ApiLogs::Taken {
            it.api_logs = ApiLogs::DryRun;
        }
    }
    if !plan.receivers.is_empty() {
        tracing::warn!("dry run: sources that receive are left out: what they took would be gone");
        plan.receivers.clear();
    }
    if plan.sources() == 0 {
        anyhow::bail!(
            "no source is left that could be shown: `--stdin` feeds lines to the stages of one that receives"
        );
    }
    plan.http = None;
    plan.state_dir = state.to_owned();
    plan.spool_bytes = 0;
    Ok(plan)
}

/// Copies the cursors of an agent, which may be running. Without them, everything is read as if for the first time.
fn copy_cursors(from: &Path, to: &Path) {
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                let state = from.display();
                tracing::warn!(%state, %error, "the cursors cannot be read: files are read as if for the first time");
            }
            return;
        }
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("checkpoint-"))
            && let Err(error) = std::fs::copy(entry.path(), to.join(&name))
        {
            let file = entry.path();
            tracing::warn!(file = %file.display(), %error, "this file of cursors cannot be read");
        }
    }
}
