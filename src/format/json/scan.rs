//! Walks over JSON text without building anything: finds where strings, numbers and whole values end, and checks them on the way.
//!
//! Promises: exact to RFC 8259 (control characters in strings, leading zeros and numbers beyond a float64 are refused), at most
//! [`JSON_DEPTH`] levels deep, no recursion, no panic. As Go does, and unlike some parsers, half a surrogate pair is taken; its text is U+FFFD.
//! Leaves to others: what is looked for (`path`), the text of values (`text`).

use super::Malformed;
use crate::base::limits::JSON_DEPTH;
use std::ops::Range;

/// A string in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::format) struct Quoted {
    /// Between its quotes, bytes of the line.
    pub range: Range<usize>,
    /// Whether there is a backslash in it, so that its text is not that of the line.
    pub escaped: bool,
}

/// A number in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::format) struct Number {
    /// Bytes of the line.
    pub range: Range<usize>,
    /// Whether it is written the way Go prints it: few enough digits for a float64 to hold them, no exponent, no zero at the end of a fraction.
    pub plain: bool,
}

/// Digits that every float64 holds, and gives back when it is printed with the least digits.
const EXACT_DIGITS: usize = 15;
/// Digits that surely do not overflow a float64.
const SAFE_DIGITS: usize = 300;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of a word that end a run of ordinary string bytes: quotes, backslashes, control characters. Only the lowest mark is
/// exact: a borrow may set false ones above it.
fn special(word: u64) -> u64 {
    let zero = |x: u64| x.wrapping_sub(LOW) & !x;
    (word.wrapping_sub(LOW * 0x20) & !word | zero(word ^ (LOW * 0x22)) | zero(word ^ (LOW * 0x5c))) & HIGH
}

/// A place in a line.
pub(in crate::format) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    /// At the beginning of `line`.
    pub fn new(line: &'a str) -> Self {
        Scanner { bytes: line.as_bytes(), at: 0, depth: 0 }
    }

    /// At byte `at` of `line`.
    pub fn starting(line: &'a str, at: usize) -> Self {
        Scanner { bytes: line.as_bytes(), at, depth: 0 }
    }

    /// Where it is, bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// That the line is not JSON, here.
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    /// The byte here; 0 at the end, which is no part of JSON either.
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Passes over white space; tells what follows, 0 at the end.
    #[inline]
    pub fn next(&mut self) -> u8 {
        loop {
            match self.peek() {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                other => return other,
            }
        }
    }

    /// Nothing but white space follows.
    pub fn end(&mut self) -> Result<(), Malformed> {
        self.next();
        if self.at >= self.bytes.len() { Ok(()) } else { Err(self.malformed("something follows the value")) }
    }

    /// Goes one level deeper, past `{` or `[`. Tells whether there is anything in it; if not, it is already closed again.
    pub fn open(&mut self, close: u8) -> Result<bool, Malformed> {
        if self.depth >= JSON_DEPTH {
            return Err(self.malformed("too many levels"));
        }
        self.at += 1;
        if self.next() == close {
            self.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        Ok(true)
    }

    /// After a value within an object or array: whether another one follows. If not, it is one level higher.
    pub fn another(&mut self, close: u8) -> Result<bool, Malformed> {
        match self.next() {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            byte if byte == close && byte != 0 => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                Ok(false)
            }
            _ if close == b'}' => Err(self.malformed("expected , or }")),
            _ => Err(self.malformed("expected , or ]")),
        }
    }

    /// A key and its colon.
    #[inline]
    pub fn key(&mut self) -> Result<Quoted, Malformed> {
        if self.next() != b'"' {
            return Err(self.malformed("expected a key in quotes"));
        }
        let key = self.string()?;
        if self.next() != b':' {
            return Err(self.malformed("expected :"));
        }
        self.at += 1;
        Ok(key)
    }

    /// A string, at its opening quote.
    #[inline]
    pub fn string(&mut self) -> Result<Quoted, Malformed> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            while let Some(word) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
                let marks = special(u64::from_le_bytes(*word));
                if marks != 0 {
                    at += marks.trailing_zeros() as usize / 8;
                    break;
                }
                at += 8;
            }
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Quoted { range: start..at, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at = at;
                    at += self.escape()?;
                }
                Some(0x20..) => at += 1,
                Some(_) => return Err(Malformed { at, what: "a control character in a string" }),
                None => return Err(Malformed { at, what: "a string does not end" }),
            }
        }
    }

    /// How long the escape here is, bytes.
    fn escape(&self) -> Result<usize, Malformed> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6);
                if digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Ok(6);
                }
                Err(self.malformed("\\u without four digits"))
            }
            _ => Err(self.malformed("an unknown escape")),
        }
    }

    /// A number, at its first byte.
    pub fn number(&mut self) -> Result<Number, Malformed> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        let mut digits = match self.peek() {
            b'0' => {
                self.at += 1;
                1
            }
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.malformed("expected a value")),
        };
        let mut plain = true;
        if self.peek() == b'.' {
            self.at += 1;
            let fraction = self.digits();
            if fraction == 0 {
                return Err(self.malformed("expected a digit"));
            }
            digits += fraction;
            plain = self.bytes.get(self.at.wrapping_sub(1)) != Some(&b'0');
        }
        let mut safe = digits <= SAFE_DIGITS;
        if let b'e' | b'E' = self.peek() {
            self.at += 1;
            if let b'+' | b'-' = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.malformed("expected a digit"));
            }
            (plain, safe) = (false, false);
        }
        let range = start..self.at;
        if !safe && !self.fits(range.clone()) {
            return Err(Malformed { at: start, what: "a number beyond a 64-bit float" });
        }
        Ok(Number { range, plain: plain && digits <= EXACT_DIGITS })
    }

    /// Passes over digits; tells how many.
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at - start
    }

    fn fits(&self, range: Range<usize>) -> bool {
        let text = self.bytes.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.and_then(|text| text.parse().ok()).is_some_and(f64::is_finite)
    }

    /// `true`, `false` or `null`, at its first byte.
    pub fn word(&mut self, word: &'static str) -> Result<Range<usize>, Malformed> {
        let range = self.at..self.at + word.len();
        if self.bytes.get(range.clone()) != Some(word.as_bytes()) {
            return Err(self.malformed("expected a value"));
        }
        self.at = range.end;
        Ok(range)
    }

    /// Passes over a whole value; tells where it is.
    pub fn skip(&mut self) -> Result<Range<usize>, Malformed> {
        // One bit a level: whether it is an object. The lowest is the innermost one.
        let mut objects: u128 = 0;
        let mut open = 0_usize;
        self.next();
        let start = self.at;
        loop {
            match self.next() {
                b'"' => {
                    self.string()?;
                }
                b'{' => {
                    if self.open(b'}')? {
                        (objects, open) = (objects << 1 | 1, open + 1);
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    if self.open(b']')? {
                        (objects, open) = (objects << 1, open + 1);
                        continue;
                    }
                }
                b't' => {
                    self.word("true")?;
                }
                b'f' => {
                    self.word("false")?;
                }
                b'n' => {
                    self.word("null")?;
                }
                _ => {
                    self.number()?;
                }
            }
            loop {
                if open == 0 {
                    return Ok(start..self.at);
                }
                let object = objects & 1 == 1;
                if self.another(if object { b'}' } else { b']' })? {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                (objects, open) = (objects >> 1, open - 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(line: &str) -> Result<(), Malformed> {
        let mut scanner = Scanner::new(line);
        scanner.skip()?;
        scanner.end()
    }

    #[test]
    fn what_is_json() {
        for good in [
            "0",
            "-0",
            "1.5e-3",
            "1E+2",
            "\"\"",
            "\"a\\u00e4\\n\\/\"",
            "\"\\ud800\"",
            "[]",
            "[ ]",
            "{}",
            "{ }",
            "[1,[2,{\"a\":[]}],\"x\"]",
            " {\"a\" :1 ,\"b\": null}\r\n",
            "true",
            "false",
            "null",
            "1e-9999",
            "\"ä€😀\u{7f}\"",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, at) in [
            ("", 0),
            ("01", 1),
            ("+1", 0),
            (".5", 0),
            ("1.", 2),
            ("1e", 2),
            ("1e999", 0),
            ("-", 1),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("{\"a\"}", 4),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("[}", 1),
            ("[1}", 2),
            ("\"\\x\"", 1),
            ("\"\\u12g4\"", 1),
            ("\"a\tb\"", 2),
            ("\"abcdefghijkl", 13),
            ("nul", 0),
            ("{} x", 3),
            ("1\0", 1),
            ("\"a\\", 2),
            ("[\"12345678\u{1f}\"]", 10),
            ("]", 0),
        ] {
            assert_eq!(check(bad).map_err(|e| e.at), Err(at), "{bad}");
        }
    }

    #[test]
    fn levels_are_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(&nested(JSON_DEPTH)), Ok(()));
        assert_eq!(check(&nested(JSON_DEPTH + 2)).map_err(|e| e.what), Err("too many levels"));
        let wide = format!("[{}0]", "[[]],{\"a\":{}},".repeat(1000));
        assert_eq!(check(&wide), Ok(()));
    }

    #[test]
    fn plain_numbers() {
        let plain = |text: &str| Scanner::new(text).number().map(|n| n.plain);
        for text in ["0", "-0", "12", "0.5", "123456789012345", "-1.25"] {
            assert_eq!(plain(text), Ok(true), "{text}");
        }
        for text in ["1.0", "1e3", "1234567890123456", "0.10"] {
            assert_eq!(plain(text), Ok(false), "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parser(line in r#"([\[\]{}:, ]|"(a|\\n|\\u00[0-9a-g]{2})?"|-?[0-9]{1,2}(\.[0-9])?(e[0-9])?|true|null){0,12}"#) {
            prop_assert_eq!(check(&line).is_ok(), serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{}", line);
        }

        #[test]
        fn never_panics(line in ".{0,40}") {
            let _ = check(&line);
        }

        #[test]
        fn finds_the_first_special_byte(bytes in prop::array::uniform8(prop_oneof![0x18_u8..0x26, 0x58_u8..0x60, any::<u8>()])) {
            let want = bytes.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\');
            let marks = special(u64::from_le_bytes(bytes));
            prop_assert_eq!((marks != 0).then(|| marks.trailing_zeros() as usize / 8), want);
        }
    }
}
