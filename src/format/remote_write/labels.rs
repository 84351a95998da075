//! The labels of a series on their way to an endpoint: those of the sample, those of its target and those of the agent.
//!
//! Promises: the rules of Prometheus for labels that meet (`honor_labels`, `exported_`, external labels that give way). Memory is used again.
//! Leaves to others: relabelling, and whether names are names.

use super::push_label;
use crate::model::samples::{labels_of, name_of};
use std::ops::Range;

/// The label that is the metric's name.
pub const NAME: &str = "__name__";

/// What a label of a sample is called from now on whose name a label of the target has.
const EXPORTED: &str = "exported_";

/// Names with values, each name once.
#[derive(Debug, Clone, Default)]
pub struct LabelSet {
    text: String,
    pairs: Vec<Pair>,
}

#[derive(Debug, Clone)]
struct Pair {
    name: Range<u32>,
    value: Range<u32>,
}

impl LabelSet {
    /// Removes all labels.
    pub fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
    }

    /// The labels of a sample anew, by its key. Those with an empty value are none, but they are remembered for [`LabelSet::add_target`].
    pub fn set_key(&mut self, key: &[u8]) {
        self.clear();
        self.push(NAME, name_of(key));
        for (name, value) in labels_of(key) {
            self.push(name, value);
        }
    }

    /// Adds the labels of the target. Where the sample has one of the same name, that of the target stands and the sample's becomes
    /// `exported_<name>`; or with `honor` (`honor_labels`) the sample's stands, also with an empty value, which means none.
    pub fn add_target(&mut self, target: &[(&str, &str)], honor: bool) {
        if honor {
            for (name, value) in target {
                if self.find(name).is_none() {
                    self.push(name, value);
                }
            }
            return;
        }
        // All labels of the target first: none of them may be overwritten by what steps aside.
        let mut aside: Vec<(String, String)> = Vec::new();
        for (name, value) in target {
            match self.get(name) {
                "" => {}
                old => aside.push(((*name).to_owned(), old.to_owned())),
            }
            self.set(name, value);
        }
        aside.sort_by_key(|(name, _)| name.len());
        for (name, value) in aside {
            let mut free = [EXPORTED, &name].concat();
            while !self.get(&free).is_empty() {
                free.insert_str(0, EXPORTED);
            }
            self.set(&free, &value);
        }
    }

    /// Adds labels that give way to those that are there.
    pub fn add_external(&mut self, labels: &[(&str, &str)]) {
        for (name, value) in labels {
            if self.get(name).is_empty() {
                self.set(name, value);
            }
        }
    }

    /// A label's value; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).and_then(|at| self.pairs.get(at)).map_or("", |pair| self.str(&pair.value))
    }

    /// Sets a label; an empty value is none.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.find(name) {
            None => self.push(name, value),
            Some(at) => {
                let value = self.keep(value);
                if let Some(pair) = self.pairs.get_mut(at) {
                    pair.value = value;
                }
            }
        }
    }

    /// The labels that have a value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.iter().map(|pair| (self.str(&pair.name), self.str(&pair.value)));
        pairs.filter(|(_, value)| !value.is_empty())
    }

    /// Appends the labels sorted, as remote write has them.
    pub fn encode(&mut self, out: &mut Vec<u8>) {
        let text = |range: &Range<u32>| self.text.get(range.start as usize..range.end as usize).unwrap_or_default();
        self.pairs.sort_unstable_by(|a, b| text(&a.name).cmp(text(&b.name)));
        for (name, value) in self.iter() {
            push_label(name, value, out);
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.pairs.iter().position(|pair| self.str(&pair.name) == name)
    }

    fn push(&mut self, name: &str, value: &str) {
        let [name, value] = [name, value].map(|text| self.keep(text));
        self.pairs.push(Pair { name, value });
    }

    fn keep(&mut self, text: &str) -> Range<u32> {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        start..self.text.len() as u32
    }

    fn str(&self, range: &Range<u32>) -> &str {
        self.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}
