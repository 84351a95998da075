//! Times in all the forms that senders have, and the year that is not there.

use super::Options;
use super::stamp::*;
use crate::format::rfc3339;
use crate::format::time::Zone;
use proptest::prelude::*;

fn ns(text: &str) -> i64 {
    rfc3339::parse(text).unwrap_or_else(|| panic!("{text}"))
}

fn at(text: &str, received: &str, zone: Option<&str>) -> Option<(Option<i64>, usize)> {
    let zone = zone.and_then(|name| Zone::named(name).expect("the zone is known"));
    read(text, &Options { zone: zone.as_ref(), received_ns: ns(received), local: false })
}

#[test]
fn forms() {
    let whole = "2026-08-01T10:00:00Z";
    for (text, want, rest) in [
        ("Aug  1 10:00:00 host", whole, " host"),
        ("Aug 1 10:00:00 host", whole, " host"),
        ("Aug 01 10:00:00: x", whole, ": x"),
        ("aug  1 10:00:00", whole, ""),
        ("AUG  1 10:00:00", whole, ""),
        ("Aug  1 9:00:00 x", "2026-08-01T09:00:00Z", " x"),
        ("Aug  1 2026 10:00:00 x", whole, " x"),
        ("Aug  1 10:00:00 2026 x", whole, " x"),
        ("Aug  1 10:00:00 1234 x", whole, " 1234 x"),
        ("Aug  1 10:00:00 20260 x", whole, " 20260 x"),
        ("2026 Aug  1 10:00:00.123 UTC: x", "2026-08-01T10:00:00.123Z", ": x"),
        ("Sat Aug  1 10:00:00 2026", whole, ""),
        ("Sat, Aug  1 10:00:00 2026", whole, ""),
        ("Aug  1 10:00:00.5 x", "2026-08-01T10:00:00.5Z", " x"),
        ("Aug  1 10:00:00,123456 x", "2026-08-01T10:00:00.123456Z", " x"),
        ("Aug  1 10:00:00:123 2026 x", "2026-08-01T10:00:00.123Z", " x"),
        ("Aug  1 10:00:00:123456 x", whole, ":123456 x"),
        ("Aug  1 10:00:00.", whole, "."),
        ("Aug  1 10:00:00 CEST: x", "2026-08-01T08:00:00Z", ": x"),
        ("Aug  1 10:00:00 CEST x", whole, " CEST x"),
        ("Aug  1 10:00:00 CORE: x", whole, " CORE: x"),
        ("Aug 24 05:34:00 CST 1987 mymachine", "1987-08-24T11:34:00Z", " mymachine"),
        ("Aug  1 10:00:00 GMT x", whole, " x"),
        ("Aug  1 10:00:00 UTCX x", whole, " UTCX x"),
        ("Aug  1 10:00:00 +02:00 x", "2026-08-01T08:00:00Z", " x"),
        ("Aug  1 10:00:00 -0530: x", "2026-08-01T15:30:00Z", ": x"),
        ("Aug  1 10:00:00 -- x", whole, " -- x"),
        ("Aug  1 10:00:60 x", "2026-08-01T10:01:00Z", " x"),
        ("2026-08-01T10:00:00.123456+02:00 x", "2026-08-01T08:00:00.123456Z", " x"),
        ("2026-08-01T10:00:00+0200 x", "2026-08-01T08:00:00Z", " x"),
        ("2026-08-01T10:00:00Z: x", whole, ": x"),
        ("2026-08-01T10:00:00 x", whole, " x"),
        ("2026-08-01 10:00:00,5 x", "2026-08-01T10:00:00.5Z", " x"),
        ("2026-8-1 10:00:00 x", whole, " x"),
        ("2026/08/01 10:00:00 x", whole, " x"),
        ("2026-08-01 10:00:00 UTC x", whole, " x"),
    ] {
        assert_eq!(at(text, "2026-08-01T12:00:00Z", None), Some((Some(ns(want)), text.len() - rest.len())), "{text}");
    }
    for bad in [
        "",
        "Aug",
        "Aug  1",
        "Aug 1st 10:00:00",
        "August 1 10:00:00",
        "Aug  1 10:00",
        "Aug  1 24:00:00",
        "Aug  1 10:60:00",
        "Aug  1 10:00:61",
        "Aug 123 10:00:00",
        "Aug  1 10:0:00",
        "Abc  1 10:00:00",
        "Sat 10:00:00",
        "2026",
        "2026-08-01",
        "2026-08/01 10:00:00",
        "2026-08-01x10:00:00",
        "20260801T100000Z",
        "*Aug  1 10:00:00",
        "ä",
        "2026-08-01T10:00:00+25:00",
    ] {
        assert_eq!(at(bad, "2026-08-01T12:00:00Z", None), None, "{bad}");
    }
    for never in [
        "Aug 32 10:00:00",
        "Feb 30 10:00:00",
        "2023-02-29 10:00:00",
        "2026-13-01 10:00:00",
        "Jun 0 10:00:00",
        "9999-01-01 10:00:00",
    ] {
        assert_eq!(at(never, "2026-08-01T12:00:00Z", None), Some((None, never.len())), "{never}");
    }
}

#[test]
fn the_year_is_the_nearest() {
    for (text, received, want) in [
        ("Dec 31 23:59:59", "2026-01-01T00:00:01Z", "2025-12-31T23:59:59Z"),
        ("Jan  1 00:00:01", "2025-12-31T23:59:59Z", "2026-01-01T00:00:01Z"),
        ("Dec 31 23:59:59", "2025-12-31T23:59:59Z", "2025-12-31T23:59:59Z"),
        ("Mar  1 00:00:00", "2026-08-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("Nov  1 00:00:00", "2026-03-01T00:00:00Z", "2025-11-01T00:00:00Z"),
        ("Feb 29 10:00:00", "2024-03-01T00:00:00Z", "2024-02-29T10:00:00Z"),
        ("Feb 29 10:00:00", "2025-03-01T00:00:00Z", "2024-02-29T10:00:00Z"),
    ] {
        assert_eq!(at(text, received, None).and_then(|found| found.0), Some(ns(want)), "{text} {received}");
    }
    assert_eq!(at("Feb 29 10:00:00", "2026-03-01T00:00:00Z", None), Some((None, 15)));
    // The year is that of the zone: in Auckland it began half a day ago.
    let found = at("Jan  1 01:00:00", "2025-12-31T12:00:30Z", Some("Pacific/Auckland"));
    assert_eq!(found, Some((Some(ns("2025-12-31T12:00:00Z")), 15)));
}

#[test]
fn zones() {
    for (text, zone, want) in [
        ("Aug  1 10:00:00", "Europe/Berlin", "2026-08-01T08:00:00Z"),
        ("Aug  1 10:00:00 UTC: x", "Europe/Berlin", "2026-08-01T10:00:00Z"),
        ("Aug  1 10:00:00 CST: x", "Asia/Shanghai", "2026-08-01T02:00:00Z"),
        ("Aug  1 10:00:00 CST: x", "Europe/Berlin", "2026-08-01T16:00:00Z"),
        ("2026-01-01 10:00:00", "Europe/Berlin", "2026-01-01T09:00:00Z"),
        ("2026-08-01T10:00:00Z", "Europe/Berlin", "2026-08-01T10:00:00Z"),
    ] {
        assert_eq!(at(text, "2026-08-01T12:00:00Z", Some(zone)).and_then(|f| f.0), Some(ns(want)), "{text} {zone}");
    }
    assert_eq!(offset("+0100"), Some(3600));
    assert_eq!(offset("-5"), Some(-18_000));
    assert_eq!(offset("+05:30"), Some(19_800));
    for bad in ["", "+", "0100", "+15:00", "+1:0x", "+0160"] {
        assert_eq!(offset(bad), None, "{bad}");
    }
    let utc = Options::default();
    assert_eq!(date_and_time("2026-08-01", "10:00:00", Some(3600), &utc), Some(ns("2026-08-01T09:00:00Z")));
    assert_eq!(date_and_time("2026-08-01", "10:00:00x", None, &utc), None);
    assert_eq!(unix("1370377729", "28"), Some(1_370_377_729_280_000_000));
    assert_eq!(
        (unix("", ""), unix("1x", ""), unix("1", "x"), unix("99999999999999999999", "")),
        (None, None, None, None)
    );
}

proptest! {
    #[test]
    fn agrees_with_the_other_reader(ns in 0..4_000_000_000_000_000_000_i64) {
        let text = crate::format::civil::format_rfc3339_ns(ns);
        prop_assert_eq!(read(&text, &Options::default()), Some((Some(ns), text.len())));
    }

    #[test]
    fn a_time_without_a_year_is_within_half_a_year(received in 1_000_000_000..3_000_000_000_i64, month in 0..12_usize, day in 1..29_u8) {
        let month = std::str::from_utf8(MONTHS[month]).unwrap();
        let options = Options { received_ns: received * SECOND_NS, ..Options::default() };
        let (found, _) = read(&format!("{month} {day:2} 12:00:00"), &options).unwrap();
        prop_assert!(found.unwrap().abs_diff(options.received_ns) <= 184 * 86_400_000_000_000);
    }

    #[test]
    fn never_panics(text in "(Aug|Sat|Feb|[0-9]{1,4}|[ :.,/TZ+-]|UTC|CEST|ä){0,16}", received: i64) {
        if let Some((_, len)) = read(&text, &Options { received_ns: received, ..Options::default() }) {
            prop_assert!(text.is_char_boundary(len) && len > 0);
        }
        let _ = (offset(&text), unix(&text, &text), date_and_time(&text, &text, None, &Options::default()));
    }
}
