//! RFC 5424: `1 TIME HOST APP PROCID MSGID DATA TEXT`, behind the priority.
//!
//! Promises: all of the format, with times to the nanosecond and of any number of digits. Senders that leave out the structured data, or
//! write it wrong, have it in the text. Also Meraki's dialect, whose time is a number of seconds. Leaves to others: anything else with a
//! priority (`bsd`).

use super::bsd;
use super::data::StructuredData;
use super::{Format, Message, Options, stamp};
use crate::format::rfc3339;

/// Reads what follows the priority into `found`. If it is not RFC 5424, nothing is changed.
pub(super) fn parse<'a>(text: &'a str, options: &Options<'_>, found: &mut Message<'a>) -> bool {
    let Some((version, rest)) = text.split_once(' ') else { return false };
    let is_version =
        matches!(version.as_bytes(), [b'1'..=b'9', more @ ..] if more.len() < 3 && more.iter().all(u8::is_ascii_digit));
    if !is_version {
        return false;
    }
    let (time, rest) = token(rest);
    found.time_ns = match time {
        "-" => None,
        _ => match moment(time, options) {
            Some(ns) => Some(ns),
            None => return seconds(time, rest, found),
        },
    };
    found.format = Format::Ietf;
    let (hostname, body) = token(rest);
    found.hostname = value(hostname);
    let (app_name, rest) = token(body);
    let (proc_id, rest) = token(rest);
    let (msg_id, rest) = token(rest);
    let data = match rest.strip_prefix('-') {
        Some(after) if after.is_empty() || after.starts_with(' ') => Some((StructuredData::default(), after)),
        _ => StructuredData::at(rest),
    };
    if data.is_none() && app_name.ends_with(':') {
        // The head of the one format and the body of the other.
        bsd::tagged(body, found);
        return true;
    }
    (found.app_name, found.proc_id, found.msg_id) = (value(app_name), value(proc_id), value(msg_id));
    let rest = match data {
        Some((data, after)) => {
            found.data = data;
            after.strip_prefix(' ').unwrap_or(after)
        }
        None => rest,
    };
    found.text = rest.strip_prefix('\u{feff}').unwrap_or(rest);
    true
}

/// A time that fills the whole word.
fn moment(time: &str, options: &Options<'_>) -> Option<i64> {
    rfc3339::parse(time).or_else(|| {
        let (ns, len) = stamp::read(time, options)?;
        ns.filter(|_| len == time.len())
    })
}

/// Meraki: `1 1370377729.286064190 name urls src=…`: seconds since 1970, name, kind of event, text.
fn seconds<'a>(time: &str, rest: &'a str, found: &mut Message<'a>) -> bool {
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    if whole.len() != 10 {
        return false;
    }
    let Some(ns) = stamp::unix(whole, fraction) else { return false };
    found.format = Format::Bsd;
    found.time_ns = Some(ns);
    let (hostname, rest) = token(rest);
    found.hostname = value(hostname);
    let (app_name, rest) = token(rest);
    found.app_name = value(app_name);
    found.text = rest;
    true
}

/// Up to the next space, and what follows it.
fn token(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

fn value(token: &str) -> Option<&str> {
    (!token.is_empty() && token != "-").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::syslog::parse;
    use proptest::prelude::*;

    type Parts<'a> = (Option<i64>, [Option<&'a str>; 4], &'a str, &'a str);

    fn parts(line: &str) -> Parts<'_> {
        let found = parse(line, &Options::default());
        assert_eq!(found.format, Format::Ietf, "{line}");
        (found.time_ns, [found.hostname, found.app_name, found.proc_id, found.msg_id], found.data.raw(), found.text)
    }

    const TIME: i64 = 1_065_910_455_003_000_000;

    #[test]
    fn messages() {
        for (line, want) in [
            (
                "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed on /dev/pts/8",
                (
                    Some(TIME),
                    [Some("mymachine.example.com"), Some("su"), None, Some("ID47")],
                    "",
                    "'su root' failed on /dev/pts/8",
                ),
            ),
            (
                "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time",
                (
                    Some(1_061_727_255_000_003_000),
                    [Some("192.0.2.1"), Some("myproc"), Some("8710"), None],
                    "",
                    "%% It's time",
                ),
            ),
            (
                "<165>1 2003-10-11T22:14:15.003Z m evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\"][p@32473 class=\"high\"]",
                (
                    Some(TIME),
                    [Some("m"), Some("evntslog"), None, Some("ID47")],
                    "[exampleSDID@32473 iut=\"3\" eventSource=\"Application\"][p@32473 class=\"high\"]",
                    "",
                ),
            ),
            ("<0>1 - - - - - -", (None, [None; 4], "", "")),
            ("<0>1 - - - - - - ", (None, [None; 4], "", "")),
            ("<0>1 - - - - - -  two", (None, [None; 4], "", " two")),
            ("<0>999 - h - - - - x", (None, [Some("h"), None, None, None], "", "x")),
            // To the nanosecond, and further.
            (
                "<13>1 2003-10-11T22:14:15.0030000019Z h a 1 m - t",
                (Some(TIME + 1), [Some("h"), Some("a"), Some("1"), Some("m")], "", "t"),
            ),
            // OPNsense.
            (
                "<134>1 2003-10-11T22:14:15+00:00 OPNsense.localdomain filterlog 12345 - [meta sequenceId=\"1\"] 4,,,0,igb0,match,block,in,4",
                (
                    Some(TIME - 3_000_000),
                    [Some("OPNsense.localdomain"), Some("filterlog"), Some("12345"), None],
                    "[meta sequenceId=\"1\"]",
                    "4,,,0,igb0,match,block,in,4",
                ),
            ),
            // Synology, a text of several lines.
            (
                "<14>1 2003-10-11T22:14:15.003Z DS218 Connection - - [synolog@6574 event_id=\"0x0001\"][meta sequenceId=\"2\"] User [a]:\nin",
                (
                    Some(TIME),
                    [Some("DS218"), Some("Connection"), None, None],
                    "[synolog@6574 event_id=\"0x0001\"][meta sequenceId=\"2\"]",
                    "User [a]:\nin",
                ),
            ),
            // Check Point writes what is not structured data.
            (
                "<134>1 2003-10-11T22:14:15.003Z gw CheckPoint 1234 - [action:\"Accept\"; conn:\"x\"]",
                (
                    Some(TIME),
                    [Some("gw"), Some("CheckPoint"), Some("1234"), None],
                    "",
                    "[action:\"Accept\"; conn:\"x\"]",
                ),
            ),
            // No structured data at all.
            (
                "<14>1 2003-10-11T22:14:15.003Z h a 1 m some text",
                (Some(TIME), [Some("h"), Some("a"), Some("1"), Some("m")], "", "some text"),
            ),
            (
                "<14>1 2003-10-11T22:14:15.003Z h a[1]: some text here now",
                (Some(TIME), [Some("h"), Some("a"), Some("1"), None], "", "some text here now"),
            ),
            // No zone.
            ("<14>1 2003-10-11T22:14:15.003 h a - - - t", (Some(TIME), [Some("h"), Some("a"), None, None], "", "t")),
            // Ends early.
            ("<14>1 2003-10-11T22:14:15.003Z", (Some(TIME), [None; 4], "", "")),
            ("<14>1 2003-10-11T22:14:15.003Z h a", (Some(TIME), [Some("h"), Some("a"), None, None], "", "")),
        ] {
            assert_eq!(parts(line), want, "{line}");
        }
    }

    #[test]
    fn meraki() {
        let found = parse("<134>1 1370377729.286064190 labs_z1 urls src=10.0.0.1:80 dst=1.2.3.4", &Options::default());
        assert_eq!(found.time_ns, Some(1_370_377_729_286_064_190));
        assert_eq!((found.hostname, found.app_name), (Some("labs_z1"), Some("urls")));
        assert_eq!(found.text, "src=10.0.0.1:80 dst=1.2.3.4");
    }

    #[test]
    fn what_is_not_rfc_5424() {
        for line in [
            "<13>1: *Mar  1",
            "<13>0 - - - - - -",
            "<13>1234 - - - - - -",
            "<13>1",
            "<13>1 hello world",
            "<13>a - - - - - -",
        ] {
            assert_ne!(parse(line, &Options::default()).format, Format::Ietf, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pri in 0..192_u8, ns in any::<i64>(), fields in prop::array::uniform4("-|[!-~]{1,12}"), text in "\\PC{0,30}") {
            let [host, app, proc, msg] = &fields;
            let line = format!("<{pri}>1 {} {host} {app} {proc} {msg} - {text}", crate::format::civil::format_rfc3339_ns(ns));
            let found = parse(&line, &Options::default());
            prop_assert_eq!((found.severity, found.facility, found.time_ns), (Some(pri & 7), Some(pri >> 3), Some(ns)));
            let read = [found.hostname, found.app_name, found.proc_id, found.msg_id].map(|field| field.unwrap_or("-"));
            prop_assert_eq!(read, [host.as_str(), app, proc, msg]);
            prop_assert_eq!(found.text, text.strip_prefix('\u{feff}').unwrap_or(&text));
        }
    }
}
