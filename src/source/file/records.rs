//! Received records as entries: what is hidden before the stages of a source whose files are an inlet.
//!
//! A line of an inlet is a record (`format/record`). It becomes an entry here: text, time, tenant, metadata, and by relabelling its labels. Entries
//! with equal labels are of one **kind**, which is looked up by the values that the rules read, so that values that were met before cost
//! no allocation.
//!
//! Promises: what comes out depends on the record alone, so that reading it again gives the same entry; what is not understood, or damaged, is sent as
//! the text that it is, and counted; memory is bounded, however many labels there are. Leaves to others: receiving, stages, streams.

use super::settings::{Meaning, Records};
use crate::base::limits::{DAMAGED_AGE_NS, RECORD_KINDS};
use crate::base::metrics::{Counter, Registry};
use crate::format::record::{self, Record, Text};
use crate::format::syslog::{self, Message};
use crate::format::{gelf, json};
use crate::model::labels::Labels;
use crate::model::value::Value;
use crate::pipeline::entry::{Entry, Work};
use crate::pipeline::label_map::LabelMap;
use crate::pipeline::relabel::{RelabelError, Rules, Scratch};
use crate::source::stages::{Form, Outlet, Pipeline, Strand, dropped};
use crate::store::seldom::Seldom;
use foldhash::{HashMap, HashMapExt};

/// What is known of a source's records.
#[derive(Debug)]
pub(super) struct Decoder {
    settings: Records,
    kinds: Kinds,
    /// Text that had to be unescaped.
    text: String,
    tenant: String,
    gelf: Gelf,
    /// Which of a syslog message's fields the rules look at, in their order.
    wanted: [bool; 7],
    wants_address: bool,
    wants_data: bool,
    name: String,
    unparsed: Counter,
    damaged: Counter,
    told_of_damage: Seldom<1>,
    source: String,
    relabelled_away: (Counter, Counter),
}

/// Space for reading JSON.
#[derive(Debug, Default)]
struct Gelf {
    work: json::Work,
    scratch: String,
    extras: Vec<(Value, Value)>,
}

impl Decoder {
    /// For the records of a source. The rules were compiled before, when the configuration was read.
    pub(super) fn new(settings: Records, source: &str, registry: &Registry) -> Result<Box<Self>, RelabelError> {
        let mut kinds = Kinds::new(&settings)?;
        let fields = Message::default().fields();
        let unparsed = registry.counter(
            "lugger_source_unparsed_total",
            "Received messages that are not of their format and are sent as the text that they are.",
            &[("source", source)],
        );
        let damaged = registry.counter(
            "lugger_inlet_damaged_records_total",
            "Lines of an inlet that are not as they were written. The text that is left of them goes through the stages with the labels of the source, or `job`, its name; relabelling does not see it. One may have been several records.",
            &[("source", source)],
        );
        Ok(Box::new(Decoder {
            wanted: fields.map(|(name, _)| kinds.wants(name)),
            wants_address: kinds.wants(syslog::CONNECTION_IP_ADDRESS),
            wants_data: settings.label_structured_data && kinds.wants_any(syslog::DATA_PREFIX),
            kinds,
            settings,
            text: String::new(),
            tenant: String::new(),
            gelf: Gelf::default(),
            name: String::new(),
            unparsed,
            damaged,
            told_of_damage: Seldom::default(),
            source: source.to_owned(),
            relabelled_away: dropped(registry, source, "relabel"),
        }))
    }

    /// Runs one line of the inlet, the `at`th of the turn.
    pub(super) fn line(
        &mut self,
        pipeline: &mut Pipeline,
        strand: &mut Strand,
        (line, at, read_ns): (&str, usize, i64),
        outlet: &mut Outlet<'_>,
    ) {
        let Ok(record) = record::decode(line) else {
            self.damaged.add(1);
            if self.told_of_damage.is_due(0, read_ns / 1_000_000_000) {
                tracing::warn!(
                    source = self.source,
                    total = self.damaged.get(),
                    "records of what was received are damaged: the text that is left of them is sent with the `labels` of the source (`job`, its \
                     name, if it has none), without relabelling and for no tenant of their own. The disk of state_dir or a power loss has changed \
                     them, or somebody else writes to its `inlets`; look into the kernel's log"
                );
            }
            let work = self.kinds.of_damaged(&self.source, pipeline, outlet.form);
            let mut prepare = |entry: &mut Entry<'_>| {
                // Those around it are of that time. Where a stream has something much later, Loki takes nothing of before any more.
                entry.time_ns = time_left(line, read_ns).unwrap_or(entry.time_ns);
            };
            strand.prepared_line(pipeline, work, (line, at, read_ns), &mut prepare, outlet);
            return;
        };
        let Decoder { settings, kinds, text, tenant, gelf, .. } = self;
        let message = unescaped(record.message, text);
        kinds.key.clear();
        // What waits since the source was of another kind is what it was.
        let meaning = match record.kind {
            record::Kind::Syslog | record::Kind::SyslogLocal => Meaning::Syslog,
            record::Kind::Gelf => Meaning::Gelf,
            record::Kind::Push | record::Kind::Line | record::Kind::Docker => Meaning::Text,
        };
        let (entry, time_ns) = match meaning {
            Meaning::Syslog => {
                let options = syslog::Options {
                    zone: settings.zone.as_ref(),
                    received_ns: record.received_ns,
                    local: record.kind == record::Kind::SyslogLocal,
                };
                let found = syslog::parse(message, &options);
                self.unparsed.add(u64::from(found.format == syslog::Format::Plain));
                for ((name, value), _) in found.fields().into_iter().zip(self.wanted).filter(|(_, wanted)| *wanted) {
                    if let Some(value) = value {
                        kinds.put(name, value);
                    }
                }
                if self.wants_address
                    && let Some(peer) = record.peer
                {
                    kinds.put(syslog::CONNECTION_IP_ADDRESS, &peer.text());
                }
                if self.wants_data {
                    for param in found.data.params() {
                        self.name.clear();
                        syslog::write_data_name(param.id, param.name, &mut self.name);
                        if kinds.wants(&self.name) {
                            kinds.put(&self.name, &param.text());
                        }
                    }
                }
                let is_whole = settings.use_rfc5424_message && found.format == syslog::Format::Ietf;
                (if is_whole { message } else { found.text }, found.time_ns)
            }
            Meaning::Gelf => {
                gelf.scratch.clear();
                match gelf::parse(message, &mut gelf.work, &mut gelf.scratch, &mut gelf.extras) {
                    Ok(found) => {
                        for (name, value) in found.labels(message, &gelf.scratch) {
                            if kinds.wants(name) {
                                kinds.put(name, value);
                            }
                        }
                        (message, found.time_ns)
                    }
                    Err(_) => {
                        self.unparsed.add(1);
                        (message, None)
                    }
                }
            }
            Meaning::Text => (message, record.time_ns),
        };
        for (name, value) in record.labels.iter() {
            kinds.put(&name.text(), &value.text());
        }
        let key = std::mem::take(&mut kinds.key);
        let work = kinds.of(&key, pipeline, outlet.form);
        match work {
            Some(work) => {
                // What the source says of times is meant for records of its own kind.
                let is_used = settings.use_incoming_timestamp && meaning == settings.meaning;
                let time_ns = time_ns.filter(|_| is_used).unwrap_or(record.received_ns);
                let tenant = record.tenant.map(|text| unescaped(text, tenant));
                let mut prepare = |entry: &mut Entry<'_>| {
                    entry.time_ns = time_ns;
                    entry.tenant = tenant.map(|tenant| entry.push(tenant));
                    give(&record, entry);
                };
                strand.prepared_line(pipeline, work, (entry, at, read_ns), &mut prepare, outlet);
            }
            None => {
                self.relabelled_away.0.add(1);
                self.relabelled_away.1.add(entry.len() as u64);
            }
        }
        self.kinds.key = key;
    }
}

/// When what is left of a damaged record was received, if it says so still: nanoseconds since 1970.
fn time_left(line: &str, read_ns: i64) -> Option<i64> {
    let time_ns = line.split(' ').nth(1)?.parse().ok()?;
    (read_ns.saturating_sub(DAMAGED_AGE_NS)..=read_ns).contains(&time_ns).then_some(time_ns)
}

/// The metadata of a record.
fn give(record: &Record<'_>, entry: &mut Entry<'_>) {
    for (name, value) in record.metadata.iter() {
        entry.give(&name.text(), &value.text());
    }
}

/// A text as it was before it was written to the record.
fn unescaped<'a>(written: Text<'a>, to: &'a mut String) -> &'a str {
    match written.plain() {
        Some(text) => text,
        None => {
            to.clear();
            written.write(to);
            to
        }
    }
}

/// What the rules make of labels.
#[derive(Debug)]
struct Kinds {
    rules: Rules,
    scratch: Scratch,
    map: LabelMap,
    own: Labels,
    outer: Labels,
    /// Labels that come with an entry stay, in place of those alone that the rules make something of.
    keeps_all: bool,
    known: HashMap<Box<[u8]>, Option<usize>>,
    kinds: Vec<(Labels, Work)>,
    /// Names and values of the entry that is at hand, each with its length before it.
    key: Vec<u8>,
    last: Vec<u8>,
    last_kind: Option<Option<usize>>,
    /// Of what is damaged.
    damaged: Option<Work>,
}

impl Kinds {
    fn new(settings: &Records) -> Result<Kinds, RelabelError> {
        let rules = Rules::compile(&settings.relabel)?;
        Ok(Kinds {
            scratch: rules.scratch(),
            map: LabelMap::new(),
            own: settings.labels.clone(),
            outer: settings.outer_labels.clone(),
            keeps_all: settings.meaning == Meaning::Text,
            known: HashMap::new(),
            kinds: Vec::new(),
            key: Vec::new(),
            last: Vec::new(),
            last_kind: None,
            damaged: None,
            rules,
        })
    }

    /// Whether the rules look at a label.
    fn wants(&mut self, name: &str) -> bool {
        self.keeps_all || self.rules.reads().any(|read| read == name) || self.rules.maps(name, &mut self.scratch)
    }

    /// Whether they may look at one that begins like this.
    fn wants_any(&self, prefix: &str) -> bool {
        self.rules.has_maps() || self.rules.reads().any(|read| read.starts_with(prefix))
    }

    fn put(&mut self, name: &str, value: &str) {
        for text in [name, value] {
            self.key.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.key.extend_from_slice(text.as_bytes());
        }
    }

    /// The buffers of an entry with these labels; `None`: a rule drops it.
    fn of(&mut self, key: &[u8], pipeline: &mut Pipeline, form: Form<'_>) -> Option<&mut Work> {
        let kind = match self.last_kind {
            Some(kind) if self.last == key => kind,
            _ => self.find(key, pipeline, form),
        };
        self.kinds.get_mut(kind?).map(|(_, work)| work)
    }

    /// The buffers of what is damaged: its labels are those that the source has by itself, so that no rule drops it and Loki takes it.
    fn of_damaged(&mut self, source: &str, pipeline: &mut Pipeline, form: Form<'_>) -> &mut Work {
        let Kinds { map, own, outer, damaged, .. } = self;
        damaged.get_or_insert_with(|| {
            map.clear();
            for (name, value) in own.iter() {
                map.set(name, value);
            }
            map.drop_internal();
            let (labels, repairs) = Labels::capped(outer.iter().chain(map.iter()), form.label_caps);
            form.labels_repaired.add(repairs);
            let labels = if labels.is_empty() { Labels::capped([("job", source)], form.label_caps).0 } else { labels };
            pipeline.work_of_several(labels)
        })
    }

    fn find(&mut self, key: &[u8], pipeline: &mut Pipeline, form: Form<'_>) -> Option<usize> {
        let kind = match self.known.get(key) {
            Some(kind) => *kind,
            None => {
                if self.known.len() >= RECORD_KINDS {
                    self.known.clear();
                }
                let kind = self.judge(key, pipeline, form);
                self.known.insert(key.into(), kind);
                kind
            }
        };
        self.last.clear();
        self.last.extend_from_slice(key);
        self.last_kind = Some(kind);
        kind
    }

    fn judge(&mut self, key: &[u8], pipeline: &mut Pipeline, form: Form<'_>) -> Option<usize> {
        let Kinds { map, own, outer, .. } = self;
        map.clear();
        let mut rest = key;
        while let Some((name, value)) = take_text(&mut rest).zip(take_text(&mut rest)) {
            map.set(name, value);
        }
        for (name, value) in own.iter() {
            map.set(name, value);
        }
        if !self.rules.apply(map, &mut self.scratch) {
            return None;
        }
        map.drop_internal();
        let (labels, repairs) = Labels::capped(outer.iter().chain(map.iter()), form.label_caps);
        form.labels_repaired.add(repairs);
        if let Some(kind) = self.kinds.iter().position(|(known, _)| *known == labels) {
            return Some(kind);
        }
        if self.kinds.len() >= RECORD_KINDS {
            self.kinds.clear();
            self.known.clear();
        }
        let work = pipeline.work_of_several(labels.clone());
        self.kinds.push((labels, work));
        Some(self.kinds.len() - 1)
    }
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let (text, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}
