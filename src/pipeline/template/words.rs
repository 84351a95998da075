//! Texts as rows of words: other ways to write names, initials, abbreviations.
//!
//! Promises: the results of the packages that sprig uses for it, for names as programs have them. Leaves to others: texts as such (`strings`).

use super::RenderError;
use super::eval::{Args, Env};
use super::strings::cased;
use super::value::Val;
use regex::Regex;

type Made<'t> = Result<Val<'t>, RenderError>;

fn is_separator(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

fn is_small(c: char) -> bool {
    c.is_alphabetic() && !c.is_uppercase()
}

/// What a character is in a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Separator,
    Punctuation,
    Digit,
    Capital,
    Small,
    Other,
}

fn class(c: char) -> Class {
    match c {
        _ if is_separator(c) => Class::Separator,
        _ if c.is_uppercase() => Class::Capital,
        _ if c.is_alphabetic() => Class::Small,
        _ if c.is_numeric() => Class::Digit,
        // Symbols are no punctuation for Unicode.
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => Class::Other,
        _ if c.is_ascii_punctuation() => Class::Punctuation,
        _ => Class::Other,
    }
}

/// `SomeName2x` in small letters, with `joint` between its words. A number belongs to the word before it, or to the small letters behind it.
fn joined<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, joint: char) -> Made<'t> {
    let mut out = env.buffer();
    let mut rest = args.text(0);
    // Whether what was written last is part of a word.
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let run = |wanted: &dyn Fn(char) -> bool| rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        let follows = |at: usize, wanted: fn(char) -> bool| rest.get(at..).is_some_and(|rest| rest.starts_with(wanted));
        let what = class(first);
        let mut joins = true;
        let end = match what {
            Class::Separator => {
                out.push(joint);
                in_word = false;
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
                continue;
            }
            Class::Digit => {
                let end = run(&|c| class(c) == Class::Digit);
                let has_letters = follows(end, is_small);
                joins = has_letters;
                if has_letters { run(&|c| is_small(c) || class(c) == Class::Digit) } else { end }
            }
            Class::Capital => {
                let end = run(&char::is_uppercase);
                match rest.get(..end).and_then(|capitals| capitals.char_indices().next_back()) {
                    // The last one begins the next word.
                    Some((last, _)) if last > 0 && follows(end, is_small) => last,
                    Some((0, _)) => {
                        end + rest.get(end..).map_or(0, |rest| rest.find(|c| !is_small(c)).unwrap_or(rest.len()))
                    }
                    _ => end,
                }
            }
            _ => run(&|c| class(c) == what),
        };
        let is_word = what != Class::Punctuation;
        if in_word && is_word && joins {
            out.push(joint);
        }
        let word = rest.get(..end).unwrap_or_default();
        out.extend(word.chars().map(|c| cased(c, false)));
        in_word = is_word;
        rest = rest.get(end..).unwrap_or_default();
    }
    env.made(out, args)
}

pub(super) fn snakecase<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    joined(env, args, '_')
}

pub(super) fn kebabcase<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    joined(env, args, '-')
}

/// `some_name` to `SomeName`: the last separator before a word goes, those around all of them stay.
pub(super) fn camelcase<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    let mut separator = None;
    let (mut begins, mut is_first, mut lowers) = (true, true, false);
    for c in args.text(0).chars() {
        if is_separator(c) {
            out.extend(separator.replace(c));
            begins = true;
            continue;
        }
        if begins {
            let before = separator.take();
            out.extend(before.filter(|_| is_first));
            out.push(cased(c, true));
            // A word in capitals keeps only the first.
            lowers = c.is_uppercase();
        } else {
            lowers &= c.is_uppercase();
            out.push(if lowers { cased(c, false) } else { c });
        }
        (begins, is_first) = (false, false);
    }
    out.extend(separator);
    env.made(out, args)
}

pub(super) fn swapcase<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    out.extend(args.text(0).chars().map(|c| cased(c, c.is_lowercase())));
    env.made(out, args)
}

pub(super) fn initials<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let mut out = env.buffer();
    out.extend(args.text(0).split_whitespace().filter_map(|word| word.chars().next()));
    env.made(out, args)
}

/// `abbrev width text`: with three dots at its end if it is longer.
pub(super) fn abbrev<'t>(env: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    let text = args.text(1);
    let width = usize::try_from(args.int(0)).unwrap_or(0);
    if width < 4 || text.len() <= width {
        return Ok(args.take(1));
    }
    let mut out = env.buffer();
    out.push_str(text.get(..text.floor_char_boundary(width - 3)).unwrap_or_default());
    out.push_str("...");
    env.made(out, args)
}

/// `plural one many count`
pub(super) fn plural<'t>(_: &mut Env<'t, '_>, args: &mut Args<'t>, _: Option<&Regex>) -> Made<'t> {
    Ok(args.take(usize::from(args.int(2) != 1)))
}
