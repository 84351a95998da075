//! Reads Prometheus' text formats, 0.0.4 and OpenMetrics 1.0, into samples.
//!
//! What Prometheus' own parsers take is taken, and what they refuse is refused, also where the written form of the format says something else:
//! in text 0.0.4 commas between labels may be missing and a value may follow a brace at once; in OpenMetrics one space is one space, and `# EOF`
//! comes last. Names have the characters that Prometheus has always allowed. They may stand in quotes, but others than those are refused, as
//! Prometheus does with `legacy` validation: targets write them only for those who ask.
//!
//! A sample belongs to the family that was spoken of last if its name says so; otherwise a family without a kind begins with it. Series with
//! `_created` are samples as all others. `le` and `quantile` stay as they are written. A label with an empty value is none, but it is kept: with
//! `honor_labels` it says that the target's label is not wanted.
//!
//! Promises: an error leaves nothing behind, and has the line and the reason. A NaN has Go's usual bits, so that nobody sends a stale marker from
//! a text. Nothing is allocated once memory has grown. Leaves to others: equal series, limits, relabelling, and which time samples have.

mod lex;
#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

use super::number::{self, NumberError};
use crate::base::limits::{EXEMPLAR_LABEL_CHARS, SAMPLE_EXCERPT_BYTES, SAMPLE_LABELS_MAX, SAMPLES_TEXT_BYTES_MAX};
use crate::model::samples::{self, Kind, Samples};
use lex::Cursor;
use std::ops::Range;

/// The bits that Prometheus gives every NaN that is no stale marker (`model/value`).
const NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0, and 0.0.1, which is the same on the wire.
    OpenMetrics,
}

impl Form {
    /// What a `Content-Type` says; nothing if it is neither.
    pub fn of_content_type(value: &str) -> Option<Form> {
        let kind = value.split(';').next().unwrap_or_default().trim();
        match kind {
            _ if kind.eq_ignore_ascii_case("text/plain") => Some(Form::Text),
            _ if kind.eq_ignore_ascii_case("application/openmetrics-text") => Some(Form::OpenMetrics),
            _ => None,
        }
    }
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}, at `{excerpt}`")]
pub struct ParseError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: Reason,
    /// The line up to where it is wrong and a little more, shortened.
    pub excerpt: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The line begins with something else.
    #[error("expected a name or `#` at the start of the line")]
    Start,
    /// A line of metadata has no name.
    #[error("expected the name of a metric after HELP, TYPE or UNIT")]
    FamilyName,
    /// A line of metadata ends too soon.
    #[error("expected text after the name of the metric")]
    FamilyText,
    /// A type that the format does not have.
    #[error("this is no type of a metric in this format")]
    Kind,
    /// In OpenMetrics a name ends with its unit.
    #[error("the unit is not at the end of the name, after a `_`")]
    Unit,
    /// Not the name of a label.
    #[error("expected the name of a label")]
    LabelName,
    /// No `=` after a label's name.
    #[error("expected `=` after the name of a label")]
    Equal,
    /// No quoted value after `=`.
    #[error("expected the value of a label in quotes")]
    LabelValue,
    /// Neither a comma nor the end of the labels.
    #[error("expected `,` or `}}` after the value of a label")]
    Comma,
    /// A sample has two names.
    #[error("the sample has a second name")]
    NameTwice,
    /// A sample has no name.
    #[error("the sample has no name")]
    NoName,
    /// A quoted name with other characters than Prometheus has always allowed.
    #[error("the name has characters other than letters, digits, `_` (and `:` for metrics)")]
    Name,
    /// A label is there twice.
    #[error("a label is there twice")]
    LabelTwice,
    /// More labels than a sample may have.
    #[error("more than {SAMPLE_LABELS_MAX} labels")]
    TooManyLabels,
    /// A label's value or a help text.
    #[error("this is not UTF-8")]
    Utf8,
    /// No value after the name or the labels.
    #[error("expected a value")]
    NoValue,
    /// A value, or a time in OpenMetrics.
    #[error("this {0}")]
    Number(NumberError),
    /// A time that is none.
    #[error("this is no time")]
    Time,
    /// More on the line than there may be.
    #[error("expected the end of the line")]
    LineEnd,
    /// OpenMetrics ends with a line of its own.
    #[error("the text does not end with `# EOF`: it may have been cut off")]
    NoEof,
    /// Something comes behind that line.
    #[error("there is more after `# EOF`")]
    AfterEof,
    /// Larger than places in it can be.
    #[error("the text is larger than {SAMPLES_TEXT_BYTES_MAX} bytes")]
    TooLarge,
}

/// What was read beside the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parsed {
    /// Exemplars that were left out: with too long labels, or such as Prometheus would not store. Their samples are there.
    pub exemplars_left_out: u64,
}

/// Reads texts; keeps its memory from one to the next.
#[derive(Debug, Clone, Default)]
pub struct Parser {
    series: Labels,
    exemplar: Labels,
    unescaped: Vec<u8>,
}

/// The labels of a sample or an exemplar while they are read.
#[derive(Debug, Clone, Default)]
struct Labels {
    /// A key, with or without its name.
    key: Vec<u8>,
    /// Where the names are in the text, those of empty values as well.
    names: Vec<Range<u32>>,
    /// Characters of all names and values.
    chars: usize,
    /// Whether an exemplar has labels that are not stored.
    unfit: bool,
}

impl Parser {
    /// Reads a text. After an error `out` is as before.
    pub fn parse(&mut self, form: Form, body: &[u8], out: &mut Samples) -> Result<Parsed, ParseError> {
        let mark = out.mark();
        let room = (u32::MAX as usize).saturating_sub(out.text_bytes());
        let mut run = Run {
            at: Cursor::new(body),
            // One look at all is cheaper than many. Where a comment is something else every piece is looked at.
            utf8: std::str::from_utf8(body).is_ok(),
            strict: form == Form::OpenMetrics,
            family: &[],
            kind: Kind::Unknown,
            parser: self,
            parsed: Parsed::default(),
            out,
        };
        // What is kept is never more than twice as much as was read.
        let result = if body.len() > SAMPLES_TEXT_BYTES_MAX.min(room / 2) { Err(Reason::TooLarge) } else { run.all() };
        let (parsed, place) = (run.parsed, body.len() - run.at.rest().len());
        result.map(|()| parsed).map_err(|reason| {
            out.back_to(mark);
            error(body, place, reason)
        })
    }
}

fn error(body: &[u8], place: usize, reason: Reason) -> ParseError {
    let before = body.get(..place).unwrap_or(body);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1).max(place.saturating_sub(SAMPLE_EXCERPT_BYTES));
    let rest = body.get(start..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest.get(place - start..).unwrap_or_default())
        .map_or(rest.len(), |at| at + place - start);
    // A little behind the place, so that the byte that was not expected shows.
    let end = end.min(place - start + SAMPLE_EXCERPT_BYTES / 4);
    let excerpt = String::from_utf8_lossy(rest.get(..end).unwrap_or_default());
    ParseError { line, reason, excerpt: excerpt.escape_debug().to_string() }
}

/// One text being read.
struct Run<'a, 'b> {
    at: Cursor<'a>,
    utf8: bool,
    /// OpenMetrics.
    strict: bool,
    family: &'a [u8],
    kind: Kind,
    parser: &'b mut Parser,
    parsed: Parsed,
    out: &'b mut Samples,
}

impl<'a> Run<'a, '_> {
    fn all(&mut self) -> Result<(), Reason> {
        loop {
            if !self.strict {
                self.at.skip_blanks();
            }
            match self.at.peek() {
                Some(b'#') if self.strict => {
                    if self.open_metrics_comment()? {
                        return if self.at.peek().is_none() { Ok(()) } else { Err(Reason::AfterEof) };
                    }
                }
                None if self.strict => return Err(Reason::NoEof),
                Some(b'#') => {
                    if self.comment()? {
                        return Ok(());
                    }
                }
                // Prometheus' lexer takes a NUL for the end of the text.
                None | Some(0) if !self.strict => return Ok(()),
                Some(b'\n') if !self.strict => self.at.skip(1),
                Some(b'{') => self.sample(&[])?,
                Some(byte) if lex::begins_name(byte) => {
                    let name = self.at.take_name();
                    self.sample(name)?;
                }
                _ => return Err(Reason::Start),
            }
        }
    }

    /// A line of text 0.0.4 that begins with `#`. `true`: the text ends here.
    fn comment(&mut self) -> Result<bool, Reason> {
        self.at.skip(1);
        let spaced = self.at.skip_blanks();
        let word = if spaced { self.at.take_word(&[b"HELP", b"TYPE"], b" \t") } else { None };
        let Some(word) = word else {
            let line = self.at.take_line();
            // See above; behind a blank it is passed over.
            return Ok(!spaced && line.contains(&0));
        };
        self.at.skip_blanks();
        let name = self.family_name()?;
        // Whatever the byte is that comes after the name, it is not of the text.
        let before = self.at;
        let line = self.at.take_line();
        let text = match line.iter().all(|byte| lex::is_blank(*byte)) {
            true => &[][..],
            false => line.get(1..).unwrap_or_default(),
        };
        if word == b"TYPE" {
            let kind = match text {
                b"counter" => Kind::Counter,
                b"gauge" => Kind::Gauge,
                b"histogram" => Kind::Histogram,
                b"summary" => Kind::Summary,
                b"untyped" => Kind::Unknown,
                _ => return Err(self.back(before, Reason::Kind)),
            };
            self.set_family(name)?;
            self.set_kind(kind);
        } else {
            self.help(name, before, text)?;
        }
        Ok(false)
    }

    /// The same of OpenMetrics; `true` for the last line.
    fn open_metrics_comment(&mut self) -> Result<bool, Reason> {
        if self.at.take_word(&[b"# EOF"], b"").is_some() {
            if self.at.peek() == Some(b'\n') {
                self.at.skip(1);
            }
            return Ok(true);
        }
        let word = self.at.take_word(&[b"# HELP", b"# TYPE", b"# UNIT"], b" ").ok_or(Reason::Start)?;
        self.at.skip(1);
        let name = self.family_name()?;
        if self.at.peek() != Some(b' ') || !self.at.has_line_end() {
            return Err(Reason::FamilyText);
        }
        self.at.skip(1);
        let before = self.at;
        let text = self.at.take_line();
        match word {
            b"# TYPE" => {
                let kind = match text {
                    b"counter" => Kind::Counter,
                    b"gauge" => Kind::Gauge,
                    b"histogram" => Kind::Histogram,
                    b"gaugehistogram" => Kind::GaugeHistogram,
                    b"summary" => Kind::Summary,
                    b"info" => Kind::Info,
                    b"stateset" => Kind::StateSet,
                    b"unknown" => Kind::Unknown,
                    _ => return Err(self.back(before, Reason::Kind)),
                };
                self.set_family(name)?;
                self.set_kind(kind);
            }
            b"# UNIT" => {
                let fits = name.strip_suffix(text).is_some_and(|rest| text.is_empty() || rest.ends_with(b"_"));
                let unit = std::str::from_utf8(text).ok().filter(|_| fits);
                let unit = unit.ok_or_else(|| self.back(before, Reason::Unit))?;
                self.set_family(name)?;
                self.out.set_unit(unit);
            }
            _ => self.help(name, before, text)?,
        }
        Ok(false)
    }

    fn help(&mut self, name: &'a [u8], before: Cursor<'a>, text: &'a [u8]) -> Result<(), Reason> {
        // Also where the whole is UTF-8, for the byte that went may have been a part of a character.
        let Ok(help) = std::str::from_utf8(text) else { return Err(self.back(before, Reason::Utf8)) };
        self.set_family(name)?;
        if !text.contains(&b'\\') {
            self.out.set_help(help);
            return Ok(());
        }
        let unescaped = &mut self.parser.unescaped;
        unescaped.clear();
        lex::unescape(text, self.strict, unescaped);
        self.out.set_help(std::str::from_utf8(unescaped).unwrap_or_default());
        Ok(())
    }

    /// Goes back to what is wrong, so that the error has its place.
    fn back(&mut self, before: Cursor<'a>, reason: Reason) -> Reason {
        self.at = before;
        reason
    }

    fn family_name(&mut self) -> Result<&'a [u8], Reason> {
        let before = self.at;
        match self.at.peek() {
            Some(b'"') => {
                let name = self.at.take_quoted(true).ok_or(Reason::FamilyName)?;
                if std::str::from_utf8(name).is_err() { Err(self.back(before, Reason::Utf8)) } else { Ok(name) }
            }
            Some(byte) if lex::begins_name(byte) => Ok(self.at.take_name()),
            _ => Err(Reason::FamilyName),
        }
    }

    /// What follows speaks of this family; it is begun unless it is the last one.
    fn set_family(&mut self, name: &'a [u8]) -> Result<(), Reason> {
        if self.family != name || name.is_empty() {
            let text = std::str::from_utf8(name).map_err(|_| Reason::Utf8)?;
            self.out.family(text, "", Kind::Unknown);
            (self.family, self.kind) = (name, Kind::Unknown);
        }
        Ok(())
    }

    fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
        self.out.set_kind(kind);
    }

    /// A sample whose name was read, or is still to come among the labels.
    fn sample(&mut self, name: &'a [u8]) -> Result<(), Reason> {
        let mut name = name;
        let series = &mut self.parser.series;
        series.clear();
        if !name.is_empty() {
            samples::begin_key(name, &mut series.key);
            if !self.strict {
                self.at.skip_blanks();
            }
        }
        if self.at.peek() == Some(b'{') {
            self.at.skip(1);
            let how = How { strict: self.strict, utf8: self.utf8, exemplar: false };
            let quoted = read_labels(&mut self.at, how, name, series, &mut self.parser.unescaped)?;
            if name.is_empty() {
                name = quoted.ok_or(Reason::NoName)?;
                // The labels were read without the name in front.
                let labels = &mut self.parser.unescaped;
                labels.clear();
                labels.append(&mut series.key);
                samples::begin_key(name, &mut series.key);
                series.key.extend_from_slice(labels);
            }
        }
        let bits = self.value()?;
        let time_ms = self.time()?;
        if !belongs(name, self.family, self.kind) {
            self.set_family(name)?;
        }
        self.out.add_key(&self.parser.series.key, bits, time_ms);
        if self.strict { self.open_metrics_end() } else { self.end() }
    }

    /// A number after name or labels, as bits.
    fn value(&mut self) -> Result<u64, Reason> {
        if !self.strict {
            self.at.skip_blanks();
        }
        let before = self.at;
        let token = if self.strict { self.at.take_after_space() } else { self.at.take_value() };
        let token = token.ok_or(Reason::NoValue)?;
        let value = number::parse(token).map_err(|error| self.back(before, Reason::Number(error)))?;
        Ok(if value.is_nan() { NAN_BITS } else { value.to_bits() })
    }

    /// The time after a value, if there is one.
    fn time(&mut self) -> Result<Option<i64>, Reason> {
        if self.strict {
            if self.at.begins(b" # {") {
                return Ok(None);
            }
            return self.seconds();
        }
        self.at.skip_blanks();
        let before = self.at;
        let digits = self.at.take_digits();
        if digits.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(digits).ok();
        let time = text.and_then(|text| text.parse().ok());
        time.map(Some).ok_or_else(|| self.back(before, Reason::Time))
    }

    /// Seconds as a number, in milliseconds.
    fn seconds(&mut self) -> Result<Option<i64>, Reason> {
        let before = self.at;
        let Some(token) = self.at.take_after_space() else { return Ok(None) };
        let seconds = number::parse(token).map_err(|error| self.back(before, Reason::Number(error)))?;
        if seconds.is_finite() { Ok(Some((seconds * 1000.0) as i64)) } else { Err(self.back(before, Reason::Time)) }
    }

    fn end(&mut self) -> Result<(), Reason> {
        self.at.skip_blanks();
        match self.at.peek() {
            None => Ok(()),
            Some(b'\n') => {
                self.at.skip(1);
                Ok(())
            }
            Some(_) => Err(Reason::LineEnd),
        }
    }

    /// The end of a line of OpenMetrics, perhaps with an exemplar before it.
    fn open_metrics_end(&mut self) -> Result<(), Reason> {
        if self.at.begins(b" # {") {
            self.at.skip(4);
            let how = How { strict: true, utf8: self.utf8, exemplar: true };
            let Parser { exemplar, unescaped, .. } = &mut *self.parser;
            exemplar.clear();
            samples::begin_key(b"", &mut exemplar.key);
            read_labels(&mut self.at, how, b"", exemplar, unescaped)?;
            let bits = self.value()?;
            let time_ms = self.seconds()?;
            let exemplar = &self.parser.exemplar;
            if exemplar.unfit || exemplar.chars > EXEMPLAR_LABEL_CHARS {
                self.parsed.exemplars_left_out += 1;
            } else {
                self.out.add_exemplar(&exemplar.key, bits, time_ms);
            }
        }
        match self.at.peek() {
            Some(b'\n') => {
                self.at.skip(1);
                Ok(())
            }
            None => Err(Reason::NoEof),
            Some(_) => Err(Reason::LineEnd),
        }
    }
}

/// How labels are read.
#[derive(Clone, Copy)]
struct How {
    strict: bool,
    utf8: bool,
    exemplar: bool,
}

/// The labels behind `{`, to `}`. Gives the name if it stands in quotes among them.
fn read_labels<'a>(
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
    fn clear(&mut self) {
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

/// Whether a sample of this name is of the family.
fn belongs(name: &[u8], family: &[u8], kind: Kind) -> bool {
    let Some(suffix) = name.strip_prefix(family) else { return false };
    // The empty family is none.
    !family.is_empty()
        && match suffix {
            b"" => true,
            b"_bucket" => matches!(kind, Kind::Histogram | Kind::GaugeHistogram),
            b"_sum" | b"_count" => matches!(kind, Kind::Histogram | Kind::Summary),
            b"_created" => matches!(kind, Kind::Histogram | Kind::Summary | Kind::Counter),
            b"_total" => kind == Kind::Counter,
            b"_gsum" | b"_gcount" => kind == Kind::GaugeHistogram,
            b"_info" => kind == Kind::Info,
            _ => false,
        }
}
