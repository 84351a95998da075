//! The last entries that came in, in bounded memory, numbered so that a page can ask for what is new.
//!
//! Promises: at most [`RECEIVER_ENTRIES`] entries and [`RECEIVER_BYTES`] bytes are kept, the oldest go first; numbers only
//! grow. Leaves to others: HTTP, how it looks.

use super::push::{Entry, Push};
use crate::base::limits::{
    RECEIVER_BYTES, RECEIVER_ENTRIES, RECEIVER_LINE_BYTES, RECEIVER_STREAMS, RECEIVER_TAIL_BYTES, RECEIVER_TAIL_ENTRIES,
};
use crate::base::text;
use serde::Serialize;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

/// What an entry costs beside its text, bytes; somewhat more than it really is.
const ENTRY_BYTES: usize = 128;

/// Counts since the start.
#[derive(Debug, Clone, Default, Serialize, PartialEq, Eq)]
pub struct Totals {
    /// Pushes taken.
    pub pushes: u64,
    /// Pushes refused.
    pub refused: u64,
    /// Entries taken.
    pub entries: u64,
    /// Bytes of their lines.
    pub line_bytes: u64,
    /// Bytes of the bodies as sent.
    pub body_bytes: u64,
    /// Distinct streams seen, counted up to [`RECEIVER_STREAMS`].
    pub streams: u64,
    /// Why the last refused push was refused.
    pub last_refusal: Option<String>,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    time_ns: i64,
    labels: Arc<[(String, String)]>,
    metadata: Vec<(String, String)>,
    line: Box<str>,
    cut: bool,
    cost: usize,
}

/// The last entries and the counts.
#[derive(Debug, Default)]
pub struct Keep {
    entries: VecDeque<Kept>,
    bytes: usize,
    last: u64,
    totals: Totals,
    streams: HashSet<u64, foldhash::fast::FixedState>,
    hasher: foldhash::fast::RandomState,
}

/// One answer to the page.
#[derive(Debug, Serialize)]
pub struct Tail<'a> {
    /// Number of the newest entry looked at: the next `after`.
    pub next: u64,
    /// Entries after the number asked for that are not in the answer, because they were dropped or are too many.
    /// With a filter: only those that were dropped unseen.
    pub skipped: u64,
    /// The counts.
    pub totals: &'a Totals,
    /// Label sets that the entries refer to by index.
    pub streams: Vec<&'a [(String, String)]>,
    /// Oldest first.
    pub entries: Vec<Shown<'a>>,
}

/// One entry in an answer.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    /// Its number.
    pub n: u64,
    /// Its time, milliseconds since 1970.
    pub ms: i64,
    /// Index into [`Tail::streams`].
    pub s: usize,
    /// Its text.
    pub line: &'a str,
    /// Whether the text was cut for keeping.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Structured metadata.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub meta: &'a [(String, String)],
}

impl Keep {
    /// Takes in a push.
    pub fn add(&mut self, push: Push) {
        self.totals.pushes += 1;
        self.totals.body_bytes = self.totals.body_bytes.saturating_add(push.body_bytes as u64);
        let mut arrived = Vec::with_capacity(push.entries());
        for stream in push.streams {
            if self.streams.len() < RECEIVER_STREAMS {
                self.streams.insert(self.hasher.hash_one(&stream.text));
            }
            let (labels, label_bytes) = (stream.labels, stream.text.len() * 2);
            arrived.extend(stream.entries.into_iter().map(|entry| (labels.clone(), label_bytes, entry)));
        }
        // Streams come one after the other; people read by time. Within a stream the order stays (the sort is stable).
        arrived.sort_by_key(|(_, _, entry)| entry.time_ns);
        for (labels, label_bytes, entry) in arrived {
            self.keep(labels, label_bytes, entry);
        }
        self.totals.streams = self.streams.len() as u64;
    }

    fn keep(&mut self, labels: Arc<[(String, String)]>, label_bytes: usize, entry: Entry) {
        self.last += 1;
        self.totals.entries += 1;
        self.totals.line_bytes = self.totals.line_bytes.saturating_add(entry.line.len() as u64);
        let (line, cut) = shorten(entry.line);
        let metadata_bytes: usize = entry.metadata.iter().map(|(n, v)| n.len() + v.len() + 48).sum();
        // Labels are shared by a push's entries of a stream; each pays for them, so that the bound holds anyway.
        let cost = ENTRY_BYTES + line.len() + metadata_bytes + label_bytes;
        if cost > RECEIVER_BYTES {
            return;
        }
        let (number, time_ns, metadata) = (self.last, entry.time_ns, entry.metadata);
        self.bytes += cost;
        self.entries.push_back(Kept { number, time_ns, labels, metadata, line, cut, cost });
        self.trim();
    }

    /// Notes a push that was refused.
    pub fn refuse(&mut self, why: String) {
        self.totals.refused += 1;
        self.totals.last_refusal = Some(why);
    }

    fn trim(&mut self) {
        while self.entries.len() > RECEIVER_ENTRIES || self.bytes > RECEIVER_BYTES {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.cost);
        }
    }

    /// The counts.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Bytes and entries kept now.
    pub fn kept(&self) -> (usize, usize) {
        (self.bytes, self.entries.len())
    }

    /// The newest entries after the number `after` whose text, labels or metadata contain `filter`, in any case of ASCII letters.
    pub fn tail(&self, after: u64, limit: usize, filter: &str) -> Tail<'_> {
        let needle = filter.trim().to_ascii_lowercase();
        // A number from an earlier run of the receiver is ahead of ours: start again.
        let after = if after > self.last { 0 } else { after };
        let limit = limit.min(RECEIVER_TAIL_ENTRIES);
        let (mut picked, mut bytes) = (Vec::new(), 0usize);
        let mut lower = String::new();
        for kept in self.entries.iter().rev().take_while(|kept| kept.number > after) {
            if !needle.is_empty() && !kept.contains(&needle, &mut lower) {
                continue;
            }
            bytes = bytes.saturating_add(kept.cost);
            if picked.len() >= limit || bytes > RECEIVER_TAIL_BYTES {
                break;
            }
            picked.push(kept);
        }
        picked.reverse();
        let oldest = self.entries.front().map_or(self.last, |kept| kept.number.saturating_sub(1));
        let unseen = if needle.is_empty() {
            (self.last - after).saturating_sub(picked.len() as u64)
        } else {
            oldest.saturating_sub(after)
        };
        let mut streams: Vec<&[(String, String)]> = Vec::new();
        let mut index = std::collections::HashMap::new();
        let entries = picked
            .into_iter()
            .map(|kept| {
                let s = *index.entry(&kept.labels).or_insert_with(|| {
                    streams.push(&kept.labels);
                    streams.len() - 1
                });
                let ms = kept.time_ns.div_euclid(1_000_000);
                Shown { n: kept.number, ms, s, line: &kept.line, cut: kept.cut, meta: &kept.metadata }
            })
            .collect();
        Tail { next: self.last, skipped: unseen, totals: &self.totals, streams, entries }
    }
}

impl Kept {
    fn contains(&self, needle: &str, lower: &mut String) -> bool {
        let pairs = self.labels.iter().chain(&self.metadata);
        let mut parts =
            std::iter::once(&*self.line).chain(pairs.flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        parts.any(|part| {
            lower.clear();
            lower.push_str(part);
            lower.make_ascii_lowercase();
            memchr::memmem::find(lower.as_bytes(), needle.as_bytes()).is_some()
        })
    }
}

fn shorten(mut line: String) -> (Box<str>, bool) {
    let cut = line.len() > RECEIVER_LINE_BYTES;
    if cut {
        line.truncate(text::head(&line, RECEIVER_LINE_BYTES).len());
    }
    (line.into_boxed_str(), cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Stream;

    fn push(labels: &str, lines: impl IntoIterator<Item = String>) -> Push {
        let entries = lines.into_iter().map(|line| Entry { time_ns: -1_500_000, line, metadata: Vec::new() }).collect();
        let pairs = vec![("job".to_owned(), labels.to_owned())];
        let stream = Stream { text: format!("{{job={labels:?}}}"), labels: pairs.into(), entries };
        Push { streams: vec![stream], body_bytes: 7, tenant: None }
    }

    #[test]
    fn memory_stays_bounded_and_the_newest_stay() {
        let mut keep = Keep::default();
        for round in 0..100 {
            keep.add(push("many", (0..1_000).map(|i| format!("{round} {i}"))));
        }
        assert_eq!(keep.kept().1, RECEIVER_ENTRIES);
        assert_eq!(keep.totals().entries, 100_000);
        for _ in 0..100 {
            keep.add(push("large", (0..100).map(|_| "x".repeat(1_000_000))));
            assert!(keep.kept().0 <= RECEIVER_BYTES);
        }
        let shown = keep.tail(0, 1, "");
        assert!(shown.entries[0].cut && shown.entries[0].line.len() == RECEIVER_LINE_BYTES);
        assert_eq!(keep.totals().streams, 2);
    }

    #[test]
    fn distinct_streams_are_counted_up_to_a_bound() {
        let mut keep = Keep::default();
        for i in 0..RECEIVER_STREAMS + 100 {
            keep.add(push(&format!("job{i}"), []));
        }
        assert_eq!(keep.totals().streams, RECEIVER_STREAMS as u64);
    }

    #[test]
    fn a_page_gets_what_is_new_and_hears_what_it_missed() {
        let mut keep = Keep::default();
        keep.add(push("a", ["one".to_owned(), "Two".to_owned()]));
        let tail = keep.tail(0, 10, "");
        assert_eq!((tail.next, tail.skipped, tail.entries.len(), tail.streams.len()), (2, 0, 2, 1));
        assert_eq!(tail.entries[0].ms, -2);
        assert!(keep.tail(2, 10, "").entries.is_empty());
        assert_eq!(keep.tail(99, 10, "").entries.len(), 2, "a number of an earlier run starts again");
        assert_eq!(keep.tail(0, 10, "TWO").entries[0].n, 2);
        assert_eq!(keep.tail(0, 10, "JOB").entries.len(), 2, "labels are searched, too");
        keep.add(push("b", (0..5_000).map(|i| i.to_string())));
        let tail = keep.tail(2, 10, "");
        assert_eq!((tail.next, tail.skipped, tail.entries.len()), (5_002, 4_990, 10));
        assert_eq!(tail.entries[9].line, "4999");
        assert_eq!(keep.tail(2, 10, "absent").skipped, 3_000);
    }
}
