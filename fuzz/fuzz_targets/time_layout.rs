//! Time layouts: any layout compiles or says why not, any text is read or refused, and what is printed with all its parts is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::time::Layout;

fuzz_target!(|data: &[u8]| {
    let (now, rest) = data.split_first_chunk::<8>().unwrap_or((&[0; 8], data));
    let now = i64::from_le_bytes(*now);
    let rest = String::from_utf8_lossy(rest);
    let (layout, text) = rest.split_once('\n').unwrap_or((&rest, ""));
    // A zone's table is read from the host's files each time, which takes long: only a part of the inputs has one.
    let zoned = now % 64 == 63;
    for location in [None, zoned.then_some("Europe/Berlin")].into_iter().take(1 + usize::from(zoned)) {
        let Ok(compiled) = Layout::compile(layout, location) else { continue };
        let _ = compiled.parse(text, now);
        let mut printed = String::new();
        compiled.print(now, &mut printed);
        let _ = compiled.parse(&printed, now);
    }
    for format in ["RFC3339Nano", "02/Jan/2006:15:04:05.999999999 -0700"] {
        let Ok(whole) = Layout::compile(format, None) else { continue };
        let _ = whole.parse(&rest, now);
        let mut printed = String::new();
        whole.print(now, &mut printed);
        assert_eq!(whole.parse(&printed, 0), Ok(now), "{printed}");
    }
});
