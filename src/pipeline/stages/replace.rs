//! `replace`: what the groups of a regular expression match is replaced; without a group, nothing.
//!
//! ```yaml
//! - replace: { expression: 'password=(\S+)', replace: '****', source: message }
//! ```
//!
//! The replacement is a Go template, in which `.Value` is what was matched; the empty one takes it away. Named groups become extracted keys, with
//! their new text, from the first match. Groups inside another one are replaced with it.

use super::Stage;
use super::template::View;
use crate::model::value::Value;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::Key;
use crate::pipeline::program::{Context, Flow};
use crate::pipeline::template::{Scratch, Template};
use regex::{CaptureLocations, Regex};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Replace {
    regex: Regex,
    source: Option<Key>,
    template: Template,
    /// Named groups, by number.
    named: Vec<(usize, Key)>,
    places: CaptureLocations,
    scratch: Scratch,
    /// Where the new texts of groups of the first match are.
    made: Vec<(Key, usize, usize)>,
}

/// There is nothing to replace, or the template cannot be rendered.
struct Unchanged;

impl Replace {
    /// `named`: the numbers of the expression's named groups, with their keys.
    pub(in crate::pipeline) fn new(
        regex: Regex,
        source: Option<Key>,
        template: Template,
        named: Vec<(usize, Key)>,
    ) -> Self {
        let places = regex.capture_locations();
        Replace { regex, source, template, named, places, scratch: Scratch::default(), made: Vec::new() }
    }

    fn write(&mut self, entry: &Entry<'_>, text: &str, now_ns: i64, out: &mut String) -> Result<(), Unchanged> {
        self.made.clear();
        // What is copied, and where the next search begins.
        let (mut done, mut from) = (0, 0);
        let mut is_first = true;
        while from <= text.len()
            && let Some(found) = self.regex.captures_read_at(&mut self.places, text, from)
        {
            let groups = self.places.len();
            for group in 1..groups {
                let Some((start, end)) = self.places.get(group) else { continue };
                if start < done {
                    continue;
                }
                out.push_str(text.get(done..start).unwrap_or_default());
                let new = out.len();
                let view = View { entry, value: text.get(start..end), now_ns };
                self.template.render(&view, &mut self.scratch, out).map_err(|_| Unchanged)?;
                done = end;
                if is_first && let Some((_, key)) = self.named.iter().find(|(named, _)| *named == group) {
                    self.made.push((*key, new, out.len()));
                }
            }
            is_first = false;
            // A match of nothing is not found twice.
            from = if found.end() > found.start() {
                found.end()
            } else {
                text.ceil_char_boundary(found.end() + 1).max(found.end() + 1)
            };
        }
        if is_first {
            return Err(Unchanged);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Ok(())
    }
}

impl Stage for Replace {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let source = match self.source {
            _ if self.places.len() < 2 => None,
            Some(key) => entry.extracted(key),
            None => Some(entry.line),
        };
        let Some(source) = source else { return Flow::Next };
        let now_ns = context.now_ns;
        if let Ok(value) = entry.rewrite(|entry, out| self.write(entry, entry.text(source), now_ns, out)) {
            match self.source {
                Some(key) => entry.extract(key, Some(value)),
                None => entry.line = value,
            }
            let base = value.range().start;
            for (key, start, end) in &self.made {
                entry.extract(*key, Some(Value::in_scratch(base + start..base + end)));
            }
        }
        Flow::Next
    }

    fn prune(&mut self, is_read: &dyn Fn(Key) -> bool) {
        self.named.retain(|(_, key)| is_read(*key));
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::super::template::{ENTRY, VALUE};
    use super::*;

    fn stage(expression: &str, replace: &str, source: Option<Key>) -> Replace {
        let regex = Regex::new(expression).unwrap();
        let named = regex.capture_names().enumerate().filter(|(_, name)| name.is_some()).map(|(i, _)| i);
        let named = named.zip((1u16..).map(Key)).collect();
        let template = Template::compile(replace, &mut |name| if name == "Value" { VALUE } else { ENTRY }).unwrap();
        Replace::new(regex, source, template, named)
    }

    #[test]
    fn groups_are_replaced() {
        for (expression, replace, line, wanted) in [
            ("password (\\S+)", "****", "password a password b", "password **** password ****"),
            ("password (\\S+)", "", "password a!", "password "),
            (r"(\d+)-(\d+)", "{{ .Value }}{{ .Value }}", "1-2 3-4", "11-22 33-44"),
            (r"(\d)", "<{{ .Value }}>", "a1b2", "a<1>b<2>"),
            (r"\d", "<{{ .Value }}>", "a1b2", "a1b2"),
            (r"(?:\d)", "", "a1b2", "a1b2"),
            ("(a(b)c)", "x", "abc abc", "x x"),
            ("(x*)", "-", "aä", "-a-ä-"),
            ("(?:a|(b))", "x", "ab", "ax"),
            ("(nothing)", "x", "line", "line"),
            ("(l)", "{{ ToUpper .Value }}", "hello", "heLLo"),
        ] {
            let text = |entry: &Entry<'_>| entry.line_text().to_owned();
            assert_eq!(once(&mut stage(expression, replace, None), line, &[], text).1, wanted, "{expression} {line}");
        }
    }

    #[test]
    fn named_groups_become_keys_and_another_source_is_changed() {
        let keys =
            |entry: &Entry<'_>| [0, 1, 2].map(|key| entry.extracted_text(Key(key)).unwrap_or("-").to_owned()).join(" ");
        let mut replace = stage("(?P<a>a+)(?P<b>b+)", "<{{ .Value }}>", Some(Key(0)));
        assert_eq!(once(&mut replace, "ab", &[], keys).1, "- - -");
        assert_eq!(once(&mut replace, "", &[(Key(0), "xaabb abb")], keys).1, "x<aa><bb> <a><bb> <aa> <bb>");
        replace.prune(&|key| key == Key(2));
        assert_eq!(once(&mut replace, "", &[(Key(0), "ab")], keys).1, "<a><b> - <b>");
    }
}
