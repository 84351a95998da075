//! Numbers as Go writes and reads them, which is what Prometheus' text formats are defined by.
//!
//! Promises: what [`write`] wrote [`parse`] reads as the same number, and the text is that of Go's shortest form (`strconv`, format `g`), to the
//! byte. Nothing is allocated but room in the caller's buffer. Leaves to others: timestamps, and which bits a NaN has.

use std::io::Write as _;

/// The largest integer below which every integer is a number of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Exponents from here on are written as such, and those below [`EXPONENT_MIN`].
const EXPONENT_MAX: i32 = 6;
/// See [`EXPONENT_MAX`].
const EXPONENT_MIN: i32 = -4;
/// Digits of the longest shortest form (17), sign, point, `e`, sign and three digits; and more.
const NUMBER_BYTES: usize = 32;

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not the form of one. Hexadecimal numbers and underscores, which Go knows, are none in Prometheus.
    #[error("is no number")]
    Form,
    /// Too large for 64 bits.
    #[error("is too large for a number")]
    Range,
}

/// Reads a number: decimal, with or without point and exponent, or `Inf`, `Infinity` and `NaN` in any case. A NaN has Go's usual bits.
pub fn parse(text: &[u8]) -> Result<f64, NumberError> {
    if let Some(value) = small(text) {
        return Ok(value);
    }
    let value: f64 = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NumberError::Form)?;
    if value.is_finite() {
        return Ok(value);
    }
    let sign = matches!(text.first(), Some(b'+' | b'-'));
    let spelled = text.get(usize::from(sign)).is_some_and(u8::is_ascii_alphabetic);
    match (value.is_nan(), spelled) {
        // Go takes no sign before NaN.
        (true, _) if sign => Err(NumberError::Form),
        (false, false) => Err(NumberError::Range),
        _ => Ok(value),
    }
}

/// The commonest numbers: digits, perhaps with a point between them, that are exact without further thought.
fn small(text: &[u8]) -> Option<f64> {
    /// Powers of ten that a number of 53 bits may be divided by without being rounded twice.
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    // Fifteen digits are always below 2^53.
    if text.len() > 16 || text.is_empty() {
        return None;
    }
    let (mut value, mut point) = (0_u64, None);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let digits = text.len() - usize::from(point.is_some());
    if digits == 0 || digits > 15 {
        return None;
    }
    let after = point.map_or(0, |at| text.len() - at - 1);
    POWERS.get(after).map(|power| value as f64 / power)
}

/// Appends a number in its shortest form: `5`, `0.25`, `1e+06`, `NaN`, `+Inf`.
pub fn write(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        let text: &[u8] = match value {
            _ if value.is_nan() => b"NaN",
            _ if value > 0.0 => b"+Inf",
            _ => b"-Inf",
        };
        return out.extend_from_slice(text);
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    let mut room = [0; NUMBER_BYTES];
    let (digits, exponent) = if value < EXACT && value.fract() == 0.0 {
        integer(value as u64, &mut room)
    } else {
        shortest(value, &mut room)
    };
    place(digits, exponent, out);
}

/// Appends an integer.
pub fn write_integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut room = [0; NUMBER_BYTES];
    let start = put(value.unsigned_abs(), &mut room);
    out.extend_from_slice(room.get(start..).unwrap_or_default());
}

/// Puts an integer at the end of the room; tells where it begins.
fn put(mut value: u64, room: &mut [u8; NUMBER_BYTES]) -> usize {
    let mut start = NUMBER_BYTES;
    for place in room.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        start -= 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    start
}

/// The digits of an integer without the zeros at its end, and the exponent of the first.
fn integer(value: u64, room: &mut [u8; NUMBER_BYTES]) -> (&[u8], i32) {
    let start = put(value, room);
    let digits = room.get(start..).unwrap_or_default();
    let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
    (digits.get(..=last).unwrap_or_default(), digits.len() as i32 - 1)
}

/// The fewest digits that are read as this number, and the exponent of the first. Rust's `{:e}` has them: `1.25e-7`.
fn shortest(value: f64, room: &mut [u8; NUMBER_BYTES]) -> (&[u8], i32) {
    let mut rest = &mut room[..];
    // It fits: see NUMBER_BYTES.
    let _ = write!(rest, "{value:e}");
    let len = NUMBER_BYTES - rest.len();
    let at = room.iter().take(len).position(|byte| *byte == b'e').unwrap_or(len);
    let (down, from) = if room.get(at + 1) == Some(&b'-') { (true, at + 2) } else { (false, at + 1) };
    let text = room.get(from..len).unwrap_or_default();
    let exponent = text.iter().fold(0_i32, |sum, digit| sum * 10 + i32::from(digit.wrapping_sub(b'0')));
    // The point goes: all digits in one piece.
    let digits = if at > 1 {
        room.copy_within(2..at, 1);
        at - 1
    } else {
        at
    };
    (room.get(..digits).unwrap_or_default(), if down { -exponent } else { exponent })
}

/// Puts point and exponent to the digits.
fn place(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let (first, rest) = digits.split_at(digits.len().min(1));
    if !(EXPONENT_MIN..EXPONENT_MAX).contains(&exponent) {
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        // Writing to a Vec cannot fail.
        let _ = write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        let (before, after) = digits.split_at(digits.len().min(whole));
        out.extend_from_slice(before);
        out.extend(std::iter::repeat_n(b'0', whole - before.len()));
        if !after.is_empty() {
            out.push(b'.');
            out.extend_from_slice(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What Go's `strconv.FormatFloat(value, 'g', -1, 64)` gives.
    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let cases: [(f64, &str); 33] = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (0.5, "0.5"),
            (100.0, "100"),
            (12.25, "12.25"),
            (100_000.0, "100000"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_000_001.0, "1.000001e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (123_456.789, "123456.789"),
            (1_234_567.5, "1.2345675e+06"),
            (1.785571200123e9, "1.785571200123e+09"),
            (8_238_989_312.0, "8.238989312e+09"),
            (1e15, "1e+15"),
            (9_007_199_254_740_991.0, "9.007199254740991e+15"),
            (9_007_199_254_740_992.0, "9.007199254740992e+15"),
            (1.8446744073709552e19, "1.8446744073709552e+19"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (1e22, "1e+22"),
            (1e100, "1e+100"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00012345, "0.00012345"),
            (0.00001, "1e-05"),
            (0.0000123, "1.23e-05"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(written(value), text);
        }
        assert_eq!(written(f64::NAN), "NaN");
    }

    #[test]
    fn numbers_are_read_as_prometheus_reads_them() {
        let good: [(&str, f64); 22] = [
            ("0", 0.0),
            ("-0", -0.0),
            ("+1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("00012", 12.0),
            ("123456789012345", 123_456_789_012_345.0),
            ("0.12345678901234", 0.12345678901234),
            ("1.23456789012345", 1.23456789012345),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("1e3", 1e3),
            ("1E+3", 1e3),
            ("1.5e-3", 1.5e-3),
            ("2.2250738585072011e-308", 2.225073858507201e-308),
            ("1e-999", 0.0),
            ("+Inf", f64::INFINITY),
            ("-Inf", f64::NEG_INFINITY),
            ("inf", f64::INFINITY),
            ("Infinity", f64::INFINITY),
            ("-infINITY", f64::NEG_INFINITY),
            ("1.7976931348623157e308", f64::MAX),
            (
                "179769313486231570000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
                1.7976931348623157e104,
            ),
        ];
        for (text, value) in good {
            assert_eq!(parse(text.as_bytes()).map(f64::to_bits), Ok(value.to_bits()), "{text}");
        }
        for text in ["NaN", "nan", "NAN"] {
            assert!(parse(text.as_bytes()).unwrap().is_nan());
        }
        let bad = [
            "",
            ".",
            "-",
            "+",
            "e5",
            "1e",
            "1e+",
            "1..2",
            "1.2.3",
            "--1",
            "+-1",
            " 1",
            "1 ",
            "1,5",
            "0x1",
            "0x1p-2",
            "1_000",
            "0b1",
            "1p3",
            "-NaN",
            "+nan",
            "infi",
            "infinit",
            "infinity1",
            "nano",
            "\u{661}",
            "1e5.5",
            "1f",
        ];
        for text in bad {
            assert_eq!(parse(text.as_bytes()), Err(NumberError::Form), "{text}");
        }
        for text in ["1e309", "-1e999", "1.7976931348623159e308"] {
            assert_eq!(parse(text.as_bytes()), Err(NumberError::Range), "{text}");
        }
        assert_eq!(parse(b"\xff"), Err(NumberError::Form));
    }

    #[test]
    fn integers_are_written_whole() {
        for value in [0, -1, 7, 1_785_571_200_123, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_integer(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bits: u64) {
            let value = f64::from_bits(bits);
            let read = parse(written(value).as_bytes()).unwrap();
            prop_assert!(read.to_bits() == bits || value.is_nan() && read.is_nan());
        }

        /// Of the same digits as Rust's own shortest form.
        #[test]
        fn integers_and_fractions_have_no_digit_too_many(whole in 0_u64..1 << 54, divisor in 1_u32..10_000) {
            for value in [whole as f64, whole as f64 / f64::from(divisor)] {
                let digits = |text: String| -> String {
                    let mantissa = text.split('e').next().unwrap_or("").replace('.', "");
                    mantissa.trim_matches('0').to_owned()
                };
                prop_assert_eq!(digits(written(value)), digits(format!("{value:e}")));
            }
        }

        #[test]
        fn short_numbers_are_read_exactly(whole in 0_u64..100_000_000, part in "[0-9]{0,8}") {
            let text = format!("{whole}.{part}");
            prop_assert_eq!(parse(text.as_bytes()).unwrap().to_bits(), text.parse::<f64>().unwrap().to_bits());
        }

        #[test]
        fn no_text_panics(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
