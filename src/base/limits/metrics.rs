//! Bounds of metrics: collectors of the host, scraped targets, remote write.

/// Bytes that a collector's buffer begins with; a file of /proc or /sys is rarely longer.
pub const HOST_FILE_BYTES: usize = 16 * 1024;
/// Longest file of /proc or /sys that is read, bytes: /proc/interrupts of a host with thousands of CPUs is below it.
pub const HOST_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// So long a tick waits for a collector that hangs, milliseconds.
pub const HOST_DEADLINE_MS_DEFAULT: u64 = 2_000;
/// What that, and a collector's own deadline, may be set to, milliseconds: below, what is only slow would be late; above, a tick would be later than the next.
pub const HOST_DEADLINE_MS_RANGE: (u64, u64) = (100, 60_000);
/// So many collectors of one thread may begin to hang in a tick and the others are still told in it: one hangs when it takes this part of the deadline.
pub const HOST_HANGS_A_TICK: u32 = 4;
/// Stack of a thread of collectors, bytes.
pub const HOST_STACK_BYTES: usize = 512 * 1024;
/// Bytes of an answer that netlink gives at once: it never gives more than 32 KiB.
pub const HOST_NETLINK_BYTES: usize = 64 * 1024;
/// So long an answer of netlink is waited for, milliseconds.
pub const HOST_NETLINK_MS: u64 = 1_000;
/// With more network interfaces than these, their files are not kept open.
pub const HOST_LINKS_OPEN: usize = 64;
/// Threads that ask file systems that may hang, without those that do hang.
pub const HOST_STATFS_THREADS: usize = 4;
/// File systems that may hang, each with a thread that asks it. Of more than those not all need be found, and of their servers no others are asked.
pub const HOST_STATFS_HUNG: usize = 64;
/// Into so many parts the time is divided that is waited for file systems: after each, those behind what hangs get other threads.
pub const HOST_STATFS_SHARES: u32 = 8;
/// Longest file of the textfile collector, bytes.
pub const HOST_TEXTFILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest text of samples that is parsed, bytes: places in it are 32 bits.
pub const SAMPLES_TEXT_BYTES_MAX: usize = 1 << 30;
/// Labels of one sample that is parsed. Endpoints take a few dozen.
pub const SAMPLE_LABELS_MAX: usize = 256;
/// Characters of all labels of an exemplar, as OpenMetrics bounds them.
pub const EXEMPLAR_LABEL_CHARS: usize = 128;
/// Bytes of a line that the error of its parser shows.
pub const SAMPLE_EXCERPT_BYTES: usize = 80;
/// Attributes of a class of devices in /sys that stay open; those above are opened for each reading. A host with hundreds of CPUs has thousands.
pub const HOST_ATTRIBUTES_OPEN: usize = 96;
/// After so many ticks devices in /sys are looked at closely again, even if the list of them is the same.
pub const HOST_LOOK_TICKS: u32 = 20;
/// So long systemd's answers to all that a tick asks for are waited for, milliseconds, and not longer than half of its deadline.
pub const HOST_DBUS_MS: u64 = 5_000;
/// Longest message of systemd that is taken, bytes: a list of thousands of units is below it.
pub const HOST_DBUS_BYTES_MAX: usize = 16 * 1024 * 1024;

// Certificates and clocks of the host.

/// A file of certificates, bytes: 10,000 certificates.
pub const HOST_CERTIFICATE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A server has so long to show its certificate, milliseconds.
pub const HOST_CERTIFICATE_CONNECT_MS: u64 = 1_500;
/// Servers that are asked for certificates at once: so many names of which no resolver says anything leave others to be asked.
pub const HOST_CERTIFICATE_THREADS: usize = 4;
/// Between two looks at files of certificates, seconds: nobody needs to know of days' validity sooner.
pub const HOST_CERTIFICATES_LOOK_S: u64 = 60;
/// Between two connections to a server, seconds.
pub const HOST_CERTIFICATES_SERVER_S: u64 = 600;
/// chronyd has so long to answer, milliseconds. It is on this host.
pub const HOST_CHRONY_MS: u64 = 500;

/// Series of one target that are known at a time; a target with more is refused. `limits.memory` bounds those of all targets far below that by default.
pub const TARGET_SERIES_MAX: usize = 2_000_000;
/// Bytes of their keys and labels where nothing else bounds them: of the host.
pub const TARGET_SERIES_BYTES_MAX: usize = 1 << 30;
/// What a series that is known takes beside its key and its labels, bytes: its slot (40), two entries of tables (23), its last time (8), what the allocator adds.
pub const SERIES_SLOT_BYTES: usize = 96;
/// A sample whose own time is so far ahead is not taken, milliseconds, as Prometheus has it.
pub const SAMPLE_AHEAD_MS_MAX: i64 = 600_000;

/// Default of `max_samples_per_send`; it is Prometheus'.
pub const REMOTE_SAMPLES_DEFAULT: u64 = 2_000;
/// Range of it.
pub const REMOTE_SAMPLES_RANGE: (u64, u64) = (1, 100_000);
/// Default of `batch_send_deadline`, milliseconds; it is Prometheus'.
pub const REMOTE_DEADLINE_MS_DEFAULT: u64 = 5_000;
/// Range of it, milliseconds.
pub const REMOTE_DEADLINE_MS_RANGE: (u64, u64) = (100, 300_000);
/// A request of samples is sealed at this size before compression, bytes, however few they are.
pub const REMOTE_BODY_BYTES: usize = 2 * 1024 * 1024;
/// A single sample with labels and exemplars above this is dropped, bytes. With the body's bound on top it has to fit into [`SPOOL_FRAME_BYTES`].
pub const REMOTE_SERIES_BYTES: usize = 1024 * 1024;
/// No request of samples is larger before compression, bytes: the two above, and metadata.
pub const REMOTE_RAW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Sealed requests of samples that wait in memory for one endpoint, compressed bytes. Above it the oldest go: it is reached only if the disk takes
/// nothing. A request of 2,000 samples of a host has about 25 KB.
pub const REMOTE_QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// What an endpoint of metrics has not taken after this goes to disk, milliseconds. What a kill may cost during an outage.
pub const REMOTE_SPILL_MS: u64 = 3_000;
/// Default of `metadata_config.send_interval`, milliseconds; it is Prometheus'.
pub const REMOTE_METADATA_MS_DEFAULT: u64 = 60_000;
/// Range of it, milliseconds.
pub const REMOTE_METADATA_MS_RANGE: (u64, u64) = (1_000, 24 * 3600 * 1000);
/// Families whose metadata is remembered as sent, for an endpoint. That of further ones is not sent.
pub const REMOTE_FAMILIES: usize = 20_000;
/// Metadata of one family above this is not sent, bytes.
pub const REMOTE_FAMILY_BYTES: usize = 16 * 1024;
/// Series of which it is remembered what `write_relabel_configs` make of them. Further ones are relabelled each time.
pub const REMOTE_RELABEL_SERIES: usize = 50_000;
/// Bytes that they take: their labels, before and after, and [`SERIES_SLOT_BYTES`] each.
pub const REMOTE_RELABEL_BYTES: usize = 16 * 1024 * 1024;
/// A round of that memory, milliseconds.
pub const REMOTE_RELABEL_MS: u64 = 60_000;
/// Rounds after which a series that was not there is forgotten.
pub const REMOTE_RELABEL_ROUNDS: u32 = 15;
/// Default of `remote_timeout`, milliseconds; it is Prometheus'.
pub const REMOTE_TIMEOUT_MS_DEFAULT: u64 = 30_000;
/// Default of `min_backoff`, milliseconds; it is Prometheus'.
pub const REMOTE_BACKOFF_MIN_MS_DEFAULT: u64 = 30;
/// Default of `max_backoff`, milliseconds; it is Prometheus'.
pub const REMOTE_BACKOFF_MAX_MS_DEFAULT: u64 = 5_000;
/// Range of `sample_age_limit`, milliseconds, unless it is 0.
pub const REMOTE_AGE_MS_RANGE: (u64, u64) = (60_000, 365 * 24 * 3600 * 1000);
/// At most so many requests are made of one that was refused, to find the series that are the reason; then the rest is given up.
pub const REMOTE_DIVIDED_REQUESTS: u32 = 64;
/// So many refusals in a row end that search as well: all of it is refused. Halving a request of [`REMOTE_SAMPLES_DEFAULT`] takes 11.
pub const REMOTE_DIVIDED_REFUSALS: u32 = 14;
/// After a search that found nothing that the endpoint takes there is none for so long, milliseconds: refused requests are given up whole.
pub const REMOTE_DIVIDE_AGAIN_MS: u64 = 60_000;

/// An endpoint that refuses so many requests in a row as a whole is degraded: what is wrong with all of them is no matter of single series.
pub const REMOTE_FRUITLESS_REQUESTS: u32 = 5;
/// So is one that refuses all for so long, milliseconds.
pub const REMOTE_FRUITLESS_MS: u64 = 60_000;

/// Longest file of targets (`file_sd_configs`), bytes.
pub const TARGETS_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Values in such a file, those that aliases repeat included: ten for each of the targets that it may have.
pub const TARGETS_FILE_NODES: usize = 1_000_000;
/// Lists and maps inside each other in such a file. It has three.
pub const TARGETS_FILE_DEPTH: usize = 16;
/// After a file of targets has changed its writer gets so long to finish, milliseconds.
pub const TARGETS_SETTLE_MS: u64 = 100;
/// How often files of targets are read again by default, milliseconds, for where changes are not told; and the range of that.
pub const TARGETS_REFRESH_MS_DEFAULT: u64 = 5 * 60_000;
/// See [`TARGETS_REFRESH_MS_DEFAULT`].
pub const TARGETS_REFRESH_MS_RANGE: (u64, u64) = (1_000, 24 * 3600 * 1000);
/// Targets of one job that lugger scrapes, whatever its `target_limit`: each is a task with series of its own.
pub const TARGETS_MAX: usize = 10_000;
/// Default of `metrics.interval`, milliseconds.
pub const SCRAPE_INTERVAL_MS_DEFAULT: u64 = 15_000;
/// Default of `scrape_timeout`, milliseconds; less where the interval is shorter.
pub const SCRAPE_TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// Range of both, milliseconds.
pub const SCRAPE_INTERVAL_MS_RANGE: (u64, u64) = (100, 24 * 3600 * 1000);
/// A scrape that begins so much beside its tick has the tick's time, milliseconds, as in Prometheus: times at even distances compress better.
pub const SCRAPE_SNAP_MS: i64 = 2;
/// And no more than this part of the interval: 1/100.
pub const SCRAPE_SNAP_SHARE: i64 = 100;
/// Largest body of a scrape by default, bytes, decompressed. A large cluster's kube-state-metrics has more; what a host runs is far below.
pub const SCRAPE_BODY_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Largest that can be set; `0`, which is no bound in Prometheus, is this.
pub const SCRAPE_BODY_BYTES_MAX: u64 = SAMPLES_TEXT_BYTES_MAX as u64;
/// What scraping may take of `limits.memory`, in 32nds: what is known of the series of all targets. With the three below it is 14 of them; with the share of logs (8), and
/// the two of pushes (10), that is the whole, and what lugger takes by itself comes on top.
pub const SCRAPE_SERIES_32NDS: u64 = 6;
/// The same for the samples of the one scrape that is being read, before and after labels are made.
pub const SCRAPE_BENCH_32NDS: u64 = 5;
/// The same for the largest body; so a larger one is refused.
pub const SCRAPE_BODY_32NDS: u64 = 2;
/// The same for the other bodies that are being received, all of them together.
pub const SCRAPE_BODIES_32NDS: u64 = 1;
/// Bodies that are being received take so many bytes together, if their share of `limits.memory` is not less; above that only one goes on at a time. So many slow
/// targets cannot fill the memory, and none of them holds up those with small bodies for long.
pub const SCRAPE_BODIES_BYTES: usize = 8 * 1024 * 1024;
/// Steps in which that is counted, bytes; so much any body may take.
pub const SCRAPE_BODY_STEP_BYTES: usize = 64 * 1024;
/// Buffers of bodies that are kept for the next scrapes take so many bytes together; and other buffers that grew above it are given back.
pub const SCRAPE_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that are given to the decompressor at once: at most some two MiB come out of them.
pub const SCRAPE_INFLATE_BYTES: usize = 2 * 1024;
/// An idle connection to a target is closed after this, milliseconds, as in Prometheus: it has to outlive the interval to be of use.
pub const SCRAPE_IDLE_MS: u64 = 5 * 60_000;
/// Redirects that are followed in one scrape.
pub const SCRAPE_REDIRECTS: usize = 10;
/// Hosts for which a job with `tls_config.server_name` keeps connections.
pub const SCRAPE_NAMED_HOSTS: usize = 1024;
/// Time that loops of targets get to end when the agent stops, milliseconds. They wait for nothing.
pub const SCRAPE_STOP_MS: u64 = 500;

// Ticks of the host's metrics.

/// Whoever asks for the host's metrics gets those of a collection of this age at most, milliseconds.
pub const HOST_ASKED_FRESH_MS: u64 = 1_000;
/// So much longer than its collectors may take the thread of the host's metrics may be busy with what an order or a tick brings, milliseconds; then it hangs.
pub const HOST_STUCK_MS: u64 = 5_000;
/// A collector that goes on failing in the same way is told of again after so many ticks: an hour, at the default interval.
pub const HOST_SAID_AGAIN_TICKS: u32 = 240;
/// At a stop endpoints of metrics have so long to take what there is, and their disks to take the rest, milliseconds.
pub const METRICS_STOP_MS: u64 = 4_000;
