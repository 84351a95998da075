//! GELF: datagrams of any bytes, compressed and in chunks, give a bounded message or an error; what is JSON and has a text is a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::gelf::{Assembler, Error, Outcome, Unpacker, parse};
use lugger::format::json::Work;
use serde_json::{Map, Value};
use std::net::SocketAddr;

const MAX: usize = 1 << 16;

fn read(line: &str) {
    let (mut scratch, mut extras) = (String::new(), Vec::new());
    let result = parse(line, &mut Work::default(), &mut scratch, &mut extras);
    if line.contains("\\ud") || line.contains("\\uD") {
        return;
    }
    match serde_json::from_str::<Map<String, Value>>(line) {
        Ok(tree) => {
            let text = |key| tree.get(key).and_then(Value::as_str);
            match (text("full_message").filter(|text| !text.is_empty()), text("short_message"), result) {
                (Some(text), _, result) => assert_eq!(result.expect("it has a text").text().of(line, &scratch), text),
                (None, Some(text), Ok(found)) if found.full_message.is_none() => {
                    assert_eq!(found.text().of(line, &scratch), text);
                }
                (None, Some(_), result) => assert!(result.is_ok()),
                (None, None, result) => assert!(!matches!(result, Err(Error::Malformed(_)))),
            }
        }
        Err(error) => assert!(result.is_err() || error.to_string().contains("recursion"), "{error}"),
    }
}

fuzz_target!(|datagrams: Vec<&[u8]>| {
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let (mut assembler, mut unpacker) = (Assembler::new(MAX), Unpacker::default());
    for (now, datagram) in (0..).step_by(1000).zip(datagrams) {
        let chunk = [&[0x1e, 0x0f], datagram].concat();
        for datagram in [datagram, &chunk] {
            let Outcome::Whole(message) = assembler.push(peer, datagram, now) else { continue };
            let Ok(json) = unpacker.unpack(message, MAX) else { continue };
            assert!(json.len() <= MAX.max(message.len()));
            if let Ok(line) = std::str::from_utf8(json) {
                read(line);
            }
        }
    }
});
