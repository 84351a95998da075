//! Cuts the text formats into pieces: a place in a text that moves on, and what its bytes may be part of.
//!
//! Promises: never reads beyond the text; a place moves only over what was asked for. Leaves to others: what comes after what.

/// May begin the name of a metric.
const NAME_START: u8 = 1;
/// May go on with it.
const NAME: u8 = 2;
/// May begin the name of a label.
const LABEL_START: u8 = 4;
/// May go on with it.
const LABEL: u8 = 8;
/// Ends a value in text 0.0.4.
const VALUE_END: u8 = 16;

/// What each byte may be.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME_START | NAME | LABEL_START | LABEL,
            b':' => NAME_START | NAME,
            b'0'..=b'9' => NAME | LABEL,
            b'{' | b' ' | b'\t' | b'\n' => VALUE_END,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

fn is(byte: u8, class: u8) -> bool {
    // A byte is always below 256.
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether the name of a metric may begin so.
pub(super) fn begins_name(byte: u8) -> bool {
    is(byte, NAME_START)
}

/// A space or a tab.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether this is the name of a metric, of the characters that were always allowed.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|byte| is(*byte, NAME_START)) && name.iter().all(|byte| is(*byte, NAME))
}

/// The same of a label.
pub(super) fn is_label(name: &[u8]) -> bool {
    name.first().is_some_and(|byte| is(*byte, LABEL_START)) && name.iter().all(|byte| is(*byte, LABEL))
}

/// Appends text without its escapes: backslashes, newlines and, if asked for, quotes. Others stay as they are.
pub(super) fn unescape(text: &[u8], quotes: bool, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let byte = match from.get(1) {
            Some(b'n') => Some(b'\n'),
            Some(b'\\') => Some(b'\\'),
            Some(b'"') if quotes => Some(b'"'),
            _ => None,
        };
        out.push(byte.unwrap_or(b'\\'));
        rest = from.get(if byte.is_some() { 2 } else { 1 }..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// A place in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// At the start.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Cursor(text)
    }

    /// What is still to come.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Whether this comes next.
    pub(super) fn begins(&self, with: &[u8]) -> bool {
        self.0.starts_with(with)
    }

    /// Goes on by so many bytes.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }

    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn take_while(&mut self, class: u8) -> &'a [u8] {
        let len = self.0.iter().position(|byte| !is(*byte, class)).unwrap_or(self.0.len());
        self.take(len)
    }

    /// Passes over spaces and tabs; tells whether there were some.
    pub(super) fn skip_blanks(&mut self) -> bool {
        let mut some = false;
        while let Some((b' ' | b'\t', rest)) = self.0.split_first() {
            self.0 = rest;
            some = true;
        }
        some
    }

    /// The name of a metric, whose first byte was looked at.
    pub(super) fn take_name(&mut self) -> &'a [u8] {
        self.take_while(NAME)
    }

    /// The name of a label; empty if there is none.
    pub(super) fn take_label(&mut self) -> &'a [u8] {
        match self.peek() {
            Some(byte) if is(byte, LABEL_START) => self.take_while(LABEL),
            _ => &[],
        }
    }

    /// Digits; may be none.
    pub(super) fn take_digits(&mut self) -> &'a [u8] {
        let len = self.0.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        self.take(len)
    }

    /// A value of text 0.0.4.
    pub(super) fn take_value(&mut self) -> Option<&'a [u8]> {
        let len = self.0.iter().position(|byte| is(*byte, VALUE_END)).unwrap_or(self.0.len());
        (len > 0).then(|| self.take(len))
    }

    /// A space, and what is between it and the next one or the end of the line: a token of OpenMetrics, without its space.
    pub(super) fn take_after_space(&mut self) -> Option<&'a [u8]> {
        let token = self.0.strip_prefix(b" ")?;
        let len = token.iter().position(|byte| matches!(byte, b' ' | b'\n')).unwrap_or(token.len());
        (len > 0).then(|| self.take(len + 1).get(1..).unwrap_or_default())
    }

    /// One of these words, which one of `ends` has to follow if there are any; the end is left where it is.
    pub(super) fn take_word(&mut self, words: &[&'static [u8]], ends: &[u8]) -> Option<&'a [u8]> {
        let word = words.iter().find(|word| self.begins(word))?;
        let ended = ends.is_empty() || self.0.get(word.len()).is_some_and(|byte| ends.contains(byte));
        ended.then(|| self.take(word.len()))
    }

    /// What is between quotes, which begin here, with its escapes; nothing if they do not end. A newline ends it unless it is allowed.
    pub(super) fn take_quoted(&mut self, newlines: bool) -> Option<&'a [u8]> {
        let text = self.0.get(1..)?;
        let mut at = 0;
        loop {
            let rest = text.get(at..)?;
            let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n'))?;
            match rest.get(found) {
                Some(b'"') => {
                    let end = at + found;
                    self.skip(end + 2);
                    return text.get(..end);
                }
                // A backslash has something behind it, other than the end of the line.
                Some(b'\\') if rest.get(found + 1).is_some_and(|byte| *byte != b'\n') => at += found + 2,
                Some(b'\n') if newlines => at += found + 1,
                _ => return None,
            }
        }
    }

    /// What is left of the line; the newline is passed over.
    pub(super) fn take_line(&mut self) -> &'a [u8] {
        let len = memchr::memchr(b'\n', self.0).unwrap_or(self.0.len());
        let line = self.take(len);
        self.skip(1);
        line
    }

    /// Whether a newline is still to come.
    pub(super) fn has_line_end(&self) -> bool {
        memchr::memchr(b'\n', self.0).is_some()
    }
}
