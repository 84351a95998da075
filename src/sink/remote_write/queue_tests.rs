//! The queue against a model: what is put in comes out once and in order, through refusals, spills that take their time, kills and restarts.

use super::*;
use crate::base::clock::Clock;
use crate::base::metrics::Registry;
use crate::sink::remote_write::request::Content;
use bytes::Bytes;
use proptest::prelude::*;
use std::path::Path;

/// A request that is known by its number; `bytes` long.
fn request(number: u32, bytes: usize) -> Request {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(bytes.max(4), 7);
    let content = Content { samples: 1, times_ms: (number.into(), number.into()), ..Content::default() };
    Request { body: body.into(), content, sealed: Instant::now() }
}

fn number(body: &Bytes) -> u32 {
    u32::from_le_bytes(body[..4].try_into().unwrap())
}

struct Rig {
    registry: Registry,
    queue: Queue,
    store: Option<Store>,
}

fn open(path: Option<&Path>, bytes: u64) -> Rig {
    let registry = Registry::default();
    let store = path.map(|path| Store::of_metrics(path, bytes, 3600, Clock::System, &registry, "x"));
    let status = Arc::new(Status::new("x", "http://x", store.clone(), &registry));
    Rig { queue: Queue::new(store.clone(), status), store, registry }
}

impl Rig {
    fn plan(&self) -> Option<Vec<Arc<Request>>> {
        let far = Instant::now() + Duration::from_secs(3600);
        match self.queue.plan(self.store.as_ref()?, far) {
            Plan::Now(requests) => Some(requests),
            _ => None,
        }
    }

    async fn write(&self, requests: Vec<Arc<Request>>) {
        let planned = requests.len();
        let written = self.store.as_ref().unwrap().write(requests).await;
        self.queue.spilled(planned, &written.frames, written.failed);
    }

    /// The next request, if there is one without a spill having to end first.
    async fn take(&self) -> Option<u32> {
        loop {
            match self.queue.choose() {
                Choice::Send(request) => return Some(number(&request.body)),
                Choice::Disk(delivered) => {
                    if let Some(request) = self.queue.read_disk(delivered).await {
                        return Some(number(&request.body));
                    }
                }
                Choice::At(_) => panic!("the disk works"),
                Choice::Wait | Choice::Empty => return None,
            }
        }
    }

    fn gauge(&self, name: &'static str) -> u64 {
        self.registry.gauge(name, "", &[("remote_name", "x")]).get() as u64
    }

    fn dropped(&self, reason: &str) -> u64 {
        let labels = [("remote_name", "x"), ("reason", reason)];
        self.registry.counter("lugger_remote_write_dropped_samples_total", "", &labels).get()
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push,
    Take,
    /// What was taken is delivered, or not.
    Finish(bool),
    /// A spill begins, or the one that has begun ends.
    Spill,
    /// The process is killed and starts again.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Push),
        4 => Just(Step::Take),
        3 => Just(Step::Finish(true)),
        1 => Just(Step::Finish(false)),
        2 => Just(Step::Spill),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 0..60)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn live(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = open(Some(directory.path()), 1 << 24);
    let (mut next, mut in_hand, mut spilling): (u32, Option<u32>, Option<Vec<Arc<Request>>>) = (0, None, None);
    // Delivered in this life, and all that was delivered; what is safe from a kill.
    let (mut delivered, mut safe): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut unsafe_lost: Vec<u32> = Vec::new();
    let mut lives = 0;
    for step in steps {
        match step {
            Step::Push => {
                rig.queue.push(request(next, 100));
                next += 1;
            }
            Step::Take if in_hand.is_none() => {
                in_hand = rig.take().await;
            }
            Step::Finish(ok) => {
                if let Some(number) = in_hand.take() {
                    rig.queue.finished(ok);
                    if ok {
                        delivered.push(number);
                    }
                }
            }
            Step::Spill => match spilling.take() {
                None => spilling = rig.plan(),
                Some(requests) => {
                    safe.extend(requests.iter().map(|request| number(&request.body)));
                    rig.write(requests).await;
                }
            },
            Step::Kill => {
                (in_hand, spilling) = (None, None);
                unsafe_lost.extend((0..next).filter(|n| !safe.contains(n) && !delivered.contains(n)));
                drop(rig);
                rig = open(Some(directory.path()), 1 << 24);
                lives += 1;
            }
            Step::Take => {}
        }
    }
    if in_hand.take().is_some() {
        rig.queue.finished(false);
    }
    if let Some(requests) = spilling.take() {
        rig.write(requests).await;
    }
    while let Some(number) = rig.take().await {
        rig.queue.finished(true);
        delivered.push(number);
    }
    // Once, but for one frame a kill: its acknowledgement goes with the next look.
    let doubles = delivered.windows(2).filter(|pair| pair[0] == pair[1]).count();
    prop_assert!(doubles <= lives, "{delivered:?}");
    delivered.dedup();
    prop_assert!(delivered.windows(2).all(|pair| pair[0] < pair[1]), "{delivered:?}");
    // All, but what was in memory at a kill.
    let expected: Vec<u32> = (0..next).filter(|n| !unsafe_lost.contains(n)).collect();
    prop_assert_eq!(delivered, expected);
    prop_assert!(rig.queue.is_empty());
    for name in ["samples", "bytes", "requests"] {
        let name: &'static str = match name {
            "samples" => "lugger_remote_write_pending_samples",
            "bytes" => "lugger_remote_write_pending_bytes",
            _ => "lugger_remote_write_pending_requests",
        };
        prop_assert_eq!(rig.gauge(name), 0, "{}", name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_put_in_comes_out_once_and_in_order(steps in steps()) {
        runtime().block_on(live(steps))?;
    }

    /// Where there is no disk, or one that takes nothing, the newest stay, within the bound, and the rest is counted.
    #[test]
    fn without_a_disk_the_oldest_go(sizes in prop::collection::vec(1..REMOTE_QUEUE_BYTES / 3, 1..20), takes in 0..3_usize) {
        let rig = open(None, 0);
        runtime().block_on(async {
            let mut came = Vec::new();
            for (at, bytes) in sizes.iter().enumerate() {
                rig.queue.push(request(at as u32, *bytes));
                prop_assert!(rig.gauge("lugger_remote_write_pending_bytes") as usize <= REMOTE_QUEUE_BYTES * 4 / 3);
                if at < takes && let Some(number) = rig.take().await {
                    rig.queue.finished(true);
                    came.push(number);
                }
            }
            let taken = came.len();
            while let Some(number) = rig.take().await {
                rig.queue.finished(true);
                came.push(number);
            }
            prop_assert!(came.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(came.last(), Some(&(sizes.len() as u32 - 1)));
            prop_assert_eq!(came.len() as u64 + rig.dropped("queue_full"), sizes.len() as u64);
            // No more went than had to.
            let kept: usize = came[taken..].iter().map(|number| sizes[*number as usize].max(4)).sum();
            let next = came.get(taken).and_then(|first| first.checked_sub(1)).map(|before| sizes[before as usize].max(4));
            if rig.dropped("queue_full") > 0 && taken == 0 {
                prop_assert!(kept + next.unwrap_or(0) > REMOTE_QUEUE_BYTES);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_full_spool_drops_its_oldest() {
    let directory = tempfile::tempdir().unwrap();
    // Segments of 64 KiB.
    let rig = open(Some(directory.path()), 512 * 1024);
    for at in 0..100 {
        rig.queue.push(request(at, 10_000));
        let requests = rig.plan().unwrap();
        rig.write(requests).await;
    }
    let mut came = Vec::new();
    while let Some(number) = rig.take().await {
        rig.queue.finished(true);
        came.push(number);
    }
    let labels = [("remote_name", "x"), ("reason", "full")];
    let lost = rig.registry.counter("lugger_remote_write_spool_dropped_samples_total", "", &labels).get();
    assert_eq!(came, (u32::try_from(lost).unwrap()..100).collect::<Vec<_>>());
    assert!(came.len() > 35, "{}", came.len());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_leaves_it_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    // A file where the directory should be.
    std::fs::write(&path, "").unwrap();
    let rig = open(Some(&path), 1 << 24);
    let bytes = REMOTE_QUEUE_BYTES / 10;
    for at in 0..30 {
        rig.queue.push(request(at, bytes));
        if let Some(requests) = rig.plan() {
            rig.write(requests).await;
        }
    }
    assert_eq!(rig.dropped("queue_full"), 20);
    // Nobody knows what is there, so it is looked at first; then what is in memory is sent.
    let mut came = Vec::new();
    loop {
        match rig.queue.choose() {
            Choice::Send(request) => {
                came.push(number(&request.body));
                rig.queue.finished(true);
            }
            Choice::Disk(delivered) => assert!(rig.queue.read_disk(delivered).await.is_none()),
            Choice::At(_) | Choice::Wait | Choice::Empty => break,
        }
    }
    assert_eq!(came, (20..30).collect::<Vec<_>>());
}

/// What waits that long goes to disk by itself, and what is being sent goes with it.
#[tokio::test]
async fn what_is_not_taken_goes_to_disk() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open(Some(directory.path()), 1 << 24);
    let (trigger, stop) = crate::base::shutdown::channel();
    for at in 0..3 {
        rig.queue.push(request(at, 10));
    }
    assert_eq!(rig.take().await, Some(0));
    let begun = Instant::now();
    let wait = async {
        while rig.gauge("lugger_remote_write_spool_frames") < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < Duration::from_secs(60));
        }
        assert!(begun.elapsed() >= Duration::from_millis(REMOTE_SPILL_MS - 100));
        trigger.raise();
    };
    tokio::join!(rig.queue.spill(stop), wait);
    rig.queue.finished(true);
    for expected in [Some(1), Some(2), None] {
        assert_eq!(rig.take().await, expected);
        rig.queue.finished(true);
    }
    assert!(rig.queue.is_empty());
}
