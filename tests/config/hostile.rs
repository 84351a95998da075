//! Whatever a file contains, reading it ends with a plan or a report, and the report's places are in the file.

use crate::load;
use lugger::base::limits::CONFIG_PROBLEMS;
use proptest::prelude::*;

/// Reads `text` and checks every place that is reported.
fn check(text: &str) {
    let report = match load(text) {
        Ok(loaded) => loaded.warnings,
        Err(report) => {
            assert!(!report.is_empty(), "refused without a reason: {text:?}");
            report
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in report.problems() {
        if let Some(place) = problem.place {
            let line = lines.get(place.line.wrapping_sub(1)).unwrap_or_else(|| panic!("{problem:?} in {text:?}"));
            assert!((1..=line.chars().count() + 1).contains(&place.column), "{problem:?} in {text:?}");
        }
    }
    let _ = report.to_string();
}

/// Pieces of which something like YAML is made.
const PIECES: [&str; 47] = [
    "loki",
    "logs",
    "file",
    "include",
    "url",
    "labels",
    "to",
    "limits",
    "basic_auth",
    "password",
    "backoff",
    "rate",
    "max_streams",
    "label_value",
    ":",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "\"",
    "'",
    "|\n",
    ">\n",
    "&a ",
    "*a",
    "<<: ",
    "!t ",
    "!!str ",
    "---\n",
    "...\n",
    "? ",
    "# ",
    "%YAML 1.2\n",
    "\t",
    "${",
    "}",
    "${HOSTNAME}",
    "/x/*.log",
    "http://h",
    "5",
    "\r",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "(?s).{0,200}") {
        check(&text);
    }

    #[test]
    fn any_pieces_of_yaml(pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..60)) {
        check(&pieces.concat());
    }

    #[test]
    fn any_mutation_of_the_example(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..40, proptest::sample::select(&PIECES[..])), 1..6)
    ) {
        let mut text: Vec<char> = include_str!("../../agent.example.yaml").chars().collect();
        for (at, length, piece) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        check(&text.into_iter().collect::<String>());
    }
}

#[test]
fn aliases_that_multiply_are_stopped() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let item = format!("*a{}", i - 1);
        text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![item; 10].join(", ")));
    }
    let report = load(&text).expect_err("stopped").to_string();
    assert!(report.contains("more than 100000 values"), "{report}");
    // One long text, repeated.
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 10_000].join(", "));
    let report = load(&text).expect_err("stopped").to_string();
    assert!(report.contains("more than 100000 values"), "{report}");
}

#[test]
fn depth_is_bounded() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(10_000)] {
        let report = load(&text).expect_err("stopped").to_string();
        assert!(!report.is_empty());
    }
    let text = format!("{}x{}", "[".repeat(65), "]".repeat(65));
    let report = load(&text).expect_err("stopped").to_string();
    assert!(report.contains("more than 64 deep"), "{report}");
    // By aliases: each repeats the one before, one deeper.
    let mut text = "a0: &a0 [x]\n".to_owned();
    for i in 1..70 {
        text.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    let report = load(&text).expect_err("stopped").to_string();
    assert!(report.contains("more than 64 deep"), "{report}");
}

#[test]
fn the_number_of_problems_is_bounded() {
    for line in ["colour", "loki"] {
        let text: String = (0..3000).map(|i| format!("{line}{i}: ${{X}}\n")).collect();
        let report = load(&text).expect_err("refused");
        assert_eq!(report.problems().len(), CONFIG_PROBLEMS);
        assert!(report.to_string().ends_with("more problems are not shown; correct these first"), "{report}");
    }
    // On one long line, which is where looking for places costs most.
    let items = vec!["{ file: { include: x, exclude: \"${X}\" } }"; 3000].join(", ");
    let report = load(&format!("logs: [{items}]")).expect_err("refused");
    assert_eq!(report.problems().len(), CONFIG_PROBLEMS);
    assert!(report.to_string().lines().all(|line| line.chars().count() < 300), "{report}");
}
