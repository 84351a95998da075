//! `decolorize`: ANSI escape sequences are taken out of the text.
//!
//! ```yaml
//! - decolorize: {}
//! ```
//!
//! Taken out are control sequences (ECMA-48: ESC `[`, parameters, a final byte), and commands to the terminal (ESC `]` up to BEL or ESC `\`).

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::program::{Context, Flow};

const ESC: char = '\u{1b}';

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Decolorize;

impl Stage for Decolorize {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        if memchr::memchr(ESC as u8, entry.line_text().as_bytes()).is_some() {
            let made = entry.rewrite(|entry, out| {
                strip(entry.line_text(), out);
                Ok::<(), std::convert::Infallible>(())
            });
            match made {
                Ok(value) => entry.line = value,
                Err(never) => match never {},
            }
        }
        Flow::Next
    }
}

fn strip(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(ESC) {
        out.push_str(before);
        rest = match after.as_bytes().first() {
            Some(b'[') => {
                let end = after.char_indices().skip(1).find(|(_, c)| !matches!(*c, ' '..='?'));
                match end {
                    // A final byte ends the sequence; anything else is text again.
                    Some((at, c @ '@'..='~')) => after.get(at + c.len_utf8()..),
                    Some((at, _)) => after.get(at..),
                    None => None,
                }
            }
            Some(b']') => {
                let bell = after.find('\u{7}').map(|at| at + 1);
                let end = after.find("\u{1b}\\").map(|at| at + 2);
                let end = [bell, end].into_iter().flatten().min();
                end.and_then(|end| after.get(end..))
            }
            Some(_) => {
                // ESC and one character.
                let mut chars = after.chars();
                chars.next();
                Some(chars.as_str())
            }
            None => None,
        }
        .unwrap_or("");
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;
    use proptest::prelude::*;

    fn without(text: &str) -> String {
        once(&mut Decolorize, text, &[], |entry| entry.line_text().to_owned()).1
    }

    #[test]
    fn sequences_go_and_text_stays() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("a\u{1b}[38;5;208mb\u{1b}[K", "ab"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("\u{1b}(Bx", "Bx"),
            ("end\u{1b}", "end"),
            ("cut\u{1b}[31", "cut"),
            ("\u{1b}[31ä", "ä"),
        ] {
            assert_eq!(without(text), wanted, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_of_an_escape_is_left(text in "([a-zä]|\u{1b}|\\[|[0-9;]|m){0,30}") {
            prop_assert!(!without(&text).contains(ESC));
        }
    }
}
