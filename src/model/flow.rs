//! How a source hands on what it reads, and how it hears of it again.
//!
//! A source calls [`Output::write`] with a chunk at a time. The output encodes it at once: nothing of the chunk is kept but its
//! receipt. When a batch is sealed the output shows its receipts to the source's [`Ledger`] *before* anything is sent
//! ([`Ledger::intend`]), and again when every endpoint has stored it, in the order of reading ([`Ledger::commit`]).
//!
//! Promises: receipts of one output are committed in the order in which they were written, without gaps.

use crate::base::limits::MEMORY_STREAMS;
use crate::model::labels::Labels;
use std::time::{Duration, Instant};

/// A line's place in a chunk's buffer: from `start` up to `end`, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A stream of an output, made by [`Output::stream`]. Valid for that output only, until released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

/// What a pipeline knows at a place of a file from the lines before it, though no entry waits there. Of a fixed size, since it is written down
/// with each chunk that is sent; what was used longest ago is forgotten for something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The last one first: a checksum of a stage and a stream, and a time, nanoseconds since 1970. Checksums of unused places are 0.
    known: [(u32, i64); MEMORY_STREAMS],
    /// What may still come of a private key; 0 if none is open.
    pub open_key: u8,
}

impl Memory {
    /// What is known of a stream.
    pub fn get(&self, key: u32) -> Option<i64> {
        self.iter().find(|(known, _)| *known == key).map(|(_, time_ns)| time_ns)
    }

    /// Keeps a time for a stream. A key is not 0.
    pub fn set(&mut self, key: u32, time_ns: i64) {
        let count = self.known.iter().take_while(|(known, _)| *known != key && *known != 0).count();
        if let Some(recent) = self.known.get_mut(..MEMORY_STREAMS.min(count + 1)) {
            recent.rotate_right(1);
        }
        if let Some(first) = self.known.first_mut() {
            *first = (key, time_ns);
        }
    }

    /// All that is known, the last one first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i64)> {
        self.known.iter().copied().take_while(|(key, _)| *key != 0)
    }
}

/// What has to be known of a chunk beside its range and time, so that a pipeline that gets it again makes the same entries of it. Without a pipeline
/// that puts lines aside there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Note {
    /// No lines: at this place and time entries that waited for further lines were sent without.
    pub released: bool,
    /// With `released`: all of them, also those that would have waited on.
    pub all: bool,
    /// What lies in the chunk was there when the one before it was read: what waits for further lines waited on.
    pub goes_on: bool,
    /// What was known before its first line.
    pub memory: Memory,
}

/// The range of a cursor that a chunk covers, and what makes its entries' timestamps a function of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Which cursor; the source's own number for it.
    pub cursor: u32,
    /// Incremented when the cursor starts again (a truncated file); older receipts then no longer move it.
    pub generation: u32,
    /// Where the chunk starts, in the cursor's own unit (bytes, for a file).
    pub start: u64,
    /// Where it ends: the place to go on from.
    pub end: u64,
    /// The chunk's time, nanoseconds since 1970: line `i` is stamped `time_ns + i`.
    pub time_ns: i64,
    /// How many lines the chunk has.
    pub lines: u32,
    /// How far the cursor may move when the chunk is stored. Before `end`, where entries that began there wait for further lines.
    pub safe: u64,
    /// What the source needs to recognise the place `safe` again (for a file, a checksum of the bytes before it).
    pub mark: u32,
    /// For a pipeline.
    pub note: Note,
    /// Its lines are in the source's merged stream, as there were too many streams. The output says so, and of what was sent before
    /// the source.
    pub merged: bool,
}

/// When an output seals a batch, and how many streams it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed size of a batch, bytes. One chunk may come on top.
    pub bytes: usize,
    /// Age of its first entry.
    pub wait: Duration,
    /// Bound of streams; `None`: as many as there are.
    pub streams: Option<StreamBound>,
}

/// A bound of the streams that an endpoint has at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamBound {
    /// So many streams, not 0. Merged streams, one a source at most, come on top.
    pub max: usize,
    /// What to do with the lines of further ones.
    pub policy: StreamPolicy,
}

/// What to do with the lines of a stream above the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamPolicy {
    /// They go into one stream a source.
    #[default]
    Merge,
    /// They are not sent, and counted.
    Drop,
}

/// One read's worth of complete lines.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// The bytes read. Valid UTF-8 within each span.
    pub bytes: &'a [u8],
    /// The lines, in order.
    pub lines: &'a [Span],
    /// The stream that the lines belong to.
    pub stream: StreamId,
    /// The same lines were sent before under the same time. They go to the stream that they were sent to, whatever the bounds are now: its
    /// own one, or the merged one if the receipt says so.
    pub replayed: bool,
    /// What the chunk covers.
    pub receipt: Receipt,
}

/// One entry of [`Entries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryAt {
    /// Its stream.
    pub stream: StreamId,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
    /// Its text.
    pub line: Span,
    /// Its structured metadata: from and up to this place of [`Entries::metadata`].
    pub metadata: Span,
}

/// Entries that a pipeline made of lines. Recycled: clearing keeps the memory.
#[derive(Debug, Default)]
pub struct Entries {
    /// What spans refer to: valid UTF-8 within each.
    pub text: Vec<u8>,
    /// In the order in which they are sent.
    pub list: Vec<EntryAt>,
    /// Names and values.
    pub metadata: Vec<(Span, Span)>,
}

impl Entries {
    /// Appends a text.
    pub fn push_text(&mut self, text: &str) -> Span {
        // What is gathered is bounded far below 4 GiB.
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text.as_bytes());
        Span { start, end: self.text.len() as u32 }
    }

    /// What the texts of an entry take.
    pub fn bytes_of(&self, entry: &EntryAt) -> usize {
        let range = entry.metadata.start as usize..entry.metadata.end as usize;
        let pairs = self.metadata.get(range).unwrap_or_default();
        let len = |span: &Span| span.end.saturating_sub(span.start) as usize;
        len(&entry.line) + pairs.iter().map(|(name, value)| len(name) + len(value)).sum::<usize>()
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.text.clear();
        self.list.clear();
        self.metadata.clear();
    }
}

/// Where receipts are written down. Implemented by sources.
pub trait Ledger {
    /// These chunks are about to be sent for the first time.
    fn intend(&mut self, receipts: &[Receipt]);
    /// These chunks are stored by all endpoints: the cursors may move.
    fn commit(&mut self, receipts: &[Receipt]);
}

/// Where a source's chunks go. Implemented by the batcher of the sink floor; `agent` connects the two.
pub trait Output: Send {
    /// The stream with these labels. `merged` are those under which its lines go when there are too many streams.
    /// `tenant`: whose they are, if not the endpoint's own tenant's.
    fn stream(&mut self, labels: &Labels, merged: &Labels, tenant: Option<&str>) -> StreamId;

    /// The stream is not used by the caller any more.
    fn release(&mut self, stream: StreamId);

    /// Whether a chunk may be written now; if not, the thread's wake handle is woken when it may.
    fn has_room(&self) -> bool;

    /// Encodes a chunk; seals and sends the batch when that makes it large enough.
    fn write(&mut self, chunk: &Chunk<'_>, ledger: &mut dyn Ledger);

    /// Encodes what a pipeline made of one chunk, which may be cut into several `receipts`; seals and sends the batch when that makes it
    /// large enough, also in the midst of it. It is committed when all of it is stored. `replayed`: as in [`Chunk::replayed`].
    fn write_entries(&mut self, entries: &Entries, receipts: &[Receipt], replayed: bool, ledger: &mut dyn Ledger);

    /// Seals what is old enough, takes in what has been stored, and tells when it wants to be called again.
    fn tick(&mut self, now: Instant, ledger: &mut dyn Ledger) -> Option<Instant>;

    /// Seals what there is, however young.
    fn flush(&mut self, ledger: &mut dyn Ledger);

    /// Changes when it seals, and the bound of streams. Holds from the next chunk on; streams that have a place keep it.
    fn set_limits(&mut self, limits: Limits);

    /// Whether everything written has been committed.
    fn is_settled(&self) -> bool;

    /// When the oldest entry that is not yet committed was written.
    fn oldest(&self) -> Option<Instant>;
}
