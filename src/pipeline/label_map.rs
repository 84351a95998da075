//! The labels of a target or an entry while they are being made: discovered ones (`__meta_*`), temporary ones and those that are sent.
//!
//! Promises: names are sorted and unique, no value is empty, there are at most [`RELABEL_LABELS`] labels and no value is longer than
//! [`RELABEL_VALUE_BYTES`]. The memory of removed labels is used again, so that filling one map anew for each entry allocates nothing once it has
//! grown. Leaves to others: whether Loki takes the names and values ([`Labels`](crate::model::labels::Labels)).

use crate::base::limits::{RELABEL_LABELS, RELABEL_VALUE_BYTES};
use crate::base::text::head;
use std::fmt;

/// Names with values.
#[derive(Clone, Default)]
pub struct LabelMap {
    /// The first `len` are labels, the others are memory to be used again.
    pairs: Vec<Pair>,
    len: usize,
}

#[derive(Debug, Clone, Default)]
struct Pair {
    name: String,
    value: String,
}

impl LabelMap {
    /// A map without labels.
    pub fn new() -> Self {
        LabelMap::default()
    }

    /// Removes all labels and keeps their memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn live(&self) -> &[Pair] {
        self.pairs.get(..self.len).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.live().binary_search_by(|pair| pair.name.as_str().cmp(name))
    }

    /// A label's value; empty if there is no such label.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).ok().and_then(|at| self.pairs.get(at)).map_or("", |pair| &pair.value)
    }

    /// Sets a label; an empty value removes it. What is longer than [`RELABEL_VALUE_BYTES`] is cut, and above [`RELABEL_LABELS`] labels a new
    /// one is not taken.
    pub fn set(&mut self, name: &str, value: &str) {
        let value = head(value, RELABEL_VALUE_BYTES);
        match self.find(name) {
            Ok(at) if value.is_empty() => self.remove_at(at),
            Ok(at) => {
                if let Some(pair) = self.pairs.get_mut(at) {
                    pair.value.clear();
                    pair.value.push_str(value);
                }
            }
            Err(_) if value.is_empty() || self.len >= RELABEL_LABELS => {}
            Err(at) => {
                if self.pairs.len() == self.len {
                    self.pairs.push(Pair::default());
                }
                if let Some(free) = self.pairs.get_mut(self.len) {
                    free.name.clear();
                    free.name.push_str(name);
                    free.value.clear();
                    free.value.push_str(value);
                }
                self.len += 1;
                if let Some(moved) = self.pairs.get_mut(at..self.len) {
                    moved.rotate_right(1);
                }
            }
        }
    }

    /// Removes a label, if there is one.
    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            self.remove_at(at);
        }
    }

    fn remove_at(&mut self, at: usize) {
        if let Some(moved) = self.pairs.get_mut(at..self.len) {
            moved.rotate_left(1);
            self.len -= 1;
        }
    }

    /// Removes the labels whose name `keep` does not like.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let mut kept = 0;
        for at in 0..self.len {
            if self.pairs.get(at).is_some_and(|pair| keep(&pair.name)) {
                self.pairs.swap(kept, at);
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Removes what is not sent: every label whose name begins with `__`. The last step of relabelling, and apart from it, since sources read
    /// some of them (`__path__`) afterwards.
    pub fn drop_internal(&mut self) {
        self.retain(|name| !name.starts_with("__"));
    }

    /// The labels, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.live().iter().map(|pair| (pair.name.as_str(), pair.value.as_str()))
    }
}

impl PartialEq for LabelMap {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for LabelMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for LabelMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut map = LabelMap::new();
        for (name, value) in pairs {
            map.set(name.as_ref(), value.as_ref());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn long_values_are_cut_and_too_many_labels_are_not_taken() {
        let mut map = LabelMap::new();
        map.set("a", &"ä".repeat(RELABEL_VALUE_BYTES));
        assert_eq!(map.get("a").len(), RELABEL_VALUE_BYTES);
        for i in 0..2 * RELABEL_LABELS {
            map.set(&format!("l{i}"), "v");
        }
        assert_eq!(map.len(), RELABEL_LABELS);
        map.set("a", "still");
        assert_eq!(map.get("a"), "still");
    }

    #[test]
    fn internal_labels_go_at_the_end() {
        let mut map: LabelMap = [("__path__", "/x"), ("_a", "1"), ("__tmp_b", "2"), ("c", "3")].into_iter().collect();
        map.drop_internal();
        assert_eq!(format!("{map:?}"), r#"{"_a": "1", "c": "3"}"#);
    }

    proptest! {
        /// It is a sorted map without empty values, whatever is done to it.
        #[test]
        fn behaves_as_a_map(steps in prop::collection::vec((0..4u8, "[a-e]{1,2}", "[xy]{0,2}"), 0..60)) {
            let mut map = LabelMap::new();
            let mut model = BTreeMap::new();
            for (step, name, value) in steps {
                match step {
                    0 => {
                        map.remove(&name);
                        model.remove(&name);
                    }
                    1 if value == "xx" => {
                        map.retain(|other| other < name.as_str());
                        model.retain(|other: &String, _| other < &name);
                    }
                    _ => {
                        map.set(&name, &value);
                        model.insert(name, value);
                        model.retain(|_, value| !value.is_empty());
                    }
                }
                let expected: Vec<(&str, &str)> = model.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                prop_assert_eq!(map.iter().collect::<Vec<_>>(), expected);
                prop_assert_eq!(map.len(), model.len());
            }
        }
    }
}
