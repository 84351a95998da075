//! Partial refusals: what Loki's 400 says of single entries, and which entries of the request it means.
//!
//! Loki validates in two places. Its distributor lists one text a refused entry (equal texts are counted, and the list can be
//! long, so that only its start is read here); times are given in whole seconds. All its limits are the tenant's, so one text is
//! enough to know the rule for the whole request. Its ingester lists a few entries with their full timestamps and a total, for
//! one stream.
//!
//! Promises: an entry is named at most once; what Loki counted and what could not be told apart is reported as a number. Leaves
//! to others: counting, dead letters.

use super::Reason;
use crate::format::civil::{self, Moment};
use crate::format::loki::{EntryAdapter, PushRequest, parse_labels, parse_labels_prefix};
use std::collections::BTreeMap;

type Pairs = Vec<(String, String)>;

/// One thing that Loki said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// How many entries it says so of, where it says.
    pub count: Option<u64>,
    /// The stream it names, with Loki's additions.
    pub stream: Option<Pairs>,
    /// Which entries.
    pub which: Which,
}

/// Which entries a refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of the stream.
    Stream,
    /// Those of any stream before a second (exclusive), and those of the stream within a second.
    Before {
        /// Seconds since 1970.
        cutoff_s: Option<i64>,
        /// Seconds since 1970.
        within_s: i64,
    },
    /// Those of the stream within a second, and those of any stream after it.
    From {
        /// Seconds since 1970.
        within_s: i64,
    },
    /// Those of the stream with one of these timestamps, then the oldest before the cutoff.
    Listed {
        /// Nanoseconds since 1970.
        exactly_ns: Vec<i64>,
        /// Seconds since 1970.
        cutoff_s: Option<i64>,
    },
    /// Those of any stream with more bytes.
    LineAbove(u64),
    /// Those of any stream with more labels.
    LabelsAbove(u64),
    /// Those of any stream with any metadata.
    AnyMetadata,
    /// Those of any stream with more bytes of metadata.
    MetadataAbove(u64),
    /// Those of any stream with more pairs of metadata.
    MetadataPairsAbove(u64),
}

/// Which entries of a request were refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// By index of stream and entry.
    pub entries: BTreeMap<(usize, usize), Reason>,
    /// How many more Loki counted that could not be told apart, by reason.
    pub unidentified: BTreeMap<Reason, u64>,
}

impl Refused {
    /// How many were refused altogether.
    pub fn total(&self) -> u64 {
        self.unidentified.values().sum::<u64>() + u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }
}

/// All that `body` says of entries; empty when it says nothing that is known.
pub fn parse(body: &str) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut listed: BTreeMap<Reason, (Vec<i64>, Option<i64>)> = BTreeMap::new();
    let mut at = 0;
    while let Some((kind, start)) = next_anchor(body, at) {
        let after = body.get(start + kind.text().len()..).unwrap_or_default();
        let end = body.len() - after.len();
        at = end;
        match kind {
            Anchor::Stream => {
                let (stream, rest) = stream_name(after);
                at = body.len() - rest.len();
                if let Some((reason, which, lead)) = about_stream(rest, body.get(..start).unwrap_or_default()) {
                    refusals.push(Refusal { reason, count: count_before(lead), stream, which });
                }
            }
            Anchor::Entry => {
                let Some((moment, len)) = civil::parse_prefix(after) else { continue };
                let rest = after.get(len..).unwrap_or_default();
                // Go adds the zone's name: " UTC ignored, reason: '…".
                let Some(why) = rest.split_once("ignored, reason: '").map(|(_, why)| why) else { continue };
                let reason = if why.starts_with("entry too far behind") {
                    Reason::TooFarBehind
                } else if why.starts_with("entry out of order") {
                    Reason::OutOfOrder
                } else {
                    Reason::Other
                };
                let (times, cutoff) = listed.entry(reason).or_default();
                times.extend(moment.as_ns());
                let own = why.split('\n').next().unwrap_or_default();
                *cutoff = (*cutoff).max(time_after(own, "oldest acceptable timestamp is: ").map(|m| m.seconds));
            }
            Anchor::Total => {
                let stream = after.split_once("for stream: ").and_then(|(_, text)| parse_labels_prefix(text).ok());
                close(&mut listed, &mut refusals, leading_number(after), stream.map(|(pairs, _)| pairs));
            }
            Anchor::Missing => {
                let Some((_, text)) = after.split_once(" for stream ") else { continue };
                let Ok((pairs, _)) = parse_labels_prefix(text.trim_start_matches('\'')) else { continue };
                let count = count_before(body.get(..start).unwrap_or_default());
                refusals.push(Refusal {
                    reason: Reason::LabelMissing,
                    count,
                    stream: Some(pairs),
                    which: Which::Stream,
                });
            }
        }
    }
    close(&mut listed, &mut refusals, None, None);
    refusals
}

#[derive(Clone, Copy)]
enum Anchor {
    Stream,
    Entry,
    Total,
    Missing,
}

impl Anchor {
    const ALL: [Anchor; 4] = [Anchor::Stream, Anchor::Entry, Anchor::Total, Anchor::Missing];

    fn text(self) -> &'static str {
        match self {
            Anchor::Stream => "stream '",
            Anchor::Entry => "entry with timestamp ",
            Anchor::Total => "total ignored: ",
            Anchor::Missing => "missing required labels ",
        }
    }
}

fn next_anchor(body: &str, from: usize) -> Option<(Anchor, usize)> {
    let rest = body.get(from..)?;
    let found = Anchor::ALL.iter().filter_map(|kind| rest.find(kind.text()).map(|at| (*kind, from + at)));
    found.min_by_key(|(_, at)| *at)
}

/// What the ingester listed becomes refusals: its total is of all reasons together, so it is known only when there is one.
fn close(
    listed: &mut BTreeMap<Reason, (Vec<i64>, Option<i64>)>,
    refusals: &mut Vec<Refusal>,
    total: Option<u64>,
    stream: Option<Pairs>,
) {
    let single = listed.len() == 1;
    if listed.is_empty() && total.is_some() {
        let which = Which::Listed { exactly_ns: Vec::new(), cutoff_s: None };
        refusals.push(Refusal { reason: Reason::Other, count: total, stream: stream.clone(), which });
    }
    for (reason, (exactly_ns, cutoff_s)) in std::mem::take(listed) {
        let count = if single { total } else { None };
        let count = count.or(u64::try_from(exactly_ns.len()).ok());
        refusals.push(Refusal { reason, count, stream: stream.clone(), which: Which::Listed { exactly_ns, cutoff_s } });
    }
}

/// The stream at the start of `text` (behind the opening quote), and the text behind it.
fn stream_name(text: &str) -> (Option<Pairs>, &str) {
    match parse_labels_prefix(text) {
        Ok((pairs, len)) => (Some(pairs), text.get(len..).unwrap_or_default()),
        Err(_) => (None, text),
    }
}

/// What is said of a stream: the text behind it and before it. Gives also the text before the whole sentence.
fn about_stream<'a>(rest: &str, before: &'a str) -> Option<(Reason, Which, &'a str)> {
    let said = rest.trim_start_matches('\'').trim_start();
    let entry = before.strip_suffix("entry for ").unwrap_or(before);
    if let Some(text) = said.strip_prefix("has timestamp too old: ") {
        let within_s = civil::parse_prefix(text)?.0.seconds;
        let own = text.split(';').next().unwrap_or_default();
        let cutoff_s = time_after(own, "oldest acceptable timestamp is: ").map(|m| m.seconds);
        return Some((Reason::TooOld, Which::Before { cutoff_s, within_s }, entry));
    }
    if let Some(text) = said.strip_prefix("has timestamp too new: ") {
        return Some((Reason::TooNew, Which::From { within_s: civil::parse_prefix(text)?.0.seconds }, entry));
    }
    if let Some(lead) = before.strip_suffix("exceeded for ") {
        let start = lead.rfind("Max entry size '")?;
        let limit = leading_number(lead.get(start + "Max entry size '".len()..)?)?;
        return Some((Reason::LineTooLong, Which::LineAbove(limit), lead.get(..start)?));
    }
    if said.starts_with("has label name too long") || said.starts_with("has duplicate label name") {
        return Some((Reason::LabelNames, Which::Stream, before));
    }
    if said.starts_with("has label value too long") {
        return Some((Reason::LabelValue, Which::Stream, before));
    }
    if said.starts_with("includes structured metadata") {
        return Some((Reason::Metadata, Which::AnyMetadata, before));
    }
    if said.starts_with("has structured metadata too large") {
        let limit = leading_number(said.split_once("limit: '")?.1)?;
        return Some((Reason::Metadata, Which::MetadataAbove(limit), before));
    }
    if said.starts_with("has too many structured metadata") {
        let limit = leading_number(said.split_once("limit: '")?.1)?;
        return Some((Reason::Metadata, Which::MetadataPairsAbove(limit), before));
    }
    if let Some((_, text)) = said.split_once(" label names; limit ").filter(|(head, _)| head.len() < 24) {
        return Some((Reason::LabelLimit, Which::LabelsAbove(leading_number(text)?), entry));
    }
    None
}

/// `12 errors like: ` at the end of `lead`.
fn count_before(lead: &str) -> Option<u64> {
    let head = lead.strip_suffix(" errors like: ")?;
    let digits = head.len() - head.bytes().rev().take_while(u8::is_ascii_digit).count();
    head.get(digits..)?.parse().ok()
}

fn leading_number(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)?.parse().ok()
}

fn time_after(text: &str, marker: &str) -> Option<Moment> {
    civil::parse_prefix(text.split_once(marker)?.1).map(|(moment, _)| moment)
}

/// Finds the entries that `refusals` mean.
pub fn refused(request: &PushRequest, refusals: &[Refusal]) -> Refused {
    let labels: Vec<Pairs> = request.streams.iter().map(|s| parse_labels(&s.labels).unwrap_or_default()).collect();
    let mut found = Refused::default();
    let mut claimed: BTreeMap<Reason, u64> = BTreeMap::new();
    for refusal in refusals {
        *claimed.entry(refusal.reason).or_default() += refusal.count.unwrap_or(1);
        let mut in_stream: Vec<bool> = match &refusal.stream {
            Some(named) => labels.iter().map(|own| same_stream(own, named)).collect(),
            None => vec![true; labels.len()],
        };
        if !in_stream.contains(&true) && !matches!(refusal.which, Which::Stream) {
            // A name that Loki changed beyond recognition: the time or size still tells.
            in_stream.fill(true);
        }
        find(request, &labels, refusal, &in_stream, &mut found);
    }
    for (reason, count) in claimed {
        let identified = found.entries.values().filter(|r| **r == reason).count();
        let rest = count.saturating_sub(u64::try_from(identified).unwrap_or(u64::MAX));
        // No more can have been refused than there are.
        let left = request.entries().saturating_sub(found.entries.len());
        let rest = rest.min(u64::try_from(left).unwrap_or(u64::MAX));
        if rest > 0 {
            found.unidentified.insert(reason, rest);
        }
    }
    found
}

fn find(request: &PushRequest, labels: &[Pairs], refusal: &Refusal, in_stream: &[bool], found: &mut Refused) {
    let mut oldest: Vec<(i64, usize, usize)> = Vec::new();
    let mut taken: u64 = 0;
    for (s, stream) in request.streams.iter().enumerate() {
        let own = in_stream.get(s).copied().unwrap_or(false);
        let count = labels.get(s).map_or(0, |pairs| pairs.iter().filter(|(name, _)| name != "service_name").count());
        for (e, entry) in stream.entries.iter().enumerate() {
            let ns = entry.ns();
            let second = ns.div_euclid(1_000_000_000);
            let hit = match &refusal.which {
                Which::Stream => own,
                Which::Before { cutoff_s, within_s } => {
                    cutoff_s.is_some_and(|cutoff| second < cutoff) || (own && second == *within_s)
                }
                Which::From { within_s } => second > *within_s || (own && second == *within_s),
                Which::Listed { exactly_ns, cutoff_s } => {
                    let exactly = own && exactly_ns.contains(&ns);
                    if own && !exactly && cutoff_s.is_some_and(|cutoff| second < cutoff) {
                        oldest.push((ns, s, e));
                    }
                    exactly
                }
                Which::LineAbove(limit) => above(entry.line.len(), *limit),
                Which::LabelsAbove(limit) => above(count, *limit),
                Which::AnyMetadata => !entry.structured_metadata.is_empty(),
                Which::MetadataAbove(limit) => above(metadata_bytes(entry), *limit),
                Which::MetadataPairsAbove(limit) => above(entry.structured_metadata.len(), *limit),
            };
            if hit && found.entries.insert((s, e), refusal.reason).is_none() {
                taken += 1;
            }
        }
    }
    oldest.sort_unstable();
    for (_, s, e) in oldest {
        if refusal.count.is_some_and(|count| taken >= count) {
            break;
        }
        if found.entries.insert((s, e), refusal.reason).is_none() {
            taken += 1;
        }
    }
}

fn above(size: usize, limit: u64) -> bool {
    u64::try_from(size).unwrap_or(u64::MAX) > limit
}

fn metadata_bytes(entry: &EntryAdapter) -> usize {
    entry.structured_metadata.iter().map(|pair| pair.name.len() + pair.value.len()).sum()
}

/// Whether `named` is `own`, apart from what Loki adds: `service_name` and labels of its own that start with two underscores.
fn same_stream(own: &Pairs, named: &Pairs) -> bool {
    own.iter().all(|pair| named.contains(pair))
        && named.iter().all(|pair| pair.0 == "service_name" || pair.0.starts_with("__") || own.contains(pair))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::loki::{LabelPairAdapter, StreamAdapter, Timestamp};
    use proptest::prelude::*;

    const DAY: i64 = 1_700_000_000;

    fn request(streams: &[(&str, &[(i64, &str)])]) -> PushRequest {
        let entry = |(ns, line): &(i64, &str)| EntryAdapter {
            timestamp: Some(Timestamp::from_ns(*ns)),
            line: (*line).into(),
            structured_metadata: Vec::new(),
        };
        let stream = |(labels, entries): &(&str, &[(i64, &str)])| StreamAdapter {
            labels: (*labels).to_owned(),
            entries: entries.iter().map(entry).collect(),
            hash: 0,
        };
        PushRequest { streams: streams.iter().map(stream).collect() }
    }

    fn find_in(request: &PushRequest, body: &str) -> (Vec<(usize, usize, &'static str)>, u64) {
        let found = refused(request, &parse(body));
        let entries = found.entries.iter().map(|((s, e), reason)| (*s, *e, reason.as_str())).collect();
        (entries, found.unidentified.values().sum())
    }

    #[test]
    fn too_old_holds_for_all_streams_before_the_cutoff() {
        let s = 1_000_000_000;
        // 1_700_000_000 is 2023-11-14T22:13:20Z.
        let request = request(&[
            (r#"{a="b"}"#, &[((DAY - 10) * s, "old"), (DAY * s + 5, "boundary"), ((DAY + 1) * s, "new")]),
            (r#"{a="c"}"#, &[((DAY - 5) * s, "old too"), (DAY * s + 6, "boundary of another stream")]),
        ]);
        let body = "2 errors like: entry for stream '{a=\"b\", service_name=\"x\"}' has timestamp too old: \
                    2023-11-14T22:13:20Z, oldest acceptable timestamp is: 2023-11-14T22:13:20Z; 1 errors like: ...";
        assert_eq!(find_in(&request, body), (vec![(0, 0, "too_old"), (0, 1, "too_old"), (1, 0, "too_old")], 0));
    }

    #[test]
    fn too_new() {
        let s = 1_000_000_000;
        let request = request(&[(r#"{a="b"}"#, &[((DAY - 1) * s, "ok"), (DAY * s, "new"), ((DAY + 9) * s, "newer")])]);
        let body = "entry for stream '{a=\"b\"}' has timestamp too new: 2023-11-14T22:13:20Z";
        assert_eq!(find_in(&request, body).0, vec![(0, 1, "too_new"), (0, 2, "too_new")]);
    }

    #[test]
    fn the_ingesters_list_and_total() {
        let s = 1_000_000_000;
        let entries: Vec<(i64, &str)> = (0..6).map(|i| ((DAY + i) * s + 7, "x")).collect();
        let request = request(&[(r#"{a="it's \"so\""}"#, &entries), (r#"{a="other"}"#, &[(DAY * s + 7, "x")])]);
        let body = "entry with timestamp 2023-11-14 22:13:21.000000007 +0000 UTC ignored, reason: 'entry too far behind, \
                    entry timestamp is: 2023-11-14T22:13:21Z, oldest acceptable timestamp is: 2023-11-14T22:13:24Z',\n\
                    user 'fake', total ignored: 3 out of 6 for stream: {__stream_shard__=\"1\", a=\"it's \\\"so\\\"\"}";
        let expected = vec![(0, 0, "too_far_behind"), (0, 1, "too_far_behind"), (0, 2, "too_far_behind")];
        assert_eq!(find_in(&request, body), (expected, 0));
        let order = "entry with timestamp 2023-11-14 22:13:21.000000007 +0000 UTC ignored, reason: 'entry out of order',\n\
                     user 'fake', total ignored: 3 out of 6 for stream: {a=\"it's \\\"so\\\"\"}";
        assert_eq!(find_in(&request, order), (vec![(0, 1, "out_of_order")], 2));
        assert_eq!(find_in(&request, "user 'fake', total ignored: 5 out of 100 for stream: {a=\"x\"}"), (vec![], 5));
    }

    #[test]
    fn sizes_and_labels() {
        let mut request = request(&[
            (r#"{a="b"}"#, &[(1, "123456"), (2, "12345")]),
            (r#"{a="b", c="d", service_name="x"}"#, &[(3, "1")]),
        ]);
        let body =
            "Max entry size '5' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '6' bytes";
        assert_eq!(find_in(&request, body), (vec![(0, 0, "line_too_long")], 0));
        let body = "entry for stream '{a=\"b\", c=\"d\", service_name=\"x\"}' has 2 label names; limit 1";
        assert_eq!(find_in(&request, body), (vec![(1, 0, "label_limit")], 0));
        let body = "2 errors like: stream '{a=\"b\"}' has label value too long: 'b'";
        assert_eq!(find_in(&request, body), (vec![(0, 0, "label_value"), (0, 1, "label_value")], 0));
        let body = "missing required labels team for user u for stream {a=\"b\"}";
        assert_eq!(find_in(&request, body).0.len(), 2);
        request.streams[1].entries[0].structured_metadata =
            vec![LabelPairAdapter { name: "n".into(), value: "value".into() }];
        for body in [
            "stream '{x=\"y\"}' includes structured metadata, but this feature is disallowed.",
            "stream '{x=\"y\"}' has structured metadata too large: '6' bytes, limit: '5' bytes. Please",
            "stream '{x=\"y\"}' has too many structured metadata labels: '1', limit: '0'. Please",
        ] {
            assert_eq!(find_in(&request, body), (vec![(1, 0, "metadata")], 0), "{body}");
        }
    }

    #[test]
    fn several_reasons_in_one_answer() {
        let request = request(&[(r#"{a="b"}"#, &[(DAY * 1_000_000_000, "new"), (1, "123456")])]);
        let body = "1 errors like: Max entry size '5' bytes exceeded for stream '{a=\"b\"}' while adding an entry with \
                    length '6' bytes; 1 errors like: entry for stream '{a=\"b\"}' has timestamp too new: 2023-11-14T22:13:20Z";
        assert_eq!(find_in(&request, body), (vec![(0, 0, "too_new"), (0, 1, "line_too_long")], 0));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_more_is_refused_than_was_sent(
            body in "(entry for |stream '|\\{a=\"b\"\\}|' has timestamp too (old|new): |2023-11-14T22:13:20Z|total ignored: |9|entry with timestamp |Max entry size '|exceeded for | errors like: |[ ä;,']){0,20}"
        ) {
            let request = request(&[("{a=\"b\"}", &[(1, "x"), (DAY * 1_000_000_000, "y")])]);
            let found = refused(&request, &parse(&body));
            prop_assert!(found.entries.len() <= 2);
        }
    }
}
