//! The sender of one endpoint: takes batches from its queue and sees to it that every entry is stored or refused for good.
//!
//! One request at a time, in order. A batch that the endpoint does not take as it is is divided: because it is too large, or to
//! find the entries that are the reason. Sending an entry again is harmless, since Loki keeps identical entries once.
//!
//! Promises: nothing is given up but what Loki itself has refused for good, entry by entry, and that is counted and written to
//! the dead letters, and what is over a configured rate that drops, which is counted; a batch is settled once; an endpoint that refuses everything without being recognisable as Loki loses
//! nothing, it is waited for. Leaves to others: what answers mean (`format::push_response`), making batches.

use super::change::Change;
use super::client::{Answer, Client, ClientError, SendError};
use super::dead_letter::DeadLetters;
use super::failure::{Failure, blocked, misconfigured, no_answer, rate_limited, refuses_everything};
use super::piece::{Halved, Piece};
use super::queue::{Load, Queue};
use super::settings::Endpoint;
use super::status::{EndpointStatus, OverStreams, Retry, State, Status};
use super::trouble::{Troubles, is_over, shown_answer};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::limits::{
    BROKEN_ATTEMPTS, DIVIDED_REQUEST_BYTES_MIN, PROBED_ENTRIES, RATE_LIMITED_ATTEMPTS, REQUEST_BYTES_MAX,
    REQUEST_LIMIT_KEEP_MS, RETRY_AFTER_MS_MAX, SURELY_SMALL_BYTES,
};
use crate::base::metrics::Registry;
use crate::base::rate::{Rate, WhenOver};
use crate::base::shutdown::Shutdown;
use crate::format::loki::{DecodeError, decode_snappy};
use crate::format::push_response::{self, Misconfigured, Reason, Refusal, Verdict};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Why an endpoint cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {endpoint}: {error}")]
pub struct SinkError {
    /// Its name in the configuration.
    pub endpoint: String,
    /// What is wrong.
    pub error: ClientError,
}

/// An endpoint whose settings are understood, and whose files are read: it can be started, or take the place of one that runs.
pub struct Prepared {
    settings: Endpoint,
    client: Client,
}

impl Prepared {
    /// Does all that can fail.
    pub fn new(settings: Endpoint) -> Result<Self, SinkError> {
        let client = Client::new(&settings).map_err(|error| SinkError { endpoint: settings.name.clone(), error })?;
        Ok(Prepared { settings, client })
    }
}

/// A running endpoint.
#[derive(Debug)]
pub struct Handle {
    /// Where its batches go.
    pub queue: Arc<Queue>,
    /// Ends after shutdown.
    pub task: JoinHandle<()>,
    status: Arc<Status>,
    change: Arc<Change<Prepared>>,
}

impl Handle {
    /// Goes on under other settings, from the next attempt on: a pause between attempts is ended for it. The name stays.
    pub fn reconfigure(&self, prepared: Prepared) {
        self.status.moved(prepared.client.shown_url());
        self.change.put(prepared);
    }

    /// How the endpoint is doing.
    pub fn status(&self) -> EndpointStatus {
        self.status.snapshot()
    }

    /// What counts lines of streams above the bound.
    pub fn over_streams(&self) -> OverStreams {
        self.status.over_streams()
    }

    /// What sees the endpoint from the outside.
    pub fn monitor(&self) -> Monitor {
        Monitor(Arc::clone(&self.status))
    }
}

/// Sees how an endpoint is doing; may outlive it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Status>);

impl Monitor {
    /// How the endpoint is doing.
    pub fn status(&self) -> EndpointStatus {
        self.0.snapshot()
    }

    /// Whether the last attempt failed, so that waiting a few seconds will hardly help.
    pub fn is_hopeless(&self) -> bool {
        matches!(self.0.snapshot().state, State::Retrying | State::Degraded)
    }

    /// Whether what is in memory has to wait for longer than that: the last attempt failed, or there is something on disk before it.
    pub fn is_behind(&self) -> bool {
        self.is_hopeless() || self.0.snapshot().spool.is_some_and(|spool| spool.frames > 0)
    }
}

/// Starts an endpoint's sender as a task of the current tokio runtime, with the queue that its batches will be in. After `shutdown` the
/// request under way gets `stop_within` to finish; what is still queued then stays unacknowledged.
pub fn start(
    settings: Endpoint,
    queue: Queue,
    dead_letters: DeadLetters,
    registry: &Registry,
    shutdown: Shutdown,
    stop_within: Duration,
) -> Result<Handle, SinkError> {
    Ok(launch(Prepared::new(settings)?, queue, dead_letters, registry, shutdown, stop_within))
}

/// The same for an endpoint that is prepared.
pub fn launch(
    prepared: Prepared,
    queue: Queue,
    dead_letters: DeadLetters,
    registry: &Registry,
    shutdown: Shutdown,
    stop_within: Duration,
) -> Handle {
    let Prepared { settings, client } = prepared;
    let change = Arc::new(Change::default());
    let queue = Arc::new(queue);
    let status = Arc::new(Status::new(&settings.name, client.shown_url(), Arc::clone(&queue), registry));
    let (min, max) = settings.backoff;
    let sender = Sender {
        name: settings.name,
        client,
        queue: Arc::clone(&queue),
        status: Arc::clone(&status),
        dead_letters,
        clock: Clock::System,
        change: Arc::clone(&change),
        backoff: Backoff::new(min, max),
        patience: Backoff::new(max, max),
        shutdown,
        stop_within,
        troubles: Troubles::default(),
        reload_credentials: false,
        size_limit: None,
        refusals_said: None,
        rate: settings.rate.map(|limit| Rate::new(limit, Instant::now())),
        tenant: None,
    };
    let task = tokio::spawn(run(sender, Arc::clone(&queue)));
    Handle { queue, task, status, change }
}

/// The sender, and what puts its batches on disk; a panic of either ends both.
async fn run(sender: Sender, queue: Arc<Queue>) {
    let (mut shutdown, stop_within) = (sender.shutdown.clone(), sender.stop_within);
    let spill = async {
        let writing = queue.spill(shutdown.clone());
        tokio::pin!(writing);
        tokio::select! {
            () = &mut writing => {}
            () = shutdown.raised() => {
                // A disk that does not answer is not waited for: its batches are not settled.
                let _ = tokio::time::timeout(stop_within, writing).await;
            }
        }
    };
    tokio::join!(sender.run(), spill);
    let _ = tokio::time::timeout(stop_within / 2, queue.close()).await;
}

/// Shutdown came before the work was done.
#[derive(Debug)]
struct Stopped;

/// An attempt that ended with something other than "try the same again".
#[derive(Debug)]
enum Step {
    Stored,
    Partial { refusals: Vec<Refusal>, text: String },
    Refused { reason: Option<Reason>, text: String },
    TooLarge { text: String },
    Empty { text: String },
    Divide,
}

/// What is still to be sent of a batch, last first.
enum Work {
    /// The batch as it was made.
    Whole,
    Part(Piece),
}

/// The search for the entries that a refusal of unknown origin is about. Until the endpoint has accepted something nobody
/// knows whether it refuses some entries or everything.
struct Probe {
    /// All that was to be sent when the search began.
    root: Piece,
    /// How much other work lay below it.
    floor: usize,
    accepted: bool,
    /// Single entries that were refused.
    suspects: Vec<Piece>,
    /// What the endpoint said last.
    text: String,
}

struct Sender {
    name: String,
    client: Client,
    queue: Arc<Queue>,
    status: Arc<Status>,
    dead_letters: DeadLetters,
    clock: Clock,
    change: Arc<Change<Prepared>>,
    backoff: Backoff,
    /// For what only a person can change.
    patience: Backoff,
    shutdown: Shutdown,
    stop_within: Duration,
    troubles: Troubles,
    reload_credentials: bool,
    /// What the endpoint has shown to be too much, uncompressed bytes, and until when that is believed.
    size_limit: Option<(usize, Instant)>,
    refusals_said: Option<Instant>,
    /// What may be sent now.
    rate: Option<Rate>,
    /// Whose the batch is that is being sent, if not the endpoint's own tenant's.
    tenant: Option<Arc<str>>,
}

impl Sender {
    async fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let mut shutdown = self.shutdown.clone();
        loop {
            let load = tokio::select! {
                biased;
                () = shutdown.raised() => return,
                load = queue.next() => load,
            };
            self.status.measure_queue();
            let delivered = match self.admit(&load).await {
                Ok(true) => self.deliver(&load).await.inspect(|()| self.status.batch_settled()),
                admitted => admitted.map(|_| ()),
            };
            queue.finished(delivered.is_ok());
            self.status.measure_queue();
            if delivered.is_err() {
                return;
            }
        }
    }

    /// Waits until the endpoint's rate lets the batch pass. False: it is over the rate and dropped, which settles it.
    async fn admit(&mut self, batch: &Load) -> Result<bool, Stopped> {
        let (lines, bytes) = (u64::from(batch.entries), u64::try_from(batch.raw_bytes).unwrap_or(u64::MAX));
        let mut shutdown = self.shutdown.clone();
        loop {
            self.take_change();
            let Some(rate) = &mut self.rate else { return Ok(true) };
            let Some(at) = rate.when(lines, bytes, Instant::now()) else {
                rate.take(lines, bytes);
                return Ok(true);
            };
            if rate.limit().when_over == WhenOver::Drop {
                self.status.over_rate(lines, bytes);
                return Ok(false);
            }
            tokio::select! {
                biased;
                () = shutdown.raised() => return Err(Stopped),
                () = self.change.waits() => {}
                () = tokio::time::sleep_until(at.into()) => {}
            }
        }
    }

    /// Returns when every entry is stored or refused for good.
    async fn deliver(&mut self, batch: &Load) -> Result<(), Stopped> {
        self.tenant.clone_from(&batch.tenant);
        let mut work = vec![Work::Whole];
        let mut probe: Option<Probe> = None;
        let limit = self.request_limit();
        if batch.raw_bytes > limit {
            let piece = self.decode(batch).await?;
            work = piece.divide(limit).into_iter().rev().map(Work::Part).collect();
        }
        while let Some(item) = work.pop() {
            let (body, piece) = match item {
                Work::Whole => (batch.body.clone(), None),
                Work::Part(piece) => (piece.body(), Some(piece)),
            };
            let entries = piece.as_ref().map_or(usize::try_from(batch.entries).unwrap_or(usize::MAX), Piece::entries);
            let step = self.attempt(&body, entries > 1).await?;
            if matches!(step, Step::Stored) {
                self.stored(entries, body.len());
                accept(&mut probe, &mut work);
            } else {
                let piece = match piece {
                    Some(piece) => piece,
                    None => self.decode(batch).await?,
                };
                self.follow(step, piece, body.len(), &mut work, &mut probe).await?;
            }
            let ended = probe.take_if(|p| work.len() <= p.floor || p.suspects.len() >= PROBED_ENTRIES);
            if let Some(ended) = ended
                && !ended.accepted
            {
                work.truncate(ended.floor);
                work.push(Work::Part(ended.root));
                self.failed(&refuses_everything(&ended.text));
                self.pause(true, None).await?;
            }
        }
        Ok(())
    }

    /// Does what an answer that concerns `piece`, sent as a body of so many bytes, asks for.
    async fn follow(
        &mut self,
        step: Step,
        piece: Piece,
        body_bytes: usize,
        work: &mut Vec<Work>,
        probe: &mut Option<Probe>,
    ) -> Result<(), Stopped> {
        match step {
            Step::Stored => {}
            Step::Partial { refusals, text } => {
                self.partly_stored(&piece, body_bytes, &refusals, &text).await;
                accept(probe, work);
            }
            Step::Divide => self.halve(piece, work),
            Step::TooLarge { text } => {
                let size = piece.raw_bytes();
                if piece.entries() > 1 {
                    let until = Instant::now() + Duration::from_millis(REQUEST_LIMIT_KEEP_MS);
                    self.size_limit = Some(((size / 2).max(DIVIDED_REQUEST_BYTES_MIN), until));
                    self.halve(piece, work);
                } else if let Some(search) = probe.as_mut().filter(|p| !p.accepted) {
                    search.suspects.push(piece);
                    search.text = text;
                } else if size > SURELY_SMALL_BYTES {
                    self.give_up(&piece, Reason::TooLarge, &text).await;
                } else {
                    work.push(Work::Part(piece));
                    self.failed(&Failure {
                        kind: Retry::TooLarge,
                        state: State::Degraded,
                        what: format!("even a request of {size} bytes is refused as too large: {text}"),
                        advice: "check the size limits of Loki and of any proxy in front of it",
                        retry_after: None,
                        for_person: false,
                    });
                    self.pause(true, None).await?;
                }
            }
            Step::Empty { .. } if piece.entries() == 0 => {
                tracing::error!(endpoint = %self.name, "an empty request was dropped; this is a bug of the agent");
                self.status.empty();
            }
            Step::Refused { reason: Some(reason), text } => {
                // Whoever names a reason is Loki: what it says of one entry holds.
                accept(probe, work);
                let whole_stream = reason == Reason::InvalidLabels && piece.is_one_stream();
                if whole_stream || reason == Reason::Tenant || piece.entries() <= 1 {
                    self.give_up(&piece, reason, &text).await;
                } else {
                    self.halve(piece, work);
                }
            }
            Step::Refused { reason: None, text } | Step::Empty { text } => {
                let search = probe.get_or_insert_with(|| Probe {
                    root: piece.clone(),
                    floor: work.len(),
                    accepted: false,
                    suspects: Vec::new(),
                    text: String::new(),
                });
                if piece.entries() > 1 {
                    self.halve(piece, work);
                } else if search.accepted {
                    self.give_up(&piece, Reason::Other, &text).await;
                } else {
                    search.suspects.push(piece);
                    search.text = text;
                }
            }
        }
        Ok(())
    }

    fn halve(&mut self, piece: Piece, work: &mut Vec<Work>) {
        match piece.halve() {
            Halved::Two(left, right) => work.extend([Work::Part(right), Work::Part(left)]),
            Halved::Whole(piece) => work.push(Work::Part(piece)),
        }
    }

    /// Sends `body` until there is an answer that is not "later".
    async fn attempt(&mut self, body: &Bytes, divisible: bool) -> Result<Step, Stopped> {
        let mut limited = 0;
        let mut broken = 0;
        loop {
            self.take_change();
            let unreadable = match std::mem::take(&mut self.reload_credentials) {
                true => self.client.reload_credentials().err(),
                false => None,
            };
            let started = Instant::now();
            let result = self.send(body).await?;
            self.status.requested(started.elapsed());
            let failure = match result {
                Err(error) => no_answer(error),
                Ok(answer) => {
                    let now_s = self.clock.now_ns() / 1_000_000_000;
                    let verdict =
                        push_response::classify(answer.status, answer.retry_after.as_deref(), &answer.body, now_s);
                    let text = shown_answer(&answer);
                    match verdict {
                        Verdict::Stored => return Ok(Step::Stored),
                        Verdict::Partial(refusals) => return Ok(Step::Partial { refusals, text }),
                        Verdict::Whole { reason } => {
                            self.status.retried(Retry::Refused);
                            return Ok(Step::Refused { reason, text });
                        }
                        Verdict::TooLarge => {
                            self.status.retried(Retry::TooLarge);
                            return Ok(Step::TooLarge { text });
                        }
                        Verdict::Empty => return Ok(Step::Empty { text }),
                        Verdict::RateLimited { retry_after, limit } => {
                            limited += 1;
                            let failure = rate_limited(retry_after, limit, text);
                            self.failed(&failure);
                            self.pause(false, retry_after).await?;
                            // A request above the endpoint's burst would never pass.
                            if divisible && limited >= RATE_LIMITED_ATTEMPTS {
                                return Ok(Step::Divide);
                            }
                            continue;
                        }
                        Verdict::Misconfigured(Misconfigured::Tenant) if self.tenant.is_some() => {
                            // The lines named it, not the configuration: no change of that would help.
                            self.status.retried(Retry::Refused);
                            return Ok(Step::Refused { reason: Some(Reason::Tenant), text });
                        }
                        Verdict::Blocked => blocked(text),
                        Verdict::Misconfigured(what) => {
                            self.reload_credentials =
                                what == Misconfigured::Credentials && self.client.has_credentials_file();
                            let mut failure = misconfigured(what, text);
                            if let Some(error) = unreadable {
                                failure.what = format!("{}; {error}", failure.what);
                            }
                            failure
                        }
                        Verdict::Transient { retry_after } => Failure {
                            kind: Retry::Server,
                            state: State::Retrying,
                            what: text,
                            advice: "the endpoint or a proxy in front of it has a problem of its own",
                            retry_after,
                            for_person: false,
                        },
                    }
                }
            };
            self.failed(&failure);
            self.pause(failure.state == State::Degraded, failure.retry_after).await?;
            if matches!(failure.kind, Retry::Timeout | Retry::Transport) {
                broken += 1;
                // On a slow line, or where something cuts long requests off, the same size would never get through.
                if divisible && broken >= BROKEN_ATTEMPTS && body.len() > DIVIDED_REQUEST_BYTES_MIN {
                    return Ok(Step::Divide);
                }
            }
        }
    }

    /// Goes on under other settings, if there are any.
    fn take_change(&mut self) {
        let Some(prepared) = self.change.take() else { return };
        let Prepared { settings, client } = *prepared;
        let (min, max) = settings.backoff;
        self.client = client;
        self.backoff = Backoff::new(min, max);
        self.patience = Backoff::new(max, max);
        self.reload_credentials = false;
        if self.rate.as_ref().map(Rate::limit) != settings.rate {
            self.rate = settings.rate.map(|limit| Rate::new(limit, Instant::now()));
        }
        // What was learned was learned of what may have been another endpoint.
        self.size_limit = None;
    }

    /// One request; after shutdown it has `stop_within` left.
    async fn send(&self, body: &Bytes) -> Result<Result<Answer, SendError>, Stopped> {
        let mut shutdown = self.shutdown.clone();
        if shutdown.is_raised() {
            return Err(Stopped);
        }
        let request = self.client.send(body.clone(), self.tenant.as_deref());
        tokio::pin!(request);
        tokio::select! {
            biased;
            result = &mut request => return Ok(result),
            () = shutdown.raised() => {}
        }
        tokio::time::timeout(self.stop_within, request).await.map_err(|_| Stopped)
    }

    async fn pause(&mut self, long: bool, at_least: Option<Duration>) -> Result<(), Stopped> {
        let pause = if long { self.patience.next_pause() } else { self.backoff.next_pause() };
        let asked = at_least.unwrap_or_default().min(Duration::from_millis(RETRY_AFTER_MS_MAX));
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.raised() => Err(Stopped),
            () = self.change.waits() => Ok(()),
            () = tokio::time::sleep(pause.max(asked)) => Ok(()),
        }
    }

    /// The largest request to send now, uncompressed bytes.
    fn request_limit(&mut self) -> usize {
        self.size_limit = self.size_limit.filter(|(_, until)| Instant::now() < *until);
        self.size_limit.map_or(REQUEST_BYTES_MAX, |(limit, _)| limit.min(REQUEST_BYTES_MAX))
    }

    /// The entries of a batch. Batches are the agent's own work, so that a failure is a bug or broken memory; the batch is kept.
    async fn decode(&mut self, batch: &Load) -> Result<Piece, Stopped> {
        loop {
            let decoded: Result<_, DecodeError> = decode_snappy(&batch.body, batch.raw_bytes.max(REQUEST_BYTES_MAX));
            match decoded {
                Ok(request) => return Ok(Piece(request)),
                Err(error) => {
                    self.failed(&Failure {
                        kind: Retry::Refused,
                        state: State::Degraded,
                        what: format!("a batch cannot be decoded to divide it: {error}"),
                        advice: "this is a bug of the agent; a restart makes the batch anew",
                        retry_after: None,
                        for_person: false,
                    });
                    self.pause(true, None).await?;
                    // Left where it is, it would end every further pause at once.
                    self.take_change();
                }
            }
        }
    }

    fn stored(&mut self, entries: usize, bytes: usize) {
        self.status.stored(u64::try_from(entries).unwrap_or(0), bytes, self.clock.now_ns());
        self.backoff.reset();
        self.status.works();
        self.troubles.over(&self.name);
    }

    fn failed(&mut self, failure: &Failure) {
        self.status.retried(failure.kind);
        let now_ns = self.clock.now_ns();
        let since_ns = self.troubles.failed(failure, &self.name, self.client.shown_url(), now_ns);
        let error = format!("{}; {}", failure.what, failure.advice);
        self.status.fails(failure.state, error, since_ns, failure.for_person);
    }

    /// All of `piece` is stored but what `refusals` mean.
    async fn partly_stored(&mut self, piece: &Piece, body_bytes: usize, refusals: &[Refusal], text: &str) {
        let refused = push_response::refused(&piece.0, refusals);
        let mut letters = self.dead_letters.begin(&self.name, self.tenant.as_deref(), text);
        for ((stream, entry), reason) in &refused.entries {
            if let Some(stream) = piece.0.streams.get(*stream)
                && let Some(entry) = stream.entries.get(*entry)
            {
                letters.add(&stream.labels, entry, *reason).await;
            }
        }
        letters.end().await;
        for reason in refused.entries.values() {
            self.status.refused(*reason, 1);
        }
        for (reason, count) in &refused.unidentified {
            self.status.refused(*reason, *count);
        }
        let total = refused.total();
        self.say_refused(total, text);
        let stored = piece.entries().saturating_sub(usize::try_from(total).unwrap_or(usize::MAX));
        self.stored(stored, body_bytes);
    }

    /// Every entry of `piece` is refused for good.
    async fn give_up(&mut self, piece: &Piece, reason: Reason, text: &str) {
        let mut letters = self.dead_letters.begin(&self.name, self.tenant.as_deref(), text);
        for stream in &piece.0.streams {
            for entry in &stream.entries {
                letters.add(&stream.labels, entry, reason).await;
            }
        }
        letters.end().await;
        let count = u64::try_from(piece.entries()).unwrap_or(0);
        self.status.refused(reason, count);
        self.say_refused(count, text);
    }

    fn say_refused(&mut self, entries: u64, text: &str) {
        if !is_over(self.refusals_said) {
            return;
        }
        self.refusals_said = Some(Instant::now());
        tracing::warn!(
            endpoint = %self.name,
            entries,
            answer = %text,
            "the endpoint refused entries for good; those it names are in the dead letters. \
             Further ones are counted in lugger_endpoint_refused_entries_total"
        );
    }
}

/// The endpoint has taken something, so that what it refuses is refused for itself. Earlier suspects get another chance: the endpoint
/// may have been changed in between.
fn accept(probe: &mut Option<Probe>, work: &mut Vec<Work>) {
    if let Some(search) = probe
        && !search.accepted
    {
        search.accepted = true;
        work.extend(search.suspects.drain(..).rev().map(Work::Part));
    }
}
