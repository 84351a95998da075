//! The loop of one target: when its tick comes it is asked, and what it says goes to the job's outputs.
//!
//! A target is never asked twice at a time: a scrape that takes longer than the interval leaves ticks out. What a scrape yields has the time at which it began. Between
//! the answer and the outputs nothing waits, so that a scrape is taken whole or, where the loop ends in the middle of one, not at all.
//!
//! A target that is gone gets its stale markers at once. Prometheus waits for two intervals, lest somebody else of it has the same series by then; here a target that goes
//! on under other settings, or at another URL with the same labels, keeps its loop and its series, so that there is nobody to wait for, and a reload leaves no gap.
//! When the agent stops there are no markers: after a restart the same series go on.
//!
//! Promises: times of a target only grow, unless the host's clock is set back by more than an interval. Leaves to others: which targets there are.

use super::JobNow;
use super::fetch::{FetchError, Fetched};
use super::room::{Room, share};
use super::shares::{Place, Shares};
use super::status::{Health, Seen};
use super::target::Target;
use crate::base::clock::Clock;
use crate::base::limits::{SCRAPE_BENCH_32NDS, SCRAPE_SERIES_32NDS};
use crate::base::units::format_duration;
use crate::format::prometheus::parse::{self, ParseError, Parser};
use crate::model::points::{Output, Points};
use crate::model::samples::Samples;
use crate::source::series::{Bound, Reason, Refused, Report, Series, Taken};
use crate::source::ticks::{self, Ticks};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What a loop is to do.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) job: Arc<JobNow>,
    pub(super) target: Arc<Target>,
    pub(super) end: Option<End>,
    /// Grows with each order; see [`Loop::heard`].
    pub(super) number: u64,
}

/// How a loop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The target is gone: with stale markers.
    Gone,
    /// The agent stops.
    Stop,
}

/// What the loops share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    room: Arc<Room>,
    shares: Arc<Shares>,
    bench: Mutex<Bench>,
    /// Bytes that what is on the bench may take.
    bench_most: AtomicUsize,
}

impl Shared {
    /// With its shares of this memory, bytes.
    pub(super) fn new(clock: Clock, memory: u64) -> Shared {
        Shared {
            clock,
            room: Room::new(memory),
            shares: Shares::new(share(memory, SCRAPE_SERIES_32NDS)),
            bench: Mutex::default(),
            bench_most: AtomicUsize::new(share(memory, SCRAPE_BENCH_32NDS)),
        }
    }

    /// From now on its shares are of this memory, bytes.
    pub(super) fn resize(&self, memory: u64) {
        self.room.resize(memory);
        self.shares.resize(share(memory, SCRAPE_SERIES_32NDS));
        self.bench_most.store(share(memory, SCRAPE_BENCH_32NDS), Ordering::Relaxed);
    }
}

/// Memory for the scrape whose body is there: there is one at a time, as nothing waits from then on.
#[derive(Debug, Default)]
pub(super) struct Bench {
    parser: Parser,
    samples: Samples,
    points: Points,
}

/// Why a scrape yields nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("no answer within the scrape_timeout of {}", format_duration(*.0))]
    Timeout(Duration),
    #[error("the body is no text of metrics: {0}")]
    Text(#[from] ParseError),
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    Limit(String),
    #[error(
        "the {samples} samples that were read so far take more than {} KiB of memory, which is what `limits.memory` has for that: raise it, or have the target tell less",
        .room / 1024
    )]
    Memory { samples: usize, room: usize },
    #[error(
        "its {series} series take {} KiB of memory, and give way to those of smaller targets: of `limits.memory` {} KiB are for all together; raise it, or drop some by metric_relabel_configs",
        .bytes / 1024, .room / 1024
    )]
    GaveWay { series: usize, bytes: usize, room: usize },
}

impl Failure {
    fn kind(&self) -> &'static str {
        match self {
            Failure::Fetch(error) => error.kind(),
            Failure::Timeout(_) => "timeout",
            Failure::Text(_) => "text",
            Failure::Refused(Refused { reason, .. }) if reason.is_memory() => "memory",
            Failure::Memory { .. } | Failure::GaveWay { .. } => "memory",
            Failure::Refused(_) | Failure::Limit(_) => "limit",
        }
    }

    /// Whether what is known of the series is to be forgotten, so that others have the memory.
    fn forgets(&self) -> bool {
        matches!(self, Failure::GaveWay { .. })
            || matches!(self, Failure::Refused(Refused { reason: Reason::Memory { .. }, .. }))
    }
}

/// One target's loop.
pub(super) struct Loop {
    pub(super) shared: Arc<Shared>,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) seen: Arc<Seen>,
    /// The last order of which all has been done that others wait for: whoever gets nothing any more has its stale markers.
    heard: watch::Sender<u64>,
    now: Order,
    ticks: Ticks,
    series: Series,
    place: Place,
    last_ms: Option<i64>,
}

impl Loop {
    /// And where it says which orders it has heard.
    pub(super) fn new(
        shared: Arc<Shared>,
        orders: watch::Receiver<Order>,
        seen: Arc<Seen>,
    ) -> (Self, watch::Receiver<u64>) {
        let now = orders.borrow().clone();
        let series = Series::new(Arc::clone(&now.job.common), now.target.labels.clone());
        let ticks = ticks_of(&now);
        let place = shared.shares.place();
        let (heard, hearing) = watch::channel(now.number);
        (Loop { shared, orders, seen, heard, now, ticks, series, place, last_ms: None }, hearing)
    }

    pub(super) async fn run(mut self) {
        let mut tick = self.ticks.after(self.now_ms());
        loop {
            // No longer than the interval, also if the clock is set while it waits.
            let interval = u64::try_from(self.ticks.interval_ms()).unwrap_or(u64::MAX);
            let now_ns = self.shared.clock.now_ns();
            let wait_ns = tick.saturating_mul(1_000_000).saturating_sub(now_ns);
            let wait = Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(0)).min(Duration::from_millis(interval));
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    let ticks = self.ticks;
                    if changed.is_err() || self.change() {
                        return;
                    }
                    if self.ticks != ticks {
                        tick = self.ticks.after(self.now_ms());
                    }
                }
                () = self.place.must_leave() => {
                    let time_ms = self.fresh(self.now_ms());
                    self.take(Err(self.gives_way()), time_ms, Instant::now());
                }
                () = tokio::time::sleep(wait) => {
                    let Some(took) = self.scrape(tick).await else { continue };
                    self.now.job.metrics.skipped(self.ticks.missed(took));
                    tick = self.ticks.after(self.now_ms().max(tick));
                    if tick.saturating_sub(self.now_ms()) > self.ticks.interval_ms() {
                        // The clock was set back.
                        tick = self.ticks.after(self.now_ms());
                    }
                }
            }
        }
    }

    fn now_ms(&self) -> i64 {
        self.shared.clock.now_ns() / 1_000_000
    }

    /// Takes an order in. `true`: the loop ends.
    fn change(&mut self) -> bool {
        let next = self.orders.borrow_and_update().clone();
        match next.end {
            Some(End::Stop) => return true,
            Some(End::Gone) => {
                let time_ms = self.fresh(self.now_ms());
                self.emit(&self.now.job.outputs, |series, points| series.part(time_ms, points));
                return true;
            }
            None => {}
        }
        self.part(&next);
        if !Arc::ptr_eq(&next.job.common, &self.now.job.common) {
            let series = Series::new(Arc::clone(&next.job.common), next.target.labels.clone());
            let old = std::mem::replace(&mut self.series, series);
            self.series.succeed(old);
        }
        self.now = next;
        self.ticks = ticks_of(&self.now);
        false
    }

    /// Outputs that the next order has no more get stale markers, and nothing from now on.
    fn part(&mut self, next: &Order) {
        let is_left = |old: &Arc<dyn Output>| !next.job.outputs.iter().any(|new| is_same(old, new));
        let (left, stay): (Vec<_>, Vec<_>) = self.now.job.outputs.iter().cloned().partition(is_left);
        if !left.is_empty() {
            let time_ms = self.fresh(self.now_ms());
            self.emit(&left, |series, points| series.part(time_ms, points));
            self.now.job = Arc::new(JobNow { outputs: stay, ..(*self.now.job).clone() });
        }
        self.heard.send_replace(next.number);
    }

    /// A time behind that of the last scrape.
    fn fresh(&self, now_ms: i64) -> i64 {
        self.last_ms.map_or(now_ms, |last| now_ms.max(last.saturating_add(1)))
    }

    fn emit(&self, outputs: &[Arc<dyn Output>], fill: impl FnOnce(&Series, &mut Points)) {
        if self.last_ms.is_none() {
            return;
        }
        let bench = &mut *self.shared.bench.lock().unwrap_or_else(PoisonError::into_inner);
        bench.points.clear();
        fill(&self.series, &mut bench.points);
        outputs.iter().for_each(|output| output.write(&bench.points));
    }

    /// Scrapes once, and tells how long it took; `None` if an order to end came.
    async fn scrape(&mut self, tick: i64) -> Option<Duration> {
        let time_ms = self.ticks.snap(self.now_ms(), tick);
        if self.last_ms.is_some_and(|last| time_ms <= last && last - time_ms < self.ticks.interval_ms()) {
            // The clock was set back a little: its time comes again.
            self.now.job.metrics.skipped(1);
            return Some(Duration::ZERO);
        }
        let started = Instant::now();
        let mut orders = self.orders.clone();
        // Its own, as outputs may leave meanwhile.
        let Order { job, target, .. } = self.now.clone();
        let shared = Arc::clone(&self.shared);
        let fetch = async {
            if let Some(refused) = &job.refused {
                return Err(Failure::Limit(refused.clone()));
            }
            let fetch = job.fetcher.fetch(&target, job.settings.body_bytes, &shared.room);
            match tokio::time::timeout(target.timeout, fetch).await {
                Ok(fetched) => Ok(fetched?),
                Err(_) => Err(Failure::Timeout(target.timeout)),
            }
        };
        tokio::pin!(fetch);
        let fetched = loop {
            tokio::select! {
                biased;
                changed = orders.changed() => {
                    let next = orders.borrow_and_update().clone();
                    if changed.is_err() || next.end.is_some() {
                        return None;
                    }
                    // The rest of the order waits until the scrape is over; those who leave do not.
                    self.part(&next);
                }
                () = self.place.must_leave() => break Err(self.gives_way()),
                fetched = &mut fetch => break fetched,
            }
        };
        self.take(fetched, time_ms, started);
        Some(started.elapsed())
    }

    fn gives_way(&self) -> Failure {
        Failure::GaveWay { series: self.series.len(), bytes: self.series.bytes(), room: self.shared.shares.most() }
    }

    fn take(&mut self, fetched: Result<Fetched, Failure>, time_ms: i64, started: Instant) {
        let Order { job, target, .. } = &self.now;
        let bench = &mut *self.shared.bench.lock().unwrap_or_else(PoisonError::into_inner);
        let Bench { parser, samples, points } = bench;
        samples.clear();
        points.clear();
        let most = self.shared.bench_most.load(Ordering::Relaxed);
        let bytes = fetched.as_ref().map_or(0, |fetched| fetched.body.bytes.len());
        let mut taken = Taken::default();
        let series = &mut self.series;
        let result = fetched.and_then(|Fetched { body, form }| {
            parser.bound(most);
            let parsed = parser.parse_up_to_error(form.unwrap_or(job.settings.fallback), &body.bytes, samples);
            // Others may have its place from here on.
            drop(body);
            series.bound(Bound { series: self.place.room(), points: most.saturating_sub(samples.memory()) });
            let parsed = parsed.map_err(|error| {
                // As in Prometheus it is reported how much there was up to the error.
                taken = series.count(samples, time_ms, points);
                match error.reason {
                    parse::Reason::Memory => Failure::Memory { samples: error.samples, room: most },
                    _ => error.into(),
                }
            })?;
            job.metrics.exemplars.add(parsed.exemplars_left_out);
            let mut result = series.take(samples, time_ms, points);
            if let Err(Refused { reason: Reason::Memory { bytes, .. }, taken: first }) = result
                && self.place.make_room(bytes)
            {
                series.bound(Bound { series: self.place.room(), points: most.saturating_sub(samples.memory()) });
                // Some of those that are new are known from the first time.
                result = series.take(samples, time_ms, points).map(|taken| Taken { added: first.added, ..taken });
            }
            result.map_err(|refused| {
                taken = refused.taken;
                refused.into()
            })
        });
        samples.clear();
        match &result {
            Ok(counted) => {
                taken = *counted;
                job.metrics.taken(&taken);
            }
            Err(failure) => {
                self.series.fail(time_ms, points);
                if failure.forgets() {
                    self.series.forget();
                }
                job.metrics.failed(failure.kind());
            }
        }
        self.place.holds(self.series.bytes());
        let body_bytes = match &result {
            Err(Failure::Fetch(FetchError::TooLarge(_) | FetchError::Memory { .. })) => -1,
            _ => i64::try_from(bytes).unwrap_or(i64::MAX),
        };
        let took = started.elapsed();
        let report = Report {
            up: result.is_ok(),
            duration_s: took.as_secs_f64(),
            taken,
            timeout_s: target.timeout.as_secs_f64(),
            body_bytes,
        };
        self.series.report(&report, time_ms, points);
        job.outputs.iter().for_each(|output| output.write(points));
        if bytes > self.shared.room.kept_most() {
            (*samples, *points) = (Samples::default(), Points::default());
        }
        self.last_ms = Some(time_ms);
        job.metrics.scraped(took, bytes);
        let error = result.err().map(|failure| failure.to_string());
        let before = self.seen.set(error.clone(), time_ms, took, taken.kept, self.series.len());
        let (name, url) = (&job.settings.job, target.shown_url());
        match error {
            Some(error) if before != Health::Down => {
                tracing::warn!(job = %name, target = %url, "the target cannot be scraped: {error}");
            }
            None if before == Health::Down => {
                tracing::info!(job = %name, target = %url, "the target can be scraped again")
            }
            _ => {}
        }
    }
}

fn ticks_of(order: &Order) -> Ticks {
    let Order { job, target, .. } = order;
    let outer = job.common.settings().outer.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    // With the labels of the host, so that many hosts do not ask one target at the same time.
    Ticks::new(target.interval, ticks::hash(outer.chain([target.identity().as_str()])))
}

/// Whether both are the same output.
pub(super) fn is_same(one: &Arc<dyn Output>, other: &Arc<dyn Output>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}
