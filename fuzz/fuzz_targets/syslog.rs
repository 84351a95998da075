//! Syslog messages: nothing panics, all pieces are parts of the message, and structured data that was read is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::syslog::{Format, Options, parse, write_data_name};

fuzz_target!(|input: (i64, bool, &str)| {
    let (received_ns, local, line) = input;
    let found = parse(line, &Options { zone: None, received_ns, local });
    let mut pieces = vec![found.text, found.data.raw()];
    pieces.extend([found.hostname, found.app_name, found.proc_id, found.msg_id, found.origin].into_iter().flatten());
    for piece in pieces {
        assert!(line.contains(piece));
    }
    // MikroTik's topics tell a severity and no facility, never the other way round.
    assert!(found.facility.is_none() || found.severity.is_some());
    let mut name = String::new();
    for param in found.data.params() {
        assert!(param.text().len() <= param.raw.len());
        name.clear();
        write_data_name(param.id, param.name, &mut name);
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
    if !found.data.raw().is_empty() {
        let again = format!("<13>1 - - - - - {} x", found.data.raw());
        let again = parse(&again, &Options::default());
        assert_eq!((again.format, again.data.raw(), again.text), (Format::Ietf, found.data.raw(), "x"));
    }
});
