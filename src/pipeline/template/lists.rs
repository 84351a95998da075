//! Lists, maps and times.
//!
//! Promises: lists stay within their bounds, whatever makes them. Leaves to others: printing them.

use super::RenderError;
use super::eval::{Args, Env};
use super::math::to_int;
use super::value::{List, Val, bounded};
use crate::base::limits::TEMPLATE_ELEMENTS;
use crate::format::time::Layout;
use regex::Regex;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

type Made<'t> = Result<Val<'t>, RenderError>;

fn items<'a, 't>(value: &'a Val<'t>) -> &'a [Val<'t>] {
    match value {
        Val::List(list) => &list.items,
        _ => &[],
    }
}

fn shown<'t>(value: &Val<'t>) -> Result<Cow<'t, str>, RenderError> {
    match value {
        Val::Text(text) => Ok(text.clone()),
        other => {
            let mut out = String::new();
            other.show(&mut out)?;
            Ok(Cow::Owned(out))
        }
    }
}

pub(super) fn len<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let len = match args.get(0) {
        Val::Text(text) => text.len(),
        Val::List(list) => list.items.len(),
        Val::Map(map) => map.items.len(),
        _ => return args.fail("this has no length"),
    };
    Ok(Val::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}

pub(super) fn index<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut value = args.get(0).clone();
    for key in args.all().iter().skip(1) {
        value = match (&value, key) {
            (Val::Map(map), Val::Text(key)) => map.items.get(&**key).cloned().unwrap_or_default(),
            (Val::List(list), Val::Int(at)) => match usize::try_from(*at).ok().and_then(|at| list.items.get(at)) {
                Some(item) => item.clone(),
                None => return args.fail("there is no such element"),
            },
            (Val::Text(text), Val::Int(at)) => match usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at)) {
                Some(byte) => Val::Int(i64::from(*byte)),
                None => return args.fail("the text is shorter than that"),
            },
            _ => return args.fail("this cannot be indexed so"),
        };
    }
    Ok(value)
}

/// `slice value from to`
pub(super) fn slice<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let count = args.all().len();
    let len = match args.get(0) {
        Val::Text(text) => text.len(),
        Val::List(list) => list.items.len(),
        _ => return args.fail("only texts and lists can be sliced"),
    };
    let bound = |index: usize, missing: usize| {
        if index < count { usize::try_from(args.int(index)).ok() } else { Some(missing) }
    };
    let (Some(from), Some(to)) = (bound(1, 0), bound(2, len)) else { return args.fail("there is no such place") };
    if from > to || to > len || count > 3 {
        return args.fail("there is no such place");
    }
    match args.take(0) {
        Val::List(list) => Val::list(list.items.get(from..to).unwrap_or_default().to_vec()),
        Val::Text(Cow::Borrowed(text)) => match text.get(from..to) {
            Some(part) => Ok(Val::text(part)),
            None => args.fail("the place is within a character"),
        },
        Val::Text(Cow::Owned(text)) => match text.get(from..to) {
            Some(part) => Ok(Val::text(part.to_owned())),
            None => args.fail("the place is within a character"),
        },
        _ => Ok(Val::Nil),
    }
}

pub(super) fn list<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Val::list(std::mem::take(args).into_vec())
}

/// Parts of a text between separators; without one, its characters. At most so many parts.
fn parts<'t>(text: Cow<'t, str>, separator: &str, most: usize) -> Result<Vec<Val<'t>>, RenderError> {
    // Elements of a made text are copies: they would outlive it.
    fn cut<'t, 'p>(
        parts: impl Iterator<Item = &'p str>,
        keep: impl Fn(&'p str) -> Val<'t>,
    ) -> Result<Vec<Val<'t>>, RenderError> {
        let found: Vec<Val<'t>> = parts.take(TEMPLATE_ELEMENTS + 1).map(keep).collect();
        if found.len() > TEMPLATE_ELEMENTS { Err(RenderError::TooMuch) } else { Ok(found) }
    }
    fn each<'p>(text: &'p str, separator: &'p str, most: usize) -> Box<dyn Iterator<Item = &'p str> + 'p> {
        if separator.is_empty() {
            Box::new(text.char_indices().map(|(at, c)| text.get(at..at + c.len_utf8()).unwrap_or_default()))
        } else {
            Box::new(text.splitn(most, separator))
        }
    }
    // Go's `Split` of an empty text by nothing has no parts, by something it has one: each does so.
    match text {
        Cow::Borrowed(text) => {
            let separator = separator.to_owned();
            let mut found = Vec::new();
            for part in each(text, &separator, most) {
                if found.len() >= TEMPLATE_ELEMENTS {
                    return Err(RenderError::TooMuch);
                }
                // Part of the borrowed text itself, not of the separator.
                let start = part.as_ptr() as usize - text.as_ptr() as usize;
                found.push(Val::text(text.get(start..start + part.len()).unwrap_or_default()));
            }
            Ok(found)
        }
        Cow::Owned(text) => cut(each(&text, separator, most), |part| Val::text(part.to_owned())),
    }
}

pub(super) fn split_list<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let found = parts(args.take_text(1), args.text(0), usize::MAX)?;
    env.charge(found.len())?;
    Val::list(found)
}

fn numbered<'t>(found: Vec<Val<'t>>) -> Made<'t> {
    Val::map(found.into_iter().enumerate().map(|(index, part)| (format!("_{index}"), part)).collect())
}

pub(super) fn split<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let found = parts(args.take_text(1), args.text(0), usize::MAX)?;
    env.charge(found.len())?;
    numbered(found)
}

pub(super) fn splitn<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let most = usize::try_from(args.int(1)).unwrap_or(usize::MAX);
    let found = parts(args.take_text(2), args.text(0), most)?;
    env.charge(found.len())?;
    numbered(found)
}

pub(super) fn join<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    match args.get(1) {
        Val::List(list) => {
            for (index, item) in list.items.iter().filter(|item| !matches!(item, Val::Nil)).enumerate() {
                if index > 0 {
                    out.push_str(args.text(0));
                }
                item.show(&mut out)?;
            }
        }
        Val::Nil => {}
        other => other.show(&mut out)?,
    }
    bounded(out.len())?;
    env.made(out, args)
}

/// The element at a place that depends on the length; nil if there is none.
pub(super) fn at<'t>(args: &Args<'t>, place: fn(usize) -> Option<usize>) -> Made<'t> {
    let items = items(args.get(0));
    Ok(place(items.len()).and_then(|place| items.get(place)).cloned().unwrap_or_default())
}

/// Without so many at the beginning and the end.
pub(super) fn part<'t>(args: &Args<'t>, front: usize, back: usize) -> Made<'t> {
    let items = items(args.get(0));
    Val::list(items.get(front..items.len().saturating_sub(back)).unwrap_or_default().to_vec())
}

pub(super) fn extend<'t>(args: &Args<'t>, front: bool) -> Made<'t> {
    let mut items = items(args.get(0)).to_vec();
    items.insert(if front { 0 } else { items.len() }, args.get(1).clone());
    Val::list(items)
}

pub(super) fn reverse<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Val::list(items(args.get(0)).iter().rev().cloned().collect())
}

/// Whether two values are the same, element by element.
pub(super) fn equal(a: &Val<'_>, b: &Val<'_>) -> bool {
    match (a, b) {
        (Val::Nil, Val::Nil) => true,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Int(a), Val::Int(b)) | (Val::Time(a), Val::Time(b)) => a == b,
        (Val::Float(a), Val::Float(b)) => a == b,
        (Val::Text(a), Val::Text(b)) => a == b,
        (Val::List(a), Val::List(b)) => Rc::ptr_eq(a, b) || same_items(a, b),
        (Val::Map(a), Val::Map(b)) => {
            Rc::ptr_eq(a, b)
                || a.items.len() == b.items.len()
                    && a.items.iter().zip(&b.items).all(|((k, v), (l, w))| k == l && equal(v, w))
        }
        _ => false,
    }
}

fn same_items(a: &List<'_>, b: &List<'_>) -> bool {
    a.items.len() == b.items.len() && a.items.iter().zip(&b.items).all(|(a, b)| equal(a, b))
}

pub(super) fn uniq<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut kept: Vec<Val<'t>> = Vec::new();
    for item in items(args.get(0)) {
        env.charge(kept.len())?;
        if !kept.iter().any(|known| equal(known, item)) {
            kept.push(item.clone());
        }
    }
    Val::list(kept)
}

/// `has needle list`
pub(super) fn has<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    match args.get(1) {
        Val::Nil => Ok(Val::Bool(false)),
        Val::List(list) => Ok(Val::Bool(list.items.iter().any(|item| equal(item, args.get(0))))),
        _ => args.fail("this is no list"),
    }
}

pub(super) fn compact<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Val::list(items(args.get(0)).iter().filter(|item| item.truth()).cloned().collect())
}

pub(super) fn sort_alpha<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut texts = match args.get(0) {
        Val::List(list) => list.items.iter().map(shown).collect::<Result<Vec<_>, _>>()?,
        other => vec![shown(other)?],
    };
    texts.sort();
    Val::list(texts.into_iter().map(Val::Text).collect())
}

/// `until n`: 0, 1, … towards n, without it.
pub(super) fn until<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let end = args.int(0);
    let count = usize::try_from(end.unsigned_abs()).unwrap_or(usize::MAX);
    if count > TEMPLATE_ELEMENTS {
        return Err(RenderError::TooMuch);
    }
    env.charge(count)?;
    Val::list((0..end.abs()).map(|value| Val::Int(value * end.signum())).collect())
}

/// `untilStep start stop step`
pub(super) fn until_step<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let (start, stop, step) = (args.int(0), args.int(1), args.int(2));
    let goes_there = step != 0 && (stop < start) == (step < 0);
    let count = if goes_there { stop.abs_diff(start).div_ceil(step.unsigned_abs()) } else { 0 };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > TEMPLATE_ELEMENTS {
        return Err(RenderError::TooMuch);
    }
    env.charge(count)?;
    Val::list((0..).take(count).map(|i: i64| Val::Int(start.wrapping_add(i.wrapping_mul(step)))).collect())
}

/// All lists in one.
pub(super) fn concat<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let count = args.all().iter().map(|list| items(list).len()).sum();
    env.charge(count)?;
    if count > TEMPLATE_ELEMENTS {
        return Err(RenderError::TooMuch);
    }
    Val::list(args.all().iter().flat_map(items).cloned().collect())
}

/// `without list value …`
pub(super) fn without<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let values = args.all().get(1..).unwrap_or_default();
    env.charge(items(args.get(0)).len().saturating_mul(values.len()))?;
    let stays = |item: &&Val<'t>| !values.iter().any(|value| equal(value, item));
    Val::list(items(args.get(0)).iter().filter(stays).cloned().collect())
}

/// Parts of a text by their places, borrowed if it is.
fn cut<'t>(env: &mut Env<'t, '_>, text: Cow<'t, str>, places: &[Range<usize>]) -> Made<'t> {
    env.charge(places.len())?;
    if places.len() > TEMPLATE_ELEMENTS {
        return Err(RenderError::TooMuch);
    }
    let part = |place: &Range<usize>| match &text {
        Cow::Borrowed(text) => Val::text(text.get(place.clone()).unwrap_or_default()),
        Cow::Owned(text) => Val::text(text.get(place.clone()).unwrap_or_default().to_owned()),
    };
    Val::list(places.iter().map(part).collect())
}

/// How many are wanted at most: all, if that is negative.
fn at_most(count: i64) -> usize {
    usize::try_from(count).unwrap_or(TEMPLATE_ELEMENTS + 1).min(TEMPLATE_ELEMENTS + 1)
}

/// `regexFindAll pattern text n`
pub(super) fn regex_find_all<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, regex: Option<&Regex>) -> Made<'t> {
    let Some(regex) = regex else { return Ok(Val::Nil) };
    let text = args.take_text(1);
    let places: Vec<_> = regex.find_iter(&text).take(at_most(args.int(2))).map(|found| found.range()).collect();
    cut(env, text, &places)
}

/// `regexSplit pattern text n`: what is between the matches.
pub(super) fn regex_split<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, regex: Option<&Regex>) -> Made<'t> {
    let Some(regex) = regex else { return Ok(Val::Nil) };
    let most = at_most(args.int(2));
    let text = args.take_text(1);
    let mut places = Vec::new();
    let mut from = 0;
    // As in Go, a match of nothing at the beginning divides nothing, nor does one at the end.
    for found in
        regex.find_iter(&text).filter(|found| found.end() > 0 && (!found.is_empty() || found.end() < text.len()))
    {
        if places.len() + 1 >= most {
            break;
        }
        places.push(from..found.start());
        from = found.end();
    }
    if most > 0 {
        places.push(from..text.len());
    }
    cut(env, text, &places)
}

/// `dict key value …`
pub(super) fn dict<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut map = BTreeMap::new();
    for pair in args.all().chunks(2) {
        let [key, value @ ..] = pair else { continue };
        map.insert(shown(key)?.into_owned(), value.first().cloned().unwrap_or(Val::text("")));
    }
    Val::map(map)
}

/// `get map key`: the empty text if it is missing.
pub(super) fn get<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    match args.get(0) {
        Val::Map(map) => Ok(map.items.get(args.text(1)).cloned().unwrap_or(Val::text(""))),
        _ => Ok(Val::Nil),
    }
}

pub(super) fn has_key<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Ok(Val::Bool(matches!(args.get(0), Val::Map(map) if map.items.contains_key(args.text(1)))))
}

/// In order: sprig gives them in any.
pub(super) fn keys<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    match args.get(0) {
        Val::Map(map) => Val::list(map.items.keys().map(|key| Val::text(key.clone())).collect()),
        _ => Ok(Val::Nil),
    }
}

pub(super) fn values<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    match args.get(0) {
        Val::Map(map) => Val::list(map.items.values().cloned().collect()),
        _ => Ok(Val::Nil),
    }
}

pub(super) fn unix_epoch<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    match args.get(0) {
        Val::Time(ns) => Ok(Val::text(ns.div_euclid(1_000_000_000).to_string())),
        _ => args.fail("this is no time; write now | unixEpoch"),
    }
}

/// `toDate layout text`: a time, in the host's zone if the text does not say another.
pub(super) fn to_date<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let layout = Layout::compile(args.text(0), Some("Local"));
    match layout.ok().and_then(|layout| layout.parse(args.text(1), env.lookup.now_ns()).ok()) {
        Some(ns) => Ok(Val::Time(ns)),
        None => args.fail("the text is no time of this layout"),
    }
}

/// `duration seconds`: as Go writes it, `1m35s`.
pub(super) fn duration<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let seconds = match args.get(0) {
        Val::Text(text) => text.parse().unwrap_or(0),
        Val::Int(seconds) => *seconds,
        _ => 0,
    };
    let (whole, mut out) = (seconds.unsigned_abs(), env.buffer());
    if seconds < 0 {
        out.push('-');
    }
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    let _ = match (hours, minutes) {
        (0, 0) => write!(out, "{}s", whole % 60),
        (0, minutes) => write!(out, "{minutes}m{}s", whole % 60),
        (hours, minutes) => write!(out, "{hours}h{minutes}m{}s", whole % 60),
    };
    env.made(out, args)
}

/// Appends a time by a Go layout. A layout that is none stands for itself, as in Go.
pub(super) fn print_time(layout: &str, location: Option<&str>, ns: i64, out: &mut String) {
    match Layout::compile(layout, location).or_else(|_| Layout::compile(layout, None)) {
        Ok(compiled) => compiled.print(ns, out),
        Err(_) => out.push_str(layout),
    }
}

/// `date layout time`: of a time, or of seconds since 1970; of anything else the present.
pub(super) fn date<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, location: &str) -> Made<'t> {
    let ns = match args.get(1) {
        Val::Time(ns) => *ns,
        Val::Int(_) => to_int(args.get(1)).saturating_mul(1_000_000_000),
        _ => env.lookup.now_ns(),
    };
    let mut out = env.buffer();
    print_time(args.text(0), Some(location), ns, &mut out);
    env.made(out, args)
}

/// `dateInZone layout time zone`
pub(super) fn date_in_zone<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let zone = args.text(2).to_owned();
    date(env, args, &zone)
}
