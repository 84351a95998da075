//! `redact`: secrets and personal data are replaced, in the entry's text or in a key.
//!
//! ```yaml
//! - redact: { kinds: [card, email, token], source: message }
//! ```
//!
//! A private key may go on over the lines that follow. That one is open is known of the file, also of lines that are sent again; not
//! when lugger was stopped in the middle of it and what came before was stored.

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};
use crate::pipeline::redact::{Redactor, Scratch};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Redact {
    pub(in crate::pipeline) redactor: Redactor,
    pub(in crate::pipeline) source: Option<Key>,
    pub(in crate::pipeline) scratch: Scratch,
}

/// Nothing was found.
struct Clean;

impl Stage for Redact {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let source = match self.source {
            Some(key) => entry.extracted(key),
            None => Some(entry.line),
        };
        let Some(source) = source else { return Flow::Next };
        let Redact { redactor, scratch, .. } = self;
        let was_open = context.state.memory().open_key;
        let mut open = was_open;
        let made = entry.rewrite(|entry, out| match redactor.redact(entry.text(source), &mut open, scratch, out) {
            0 => Err(Clean),
            _ => Ok(()),
        });
        if open != was_open {
            context.state.memory_mut().open_key = open;
        }
        if let Ok(value) = made {
            match self.source {
                Some(key) => entry.extract(key, Some(value)),
                None => entry.line = value,
            }
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;
    use crate::pipeline::redact::{Kind, Settings};

    #[test]
    fn in_the_text_or_in_a_key() {
        let stage = |source| {
            let settings = Settings { kinds: vec![Kind::Email], ..Settings::default() };
            Redact { redactor: Redactor::compile(&settings).unwrap(), source, scratch: Scratch::default() }
        };
        let texts = |entry: &Entry<'_>| (entry.line_text().to_owned(), entry.extracted_text(Key(0)).map(str::to_owned));
        let keys = [(Key(0), "of b@example.org")];
        let line = "from a@example.org";
        assert_eq!(once(&mut stage(None), line, &[], texts).1, ("from [email]".into(), None));
        assert_eq!(once(&mut stage(None), "clean", &[], texts).1, ("clean".into(), None));
        assert_eq!(once(&mut stage(Some(Key(0))), line, &keys, texts).1, (line.into(), Some("of [email]".into())));
        assert_eq!(once(&mut stage(Some(Key(0))), line, &[], texts).1, (line.into(), None));
    }
}
