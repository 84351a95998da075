//! Prints entries, and what stages did to them, for people: in colour on a terminal.

use crate::base::limits::DROPPED_TEXT_CHARS;
use crate::cli::log::visible;
use crate::format::civil::format_rfc3339_ns;
use crate::pipeline::rehearsal::{Outcome, Sent};
use crate::pipeline::trace::{Left, Passage, Seen};
use std::io::{self, BufWriter, IsTerminal, Write};

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Where things are printed, and how.
pub(super) struct Show {
    out: Box<dyn Write + Send>,
    colour: bool,
    inspect: bool,
}

impl Show {
    /// To stdout; in colour if that is a terminal and `NO_COLOR` is not set. `inspect`: also what stages did.
    pub(super) fn stdout(inspect: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = wanted && io::stdout().is_terminal();
        Show { out: Box::new(BufWriter::new(io::stdout())), colour, inspect }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A line as it was read.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        if !self.inspect {
            return Ok(());
        }
        let text = visible(text);
        let (bold, plain) = self.colours(BOLD);
        writeln!(self.out, "{bold}read{plain} {text}")
    }

    /// What stages did.
    pub(super) fn passages(&mut self, passages: &[Passage], names: &[String]) -> io::Result<()> {
        for Passage { stage, before, after, left } in passages {
            let name = names.get(*stage).map_or("", String::as_str);
            let mut changes = changes(before, after);
            match left {
                Left::On => {}
                Left::Past => changes.push(('.', "does not fit: its stages are passed over".to_owned())),
                Left::Dropped => changes.push(('-', "drops the entry".to_owned())),
                Left::Held => changes.push(('.', "waits for further lines".to_owned())),
            }
            if changes.is_empty() {
                changes.push(('.', "changes nothing".to_owned()));
            }
            for (i, (sign, text)) in changes.into_iter().enumerate() {
                let colour = match sign {
                    '+' => GREEN,
                    '-' => RED,
                    '~' => YELLOW,
                    _ => DIM,
                };
                let (begin, plain) = self.colours(colour);
                let name = if i == 0 { name } else { "" };
                let sign = if sign == '.' { ' ' } else { sign };
                writeln!(self.out, "  {name:<24} {begin}{sign} {}{plain}", visible(&text))?;
            }
        }
        Ok(())
    }

    /// What came out of this source and file; the file is empty if there is none.
    pub(super) fn outcomes(&mut self, outcomes: &[Outcome], source: &str, file: &str) -> io::Result<()> {
        for outcome in outcomes {
            match outcome {
                Outcome::Sent(sent) => self.sent(sent)?,
                Outcome::Dropped { reason, text } => {
                    let (red, plain) = self.colours(RED);
                    let file = if file.is_empty() { String::new() } else { format!(" file={file:?}") };
                    let (reason, text) = (visible(reason), visible(&beginning(text)));
                    writeln!(self.out, "{red}dropped{plain} {reason} source={source:?}{file} {text}")?;
                }
            }
        }
        Ok(())
    }

    fn sent(&mut self, sent: &Sent) -> io::Result<()> {
        let Sent { labels, time_ns, text, metadata, tenant } = sent;
        let (dim, plain) = self.colours(DIM);
        let (green, _) = self.colours(GREEN);
        let mut more = String::new();
        for (name, value) in metadata {
            more.push_str(&format!(" {name}={value:?}"));
        }
        if let Some(tenant) = tenant {
            more.push_str(&format!(" tenant={tenant:?}"));
        }
        let time = format_rfc3339_ns(*time_ns);
        let labels = visible(&labels.encoded());
        writeln!(self.out, "{dim}{time}{plain} {green}{labels}{plain}{} {}", visible(&more), visible(text))
    }

    /// A colour and its end, or nothing.
    fn colours(&self, colour: &'static str) -> (&'static str, &'static str) {
        if self.colour { (colour, PLAIN) } else { ("", "") }
    }
}

/// The beginning of what is not sent anyway.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(DROPPED_TEXT_CHARS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// What is different, each with its sign: `+` new, `-` gone, `~` changed.
fn changes(before: &Seen, after: &Seen) -> Vec<(char, String)> {
    let mut changes = Vec::new();
    let mut pairs = |what: &str, before: &[(String, String)], after: &[(String, String)]| {
        for (name, value) in after {
            match before.iter().find(|(known, _)| known == name) {
                None => changes.push(('+', format!("{what} {name} = {value:?}"))),
                Some((_, old)) if old != value => {
                    changes.push(('~', format!("{what} {name} = {value:?}, was {old:?}")))
                }
                Some(_) => {}
            }
        }
        for (name, value) in before.iter().filter(|(name, _)| !after.iter().any(|(known, _)| known == name)) {
            changes.push(('-', format!("{what} {name}, was {value:?}")));
        }
    };
    pairs("key", &before.extracted, &after.extracted);
    pairs("label", &before.labels, &after.labels);
    pairs("metadata", &before.metadata, &after.metadata);
    if before.text != after.text {
        changes.push(('~', format!("line {:?}", after.text)));
    }
    if before.time_ns != after.time_ns {
        let (new, old) = (format_rfc3339_ns(after.time_ns), format_rfc3339_ns(before.time_ns));
        changes.push(('~', format!("time {new}, was {old}")));
    }
    if before.tenant != after.tenant {
        changes.push(('~', format!("tenant {:?}", after.tenant.as_deref().unwrap_or(""))));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The same words with and without colours; what an entry has in it is no colour.
    #[test]
    fn colours_are_for_terminals() {
        let before = Seen { text: "a".into(), labels: vec![("gone".into(), "1".into())], ..Seen::default() };
        let after = Seen { text: "\x1b[31mb".into(), extracted: vec![("k".into(), "v".into())], ..Seen::default() };
        let page = |colour: bool| {
            let page = Page::default();
            let mut show = Show { out: Box::new(page.clone()), colour, inspect: true };
            let passage = |left| Passage { stage: 0, before: before.clone(), after: after.clone(), left };
            show.line("read \x1b[1m").unwrap();
            show.passages(&[passage(Left::On), passage(Left::Dropped)], &["1 json".to_owned()]).unwrap();
            let dropped = Outcome::Dropped { reason: "noise".to_owned(), text: "\x1b[2Jx".to_owned() };
            show.outcomes(&[dropped], "app", "").unwrap();
            String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
        };
        let (plain, coloured) = (page(false), page(true));
        assert!(!plain.contains('\x1b'), "{plain:?}");
        for (colour, what) in
            [(BOLD, "read"), (GREEN, "+ key k"), (RED, "- label gone"), (YELLOW, "~ line"), (RED, "dropped")]
        {
            assert!(coloured.contains(&format!("{colour}{what}")), "{what} in {coloured:?}");
        }
        let colours = [BOLD, DIM, GREEN, RED, YELLOW, PLAIN];
        assert_eq!(colours.iter().fold(coloured, |text, colour| text.replace(colour, "")), plain);
    }

    #[test]
    fn changes_say_what_is_new_gone_and_other() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let before = Seen {
            text: "a".into(),
            labels: vec![pair("gone", "1"), pair("other", "1"), pair("same", "1")],
            ..Seen::default()
        };
        let after = Seen {
            text: "b".into(),
            time_ns: 1,
            labels: vec![pair("new", "1"), pair("other", "2"), pair("same", "1")],
            extracted: vec![pair("k", "v")],
            tenant: Some("t".into()),
            ..Seen::default()
        };
        let shown: Vec<String> = changes(&before, &after).iter().map(|(sign, text)| format!("{sign}{text}")).collect();
        assert_eq!(
            shown,
            [
                "+key k = \"v\"",
                "+label new = \"1\"",
                "~label other = \"2\", was \"1\"",
                "-label gone, was \"1\"",
                "~line \"b\"",
                "~time 1970-01-01T00:00:00.000000001Z, was 1970-01-01T00:00:00.000000000Z",
                "~tenant \"t\"",
            ]
        );
        assert_eq!(changes(&after, &after), []);
    }
}
