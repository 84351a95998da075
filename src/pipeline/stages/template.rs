//! `template`: an extracted key is made, or changed, by a Go template.
//!
//! ```yaml
//! - template: { source: level, template: '{{ ToUpper .Value }}' }
//! ```
//!
//! `.Value` is the key's value, `.Entry` the entry's text, and each extracted key has its name. An empty result takes the key away; where the
//! template cannot be rendered, nothing changes.

use super::Stage;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};
use crate::pipeline::template::{self, Lookup, Slot};

/// The slot of `.Entry`. Keys have lower ones.
pub(in crate::pipeline) const ENTRY: Slot = Slot::MAX;
/// The slot of `.Value`.
pub(in crate::pipeline) const VALUE: Slot = Slot::MAX - 1;

/// What a template sees of an entry.
pub(super) struct View<'e, 'a> {
    pub entry: &'e Entry<'a>,
    pub value: Option<&'e str>,
    pub now_ns: i64,
}

impl Lookup for View<'_, '_> {
    fn get(&self, slot: Slot) -> Option<&str> {
        match slot {
            ENTRY => Some(self.entry.line_text()),
            VALUE => self.value,
            key => self.entry.extracted_text(Key(u16::try_from(key).ok()?)),
        }
    }

    fn now_ns(&self) -> i64 {
        self.now_ns
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Template {
    pub(in crate::pipeline) source: Key,
    pub(in crate::pipeline) template: template::Template,
    pub(in crate::pipeline) scratch: template::Scratch,
}

impl Stage for Template {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let Template { source, template, scratch } = self;
        let made = entry.rewrite(|entry, out| {
            let view = View { entry, value: entry.extracted_text(*source), now_ns: context.now_ns };
            template.render(&view, scratch, out)
        });
        if let Ok(value) = made {
            entry.extract(*source, Some(value).filter(|value| !value.is_empty()));
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    fn run(text: &str, keys: &[(Key, &str)]) -> Option<String> {
        let mut slot_of = |name: &str| match name {
            "Value" => VALUE,
            "Entry" => ENTRY,
            _ => 1,
        };
        let template = template::Template::compile(text, &mut slot_of).unwrap();
        let mut stage = Template { source: Key(0), template, scratch: template::Scratch::default() };
        once(&mut stage, "line", keys, |entry| entry.extracted_text(Key(0)).map(str::to_owned)).1
    }

    #[test]
    fn keys_are_made_and_changed() {
        let keys = [(Key(0), "warn"), (Key(1), "x")];
        for (text, keys, wanted) in [
            ("{{ ToUpper .Value }}", &keys[..], Some("WARN")),
            ("{{ .Value }}-{{ .other }}-{{ .Entry }}", &keys, Some("warn-x-line")),
            ("new", &[], Some("new")),
            ("{{ .Value }}", &[], Some("<no value>")),
            ("{{ if eq .Value \"warn\" }}{{ else }}x{{ end }}", &keys, None),
            // What cannot be rendered changes nothing.
            ("{{ ToUpper .other }}", &keys[..1], Some("warn")),
        ] {
            assert_eq!(run(text, keys).as_deref(), wanted, "{text}");
        }
    }
}
