//! Syslog messages: RFC 5424, and what is called RFC 3164 and is something else on each device.
//!
//! Nobody has to say which of them a sender speaks: a version and a time behind the priority make it RFC 5424, all else is read as BSD
//! syslog in the dialects that firewalls, switches and daemons send (`bsd`, `keyed`). A message of which nothing is understood is still a
//! message: its text is what came.
//!
//! Promises: all pieces are borrowed from the message; nothing is allocated, nothing panics, and the work is a few passes over the head
//! of the message. What was not understood is never lost: it stays in the text. Leaves to others: cutting a TCP stream into messages
//! (`frame`), bytes that are not UTF-8, which of the labels are wanted, what is done with times that are far off.

mod bsd;
mod data;
pub mod frame;
mod ietf;
mod keyed;
mod labels;
mod stamp;

#[cfg(test)]
mod bsd_tests;
#[cfg(test)]
mod stamp_tests;

pub use data::{Param, Params, StructuredData};
pub use labels::{
    APP_NAME, CONNECTION_HOSTNAME, CONNECTION_IP_ADDRESS, DATA_PREFIX, FACILITY, HOSTNAME, MSG_ID, ORIGIN, PROC_ID,
    SEVERITY, write_data_name,
};

use crate::format::time::Zone;

/// Names of the severities, by number; as Promtail gives them.
const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];

/// Keywords of the facilities, by number. Promtail gives the same, but for 9 and 12 to 15, where it has phrases such as `clock daemon`.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// The keyword of a severity, 0 to 7: `emergency` to `debug`.
pub fn severity(number: u8) -> Option<&'static str> {
    SEVERITIES.get(usize::from(number)).copied()
}

/// The keyword of a facility, 0 to 23: `kern` to `local7`.
pub fn facility(number: u8) -> Option<&'static str> {
    FACILITIES.get(usize::from(number)).copied()
}

/// What a message does not say itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'z> {
    /// The zone of times that name none; `None` is UTC.
    pub zone: Option<&'z Zone>,
    /// When the message was received, nanoseconds since 1970. A time without a year gets the year that brings it nearest to this.
    pub received_ns: i64,
    /// Whether it came through the host's own socket (`/dev/log`), where no hostname is sent.
    pub local: bool,
}

/// How a message was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// RFC 5424.
    Ietf,
    /// RFC 3164, or what its device takes for it.
    Bsd,
    /// Nothing was recognised: all of it is text.
    #[default]
    Plain,
}

/// A message, taken apart. What it does not have, or as `-`, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Message<'a> {
    /// How it was written.
    pub format: Format,
    /// 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// 0 (kern) to 23 (local7).
    pub facility: Option<u8>,
    /// Nanoseconds since 1970. `None` also where a device says that its clock is not set, and it is off by more than a day.
    pub time_ns: Option<i64>,
    /// The sender's name or address, as it gives it.
    pub hostname: Option<&'a str>,
    /// The program; of MikroTik the topics.
    pub app_name: Option<&'a str>,
    /// Mostly the number of the process.
    pub proc_id: Option<&'a str>,
    /// The kind of message: of RFC 5424, and the mnemonics of Cisco, Juniper, Huawei and Comware, the `logid` of Fortinet, the event
    /// number of ProCurve. Those of BSD syslog but ProCurve's stay in the text as well.
    pub msg_id: Option<&'a str>,
    /// What some devices write beside their name: model, address and version (UniFi), the card (IOS XR).
    pub origin: Option<&'a str>,
    /// Structured data of RFC 5424.
    pub data: StructuredData<'a>,
    /// The text.
    pub text: &'a str,
}

/// Takes a message apart.
///
/// ```
/// use lugger::format::syslog::{Options, parse};
/// let found = parse("<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed", &Options::default());
/// assert_eq!((found.hostname, found.app_name, found.proc_id), (Some("mymachine"), Some("su"), Some("7")));
/// assert_eq!(found.text, "'su root' failed");
/// ```
pub fn parse<'a>(text: &'a str, options: &Options<'_>) -> Message<'a> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Many senders end a datagram as they end a line or a C string.
    let text = text.trim_end_matches(['\n', '\r', '\0']);
    let mut found = Message { text, ..Message::default() };
    let rest = match priority(text.trim_start()) {
        Some((number, rest)) => {
            found.severity = Some(number & 7);
            found.facility = Some(number >> 3);
            found.format = Format::Bsd;
            found.text = rest;
            if ietf::parse(rest, options, &mut found) {
                return found;
            }
            rest
        }
        None => text,
    };
    bsd::parse(rest, options, &mut found);
    found
}

/// `<0>` to `<191>`, and what follows.
fn priority(text: &str) -> Option<(u8, &str)> {
    let inside = text.strip_prefix('<')?;
    let len = inside.bytes().take(4).position(|byte| byte == b'>')?;
    let digits = inside.get(..len)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok().filter(|number| *number < 192)?;
    Some((number, inside.get(len + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn priorities() {
        for (text, want) in [
            ("<0>x", Some((0, "x"))),
            ("<191>", Some((191, ""))),
            ("<013>x", Some((13, "x"))),
            ("<192>x", None),
            ("<999>x", None),
            ("<1234>x", None),
            ("<>x", None),
            ("<+1>x", None),
            ("<13", None),
            ("13>x", None),
            ("<ä>x", None),
        ] {
            assert_eq!(priority(text), want, "{text}");
        }
        assert_eq!((severity(6), severity(8)), (Some("informational"), None));
        assert_eq!(
            (facility(0), facility(9), facility(23), facility(24)),
            (Some("kern"), Some("cron"), Some("local7"), None)
        );
    }

    #[test]
    fn what_is_not_understood_is_text() {
        for text in ["", "hello world", "  indented: text", "<192>Oct 11 22:14:15 x", "<>", "ä"] {
            let found = parse(text, &Options::default());
            assert_eq!(found, Message { text, ..found }, "{text}");
            assert_eq!((found.severity, found.hostname, found.app_name), (None, None, None), "{text}");
        }
        let found = parse("<13>", &Options::default());
        assert_eq!((found.severity, found.facility, found.text), (Some(5), Some(1), ""));
        let found = parse("\u{feff} \n<14>hello\r\n\0", &Options::default());
        assert_eq!((found.severity, found.text), (Some(6), "hello"));
    }

    fn pieces(text: &str) -> Message<'_> {
        let found = parse(text, &Options { received_ns: 1_785_000_000_000_000_000, ..Options::default() });
        let all = [found.hostname, found.app_name, found.proc_id, found.msg_id, found.origin, Some(found.text)];
        for piece in all.into_iter().flatten().filter(|piece| !piece.is_empty()) {
            let (start, end) = (piece.as_ptr() as usize, piece.as_ptr() as usize + piece.len());
            let line = text.as_ptr() as usize..=text.as_ptr() as usize + text.len();
            assert!(line.contains(&start) && line.contains(&end), "borrowed from elsewhere: {piece:?}");
        }
        for param in found.data.params() {
            let _ = (param.text(), param.id.len());
        }
        found
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}|(<13>|1 |2026-08-01T10:00:00Z |Aug  1 10:00:00|[*.: %-]|host|a\\[1\\]:|\\[x@1 y=\"\\\\|\"\\]|date=|[0-9]{1,5}|RP/0:|,|ä|\u{feff}){0,20}") {
            pieces(&text);
        }

        #[test]
        fn a_plain_head_is_read_whatever_the_text_is(host in "[a-z][a-z0-9.-]{0,20}", app in "[a-z][a-z0-9_-]{0,12}", pid in 0..99_999_u32, text in "[^\n\r\0%][^\n\r\0]{0,40}") {
            let line = format!("<30>Aug  1 10:00:00 {host} {app}[{pid}]: {text}");
            let found = pieces(&line);
            prop_assert_eq!(found.hostname, Some(host.as_str()));
            prop_assert_eq!(found.app_name, Some(app.as_str()));
            let pid = pid.to_string();
            prop_assert_eq!(found.proc_id, Some(pid.as_str()));
            prop_assert_eq!(found.text, text);
        }
    }
}
