//! Text that was found in a line, or made from it: what stages of a pipeline hand to each other.
//!
//! A value is a place, not a text: most of what is extracted is borrowed from the line, and what is not (an unescaped string, a rendered
//! template) lies in a scratch buffer that is cleared when the line is done. So nothing is allocated for a value.
//!
//! Promises: a value made for one line and scratch gives back exactly what was put in. With another line or scratch it may give any text or
//! the empty one, but it does not panic. Leaves to others: which values there are (`pipeline`), how they are found (`format`).

use std::ops::Range;

/// What a value was where it was found. JSON has types; everything else is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Text.
    #[default]
    Text,
    /// A number. Its text is as Go prints a float64 with the format `f` and the least digits: `1`, `0.5`, `1000000`.
    Number,
    /// `true` or `false`.
    Bool,
    /// JSON's null. Its text is empty.
    Null,
}

/// Where a value's text lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// In the line.
    #[default]
    Line,
    /// In the scratch buffer.
    Scratch,
}

/// A piece of the line or of the scratch buffer. At most 4 GiB, which lines and chunks are far below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Value {
    start: u32,
    end: u32,
    kind: Kind,
    place: Place,
}

impl Value {
    /// A part of the line, bytes.
    pub fn in_line(range: Range<usize>) -> Self {
        Value::at(range, Place::Line)
    }

    /// A part of the scratch buffer, bytes.
    pub fn in_scratch(range: Range<usize>) -> Self {
        Value::at(range, Place::Scratch)
    }

    fn at(range: Range<usize>, place: Place) -> Self {
        let short = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Value { start: short(range.start), end: short(range.end), kind: Kind::Text, place }
    }

    /// Appends `text` to the scratch buffer.
    pub fn push(scratch: &mut String, text: &str) -> Self {
        let start = scratch.len();
        scratch.push_str(text);
        Value::in_scratch(start..scratch.len())
    }

    /// The same text as another kind.
    pub fn with_kind(self, kind: Kind) -> Self {
        Value { kind, ..self }
    }

    /// Its first `len` bytes.
    pub fn cut(self, len: usize) -> Self {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        Value { end: self.end.min(self.start.saturating_add(len)), ..self }
    }

    /// What it was where it was found.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Where it lies.
    pub fn place(self) -> Place {
        self.place
    }

    /// Where its text begins and ends, bytes.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether its text is empty.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Its text.
    pub fn of<'a>(self, line: &'a str, scratch: &'a str) -> &'a str {
        let text = match self.place {
            Place::Line => line,
            Place::Scratch => scratch,
        };
        text.get(self.range()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in() {
        let line = "level=info";
        let mut scratch = String::from("x");
        let found = Value::in_line(6..10);
        let made = Value::push(&mut scratch, "wörld").with_kind(Kind::Text);
        assert_eq!(found.of(line, &scratch), "info");
        assert_eq!(made.of(line, &scratch), "wörld");
        assert_eq!((found.place(), made.place()), (Place::Line, Place::Scratch));
        assert_eq!((found.cut(2).of(line, ""), found.cut(9).of(line, "")), ("in", "info"));
        assert!(Value::default().is_empty());
    }

    #[test]
    fn a_wrong_text_does_no_harm() {
        assert_eq!(Value::in_line(3..9).of("äö", ""), "");
        assert_eq!(Value::in_line(1..3).of("äö", ""), "");
        let backwards = Range { start: 9, end: 3 };
        assert_eq!(Value::in_line(backwards).of("0123456789", ""), "");
    }
}
