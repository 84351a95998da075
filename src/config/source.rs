//! The text of a configuration file, by line, and the excerpts of it that reports show.
//!
//! Promises: places are 1-based and always within the text; an excerpt is one line without control characters, of bounded length, and
//! what was marked as secret stands in it as `<secret>`, whatever its length. Leaves to others: knowing what is secret.

use crate::base::limits::CONFIG_EXCERPT_CHARS;

/// What may stand before a text without being of it.
const OPENING: [char; 6] = ['"', '\'', '{', '[', '(', ','];

/// What stands in the place of a secret.
const MASK: &str = "<secret>";

/// A place: line and column, both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pos {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// From `start` up to `end`, which does not belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first character.
    pub start: Pos,
    /// One past the last character.
    pub end: Pos,
}

impl Span {
    /// The one character at this place.
    pub fn at(line: usize, column: usize) -> Self {
        Span { start: Pos { line, column }, end: Pos { line, column: column.saturating_add(1) } }
    }

    /// Whether the character at `pos` belongs to it.
    pub fn contains(&self, pos: Pos) -> bool {
        self.start <= pos && pos < self.end
    }
}

/// One line as a report shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, shortened and masked.
    pub text: String,
    /// Characters of `text` before the marked ones.
    pub before: usize,
    /// How many characters are marked; at least 1.
    pub width: usize,
}

/// A text by lines, and what in it may not be shown.
#[derive(Debug)]
pub struct Source<'a> {
    lines: Vec<&'a str>,
    secrets: Vec<Span>,
}

impl<'a> Source<'a> {
    /// Splits `text` at the line breaks that YAML knows: `\n`, `\r\n` and `\r`.
    pub fn new(text: &'a str) -> Self {
        let mut lines = Vec::new();
        let mut rest = text;
        while let Some(end) = rest.find(['\n', '\r']) {
            let (line, tail) = rest.split_at(end);
            lines.push(line);
            rest = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\n', '\r'])).unwrap_or("");
        }
        if !rest.is_empty() || lines.is_empty() {
            lines.push(rest);
        }
        let mut source = Source { lines, secrets: Vec::new() };
        source.secrets = source.url_credentials();
        source
    }

    /// The lines without their breaks.
    pub fn lines(&self) -> &[&'a str] {
        &self.lines
    }

    /// Marks what may not be shown.
    pub fn hide(&mut self, secrets: impl IntoIterator<Item = Span>) {
        self.secrets.extend(secrets);
    }

    /// The place of `needle`, if it stands in the first line of `span` at or after its start; `span` itself otherwise.
    pub fn narrow(&self, span: Span, needle: &str) -> Span {
        let found = self.lines.get(span.start.line.saturating_sub(1)).and_then(|line| {
            let from = line.char_indices().nth(span.start.column.saturating_sub(1))?.0;
            let at = from + line.get(from..)?.find(needle)?;
            Some(line.get(..at)?.chars().count() + 1)
        });
        match found {
            Some(column) => Span {
                start: Pos { line: span.start.line, column },
                end: Pos { line: span.start.line, column: column + needle.chars().count() },
            },
            None => span,
        }
    }

    /// The nearest place that is in the text; the end of a line counts as in it.
    pub fn clamp(&self, pos: Pos) -> Pos {
        let line = pos.line.clamp(1, self.lines.len().max(1));
        let length = self.lines.get(line - 1).map_or(0, |text| text.chars().count());
        let column = if line < pos.line { length + 1 } else { pos.column.clamp(1, length + 1) };
        Pos { line, column }
    }

    /// The line of `span`'s start, with as much of `span` marked as is on it.
    pub fn excerpt(&self, span: Span) -> Excerpt {
        let start = self.clamp(span.start);
        let line = self.lines.get(start.line - 1).copied().unwrap_or("");
        // Of a very long line, no more is looked at than could be shown.
        let skipped = (start.column - 1).saturating_sub(CONFIG_EXCERPT_CHARS);
        let looked_at = 3 * CONFIG_EXCERPT_CHARS;
        let whole = Span {
            start: Pos { line: start.line, column: skipped + 1 },
            end: Pos { line: start.line, column: skipped + looked_at + 1 },
        };
        let secrets: Vec<&Span> =
            self.secrets.iter().filter(|secret| secret.start < whole.end && whole.start < secret.end).collect();
        let mut chars = line.chars().enumerate().skip(skipped);
        let mut out: Vec<char> = Vec::new();
        let mut marked: Option<(usize, usize)> = None;
        let mut masked = false;
        let mut mask_start = 0;
        let mut at_start = None;
        for (i, c) in chars.by_ref().take(looked_at) {
            let pos = Pos { line: start.line, column: i + 1 };
            let secret = secrets.iter().any(|secret| secret.contains(pos));
            if secret && !masked {
                mask_start = out.len();
                out.extend(MASK.chars());
            } else if !secret {
                // A terminal must not act on what a file contains.
                out.push(if c == '\t' || !c.is_control() { c } else { char::REPLACEMENT_CHARACTER });
            }
            masked = secret;
            let begin = if secret { mask_start } else { out.len() - 1 };
            if pos == start {
                at_start = Some(begin);
            }
            if pos >= start && (pos == start || pos < span.end) && !c.is_whitespace() {
                marked = Some((marked.map_or(begin, |(first, _)| first), out.len()));
            }
        }
        let (cut_before, cut_after) = (skipped > 0, chars.next().is_some());
        // The end of a line, or a blank, is marked with one caret.
        let at_start = at_start.unwrap_or(out.len());
        let (mut first, mut last) = marked.unwrap_or((at_start, at_start + 1));
        if cut_before || cut_after || out.len() > CONFIG_EXCERPT_CHARS {
            let latest = out.len().saturating_sub(CONFIG_EXCERPT_CHARS);
            let from = first.saturating_sub(CONFIG_EXCERPT_CHARS / 3).min(latest);
            let to = (from + CONFIG_EXCERPT_CHARS).min(out.len());
            let (left, right) = (cut_before || from > 0, cut_after || to < out.len());
            let mut cut: Vec<char> = Vec::with_capacity(CONFIG_EXCERPT_CHARS + 2);
            cut.extend(left.then_some('…'));
            cut.extend(out.iter().skip(from).take(to - from));
            cut.extend(right.then_some('…'));
            let shift = |at: usize| at.saturating_sub(from) + usize::from(left);
            (first, last) = (shift(first), shift(last.min(to).max(first + 1)));
            out = cut;
        }
        let text: String = out.into_iter().collect();
        Excerpt { text: text.trim_end().to_owned(), before: first, width: last - first }
    }

    /// What stands between `://` and `@`: user and password of a URL, wherever one is written. Without a scheme, what has a colon before its `@`.
    fn url_credentials(&self) -> Vec<Span> {
        let mut found = Vec::new();
        for (i, line) in self.lines.iter().enumerate() {
            let mut column = 1;
            for word in line.split(char::is_whitespace) {
                // The last `@`: a password may have one that somebody forgot to encode.
                let end = word.rfind('@').unwrap_or(0);
                let before = word.get(..end).unwrap_or("");
                let start = match word.find("://") {
                    Some(at) => Some(at + 3),
                    None => before.contains(':').then(|| end - before.trim_start_matches(OPENING).len()),
                };
                if let Some(start) = start.filter(|start| *start < end) {
                    let place = |byte: usize| {
                        let before = word.get(..byte).unwrap_or("").chars().count();
                        Pos { line: i + 1, column: column + before }
                    };
                    found.push(Span { start: place(start), end: place(end) });
                }
                column += word.chars().count() + 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: usize, from: usize, to: usize) -> Span {
        Span { start: Pos { line, column: from }, end: Pos { line, column: to } }
    }

    #[test]
    fn lines_end_as_in_yaml() {
        assert_eq!(Source::new("a\r\nb\rc\nd").lines(), ["a", "b", "c", "d"]);
        assert_eq!(Source::new("a\n\nb\n").lines(), ["a", "", "b"]);
        assert_eq!(Source::new("").lines(), [""]);
    }

    #[test]
    fn a_secret_is_one_mask_and_the_mark_moves_with_it() {
        let mut source = Source::new("p: hunter2 x");
        source.hide([span(1, 4, 11)]);
        assert_eq!(source.excerpt(span(1, 12, 13)), Excerpt { text: "p: <secret> x".to_owned(), before: 12, width: 1 });
        assert_eq!(source.excerpt(span(1, 6, 9)), Excerpt { text: "p: <secret> x".to_owned(), before: 3, width: 8 });
        let source = Source::new("url: http://me:pa@ss@host/");
        assert_eq!(source.excerpt(span(1, 1, 4)).text, "url: http://<secret>@host/");
        let source = Source::new("{ listen: \"me:pa@ss@host\" } # mail@host:1");
        assert_eq!(source.excerpt(span(1, 1, 4)).text, "{ listen: \"<secret>@host\" } # mail@host:1");
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let line = "x".repeat(1000) + "!" + &"y".repeat(1000);
        let excerpt = Source::new(&line).excerpt(span(1, 1001, 1002));
        assert_eq!(excerpt.text.chars().nth(excerpt.before), Some('!'));
        assert!(excerpt.text.starts_with("…x") && excerpt.text.ends_with("y…"));
        assert_eq!(excerpt.text.chars().count(), CONFIG_EXCERPT_CHARS + 2);
    }
}
