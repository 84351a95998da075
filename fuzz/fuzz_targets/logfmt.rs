//! logfmt lines: nothing panics, and what is found for one key does not depend on what else is asked for. (Whether the line is
//! malformed may: it is read as far as that matters.)
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::format::logfmt::Fields;

fuzz_target!(|text: &str| {
    let Some((name, line)) = text.split_once('|') else { return };
    let (mut scratch, mut one, mut all) = (String::new(), [None], [None; 3]);
    let _ = Fields::new(&[name]).find(line, &mut scratch, &mut one);
    let want = one[0].map(|value| value.of(line, &scratch).to_owned());
    let _ = Fields::new(&["a", name, "level"]).find(line, &mut scratch, &mut all);
    assert_eq!(all[1].map(|value| value.of(line, &scratch).to_owned()), want);
});
