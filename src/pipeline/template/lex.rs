//! A template, cut into text and actions, and actions into words.
//!
//! Promises: what is trimmed and what is a comment is as in Go. Leaves to others: what words mean.

use super::{CompileError, Problem};

/// A problem at a byte of the template.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub problem: Problem,
}

impl Fault {
    pub(super) fn syntax(at: usize, what: impl Into<String>) -> Fault {
        Fault { at, problem: Problem::Syntax(what.into()) }
    }

    /// The same with line and column.
    pub(super) fn placed(self, text: &str) -> CompileError {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        CompileError { line, column, problem: self.problem }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Name(String),
    /// `.name`
    Field(String),
    Dot,
    /// `$name`; empty for `$` alone.
    Variable(String),
    Text(String),
    Int(i64),
    Float(f64),
    Open,
    Close,
    Pipe,
    Comma,
    Declare,
    Assign,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub word: Word,
    pub at: usize,
    /// Whether there is white space before it.
    pub spaced: bool,
}

pub(super) enum Piece<'t> {
    Text(&'t str),
    Action { at: usize, words: Vec<Token> },
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts a template. Comments are gone, white space is trimmed where `-` says so.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut trim = false;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let open = rest.find("{{");
        let mut plain = rest.get(..open.unwrap_or(rest.len())).unwrap_or_default();
        if trim {
            plain = plain.trim_start_matches(SPACES);
        }
        let Some(open) = open else {
            if !plain.is_empty() {
                found.push(Piece::Text(plain));
            }
            return Ok(found);
        };
        let begin = at + open;
        let mut inside = begin + 2;
        let tail = text.get(inside..).unwrap_or_default();
        if tail.strip_prefix('-').is_some_and(|tail| tail.starts_with(SPACES)) {
            inside += 1;
            plain = plain.trim_end_matches(SPACES);
        }
        if !plain.is_empty() {
            found.push(Piece::Text(plain));
        }
        let body = text.get(inside..).unwrap_or_default();
        if body.trim_start_matches(SPACES).starts_with("/*") {
            let start = inside + (body.len() - body.trim_start_matches(SPACES).len());
            (at, trim) = comment_end(text, start)?;
            continue;
        }
        let mut lexer = Lexer { text, at: inside, words: Vec::new() };
        trim = lexer.run(begin)?;
        at = lexer.at;
        found.push(Piece::Action { at: begin, words: lexer.words });
    }
}

/// Where the text goes on after a comment, and whether it is trimmed.
fn comment_end(text: &str, start: usize) -> Result<(usize, bool), Fault> {
    let tail = text.get(start..).unwrap_or_default();
    let close = tail.find("*/").ok_or_else(|| Fault::syntax(start, "the comment is not closed; write */}}"))?;
    let end = start + close + 2;
    let after = text.get(end..).unwrap_or_default();
    if after.starts_with("}}") {
        return Ok((end + 2, false));
    }
    let spaced = after.trim_start_matches(SPACES);
    if spaced.len() < after.len() && spaced.starts_with("-}}") {
        return Ok((end + after.len() - spaced.len() + 3, true));
    }
    Err(Fault::syntax(end, "a comment has to be alone in its braces; write {{/* … */}}"))
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    words: Vec<Token>,
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let len = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default().to_owned()
    }

    /// Reads to the end of the action; tells whether the text after it is trimmed.
    fn run(&mut self, begin: usize) -> Result<bool, Fault> {
        loop {
            let before = self.at;
            self.at += self.rest().len() - self.rest().trim_start_matches(SPACES).len();
            let spaced = self.at > before;
            let rest = self.rest();
            if spaced && rest.starts_with("-}}") {
                self.at += 3;
                return Ok(true);
            }
            if rest.starts_with("}}") {
                self.at += 2;
                return Ok(false);
            }
            let at = self.at;
            let Some(first) = rest.chars().next() else {
                return Err(Fault::syntax(begin, "the braces are not closed; write }}"));
            };
            let word = self.word(first, rest)?;
            self.words.push(Token { word, at, spaced });
        }
    }

    fn word(&mut self, first: char, rest: &str) -> Result<Word, Fault> {
        let at = self.at;
        let second = rest.chars().nth(1);
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let sign = |word: Word, len: usize, lexer: &mut Lexer<'_>| {
            lexer.at += len;
            Ok(word)
        };
        match first {
            '(' => sign(Word::Open, 1, self),
            ')' => sign(Word::Close, 1, self),
            '|' => sign(Word::Pipe, 1, self),
            ',' => sign(Word::Comma, 1, self),
            ':' if second == Some('=') => sign(Word::Declare, 2, self),
            '=' => sign(Word::Assign, 1, self),
            '"' => self.quoted(at),
            '`' => {
                let body = rest.get(1..).unwrap_or_default();
                let len = body.find('`').ok_or_else(|| Fault::syntax(at, "the text is not closed; write `"))?;
                self.at += len + 2;
                Ok(Word::Text(body.get(..len).unwrap_or_default().to_owned()))
            }
            '\'' => self.character(at),
            '.' if second.is_some_and(is_name) && !digit(second) => {
                self.at += 1;
                let name = self.name();
                self.ends_well(&name)?;
                Ok(Word::Field(name))
            }
            '0'..='9' => self.number(at),
            '+' | '-' | '.' if digit(second) || (second == Some('.') && first != '.') => self.number(at),
            '.' => sign(Word::Dot, 1, self),
            '$' => {
                self.at += 1;
                let name = self.name();
                self.ends_well(&name)?;
                Ok(Word::Variable(name))
            }
            _ if is_name(first) => {
                let name = self.name();
                self.ends_well(&name)?;
                Ok(Word::Name(name))
            }
            _ => Err(Fault::syntax(at, format!("`{}` is not expected", first.escape_debug()))),
        }
    }

    /// Names end before a space or a sign. What looks like one name with a dash is not, in Go as here.
    fn ends_well(&self, name: &str) -> Result<(), Fault> {
        match self.rest().chars().next() {
            None => Ok(()),
            Some(c) if SPACES.contains(&c) || matches!(c, '.' | ',' | '|' | ':' | '=' | '(' | ')' | '}') => Ok(()),
            Some(c) => Err(Fault::syntax(
                self.at,
                format!("`{}` cannot follow `{name}`; write a key with such a name as index . \"…\"", c.escape_debug()),
            )),
        }
    }

    /// Go's numbers: `1`, `-0x1f`, `1_000`, `1.5e3`. What is whole is an integer.
    fn number(&mut self, at: usize) -> Result<Word, Fault> {
        let rest = self.rest();
        let hex = rest.trim_start_matches(['+', '-']).get(..2).is_some_and(|head| head.eq_ignore_ascii_case("0x"));
        let mut end = 0;
        let mut last = ' ';
        for (index, c) in rest.char_indices() {
            let signed = matches!(c, '+' | '-') && (index == 0 || (matches!(last, 'e' | 'E') && !hex));
            if !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || signed) {
                break;
            }
            end = index + 1;
            last = c;
        }
        let written = rest.get(..end).unwrap_or_default();
        self.at += end;
        let plain = written.replace('_', "");
        if let Some(value) = super::math::parse_int(&plain) {
            return Ok(Word::Int(value));
        }
        match plain.parse::<f64>() {
            Ok(value) if !hex && value.is_finite() => Ok(Word::Float(value)),
            _ => Err(Fault::syntax(at, format!("`{written}` is not a number"))),
        }
    }

    fn quoted(&mut self, at: usize) -> Result<Word, Fault> {
        self.at += 1;
        let mut out = String::new();
        // Bytes that escapes make up need not be characters one by one.
        let mut bytes = Vec::new();
        loop {
            let Some(c) = self.rest().chars().next().filter(|c| *c != '\n') else {
                return Err(Fault::syntax(at, "the text is not closed; write \""));
            };
            if c == '"' {
                self.at += 1;
                out.push_str(&String::from_utf8_lossy(&bytes));
                return Ok(Word::Text(out));
            }
            self.escaped('"', &mut bytes)?;
        }
    }

    fn character(&mut self, at: usize) -> Result<Word, Fault> {
        self.at += 1;
        let mut bytes = Vec::new();
        self.escaped('\'', &mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let c = text.chars().next();
        match (c, self.rest().strip_prefix('\'')) {
            (Some(c), Some(_)) => {
                self.at += 1;
                Ok(Word::Int(i64::from(u32::from(c))))
            }
            _ => Err(Fault::syntax(at, "one character is expected between ' and '; write texts in \"…\"")),
        }
    }

    /// One character of a quoted text, which may be written as an escape.
    fn escaped(&mut self, quote: char, out: &mut Vec<u8>) -> Result<(), Fault> {
        let at = self.at;
        let bad = || Fault::syntax(at, "this escape is not known; write a backslash as \\\\, or the text in `…`");
        let mut chars = self.rest().chars();
        let first = chars.next().ok_or_else(bad)?;
        self.at += first.len_utf8();
        let mut push = |c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        if first != '\\' {
            push(first);
            return Ok(());
        }
        let letter = chars.next().ok_or_else(bad)?;
        self.at += letter.len_utf8();
        let digits = |count: usize, radix: u32, tail: &str| {
            let digits = tail.get(..count).filter(|digits| digits.chars().all(|c| c.is_digit(radix)))?;
            u32::from_str_radix(digits, radix).ok()
        };
        match letter {
            'a' => push('\x07'),
            'b' => push('\x08'),
            'f' => push('\x0c'),
            'n' => push('\n'),
            'r' => push('\r'),
            't' => push('\t'),
            'v' => push('\x0b'),
            '\\' => push('\\'),
            _ if letter == quote => push(quote),
            'x' => {
                let byte = digits(2, 16, self.rest()).ok_or_else(bad)?;
                out.push(u8::try_from(byte).map_err(|_| bad())?);
                self.at += 2;
            }
            'u' | 'U' => {
                let count = if letter == 'u' { 4 } else { 8 };
                push(digits(count, 16, self.rest()).and_then(char::from_u32).ok_or_else(bad)?);
                self.at += count;
            }
            '0'..='7' => {
                let byte = digits(3, 8, chars_from(self.text, self.at - 1)).ok_or_else(bad)?;
                out.push(u8::try_from(byte).map_err(|_| bad())?);
                self.at += 2;
            }
            _ => return Err(bad()),
        }
        Ok(())
    }
}

fn chars_from(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or_default()
}
