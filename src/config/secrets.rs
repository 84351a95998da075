//! Which parts of a configuration's text are secret, or could be, so that reports hide them.
//!
//! A report shows lines of the file, and a password may stand on any of them: in the right place, under a misspelt key, in a map that is
//! indented wrongly, in a file that is not even YAML. So this errs on the side of hiding: inside an endpoint it hides every value
//! whose key is not known to be harmless; elsewhere every value whose key sounds like a secret; and where there is no tree, it goes by
//! the lines alone.
//!
//! Leaves to others: user and password in URLs, which [`super::source`] hides wherever they stand.

use super::source::{Pos, Source, Span};
use super::tree::{Node, Value};
use super::words::nearest;

/// Keys within an endpoint whose values anybody may see.
const HARMLESS: [&str; 21] = [
    "loki",
    "clients",
    "remote_write",
    "name",
    "url",
    "tenant_id",
    "username",
    "password_file",
    "bearer_token_file",
    "ca_file",
    "cert_file",
    "key_file",
    "server_name",
    "insecure_skip_verify",
    "proxy_url",
    "timeout",
    "batch_size",
    "batch_wait",
    "min",
    "max",
    "backoff",
];

/// Keys whose values are secret, for what is near to them.
const SECRET: [&str; 2] = ["password", "bearer_token"];

/// Where a value stands, as far as its secrecy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Around {
    /// Nothing special.
    Open,
    /// In an endpoint: harmless keys only.
    Endpoint,
    /// Under something that sounds secret, or `headers`: nothing is shown.
    Closed,
}

/// The places of all values that may be secret.
pub(super) fn in_tree(root: &Node) -> Vec<Span> {
    let mut spans = Vec::new();
    walk(root, Around::Open, true, &mut spans);
    spans
}

fn walk(node: &Node, around: Around, shown: bool, spans: &mut Vec<Span>) {
    match &node.value {
        Value::Scalar(scalar) if shown || scalar.is_null() => {}
        Value::Scalar(_) => spans.push(node.span),
        Value::List(items) => items.iter().for_each(|item| walk(item, around, shown, spans)),
        Value::Map(entries) => {
            for entry in entries.iter().chain(&node.dropped) {
                let (around, shown) = enter(&entry.key, around);
                walk(&entry.value, around, shown, spans);
            }
        }
    }
}

/// What is around the value of `key`, and whether the value itself may be shown.
fn enter(key: &str, around: Around) -> (Around, bool) {
    let endpoint = matches!(key, "loki" | "clients" | "remote_write" | "basic_auth" | "tls_config");
    let around = if key == "headers" || sounds_secret(key) {
        Around::Closed
    } else if endpoint {
        around.max(Around::Endpoint)
    } else {
        around
    };
    let shown = match around {
        Around::Open => true,
        Around::Endpoint => is_harmless(key),
        // What is below says nothing: a header may be called `name`.
        Around::Closed => false,
    };
    (around, shown)
}

fn is_harmless(key: &str) -> bool {
    let all = HARMLESS.iter().chain(&SECRET).copied();
    HARMLESS.contains(&key) || nearest(key, all).is_some_and(|near| HARMLESS.contains(&near))
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    if key.ends_with("_file") || HARMLESS.contains(&key.as_str()) {
        return false;
    }
    ["pass", "token", "secret", "credential", "authorization", "bearer", "cookie", "apikey", "api-key", "api_key"]
        .iter()
        .any(|word| key.contains(word))
        || nearest(&key, SECRET).is_some()
}

/// The same for a text that is no tree: by the keys that stand in a line and above it.
pub(super) fn in_lines(source: &Source<'_>) -> Vec<Span> {
    let mut spans = Vec::new();
    // The keys whose values may go on, with their indentation.
    let mut open: Vec<(usize, Around)> = Vec::new();
    for (i, line) in source.lines().iter().enumerate() {
        let content = line.trim_start_matches([' ', '\t', '-']);
        if content.is_empty() {
            continue;
        }
        let indent = line.chars().count() - content.chars().count();
        while open.last().is_some_and(|(at, _)| *at >= indent) {
            open.pop();
        }
        let above = open.last().map_or(Around::Open, |(_, around)| *around);
        // The first key of the line is the one that later lines belong to; of the others, the first that is secret counts.
        let mut hidden_from = (above == Around::Closed && !content.contains(':')).then_some(0);
        let mut first = true;
        let mut inside = above;
        for (at, _) in content.match_indices([':', '=']) {
            let before = content.get(..at).unwrap_or("");
            let key =
                before.rsplit([' ', '\t', '{', '[', ',', ':', '=']).next().unwrap_or("").trim_matches(['"', '\'']);
            // `http://` and `localhost:3100` have no key; `password:hunter2` is the slip of somebody who meant one.
            let goes_on = content.get(at + 1..).is_some_and(|rest| !rest.is_empty() && !rest.starts_with([' ', '\t']));
            if goes_on && !before.ends_with(['"', '\'']) && !sounds_secret(key) {
                continue;
            }
            let (around, shown) = enter(key, inside);
            inside = around;
            if first {
                open.push((indent, around));
                first = false;
            }
            // Of `basic_auth: { … }` the keys inside decide.
            let goes_inside = content.get(at + 1..).is_some_and(|rest| rest.trim_start().starts_with(['{', '[']));
            let hide = around == Around::Closed || (around == Around::Endpoint && !shown && !goes_inside);
            if hide && hidden_from.is_none() {
                hidden_from = Some(before.chars().count() + 1);
            }
        }
        if let Some(from) = hidden_from {
            let column = indent + from + 1;
            let blanks = line.chars().skip(column - 1).take_while(|c| c.is_whitespace()).count();
            let length = line.chars().count();
            if column + blanks <= length {
                spans.push(Span {
                    start: Pos { line: i + 1, column: column + blanks },
                    end: Pos { line: i + 1, column: length + 1 },
                });
            }
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn shown(source: &mut Source<'_>, spans: Vec<Span>) -> String {
        source.hide(spans);
        let lines: Vec<String> =
            (1..=source.lines().len()).map(|line| source.excerpt(Span::at(line, 1)).text).collect();
        lines.join("\n")
    }

    #[test]
    fn values_that_may_be_secret_are_hidden_wherever_they_stand() {
        let text = "\
loki:
  - url: http://localhost
    basic_auth: { username: me, password: hunter2, pasword: hunter2 }
    bearer_token: >
      hunter2
      hunter2
    headers: { X-Key: hunter2, name: hunter2 }
    batch_sise: 5
    psswd: [hunter2]
basic_auth:
  password: hunter2
  password_file: /etc/pass
labels: { job: nginx, token: hunter2 }
shared: &pw hunter2
again: { password: *pw }";
        let root = tree::parse(text).unwrap().root;
        let shown = shown(&mut Source::new(text), in_tree(&root));
        assert!(!shown.contains("hunter2"), "{shown}");
        for kept in ["http://localhost", "username: me", "batch_sise: 5", "/etc/pass", "job: nginx"] {
            assert!(shown.contains(kept), "{kept} in\n{shown}");
        }
    }

    #[test]
    fn also_when_the_text_is_no_tree() {
        let text = "\
loki:
  - url: http://localhost
    basic_auth: { username: me, password: hunter2, x: hunter2
    \"bearer_token\": >
      hunter2 hunter2
    headers:
      X-Key: hunter2
\t  password : hunter2
logs:
  - file: { include: /var/log/*.log }
    labels: { job: a: b }";
        let mut source = Source::new(text);
        let spans = in_lines(&source);
        let shown = shown(&mut source, spans);
        assert!(!shown.contains("hunter2"), "{shown}");
        for kept in ["http://localhost", "username: me", "/var/log/*.log", "job: a: b"] {
            assert!(shown.contains(kept), "{kept} in\n{shown}");
        }
    }
}
