//! From an entry's labels to the stream that it belongs to: looked up by what the stages changed, so that a label set that was met
//! before costs no allocation.
//!
//! Promises: entries of a file with equal changes and tenant have one stream; whoever minds [`Streams::is_full`] bounds how many are remembered.
//! Leaves to others: that labels are valid (`Labels::capped`), encoding (the output).

use super::entry::{Change, Entry};
use super::program::LabelNames;
use crate::base::limits::PIPELINE_STREAMS;
use foldhash::{HashMap, HashMapExt};

/// What the labels of an entry are told apart by, before they are made: its source's labels, the changes to them, and the tenant.
pub(super) fn key_of(entry: &Entry<'_>, key: &mut Vec<u8>) {
    key.clear();
    // Also, it is never empty then: two empty buffers have no memory, and looking there takes some processors longer than all the rest.
    let (id, sum) = entry.base_id();
    key.extend_from_slice(&id.to_le_bytes());
    key.extend_from_slice(&sum.to_le_bytes());
    let put = |key: &mut Vec<u8>, tag: u8, text: &str| {
        key.push(tag);
        // A length is needed: values may hold any bytes.
        key.extend_from_slice(&(text.len() as u32).to_le_bytes());
        key.extend_from_slice(text.as_bytes());
    };
    if let Some(tenant) = entry.tenant {
        put(key, b't', entry.text(tenant));
    }
    if entry.has_changes() {
        let (changes, allowed) = entry.changes();
        for list in allowed {
            key.push(b'a');
            key.extend_from_slice(&list.to_le_bytes());
        }
        for change in changes {
            match change {
                Change::Keep => key.push(b'k'),
                Change::Remove => key.push(b'r'),
                Change::Set(value) => put(key, b's', entry.text(*value)),
            }
        }
    }
}

/// A checksum of a stage and the stream that an entry is of there, which is the same after a restart; not 0. `key` is a buffer.
pub(super) fn checksum_of(entry: &Entry<'_>, stage: usize, key: &mut Vec<u8>) -> u32 {
    key_of(entry, key);
    checksum(stage, key)
}

/// The same, of a stream's key.
pub(super) fn checksum(stage: usize, key: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(stage as u32);
    // Bases are numbered anew with each start; what tells them apart beside that stays. One that is alone needs nothing, and has the checksum that
    // checkpoints of older versions have.
    let key = key.get(size_of::<u64>()..).unwrap_or_default();
    match key.strip_prefix(&[0; size_of::<u32>()]) {
        Some(changes) => {
            sum.update(b".");
            sum.update(changes);
        }
        None => sum.update(key),
    }
    sum.finalize().max(1)
}

/// The labels of an entry as they are asked for: pairs that nobody has checked.
pub fn pairs_of<'e>(entry: &'e Entry<'_>, names: &'e LabelNames) -> impl Iterator<Item = (&'e str, &'e str)> {
    let (changes, allowed) = entry.changes();
    let labels = names.names.labels();
    let stays = move |name: &str| {
        let is_allowed =
            |list: &u16| names.allowed.get(usize::from(*list)).is_some_and(|l| l.iter().any(|n| n == name));
        match names.names.find_label(name) {
            Some(_) if changes.is_empty() => true,
            Some(label) => entry.change(label) == Change::Keep,
            None => allowed.iter().all(is_allowed),
        }
    };
    let kept = entry.work().base().iter().filter(move |(name, _)| stays(name));
    let set = labels.iter().zip(changes).filter_map(|(name, change)| match change {
        Change::Set(value) => Some((name.as_str(), entry.text(*value))),
        Change::Keep | Change::Remove => None,
    });
    kept.chain(set)
}

/// The labels of an entry that comes out: its own, and the late ones of the program that it has not itself.
pub fn pairs_to_send<'e>(entry: &'e Entry<'_>, names: &'e LabelNames) -> impl Iterator<Item = (&'e str, &'e str)> {
    let has = |name: &str| pairs_of(entry, names).any(|(own, _)| own == name);
    pairs_of(entry, names).chain(names.late.iter().filter(move |(name, _)| !has(name)))
}

/// The streams of one file, or other row of lines, by the labels of where they come from and what entries change of them. `S` is what the output calls a stream.
#[derive(Debug)]
pub struct Streams<S> {
    known: HashMap<Box<[u8]>, Option<S>>,
    key: Vec<u8>,
    /// The one that was asked for last: lines of a kind come together.
    last: Vec<u8>,
    last_stream: Option<Option<S>>,
}

impl<S> Default for Streams<S> {
    fn default() -> Self {
        Streams { known: HashMap::new(), key: Vec::new(), last: Vec::new(), last_stream: None }
    }
}

impl<S: Copy> Streams<S> {
    /// The stream of an entry. `None`: it has no labels, so that it cannot be sent. `make` is called for one that was not met before and says
    /// so with `None`.
    pub fn of(&mut self, entry: &Entry<'_>, make: impl FnOnce() -> Option<S>) -> Option<S> {
        key_of(entry, &mut self.key);
        if let Some(stream) = self.last_stream
            && self.last == self.key
        {
            return stream;
        }
        let stream = match self.known.get(self.key.as_slice()) {
            Some(stream) => *stream,
            None => {
                let stream = make();
                self.known.insert(self.key.as_slice().into(), stream);
                stream
            }
        };
        std::mem::swap(&mut self.last, &mut self.key);
        self.last_stream = Some(stream);
        stream
    }

    /// Whether so many are known that they should be forgotten before the next chunk.
    pub fn is_full(&self) -> bool {
        self.known.len() >= PIPELINE_STREAMS
    }

    /// Forgets all streams; each is given to `release`.
    pub fn forget(&mut self, release: impl FnMut(S)) {
        self.last_stream = None;
        std::mem::take(&mut self.known).into_values().flatten().for_each(release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;
    use crate::pipeline::entry::Work;
    use crate::pipeline::keys::Names;
    use std::sync::Arc;

    fn names() -> LabelNames {
        let mut names = Names::default();
        for name in ["level", "job", "app"] {
            names.label(name).unwrap();
        }
        let late = Labels::new([("site", "s"), ("level", "late"), ("job", "late")]).unwrap();
        LabelNames { names, allowed: vec![vec!["job".into(), "level".into()]], late }
    }

    fn shown(entry: &Entry<'_>, names: &LabelNames) -> String {
        Labels::new(pairs_of(entry, names)).unwrap().encoded()
    }

    #[test]
    fn labels_are_the_sources_with_the_changes() {
        let names = names();
        let label = |name| names.names.find_label(name).unwrap();
        let base = Labels::new([("job", "j"), ("host", "h"), ("app", "a")]).unwrap();
        let mut work = Work::new(Arc::new(base), 0, &names.names);
        let mut entry = Entry::begin("info", 0, &mut work);
        let mut key = Vec::new();
        key_of(&entry, &mut key);
        assert!(!key.is_empty());
        assert_eq!(shown(&entry, &names), r#"{app="a", host="h", job="j"}"#);
        entry.set_label(label("level"), entry.line);
        entry.remove_label(label("app"));
        assert_eq!(shown(&entry, &names), r#"{host="h", job="j", level="info"}"#);
        entry.allow_labels(0, |known| known != label("app"));
        assert_eq!(shown(&entry, &names), r#"{job="j", level="info"}"#);
    }

    #[test]
    fn late_labels_are_those_that_are_not_there() {
        let names = names();
        let label = |name| names.names.find_label(name).unwrap();
        let base = Labels::new([("job", "j"), ("host", "h")]).unwrap();
        let mut work = Work::new(Arc::new(base), 0, &names.names);
        let mut entry = Entry::begin("info", 0, &mut work);
        let shown = |entry: &Entry<'_>| Labels::new(pairs_to_send(entry, &names)).unwrap().encoded();
        assert_eq!(shown(&entry), r#"{host="h", job="j", level="late", site="s"}"#);
        entry.set_label(label("level"), entry.line);
        entry.remove_label(label("job"));
        assert_eq!(shown(&entry), r#"{host="h", job="late", level="info", site="s"}"#);
        entry.allow_labels(0, |known| known != label("app"));
        assert_eq!(shown(&entry), r#"{job="late", level="info", site="s"}"#);
    }

    #[test]
    fn equal_changes_have_one_stream() {
        let names = names();
        let level = names.names.find_label("level").unwrap();
        let mut work = Work::new(Arc::default(), 0, &names.names);
        let mut streams = Streams::default();
        let mut made = Vec::new();
        let mut of = |line: &str, tenant: bool| {
            let mut entry = Entry::begin(line, 0, &mut work);
            entry.tenant = tenant.then_some(entry.line);
            entry.set_label(level, entry.line);
            streams.of(&entry, || {
                made.push(line.to_owned());
                (line != "none").then_some(made.len())
            })
        };
        assert_eq!(
            [of("a", false), of("a", false), of("b", false), of("a", false)],
            [Some(1), Some(1), Some(2), Some(1)]
        );
        assert_eq!([of("none", false), of("none", false), of("a", true)], [None, None, Some(4)]);
        assert_eq!(made, ["a", "b", "none", "a"]);
        let mut gone = Vec::new();
        streams.forget(|stream| gone.push(stream));
        gone.sort_unstable();
        assert_eq!(gone, [1, 2, 4]);
    }
}
