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
use crate::format::loki_encode::{append_entries, append_entry_with, begin_stream, finish_stream, labels_field};
use crate::model::batch::{Batch, Inbox, Ticket};
use crate::model::budget::{Budget, Charge};
pub use crate::model::flow::Limits;
use crate::model::flow::{Chunk, Entries, EntryAt, Ledger, Output, Receipt, Span, StreamBound, StreamId, StreamPolicy};
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
    /// Whose it is, if not the endpoint's own tenant's.
    tenant: Option<Arc<str>>,
    /// Empty while the stream has nothing in the open batch.
    buffer: Vec<u8>,
    /// What it has in the open batch.
    entries: u32,
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
    /// By labels; those of tenants have the name behind them.
    by_labels: HashMap<Arc<[u8]>, u32>,
    places: Places,
    /// Streams with entries in the open batch, in order of their first entry.
    active: Vec<u32>,
    raw_bytes: usize,
    entries: u32,
    opened: Option<Instant>,
    receipts: Vec<Receipt>,
    /// So many of them have been intended: a part of what they cover was sent when the batch was large enough.
    intended: usize,
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
            intended: 0,
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
        let receipts = std::mem::take(&mut self.receipts);
        let new = receipts.get(std::mem::take(&mut self.intended)..).unwrap_or_default();
        if self.entries == 0 {
            self.sequence += 1;
            if new.iter().any(|receipt| receipt.lines > 0 || receipt.note.released) {
                // Lines that wait for further ones, or did: what they become depends on how they were cut.
                ledger.intend(new);
            }
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
        ledger.intend(new);
        self.send_open(opened, receipts);
    }

    /// Sends what there is of what is being written, so that no batch becomes larger than a request may be. Its receipts wait for the rest.
    fn send_part(&mut self, ledger: &mut dyn Ledger) {
        let Some(opened) = self.opened else { return };
        ledger.intend(self.receipts.get(self.intended..).unwrap_or_default());
        self.intended = self.receipts.len();
        self.send_open(opened, Vec::new());
    }

    /// Sends the entries of the open batch.
    fn send_open(&mut self, opened: Instant, receipts: Vec<Receipt>) {
        let mut active = std::mem::take(&mut self.active);
        // One request is one tenant's. The receipts wait for the last one, and so for all of them.
        while let Some(tenant) = self.other_tenant(&active) {
            let is_its = |id: &mut u32| self.streams.get(*id as usize).is_some_and(|s| s.tenant == tenant);
            let its: Vec<u32> = active.extract_if(.., is_its).collect();
            self.send(&its, tenant, opened, Vec::new());
        }
        let tenant = active.first().and_then(|id| self.streams.get(*id as usize)?.tenant.clone());
        self.send(&active, tenant, opened, receipts);
        active.clear();
        self.active = active;
        self.raw_bytes = 0;
        self.entries = 0;
    }

    /// A tenant of some of these streams, but not of all.
    fn other_tenant(&self, streams: &[u32]) -> Option<Option<Arc<str>>> {
        let mut tenants = streams.iter().filter_map(|id| Some(&self.streams.get(*id as usize)?.tenant));
        let first = tenants.next()?;
        tenants.any(|tenant| tenant != first).then(|| first.clone())
    }

    /// Sends what these streams have.
    fn send(&mut self, streams: &[u32], tenant: Option<Arc<str>>, opened: Instant, receipts: Vec<Receipt>) {
        self.sequence += 1;
        let count = |stream: &Stream| (stream.buffer.len(), stream.entries);
        let counts = streams.iter().filter_map(|id| self.streams.get(*id as usize)).map(count);
        let (raw_bytes, entries) = counts.fold((0, 0), |(bytes, sum), (len, entries)| (bytes + len, sum + entries));
        let body = self.encode(streams);
        let held = body.len() as u64 + held_by(&receipts);
        let charge = self.budget.charge(held, &self.wake);
        let ticket = Ticket::new(self.sequence, self.targets.len() as u32, self.inbox.clone());
        let batch = Arc::new(Batch::new(body, raw_bytes, entries, opened, ticket, charge).of_tenant(tenant));
        self.pending.push_back(Pending { sequence: self.sequence, opened, receipts, settled: false, _charge: None });
        for target in &self.targets {
            target(batch.clone());
        }
    }

    /// Joins streams of the open batch and compresses them; leaves them without entries.
    fn encode(&mut self, streams: &[u32]) -> Bytes {
        self.joined.clear();
        let mut single = None;
        for &id in streams {
            let Some(stream) = self.streams.get_mut(id as usize) else { continue };
            let mut buffer = std::mem::take(&mut stream.buffer);
            stream.entries = 0;
            let field = finish_stream(&mut buffer, &stream.labels_field);
            if streams.len() == 1 {
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
        for id in streams {
            self.drop_if_unused(*id);
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
            let key = key_of(&labels, stream.tenant.take().as_deref());
            let merged = stream.merged.take();
            if self.by_labels.remove(&key).is_some() {
                self.free.push(id);
            }
            if let Some(merged) = merged {
                self.release(StreamId(merged));
            }
        }
    }

    /// The stream with these labels, with one more user.
    fn intern(&mut self, labels: &Labels, merged: Option<&Labels>, tenant: Option<&str>) -> u32 {
        let field: Arc<[u8]> = labels_field(&labels.encoded()).into();
        let key = key_of(&field, tenant);
        if let Some(&id) = self.by_labels.get(&key) {
            if let Some(stream) = self.streams.get_mut(id as usize) {
                stream.users += 1;
            }
            return id;
        }
        let merged = merged.map(|labels| self.intern(labels, None, tenant));
        let tenant = tenant.map(Arc::from);
        let stream = Stream { labels_field: field, tenant, buffer: Vec::new(), entries: 0, users: 1, merged };
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
        self.by_labels.insert(key, id);
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

    /// Whether a stream of these entries is above the bound, where that means that lines are merged. Then all of them go there, so that a replay
    /// does the same.
    fn merges(&mut self, entries: &Entries, opened: Instant) -> bool {
        if !matches!(self.limits.streams, Some(StreamBound { policy: StreamPolicy::Merge, .. })) {
            return false;
        }
        let mut last = None;
        entries.list.iter().any(|entry| {
            if last.replace(entry.stream) == Some(entry.stream) {
                return false;
            }
            let stream = self.streams.get(entry.stream.0 as usize).filter(|stream| stream.buffer.is_empty());
            stream.is_some_and(|stream| self.places.refuses(&stream.labels_field, opened).is_some())
        })
    }

    /// Appends an entry to a stream.
    fn append(&mut self, id: u32, entries: &Entries, entry: &EntryAt) {
        let Some(stream) = self.streams.get_mut(id as usize) else { return };
        let mut before = stream.buffer.len();
        if stream.buffer.is_empty() {
            stream.buffer = self.pool.pop().unwrap_or_default();
            self.pooled_bytes -= stream.buffer.capacity();
            begin_stream(&mut stream.buffer, &stream.labels_field);
            self.active.push(id);
            before = 0;
        }
        let text = |span: Span| entries.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        let range = entry.metadata.start as usize..entry.metadata.end as usize;
        let metadata = entries.metadata.get(range).unwrap_or_default();
        let pairs = metadata.iter().map(|(name, value)| (text(*name), text(*value)));
        append_entry_with(&mut stream.buffer, text(entry.line), entry.time_ns, pairs);
        stream.entries += 1;
        self.raw_bytes += stream.buffer.len() - before;
        self.entries += 1;
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

/// What a stream is found by.
fn key_of(labels_field: &Arc<[u8]>, tenant: Option<&str>) -> Arc<[u8]> {
    match tenant {
        None => Arc::clone(labels_field),
        // The field says how long the labels are: no two pairs give the same bytes.
        Some(tenant) => [labels_field, tenant.as_bytes()].concat().into(),
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
    fn stream(&mut self, labels: &Labels, merged: &Labels, tenant: Option<&str>) -> StreamId {
        StreamId(self.intern(labels, Some(merged), tenant))
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
        stream.entries += chunk.lines.len() as u32;
        let before = stream.buffer.len();
        append_entries(&mut stream.buffer, chunk.bytes, chunk.lines, chunk.receipt.time_ns);
        self.raw_bytes += stream.buffer.len() - before;
        self.entries += chunk.lines.len() as u32;
        if self.raw_bytes >= self.limits.bytes {
            self.seal(ledger);
        }
    }

    fn write_entries(&mut self, entries: &Entries, receipts: &[Receipt], replayed: bool, ledger: &mut dyn Ledger) {
        let opened = *self.opened.get_or_insert_with(Instant::now);
        let is_merged = match receipts.first() {
            Some(receipt) if replayed => receipt.merged,
            _ => self.merges(entries, opened),
        };
        self.receipts.extend(receipts.iter().map(|receipt| Receipt { merged: is_merged, ..*receipt }));
        if is_merged && !replayed {
            self.places.merged(entries.list.len() as u64);
        }
        for entry in &entries.list {
            let Some(stream) = self.streams.get(entry.stream.0 as usize) else { continue };
            let mut id = entry.stream.0;
            if is_merged {
                id = stream.merged.unwrap_or(id);
            } else if stream.buffer.is_empty() {
                if replayed {
                    self.places.take(&stream.labels_field, opened);
                } else if self.places.refuses(&stream.labels_field, opened).is_some() {
                    self.places.dropped(1, u64::from(entry.line.end.saturating_sub(entry.line.start)));
                    continue;
                }
            }
            if self.entries > 0 && self.raw_bytes + entries.bytes_of(entry) > self.limits.bytes {
                self.send_part(ledger);
            }
            self.append(id, entries, entry);
        }
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
