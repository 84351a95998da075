//! One line on its way through the stages: its text and time, what was extracted from it, and how its labels change.
//!
//! Texts are [`Value`]s: places in the line as it was read, or in the scratch buffer of the [`Work`] that the entry uses. A stage that looks
//! into a text gets it as a `&str` and writes what it makes to a second buffer, which is then appended to the first: so nothing
//! that was found is copied, and nothing is allocated once the buffers have grown.
//!
//! Promises: buffers are recycled by [`Entry::begin`]; a value stays valid until its entry ends. Leaves to others: what stages do.

use super::keys::{Key, Label, Names};
use crate::model::labels::Labels;
use crate::model::value::{Kind, Place, Value};
use std::sync::Arc;

/// What becomes of a label of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change {
    /// It is as the source has it, if it has it.
    #[default]
    Keep,
    /// It is not there.
    Remove,
    /// It has this value.
    Set(Value),
}

/// The buffers of an entry, recycled from line to line, and the labels of where the lines come from.
#[derive(Debug, Default)]
pub struct Work {
    base: Arc<Labels>,
    /// Tells the base apart from others of the program.
    id: u64,
    /// The same, where lines of several bases come in one row: a checksum that is the same after a restart.
    sum: u32,
    scratch: String,
    fresh: String,
    /// How much of `scratch` is the same for all lines: the values of the source's labels.
    seeded: usize,
    seeds: Vec<(Key, Option<Label>, Value)>,
    /// The source's values of the numbered labels.
    bases: Vec<Option<Value>>,
    extracted: Vec<Option<Value>>,
    changes: Vec<Change>,
    /// Lists of labels that are allowed, by number; everything else of the source is removed.
    allowed: Vec<u16>,
    changed: bool,
    metadata: Vec<(Label, Value)>,
    /// Space for extractors that fill in several values at once.
    found: Vec<Option<Value>>,
}

impl Work {
    /// Buffers for lines with the labels `base`, for a program with these names. `id`: the base's own number.
    pub(super) fn new(base: Arc<Labels>, id: u64, names: &Names) -> Self {
        let count = names.labels().len();
        let mut work = Work {
            id,
            extracted: vec![None; names.keys().len()],
            changes: vec![Change::Keep; count],
            bases: vec![None; count],
            ..Work::default()
        };
        for (name, text) in base.iter() {
            let (key, label) = (names.find_key(name), names.find_label(name));
            if key.is_none() && label.is_none() {
                continue;
            }
            let value = Value::push(&mut work.scratch, text);
            work.seeds.extend(key.map(|key| (key, label, value)));
            if let Some(place) = label.and_then(|label| work.bases.get_mut(usize::from(label.0))) {
                *place = Some(value);
            }
        }
        work.seeded = work.scratch.len();
        work.base = base;
        work
    }

    /// These, in a row of lines of several bases.
    pub(super) fn one_of_several(mut self) -> Self {
        self.sum = crc32fast::hash(self.base.encoded().as_bytes());
        self
    }

    /// The labels of where the lines come from.
    pub fn base(&self) -> &Labels {
        &self.base
    }

    /// What its texts take, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.scratch.capacity() + self.fresh.capacity()
    }

    /// Becomes what another one is, in its own buffers.
    pub(super) fn copy_from(&mut self, other: &Work) {
        let Work {
            base,
            id,
            sum,
            scratch,
            fresh,
            seeded,
            seeds,
            bases,
            extracted,
            changes,
            allowed,
            changed,
            metadata,
            found,
        } = self;
        base.clone_from(&other.base);
        (*id, *sum, *seeded, *changed) = (other.id, other.sum, other.seeded, other.changed);
        scratch.clone_from(&other.scratch);
        seeds.clone_from(&other.seeds);
        bases.clone_from(&other.bases);
        extracted.clone_from(&other.extracted);
        changes.clone_from(&other.changes);
        allowed.clone_from(&other.allowed);
        metadata.clone_from(&other.metadata);
        // These mean nothing between two stages.
        fresh.clear();
        found.clear();
    }
}

/// See the module.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The line as it was read.
    pub raw: &'a str,
    /// Its text now.
    pub line: Value,
    /// Its time, nanoseconds since 1970.
    pub time_ns: i64,
    /// When it was read.
    pub read_ns: i64,
    /// Whose it is, if not the endpoint's own tenant's.
    pub tenant: Option<Value>,
    work: &'a mut Work,
}

impl<'a> Entry<'a> {
    /// A line that was just read.
    pub fn begin(raw: &'a str, time_ns: i64, work: &'a mut Work) -> Self {
        work.scratch.truncate(work.seeded);
        work.extracted.fill(None);
        for (key, _, value) in &work.seeds {
            if let Some(slot) = work.extracted.get_mut(usize::from(key.0)) {
                *slot = Some(*value);
            }
        }
        if work.changed {
            work.changes.fill(Change::Keep);
            work.allowed.clear();
            work.changed = false;
        }
        work.metadata.clear();
        Entry { raw, line: Value::in_line(0..raw.len()), time_ns, read_ns: time_ns, tenant: None, work }
    }

    /// Goes on with an entry that was put aside; `work` is as it was.
    pub(super) fn resume(raw: &'a str, time_ns: i64, read_ns: i64, work: &'a mut Work) -> Self {
        Entry { raw, line: Value::default(), time_ns, read_ns, tenant: None, work }
    }

    /// The buffers, to put the entry aside.
    pub fn work(&self) -> &Work {
        self.work
    }

    /// What tells the labels of the source apart from those of others.
    pub(super) fn base_id(&self) -> (u64, u32) {
        (self.work.id, self.work.sum)
    }

    /// A value's text.
    pub fn text(&self, value: Value) -> &str {
        value.of(self.raw, &self.work.scratch)
    }

    /// The text of the line now.
    pub fn line_text(&self) -> &str {
        self.text(self.line)
    }

    /// What was extracted under a key.
    pub fn extracted(&self, key: Key) -> Option<Value> {
        self.work.extracted.get(usize::from(key.0)).copied().flatten().filter(|value| value.kind() != Kind::Null)
    }

    /// Whether the key was looked for in something that says what it has, and was not there, or null.
    pub fn is_null(&self, key: Key) -> bool {
        let value = self.work.extracted.get(usize::from(key.0)).copied().flatten();
        value.is_some_and(|value| value.kind() == Kind::Null)
    }

    /// The text of what was extracted under a key.
    pub fn extracted_text(&self, key: Key) -> Option<&str> {
        self.extracted(key).map(|value| self.text(value))
    }

    /// Puts something under a key; `None` takes away what is there.
    pub fn extract(&mut self, key: Key, value: Option<Value>) {
        if let Some(slot) = self.work.extracted.get_mut(usize::from(key.0)) {
            *slot = value;
        }
    }

    /// Puts the labels of the source under the keys of their names again, if they are still as they were.
    pub(super) fn extract_base(&mut self) {
        let Work { seeds, extracted, changes, allowed, .. } = &mut *self.work;
        for (key, label, value) in seeds {
            // Lists of what is allowed name numbered labels.
            let is_there = match label {
                Some(label) => changes.get(usize::from(label.0)) == Some(&Change::Keep),
                None => allowed.is_empty(),
            };
            if is_there && let Some(slot) = extracted.get_mut(usize::from(key.0)) {
                *slot = Some(*value);
            }
        }
    }

    /// New text, of the entry's own.
    pub fn push(&mut self, text: &str) -> Value {
        Value::push(&mut self.work.scratch, text)
    }

    /// Makes a new text from an old one. `make` gets the old text and this entry's values, and writes the new text.
    pub fn rewrite<E>(&mut self, make: impl FnOnce(&Self, &mut String) -> Result<(), E>) -> Result<Value, E> {
        let mut fresh = std::mem::take(&mut self.work.fresh);
        fresh.clear();
        let made = make(self, &mut fresh);
        let value = made.map(|()| Value::push(&mut self.work.scratch, &fresh));
        self.work.fresh = fresh;
        value
    }

    /// Looks into the text of `source` for several values at once. `look` gets the text, a buffer for what cannot be borrowed from it, and
    /// as many places as `keys`. What it leaves empty, or finds to be null, is not put under its key.
    pub fn look_into<R>(
        &mut self,
        source: Value,
        keys: &[Key],
        look: impl FnOnce(&str, &mut String, &mut [Option<Value>]) -> R,
    ) -> R {
        let (result, base) = self.look(source, keys.len(), look);
        for (i, key) in keys.iter().enumerate() {
            if let Some(value) = self.found(i, source, base) {
                self.extract(*key, Some(value));
            }
        }
        result
    }

    /// The same; but if `look` says so, what it leaves empty or null makes its key null, and else nothing changes.
    pub fn look_into_if(
        &mut self,
        source: Value,
        keys: &[Key],
        look: impl FnOnce(&str, &mut String, &mut [Option<Value>]) -> bool,
    ) {
        let (is_good, base) = self.look(source, keys.len(), look);
        for (i, key) in keys.iter().enumerate().filter(|_| is_good) {
            let null = Value::default().with_kind(Kind::Null);
            let value = self.found(i, source, base).unwrap_or(null);
            self.extract(*key, Some(value));
        }
    }

    /// Looks, and says where what could not be borrowed begins in scratch.
    fn look<R>(
        &mut self,
        source: Value,
        count: usize,
        look: impl FnOnce(&str, &mut String, &mut [Option<Value>]) -> R,
    ) -> (R, usize) {
        let Work { scratch, fresh, found, .. } = &mut *self.work;
        fresh.clear();
        found.clear();
        found.resize(count, None);
        let result = look(source.of(self.raw, scratch), fresh, found);
        let base = scratch.len();
        scratch.push_str(fresh);
        (result, base)
    }

    fn found(&self, at: usize, source: Value, base: usize) -> Option<Value> {
        let value = self.work.found.get(at).copied().flatten().filter(|value| value.kind() != Kind::Null)?;
        Some(rebase(value, source, base))
    }

    /// Looks into the text of `source` for several values, which become the entry's.
    pub fn look_at<const N: usize, R>(
        &mut self,
        source: Value,
        look: impl FnOnce(&str, &mut String, &mut [Option<Value>; N]) -> R,
    ) -> (R, [Option<Value>; N]) {
        let Work { scratch, fresh, .. } = &mut *self.work;
        let mut found = [None; N];
        fresh.clear();
        let result = look(source.of(self.raw, scratch), fresh, &mut found);
        let base = scratch.len();
        scratch.push_str(fresh);
        let found = found.map(|value| Some(rebase(value.filter(|value| value.kind() != Kind::Null)?, source, base)));
        (result, found)
    }

    /// What becomes of a label.
    pub fn change(&self, label: Label) -> Change {
        self.work.changes.get(usize::from(label.0)).copied().unwrap_or_default()
    }

    /// A label's value now.
    pub fn label(&self, label: Label) -> Option<Value> {
        match self.change(label) {
            Change::Set(value) => Some(value),
            Change::Keep => self.work.bases.get(usize::from(label.0)).copied().flatten(),
            Change::Remove => None,
        }
    }

    /// The text of a label's value now; empty if there is none.
    pub fn label_text(&self, label: Label) -> &str {
        self.label(label).map_or("", |value| self.text(value))
    }

    /// Gives a label a value; an empty one removes it.
    pub fn set_label(&mut self, label: Label, value: Value) {
        if value.is_empty() {
            self.remove_label(label);
        } else {
            self.change_label(label, Change::Set(value));
        }
    }

    /// Takes a label away, if it is there.
    pub fn remove_label(&mut self, label: Label) {
        if self.label(label).is_some() {
            self.change_label(label, Change::Remove);
        }
    }

    fn change_label(&mut self, label: Label, change: Change) {
        if let Some(slot) = self.work.changes.get_mut(usize::from(label.0)) {
            *slot = change;
            self.work.changed = true;
        }
    }

    /// Removes all labels but those of a list, which has this number in its program; `is_allowed` says of the numbered ones.
    pub fn allow_labels(&mut self, list: u16, is_allowed: impl Fn(Label) -> bool) {
        for (number, change) in (0u16..).zip(&mut self.work.changes) {
            if !is_allowed(Label(number)) {
                *change = Change::Remove;
            }
        }
        if !self.work.allowed.contains(&list) {
            self.work.allowed.push(list);
        }
        self.work.changed = true;
    }

    /// Whether the labels are other than the source's.
    pub fn has_changes(&self) -> bool {
        self.work.changed
    }

    /// What becomes of all numbered labels, and the lists of which something is left.
    pub fn changes(&self) -> (&[Change], &[u16]) {
        (&self.work.changes, &self.work.allowed)
    }

    /// Structured metadata so far.
    pub fn metadata(&self) -> &[(Label, Value)] {
        &self.work.metadata
    }

    /// Adds structured metadata, or replaces what is there under this name.
    pub fn set_metadata(&mut self, name: Label, value: Value) {
        match self.work.metadata.iter_mut().find(|(known, _)| *known == name) {
            Some((_, there)) => *there = value,
            None => self.work.metadata.push((name, value)),
        }
    }
}

/// A value that was found in the text of `source`, as one of the entry; `base`: where its fresh buffer begins in scratch.
fn rebase(value: Value, source: Value, base: usize) -> Value {
    let range = value.range();
    let moved = match (value.place(), source.place()) {
        (Place::Line, Place::Line) => {
            let start = source.range().start;
            Value::in_line(start + range.start..start + range.end)
        }
        (Place::Line, Place::Scratch) => {
            let start = source.range().start;
            Value::in_scratch(start + range.start..start + range.end)
        }
        (Place::Scratch, _) => Value::in_scratch(base + range.start..base + range.end),
    };
    moved.with_kind(value.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> (Work, Key, Key, Label, Label) {
        let mut names = Names::default();
        let (a, b) = (names.key("a").unwrap(), names.key("b").unwrap());
        let (own, other) = (names.label("b").unwrap(), names.label("other").unwrap());
        let base = Labels::new([("b", "seed"), ("unnamed", "x")]).unwrap();
        (Work::new(Arc::new(base), 0, &names), a, b, own, other)
    }

    #[test]
    fn values_found_in_values_stay_true() {
        let (mut work, a, b, ..) = work();
        let mut entry = Entry::begin("one two", 0, &mut work);
        assert_eq!(entry.extracted_text(b), Some("seed"));
        // Borrowed from the line, then from what was made of it.
        entry.look_into(entry.line, &[a], |text, _, found| found[0] = Some(Value::in_line(4..text.len())));
        assert_eq!(entry.extracted_text(a), Some("two"));
        let made = entry.rewrite(|entry, out| {
            out.push_str(entry.line_text());
            out.push_str(" three");
            Ok::<(), ()>(())
        });
        entry.line = made.unwrap();
        entry.look_into(entry.line, &[a, b], |text, fresh, found| {
            found[0] = Some(Value::in_line(8..text.len()));
            found[1] = Some(Value::push(fresh, "fresh"));
        });
        assert_eq!((entry.extracted_text(a), entry.extracted_text(b)), (Some("three"), Some("fresh")));
        assert_eq!(entry.line_text(), "one two three");
        // What is not found stays, unless it is to go; null is nothing.
        entry.look_into(entry.line, &[a, b], |_, _, found| found[0] = Some(Value::default().with_kind(Kind::Null)));
        assert_eq!((entry.extracted_text(a), entry.extracted_text(b)), (Some("three"), Some("fresh")));
        entry.look_into_if(entry.line, &[a], |_, _, _| false);
        assert_eq!(entry.extracted_text(a), Some("three"));
        entry.look_into_if(entry.line, &[a], |_, _, _| true);
        assert_eq!((entry.extracted_text(a), entry.is_null(a)), (None, true));
        entry.extract(a, None);
        assert!(!entry.is_null(a));
        // The next line begins anew.
        let entry = Entry::begin("x", 0, &mut work);
        assert_eq!((entry.extracted_text(a), entry.extracted_text(b)), (None, Some("seed")));
    }

    #[test]
    fn labels_change_for_one_line_only() {
        let (mut work, .., own, other) = work();
        let mut entry = Entry::begin("x", 0, &mut work);
        assert_eq!((entry.label_text(own), entry.label_text(other)), ("seed", ""));
        entry.remove_label(other);
        assert!(!entry.has_changes(), "it was not there");
        let value = entry.push("v");
        entry.set_label(other, value);
        entry.allow_labels(3, |label| label == other);
        assert_eq!(entry.changes(), ([Change::Remove, Change::Set(value)].as_slice(), [3].as_slice()));
        assert_eq!((entry.label_text(own), entry.label_text(other)), ("", "v"));
        let entry = Entry::begin("y", 0, &mut work);
        assert!(!entry.has_changes());
        assert_eq!(entry.changes(), ([Change::Keep, Change::Keep].as_slice(), [].as_slice()));
    }
}
