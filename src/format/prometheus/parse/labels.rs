//! The labels of a sample or an exemplar, between their braces.
//!
//! Promises: names that are names, each once, and values without their escapes. Leaves to others: what comes before and behind.

use super::error::Reason;
use super::lex::{self, Cursor};
use crate::base::limits::SAMPLE_LABELS_MAX;
use crate::model::samples;
use std::ops::Range;

/// The labels of a sample or an exemplar while they are read.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    /// A key, with or without its name.
    pub(super) key: Vec<u8>,
    /// Where the names are in the text, those of empty values as well.
    names: Vec<Range<u32>>,
    /// Characters of all names and values.
    pub(super) chars: usize,
    /// Whether an exemplar has labels that are not stored.
    pub(super) unfit: bool,
}

/// How labels are read.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// OpenMetrics.
    pub(super) strict: bool,
    /// Whether all of the text is UTF-8.
    pub(super) utf8: bool,
    /// Whether they are those of an exemplar.
    pub(super) exemplar: bool,
}

/// The labels behind `{`, to `}`. Gives the name if it stands in quotes among them.
pub(super) fn read_labels<'a>(
    at: &mut Cursor<'a>,
    how: How,
    mut name: &'a [u8],
    labels: &mut Labels,
    unescaped: &mut Vec<u8>,
) -> Result<Option<&'a [u8]>, Reason> {
    let blanks = |at: &mut Cursor| {
        if !how.strict {
            at.skip_blanks();
        }
    };
    let text = at.rest();
    loop {
        blanks(at);
        let at_label = *at;
        let (label, quoted) = match at.peek() {
            Some(b'}') => {
                at.skip(1);
                return Ok(Some(name).filter(|name| !name.is_empty()));
            }
            Some(b'"') => (at.take_quoted(!how.exemplar).ok_or(Reason::LabelName)?, true),
            _ => (at.take_label(), false),
        };
        if label.is_empty() && !quoted {
            return Err(Reason::LabelName);
        }
        blanks(at);
        match at.peek() {
            Some(b'=') => at.skip(1),
            Some(b',' | b'}') if how.exemplar => return Err(Reason::LabelName),
            Some(next @ (b',' | b'}')) if quoted => {
                let reason = if name.is_empty() { Reason::Name } else { Reason::NameTwice };
                if !name.is_empty() || !lex::is_name(label) {
                    *at = at_label;
                    return Err(reason);
                }
                name = label;
                at.skip(usize::from(next == b','));
                continue;
            }
            _ => return Err(Reason::Equal),
        }
        blanks(at);
        let at_value = *at;
        let value = match at.peek() {
            Some(b'"') => at.take_quoted(!how.strict).ok_or(Reason::LabelValue)?,
            _ => return Err(Reason::LabelValue),
        };
        let wrong = if !how.utf8 && std::str::from_utf8(value).is_err() {
            Some(Reason::Utf8)
        } else {
            // Prometheus' lexer takes a NUL in other values.
            (how.exemplar && value.contains(&0)).then_some(Reason::LabelValue)
        };
        if let Some(reason) = wrong {
            *at = at_value;
            return Err(reason);
        }
        let place = text.len() - at_label.rest().len() + usize::from(quoted);
        match labels.note(text, place, label, quoted) {
            Ok(()) => labels.put(label, value, unescaped, how.exemplar),
            Err(_) if how.exemplar => labels.unfit = true,
            Err(reason) => {
                *at = at_label;
                return Err(reason);
            }
        }
        blanks(at);
        match at.peek() {
            Some(b',') => at.skip(1),
            Some(b'}') => {}
            _ if how.strict => return Err(Reason::Comma),
            _ => {}
        }
    }
}

impl Labels {
    /// Forgets all, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.key.clear();
        self.names.clear();
        (self.chars, self.unfit) = (0, false);
    }

    /// Remembers a label's name, which is at `place` in the text. An error if it was there, is none, or is one too many.
    fn note(&mut self, text: &[u8], place: usize, label: &[u8], quoted: bool) -> Result<(), Reason> {
        if label == b"__name__" {
            // The sample has a name beside it.
            return Err(Reason::LabelTwice);
        }
        // A quoted name that is one has no escapes, so that it is what is written.
        if quoted && !lex::is_label(label) {
            return Err(Reason::Name);
        }
        if self.names.len() >= SAMPLE_LABELS_MAX {
            return Err(Reason::TooManyLabels);
        }
        let of = |range: &Range<u32>| text.get(range.start as usize..range.end as usize).unwrap_or_default();
        if self.names.iter().any(|known| of(known) == label) {
            return Err(Reason::LabelTwice);
        }
        self.names.push(place as u32..(place + label.len()) as u32);
        Ok(())
    }

    /// Adds a label to the key.
    fn put(&mut self, label: &[u8], value: &[u8], unescaped: &mut Vec<u8>, count: bool) {
        let value = if memchr::memchr(b'\\', value).is_some() {
            unescaped.clear();
            lex::unescape(value, true, unescaped);
            &unescaped[..]
        } else {
            value
        };
        if count {
            let chars = |text: &[u8]| text.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
            self.chars += chars(label) + chars(value);
        }
        samples::push_label(label, value, &mut self.key);
    }
}
