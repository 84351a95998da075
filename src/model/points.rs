//! Points on their way to endpoints: what a collection or a scrape yields when it is known whose it is.
//!
//! [`Samples`](super::samples::Samples) are what was found. A **point** is one of them with everything that a person said of its series applied: target
//! labels, relabelling, labels of the host. Its labels are the encoded, sorted ones of remote write, so that nobody encodes them twice; the same
//! bytes are the same series. All lies in buffers that are used again.
//!
//! Promises: what was put in comes out in the same order and to the bit. Leaves to others: making the labels (`source`), requests (`sink`).

use super::samples::{Exemplar, Family, Kind};
use std::ops::Range;

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// The value's bits.
    pub bits: u64,
    /// When, milliseconds since 1970.
    pub time_ms: i64,
    /// Since when it counts, milliseconds since 1970; 0 if that is not known. Only remote write 2.0 has it.
    pub start_ms: i64,
}

/// Where the points of collections go. From any thread.
pub trait Output: Send + Sync {
    /// Takes in the points of one collection, all or none: they are encoded before this returns. It never waits for the network or for a disk.
    fn write(&self, points: &Points);
}

#[derive(Debug, Clone)]
struct FamilyAt {
    name: Range<u32>,
    help: Range<u32>,
    unit: Range<u32>,
    kind: Kind,
}

#[derive(Debug, Clone)]
struct PointAt {
    family: u32,
    labels: Range<u32>,
    point: Point,
    /// Where its exemplars begin; they end where those of the next one begin.
    exemplars: u32,
}

#[derive(Debug, Clone)]
struct ExemplarAt {
    key: Range<u32>,
    bits: u64,
    time_ms: Option<i64>,
}

/// The points of one collection or scrape.
#[derive(Debug, Clone, Default)]
pub struct Points {
    text: Vec<u8>,
    families: Vec<FamilyAt>,
    points: Vec<PointAt>,
    exemplars: Vec<ExemplarAt>,
}

/// How much there was at a time; see [`Points::mark`].
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    text: usize,
    families: usize,
    points: usize,
    exemplars: usize,
}

/// A point that was put in.
#[derive(Debug, Clone, Copy)]
pub struct PointOf<'a> {
    /// Its series' labels, `__name__` among them, as `format::remote_write` encodes them.
    pub labels: &'a [u8],
    /// The value.
    pub point: Point,
    /// Its family's place in [`Points::families`]; `None`: it has none.
    pub family: Option<usize>,
    exemplars: &'a [ExemplarAt],
    text: &'a [u8],
}

impl<'a> PointOf<'a> {
    /// Its exemplars. `sample` of each is 0.
    pub fn exemplars(&self) -> impl ExactSizeIterator<Item = Exemplar<'a>> + use<'a> {
        let text = self.text;
        self.exemplars.iter().map(move |exemplar| Exemplar {
            sample: 0,
            key: bytes(text, &exemplar.key),
            bits: exemplar.bits,
            time_ms: exemplar.time_ms,
        })
    }
}

impl Points {
    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.families.clear();
        self.points.clear();
        self.exemplars.clear();
    }

    /// How much there is now, to come back to.
    pub fn mark(&self) -> Mark {
        let [text, families] = [self.text.len(), self.families.len()];
        Mark { text, families, points: self.points.len(), exemplars: self.exemplars.len() }
    }

    /// Forgets what was added since the mark.
    pub fn back_to(&mut self, mark: Mark) {
        self.text.truncate(mark.text);
        self.families.truncate(mark.families);
        self.points.truncate(mark.points);
        self.exemplars.truncate(mark.exemplars);
    }

    /// How many bytes of memory all that was put in takes.
    pub fn memory(&self) -> usize {
        let [points, families, exemplars] = [
            size_of_val(self.points.as_slice()),
            size_of_val(self.families.as_slice()),
            size_of_val(self.exemplars.as_slice()),
        ];
        self.text.len() + points + families + exemplars
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Begins a family; the points that follow are of it.
    pub fn family(&mut self, family: &Family<'_>) {
        let [name, help, unit] = [family.name, family.help, family.unit].map(|text| self.push(text.as_bytes()));
        self.families.push(FamilyAt { name, help, unit, kind: family.kind });
    }

    /// Adds a point of the family that was begun last. There have to be fewer than 4 GiB of text: whoever adds what others wrote has bounds far below.
    pub fn add(&mut self, labels: &[u8], point: Point) {
        let labels = self.push(labels);
        let family = self.families.len().wrapping_sub(1) as u32;
        self.points.push(PointAt { family, labels, point, exemplars: self.exemplars.len() as u32 });
    }

    /// Adds an exemplar to the point that was added last.
    pub fn add_exemplar(&mut self, key: &[u8], bits: u64, time_ms: Option<i64>) {
        let key = self.push(key);
        self.exemplars.push(ExemplarAt { key, bits, time_ms });
    }

    /// The families, in the order in which they were begun. One name may be there more than once.
    pub fn families(&self) -> impl ExactSizeIterator<Item = Family<'_>> {
        self.families.iter().map(|family| self.family_of(family))
    }

    /// The family at a place.
    pub fn family_at(&self, at: usize) -> Option<Family<'_>> {
        self.families.get(at).map(|family| self.family_of(family))
    }

    /// The points, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PointOf<'_>> {
        self.points.iter().enumerate().map(|(at, point)| {
            let end = self.points.get(at + 1).map_or(self.exemplars.len(), |next| next.exemplars as usize);
            PointOf {
                labels: bytes(&self.text, &point.labels),
                point: point.point,
                family: Some(point.family as usize).filter(|family| *family < self.families.len()),
                exemplars: self.exemplars.get(point.exemplars as usize..end).unwrap_or_default(),
                text: &self.text,
            }
        })
    }

    fn family_of(&self, family: &FamilyAt) -> Family<'_> {
        let text = |range| std::str::from_utf8(bytes(&self.text, range)).unwrap_or_default();
        Family { name: text(&family.name), help: text(&family.help), unit: text(&family.unit), kind: family.kind }
    }

    fn push(&mut self, text: &[u8]) -> Range<u32> {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        start..self.text.len() as u32
    }
}

fn bytes<'a>(text: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    text.get(range.start as usize..range.end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(points: &Points) -> Vec<(Vec<u8>, Point, Option<&str>, usize)> {
        let name = |of: PointOf<'_>| of.family.and_then(|at| points.family_at(at)).map(|family| family.name);
        points.iter().map(|of| (of.labels.to_vec(), of.point, name(of), of.exemplars().len())).collect()
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let mut points = Points::default();
        let [first, second] = [1, 2].map(|bits| Point { bits, time_ms: 7, start_ms: 0 });
        points.add(b"early", first);
        points.family(&Family { name: "x", help: "Says.", unit: "s", kind: Kind::Counter });
        points.add(b"a", first);
        points.add_exemplar(b"key", 3, Some(4));
        points.add_exemplar(b"", 5, None);
        let mark = points.mark();
        points.add(b"b", second);
        points.add_exemplar(b"other", 6, None);
        let all = [
            (b"early".to_vec(), first, None, 0),
            (b"a".to_vec(), first, Some("x"), 2),
            (b"b".to_vec(), second, Some("x"), 1),
        ];
        assert_eq!(told(&points), all);
        let of_a: Vec<_> = points
            .iter()
            .nth(1)
            .map(|of| of.exemplars().map(|e| (e.key, e.bits, e.time_ms)).collect())
            .unwrap_or_default();
        assert_eq!(of_a, [(&b"key"[..], 3, Some(4)), (&b""[..], 5, None)]);
        points.back_to(mark);
        assert_eq!(told(&points), all[..2]);
        points.clear();
        assert!(points.is_empty() && points.families().len() == 0);
    }
}
