//! `${NAME}` and `${NAME:-default}` in the values of a configuration.
//!
//! The rules: `${NAME}` is the variable's text; unset, it is an error. `${NAME:-default}` is `default` when the variable is unset or
//! empty. `$${` is a literal `${`; a `$` before anything else is a plain dollar, so that passwords and patterns need no care; `${1}` stays as it is:
//! no variable is called so, but replacements name their groups like this. Keys are left alone. A plain value is typed after substitution: `${SKIP}` may become `true`.
//!
//! Promises: it runs after the YAML is parsed, so that no variable can bring in structure; what a variable contains is in no message.
//! Leaves to others: which variables there are.

use super::report::Finding;
use super::tree::{Node, Scalar, Value};

/// Looks a variable up.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The process's environment. `HOSTNAME` is the host's name if nobody exported it; services of systemd do not get it otherwise.
pub fn process(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() && name == "HOSTNAME" {
        return rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
    }
    value
}

/// Substitutes in every scalar below `node`; what cannot be is reported and removed. `false`: `node` itself is such a value.
pub(super) fn substitute(node: &mut Node, env: &Lookup<'_>, findings: &mut Vec<(Finding, String)>) -> bool {
    let lost = &mut node.lost;
    match &mut node.value {
        Value::Scalar(scalar) => match expand(&scalar.text, env) {
            Ok(None) => true,
            Ok(Some(text)) => {
                let written = Some(std::mem::take(&mut scalar.text));
                *scalar = Scalar { text, plain: scalar.plain, written };
                true
            }
            Err(Bad { message, help, written, unset }) => {
                let finding = Finding::error(node.span, message).help(help);
                findings.push((if unset { finding.of_host() } else { finding }, written));
                false
            }
        },
        Value::List(items) => {
            items.retain_mut(|item| {
                let keep = substitute(item, env, findings);
                if !keep {
                    lost.push(String::new());
                }
                keep
            });
            true
        }
        Value::Map(entries) => {
            entries.retain_mut(|entry| {
                let keep = substitute(&mut entry.value, env, findings);
                if !keep {
                    lost.push(entry.key.clone());
                }
                keep
            });
            true
        }
    }
}

/// Why a text could not be expanded.
struct Bad {
    message: String,
    help: String,
    /// What the place is narrowed to.
    written: String,
    /// There is no such variable here.
    unset: bool,
}

/// `Ok(None)`: there was nothing to substitute.
fn expand(text: &str, env: &Lookup<'_>) -> Result<Option<String>, Bad> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let inner = from.get(2..).unwrap_or("");
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = inner;
            continue;
        }
        out.push_str(before);
        let Some((reference, tail)) = inner.split_once('}') else {
            return Err(Bad {
                message: "`${` without its `}`".to_owned(),
                help: "close it, or write `$${` for the two characters themselves".to_owned(),
                written: "${".to_owned(),
                unset: false,
            });
        };
        let written = format!("${{{reference}}}");
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if !reference.is_empty() && reference.bytes().all(|b| b.is_ascii_digit()) {
            out.push_str(&written);
            rest = tail;
            continue;
        }
        let mut bytes = name.bytes();
        let valid = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !valid || default.is_some_and(|default| default.contains("${")) {
            return Err(Bad {
                message: "this is not a reference to an environment variable".to_owned(),
                help: "write ${NAME} or ${NAME:-default}, not nested; `$${` stands for the two characters themselves"
                    .to_owned(),
                written: "${".to_owned(),
                unset: false,
            });
        }
        match (env(name), default) {
            (Some(value), None) => out.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => out.push_str(&value),
            (_, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err(Bad {
                    message: format!("the environment variable {name} is not set"),
                    help: format!(
                        "set it (in the service's Environment= or EnvironmentFile=), or write ${{{name}:-default}}"
                    ),
                    written,
                    unset: true,
                });
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "DOLLAR" => Some("${A}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_defaults_and_escapes() {
        let expand = |text| super::expand(text, &env).map_err(|bad| bad.message);
        for (text, expected) in [
            ("x${A}y${A}", "x1y1"),
            ("${NONE:-d e}", "d e"),
            ("${EMPTY:-d}", "d"),
            ("[${EMPTY}]", "[]"),
            ("${A:-d}", "1"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("${1}:${A}", "${1}:1"),
            // What a variable brings in is not looked at again.
            ("${DOLLAR}", "${A}"),
        ] {
            assert_eq!(expand(text), Ok(Some(expected.to_owned())), "{text}");
        }
        for text in ["$A", "a$", "$", "$$", "100$ {A}"] {
            assert_eq!(expand(text), Ok(None), "{text}");
        }
        for text in ["${NONE}", "${A", "${}", "${1A}", "${A:?x}", "${NONE:-${A}}"] {
            assert!(expand(text).is_err(), "{text}");
        }
    }
}
