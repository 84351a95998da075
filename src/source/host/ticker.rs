//! When the host is looked at: a thread that makes a tick each interval and writes its points, and a tick of its own for whoever asks.
//!
//! The host's collection is a target like any other: its series have its labels, a series that is there no more gets a stale marker, and `up` with its
//! companions is written beside. Ticks are at even distances of the wall clock, spread over hosts by a hash of the labels.
//!
//! Promises: what hangs delays the tick it is in by the collectors' deadline at most; a late tick is made at once, and those that went by are left out and counted; a
//! question ([`Asker::text`]) is answered by a collection of at most a second's age, and moves no tick. If the thread should hang or fail all the same,
//! [`Status::stuck`] says so, and nobody waits for it without end. Leaves to others: what is collected (`collect`), and what becomes of points.

use super::{Failure, Host, Settings};
use crate::base::clock::Clock;
use crate::base::limits::{HOST_ASKED_FRESH_MS, HOST_SAID_AGAIN_TICKS, HOST_STUCK_MS};
use crate::base::metrics::{Counter, Gauge, Registry};
use crate::format::prometheus::text::Writer;
use crate::model::points::{Output, Points};
use crate::model::samples::Samples;
use crate::source::series::{Common, Report, Series};
use crate::source::ticks::{Ticks, hash};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What is done, and how often.
pub struct Job {
    /// What is collected.
    pub settings: Settings,
    /// Between two ticks, a second at least.
    pub interval: Duration,
    /// What becomes of series.
    pub common: Arc<Common>,
    /// Labels of the host as a target, such as `job` and `instance`.
    pub labels: Vec<(String, String)>,
    /// Where points go; without any there are no ticks, and collections only for whoever asks.
    pub outputs: Vec<Arc<dyn Output>>,
}

/// How ticks go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status {
    /// Ticks that were made.
    pub ticks: Counter,
    /// Ticks that were left out, as one before took too long.
    pub missed: Counter,
    /// Samples of all ticks.
    pub collected: Counter,
    /// Samples of the last tick.
    pub samples: Gauge,
    /// How long the last one took, seconds.
    pub duration_s: Gauge,
    failing: Arc<Mutex<Vec<Failure>>>,
    course: Arc<Mutex<Course>>,
}

/// What the thread is at.
#[derive(Debug, Clone, Copy, Default)]
enum Course {
    /// There is nothing to do, or no thread.
    #[default]
    Waits,
    /// It does something, since when and for how long at most.
    Busy(Instant, Duration),
    /// It has ended and nobody had told it to.
    Failed,
}

impl Status {
    /// Registers its series.
    pub fn new(registry: &Registry) -> Self {
        Status {
            ticks: registry.counter("lugger_host_ticks_total", "Collections of the host's metrics.", &[]),
            missed: registry.counter(
                "lugger_host_missed_ticks_total",
                "Collections that were left out, as one before took too long.",
                &[],
            ),
            collected: registry.counter("lugger_host_samples_total", "Samples of the host's metrics.", &[]),
            samples: registry.gauge(
                "lugger_host_samples",
                "Samples of the last collection of the host's metrics.",
                &[],
            ),
            duration_s: registry.gauge(
                "lugger_host_duration_seconds",
                "How long the last collection of the host's metrics took.",
                &[],
            ),
            failing: Arc::default(),
            course: Arc::default(),
        }
    }

    /// Why there are no ticks any more, nor answers: what a person has to look at. `None`: all is well.
    pub fn stuck(&self) -> Option<String> {
        // Replaced as a whole.
        match *self.course.lock().unwrap_or_else(PoisonError::into_inner) {
            Course::Busy(since, limit) if since.elapsed() > limit => Some(format!(
                "the host's metrics are not collected: their thread has hung for {} s; if that goes on, restart the agent",
                since.elapsed().as_secs()
            )),
            Course::Failed => Some("the host's metrics are not collected any more: their thread has failed, as the log says; restart the agent".to_owned()),
            Course::Waits | Course::Busy(..) => None,
        }
    }

    fn is_at(&self, course: Course) {
        *self.course.lock().unwrap_or_else(PoisonError::into_inner) = course;
    }

    /// What failed in the last tick.
    pub fn failures(&self) -> Vec<Failure> {
        // Replaced as a whole.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The thread of the ticks.
pub struct Ticker {
    shared: Arc<Shared>,
    status: Status,
    common: Arc<Common>,
    /// So long the job that runs may take at one time.
    patience: Duration,
    thread: Option<JoinHandle<()>>,
}

/// So long whoever waits for the thread under such settings does so: a collection ends by the deadlines of collectors, and there may be another one before.
fn patience(settings: &Settings) -> Duration {
    2 * settings.longest_deadline() + Duration::from_millis(HOST_STUCK_MS)
}

/// Why there is no text of the host's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoText {
    /// Nobody collects any more.
    #[error("the agent is stopping")]
    Ended,
    /// It takes much longer than it may.
    #[error("the host's metrics are not collected: their thread hangs; /ready says more")]
    Stuck,
}

impl std::fmt::Debug for Ticker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticker")
    }
}

/// Asks for a collection. Cheap to clone; may outlive the thread.
#[derive(Clone)]
pub struct Asker(Arc<Shared>);

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asker")
    }
}

impl Asker {
    /// The host's metrics as Prometheus' text.
    ///
    /// # Errors
    /// Nobody collects any more, or the thread that does hangs.
    pub async fn text(&self) -> Result<bytes::Bytes, NoText> {
        let (answer, answered) = oneshot::channel();
        let patience = {
            let mut orders = self.0.lock();
            if orders.stop {
                return Err(NoText::Ended);
            }
            // Whoever has given up waits no more.
            orders.asked.retain(|asked| !asked.is_closed());
            orders.asked.push(answer);
            orders.patience
        };
        self.0.told.notify_one();
        let answered = tokio::time::timeout(patience, answered).await.map_err(|_| NoText::Stuck)?;
        answered.map_err(|_| NoText::Ended)
    }
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Orders>,
    told: Condvar,
}

#[derive(Default)]
struct Orders {
    stop: bool,
    /// With `stop`: the host is no target any more. Whoever waits for that to be written.
    gone: Option<oneshot::Sender<()>>,
    /// So long whoever asks waits.
    patience: Duration,
    next: Option<(Box<Job>, oneshot::Sender<()>)>,
    asked: Vec<oneshot::Sender<bytes::Bytes>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        // Changed in single steps.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(job: Job, clock: Clock, status: Status) -> io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let common = Arc::clone(&job.common);
        let patience = patience(&job.settings);
        shared.lock().patience = patience;
        let mut work = Work::new(job, clock, status.clone())?;
        let ending = Ending { shared: Arc::clone(&shared), status: status.clone() };
        status.is_at(Course::Waits);
        let run = move || work.run(&ending.shared);
        let thread = std::thread::Builder::new().name("lugger-host".into()).spawn(run)?;
        Ok(Ticker { shared, status, common, patience, thread: Some(thread) })
    }

    /// Goes on under another job. Series that are not in it any more get stale markers with the next tick; outputs that are not have all they get when
    /// this returns. A thread that hangs is waited for no longer than it may take, and takes the job when it is back.
    pub async fn change(&mut self, job: Job) {
        let (done, is_done) = oneshot::channel();
        self.common = Arc::clone(&job.common);
        let before = std::mem::replace(&mut self.patience, patience(&job.settings));
        {
            let mut orders = self.shared.lock();
            orders.patience = self.patience;
            if orders.stop {
                // The thread has failed, which is shown.
                return;
            }
            orders.next = Some((Box::new(job), done));
        }
        self.shared.told.notify_one();
        // An error of the channel: the thread has failed, which is shown.
        if tokio::time::timeout(before, is_done).await.is_err() {
            tracing::error!(
                "the thread that collects the host's metrics hangs: it takes the new configuration when it is back"
            );
        }
    }

    /// What its series have in common.
    pub fn common(&self) -> Arc<Common> {
        Arc::clone(&self.common)
    }

    /// Ends: the host is no target any more, so that its series get stale markers. They are written when this returns, unless the thread hangs: it is
    /// waited for no longer than it may take.
    pub async fn end(self) {
        let (done, is_done) = oneshot::channel();
        {
            let mut orders = self.shared.lock();
            if orders.stop {
                return;
            }
            (orders.stop, orders.gone) = (true, Some(done));
        }
        self.shared.told.notify_one();
        // An error of the channel: the thread has failed, which has been shown.
        if tokio::time::timeout(self.patience, is_done).await.is_err() {
            tracing::error!(
                "the thread that collects the host's metrics hangs: series of the host may end without a mark"
            );
        }
    }

    /// How it goes.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Where the metrics can be asked for.
    pub fn asker(&self) -> Asker {
        Asker(Arc::clone(&self.shared))
    }

    /// Tells the thread to end. What it is about goes on: no stale markers are written.
    pub fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.told.notify_one();
    }

    /// Waits for the end. False: the thread failed.
    pub fn join(mut self) -> bool {
        self.stop();
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Goes with the thread, however that ends.
struct Ending {
    shared: Arc<Shared>,
    status: Status,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Whoever asks from now on is told at once that nobody does it.
        let mut orders = self.shared.lock();
        let was_told = std::mem::replace(&mut orders.stop, true);
        orders.asked.clear();
        (orders.next, orders.gone) = (None, None);
        drop(orders);
        self.status.is_at(if was_told { Course::Waits } else { Course::Failed });
    }
}

/// What the thread has.
struct Work {
    job: Job,
    host: Host,
    series: Series,
    ticks: Ticks,
    clock: Clock,
    status: Status,
    samples: Samples,
    points: Points,
    writer: Writer,
    /// When the last collection was made.
    collected: Option<Instant>,
    /// The last tick's time, milliseconds since 1970.
    last_ms: i64,
    /// What was said of collectors that fail, and how many ticks ago.
    said: BTreeMap<&'static str, (String, u32)>,
}

fn ticks_of(job: &Job) -> Ticks {
    Ticks::new(job.interval, hash(job.labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()])))
}

impl Work {
    fn new(job: Job, clock: Clock, status: Status) -> io::Result<Work> {
        Ok(Work {
            host: Host::new(&job.settings)?,
            series: Series::new(Arc::clone(&job.common), job.labels.clone()),
            ticks: ticks_of(&job),
            clock,
            status,
            samples: Samples::default(),
            points: Points::default(),
            writer: Writer::default(),
            collected: None,
            last_ms: i64::MIN,
            said: BTreeMap::new(),
            job,
        })
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ns() / 1_000_000
    }

    fn run(&mut self, shared: &Shared) {
        let mut next = self.ticks.after(self.now_ms());
        loop {
            let mut orders = shared.lock();
            let (job, asked) = loop {
                if orders.stop {
                    let gone = orders.gone.take();
                    drop(orders);
                    if let Some(done) = gone {
                        self.is_busy();
                        self.end();
                        // Whoever waits may have gone.
                        let _ = done.send(());
                    }
                    return;
                }
                let job = orders.next.take();
                let asked = std::mem::take(&mut orders.asked);
                let left_ms = u64::try_from(next - self.now_ms()).unwrap_or(0);
                let is_due = !self.job.outputs.is_empty() && left_ms == 0;
                if job.is_some() || !asked.is_empty() || is_due {
                    break (job, asked);
                }
                self.status.is_at(Course::Waits);
                orders = match self.job.outputs.is_empty() {
                    true => shared.told.wait(orders).unwrap_or_else(PoisonError::into_inner),
                    // A clock that is set is seen after an interval at most.
                    false => {
                        let pause = Duration::from_millis(left_ms).min(self.job.interval);
                        shared.told.wait_timeout(orders, pause).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            };
            drop(orders);
            self.is_busy();
            if let Some((job, done)) = job {
                self.change(*job);
                // Whoever waits may have gone.
                let _ = done.send(());
                next = self.ticks.after(self.now_ms());
                self.is_busy();
            }
            if !asked.is_empty() {
                self.answer(asked);
            }
            let now_ms = self.now_ms();
            // One that was set back by more than a tick: its time is the one that holds now.
            if next - now_ms > self.ticks.interval_ms() {
                next = self.ticks.after(now_ms);
            }
            if !self.job.outputs.is_empty() && now_ms >= next {
                self.tick(next, now_ms);
                next = self.ticks.after(self.now_ms());
            }
        }
    }

    /// Begins something.
    fn is_busy(&self) {
        self.status.is_at(Course::Busy(Instant::now(), patience(&self.job.settings)));
    }

    fn end(&mut self) {
        let time_ms = self.now_ms().max(self.last_ms.saturating_add(1));
        self.points.clear();
        self.series.end(time_ms, &mut self.points);
        for output in &self.job.outputs {
            output.write(&self.points);
        }
    }

    fn change(&mut self, job: Job) {
        let series = Series::new(Arc::clone(&job.common), job.labels.clone());
        let time_ms = self.now_ms().max(self.last_ms.saturating_add(1));
        self.points.clear();
        // Whoever gets nothing any more hears that; the others with the next tick.
        self.series.part(time_ms, &mut self.points);
        for left in self.job.outputs.iter().filter(|output| !job.outputs.iter().any(|other| Arc::ptr_eq(output, other)))
        {
            left.write(&self.points);
        }
        let old = std::mem::replace(&mut self.series, series);
        self.series.succeed(old);
        if let Err(error) = self.host.renew(&job.settings) {
            tracing::error!(%error, "a thread for a collector of the host's metrics cannot be started: they are collected as before");
        }
        self.ticks = ticks_of(&job);
        self.job = job;
    }

    fn collect(&mut self) -> Duration {
        let began = Instant::now();
        self.samples.clear();
        self.host.collect(&mut self.samples);
        self.collected = Some(began);
        *self.status.failing.lock().unwrap_or_else(PoisonError::into_inner) = self.host.failures().to_vec();
        self.say_failures();
        began.elapsed()
    }

    fn tick(&mut self, tick_ms: i64, now_ms: i64) {
        let took = self.collect();
        let time_ms = self.ticks.snap(now_ms, tick_ms);
        self.points.clear();
        let (up, taken) = match self.series.take(&self.samples, time_ms, &mut self.points) {
            Ok(taken) => (true, taken),
            Err(refused) => {
                tracing::error!(error = %refused, "the host's metrics are not sent");
                self.series.fail(time_ms, &mut self.points);
                (false, refused.taken)
            }
        };
        let duration_s = took.as_secs_f64();
        let timeout_s = self.job.settings.deadline.as_secs_f64();
        let report = Report { up, duration_s, taken, timeout_s, body_bytes: 0 };
        self.series.report(&report, time_ms, &mut self.points);
        for output in &self.job.outputs {
            output.write(&self.points);
        }
        self.last_ms = time_ms;
        self.status.ticks.add(1);
        self.status.missed.add(self.ticks.missed(took));
        self.status.collected.add(self.samples.len() as u64);
        self.status.samples.set(self.samples.len() as f64);
        self.status.duration_s.set(duration_s);
    }

    fn answer(&mut self, asked: Vec<oneshot::Sender<bytes::Bytes>>) {
        if self.collected.is_none_or(|at| at.elapsed() > Duration::from_millis(HOST_ASKED_FRESH_MS)) {
            let _ = self.collect();
        }
        let mut text = Vec::new();
        self.writer.write(&self.samples, &mut text);
        let text = bytes::Bytes::from(text);
        for answer in asked {
            // Whoever has gone needs none.
            let _ = answer.send(text.clone());
        }
    }

    /// Says what fails when it begins to, when it changes, and now and then while it lasts.
    fn say_failures(&mut self) {
        let failures = self.host.failures();
        self.said.retain(|collector, _| failures.iter().any(|failure| failure.collector == *collector));
        for Failure { collector, what } in failures {
            match self.said.get_mut(collector) {
                Some((said, ticks)) if said == what && *ticks < HOST_SAID_AGAIN_TICKS => *ticks += 1,
                _ => {
                    tracing::warn!(collector, error = %what, "a collector of the host's metrics fails; the others go on");
                    self.said.insert(collector, (what.clone(), 0));
                }
            }
        }
    }
}
