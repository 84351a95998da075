//! Secrets are in no report and no debugging output, whatever is wrong around them.

use crate::load;

const TEXT: &str = "\
labels: { job: a }
loki:
  - url: https://localhost
    tenant_id: a
    basic_auth:
      username: me
      password: hunter2
  - url: https://localhost
    headers: { X-Key: hunter2, \"Y\": \"hunter2\" }
    bearer_token: \"hunter2\"
  - { url: https://localhost, basic_auth: { password: 'hunter2', username: me } }
  - url: https://localhost
    bearer_token: |
      hunter2
logs:
  - file: { include: /x/*.log }
    stages:
      - redact: { kinds: all, hash_salt: hunter2 }
      - redact:
          patterns: { a: b }
          hash_salt: 'hunter2'
";

fn check(text: &str) {
    let (shown, debug) = match load(text) {
        Ok(loaded) => (loaded.warnings.to_string(), format!("{loaded:?}")),
        Err(report) => (report.to_string(), format!("{report:?}")),
    };
    assert!(!shown.contains("hunter2"), "{shown}\n--- in\n{text}");
    assert!(!debug.contains("hunter2"), "{debug}\n--- in\n{text}");
}

#[test]
fn one_slip_anywhere_shows_no_secret() {
    check(TEXT);
    let places: Vec<usize> = TEXT.char_indices().map(|(at, _)| at).collect();
    for &at in &places {
        let (before, after) = TEXT.split_at(at);
        let mut without = after.chars();
        without.next();
        check(&format!("{before}{}", without.as_str()));
        for slip in [":", " ", "\n", "\t", "\"", "'", "{", "}", "[", ",", "-", "#", "&", "*", "!", "x", ": ", "\0"] {
            check(&format!("{before}{slip}{after}"));
        }
    }
}

#[test]
fn a_line_that_is_missing_or_indented_wrongly_shows_no_secret() {
    let lines: Vec<&str> = TEXT.lines().collect();
    for i in 0..lines.len() {
        let mut changed = lines.clone();
        changed.remove(i);
        check(&changed.join("\n"));
        for indent in ["", " ", "   ", "        ", "\t"] {
            let moved = format!("{indent}{}", lines[i].trim_start());
            let mut changed = lines.clone();
            changed[i] = &moved;
            check(&changed.join("\n"));
        }
        let mut changed = lines.clone();
        changed.insert(i, lines[i]);
        check(&changed.join("\n"));
    }
}
