//! The text of JSON values: strings unescaped, numbers as Go prints them, objects and arrays as Go writes them.
//!
//! Promises: what stands in the line as it is wanted is borrowed; anything else goes to the end of the scratch buffer. No allocation beyond
//! the growth of buffers that are used again. Leaves to others: finding values; they get only what was scanned and found good.

use super::Malformed;
use super::scan::{Number, Quoted, Scanner};
use crate::model::value::{Kind, Value};
use std::fmt::Write as _;
use std::ops::Range;

/// Buffers for objects that are written with their keys in order. Used again from line to line.
#[derive(Debug, Default)]
pub struct Work {
    members: Vec<Member>,
    keys: String,
}

/// A key and its value, on their way into order.
#[derive(Debug)]
struct Member {
    key: Value,
    at: usize,
}

/// Appends what `raw`, the inside of a quoted string, means. Tells whether all its escapes are known; if not, what was appended means
/// nothing. Half a surrogate pair becomes U+FFFD. `apostrophe`: whether `\'` is an escape, which it is not in JSON.
pub(in crate::format) fn unescape(raw: &str, apostrophe: bool, to: &mut String) -> bool {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (Some(before), Some(kind)) = (rest.get(..at), rest.as_bytes().get(at + 1)) else { return false };
        to.push_str(before);
        let mut len = 2;
        match kind {
            b'"' => to.push('"'),
            b'\\' => to.push('\\'),
            b'/' => to.push('/'),
            b'b' => to.push('\u{8}'),
            b'f' => to.push('\u{c}'),
            b'n' => to.push('\n'),
            b'r' => to.push('\r'),
            b't' => to.push('\t'),
            b'\'' if apostrophe => to.push('\''),
            b'u' => {
                let Some(unit) = unit(rest, at) else { return false };
                len = 6;
                let character = match unit {
                    0xd800..=0xdbff => match unit_low(rest, at + 6) {
                        Some(low) => {
                            len = 12;
                            char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
                        }
                        None => None,
                    },
                    _ => char::from_u32(unit),
                };
                to.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => return false,
        }
        let Some(after) = rest.get(at + len..) else { return false };
        rest = after;
    }
    to.push_str(rest);
    true
}

/// The UTF-16 unit of the `\uXXXX` at byte `at`.
fn unit(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    if digits.bytes().all(|b| b.is_ascii_hexdigit()) { u32::from_str_radix(digits, 16).ok() } else { None }
}

/// The second half of a surrogate pair.
fn unit_low(text: &str, at: usize) -> Option<u32> {
    unit(text, at).filter(|low| (0xdc00..=0xdfff).contains(low))
}

/// The text of a string.
#[inline]
pub(in crate::format) fn string(line: &str, quoted: Quoted, scratch: &mut String) -> Value {
    if !quoted.escaped {
        return Value::in_line(quoted.range);
    }
    let start = scratch.len();
    unescape(line.get(quoted.range).unwrap_or_default(), false, scratch);
    Value::in_scratch(start..scratch.len())
}

/// The text of a number, as Go's `strconv.FormatFloat(f, 'f', -1, 64)` gives it.
pub(in crate::format) fn number(line: &str, number: Number, scratch: &mut String) -> Value {
    if number.plain {
        return Value::in_line(number.range).with_kind(Kind::Number);
    }
    let start = scratch.len();
    // Rust prints the least digits that give the same number, without an exponent: the same text.
    let _ = write!(scratch, "{}", float(line, number.range));
    Value::in_scratch(start..scratch.len()).with_kind(Kind::Number)
}

fn float(line: &str, range: Range<usize>) -> f64 {
    line.get(range).and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// A number as Go's `encoding/json` writes it: with an exponent when it is very small or large.
pub(super) fn write_float(number: f64, to: &mut String) {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let start = to.len();
        let _ = write!(to, "{number:e}");
        // Go writes the sign of a positive exponent.
        if size >= 1.0
            && let Some(at) = to.get(start..).and_then(|text| text.find('e'))
        {
            to.insert(start + at + 1, '+');
        }
    } else {
        let _ = write!(to, "{number}");
    }
}

/// A string as Go's `encoding/json` writes it: in quotes, safe to stand in HTML.
pub fn write_string(text: &str, to: &mut String) {
    to.push('"');
    let mut done = 0;
    for (at, character) in text.char_indices() {
        let short = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => "",
            _ => continue,
        };
        to.push_str(text.get(done..at).unwrap_or_default());
        if short.is_empty() {
            let _ = write!(to, "\\u{:04x}", u32::from(character));
        } else {
            to.push_str(short);
        }
        done = at + character.len_utf8();
    }
    to.push_str(text.get(done..).unwrap_or_default());
    to.push('"');
}

/// The text of an object or array at byte `at`: compact, keys in order, of equal keys the last one.
pub(in crate::format) fn compact(
    line: &str,
    at: usize,
    work: &mut Work,
    scratch: &mut String,
) -> Result<Value, Malformed> {
    work.members.clear();
    work.keys.clear();
    let start = scratch.len();
    write(&mut Scanner::starting(line, at), line, work, scratch)?;
    Ok(Value::in_scratch(start..scratch.len()))
}

/// Writes the value here. It recurses as deep as the value is, which the scan before has bounded.
fn write(scanner: &mut Scanner, line: &str, work: &mut Work, to: &mut String) -> Result<(), Malformed> {
    match scanner.next() {
        b'"' => {
            let quoted = scanner.string()?;
            let raw = line.get(quoted.range).unwrap_or_default();
            if quoted.escaped {
                let start = work.keys.len();
                unescape(raw, false, &mut work.keys);
                write_string(work.keys.get(start..).unwrap_or_default(), to);
                work.keys.truncate(start);
            } else {
                write_string(raw, to);
            }
        }
        b'{' => write_object(scanner, line, work, to)?,
        b'[' => {
            to.push('[');
            let mut more = scanner.open(b']')?;
            while more {
                write(scanner, line, work, to)?;
                more = scanner.another(b']')?;
                if more {
                    to.push(',');
                }
            }
            to.push(']');
        }
        b't' => to.push_str(line.get(scanner.word("true")?).unwrap_or_default()),
        b'f' => to.push_str(line.get(scanner.word("false")?).unwrap_or_default()),
        b'n' => to.push_str(line.get(scanner.word("null")?).unwrap_or_default()),
        _ => {
            let number = scanner.number()?;
            write_float(float(line, number.range), to);
        }
    }
    Ok(())
}

fn write_object(scanner: &mut Scanner, line: &str, work: &mut Work, to: &mut String) -> Result<(), Malformed> {
    let (first, keys) = (work.members.len(), work.keys.len());
    let mut more = scanner.open(b'}')?;
    while more {
        let quoted = scanner.key()?;
        let key = string(line, quoted, &mut work.keys);
        let at = scanner.skip()?.start;
        work.members.push(Member { key, at });
        more = scanner.another(b'}')?;
    }
    let Work { members, keys: texts } = work;
    if let Some(own) = members.get_mut(first..) {
        own.sort_unstable_by(|a, b| a.key.of(line, texts).cmp(b.key.of(line, texts)).then(a.at.cmp(&b.at)));
    }
    to.push('{');
    let end = work.members.len();
    let mut written = false;
    for index in first..end {
        let Some((key, at)) = work.members.get(index).map(|member| (member.key, member.at)) else { break };
        let text = key.of(line, &work.keys);
        if work.members.get(index + 1).is_some_and(|next| next.key.of(line, &work.keys) == text) {
            continue;
        }
        if written {
            to.push(',');
        }
        written = true;
        write_string(text, to);
        to.push(':');
        write(&mut Scanner::starting(line, at), line, work, to)?;
    }
    to.push('}');
    work.members.truncate(first);
    work.keys.truncate(keys);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(line: &str) -> String {
        let mut scratch = String::from("before");
        let value = compact(line, 0, &mut Work::default(), &mut scratch).unwrap();
        value.of(line, &scratch).to_owned()
    }

    #[test]
    fn escapes() {
        let text = |raw: &str| {
            let mut to = String::new();
            unescape(raw, false, &mut to).then_some(to)
        };
        assert_eq!(text(r#"a\"b\\c\/\b\f\n\r\td"#).unwrap(), "a\"b\\c/\u{8}\u{c}\n\r\td");
        assert_eq!(
            text(r"\u00e4\ud83d\ude00|\ud83d|\ude00|\ud83dx\ud83d\n").unwrap(),
            "ä😀|\u{fffd}|\u{fffd}|\u{fffd}x\u{fffd}\n"
        );
        for bad in [r"\", r"\x", r"\u12", r"\u12ü", r"\u+123", r"\'"] {
            assert_eq!(text(bad), None, "{bad}");
        }
        let mut to = String::new();
        assert!(unescape(r"it\'s", true, &mut to));
        assert_eq!(to, "it's");
    }

    #[test]
    fn numbers_as_go_prints_them() {
        let text = |line: &str| {
            let mut scratch = String::new();
            let found = Scanner::new(line).number().unwrap();
            number(line, found, &mut scratch).of(line, &scratch).to_owned()
        };
        for (line, want) in [
            ("0", "0"),
            ("-0", "-0"),
            ("-0.0", "-0"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("1e6", "1000000"),
            ("1.5E-7", "0.00000015"),
            ("12345678901234567890", "12345678901234567000"),
            ("9007199254740993", "9007199254740992"),
            ("1e21", "1000000000000000000000"),
            ("0.1", "0.1"),
            ("123456789012345", "123456789012345"),
            ("5e-324", &format!("0.{}5", "0".repeat(323))),
        ] {
            assert_eq!(text(line), want, "{line}");
        }
    }

    #[test]
    fn objects_and_arrays_as_go_writes_them() {
        for (line, want) in [
            ("[ ]", "[]"),
            ("{ }", "{}"),
            ("[1, 2.50 ,true,false,null,\"x\"]", "[1,2.5,true,false,null,\"x\"]"),
            (r#"{"b":1,"a":{"d":[{}],"c":2}}"#, r#"{"a":{"c":2,"d":[{}]},"b":1}"#),
            (r#"{"a":1,"b":2,"a":3,"\u0061":4}"#, r#"{"a":4,"b":2}"#),
            (r#"["<a&b>","\u2028\u0001\n\"\\/é"]"#, r#"["\u003ca\u0026b\u003e","\u2028\u0001\n\"\\/é"]"#),
            (r#"[1e21,1e20,1e-7,0.000001,-1.5e300,0]"#, r#"[1e+21,100000000000000000000,1e-7,0.000001,-1.5e+300,0]"#),
            (r#"{"\n":{"x\t":1,"a\n":2},"\t":"é\u00e9"}"#, r#"{"\t":"éé","\n":{"a\n":2,"x\t":1}}"#),
        ] {
            assert_eq!(rewritten(line), want, "{line}");
        }
    }

    proptest! {
        #[test]
        fn rewriting_keeps_the_meaning(value in super::super::oracle::json(), pretty in any::<bool>()) {
            let line = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let text = rewritten(&line);
            prop_assert!(super::super::oracle::same(&serde_json::from_str(&text).unwrap(), &value), "{} for {}", text, value);
            prop_assert_eq!(rewritten(&text), text);
        }
    }
}
