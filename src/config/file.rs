//! A configuration file's bytes, and whether they are text.
//!
//! Promises: no more than [`CONFIG_BYTES`] are read; text that comes out is UTF-8 without control characters (the YAML parser would take a
//! NUL for the end of the file). Leaves to others: what the text says.

use super::report::Finding;
use super::source::{Pos, Span};
use crate::base::limits::CONFIG_BYTES;
use crate::base::units::format_size;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Finding> {
    let failed = |error: &io::Error| {
        let finding = Finding::nowhere(format!("the configuration cannot be read: {}", plain(error)));
        finding.help(match error.kind() {
            ErrorKind::NotFound => "name another file with --config, or begin with a copy of agent.example.yaml",
            ErrorKind::PermissionDenied => {
                "make it, and the directories above it, readable for the user that lugger runs as"
            }
            _ => "name another file with --config",
        })
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Finding::nowhere("this is a directory, not a configuration file")
            .help(format!("name the file in it, such as {}", path.join("agent.yaml").display())));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(CONFIG_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() > CONFIG_BYTES {
        let size = format_size(limit - 1);
        return Err(Finding::nowhere(format!("the file is larger than {size}: this is not a configuration"))
            .help("name another file with --config"));
    }
    Ok(bytes)
}

/// An I/O error in words, without the number that the standard library adds.
pub(super) fn plain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// The text in `bytes`, without a byte order mark. An error comes with as much of the text as can be shown.
pub(super) fn text(bytes: &[u8]) -> Result<&str, (String, Finding)> {
    let body = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if body.starts_with(&[0xFF, 0xFE]) || body.starts_with(&[0xFE, 0xFF]) {
        let finding = Finding::error(Span::at(1, 1), "the file is UTF-16").help("save it as UTF-8");
        return Err((String::new(), finding));
    }
    let (valid, bad_byte) = match std::str::from_utf8(body) {
        Ok(text) => (text, None),
        Err(error) => {
            let (valid, rest) = body.split_at_checked(error.valid_up_to()).unwrap_or((body, &[]));
            (std::str::from_utf8(valid).unwrap_or(""), rest.first())
        }
    };
    let control = valid.find(|c: char| (c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r')) || c == '\u{feff}');
    let finding = |at: usize, message: String, help: &str| {
        let before = valid.get(..at).unwrap_or("");
        let place = end_of(before);
        (valid.to_owned(), Finding::error(Span::at(place.line, place.column), message).help(help))
    };
    if let Some(at) = control {
        let c = valid.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('\0');
        let message = format!("the character U+{:04X} does not belong into a text file", u32::from(c));
        return Err(finding(at, message, "is this a configuration? If so, remove the character"));
    }
    if let Some(byte) = bad_byte {
        let message = format!("the byte 0x{byte:02X} is not UTF-8");
        return Err(finding(valid.len(), message, "save the file as UTF-8"));
    }
    Ok(valid)
}

/// The place just after `text`.
fn end_of(text: &str) -> Pos {
    let mut place = Pos { line: 1, column: 1 };
    let mut last = '\0';
    for c in text.chars() {
        match c {
            '\n' if last == '\r' => {}
            '\n' | '\r' => place = Pos { line: place.line + 1, column: 1 },
            _ => place.column += 1,
        }
        last = c;
    }
    place
}
