//! An endpoint that keeps what it is given as Loki does, and acknowledges by script.
//!
//! It stands behind the real batcher. Entries that are equal in stream, time and line are one. The order of lines is looked at as they come in,
//! whenever they are stored. Promises: a batch of an agent that was killed is never stored. Leaves to others: what was to be expected.

use lugger::format::loki::decode_snappy;
use lugger::model::batch::Batch;
use lugger::sink::batcher::Target;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What is done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Stored and acknowledged.
    Now,
    /// Stored; acknowledged when released.
    Late,
    /// Stored and acknowledged when released.
    Hold,
}

/// Which file incarnation a line was written to, and its number in it.
pub type Origin = (usize, u64);

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Which agent is alive: what others send is dropped.
    life: u32,
    held: Vec<(Arc<Batch>, bool)>,
    /// By line, the streams and times it is stored under.
    lines: HashMap<String, BTreeSet<(String, i64)>>,
    /// What was ever written to a file: the only lines that may come.
    known: HashMap<String, Origin>,
    /// By incarnation, the number of the last line that the living agent handed on.
    last: HashMap<usize, u64>,
    /// Incarnations of which the living agent has handed on something that is stored.
    read: BTreeSet<usize>,
    /// The same for all agents that there were.
    ever_read: BTreeSet<usize>,
    wrong: Vec<String>,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<(Mutex<State>, Condvar)>);

impl Shelf {
    pub fn new() -> Self {
        let state = State {
            mode: Mode::Now,
            life: 0,
            held: Vec::new(),
            lines: HashMap::new(),
            known: HashMap::new(),
            last: HashMap::new(),
            read: BTreeSet::new(),
            ever_read: BTreeSet::new(),
            wrong: Vec::new(),
        };
        Shelf(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// The target for an agent's batcher. The agent before is dead from now on.
    pub fn next_life(&self) -> Target {
        let life = self.kill();
        let shelf = self.clone();
        Box::new(move |batch| shelf.take(life, batch))
    }

    /// Nothing of the living agent is taken any more, and what was held is lost.
    pub fn kill(&self) -> u32 {
        let mut state = self.lock();
        state.life += 1;
        state.last.clear();
        state.read.clear();
        let held = std::mem::take(&mut state.held);
        let life = state.life;
        drop(state);
        // Dropped without the lock: giving back a charge wakes the agent.
        drop(held);
        life
    }

    fn take(&self, life: u32, batch: Arc<Batch>) {
        let mut state = self.lock();
        if life != state.life {
            return;
        }
        state.look_at(&batch);
        match state.mode {
            Mode::Hold => state.held.push((batch, false)),
            Mode::Late => {
                state.store(&batch);
                state.held.push((batch, true));
            }
            Mode::Now => {
                state.store(&batch);
                batch.settled();
            }
        }
        drop(state);
        self.0.1.notify_all();
    }

    pub fn mode(&self) -> Mode {
        self.lock().mode
    }

    pub fn set_mode(&self, mode: Mode) {
        self.lock().mode = mode;
    }

    /// Stores and acknowledges what is held, in an order that `shuffle` decides; at most `most`.
    pub fn release(&self, mut shuffle: usize, most: usize) {
        let mut state = self.lock();
        for _ in 0..most.min(state.held.len()) {
            let at = shuffle % state.held.len();
            shuffle = shuffle.wrapping_mul(31).wrapping_add(7);
            let (batch, is_stored) = state.held.remove(at);
            if !is_stored {
                state.store(&batch);
            }
            batch.settled();
        }
        drop(state);
        self.0.1.notify_all();
    }

    /// Tells that this line is about to be written.
    pub fn expect(&self, line: &str, origin: Origin) {
        self.lock().known.insert(line.to_owned(), origin);
    }

    pub fn has(&self, line: &str) -> bool {
        self.lock().lines.contains_key(line)
    }

    /// Whether the living agent has stored something from this incarnation; from any, with `None`.
    pub fn has_read(&self, incarnation: Option<usize>) -> bool {
        let state = self.lock();
        incarnation.map_or(!state.read.is_empty(), |i| state.read.contains(&i))
    }

    /// Whether anything of this incarnation was ever stored.
    pub fn ever_read(&self, incarnation: usize) -> bool {
        self.lock().ever_read.contains(&incarnation)
    }

    /// Waits until all lines are stored; gives the first that is not, in the end.
    pub fn wait<'a>(&self, lines: &[&'a str], within: Duration) -> Result<(), &'a str> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        let mut at = 0;
        loop {
            while lines.get(at).is_some_and(|line| state.lines.contains_key(*line)) {
                at += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.get(at) {
                None => return Ok(()),
                Some(missing) if left.is_zero() => return Err(missing),
                Some(_) => state = self.0.1.wait_timeout(state, left).unwrap().0,
            }
        }
    }

    /// What should not have been: lines that are none, lines out of order, lines stored twice.
    pub fn wrong(&self) -> Vec<String> {
        let state = self.lock();
        let twice = state.lines.iter().filter(|(_, stored)| stored.len() > 1);
        let twice = twice.map(|(line, stored)| format!("stored {} times: {} {stored:?}", stored.len(), short(line)));
        state.wrong.iter().cloned().chain(twice).collect()
    }

    /// The times of an incarnation's lines in the order of their numbers.
    pub fn times(&self, incarnation: usize) -> Vec<(u64, i64)> {
        let state = self.lock();
        let of = state.known.iter().filter(|(_, origin)| origin.0 == incarnation);
        let mut times: Vec<(u64, i64)> =
            of.filter_map(|(line, origin)| Some((origin.1, state.lines.get(line)?.first()?.1))).collect();
        times.sort_unstable();
        times
    }
}

impl State {
    /// Each line must be one that was written, and come after those before it in its file.
    fn look_at(&mut self, batch: &Batch) {
        for (_, _, line) in entries(batch) {
            match self.known.get(&line) {
                None => self.wrong.push(format!("never written so: {}", short(&line))),
                Some(&(incarnation, number)) => {
                    let last = self.last.entry(incarnation).or_insert(0);
                    if *last >= number {
                        self.wrong.push(format!("line {number} of incarnation {incarnation} comes after {last}"));
                    }
                    *last = number;
                }
            }
        }
    }

    fn store(&mut self, batch: &Batch) {
        for (stream, time_ns, line) in entries(batch) {
            if let Some((incarnation, _)) = self.known.get(&line) {
                self.read.insert(*incarnation);
                self.ever_read.insert(*incarnation);
            }
            self.lines.entry(line).or_default().insert((stream, time_ns));
        }
    }
}

fn entries(batch: &Batch) -> Vec<(String, i64, String)> {
    let request = decode_snappy(&batch.body, 1 << 26).expect("the batcher sends requests");
    let of = |stream: lugger::format::loki::StreamAdapter| {
        let labels = stream.labels;
        stream.entries.into_iter().map(move |e| (labels.clone(), e.ns(), e.text().into_owned()))
    };
    request.streams.into_iter().flat_map(of).collect()
}

fn short(line: &str) -> String {
    let cut = line.floor_char_boundary(60);
    format!("{:?} ({} bytes)", &line[..cut], line.len())
}
