//! The host's metrics and scraping from one end to the other: the real agent, and a real Prometheus that is asked what it has.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::agent::{Agent, Rig};
use support::prometheus::Prometheus;
use support::wait::{now_ns, wait_until};
use support::written::{Written, target};
use support::{exposition, pusher};

const SOON: Duration = Duration::from_secs(60);
/// Between two ticks, milliseconds.
const TICK_MS: i64 = 500;

fn now_ms() -> i64 {
    now_ns() / 1_000_000
}

/// The agent under a configuration with this `metrics`, which are told the address of its own pages.
fn start(rig: &Rig, prometheus: &Prometheus, metrics: &str) -> Agent {
    rig.start_text(|http| text(rig, prometheus, metrics, &http.to_string()))
}

fn text(rig: &Rig, prometheus: &Prometheus, metrics: &str, http: &str) -> String {
    format!(
        "labels: {{ site: home }}\nremote_write:\n  - url: http://{}/api/v1/write\n    queue_config: {{ batch_send_deadline: 200ms, max_backoff: 200ms }}\n\
         metrics:\n  interval: {TICK_MS}ms\n{}\nhttp: {{ listen: \"{http}\" }}\nstate_dir: {}\n",
        prometheus.addr,
        metrics.replace("HTTP", http),
        rig.state().display()
    )
}

fn started() -> Prometheus {
    let mut prometheus = Prometheus::new();
    prometheus.start();
    prometheus
}

fn has(prometheus: &Prometheus, expression: &str) -> bool {
    !prometheus.query(expression, now_ms()).is_empty()
}

/// Expressions of the kind that dashboards and alerts for node_exporter are made of: each has to find something on any host.
const EXPRESSIONS: [&str; 15] = [
    "up{job=\"node\",instance=\"box\"} == 1",
    "100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\",job=\"node\"}[10s])))",
    "sum by (mode) (irate(node_cpu_seconds_total{instance=\"box\",job=\"node\"}[10s]))",
    "node_memory_MemTotal_bytes{instance=\"box\"} - node_memory_MemAvailable_bytes{instance=\"box\"}",
    "(node_time_seconds - node_boot_time_seconds) > 0",
    "node_load1{job=\"node\"} / count without (cpu) (count without (mode) (node_cpu_seconds_total{job=\"node\"}))",
    "100 - node_filesystem_avail_bytes{mountpoint=\"/\",fstype!=\"rootfs\"} * 100 / node_filesystem_size_bytes{mountpoint=\"/\",fstype!=\"rootfs\"}",
    "rate(node_network_receive_bytes_total{device=\"lo\"}[10s])",
    "rate(node_vmstat_pgfault[10s])",
    "node_sockstat_sockets_used",
    "node_uname_info{job=\"node\"}",
    "rate(node_context_switches_total[10s])",
    "node_filefd_allocated / node_filefd_maximum",
    "node_scrape_collector_success{collector=\"cpu\"} == 1",
    "node_netstat_Tcp_CurrEstab",
];

#[test]
fn what_dashboards_ask_for_is_there_and_what_is_scraped_as_well() {
    let (rig, prometheus) = (Rig::new(), started());
    let metrics = "  host: { instance: box }\n  scrape:\n    - { job_name: self, static_configs: [{ targets: [\"HTTP\"] }] }\n    - { job_name: nobody, static_configs: [{ targets: [\"127.0.0.1:1\"] }] }";
    let agent = start(&rig, &prometheus, metrics);
    for expression in EXPRESSIONS {
        wait_until(expression, SOON, || has(&prometheus, expression));
    }
    assert!(has(&prometheus, "node_load1{site=\"home\"}"), "the labels of everything");
    // Scraped: up is what it is, and samples have the target's labels.
    wait_until("the agent's own metrics", SOON, || {
        has(&prometheus, "lugger_host_ticks_total{job=\"self\",site=\"home\"} > 1")
    });
    wait_until("who is not there to be down", SOON, || has(&prometheus, "up{job=\"nobody\"} == 0"));
    assert!(has(&prometheus, "up{job=\"self\"} == 1"));
    // The same for those who ask: no family is told here and not there.
    let told = pusher::get(agent.address(), "/metrics/host").unwrap();
    assert_eq!(told.status, 200);
    let names: BTreeSet<String> = exposition::read(&told.body).into_keys().collect();
    assert!(names.len() > 150, "{}", names.len());
    for name in &names {
        let expression = format!("{{__name__=~\"{name}(_bucket|_sum|_count)?\",job=\"node\"}}");
        assert!(has(&prometheus, &expression), "{name}");
    }
    let status = pusher::get(agent.address(), "/api/status").unwrap().body;
    for what in ["\"kind\":\"host\"", "\"kind\":\"scrape\"", "\"kind\":\"remote_write\"", "127.0.0.1:1/metrics"] {
        assert!(status.contains(what), "{what}: {status}");
    }
}

/// Prometheus goes away; meanwhile the agent is killed, and later stopped. What it had put on disk, and what it read since, comes when Prometheus is back.
#[test]
fn an_outage_with_a_kill_and_a_stop_costs_what_was_pending_alone() {
    let (rig, mut prometheus) = (Rig::new(), started());
    let mut agent = start(&rig, &prometheus, "  host: { instance: box, collectors: { loadavg: true } }");
    wait_until("samples", SOON, || has(&prometheus, "node_load1"));
    let on_disk = |agent: &Agent| agent.metric("lugger_remote_write_spool_frames").unwrap_or_default();
    prometheus.kill();
    wait_until("requests to be on disk", SOON, || on_disk(&agent) >= 4.0);
    agent.kill();
    let killed_ms = now_ms();
    let mut agent = start(&rig, &prometheus, "  host: { instance: box }");
    let back_ms = now_ms();
    wait_until("more of them", SOON, || on_disk(&agent) >= 8.0);
    assert_eq!(agent.stop(Duration::from_secs(10)).code, Some(0));
    let stopped_ms = now_ms();
    let agent = start(&rig, &prometheus, "  host: { instance: box }");
    let again_ms = now_ms();
    wait_until("more of them", SOON, || on_disk(&agent) >= 4.0);
    prometheus.start();
    wait_until("all to be sent", SOON, || on_disk(&agent) == 0.0);
    let last_ms = now_ms();
    wait_until("a sample from now", SOON, || {
        let found = prometheus.query("timestamp(node_load1)", now_ms());
        found.first().is_some_and(|series| {
            series["value"][1].as_str().unwrap().parse::<f64>().unwrap() * 1000.0 > last_ms as f64
        })
    });
    let samples = prometheus.samples("node_load1", now_ms());
    let times: Vec<i64> = samples.values().flatten().map(|(time, _)| *time).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "each once, in order");
    // Gaps are where the agent did not run; before the kill what was pending and not yet on disk is missing as well.
    let spill = i64::try_from(lugger::base::limits::REMOTE_SPILL_MS).unwrap();
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        let over_kill = pair[0] <= killed_ms && pair[1] >= killed_ms;
        let over_stop = pair[0] <= stopped_ms && pair[1] >= stopped_ms;
        let allowed = match (over_kill, over_stop) {
            (true, _) => back_ms - killed_ms + spill + 6 * TICK_MS,
            (_, true) => again_ms - stopped_ms + 4 * TICK_MS,
            // A busy machine may be late for a tick.
            _ => 4 * TICK_MS,
        };
        assert!(gap <= allowed, "{gap} ms between {} and {}, of {allowed}: {times:?}", pair[0], pair[1]);
    }
    assert_eq!(agent.metric("lugger_remote_write_dropped_samples_total"), Some(0.0));
}

#[test]
fn a_host_that_is_no_target_any_more_ends_its_series() {
    let (rig, prometheus) = (Rig::new(), started());
    let agent = start(&rig, &prometheus, "  host: { instance: box }");
    wait_until("samples", SOON, || has(&prometheus, "node_load1"));
    let http = agent.address().to_string();
    let scrape = "  scrape:\n    - { job_name: self, static_configs: [{ targets: [\"HTTP\"] }] }";
    std::fs::write(rig.config_file(), text(&rig, &prometheus, scrape, &http)).unwrap();
    assert_eq!(agent.reload().status, 200);
    wait_until("the series to end", SOON, || !has(&prometheus, "node_load1") && !has(&prometheus, "up{job=\"node\"}"));
    wait_until("what is scraped now", SOON, || has(&prometheus, "up{job=\"self\"} == 1"));
    assert_eq!(pusher::get(agent.address(), "/metrics/host").unwrap().status, 404);
    // And back.
    std::fs::write(rig.config_file(), text(&rig, &prometheus, "  host: { instance: box }", &http)).unwrap();
    assert_eq!(agent.reload().status, 200);
    wait_until("samples again", SOON, || has(&prometheus, "node_load1"));
    wait_until("the job that is gone to end", SOON, || !has(&prometheus, "up{job=\"self\"}"));
}

/// Metrics that nobody is to be sent are there for those who ask.
#[test]
fn a_host_without_endpoints_tells_those_who_ask() {
    let rig = Rig::new();
    let state = rig.state();
    let agent = rig.start_text(|http| {
        format!("metrics: {{ host: {{}} }}\nhttp: {{ listen: \"{http}\" }}\nstate_dir: {}\n", state.display())
    });
    let told = pusher::get(agent.address(), "/metrics/host").unwrap();
    assert!(told.status == 200 && told.body.contains("\nnode_load1 "), "{}", told.body);
    assert_eq!(agent.metric("lugger_host_ticks_total"), Some(0.0), "nobody wants ticks");
}

/// Two targets that are far too large for the memory, and a small one: the process stays within `limits.memory` and what it takes by itself.
#[test]
fn the_memory_bounds_what_is_scraped() {
    const MEMORY: u64 = 24 << 20;
    let huge: Arc<str> = (0..150_000)
        .map(|at| format!("huge_series_of_a_target{{number=\"{at:06}\",code=\"200\",method=\"GET\"}} {at}\n"))
        .collect::<String>()
        .into();
    // As much as fits, all in all: a body, a bench, and series of several.
    let fitting: Arc<str> =
        (0..5_000).map(|at| format!("fits{{number=\"{at:06}\"}} {at}\n")).collect::<String>().into();
    let kind = "text/plain; version=0.0.4";
    let huge = [target(kind, Arc::clone(&huge)), target(kind, huge)];
    let small = target(kind, "small 1\n".into());
    let fitting = [(); 4].map(|()| target(kind, Arc::clone(&fitting)));
    let (rig, prometheus) = (Rig::new(), started());
    let targets = huge.iter().chain(&fitting).chain([&small]).map(|addr| format!("\"{addr}\"")).collect::<Vec<_>>();
    let metrics = format!(
        "  scrape:\n    - {{ job_name: all, scrape_interval: 2s, scrape_timeout: 2s, static_configs: [{{ targets: [{}] }}] }}",
        targets.join(", ")
    );
    let agent = rig.start_text(|http| {
        let text = text(&rig, &prometheus, &metrics, &http.to_string());
        format!("{text}limits: {{ memory: 24MiB }}\n")
    });
    let up = |instance, is: u8| has(&prometheus, &format!("up{{instance=\"{instance}\"}} == {is}"));
    wait_until("the small one is scraped", SOON, || up(small, 1));
    for addr in huge {
        wait_until("the huge ones are refused", SOON, || up(addr, 0));
    }
    wait_until("several scrapes of each", SOON, || {
        agent.metric("lugger_scrape_seconds_count{scrape_job=\"all\"}").unwrap_or_default() >= 35.0
    });
    assert!(up(small, 1) && !has(&prometheus, &format!("min_over_time(up{{instance=\"{small}\"}}[1m]) == 0")));
    let told = agent.stderr();
    for word in ["limits.memory", &huge[0].to_string(), "series", "KiB", "raise it"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let peak = agent.peak_memory();
    println!("peak: {} KiB with memory: 24MiB", peak >> 10);
    // What it takes by itself is within that as well, for nothing else uses its shares here.
    assert!(peak <= MEMORY, "{} KiB", peak >> 10);
}

/// Since when counters count is in the messages of remote write 2.0: what targets say by `_created`, the host's boot, the agent's own start.
#[test]
fn starts_of_counters_are_sent() {
    let text = "# TYPE a counter\na_total{x=\"1\"} 5\na_created{x=\"1\"} 1700000000.25\na_total{x=\"2\"} 5\n# TYPE h histogram\n\
                h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\nh_created 1700000001\n# EOF\n";
    let addr = target("application/openmetrics-text; version=1.0.0", text.into());
    let written = Written::start();
    let rig = Rig::new();
    let agent = rig.start_text(|http| {
        format!(
            "remote_write:\n  - url: http://{}/api/v1/write\n    protobuf_message: io.prometheus.write.v2.Request\n    queue_config: {{ batch_send_deadline: 200ms }}\n\
             metrics:\n  interval: 1s\n  host: {{ instance: box }}\n  scrape:\n    - {{ job_name: one, static_configs: [{{ targets: [\"{addr}\"] }}] }}\n\
             http: {{ listen: \"{http}\" }}\nstate_dir: {}\n",
            written.addr, rig.state().display()
        )
    });
    wait_until("samples of both", SOON, || !written.of("node_context").is_empty() && !written.of("a_total").is_empty());
    wait_until("more of them", SOON, || written.of("node_context").values().all(|told| told.len() >= 3));
    let starts = |begin: &str| -> BTreeSet<i64> {
        let series = written.of(begin);
        assert!(!series.is_empty(), "{begin}");
        series.into_values().flatten().map(|(_, _, start)| start).collect()
    };
    let one = |start| BTreeSet::from([start]);
    assert_eq!(starts(&format!("a_total{{instance=\"{addr}\",job=\"one\",x=\"1\"")), one(1_700_000_000_250));
    assert_eq!(starts(&format!("a_total{{instance=\"{addr}\",job=\"one\",x=\"2\"")), one(0));
    for name in ["h_bucket{", "h_sum{", "h_count{"] {
        assert_eq!(starts(name), one(1_700_000_001_000), "{name}");
    }
    // They are samples as well.
    let created = written.of("h_created{").into_values().flatten().next().unwrap();
    assert_eq!((created.0, created.2), (1_700_000_001.0, 0));
    // The clock may be adjusted by a second between the two readings.
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let boot_ms = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().parse::<i64>().unwrap() * 1000;
    for name in ["node_context_switches_total", "node_cpu_seconds_total", "node_forks_total", "node_intr_total"] {
        let starts = starts(name);
        let start = *starts.first().unwrap();
        assert!(starts.len() == 1 && (start - boot_ms).abs() <= 1000, "{name}: {starts:?}, {boot_ms}");
    }
    let process = starts("process_cpu_seconds_total");
    let began = written.of("process_start_time_seconds").into_values().flatten().next().unwrap().0;
    assert_eq!(process, one((began * 1000.0) as i64));
    // Gauges have none, nor counters that may have begun later.
    for name in ["node_load1", "node_network_receive_bytes_total", "node_disk_reads_completed_total", "up"] {
        if !written.of(name).is_empty() {
            assert_eq!(starts(name), one(0), "{name}");
        }
    }
    drop(agent);
}
