//! From an entry's fields to its labels, by relabelling; looked up by the values that the rules read, so that values that were met before cost
//! no allocation.
//!
//! A field `_SYSTEMD_UNIT` is the label `__journal__systemd_unit` to the rules, as in Promtail; `__journal_priority_keyword` is the name of its
//! priority. Entries with equal labels are of one **kind**.
//!
//! Promises: bounded in what is remembered. Leaves to others: which entries are wanted, the stages, streams.

use super::filter::priority;
use super::settings::Settings;
use super::text::push_lossy;
use crate::base::limits::JOURNAL_KINDS;
use crate::format::journal::Fields;
use crate::model::flow::StreamId;
use crate::model::labels::Labels;
use crate::pipeline::entry::Work;
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{RelabelError, Rules, Scratch};
use crate::source::stages::{LabelRepairs, Pipeline};
use foldhash::{HashMap, HashMapExt};

/// What rules see fields under.
const PREFIX: &str = "__journal_";
/// What they see the name of the priority under.
const KEYWORD: &str = "__journal_priority_keyword";
/// The priorities, from 0.
const KEYWORDS: [&str; 8] = ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"];

/// What entries with equal labels have in common.
#[derive(Debug)]
pub(super) struct Kind {
    pub labels: Labels,
    /// Their stream, if there are no stages.
    pub stream: Option<StreamId>,
    /// Buffers for their lines, if there are.
    pub work: Option<Work>,
}

/// What the rules make of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has the labels of this kind.
    Kind(usize),
    /// A rule drops it.
    Dropped,
    /// It has no labels.
    Unlabelled,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Kinds {
    rules: Rules,
    scratch: Scratch,
    map: LabelMap,
    own: Labels,
    outer: Labels,
    /// Fields that the rules read by name, and what they call them.
    fields: Vec<(Box<[u8]>, String)>,
    reads_keyword: bool,
    /// Other fields: what the rules call them, if they copy them.
    mapped: HashMap<Box<[u8]>, Option<String>>,
    has_maps: bool,
    /// With stages an entry may get its labels there.
    has_stages: bool,
    known: HashMap<Box<[u8]>, Verdict>,
    kinds: Vec<Kind>,
    by_labels: HashMap<Labels, usize>,
    key: Vec<u8>,
    /// The values that were asked for last: entries of a kind come together.
    last: Vec<u8>,
    last_verdict: Option<Verdict>,
    value: String,
}

impl Kinds {
    pub(super) fn new(settings: &Settings) -> Result<Kinds, RelabelError> {
        let rules = Rules::compile(&settings.relabel)?;
        let mut fields: Vec<(Box<[u8]>, String)> = Vec::new();
        for name in rules.reads() {
            if let Some(field) = name.strip_prefix(PREFIX)
                && name != KEYWORD
                && !fields.iter().any(|(_, known)| known == name)
            {
                // Fields have no small letters.
                fields.push((field.to_ascii_uppercase().as_bytes().into(), name.to_owned()));
            }
        }
        let mut scratch = rules.scratch();
        let reads_keyword = rules.reads().any(|name| name == KEYWORD) || rules.maps(KEYWORD, &mut scratch);
        Ok(Kinds {
            scratch,
            map: LabelMap::new(),
            own: settings.labels.clone(),
            outer: settings.outer_labels.clone(),
            fields,
            reads_keyword,
            mapped: HashMap::new(),
            has_maps: rules.has_maps(),
            has_stages: !settings.stages.is_empty(),
            known: HashMap::new(),
            kinds: Vec::new(),
            by_labels: HashMap::new(),
            key: Vec::new(),
            last: Vec::new(),
            last_verdict: None,
            value: String::new(),
            rules,
        })
    }

    /// The fields that are to be read for the rules; `None`: all.
    pub(super) fn wanted(&self) -> Option<Vec<String>> {
        if self.has_maps {
            return None;
        }
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let named = self.fields.iter().map(|(field, _)| text(field));
        Some(named.chain(self.reads_keyword.then(|| "PRIORITY".to_owned())).collect())
    }

    /// What the rules make of an entry. `make` is called for labels that were not met before.
    pub(super) fn of(&mut self, fields: &Fields, pipeline: Option<&mut Pipeline>, caps: &mut Caps<'_>) -> Verdict {
        self.put_key(fields);
        if let Some(verdict) = self.last_verdict
            && self.last == self.key
        {
            return verdict;
        }
        let verdict = match self.known.get(self.key.as_slice()) {
            Some(verdict) => *verdict,
            None => {
                let verdict = self.judge(fields, pipeline, caps);
                if self.known.len() < JOURNAL_KINDS {
                    self.known.insert(self.key.as_slice().into(), verdict);
                }
                verdict
            }
        };
        std::mem::swap(&mut self.last, &mut self.key);
        self.last_verdict = Some(verdict);
        verdict
    }

    /// What entries are told apart by: the values that the rules read.
    fn put_key(&mut self, fields: &Fields) {
        let key = &mut self.key;
        key.clear();
        // Never empty, and lengths before the values, which may be any bytes.
        key.push(if self.reads_keyword { priority(fields).unwrap_or(8) } else { 9 });
        let put = |key: &mut Vec<u8>, value: &[u8]| {
            key.extend_from_slice(&(value.len() as u32).to_le_bytes());
            key.extend_from_slice(value);
        };
        for (field, _) in &self.fields {
            put(key, fields.get(field).unwrap_or_default());
        }
        if !self.has_maps {
            return;
        }
        for (name, value) in fields.iter() {
            if !self.mapped.contains_key(name) {
                if self.mapped.len() >= JOURNAL_KINDS {
                    self.mapped.clear();
                }
                let label = label_of(name).filter(|label| self.rules.maps(label, &mut self.scratch));
                self.mapped.insert(name.into(), label);
            }
            if self.mapped.get(name).is_some_and(Option::is_some) {
                put(key, name);
                put(key, value);
            }
        }
    }

    fn judge(&mut self, fields: &Fields, pipeline: Option<&mut Pipeline>, caps: &mut Caps<'_>) -> Verdict {
        let Kinds { map, value, .. } = self;
        map.clear();
        for (name, text) in self.own.iter() {
            map.set(name, text);
        }
        let mut set = |label: &str, bytes: &[u8]| {
            value.clear();
            push_lossy(bytes, value);
            map.set(label, value);
        };
        for (field, label) in &self.fields {
            set(label, fields.get(field).unwrap_or_default());
        }
        if self.has_maps {
            for (name, bytes) in fields.iter() {
                if let Some(Some(label)) = self.mapped.get(name) {
                    set(label, bytes);
                }
            }
        }
        if self.reads_keyword
            && let Some(keyword) = priority(fields).and_then(|priority| KEYWORDS.get(usize::from(priority)))
        {
            map.set(KEYWORD, keyword);
        }
        if !self.rules.apply(map, &mut self.scratch) {
            return Verdict::Dropped;
        }
        map.drop_internal();
        let (labels, repairs) = Labels::capped(self.outer.iter().chain(map.iter()), caps.caps);
        caps.repaired.add(repairs);
        if labels.is_empty() && !self.has_stages {
            return Verdict::Unlabelled;
        }
        Verdict::Kind(self.by_labels.get(&labels).copied().unwrap_or_else(|| {
            let work = pipeline.map(|pipeline| pipeline.work_of_several(labels.clone()));
            self.by_labels.insert(labels.clone(), self.kinds.len());
            self.kinds.push(Kind { labels, stream: None, work });
            self.kinds.len() - 1
        }))
    }

    pub(super) fn get_mut(&mut self, kind: usize) -> Option<&mut Kind> {
        self.kinds.get_mut(kind)
    }

    /// Whether so many are known that they should be forgotten before the next chunk.
    pub(super) fn is_full(&self) -> bool {
        self.kinds.len() >= JOURNAL_KINDS || self.known.len() >= JOURNAL_KINDS
    }

    /// Forgets all; their streams are given to `release`.
    pub(super) fn forget(&mut self, mut release: impl FnMut(StreamId)) {
        self.known.clear();
        self.by_labels.clear();
        self.last_verdict = None;
        self.kinds.drain(..).filter_map(|kind| kind.stream).for_each(&mut release);
    }
}

/// What Loki takes of labels, and who counts what was changed for that.
pub(super) struct Caps<'a> {
    pub caps: crate::model::labels::LabelCaps,
    pub repaired: &'a LabelRepairs,
}

/// What rules call a field. `None`: it is not a name.
fn label_of(field: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(field).ok()?;
    Some(format!("{PREFIX}{}", name.to_ascii_lowercase()))
}
