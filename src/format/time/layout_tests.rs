//! What compiles, what does not, and what is said of it; printing.

use super::token::{Element, elements};
use super::*;

#[test]
fn layouts_are_cut_as_go_cuts_them() {
    let literal = |text: &str| Element::Literal(text.into());
    let offset = |zulu, colons, minutes, seconds| Element::Offset(token::Offset { zulu, colons, minutes, seconds });
    for (layout, expected) in [
        ("2006", vec![Element::Year4]),
        ("_2006", vec![literal("_"), Element::Year4]),
        ("_2", vec![Element::DayPadded]),
        ("__2", vec![Element::YearDayPadded]),
        ("002", vec![Element::YearDay3]),
        ("0002", vec![literal("0"), Element::YearDay3]),
        ("January", vec![Element::MonthLong]),
        ("Jan", vec![Element::MonthShort]),
        ("Janet", vec![literal("Janet")]),
        ("JanX", vec![Element::MonthShort, literal("X")]),
        ("Mon", vec![Element::WeekdayShort]),
        ("Month", vec![literal("Month")]),
        ("Monday", vec![Element::WeekdayLong]),
        ("MST", vec![Element::ZoneName]),
        ("1504", vec![Element::Hour, Element::Minute2]),
        ("12", vec![Element::Month, Element::Day]),
        ("345PMpm", vec![Element::Hour12, Element::Minute, Element::Second, Element::Half, Element::HalfLower]),
        (".000", vec![Element::Fraction(3, '.')]),
        (",9", vec![Element::FractionOptional(1, ',')]),
        (".0001", vec![literal(".00"), Element::Month2]),
        (".009", vec![literal(".009")]),
        ("-0700", vec![offset(false, false, true, false)]),
        ("-07:00", vec![offset(false, true, true, false)]),
        ("-07", vec![offset(false, false, false, false)]),
        ("-070000", vec![offset(false, false, true, true)]),
        ("-07:00:00", vec![offset(false, true, true, true)]),
        ("Z07:00", vec![offset(true, true, true, false)]),
        ("Z0700", vec![offset(true, false, true, false)]),
        ("Z07", vec![offset(true, false, false, false)]),
        ("Z", vec![literal("Z")]),
        ("-7", vec![literal("-7")]),
        ("äJanü", vec![literal("ä"), Element::MonthShort, literal("ü")]),
    ] {
        assert_eq!(elements(layout), expected, "{layout}");
    }
}

fn refused(layout: &str, location: Option<&str>) -> LayoutError {
    Layout::compile(layout, location).expect_err(layout)
}

#[test]
fn what_is_not_a_layout_is_refused_with_advice() {
    assert_eq!(refused("", None), LayoutError::Empty);
    assert_eq!(refused("  ", None), LayoutError::Empty);
    for (layout, instead) in [
        ("%Y-%m-%d %H:%M:%S", "2006-01-02 15:04:05"),
        ("%d/%b/%Y:%H:%M:%S %z", "02/Jan/2006:15:04:05 -0700"),
        ("%FT%T.%LZ", "2006-01-02T15:04:05.000Z"),
        ("%-d %B 100%% %Q %", "2 January 100% %Q %"),
    ] {
        let instead = instead.replace("2 January", "02 January");
        assert_eq!(refused(layout, None), LayoutError::Strftime { layout: layout.to_owned(), instead });
    }
    for (layout, instead) in
        [("rfc3339", "RFC3339"), ("unix_ms", "UnixMs"), ("UNIX", "Unix"), ("ISO8601", "RFC3339"), ("epoch", "Unix")]
    {
        assert_eq!(refused(layout, None), LayoutError::Name { layout: layout.to_owned(), instead });
    }
    for layout in ["yyyy-MM-dd HH:mm:ss", "time", "Month"] {
        assert_eq!(refused(layout, None), LayoutError::NoElement { layout: layout.to_owned() });
    }
    for zone in ["Europe/Berlln", "../etc/passwd", "/etc/passwd", "Europe", "é"] {
        assert!(matches!(refused("2006", Some(zone)), LayoutError::Location { .. }), "{zone}");
    }
    // The zone is checked also where the format does not use it.
    assert!(matches!(refused("Unix", Some("Mars/Base")), LayoutError::Location { .. }));
    let message = refused("2006", Some("Mars/Base")).to_string();
    assert!(message.contains("`Mars/Base`") && message.contains("tzdata"), "{message}");
}

#[test]
fn printing() {
    let at = 1_136_214_245_012_300_000;
    for (layout, location, expected) in [
        ("ANSIC", None, "Mon Jan  2 15:04:05 2006"),
        ("UnixDate", None, "Mon Jan  2 15:04:05 UTC 2006"),
        ("RFC850", None, "Monday, 02-Jan-06 15:04:05 UTC"),
        ("RFC3339Nano", None, "2006-01-02T15:04:05.0123Z"),
        ("2006-01-02 15:04:05.000", None, "2006-01-02 15:04:05.012"),
        ("2006-01-02 15:04:05,999999", None, "2006-01-02 15:04:05,0123"),
        ("2006-01-02 15:04:05.9", None, "2006-01-02 15:04:05"),
        ("3:04pm PM 002 __2 1 5 4", None, "3:04pm PM 002   2 1 5 4"),
        ("2006-01-02T15:04:05Z07:00 MST", Some("America/New_York"), "2006-01-02T10:04:05-05:00 EST"),
        ("-0700 -07 Z070000", Some("Asia/Kolkata"), "+0530 +05 +053000"),
        ("Unix", None, "1136214245"),
        ("UnixMs", None, "1136214245012"),
    ] {
        let mut out = String::new();
        Layout::compile(layout, location).unwrap().print(at, &mut out);
        assert_eq!(out, expected, "{layout}");
    }
    let mut midnight = String::new();
    Layout::compile("3PM 03am", None).unwrap_or_else(|_| panic!()).print(0, &mut midnight);
    assert_eq!(midnight, "12AM 12am");
}
