//! Paths, as Go's package `path` takes them apart: by text alone, with `/` between the parts.
//!
//! Promises: the file system is not asked. Leaves to others: everything else.

use super::RenderError;
use super::eval::{Args, Env};
use super::value::Val;
use regex::Regex;
use std::borrow::Cow;

type Made<'t> = Result<Val<'t>, RenderError>;

/// The last part, without slashes behind it.
fn last(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        path => path.rsplit_once('/').map_or(path, |(_, last)| last),
    }
}

/// What stands behind the last dot of the last part, with the dot.
fn extension(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.rfind('.').and_then(|dot| name.get(dot..)).unwrap_or_default()
}

/// The shortest path that means the same.
fn cleaned(path: &str, out: &mut String) {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    if is_rooted {
        out.push('/');
    }
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.push('/');
        }
        out.push_str(part);
    }
    if out.is_empty() {
        out.push('.');
    }
}

/// A part of the first argument, borrowed if that is.
fn part<'t>(args: &mut Args<'t>, of: fn(&str) -> &str) -> Made<'t> {
    Ok(match args.take_text(0) {
        Cow::Borrowed(text) => Val::text(of(text)),
        Cow::Owned(text) => Val::text(of(&text).to_owned()),
    })
}

pub(super) fn base<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    part(args, last)
}

pub(super) fn ext<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    part(args, extension)
}

pub(super) fn dir<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    let path = args.text(0);
    cleaned(path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or_default(), &mut out);
    env.made(out, args)
}

pub(super) fn clean<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    cleaned(args.text(0), &mut out);
    env.made(out, args)
}
