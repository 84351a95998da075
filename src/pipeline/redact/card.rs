//! Numbers of payment cards: 13 to 19 digits, at once or in the groups in which they are printed, of a known issuer, with a right check digit.
//!
//! Promises: a line without 13 digits in a row (separators apart) costs one look at each 13th byte. Leaves to others: marks.

use super::Kind;
use std::ops::Range;

/// Fewest digits.
const MIN: usize = 13;
/// Most digits.
const MAX: usize = 19;

/// Reports card numbers.
pub fn find(line: &str, report: &mut impl FnMut(Kind, Range<usize>)) {
    let bytes = line.as_bytes();
    let mut at = MIN - 1;
    // A card has at least 13 bytes without a gap, so that each 13th byte of the line hits it.
    while let Some(byte) = bytes.get(at) {
        if !is_part(*byte) {
            at += MIN;
            continue;
        }
        let start = bytes.iter().take(at).rposition(|b| !is_part(*b)).map_or(0, |before| before + 1);
        let end = bytes.iter().skip(at).position(|b| !is_part(*b)).map_or(bytes.len(), |len| at + len);
        if end - start >= MIN {
            run(bytes, start..end, report);
        }
        at = end + MIN;
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || is_separator(byte)
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'_')
}

/// Looks for cards in a run of digits and separators. They can begin only where a group of digits begins.
fn run(bytes: &[u8], run: Range<usize>, report: &mut impl FnMut(Kind, Range<usize>)) {
    let mut at = run.start;
    while at < run.end {
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        if !digit(at) {
            at += 1;
            continue;
        }
        match card(bytes, at, run.end) {
            Some(end) => {
                report(Kind::Card, at..end);
                at = end;
            }
            None => {
                while at < run.end && digit(at) {
                    at += 1;
                }
            }
        }
    }
}

/// The end of the card that begins at `start`.
fn card(bytes: &[u8], start: usize, limit: usize) -> Option<usize> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
    let group =
        |from: usize| bytes.get(from..limit).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let first = group(start);
    // Behind a letter or a decimal point it is a part of something else.
    let before = start.checked_sub(1).map_or(b' ', byte);
    if before.is_ascii_alphabetic()
        || (before == b'.' && start.checked_sub(2).is_some_and(|at| byte(at).is_ascii_digit()))
    {
        return None;
    }
    let mut digits = [0u8; MAX];
    let mut count = 0;
    let mut push = |from: usize, len: usize| {
        for at in from..from + len {
            if let Some(slot) = digits.get_mut(count) {
                *slot = byte(at) - b'0';
            }
            count += 1;
        }
    };
    let end = if first >= MIN {
        push(start, first);
        start + first
    } else {
        // 4-4-4-4, 4-4-4-4-3, 4-4-4-1, 4-6-5 and 4-6-4, with the same separator between all.
        let separator = byte(start + first);
        if first != 4 || !is_separator(separator) {
            return None;
        }
        // In a UUID or another chain of groups, a card's groups are some among others.
        let is_chained = |at: Option<usize>| separator == b'-' || at.is_some_and(|at| byte(at).is_ascii_digit());
        if separator != b' ' && before == separator && is_chained(start.checked_sub(2)) {
            return None;
        }
        push(start, 4);
        let mut end = start + 4;
        let second = group(end + 1);
        let mut sizes: &[Range<usize>] = match second {
            4 => &[4..5, 4..5, 1..5],
            6 => &[6..7, 4..6],
            _ => return None,
        };
        while let Some((wanted, rest)) = sizes.split_first() {
            let len = group(end + 1);
            if byte(end) != separator || !wanted.contains(&len) {
                return None;
            }
            push(end + 1, len);
            end += 1 + len;
            sizes = rest;
        }
        let extra = group(end + 1);
        if second == 4 && byte(end) == separator && extra == 3 {
            push(end + 1, 3);
            end += 4;
        }
        if separator != b' ' && byte(end) == separator && is_chained(Some(end + 1)) {
            return None;
        }
        end
    };
    let after = byte(end);
    if after.is_ascii_alphabetic() || (after == b'.' && byte(end + 1).is_ascii_digit()) {
        return None;
    }
    let digits = digits.get(..count).filter(|digits| digits.len() >= MIN)?;
    (is_issued(digits) && is_checked(digits)).then_some(end)
}

/// Whether an issuer has numbers that begin so and are so long.
fn is_issued(digits: &[u8]) -> bool {
    let head = |len: usize| digits.iter().take(len).fold(0u32, |value, digit| value * 10 + u32::from(*digit));
    let len = digits.len();
    match head(4) {
        // Visa.
        4000..=4999 => matches!(len, 13 | 16 | 19),
        // American Express.
        3400..=3499 | 3700..=3799 => len == 15,
        // Mastercard.
        5100..=5599 | 2221..=2720 => len == 16,
        // Mir.
        2200..=2204 => (16..=19).contains(&len),
        // Diners Club.
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => matches!(len, 14 | 16 | 19),
        // JCB.
        3528..=3589 => (16..=19).contains(&len),
        // Maestro.
        5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 => true,
        // Discover and UnionPay.
        6011 | 6200..=6299 | 6440..=6599 | 8100..=8171 => (16..=19).contains(&len),
        _ => false,
    }
}

/// Luhn's check digit.
fn is_checked(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let value = u32::from(*digit) << (i % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| digits.first() != Some(digit))
}
