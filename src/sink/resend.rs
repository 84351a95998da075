//! Sends entries once more to an endpoint that is asked for by a person who waits.
//!
//! Unlike an endpoint's sender it comes to an end: what is refused again is said, and an endpoint that does not take anything is an error
//! after a few attempts. Sending an entry again is harmless, since Loki keeps identical entries once; so a request that is refused without
//! saying which of its entries are the reason is halved and sent again.
//!
//! Promises: "stored" is said only of entries that the endpoint has said to store; when it is dropped half-way, what was said so far holds.
//! Leaves to others: where entries come from, and what becomes of them.

use super::client::{Answer, Client, excerpt};
use super::endpoint::SinkError;
use super::settings::Endpoint;
use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::limits::{PROBED_ENTRIES, RATE_LIMITED_ATTEMPTS, RESEND_ATTEMPTS, RETRY_AFTER_MS_MAX};
use crate::format::loki::{EntryAdapter, PushRequest, StreamAdapter, encode_snappy};
use crate::format::push_response::{self, Misconfigured, Reason, Refusal, Verdict};
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use prost::Message;
use std::time::Duration;

/// An entry to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Whose it is, if not the endpoint's own tenant's.
    pub tenant: Option<String>,
    /// The stream's labels in Loki's text form.
    pub labels: String,
    /// The entry.
    pub entry: EntryAdapter,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The endpoint has it.
    Stored,
    /// It was refused for good.
    Refused(Reason),
}

/// The endpoint takes nothing, for a reason that has nothing to do with the entries.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {endpoint} does not store what it is sent: {what}; {advice}")]
pub struct ResendError {
    /// Its name in the configuration.
    pub endpoint: String,
    /// What happened.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
}

/// See the module.
pub struct Resender {
    name: String,
    client: Client,
    request_bytes: usize,
    backoff: Backoff,
    /// Whether the endpoint has stored anything.
    accepted: bool,
    /// Single entries that were refused in words that are not known to be Loki's.
    suspects: usize,
}

enum Step {
    Stored,
    Partial(Vec<Refusal>),
    Refused(Option<Reason>, String),
    Divide,
}

impl Resender {
    /// Sets up the connection as the configuration says.
    pub fn new(settings: &Endpoint) -> Result<Self, SinkError> {
        let client = Client::new(settings).map_err(|error| SinkError { endpoint: settings.name.clone(), error })?;
        Ok(Resender {
            name: settings.name.clone(),
            client,
            request_bytes: settings.batch_bytes,
            backoff: Backoff::new(settings.backoff.0, settings.backoff.1),
            accepted: false,
            suspects: 0,
        })
    }

    /// Sends `entries` in their order. `done` hears of each, by its index, as soon as its fate is known, all of one request together.
    pub async fn send(
        &mut self,
        entries: &[Outgoing],
        done: &mut impl FnMut(&[(usize, Fate)]),
    ) -> Result<(), ResendError> {
        let mut work = self.requests(entries);
        while let Some(part) = work.pop() {
            let (request, places) = build(entries, &part);
            let is_single = part.len() <= 1;
            let tenant = part.first().and_then(|index| entries.get(*index)?.tenant.as_deref());
            match self.attempt(&encode_snappy(&request).into(), tenant, !is_single).await? {
                Step::Stored => {
                    self.accepted = true;
                    done(&all(&part, Fate::Stored));
                }
                Step::Partial(refusals) => {
                    self.accepted = true;
                    let refused = push_response::refused(&request, &refusals);
                    let any = refused.entries.values().chain(refused.unidentified.keys()).next();
                    if is_single {
                        done(&all(&part, Fate::Refused(any.copied().unwrap_or(Reason::Other))));
                    } else if refused.unidentified.is_empty() {
                        let fates = places.iter().map(|(place, index)| {
                            (*index, refused.entries.get(place).map_or(Fate::Stored, |reason| Fate::Refused(*reason)))
                        });
                        done(&fates.collect::<Vec<_>>());
                    } else {
                        halve(part, &mut work);
                    }
                }
                Step::Refused(reason, text) => {
                    let is_whole_stream = reason == Some(Reason::InvalidLabels) && request.streams.len() <= 1;
                    if !is_single && !is_whole_stream && reason != Some(Reason::Tenant) {
                        halve(part, &mut work);
                        continue;
                    }
                    if reason.is_none() && !self.accepted {
                        self.suspects += 1;
                        if self.suspects >= PROBED_ENTRIES {
                            return Err(self.gives_up(
                                text,
                                "everything is refused, in words that are not Loki's: check url and any proxy in front of it",
                            ));
                        }
                    }
                    done(&all(&part, Fate::Refused(reason.unwrap_or(Reason::Other))));
                }
                Step::Divide => halve(part, &mut work),
            }
        }
        Ok(())
    }

    /// Indices for one request each, the first request last.
    fn requests(&self, entries: &[Outgoing]) -> Vec<Vec<usize>> {
        let mut requests = Vec::new();
        let mut open = Vec::new();
        let mut bytes = 0;
        for (index, outgoing) in entries.iter().enumerate() {
            // Labels count once a stream in fact; this is an upper bound.
            let size = outgoing.entry.encoded_len() + outgoing.labels.len();
            let is_other = open
                .last()
                .and_then(|last: &usize| entries.get(*last))
                .is_some_and(|last| last.tenant != outgoing.tenant);
            if is_other || (!open.is_empty() && bytes + size > self.request_bytes) {
                requests.push(std::mem::take(&mut open));
                bytes = 0;
            }
            open.push(index);
            bytes += size;
        }
        if !open.is_empty() {
            requests.push(open);
        }
        requests.reverse();
        requests
    }

    /// Sends `body` until there is an answer that is not "later", or for a few times.
    async fn attempt(&mut self, body: &Bytes, tenant: Option<&str>, divisible: bool) -> Result<Step, ResendError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (what, advice, wait) = match self.client.send(body.clone(), tenant).await {
                Err(error) => (error.text, "check that the endpoint runs and can be reached from this host", None),
                Ok(answer) => {
                    let now_s = Clock::System.now_ns() / 1_000_000_000;
                    let text = shown(&answer);
                    match push_response::classify(answer.status, answer.retry_after.as_deref(), &answer.body, now_s) {
                        Verdict::Stored => {
                            self.backoff.reset();
                            return Ok(Step::Stored);
                        }
                        Verdict::Partial(refusals) => return Ok(Step::Partial(refusals)),
                        Verdict::Whole { reason } => return Ok(Step::Refused(reason, text)),
                        Verdict::TooLarge if divisible => return Ok(Step::Divide),
                        Verdict::TooLarge => return Ok(Step::Refused(Some(Reason::TooLarge), text)),
                        Verdict::Misconfigured(Misconfigured::Tenant) if tenant.is_some() => {
                            return Ok(Step::Refused(Some(Reason::Tenant), text));
                        }
                        Verdict::Empty => return Ok(Step::Refused(None, text)),
                        Verdict::RateLimited { retry_after, .. } => {
                            if divisible && attempts >= RATE_LIMITED_ATTEMPTS {
                                return Ok(Step::Divide);
                            }
                            (text, "it limits the rate: try again later", retry_after)
                        }
                        Verdict::Transient { retry_after } => {
                            (text, "the endpoint or a proxy in front of it has a problem of its own", retry_after)
                        }
                        Verdict::Blocked => {
                            return Err(self.gives_up(text, "Loki blocks ingestion for this tenant: ask who runs it"));
                        }
                        Verdict::Misconfigured(problem) => {
                            return Err(self.gives_up(
                                text,
                                match problem {
                                    Misconfigured::Credentials => "check basic_auth or the bearer token, and tenant_id",
                                    Misconfigured::Tenant => "check tenant_id",
                                    Misconfigured::Address => "check url: Loki's push URL ends in /loki/api/v1/push",
                                    Misconfigured::Redirect => {
                                        "redirects are not followed: put the final address into url"
                                    }
                                },
                            ));
                        }
                    }
                }
            };
            if attempts >= RESEND_ATTEMPTS {
                return Err(self.gives_up(what, advice));
            }
            let asked = wait.unwrap_or_default().min(Duration::from_millis(RETRY_AFTER_MS_MAX));
            tokio::time::sleep(self.backoff.next_pause().max(asked)).await;
        }
    }

    fn gives_up(&self, what: String, advice: &'static str) -> ResendError {
        ResendError { endpoint: self.name.clone(), what: excerpt(&what), advice }
    }
}

fn shown(answer: &Answer) -> String {
    format!("HTTP {} {}", answer.status, answer.body)
}

fn all(part: &[usize], fate: Fate) -> Vec<(usize, Fate)> {
    part.iter().map(|index| (*index, fate)).collect()
}

fn halve(mut part: Vec<usize>, work: &mut Vec<Vec<usize>>) {
    let right = part.split_off(part.len() / 2);
    work.extend([right, part].into_iter().filter(|half| !half.is_empty()));
}

/// By index of stream and entry: which of the entries it is.
type Places = Vec<((usize, usize), usize)>;

/// One request of the entries that `part` names, those of a stream together.
fn build(entries: &[Outgoing], part: &[usize]) -> (PushRequest, Places) {
    let mut streams: Vec<StreamAdapter> = Vec::new();
    let mut by_labels: HashMap<&str, usize> = HashMap::new();
    let mut places = Vec::with_capacity(part.len());
    for index in part {
        let Some(outgoing) = entries.get(*index) else { continue };
        let at = *by_labels.entry(&outgoing.labels).or_insert_with(|| {
            streams.push(StreamAdapter { labels: outgoing.labels.clone(), entries: Vec::new(), hash: 0 });
            streams.len() - 1
        });
        if let Some(stream) = streams.get_mut(at) {
            places.push(((at, stream.entries.len()), *index));
            stream.entries.push(outgoing.entry.clone());
        }
    }
    (PushRequest { streams }, places)
}
