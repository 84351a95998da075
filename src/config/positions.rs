//! Positions files of Promtail and of Alloy: what was read of which file.
//!
//! Promtail's is a map from path to offset under the key `positions`; Alloy's has maps of `path` and `labels` as keys. Of what is not a path
//! (`cursor-…` and `journal-…`), journal cursors are read, and those of containers counted.
//!
//! Promises: an entry that is not understood makes the file invalid, since skipping it would mean to read a file twice; of several positions of one
//! path (Alloy has one for each set of labels) the smallest counts. Leaves to others: finding the files.

use crate::base::limits::POSITIONS_BYTES;
use crate::base::units::format_size;
use crate::format::journal::Cursor;
use crate::source::file::import::Positions;
use saphyr_parser::{Event, Parser};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Why positions cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum PositionsError {
    #[error("{}", super::file::plain(.0))]
    Read(#[from] io::Error),
    #[error("it is larger than {}", format_size(POSITIONS_BYTES as u64))]
    Large,
    #[error("line {line}: {what}")]
    Syntax { line: usize, what: String },
}

/// Reads the file at `path`; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Positions>, PositionsError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    let mut bytes = Vec::new();
    file.take(POSITIONS_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > POSITIONS_BYTES {
        return Err(PositionsError::Large);
    }
    let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|_| syntax(1, "it is not UTF-8"))?;
    let Parsed { files, cursors, others } = parse(&text)?;
    let written_ns = i64::try_from(written.as_nanos()).unwrap_or(i64::MAX);
    Ok(Some(Positions { path: path.to_owned(), written_ns, files, cursors, others }))
}

fn syntax(line: usize, what: impl Into<String>) -> PositionsError {
    PositionsError::Syntax { line, what: what.into() }
}

/// What a positions file says.
#[derive(Debug, Default, PartialEq)]
struct Parsed {
    files: Vec<(PathBuf, u64)>,
    cursors: Vec<(String, Cursor)>,
    others: usize,
}

fn parse(text: &str) -> Result<Parsed, PositionsError> {
    let mut files: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let (mut cursors, mut others): (Vec<(String, Cursor)>, usize) = (Vec::new(), 0);
    let mut parser = Events(Parser::new_from_str(text));
    loop {
        match parser.next()? {
            Token::Other => {}
            Token::End => return Ok(Parsed::default()),
            Token::MapStart => break,
            Token::Text(text, line) if !text.is_empty() => {
                return Err(syntax(line, "expected `positions:` and entries below it"));
            }
            Token::Text(..) => return Ok(Parsed::default()),
            Token::MapEnd => return Err(syntax(1, "expected `positions:` and entries below it")),
        }
    }
    match parser.next()? {
        Token::Text(key, _) if key == "positions" => {}
        Token::MapEnd => return Ok(Parsed::default()),
        Token::Text(_, line) => return Err(syntax(line, "expected the key `positions`")),
        _ => return Err(syntax(1, "expected the key `positions`")),
    }
    match parser.next()? {
        Token::MapStart => {}
        // `positions:` and nothing.
        Token::Text(text, _) if text.is_empty() || text == "null" => return Ok(Parsed::default()),
        Token::Text(_, line) => return Err(syntax(line, "expected entries of paths and positions")),
        _ => return Err(syntax(1, "expected entries of paths and positions")),
    }
    loop {
        let path = match parser.next()? {
            Token::MapEnd => break,
            Token::Text(path, _) => path,
            Token::MapStart => parser.path_of_key()?,
            Token::Other | Token::End => return Err(syntax(1, "a list stands where a path should be")),
        };
        let Token::Text(position, line) = parser.next()? else {
            return Err(syntax(1, format!("the position of {path:?} is no number")));
        };
        // The first is the present form.
        let job = ["cursor-", "journal-"].iter().find_map(|prefix| path.strip_prefix(prefix));
        if let Some(job) = job
            && let Ok(cursor) = position.parse::<Cursor>()
        {
            match cursors.iter_mut().find(|(known, _)| known == job) {
                Some((_, known)) if path.starts_with("cursor-") => *known = cursor,
                Some(_) => {}
                None => cursors.push((job.to_owned(), cursor)),
            }
            continue;
        }
        if job.is_some() || !path.starts_with('/') {
            others += 1;
            continue;
        }
        let Ok(position) = position.trim().parse::<u64>() else {
            return Err(syntax(line, format!("the position of {path:?} is no number")));
        };
        files.entry(path.into()).and_modify(|least| *least = position.min(*least)).or_insert(position);
    }
    // A torn or otherwise damaged rest would be entries that are missed.
    loop {
        match parser.next()? {
            Token::End => return Ok(Parsed { files: files.into_iter().collect(), cursors, others }),
            Token::Text(_, line) => return Err(syntax(line, "expected nothing after the entries of `positions`")),
            Token::MapStart | Token::MapEnd | Token::Other => {}
        }
    }
}

/// What a positions file is made of.
enum Token {
    MapStart,
    MapEnd,
    /// With its line.
    Text(String, usize),
    End,
    Other,
}

struct Events<'a>(Parser<'a, saphyr_parser::StrInput<'a>>);

impl Events<'_> {
    fn next(&mut self) -> Result<Token, PositionsError> {
        let Some(event) = self.0.next_event() else { return Ok(Token::End) };
        let (event, span) = event.map_err(|error| syntax(error.marker().line(), "it is not YAML"))?;
        Ok(match event {
            Event::MappingStart(..) => Token::MapStart,
            Event::MappingEnd => Token::MapEnd,
            Event::Scalar(text, ..) => Token::Text(text.into_owned(), span.start.line()),
            Event::StreamEnd => Token::End,
            _ => Token::Other,
        })
    }

    /// The `path` of a key that is a map, up to its end.
    fn path_of_key(&mut self) -> Result<String, PositionsError> {
        let mut path = None;
        loop {
            match self.next()? {
                Token::MapEnd => break,
                Token::Text(key, line) => match self.next()? {
                    Token::Text(value, _) => {
                        if key == "path" {
                            path = Some(value);
                        }
                    }
                    _ => return Err(syntax(line, "expected text")),
                },
                _ => return Err(syntax(1, "expected `path` and `labels`")),
            }
        }
        path.ok_or_else(|| syntax(1, "an entry has no `path`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(text: &str) -> (Vec<(String, u64)>, usize) {
        let Parsed { files, others, .. } = parse(text).unwrap();
        (files.into_iter().map(|(path, position)| (path.display().to_string(), position)).collect(), others)
    }

    #[test]
    fn promtails_form() {
        let text = "positions:\n  /var/log/a.log: \"1234\"\n  /var/log/b c.log: 5\n  journal-job: \"t=4\"\n  cursor-job: \"t=5\"\n  journal-old: \"t=3\"\n  cursor-0123abcd: \"1700000000\"\n";
        let expected = vec![("/var/log/a.log".to_owned(), 1234), ("/var/log/b c.log".to_owned(), 5)];
        assert_eq!(files(text), (expected, 1));
        let cursors = parse(text).unwrap().cursors;
        assert_eq!(cursors, [("job".to_owned(), "t=5".parse().unwrap()), ("old".to_owned(), "t=3".parse().unwrap())]);
        for empty in ["", "positions: {}\n", "positions:\n", "{}", "---\n"] {
            assert_eq!(files(empty), (Vec::new(), 0), "{empty}");
        }
    }

    #[test]
    fn alloys_form_and_the_smallest_of_several() {
        let text = "positions:\n  ? path: /var/log/a.log\n    labels: '{job=\"a\"}'\n  : \"1234\"\n  ? path: /var/log/a.log\n    labels: '{job=\"b\"}'\n  : \"99\"\n  ? {path: cursor-x, labels: ''}\n  : \"s=\"\n";
        assert_eq!(files(text), (vec![("/var/log/a.log".to_owned(), 99)], 1));
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        for (text, expected) in [
            ("positions:\n  /a: \"12\"\n  /b: \"x\"\n", "line 3: the position of \"/b\" is no number"),
            ("positions:\n  /a: -1\n", "line 2: the position of \"/a\" is no number"),
            ("position:\n  /a: 1\n", "line 1: expected the key `positions`"),
            ("positions: 5\n", "line 1: expected entries of paths and positions"),
            ("nothing\n", "line 1: expected `positions:` and entries below it"),
            ("positions:\n  /a: 1\n /b: 2\n", "line 3: it is not YAML"),
            ("positions:\n  ? labels: x\n  : 1\n", "line 1: an entry has no `path`"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(positions:\n)?([ ?:a-z/0-9\"{}\\[\\]-]{0,12}\n){0,6}") {
            let _ = parse(&text);
        }
    }
}
