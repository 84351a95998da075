//! Every bound of the agent, by name and with its unit, in one place.
//!
//! A bound that users may change is here as its default and its permitted range; the others are fixed. Units come last
//! in a name. Where a number comes from somebody else's limits, the comment says whose.

mod metrics;

pub use metrics::*;

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
/// Smallest configurable batch age, milliseconds: below it nearly every line would be a request of its own.
pub const BATCH_WAIT_MS_MIN: u64 = 10;
/// Largest configurable batch age, milliseconds.
pub const BATCH_WAIT_MS_MAX: u64 = 60_000;

/// Most lines a second that a rate can be set to; more is no bound.
pub const RATE_LINES_MAX: u64 = 1_000_000_000;
/// Fewest bytes a second that a rate can be set to.
pub const RATE_BYTES_MIN: u64 = 1024;
/// Most bytes a second that a rate can be set to.
pub const RATE_BYTES_MAX: u64 = 1 << 40;
/// So much time's worth may come at once, milliseconds.
pub const RATE_BURST_MS_DEFAULT: u64 = 1_000;
/// Range of it, milliseconds.
pub const RATE_BURST_MS: (u64, u64) = (100, 3_600_000);

/// Default bound of the process's memory.
pub const MEMORY_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Below this the agent could not hold one batch and its compressed form beside its own needs.
pub const MEMORY_BYTES_MIN: u64 = 24 * 1024 * 1024;
/// Above this the bound is surely a mistake of units.
pub const MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Share of the memory bound that sealed batches in flight may take: 1/4. The rest is code, buffers being filled,
/// the HTTP client and the allocator's slack.
pub const IN_FLIGHT_SHARE: u64 = 4;

/// Share of the memory bound that a batch may take before it is compressed, whatever is configured: 1/16.
pub const BATCH_SHARE: u64 = 16;

/// Time a request may take from connect to the last byte of the answer, milliseconds.
pub const REQUEST_TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// Smallest configurable request time, milliseconds: below it a healthy endpoint far away would never be in time.
pub const REQUEST_TIMEOUT_MS_MIN: u64 = 100;
/// Largest configurable request time, milliseconds.
pub const REQUEST_TIMEOUT_MS_MAX: u64 = 600_000;
/// First pause after a failed request, milliseconds.
pub const BACKOFF_MIN_MS_DEFAULT: u64 = 500;
/// Longest pause between attempts, milliseconds.
pub const BACKOFF_MAX_MS_DEFAULT: u64 = 60_000;
/// Smallest configurable pause between attempts, milliseconds: below it a failing endpoint would be hammered.
pub const BACKOFF_MS_MIN: u64 = 10;
/// Largest configurable pause between attempts, milliseconds: an endpoint that is back should not wait longer.
pub const BACKOFF_MS_MAX: u64 = 3_600_000;
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
/// An endpoint that has been away for so long is a note of /ready, milliseconds: shorter outages are restarts.
pub const ENDPOINT_NOTE_MS: i64 = 60_000;
/// A push request has at most one message (stream, entry, pair, timestamp) for so many bytes; real ones have far fewer. Bounds what
/// decoding allocates.
pub const PUSH_BYTES_A_MESSAGE_MIN: usize = 4;
/// How much of an endpoint's error text is read and kept.
pub const ERROR_BODY_BYTES: usize = 16 * 1024;
/// How much of an endpoint's error text goes into a message.
pub const ERROR_TEXT_BYTES: usize = 400;

/// Bound of the dead-letter file; when it is reached the oldest half goes.
pub const DEAD_LETTER_BYTES: u64 = 16 * 1024 * 1024;
/// How long writing dead letters waits for a command that is changing their files, milliseconds. A slow disk may need some time for that; a
/// command that was stopped there needs for ever.
pub const DEAD_LETTER_LOCK_MS: u64 = 2_000;
/// After it has waited in vain it waits for no more than this part of the time that has passed since then: 1/20.
pub const DEAD_LETTER_LOCK_SHARE: u32 = 20;
/// Longest line of that file: one entry of [`LINE_BYTES_MAX`] in base64, with its labels and metadata.
pub const LETTER_BYTES: usize = 4 * 1024 * 1024;
/// Attempts to re-send dead letters before they are left alone: a person waits for it.
pub const RESEND_ATTEMPTS: u32 = 5;
/// What was re-sent is taken out of the file at least this often, milliseconds; also at the end and when it is interrupted.
pub const RESEND_SAVE_MS: u64 = 1_000;

/// For so long after its last line a stream counts as one that Loki has, milliseconds: a default Loki's `chunk_idle_period` of 30 minutes, and
/// a minute until it comes around to writing the chunk down.
pub const STREAM_ACTIVE_MS: u64 = 31 * 60_000;
/// Most streams that a bound can be set to; more is no bound.
pub const STREAMS_MAX: u64 = 1_000_000;

/// Labels of a stream that a default Loki takes (`max_label_names_per_series`).
pub const LABELS_MAX: usize = 15;
/// Longest label name that a default Loki takes, bytes.
pub const LABEL_NAME_BYTES: usize = 1024;
/// Longest label value that a default Loki takes, bytes.
pub const LABEL_VALUE_BYTES: usize = 2048;
/// Range of the count of labels that can be set; one of them is `filename`.
pub const LABELS_RANGE: (u64, u64) = (1, 100);
/// Range of the length of a label name that can be set, bytes: what the agent adds itself has to fit.
pub const LABEL_NAME_RANGE: (u64, u64) = (16, 64 * 1024);
/// Range of the length of a label value that can be set, bytes.
pub const LABEL_VALUE_RANGE: (u64, u64) = (16, 64 * 1024);

/// Time that what is in flight gets to be stored when the agent stops, milliseconds. What is not stored by then is read again.
pub const DRAIN_MS: u64 = 3_500;
/// How long an endpoint that a reload removes may go on to send what it has in memory, ms. The rest goes to its spool.
pub const REMOVED_DRAIN_MS: u64 = 1_000;
/// How long that may take, ms; and how long a spool's directory is waited for that an endpoint with the same name had.
pub const REMOVED_SPILL_MS: u64 = 2_000;
/// Time that a request under way gets after that, milliseconds. Together with the drain below the 5 s in which the agent ends.
pub const SENDER_STOP_MS: u64 = 500;
/// A drain of gathered wake-ups happens at most this often, milliseconds: appends in between gather.
pub const PACE_MS: u64 = 10;
/// The safety sweep over all watched directories, milliseconds.
pub const SWEEP_MS: u64 = 10_000;
/// A rotated or deleted file is finished when it was quiet for this long, milliseconds.
pub const QUIET_MS: u64 = 5_000;
/// A file without a name whose writers cannot be told is let go after being quiet for this long, milliseconds.
pub const UNLINKED_QUIET_MS: u64 = 300_000;
/// What a compressed file may decompress to, bytes: more is not looked at for the rest of a file that was compressed while lugger was down.
pub const TWIN_BYTES: u64 = 1024 * 1024 * 1024;
/// Looks at a log and its earlier generations for one at which nothing has moved since the one before.
pub const EARLIER_LOOKS: usize = 100;
/// A file error is tried again after this long at first, milliseconds; then doubling up to the sweep's multiple.
pub const FILE_RETRY_MS: u64 = 1_000;
/// Longest pause between attempts at an unreadable file, milliseconds.
pub const FILE_RETRY_MS_MAX: u64 = 60_000;
/// Components of the longest path of a directory that patterns lead into. Directories below it are not followed: they are a mistake,
/// and the kernel takes no longer paths than a few thousand.
pub const DIRECTORY_DEPTH: usize = 256;
/// Descriptors kept open for idle files, or a quarter of those that the process may have, if that is less; files with unread bytes are open
/// regardless.
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
/// Records of new cursors are gathered up to this before they are written, bytes.
pub const JOURNAL_BUFFER_BYTES: usize = 64 * 1024;
/// Longest pause between attempts to write checkpoints to a disk that is full, milliseconds.
pub const CHECKPOINT_RETRY_MS: u64 = 30_000;
/// A spool's segment is at most this large: what is dropped at once when the oldest must go, and what is read at most at a start.
pub const SPOOL_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// A small spool has at least so many segments, so that dropping one leaves most of it.
pub const SPOOL_SEGMENTS: u64 = 8;
/// No segment is made smaller than this for that.
pub const SPOOL_SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// Largest payload of a spool's frame: a request of [`REQUEST_BYTES_MAX`] that does not compress, which snappy makes a sixth larger.
pub const SPOOL_FRAME_BYTES: usize = 4 * 1024 * 1024 + 256 * 1024;
/// Buffer with which the next good frame is searched behind damage.
pub const SPOOL_SCAN_BYTES: usize = 64 * 1024;
/// So many blocks of a segment are passed over because they cannot be read, then the rest of it is given up: each may take a
/// failing device seconds.
pub const SPOOL_UNREADABLE_BLOCKS: u32 = 16;
/// A place of a spool that cannot be read is given up after so many attempts.
pub const SPOOL_READ_ATTEMPTS: u32 = 3;
/// Records in the ring of a spool's position file. More than one a block would do.
pub const SPOOL_POSITION_SLOTS: usize = 64;
/// A spool's owner syncs it at least this often, milliseconds. What a power loss may cost.
pub const SPOOL_SYNC_MS: u64 = 1_000;
/// Default bound of all spools together, bytes.
pub const SPOOL_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;
/// Least room of one endpoint's spool, bytes: it has to take the largest frame and leave room for others.
pub const SPOOL_ENDPOINT_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// Above this the bound is surely a mistake of units.
pub const SPOOL_BYTES_MAX: u64 = 1024 * 1024 * 1024 * 1024;
/// Default age at which a spooled request is given up, milliseconds: the age of lines that a default Loki still takes.
pub const SPOOL_AGE_MS_DEFAULT: u64 = 7 * 24 * 3600 * 1000;
/// Smallest configurable age of spooled requests, milliseconds: below it an outage of a moment would cost lines.
pub const SPOOL_AGE_MS_MIN: u64 = 60_000;
/// Largest configurable age of spooled requests, milliseconds.
pub const SPOOL_AGE_MS_MAX: u64 = 365 * 24 * 3600 * 1000;
/// A file of an inlet is rotated at this size: what is dropped at once when the oldest must go.
pub const INLET_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// A small inlet has at least so many files, so that dropping one leaves most of it.
pub const INLET_FILES: u64 = 16;
/// A receiver is not ready until it has had room in its inlet for so long, seconds: who is refused comes again within that time.
pub const RECEIVE_FULL_S: u64 = 15;
/// Of an inlet whose oldest gives way, its reader has at most one part in so many on its way to the endpoints, and what it reads at once beside that. Their
/// files stay until they are stored, and there have to be others that can give way.
pub const INLET_AHEAD_PART: u64 = 4;
/// A small inlet's files are not smaller than this.
pub const INLET_FILE_BYTES_MIN: u64 = 64 * 1024;
/// What the disk does not take is held in memory up to this, bytes; the first piece is held whatever its size.
pub const INLET_HELD_BYTES: usize = 1024 * 1024;
/// Bytes that are read at once where an inlet's records are counted or its last newline is looked for.
pub const INLET_SCAN_BYTES: usize = 64 * 1024;
/// Default of `queue`, the bytes of an inlet, and what may be configured.
pub const QUEUE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Smallest and largest `queue`, bytes.
pub const QUEUE_BYTES_RANGE: (u64, u64) = (1024 * 1024, 64 * 1024 * 1024 * 1024);
/// Asked of the kernel for the buffer of a socket of datagrams, bytes. It uses no memory until datagrams wait. Without privileges the kernel gives
/// no more than `net.core.rmem_max`.
pub const RECEIVE_BUFFER_BYTES: usize = 32 * 1024 * 1024;
/// Records that are appended to an inlet at once, bytes; one may come on top.
pub const RECEIVE_CHUNK_BYTES: usize = 256 * 1024;
/// What datagrams may gather in memory while an inlet is being synced, bytes.
pub const RECEIVE_GATHERED_BYTES: usize = 4 * 1024 * 1024;
/// Bytes read of stdin at once, and of a datagram, which is never larger.
pub const RECEIVE_READ_BYTES: usize = 64 * 1024;
/// Bytes read from a connection at once.
pub const RECEIVE_STREAM_BYTES: usize = 32 * 1024;
/// How long datagrams are taken before others of the thread have their turn, milliseconds.
pub const RECEIVE_TURN_MS: u64 = 5;
/// Datagrams between two looks at the clock.
pub const RECEIVE_TURN_LOOK: usize = 16;
/// Connections of one source that sends a stream; further ones wait in the kernel's queue.
pub const RECEIVE_CONNECTIONS: usize = 256;
/// How long an inlet that is being synced is waited for before it is asked again, milliseconds.
pub const RECEIVE_SYNC_MS: u64 = 2;
/// How long a full inlet is waited for before it is asked again, milliseconds.
pub const RECEIVE_WAIT_MS: u64 = 20;
/// An inlet that nothing was written to for so long gives its room back when it is delivered, milliseconds.
pub const INLET_REST_MS: u64 = 10_000;
/// How often the kernel is asked what it dropped of a socket that receives, and how often an inlet is synced that is written to, milliseconds.
pub const RECEIVE_LOOK_MS: u64 = 1_000;
/// How often it is looked whether all of a stdin that has ended is stored, milliseconds.
pub const END_LOOK_MS: u64 = 50;
/// Time that receivers get to take what the kernel has when they stop, milliseconds.
pub const RECEIVE_STOP_MS: u64 = 500;
/// How long a receiver that stops takes what goes on coming, milliseconds: less than [`RECEIVE_STOP_MS`].
pub const RECEIVE_LAST_MS: u64 = 250;
/// Where a disk is full when a receiver stops, what is in memory waits for room so long, milliseconds: what is delivered meanwhile gives some. Twice,
/// before and after it is held, and together less than [`RECEIVE_END_MS`].
pub const RECEIVE_ROOM_MS: u64 = 600;
/// Time that receivers get to end, all of them together, milliseconds. It is more than [`HTTP_STOP_MS`].
pub const RECEIVE_END_MS: u64 = 1_500;
/// Bytes of messages that have begun and not ended, of all connections of a source. Above it those that hold more than their share are closed. Of records
/// that wait for room in the inlet they may have as much before they cut no further ones.
pub const RECEIVE_UNFINISHED_BYTES: usize = 16 * 1024 * 1024;
/// What happens again and again to a receiver's connections is told at most this often, seconds.
pub const RECEIVE_REPORT_S: u64 = 60;
/// Time for a TLS handshake, milliseconds.
pub const TLS_HANDSHAKE_MS: u64 = 10_000;
/// Longest path of a unix socket, bytes: what the kernel takes, without the NUL.
pub const UNIX_PATH_BYTES: usize = 107;
/// Default of `idle_timeout`, milliseconds; it is Promtail's.
pub const IDLE_TIMEOUT_MS_DEFAULT: u64 = 120_000;
/// Smallest and largest `idle_timeout`, milliseconds.
pub const IDLE_TIMEOUT_MS_RANGE: (u64, u64) = (1_000, 30 * 24 * 3600 * 1000);
/// How long a connection is quiet before the kernel asks whether the other side is there, seconds.
pub const KEEPALIVE_S: u64 = 60;
/// Smallest `max_message_length`, bytes. The largest is `limits.line`.
pub const MESSAGE_BYTES_MIN: u64 = 256;
/// Default of `max_send_msg_size`, the bytes of a push, and what may be configured.
pub const PUSH_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Smallest and largest `max_send_msg_size`, bytes.
pub const PUSH_BYTES_RANGE: (u64, u64) = (64 * 1024, 100 * 1024 * 1024);
/// Entries of a push.
pub const PUSH_ENTRIES: usize = 250_000;
/// Streams, entries and pairs of metadata of a push in protobuf, which takes up to a hundred bytes of memory for each.
pub const PUSH_MESSAGES: usize = 2 * PUSH_ENTRIES;
/// Bytes of a push as records, each with the labels of its stream, in times its largest body; at least [`PUSH_RECORDS_BYTES_MIN`].
pub const PUSH_RECORDS: usize = 2;
/// See [`PUSH_RECORDS`].
pub const PUSH_RECORDS_BYTES_MIN: usize = 4 * 1024 * 1024;
/// How long a push waits until others are decoded, milliseconds.
pub const PUSH_TURN_MS: u64 = 10_000;
/// Bodies of pushes that are read or wait take this part of `limits.memory` at most, all of them together; so a larger one is refused.
pub const PUSH_BODIES_SHARE: u64 = 8;
/// A body of so many bytes at most is small: those have room of their own, beside that of [`PUSH_BODIES_SHARE`], so that none waits for large ones.
pub const PUSH_SMALL_BYTES: usize = 256 * 1024;
/// That room is this part of `limits.memory`.
pub const PUSH_SMALL_SHARE: u64 = 32;
/// Who sends a body more slowly than this, bytes a second, gives way if others wait for room: the largest that the default takes is there in half a minute.
pub const PUSH_PACE_BYTES: usize = 256 * 1024;
/// After how long that counts, milliseconds.
pub const PUSH_PACE_MS: u64 = 1_000;
/// A body that is too large is passed over before that is told, until nothing comes for so long, milliseconds.
pub const PUSH_DRAIN_MS: u64 = 500;
/// What one push is decoded to takes this part of `limits.memory` at most; one at a time is decoded. With the share of bodies, that of batches under way
/// (a quarter) and what lugger takes by itself it stays below the whole.
pub const PUSH_DECODED_SHARE: u64 = 5;
/// What a stream, an entry or a pair of metadata takes of memory when a push in protobuf is decoded, beside its text, bytes.
pub const PUSH_MESSAGE_BYTES: usize = 100;
/// How long a push waits for a disk that takes nothing before it is refused, milliseconds.
pub const PUSH_HELD_MS: u64 = 5_000;
/// What a push that finds no room is told to wait, seconds.
pub const PUSH_RETRY_S: u64 = 2;
/// Labels and metadata of one received entry, bytes; an entry with more is refused.
pub const RECORD_PAIRS_BYTES: usize = 64 * 1024;
/// Sets of labels of received entries that are remembered for a source.
pub const RECORD_KINDS: usize = 1024;
/// A batch that another endpoint has stored goes to the spool when it waits this long, even if there is room in memory, milliseconds.
pub const SPILL_AGE_MS: u64 = 30_000;
/// Where memory is short, at least this share of it has to become free for a sync of the spool: 1/16.
pub const SPILL_SHARE: u64 = 16;
/// Written to a spool for one sync, bytes; one batch may come on top.
pub const SPILL_BYTES: u64 = 16 * 1024 * 1024;
/// Pause after a spool did not take a batch or did not give a frame, milliseconds.
pub const SPILL_RETRY_MS: u64 = 500;
/// A damaged record is believed to be of the time that it says if that is so long ago at most, nanoseconds: Loki takes a week.
pub const DAMAGED_AGE_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// What is found, lost or fails in a spool or an inlet is reported at most this often for each reason, seconds.
pub const REPORT_S: i64 = 60;
/// The clock may be this far behind the last chunk's time before the agent follows it back, nanoseconds. Loki refuses
/// entries more than 10 minutes ahead, so running on without limit would lose them.
pub const CLOCK_AHEAD_NS: i64 = 300 * 1_000_000_000;

/// Entries that the embedded receiver keeps.
pub const RECEIVER_ENTRIES: usize = 2_000;
/// Bytes that the embedded receiver keeps.
pub const RECEIVER_BYTES: usize = 4 * 1024 * 1024;
/// Largest request body that the embedded receiver reads.
pub const RECEIVER_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Largest push that the embedded receiver takes, after decompression (Loki's own gRPC limit is 4 MiB).
pub const RECEIVER_DECODED_BYTES: usize = 4 * 1024 * 1024;
/// Entries in one push that the embedded receiver takes: a decoded entry costs some 80 bytes beside its text.
pub const RECEIVER_PUSH_ENTRIES: usize = 250_000;
/// Bytes of bodies that the embedded receiver is reading at the same time, all clients together; what would need more gets a 503.
pub const RECEIVER_PENDING_BYTES: usize = 32 * 1024 * 1024;
/// How much of a line the embedded receiver keeps for its page.
pub const RECEIVER_LINE_BYTES: usize = 16 * 1024;
/// Streams that the embedded receiver tells apart when it counts them (8 bytes each).
pub const RECEIVER_STREAMS: usize = 5_000;
/// Entries in one answer to the receiver's page.
pub const RECEIVER_TAIL_ENTRIES: usize = 500;
/// Bytes of text in one answer to the receiver's page.
pub const RECEIVER_TAIL_BYTES: usize = 1024 * 1024;
/// Time a request's body may take to come in, milliseconds.
pub const HTTP_BODY_MS: u64 = 30_000;

/// Connections that a server of ours holds at the same time; further ones wait in the kernel's queue.
pub const HTTP_CONNECTIONS: usize = 64;
/// Time a client may take for the head of a request, milliseconds. An idle connection is closed after it as well.
pub const HTTP_HEAD_MS: u64 = 15_000;
/// Bytes that the head of a request may have.
pub const HTTP_HEAD_BYTES: usize = 16 * 1024;
/// Time a client may take nothing of an answer before its connection is cut, milliseconds.
pub const HTTP_STALL_MS: u64 = 15_000;
/// Time that requests get to finish when a server stops, milliseconds.
pub const HTTP_STOP_MS: u64 = 1_000;
/// How often it is told at most that there is no room for further connections, milliseconds.
pub const HTTP_REPORT_MS: u64 = 60_000;
/// Pause after the system refused a connection (no descriptors left), milliseconds.
pub const HTTP_ACCEPT_PAUSE_MS: u64 = 200;

/// Length of the window in which repeated messages are counted, milliseconds.
pub const LOG_WINDOW_MS: u64 = 10_000;
/// Equal messages that are written within a window; the others are summed up at its end.
pub const LOG_REPEATS: u64 = 5;
/// Messages whose repetition is watched at the same time.
pub const LOG_KEYS: usize = 256;
/// Bytes of one message or of one of its values; what is longer is cut.
pub const LOG_TEXT_BYTES: usize = 4 * 1024;
/// Messages that wait for a slow stderr; further ones are counted and dropped, so that the agent never waits for it.
pub const LOG_QUEUE: usize = 512;
/// Time that waiting messages get to be written when the program ends, milliseconds.
pub const LOG_FLUSH_MS: u64 = 500;

/// Log files of the host that the demo follows.
pub const DEMO_FILES: usize = 200;
/// Lines a second that the demo's sample log gets.
pub const DEMO_LINES_PER_S: u64 = 4;
/// Size at which the demo's sample log starts again in a new file.
pub const DEMO_SAMPLE_BYTES: u64 = 1024 * 1024;

/// Largest configuration file that is read. One for a thousand sources is a tenth of this.
pub const CONFIG_BYTES: usize = 4 * 1024 * 1024;
/// Values in a configuration after its aliases are expanded; long text counts once more for each [`CONFIG_NODE_BYTES`].
/// A few lines of nested aliases would otherwise fill the memory.
pub const CONFIG_NODES: usize = 100_000;
/// Text of a configuration value that counts as one more value.
pub const CONFIG_NODE_BYTES: usize = 64;
/// Lists and maps inside each other in a configuration. The deepest one that means anything has six.
pub const CONFIG_DEPTH: usize = 64;
/// Problems of a configuration that are reported at once.
pub const CONFIG_PROBLEMS: usize = 100;
/// Bytes of a file with a salt that are read.
pub const CONFIG_SALT_BYTES: u64 = 4096;
/// Largest database of addresses, bytes. It is held in memory; the largest that are sold have half of this.
#[cfg(feature = "geoip")]
pub const GEOIP_BYTES: u64 = 1024 * 1024 * 1024;
/// Records of a database of addresses whose values a stage remembers. A power of two.
#[cfg(feature = "geoip")]
pub const GEOIP_RECORDS: usize = 1024;
/// Lists and maps inside each other in a record that is read as a whole. Real ones have four; in a damaged file they may be in themselves.
#[cfg(feature = "geoip")]
pub const GEOIP_DEPTH: usize = 16;
/// Text of the values of one such record that is remembered, bytes; a longer one is made anew each time. Usual ones have 200.
#[cfg(feature = "geoip")]
pub const GEOIP_RECORD_BYTES: usize = 2048;
/// Characters of a configuration line that a report shows; of a longer one, the part around the problem.
pub const CONFIG_EXCERPT_CHARS: usize = 160;
/// Largest positions file that is taken over. One of a hundred thousand files is a third of this.
pub const POSITIONS_BYTES: usize = 64 * 1024 * 1024;
/// How long before its position was written a rotated file may have been written to last, milliseconds: Promtail writes positions every 10 s.
pub const IMPORT_MARGIN_MS: u64 = 60_000;
/// Entries of `loki` in a configuration. Each has a queue and a connection of its own.
pub const ENDPOINTS_MAX: usize = 100;
/// Longest pattern of files, bytes: Linux takes no longer path (`PATH_MAX`).
pub const PATTERN_BYTES: usize = 4096;
/// Longest name of a source or endpoint, bytes. It becomes a label of the agent's own metrics.
pub const NAME_BYTES: usize = 128;
/// Longest tenant that Loki takes, bytes.
pub const TENANT_BYTES: usize = 150;

/// Longest regular expression, bytes.
pub const EXPRESSION_BYTES: usize = 16 * 1024;
/// Memory of one compiled regular expression, bytes. The largest that are met in practice have a tenth of this.
pub const EXPRESSION_COMPILED_BYTES: usize = 2 * 1024 * 1024;
/// Memory in which a regular expression remembers what it found out while it matched, bytes; when it is used up it starts anew.
pub const EXPRESSION_CACHE_BYTES: usize = 1024 * 1024;
/// Largest count of a repetition in a regular expression (`{1000}`), as in RE2.
pub const EXPRESSION_REPEAT: u32 = 1000;
/// Groups inside each other in a regular expression. Beyond it, a parser that calls itself could run out of stack.
pub const EXPRESSION_DEPTH: usize = 200;
/// Longest selector of a `match` stage, bytes.
pub const SELECTOR_BYTES: usize = 64 * 1024;
/// Matchers and line filters of a selector.
pub const SELECTOR_PARTS: usize = 1000;
/// Longest label value that relabelling makes, bytes. Sources' own labels are far below; a rule that doubles a value again and again is not.
pub const RELABEL_VALUE_BYTES: usize = 64 * 1024;
/// Labels that relabelling may have at the same time, internal ones included.
pub const RELABEL_LABELS: usize = 1000;
/// Lines after which a private key that was begun is taken to be cut off: those of RSA with 4,096 bits are 51, those of OpenPGP about 110.
pub const REDACT_KEY_LINES: u8 = 200;

/// How many lines that look like no part of it end it before.
pub const REDACT_KEY_STRANGERS: u8 = 8;

/// Patterns of one's own in a `redact` stage.
pub const REDACT_PATTERNS: usize = 64;

/// Objects and arrays inside each other in a JSON line. What is deeper is malformed; no real line is.
pub const JSON_DEPTH: usize = 128;
/// Longest JMESPath expression, bytes. Bounds how deep its parser and evaluation recurse.
pub const JSON_EXPRESSION_BYTES: usize = 512;

/// Longest template of a stage, bytes.
pub const TEMPLATE_BYTES: usize = 64 * 1024;
/// Blocks, parentheses, pipes and fields inside each other in a template. Real ones have five.
pub const TEMPLATE_DEPTH: usize = 64;
/// Text that a template may make for one line, and any text on its way, bytes: twice what a line may be.
pub const TEMPLATE_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// Steps that a template may take for one line: nodes, calls, turns of a range; elements of lists and each 256 bytes of text count too.
pub const TEMPLATE_STEPS: u64 = 1_000_000;
/// Elements of a list or map in a template.
pub const TEMPLATE_ELEMENTS: usize = 64 * 1024;
/// Lists and maps inside each other while a template runs.
pub const TEMPLATE_VALUE_DEPTH: u16 = 64;
/// Buffers that are kept for the texts of a template, and bytes that one may keep.
pub const TEMPLATE_BUFFERS: usize = 8;
/// A larger buffer is given back to the system.
pub const TEMPLATE_BUFFER_BYTES: usize = 64 * 1024;
/// Widest field that a verb of printf may ask for, characters.
pub const TEMPLATE_WIDTH: usize = 4096;

/// Streams of a file of which a stage knows something when a line is through: their last time, or that a first line of `multiline` was there. All
/// stages of a pipeline share them; each chunk that is sent has them in its intent, 12 bytes for each that is known.
pub const MEMORY_STREAMS: usize = 8;

/// Streams of one file whose multi-line entries are gathered at the same time by one stage.
pub const MULTILINE_STREAMS: usize = 64;
/// How long the rest of a line is waited for that a container runtime divided, milliseconds.
pub const PARTIAL_WAIT_MS: u64 = 60_000;
/// Streams that are remembered for one file with a pipeline; above it they are found anew.
pub const PIPELINE_STREAMS: usize = 1000;
/// Buffers of held entries that are kept for the next ones of a file.
pub const PIPELINE_POOL: usize = 2;
/// A larger one is given back to the system, bytes.
pub const PIPELINE_POOL_BYTES: usize = 16 * 1024;
/// What may wait for further lines in all files together, bytes. Above it the files let go in which most waits.
pub const PIPELINE_HELD_BYTES: usize = 8 * 1024 * 1024;
/// Characters of a dropped line that a dry run shows.
pub const DROPPED_TEXT_CHARS: usize = 200;
/// Stages inside each other (`match` in `match`).
pub const PIPELINE_DEPTH: usize = 16;
/// Stages of one pipeline, nested ones included.
pub const PIPELINE_STAGES: usize = 2000;
/// Series of one metric of a `metrics` stage. Entries that would need more are not counted in it.
pub const PIPELINE_SERIES: usize = 10_000;
/// Text of entries that a pipeline makes of a chunk before they are handed on, bytes; one entry may come on top.
pub const PIPELINE_STAGED_BYTES: usize = 1024 * 1024;
/// Bytes of a file after which entries that wait for further lines are let go, where some wait at every place. So much is read again after a crash.
pub const PIPELINE_UNQUIET_BYTES: u64 = 8 * 1024 * 1024;

/// Longest program or process name of a syslog message, bytes. RFC 5424 has 128; a container's name is longer than RFC 3164's 32.
pub const SYSLOG_TAG_BYTES: usize = 128;
/// Longest hostname of a BSD syslog message, bytes, as in RFC 5424. A longer word is text.
pub const SYSLOG_HOST_BYTES: usize = 255;
/// Pairs of a message of `key=value` pairs that are looked at for its time and name. Fortinet has them among the first six, Sophos among the first ten.
pub const SYSLOG_PAIRS: usize = 24;
/// Longest message that an octet count on a TCP stream is believed, bytes; larger numbers are text.
pub const SYSLOG_COUNT_MAX: u64 = 9_999_999;
/// A buffer of a TCP stream that grew above this is given back when it is empty, bytes.
pub const SYSLOG_BUFFER_BYTES: usize = 64 * 1024;

/// Chunks of one GELF message, as its specification has it.
pub const GELF_CHUNKS: u8 = 128;
/// How long the rest of the chunks of a GELF message is waited for, milliseconds, as its specification has it.
pub const GELF_WAIT_MS: u64 = 5_000;
/// GELF messages that wait for chunks at the same time. Above it the oldest is given up.
pub const GELF_WAITING: usize = 256;
/// Bytes of chunks that wait at the same time. Above it the oldest message is given up.
pub const GELF_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// GELF messages that were complete, remembered so that a chunk that comes again is not taken for a new one.
pub const GELF_RECENT: usize = 64;

/// Labels of a stream, or pairs of an entry's metadata, in a push in JSON. Loki takes 15 and 128. Each is compared with all before it.
pub const PUSH_JSON_PAIRS: usize = 256;
/// Bytes of a page in which journal files are read: a hundred entries, and still small beside what is read for one entry somewhere in the middle.
pub const JOURNALD_PAGE_BYTES: usize = 32 * 1024;
/// Pages that are kept of all journal files together.
pub const JOURNALD_PAGES: usize = 16;
/// Where the system does not give a page of a journal file, it is read in blocks of this size, bytes: those of file systems.
pub const JOURNALD_BLOCK_BYTES: usize = 4 * 1024;
/// Pages of journal files that are remembered because the system does not give them.
pub const JOURNALD_HOLES: usize = 64 * 1024;
/// Data objects of journal files that are remembered because many entries share them.
pub const JOURNALD_SHARED: usize = 4096;
/// Bytes of what is remembered of them; when it is full it starts anew.
pub const JOURNALD_SHARED_BYTES: usize = 512 * 1024;
/// A data object is remembered if at least so many entries have it.
pub const JOURNALD_SHARED_ENTRIES: u64 = 4;
/// What is longer is not remembered, bytes.
pub const JOURNALD_SHARED_PAYLOAD_BYTES: usize = 2 * 1024;
/// Longest name of a journal field, bytes. Journald takes 64.
pub const JOURNALD_NAME_BYTES: usize = 256;
/// Bytes of one journal field with its name; a longer one is cut. More than [`LINE_BYTES_MAX`], so that a line is seen to be too long.
pub const JOURNALD_FIELD_BYTES: usize = LINE_BYTES_MAX + 64 * 1024;
/// Bytes of all fields of one journal entry; what would be more is left out.
pub const JOURNALD_ENTRY_BYTES: usize = 2 * JOURNALD_FIELD_BYTES;
/// Bytes of large fields that are read for one journal entry, wanted or not: a damaged list may name the same ones again and again.
pub const JOURNALD_ENTRY_WORK_BYTES: usize = 8 * JOURNALD_ENTRY_BYTES;
/// Fields of one journal entry. Journald takes 1024.
pub const JOURNALD_ITEMS: usize = 16 * 1024;
/// Largest memory that a compressed journal field may ask for, bytes.
pub const JOURNALD_WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// A buffer for journal fields that has become larger than this is given back.
pub const JOURNALD_BUFFER_BYTES: usize = 256 * 1024;
/// Entry arrays of one journal file. Each has twice the room of the one before, so that real files have thirty at most.
pub const JOURNALD_ARRAYS: usize = 1024;
/// Bytes behind damage in which the next journal entry is searched.
pub const JOURNALD_SCAN_BYTES: u64 = 64 * 1024 * 1024;

/// Journal entries are looked for so often while they come, milliseconds: journald tells of them only 250 to 500 ms later.
pub const JOURNAL_HOT_MS: u64 = 50;
/// For so long after the last entry, milliseconds.
pub const JOURNAL_HOT_FOR_MS: u64 = 2_000;
/// Then so often, milliseconds: ten looks a second cost two ten-thousandths of a core.
pub const JOURNAL_WARM_MS: u64 = 100;
/// For so long after the last entry, milliseconds. After that nobody looks until journald tells of something.
pub const JOURNAL_WARM_FOR_MS: u64 = 60_000;
/// When journald looks how much room its directory has, which it does with a message after half a minute without one, entries are looked for so much
/// later, milliseconds.
pub const JOURNAL_OPENED_MS: [u64; 5] = [10, 30, 70, 150, 300];
/// Cursors move over entries that nobody wants after this, milliseconds.
pub const JOURNAL_PASS_MS: u64 = 1_000;
/// Lines that wait for further ones go on waiting so much longer, milliseconds: entries come to light a little after their time.
pub const JOURNAL_GRACE_MS: u64 = 1_000;
/// After this time without entries buffers for journal files are given back, milliseconds.
pub const JOURNAL_IDLE_MS: u64 = 60_000;
/// A part of a journal file that the system does not give is given up after so many attempts.
pub const JOURNAL_READ_ATTEMPTS: u32 = 4;
/// Half of the pause after the first of them, milliseconds; it doubles with each, and with each part that was given up, six times at most.
pub const JOURNAL_READ_PAUSE_MS: u64 = 50;
/// Attempts to open a journal file of which numberings are held back, if the file is at fault: that takes half a minute. Where the host is, there is
/// no end to them.
pub const JOURNAL_OPEN_ATTEMPTS: u32 = 13;
/// Names that could not be read when a journal source began, and are remembered one by one; above it by their directories.
pub const JOURNAL_AWAITED: usize = 64;
/// One that goes on failing is told of so often, milliseconds.
pub const JOURNAL_TELL_MS: u64 = 60_000;
/// Entries above what one may know of are looked for again after this, milliseconds.
pub const JOURNAL_LOOK_AGAIN_MS: u64 = 10;
/// Blocks of output of `journalctl` that wait to be read, for each file that it reads, and bytes of a block.
pub const JOURNAL_TOOL_BLOCKS: usize = 4;
/// See [`JOURNAL_TOOL_BLOCKS`].
pub const JOURNAL_TOOL_BLOCK_BYTES: usize = 64 * 1024;
/// Files that `journalctl` reads at the same time for a source, each with a process; where there are more they take turns.
pub const JOURNAL_TOOLS: usize = 16;
/// Where they do, a file that was read to its end is read again after this at the earliest, milliseconds.
pub const JOURNAL_TOOL_PAUSE_MS: u64 = 1_000;
/// Where `journalctl` has failed so often in a row at one place of a file that is complete, the rest of it is passed over: that takes 15 seconds.
pub const JOURNAL_TOOL_ATTEMPTS: u32 = 5;
/// Numberings that a chunk of journal entries may be made of.
pub const JOURNAL_PARTS: usize = 64;
/// Sets of labels, and of values that they are made of, that a journal source remembers; above it they are found anew.
pub const JOURNAL_KINDS: usize = 4096;
/// Rows of numbers of journal entries that a source has cursors for. Hosts have one for each user, and begin another one now and then.
pub const JOURNAL_NUMBERINGS: usize = 4096;
/// Default age of entries that are read where nothing was read before, milliseconds.
pub const JOURNAL_AGE_MS_DEFAULT: u64 = 7 * 3600 * 1000;
/// Range of that age, milliseconds.
pub const JOURNAL_AGE_MS_RANGE: (u64, u64) = (0, 365 * 24 * 3600 * 1000);

/// A container's log waits so long for what its labels are made of, milliseconds. After that it has those that are known.
pub const DOCKER_AWAIT_MS: u64 = 5_000;
/// While Docker's API was never there, and its word on networks is needed, it waits for so much longer, milliseconds.
pub const DOCKER_DETAILS_MS: u64 = 10 * 60 * 1000;
/// Containers that a docker source knows; above it those that are gone are forgotten.
pub const DOCKER_CONTAINERS: usize = 1000;
/// What is known of a container is kept so long after it was last asked for, milliseconds: its log may still be read.
pub const DOCKER_GONE_MS: u64 = 15 * 60 * 1000;
/// Largest answer of Docker's API, bytes.
pub const DOCKER_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Longest event of Docker's API, bytes.
pub const DOCKER_EVENT_BYTES: usize = 1024 * 1024;
/// A question to Docker's API is given up after this, milliseconds.
pub const DOCKER_TIMEOUT_MS: u64 = 20_000;
/// When the configuration is read, Docker has so long to say where it keeps its containers, milliseconds.
pub const DOCKER_ROOT_MS: u64 = 2_000;
/// Pauses between attempts to reach Docker's API, milliseconds.
pub const DOCKER_RETRY_MS: (u64, u64) = (250, 5_000);
/// Pauses before a container's log is asked for again that ended while the container runs, or was refused, milliseconds.
pub const DOCKER_LOG_RETRY_MS: (u64, u64) = (500, 30_000);
/// How often the list of containers is asked for by default, milliseconds.
pub const DOCKER_REFRESH_MS_DEFAULT: u64 = 60_000;
/// Range of that, milliseconds.
pub const DOCKER_REFRESH_MS_RANGE: (u64, u64) = (1_000, 24 * 3600 * 1000);
/// Containers whose places in the API's log are kept, also when they are gone.
pub const DOCKER_PLACES: usize = 4096;
/// Steps of places are noted beside them until that takes so much, bytes; then they are noted anew.
pub const DOCKER_NOTES_BYTES: usize = 4 * 1024 * 1024;
/// Logs that are taken from Docker's API at a time, each by a connection; fewer where that is half of all descriptors. Where there are
/// more they take turns.
pub const DOCKER_LOGS: usize = 1000;
/// A log that is taken keeps its place so long at least from its first byte on, and another one waits so long for it, milliseconds: beginning anew costs a question.
pub const DOCKER_TURN_MS: u64 = 5_000;
/// One that has said nothing yet keeps its place so long, milliseconds: the daemon may have much to look through before the first byte.
pub const DOCKER_FIRST_MS: u64 = 60_000;
/// What a container says on one stream may come so much behind what it said later on the other, nanoseconds.
pub const DOCKER_REORDER_NS: i64 = 2_000_000_000;
/// Bound of an inlet for logs that Docker's API tells, bytes.
pub const DOCKER_INLET_BYTES: u64 = 64 * 1024 * 1024;
/// While such an inlet takes nothing it is tried again after this, milliseconds.
pub const DOCKER_PAUSE_MS: u64 = 100;
/// It is synced so often while lines come, milliseconds.
pub const DOCKER_SYNC_MS: u64 = 1_000;
/// Who listens to Docker has so long to end, milliseconds.
pub const DOCKER_STOP_MS: u64 = 500;

/// `lugger health` waits so long for the agent's answer, milliseconds: the agent answers at once, unless its host is very busy.
pub const HEALTH_ANSWER_MS: u64 = 5_000;
/// So much of that answer is read, bytes: a line a problem.
pub const HEALTH_ANSWER_BYTES: usize = 64 * 1024;
/// How long the service manager is waited for when it is told something, milliseconds. It has a short queue, and nothing of ours may hang on it.
pub const NOTIFY_WAIT_MS: u64 = 250;
/// How long the first look at the sources may take before the service manager hears that the agent is up all the same, milliseconds: one that hangs
/// on a disk must not hold up the start of those that do not.
pub const NOTIFY_BEGIN_MS: u64 = 30_000;
/// How often one looks whether the line for the service manager is still true, milliseconds; more often where its watchdog wants to hear more often.
pub const NOTIFY_STATUS_MS: u64 = 15_000;
/// Most of a text that is in that line, bytes: it is for one line of a terminal.
pub const NOTIFY_STATUS_BYTES: usize = 240;
