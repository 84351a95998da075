//! Lines of the container runtime interface (containerd, CRI-O): `2026-08-01T10:00:00.123456789Z stdout F text`.
//!
//! Promises: takes what Promtail's `cri` stage takes, borrowed from the line, without allocating. Leaves to others: joining the parts of a
//! line that the runtime divided.

use crate::format::rfc3339;
use crate::model::value::Value;

/// A line, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The time as written.
    pub time: Value,
    /// The time, nanoseconds since 1970. `None` if it is not RFC 3339 or out of range.
    pub time_ns: Option<i64>,
    /// `stdout` or `stderr`.
    pub stream: Value,
    /// The tags as written, mostly `F` or `P`.
    pub flags: Value,
    /// Whether the first tag is `P`: the next line continues this one. Promtail wants it to be the only tag; the format allows further
    /// ones behind colons.
    pub partial: bool,
    /// What the container wrote.
    pub text: Value,
}

/// That a line is not of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a CRI line: expected `time stdout|stderr F|P text`")]
pub struct Malformed;

/// Takes a line apart.
///
/// ```
/// use lugger::format::cri;
/// let line = "2026-08-01T10:00:00Z stdout F hello";
/// let found = cri::parse(line).unwrap();
/// assert_eq!((found.text.of(line, ""), found.partial), ("hello", false));
/// ```
pub fn parse(line: &str) -> Result<Line, Malformed> {
    let time = word(line, 0)?;
    let stream = word(line, time + 1)?;
    let flags = word(line, stream + 1)?;
    if !matches!(line.get(time + 1..stream), Some("stdout" | "stderr")) {
        return Err(Malformed);
    }
    let tags = line.get(stream + 1..flags).unwrap_or_default();
    Ok(Line {
        time: Value::in_line(0..time),
        time_ns: line.get(..time).and_then(rfc3339::parse),
        stream: Value::in_line(time + 1..stream),
        flags: Value::in_line(stream + 1..flags),
        partial: tags == "P" || tags.starts_with("P:"),
        text: Value::in_line(flags + 1..line.len()),
    })
}

/// Where the word that begins at `start` ends. It is not empty, has no white space, and a blank follows it.
fn word(line: &str, start: usize) -> Result<usize, Malformed> {
    let rest = line.as_bytes().get(start..).ok_or(Malformed)?;
    // Words are short: no use for memchr.
    let len = rest.iter().position(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')).ok_or(Malformed)?;
    if len == 0 || rest.get(len) != Some(&b' ') { Err(Malformed) } else { Ok(start + len) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(line: &str) -> Option<(Option<i64>, &str, &str, bool, &str)> {
        let found = parse(line).ok()?;
        Some((
            found.time_ns,
            found.stream.of(line, ""),
            found.flags.of(line, ""),
            found.partial,
            found.text.of(line, ""),
        ))
    }

    #[test]
    fn lines() {
        let time = "2019-05-07T18:57:50.904275087+00:00";
        let ns = Some(1_557_255_470_904_275_087);
        for (rest, want) in [
            ("stdout F some full line", ("stdout", "F", false, "some full line")),
            ("stderr P part", ("stderr", "P", true, "part")),
            ("stdout P ", ("stdout", "P", true, "")),
            ("stdout F  \tindented ", ("stdout", "F", false, " \tindented ")),
            ("stdout F a\nb ä", ("stdout", "F", false, "a\nb ä")),
            ("stdout P:x part", ("stdout", "P:x", true, "part")),
            ("stdout F:P full", ("stdout", "F:P", false, "full")),
            ("stdout Px full", ("stdout", "Px", false, "full")),
        ] {
            let line = format!("{time} {rest}");
            assert_eq!(parts(&line), Some((ns, want.0, want.1, want.2, want.3)), "{line}");
        }
        assert_eq!(parts("3242 stderr F message"), Some((None, "stderr", "F", false, "message")));
        for bad in [
            "",
            "i'm invalid!!!",
            "t stdout F",
            "t stdout",
            "t stdin F x",
            "t stdout  x",
            " stdout F x",
            "t  stdout F x",
            "t\tu stdout F x",
            "t stdout\tF x",
            "t stdout F\tx",
            "stdout F x y",
        ] {
            assert_eq!(parse(bad), Err(Malformed), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in "([ \ttuPF:ä]|stdout ){0,30}") {
            if let Some((.., text)) = parts(&line) {
                prop_assert!(line.ends_with(text));
            }
        }
    }
}
