//! Tests of encodings: names, newlines, decoding, and that the cut does not depend on where chunks end.

use super::*;
use crate::base::rate::Allowance;
use crate::model::flow::Span;
use crate::source::file::lines::{Cutter, Repairs};
use proptest::prelude::*;

fn decoding(name: &str) -> Decoding {
    let file = tempfile::tempfile().unwrap();
    Encoding::named(name)
        .unwrap_or_else(|| panic!("{name}"))
        .of_file(&file)
        .unwrap()
        .unwrap_or_else(|| panic!("{name}"))
}

fn cut(name: &str, data: &[u8], offset: u64, last_too: bool) -> (Vec<String>, usize, Repairs) {
    let mut cutter = Cutter::default();
    let (consumed, repairs) = cutter.cut_encoded(data, &decoding(name), offset, 256, last_too, Allowance::ALL);
    let bytes = cutter.bytes(data);
    let text = |s: &Span| String::from_utf8(bytes[s.start as usize..s.end as usize].to_vec()).unwrap();
    (cutter.lines().iter().map(text).collect(), consumed, repairs)
}

#[test]
fn names_are_known_in_any_case_and_utf8_costs_nothing() {
    for name in Encoding::COMMON {
        assert!(Encoding::named(name).is_some(), "{name}");
        assert_eq!(Encoding::named(name), Encoding::named(&name.to_uppercase()));
    }
    let file = tempfile::tempfile().unwrap();
    for name in ["utf-8", "UTF8", "unicode-1-1-utf-8"] {
        assert_eq!(Encoding::named(name), Some(Encoding::default()));
        assert!(Encoding::named(name).unwrap().of_file(&file).unwrap().is_none());
    }
    for name in ["", "utf-32", "latin0", "replacement", "hz-gb-2312", "iso-2022-jp", "x-user-defined", "ebcdic"] {
        assert_eq!(Encoding::named(name), None, "{name}");
    }
}

#[test]
fn each_encoding_says_what_its_bytes_mean() {
    for (name, bytes, text) in [
        ("latin1", b"caf\xe9\n".as_slice(), "café"),
        ("windows-1252", b"\x80 5\r\n", "€ 5"),
        ("windows-1251", b"\xcf\xf0\xe8\n", "При"),
        ("koi8-r", b"\xf0\xd2\xc9\n", "При"),
        ("shift_jis", b"\x83e\x83X\x83g\n", "テスト"),
        ("euc-jp", b"\xa5\xc6\xa5\xb9\xa5\xc8\n", "テスト"),
        ("gbk", b"\xb2\xe2\xca\xd4\n", "测试"),
        ("big5", b"\xb4\xfa\xb8\xd5\n", "測試"),
        ("euc-kr", b"\xbd\xc3\xc7\xe8\n", "시험"),
    ] {
        assert_eq!(cut(name, bytes, 0, false), (vec![text.to_owned()], bytes.len(), Repairs::default()), "{name}");
    }
}

#[test]
fn the_byte_order_mark_decides_and_is_no_text() {
    use std::os::unix::fs::FileExt;
    for (content, text) in [
        (b"\xff\xfea\0\n\0".as_slice(), "a"),
        (b"\xfe\xff\0a\0\n", "a"),
        // Without a mark: little-endian.
        (b"a\0\n\0", "a"),
    ] {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        let decoding = Encoding::named("utf-16").unwrap().of_file(&file).unwrap().unwrap();
        let mut cutter = Cutter::default();
        assert_eq!(
            cutter.cut_encoded(content, &decoding, 0, 256, false, Allowance::ALL),
            (content.len(), Repairs::default())
        );
        let span = cutter.lines()[0];
        assert_eq!(cutter.bytes(content)[span.start as usize..span.end as usize], *text.as_bytes());
    }
    // In the middle of a file the same character is text.
    assert_eq!(cut("utf-16le", b"\xff\xfea\0\n\0", 2, false).0, ["\u{feff}a"]);
    assert!(begins_as_utf16(b"\xff\xfea\0") && begins_as_utf16(b"\xfe\xff") && !begins_as_utf16(b"\xffa"));
}

#[test]
fn what_is_not_decodable_is_replaced_and_counted_by_line() {
    let (lines, _, repairs) = cut("shift_jis", b"ok\n\x83\n\xff\xffx\nok\n", 0, false);
    assert_eq!(lines, ["ok", "\u{fffd}", "\u{fffd}\u{fffd}x", "ok"]);
    assert_eq!(repairs, Repairs { not_decodable: 2, ..Repairs::default() });
    // Half of a surrogate pair before a newline.
    let (lines, _, repairs) = cut("utf-16le", b"\x3d\xd8\n\0b\0\n\0", 0, false);
    assert_eq!((lines, repairs.not_decodable), (vec!["\u{fffd}".to_owned(), "b".to_owned()], 1));
}

#[test]
fn a_byte_0x0a_that_is_no_newline_ends_nothing() {
    // U+0A0A, U+010A and U+0A41 in both orders; the last newline is one.
    for (name, big) in [("utf-16le", false), ("utf-16be", true)] {
        let text = "\u{a0a}Ċ\u{a41}\u{a00}\n";
        let bytes: Vec<u8> =
            text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect();
        assert_eq!(cut(name, &bytes, 0, false).0, [text.trim_end_matches('\n')]);
        assert_eq!(decoding(name).last_newline(&bytes, 0), Some(bytes.len() - 2));
        assert_eq!(decoding(name).last_newline(&bytes[..bytes.len() - 2], 0), None);
    }
}

#[test]
fn the_cap_and_nul_runs_hold_after_decoding() {
    // Three bytes of UTF-8 for each two of UTF-16.
    let bytes: Vec<u8> = "€".repeat(200).encode_utf16().chain([10]).flat_map(u16::to_le_bytes).collect();
    let (lines, _, repairs) = cut("utf-16le", &bytes, 0, false);
    assert!(lines[0].len() <= 256 && lines[0].ends_with(" [truncated: line of 400 bytes]"), "{}", lines[0]);
    assert_eq!(repairs, Repairs { truncated: 1, ..Repairs::default() });
    let bytes: Vec<u8> = format!("a{}b\n", "\0".repeat(20)).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (lines, _, repairs) = cut("utf-16le", &bytes, 0, false);
    assert_eq!((lines, repairs.nul_runs), (vec!["a[40 NUL bytes]b".to_owned()], 1));
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(Encoding::COMMON[2..].to_vec())
}

proptest! {
    /// Wherever chunks end, the lines are those of all bytes at once.
    #[test]
    fn the_cut_depends_on_the_bytes_alone(
        name in any_name(),
        data in prop::collection::vec(prop_oneof![4 => any::<u8>(), 2 => Just(b'\n'), 2 => Just(0u8), 1 => Just(0xd8u8)], 0..600),
        sizes in prop::collection::vec(1usize..50, 1..100),
    ) {
        let (whole, consumed, repairs) = cut(name, &data, 0, true);
        prop_assert_eq!(consumed, data.len());
        prop_assert!(whole.iter().all(|line| line.len() <= 256 && !line.contains('\n')));
        let mut parts = Vec::new();
        let mut sum = Repairs::default();
        let (mut offset, mut seen) = (0, 0);
        let mut sizes = sizes.iter().cycle();
        while offset < data.len() {
            seen = (seen + sizes.next().unwrap()).min(data.len());
            let last = seen == data.len();
            let (lines, consumed, repairs) = cut(name, &data[offset..seen], offset as u64, last);
            parts.extend(lines);
            sum.truncated += repairs.truncated;
            sum.nul_runs += repairs.nul_runs;
            sum.not_decodable += repairs.not_decodable;
            offset += consumed;
        }
        prop_assert_eq!(parts, whole);
        prop_assert_eq!(sum, repairs);
    }

    /// What an encoder wrote is read back; UTF-16's halves are put together by hand, for the crate has no encoder for it.
    #[test]
    fn text_is_read_back(name in any_name(), lines in prop::collection::vec("[a-zäöüß я語ｱ한€]{0,40}", 1..20)) {
        let encode = |line: &str| -> Option<Vec<u8>> {
            match name {
                "utf-16le" => Some(line.encode_utf16().chain([10]).flat_map(u16::to_le_bytes).collect()),
                "utf-16be" => Some(line.encode_utf16().chain([10]).flat_map(u16::to_be_bytes).collect()),
                _ => {
                    let mut encoder = encoding_rs::Encoding::for_label(name.as_bytes())?.new_encoder();
                    let mut out = vec![0; 8 * line.len() + 16];
                    let (result, _, written) = encoder.encode_from_utf8_without_replacement(line, &mut out, true);
                    out.truncate(written);
                    out.push(b'\n');
                    // A character that the encoding does not have: the line is left out.
                    (result == encoding_rs::EncoderResult::InputEmpty).then_some(out)
                }
            }
        };
        let known: Vec<(&String, Vec<u8>)> = lines.iter().filter_map(|line| Some((line, encode(line)?))).collect();
        let bytes: Vec<u8> = known.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let (read, consumed, repairs) = cut(name, &bytes, 0, false);
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), known.iter().map(|(line, _)| *line).collect::<Vec<_>>());
        prop_assert_eq!((consumed, repairs), (bytes.len(), Repairs::default()));
    }
}
