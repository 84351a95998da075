//! What devices and daemons really send, and what has to come of it.

use super::{Format, Message, Options, parse};
use crate::format::rfc3339;
use crate::format::time::Zone;

/// When the messages of these tests were received.
const RECEIVED: &str = "2026-08-01T10:00:05Z";
/// The time that most of them have.
const TIME: &str = "2026-08-01T10:00:00Z";

fn read(line: &str) -> Message<'_> {
    let received_ns = rfc3339::parse(RECEIVED).unwrap();
    parse(line, &Options { received_ns, ..Options::default() })
}

/// Time, host, program, process and text.
type Want<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a str);

#[track_caller]
fn holds(line: &str, want: Want<'_>) {
    let found = read(line);
    let time = want.0.map(|time| rfc3339::parse(time).expect("the test has a time"));
    let read = (found.time_ns, found.hostname, found.app_name, found.proc_id, found.text);
    assert_eq!(read, (time, want.1, want.2, want.3, want.4), "{line}");
    assert_eq!(found.format, Format::Bsd, "{line}");
}

#[test]
fn as_the_rfc_has_it() {
    holds(
        "<34>Aug  1 10:00:00 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        (Some(TIME), Some("mymachine"), Some("su"), None, "'su root' failed for lonvick on /dev/pts/8"),
    );
    holds("<13>Aug  1 10:00:00 10.0.0.99 Use the BFG!", (Some(TIME), Some("10.0.0.99"), None, None, "Use the BFG!"));
    holds(
        "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time",
        (Some("1987-08-24T11:34:00Z"), Some("mymachine"), Some("myproc"), Some("10"), "%% It's time"),
    );
    // Its last example cannot be told apart: the zone is taken for the host.
    holds(
        "<0>1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!",
        (
            Some("1990-10-22T10:52:01Z"),
            Some("TZ-6"),
            None,
            None,
            "scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!",
        ),
    );
}

#[test]
fn daemons() {
    for (line, want) in [
        // No priority: a file's format, or a careless sender.
        (
            "Aug  1 10:00:00 web cron[7]: (root) CMD (x)",
            (Some(TIME), Some("web"), Some("cron"), Some("7"), "(root) CMD (x)"),
        ),
        (
            "<30>Aug 1 10:00:00 web postfix/smtpd[12]: connect",
            (Some(TIME), Some("web"), Some("postfix/smtpd"), Some("12"), "connect"),
        ),
        (
            "<30>Aug 01 10:00:00 web systemd-logind[1]: x: y",
            (Some(TIME), Some("web"), Some("systemd-logind"), Some("1"), "x: y"),
        ),
        (
            "<86>Aug  1 10:00:00 web sshd(pam_unix)[123]: session",
            (Some(TIME), Some("web"), Some("sshd(pam_unix)"), Some("123"), "session"),
        ),
        ("<30>Aug  1 10:00:00 web app:", (Some(TIME), Some("web"), Some("app"), None, "")),
        ("<30>Aug  1 10:00:00 web app[]: x", (Some(TIME), Some("web"), Some("app"), None, "x")),
        ("<30>Aug  1 10:00:00 web app[1]x", (Some(TIME), Some("web"), None, None, "app[1]x")),
        // Without a colon.
        (
            "<30>Aug  1 10:00:00 mac com.apple.launchd[1] <Notice>: x",
            (Some(TIME), Some("mac"), Some("com.apple.launchd"), Some("1"), "<Notice>: x"),
        ),
        ("<30>Aug  1 10:00:00 web app[7] text", (Some(TIME), Some("web"), Some("app"), Some("7"), "text")),
        ("<30>Aug  1 10:00:00 web some text here", (Some(TIME), Some("web"), None, None, "some text here")),
        // No host: /dev/log, forwarded as it is.
        ("<30>Aug  1 10:00:00 sshd[123]: Accepted", (Some(TIME), None, Some("sshd"), Some("123"), "Accepted")),
        ("<13>Aug  1 10:00:00 root: hello", (Some(TIME), None, Some("root"), None, "hello")),
        ("<134>Aug  1 10:00:00 haproxy[9]: 10.0.0.1:80", (Some(TIME), None, Some("haproxy"), Some("9"), "10.0.0.1:80")),
        (
            "<46>Aug  1 10:00:00 last message repeated 3 times",
            (Some(TIME), None, None, None, "last message repeated 3 times"),
        ),
        ("<46>Aug  1 10:00:00 hello", (Some(TIME), None, None, None, "hello")),
        ("<46>Aug  1 10:00:00", (Some(TIME), None, None, None, "")),
        // rsyslog's format for forwarding.
        (
            "<30>2026-08-01T12:00:00.123456+02:00 web sshd[1]: x",
            (Some("2026-08-01T10:00:00.123456Z"), Some("web"), Some("sshd"), Some("1"), "x"),
        ),
        // No time.
        ("<30>dnsmasq[12]: query", (None, None, Some("dnsmasq"), Some("12"), "query")),
        ("<13>root: hello", (None, None, Some("root"), None, "hello")),
        ("<13>hello world", (None, None, None, None, "hello world")),
        ("<13>backup: 2026-08-01 10:00:00 done", (None, None, Some("backup"), None, "2026-08-01 10:00:00 done")),
        ("<6>[  12.345] usb 1-1: new", (None, None, None, None, "[  12.345] usb 1-1: new")),
        ("<13>http://x/ is down", (None, None, None, None, "http://x/ is down")),
        // A time that is none is text.
        ("<13>Aug 1st 10:00:00 web x", (None, None, None, None, "Aug 1st 10:00:00 web x")),
        ("<13>Aug 32 10:00:00 web app: x", (None, Some("web"), Some("app"), None, "x")),
        ("<13>Aug  1 10:00:00web x", (None, None, None, None, "Aug  1 10:00:00web x")),
    ] {
        holds(line, want);
    }
}

#[test]
fn hosts() {
    for (head, host, text) in [
        ("fe80::1 app: x", Some("fe80::1"), "x"),
        ("fe80::1: app: x", Some("fe80::1"), "x"),
        ("[fe80::1] app: x", Some("[fe80::1]"), "x"),
        ("10.0.0.1: app: x", Some("10.0.0.1"), "x"),
        ("sw-1: app[3]: x", Some("sw-1"), "x"),
        ("10.0.0.1-1 app: x", Some("10.0.0.1-1"), "x"),
        ("relay/web app: x", Some("relay/web"), "x"),
        ("web_1.example.com app: x", Some("web_1.example.com"), "x"),
        ("- app: x", None, "x"),
    ] {
        let line = format!("<30>Aug  1 10:00:00 {head}");
        let found = read(&line);
        assert_eq!((found.hostname, found.app_name, found.text), (host, Some("app"), text), "{line}");
    }
    let found = read("<30>Aug  1 10:00:00 kernel: audit[3]: x");
    assert_eq!((found.hostname, found.app_name, found.text), (None, Some("kernel"), "audit[3]: x"));
    let long = format!("<30>Aug  1 10:00:00 {} app: x", "h".repeat(300));
    assert_eq!(read(&long).hostname, None);
}

#[test]
fn the_hosts_own_socket_has_no_host() {
    let local = |line| {
        parse(line, &Options { received_ns: rfc3339::parse(RECEIVED).unwrap(), local: true, ..Options::default() })
    };
    let found = local("<13>Aug  1 10:00:00 some text here");
    assert_eq!((found.hostname, found.app_name, found.text), (None, None, "some text here"));
    let found = local("<13>Aug  1 10:00:00 su: sudo[3]: x");
    assert_eq!((found.hostname, found.app_name, found.text), (None, Some("su"), "sudo[3]: x"));
}

#[test]
fn cisco() {
    let up = "%LINK-3-UPDOWN: Interface Gi0/1, changed state to up";
    for (head, time, host) in [
        ("123: *Aug  1 10:00:00.123 UTC: ", Some("2026-08-01T10:00:00.123Z"), None),
        ("123: 000045: Aug  1 12:00:00.123 CEST: ", Some("2026-08-01T10:00:00.123Z"), None),
        ("123: sw1: .Aug  1 10:00:00: ", Some(TIME), Some("sw1")),
        ("123: 10.0.0.1: Aug  1 2026 10:00:00: ", Some(TIME), Some("10.0.0.1")),
        ("*Aug  1 10:00:00: ", Some(TIME), None),
        // A clock that nobody set.
        ("29: *Mar  1 00:00:46.123: ", None, None),
        ("45: 00:00:46: ", None, None),
        ("45: 1w2d: ", None, None),
        ("45: sw1: 1w2d: ", None, Some("sw1")),
        ("45: ", None, None),
        ("", None, None),
        ("sw1: ", None, Some("sw1")),
        ("asa1 : ", None, Some("asa1")),
        // NX-OS.
        (": 2026 Aug  1 10:00:00.500 UTC: ", Some("2026-08-01T10:00:00.500Z"), None),
        ("2026 Aug  1 10:00:00 nx1 ", Some(TIME), Some("nx1")),
        // ASA.
        (":Aug  1 10:00:00 UTC: ", Some(TIME), None),
        ("Aug 01 2026 10:00:00: ", Some(TIME), None),
        ("Aug 01 2026 10:00:00 asa1 : ", Some(TIME), Some("asa1")),
        ("Aug 01 2026 10:00:00 asa1: ", Some(TIME), Some("asa1")),
        ("Aug  1 10:00:00 sw1 ", Some(TIME), Some("sw1")),
    ] {
        let line = format!("<189>{head}{up}");
        holds(&line, (time, host, None, None, up));
        assert_eq!(read(&line).msg_id, Some("LINK-3-UPDOWN"), "{line}");
    }
    for (head, host) in
        [("65: RP/0/RSP0/CPU0:", None), ("RP/0/RSP0/CPU0:", None), ("65: xr1 RP/0/RSP0/CPU0:", Some("xr1"))]
    {
        let text = "%MGBL-SYS-5-CONFIG_I : Configured from console";
        let line = format!("<189>{head}Aug  1 10:00:00.123 UTC: config[65725]: {text}");
        holds(&line, (Some("2026-08-01T10:00:00.123Z"), host, Some("config"), Some("65725"), text));
        assert_eq!((read(&line).origin, read(&line).msg_id), (Some("RP/0/RSP0/CPU0"), Some("MGBL-SYS-5-CONFIG_I")));
    }
    assert_eq!(read("<166>%ASA-6-302013: Built").msg_id, Some("ASA-6-302013"));
    assert_eq!(read("<166>%ASA-session-6-302013: Built").msg_id, None);
    assert_eq!(read("<13>100% of 5-6-7: x").msg_id, None);
}

#[test]
fn network_gear() {
    for (line, want, id) in [
        // Juniper.
        (
            "<190>Aug  1 10:00:00 mx1 mgd[3046]: UI_CMDLINE_READ_LINE: User 'root', command 'show'",
            (Some(TIME), Some("mx1"), Some("mgd"), Some("3046"), "UI_CMDLINE_READ_LINE: User 'root', command 'show'"),
            Some("UI_CMDLINE_READ_LINE"),
        ),
        (
            "<14>Aug  1 10:00:00 srx RT_FLOW: RT_FLOW_SESSION_CREATE: session created 10.0.0.1/1->10.0.0.2/2",
            (
                Some(TIME),
                Some("srx"),
                Some("RT_FLOW"),
                None,
                "RT_FLOW_SESSION_CREATE: session created 10.0.0.1/1->10.0.0.2/2",
            ),
            Some("RT_FLOW_SESSION_CREATE"),
        ),
        // MikroTik, as it comes, with the option for BSD syslog, and without a priority.
        (
            "<30>system,info,account user admin logged in from 10.0.0.1 via ssh",
            (None, None, Some("system,info,account"), None, "user admin logged in from 10.0.0.1 via ssh"),
            None,
        ),
        (
            "<30>Aug  1 10:00:00 MikroTik firewall,info forward: in:ether1 out:ether2",
            (Some(TIME), Some("MikroTik"), Some("firewall,info"), None, "forward: in:ether1 out:ether2"),
            None,
        ),
        (
            "<30>Aug  1 10:00:00 dhcp,warning dhcp1 offering lease",
            (Some(TIME), None, Some("dhcp,warning"), None, "dhcp1 offering lease"),
            None,
        ),
        ("firewall,info input: in:ether1", (None, None, Some("firewall,info"), None, "input: in:ether1"), None),
        // pfSense: filterlog without a host.
        (
            "<134>Aug  1 10:00:00 filterlog[1234]: 4,,,1000000103,igb0,match,block,in,4",
            (Some(TIME), None, Some("filterlog"), Some("1234"), "4,,,1000000103,igb0,match,block,in,4"),
            None,
        ),
        (
            "<134>Aug  1 10:00:00 fw filterlog: 5,,,0,em0",
            (Some(TIME), Some("fw"), Some("filterlog"), None, "5,,,0,em0"),
            None,
        ),
        // HP ProCurve and Aruba switches.
        (
            "<14> Aug  1 10:00:00 10.0.0.1 00076 ports: port 1 is now on-line",
            (Some(TIME), Some("10.0.0.1"), Some("ports"), None, "port 1 is now on-line"),
            Some("00076"),
        ),
        // Aruba controllers.
        (
            "<134>Aug  1 10:00:00 2026 aruba authmgr[3456]: <522008> <NOTI> |authmgr| User",
            (Some(TIME), Some("aruba"), Some("authmgr"), Some("3456"), "<522008> <NOTI> |authmgr| User"),
            None,
        ),
        // Comware and Huawei.
        (
            "<190>Aug  1 10:00:00:123 2026 HP5800 %%10SHELL/6/SHELL_CMD: -Task=vt0",
            (Some("2026-08-01T10:00:00.123Z"), Some("HP5800"), None, None, "%%10SHELL/6/SHELL_CMD: -Task=vt0"),
            Some("SHELL/6/SHELL_CMD"),
        ),
        (
            "<189>2026-8-1 10:00:00 HUAWEI %%01SHELL/5/CMDRECORD(s)[0]:Recorded",
            (Some(TIME), Some("HUAWEI"), None, None, "%%01SHELL/5/CMDRECORD(s)[0]:Recorded"),
            Some("SHELL/5/CMDRECORD"),
        ),
        // Dell.
        (
            "<189>Aug  1 10:00:00: %STKUNIT1-M:CP %SEC-5-LOGIN_SUCCESS: Login",
            (Some(TIME), None, None, None, "%STKUNIT1-M:CP %SEC-5-LOGIN_SUCCESS: Login"),
            None,
        ),
        (
            "<189> Aug  1 10:00:00 10.0.0.1-1 TRAPMGR[123]: traputil.c(721) 12 %% Link Up",
            (Some(TIME), Some("10.0.0.1-1"), Some("TRAPMGR"), Some("123"), "traputil.c(721) 12 %% Link Up"),
            None,
        ),
        // Palo Alto.
        (
            "<14>Aug  1 10:00:00 PA-220 1,2026/08/01 10:00:00,0123,TRAFFIC,end",
            (Some(TIME), Some("PA-220"), None, None, "1,2026/08/01 10:00:00,0123,TRAFFIC,end"),
            None,
        ),
        // Common event format, from a UniFi console.
        (
            "<13>Aug  1 10:00:00 UDM-Pro CEF:0|Ubiquiti|UniFi OS|4|1|x|3|a=b",
            (Some(TIME), Some("UDM-Pro"), Some("CEF"), None, "CEF:0|Ubiquiti|UniFi OS|4|1|x|3|a=b"),
            None,
        ),
        (
            "<4>Aug  1 10:00:00 USG kernel: [WAN_IN-default-D]IN=eth0 OUT=",
            (Some(TIME), Some("USG"), Some("kernel"), None, "[WAN_IN-default-D]IN=eth0 OUT="),
            None,
        ),
        (
            "<4>Aug  1 10:00:00 UDM [WAN_LOCAL-D]IN=eth8",
            (Some(TIME), Some("UDM"), None, None, "[WAN_LOCAL-D]IN=eth8"),
            None,
        ),
        // ESXi.
        (
            "<166>2026-08-01T10:00:00.123Z esxi01.local Hostd: info hostd[2099] [Originator@6876 sub=x] msg",
            (
                Some("2026-08-01T10:00:00.123Z"),
                Some("esxi01.local"),
                Some("Hostd"),
                None,
                "info hostd[2099] [Originator@6876 sub=x] msg",
            ),
            None,
        ),
        (
            "<181>2026-08-01T10:00:00.123Z esxi01 vmkernel: cpu3:2098)ScsiDevice",
            (Some("2026-08-01T10:00:00.123Z"), Some("esxi01"), Some("vmkernel"), None, "cpu3:2098)ScsiDevice"),
            None,
        ),
        // Synology.
        (
            "<14>Aug  1 10:00:00 DS218 WinFileService Event: read, Path: /x, File/Folder: File",
            (Some(TIME), Some("DS218"), None, None, "WinFileService Event: read, Path: /x, File/Folder: File"),
            None,
        ),
        (
            "<14>Aug  1 10:00:00 DS218 Connection: User [admin] logged in",
            (Some(TIME), Some("DS218"), Some("Connection"), None, "User [admin] logged in"),
            None,
        ),
    ] {
        holds(line, want);
        assert_eq!(read(line).msg_id, id, "{line}");
    }
    assert_eq!(read("firewall,info input: in:ether1").severity, Some(6));
    assert_eq!(read("<28>firewall,info input: in:ether1").severity, Some(4));
    assert_eq!(read("a,b c").format, Format::Plain);
}

#[test]
fn unifi() {
    for (head, host, origin) in [
        ("U7PG2,788a20aabbcc,v4.0.80.10875", "U7PG2,788a20aabbcc,v4.0.80.10875", None),
        ("U7PG2,788a20aabbcc,v4.0.80.10875:", "U7PG2,788a20aabbcc,v4.0.80.10875", None),
        ("(\"U7PG2,788a20aabbcc,v4.0.80.10875\")", "U7PG2,788a20aabbcc,v4.0.80.10875", None),
        ("AP-1 788a20aabbcc,U7PG2-6.0.21+13673:", "AP-1", Some("788a20aabbcc,U7PG2-6.0.21+13673")),
    ] {
        let line = format!("<30>Aug  1 10:00:00 {head} hostapd[3]: ath0: STA");
        holds(&line, (Some(TIME), Some(host), Some("hostapd"), Some("3"), "ath0: STA"));
        assert_eq!(read(&line).origin, origin, "{line}");
    }
}

#[test]
fn the_zone_is_that_of_the_options() {
    let zone = Zone::named("Europe/Berlin").unwrap();
    let options = Options { zone: zone.as_ref(), received_ns: rfc3339::parse(RECEIVED).unwrap(), local: false };
    let found = parse("<30>Aug  1 12:00:00 web app: x", &options);
    assert_eq!(found.time_ns, rfc3339::parse(TIME));
}
