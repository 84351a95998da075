//! The stage `redact`: what is looked for, and what stands in its place.

use super::raw;
use super::stages::Written;
use crate::base::limits::CONFIG_SALT_BYTES;
use crate::base::secret::Secret;
use crate::base::words::suggest;
use crate::config::check::Check;
use crate::config::file::plain;
use crate::config::raw::{Hidden, OneOrMany};
use crate::pipeline::redact::{Custom, Kind, Mark, Settings};
use crate::pipeline::settings::Redact;
use std::fs::File;
use std::io::Read;

/// All kinds but addresses, which many need to see in their logs.
const ALL: &str = "all";

/// The stage's settings.
pub(super) fn redact(mut w: Written<'_>, check: &mut Check<'_>) -> Redact {
    let before = check.errors();
    let raw: raw::Redact = w.read(check);
    let kinds = kinds(raw.kinds, &w, check);
    let patterns = raw.patterns.map_or_else(Vec::new, |patterns| patterns.0);
    let custom: Vec<Custom> = patterns.into_iter().map(|(name, expression)| Custom { name, expression }).collect();
    if kinds.is_empty() && custom.is_empty() && check.errors() == before {
        let help =
            format!("add `kinds: [{}]`, some of them, or `patterns: {{ name: expression }}`", names().join(", "));
        check.error(w.key, "`redact` looks for nothing", help);
    }
    let given = [
        ("replace", raw.replace.is_some()),
        ("hash_salt", raw.hash_salt.is_some()),
        ("hash_salt_file", raw.hash_salt_file.is_some()),
    ];
    let mut given = given.into_iter().filter(|(_, given)| *given).map(|(option, _)| option);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        let span = w.options.key_span(second);
        check.error(span, format!("`{first}` and `{second}` cannot be used together"), "keep one of them");
    }
    let mark = match (raw.replace, raw.hash_salt, raw.hash_salt_file) {
        (Some(text), ..) => Mark::Text(text),
        (None, Some(Hidden(salt)), _) => Mark::Hash(sound(salt, "hash_salt", &w, check)),
        (None, None, Some(path)) => Mark::Hash(salt_in(&path, &w, check)),
        (None, None, None) => Mark::Kind,
    };
    Redact { source: w.perhaps(raw.source, "source", check), what: Settings { kinds, custom, mark } }
}

fn names() -> Vec<&'static str> {
    Kind::ALL.into_iter().map(Kind::name).collect()
}

fn kinds(written: Option<OneOrMany>, w: &Written<'_>, check: &mut Check<'_>) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let place = w.options.child("kinds");
    for (i, name) in written.map_or_else(Vec::new, |names| names.0).iter().enumerate() {
        match Kind::by_name(name) {
            Some(kind) => kinds.push(kind),
            None if name == ALL => kinds.extend(Kind::ALL.into_iter().filter(|kind| *kind != Kind::Ip)),
            None => {
                let help = suggest(name, "the kinds are", names().into_iter().chain([ALL]));
                check.error(place.item(i).span, format!("{name:?} is no kind of secret that lugger knows"), help);
            }
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// A salt that is one.
fn sound(salt: Secret, option: &str, w: &Written<'_>, check: &mut Check<'_>) -> Secret {
    if salt.expose().is_empty() {
        check.error(w.place(option), "the salt is empty", "make one with `openssl rand -hex 32`");
    }
    salt
}

/// The salt in a file, without the line break at its end.
fn salt_in(path: &str, w: &Written<'_>, check: &mut Check<'_>) -> Secret {
    let node = w.options.child("hash_salt_file");
    let before = check.errors();
    let path = check.file(path, node);
    if check.errors() > before {
        return Secret::default();
    }
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(CONFIG_SALT_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => sound(Secret::new(text.trim_end_matches(['\n', '\r'])), "hash_salt_file", w, check),
        Err(error) => {
            let message = format!("this file cannot be read: {}", plain(&error));
            check.error(node.span, message, "write the salt into it, as text");
            Secret::default()
        }
    }
}
