//! Samples on their way: what one collection of a host or one scrape of a target yields.
//!
//! A **series** is a name and labels, a **sample** one value of it at a time, a **family** the series that one `# TYPE` line speaks of.
//! All text lies in one buffer that is used again: a collection in the steady state allocates nothing. A series' name and labels lie there in one
//! piece, its **key**, by which caches know it.
//!
//! Promises: what was put in comes out in the same order and to the bit, NaN's bits as well. Leaves to others: whether names are valid
//! (`format`), sorted labels, times of samples that have none, and what becomes of equal series (who encodes them).

use std::ops::Range;

/// Ends a name or a value within a key: a byte that no UTF-8 text has.
const END: u8 = 0xff;

/// The value of a series that has ended, as Prometheus marks it (`model/value`). A signalling NaN: it is compared and copied by its bits.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The bits that Prometheus gives every NaN that is no stale marker (`model/value`).
pub const NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// What kind of values a family has. The numbers are those of remote write's `MetricMetadata.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Kind {
    /// Nobody said.
    #[default]
    Unknown = 0,
    /// Only grows, until it begins again.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// Counts by upper bound, with a sum.
    Histogram = 3,
    /// The same of what goes up and down.
    GaugeHistogram = 4,
    /// Quantiles, with a sum.
    Summary = 5,
    /// Always 1; its labels say something.
    Info = 6,
    /// 0 or 1 for each of some states.
    StateSet = 7,
}

/// A family, as it is kept.
#[derive(Debug, Clone)]
struct FamilyAt {
    name: Range<u32>,
    help: Range<u32>,
    unit: Range<u32>,
    kind: Kind,
}

/// A sample, as it is kept.
#[derive(Debug, Clone)]
struct SampleAt {
    family: u32,
    key: Range<u32>,
    bits: u64,
    time_ms: Option<i64>,
    start_ms: i64,
}

/// An exemplar, as it is kept.
#[derive(Debug, Clone)]
struct ExemplarAt {
    sample: u32,
    key: Range<u32>,
    bits: u64,
    time_ms: Option<i64>,
}

/// The samples of one collection or scrape.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    text: Vec<u8>,
    families: Vec<FamilyAt>,
    samples: Vec<SampleAt>,
    /// In the order of their samples.
    exemplars: Vec<ExemplarAt>,
}

/// How much there was at a time; see [`Samples::mark`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    text: usize,
    families: usize,
    samples: usize,
    exemplars: usize,
}

impl Mark {
    /// How many samples there were.
    pub fn samples(&self) -> usize {
        self.samples
    }
}

/// An exemplar that was put in: one case of those that a sample counts.
#[derive(Debug, Clone, Copy)]
pub struct Exemplar<'a> {
    /// Its sample's place in [`Samples::iter`].
    pub sample: usize,
    /// Its labels, as in a key without a name; see [`labels_of`].
    pub key: &'a [u8],
    /// Its value's bits.
    pub bits: u64,
    /// Its own time, milliseconds since 1970, where it has one.
    pub time_ms: Option<i64>,
}

/// A family that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family<'a> {
    /// Its name; without `_total` and the like where the format leaves that away.
    pub name: &'a str,
    /// One sentence; may be empty.
    pub help: &'a str,
    /// May be empty.
    pub unit: &'a str,
    /// The kind of its values.
    pub kind: Kind,
}

/// A sample that was put in.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The name and labels in one piece; of two samples of one collection the same only if they are of the same series with labels in the same order.
    pub key: &'a [u8],
    /// Its value's bits: [`f64::from_bits`].
    pub bits: u64,
    /// Its own time, milliseconds since 1970, where it has one.
    pub time_ms: Option<i64>,
    /// Since when it counts, milliseconds since 1970; 0 if that is not known.
    pub start_ms: i64,
    /// Its family's place in [`Samples::families`].
    pub family: usize,
}

impl Samples {
    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.families.clear();
        self.samples.clear();
        self.exemplars.clear();
    }

    /// How much there is now, to come back to.
    pub fn mark(&self) -> Mark {
        let [text, families] = [self.text.len(), self.families.len()];
        Mark { text, families, samples: self.samples.len(), exemplars: self.exemplars.len() }
    }

    /// Forgets what was added since the mark. What is said of families from before stays.
    pub fn back_to(&mut self, mark: Mark) {
        self.families.truncate(mark.families);
        self.samples.truncate(mark.samples);
        self.exemplars.truncate(mark.exemplars);
        self.text.truncate(mark.text);
    }

    /// Takes out the sample at a place, with its exemplars. Those behind it move up; its family stays.
    pub fn remove(&mut self, at: usize) {
        if at < self.samples.len() {
            self.samples.remove(at);
            self.exemplars.retain(|exemplar| exemplar.sample as usize != at);
            for exemplar in self.exemplars.iter_mut().filter(|exemplar| exemplar.sample as usize > at) {
                exemplar.sample -= 1;
            }
        }
    }

    /// How many bytes all text takes. Ranges of it are 32 bits: whoever adds what somebody else wrote has to mind that.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// How many bytes of memory all that was put in takes.
    pub fn memory(&self) -> usize {
        let [samples, families, exemplars] = [
            size_of_val(self.samples.as_slice()),
            size_of_val(self.families.as_slice()),
            size_of_val(self.exemplars.as_slice()),
        ];
        self.text.len() + samples + families + exemplars
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Says since when the sample at a place counts, milliseconds since 1970.
    pub fn set_start(&mut self, at: usize, start_ms: i64) {
        if let Some(sample) = self.samples.get_mut(at) {
            sample.start_ms = start_ms;
        }
    }

    /// Says since when the counters count that were added since the mark, milliseconds since 1970, where that is not said.
    pub fn counters_start(&mut self, since: Mark, start_ms: i64) {
        let Samples { samples, families, .. } = self;
        for sample in samples.iter_mut().skip(since.samples).filter(|sample| sample.start_ms == 0) {
            let family = families.get(sample.family as usize);
            if family.is_some_and(|family| family.kind == Kind::Counter) {
                sample.start_ms = start_ms;
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Begins a family; the samples that follow are of it.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        self.family_with_unit(name, help, kind, "");
    }

    /// The same with a unit.
    pub fn family_with_unit(&mut self, name: &str, help: &str, kind: Kind, unit: &str) {
        let [name, help, unit] = [name, help, unit].map(|text| self.push(text.as_bytes()));
        self.families.push(FamilyAt { name, help, unit, kind });
    }

    /// Says of what kind the family is that was begun last.
    pub fn set_kind(&mut self, kind: Kind) {
        if let Some(last) = self.families.last_mut() {
            last.kind = kind;
        }
    }

    /// Says what the family is for that was begun last.
    pub fn set_help(&mut self, help: &str) {
        let help = self.push(help.as_bytes());
        if let Some(last) = self.families.last_mut() {
            last.help = help;
        }
    }

    /// Says the unit of the family that was begun last.
    pub fn set_unit(&mut self, unit: &str) {
        let unit = self.push(unit.as_bytes());
        if let Some(last) = self.families.last_mut() {
            last.unit = unit;
        }
    }

    /// Adds a sample of the family that was begun last whose key is there already, made by [`begin_key`] and [`push_label`].
    pub fn add_key(&mut self, key: &[u8], bits: u64, time_ms: Option<i64>) {
        let key = self.push(key);
        let family = self.families.len().saturating_sub(1) as u32;
        self.samples.push(SampleAt { family, key, bits, time_ms, start_ms: 0 });
    }

    /// Adds an exemplar to the sample that was added last. Its labels are a key without a name.
    pub fn add_exemplar(&mut self, key: &[u8], bits: u64, time_ms: Option<i64>) {
        let key = self.push(key);
        let sample = self.samples.len().saturating_sub(1) as u32;
        self.exemplars.push(ExemplarAt { sample, key, bits, time_ms });
    }

    /// The exemplars, in the order of their samples.
    pub fn exemplars(&self) -> impl ExactSizeIterator<Item = Exemplar<'_>> {
        self.exemplars.iter().map(|exemplar| Exemplar {
            sample: exemplar.sample as usize,
            key: self.bytes(&exemplar.key),
            bits: exemplar.bits,
            time_ms: exemplar.time_ms,
        })
    }

    /// Adds a sample of the family that was begun last, under its name. Labels with an empty value are left out, as they are none.
    pub fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let name = self.families.last().map(|family| family.name.clone()).unwrap_or_default();
        let start = self.text.len();
        self.text.extend_from_within(name.start as usize..name.end as usize);
        self.finish(start, labels, value.to_bits(), None);
    }

    /// Adds a sample of the family that was begun last under a name of its own, such as `x_bucket` or `x_total`, and with its own time if it has one.
    pub fn add_as(&mut self, name: &str, labels: &[(&str, &str)], bits: u64, time_ms: Option<i64>) {
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        self.finish(start, labels, bits, time_ms);
    }

    /// A family and all its samples with one value each: the commonest case.
    pub fn one(&mut self, name: &str, help: &str, kind: Kind, value: f64) {
        self.family(name, help, kind);
        self.add(&[], value);
    }

    /// Takes over all that another one has, behind what is here.
    pub fn append(&mut self, other: &Samples) {
        let (by, families, samples) = (self.text.len() as u32, self.families.len() as u32, self.samples.len() as u32);
        let moved = |range: &Range<u32>| range.start + by..range.end + by;
        self.text.extend_from_slice(&other.text);
        self.families.extend(other.families.iter().map(|family| FamilyAt {
            name: moved(&family.name),
            help: moved(&family.help),
            unit: moved(&family.unit),
            kind: family.kind,
        }));
        self.samples.extend(other.samples.iter().map(|sample| SampleAt {
            family: sample.family + families,
            key: moved(&sample.key),
            ..sample.clone()
        }));
        self.exemplars.extend(other.exemplars.iter().map(|exemplar| ExemplarAt {
            sample: exemplar.sample + samples,
            key: moved(&exemplar.key),
            ..exemplar.clone()
        }));
    }

    /// The family at a place; see [`Sample::family`].
    pub fn family_at(&self, at: usize) -> Option<Family<'_>> {
        self.families.get(at).map(|family| self.family_of(family))
    }

    /// The sample at a place, in the order in which they were added.
    pub fn sample_at(&self, at: usize) -> Option<Sample<'_>> {
        self.samples.get(at).map(|sample| self.sample_of(sample))
    }

    /// The families, in the order in which they were begun. One name may be there more than once.
    pub fn families(&self) -> impl ExactSizeIterator<Item = Family<'_>> {
        self.families.iter().map(|family| self.family_of(family))
    }

    /// The samples, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        self.samples.iter().map(|sample| self.sample_of(sample))
    }

    fn family_of(&self, family: &FamilyAt) -> Family<'_> {
        Family {
            name: self.str(&family.name),
            help: self.str(&family.help),
            unit: self.str(&family.unit),
            kind: family.kind,
        }
    }

    fn sample_of(&self, sample: &SampleAt) -> Sample<'_> {
        Sample {
            key: self.bytes(&sample.key),
            bits: sample.bits,
            time_ms: sample.time_ms,
            start_ms: sample.start_ms,
            family: sample.family as usize,
        }
    }

    fn finish(&mut self, start: usize, labels: &[(&str, &str)], bits: u64, time_ms: Option<i64>) {
        self.text.push(END);
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            push_label(name.as_bytes(), value.as_bytes(), &mut self.text);
        }
        let key = start as u32..self.text.len() as u32;
        let family = self.families.len().saturating_sub(1) as u32;
        self.samples.push(SampleAt { family, key, bits, time_ms, start_ms: 0 });
    }

    fn push(&mut self, text: &[u8]) -> Range<u32> {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        start..self.text.len() as u32
    }

    fn bytes(&self, range: &Range<u32>) -> &[u8] {
        self.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    fn str(&self, range: &Range<u32>) -> &str {
        std::str::from_utf8(self.bytes(range)).unwrap_or_default()
    }
}

impl<'a> Sample<'a> {
    /// The value.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// The name, as far as it is text.
    pub fn name(&self) -> &'a str {
        name_of(self.key)
    }

    /// The labels, in the order in which they were given. Only a parsed text may have some with an empty value, which are none.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        labels_of(self.key)
    }
}

/// Begins a key in an empty buffer with the name; empty for the labels of an exemplar.
pub fn begin_key(name: &[u8], key: &mut Vec<u8>) {
    key.extend_from_slice(name);
    key.push(END);
}

/// Adds a label to a key that was begun; of one with an empty value the key knows as well. Both are UTF-8: the caller sees to it.
pub fn push_label(name: &[u8], value: &[u8], key: &mut Vec<u8>) {
    for piece in [name, value] {
        key.extend_from_slice(piece);
        key.push(END);
    }
}

/// The name in a key.
pub fn name_of(key: &[u8]) -> &str {
    std::str::from_utf8(cut(key).0).unwrap_or_default()
}

/// The labels in a key.
pub fn labels_of(key: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = cut(key).1;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (name, behind) = cut(rest);
        let (value, behind) = cut(behind);
        rest = behind;
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
    })
}

/// What is before the first end, and what is behind it.
fn cut(key: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(END, key).unwrap_or(key.len());
    let (piece, rest) = key.split_at(at);
    (piece, rest.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(samples: &Samples) -> Vec<String> {
        let families: Vec<_> = samples.families().collect();
        let told = |s: Sample| {
            let labels: Vec<_> = s.labels().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {} {{{}}} {} {:?}", families[s.family].name, s.name(), labels.join(","), s.value(), s.time_ms)
        };
        samples.iter().map(told).collect()
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let mut samples = Samples::default();
        samples.one("up", "Whether it is.", Kind::Gauge, 1.0);
        samples.family("cpu", "", Kind::Counter);
        samples.add(&[("cpu", "0"), ("mode", "idle"), ("none", "")], 2.5);
        samples.add_as("cpu_total", &[("cpu", "1")], 3.0f64.to_bits(), Some(7));
        let expected = ["up up {} 1 None", "cpu cpu {cpu=0,mode=idle} 2.5 None", "cpu cpu_total {cpu=1} 3 Some(7)"];
        assert_eq!(told(&samples), expected);

        let mut both = samples.clone();
        both.append(&samples);
        assert_eq!(told(&both), [expected, expected].concat());
        assert_eq!(both.families().nth(2), both.families().next());

        samples.clear();
        assert!(samples.is_empty() && samples.families().len() == 0);
    }

    #[test]
    fn exemplars_stay_with_their_samples() {
        let mut samples = Samples::default();
        samples.family("x", "", Kind::Histogram);
        samples.set_help("Says.");
        samples.set_unit("s");
        let mut key = Vec::new();
        begin_key(b"x_bucket", &mut key);
        push_label(b"le", b"1", &mut key);
        push_label(b"none", b"", &mut key);
        samples.add_key(&key, 3.0f64.to_bits(), None);
        key.clear();
        begin_key(b"", &mut key);
        push_label(b"trace_id", b"7", &mut key);
        samples.add_exemplar(&key, 0.5f64.to_bits(), Some(9));
        let mark = samples.mark();
        let one = samples.clone();
        samples.append(&one);
        let told: Vec<_> =
            samples.exemplars().map(|e| (e.sample, labels_of(e.key).collect::<Vec<_>>(), e.time_ms)).collect();
        let labels = vec![("trace_id", "7")];
        assert_eq!(told, [(0, labels.clone(), Some(9)), (1, labels, Some(9))]);
        assert_eq!(
            samples.sample_at(1).map(|s| (s.name(), s.labels().collect())),
            Some(("x_bucket", vec![("le", "1"), ("none", "")]))
        );
        assert_eq!(samples.family_at(1), Some(Family { name: "x", help: "Says.", unit: "s", kind: Kind::Histogram }));
        let mut less = samples.clone();
        less.remove(0);
        assert_eq!((less.len(), less.exemplars().map(|e| e.sample).collect::<Vec<_>>()), (1, vec![0]));
        samples.back_to(mark);
        assert_eq!((samples.len(), samples.families().len(), samples.exemplars().len()), (1, 1, 1));
        assert_eq!(samples.text_bytes(), one.text_bytes());
    }

    #[test]
    fn bits_stay_what_they_are() {
        let mut samples = Samples::default();
        samples.family("x", "", Kind::Unknown);
        samples.add_as("x", &[], STALE_BITS, None);
        assert_eq!(samples.iter().next().map(|s| s.bits), Some(STALE_BITS));
    }

    #[test]
    fn keys_tell_series_apart() {
        let mut samples = Samples::default();
        samples.family("x", "", Kind::Gauge);
        for labels in [&[("a", "b")][..], &[("a", "bc")], &[("ab", "c")], &[], &[("a", "b"), ("c", "d")]] {
            samples.add(labels, 0.0);
        }
        let mut keys: Vec<_> = samples.iter().map(|s| s.key.to_vec()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }
}
