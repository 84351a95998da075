//! Devices whose whole message is `key=value` pairs: Fortinet, Sophos, SonicWall.
//!
//! `date=2026-08-01 time=10:00:00 devname="FGT" eventtime=1785571200123456789 tz="+0200" logid="0000000013" …` has time, name and kind
//! among the pairs and no head before them.
//!
//! Promises: looks at the first pairs only, up to a bound. The text stays whole. Leaves to others: the pairs (the `logfmt` stage reads them).

use super::{Message, Options, stamp};
use crate::base::limits::SYSLOG_PAIRS;

/// What is looked for.
#[derive(Default)]
struct Pairs<'a> {
    date: Option<&'a str>,
    time: Option<&'a str>,
    zone: Option<&'a str>,
    event: Option<&'a str>,
    name: Option<&'a str>,
    id: Option<&'a str>,
}

/// Reads a message of pairs into `found`. If it is none, nothing is changed.
pub(super) fn parse<'a>(text: &'a str, options: &Options<'_>, found: &mut Message<'a>) -> bool {
    let mut pairs = Pairs::default();
    let mut rest = text;
    let mut count = 0;
    while count < SYSLOG_PAIRS
        && let Some((key, value, after)) = pair(rest)
    {
        let place = match key {
            "date" => &mut pairs.date,
            "time" => &mut pairs.time,
            "tz" | "timezone" => &mut pairs.zone,
            "eventtime" => &mut pairs.event,
            "devname" | "device_name" => &mut pairs.name,
            "logid" | "log_id" => &mut pairs.id,
            _ => &mut None,
        };
        // Fields of the event itself may have the same names further behind.
        if place.is_none() {
            *place = Some(value).filter(|value| !value.is_empty());
        }
        rest = after;
        count += 1;
    }
    // One pair can be anything.
    if count < 2 {
        return false;
    }
    found.time_ns = pairs.moment(options);
    found.hostname = pairs.name;
    found.msg_id = pairs.id;
    found.text = text;
    true
}

impl Pairs<'_> {
    fn moment(&self, options: &Options<'_>) -> Option<i64> {
        if let Some(ns) = self.event.and_then(event) {
            return Some(ns);
        }
        let time = self.time?;
        match self.date {
            Some(date) => stamp::date_and_time(date, time, self.zone.and_then(stamp::offset), options),
            // SonicWall has both in one.
            None => stamp::read(time, options).filter(|(_, len)| *len == time.len())?.0,
        }
    }
}

/// Since 1970, in seconds, milliseconds, microseconds or nanoseconds: each version of FortiOS has its own.
fn event(digits: &str) -> Option<i64> {
    let unit = match digits.len() {
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return None,
    };
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok()?.checked_mul(unit)).flatten()
}

/// The pair at the beginning, its value without quotes, and what follows.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_start_matches(' ');
    let len = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')))?;
    let (key, rest) = text.split_at_checked(len)?;
    let rest = rest.strip_prefix('=')?;
    if key.is_empty() {
        return None;
    }
    let (value, after) = match rest.strip_prefix('"') {
        Some(inside) => inside.split_once('"')?,
        None => rest.split_at_checked(rest.find(' ').unwrap_or(rest.len()))?,
    };
    (after.is_empty() || after.starts_with(' ')).then_some((key, value, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::rfc3339;
    use crate::format::syslog::{Format, parse as whole};
    use proptest::prelude::*;

    #[test]
    fn devices() {
        let ns = |text| rfc3339::parse(text);
        for (line, time, name, id) in [
            (
                r#"date=2026-08-01 time=10:00:00 devname="FGT-1" devid="FG100" eventtime=1785571200123456789 tz="+0200" logid="0000000013" type="traffic" time=11:11:11"#,
                Some(1_785_571_200_123_456_789),
                Some("FGT-1"),
                Some("0000000013"),
            ),
            (
                "date=2026-08-01 time=10:00:00 devname=FGT-1 devid=FG100 eventtime=1785571200 logid=0000000013",
                Some(1_785_571_200_000_000_000),
                Some("FGT-1"),
                Some("0000000013"),
            ),
            (
                "date=2026-08-01,time=10:00:00 devname=FGT-1 logid=0000000013 type=traffic",
                None,
                Some("FGT-1"),
                Some("0000000013"),
            ),
            (
                r#"date=2026-08-01 time=10:00:00 devname="FGT-1" tz="+0200" eventtime=12"#,
                ns("2026-08-01T08:00:00Z"),
                Some("FGT-1"),
                None,
            ),
            (
                "date=2026-08-01 time=10:00:00 devname=FGT-1 time=11:11:11",
                ns("2026-08-01T10:00:00Z"),
                Some("FGT-1"),
                None,
            ),
            (
                r#"device="SFW" date=2026-08-01 time=10:00:00 timezone="CEST" device_name="XG" device_id=1 log_id=010101600001"#,
                ns("2026-08-01T10:00:00Z"),
                Some("XG"),
                Some("010101600001"),
            ),
            (
                r#"id=firewall sn=0017C5 time="2026-08-01 10:00:00 UTC" fw=1.2.3.4 pri=6 msg="Connection \"closed""#,
                ns("2026-08-01T10:00:00Z"),
                None,
                None,
            ),
            ("a=1 b=2", None, None, None),
        ] {
            let line = format!("<189>{line}");
            let found = whole(&line, &Options::default());
            assert_eq!((found.time_ns, found.hostname, found.msg_id), (time, name, id), "{line}");
            assert_eq!((found.text, found.format), (&line[5..], Format::Bsd));
        }
        for other in ["a=1", "a=1 text", "text a=1 b=2", "=1 b=2", "a=\"1\"x b=2", "a b"] {
            assert!(!parse(other, &Options::default(), &mut Message::default()), "{other}");
        }
    }

    #[test]
    fn only_the_first_pairs_count() {
        let many = "x=1 ".repeat(SYSLOG_PAIRS);
        let mut found = Message::default();
        let text = format!("{many}devname=late");
        assert!(parse(&text, &Options::default(), &mut found));
        assert_eq!(found.hostname, None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "([a-z]=|[ =\"1ä]|date=|time=|10:00:00|2026-08-01|eventtime=|[0-9]{10}){0,20}") {
            let mut found = Message::default();
            if parse(&text, &Options::default(), &mut found) {
                prop_assert_eq!(found.text, text.as_str());
            }
        }
    }
}
