//! What Promtail has read is not sent again, and nothing is skipped.

use crate::support::agent::{Agent, Rig};
use crate::support::loki::{Loki, Options};
use crate::support::wait::settles;
use crate::support::writer::append_to;
use lugger::config;
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(800);

fn keeping() -> Loki {
    Loki::start_with(Options { keep: true, ..Options::default() })
}

/// A Promtail file for what is in the rig's directory of logs.
fn promtail(loki: &Loki, rig: &Rig) -> impl Fn(std::net::SocketAddr) -> String {
    let (url, logs, positions) = (loki.url(), rig.logs(), rig.path().join("positions.yaml"));
    move |http| {
        format!(
            "server: {{ http_listen_address: 127.0.0.1, http_listen_port: {} }}\npositions: {{ filename: {} }}\n\
             clients: [{{ url: '{url}', batchwait: 50ms }}]\n\
             scrape_configs: [{{ job_name: app, static_configs: [{{ labels: {{ job: app, __path__: '{}/*.log' }} }}] }}]\n",
            http.port(),
            positions.display(),
            logs.display()
        )
    }
}

fn write_positions(rig: &Rig, text: &str) {
    fs::write(rig.path().join("positions.yaml"), text).unwrap();
}

/// Waits for the last line, then for silence.
#[track_caller]
fn sent(loki: &Loki, last: &str) -> Vec<String> {
    loki.wait_for(last, SOON, |line| line == last);
    settles(QUIET, SOON, || loki.totals().entries);
    loki.assert_no_defects();
    loki.lines()
}

#[track_caller]
fn stop(mut agent: Agent) {
    assert_eq!(agent.stop(STOP).code, Some(0));
}

#[test]
fn positions_are_taken_over_once() {
    let (loki, rig) = (keeping(), Rig::new());
    let (a, b, c) = (rig.log("a.log"), rig.log("b.log"), rig.log("c.log"));
    fs::write(&a, "a1\na2\na3\n").unwrap();
    fs::write(&b, "b1\n").unwrap();
    fs::write(&c, "c1\n").unwrap();
    let entries = format!(
        "positions:\n  {}: \"6\"\n  {}: \"99\"\n  /elsewhere.log: \"5\"\n  cursor-journal: \"s=1\"\n",
        a.display(),
        b.display()
    );
    write_positions(&rig, &entries);
    let agent = rig.start_text(promtail(&loki, &rig));
    append_to(&a, "a4\n");
    // b was truncated, c was not known.
    let mut lines = sent(&loki, "a4");
    lines.sort();
    assert_eq!(lines, ["a3", "a4", "b1", "c1"]);
    let log = agent.stderr();
    assert!(log.contains("positions were taken over") && log.contains("cursors=1"), "{log}");
    stop(agent);
    // Also if the file is still there, and says something else.
    write_positions(&rig, &entries.replace("\"6\"", "\"0\"").replace("\"99\"", "\"0\""));
    let agent = rig.start_text(promtail(&loki, &rig));
    append_to(&b, "b2\n");
    assert_eq!(sent(&loki, "b2").len(), 5);
    assert_eq!(agent.stderr().matches("positions were taken over").count(), 1);
    stop(agent);
}

#[test]
fn the_native_form_takes_them_over_as_well() {
    let (loki, rig) = (keeping(), Rig::new());
    let a = rig.log("a.log");
    fs::write(&a, "a1\na2\n").unwrap();
    write_positions(
        &rig,
        &format!("positions:\n  ? path: {}\n    labels: '{{job=\"app\"}}'\n  : \"3\"\n", a.display()),
    );
    let agent = rig
        .start_text(|http| config::convert_str("promtail.yaml", &promtail(&loki, &rig)(http), &|_| None).unwrap().yaml);
    append_to(&a, "a3\n");
    assert_eq!(sent(&loki, "a3"), ["a2", "a3"]);
    stop(agent);
}

#[test]
fn a_file_that_was_rotated_in_between_is_read_to_its_end_first() {
    let (loki, rig) = (keeping(), Rig::new());
    let a = rig.log("a.log");
    fs::write(&a, "a1\na2\n").unwrap();
    write_positions(&rig, &format!("positions:\n  {}: \"3\"\n", a.display()));
    // The kernel's clock for files has to tick, so that the new file is younger than the positions.
    std::thread::sleep(Duration::from_millis(50));
    fs::rename(&a, rig.log("a.log.1")).unwrap();
    fs::write(&a, "a3\na4\n").unwrap();
    let agent = rig.start_text(promtail(&loki, &rig));
    assert_eq!(sent(&loki, "a4"), ["a2", "a3", "a4"]);
    stop(agent);
}

#[test]
fn positions_that_cannot_be_read_stop_the_start() {
    let rig = Rig::new();
    let path = rig.path().join("positions.yaml");
    let of = |positions: &str| format!("positions: {positions}\nclients: [{{ url: http://loki }}]\n{}\n", crate::FILE);
    let text = of(&format!("{{ filename: {} }}", path.display()));
    // Not there is none.
    assert_eq!(crate::load(&text).unwrap().plan.imports, []);
    fs::write(&path, "positions:\n  /x.log: many\n").unwrap();
    let report = crate::load(&text).expect_err("no number").to_string();
    assert!(
        report.contains(
            "promtail.yaml:1:24: these positions cannot be read: line 2: the position of \"/x.log\" is no number"
        ),
        "{report}"
    );
    let lenient = crate::load(&of(&format!("{{ filename: {}, ignore_invalid_yaml: true }}", path.display()))).unwrap();
    assert_eq!(lenient.plan.imports, []);
    assert!(lenient.warnings.to_string().contains("the positions are not taken over"), "{}", lenient.warnings);
    fs::write(&path, "positions:\n  /x.log: \"12\"\n").unwrap();
    assert_eq!(crate::load(&text).unwrap().plan.imports[0].files, [("/x.log".into(), 12)]);
}
