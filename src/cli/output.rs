//! Writing to stdout and stderr for people.
//!
//! Promises: no panic if the other side is closed. Leaves to others: messages of a running program (`log`).

use std::io::{self, Write};

/// Writes a line to stdout.
pub fn say(line: &str) {
    // Nobody is there to be told that nobody is there.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes a line to stderr.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Bytes for people: `512 B`, `1.5 KiB`, `3.2 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in UNITS {
        if bytes >= factor {
            let tenths = bytes / (factor / 10).max(1);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// `1 line`, `2 lines`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert!(size(u64::MAX).ends_with(" TiB"));
        assert_eq!((count(1, "line", "lines"), count(0, "line", "lines")), ("1 line".into(), "0 lines".into()));
    }
}
