//! `match`: stages for those entries only that a LogQL selector fits, or an end of them.
//!
//! ```yaml
//! - match: { selector: '{app="web"} |= "error"', stages: [ ... ] }
//! - match: { selector: '{app="noise"}', action: drop, drop_counter_reason: match_stage }
//! ```
//!
//! Entries keep their order, whether they fit or not. The nested stages begin with the labels of the entry as extracted keys, in place of what was
//! extracted under these names before.

use super::Stage;
use crate::format::logql::Selector;
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct Matching {
    pub(in crate::pipeline) selector: Selector,
    /// The labels that it names, in its order.
    pub(in crate::pipeline) labels: Vec<Label>,
    /// Labels that earlier stages may have set, with the keys that later ones read; those of the source are known to the entry.
    pub(in crate::pipeline) seen: Vec<(Label, Key)>,
    /// What happens to what fits, and to what does not.
    pub(in crate::pipeline) fits: Flow,
    pub(in crate::pipeline) other: Flow,
}

impl Stage for Matching {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        let value_of = |i: usize| self.labels.get(i).map_or("", |label| entry.label_text(*label));
        let fits = self.selector.matches_values(&value_of) && self.selector.matches_line(entry.line_text());
        if !fits {
            return self.other;
        }
        if self.fits == Flow::Next {
            entry.extract_base();
            for (label, key) in &self.seen {
                if let Some(value) = entry.label(*label) {
                    entry.extract(*key, Some(value));
                }
            }
        }
        self.fits
    }

    fn see_labels(&mut self, labels: &mut dyn Iterator<Item = (Label, Key)>) {
        self.seen.extend(labels);
    }

    fn pass_over_to(&mut self, step: usize) {
        self.other = Flow::Jump(step);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::once;
    use super::*;

    #[test]
    fn labels_and_lines_decide() {
        for (selector, line, fits) in [
            (r#"{l15="base"}"#, "", true),
            (r#"{l15="other"}"#, "", false),
            (r#"{l15=~"b.*"} |= "error""#, "an error", true),
            (r#"{l15=~"b.*"} |= "error""#, "fine", false),
            (r#"{l3=""} != "x""#, "y", true),
        ] {
            let selector = Selector::parse(selector).unwrap();
            let number = |name: &str| Label(name.trim_start_matches('l').parse().unwrap());
            let labels = selector.label_names().map(number).collect();
            let mut stage = Matching { selector, labels, seen: Vec::new(), fits: Flow::Drop(1), other: Flow::Jump(9) };
            let wanted = if fits { Flow::Drop(1) } else { Flow::Jump(9) };
            assert_eq!(once(&mut stage, line, &[], |_| ()).0, wanted, "{:?}", stage.selector);
        }
    }
}
