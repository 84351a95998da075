//! Content: what is in a file, and what that may do to the reader.

use crate::support::agent::{Rig, names};
use crate::support::wait::wait_until;
use crate::support::writer::append_to;
use crate::{SOON, config, keeping, pushed_up_to, stop};

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
