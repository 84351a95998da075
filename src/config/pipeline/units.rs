//! Durations and sizes in stages, as Promtail reads them.
//!
//! Durations are Go's (`1.5h`, `500ms`) and, beyond them, days and weeks, as everywhere in a configuration. Sizes are those of Promtail, whose
//! `8kb` are 8192 bytes: all of its units are powers of 1024, in capitals or not.
//!
//! Promises: no float, no silent overflow. Leaves to others: ranges.

use crate::base::units::{UnitError, parse_duration};
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::time::Duration;

/// A duration such as `1.5h`.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct GoTime(pub(in crate::config) Duration);

impl<'de> Deserialize<'de> for GoTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        go_duration(&text).map(GoTime).map_err(de::Error::custom)
    }
}

/// A number of bytes such as `8kb`.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct GoSize(pub(in crate::config) u64);

impl<'de> Deserialize<'de> for GoSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        go_size(&text).map(GoSize).map_err(de::Error::custom)
    }
}

/// A duration whose numbers may have a fraction.
pub(in crate::config) fn go_duration(text: &str) -> Result<Duration, UnitError> {
    let fail = || UnitError::Duration(text.to_owned());
    let trimmed = text.trim().trim_start_matches('+');
    if !trimmed.contains(['.', 'µ', 'μ']) {
        return parse_duration(trimmed).map_err(|_| fail());
    }
    let mut total = Duration::ZERO;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_len);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, tail) = after.split_at(unit_len);
        let unit = if matches!(unit, "µs" | "μs") { "us" } else { unit };
        let one = parse_duration(&format!("1{unit}")).map_err(|_| fail())?.as_nanos();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(fail());
        }
        // A finer part than a nanosecond of the largest unit is not looked at.
        let fraction = fraction.get(..15).unwrap_or(fraction);
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| fail())? };
        let mut part = whole.checked_mul(one).ok_or_else(fail)?;
        if !fraction.is_empty() {
            let digits = u32::try_from(fraction.len()).map_err(|_| fail())?;
            let scale = 10u128.checked_pow(digits).ok_or_else(fail)?;
            let numerator: u128 = fraction.parse().map_err(|_| fail())?;
            part = numerator.checked_mul(one).and_then(|n| part.checked_add(n / scale)).ok_or_else(fail)?;
        }
        let part = Duration::from_nanos(u64::try_from(part).map_err(|_| fail())?);
        total = total.checked_add(part).ok_or_else(fail)?;
        rest = tail;
    }
    Ok(total)
}

/// A size, whose units are powers of 1024 whatever they are called.
pub(in crate::config) fn go_size(text: &str) -> Result<u64, UnitError> {
    let fail = || UnitError::Size(text.to_owned());
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let shift = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(fail()),
    };
    let number: u64 = number.parse().map_err(|_| fail())?;
    number.checked_mul(1 << shift).ok_or_else(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go_and_days() {
        for (text, ms) in [
            ("3s", 3000),
            ("0.5s", 500),
            ("1.5h", 5_400_000),
            ("1h1.5m", 3_690_000),
            (".5m", 30_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(go_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(go_duration("1.000001s"), Ok(Duration::from_nanos(1_000_001_000)));
        assert_eq!(go_duration("2µs"), Ok(Duration::from_micros(2)));
        for bad in ["", ".", "5", "1.5", "1..5s", ".s", "-1s", "1.5y", "99999999999999999999.5s", "1.5 s"] {
            assert!(go_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("8kb", 8192), ("8 KB", 8192), ("1KiB", 1024), ("3", 3), ("2MB", 2 << 20), ("1k", 1024)] {
            assert_eq!(go_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "kb", "-1", "1.5kb", "1xb", "99999999999tb"] {
            assert!(go_size(bad).is_err(), "{bad}");
        }
    }
}
