//! Times in log lines, by Promtail's names of formats and by Go's layouts, which write the reference time
//! `Mon Jan 2 15:04:05 MST 2006` the way the log writes its own.
//!
//! A layout is compiled once to a list of elements. Reading a time then allocates nothing. Layouts that begin like
//! `2006-01-02 15:04:05` or `02/Jan/2006:15:04:05` have a scanner for these bytes at fixed places; when a text does not fit it, the
//! elements are tried one by one, for Go takes more than the layout shows (`5:04` for `15:04`, a fraction where the layout has none).
//!
//! Promises: what Go's `time.Parse` and `time.ParseInLocation` take is taken, with the same result, and nothing else; also where a
//! wall time does not exist or exists twice. Exceptions, on purpose: moments that do not fit 64 bits of nanoseconds (before 1677, after
//! 2262) are errors, and `Unix` reads `-1.5` as one and a half seconds before 1970. Leaves to others: which text is tried with
//! which layouts, what happens when none fits.

mod print;
mod scan;
mod strftime;
mod token;
mod zone;

#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod parse_tests;

pub use zone::Zone;

use std::sync::Arc;
use token::Element;

/// A layout cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Nothing is written.
    #[error("a time format is empty; write a name such as RFC3339, or a layout such as 2006-01-02 15:04:05")]
    Empty,
    /// A layout of C's strftime.
    #[error("the time format `{layout}` is written for strftime; write `{instead}`")]
    Strftime {
        /// As it was written.
        layout: String,
        /// The same for Go, as far as it can be told.
        instead: String,
    },
    /// Something that is nearly a name.
    #[error("there is no time format `{layout}`; write `{instead}`")]
    Name {
        /// As it was written.
        layout: String,
        /// The name.
        instead: &'static str,
    },
    /// No part of the reference time is in it.
    #[error(
        "the time format `{layout}` has no part of a time; write the moment Mon Jan 2 15:04:05 MST 2006 the way your log would write it, \
         such as 2006-01-02 15:04:05.000, or a name such as RFC3339"
    )]
    NoElement {
        /// As it was written.
        layout: String,
    },
    /// The zone is not known to the host.
    #[error(
        "there is no time zone `{location}`: {reason}; write a name such as Europe/Berlin, and install the host's package tzdata"
    )]
    Location {
        /// As it was written.
        location: String,
        /// What was found instead.
        reason: String,
    },
}

/// A text is not a time of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// An element or literal of the layout is not there.
    #[error("{element} is expected at byte {at}")]
    Expected {
        /// What the layout wants.
        element: &'static str,
        /// Where, in bytes.
        at: usize,
    },
    /// A number that no such thing has.
    #[error("the {element} is out of range")]
    Range {
        /// Which part of the time.
        element: &'static str,
    },
    /// The layout ended before the text.
    #[error("text is left over at byte {at}")]
    Extra {
        /// Where, in bytes.
        at: usize,
    },
    /// A zone that the host does not know by this abbreviation, where it has to.
    #[error("the abbreviation of the time zone is none of the host's zone")]
    Abbreviation,
    /// Before 1677 or after 2262.
    #[error("the time does not fit 64 bits of nanoseconds")]
    Unrepresentable,
}

/// What a number since 1970 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// Promtail's names of layouts. Each is what Go's constant of the name says.
const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", "2006-01-02T15:04:05Z07:00"),
    ("RFC3339Nano", "2006-01-02T15:04:05.999999999Z07:00"),
];

const UNITS: [(&str, Unit); 4] =
    [("Unix", Unit::Seconds), ("UnixMs", Unit::Millis), ("UnixUs", Unit::Micros), ("UnixNs", Unit::Nanos)];

/// Names that people write, without their case, dashes, underscores and spaces, and what they mean. Names that differ in case only are
/// found without this list.
const NEARLY: [(&str, &str); 8] = [
    ("iso8601", "RFC3339"),
    ("rfc3339milli", "RFC3339"),
    ("epoch", "Unix"),
    ("unixseconds", "Unix"),
    ("unixmilli", "UnixMs"),
    ("unixmicro", "UnixUs"),
    ("unixnano", "UnixNs"),
    ("timestamp", "Unix"),
];

/// A compiled time format. Cheap to clone but for its elements.
#[derive(Debug, Clone)]
pub struct Layout {
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Unix(Unit),
    Elements(Elements),
}

#[derive(Debug, Clone)]
struct Elements {
    list: Vec<Element>,
    /// The scanner for the first bytes, and the number of elements that it stands for.
    head: Option<(scan::Head, usize)>,
    /// Whether the year has to be guessed.
    yearless: bool,
    /// The zone of texts that name none; `None` is UTC.
    location: Option<Arc<Zone>>,
    /// Where abbreviations such as CEST are looked up; `None` if the layout has none, or in UTC.
    abbreviations: Option<Arc<Zone>>,
    /// Whether those that are not known are no times.
    is_strict: bool,
}

impl Layout {
    /// Compiles a format: one of Promtail's names (`RFC3339`, `UnixMs`, …) or a Go layout. `location` is the IANA name of the zone
    /// of texts that do not tell theirs; without it that is UTC. As in Promtail it says nothing to named formats. An abbreviation that the zone
    /// does not know counts as UTC, as Go has it; but not where `location` is `Local`: there it has to be one of the host's zone.
    ///
    /// # Errors
    /// When the format means nothing, or the host does not know the zone. It is read from the host's zoneinfo, here and not later.
    pub fn compile(text: &str, location: Option<&str>) -> Result<Layout, LayoutError> {
        if text.trim().is_empty() {
            return Err(LayoutError::Empty);
        }
        let zone = match location {
            Some(name) => Zone::named(name)
                .map_err(|reason| LayoutError::Location { location: name.to_owned(), reason })?
                .map(Arc::new),
            None => None,
        };
        if let Some((_, unit)) = UNITS.iter().find(|(name, _)| *name == text) {
            return Ok(Layout { form: Form::Unix(*unit) });
        }
        if let Some((_, layout)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(Layout { form: Form::Elements(Elements::new(token::elements(layout), None, None)) });
        }
        if let Some(instead) = nearly(text) {
            return Err(LayoutError::Name { layout: text.to_owned(), instead });
        }
        if let Some(instead) = strftime::translate(text) {
            return Err(LayoutError::Strftime { layout: text.to_owned(), instead });
        }
        let list = token::elements(text);
        if list.iter().all(|element| matches!(element, Element::Literal(_))) {
            return Err(LayoutError::NoElement { layout: text.to_owned() });
        }
        Ok(Layout { form: Form::Elements(Elements::new(list, zone, location)) })
    }

    /// Reads a time: nanoseconds since 1970. `now_ns` is the present time, for layouts without a year: theirs is the present one, but
    /// of December the last one if it is January now, and of January the next one if it is December now.
    ///
    /// # Errors
    /// When the text is not of the layout, to its last byte, or the time does not fit.
    pub fn parse(&self, text: &str, now_ns: i64) -> Result<i64, ParseError> {
        match &self.form {
            Form::Unix(unit) => scan::unix(text, *unit),
            Form::Elements(elements) => elements.parse(text, now_ns),
        }
    }

    /// Appends the moment as the layout says, as Go's `Time.Format` does; in the layout's location, else in UTC.
    pub fn print(&self, ns: i64, out: &mut String) {
        match &self.form {
            Form::Unix(unit) => print::unix(ns, *unit, out),
            Form::Elements(elements) => print::elements(&elements.list, elements.location.as_deref(), ns, out),
        }
    }

    /// Whether times of this layout have no year of their own.
    pub fn is_yearless(&self) -> bool {
        matches!(&self.form, Form::Elements(elements) if elements.yearless)
    }
}

impl Elements {
    fn new(list: Vec<Element>, location: Option<Arc<Zone>>, name: Option<&str>) -> Elements {
        let yearless = !list.iter().any(|element| matches!(element, Element::Year4 | Element::Year2));
        let named_zone = list.iter().any(|element| matches!(element, Element::ZoneName));
        // As in Go: an abbreviation is one of the location, or of the host when there is none.
        let abbreviations = match (&location, name) {
            _ if !named_zone => None,
            (Some(zone), _) => Some(Arc::clone(zone)),
            (None, Some(_)) => None,
            (None, None) => Zone::host().map(Arc::new),
        };
        let is_strict = name == Some("Local");
        Elements { head: scan::Head::of(&list), list, yearless, location, abbreviations, is_strict }
    }
}

/// The name that was meant, if the text is not one but looks like one.
fn nearly(text: &str) -> Option<&'static str> {
    let bare: String =
        text.chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '.')).map(|c| c.to_ascii_lowercase()).collect();
    let names = UNITS.iter().map(|(name, _)| *name).chain(NAMED.iter().map(|(name, _)| *name));
    names
        .map(|name| (name, name))
        .find(|(name, _)| name.eq_ignore_ascii_case(&bare))
        .or_else(|| NEARLY.iter().copied().find(|(name, _)| *name == bare))
        .map(|(_, instead)| instead)
}
