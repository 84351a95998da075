//! `geoip`: what a database knows of an address becomes labels and extracted keys.
//!
//! ```yaml
//! - geoip: { db: /usr/share/GeoIP/GeoLite2-City.mmdb, source: ip, db_type: city, custom_lookups: { radius: location.accuracy_radius } }
//! ```
//!
//! What Promtail makes labels of are labels here too, at once. All of it, and what only Alloy has (`geoip_country_code` and `custom_lookups`,
//! JMESPath into the record), are extracted keys. A text that is no address, one that is not in the database, and what the record has not
//! or has empty change nothing.
//!
//! Values of the last records are remembered, so that an address of a network that was seen before costs the search for it and one copy.

use super::Stage;
use crate::base::limits::{GEOIP_RECORD_BYTES, GEOIP_RECORDS};
use crate::format::json::{CompileError, Expressions, Work};
use crate::format::mmdb::{Database, Kind, Record};
use crate::model::value::{Kind as ValueKind, Value};
use crate::pipeline::entry::Entry;
use crate::pipeline::keys::{Key, Label};
use crate::pipeline::program::{Context, Flow};
use std::net::IpAddr;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(in crate::pipeline) struct GeoIp {
    database: Arc<Database>,
    source: Key,
    finder: Finder,
    /// Where values go: those of the kind's fields, then those of lookups. `None`: nobody reads it.
    targets: Vec<(Option<Key>, Option<Label>)>,
    /// Direct-mapped by the record's number.
    known: Box<[Known]>,
}

/// What is looked for in a record.
#[derive(Debug)]
struct Finder {
    kind: Option<Kind>,
    fields: usize,
    lookups: Vec<(Key, String)>,
    expressions: Expressions,
    work: Work,
    found: Vec<Option<Value>>,
    scratch: String,
}

/// The values of a record.
#[derive(Debug, Clone, Default)]
struct Known {
    number: Option<usize>,
    text: String,
    values: Vec<Option<Value>>,
}

impl GeoIp {
    /// `fields`: where the kind's fields go, in their order. `lookups`: keys and JMESPaths.
    ///
    /// # Errors
    /// A lookup is not JMESPath.
    pub(in crate::pipeline) fn new(
        database: Arc<Database>,
        source: Key,
        kind: Option<Kind>,
        fields: Vec<(Key, Option<Label>)>,
        lookups: Vec<(Key, String)>,
    ) -> Result<Self, CompileError> {
        let mut targets: Vec<_> = fields.into_iter().map(|(key, label)| (Some(key), label)).collect();
        let fields = targets.len();
        targets.extend(lookups.iter().map(|(key, _)| (Some(*key), None)));
        let finder = Finder::new(kind, fields, lookups)?;
        let known = vec![Known::default(); GEOIP_RECORDS].into_boxed_slice();
        Ok(GeoIp { database, source, finder, targets, known })
    }
}

impl Finder {
    fn new(kind: Option<Kind>, fields: usize, lookups: Vec<(Key, String)>) -> Result<Self, CompileError> {
        let texts: Vec<&str> = lookups.iter().map(|(_, text)| text.as_str()).collect();
        let expressions = Expressions::compile(&texts)?;
        let found = vec![None; lookups.len()];
        Ok(Finder { kind, fields, lookups, expressions, work: Work::default(), found, scratch: String::new() })
    }

    fn fill(&mut self, known: &mut Known, record: &Record<'_>) {
        let Known { number, text, values } = known;
        *number = Some(record.number());
        text.clear();
        values.clear();
        values.resize(self.fields, None);
        if let Some(kind) = self.kind {
            record.fields(kind, text, values);
        }
        if self.lookups.is_empty() {
            return;
        }
        let json = record.json().unwrap_or_default();
        let Finder { expressions, work, found, scratch, .. } = self;
        scratch.clear();
        // What cannot be read has nothing that could be found.
        let _ = expressions.find(&json, work, scratch, found);
        values.extend(found.iter().map(|value| {
            let value = value.filter(|value| value.kind() != ValueKind::Null)?;
            Some(Value::push(text, value.of(&json, scratch)).with_kind(value.kind()))
        }));
    }
}

impl Known {
    /// The place of a record among those that are remembered.
    fn place(number: usize) -> usize {
        // Numbers are places in the file, most of them far apart: a product spreads them (Fibonacci hashing).
        let spread = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(spread).unwrap_or(0) & (GEOIP_RECORDS - 1)
    }
}

impl Stage for GeoIp {
    fn run(&mut self, entry: &mut Entry<'_>, _: &mut Context<'_>) -> Flow {
        let GeoIp { database, source, finder, targets, known } = self;
        let Some(Ok(address)) = entry.extracted_text(*source).map(str::parse::<IpAddr>) else { return Flow::Next };
        let Some(record) = database.find(address) else { return Flow::Next };
        let Some(known) = known.get_mut(Known::place(record.number())) else { return Flow::Next };
        if known.number != Some(record.number()) {
            finder.fill(known, &record);
        }
        let base = entry.push(&known.text).range().start;
        for (value, (key, label)) in known.values.iter().zip(targets) {
            let Some(value) = value else { continue };
            let range = value.range();
            let value = Value::in_scratch(base + range.start..base + range.end).with_kind(value.kind());
            if let Some(key) = key {
                entry.extract(*key, Some(value));
            }
            if let Some(label) = label {
                entry.set_label(*label, value);
            }
        }
        if known.text.len() > GEOIP_RECORD_BYTES {
            *known = Known::default();
        }
        Flow::Next
    }

    fn prune(&mut self, is_read: &dyn Fn(Key) -> bool) {
        let GeoIp { finder, targets, .. } = self;
        targets.truncate(finder.fields);
        for (key, _) in targets.iter_mut() {
            *key = key.filter(|key| is_read(*key));
        }
        let lookups: Vec<_> = finder.lookups.iter().filter(|(key, _)| is_read(*key)).cloned().collect();
        targets.extend(lookups.iter().map(|(key, _)| (Some(*key), None)));
        // What compiled once compiles again.
        if let Ok(pruned) = Finder::new(finder.kind, finder.fields, lookups) {
            *finder = pruned;
        }
    }
}
