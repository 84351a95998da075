//! Configurations: any text is a plan or a report that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lugger::config::load_str;

fuzz_target!(|text: &str| {
    // Files that a text happens to name are looked at: nothing of the host, then.
    if text.contains('/') && text.contains("_file") {
        return;
    }
    match load_str("fuzz.yaml", text, &|name| Some(format!("value of {name}"))) {
        Ok(loaded) => drop(loaded.warnings.to_string()),
        Err(report) => assert!(!report.to_string().is_empty()),
    }
});
