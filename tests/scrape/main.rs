//! Scraping real HTTP servers: what comes of answers of all kinds, of targets that come and go, and of changes while it runs.

#[path = "../support/exposer.rs"]
mod exposer;
mod memory;
mod reach;
mod real;

use exposer::{Exposer, Kept, Reply, until};
use flate2::Compression;
use flate2::write::GzEncoder;
use lugger::base::access::{Auth, Credential};
use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::base::secret::Secret;
use lugger::model::points::Output;
use lugger::pipeline::relabel::{self, Action};
use lugger::source::scrape::settings::{Files, Group, Settings};
use lugger::source::scrape::{self, Handle, Health, Job, Prepared};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A job that asks often. There is time for an answer even if the host is busy.
fn job(name: &str, targets: &[String]) -> Settings {
    let groups = vec![Group { targets: targets.to_vec(), labels: BTreeMap::new() }];
    let (interval, timeout) = (Duration::from_millis(200), Duration::from_millis(200));
    Settings { interval, timeout, groups, ..Settings::new(name) }
}

struct Run {
    handle: Handle,
    kept: Arc<Kept>,
    registry: Registry,
}

impl Run {
    fn start(jobs: Vec<Settings>) -> Run {
        Run::within(1 << 30, jobs)
    }

    /// With so much memory, bytes.
    fn within(memory: u64, jobs: Vec<Settings>) -> Run {
        let (kept, registry) = (Kept::new(), Registry::default());
        let prepared = Prepared::new(with(jobs, &[&kept]), None).unwrap();
        Run { handle: scrape::start(prepared, Clock::System, &registry, memory), kept, registry }
    }

    fn change(&self, jobs: Vec<Settings>) {
        let prepared = Prepared::new(with(jobs, &[&self.kept]), Some(&self.handle)).unwrap();
        self.handle.change(prepared);
    }

    fn error(&self) -> String {
        let targets = self.handle.status().into_iter().flat_map(|job| job.targets);
        targets.filter_map(|target| target.error).collect::<Vec<_>>().join("; ")
    }

    fn metric(&self, line: &str) -> f64 {
        let text = self.registry.render();
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("{line} in\n{text}"))
    }
}

fn with(jobs: Vec<Settings>, outputs: &[&Arc<Kept>]) -> Vec<Job> {
    let outputs: Vec<_> = outputs.iter().map(|kept| Arc::clone(kept) as Arc<dyn Output>).collect();
    jobs.into_iter().map(|settings| Job { settings, outputs: outputs.clone() }).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn of(name: &str, exposer: &Exposer) -> String {
    format!("{name}{{instance=\"{}\",job=\"j\"}}", exposer.addr)
}

#[tokio::test]
async fn a_target_is_scraped_again_and_again() {
    let count = AtomicUsize::new(0);
    let exposer = Exposer::start(move |_| {
        let value = count.fetch_add(1, Ordering::Relaxed);
        Reply::text(&format!("# TYPE a counter\na {value}\nb{{x=\"1\"}} 2\n"))
    })
    .await;
    let run = Run::start(vec![job("j", &[exposer.address()])]);
    let a = of("a", &exposer);
    until("five scrapes", || run.kept.of(&a).len() >= 5).await;
    let values = run.kept.of(&a);
    // The first value may be any; from then on each scrape gives one, at even distances unless the host is very busy.
    assert!(values.windows(2).all(|pair| pair[1].get() == pair[0].get() + 1.0), "{values:?}");
    let remainders: Vec<_> = values.iter().map(|value| value.time_ms % 200).collect();
    assert!(
        remainders.iter().any(|first| remainders.iter().filter(|other| *other == first).count() >= 2),
        "{remainders:?}"
    );
    let b = format!("b{{instance=\"{}\",job=\"j\",x=\"1\"}}", exposer.addr);
    let names = ["scrape_duration_seconds", "scrape_samples_post_metric_relabeling", "scrape_samples_scraped"];
    let mut expected = vec![a, b];
    expected.extend(names.map(|name| of(name, &exposer)));
    expected.extend([of("scrape_series_added", &exposer), of("up", &exposer)]);
    assert_eq!(run.kept.series(), expected);
    let last = |name: &str| run.kept.last(&of(name, &exposer));
    assert_eq!(
        [last("up"), last("scrape_samples_scraped"), last("scrape_series_added")],
        [Some(1.0), Some(2.0), Some(0.0)]
    );
    {
        let asked = exposer.asked();
        let first = &asked[0];
        assert_eq!(first.line, "GET /metrics HTTP/1.1");
        assert_eq!(first.header("x-prometheus-scrape-timeout-seconds"), "0.2");
        assert_eq!(first.header("accept-encoding"), "gzip");
        assert!(first.header("accept").starts_with("application/openmetrics-text;version=1.0.0;q=0.5,"), "{first:?}");
        assert!(first.header("user-agent").starts_with("lugger/"));
        assert!(asked.iter().all(|request| request.connection == 0), "the connection is kept");
    }
    let status = run.handle.status();
    assert_eq!(status[0].targets[0].health, Health::Up);
    assert_eq!((status[0].targets[0].samples, status[0].targets[0].series), (2, 2));
    assert_eq!(run.metric("lugger_scrape_targets{scrape_job=\"j\"}"), 1.0);
    assert!(run.metric("lugger_scrape_samples_total{scrape_job=\"j\"}") >= 10.0);
    let writes = run.kept.writes();
    run.handle.stop().await;
    // No markers: after a restart the same series go on.
    assert!(run.kept.last(&of("up", &exposer)).is_some() && run.kept.writes() <= writes + 1);
}

/// After a good scrape this answer fails, with this in its error; then the target is good again.
async fn assert_fails(name: &str, reply: Reply, reason: &str, expected: &str, change: impl FnOnce(&mut Settings)) {
    let exposer = Exposer::start(|_| Reply::text("a 1\n")).await;
    let mut settings = job("j", &[exposer.address()]);
    change(&mut settings);
    let run = Run::start(vec![settings]);
    let [a, up] = ["a", "up"].map(|metric| of(metric, &exposer));
    until("a good scrape", || run.kept.last(&a) == Some(1.0)).await;
    exposer.answer(move |_| reply.clone());
    until(name, || run.kept.is_stale(&a) && run.kept.last(&up) == Some(0.0)).await;
    let values = run.kept.of(&a);
    assert_eq!(values.iter().filter(|value| value.is_stale()).count(), 1, "{name}");
    let failed_at = values.last().unwrap().time_ms;
    assert!(run.kept.of(&up).iter().any(|value| value.time_ms == failed_at), "{name}: one time for both");
    let error = run.error();
    assert!(!error.is_empty() && error.contains(expected), "{name}: {error}");
    assert!(run.metric(&format!("lugger_scrape_failures_total{{scrape_job=\"j\",reason=\"{reason}\"}}")) >= 1.0);
    exposer.answer(|_| Reply::text("a 2\n"));
    until("it is good again", || run.kept.last(&a) == Some(2.0) && run.kept.last(&up) == Some(1.0)).await;
    run.handle.stop().await;
}

#[tokio::test]
async fn what_fails_is_down_and_its_series_are_stale() {
    let none = |_: &mut Settings| {};
    let small = |settings: &mut Settings| settings.body_bytes = 1000;
    let large = format!("a 1\n{}", "# much\n".repeat(1000));
    let gzipped = |body: Vec<u8>| Reply::Answer(200, vec![("Content-Encoding", "gzip".into())], body);
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let mut cut = gzip(large.as_bytes());
    cut.truncate(cut.len() / 2);
    let samples = |settings: &mut Settings| settings.series.limits.samples = 1;
    tokio::join!(
        assert_fails("status", Reply::status(500), "status", "HTTP status 500", none),
        assert_fails("silence", Reply::Hang, "timeout", "no answer within the scrape_timeout of 200ms", none),
        assert_fails("text", Reply::text("a 1\nb c\n"), "text", "line 2", none),
        assert_fails("openmetrics", Reply::typed("application/openmetrics-text", "a 1\n"), "text", "EOF", none),
        assert_fails("too large", Reply::text(&large), "too_large", "body_size_limit of 1000B", small),
        assert_fails("too large in chunks", Reply::Raw(chunked.into_bytes()), "too_large", "body_size_limit", small),
        assert_fails("too large inside", gzipped(gzip(large.as_bytes())), "too_large", "body_size_limit", small),
        assert_fails("no gzip", gzipped(b"a 1\n".to_vec()), "encoding", "gzip", none),
        assert_fails("half a gzip", gzipped(cut), "encoding", "gzip", none),
        assert_fails(
            "deflate",
            Reply::Answer(200, vec![("Content-Encoding", "br".into())], vec![]),
            "encoding",
            "br",
            none
        ),
        assert_fails(
            "half a body",
            Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\nb 2\n".to_vec()),
            "transport",
            "",
            none,
        ),
        assert_fails("no HTTP", Reply::Raw(b"what?\r\n".to_vec()), "transport", "", none),
        assert_fails(
            "samples",
            Reply::text("a 1\nb 2\n"),
            "limit",
            "2 samples are more than the sample_limit of 1",
            samples
        ),
    );
}

#[tokio::test]
async fn bodies_are_read_by_what_they_are_said_to_be() {
    for (reply, expected) in [
        (
            Reply::Answer(
                200,
                vec![("Content-Type", "text/plain".into()), ("Content-Encoding", "gzip".into())],
                gzip(b"a 7\n"),
            ),
            7.0,
        ),
        (Reply::typed("application/openmetrics-text; version=1.0.0", "a 8\n# EOF\n"), 8.0),
        // Nobody says what it is, or wrongly.
        (Reply::Answer(200, vec![], b"a 9\n\n".to_vec()), 9.0),
        (Reply::typed("text/html", "a 10"), 10.0),
    ] {
        let exposer = Exposer::start(move |_| reply.clone()).await;
        let run = Run::start(vec![job("j", &[exposer.address()])]);
        until("a scrape", || !run.kept.of(&of("up", &exposer)).is_empty()).await;
        assert_eq!(run.kept.last(&of("a", &exposer)), Some(expected), "{}", run.error());
    }
}

#[tokio::test]
async fn a_target_that_goes_ends_with_all_its_series_and_others_go_on() {
    let [one, two] = [Exposer::start(|_| Reply::text("a 1\n")).await, Exposer::start(|_| Reply::text("a 1\n")).await];
    let run = Run::start(vec![job("j", &[one.address(), two.address()])]);
    until("both", || [&one, &two].iter().all(|exposer| run.kept.last(&of("a", exposer)).is_some())).await;
    run.change(vec![job("j", &[two.address(), two.address()])]);
    let names = [
        "a",
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    ];
    until("all of it is stale", || names.iter().all(|name| run.kept.is_stale(&of(name, &one)))).await;
    let asked = one.asked().len();
    let before = run.kept.of(&of("a", &two)).len();
    until("the other one goes on", || run.kept.of(&of("a", &two)).len() >= before + 2).await;
    assert!(run.kept.of(&of("a", &two)).iter().all(|value| !value.is_stale()));
    assert_eq!(one.asked().len(), asked);
    assert_eq!(run.handle.status()[0].targets.len(), 1, "equal targets are one");
    // The whole job.
    run.change(vec![]);
    until("it is stale too", || names.iter().all(|name| run.kept.is_stale(&of(name, &two)))).await;
    assert!(!run.registry.render().contains("scrape_job=\"j\""));
}

#[tokio::test]
async fn changes_leave_no_gaps() {
    let exposer =
        Exposer::start(|asked| Reply::text(if asked.line.contains("/other?p=1") { "a 2\n" } else { "a 1\nb 1\n" }))
            .await;
    let run = Run::start(vec![job("j", &[exposer.address()])]);
    let [a, b] = ["a", "b"].map(|name| of(name, &exposer));
    until("a scrape", || run.kept.last(&b).is_some()).await;
    // Another URL with the same labels, other times, and a rule for samples.
    let mut next = job("j", &[exposer.address()]);
    next.path = "/other".into();
    next.params = vec![("p".into(), vec!["1".into()])];
    next.interval = Duration::from_millis(250);
    next.series.relabel = vec![relabel::Settings {
        action: Action::Replace,
        source_labels: vec!["__name__".into()],
        target_label: "n".into(),
        ..relabel::Settings::default()
    }];
    run.change(vec![next.clone()]);
    let renamed = format!("a{{instance=\"{}\",job=\"j\",n=\"a\"}}", exposer.addr);
    until("the other one", || run.kept.last(&renamed) == Some(2.0)).await;
    assert!(run.kept.is_stale(&a) && run.kept.is_stale(&b));
    let end = run.kept.of(&a).last().unwrap().time_ms;
    assert_eq!(end, run.kept.of(&renamed)[0].time_ms, "what is no more ends when the next scrape shows it");
    assert!(run.kept.of(&of("up", &exposer)).iter().all(|value| !value.is_stale()));
    assert_eq!(run.handle.status()[0].targets[0].url, format!("http://{}/other", exposer.addr));

    // An output that the job no longer goes to.
    let second = Kept::new();
    let jobs = with(vec![next.clone()], &[&run.kept, &second]);
    run.handle.change(Prepared::new(jobs, Some(&run.handle)).unwrap());
    until("both get it", || second.last(&renamed).is_some()).await;
    let jobs = with(vec![next], &[&second]);
    run.handle.change(Prepared::new(jobs, Some(&run.handle)).unwrap());
    until("it ends for one", || run.kept.is_stale(&renamed) && run.kept.is_stale(&of("up", &exposer))).await;
    let (count, writes) = (second.of(&renamed).len(), run.kept.writes());
    until("and goes on for the other", || second.of(&renamed).len() >= count + 2).await;
    assert!(second.of(&renamed).iter().all(|value| !value.is_stale()));
    assert_eq!(run.kept.writes(), writes);
}

#[tokio::test]
async fn files_of_targets_come_and_go() {
    let [one, two] = [Exposer::start(|_| Reply::text("a 1\n")).await, Exposer::start(|_| Reply::text("a 1\n")).await];
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let other = dir.path().join("writing");
        std::fs::write(&other, text).unwrap();
        std::fs::rename(&other, dir.path().join(name)).unwrap();
    };
    write("one.yml", &format!("- targets: ['{}']\n  labels: {{ team: x }}\n", one.addr));
    let mut settings = job("j", &[]);
    settings.files = vec![Files { patterns: vec![dir.path().join("*.yml").display().to_string()], ..Files::default() }];
    settings.relabel = vec![relabel::Settings {
        source_labels: vec!["__meta_filepath".into()],
        regex: Some(".*/(.*)".into()),
        target_label: "file".into(),
        ..relabel::Settings::default()
    }];
    let run = Run::start(vec![settings.clone()]);
    let up = |file: &str, exposer: &Exposer, more: &str| {
        format!("up{{file=\"{file}\",instance=\"{}\",job=\"j\"{more}}}", exposer.addr)
    };
    let of_one = up("one.yml", &one, ",team=\"x\"");
    until("the target of the file", || run.kept.last(&of_one) == Some(1.0)).await;
    write("two.yml", &format!("[{{ targets: ['{}'] }}]", two.addr));
    let of_two = up("two.yml", &two, "");
    until("the target of another one", || run.kept.last(&of_two) == Some(1.0)).await;
    // A file that breaks keeps its targets, also over a change of the configuration.
    write("two.yml", "[{ targets: [");
    until("the problem", || run.handle.status()[0].problems.iter().any(|problem| problem.contains("two.yml"))).await;
    settings.body_bytes -= 1;
    run.change(vec![settings]);
    let count = run.kept.of(&of_two).len();
    until("it is scraped on", || run.kept.of(&of_two).len() >= count + 2).await;
    std::fs::remove_file(dir.path().join("two.yml")).unwrap();
    until("it ends with its file", || run.kept.is_stale(&of_two)).await;
    assert!(run.kept.last(&of_one).is_some() && run.kept.of(&of_one).iter().all(|value| !value.is_stale()));
    assert_eq!(run.metric("lugger_scrape_discovery_failures_total{scrape_job=\"j\"}"), 1.0);
}

#[tokio::test]
async fn credentials_go_to_the_target_alone() {
    let other = Exposer::start(|_| Reply::text("a 5\n")).await;
    // Another host, by its name.
    let elsewhere = format!("http://localhost:{}/there", other.addr.port());
    let exposer = Exposer::start(move |asked| match asked.line.split(' ').nth(1) {
        Some("/metrics") => Reply::Answer(307, vec![("Location", "/near".into())], vec![]),
        Some("/near") => Reply::Answer(302, vec![("Location", elsewhere.clone())], vec![]),
        path => panic!("{path:?}"),
    })
    .await;
    let mut settings = job("j", &[exposer.address()]);
    settings.access.auth = Auth::Basic { username: "me".into(), password: Credential::Inline(Secret::new("pw")) };
    settings.access.headers = vec![("X-Key".into(), Credential::Inline(Secret::new("k")))];
    let run = Run::start(vec![settings.clone()]);
    until("redirects are followed", || run.kept.last(&of("a", &exposer)) == Some(5.0)).await;
    for request in exposer.asked().iter() {
        assert_eq!(
            (request.header("authorization").as_str(), request.header("x-key").as_str()),
            ("Basic bWU6cHc=", "k")
        );
    }
    assert!(
        other
            .asked()
            .iter()
            .all(|request| request.header("authorization").is_empty() && request.header("x-key").is_empty())
    );

    settings.access.follow_redirects = false;
    run.change(vec![settings.clone()]);
    until("redirects are not followed", || run.error().contains("HTTP status 307")).await;
    settings.access.follow_redirects = true;
    exposer.answer(|_| Reply::Answer(301, vec![("Location", "/metrics".into())], vec![]));
    run.change(vec![settings]);
    until("circles end", || run.error().contains("is it a circle?")).await;
}

#[tokio::test]
async fn replaced_credentials_are_read_again() {
    let exposer = Exposer::start(|_| Reply::text("a 1\n")).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let mut settings = job("j", &[exposer.address()]);
    settings.access.auth = Auth::Bearer(Credential::File(file.clone()));
    let run = Run::start(vec![settings]);
    until("a scrape", || run.kept.last(&of("a", &exposer)).is_some()).await;
    assert_eq!(exposer.asked()[0].header("authorization"), "Bearer first");
    std::fs::write(&file, "second\n").unwrap();
    exposer.answer(|asked| match asked.header("authorization").as_str() {
        "Bearer second" => Reply::text("a 2\n"),
        _ => Reply::status(401),
    });
    until("the other token", || run.kept.last(&of("a", &exposer)) == Some(2.0)).await;
    // Within the same scrape.
    assert!(run.kept.of(&of("up", &exposer)).iter().all(|value| value.get() == 1.0));
    // What has to be read at the start is told there.
    let mut settings = job("j", &[]);
    settings.access.auth = Auth::Bearer(Credential::File("/nowhere/token".into()));
    let Err(error) = Prepared::new(with(vec![settings], &[]), None) else { panic!() };
    assert!(
        error.to_string().starts_with("metrics.scrape j: cannot read the credentials file /nowhere/token: "),
        "{error}"
    );
}

#[tokio::test]
async fn slow_targets_leave_ticks_out_and_hold_up_nobody() {
    let [slow, quick] = [Exposer::start(|_| Reply::Hang).await, Exposer::start(|_| Reply::text("a 1\n")).await];
    let mut settings = job("j", &[slow.address(), quick.address()]);
    settings.interval = Duration::from_millis(100);
    settings.timeout = Duration::from_millis(100);
    let run = Run::start(vec![settings]);
    until("both are scraped", || [&slow, &quick].iter().all(|exposer| run.kept.of(&of("up", exposer)).len() >= 5))
        .await;
    until("ticks are left out", || run.metric("lugger_scrape_skipped_total{scrape_job=\"j\"}") >= 3.0).await;
    // Never two at a time: each began after the one before had its time.
    let starts: Vec<Instant> = slow.asked().iter().map(|request| request.at).collect();
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(95)), "{starts:?}");
    // A scrape under way does not hold up the end.
    let begin = Instant::now();
    run.handle.stop().await;
    assert!(begin.elapsed() < Duration::from_millis(400), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn too_many_targets_are_none() {
    let exposer = Exposer::start(|_| Reply::text("a 1\n")).await;
    let addresses = [exposer.address(), format!("localhost:{}", exposer.addr.port())];
    let limited = |limit| Settings { target_limit: limit, ..job("j", &addresses) };
    let run = Run::start(vec![limited(2)]);
    until("a scrape", || run.kept.last(&of("a", &exposer)).is_some()).await;
    run.change(vec![limited(1)]);
    until("all are down", || run.kept.last(&of("up", &exposer)) == Some(0.0)).await;
    assert!(run.kept.is_stale(&of("a", &exposer)));
    assert!(run.error().contains("2 targets are more than the target_limit of 1"), "{}", run.error());
    run.change(vec![limited(0)]);
    until("they are back", || run.kept.last(&of("a", &exposer)) == Some(1.0)).await;
    // What is no target is told.
    let mut bad = job("j", &["x/y".into()]);
    bad.scheme = "http".into();
    run.change(vec![bad]);
    assert_eq!(run.handle.status()[0].problems.len(), 1);
}

/// As in Prometheus: an error in the text does not undo the counting.
#[tokio::test]
async fn samples_are_counted_up_to_an_error() {
    let exposer = Exposer::start(|_| Reply::text("a 1\nb 2\nc 3\nno value\nd 4\n")).await;
    let mut settings = job("j", &[exposer.address()]);
    settings.series.relabel = vec![relabel::Settings {
        action: Action::Drop,
        source_labels: vec!["__name__".into()],
        regex: Some("b".into()),
        ..relabel::Settings::default()
    }];
    let run = Run::start(vec![settings]);
    until("two scrapes", || run.kept.of(&of("up", &exposer)).len() >= 2).await;
    let first = |name: &str| run.kept.of(&of(name, &exposer))[0].get();
    assert_eq!(["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"].map(first), [0.0, 3.0, 2.0]);
    assert!(run.kept.of(&of("a", &exposer)).is_empty());
    run.handle.stop().await;
}

/// Whoever gets nothing of a target any more has its markers when the change is settled, also while the target is being asked; and the scrape goes on.
#[tokio::test]
async fn an_output_that_leaves_in_mid_scrape_has_its_markers() {
    let exposer = Exposer::start(|_| Reply::text("a 1\n")).await;
    let mut settings = job("j", &[exposer.address()]);
    (settings.interval, settings.timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let (stays, leaves, registry) = (Kept::new(), Kept::new(), Registry::default());
    let prepared = Prepared::new(with(vec![settings.clone()], &[&stays, &leaves]), None).unwrap();
    let handle = scrape::start(prepared, Clock::System, &registry, 1 << 30);
    let a = of("a", &exposer);
    until("a scrape", || leaves.last(&a) == Some(1.0)).await;
    let asked = exposer.asked().len();
    exposer.answer(|_| Reply::Hang);
    until("the target is asked", || exposer.asked().len() > asked).await;
    let ups = stays.of(&of("up", &exposer)).len();
    let prepared = Prepared::new(with(vec![settings], &[&stays]), Some(&handle)).unwrap();
    handle.change(prepared);
    handle.settled().await;
    assert!(leaves.is_stale(&a) && leaves.is_stale(&of("up", &exposer)), "all by then");
    assert!(!stays.is_stale(&a), "the scrape is not cut short");
    let writes = leaves.writes();
    until("the scrape is over", || stays.of(&of("up", &exposer)).len() > ups).await;
    assert_eq!(stays.last(&of("up", &exposer)), Some(0.0));
    assert_eq!(leaves.writes(), writes, "nothing comes behind the markers");
    // The same for a target that goes with it.
    handle.change(Prepared::new(Vec::new(), Some(&handle)).unwrap());
    handle.settled().await;
    assert!(stays.is_stale(&of("up", &exposer)));
    handle.stop().await;
}
