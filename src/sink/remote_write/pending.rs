//! The request that is being filled: points are encoded straight into it, and it is sealed by size or age.
//!
//! Promises: all points of a collection are encoded when [`Output::write`] returns, in their order; it waits for no network and no disk. A collection in
//! the steady state allocates nothing but the bodies of requests that it fills. Nothing wakes while nothing is pending. Leaves to others: what
//! becomes of sealed requests (`queue`).

use super::families::Families;
use super::queue::Queue;
use super::relabel::Relabel;
use super::request::{Content, Request};
use super::settings::{Endpoint, Message};
use super::status::{Drop, Status};
use crate::base::limits::{REMOTE_BODY_BYTES, REMOTE_FAMILY_BYTES, REMOTE_SERIES_BYTES};
use crate::format::remote_write::{push_metadata, push_series};
use crate::format::remote_write_v2;
use crate::format::write_response::Protocol;
use crate::model::points::{Output, PointOf, Points};
use crate::model::samples::{Exemplar, Family};
use crate::pipeline::relabel::RelabelError;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What of an endpoint's settings concerns the writing of requests.
pub(super) struct Form {
    url: String,
    message: Message,
    max_samples: u32,
    deadline: Duration,
    exemplars: bool,
    families: Option<Families>,
    relabel: Option<Relabel>,
}

impl Form {
    pub(super) fn new(settings: &Endpoint) -> Result<Self, RelabelError> {
        Ok(Form {
            url: settings.url.clone(),
            message: settings.message,
            max_samples: u32::try_from(settings.max_samples.max(1)).unwrap_or(u32::MAX),
            deadline: settings.deadline,
            exemplars: settings.exemplars,
            families: settings.metadata.map(Families::new),
            relabel: Relabel::new(&settings.write_relabel, &settings.name)?,
        })
    }

    fn first_protocol(&self) -> Protocol {
        match self.message {
            Message::V1 => Protocol::V1,
            Message::V2 | Message::Auto => Protocol::V2,
        }
    }
}

/// The pending request of one endpoint. It is the [`Output`] that collections write to.
pub struct Pending {
    filling: Mutex<Filling>,
    queue: Arc<Queue>,
    status: Arc<Status>,
    /// Told when something is pending that was not before, and when the deadline changes.
    begun: Notify,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

struct Filling {
    form: Form,
    protocol: Protocol,
    /// Series of 1.0.
    series: Vec<u8>,
    /// Metadata of 1.0, which goes behind them.
    metadata: Vec<u8>,
    /// All of 2.0.
    second: remote_write_v2::Request,
    samples: u32,
    exemplars: u32,
    times_ms: (i64, i64),
    /// When its first point came.
    since: Option<Instant>,
    encoder: snap::raw::Encoder,
    packed: Vec<u8>,
    /// What the status was told of this request: samples and bytes.
    told: (i64, i64),
    closed: bool,
}

impl Output for Pending {
    fn write(&self, points: &Points) {
        if points.is_empty() {
            return;
        }
        let mut filling = self.lock();
        if filling.closed {
            drop(filling);
            return self.status.dropped(Drop::Stopped, points.len() as u64);
        }
        let now = Instant::now();
        filling.begin(now);
        let (mut exemplars, mut last_family) = (Vec::new(), None);
        let mut newest_ms = i64::MIN;
        for point in points.iter() {
            newest_ms = newest_ms.max(point.point.time_ms);
            exemplars.clear();
            if filling.form.exemplars {
                exemplars.extend(point.exemplars());
            }
            let family = point.family.and_then(|at| points.family_at(at)).filter(|_| filling.form.families.is_some());
            let is_new_family = std::mem::replace(&mut last_family, point.family) != point.family;
            if let Err(reason) = filling.add(&point, &exemplars, family.as_ref(), is_new_family) {
                if reason == Drop::Relabel {
                    // Nothing of this family may have been kept so far.
                    last_family = None;
                }
                self.status.dropped(reason, 1);
                continue;
            }
            filling.since.get_or_insert(now);
            if filling.is_full() {
                self.seal(&mut filling);
            }
        }
        self.status.took(newest_ms);
        self.tell(&mut filling);
        let has_begun = filling.since == Some(now);
        drop(filling);
        if has_begun {
            self.begun.notify_one();
        }
    }
}

impl Pending {
    pub(super) fn new(form: Form, queue: Arc<Queue>, status: Arc<Status>) -> Self {
        let protocol = form.first_protocol();
        status.speaks(protocol);
        let filling = Filling {
            form,
            protocol,
            series: Vec::new(),
            metadata: Vec::new(),
            second: remote_write_v2::Request::default(),
            samples: 0,
            exemplars: 0,
            times_ms: (i64::MAX, i64::MIN),
            since: None,
            encoder: snap::raw::Encoder::new(),
            packed: Vec::new(),
            told: (0, 0),
            closed: false,
        };
        Pending { filling: Mutex::new(filling), queue, status, begun: Notify::new() }
    }

    /// Goes on in another form. What is pending is sealed in the one that it has.
    pub(super) fn reform(&self, form: Form) {
        let mut filling = self.lock();
        self.seal(&mut filling);
        if (&filling.form.url, filling.form.message) != (&form.url, form.message) {
            // What was learned was learned of what may have been another endpoint.
            filling.protocol = form.first_protocol();
            self.status.speaks(filling.protocol);
        }
        filling.form = form;
        drop(filling);
        self.begun.notify_one();
    }

    /// The version that requests are written in now.
    pub(super) fn protocol(&self) -> Protocol {
        self.lock().protocol
    }

    /// Goes on in 1.0.
    pub(super) fn fall_back(&self) {
        let mut filling = self.lock();
        if filling.protocol != Protocol::V1 {
            self.seal(&mut filling);
            filling.protocol = Protocol::V1;
            // What was said in the other version is said anew.
            if let Some(families) = &mut filling.form.families {
                families.forget();
            }
            self.status.speaks(Protocol::V1);
        }
    }

    /// Seals what is pending, and takes nothing more.
    pub(super) fn close(&self) {
        let mut filling = self.lock();
        filling.closed = true;
        self.seal(&mut filling);
    }

    /// Seals what is old enough. When to look again; `None`: when something is told.
    fn seal_due(&self, now: Instant) -> Option<Instant> {
        let mut filling = self.lock();
        let due = filling.since? + filling.form.deadline;
        if now < due {
            return Some(due);
        }
        self.seal(&mut filling);
        None
    }

    /// Seals requests by their age, without end.
    pub(super) async fn watch(&self) {
        loop {
            match self.seal_due(Instant::now()) {
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    () = self.begun.notified() => {}
                },
                None => self.begun.notified().await,
            }
        }
    }

    fn seal(&self, filling: &mut Filling) {
        if let Some(request) = filling.seal() {
            self.tell(filling);
            self.queue.push(request);
        }
    }

    /// Keeps what the status shows of the pending request right.
    fn tell(&self, filling: &mut Filling) {
        let now = (i64::from(filling.samples), i64::try_from(filling.raw_bytes()).unwrap_or(i64::MAX));
        let before = std::mem::replace(&mut filling.told, now);
        self.status.waits(now.0 - before.0, now.1 - before.1, 0);
    }

    fn lock(&self) -> MutexGuard<'_, Filling> {
        // A panic while encoding may leave a part of a series at the end: the request would be refused, and counted.
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filling {
    fn begin(&mut self, now: Instant) {
        if let Some(relabel) = &mut self.form.relabel {
            relabel.begin(now);
        }
        if let Some(families) = &mut self.form.families {
            families.begin(now);
        }
    }

    /// Adds a point, or says why not. `family`: what is known of it, if metadata is sent at all.
    fn add(
        &mut self,
        point: &PointOf<'_>,
        exemplars: &[Exemplar<'_>],
        family: Option<&Family<'_>>,
        is_new_family: bool,
    ) -> Result<(), Drop> {
        let labels = match &mut self.form.relabel {
            Some(relabel) => relabel.apply(point.labels).ok_or(Drop::Relabel)?,
            None => point.labels,
        };
        let of_exemplars: usize = exemplars.iter().map(|exemplar| exemplar.key.len()).sum();
        if labels.len().saturating_add(of_exemplars) > REMOTE_SERIES_BYTES {
            return Err(Drop::TooLarge);
        }
        let is_short =
            |family: &&Family<'_>| family.help.len().saturating_add(family.unit.len()) <= REMOTE_FAMILY_BYTES;
        let family = family.filter(is_short);
        let values = std::slice::from_ref(&point.point);
        match self.protocol {
            Protocol::V1 => {
                push_series(labels, values, exemplars, &mut self.series);
                if let (true, Some(family), Some(families)) = (is_new_family, family, &mut self.form.families)
                    && families.is_due(family.name)
                {
                    push_metadata(family, &mut self.metadata);
                }
            }
            Protocol::V2 => self.second.push_series(labels, values, exemplars, family),
        }
        self.samples += 1;
        self.exemplars += u32::try_from(exemplars.len()).unwrap_or(0);
        let time_ms = point.point.time_ms;
        self.times_ms = (self.times_ms.0.min(time_ms), self.times_ms.1.max(time_ms));
        Ok(())
    }

    fn raw_bytes(&self) -> usize {
        match self.protocol {
            Protocol::V1 => self.series.len() + self.metadata.len(),
            Protocol::V2 if self.second.is_empty() => 0,
            Protocol::V2 => self.second.encoded_len(),
        }
    }

    fn is_full(&self) -> bool {
        self.samples >= self.form.max_samples || self.raw_bytes() >= REMOTE_BODY_BYTES
    }

    /// The request, if there is anything in it; the next one begins.
    fn seal(&mut self) -> Option<Request> {
        self.since = None;
        if self.samples == 0 {
            return None;
        }
        match self.protocol {
            Protocol::V1 => self.series.extend_from_slice(&self.metadata),
            Protocol::V2 => {
                self.series.clear();
                self.second.finish(&mut self.series);
            }
        }
        let raw = self.series.len();
        self.packed.resize(snap::raw::max_compress_len(raw), 0);
        // It has room for the worst case, so that this cannot fail.
        let packed = self.encoder.compress(&self.series, &mut self.packed).unwrap_or(0);
        let body = Bytes::copy_from_slice(self.packed.get(..packed).unwrap_or_default());
        let content = Content {
            protocol: self.protocol,
            samples: self.samples,
            exemplars: self.exemplars,
            raw_bytes: u32::try_from(raw).unwrap_or(u32::MAX),
            times_ms: self.times_ms,
        };
        self.series.clear();
        self.metadata.clear();
        self.second.clear();
        (self.samples, self.exemplars) = (0, 0);
        self.times_ms = (i64::MAX, i64::MIN);
        Some(Request { body, content, sealed: Instant::now() })
    }
}
