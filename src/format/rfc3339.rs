//! RFC 3339 times (`2026-08-01T10:00:00.123456789+02:00`), read by hand: container runtimes write one a line.
//!
//! Promises: exact; only the whole text counts; each field is checked against its range and the length of the month; no panic. Of more than
//! nine digits of a second the rest is cut off. A leap second (`:60`) is refused, as Go does. Leaves to others: any other layout
//! (`civil` for those of endpoints), and what to do without a time.

use super::civil::days_of;

const MONTH_DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Nanoseconds since 1970 of an RFC 3339 time. `None` if it is not one, or outside of what 64 bits hold (years 1677 to 2262).
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_first_chunk::<19>()?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't', h0, h1, b':', n0, n1, b':', s0, s1] = *date else {
        return None;
    };
    let year = pair(y0, y1)? * 100 + pair(y2, y3)?;
    let (month, day) = (pair(m0, m1)?, pair(d0, d1)?);
    let (hour, minute, second) = (pair(h0, h1)?, pair(n0, n1)?, pair(s0, s1)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = *MONTH_DAYS.get(usize::try_from(month).ok()?.checked_sub(1)?)? + u32::from(month == 2 && leap);
    if day == 0 || day > days || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let offset = match *zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (pair(h0, h1)?, pair(m0, m1)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = i64::from(hours * 3600 + minutes * 60);
            if sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds = days_of(year.into(), month.into(), day.into()) * 86_400
        + i64::from(hour * 3600 + minute * 60 + second)
        - offset;
    // Not by parts: in 1677 the seconds alone are too many, and the fraction brings them back.
    i64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(nanos)).ok()
}

/// The fraction of a second, nanoseconds, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let Some(digits) = bytes.strip_prefix(b".") else { return Some((0, bytes)) };
    let (mut nanos, mut scale, mut rest) = (0, 100_000_000, digits);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        nanos += u32::from(digit - b'0') * scale;
        scale /= 10;
        rest = after;
    }
    (rest.len() < digits.len()).then_some((nanos, rest))
}

/// Two digits.
fn pair(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::civil::{format_rfc3339_ns, parse_prefix};
    use proptest::prelude::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("2019-04-30T02:12:41.8443515Z", 1_556_590_361_844_351_500),
            ("2019-05-07T18:57:50.904275087+00:00", 1_557_255_470_904_275_087),
            ("2019-05-07T18:57:50.904275087999+02:00", 1_557_248_270_904_275_087),
            ("2019-05-07t18:57:50-00:30z", 0),
            ("1969-12-31T23:59:59.5Z", -500_000_000),
            ("2024-02-29T00:00:00z", 1_709_164_800_000_000_000),
            ("2262-04-11T23:47:16.854775807Z", i64::MAX),
            ("1677-09-21T00:12:43.145224192Z", i64::MIN),
        ] {
            let want = if text.ends_with("30z") { None } else { Some(want) };
            assert_eq!(parse(text), want, "{text}");
        }
        for bad in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-04-31T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00+01:60",
            "2024-01-01T00:00:00ZZ",
            "2024-01-01T00:00:00Z ",
            "+024-01-01T00:00:00Z",
            "2262-04-11T23:47:16.854775808Z",
            "1677-09-21T00:12:43.145224191Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2024-1-01T00:00:00Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_is_written(ns in any::<i64>()) {
            prop_assert_eq!(parse(&format_rfc3339_ns(ns)), Some(ns));
        }

        #[test]
        fn agrees_with_the_other_reader(text in "20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])") {
            prop_assert_eq!(parse(&text), parse_prefix(&text).and_then(|(moment, _)| moment.as_ns()));
        }

        #[test]
        fn never_panics(text in "[0-9:TZ+.ä-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
