//! Content: what is in a file, and what that may do to the reader.

use crate::support::agent::{Config, FileSource, Rig, names};
use crate::support::wait::wait_until;
use crate::support::writer::append_to;
use crate::{SOON, config, keeping, pushed_up_to, stop};
use std::fs;

/// Lines over the cap between lines that are none, over chunks and restarts: each costs only itself.
#[test]
fn row_11_lines_over_the_cap_cost_only_themselves() {
    let loki = keeping();
    let rig = Rig::new();
    let path = rig.log("a.log");
    let config = config(&loki, &rig).limit("line", "1KiB");
    for n in 0..10 {
        append_to(&path, format!("before {n}\n{}\nafter {n}\n", "x".repeat(1 << (10 + n))));
    }
    let agent = rig.start(&config);
    let lines = pushed_up_to(&loki, "after 9");
    let expected = (0..10).flat_map(|n| [format!("before {n}"), "x".into(), format!("after {n}")]);
    let shown = lines.iter().map(|l| if l.starts_with('x') { "x".to_owned() } else { l.clone() });
    assert!(shown.eq(expected), "{lines:?}");
    assert!(lines.iter().all(|line| line.len() <= 1024));
    // The first one is the cap exactly.
    wait_until("the cut lines to be counted", SOON, || agent.metric(names::TRUNCATED) == Some(9.0));
    stop(agent);
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// UTF-16 with a byte order mark, Shift_JIS and Latin-1, each its own source: appended in parts that divide characters, rotated, over a restart.
#[test]
fn row_20_other_encodings_are_decoded_wherever_writes_end() {
    let loki = keeping();
    let rig = Rig::new();
    let (wide, japanese, latin) = (rig.log("wide.log"), rig.log("japanese.log"), rig.log("latin.log"));
    let config = Config::new(&loki.url())
        .source(FileSource::new("wide", &wide).encoding("utf-16"))
        .source(FileSource::new("japanese", &japanese).encoding("Shift_JIS"))
        .source(FileSource::new("latin", &latin).encoding("iso-8859-1"));
    let mut agent = rig.start(&config);
    agent.wait_ready();
    for (n, byte) in utf16("\u{feff}erste Zeile: ĊäЖ語\r\nzweite 😀\r\n").iter().enumerate() {
        append_to(&wide, [*byte]);
        if n == 20 {
            // In the middle of a line, after its first byte 0x0A that is no newline.
            stop(agent);
            agent = rig.start(&config);
        }
    }
    append_to(&japanese, b"\x93\xfa\x96\x7b");
    append_to(&japanese, b"\x8c\xea \x83e\x83X\x83g\n");
    append_to(&latin, b"d\xe9j\xe0 vu\n");
    loki.wait_for("the Japanese line", SOON, |line| line == "日本語 テスト");
    loki.wait_for("the Latin line", SOON, |line| line == "déjà vu");
    loki.wait_for("the line of UTF-16", SOON, |line| line == "zweite 😀");
    // Rotated in the middle of a line that its writer ends afterwards.
    let end = utf16("dritte\n");
    append_to(&wide, &end[..5]);
    let mut writer = fs::File::options().append(true).open(&wide).unwrap();
    fs::rename(&wide, rig.log("wide.log.1")).unwrap();
    std::io::Write::write_all(&mut writer, &end[5..]).unwrap();
    append_to(&wide, utf16("\u{feff}vierte\n"));
    pushed_up_to(&loki, "vierte");
    let lines = loki.lines();
    let of_wide: Vec<&String> = lines.iter().filter(|line| !line.contains("vu") && !line.contains("本")).collect();
    assert_eq!(of_wide, ["erste Zeile: ĊäЖ語", "zweite 😀", "dritte", "vierte"]);
    assert_eq!(agent.metric("lugger_lines_repaired_total"), Some(0.0));
    assert!(!agent.stderr().contains("byte order mark"), "a source with an encoding was warned of");
    stop(agent);
}

/// Bytes that the encoding does not have are replaced, counted, and cost only themselves; UTF-16 that is taken for UTF-8 is told of.
#[test]
fn row_20_what_is_not_decodable_is_counted_and_a_missing_encoding_is_named() {
    let loki = keeping();
    let rig = Rig::new();
    let config = Config::new(&loki.url())
        .source(FileSource::new("gbk", rig.log("gbk.log")).encoding("gbk"))
        .source(FileSource::new("plain", rig.log("plain.log")));
    append_to(&rig.log("gbk.log"), b"\xb2\xe2\xca\xd4\nbad \xff\xff byte\ngood\n");
    append_to(&rig.log("plain.log"), utf16("\u{feff}wide\n"));
    let agent = rig.start(&config);
    assert!(pushed_up_to(&loki, "good").contains(&"测试".to_owned()), "{:?}", loki.lines());
    assert!(loki.lines().contains(&"bad \u{fffd}\u{fffd} byte".to_owned()), "{:?}", loki.lines());
    wait_until("the line to be counted", SOON, || {
        agent.metric("lugger_lines_repaired_total{reason=\"not_decodable\"}") == Some(1.0)
    });
    wait_until("a message that names the option", SOON, || agent.stderr().contains("encoding: utf-16"));
    stop(agent);
}
