//! Reading times and rendering templates of keys, literals and functions of texts allocate nothing for a line once their memory has grown.

#[path = "support/allocations.rs"]
mod counting;

use counting::{Counting, allocations};
use lugger::format::time::Layout;
use lugger::pipeline::template::{Lookup, Scratch, Slot, Template};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Line;

impl Lookup for Line {
    fn get(&self, slot: Slot) -> Option<&str> {
        (slot == 0).then_some("  GET /Some/Path HTTP/1.1 äÖ ")
    }

    fn now_ns(&self) -> i64 {
        0
    }
}

/// How often something allocates in a thousand rounds, after a hundred in which its memory grows.
fn in_a_thousand(mut round: impl FnMut()) -> u64 {
    (0..100).for_each(|_| round());
    allocations(|| (0..1000).for_each(|_| round()))
}

#[test]
fn nothing_is_allocated_for_a_time() {
    assert_eq!(in_a_thousand(|| drop(black_box(String::from("counted")))), 1000, "the count works");
    for (format, location, text) in [
        ("RFC3339", None, "2026-08-01T10:00:00.5+02:00"),
        ("Unix", None, "1785578400.123"),
        ("02/Jan/2006:15:04:05 -0700", None, "01/Aug/2026:10:00:00 +0200"),
        ("2006-01-02 15:04:05,000 MST", Some("Europe/Berlin"), "2026-08-01 10:00:00,123 CEST"),
        ("Jan _2 15:04:05", Some("America/New_York"), "Aug  1 10:00:00"),
        ("Monday January 2 2006 3:04PM", None, "saturday august 1 2026 3:04AM"),
    ] {
        let layout = Layout::compile(format, location).unwrap();
        assert!(layout.parse(text, 0).is_ok(), "{text}");
        let reads = in_a_thousand(|| {
            let _ = black_box(layout.parse(black_box(text), 0));
            let _ = black_box(layout.parse("nothing of the kind", 0));
        });
        assert_eq!(reads, 0, "{format}");
    }
}

#[test]
fn nothing_is_allocated_for_a_rendered_text() {
    for text in [
        "{{ .Value }}",
        "app-{{ .Value }}-{{ .missing }}",
        "{{ .Value | TrimSpace | ToUpper | replace \"E\" \"_\" | ToLower | trunc 9 | quote }}",
        "{{ if and (contains \"GET\" .Value) (ne .missing \"x\") }}a{{ else if hasPrefix \"x\" .Value }}b{{ end }}",
        "{{ with .Value }}{{ TrimPrefix . \"a\" }}{{ substr 2 5 . }}{{ end }}",
        "{{ .missing | default \"none\" }}{{ ternary \"a\" \"b\" (empty .Value) }}{{ Hash \"salt\" .Value }}",
        "{{ Replace .Value \"/\" \"_\" -1 }}{{ TrimLeft .Value \" \" }}{{ len .Value }}{{ html .Value }}",
    ] {
        let template = Template::compile(text, &mut |name| Slot::from(name != "Value")).unwrap();
        let (mut scratch, mut out) = (Scratch::default(), String::new());
        let renders = in_a_thousand(|| {
            out.clear();
            template.render(&Line, &mut scratch, &mut out).unwrap();
            black_box(&out);
        });
        assert_eq!(renders, 0, "{text}");
    }
}
