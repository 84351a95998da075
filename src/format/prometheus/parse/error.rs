//! Why a text of samples cannot be read, and where.
//!
//! Promises: the place and what stands there, shortened and without control characters. Leaves to others: finding it.

use crate::base::limits::{SAMPLE_EXCERPT_BYTES, SAMPLE_LABELS_MAX, SAMPLES_TEXT_BYTES_MAX};
use crate::format::prometheus::number::NumberError;

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
    /// How many samples are before it.
    pub samples: usize,
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
    /// What was read takes more memory than [`Parser::bound`](super::Parser::bound) allows.
    #[error("what was read so far takes more memory than it may")]
    Memory,
}

/// The error of what is wrong at `place`.
pub(super) fn error(body: &[u8], place: usize, reason: Reason, samples: usize) -> ParseError {
    let before = body.get(..place).unwrap_or(body);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1).max(place.saturating_sub(SAMPLE_EXCERPT_BYTES));
    let rest = body.get(start..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest.get(place - start..).unwrap_or_default())
        .map_or(rest.len(), |at| at + place - start);
    // A little behind the place, so that the byte that was not expected shows.
    let end = end.min(place - start + SAMPLE_EXCERPT_BYTES / 4);
    let excerpt = String::from_utf8_lossy(rest.get(..end).unwrap_or_default());
    ParseError { line, reason, excerpt: excerpt.escape_debug().to_string(), samples }
}
