//! agent.example.yaml is right, complete, and right in what it has switched off.

use crate::{good, load};
use std::path::Path;

fn text() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("agent.example.yaml")).unwrap()
}

#[test]
fn it_is_accepted_without_a_warning_and_with_the_defaults() {
    let loaded = good(&text());
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let shortest = good(crate::SHORTEST).plan;
    // What it shows as defaults are the defaults.
    let (shown, default) = (&loaded.plan.loki[0], &shortest.loki[0]);
    assert_eq!(
        (shown.timeout, shown.batch_wait, shown.backoff),
        (default.timeout, default.batch_wait, default.backoff)
    );
    assert_eq!(shown.batch_bytes, default.batch_bytes);
    assert_eq!(loaded.plan.files[0].settings.label_caps, shortest.files[0].settings.label_caps);
    assert_eq!(loaded.plan.files[0].settings.line_bytes, shortest.files[0].settings.line_bytes);
    assert_eq!(
        (loaded.plan.http, loaded.plan.memory_bytes, loaded.plan.state_dir),
        (shortest.http, shortest.memory_bytes, shortest.state_dir)
    );
    assert_eq!((loaded.plan.spool_bytes, loaded.plan.spool_age), (shortest.spool_bytes, shortest.spool_age));
}

/// The keys that are valid where `zzzzzzzz` stands in `template`, as the report lists them.
fn keys(template: &str) -> Vec<String> {
    let report = load(template).expect_err(template).to_string();
    let list = ["the keys here are: ", "the stages are: "].iter().find_map(|words| report.split(words).nth(1));
    let list = list.unwrap_or_else(|| panic!("{report}"));
    list.lines().next().unwrap_or("").split(", ").filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

#[test]
fn it_shows_every_key() {
    let example = text();
    let mut missing = Vec::new();
    let templates = [
        "zzzzzzzz: 1",
        "loki: [{ zzzzzzzz: 1 }]",
        "loki: [{ basic_auth: { zzzzzzzz: 1 } }]",
        "loki: [{ tls_config: { zzzzzzzz: 1 } }]",
        "loki: [{ backoff: { zzzzzzzz: 1 } }]",
        "loki: [{ rate: { zzzzzzzz: 1 } }]",
        "remote_write: [{ zzzzzzzz: 1 }]",
        "remote_write: [{ authorization: { zzzzzzzz: 1 } }]",
        "remote_write: [{ queue_config: { zzzzzzzz: 1 } }]",
        "remote_write: [{ metadata_config: { zzzzzzzz: 1 } }]",
        "remote_write: [{ write_relabel_configs: [{ zzzzzzzz: 1 }] }]",
        "logs: [{ rate: { zzzzzzzz: 1 } }]",
        "metrics: { zzzzzzzz: 1 }",
        "metrics: { scrape: [{ zzzzzzzz: 1 }] }",
        "metrics: { scrape: [{ authorization: { zzzzzzzz: 1 } }] }",
        "metrics: { scrape: [{ http_headers: { X: { zzzzzzzz: 1 } } }] }",
        "metrics: { scrape: [{ static_configs: [{ zzzzzzzz: 1 }] }] }",
        "metrics: { scrape: [{ file_sd_configs: [{ zzzzzzzz: 1 }] }] }",
        "metrics: { scrape: [{ metric_relabel_configs: [{ zzzzzzzz: 1 }] }] }",
        "logs: [{ zzzzzzzz: 1 }]",
        "logs: [{ file: { zzzzzzzz: 1 } }]",
        "logs: [{ journal: { zzzzzzzz: 1 } }]",
        "logs: [{ docker: { zzzzzzzz: 1 } }]",
        "logs: [{ docker: { filters: [{ zzzzzzzz: 1 }] } }]",
        "logs: [{ syslog: { zzzzzzzz: 1 } }]",
        "logs: [{ syslog: { tls_config: { zzzzzzzz: 1 } } }]",
        "logs: [{ push: { zzzzzzzz: 1 } }]",
        "logs: [{ gelf: { zzzzzzzz: 1 } }]",
        "logs: [{ stdin: { zzzzzzzz: 1 } }]",
        "logs: [{ relabel_configs: [{ zzzzzzzz: 1 }] }]",
        "http: { zzzzzzzz: 1 }",
        "limits: { zzzzzzzz: 1 }",
    ];
    let stages = keys("logs: [{ stages: [{ zzzzzzzz: 1 }] }]");
    assert!(stages.len() > 20, "{stages:?}");
    let of_stages = stages.iter().filter_map(|stage| {
        let template = format!("logs: [{{ stages: [{{ {stage}: {{ zzzzzzzz: 1 }} }}] }}]");
        // Those whose keys are names of one's own have nothing to show.
        let report = load(&template).expect_err(&template).to_string();
        report.contains("the keys here are: ").then_some(template)
    });
    let kinds = ["counter", "gauge", "histogram"];
    let of_metrics = kinds.map(|kind| {
        format!("logs: [{{ stages: [{{ metrics: {{ m: {{ type: {kind}, config: {{ zzzzzzzz: 1 }} }} }} }}] }}]")
    });
    let metric = "logs: [{ stages: [{ metrics: { m: { zzzzzzzz: 1 } } }] }]".to_owned();
    let templates = templates.map(str::to_owned).into_iter().chain(of_stages).chain(of_metrics).chain([metric]);
    for template in templates.collect::<Vec<_>>() {
        for key in keys(&template).into_iter().chain(stages.clone()) {
            let stands = example.match_indices(&format!("{key}:")).any(|(at, _)| {
                // At the start of a setting, switched on or off, not in the middle of another word.
                example[..at].ends_with([' ', '#', '\n'])
            });
            if !stands {
                missing.push(format!("{key} of {template}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Whether a line is a setting that is switched off: `#` and no blank.
fn is_off(line: &str) -> bool {
    line.trim_start().strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace() && c != '#'))
}

#[test]
fn what_is_switched_off_can_be_switched_on() {
    let example = text();
    let lines: Vec<&str> = example.lines().collect();
    let mut blocks = 0;
    for (i, line) in lines.iter().enumerate().filter(|(_, line)| is_off(line)) {
        // An entry goes on with the `#` lines below it, and so does what has nothing on its own line; any other setting is one line.
        let entry = line.trim_start().starts_with("#- ") || line.ends_with(':');
        let end = if entry {
            lines.iter().skip(i).position(|line| !line.trim_start().starts_with('#')).map_or(lines.len(), |n| i + n)
        } else {
            i + 1
        };
        let switched: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(n, line)| if (i..end).contains(&n) { line.replacen('#', "", 1) } else { (*line).to_owned() })
            .collect();
        blocks += 1;
        let has = |key: &str| switched.iter().any(|line| line.starts_with(key));
        // Neither has a meaning without the other.
        let other = match (has("remote_write:"), has("metrics:")) {
            (true, false) => "\nmetrics: { host: {} }\n",
            (false, true) => "\nremote_write: [{ name: home, url: 'http://127.0.0.1:9090/api/v1/write' }]\n",
            _ => "",
        };
        if let Err(report) = load(&(switched.join("\n") + other)) {
            // Files that the settings name are not on every host; nothing else may be wrong.
            for problem in report.problems() {
                assert!(problem.message.starts_with("this file cannot be read"), "{report}");
            }
        }
    }
    assert!(blocks > 8, "{blocks}");
}
