//! What reading a time costs, for the layouts that logs have most.
//!
//!     cargo run --release --example time_layouts
//!
//! Says nanoseconds a time, the best of five rounds.

use lugger::format::time::Layout;
use std::hint::black_box;
use std::time::Instant;

const CASES: [(&str, Option<&str>, &str); 11] = [
    ("RFC3339", None, "2026-08-01T10:00:00Z"),
    ("RFC3339Nano", None, "2026-08-01T10:00:00.123456789+02:00"),
    ("Unix", None, "1785578400.123"),
    ("UnixMs", None, "1785578400123"),
    ("02/Jan/2006:15:04:05 -0700", None, "01/Aug/2026:10:00:00 +0200"),
    ("2006-01-02 15:04:05", None, "2026-08-01 10:00:00"),
    ("2006-01-02 15:04:05,000", None, "2026-08-01 10:00:00,123"),
    ("2006-01-02 15:04:05", Some("Europe/Berlin"), "2026-08-01 10:00:00"),
    ("Jan _2 15:04:05", None, "Aug  1 10:00:00"),
    ("Mon Jan 02 15:04:05.000000 2006", None, "Sat Aug 01 10:00:00.123456 2026"),
    ("0102 15:04:05.000000", None, "0801 10:00:00.123456"),
];

fn main() {
    const ROUNDS: u32 = 200_000;
    for (format, location, text) in CASES {
        let Ok(layout) = Layout::compile(format, location) else {
            println!("{format}: {location:?} is not on this host");
            continue;
        };
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            for now in 0..ROUNDS {
                let _ = black_box(layout.parse(black_box(text), i64::from(now)));
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
        }
        println!("{best:6.1} ns  {format}{}", location.map(|zone| format!(" in {zone}")).unwrap_or_default());
    }
}
