//! Reading a text by the elements of a layout.
//!
//! Promises: never panics, allocates nothing, takes what Go takes. Leaves to others: which elements a layout has.

use super::token::{Element, Offset};
use super::zone::Zone;
use super::{Elements, ParseError, Unit};
use crate::format::civil;

pub(super) const LONG_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const LONG_DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// What a text says, before it is made a moment. Parts that are not there are `None`.
#[derive(Debug, Clone, Copy, Default)]
struct Fields<'t> {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    /// `Some(true)` after noon.
    half: Option<bool>,
    utc: bool,
    offset: Option<i64>,
    abbreviation: Option<&'t str>,
}

/// Layouts that begin with a date and time at fixed places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// `2006-01-02T15:04:05`; the signs between the numbers are these.
    Numbers { date: u8, between: u8 },
    /// `02/Jan/2006:15:04:05`
    WebServer,
}

impl Head {
    /// The scanner for a layout, and how many elements it stands for.
    pub(super) fn of(list: &[Element]) -> Option<(Head, usize)> {
        let literal = |index: usize| match list.get(index) {
            Some(Element::Literal(text)) => match text.as_bytes() {
                [byte] => Some(*byte),
                _ => None,
            },
            _ => None,
        };
        let is = |index: usize, element: Element| list.get(index) == Some(&element);
        let time = is(6, Element::Hour)
            && literal(7) == Some(b':')
            && is(8, Element::Minute2)
            && literal(9) == Some(b':')
            && is(10, Element::Second2);
        if !time {
            return None;
        }
        let (date, second, between) = (literal(1)?, literal(3)?, literal(5)?);
        if is(0, Element::Year4) && is(2, Element::Month2) && is(4, Element::Day2) && date == second && date != b' ' {
            return Some((Head::Numbers { date, between }, 11));
        }
        let web = is(0, Element::Day2) && is(2, Element::MonthShort) && is(4, Element::Year4);
        (web && (date, second, between) == (b'/', b'/', b':')).then_some((Head::WebServer, 11))
    }

    /// Reads the head; `None` if the bytes are not exactly so. Then the elements decide.
    fn read(self, bytes: &[u8]) -> Option<(Fields<'_>, usize)> {
        let (fields, at) = match self {
            Head::Numbers { date, between } => {
                let [y0, y1, y2, y3, s0, m0, m1, s1, d0, d1, s2, ..] = bytes else { return None };
                if *s0 != date || *s1 != date || *s2 != between {
                    return None;
                }
                let year = two(*y0, *y1)? * 100 + two(*y2, *y3)?;
                (Fields { year, month: Some(two(*m0, *m1)?), day: Some(two(*d0, *d1)?), ..Fields::default() }, 11)
            }
            Head::WebServer => {
                let [d0, d1, b'/', n0, n1, n2, b'/', y0, y1, y2, y3, b':', ..] = bytes else { return None };
                let year = two(*y0, *y1)? * 100 + two(*y2, *y3)?;
                let month = short_month([*n0, *n1, *n2])?;
                (Fields { year, month: Some(month), day: Some(two(*d0, *d1)?), ..Fields::default() }, 12)
            }
        };
        let [h0, h1, b':', m0, m1, b':', s0, s1, ..] = bytes.get(at..)? else { return None };
        let (hour, minute, second) = (two(*h0, *h1)?, two(*m0, *m1)?, two(*s0, *s1)?);
        let valid = fields.month.is_some_and(|m| (1..=12).contains(&m)) && hour < 24 && minute < 60 && second < 60;
        valid.then_some((Fields { hour, minute, second, ..fields }, at + 8))
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// The number of a month by the first three letters of its name, in any case.
fn short_month(letters: [u8; 3]) -> Option<i64> {
    let [a, b, c] = letters.map(|letter| letter.to_ascii_lowercase());
    Some(match (a, b, c) {
        (b'j', b'a', b'n') => 1,
        (b'f', b'e', b'b') => 2,
        (b'm', b'a', b'r') => 3,
        (b'a', b'p', b'r') => 4,
        (b'm', b'a', b'y') => 5,
        (b'j', b'u', b'n') => 6,
        (b'j', b'u', b'l') => 7,
        (b'a', b'u', b'g') => 8,
        (b's', b'e', b'p') => 9,
        (b'o', b'c', b't') => 10,
        (b'n', b'o', b'v') => 11,
        (b'd', b'e', b'c') => 12,
        _ => return None,
    })
}

impl Elements {
    pub(super) fn parse(&self, text: &str, now_ns: i64) -> Result<i64, ParseError> {
        let mut cursor = Cursor { text, at: 0, fields: Fields::default() };
        let mut rest = self.list.as_slice();
        if let Some((head, count)) = self.head
            && let Some((fields, at)) = head.read(text.as_bytes())
            && let Some(tail) = self.list.get(count..)
        {
            (cursor.fields, cursor.at, rest) = (fields, at, tail);
            cursor.fraction_beyond(rest);
        }
        while let [element, tail @ ..] = rest {
            cursor.take(element, tail)?;
            rest = tail;
        }
        if cursor.at < text.len() {
            return Err(ParseError::Extra { at: cursor.at });
        }
        cursor.fields.moment(self, now_ns)
    }
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
    fields: Fields<'t>,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn expected(&self, element: &'static str) -> ParseError {
        ParseError::Expected { element, at: self.at }
    }

    fn take(&mut self, element: &Element, tail: &[Element]) -> Result<(), ParseError> {
        match element {
            Element::Literal(literal) => self.literal(literal.as_bytes())?,
            Element::Year4 => {
                let [a, b, c, d, ..] = self.rest() else { return Err(self.expected("a year of four digits")) };
                let (Some(high), Some(low)) = (two(*a, *b), two(*c, *d)) else {
                    return Err(self.expected("a year of four digits"));
                };
                self.fields.year = high * 100 + low;
                self.at += 4;
            }
            Element::Year2 => {
                let [a, b, ..] = self.rest() else { return Err(self.expected("a year of two digits")) };
                let year = two(*a, *b).ok_or_else(|| self.expected("a year of two digits"))?;
                self.fields.year = if year >= 69 { year + 1900 } else { year + 2000 };
                self.at += 2;
            }
            Element::MonthLong => self.fields.month = Some(self.name(&LONG_MONTHS, false, "the name of a month")? + 1),
            Element::MonthShort => {
                self.fields.month = Some(self.name(&LONG_MONTHS, true, "the short name of a month")? + 1)
            }
            Element::WeekdayLong => {
                self.name(&LONG_DAYS, false, "the name of a weekday")?;
            }
            Element::WeekdayShort => {
                self.name(&LONG_DAYS, true, "the short name of a weekday")?;
            }
            Element::Month | Element::Month2 => {
                self.fields.month = Some(self.number(*element == Element::Month2, 1, 12, "month")?);
            }
            Element::Day | Element::Day2 | Element::DayPadded => {
                if *element == Element::DayPadded && self.rest().first() == Some(&b' ') {
                    self.at += 1;
                }
                self.fields.day = Some(self.number(*element == Element::Day2, 0, 99, "day")?);
            }
            Element::YearDay3 | Element::YearDayPadded => self.year_day(*element == Element::YearDay3)?,
            Element::Hour => self.fields.hour = self.number(false, 0, 23, "hour")?,
            Element::Hour12 | Element::Hour12Two => {
                self.fields.hour = self.number(*element == Element::Hour12Two, 0, 12, "hour")?;
            }
            Element::Minute | Element::Minute2 => {
                self.fields.minute = self.number(*element == Element::Minute2, 0, 59, "minute")?;
            }
            Element::Second | Element::Second2 => {
                self.fields.second = self.number(*element == Element::Second2, 0, 59, "second")?;
                self.fraction_beyond(tail);
            }
            Element::Half => self.half([b"AM", b"PM"], "AM or PM")?,
            Element::HalfLower => self.half([b"am", b"pm"], "am or pm")?,
            Element::ZoneName => self.zone_name()?,
            Element::Offset(how) => self.offset(*how)?,
            Element::Fraction(digits, _) => {
                let count = usize::from(*digits);
                let found = self.rest().get(1..=count).filter(|found| found.iter().all(u8::is_ascii_digit));
                if !matches!(self.rest().first(), Some(b'.' | b',')) || found.is_none() {
                    return Err(self.expected("a fraction of a second"));
                }
                self.fraction(count);
            }
            Element::FractionOptional(..) => self.fraction_if_any(),
        }
        Ok(())
    }

    /// A space stands for any run of them, also for none at the end of the text.
    fn literal(&mut self, mut literal: &[u8]) -> Result<(), ParseError> {
        while let [first, tail @ ..] = literal {
            let next = self.rest().first();
            if *first == b' ' {
                if next.is_some_and(|next| *next != b' ') {
                    return Err(self.expected("a space"));
                }
                self.at += self.rest().iter().take_while(|byte| **byte == b' ').count();
                literal = literal.trim_ascii_start_spaces();
            } else {
                if next != Some(first) {
                    return Err(self.expected("a sign of the layout"));
                }
                self.at += 1;
                literal = tail;
            }
        }
        Ok(())
    }

    /// One or two digits; exactly two if `fixed`.
    fn number(&mut self, fixed: bool, low: i64, high: i64, element: &'static str) -> Result<i64, ParseError> {
        let digit = |byte: Option<&u8>| byte.filter(|byte| byte.is_ascii_digit()).map(|byte| i64::from(byte - b'0'));
        let bytes = self.rest();
        let value = match (digit(bytes.first()), digit(bytes.get(1))) {
            (Some(tens), Some(ones)) => {
                self.at += 2;
                tens * 10 + ones
            }
            (Some(ones), None) if !fixed => {
                self.at += 1;
                ones
            }
            _ => return Err(self.expected(element)),
        };
        if (low..=high).contains(&value) { Ok(value) } else { Err(ParseError::Range { element }) }
    }

    fn year_day(&mut self, fixed: bool) -> Result<(), ParseError> {
        if !fixed {
            self.at += self.rest().iter().take(2).take_while(|byte| **byte == b' ').count();
        }
        let digits = self.rest().iter().take(3).take_while(|byte| byte.is_ascii_digit());
        let (count, value) =
            digits.fold((0, 0), |(count, value), digit| (count + 1, value * 10 + i64::from(digit - b'0')));
        if count == 0 || fixed && count != 3 {
            return Err(self.expected("a day of the year"));
        }
        self.at += count;
        self.fields.year_day = Some(value);
        Ok(())
    }

    /// The index of the name that the text goes on with, in any case.
    fn name(&mut self, names: &[&str], short: bool, element: &'static str) -> Result<i64, ParseError> {
        let rest = self.rest();
        for (index, name) in (0i64..).zip(names) {
            let name = name.as_bytes();
            let name = if short { name.get(..3).unwrap_or(name) } else { name };
            if rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                self.at += name.len();
                return Ok(index);
            }
        }
        Err(self.expected(element))
    }

    fn half(&mut self, [am, pm]: [&[u8; 2]; 2], element: &'static str) -> Result<(), ParseError> {
        match self.rest().first_chunk::<2>() {
            Some(found) if found == am => self.fields.half = Some(false),
            Some(found) if found == pm => self.fields.half = Some(true),
            _ => return Err(self.expected(element)),
        }
        self.at += 2;
        Ok(())
    }

    /// The fraction of a second that a text may have where the layout has none.
    fn fraction_beyond(&mut self, tail: &[Element]) {
        let next = tail.iter().find(|element| !matches!(element, Element::Literal(_)));
        if !matches!(next, Some(Element::Fraction(..) | Element::FractionOptional(..))) {
            self.fraction_if_any();
        }
    }

    fn fraction_if_any(&mut self) {
        if let [b'.' | b',', digits @ ..] = self.rest() {
            let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if count > 0 {
                self.fraction(count);
            }
        }
    }

    /// A sign and so many digits, of which nine count.
    fn fraction(&mut self, count: usize) {
        let digits = self.rest().iter().skip(1).take(count.min(9));
        let (scale, value) = digits.fold((1_000_000_000, 0), |(scale, value), digit| {
            (scale / 10, value * 10 + i64::from(digit.wrapping_sub(b'0')))
        });
        self.fields.nanos = value * scale;
        self.at += 1 + count;
    }

    fn offset(&mut self, how: Offset) -> Result<(), ParseError> {
        const ELEMENT: &str = "an offset from UTC";
        let bytes = self.rest();
        if how.zulu && bytes.first() == Some(&b'Z') {
            self.fields.utc = true;
            self.at += 1;
            return Ok(());
        }
        let negative = match bytes.first() {
            Some(b'+') => false,
            Some(b'-') => true,
            _ => return Err(self.expected(ELEMENT)),
        };
        let mut len = 1;
        let mut part = |wanted: bool, colon: bool| -> Option<i64> {
            if !wanted {
                return Some(0);
            }
            if colon {
                bytes.get(len).filter(|byte| **byte == b':')?;
                len += 1;
            }
            let value = two(*bytes.get(len)?, *bytes.get(len + 1)?)?;
            len += 2;
            Some(value)
        };
        let parts = (part(true, false), part(how.minutes, how.colons), part(how.seconds, how.colons));
        let (Some(hours), Some(minutes), Some(seconds)) = parts else { return Err(self.expected(ELEMENT)) };
        // Some people write 24 hours or 60 minutes.
        if hours > 24 || minutes > 60 || seconds > 60 {
            return Err(ParseError::Range { element: ELEMENT });
        }
        let offset = hours * 3600 + minutes * 60 + seconds;
        self.fields.offset = Some(if negative { -offset } else { offset });
        self.at += len;
        Ok(())
    }

    fn zone_name(&mut self) -> Result<(), ParseError> {
        let bytes = self.rest();
        if bytes.starts_with(b"UTC") {
            self.fields.utc = true;
            self.at += 3;
            return Ok(());
        }
        let len = zone_name_len(bytes).ok_or_else(|| self.expected("the abbreviation of a time zone"))?;
        self.fields.abbreviation = self.text.get(self.at..self.at + len);
        self.at += len;
        Ok(())
    }
}

trait Spaces {
    fn trim_ascii_start_spaces(&self) -> &Self;
}

impl Spaces for [u8] {
    /// Without the spaces at the start; other white space stays.
    fn trim_ascii_start_spaces(&self) -> &[u8] {
        let count = self.iter().take_while(|byte| **byte == b' ').count();
        self.get(count..).unwrap_or_default()
    }
}

/// The length of a zone's abbreviation: three to five capitals, `GMT+3`, `-03`, and two odd ones.
fn zone_name_len(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < 3 {
        return None;
    }
    if bytes.starts_with(b"ChST") || bytes.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(tail) = bytes.strip_prefix(b"GMT") {
        return Some(3 + signed_len(tail).unwrap_or(0));
    }
    if matches!(bytes.first(), Some(b'+' | b'-')) {
        return signed_len(bytes);
    }
    match bytes.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count() {
        5 => (bytes.get(4) == Some(&b'T')).then_some(5),
        4 => (bytes.get(3) == Some(&b'T') || bytes.starts_with(b"WITA")).then_some(4),
        3 => Some(3),
        _ => None,
    }
}

/// The length of a sign and a number up to 23.
fn signed_len(bytes: &[u8]) -> Option<usize> {
    let [b'+' | b'-', digits @ ..] = bytes else { return None };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = digits
        .iter()
        .take(count)
        .fold(0u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0'))));
    (count > 0 && value <= 23).then_some(1 + count)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(month: i64, year: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Fields<'_> {
    /// Month and day, checked.
    fn date(&self) -> Result<(i64, i64), ParseError> {
        let (month, day) = match self.year_day {
            None => (self.month.unwrap_or(1), self.day.unwrap_or(1)),
            Some(year_day) => {
                if !(1..=365 + i64::from(is_leap(self.year))).contains(&year_day) {
                    return Err(ParseError::Range { element: "day of the year" });
                }
                let (_, month, day) = civil::date_of(civil::days_of(self.year, 1, 1) + year_day - 1);
                if self.month.is_some_and(|other| other != month) || self.day.is_some_and(|other| other != day) {
                    return Err(ParseError::Range { element: "day of the year" });
                }
                (month, day)
            }
        };
        if day < 1 || day > days_in(month, self.year) {
            return Err(ParseError::Range { element: "day" });
        }
        Ok((month, day))
    }

    fn moment(&self, elements: &Elements, now_ns: i64) -> Result<i64, ParseError> {
        let (month, day) = self.date()?;
        let hour = match self.half {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let year = if elements.yearless { year_near(month, now_ns) } else { self.year };
        // 29 February of a year without one becomes 1 March.
        let days = civil::days_of(year, month, day);
        let local = days * 86_400 + hour * 3600 + self.minute * 60 + self.second;
        let second = if self.utc {
            local
        } else if let Some(offset) = self.offset {
            local - offset
        } else if let Some(name) = self.abbreviation {
            match elements.abbreviations.as_deref().and_then(|zone| zone.abbreviation(name, local)) {
                Some(offset) => local - offset,
                None if elements.is_strict && !matches!(name, "UTC" | "GMT") => return Err(ParseError::Abbreviation),
                // One that is not known counts as UTC, as in Go.
                None => local,
            }
        } else {
            elements.location.as_deref().map_or(local, |zone: &Zone| zone.moment(local))
        };
        let whole = i128::from(second) * 1_000_000_000 + i128::from(self.nanos);
        i64::try_from(whole).map_err(|_| ParseError::Unrepresentable)
    }
}

/// The year of a month that was written near now.
fn year_near(month: i64, now_ns: i64) -> i64 {
    let (year, this_month, _) = civil::date_of(now_ns.div_euclid(86_400 * 1_000_000_000));
    match (month, this_month) {
        (12, 1) => year - 1,
        (1, 12) => year + 1,
        _ => year,
    }
}

/// A number since 1970. Seconds may have a fraction.
pub(super) fn unix(text: &str, unit: Unit) -> Result<i64, ParseError> {
    let bytes = text.as_bytes();
    let (negative, start) = match bytes.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let mut at = start;
    let mut value: i64 = 0;
    // Counted down, for the least number has no positive twin.
    while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(i64::from(digit - b'0')))
            .ok_or(ParseError::Unrepresentable)?;
        at += 1;
    }
    if at == start {
        return Err(ParseError::Expected { element: "a number", at });
    }
    let scale = match unit {
        Unit::Seconds => 1_000_000_000,
        Unit::Millis => 1_000_000,
        Unit::Micros => 1_000,
        Unit::Nanos => 1,
    };
    let mut nanos = value.checked_mul(scale).ok_or(ParseError::Unrepresentable)?;
    if unit == Unit::Seconds && bytes.get(at) == Some(&b'.') {
        at += 1;
        let first = at;
        let mut place = 100_000_000;
        while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
            nanos = nanos.checked_sub(i64::from(digit - b'0') * place).ok_or(ParseError::Unrepresentable)?;
            place /= 10;
            at += 1;
        }
        if at == first {
            return Err(ParseError::Expected { element: "a fraction", at });
        }
    }
    if at < bytes.len() {
        return Err(ParseError::Extra { at });
    }
    if negative { Ok(nanos) } else { nanos.checked_neg().ok_or(ParseError::Unrepresentable) }
}
