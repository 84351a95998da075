//! Go's print, println and printf.
//!
//! Promises: verbs that do not fit a value print what Go prints then (`%!d(string=x)`). Leaves to others: plain printing (`value`).

use super::RenderError;
use super::eval::{Args, Env};
use super::strings::go_quote;
use super::value::{Val, bounded, exponent, shortest};
use crate::base::limits::TEMPLATE_WIDTH;
use regex::Regex;
use std::fmt::Write as _;

type Made<'t> = Result<Val<'t>, RenderError>;

/// Values one behind the other, with a space between two that are no texts.
pub(super) fn sprint(values: &[Val<'_>], out: &mut String) -> Result<(), RenderError> {
    let mut text_before = true;
    for (index, value) in values.iter().enumerate() {
        let text = matches!(value, Val::Text(_));
        if index > 0 && !text && !text_before {
            out.push(' ');
        }
        value.show(out)?;
        text_before = text;
    }
    Ok(())
}

pub(super) fn print<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    sprint(args.all(), &mut out)?;
    env.made(out, args)
}

pub(super) fn println<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    for (index, value) in args.all().iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        value.show(&mut out)?;
    }
    out.push('\n');
    env.made(out, args)
}

#[derive(Default, Clone, Copy)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

pub(super) fn printf<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    let values = args.all().get(1..).unwrap_or_default();
    let mut next = 0;
    let mut rest = args.text(0);
    while let Some(at) = rest.find('%') {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        let flags = flags(&mut rest, values, &mut next);
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        rest = rest.get(verb.len_utf8()..).unwrap_or_default();
        if verb == '%' {
            out.push('%');
            continue;
        }
        match values.get(next) {
            None => {
                let _ = write!(out, "%!{verb}(MISSING)");
            }
            Some(value) => {
                next += 1;
                formatted(value, verb, flags, &mut out)?;
            }
        }
        bounded(out.len())?;
    }
    out.push_str(rest);
    if let Some(extra) = values.get(next..).filter(|extra| !extra.is_empty()) {
        out.push_str("%!(EXTRA ");
        for (index, value) in extra.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            described(value, &mut out)?;
        }
        out.push(')');
    }
    env.made(out, args)
}

/// `string=x`, as Go names a value that does not fit.
fn described(value: &Val<'_>, out: &mut String) -> Result<(), RenderError> {
    match value {
        Val::Nil => {}
        Val::List(_) => out.push_str("[]interface {}="),
        Val::Map(_) => out.push_str("map[string]interface {}="),
        Val::Time(_) => out.push_str("time.Time="),
        _ => {
            out.push_str(value.kind());
            out.push('=');
        }
    }
    value.show(out)
}

fn flags(rest: &mut &str, values: &[Val<'_>], next: &mut usize) -> Flags {
    let mut flags = Flags::default();
    let mut chars = rest.chars();
    loop {
        match chars.clone().next() {
            Some('+') => flags.plus = true,
            Some('-') => flags.minus = true,
            Some('#') => flags.sharp = true,
            Some(' ') => flags.space = true,
            Some('0') => flags.zero = true,
            _ => break,
        }
        chars.next();
    }
    *rest = chars.as_str();
    let mut number = |rest: &mut &str| {
        if let Some(tail) = rest.strip_prefix('*') {
            *rest = tail;
            let value = match values.get(*next) {
                Some(Val::Int(value)) => usize::try_from(*value).ok(),
                _ => None,
            };
            *next += 1;
            return value.map(|value| value.min(TEMPLATE_WIDTH));
        }
        let len = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(len);
        *rest = tail;
        (!digits.is_empty()).then(|| digits.parse().unwrap_or(TEMPLATE_WIDTH).min(TEMPLATE_WIDTH))
    };
    flags.width = number(rest);
    if let Some(tail) = rest.strip_prefix('.') {
        *rest = tail;
        flags.precision = Some(number(rest).unwrap_or(0));
    }
    flags
}

/// Appends with the width: spaces before or after, or zeros behind the sign.
fn padded(text: &str, flags: Flags, numeric: bool, out: &mut String) {
    let missing = flags.width.unwrap_or(0).saturating_sub(text.chars().count());
    if flags.minus {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if flags.zero && numeric {
        let digits = text.trim_start_matches(['+', '-', ' ']);
        out.push_str(text.get(..text.len() - digits.len()).unwrap_or_default());
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(digits);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(text);
    }
}

fn formatted(value: &Val<'_>, verb: char, flags: Flags, out: &mut String) -> Result<(), RenderError> {
    let mut text = String::new();
    let fits = match value {
        _ if verb == 'T' => {
            text.push_str(value.type_name());
            true
        }
        Val::Text(found) => string(found, verb, flags, &mut text),
        Val::Int(number) => integer(*number, verb, flags, &mut text),
        Val::Float(number) => floating(*number, verb, flags, &mut text),
        Val::Bool(found) if matches!(verb, 't' | 'v') => {
            text.push_str(if *found { "true" } else { "false" });
            true
        }
        Val::Nil | Val::Map(_) | Val::Time(_) if verb == 'v' => {
            value.show(&mut text)?;
            true
        }
        Val::Time(_) if verb == 's' => {
            value.show(&mut text)?;
            true
        }
        Val::List(list) => {
            // The verb goes to each element.
            out.push('[');
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                formatted(item, verb, flags, out)?;
                bounded(out.len())?;
            }
            out.push(']');
            return Ok(());
        }
        Val::Nil | Val::Bool(_) | Val::Map(_) | Val::Time(_) => false,
    };
    if fits {
        let numeric = matches!(value, Val::Int(_) | Val::Float(_)) && !matches!(verb, 'c' | 'q' | 'U' | 'T');
        padded(&text, flags, numeric, out);
    } else {
        let _ = write!(out, "%!{verb}(");
        match value {
            Val::Nil => out.push_str("<nil>"),
            _ => described(value, out)?,
        }
        out.push(')');
    }
    Ok(())
}

fn string(found: &str, verb: char, flags: Flags, out: &mut String) -> bool {
    let end = flags.precision.and_then(|most| found.char_indices().nth(most)).map_or(found.len(), |(at, _)| at);
    let cut = found.get(..end).unwrap_or(found);
    match verb {
        's' | 'v' => out.push_str(cut),
        'q' if flags.sharp && !cut.contains(['`', '\n', '\r']) => {
            let _ = write!(out, "`{cut}`");
        }
        'q' => go_quote(cut, '"', out),
        'x' | 'X' => {
            let bytes = found.as_bytes();
            for byte in bytes.get(..flags.precision.unwrap_or(bytes.len())).unwrap_or(bytes) {
                let _ = if verb == 'x' { write!(out, "{byte:02x}") } else { write!(out, "{byte:02X}") };
            }
        }
        _ => return false,
    }
    true
}

fn integer(number: i64, verb: char, flags: Flags, out: &mut String) -> bool {
    let size = number.unsigned_abs();
    let character = || u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    let (digits, prefix) = match verb {
        'd' | 'v' => (size.to_string(), ""),
        'b' => (format!("{size:b}"), "0b"),
        'o' => (format!("{size:o}"), "0"),
        'O' => (format!("{size:o}"), "0o"),
        'x' => (format!("{size:x}"), "0x"),
        'X' => (format!("{size:X}"), "0X"),
        'c' => {
            out.push(character());
            return true;
        }
        'q' => {
            go_quote(character().encode_utf8(&mut [0; 4]), '\'', out);
            return true;
        }
        'U' => {
            let _ = write!(out, "U+{size:04X}");
            return true;
        }
        _ => return false,
    };
    sign(number < 0, flags, out);
    if flags.sharp || verb == 'O' {
        out.push_str(prefix);
    }
    out.extend(std::iter::repeat_n('0', flags.precision.unwrap_or(0).saturating_sub(digits.len())));
    out.push_str(&digits);
    true
}

fn sign(negative: bool, flags: Flags, out: &mut String) {
    if negative {
        out.push('-');
    } else if flags.plus {
        out.push('+');
    } else if flags.space {
        out.push(' ');
    }
}

fn floating(number: f64, verb: char, flags: Flags, out: &mut String) -> bool {
    let size = number.abs();
    if !matches!(verb, 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'v') {
        return false;
    }
    if !number.is_finite() {
        shortest(number, 0, out);
        return true;
    }
    sign(number.is_sign_negative(), flags, out);
    let start = out.len();
    match (verb, flags.precision) {
        ('f' | 'F', precision) => {
            let _ = write!(out, "{size:.*}", precision.unwrap_or(6));
        }
        ('e' | 'E', precision) => scientific(size, precision.unwrap_or(6), out),
        (_, None) => shortest(size, 6, out),
        (_, Some(precision)) => general(size, precision.max(1), out),
    }
    if matches!(verb, 'E' | 'G')
        && let Some(tail) = out.get_mut(start..)
    {
        tail.make_ascii_uppercase();
    }
    true
}

fn scientific(size: f64, precision: usize, out: &mut String) {
    let written = format!("{size:.precision$e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let _ = write!(out, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
}

/// `%g` with so many digits: without the zeros at the end.
fn general(size: f64, precision: usize, out: &mut String) {
    let rounded: f64 = format!("{size:.*e}", precision - 1).parse().unwrap_or(size);
    let large = i32::try_from(precision).unwrap_or(i32::MAX);
    // A whole number with fewer digits than asked for: its own count decides.
    let written = format!("{rounded:e}");
    let digits = written.bytes().take_while(|b| *b != b'e').filter(u8::is_ascii_digit).count();
    let digits = i32::try_from(digits).unwrap_or(i32::MAX);
    let before_point = exponent(rounded) + 1;
    let large = if large > digits && digits >= before_point { digits } else { large };
    shortest(rounded, large, out);
}
