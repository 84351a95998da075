//! The oracle of numbered lines: what was written is known by number, so that each kind of fault is counted apart.
//!
//! A line is `run=<run> n=<number> <padding made from the number> crc=<crc32 of all before>`. The ledger keeps a bitmap of numbers and
//! the order of what arrived.
//!
//! Promises: a missing line is never hidden by a repeated one; a line that is not exactly what was written counts as torn.

use super::loki::Loki;
use super::wait::holds_within;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The text of line `n` of `run`, without newline, padded to about `bytes`.
pub fn line(run: &str, n: u64, bytes: usize, out: &mut String) {
    let start = out.len();
    // Writing to a String cannot fail.
    let _ = write!(out, "run={run} n={n} ");
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    // 13 bytes of " crc=" and eight digits follow the padding.
    while out.len() - start + 13 < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.push(char::from(b'a' + u8::try_from(state % 26).unwrap_or(0)));
    }
    let crc = crc32fast::hash(&out.as_bytes()[start..]);
    let _ = write!(out, " crc={crc:08x}");
}

/// The number of a line of `run`; `None` if it is not one, whole and unchanged.
pub fn parse(run: &str, text: &str) -> Option<u64> {
    let (body, crc) = text.rsplit_once(" crc=")?;
    if crc.len() != 8 || u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(body.as_bytes()) {
        return None;
    }
    let rest = body.strip_prefix("run=")?.strip_prefix(run)?.strip_prefix(" n=")?;
    rest.split(' ').next()?.parse().ok()
}

/// A set of numbers.
#[derive(Debug, Default, Clone)]
pub struct Bitmap {
    words: Vec<u64>,
    count: u64,
}

impl Bitmap {
    /// Adds `n`; false if it was there.
    pub fn insert(&mut self, n: u64) -> bool {
        let (word, bit) = (usize::try_from(n / 64).expect("number fits"), n % 64);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & (1 << bit) == 0;
        self.words[word] |= 1 << bit;
        self.count += u64::from(fresh);
        fresh
    }

    /// Whether `n` is in it.
    pub fn contains(&self, n: u64) -> bool {
        let word = usize::try_from(n / 64).expect("number fits");
        self.words.get(word).is_some_and(|w| w & (1 << (n % 64)) != 0)
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// What has arrived.
#[derive(Debug)]
pub struct Ledger {
    run: String,
    seen: Bitmap,
    duplicated_raw: u64,
    duplicated_visible: u64,
    torn: Vec<String>,
    torn_count: u64,
    streams: HashMap<String, u32>,
    /// Stream, timestamp, number: each visible entry in order of arrival.
    order: Vec<(u32, i64, u64)>,
}

/// The counts, each kind of fault apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Lines that were written.
    pub written: u64,
    /// Numbers that were written and never arrived.
    pub missing: u64,
    /// The first of them.
    pub missing_first: Vec<u64>,
    /// Arrivals of a number that had arrived before, whatever their timestamp.
    pub duplicated_raw: u64,
    /// Those of them that Loki shows, since stream or timestamp differ.
    pub duplicated_visible: u64,
    /// Lines that are not what was written, each once for each time that Loki shows it.
    pub torn: u64,
    /// The first of them, shortened.
    pub torn_first: Vec<String>,
    /// Numbers that nobody wrote.
    pub alien: u64,
    /// Lower numbers after higher ones of the same stream, by timestamp.
    pub reordered_by_time: u64,
    /// The same by arrival, first arrivals only.
    pub reordered_by_arrival: u64,
    /// Different lines of one stream under one timestamp.
    pub tied: u64,
}

impl Verdict {
    /// Panics unless everything arrived once, whole and in order. Raw duplicates up to `raw_allowed` pass.
    #[track_caller]
    pub fn assert_perfect(&self, raw_allowed: u64) {
        let clean = self.missing == 0
            && self.duplicated_visible == 0
            && self.torn == 0
            && self.alien == 0
            && self.reordered_by_time == 0
            && self.reordered_by_arrival == 0
            && self.tied == 0
            && self.duplicated_raw <= raw_allowed;
        assert!(clean, "raw duplicates allowed: {raw_allowed}; {self:#?}");
    }
}

impl Ledger {
    /// An empty ledger of the lines of `run`.
    pub fn new(run: &str) -> Self {
        Ledger {
            run: run.to_owned(),
            seen: Bitmap::default(),
            duplicated_raw: 0,
            duplicated_visible: 0,
            torn: Vec::new(),
            torn_count: 0,
            streams: HashMap::new(),
            order: Vec::new(),
        }
    }

    /// Takes in an entry. `repeated`: Loki has an equal one in stream, timestamp, line and metadata.
    pub fn take(&mut self, stream: &str, at: i64, text: &str, repeated: bool) {
        let Some(n) = parse(&self.run, text) else {
            // What Loki shows once is one torn line, however often it was sent.
            self.torn_count += u64::from(!repeated);
            if !repeated && self.torn.len() < 5 {
                self.torn.push(format!("{stream}: {:?}", text.chars().take(300).collect::<String>()));
            }
            return;
        };
        if !self.seen.insert(n) {
            self.duplicated_raw += 1;
            self.duplicated_visible += u64::from(!repeated);
        }
        if !repeated {
            let next = u32::try_from(self.streams.len()).expect("few streams");
            let id = match self.streams.get(stream) {
                Some(id) => *id,
                None => *self.streams.entry(stream.to_owned()).or_insert(next),
            };
            self.order.push((id, at, n));
        }
    }

    /// Different numbers that have arrived.
    pub fn seen(&self) -> u64 {
        self.seen.count()
    }

    /// Whether a number has arrived.
    pub fn has(&self, n: u64) -> bool {
        self.seen.contains(n)
    }

    /// Arrivals of numbers that had arrived before.
    pub fn duplicated_raw(&self) -> u64 {
        self.duplicated_raw
    }

    /// The streams that lines arrived in.
    pub fn streams(&self) -> Vec<String> {
        self.streams.keys().cloned().collect()
    }

    /// The counts, if the numbers from 0 up to `written` were written.
    pub fn verdict(&self, written: u64) -> Verdict {
        let mut missing = 0;
        let mut missing_first = Vec::new();
        for n in (0..written).filter(|n| !self.seen.contains(*n)) {
            missing += 1;
            if missing_first.len() < 5 {
                missing_first.push(n);
            }
        }
        let by_arrival = inversions(self.order.iter().map(|(stream, _, n)| (*stream, *n)));
        let mut by_time = self.order.clone();
        // Stable, so that entries under one timestamp stay in order of arrival, as Loki keeps them.
        by_time.sort_by_key(|(stream, at, _)| (*stream, *at));
        let tied = by_time.windows(2).filter(|w| (w[0].0, w[0].1) == (w[1].0, w[1].1) && w[0].2 != w[1].2).count();
        Verdict {
            written,
            missing,
            missing_first,
            duplicated_raw: self.duplicated_raw,
            duplicated_visible: self.duplicated_visible,
            torn: self.torn_count,
            torn_first: self.torn.clone(),
            alien: self.seen.count() - (written - missing),
            reordered_by_time: inversions(by_time.iter().map(|(stream, _, n)| (*stream, *n))),
            reordered_by_arrival: by_arrival,
            tied: u64::try_from(tied).unwrap_or(u64::MAX),
        }
    }
}

/// How many numbers are lower than the one before them in their stream.
fn inversions(entries: impl Iterator<Item = (u32, u64)>) -> u64 {
    let mut last: HashMap<u32, u64> = HashMap::new();
    let mut count = 0;
    for (stream, n) in entries {
        if last.insert(stream, n).is_some_and(|before| n < before) {
            count += 1;
        }
    }
    count
}

/// A ledger that a fake Loki fills while a test looks on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Book(Arc<Mutex<Ledger>>);

impl Book {
    /// Takes in all that `loki` stores from now on, as lines of `run`.
    pub fn keep(loki: &Loki, run: &str) -> Self {
        let book = Book(Arc::new(Mutex::new(Ledger::new(run))));
        let own = book.clone();
        loki.observe(move |entry| own.lock().take(entry.stream, entry.at, entry.line, entry.repeated));
        book
    }

    /// The ledger itself.
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Different numbers that have arrived.
    pub fn seen(&self) -> u64 {
        self.lock().seen()
    }

    /// Waits until `written` numbers have arrived; if they do not, panics with what is wrong.
    #[track_caller]
    pub fn wait_all(&self, written: u64, deadline: Duration) {
        if holds_within(deadline, || self.seen() >= written).is_none() {
            let verdict = self.lock().verdict(written);
            panic!("{} of {written} lines arrived within {deadline:?}: {verdict:#?}", self.seen());
        }
    }
}
