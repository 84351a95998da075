//! The batcher: chunks in, sealed batches out, receipts back in order.
//!
//! One batcher serves one set of endpoints: a batch is encoded and compressed once for all of them. It runs on the thread
//! of the source that writes to it, so that compressing the next batch overlaps the sending of this one.
//!
//! Promises: the ledger sees a batch's receipts before any endpoint sees the batch; receipts are committed in the order
//! of writing, without gaps, and only when every endpoint has settled their batch; buffers are recycled, so that the steady state
//! allocates only the compressed body; there are no more streams than the bound allows, but for merged ones, one a source, and for what was
//! sent before. Leaves to others: sending, and deciding when to write (see [`Output::has_room`]).
//!
//! Where a chunk goes is decided when it is written: to its own stream, to the merged one of its source, or nowhere. A chunk that goes nowhere is
//! one without lines: it has no intent, and its cursor moves. One that is merged says so in its intent, so that after a crash the same
//! lines go to the same stream again under the same time, whatever the bound and its order of streams are by then: Loki has those streams already.
//! A chunk that went nowhere and is read again may go anywhere, since Loki does not have it.

use super::status::OverStreams;
use super::streams::Places;
use crate::base::wake::Wake;
use crate::format::loki_encode::{append_entries, begin_stream, finish_stream, labels_field};
use crate::model::batch::{Batch, Inbox, Ticket};
use crate::model::budget::{Budget, Charge};
pub use crate::model::flow::Limits;
use crate::model::flow::{Chunk, Ledger, Output, Receipt, StreamId, StreamPolicy};
use crate::model::labels::Labels;
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Where sealed batches go: an endpoint's queue. Called once a batch; must not block.
pub type Target = Box<dyn Fn(Arc<Batch>) + Send>;

/// Buffers are kept for reuse up to this many times a batch's size, all together: a burst of streams must not hold its memory.
const POOLED_BATCHES: usize = 2;
/// What a receipt and a queue's slot cost beside the body, bytes, so that the budget sees many tiny batches too.
const OVERHEAD_BYTES: u64 = 256;

struct Stream {
    labels_field: Arc<[u8]>,
    /// Empty while the stream has nothing in the open batch.
    buffer: Vec<u8>,
    users: u32,
    /// Where its lines go when there are too many streams; this stream is one of that one's users.
    merged: Option<u32>,
}

struct Pending {
    sequence: u64,
    opened: Instant,
    receipts: Vec<Receipt>,
    settled: bool,
    /// What the receipts take while they wait, if no batch does that for them.
    _charge: Option<Charge>,
}

/// See the module.
pub struct Batcher {
    limits: Limits,
    targets: Vec<Target>,
    budget: Budget,
    wake: Wake,
    inbox: Inbox,
    streams: Vec<Stream>,
    free: Vec<u32>,
    by_labels: HashMap<Arc<[u8]>, u32>,
    places: Places,
    /// Streams with entries in the open batch, in order of their first entry.
    active: Vec<u32>,
    raw_bytes: usize,
    entries: u32,
    opened: Option<Instant>,
    receipts: Vec<Receipt>,
    pending: VecDeque<Pending>,
    sequence: u64,
    pool: Vec<Vec<u8>>,
    /// Capacity of the pool's buffers.
    pooled_bytes: usize,
    joined: Vec<u8>,
    compressed: Vec<u8>,
    encoder: snap::raw::Encoder,
    arrived: Vec<u64>,
}

impl Batcher {
    /// A batcher that gives each batch to all `targets`, charges `budget`, and wakes `wake` when something was settled.
    pub fn new(limits: Limits, targets: Vec<Target>, budget: Budget, wake: &Wake) -> Self {
        Batcher {
            limits,
            targets,
            budget,
            wake: wake.clone(),
            inbox: Inbox::new(wake.clone()),
            streams: Vec::new(),
            free: Vec::new(),
            by_labels: HashMap::new(),
            places: Places::new(limits.streams),
            active: Vec::new(),
            raw_bytes: 0,
            entries: 0,
            opened: None,
            receipts: Vec::new(),
            pending: VecDeque::new(),
            sequence: 0,
            pool: Vec::new(),
            pooled_bytes: 0,
            joined: Vec::new(),
            compressed: Vec::new(),
            encoder: snap::raw::Encoder::new(),
            arrived: Vec::new(),
        }
    }

    /// This one, with endpoints that count the lines of streams above the bound.
    pub fn counting(mut self, endpoints: Vec<OverStreams>) -> Self {
        self.places.set_endpoints(endpoints);
        self
    }

    fn seal(&mut self, ledger: &mut dyn Ledger) {
        let Some(opened) = self.opened.take() else { return };
        self.sequence += 1;
        let receipts = std::mem::take(&mut self.receipts);
        if self.entries == 0 {
            // Only skipped bytes: nothing to send, but the cursors move, in their turn.
            // What waits for what is before it is charged: a source that drops nearly all could go on with that for hours.
            let charge = (!self.pending.is_empty()).then(|| self.budget.charge(held_by(&receipts), &self.wake));
            self.pending.push_back(Pending {
                sequence: self.sequence,
                opened,
                receipts,
                settled: true,
                _charge: charge,
            });
            return;
        }
        let body = self.encode();
        ledger.intend(&receipts);
        let held = body.len() as u64 + held_by(&receipts);
        let charge = self.budget.charge(held, &self.wake);
        let ticket = Ticket::new(self.sequence, self.targets.len() as u32, self.inbox.clone());
        let batch = Arc::new(Batch::new(body, self.raw_bytes, self.entries, opened, ticket, charge));
        self.pending.push_back(Pending { sequence: self.sequence, opened, receipts, settled: false, _charge: None });
        self.raw_bytes = 0;
        self.entries = 0;
        for target in &self.targets {
            target(batch.clone());
        }
    }

    /// Joins the streams of the open batch and compresses them; leaves every stream without entries.
    fn encode(&mut self) -> Bytes {
        self.joined.clear();
        let mut single = None;
        for &id in &self.active {
            let Some(stream) = self.streams.get_mut(id as usize) else { continue };
            let mut buffer = std::mem::take(&mut stream.buffer);
            let field = finish_stream(&mut buffer, &stream.labels_field);
            if self.active.len() == 1 {
                // The usual case of one busy file: compressed from where it is.
                single = Some(compress(&mut self.encoder, field, &mut self.compressed));
            } else {
                self.joined.extend_from_slice(field);
            }
            if self.pooled_bytes + buffer.capacity() <= POOLED_BATCHES * self.limits.bytes {
                self.pooled_bytes += buffer.capacity();
                self.pool.push(buffer);
            }
        }
        let used: Vec<u32> = self.active.drain(..).collect();
        for id in used {
            self.drop_if_unused(id);
        }
        match single {
            Some(body) => body,
            None => compress(&mut self.encoder, &self.joined, &mut self.compressed),
        }
    }

    fn drop_if_unused(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id as usize)
            && stream.users == 0
            && stream.buffer.is_empty()
        {
            let labels = std::mem::take(&mut stream.labels_field);
            let merged = stream.merged.take();
            if self.by_labels.remove(&labels).is_some() {
                self.free.push(id);
            }
            if let Some(merged) = merged {
                self.release(StreamId(merged));
            }
        }
    }

    /// The stream with these labels, with one more user.
    fn intern(&mut self, labels: &Labels, merged: Option<&Labels>) -> u32 {
        let field: Arc<[u8]> = labels_field(&labels.encoded()).into();
        if let Some(&id) = self.by_labels.get(&field) {
            if let Some(stream) = self.streams.get_mut(id as usize) {
                stream.users += 1;
            }
            return id;
        }
        let merged = merged.map(|labels| self.intern(labels, None));
        let stream = Stream { labels_field: field.clone(), buffer: Vec::new(), users: 1, merged };
        let id = match self.free.pop() {
            Some(id) if (id as usize) < self.streams.len() => {
                self.streams[id as usize] = stream;
                id
            }
            _ => {
                self.streams.push(stream);
                (self.streams.len() - 1) as u32
            }
        };
        self.by_labels.insert(field, id);
        id
    }

    /// Where the lines of a chunk go, in a batch that was opened then: the stream, and whether it is the merged one. `None`: nowhere.
    fn destination(&mut self, chunk: &Chunk<'_>, opened: Instant) -> Option<(u32, bool)> {
        let id = chunk.stream.0;
        let Some(stream) = self.streams.get(id as usize) else { return Some((id, false)) };
        // The source names no stream that has none, but for merged ones themselves.
        let merged = (stream.merged.unwrap_or(id), true);
        if chunk.replayed {
            if chunk.receipt.merged {
                return Some(merged);
            }
            self.places.take(&stream.labels_field, opened);
            return Some((id, false));
        }
        if !stream.buffer.is_empty() {
            // Decided when it got its first lines of this batch.
            return Some((id, false));
        }
        match self.places.refuses(&stream.labels_field, opened) {
            None => Some((id, false)),
            Some(StreamPolicy::Merge) => {
                self.places.merged(chunk.lines.len() as u64);
                Some(merged)
            }
            Some(StreamPolicy::Drop) => {
                let bytes =
                    chunk.lines.first().zip(chunk.lines.last()).map_or(0, |(a, z)| z.end.saturating_sub(a.start));
                self.places.dropped(chunk.lines.len() as u64, u64::from(bytes));
                None
            }
        }
    }

    fn settle(&mut self, ledger: &mut dyn Ledger) {
        self.inbox.drain(&mut self.arrived);
        for sequence in self.arrived.drain(..) {
            // Numbers in `pending` are consecutive, so that the place follows from the number.
            let first = self.pending.front().map_or(0, |p| p.sequence);
            let place = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
            if let Some(pending) = self.pending.get_mut(place) {
                pending.settled = true;
            }
        }
        while self.pending.front().is_some_and(|p| p.settled) {
            if let Some(done) = self.pending.pop_front() {
                ledger.commit(&done.receipts);
            }
        }
    }
}

/// What a row of receipts takes, with what holds it, bytes.
fn held_by(receipts: &[Receipt]) -> u64 {
    OVERHEAD_BYTES + std::mem::size_of_val(receipts) as u64
}

fn compress(encoder: &mut snap::raw::Encoder, raw: &[u8], scratch: &mut Vec<u8>) -> Bytes {
    let most = snap::raw::max_compress_len(raw.len());
    if scratch.len() < most {
        scratch.resize(most, 0);
    }
    match encoder.compress(raw, scratch) {
        Ok(len) => Bytes::copy_from_slice(&scratch[..len]),
        // The scratch buffer is large enough and the input far below 4 GiB: snap has no other errors.
        Err(error) => {
            debug_assert!(false, "snappy refused {} bytes: {error}", raw.len());
            Bytes::new()
        }
    }
}

impl Output for Batcher {
    fn stream(&mut self, labels: &Labels, merged: &Labels) -> StreamId {
        StreamId(self.intern(labels, Some(merged)))
    }

    fn release(&mut self, stream: StreamId) {
        if let Some(slot) = self.streams.get_mut(stream.0 as usize) {
            slot.users = slot.users.saturating_sub(1);
        }
        self.drop_if_unused(stream.0);
    }

    fn has_room(&self) -> bool {
        self.budget.has_room()
    }

    fn write(&mut self, chunk: &Chunk<'_>, ledger: &mut dyn Ledger) {
        let opened = *self.opened.get_or_insert_with(Instant::now);
        if chunk.lines.is_empty() {
            self.receipts.push(chunk.receipt);
            return;
        }
        let Some((id, merged)) = self.destination(chunk, opened) else {
            self.receipts.push(Receipt { lines: 0, ..chunk.receipt });
            return;
        };
        self.receipts.push(Receipt { merged, ..chunk.receipt });
        let Some(stream) = self.streams.get_mut(id as usize) else { return };
        if stream.buffer.is_empty() {
            stream.buffer = self.pool.pop().unwrap_or_default();
            self.pooled_bytes -= stream.buffer.capacity();
            begin_stream(&mut stream.buffer, &stream.labels_field);
            self.raw_bytes += stream.buffer.len();
            self.active.push(id);
        }
        let before = stream.buffer.len();
        append_entries(&mut stream.buffer, chunk.bytes, chunk.lines, chunk.receipt.time_ns);
        self.raw_bytes += stream.buffer.len() - before;
        self.entries += chunk.lines.len() as u32;
        if self.raw_bytes >= self.limits.bytes {
            self.seal(ledger);
        }
    }

    fn tick(&mut self, now: Instant, ledger: &mut dyn Ledger) -> Option<Instant> {
        self.settle(ledger);
        let due = self.opened? + self.limits.wait;
        if due <= now {
            self.seal(ledger);
            return None;
        }
        Some(due)
    }

    fn flush(&mut self, ledger: &mut dyn Ledger) {
        self.settle(ledger);
        self.seal(ledger);
    }

    fn set_limits(&mut self, limits: Limits) {
        if limits.streams != self.limits.streams {
            self.places.set_bound(limits.streams);
        }
        self.limits = limits;
    }

    fn is_settled(&self) -> bool {
        self.opened.is_none() && self.pending.is_empty()
    }

    fn oldest(&self) -> Option<Instant> {
        self.pending.front().map(|p| p.opened).or(self.opened)
    }
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
