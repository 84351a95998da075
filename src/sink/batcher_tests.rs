//! Tests of the batcher, with a ledger and endpoints that write down what they see, in one list: what came before what is the point.

use super::*;
use crate::base::metrics::Gauge;
use crate::base::metrics::Registry;
use crate::format::loki::{PushRequest, decode_snappy};
use crate::model::flow::{Note, Span, StreamBound};
use crate::sink::queue::Queue;
use crate::sink::status::Status;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// What a ledger or an endpoint saw.
#[derive(Debug, Clone)]
enum Seen {
    Intent(Vec<Receipt>),
    Commit(Vec<Receipt>),
    Batch(usize, Arc<Batch>),
}

type List = Arc<Mutex<Vec<Seen>>>;

struct Book(List);

impl Ledger for Book {
    fn intend(&mut self, receipts: &[Receipt]) {
        self.0.lock().unwrap().push(Seen::Intent(receipts.to_vec()));
    }

    fn commit(&mut self, receipts: &[Receipt]) {
        self.0.lock().unwrap().push(Seen::Commit(receipts.to_vec()));
    }
}

const NEVER: Duration = Duration::from_secs(3600);

struct Rig {
    batcher: Batcher,
    budget: Budget,
    book: Book,
    list: List,
    /// The receipt of the next chunk ends here.
    position: u64,
}

impl Rig {
    fn new(bytes: usize, wait: Duration, endpoints: usize) -> Self {
        let list = List::default();
        let target = |i: usize| {
            let list = list.clone();
            Box::new(move |batch| list.lock().unwrap().push(Seen::Batch(i, batch))) as Target
        };
        let budget = Budget::new(1 << 20, Gauge::default());
        let wake = Wake::new().unwrap();
        let targets = (0..endpoints).map(target).collect();
        let batcher = Batcher::new(Limits { bytes, wait, streams: None }, targets, budget.clone(), &wake);
        Rig { batcher, budget, book: Book(list.clone()), list, position: 0 }
    }

    fn stream(&mut self, name: &str) -> StreamId {
        self.batcher.stream(&labels(name), &merged(), None)
    }

    /// Writes lines; gives the receipt.
    fn write(&mut self, stream: StreamId, lines: &[String]) -> Receipt {
        self.write_chunk(stream, lines, None)
    }

    /// The same; `sent`: they were sent before, and whether into the merged stream.
    fn write_chunk(&mut self, stream: StreamId, lines: &[String], sent: Option<bool>) -> Receipt {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for line in lines {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(line.as_bytes());
            spans.push(Span { start, end: bytes.len() as u32 });
        }
        let start = self.position;
        self.position += 100;
        let receipt = Receipt {
            cursor: stream.0,
            generation: 0,
            start,
            end: self.position,
            time_ns: 1_000_000 * start as i64,
            lines: lines.len() as u32,
            safe: self.position,
            mark: 0,
            note: Note::default(),
            merged: sent == Some(true),
        };
        let replayed = sent.is_some();
        let chunk = Chunk { bytes: &bytes, lines: &spans, stream, replayed, receipt };
        self.batcher.write(&chunk, &mut self.book);
        receipt
    }

    fn bound(&mut self, max: usize, policy: StreamPolicy) {
        let streams = Some(StreamBound { max, policy });
        self.batcher.set_limits(Limits { streams, ..self.batcher.limits });
    }

    /// Seals, and settles: the receipts with their intent, the lines by labels, and the receipts that moved cursors.
    fn round(&mut self) -> (Vec<Receipt>, BTreeMap<String, Vec<String>>, Vec<Receipt>) {
        self.flush();
        let (mut intents, mut lines, mut commits) = (Vec::new(), BTreeMap::new(), Vec::new());
        for seen in self.seen() {
            match seen {
                Seen::Intent(receipts) => intents = receipts,
                Seen::Batch(_, batch) => {
                    let texts = |of: Vec<(i64, String)>| of.into_iter().map(|(_, line)| line).collect();
                    lines = lines_of(&batch).into_iter().map(|(labels, of)| (labels, texts(of))).collect();
                    batch.settled();
                }
                Seen::Commit(_) => panic!("a commit before the batch was settled"),
            }
        }
        self.tick();
        for seen in self.seen() {
            if let Seen::Commit(receipts) = seen {
                commits.extend(receipts);
            }
        }
        (intents, lines, commits)
    }

    fn tick(&mut self) -> Option<Instant> {
        self.batcher.tick(Instant::now(), &mut self.book)
    }

    fn flush(&mut self) {
        self.batcher.flush(&mut self.book);
    }

    /// What was seen since the last call.
    fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut *self.list.lock().unwrap())
    }
}

fn labels(name: &str) -> Labels {
    Labels::new([("name", name)]).unwrap()
}

fn merged() -> Labels {
    Labels::new([("merged", "true")]).unwrap()
}

/// What [`Rig::round`] gives, from labels' names and lines.
fn lines(of: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let labels_of = |name: &str| if name == "merged" { merged() } else { labels(name) };
    of.iter()
        .map(|(name, lines)| (labels_of(name).encoded(), lines.iter().map(|line| (*line).to_owned()).collect()))
        .collect()
}

fn decode(batch: &Batch) -> PushRequest {
    let request = decode_snappy(&batch.body, 1 << 24).unwrap();
    assert_eq!(prost::Message::encoded_len(&request), batch.body_len_raw(), "the size told is the size sent");
    assert_eq!(request.entries(), batch.entries as usize);
    request
}

impl Batch {
    /// Size of the whole request; `raw_bytes` counts the room for a header instead of the header.
    fn body_len_raw(&self) -> usize {
        let len = snap::raw::decompress_len(&self.body).unwrap();
        assert!(len <= self.raw_bytes && self.raw_bytes <= len + 6 * self.entries as usize, "{len} {}", self.raw_bytes);
        len
    }
}

/// The lines by labels, in order.
fn lines_of(batch: &Batch) -> BTreeMap<String, Vec<(i64, String)>> {
    let mut found = BTreeMap::new();
    for stream in decode(batch).streams {
        let entries = stream.entries.iter().map(|e| (e.ns(), e.text().into_owned())).collect();
        assert!(found.insert(stream.labels, entries).is_none(), "a stream is in a request once");
    }
    found
}

#[test]
fn the_intent_is_written_before_any_endpoint_sees_the_batch() {
    let mut rig = Rig::new(1 << 20, NEVER, 3);
    let stream = rig.stream("a");
    let receipts = vec![rig.write(stream, &["one".into()]), rig.write(stream, &["two".into()])];
    assert!(rig.seen().is_empty());
    rig.flush();
    let seen = rig.seen();
    assert!(matches!(&seen[0], Seen::Intent(of) if *of == receipts), "{seen:?}");
    let endpoints: Vec<usize> =
        seen[1..].iter().map(|s| if let Seen::Batch(i, _) = s { *i } else { panic!("{s:?}") }).collect();
    assert_eq!(endpoints, [0, 1, 2]);
}

#[test]
fn a_batch_is_committed_when_the_last_endpoint_has_it() {
    let mut rig = Rig::new(1 << 20, NEVER, 2);
    let stream = rig.stream("a");
    let receipt = rig.write(stream, &["one".into()]);
    rig.flush();
    let seen = rig.seen();
    let [_, Seen::Batch(0, first), Seen::Batch(1, second)] = seen.as_slice() else { panic!("{seen:?}") };
    second.settled();
    rig.tick();
    assert!(rig.seen().is_empty() && !rig.batcher.is_settled());
    first.settled();
    rig.tick();
    let seen = rig.seen();
    assert!(matches!(seen.as_slice(), [Seen::Commit(of)] if *of == [receipt]), "{seen:?}");
    assert!(rig.batcher.is_settled() && rig.batcher.oldest().is_none());
}

#[test]
fn a_batch_is_sealed_when_it_is_large_enough_and_not_before() {
    let mut rig = Rig::new(10_000, NEVER, 1);
    let stream = rig.stream("a");
    let line = "x".repeat(90);
    let mut written = 0;
    while rig.seen().is_empty() {
        rig.write(stream, std::slice::from_ref(&line));
        written += 1;
    }
    // An entry has the line and at least 14 bytes around it.
    assert!((80..=10_000 / 104 + 1).contains(&written), "{written}");
    assert_eq!(rig.tick(), None, "nothing is open");
}

#[test]
fn a_batch_is_sealed_when_its_first_entry_is_old_enough_and_not_before() {
    let mut rig = Rig::new(1 << 20, Duration::from_secs(60), 1);
    assert_eq!(rig.tick(), None);
    let stream = rig.stream("a");
    let before = Instant::now();
    rig.write(stream, &["one".into()]);
    let after = Instant::now();
    rig.write(stream, &["two".into()]);
    let due = rig.tick().unwrap();
    assert!(due >= before + Duration::from_secs(60) && due <= after + Duration::from_secs(60));
    assert_eq!(rig.batcher.tick(due - Duration::from_nanos(1), &mut rig.book), Some(due));
    assert!(rig.seen().is_empty());
    assert_eq!(rig.batcher.tick(due, &mut rig.book), None);
    assert_eq!(rig.seen().len(), 2);
}

#[test]
fn chunks_without_lines_move_the_cursor_in_their_turn_and_send_nothing() {
    let mut rig = Rig::new(1 << 20, NEVER, 1);
    let stream = rig.stream("a");
    let first = rig.write(stream, &["one".into()]);
    rig.flush();
    let skipped = rig.write(stream, &[]);
    rig.flush();
    let seen = rig.seen();
    let [Seen::Intent(_), Seen::Batch(_, batch)] = seen.as_slice() else { panic!("{seen:?}") };
    rig.tick();
    assert!(rig.seen().is_empty(), "what was skipped waits for what was before it");
    batch.settled();
    rig.tick();
    let seen = rig.seen();
    assert!(
        matches!(seen.as_slice(), [Seen::Commit(a), Seen::Commit(b)] if *a == [first] && *b == [skipped]),
        "{seen:?}"
    );
    // Without anything before it, at once.
    rig.write(stream, &[]);
    rig.flush();
    rig.tick();
    assert!(matches!(rig.seen().as_slice(), [Seen::Commit(_)]));
    assert!(rig.batcher.is_settled());
}

#[test]
fn lines_of_streams_above_the_bound_go_into_the_merged_one() {
    let mut rig = Rig::new(1 << 20, NEVER, 1);
    rig.bound(2, StreamPolicy::Merge);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| rig.stream(name));
    for (stream, line) in [(a, "a1"), (b, "b1"), (c, "c1"), (d, "d1"), (a, "a2"), (c, "c2")] {
        rig.write(stream, &[line.into()]);
    }
    let (intents, sent, commits) = rig.round();
    assert_eq!(sent, lines(&[("a", &["a1", "a2"]), ("b", &["b1"]), ("merged", &["c1", "d1", "c2"])]));
    assert_eq!(intents.iter().map(|r| r.merged).collect::<Vec<_>>(), [false, false, true, true, false, true]);
    assert_eq!(commits, intents);
    // In later batches as well, and whoever has a place is known by its labels, not by its number.
    rig.batcher.release(a);
    let a = rig.stream("a");
    rig.write(c, &["c3".into()]);
    rig.write(a, &["a3".into()]);
    assert_eq!(rig.round().1, lines(&[("a", &["a3"]), ("merged", &["c3"])]));
    // A larger bound makes room at once, a smaller one takes none away.
    rig.bound(3, StreamPolicy::Merge);
    rig.write(c, &["c4".into()]);
    rig.bound(1, StreamPolicy::Merge);
    for (stream, line) in [(a, "a4"), (b, "b4"), (d, "d4")] {
        rig.write(stream, &[line.into()]);
    }
    assert_eq!(rig.round().1, lines(&[("a", &["a4"]), ("b", &["b4"]), ("c", &["c4"]), ("merged", &["d4"])]));
    for stream in [a, b, c, d] {
        rig.batcher.release(stream);
    }
    assert_eq!(rig.batcher.free.len(), rig.batcher.streams.len(), "the merged one too");
}

#[test]
fn lines_of_streams_above_the_bound_are_dropped_and_counted_and_move_the_cursor() {
    let mut rig = Rig::new(1 << 20, NEVER, 1);
    let registry = Registry::default();
    let status = Status::new("e", "u", Arc::new(Queue::default()), &registry);
    rig.batcher.places.set_endpoints(vec![status.over_streams()]);
    rig.bound(1, StreamPolicy::Drop);
    let (a, b) = (rig.stream("a"), rig.stream("b"));
    let first = rig.write(a, &["a1".into()]);
    let dropped = rig.write(b, &["b1".into(), "b2".into()]);
    let (intents, sent, commits) = rig.round();
    assert_eq!(sent, lines(&[("a", &["a1"])]));
    let dropped = Receipt { lines: 0, ..dropped };
    assert_eq!((&intents, &commits), (&vec![first, dropped], &vec![first, dropped]));
    // A batch of nothing else is never sent.
    rig.write(b, &["b3".into()]);
    let (intents, sent, commits) = rig.round();
    assert!(intents.is_empty() && sent.is_empty() && commits.len() == 1);
    let text = registry.render();
    for series in [
        "lugger_endpoint_dropped_lines_total{endpoint=\"e\",reason=\"max_streams\"} 3",
        "lugger_endpoint_dropped_bytes_total{endpoint=\"e\",reason=\"max_streams\"} 6",
        "lugger_endpoint_dropped_lines_total{endpoint=\"e\",reason=\"rate\"} 0",
        "lugger_endpoint_merged_lines_total{endpoint=\"e\"} 0",
    ] {
        assert!(text.contains(series), "{text}");
    }
}

#[test]
fn what_was_sent_before_goes_to_the_stream_that_it_was_sent_to() {
    for policy in [StreamPolicy::Merge, StreamPolicy::Drop] {
        let mut rig = Rig::new(1 << 20, NEVER, 1);
        rig.bound(1, policy);
        let (a, b, c) = (rig.stream("a"), rig.stream("b"), rig.stream("c"));
        rig.write(a, &["a1".into()]);
        rig.write_chunk(b, &["b1".into()], Some(false));
        rig.write_chunk(a, &["a2".into()], Some(true));
        let (intents, sent, _) = rig.round();
        assert_eq!(sent, lines(&[("a", &["a1"]), ("b", &["b1"]), ("merged", &["a2"])]));
        assert_eq!(intents.iter().map(|r| r.merged).collect::<Vec<_>>(), [false, false, true]);
        // Loki has b: it counts, and goes on.
        rig.write(b, &["b2".into()]);
        rig.bound(2, policy);
        rig.write_chunk(c, &["c1".into()], Some(true));
        assert_eq!(rig.round().1, lines(&[("b", &["b2"]), ("merged", &["c1"])]));
    }
    // Also where there is no bound any more.
    let mut rig = Rig::new(1 << 20, NEVER, 1);
    let a = rig.stream("a");
    rig.write_chunk(a, &["a1".into()], Some(true));
    rig.write(a, &["a2".into()]);
    assert_eq!(rig.round().1, lines(&[("a", &["a2"]), ("merged", &["a1"])]));
}

#[test]
fn receipts_without_lines_are_charged_for_as_long_as_they_wait() {
    let mut rig = Rig::new(1 << 20, NEVER, 1);
    let stream = rig.stream("a");
    // Nothing is before it: it goes at once.
    rig.write(stream, &[]);
    rig.flush();
    assert_eq!(rig.budget.used(), 0);
    rig.tick();
    rig.write(stream, &["one".into()]);
    rig.flush();
    let seen = rig.seen();
    let Some(Seen::Batch(_, batch)) = seen.last() else { panic!("{seen:?}") };
    let mut rounds = 0;
    while rig.batcher.has_room() {
        for _ in 0..100 {
            rig.write(stream, &[]);
        }
        rig.flush();
        rounds += 1;
        assert!(rounds < 10_000, "nothing bounds what waits");
    }
    batch.settled();
    drop(seen);
    rig.tick();
    assert_eq!(rig.budget.used(), 0);
    assert!(rig.batcher.is_settled() && rig.batcher.has_room());
}

#[test]
fn the_budget_is_charged_until_the_last_endpoint_lets_go() {
    let mut rig = Rig::new(1 << 20, NEVER, 2);
    let stream = rig.stream("a");
    rig.write(stream, &["one".into()]);
    assert_eq!(rig.budget.used(), 0);
    rig.flush();
    let mut seen = rig.seen();
    let Some(Seen::Batch(_, batch)) = seen.pop() else { panic!() };
    let held = rig.budget.used();
    assert!(held >= batch.body.len() as u64 + OVERHEAD_BYTES, "{held}");
    drop(seen);
    assert_eq!(rig.budget.used(), held);
    drop(batch);
    assert_eq!(rig.budget.used(), 0);
}

#[test]
fn thousands_of_short_lived_streams_leave_nothing_behind() {
    let mut rig = Rig::new(4_096, NEVER, 1);
    for i in 0..5_000 {
        let name = format!("file-{i}");
        let stream = rig.stream(&name);
        // Some are released with entries in the open batch, some with none, some without ever having been used.
        if i % 3 > 0 {
            rig.write(stream, &[format!("line {i}")]);
        }
        if i % 7 == 0 {
            rig.flush();
        }
        rig.batcher.release(stream);
        for seen in rig.seen() {
            if let Seen::Batch(_, batch) = seen {
                assert!(lines_of(&batch).into_values().flatten().count() > 0);
                batch.settled();
            }
        }
    }
    rig.flush();
    for seen in rig.seen() {
        if let Seen::Batch(_, batch) = seen {
            batch.settled();
        }
    }
    rig.tick();
    let batcher = &rig.batcher;
    assert!(batcher.is_settled() && batcher.by_labels.is_empty() && batcher.active.is_empty());
    assert_eq!(batcher.free.len(), batcher.streams.len());
    // As many as were ever open in one batch.
    assert!(batcher.streams.len() < 200, "{}", batcher.streams.len());
    assert!(batcher.streams.iter().all(|s| s.buffer.capacity() == 0 && s.labels_field.is_empty()));
    assert!(batcher.pooled_bytes <= POOLED_BATCHES * batcher.limits.bytes && batcher.receipts.is_empty());
    drop(rig.list);
    rig.book.0.lock().unwrap().clear();
    assert_eq!(rig.budget.used(), 0);
}

/// A step of the model.
#[derive(Debug, Clone)]
enum Step {
    Stream(u8),
    Release(u8),
    Write(u8, Vec<String>),
    Tick,
    Grow,
    Flush,
    /// One endpoint settles one of the batches it has.
    Settle(u8, u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..6).prop_map(Step::Stream),
        2 => any::<u8>().prop_map(Step::Release),
        8 => (any::<u8>(), prop::collection::vec(".{0,40}", 0..5)).prop_map(|(of, lines)| Step::Write(of, lines)),
        2 => Just(Step::Tick),
        1 => Just(Step::Grow),
        1 => Just(Step::Flush),
        4 => any::<(u8, u8)>().prop_map(|(endpoint, batch)| Step::Settle(endpoint, batch)),
    ]
}

proptest! {
    #[test]
    fn every_line_goes_to_every_endpoint_once_and_is_committed_in_order(
        steps in prop::collection::vec(any_step(), 0..120),
        endpoints in 1usize..4,
        bytes in 50usize..2_000,
    ) {
        let mut rig = Rig::new(bytes, NEVER, endpoints);
        let mut users: Vec<(u8, StreamId)> = Vec::new();
        // Written and not yet sealed.
        let mut open: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
        let mut open_receipts: Vec<Receipt> = Vec::new();
        // Sealed: the receipts and how many endpoints have not settled them.
        let mut sealed: Vec<(Vec<Receipt>, usize)> = Vec::new();
        let mut committed = 0;
        let mut waiting: Vec<Vec<(usize, Arc<Batch>)>> = vec![Vec::new(); endpoints];
        let last = [Step::Flush, Step::Tick];
        for step in steps.iter().chain(&last) {
            match step {
                Step::Stream(name) => users.push((*name, rig.stream(&format!("s{name}")))),
                Step::Release(which) if !users.is_empty() => {
                    let (_, stream) = users.remove(usize::from(*which) % users.len());
                    rig.batcher.release(stream);
                }
                Step::Write(which, lines) if !users.is_empty() => {
                    let (name, stream) = users[usize::from(*which) % users.len()];
                    // The write itself may seal: what it wrote belongs to that batch.
                    let receipt = rig.write(stream, lines);
                    open_receipts.push(receipt);
                    let entries = lines.iter().enumerate().map(|(i, l)| (receipt.time_ns + i as i64, l.clone()));
                    if !lines.is_empty() {
                        open.entry(labels(&format!("s{name}")).encoded()).or_default().extend(entries);
                    }
                }
                Step::Tick => {
                    rig.tick();
                }
                Step::Grow => {
                    let now = Instant::now() + 2 * NEVER;
                    rig.batcher.tick(now, &mut rig.book);
                }
                Step::Flush => rig.flush(),
                Step::Settle(endpoint, which) => {
                    let waiting = &mut waiting[usize::from(*endpoint) % endpoints];
                    if !waiting.is_empty() {
                        let (number, batch) = waiting.remove(usize::from(*which) % waiting.len());
                        batch.settled();
                        sealed[number].1 -= 1;
                    }
                }
                Step::Release(_) | Step::Write(..) => {}
            }
            // A batch of chunks without lines is sealed unseen; its receipts come back in a commit of their own.
            let silent = rig.batcher.opened.is_none() && !open_receipts.is_empty() && open.is_empty();
            if silent {
                sealed.push((std::mem::take(&mut open_receipts), 0));
            }
            let mut intended = false;
            for seen in rig.seen() {
                match seen {
                    Seen::Intent(receipts) => {
                        prop_assert_eq!(&receipts, &open_receipts);
                        prop_assert!(!receipts.is_empty());
                        sealed.push((std::mem::take(&mut open_receipts), endpoints));
                        intended = true;
                    }
                    Seen::Batch(endpoint, batch) => {
                        prop_assert!(intended, "a batch without intent");
                        prop_assert_eq!(&lines_of(&batch), &open);
                        waiting[endpoint].push((sealed.len() - 1, batch));
                    }
                    Seen::Commit(receipts) => {
                        let (expected, missing) = &sealed[committed];
                        prop_assert_eq!(*missing, 0, "committed before every endpoint had it");
                        prop_assert_eq!(&receipts, expected);
                        committed += 1;
                    }
                }
            }
            if intended {
                for (endpoint, of) in waiting.iter().enumerate() {
                    let newest = of.last().map(|(number, _)| *number);
                    prop_assert_eq!(newest, Some(sealed.len() - 1), "endpoint {} was passed over", endpoint);
                }
                open.clear();
            }
        }
        prop_assert!(open.is_empty() && open_receipts.is_empty(), "the flush left something");
        for (number, batch) in waiting.drain(..).flatten() {
            batch.settled();
            sealed[number].1 -= 1;
        }
        rig.tick();
        let commits = rig.seen().into_iter().filter(|s| matches!(s, Seen::Commit(_))).count();
        prop_assert_eq!(committed + commits, sealed.len());
        prop_assert!(rig.batcher.is_settled());
        prop_assert_eq!(rig.budget.used(), 0);
        for (_, stream) in users {
            rig.batcher.release(stream);
        }
        prop_assert_eq!(rig.batcher.free.len(), rig.batcher.streams.len());
    }
}

/// An entry as a pipeline makes it: text, stream, time, metadata.
type Made<'a> = (&'a str, StreamId, i64, &'a [(&'a str, &'a str)]);
/// One as it was sent: labels, time, text, metadata.
type Sent = (String, i64, String, Vec<(String, String)>);

fn entries(list: &[Made<'_>]) -> Entries {
    let mut entries = Entries::default();
    for (text, stream, time_ns, pairs) in list {
        let line = entries.push_text(text);
        let start = entries.metadata.len() as u32;
        for (name, value) in *pairs {
            let pair = (entries.push_text(name), entries.push_text(value));
            entries.metadata.push(pair);
        }
        let metadata = Span { start, end: entries.metadata.len() as u32 };
        entries.list.push(EntryAt { stream: *stream, time_ns: *time_ns, line, metadata });
    }
    entries
}

fn receipt(start: u64, end: u64, lines: u32) -> Receipt {
    let note = Note::default();
    Receipt { cursor: 1, generation: 0, start, end, time_ns: 5, lines, safe: end, mark: 0, merged: false, note }
}

#[test]
fn entries_go_to_their_streams_with_their_times_and_metadata() {
    let mut rig = Rig::new(1 << 20, Duration::from_secs(60), 1);
    let (a, b) = (rig.stream("a"), rig.stream("b"));
    let pairs = [("trace", "x1"), ("user", "")];
    let written = entries(&[("one", a, 7, &pairs), ("two", b, -3, &[]), ("", a, 1_000_000_001, &[("k", "ü")])]);
    rig.batcher.write_entries(&written, &[receipt(0, 4, 2), receipt(4, 9, 1)], false, &mut rig.book);
    rig.flush();
    let batch = rig.seen().into_iter().find_map(|seen| match seen {
        Seen::Batch(_, batch) => Some(batch),
        _ => None,
    });
    let batch = batch.unwrap();
    let request = decode_snappy(&batch.body, 1 << 24).unwrap();
    let shown: Vec<Sent> = request
        .streams
        .iter()
        .flat_map(|stream| {
            stream.entries.iter().map(|entry| {
                let pairs = entry.structured_metadata.iter().map(|pair| (pair.name.clone(), pair.value.clone()));
                (stream.labels.clone(), entry.ns(), entry.text().into_owned(), pairs.collect())
            })
        })
        .collect();
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let (a, b) = (labels("a").encoded(), labels("b").encoded());
    assert_eq!(
        shown,
        [
            (a.clone(), 7, "one".to_owned(), own(&pairs)),
            (a, 1_000_000_001, String::new(), own(&[("k", "ü")])),
            (b, -3, "two".to_owned(), own(&[])),
        ]
    );
    assert_eq!(prost::Message::encoded_len(&request), batch.body_len_raw(), "the size told is the size sent");
    assert_eq!(batch.entries, 3);
}

#[test]
fn lines_that_wait_are_intended_though_nothing_is_sent() {
    let mut rig = Rig::new(1 << 20, Duration::from_secs(60), 1);
    let waits = Receipt { safe: 0, ..receipt(0, 4, 2) };
    rig.batcher.write_entries(&Entries::default(), &[waits], false, &mut rig.book);
    let (intents, lines, commits) = rig.round();
    assert_eq!((intents, lines.len(), commits), (vec![waits], 0, vec![waits]));
    // Let go, and dropped by a later stage.
    let let_go = Receipt { note: Note { released: true, ..Note::default() }, ..receipt(4, 4, 0) };
    rig.batcher.write_entries(&Entries::default(), &[let_go], false, &mut rig.book);
    assert_eq!(rig.round().0, [let_go]);
    let nothing = receipt(4, 8, 0);
    rig.batcher.write_entries(&Entries::default(), &[nothing], false, &mut rig.book);
    assert_eq!(rig.round().0, []);
}

/// Each tenant has a batch of its own; the receipts come back when all of them are stored.
#[test]
fn a_batch_is_one_tenants() {
    let mut rig = Rig::new(1 << 20, Duration::from_secs(60), 1);
    let stream = |rig: &mut Rig, tenant| rig.batcher.stream(&labels("a"), &merged(), tenant);
    let own = stream(&mut rig, None);
    let (one, two) = (stream(&mut rig, Some("one")), stream(&mut rig, Some("two")));
    assert!(own != one && one != two);
    assert_eq!(stream(&mut rig, Some("one")), one);
    let written = entries(&[("a", one, 1, &[]), ("b", own, 2, &[]), ("c", two, 3, &[]), ("d", one, 4, &[])]);
    rig.batcher.write_entries(&written, &[receipt(0, 9, 4)], false, &mut rig.book);
    rig.flush();
    let mut batches = Vec::new();
    for seen in rig.seen() {
        match seen {
            Seen::Batch(_, batch) => batches.push(batch),
            Seen::Intent(receipts) => assert!(batches.is_empty() && receipts.len() == 1, "before anything is sent"),
            _ => {}
        }
    }
    let shown: Vec<(Option<&str>, u32)> = batches.iter().map(|b| (b.tenant.as_deref(), b.entries)).collect();
    assert_eq!(shown, [(Some("one"), 2), (None, 1), (Some("two"), 1)]);
    for (at, batch) in batches.iter().enumerate().rev() {
        batch.settled();
        rig.flush();
        let is_done = rig.seen().iter().any(|seen| matches!(seen, Seen::Commit(_)));
        assert_eq!(is_done, at == 0);
    }
}

/// Where one stream of a chunk is above the bound, all of the chunk is merged, and a replay does the same.
#[test]
fn a_chunk_is_merged_as_a_whole() {
    let mut rig = Rig::new(1 << 20, Duration::from_secs(60), 1);
    rig.bound(1, StreamPolicy::Merge);
    let (a, b) = (rig.stream("a"), rig.stream("b"));
    let written = entries(&[("one", a, 1, &[]), ("two", b, 2, &[])]);
    rig.batcher.write_entries(&entries(&[("zero", a, 0, &[])]), &[receipt(0, 4, 1)], false, &mut rig.book);
    rig.round();
    rig.batcher.write_entries(&written, &[receipt(4, 9, 2)], false, &mut rig.book);
    let (intents, lines, _) = rig.round();
    assert!(intents.iter().all(|receipt| receipt.merged));
    assert_eq!(lines.get(&merged().encoded()).map(Vec::len), Some(2));
    rig.bound(9, StreamPolicy::Merge);
    rig.batcher.write_entries(&written, &intents, true, &mut rig.book);
    assert_eq!(rig.round().1, lines);
}

/// However much a pipeline makes of one chunk: no batch is larger than the bound, and the receipts come back when all of it is stored.
#[test]
fn entries_are_divided_into_batches() {
    let mut rig = Rig::new(10_000, Duration::from_secs(60), 1);
    let stream = rig.stream("a");
    let text = "x".repeat(900);
    let made: Vec<Made<'_>> = (0..100).map(|time| (text.as_str(), stream, time, &[] as &[_])).collect();
    let (first, whole) = (receipt(0, 4, 1), receipt(4, 9, 100));
    rig.batcher.write_entries(&entries(&made[..5]), &[first], false, &mut rig.book);
    rig.batcher.write_entries(&entries(&made[5..]), &[whole], false, &mut rig.book);
    rig.flush();
    let (mut batches, mut intents, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for seen in rig.seen() {
        match seen {
            Seen::Batch(_, batch) => {
                assert_eq!(intents, [first, whole], "before anything is sent");
                assert!(batch.raw_bytes < 10_200, "{}", batch.raw_bytes);
                times.extend(lines_of(&batch).into_values().flatten().map(|(time, _)| time));
                batches.push(batch);
            }
            Seen::Intent(receipts) => intents.extend(receipts),
            Seen::Commit(_) => panic!("nothing is stored yet"),
        }
    }
    assert!(batches.len() >= 10);
    assert!(times.into_iter().eq(0..100));
    for (at, batch) in batches.iter().enumerate() {
        batch.settled();
        rig.tick();
        let commits = rig.seen().into_iter().filter(|seen| matches!(seen, Seen::Commit(of) if !of.is_empty()));
        assert_eq!(commits.count(), usize::from(at + 1 == batches.len()));
    }
}
