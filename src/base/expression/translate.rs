//! From RE2's syntax to that of the `regex` crate.
//!
//! Promises: what comes out means in the crate what the pattern means in Go; every error names its place. One pass, no recursion.
//! Leaves to others: the size of what is compiled, and which Unicode classes exist.

use super::ExpressionError;
use crate::base::limits::{EXPRESSION_DEPTH, EXPRESSION_REPEAT};

/// The classes of `[[:name:]]`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// What a repetition would apply to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Atom,
    Repeated,
}

struct Translator<'a> {
    pattern: &'a str,
    at: usize,
    out: String,
    /// Where the open groups begin.
    open: Vec<usize>,
    names: Vec<&'a str>,
    before: Before,
}

/// Writes a pattern anew for the `regex` crate.
pub fn translate(pattern: &str) -> Result<String, ExpressionError> {
    let mut translator = Translator {
        pattern,
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
        open: Vec::new(),
        names: Vec::new(),
        before: Before::Nothing,
    };
    while let Some(c) = translator.peek() {
        translator.step(c)?;
    }
    match translator.open.last() {
        Some(at) => Err(translator.error(*at, "this group is not closed: add a ) or write \\( for the character")),
        None => Ok(translator.out),
    }
}

impl<'a> Translator<'a> {
    fn rest(&self) -> &'a str {
        self.pattern.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn error(&self, at: usize, what: impl Into<String>) -> ExpressionError {
        ExpressionError::new(self.pattern, at, what)
    }

    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.before = Before::Atom;
    }

    fn step(&mut self, c: char) -> Result<(), ExpressionError> {
        let start = self.at;
        match c {
            '(' => return self.group(),
            '[' => return self.class(),
            '\\' => return self.escape(),
            '*' | '+' | '?' => {
                self.at += 1;
                self.out.push(c);
                return self.repetition(start);
            }
            '{' => {
                if let Some((text, len)) = self.counts()? {
                    self.at += len;
                    self.out.push_str(&text);
                    return self.repetition(start);
                }
            }
            _ => {}
        }
        self.next();
        match c {
            ')' => {
                if self.open.pop().is_none() {
                    return Err(self.error(start, "this ) closes nothing: remove it or write \\) for the character"));
                }
                self.atom(")");
            }
            '|' => {
                self.out.push('|');
                self.before = Before::Nothing;
            }
            '.' | '^' | '$' => {
                self.out.push(c);
                self.before = Before::Atom;
            }
            _ => self.literal(c),
        }
        Ok(())
    }

    /// A character that means itself.
    fn literal(&mut self, c: char) {
        push_literal(&mut self.out, c);
        self.before = Before::Atom;
    }

    /// What comes after a repetition's operator, which began at `start` and is written already.
    fn repetition(&mut self, start: usize) -> Result<(), ExpressionError> {
        match self.before {
            Before::Nothing => {
                let what = "there is nothing to repeat before it: put something there or write \\ before the character";
                return Err(self.error(start, what));
            }
            Before::Repeated => {
                let what = "a repetition of a repetition: RE2 has no possessive operators, and a second one adds nothing: remove it";
                return Err(self.error(start, what));
            }
            Before::Atom => {}
        }
        if self.eat("?") {
            self.out.push('?');
        }
        self.before = Before::Repeated;
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,5}` with its length; anything else in braces is text.
    fn counts(&self) -> Result<Option<(String, usize)>, ExpressionError> {
        let Some((inner, _)) = self.rest().get(1..).and_then(|rest| rest.split_once('}')) else { return Ok(None) };
        let (low, high) = match inner.split_once(',') {
            Some((low, high)) => (low, Some(high)),
            None => (inner, None),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(low) || !high.is_none_or(|high| high.is_empty() || is_number(high)) {
            return Ok(None);
        }
        let number = |text: &str| text.parse().ok().filter(|n: &u32| *n <= EXPRESSION_REPEAT);
        let too_large =
            || self.error(self.at, format!("a count may be at most {EXPRESSION_REPEAT}: use + or *, or count less"));
        let least = number(low).ok_or_else(too_large)?;
        if let Some(high) = high.filter(|high| !high.is_empty()) {
            let most = number(high).ok_or_else(too_large)?;
            if most < least {
                return Err(
                    self.error(self.at, format!("{least} to {most} is no range: write the smaller count first"))
                );
            }
        }
        Ok(Some((format!("{{{inner}}}"), inner.len() + 2)))
    }

    fn group(&mut self) -> Result<(), ExpressionError> {
        let start = self.at;
        if self.open.len() >= EXPRESSION_DEPTH {
            return Err(self.error(start, format!("more than {EXPRESSION_DEPTH} groups are inside each other")));
        }
        let refused = [
            ("(?=", "look-ahead is not possible: match what follows too, and capture the part you want"),
            ("(?!", "negative look-ahead is not possible: use a class that leaves out, or a second stage that drops"),
            ("(?<=", "look-behind is not possible: match what comes before too, and capture the part you want"),
            ("(?<!", "negative look-behind is not possible: match what may come before, and capture the part you want"),
            ("(?>", "atomic groups are not possible, nor needed, as matching is linear: write (?:"),
            ("(?P=", "back references are not possible: capture both parts and compare them in a later stage"),
            ("(?P>", "recursion is not possible"),
            ("(?R", "recursion is not possible"),
            ("(?#", "comments in a pattern are not possible: remove it"),
            ("(?|", "branch reset is not possible: give each group a name of its own"),
            ("(?(", "conditions are not possible: write alternatives"),
            ("(?'", "write the group's name as (?P<name>...)"),
        ];
        if let Some((_, why)) = refused.iter().find(|(text, _)| self.rest().starts_with(text)) {
            return Err(self.error(start, *why));
        }
        if self.eat("(?P<") || self.eat("(?<") {
            let Some((name, _)) = self.rest().split_once('>') else {
                return Err(self.error(start, "the group's name has no > at its end"));
            };
            let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            if !valid {
                let what = format!(
                    "{name:?} cannot be a group's name: it starts with a letter or _ and goes on with letters, digits or _"
                );
                return Err(self.error(self.at, what));
            }
            if self.names.contains(&name) {
                return Err(self.error(self.at, format!("two groups have the name {name}: rename one")));
            }
            self.names.push(name);
            self.at += name.len() + 1;
            self.out.push_str("(?P<");
            self.out.push_str(name);
            self.out.push('>');
        } else if self.eat("(?") {
            let flags = self.flags(start)?;
            let ends = self.eat(")");
            if !ends {
                self.eat(":");
            }
            self.before = Before::Nothing;
            if ends {
                if !flags.is_empty() {
                    self.out.push_str(&format!("(?{flags})"));
                }
                return Ok(());
            }
            self.out.push_str(&format!("(?{flags}:"));
        } else {
            self.at += 1;
            self.out.push('(');
        }
        self.open.push(start);
        self.before = Before::Nothing;
        Ok(())
    }

    /// `i-s` of `(?i-s:`, up to the colon or parenthesis.
    fn flags(&mut self, start: usize) -> Result<String, ExpressionError> {
        let mut on = String::new();
        let mut off: Option<String> = None;
        loop {
            let at = self.at;
            match self.peek() {
                Some(':' | ')') => break,
                Some('-') if off.is_none() => off = Some(String::new()),
                Some(c @ ('i' | 'm' | 's' | 'U')) => {
                    let (set, other) = match &mut off {
                        Some(off) => (off, Some(&mut on)),
                        None => (&mut on, None),
                    };
                    // The later one holds in RE2; the crate takes a flag only once.
                    if let Some(other) = other {
                        other.retain(|known| known != c);
                    }
                    if !set.contains(c) {
                        set.push(c);
                    }
                }
                Some('x') => {
                    return Err(self.error(at, "the flag x is not possible: write the pattern without white space"));
                }
                Some(c) => {
                    return Err(self.error(at, format!("{c:?} is no flag: there are i, m, s and U")));
                }
                None => return Err(self.error(start, "this group is not closed")),
            }
            self.at += 1;
        }
        match off {
            Some(off) if off.is_empty() => Err(self.error(start, "no flag comes after the -")),
            Some(off) => Ok(format!("{on}-{off}")),
            None => Ok(on),
        }
    }

    fn escape(&mut self) -> Result<(), ExpressionError> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.next() else {
            return Err(self.error(start, "it ends with a backslash: write \\\\ for the character"));
        };
        if let Some(class) = perl_class(c) {
            let inverted = if c.is_ascii_uppercase() { "^" } else { "" };
            self.atom(&format!("[{inverted}{class}]"));
            return Ok(());
        }
        match c {
            'A' => self.atom("\\A"),
            'z' => self.atom("\\z"),
            'b' => self.atom("(?-u:\\b)"),
            'B' => self.atom("(?-u:\\B)"),
            'p' | 'P' => {
                let class = self.unicode_class(start, c)?;
                self.atom(&class);
            }
            'Q' => {
                let (text, len) = match self.rest().split_once("\\E") {
                    Some((text, _)) => (text, text.len() + 2),
                    None => (self.rest(), self.rest().len()),
                };
                self.at += len;
                for c in text.chars() {
                    self.literal(c);
                }
            }
            // Go takes a lone \E as nothing.
            'E' => {}
            _ => {
                let c = self.escaped_character(start, c)?;
                self.literal(c);
            }
        }
        Ok(())
    }

    /// `\pL` or `\p{Greek}`, from behind the `p`.
    fn unicode_class(&mut self, start: usize, p: char) -> Result<String, ExpressionError> {
        let name = if self.eat("{") {
            let Some((name, _)) = self.rest().split_once('}') else {
                return Err(self.error(start, "the name of the class has no } at its end"));
            };
            self.at += name.len() + 1;
            name
        } else {
            let from = self.at;
            self.next();
            self.pattern.get(from..self.at).unwrap_or("")
        };
        let (inverted, name) = match name.strip_prefix('^') {
            Some(name) => (p == 'p', name),
            None => (p == 'P', name),
        };
        if name == "Any" {
            return Ok(if inverted { "[^\\x{0}-\\x{10FFFF}]" } else { "[\\x{0}-\\x{10FFFF}]" }.to_owned());
        }
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(self.error(start, "this is no class of characters: write \\pL or \\p{Greek}"));
        }
        Ok(format!("\\{}{{{name}}}", if inverted { 'P' } else { 'p' }))
    }

    /// The character that an escape stands for; `c` comes after the backslash.
    fn escaped_character(&mut self, start: usize, c: char) -> Result<char, ExpressionError> {
        let what = match c {
            'a' => return Ok('\u{7}'),
            'f' => return Ok('\u{c}'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\u{b}'),
            'x' => return self.hexadecimal(start),
            '0'..='7' if c == '0' || self.peek().is_some_and(|next| next.is_digit(8)) => {
                let mut value = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|next| next.to_digit(8)) else { break };
                    value = value * 8 + digit;
                    self.at += 1;
                }
                return char::from_u32(value).ok_or_else(|| self.error(start, "this is no character"));
            }
            '1'..='9' | 'k' | 'g' => {
                "back references are not possible: capture both parts and compare them in a later stage"
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => return Ok(c),
            'Z' => "\\Z is not known: write $ or \\z for the end",
            'G' => "\\G is not known: write ^ for the beginning",
            'K' => "\\K is not known: capture the part that you want",
            'h' => "\\h is not known: write [ \\t] for blanks",
            'R' => "\\R is not known: write \\r?\\n for the end of a line",
            'u' => "\\u is not known: write \\x{20AC} for a character by its number",
            'C' => "\\C is not possible: a pattern matches characters, not bytes",
            'X' => "\\X is not possible: write . for one character",
            c => return Err(self.error(start, format!("\\{c} is not known: write {c} for the character itself"))),
        };
        Err(self.error(start, what))
    }

    /// `\x41` or `\x{1F600}`, from behind the `x`.
    fn hexadecimal(&mut self, start: usize) -> Result<char, ExpressionError> {
        let digits = if self.eat("{") {
            let digits = self.rest().split_once('}').map_or("", |(digits, _)| digits);
            self.at += digits.len() + 1;
            digits
        } else {
            let digits = self.rest().get(..2).unwrap_or("");
            self.at += digits.len();
            digits
        };
        let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u32::from_str_radix(digits, 16).ok().filter(|_| valid).and_then(char::from_u32);
        value.ok_or_else(|| self.error(start, "this is no character: write \\x41 or \\x{20AC}"))
    }

    fn class(&mut self) -> Result<(), ExpressionError> {
        let start = self.at;
        self.at += 1;
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let at = self.at;
            let Some(c) = self.next() else {
                return Err(self.error(start, "this class is not closed: add a ] or write \\[ for the character"));
            };
            if c == ']' && !first {
                break;
            }
            first = false;
            if c == '[' && self.posix(at)? {
                continue;
            }
            if c == '\\' {
                match self.peek() {
                    Some(p @ ('p' | 'P')) => {
                        self.at += 1;
                        let class = self.unicode_class(at, p)?;
                        self.out.push_str(&class);
                        continue;
                    }
                    Some(letter) if perl_class(letter).is_some() => {
                        self.at += 1;
                        let class = perl_class(letter).unwrap_or("");
                        if letter.is_ascii_uppercase() {
                            self.out.push_str(&format!("[^{class}]"));
                        } else {
                            self.out.push_str(class);
                        }
                        continue;
                    }
                    _ => {}
                }
            }
            let low = self.class_character(at, start, c)?;
            push_literal(&mut self.out, low);
            // A hyphen just before the end is itself.
            if self.rest().starts_with('-') && !self.rest().starts_with("-]") {
                self.at += 1;
                let from = self.at;
                let Some(c) = self.next() else { continue };
                let high = self.class_character(from, start, c)?;
                if high < low {
                    let what =
                        format!("{low:?} to {high:?} is no range: write the smaller one first, or \\- for a hyphen");
                    return Err(self.error(at, what));
                }
                self.out.push('-');
                push_literal(&mut self.out, high);
            }
        }
        self.atom("]");
        Ok(())
    }

    /// One character of a class; `c` was read at `at`.
    fn class_character(&mut self, at: usize, start: usize, c: char) -> Result<char, ExpressionError> {
        if c != '\\' {
            return Ok(c);
        }
        match self.next() {
            Some(c) => self.escaped_character(at, c),
            None => Err(self.error(start, "this class is not closed: add a ]")),
        }
    }

    /// `[:alpha:]` within a class, from behind its bracket; `false` if it is only a bracket.
    fn posix(&mut self, at: usize) -> Result<bool, ExpressionError> {
        let Some(rest) = self.rest().strip_prefix(':') else { return Ok(false) };
        let Some((name, _)) = rest.split_once(":]") else { return Ok(false) };
        let plain = name.strip_prefix('^').unwrap_or(name);
        if !POSIX.contains(&plain) {
            return Err(self.error(at, format!("[:{name}:] is not known; there are {}", POSIX.join(", "))));
        }
        self.out.push_str(&format!("[:{name}:]"));
        self.at += name.len() + 3;
        Ok(true)
    }
}

/// What `\d`, `\w` and `\s` and their opposites are made of.
fn perl_class(c: char) -> Option<&'static str> {
    match c {
        'd' | 'D' => Some("0-9"),
        'w' | 'W' => Some("0-9A-Za-z_"),
        's' | 'S' => Some("\\t\\n\\x0C\\r\\x20"),
        _ => None,
    }
}

/// Writes a character so that it is itself, within a class and outside.
fn push_literal(out: &mut String, c: char) {
    // The crate gives \< and \> a meaning; as they are they have none.
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        out.push('\\');
    }
    out.push(c);
}
