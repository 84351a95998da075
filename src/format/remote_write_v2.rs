//! Writes requests of Prometheus' remote write 2.0, `io.prometheus.write.v2.Request`.
//!
//! Each text is in the request once, in its table of symbols; series name their labels by numbers. Series that follow each other have most labels in
//! common, so that a label is compared with the one at its place in the series before, and only others are looked up.
//!
//! Promises: the first symbol is the empty one, none is there twice; labels keep their order, values their bits. Memory is used again. Leaves to
//! others: compression, the order of times within a series, the size of requests, and what to do about endpoints that only know 1.0.

use crate::format::remote_write::wire::{
    bytes_len, double_len, number_len, push_bytes, push_double, push_number, push_varint, varint_len,
};
use crate::format::remote_write::{labels_in, sorted};
use crate::model::points::Point;
use crate::model::samples::{Exemplar, Family, Kind};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::Range;

/// A request while it is written.
#[derive(Debug, Default)]
pub struct Request {
    symbols: Symbols,
    series: Vec<u8>,
    count: usize,
    /// The labels of the series before, each with the numbers of its name and value.
    last: Vec<u8>,
    last_refs: Vec<(u32, u32)>,
    refs: Vec<(u32, u32)>,
    packed: Vec<u8>,
    body: Vec<u8>,
}

/// The table of symbols; the empty one is not kept.
#[derive(Debug, Default)]
struct Symbols {
    text: Vec<u8>,
    /// Symbol 1 and those behind it.
    places: Vec<Range<u32>>,
    table: HashTable<u32>,
    hasher: RandomState,
    /// Bytes of all symbols, encoded.
    encoded: usize,
}

impl Request {
    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.symbols.clear();
        self.series.clear();
        self.count = 0;
        self.last.clear();
        self.last_refs.clear();
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that [`Request::finish`] will append.
    pub fn encoded_len(&self) -> usize {
        // The empty symbol is a tag and a length.
        2 + self.symbols.encoded + self.series.len()
    }

    /// Adds a series: its labels as [`push_label`](crate::format::remote_write::push_label) wrote them, its values in the order of their times, its
    /// exemplars, and what is known of its family. An exemplar without a time has that of the last value.
    pub fn push_series(&mut self, labels: &[u8], points: &[Point], exemplars: &[Exemplar], family: Option<&Family>) {
        let last_ms = points.last().map_or(0, |point| point.time_ms);
        self.number_labels(labels);
        self.body.clear();
        if !self.packed.is_empty() {
            push_bytes(1, &self.packed, &mut self.body);
        }
        for point in points {
            self.body.push(2 << 3 | 2);
            let len = double_len(point.bits) + number_len(point.time_ms) + number_len(point.start_ms);
            push_varint(len as u64, &mut self.body);
            push_double(1, point.bits, &mut self.body);
            push_number(2, point.time_ms, &mut self.body);
            push_number(3, point.start_ms, &mut self.body);
        }
        for exemplar in exemplars {
            self.packed.clear();
            let Self { symbols, packed, .. } = self;
            sorted(exemplar.key, |name, value| {
                for text in [name, value] {
                    push_varint(symbols.number(text.as_bytes()).into(), packed);
                }
            });
            let time_ms = exemplar.time_ms.unwrap_or(last_ms);
            // A packed field without numbers is left out.
            let refs = if self.packed.is_empty() { 0 } else { bytes_len(self.packed.len()) };
            self.body.push(4 << 3 | 2);
            push_varint((refs + double_len(exemplar.bits) + number_len(time_ms)) as u64, &mut self.body);
            if refs > 0 {
                push_bytes(1, &self.packed, &mut self.body);
            }
            push_double(2, exemplar.bits, &mut self.body);
            push_number(3, time_ms, &mut self.body);
        }
        if let Some(family) = family.filter(|f| f.kind != Kind::Unknown || !f.help.is_empty() || !f.unit.is_empty()) {
            let kind = i64::from(family.kind as u8);
            let [help, unit] = [family.help, family.unit].map(|text| i64::from(self.symbols.number(text.as_bytes())));
            self.body.push(5 << 3 | 2);
            push_varint((number_len(kind) + number_len(help) + number_len(unit)) as u64, &mut self.body);
            push_number(1, kind, &mut self.body);
            push_number(3, help, &mut self.body);
            push_number(4, unit, &mut self.body);
        }
        push_bytes(5, &self.body, &mut self.series);
        self.count += 1;
    }

    /// Appends the request.
    pub fn finish(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        push_bytes(4, b"", out);
        for place in &self.symbols.places {
            push_bytes(4, self.symbols.text(place), out);
        }
        out.extend_from_slice(&self.series);
    }

    /// Puts the numbers of a series' labels into `packed`.
    fn number_labels(&mut self, labels: &[u8]) {
        self.packed.clear();
        self.refs.clear();
        let mut before = labels_in(&self.last).zip(&self.last_refs);
        for (field, name, value) in labels_in(labels) {
            let (name, value) = match before.next() {
                Some(((same, ..), refs)) if same == field => *refs,
                _ => (self.symbols.number(name), self.symbols.number(value)),
            };
            self.refs.push((name, value));
            push_varint(name.into(), &mut self.packed);
            push_varint(value.into(), &mut self.packed);
        }
        drop(before);
        self.last_refs.clear();
        self.last_refs.extend_from_slice(&self.refs);
        self.last.clear();
        self.last.extend_from_slice(labels);
    }
}

impl Symbols {
    fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
        self.table.clear();
        self.encoded = 0;
    }

    fn text(&self, place: &Range<u32>) -> &[u8] {
        self.text.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    /// The number of a text, which is put into the table if it is new.
    fn number(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let Self { text: all, places, table, hasher, encoded } = self;
        let of = |number: &u32| {
            let place = places.get(*number as usize - 1).cloned().unwrap_or_default();
            all.get(place.start as usize..place.end as usize).unwrap_or_default()
        };
        let hash = hasher.hash_one(text);
        if let Some(number) = table.find(hash, |number| of(number) == text) {
            return *number;
        }
        let number = places.len() as u32 + 1;
        table.insert_unique(hash, number, |number| hasher.hash_one(of(number)));
        let start = all.len() as u32;
        all.extend_from_slice(text);
        places.push(start..all.len() as u32);
        *encoded += 1 + varint_len(text.len() as u64) + text.len();
        number
    }
}

#[cfg(test)]
#[path = "remote_write_v2_tests.rs"]
mod tests;
