//! Sends the requests of one endpoint, one at a time and in order, and does what its answers ask for.
//!
//! A request that is refused as a whole is sent again in halves, within bounds, until the series that are the reason are alone: an endpoint that refuses
//! one sample may have stored none of the others.
//!
//! Promises: a request is settled once: stored, or refused for good, which is counted by reason and told, or dropped by what the configuration says. What
//! only a person can change (credentials, address) costs nothing: it is waited for. Leaves to others: what answers mean (`format::write_response`).

use super::pending::Pending;
use super::queue::Queue;
use super::refusals::{OfRequest, Refusals, advice};
use super::request::{Content, Request};
use super::settings::{Endpoint, Message};
use super::status::{Drop, Status};
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::limits::{
    BROKEN_ATTEMPTS, DIVIDED_REQUEST_BYTES_MIN, RATE_LIMITED_ATTEMPTS, REMOTE_DIVIDE_AGAIN_MS, REMOTE_DIVIDED_REFUSALS,
    REMOTE_DIVIDED_REQUESTS, REMOTE_RAW_BYTES_MAX, REQUEST_LIMIT_KEEP_MS, RETRY_AFTER_MS_MAX, SURELY_SMALL_BYTES,
};
use crate::base::shutdown::Shutdown;
use crate::format::remote_write_read::{Decoded, read};
use crate::format::write_response::{self, Misconfigured, Protocol, Reason, Sent, Verdict};
use crate::sink::change::Change;
use crate::sink::client::{Answer, Client, SendError};
use crate::sink::failure::{Failure, no_answer};
use crate::sink::status::{Failing, Retry, State};
use crate::sink::trouble::{Troubles, is_over, shown_answer};
use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Says which attempt a request is, from the second on.
const ATTEMPT_HEADER: HeaderName = HeaderName::from_static("retry-attempt");

/// What a sender is made of.
pub(super) struct Parts {
    pub(super) settings: Endpoint,
    pub(super) client: Client,
    pub(super) queue: Arc<Queue>,
    pub(super) pending: Arc<Pending>,
    pub(super) status: Arc<Status>,
    pub(super) change: Arc<Change<(Endpoint, Client)>>,
    pub(super) shutdown: Shutdown,
    /// How long it goes on after shutdown.
    pub(super) send_within: Duration,
}

/// Shutdown came before the work was done.
#[derive(Debug)]
struct Stopped;

/// A request, or what is left of it, on its way.
struct Part {
    body: Bytes,
    content: Content,
    attempts: u64,
    limited: u32,
    broken: u32,
    /// It is 1.0 to see whether the endpoint takes that.
    is_trial: bool,
    /// It cannot be divided.
    is_single: bool,
}

/// What to do with a part after an attempt.
enum Step {
    Stored,
    /// Nothing of it was stored, and the rest of it is not sent again.
    NotStored {
        reason: Reason,
        text: String,
    },
    /// It is settled otherwise.
    Dropped,
    /// The same again.
    Again,
    Refused {
        reason: Reason,
        text: String,
        is_divisible: bool,
    },
    TooLarge {
        text: String,
    },
    /// Smaller ones may get through.
    Divide,
    Fallback {
        is_certain: bool,
        text: String,
    },
}

/// The search for the series for which a request is refused.
#[derive(Default)]
struct Search {
    requests: u32,
    refusals: u32,
    has_stored: bool,
    /// Whether anything was divided.
    has_begun: bool,
    /// What is given up.
    refused: OfRequest,
    /// Something may have been stored of what was refused.
    is_unclear: bool,
}

pub(super) struct Sender {
    parts: Parts,
    clock: Clock,
    backoff: Backoff,
    /// For what only a person can change.
    patience: Backoff,
    stop_at: Option<Instant>,
    troubles: Troubles,
    reload_credentials: bool,
    /// What the endpoint has shown to be too much, uncompressed bytes, and until when that is believed.
    size_limit: Option<(usize, Instant)>,
    /// No search before this.
    divide_again: Option<Instant>,
    refusals: Refusals,
    age_said: Option<Instant>,
}

impl Sender {
    pub(super) fn new(parts: Parts) -> Self {
        let (min, max) = parts.settings.backoff;
        Sender {
            parts,
            clock: Clock::System,
            backoff: Backoff::new(min, max),
            patience: Backoff::new(max, max),
            stop_at: None,
            troubles: Troubles::default(),
            reload_credentials: false,
            size_limit: None,
            divide_again: None,
            refusals: Refusals::default(),
            age_said: None,
        }
    }

    /// Sends until shutdown, and a little longer what there is by then.
    pub(super) async fn run(mut self) {
        let (queue, mut shutdown) = (Arc::clone(&self.parts.queue), self.parts.shutdown.clone());
        loop {
            let request = tokio::select! {
                biased;
                () = shutdown.raised() => break,
                request = queue.next() => request,
            };
            let delivered = self.deliver(&request).await;
            queue.finished(delivered.is_ok());
            if delivered.is_err() {
                break;
            }
        }
        self.parts.pending.close();
        let stop_at = self.stop_at();
        while !self.troubles.is_on()
            && let Ok(Some(request)) = tokio::time::timeout_at(stop_at.into(), queue.next_or_end()).await
        {
            let delivered = self.deliver(&request).await;
            queue.finished(delivered.is_ok());
            if delivered.is_err() {
                break;
            }
        }
    }

    /// When sending ends, once shutdown is raised.
    fn stop_at(&mut self) -> Instant {
        *self.stop_at.get_or_insert_with(|| Instant::now() + self.parts.send_within)
    }

    /// Returns when every sample is stored, refused for good or dropped.
    async fn deliver(&mut self, request: &Request) -> Result<(), Stopped> {
        let mut work = vec![Part::new(request.body.clone(), request.content)];
        let mut search = Search::default();
        while let Some(part) = work.pop() {
            self.take_change();
            let Some(mut part) = self.fit(part, &mut work) else { continue };
            match self.attempt(&mut part).await? {
                Step::Dropped => {}
                Step::Stored => {
                    search.has_stored = true;
                    if part.is_trial {
                        self.fall_back("it takes the same request as 1.0");
                    }
                }
                Step::NotStored { reason, text } => {
                    search.refused.add(part.content.samples.into(), reason, &text);
                }
                Step::Again => work.push(part),
                Step::Divide => self.halve(part, &mut work),
                Step::Fallback { is_certain: true, text } => {
                    self.fall_back(&text);
                    work.push(part);
                }
                Step::Fallback { is_certain: false, .. } => {
                    part.is_trial = true;
                    work.push(part);
                }
                Step::TooLarge { text } => self.too_large(part, &text, &mut work, &mut search.refused).await?,
                Step::Refused { reason, text, is_divisible } => {
                    search.refusals += 1;
                    let may = is_divisible && !part.is_single && self.may_divide(&search);
                    if may {
                        search.has_begun = true;
                        self.parts.status.retried(Retry::Refused, part.content.samples.into());
                        self.halve(part, &mut work);
                    } else {
                        search.is_unclear |= !is_divisible;
                        self.give_up(&part, reason, &text, &mut search.refused);
                    }
                }
            }
            search.requests += 1;
        }
        self.settled(&search);
        if search.has_begun && !search.has_stored {
            self.divide_again = Some(Instant::now() + Duration::from_millis(REMOTE_DIVIDE_AGAIN_MS));
        }
        Ok(())
    }

    /// All of a request is settled: what of it was refused is told, and what it says of the endpoint is taken in.
    fn settled(&mut self, search: &Search) {
        let name = &self.parts.settings.name;
        let Some((reason, text)) = &search.refused.why else { return };
        self.refusals.say(name, search.refused.samples, *reason, text);
        if search.has_stored || search.is_unclear {
            return self.works();
        }
        // It answers: there is no reason to wait before the next request.
        self.backoff.reset();
        if let Some(since_ns) = self.refusals.fruitless(name, text, self.clock.now_ns()) {
            let error =
                format!("it refuses all that it is sent, and all of it is dropped: {text}; {}", advice(*reason));
            self.parts.status.enter(State::Degraded, Some(Failing { error, since_ns, for_person: false }));
        }
    }

    /// Whether a refused request may still be divided.
    fn may_divide(&self, search: &Search) -> bool {
        self.divide_again.is_none_or(|again| Instant::now() >= again)
            && search.requests < REMOTE_DIVIDED_REQUESTS
            && (search.has_stored || search.refusals < REMOTE_DIVIDED_REFUSALS)
    }

    /// What of a part may be sent now, in the version that is spoken. `None`: nothing, or it went to `work` in pieces.
    fn fit(&mut self, part: Part, work: &mut Vec<Part>) -> Option<Part> {
        let part = self.young(part)?;
        let is_first = self.parts.pending.protocol() == Protocol::V1 || part.is_trial;
        let part = if part.content.protocol == Protocol::V2 && is_first { self.translate(part)? } else { part };
        self.size_limit = self.size_limit.filter(|(_, until)| Instant::now() < *until);
        let limit = self.size_limit.map_or(usize::MAX, |(limit, _)| limit);
        if part.content.raw_bytes as usize > limit && !part.is_single {
            self.halve(part, work);
            return None;
        }
        Some(part)
    }

    /// Leaves out what is above `sample_age_limit`.
    fn young(&mut self, mut part: Part) -> Option<Part> {
        let Some(limit) = self.parts.settings.sample_age_limit else { return Some(part) };
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let oldest_ms = (self.clock.now_ns() / 1_000_000).saturating_sub(limit_ms);
        let (oldest, newest) = part.content.times_ms;
        if oldest >= oldest_ms {
            return Some(part);
        }
        let (dropped, left) = if newest < oldest_ms {
            (u64::from(part.content.samples), None)
        } else {
            let mut decoded = self.decode(&part)?;
            let dropped = decoded.drop_before(oldest_ms) as u64;
            part = part.again(&decoded, part.content.protocol)?;
            (dropped, Some(part))
        };
        self.parts.status.dropped(Drop::AgeLimit, dropped);
        if is_over(self.age_said) {
            self.age_said = Some(Instant::now());
            tracing::warn!(
                endpoint = %self.parts.settings.name, samples = dropped,
                "samples above sample_age_limit are not sent any more; further ones are counted in lugger_remote_write_dropped_samples_total"
            );
        }
        left
    }

    /// The same in 1.0.
    fn translate(&mut self, part: Part) -> Option<Part> {
        let decoded = self.decode(&part)?;
        part.again(&decoded, Protocol::V1)
    }

    /// Two halves of a part, to be sent in order. A single series goes back whole.
    fn halve(&mut self, part: Part, work: &mut Vec<Part>) {
        let Some(decoded) = self.decode(&part) else { return };
        match decoded.halve() {
            Ok((left, right)) => {
                let protocol = part.content.protocol;
                work.extend([right, left].iter().filter_map(|half| part.again(half, protocol)));
            }
            Err(_) => work.push(Part { is_single: true, ..part }),
        }
    }

    /// Requests are the agent's own work, so that a failure is a bug or broken memory.
    fn decode(&mut self, part: &Part) -> Option<Decoded> {
        let bound = REMOTE_RAW_BYTES_MAX.max(part.content.raw_bytes as usize);
        match read(part.content.protocol, &part.body, bound) {
            Ok(decoded) => Some(decoded),
            Err(error) => {
                tracing::error!(
                    endpoint = %self.parts.settings.name, %error,
                    "a request cannot be read to divide it and is dropped; this is a bug of the agent, or broken memory"
                );
                self.parts.status.dropped(Drop::Unreadable, part.content.samples.into());
                None
            }
        }
    }

    /// Sends a part once; waits where it has to be sent again later.
    async fn attempt(&mut self, part: &mut Part) -> Result<Step, Stopped> {
        let unreadable = match std::mem::take(&mut self.reload_credentials) {
            true => self.parts.client.reload_credentials().err(),
            false => None,
        };
        let started = Instant::now();
        let result = self.send(part).await?;
        self.parts.status.requested(started.elapsed());
        part.attempts += 1;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                let failure = no_answer(error);
                self.later(part, &failure).await?;
                part.broken += u32::from(matches!(failure.kind, Retry::Timeout | Retry::Transport));
                // On a slow line, or where something cuts long requests off, the same size would never get through.
                let is_long = part.body.len() > DIVIDED_REQUEST_BYTES_MIN && !part.is_single;
                return Ok(if is_long && part.broken >= BROKEN_ATTEMPTS { Step::Divide } else { Step::Again });
            }
        };
        let text = shown_answer(&answer);
        let mut verdict = self.judge(&answer, part.content);
        if let (Verdict::Fallback { certain }, Message::Auto) = (verdict, self.parts.settings.message) {
            return Ok(Step::Fallback { is_certain: certain, text });
        }
        if matches!(verdict, Verdict::Fallback { certain: false }) {
            // Without a fallback it is an answer like others.
            verdict = self.judge(&answer, Content { protocol: Protocol::V1, ..part.content });
        }
        let failure = match verdict {
            Verdict::Stored => {
                self.stored(part, part.content.samples.into(), part.content.exemplars.into());
                return Ok(Step::Stored);
            }
            Verdict::Partial { written, reason } => {
                let Content { samples, exemplars, .. } = part.content;
                let (samples, exemplars) = (u64::from(samples), u64::from(exemplars));
                let stored = (written.samples.min(samples), written.exemplars.min(exemplars));
                self.parts.status.failed(reason, samples - stored.0, exemplars - stored.1);
                if stored == (0, 0) {
                    return Ok(Step::NotStored { reason, text });
                }
                self.stored(part, stored.0, stored.1);
                self.refusals.say(&self.parts.settings.name, samples - stored.0, reason, &text);
                return Ok(Step::Stored);
            }
            Verdict::Refused(reason) => {
                // These store what is good and tell of the rest.
                let is_divisible = !answer.body.contains("err-mimir-");
                return Ok(Step::Refused { reason, text, is_divisible });
            }
            Verdict::TooLarge => {
                self.parts.status.retried(Retry::TooLarge, part.content.samples.into());
                return Ok(Step::TooLarge { text });
            }
            Verdict::RateLimited { .. } if !self.parts.settings.retry_rate_limited => {
                self.parts.status.rate_limited(part.content.samples.into(), part.content.exemplars.into());
                self.refusals.say(&self.parts.settings.name, part.content.samples.into(), Reason::Other, &text);
                return Ok(Step::Dropped);
            }
            Verdict::RateLimited { retry_after } => {
                part.limited += 1;
                let failure = Failure {
                    kind: Retry::RateLimited,
                    state: State::Retrying,
                    what: text,
                    advice: "the endpoint or a proxy in front of it limits the rate: send fewer series or less often, or raise the limit",
                    retry_after,
                    for_person: false,
                };
                self.later(part, &failure).await?;
                // A request above the endpoint's burst would never pass.
                let divides = part.limited >= RATE_LIMITED_ATTEMPTS && !part.is_single;
                return Ok(if divides { Step::Divide } else { Step::Again });
            }
            Verdict::Transient { retry_after } => Failure {
                kind: Retry::Server,
                state: State::Retrying,
                what: text,
                advice: "the endpoint or a proxy in front of it has a problem of its own",
                retry_after,
                for_person: false,
            },
            Verdict::Fallback { .. } => Failure {
                kind: Retry::Protocol,
                state: State::Degraded,
                what: format!("the endpoint does not know remote write 2.0 ({text})"),
                advice: "write `protobuf_message: auto`, or remove it: then 1.0 is spoken",
                retry_after: None,
                for_person: false,
            },
            Verdict::Misconfigured(what) => {
                self.reload_credentials =
                    what == Misconfigured::Credentials && self.parts.client.has_credentials_file();
                let mut failure = misconfigured(what, text);
                if let Some(error) = unreadable {
                    failure.what = format!("{}; {error}", failure.what);
                }
                failure
            }
        };
        self.later(part, &failure).await?;
        Ok(Step::Again)
    }

    fn judge(&self, answer: &Answer, content: Content) -> Verdict {
        let header = |name| answer.header(name);
        let facts = write_response::Answer {
            status: answer.status,
            retry_after: answer.retry_after.as_deref(),
            written: [
                header(write_response::SAMPLES_HEADER),
                header(write_response::HISTOGRAMS_HEADER),
                header(write_response::EXEMPLARS_HEADER),
            ],
            body: &answer.body,
        };
        let sent =
            Sent { protocol: content.protocol, samples: content.samples.into(), exemplars: content.exemplars.into() };
        write_response::classify(&facts, &sent, self.clock.now_ns() / 1_000_000_000)
    }

    /// One request; after shutdown it has what is left of the time.
    async fn send(&mut self, part: &Part) -> Result<Result<Answer, SendError>, Stopped> {
        let mut shutdown = self.parts.shutdown.clone();
        let protocol = part.content.protocol;
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(protocol.content_type())),
            (CONTENT_ENCODING, HeaderValue::from_static("snappy")),
            (HeaderName::from_static(write_response::VERSION_HEADER), HeaderValue::from_static(protocol.version())),
        ];
        if part.attempts > 0 {
            headers.push((ATTEMPT_HEADER, HeaderValue::from(part.attempts)));
        }
        let stop_at = shutdown.is_raised().then(|| self.stop_at());
        let request = self.parts.client.post(part.body.clone(), &headers);
        tokio::pin!(request);
        if stop_at.is_none() {
            tokio::select! {
                biased;
                result = &mut request => return Ok(result),
                () = shutdown.raised() => {}
            }
        }
        let stop_at = stop_at.unwrap_or_else(|| Instant::now() + self.parts.send_within);
        self.stop_at = Some(stop_at);
        tokio::time::timeout_at(stop_at.into(), request).await.map_err(|_| Stopped)
    }

    /// A part is to be sent again after a pause.
    async fn later(&mut self, part: &Part, failure: &Failure) -> Result<(), Stopped> {
        self.parts.status.retried(failure.kind, part.content.samples.into());
        let (name, url) = (&self.parts.settings.name, self.parts.client.shown_url());
        let since_ns = self.troubles.failed(failure, name, url, self.clock.now_ns());
        let error = format!("{}; {}", failure.what, failure.advice);
        let failing = Failing { error, since_ns, for_person: failure.for_person };
        self.parts.status.enter(failure.state, Some(failing));
        let is_long = failure.state == State::Degraded;
        let pause = if is_long { self.patience.next_pause() } else { self.backoff.next_pause() };
        let asked = failure.retry_after.unwrap_or_default().min(Duration::from_millis(RETRY_AFTER_MS_MAX));
        let mut shutdown = self.parts.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.raised() => Err(Stopped),
            () = self.parts.change.waits() => Ok(()),
            () = tokio::time::sleep(pause.max(asked)) => Ok(()),
        }
    }

    /// A part is larger than the endpoint takes.
    async fn too_large(
        &mut self,
        part: Part,
        text: &str,
        work: &mut Vec<Part>,
        refused: &mut OfRequest,
    ) -> Result<(), Stopped> {
        let size = part.content.raw_bytes as usize;
        if !part.is_single {
            let until = Instant::now() + Duration::from_millis(REQUEST_LIMIT_KEEP_MS);
            self.size_limit = Some(((size / 2).max(SURELY_SMALL_BYTES), until));
            self.halve(part, work);
        } else if size > SURELY_SMALL_BYTES {
            self.give_up(&part, Reason::TooLarge, text, refused);
        } else {
            let failure = Failure {
                kind: Retry::TooLarge,
                state: State::Degraded,
                what: format!("even a request of {size} bytes is refused as too large: {text}"),
                advice: "check the size limits of the endpoint and of any proxy in front of it",
                retry_after: None,
                for_person: false,
            };
            self.later(&part, &failure).await?;
            work.push(part);
        }
        Ok(())
    }

    /// Goes on under other settings, if there are any.
    fn take_change(&mut self) {
        let Some(change) = self.parts.change.take() else { return };
        let (settings, client) = *change;
        let (min, max) = settings.backoff;
        (self.parts.settings, self.parts.client) = (settings, client);
        self.backoff = Backoff::new(min, max);
        self.patience = Backoff::new(max, max);
        self.reload_credentials = false;
        // What was learned was learned of what may have been another endpoint.
        (self.size_limit, self.divide_again) = (None, None);
    }

    /// The endpoint only knows 1.0.
    fn fall_back(&mut self, text: &str) {
        if self.parts.pending.protocol() != Protocol::V1 {
            tracing::info!(
                endpoint = %self.parts.settings.name, answer = text,
                "the endpoint does not know remote write 2.0; it gets 1.0 until lugger is started anew"
            );
        }
        self.parts.status.retried(Retry::Protocol, 0);
        self.parts.pending.fall_back();
    }

    fn stored(&mut self, part: &Part, samples: u64, exemplars: u64) {
        let newest_ms = part.content.times_ms.1;
        self.parts.status.stored(samples, exemplars, part.body.len(), newest_ms, self.clock.now_ns());
        self.works();
    }

    /// The endpoint has answered as it should.
    fn works(&mut self) {
        self.backoff.reset();
        self.parts.status.enter(State::Ok, None);
        self.troubles.over(&self.parts.settings.name);
        self.refusals.stored(&self.parts.settings.name);
    }

    /// A part is refused for good.
    fn give_up(&mut self, part: &Part, reason: Reason, text: &str, refused: &mut OfRequest) {
        let samples = u64::from(part.content.samples);
        self.parts.status.failed(reason, samples, part.content.exemplars.into());
        refused.add(samples, reason, text);
    }
}

impl Part {
    fn new(body: Bytes, content: Content) -> Self {
        Part { body, content, attempts: 0, limited: 0, broken: 0, is_trial: false, is_single: content.samples < 2 }
    }

    /// A part of what this one is part of. `None`: there is nothing in it.
    fn again(&self, decoded: &Decoded, protocol: Protocol) -> Option<Part> {
        let (body, raw_bytes) = decoded.body(protocol)?;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let content = Content {
            protocol,
            samples: count(decoded.samples()),
            exemplars: count(decoded.exemplars()),
            raw_bytes: count(raw_bytes),
            times_ms: decoded.times_ms()?,
        };
        Some(Part { is_trial: self.is_trial, attempts: self.attempts, ..Part::new(body.into(), content) })
    }
}

fn misconfigured(problem: Misconfigured, what: String) -> Failure {
    let (kind, advice) = match problem {
        Misconfigured::Credentials | Misconfigured::Tenant => (
            Retry::Credentials,
            "check basic_auth, authorization and headers (some endpoints want X-Scope-OrgID); secrets in files are read again",
        ),
        Misconfigured::Address => (
            Retry::Address,
            "check url: Prometheus' path is /api/v1/write, and it has to run with --web.enable-remote-write-receiver; Mimir's is /api/v1/push",
        ),
        Misconfigured::Redirect => (Retry::Address, "redirects are not followed: put the final address into url"),
    };
    Failure { kind, state: State::Degraded, what, advice, retry_after: None, for_person: false }
}
