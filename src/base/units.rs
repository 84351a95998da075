//! Durations and sizes as people write them: `500ms`, `15s`, `5m`, `12h`, `7d`; `64KiB`, `1GiB`, `4MB`.
//!
//! Promises: what [`format_duration`] and [`format_size`] print, the parsers read back. No floats, no silent overflow.

use std::time::Duration;

/// Why a quantity was not understood; its text tells what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("expected a duration such as 500ms, 15s, 5m, 12h or 7d, found {0:?}")]
    Duration(String),
    /// Not a size.
    #[error("expected a size such as 256KiB, 64MiB or 1GiB, found {0:?}")]
    Size(String),
}

/// `1h30m` style sums of `ns us ms s m h d w`; a bare `0` is no time at all.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
        ("w", 604_800_000_000_000),
    ];
    let fail = || UnitError::Duration(text.to_owned());
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(fail());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(fail)?;
        let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, tail) = after.split_at(unit_len);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fail)?.1;
        total = number.checked_mul(factor).and_then(|part| total.checked_add(part)).ok_or_else(fail)?;
        rest = tail;
    }
    Ok(Duration::from_nanos(total))
}

/// A number of bytes: plain, or with `B KB MB GB TB` (powers of 1000) or `KiB MiB GiB TiB` (powers of 1024).
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let fail = || UnitError::Size(text.to_owned());
    let (number, unit) = split_number(text.trim()).ok_or_else(fail)?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(fail()),
    };
    number.checked_mul(factor).ok_or_else(fail)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

/// The shortest exact form in one unit: `1500ms`, `90s`, `2m`.
pub fn format_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    for (unit, size) in [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ] {
        if ns >= size && ns.is_multiple_of(size) {
            return format!("{}{unit}", ns / size);
        }
    }
    if ns == 0 { "0".to_owned() } else { format!("{ns}ns") }
}

/// The shortest exact form in one binary unit: `64MiB`, `1536KiB`, `1000B`.
pub fn format_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        let size = 1u64 << shift;
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "s", "5 s", "-1s", "1.5s", "5y", "99999999999999999999s", "400000000w"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("4MB"), Ok(4_000_000));
        assert_eq!(parse_size("512"), Ok(512));
        for bad in ["", "MiB", "1.5GiB", "-1", "64mib", "99999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(ns in 0u64..u64::MAX, bytes: u64) {
            let duration = Duration::from_nanos(ns);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }
}
