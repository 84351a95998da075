//! Numbers, comparison and choice.
//!
//! Promises: what is not a number counts as 0 where sprig says so; nothing overflows into a panic. Leaves to others: texts and lists.

use super::RenderError;
use super::eval::{Args, Env};
use super::value::Val;
use regex::Regex;
use std::cmp::Ordering;

type Made<'t> = Result<Val<'t>, RenderError>;

/// A whole number as Go writes it, with its prefixes: `0x` hexadecimal, `0b` binary, `0` and `0o` octal.
pub(super) fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = |radix: u32, small: &str, large: &str| {
        digits.strip_prefix(small).or_else(|| digits.strip_prefix(large)).map(|digits| (radix, digits))
    };
    let (radix, digits) = prefixed(16, "0x", "0X")
        .or_else(|| prefixed(2, "0b", "0B"))
        .or_else(|| prefixed(8, "0o", "0O"))
        .or_else(|| digits.strip_prefix('0').filter(|rest| !rest.is_empty()).map(|rest| (8, rest)))
        .unwrap_or((10, digits));
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    i64::try_from(if negative { -value } else { value }).ok()
}

/// As sprig converts: a text that is no whole number is 0, a fraction is cut off.
pub(super) fn to_int(value: &Val<'_>) -> i64 {
    match value {
        Val::Int(value) => *value,
        Val::Bool(value) => i64::from(*value),
        Val::Float(value) => *value as i64,
        Val::Text(text) => {
            // `12.000` is whole.
            let whole = match text.split_once('.') {
                Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
                _ => text,
            };
            parse_int(whole).unwrap_or(0)
        }
        _ => 0,
    }
}

pub(super) fn to_float(value: &Val<'_>) -> f64 {
    match value {
        Val::Int(value) => *value as f64,
        Val::Float(value) => *value,
        Val::Bool(value) => f64::from(u8::from(*value)),
        Val::Text(text) => text.parse().unwrap_or(0.0),
        _ => 0.0,
    }
}

pub(super) fn atoi<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Ok(Val::Int(args.text(0).parse().unwrap_or(0)))
}

pub(super) fn fold<'t>(args: &Args<'t>, start: i64, with: fn(i64, i64) -> i64) -> Val<'t> {
    Val::Int(args.all().iter().fold(start, |value, arg| with(value, to_int(arg))))
}

pub(super) fn fold_float<'t>(args: &Args<'t>, with: fn(f64, f64) -> f64) -> Val<'t> {
    Val::Float(args.all().iter().map(to_float).reduce(with).unwrap_or(0.0))
}

pub(super) fn divide<'t>(args: &Args<'t>, with: fn(i64, i64) -> i64) -> Made<'t> {
    match to_int(args.get(1)) {
        0 => args.fail("nothing can be divided by 0"),
        divisor => Ok(Val::Int(with(to_int(args.get(0)), divisor))),
    }
}

/// `round number places`, halves up.
pub(super) fn round<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let places = i32::try_from(args.int(1)).unwrap_or(i32::MAX);
    let power = 10f64.powi(places);
    let scaled = power * to_float(args.get(0));
    let rounded = if scaled.fract() >= 0.5 { scaled.ceil() } else { scaled.floor() };
    Ok(Val::Float(rounded / power))
}

/// Whether two values are the same, for `eq`: an error if they cannot be compared.
fn same(args: &Args<'_>, a: &Val<'_>, b: &Val<'_>) -> Result<bool, RenderError> {
    match (a, b) {
        (Val::Nil, Val::Nil) => Ok(true),
        (Val::Nil, _) | (_, Val::Nil) => Ok(false),
        (Val::Text(a), Val::Text(b)) => Ok(a == b),
        (Val::Int(a), Val::Int(b)) | (Val::Time(a), Val::Time(b)) => Ok(a == b),
        (Val::Float(a), Val::Float(b)) => Ok(a == b),
        (Val::Bool(a), Val::Bool(b)) => Ok(a == b),
        _ => args.fail("these cannot be compared; convert a key with int or float64, or write the number as text"),
    }
}

pub(super) fn eq<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    for other in args.all().iter().skip(1) {
        if same(args, args.get(0), other)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

pub(super) fn ne<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Ok(Val::Bool(!same(args, args.get(0), args.get(1))?))
}

pub(super) fn compare<'t>(args: &Args<'t>, holds: fn(Ordering) -> bool) -> Made<'t> {
    let order = match (args.get(0), args.get(1)) {
        (Val::Text(a), Val::Text(b)) => Some(a.cmp(b)),
        (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
        (Val::Float(a), Val::Float(b)) => return Ok(Val::Bool(a.partial_cmp(b).is_some_and(holds))),
        _ => None,
    };
    match order {
        Some(order) => Ok(Val::Bool(holds(order))),
        None => args.fail("these have no order; convert a key with int or float64, or write the number as text"),
    }
}

/// `default instead value`
pub(super) fn default<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Ok(args.take(usize::from(args.get(1).truth())))
}

pub(super) fn coalesce<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    match args.all().iter().position(Val::truth) {
        Some(index) => Ok(args.take(index)),
        None => Ok(Val::Nil),
    }
}

/// `ternary yes no condition`
pub(super) fn ternary<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Ok(args.take(usize::from(!args.get(2).truth())))
}
