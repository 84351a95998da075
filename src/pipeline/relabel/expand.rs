//! Replacements as Go's `Regexp.Expand` reads them: `$1`, `$name`, `${name}`, and `$$` for a dollar.
//!
//! Promises: a name is as long as it can be (`$1x` is a group called `1x`); a group that does not exist, or did not match, is empty; a dollar
//! that begins nothing is itself. Leaves to others: matching.

use crate::base::text::head;
use regex::{CaptureLocations, Regex};

/// A compiled replacement.
#[derive(Debug, Clone)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

/// A match whose groups a replacement takes.
pub enum Found<'a> {
    /// Each group is the whole text.
    Whole(&'a str),
    /// Groups by their places in the text.
    Groups(&'a str, &'a CaptureLocations),
}

impl Template {
    /// Reads a replacement; its groups are those of `regex`.
    pub fn new(text: &str, regex: &Regex) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
            } else if let Some((name, after)) = name(after) {
                if let Some(group) = group(name, regex) {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Group(group));
                }
                rest = after;
            } else {
                literal.push('$');
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Template(parts)
    }

    /// Whether it takes no group.
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Appends what it stands for, up to `max` bytes and a few more, which tell that it was longer.
    pub fn expand(&self, found: &Found<'_>, max: usize, out: &mut String) {
        for part in &self.0 {
            let text = match (part, found) {
                (Part::Text(text), _) => text.as_str(),
                (Part::Group(_), Found::Whole(text)) => text,
                (Part::Group(group), Found::Groups(text, places)) => {
                    places.get(*group).and_then(|(start, end)| text.get(start..end)).unwrap_or("")
                }
            };
            let room = (max + 4).saturating_sub(out.len());
            out.push_str(head(text, room));
        }
    }
}

/// The name behind a dollar, and what comes after it.
fn name(text: &str) -> Option<(&str, &str)> {
    let (inner, braced) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    if name.is_empty() {
        return None;
    }
    if braced { after.strip_prefix('}').map(|after| (name, after)) } else { Some((name, after)) }
}

/// The group of a name, by number if it is one.
fn group(name: &str, regex: &Regex) -> Option<usize> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    if is_number {
        return name.parse().ok().filter(|group| *group < regex.captures_len());
    }
    regex.capture_names().position(|known| known == Some(name))
}

/// Whether a text can give a label name: letters, digits and underscores, and groups in their place.
pub fn is_name_template(text: &str) -> bool {
    let mut rest = text;
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        if c == '$' {
            let after = rest.get(1..).unwrap_or("");
            match name(after) {
                Some((name, after)) if name.is_ascii() => rest = after,
                _ => return false,
            }
        } else if c == '_' || c.is_ascii_alphabetic() || (c.is_ascii_digit() && !first) {
            rest = rest.get(1..).unwrap_or("");
        } else {
            return false;
        }
        first = false;
    }
    !first
}
