//! What a default Loki accepts: the label syntax, its limits, and the words in which it refuses.
//!
//! Promises: [`parse_labels`] takes exactly the canonical form (sorted, quoted as Go quotes, `", "` between pairs).

/// Lines longer than this are refused, bytes.
pub const LINE_BYTES: usize = 256 * 1024;
/// Labels of a stream.
pub const LABELS: usize = 15;
/// Length of a label name, bytes.
pub const NAME_BYTES: usize = 1024;
/// Length of a label value, bytes.
pub const VALUE_BYTES: usize = 2048;
/// Structured metadata of an entry, bytes.
pub const METADATA_BYTES: usize = 64 * 1024;
/// Structured metadata of an entry, pairs.
pub const METADATA_PAIRS: usize = 128;
/// gRPC's limit of a message inside Loki, bytes.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Entries older than this are refused, nanoseconds.
pub const TOO_OLD_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// Entries further ahead than this are refused, nanoseconds.
pub const TOO_NEW_NS: i64 = 600 * 1_000_000_000;
/// Entries further behind their stream's newest than this are refused, nanoseconds.
pub const BEHIND_NS: i64 = 3600 * 1_000_000_000;
/// Label names that are Loki's own.
pub const RESERVED: [&str; 5] =
    ["__stream_shard__", "__time_shard__", "__aggregated_metric__", "__pattern__", "__backfill__"];

/// Parses `{a="b", c="d"}`.
pub fn parse_labels(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut rest = text.strip_prefix('{').ok_or("no opening brace")?;
    let mut pairs: Vec<(String, String)> = Vec::new();
    if rest == "}" {
        return Err("no label".into());
    }
    loop {
        let name_end = rest.find('=').ok_or("no = after a name")?;
        let name = &rest[..name_end];
        let mut bytes = name.bytes();
        let first = bytes.next().ok_or("an empty name")?;
        if !(first.is_ascii_alphabetic() || first == b'_') || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("name {name:?} is not valid"));
        }
        let (value, after) = unquote(&rest[name_end + 1..])?;
        if pairs.last().is_some_and(|(last, _)| last.as_str() >= name) {
            return Err(format!("name {name:?} is not in order or is there twice"));
        }
        pairs.push((name.to_owned(), value));
        if let Some(more) = after.strip_prefix(", ") {
            rest = more;
        } else if after == "}" {
            return Ok(pairs);
        } else {
            return Err(format!("unexpected {after:?}"));
        }
    }
}

/// Takes a Go-quoted string off the front.
fn unquote(text: &str) -> Result<(String, &str), String> {
    let body = text.strip_prefix('"').ok_or("a value without quotes")?;
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &body[at + 1..])),
            '\\' => {
                let (_, escape) = chars.next().ok_or("a value that ends in a backslash")?;
                match escape {
                    '"' => value.push('"'),
                    '\\' => value.push('\\'),
                    'n' => value.push('\n'),
                    't' => value.push('\t'),
                    'r' => value.push('\r'),
                    'a' => value.push('\u{7}'),
                    'b' => value.push('\u{8}'),
                    'f' => value.push('\u{c}'),
                    'v' => value.push('\u{b}'),
                    'x' => value.push(code(&mut chars, 2)?),
                    'u' => value.push(code(&mut chars, 4)?),
                    'U' => value.push(code(&mut chars, 8)?),
                    other => return Err(format!("escape \\{other} does not exist")),
                }
            }
            c if (c as u32) < 0x20 || c == '\u{7f}' => return Err(format!("character {c:?} is not escaped")),
            c => value.push(c),
        }
    }
    Err("a value without its closing quote".into())
}

fn code(chars: &mut std::str::CharIndices<'_>, digits: usize) -> Result<char, String> {
    let mut number = 0;
    for _ in 0..digits {
        let digit = chars.next().and_then(|(_, c)| c.to_digit(16)).ok_or("an escape without its digits")?;
        number = number * 16 + digit;
    }
    char::from_u32(number).ok_or_else(|| format!("escape {number:x} is no character"))
}

/// What is wrong with a stream's labels beyond their syntax, in Loki's words; `None`: nothing.
pub fn refuse_labels(text: &str, pairs: &[(String, String)]) -> Option<String> {
    if pairs.len() > LABELS {
        return Some(format!("entry for stream '{text}' has {} label names; limit {LABELS}", pairs.len()));
    }
    for (name, value) in pairs {
        if value.is_empty() {
            return Some(format!("stream '{text}' has an empty value for label '{name}'"));
        }
        if name.len() > NAME_BYTES {
            return Some(format!("stream '{text}' has label name too long: '{name}'"));
        }
        if value.len() > VALUE_BYTES {
            return Some(format!("stream '{text}' has label value too long: '{value}'"));
        }
        if RESERVED.contains(&name.as_str()) {
            return Some(format!("stream '{text}' uses the reserved label '{name}'"));
        }
    }
    None
}

/// What is wrong with an entry, in Loki's words; `None`: nothing. `newest` is the stream's newest time.
pub fn refuse_entry(text: &str, entry: &super::wire::Entry, at: i64, now: i64, newest: Option<i64>) -> Option<String> {
    if entry.line.len() > LINE_BYTES {
        let length = entry.line.len();
        return Some(format!(
            "max entry size '{LINE_BYTES}' bytes exceeded for stream '{text}' while adding an entry with length '{length}' bytes"
        ));
    }
    let bytes: usize = entry.metadata.iter().map(|pair| pair.name.len() + pair.value.len()).sum();
    if bytes > METADATA_BYTES {
        return Some(format!(
            "stream '{text}' has structured metadata too large: '{bytes}' bytes, limit: '{METADATA_BYTES}' bytes"
        ));
    }
    let count = entry.metadata.len();
    if count > METADATA_PAIRS {
        return Some(format!(
            "stream '{text}' has too many structured metadata labels: '{count}', limit: '{METADATA_PAIRS}'"
        ));
    }
    if at < now - TOO_OLD_NS {
        return Some(format!(
            "entry for stream '{text}' has timestamp too old: {at}, oldest acceptable timestamp is: {}",
            now - TOO_OLD_NS
        ));
    }
    if at > now + TOO_NEW_NS {
        return Some(format!("entry for stream '{text}' has timestamp too new: {at}"));
    }
    if let Some(newest) = newest
        && at < newest - BEHIND_NS
    {
        return Some(format!(
            "entry too far behind, entry timestamp is: {at}, oldest acceptable timestamp is: {}",
            newest - BEHIND_NS
        ));
    }
    None
}
