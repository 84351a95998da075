//! Reads Prometheus' text formats, 0.0.4 and OpenMetrics 1.0, into samples.
//!
//! What Prometheus' own parsers take is taken, and what they refuse is refused, also where the written form of the format says something else:
//! in text 0.0.4 commas between labels may be missing and a value may follow a brace at once; in OpenMetrics one space is one space, and `# EOF`
//! comes last. Names have the characters that Prometheus has always allowed. They may stand in quotes, but others than those are refused, as
//! Prometheus does with `legacy` validation: targets write them only for those who ask.
//!
//! A sample belongs to the family that was spoken of last if its name says so; otherwise a family without a kind begins with it. Series with
//! `_created` are samples as all others; in OpenMetrics they also say since when the others count. `le` and `quantile` stay as they are written. A label with an empty value is none, but it is kept: with
//! `honor_labels` it says that the target's label is not wanted.
//!
//! Promises: an error leaves nothing behind, and has the line and the reason. A NaN has Go's usual bits, so that nobody sends a stale marker from
//! a text. Nothing is allocated once memory has grown. Leaves to others: equal series, limits, relabelling, and which time samples have.

mod created;
mod error;
mod labels;
mod lex;
#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

pub use error::{ParseError, Reason};

use super::number;
use crate::base::limits::{EXEMPLAR_LABEL_CHARS, SAMPLES_TEXT_BYTES_MAX};
use crate::model::samples::{self, Kind, NAN_BITS, Samples};
use created::Created;
use error::error;
use labels::{How, Labels, read_labels};
use lex::Cursor;

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
    created: Created,
    /// Bytes that what is read may take.
    most: Option<usize>,
}

impl Parser {
    /// From now on what is there after a text ([`Samples::memory`]) may take so many bytes at most.
    pub fn bound(&mut self, bytes: usize) {
        self.most = Some(bytes);
    }

    /// Reads a text. After an error `out` is as before.
    pub fn parse(&mut self, form: Form, body: &[u8], out: &mut Samples) -> Result<Parsed, ParseError> {
        let mark = out.mark();
        self.parse_up_to_error(form, body, out).inspect_err(|_| out.back_to(mark))
    }

    /// The same; but after an error `out` has what stands before it.
    pub fn parse_up_to_error(&mut self, form: Form, body: &[u8], out: &mut Samples) -> Result<Parsed, ParseError> {
        let before = out.len();
        let room = (u32::MAX as usize).saturating_sub(out.text_bytes());
        let mut run = Run {
            at: Cursor::new(body),
            // One look at all is cheaper than many. Where a comment is something else every piece is looked at.
            utf8: std::str::from_utf8(body).is_ok(),
            strict: form == Form::OpenMetrics,
            family: &[],
            kind: Kind::Unknown,
            has_created: false,
            parser: self,
            parsed: Parsed::default(),
            out,
        };
        // What is kept is never more than twice as much as was read.
        let result = if body.len() > SAMPLES_TEXT_BYTES_MAX.min(room / 2) { Err(Reason::TooLarge) } else { run.all() };
        let (parsed, place, has_created) = (run.parsed, body.len() - run.at.rest().len(), run.has_created);
        if has_created && result.is_ok() {
            self.created.give(out, before);
        }
        result.map(|()| parsed).map_err(|reason| error(body, place, reason, out.len() - before))
    }
}

/// One text being read.
struct Run<'a, 'b> {
    at: Cursor<'a>,
    utf8: bool,
    /// OpenMetrics.
    strict: bool,
    family: &'a [u8],
    kind: Kind,
    /// Some sample says since when others count.
    has_created: bool,
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
        self.has_created |= self.strict && name.ends_with(b"_created");
        self.out.add_key(&self.parser.series.key, bits, time_ms);
        if self.parser.most.is_some_and(|most| self.out.memory() > most) {
            return Err(Reason::Memory);
        }
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
