//! The real node_exporter: what is kept of it is what its text says, read by the tests' own reader.

#[path = "../support/exposition.rs"]
mod exposition;

use super::exposer::until;
use super::{Run, job};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A text of the textfile collector: label values that want care, and every kind.
const TEXT: &str = "# HELP job_seconds How long it took.\n# TYPE job_seconds histogram\njob_seconds_bucket{le=\"1\"} 2\n\
                    job_seconds_bucket{le=\"+Inf\"} 3\njob_seconds_sum 7.5\njob_seconds_count 3\n# TYPE job_last gauge\n\
                    job_last{path=\"a \\\"b\\\"\\\\c\",job=\"own\"} 1.5e9\njob_last{path=\"\u{e4}\",instance=\"own\"} NaN\n\
                    # TYPE runs_total counter\nruns_total 12\n";

struct NodeExporter {
    child: Child,
    address: String,
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl NodeExporter {
    fn start(texts: &std::path::Path) -> NodeExporter {
        let mut command = Command::new("prometheus-node-exporter");
        command.args([
            "--web.listen-address=127.0.0.1:0",
            "--web.disable-exporter-metrics",
            "--collector.disable-defaults",
        ]);
        command.args([
            "--collector.textfile",
            "--collector.meminfo",
            "--collector.uname",
            "--collector.cpu",
            "--collector.filesystem",
        ]);
        command.arg(format!("--collector.textfile.directory={}", texts.display()));
        let child = command.stderr(Stdio::piped()).spawn();
        let mut child = child.expect("prometheus-node-exporter: tests/run installs it");
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(messages.read_line(&mut line).unwrap() > 0, "node_exporter ended");
            if let Some((_, rest)) = line.split_once("msg=\"Listening on\" address=") {
                break rest.trim().to_owned();
            }
        };
        // It must not wait for a reader of its messages.
        std::thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
        NodeExporter { child, address }
    }

    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// What Prometheus keeps of a text: series with the labels of the target, and those of the target's own in the way of them set aside.
fn expected(text: &str, instance: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for (family, exposition::Family { series, .. }) in exposition::read(text) {
        for (labels, value) in series {
            let mut name = family.clone();
            let mut pairs =
                BTreeMap::from([("instance".to_owned(), instance.to_owned()), ("job".to_owned(), "j".to_owned())]);
            for (label, value) in labels {
                match label.as_str() {
                    "__name__" => name = value,
                    "instance" | "job" => _ = pairs.insert(format!("exported_{label}"), value),
                    _ => _ = pairs.insert(label, value),
                }
            }
            let pairs: Vec<_> = pairs.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
            all.insert(format!("{name}{{{}}}", pairs.join(",")), value);
        }
    }
    all
}

#[tokio::test]
async fn node_exporter_is_kept_as_prometheus_would() {
    let texts = tempfile::tempdir().unwrap();
    std::fs::write(texts.path().join("job.prom"), TEXT).unwrap();
    let real = NodeExporter::start(texts.path());
    let mut settings = job("j", std::slice::from_ref(&real.address));
    settings.interval = std::time::Duration::from_secs(1);
    settings.timeout = settings.interval;
    let run = Run::start(vec![settings]);
    let up = format!("up{{instance=\"{}\",job=\"j\"}}", real.address);
    until("two scrapes", || run.kept.of(&up).len() >= 2).await;
    assert_eq!(run.error(), "");
    let expected = expected(&real.scrape(), &real.address);
    assert!(expected.len() > 80, "{}", expected.len());
    let kept: BTreeSet<String> = run.kept.series().into_iter().collect();
    let report = |series: &&String| series.starts_with("up{") || series.starts_with("scrape_");
    let others: BTreeSet<_> = kept.iter().filter(|series| !report(series)).collect();
    assert_eq!(others, expected.keys().collect());
    assert_eq!(kept.len() - others.len(), 5);
    for (series, value) in &expected {
        let found = run.kept.last(series).unwrap();
        let same = found == *value || found.is_nan() && value.is_nan();
        // Of the host's own values those that never move.
        let fixed =
            ["job_", "runs_total", "node_uname_info", "node_memory_MemTotal_bytes", "node_filesystem_size_bytes"];
        assert!(same || !fixed.iter().any(|fixed| series.starts_with(fixed)), "{series}: {found} and {value}");
    }
    let scraped = format!("scrape_samples_scraped{{instance=\"{}\",job=\"j\"}}", real.address);
    assert_eq!(run.kept.last(&scraped), Some(expected.len() as f64));
}
