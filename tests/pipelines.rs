//! Pipelines as a user meets them, by the real binary: tests of pipelines, recipes, dry runs, and what arrives at an endpoint.

mod support;

use lugger::base::clock::Clock;
use lugger::format::civil::format_rfc3339_ns;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use support::agent::{Config, FileSource, Rig};
use support::loki::{Loki, Options};
use support::wait::wait_until;
use support::writer::append_to;

const LONG: Duration = Duration::from_secs(30);

fn lugger(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lugger"));
    // Times without a zone are the host's.
    command.args(arguments).env("TZ", "UTC").env_remove("JOURNAL_STREAM").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    lugger(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn shipped(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

/// What every recipe makes of lines as the programs write them is in tests/recipes.
#[test]
fn recipes_give_the_labels_times_and_lines_that_their_tests_say() {
    let config = shipped("tests/recipes/agent.yaml");
    let output = output(&["test", "--config", &config]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    assert!(shown.ends_with("23 tests, all passed\n"), "{shown}");
    // Each recipe has a test.
    for line in fs::read_to_string(&config).unwrap().lines().filter(|line| line.contains("format: ")) {
        let name = line.split("name: ").nth(1).unwrap().split(',').next().unwrap();
        let tests = fs::read_to_string(shipped("tests/recipes/agent.test.yaml")).unwrap();
        assert!(tests.contains(&format!("source: {name}\n")), "{name}");
    }
}

/// Every recipe has a test, and gives the same when it is written out.
#[test]
fn recipes_that_are_written_out_give_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let written_out = directory.path().join("agent.yaml");
    let config = shipped("tests/recipes/agent.yaml");
    let expanded = output(&["convert", "--expand", &config]);
    assert_eq!(expanded.status.code(), Some(0), "{}", text(&expanded.stderr));
    assert!(!text(&expanded.stdout).contains("}, format: "));
    fs::write(&written_out, &expanded.stdout).unwrap();
    let tests = shipped("tests/recipes/agent.test.yaml");
    let tested = output(&["test", "--config", written_out.to_str().unwrap(), &tests]);
    assert!(text(&tested.stdout).ends_with(" tests, all passed\n"), "{}", text(&tested.stdout));

    let wrong = CONFIG.replace("    labels: { job: app }\n", "    format: zzzzzzzz\n");
    fs::write(&written_out, wrong).unwrap();
    let refused = output(&["check", "--config", written_out.to_str().unwrap()]);
    let names = text(&refused.stderr).split("the formats are: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let config = fs::read_to_string(config).unwrap();
    let missing: Vec<&str> = names.split(", ").filter(|name| !config.contains(&format!("format: {name} }}"))).collect();
    assert!(missing.is_empty() && names.contains("nginx"), "{missing:?} of {names}");
}

const CONFIG: &str = "\
loki: [{ url: 'http://127.0.0.1:1' }]
logs:
  - name: app
    file: { include: /nowhere/app.log }
    labels: { job: app }
    stages:
      - multiline: { firstline: '^\\S' }
      - logfmt: { mapping: { level: , user: , tenant: } }
      - drop: { source: level, value: debug, drop_counter_reason: noise }
      - labels: { level: }
      - structured_metadata: { user: }
      - tenant: { source: tenant }
";

#[test]
fn a_test_that_fails_shows_what_is_different_and_is_exit_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let (config, tests) = (directory.path().join("agent.yaml"), directory.path().join("agent.test.yaml"));
    fs::write(&config, CONFIG).unwrap();
    let config = config.to_str().unwrap();
    let run = |written: &str| {
        fs::write(&tests, written).unwrap();
        let output = output(&["test", "--config", config]);
        let shown = text(&output.stdout).replace(directory.path().to_str().unwrap(), "DIR");
        (output.status.code(), shown, text(&output.stderr).replace(directory.path().to_str().unwrap(), "DIR"))
    };
    let right = "\
tests:
  - name: all of it
    now: 2026-01-01T12:00:00Z
    lines:
      - level=info user=u tenant=t
      - ' more'
      - level=debug
    expect:
      - line: \"level=info user=u tenant=t\\n more\"
        labels: { job: app, level: info }
        timestamp: 2026-01-01T13:00:00+01:00
        metadata: { user: u }
        tenant: t
      - dropped: noise
";
    assert_eq!(run(right), (Some(0), "ok    all of it\n1 test, all passed\n".to_owned(), String::new()));
    let wrong = right
        .replace("level: info }", "level: warn }")
        .replace("13:00:00", "12:00:00")
        .replace("{ user: u }", "{}")
        .replace("tenant: t\n", "tenant: x\n")
        .replace("      - dropped: noise\n", "");
    let expected = r#"FAIL  all of it (DIR/agent.test.yaml:2)
  entry 1 (DIR/agent.test.yaml:9)
    labels    expected {job="app", level="warn"}
              found    {job="app", level="info"}
    timestamp expected 2026-01-01T11:00:00.000000000Z
              found    2026-01-01T12:00:00.000000000Z
    metadata  expected {}
              found    {user="u"}
    tenant    expected "x"
              found    "t"
  entry 2 is not expected: dropped, "noise"
1 test, 1 failed
"#;
    assert_eq!(run(&wrong), (Some(1), expected.to_owned(), String::new()));
    let missing = right.replace("      - dropped: noise\n", "      - dropped: other\n      - line: x\n");
    let (code, shown, _) = run(&missing);
    assert_eq!(code, Some(1));
    assert!(shown.contains("    dropped   expected \"other\"\n              found    \"noise\"\n"), "{shown}");
    assert!(shown.contains("  entry 3 (DIR/agent.test.yaml:15) did not come out\n"), "{shown}");

    let mistaken = "tests:\n  - { source: ap, lines: [a], expct: [] }\n  - { lines: [a], expect: [{}, { dropped: a, line: b }] }\n";
    let (code, _, complaint) = run(mistaken);
    assert_eq!(code, Some(1));
    for expected in [
        "DIR/agent.test.yaml:2:15: no entry of `logs` is named \"ap\"",
        "DIR/agent.test.yaml:2:31: unknown key \"expct\"",
        "DIR/agent.test.yaml:3:28: this says nothing of what comes out",
        "DIR/agent.test.yaml:3:34: what is dropped has nothing else",
    ] {
        assert!(complaint.contains(expected), "{expected}\n---\n{complaint}");
    }
    fs::remove_file(&tests).unwrap();
    let output = output(&["test", "--config", config]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the file of tests cannot be read"), "{}", text(&output.stderr));
}

#[test]
fn recipes_can_be_written_out() {
    let directory = tempfile::tempdir().unwrap();
    let (config, out) = (directory.path().join("agent.yaml"), directory.path().join("out.yaml"));
    let short = CONFIG.replace("    labels: { job: app }\n", "    format: nginx # ours\n    labels: { job: app }\n");
    fs::write(&config, &short).unwrap();
    let expanded = output(&["convert", "--expand", config.to_str().unwrap()]);
    assert_eq!(expanded.status.code(), Some(0), "{}", text(&expanded.stderr));
    let shown = text(&expanded.stdout);
    assert!(shown.contains("    # format: nginx, written out below # ours\n"), "{shown}");
    assert!(
        shown.contains("    stages:\n      # Access log (combined, or alike) and error log.\n      - regex:\n"),
        "{shown}"
    );
    assert!(shown.contains("      - labels: { level: , method: , status: }\n      - multiline:"), "{shown}");
    fs::write(&out, shown).unwrap();
    let checked = output(&["check", "--config", out.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(
        text(&checked.stdout).contains("/nowhere/app.log, 0 files now, to 127.0.0.1, through 10 stages\n"),
        "{checked:?}"
    );
    fs::write(&config, short.replace("nginx", "ngnix")).unwrap();
    let refused = output(&["convert", "--expand", config.to_str().unwrap()]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert!(text(&refused.stderr).contains("did you mean \"nginx\"?"), "{}", text(&refused.stderr));
}

#[test]
fn stdin_goes_through_the_first_pipeline_and_each_stage_says_what_it_did() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("agent.yaml");
    fs::write(&config, CONFIG).unwrap();
    let feed = |more: &[&str]| {
        let mut arguments = vec!["run", "--dry-run", "--stdin", "--config", config.to_str().unwrap()];
        arguments.extend(more);
        let mut child = lugger(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"level=info user=u\n more\r\n\nlevel=debug\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        // The times are those of reading.
        let without_time = |line: &str| match line.split_once("Z {") {
            Some((_, rest)) => format!("TIME {{{rest}"),
            None => line.to_owned(),
        };
        text(&output.stdout).lines().map(without_time).collect::<Vec<_>>().join("\n")
    };
    // The empty line is one, too.
    let plain = "TIME {job=\"app\", level=\"info\"} user=\"u\" level=info user=u\\n more\\n\ndropped noise source=\"app\" level=debug";
    assert_eq!(feed(&[]), plain);
    let inspected = feed(&["--inspect"]);
    for expected in [
        "read level=info user=u\n  1 multiline                waits for further lines\n",
        "  2 logfmt                 + key level = \"info\"\n                           + key user = \"u\"\n",
        "  3 drop                     changes nothing\n",
        "  4 labels                 + label level = \"info\"\n",
        "  5 structured_metadata    + metadata user = \"u\"\n",
        "  3 drop                   - drops the entry\ndropped noise source=\"app\" level=debug",
    ] {
        assert!(inspected.contains(expected), "{expected}\n---\n{inspected}");
    }
    // Not a terminal: no colour.
    assert!(!inspected.contains('\x1b'));
}

/// What `--stdin` shows for these stages and this input; the times are left out.
fn fed(entry: &str, limits: &str, input: &[u8]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("agent.yaml");
    let text = format!(
        "loki: [{{ url: 'http://127.0.0.1:1' }}]\nlimits: {limits}\nlogs:\n  - {{ name: a, file: {{ include: /nowhere/a.log }}, {entry} }}\n"
    );
    fs::write(&config, text).unwrap();
    let mut child = lugger(&["run", "--dry-run", "--stdin", "--config", config.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // Beside reading: both pipes could be full.
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let without_time = |line: &str| line.split_once("Z {").map_or(line.to_owned(), |(_, rest)| format!("{{{rest}"));
    text_lines(&output.stdout).map(without_time).collect()
}

fn text_lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    text(bytes).lines()
}

#[test]
fn a_rehearsal_drops_what_the_agent_would() {
    let tenant = "labels: { j: a }, stages: [{ logfmt: { mapping: { t: } } }, { tenant: { source: t } }]";
    assert_eq!(
        fed(tenant, "{}", b"t=\"team a\"\nt=good\n"),
        ["dropped bad_tenant source=\"a\" t=\"team a\"", "{j=\"a\"} tenant=\"good\" t=good"]
    );
    assert_eq!(fed("stages: [{ decolorize: {} }]", "{}", b"x\n"), ["{} x"], "its file is a label");
    assert_eq!(
        fed("labels: { j: a }, stages: [{ labelallow: [b] }]", "{}", b"x\n"),
        ["dropped no_labels source=\"a\" x"]
    );
    assert_eq!(
        fed("labels: { j: a }, stages: [{ labeldrop: [j, filename] }]", "{}", b"x\n"),
        ["dropped no_labels source=\"a\" x"]
    );
    assert_eq!(fed("labels: { j: a }, stages: [{ labeldrop: [j] }]", "{}", b"x\n"), ["{} x"]);
}

#[test]
fn a_rehearsal_repairs_lines_as_reading_does() {
    let mut input = "long ".repeat(100).into_bytes();
    input.extend_from_slice(b"\n\na\xffb\r\n");
    input.extend(std::iter::repeat_n(b'x', 3_000_000));
    let shown = fed("labels: { j: a }", "{ line: 256B }", &input);
    assert_eq!(shown.len(), 4, "{shown:?}");
    assert!(shown[0].ends_with(" [truncated: line of 500 bytes]") && shown[0].len() == 256 + 8, "{}", shown[0]);
    assert_eq!((shown[1].as_str(), shown[2].as_str()), ("{j=\"a\"} ", "{j=\"a\"} a\u{fffd}b"));
    assert!(shown[3].ends_with(" [truncated: line of 3000000 bytes]"), "{}", shown[3]);
}

#[test]
fn late_labels_are_out_of_reach_of_the_stages() {
    let stages = "[{ structured_metadata: { env: } }, { pack: { labels: [env] } }, { labelallow: [j] }]";
    let entry = format!("labels: {{ j: a }}, late_labels: {{ env: p }}, stages: {stages}");
    assert_eq!(fed(&entry, "{}", b"x\n"), ["{env=\"p\", j=\"a\"} {\"_entry\":\"x\"}"]);
}

#[test]
fn the_label_of_the_tenant_is_the_tenant() {
    let of = |stages: &str| fed(&format!("labels: {{ j: a }}, stages: [{stages}]"), "{}", b"t=one\n");
    assert_eq!(of("{ static_labels: { __tenant_id__: two, k: v } }"), ["{j=\"a\", k=\"v\"} tenant=\"two\" t=one"]);
    let from_key = "{ logfmt: { mapping: { t: } } }, { labels: { __tenant_id__: t } }";
    assert_eq!(of(from_key), ["{j=\"a\"} tenant=\"one\" t=one"]);
    assert_eq!(of(&format!("{from_key}, {{ labeldrop: [__tenant_id__] }}")), ["{j=\"a\"} t=one"]);
}

#[test]
fn a_tenant_that_loki_does_not_take_is_told_of_once() {
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    let rig = Rig::new();
    let stages = "[{ logfmt: { mapping: { t: } } }, { tenant: { source: t } }]";
    let source = FileSource::new("app", rig.log("app.log")).option("stages", stages);
    append_to(&rig.log("app.log"), "t=\"team a\"\nt=\"team b\"\nt=good\n");
    let agent = rig.start(&Config::new(&loki.url()).source(source));
    wait_until("the line", LONG, || loki.lines().len() == 1);
    wait_until("the count", LONG, || {
        agent.metric("lugger_source_dropped_lines_total{reason=\"bad_tenant\",source=\"app\"}") == Some(2.0)
            || agent.metric("lugger_source_dropped_lines_total{source=\"app\",reason=\"bad_tenant\"}") == Some(2.0)
    });
    wait_until("the warning", LONG, || agent.stderr().contains("Loki takes no tenant of this name"));
    let log = agent.stderr();
    assert_eq!(log.matches("Loki takes no tenant of this name").count(), 1, "{log}");
    assert!(log.contains("team a") && !log.contains("team b"), "{log}");
}

#[test]
fn options_of_a_dry_run_need_it() {
    for option in [&["--stdin"][..], &["--inspect"], &["--dry-run", "--source", "a"]] {
        assert_eq!(output(&[&["run"], option].concat()).status.code(), Some(2), "{option:?}");
    }
}

#[test]
fn stdin_is_for_the_source_that_is_named_and_long_lines_are_cut_where_they_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("agent.yaml");
    let entry = |name: &str| {
        format!(
            "  - {{ name: {name}, file: {{ include: /nowhere/{name}.log }}, labels: {{ j: {name} }}, stages: [{{ drop: {{ expression: ^x }} }}] }}\n"
        )
    };
    let text = format!("loki: [{{ url: 'http://127.0.0.1:1' }}]\nlogs:\n{}{}", entry("one"), entry("second"));
    fs::write(&config, text).unwrap();
    let feed = |more: &[&str]| {
        let arguments = [&["run", "--dry-run", "--stdin", "--config", config.to_str().unwrap()], more].concat();
        let mut child = lugger(&arguments);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended before it reads.
        let _ = child.stdin.take().unwrap().write_all(format!("line\n{}\n", "x".repeat(300)).as_bytes());
        child.wait_with_output().unwrap()
    };
    let (first, second, other) = (feed(&[]), feed(&["--source", "second"]), feed(&["--source", "secnod"]));
    let cut = "x".repeat(200);
    for (fed, name) in [(&first, "one"), (&second, "second")] {
        let shown = text_lines(&fed.stdout).collect::<Vec<_>>();
        assert!(shown[0].ends_with(&format!("{{j=\"{name}\"}} line")), "{shown:?}");
        assert_eq!(shown[1], format!("dropped drop_stage source=\"{name}\" {cut}..."));
    }
    let words = self::text(&first.stderr);
    assert!(words.contains("stdin is taken for the first entry") && words.contains("one"), "{words}");
    assert!(!self::text(&second.stderr).contains("stdin is taken"));
    assert_eq!(other.status.code(), Some(1));
    assert!(self::text(&other.stderr).contains("did you mean \"second\"?"), "{}", self::text(&other.stderr));
}

/// A dry run goes on where the agent stopped, shows what would be sent, and leaves everything as it was.
#[test]
fn a_dry_run_sends_nothing_and_moves_no_cursor() {
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    let rig = Rig::new();
    let stages =
        "[{ json: { expressions: { level: } } }, { labels: { level: } }, { drop: { source: level, value: debug } }]";
    let source = FileSource::new("app", rig.log("app.log")).label("job", "app").option("stages", stages);
    let config = Config::new(&loki.url()).source(source);
    append_to(&rig.log("app.log"), "{\"level\":\"info\",\"n\":1}\n");
    let mut agent = rig.start(&config);
    wait_until("the first line", LONG, || loki.lines().len() == 1);
    wait_until("nothing under way", LONG, || agent.metric("lugger_source_lag_bytes") == Some(0.0));
    agent.stop(LONG);
    let state = || {
        let mut files: Vec<_> = fs::read_dir(rig.state())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (fs::read(&path).unwrap(), path))
            .collect();
        files.sort_unstable();
        files
    };
    let (before, requests) = (state(), loki.requests());
    append_to(&rig.log("app.log"), "{\"level\":\"warn\",\"n\":2}\n{\"level\":\"debug\"}\n");
    let config_file = rig.config_file();
    let mut dry = lugger(&["run", "--dry-run", "--config", config_file.to_str().unwrap()]);
    let mut dry = dry.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(dry.stdout.take().unwrap());
    let mut shown = String::new();
    lines.read_line(&mut shown).unwrap();
    let expected = format!(
        "{{filename=\"{}\", job=\"app\", level=\"warn\"}} {{\"level\":\"warn\",\"n\":2}}\n",
        rig.log("app.log").display()
    );
    assert!(shown.ends_with(&expected), "{shown}");
    let mut dropped = String::new();
    lines.read_line(&mut dropped).unwrap();
    let log = rig.log("app.log");
    assert_eq!(dropped, format!("dropped drop_stage source=\"app\" file={log:?} {{\"level\":\"debug\"}}\n"));
    let pid = rustix::process::Pid::from_child(&dry);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(dry.wait().unwrap().code(), Some(0));
    assert_eq!((state(), loki.requests()), (before, requests));
}

#[test]
fn a_dry_run_has_as_many_labels_as_the_limits_say() {
    let rig = Rig::new();
    let mut source = FileSource::new("app", rig.log("app.log"));
    for number in 1..=18 {
        source = source.label(&format!("l{number:02}"), "x");
    }
    append_to(&rig.log("app.log"), "one\n");
    let config = Config::new("http://127.0.0.1:1").source(source).limit("labels", "30");
    let agent = rig.start(&config);
    drop(agent);
    let config_file = rig.config_file();
    let mut dry = lugger(&["run", "--dry-run", "--config", config_file.to_str().unwrap()]);
    let mut dry = dry.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut shown = String::new();
    BufReader::new(dry.stdout.take().unwrap()).read_line(&mut shown).unwrap();
    assert!(shown.contains("filename=") && shown.contains("l18="), "{shown}");
    let pid = rustix::process::Pid::from_child(&dry);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(dry.wait().unwrap().code(), Some(0));
}

/// From the file to the endpoint: a recipe and own stages.
#[test]
fn what_stages_make_of_lines_arrives() {
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    let rig = Rig::new();
    let source = FileSource::new("web", rig.log("app.log"))
        .label("job", "web")
        .option("format", "json")
        .option("stages", "[{ drop: { expression: healthy } }, { labeldrop: [filename] }]");
    // An hour ago: Loki does not take what is much older.
    let at = Clock::System.now_ns() - 3_600_000_000_000;
    let time = format_rfc3339_ns(at);
    let kept = format!("{{\"level\":\"Warn\",\"time\":\"{time}\"}}");
    append_to(&rig.log("app.log"), format!("{{\"msg\":\"healthy\"}}\n{kept}\n"));
    let _agent = rig.start(&Config::new(&loki.url()).source(source));
    wait_until("the line", LONG, || !loki.lines().is_empty());
    let entries = loki.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].stream, "{job=\"web\", level=\"warn\"}");
    assert_eq!((entries[0].at, entries[0].line.as_str()), (at, kept.as_str()));
    loki.assert_no_defects();
}

/// Sources that are no files have pipelines, too: their rules see the labels that a test gives.
#[test]
fn pipelines_of_other_sources_can_be_tried_out() {
    let directory = tempfile::tempdir().unwrap();
    let (config, tests) = (directory.path().join("agent.yaml"), directory.path().join("agent.test.yaml"));
    let stages = "stages: [{ logfmt: { mapping: { level: } } }, { labels: { level: } }]";
    let rules = "relabel_configs: [{ source_labels: [__journal__systemd_unit], target_label: unit }, { source_labels: [unit], regex: noise, action: drop }]";
    let text = format!(
        "labels: {{ site: home }}
loki: [{{ url: 'http://127.0.0.1:1' }}]
logs:
  - {{ name: j, journal: {{}}, labels: {{ job: j }}, {rules}, {stages} }}
  - {{ name: s, syslog: {{ listen: 'udp://127.0.0.1:1514' }}, relabel_configs: [{{ source_labels: [__syslog_message_hostname], target_label: host }}, {{ regex: site, action: labeldrop }}], {stages} }}
  - {{ name: d, docker: {{ host: 'unix:///nowhere/d.sock', containers: /nowhere }}, {stages} }}
  - {{ name: p, push: {{ listen: '127.0.0.1:3500' }}, stages: [{{ labeldrop: [site] }}] }}
"
    );
    fs::write(&config, text).unwrap();
    let written = "\
tests:
  - { source: j, labels: { __journal__systemd_unit: sshd.service }, lines: [level=warn], expect: [{ labels: { site: home, job: j, unit: sshd.service, level: warn } }] }
  - { source: j, labels: { __journal__systemd_unit: noise }, lines: [a, b], expect: [{ dropped: relabel }, { dropped: relabel }] }
  - { source: s, labels: { __syslog_message_hostname: nas }, lines: [x], expect: [{ labels: { site: home, host: nas } }] }
  - { source: d, labels: { container: till }, lines: [level=info], expect: [{ labels: { site: home, container: till, level: info } }] }
  - { source: p, lines: [x], expect: [{ dropped: no_labels }] }
";
    fs::write(&tests, written).unwrap();
    let config = config.to_str().unwrap();
    let tested = output(&["test", "--config", config]);
    let shown = text_lines(&tested.stdout).last();
    assert_eq!(shown, Some("5 tests, all passed"), "{}{}", self::text(&tested.stdout), self::text(&tested.stderr));
    let receiving = directory.path().join("receiving.yaml");
    fs::write(&receiving, "loki: [{ url: 'http://127.0.0.1:1' }]\nlogs: [{ push: { listen: '127.0.0.1:3500' } }]\n")
        .unwrap();
    let nothing = output(&["run", "--dry-run", "--config", receiving.to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(self::text(&nothing.stderr).contains("no source is left that could be shown"), "{nothing:?}");
    let feed = |source: &str| {
        let mut child = lugger(&["run", "--dry-run", "--stdin", "--source", source, "--config", config]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"level=warn\n").unwrap();
        let shown = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        shown.split_once("Z {").map(|(_, rest)| format!("{{{rest}")).unwrap_or(shown)
    };
    assert_eq!(feed("j"), "{job=\"j\", level=\"warn\", site=\"home\"} level=warn\n");
    assert_eq!(feed("s"), "{level=\"warn\", site=\"home\"} level=warn\n");
    assert_eq!(feed("p"), "dropped no_labels source=\"p\" level=warn\n");
}
