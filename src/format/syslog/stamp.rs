//! Times as syslog senders write them, at the beginning of a text.
//!
//! `Aug  1 10:00:00`, with one digit or two for the day, a fraction behind `.` or `,` (Comware: `:` and three digits), the year in front,
//! behind the day or behind the time, a weekday in front, a zone behind; and the forms of RFC 3339, also with a blank, without a zone, or
//! with slashes.
//!
//! Promises: each field is checked against its range and the length of the month; what does not exist is no time. A year that is not
//! there is the one that brings the time nearest to when the message was received, so that the turn of the year is right from both sides.
//! Leaves to others: what follows.

use super::Options;
use crate::format::civil::{date_of, days_of};

pub(super) const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;
pub(super) const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
const WEEKDAYS: [&[u8; 3]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];
/// Years that four digits behind a time can be; others are text.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=2199;
/// Abbreviations of zones and their minutes east of UTC, for those that the configured zone does not know. Where one has several meanings
/// (CST, IST, BST), a zone that is set has the say.
const ZONES: [(&str, i64); 43] = [
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("MET", 60),
    ("CEST", 120),
    ("MEST", 120),
    ("EET", 120),
    ("SAST", 120),
    ("CAT", 120),
    ("EEST", 180),
    ("EAT", 180),
    ("MSK", 180),
    ("TRT", 180),
    ("GST", 240),
    ("PKT", 300),
    ("IST", 330),
    ("ICT", 420),
    ("WIB", 420),
    ("SGT", 480),
    ("HKT", 480),
    ("AWST", 480),
    ("PHT", 480),
    ("JST", 540),
    ("KST", 540),
    ("ACST", 570),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("BRT", -180),
    ("ART", -180),
    ("EDT", -240),
    ("AST", -240),
    ("EST", -300),
    ("CDT", -300),
    ("CST", -360),
    ("MDT", -360),
    ("PDT", -420),
    ("PST", -480),
];

/// What a text says of a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Parts<'a> {
    year: Option<i64>,
    month: i64,
    day: i64,
    /// Second of the day, up to one more than it has.
    second: i64,
    nanos: i64,
    zone: Named<'a>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Named<'a> {
    /// The one of the options.
    #[default]
    None,
    /// Seconds east of UTC.
    Offset(i64),
    /// By an abbreviation.
    Name(&'a str),
}

/// Reads a time at the beginning of `text`: nanoseconds since 1970, and how many bytes it has. The first is `None` if the text has the
/// form of a time and there is no such moment.
pub(super) fn read(text: &str, options: &Options<'_>) -> Option<(Option<i64>, usize)> {
    let mut reader = Reader { text, at: 0 };
    let parts = match text.as_bytes().first()? {
        b'0'..=b'9' => reader.year_first()?,
        b'A'..=b'Z' | b'a'..=b'z' => reader.month_first()?,
        _ => return None,
    };
    Some((parts.moment(options), reader.at))
}

/// Seconds since 1970 in digits, with the digits of a fraction.
pub(super) fn unix(seconds: &str, fraction: &str) -> Option<i64> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    seconds.parse::<i64>().ok()?.checked_mul(SECOND_NS)?.checked_add(nanos(fraction.as_bytes()))
}

/// `+0100`, `+01:00`, `-5`: seconds east of UTC.
pub(super) fn offset(text: &str) -> Option<i64> {
    let mut reader = Reader { text, at: 0 };
    let seconds = reader.offset()?;
    (reader.at == text.len()).then_some(seconds)
}

/// A date `2026-08-01` and a time `10:00:00` that a device has in two places, seconds since 1970 as if they were UTC.
pub(super) fn date_and_time(date: &str, time: &str, east: Option<i64>, options: &Options<'_>) -> Option<i64> {
    let mut reader = Reader { text: date, at: 0 };
    let mut parts = reader.date()?;
    let mut clock = Reader { text: time, at: 0 };
    clock.clock(&mut parts)?;
    if reader.at != date.len() || clock.at != time.len() {
        return None;
    }
    parts.zone = east.map_or(Named::None, Named::Offset);
    parts.moment(options)
}

impl Parts<'_> {
    fn moment(&self, options: &Options<'_>) -> Option<i64> {
        if let Some(year) = self.year {
            return self.in_year(year, options);
        }
        let received_s = options.received_ns.div_euclid(SECOND_NS);
        let east = options.zone.map_or(0, |zone| zone.offset(received_s));
        let (year, ..) = date_of((received_s + east).div_euclid(DAY_S));
        let far = |ns: &i64| ns.abs_diff(options.received_ns);
        let here = self.in_year(year, options);
        // Within half a year nothing is nearer.
        if here.is_some_and(|ns| far(&ns) <= 182 * DAY_S.unsigned_abs() * SECOND_NS.unsigned_abs()) {
            return here;
        }
        let around = [here, self.in_year(year - 1, options), self.in_year(year + 1, options)];
        around.into_iter().flatten().min_by_key(far)
    }

    fn in_year(&self, year: i64, options: &Options<'_>) -> Option<i64> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=days).contains(&self.day) {
            return None;
        }
        let local = days_of(year, self.month, self.day) * DAY_S + self.second;
        let own = |local: i64| options.zone.map_or(local, |zone| zone.moment(local));
        let seconds = match self.zone {
            Named::None => own(local),
            Named::Offset(east) => local - east,
            Named::Name(name) => match options.zone.and_then(|zone| zone.abbreviation(name, local)) {
                Some(east) => local - east,
                None => known(name).map_or_else(|| own(local), |minutes| local - minutes * 60),
            },
        };
        seconds.checked_mul(SECOND_NS)?.checked_add(self.nanos)
    }
}

fn known(name: &str) -> Option<i64> {
    ZONES.iter().find(|(known, _)| *known == name).map(|(_, minutes)| *minutes)
}

/// The first nine digits of a fraction of a second as nanoseconds.
fn nanos(digits: &[u8]) -> i64 {
    let mut scale = 100_000_000;
    let mut nanos = 0;
    for digit in digits.iter().take(9) {
        nanos += i64::from(digit.wrapping_sub(b'0')) * scale;
        scale /= 10;
    }
    nanos
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek(0) == Some(byte)).then(|| self.at += 1)
    }

    /// One blank at least.
    fn blanks(&mut self) -> Option<()> {
        self.eat(b' ')?;
        while self.eat(b' ').is_some() {}
        Some(())
    }

    /// A number of so many digits, and no further digit.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let mut value = 0;
        let mut len = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek(len) {
            len += 1;
            if len > most {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
        }
        self.at += len;
        (len >= least).then_some(value)
    }

    /// Which one of the words of three letters stands here.
    fn word(&mut self, words: &[&[u8; 3]]) -> Option<i64> {
        let here = self.text.as_bytes().get(self.at..)?.first_chunk::<3>()?.map(|byte| byte.to_ascii_lowercase());
        let index = words.iter().position(|word| **word == here)?;
        if self.peek(3).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        self.at += 3;
        i64::try_from(index).ok()
    }

    /// `2026-08-01`, also with slashes and without leading zeros.
    fn date(&mut self) -> Option<Parts<'a>> {
        let year = self.number(4, 4)?;
        let separator = self.peek(0).filter(|byte| matches!(byte, b'-' | b'/'))?;
        self.at += 1;
        let month = self.number(1, 2)?;
        self.eat(separator)?;
        let day = self.number(1, 2)?;
        Some(Parts { year: Some(year), month, day, ..Parts::default() })
    }

    /// `10:00:00` with a fraction. The last second may be the 60th.
    fn clock(&mut self, parts: &mut Parts<'a>) -> Option<()> {
        let hour = self.number(1, 2)?;
        self.eat(b':')?;
        let minute = self.number(2, 2)?;
        self.eat(b':')?;
        let second = self.number(2, 2)?;
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        parts.second = hour * 3600 + minute * 60 + second;
        let digits = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_fraction = match self.peek(0) {
            Some(b'.' | b',') => len > 0,
            Some(b':') => len == 3 && digits.get(3) == Some(&b' '),
            _ => false,
        };
        if is_fraction {
            parts.nanos = nanos(digits.get(..len).unwrap_or_default());
            self.at += 1 + len;
        }
        Some(())
    }

    /// `+01:00`, `+0100`, `+01`, `-5`.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.peek(0)? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.at += 1;
        let start = self.at;
        let number = self.number(1, 4)?;
        let (hours, minutes) = if self.at - start > 2 {
            (number / 100, number % 100)
        } else if self.peek(0) == Some(b':') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            (number, self.number(2, 2)?)
        } else {
            (number, 0)
        };
        (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }

    /// `2026-08-01T10:00:00.5+02:00` and the like; `2026 Aug  1 10:00:00`.
    fn year_first(&mut self) -> Option<Parts<'a>> {
        if self.peek(4) == Some(b' ') {
            let year = self.number(4, 4)?;
            self.blanks()?;
            let mut parts = self.month_and_day()?;
            parts.year = Some(year);
            self.clock(&mut parts)?;
            self.trailer(&mut parts);
            return Some(parts);
        }
        let mut parts = self.date()?;
        let separator = self.peek(0)?;
        if !matches!(separator, b'T' | b't' | b' ') {
            return None;
        }
        self.at += 1;
        self.clock(&mut parts)?;
        match self.peek(0) {
            Some(b'Z' | b'z') => {
                self.at += 1;
                parts.zone = Named::Offset(0);
            }
            Some(b'+' | b'-') => parts.zone = Named::Offset(self.offset()?),
            _ => self.trailer(&mut parts),
        }
        Some(parts)
    }

    /// `Aug  1 10:00:00`, `Aug 1 2026 10:00:00`, `Sat Aug  1 10:00:00 2026`, with what may follow.
    fn month_first(&mut self) -> Option<Parts<'a>> {
        if self.word(&WEEKDAYS).is_some() {
            let _ = self.eat(b',');
            self.blanks()?;
        }
        let mut parts = self.month_and_day()?;
        if self.peek(4) == Some(b' ') {
            parts.year = Some(self.number(4, 4)?);
            self.blanks()?;
        }
        self.clock(&mut parts)?;
        self.trailer(&mut parts);
        Some(parts)
    }

    /// `Aug  1 `.
    fn month_and_day(&mut self) -> Option<Parts<'a>> {
        let month = self.word(&MONTHS)? + 1;
        self.blanks()?;
        let day = self.number(1, 2)?;
        self.blanks()?;
        Some(Parts { month, day, ..Parts::default() })
    }

    /// What may follow a time: a zone and a year, in any order. What is neither is left.
    fn trailer(&mut self, parts: &mut Parts<'a>) {
        for _ in 0..2 {
            let start = self.at;
            if self.eat(b' ').is_none() || self.one_of_trailer(parts).is_none() {
                self.at = start;
                return;
            }
        }
    }

    fn one_of_trailer(&mut self, parts: &mut Parts<'a>) -> Option<()> {
        let ends = |reader: &Self| matches!(reader.peek(0), None | Some(b' ' | b':'));
        match self.peek(0)? {
            b'0'..=b'9' if parts.year.is_none() => {
                let year = self.number(4, 4).filter(|year| YEARS.contains(year))?;
                ends(self).then(|| parts.year = Some(year))
            }
            b'+' | b'-' if matches!(parts.zone, Named::None) => {
                let east = self.offset()?;
                ends(self).then(|| parts.zone = Named::Offset(east))
            }
            b'A'..=b'Z' if matches!(parts.zone, Named::None) => {
                let rest = self.text.get(self.at..)?;
                let len = rest.bytes().take_while(u8::is_ascii_uppercase).count();
                let name = rest.get(..len)?;
                known(name)?;
                let after = rest.get(len..)?;
                // A name could be that of a host as well, so that something has to say that it is not.
                let year =
                    after.get(1..5).is_some_and(|year| year.parse().is_ok_and(|year: i64| YEARS.contains(&year)));
                let sure = matches!(name, "UTC" | "GMT" | "Z") || after.starts_with(':') || year;
                if !sure || !(after.is_empty() || after.starts_with([' ', ':'])) {
                    return None;
                }
                self.at += len;
                parts.zone = Named::Name(name);
                Some(())
            }
            _ => None,
        }
    }
}
