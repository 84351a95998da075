//! Values to JSON and back.
//!
//! Promises: writes what Go's encoding/json writes: maps in the order of their keys, numbers as JavaScript shows them.
//! Leaves to others: paths into JSON.

use super::RenderError;
use super::eval::{Args, Env};
use super::value::{Val, bounded, exponent, shortest};
use regex::Regex;
use std::fmt::Write as _;

type Made<'t> = Result<Val<'t>, RenderError>;

pub(super) fn to_json<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, html: bool) -> Made<'t> {
    let mut out = env.buffer();
    write_value(args.get(0), html, &mut out)?;
    env.made(out, args)
}

fn write_value(value: &Val<'_>, html: bool, out: &mut String) -> Result<(), RenderError> {
    bounded(out.len())?;
    match value {
        Val::Nil => out.push_str("null"),
        Val::Bool(_) | Val::Int(_) => value.show(out)?,
        Val::Float(number) if number.is_finite() => write_number(*number, out),
        // Go refuses these, and sprig then gives an empty text.
        Val::Float(_) => {}
        Val::Text(text) => write_text(text, html, out),
        Val::Time(ns) => {
            out.push('"');
            super::lists::print_time("2006-01-02T15:04:05.999999999Z07:00", None, *ns, out);
            out.push('"');
        }
        Val::List(list) => {
            out.push('[');
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, html, out)?;
            }
            out.push(']');
        }
        Val::Map(map) => {
            out.push('{');
            for (index, (key, item)) in map.items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, html, out);
                out.push(':');
                write_value(item, html, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// Plain digits from a millionth up to 1e21; else with an exponent, without a zero before it.
fn write_number(number: f64, out: &mut String) {
    if number != 0.0 && !(-6..21).contains(&exponent(number)) {
        let mut written = String::new();
        shortest(number, 21, &mut written);
        out.push_str(&written.replace("e-0", "e-"));
    } else {
        let _ = write!(out, "{number}");
    }
}

fn write_text(text: &str, html: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\x08' => out.write_str("\\b"),
            '\x0c' => out.write_str("\\f"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '<' | '>' | '&' if html => write!(out, "\\u{:04x}", u32::from(c)),
            '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => write!(out, "\\u{:04x}", u32::from(c)),
            _ => out.write_char(c),
        };
    }
    out.push('"');
}

/// What JSON says; nil if it is none, as in sprig. Numbers become floats.
pub(super) fn from_json<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let text = args.text(0);
    env.charge(text.len() / 8)?;
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => read_value(value),
        Err(_) => Ok(Val::Nil),
    }
}

fn read_value<'t>(value: serde_json::Value) -> Made<'t> {
    use serde_json::Value;
    match value {
        Value::Null => Ok(Val::Nil),
        Value::Bool(value) => Ok(Val::Bool(value)),
        Value::Number(number) => Ok(Val::Float(number.as_f64().unwrap_or(0.0))),
        Value::String(text) => Ok(Val::text(text)),
        Value::Array(items) => Val::list(items.into_iter().map(read_value).collect::<Result<_, _>>()?),
        Value::Object(items) => Val::map(
            items.into_iter().map(|(key, item)| Ok((key, read_value(item)?))).collect::<Result<_, RenderError>>()?,
        ),
    }
}
