//! Private keys whose block is spread over several lines, each of which is an entry of its own.
//!
//! From a begin line without its end on, what looks like the block's content is found in the lines that follow: long runs of base64, what such a line
//! ends with, the end line. Lines between them that look like nothing of it stay; after some of them, or many lines in all, the key is taken to be
//! cut off.
//!
//! Promises: what is remembered is a number. Leaves to others: begin lines (`token`), where the number is kept.

use super::Kind;
use crate::base::limits::{REDACT_KEY_LINES, REDACT_KEY_STRANGERS};
use std::ops::Range;

/// From this length on a run of base64 is content, wherever it stands in the line.
const LONG: usize = 40;

/// What is left of a key of which some lines are still to come: 0, if none is open.
pub const OPEN: u8 = REDACT_KEY_LINES;

/// What a line costs that does not look like a key's.
const STRANGER: u8 = REDACT_KEY_LINES / REDACT_KEY_STRANGERS;

/// Reports what a line has of an open key; what is left of it then.
pub fn find(line: &str, open: u8, report: &mut impl FnMut(Kind, Range<usize>)) -> u8 {
    let end = line.find("-----END ");
    let content = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
    let mut is_content = false;
    let mut report = |range: Range<usize>| {
        is_content = true;
        report(Kind::PrivateKey, range);
    };
    let mut at = 0;
    for run in content.split(|c: char| !is_base64(c)) {
        if run.len() >= LONG {
            report(at..at + run.len());
        }
        // What ends a run is one character, of any length.
        at += run.len();
        at += content.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    }
    // The last line of a block is shorter. A JSON text may have its line's end in it.
    let tail = content.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | ']'));
    let tail = tail.strip_suffix("\\n").map_or(tail, |tail| tail.strip_suffix("\\r").unwrap_or(tail));
    let start = tail
        .rfind(|c| !is_base64(c))
        .map_or(0, |at| at + tail.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8));
    let last = tail.get(start..).unwrap_or_default();
    let is_alone = end.is_none() && tail.trim_start().len() == last.len();
    if !last.is_empty() && (is_alone || is_mixed(last)) {
        report(start..tail.len());
    }
    if let Some(end) = end {
        let label = line.get(end + "-----END ".len()..).unwrap_or_default();
        report(end..label.find("-----").map_or(line.len(), |at| line.len() - label.len() + at + 5));
        return 0;
    }
    // Headers and the empty line behind them belong to the block.
    let is_header = content.trim().is_empty()
        || ["Proc-Type:", "DEK-Info:", "Version:", "Comment:"].iter().any(|name| content.contains(name));
    open.saturating_sub(if is_content || is_header { 1 } else { STRANGER })
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

/// Whether letters, capitals and others are mixed as words, numbers and paths do not have them.
fn is_mixed(text: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| text.as_bytes().iter().any(wanted);
    let others = text.ends_with('=') || text.contains('+') || has(u8::is_ascii_digit);
    text.len() >= 4 && others && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)
}
