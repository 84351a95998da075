//! A real Prometheus that takes remote write: Debian's package `prometheus`, 2.42, which knows 1.0 only.

use super::wait::wait_until;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A Prometheus with a directory and a port of its own, which survive when it is killed.
pub struct Prometheus {
    directory: TempDir,
    pub addr: SocketAddr,
    child: Option<Child>,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Default for Prometheus {
    fn default() -> Self {
        Self::new()
    }
}

impl Prometheus {
    /// One that does not run yet.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("prometheus.yml"), "global: {}\n").unwrap();
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Prometheus { directory, addr, child: None }
    }

    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(&mut self) {
        let path = |name: &str| self.directory.path().join(name);
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address={}", self.addr))
            .arg("--web.enable-remote-write-receiver")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Debian's package prometheus is needed; tests/run installs it");
        self.child = Some(child);
        let ready = || self.get("/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.0 200"));
        wait_until("Prometheus is ready", Duration::from_secs(60), ready);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The whole answer.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.addr).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        // 1.0, so that it comes in one piece.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.addr).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// What a query finds at a time.
    #[track_caller]
    pub fn query(&self, expression: &str, at_ms: i64) -> Vec<serde_json::Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/api/v1/query?query={encoded}&time={}.{:03}", at_ms / 1000, at_ms % 1000);
        let answer = self.get(&path).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(body["status"], "success", "{body}");
        match body["data"]["result"].take() {
            serde_json::Value::Array(found) => found,
            other => panic!("{other}"),
        }
    }

    /// All samples of a metric in the hour before a time: by series, times in milliseconds and values as text.
    pub fn samples(&self, name: &str, at_ms: i64) -> BTreeMap<String, Vec<(i64, String)>> {
        let found = self.query(&format!("{name}[1h]"), at_ms);
        let series = found.into_iter().map(|series| {
            let values = series["values"].as_array().unwrap().iter().map(|pair| {
                let time = (pair[0].as_f64().unwrap() * 1000.0).round();
                (time as i64, pair[1].as_str().unwrap().to_owned())
            });
            (series["metric"]["n"].as_str().unwrap_or("").to_owned(), values.collect())
        });
        series.collect()
    }
}
