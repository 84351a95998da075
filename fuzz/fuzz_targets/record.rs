//! Records of an inlet: any line is a record or an error, and any message comes back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::record::{Kind, Pieces, decode, encode};

fuzz_target!(|input: (&str, Option<&str>, Vec<(&str, &str)>, &[u8])| {
    let (line, tenant, labels, message) = input;
    if let Ok(found) = decode(line) {
        let _ = (found.message.text(), found.labels.iter().count());
    }
    let pieces = Pieces { kind: Kind::Push, received_ns: 1, time_ns: Some(-1), tenant, peer: None, message };
    let mut out = Vec::new();
    encode(&pieces, labels.iter().copied(), [], &mut out);
    assert_eq!(out.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0)), Some(out.len() - 1));
    let text = std::str::from_utf8(&out[..out.len() - 1]).expect("a record is UTF-8");
    let found = decode(text).expect("what is written is readable");
    assert_eq!(found.tenant.map(|tenant| tenant.text().into_owned()).as_deref(), tenant);
    let pairs: Vec<_> = found.labels.iter().map(|(n, v)| (n.text().into_owned(), v.text().into_owned())).collect();
    assert!(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(labels));
    let mut bytes = Vec::new();
    found.message.write_bytes(&mut bytes);
    assert_eq!(bytes, message);
    assert_eq!(found.message.text(), String::from_utf8_lossy(message));
});
