//! The text of a selector, read into conditions.
//!
//! Promises: every error names its place; no recursion. Leaves to others: matching.

use super::{Filter, Matcher, Piece, Search, Selector, SelectorError, Test};
use crate::base::expression::{self, Anchored};
use memchr::memmem::Finder;

/// What LogQL has behind a `|` beside line filters: the word, what it is, and what stands for it here.
const BEYOND: [(&str, &str, &str); 16] = [
    ("json", "a parser", "extract with a `json` stage before this one"),
    ("logfmt", "a parser", "extract with a `logfmt` stage before this one"),
    ("regexp", "a parser", "extract with a `regex` stage before this one"),
    ("pattern", "a parser", "extract with a `regex` stage before this one"),
    ("unpack", "a parser", "extract with a `json` stage before this one"),
    ("line_format", "a format", "write the line with `template` and `output` stages"),
    ("label_format", "a format", "set labels with `template` and `labels` stages"),
    ("decolorize", "a format", "use a `decolorize` stage before this one"),
    ("drop", "a change of labels", "use a `labeldrop` stage"),
    ("keep", "a change of labels", "use a `labelallow` stage"),
    ("distinct", "an operation on results", "it has no meaning for lines on their way"),
    ("unwrap", "part of a metric query", "use a `metrics` stage"),
    ("limit", "an operation on results", "use a `limit` stage"),
    ("sort", "an operation on results", "it has no meaning for lines on their way"),
    ("or", "no filter", "write alternatives behind a filter: |= \"a\" or \"b\""),
    ("and", "no filter", "write a further filter: conditions are joined anyway"),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Expression,
    Pattern,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

pub fn parse(text: &str) -> Result<Selector, SelectorError> {
    let mut parser = Parser { text, at: 0 };
    let matchers = parser.matchers()?;
    let mut filters = Vec::new();
    loop {
        parser.skip();
        if parser.rest().is_empty() {
            return Ok(Selector { matchers, filters });
        }
        filters.push(parser.filter()?);
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Passes over white space, and comments up to the end of their line.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn error(&self, at: usize, what: impl Into<String>) -> SelectorError {
        SelectorError::new(self.text, at, what)
    }

    /// What stands at a place, for a message.
    fn found(&self) -> String {
        match self.rest().chars().next() {
            Some(c) => format!("{c:?}"),
            None => "the end".to_owned(),
        }
    }

    /// Letters, digits and underscores from here on.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).unwrap_or("")
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>, SelectorError> {
        self.skip();
        let word = self.word();
        if !self.eat("{") {
            let what = match word {
                "" => "a selector begins with {, as in {app=\"shop\"}".to_owned(),
                word if self.rest().get(word.len()..).is_some_and(|rest| rest.trim_start().starts_with('(')) => {
                    format!(
                        "`{word}(...)` is a metric query, a selector begins with {{: count lines with a `metrics` stage"
                    )
                }
                word => format!("a selector begins with {{, as in {{{word}=\"...\"}}"),
            };
            return Err(self.error(self.at, what));
        }
        let mut matchers = Vec::new();
        self.skip();
        if self.eat("}") {
            return Ok(matchers);
        }
        loop {
            matchers.push(self.matcher()?);
            self.skip();
            if self.eat("}") {
                return Ok(matchers);
            }
            if !self.eat(",") {
                let what = format!("there should be , or }} and there is {}", self.found());
                return Err(self.error(self.at, what));
            }
            self.skip();
            if self.rest().starts_with('}') {
                return Err(self.error(self.at, "a label's name should come after the comma: remove the comma"));
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher, SelectorError> {
        self.skip();
        let name = self.word();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let what = format!("there should be a label's name and there is {}", self.found());
            return Err(self.error(self.at, what));
        }
        self.at += name.len();
        self.skip();
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| self.rest().starts_with(operator));
        let Some(operator) = operator.filter(|_| !self.rest().starts_with("==")) else {
            let what = match self.rest().chars().next() {
                Some('<' | '>') => "labels are texts, they cannot be compared by size: use =, !=, =~ or !~".to_owned(),
                _ => format!("there should be =, !=, =~ or !~ behind {name} and there is {}", self.found()),
            };
            return Err(self.error(self.at, what));
        };
        self.at += operator.len();
        self.skip();
        let start = self.at;
        let value = self.string()?;
        let test = if operator.ends_with('~') {
            Test::Pattern(Anchored::new(&value).map_err(|e| SelectorError::expression(self.text, start, &e))?)
        } else {
            Test::Equal(value)
        };
        Ok(Matcher { name: name.to_owned(), test, negated: operator.starts_with('!') })
    }

    fn filter(&mut self) -> Result<Filter, SelectorError> {
        let start = self.at;
        let operators = [
            ("|=", Kind::Text, false),
            ("!=", Kind::Text, true),
            ("|~", Kind::Expression, false),
            ("!~", Kind::Expression, true),
            ("|>", Kind::Pattern, false),
            ("!>", Kind::Pattern, true),
        ];
        let Some((text, kind, negated)) = operators.into_iter().find(|(text, ..)| self.rest().starts_with(text)) else {
            return Err(self.not_a_filter());
        };
        self.at += text.len();
        let mut any_of = Vec::new();
        loop {
            self.skip();
            if self.word() == "ip" && self.rest().get(2..).is_some_and(|rest| rest.trim_start().starts_with('(')) {
                let what = "`ip(...)` is not possible here: compare with a regular expression, as in |~ \"10[.]0[.]\"";
                return Err(self.error(self.at, what));
            }
            let at = self.at;
            let value = self.string()?;
            any_of.push(match kind {
                Kind::Text => Search::Text(finder(&value)),
                Kind::Expression => {
                    let regex = expression::compile(&value);
                    Search::Pattern(regex.map_err(|e| SelectorError::expression(self.text, at, &e))?)
                }
                Kind::Pattern => Search::Pieces(self.pieces(at, &value)?),
            });
            self.skip();
            if self.word() == "or" {
                self.at += 2;
            } else {
                break;
            }
        }
        if any_of.is_empty() {
            return Err(self.error(start, format!("a text should follow {text}")));
        }
        Ok(Filter { any_of, negated })
    }

    /// Names what of LogQL stands where a line filter should be.
    fn not_a_filter(&mut self) -> SelectorError {
        let start = self.at;
        let filters = "line filters are |= != |~ !~ |> !>, each with a text in quotes";
        if !self.eat("|") {
            let what = match self.word() {
                "or" | "and" | "unless" => {
                    format!("`{}` joins whole queries: use a second `match` stage", self.word())
                }
                _ => format!("there should be a line filter and there is {}; {filters}", self.found()),
            };
            return self.error(start, what);
        }
        self.skip();
        let word = self.word();
        if let Some((_, kind, instead)) = BEYOND.iter().find(|(known, ..)| *known == word) {
            return self.error(start, format!("`| {word}` is {kind}, which a selector cannot have: {instead}"));
        }
        if word.is_empty() {
            return self.error(start, format!("there is {} behind |; {filters}", self.found()));
        }
        let what = format!(
            "`| {word}` is a filter of what was extracted, which a selector cannot have: make {word} a label and put it into the braces, or use a `drop` stage"
        );
        self.error(start, what)
    }

    /// A text in double quotes with Go's escapes, or in backquotes without any.
    fn string(&mut self) -> Result<String, SelectorError> {
        let start = self.at;
        if self.eat("`") {
            let Some((text, _)) = self.rest().split_once('`') else {
                return Err(self.error(start, "this text has no ` at its end"));
            };
            self.at += text.len() + 1;
            // As Go reads such texts.
            return Ok(text.replace('\r', ""));
        }
        if !self.eat("\"") {
            let what = match self.rest().chars().next() {
                Some('\'') => "texts are in double quotes or backquotes, not in single quotes".to_owned(),
                _ => format!("there should be a text in quotes and there is {}", self.found()),
            };
            return Err(self.error(start, what));
        }
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let at = self.at;
            let Some(c) = self.rest().chars().next() else {
                return Err(self.error(start, "this text has no \" at its end"));
            };
            self.at += c.len_utf8();
            match c {
                '"' => break,
                '\n' => {
                    return Err(
                        self.error(start, "this text has no \" at the end of its line: write \\n for a new line")
                    );
                }
                '\\' => self.escape(at, &mut bytes)?,
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            self.error(start, "the bytes that this text is written with are no UTF-8: write \\u00e4 for a character")
        })
    }

    /// What a backslash at `at` stands for, from behind it.
    fn escape(&mut self, at: usize, out: &mut Vec<u8>) -> Result<(), SelectorError> {
        let c = self.rest().chars().next();
        self.at += c.map_or(0, char::len_utf8);
        let byte = match c {
            Some('a') => 7,
            Some('b') => 8,
            Some('f') => 12,
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('v') => 11,
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('x') => self.number(at, 2, 16).and_then(|value| self.byte(at, value))?,
            Some('0'..='7') => {
                self.at -= 1;
                self.number(at, 3, 8).and_then(|value| self.byte(at, value))?
            }
            Some(letter @ ('u' | 'U')) => {
                let value = self.number(at, if letter == 'u' { 4 } else { 8 }, 16)?;
                let Some(c) = char::from_u32(value) else {
                    return Err(self.error(at, "there is no character of this number"));
                };
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            Some(c) => {
                let what = format!(
                    "\\{c} is no escape: write \\\\{c} for a backslash in a regular expression, or put the text into backquotes"
                );
                return Err(self.error(at, what));
            }
            None => return Err(self.error(at, "this text has no \" at its end")),
        };
        out.push(byte);
        Ok(())
    }

    /// A number of exactly `len` digits.
    fn number(&mut self, at: usize, len: usize, base: u32) -> Result<u32, SelectorError> {
        let digits = self.rest().get(..len).filter(|digits| digits.chars().all(|c| c.is_digit(base)));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, base).ok());
        self.at += len;
        value.ok_or_else(|| {
            let name = if base == 8 { "octal" } else { "hexadecimal" };
            self.error(at, format!("this escape should have {len} {name} digits"))
        })
    }

    fn byte(&self, at: usize, value: u32) -> Result<u8, SelectorError> {
        u8::try_from(value).map_err(|_| self.error(at, "this escape is larger than a byte"))
    }

    /// `<_>` and the texts between.
    fn pieces(&self, at: usize, pattern: &str) -> Result<Vec<Piece>, SelectorError> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("<_>") {
                if matches!(pieces.last(), Some(Piece::Gap)) {
                    return Err(self.error(at, "two <_> without a text between them: one is enough"));
                }
                pieces.push(Piece::Gap);
                rest = after;
                continue;
            }
            let end = next_capture(rest).unwrap_or(rest.len());
            let (literal, after) = rest.split_at(end);
            if literal.is_empty() {
                let name = rest.split('>').next().unwrap_or("");
                let what = format!(
                    "{name}> would capture, which a filter does not: write <_>, and extract with a `regex` stage"
                );
                return Err(self.error(at, what));
            }
            pieces.push(Piece::Literal(finder(literal)));
            rest = after;
        }
        Ok(pieces)
    }
}

/// Where the next `<name>` begins; any other `<` is text.
fn next_capture(text: &str) -> Option<usize> {
    text.match_indices('<').map(|(at, _)| at).find(|at| {
        let rest = text.get(at + 1..).unwrap_or("");
        let name = rest.split('>').next().filter(|name| name.len() < rest.len()).unwrap_or("");
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
    })
}

fn finder(text: &str) -> Box<Finder<'static>> {
    Box::new(Finder::new(text.as_bytes()).into_owned())
}
