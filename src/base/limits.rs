//! Every bound of the agent, by name and with its unit, in one place.
//!
//! A bound that users may change is here as its default and its permitted range; the others are fixed. Units come last
//! in a name. Where a number comes from somebody else's limits, the comment says whose.

/// Bytes asked of a file in one read: large enough that the system call vanishes against compression, small enough
/// that one file does not hold up the others.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// Lines in a chunk. Bounds the index, and the growth when lines are tiny (an entry costs up to 24 bytes beside its text).
pub const CHUNK_LINES: usize = 16 * 1024;

/// Default cap of a line, which is also what a default Loki takes (`max_line_size`, 256 KB).
pub const LINE_BYTES_DEFAULT: usize = 256 * 1024;
/// Smallest cap that leaves room for the truncation mark.
pub const LINE_BYTES_MIN: usize = 256;
/// Largest cap: a line has to fit into a batch.
pub const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A run of NUL bytes at least this long is a hole or a damaged block, not data: it is replaced by a mark.
pub const NUL_RUN_BYTES: usize = 16;

/// Uncompressed size at which a batch is sealed.
pub const BATCH_BYTES_DEFAULT: usize = 1024 * 1024;
/// A batch below this would be all overhead.
pub const BATCH_BYTES_MIN: usize = 16 * 1024;
/// Loki's gRPC message limit is 4 MiB; one chunk may still come on top of a batch that is just below its size.
pub const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// No request is ever larger than this, uncompressed: larger batches are split before they are sent.
pub const REQUEST_BYTES_MAX: usize = 3_500_000;
/// Age at which a batch is sealed, milliseconds.
pub const BATCH_WAIT_MS_DEFAULT: u64 = 500;
/// Largest configurable batch age, milliseconds.
pub const BATCH_WAIT_MS_MAX: u64 = 60_000;

/// Default bound of the process's memory.
pub const MEMORY_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Below this the agent could not hold one batch and its compressed form beside its own needs.
pub const MEMORY_BYTES_MIN: u64 = 24 * 1024 * 1024;
/// Above this the bound is surely a mistake of units.
pub const MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Share of the memory bound that sealed batches in flight may take: 1/4. The rest is code, buffers being filled,
/// the HTTP client and the allocator's slack.
pub const IN_FLIGHT_SHARE: u64 = 4;

/// Time a request may take from connect to the last byte of the answer, milliseconds.
pub const REQUEST_TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// First pause after a failed request, milliseconds.
pub const BACKOFF_MIN_MS_DEFAULT: u64 = 500;
/// Longest pause between attempts, milliseconds.
pub const BACKOFF_MAX_MS_DEFAULT: u64 = 60_000;
/// Longest pause that an endpoint's `Retry-After` may ask for, milliseconds.
pub const RETRY_AFTER_MS_MAX: u64 = 600_000;
/// A learned limit of an endpoint's request size does not go below this, uncompressed bytes; and a request of at most this size on
/// the wire is not divided because of a bad line.
pub const DIVIDED_REQUEST_BYTES_MIN: usize = 64 * 1024;
/// How long an endpoint's learned request size limit is believed, milliseconds.
pub const REQUEST_LIMIT_KEEP_MS: u64 = 600_000;
/// A single entry of at most this size that is refused as too large says something of the endpoint, not of the entry.
pub const SURELY_SMALL_BYTES: usize = 4 * 1024;
/// Single entries that are tried when an endpoint refuses everything for a reason that is not known, before it is left alone.
pub const PROBED_ENTRIES: usize = 16;
/// After this many rate-limited attempts in a row a request is divided: it may be above the endpoint's burst.
pub const RATE_LIMITED_ATTEMPTS: u32 = 4;
/// After this many attempts that timed out or broke off a request is divided, unless it is small.
pub const BROKEN_ATTEMPTS: u32 = 4;
/// An idle connection to an endpoint is closed after this, milliseconds: before servers and proxies close it on their side,
/// which would cost an attempt.
pub const CONNECTION_IDLE_MS: u64 = 30_000;
/// Refusals for good, and failures that come and go, are reported in the log at most this often for an endpoint, milliseconds.
pub const ENDPOINT_REPORT_MS: u64 = 60_000;
/// A push request has at most one message (stream, entry, pair, timestamp) for so many bytes; real ones have far fewer. Bounds what
/// decoding allocates.
pub const PUSH_BYTES_A_MESSAGE_MIN: usize = 4;
/// How much of an endpoint's error text is read and kept.
pub const ERROR_BODY_BYTES: usize = 16 * 1024;
/// How much of an endpoint's error text goes into a message.
pub const ERROR_TEXT_BYTES: usize = 400;

/// Bound of the dead-letter file; when it is reached the oldest half goes.
pub const DEAD_LETTER_BYTES: u64 = 16 * 1024 * 1024;

/// Labels of a stream that a default Loki takes (`max_label_names_per_series`).
pub const LABELS_MAX: usize = 15;
/// Longest label name that a default Loki takes, bytes.
pub const LABEL_NAME_BYTES: usize = 1024;
/// Longest label value that a default Loki takes, bytes.
pub const LABEL_VALUE_BYTES: usize = 2048;

/// Time the agent takes to stop at the most, milliseconds. What is not acknowledged by then is read again.
pub const STOP_MS: u64 = 4_500;
/// A drain of gathered wake-ups happens at most this often, milliseconds: appends in between gather.
pub const PACE_MS: u64 = 10;
/// The safety sweep over all watched directories, milliseconds.
pub const SWEEP_MS: u64 = 10_000;
/// A rotated or deleted file is finished when it was quiet for this long, milliseconds.
pub const QUIET_MS: u64 = 5_000;
/// A file without a name whose writers cannot be told is let go after being quiet for this long, milliseconds.
pub const UNLINKED_QUIET_MS: u64 = 300_000;
/// A file error is tried again after this long at first, milliseconds; then doubling up to the sweep's multiple.
pub const FILE_RETRY_MS: u64 = 1_000;
/// Longest pause between attempts at an unreadable file, milliseconds.
pub const FILE_RETRY_MS_MAX: u64 = 60_000;
/// Descriptors kept open for idle files; files with unread bytes are open regardless.
pub const IDLE_DESCRIPTORS: usize = 256;
/// Bytes at a file's head that belong to its identity.
pub const HEAD_BYTES: usize = 256;
/// Bytes just before the offset that belong to a file's identity.
pub const TAIL_BYTES: usize = 64;
/// A checkpoint whose file has not been seen for this long is forgotten, seconds.
pub const CHECKPOINT_KEEP_S: i64 = 14 * 24 * 3600;
/// The checkpoint journal is compacted when it has grown to this and to four times the snapshot.
pub const JOURNAL_BYTES: u64 = 1024 * 1024;
/// The checkpoint journal reaches the disk at the latest after this, milliseconds.
pub const JOURNAL_SYNC_MS: u64 = 1_000;
/// The clock may be this far behind the last chunk's time before the agent follows it back, nanoseconds. Loki refuses
/// entries more than 10 minutes ahead, so running on without limit would lose them.
pub const CLOCK_AHEAD_NS: i64 = 300 * 1_000_000_000;

/// Entries that the embedded receiver keeps.
pub const RECEIVER_ENTRIES: usize = 2_000;
/// Bytes that the embedded receiver keeps.
pub const RECEIVER_BYTES: usize = 4 * 1024 * 1024;
/// Largest request body that the embedded receiver reads.
pub const RECEIVER_BODY_BYTES: usize = 8 * 1024 * 1024;
