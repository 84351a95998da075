//! Calendar dates in UTC, and the few fixed time layouts that endpoints use: RFC 3339, Go's `time.Time.String()` and HTTP's date.
//!
//! Promises: exact for the proleptic Gregorian calendar; parsing never panics. Leaves to others: time zones by name, other layouts.

/// A parsed moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Whole seconds since 1970-01-01 UTC.
    pub seconds: i64,
    /// The rest, 0 to 999,999,999.
    pub nanos: u32,
}

impl Moment {
    /// Nanoseconds since 1970; `None` outside of the years 1677 to 2262.
    pub fn as_ns(self) -> Option<i64> {
        self.seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(self.nanos))
    }
}

/// Days from 1970-01-01 to the given date. Counts in eras of 400 years that begin on 1 March, so that the leap day comes last.
pub fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date (year, month, day) of a day since 1970-01-01.
pub fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// `2026-08-01T10:00:00.123Z`: RFC 3339 in UTC with milliseconds.
pub fn format_rfc3339_ms(ns: i64) -> String {
    format!("{}.{:03}Z", whole_seconds(ns), ns.rem_euclid(1_000_000_000) / 1_000_000)
}

/// `2026-08-01T10:00:00.123456789Z`: RFC 3339 in UTC with nanoseconds.
pub fn format_rfc3339_ns(ns: i64) -> String {
    format!("{}.{:09}Z", whole_seconds(ns), ns.rem_euclid(1_000_000_000))
}

fn whole_seconds(ns: i64) -> String {
    let seconds = ns.div_euclid(1_000_000_000);
    let (year, month, day) = date_of(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}")
}

/// Reads a moment at the start of `text`: RFC 3339, or Go's `2026-08-01 10:00:00.5 +0000 UTC`. Tells also how many bytes it took.
pub fn parse_prefix(text: &str) -> Option<(Moment, usize)> {
    let bytes = text.as_bytes();
    let year = number(bytes, 0, 4)?;
    byte(bytes, 4, b"-")?;
    let month = number(bytes, 5, 2)?;
    byte(bytes, 7, b"-")?;
    let day = number(bytes, 8, 2)?;
    byte(bytes, 10, b"Tt ")?;
    let hour = number(bytes, 11, 2)?;
    byte(bytes, 13, b":")?;
    let minute = number(bytes, 14, 2)?;
    byte(bytes, 16, b":")?;
    let second = number(bytes, 17, 2)?;
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !valid {
        return None;
    }
    let mut at = 19;
    let mut nanos: u32 = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let mut scale = 100_000_000;
        while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
            nanos += u32::from(digit - b'0') * scale;
            scale /= 10;
            at += 1;
        }
    }
    let local = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let gap = if bytes.get(at) == Some(&b' ') { 1 } else { 0 };
    let offset = match bytes.get(at + gap)? {
        b'Z' | b'z' if gap == 0 => {
            at += 1;
            0
        }
        sign @ (b'+' | b'-') => {
            at += gap;
            let hours = number(bytes, at + 1, 2)?;
            let colon = usize::from(bytes.get(at + 3) == Some(&b':'));
            let minutes = number(bytes, at + 3 + colon, 2)?;
            at += 5 + colon;
            let offset = hours * 3600 + minutes * 60;
            if *sign == b'+' { offset } else { -offset }
        }
        _ => return None,
    };
    Some((Moment { seconds: local - offset, nanos }, at))
}

/// HTTP's preferred date, `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate), as seconds since 1970.
pub fn parse_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let bytes = text.as_bytes();
    if bytes.len() != 29 || bytes.get(3..5)? != b", " || bytes.get(25..)? != b" GMT" {
        return None;
    }
    let day = number(bytes, 5, 2)?;
    byte(bytes, 7, b" ")?;
    let name = text.get(8..11)?;
    let month = i64::try_from(MONTHS.iter().position(|m| *m == name)?).ok()? + 1;
    byte(bytes, 11, b" ")?;
    let year = number(bytes, 12, 4)?;
    byte(bytes, 16, b" ")?;
    let hour = number(bytes, 17, 2)?;
    byte(bytes, 19, b":")?;
    let minute = number(bytes, 20, 2)?;
    byte(bytes, 22, b":")?;
    let second = number(bytes, 23, 2)?;
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<i64> {
    let mut value = 0;
    for b in bytes.get(at..at + len)? {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(b - b'0');
    }
    Some(value)
}

fn byte(bytes: &[u8], at: usize, any_of: &[u8]) -> Option<()> {
    any_of.contains(bytes.get(at)?).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        let at = |text| parse_prefix(text).map(|(m, n)| (m.seconds, m.nanos, n));
        assert_eq!(at("1970-01-01T00:00:00Z"), Some((0, 0, 20)));
        assert_eq!(at("2000-03-01T00:00:00Z'"), Some((951_868_800, 0, 20)));
        assert_eq!(at("1970-01-01T02:00:00.5+02:00"), Some((0, 500_000_000, 27)));
        assert_eq!(at("2009-11-10 23:00:00.000000001 +0000 UTC ignored"), Some((1_257_894_000, 1, 35)));
        for bad in [
            "",
            "2000",
            "2000-13-01T00:00:00Z",
            "2000-01-01T00:00:00",
            "2000-01-01T00:00:00 Z",
            "2000-01-01Tab:00:00Z",
            "ä000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_prefix(bad), None, "{bad}");
        }
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for bad in
            ["", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Non 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"]
        {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(ms in -60_000_000_000_000i64..253_000_000_000_000) {
            let clamped = ms.clamp(-9_000_000_000_000, 9_000_000_000_000);
            let text = format_rfc3339_ms(clamped * 1_000_000);
            prop_assert_eq!(parse_prefix(&text).and_then(|(m, _)| m.as_ns()), Some(clamped * 1_000_000));
            let exact = clamped * 1_000_000 + ms.rem_euclid(1_000_000);
            prop_assert_eq!(parse_prefix(&format_rfc3339_ns(exact)).and_then(|(m, _)| m.as_ns()), Some(exact));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}|[0-9TZ:. +-]{0,40}") {
            let _ = parse_prefix(&text);
            let _ = parse_http_date(&text);
        }
    }
}
