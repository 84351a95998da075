//! The model test of the tailer: whatever is done to log files, and to the agent that follows them, each complete line is delivered once.
//!
//! Random stories of writers, rotations and ends of the agent run against the real worker, batcher and checkpoints; see `support/tailed.rs`
//! for what is expected and `support/shelf.rs` for the endpoint. `LUGGER_MODEL_CASES` sets the number of stories (150 by default); for a long search:
//!
//! ```text
//! LUGGER_MODEL_CASES=10000 cargo test --test model_tailer
//! ```
//!
//! Seeds of stories that failed are kept in `model_tailer.proptest-regressions`, beside this file.

#[path = "support/shelf.rs"]
mod shelf;
#[path = "support/tailed.rs"]
mod tailed;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use shelf::Mode;
use std::time::Duration;
use tailed::{BESIDE, Failed, MATCHING, PLACES, TARGETS, World};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Append {
        at: u8,
        count: u8,
    },
    /// More than a chunk.
    AppendMuch {
        at: u8,
    },
    /// A line longer than a chunk.
    AppendLong {
        at: u8,
    },
    AppendToDeleted,
    Partial {
        at: u8,
    },
    Close {
        at: u8,
    },
    Rename {
        from: u8,
        to: u8,
    },
    Cycle {
        a: u8,
        b: u8,
    },
    Rotate,
    CopyTruncate {
        at: u8,
        to: u8,
        lines: u8,
    },
    Truncate {
        at: u8,
        lines: u8,
    },
    Delete {
        at: u8,
        close: bool,
    },
    Recreate {
        at: u8,
        lines: u8,
    },
    HardLink {
        from: u8,
        to: u8,
    },
    Swap {
        to: Option<u8>,
    },
    Chmod {
        at: u8,
        open: bool,
    },
    Stop {
        drain: bool,
    },
    Kill,
    Start,
    Jump {
        seconds: i32,
    },
    Deliver(Mode),
    Release {
        shuffle: u8,
        most: u8,
    },
    CatchUp,
    /// The story goes on after a moment, so that the agent sees what is in between.
    Moment {
        ms: u8,
    },
}

/// What happens, one step after the other.
#[derive(Clone)]
struct Story(Vec<Step>);

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, step)| write!(f, "\n  {i}: {step:?}"))
    }
}

fn any_place() -> impl Strategy<Value = u8> {
    prop_oneof![6 => 0..MATCHING, 4 => MATCHING..BESIDE, 2 => TARGETS, 1 => Just(PLACES.len() as u8 - 1)]
}

fn any_step() -> impl Strategy<Value = Step> {
    let place = any_place;
    prop_oneof![
        20 => (place(), 1u8..6).prop_map(|(at, count)| Step::Append { at, count }),
        1 => place().prop_map(|at| Step::AppendMuch { at }),
        1 => place().prop_map(|at| Step::AppendLong { at }),
        1 => Just(Step::AppendToDeleted),
        4 => place().prop_map(|at| Step::Partial { at }),
        2 => place().prop_map(|at| Step::Close { at }),
        8 => (place(), place()).prop_map(|(from, to)| Step::Rename { from, to }),
        2 => (place(), place()).prop_map(|(a, b)| Step::Cycle { a, b }),
        4 => Just(Step::Rotate),
        3 => (place(), MATCHING..BESIDE, 0u8..8).prop_map(|(at, to, lines)| Step::CopyTruncate { at, to, lines }),
        3 => (place(), 0u8..20).prop_map(|(at, lines)| Step::Truncate { at, lines }),
        3 => (place(), any::<bool>()).prop_map(|(at, close)| Step::Delete { at, close }),
        3 => (place(), 0u8..6).prop_map(|(at, lines)| Step::Recreate { at, lines }),
        2 => (place(), place()).prop_map(|(from, to)| Step::HardLink { from, to }),
        4 => prop::option::weighted(0.8, TARGETS).prop_map(|to| Step::Swap { to }),
        1 => (place(), any::<bool>()).prop_map(|(at, open)| Step::Chmod { at, open }),
        3 => any::<bool>().prop_map(|drain| Step::Stop { drain }),
        4 => Just(Step::Kill),
        9 => Just(Step::Start),
        1 => (-7200i32..7200).prop_map(|seconds| Step::Jump { seconds }),
        4 => prop_oneof![Just(Mode::Now), Just(Mode::Late), Just(Mode::Hold)].prop_map(Step::Deliver),
        3 => any::<(u8, u8)>().prop_map(|(shuffle, most)| Step::Release { shuffle, most: most % 8 }),
        2 => Just(Step::CatchUp),
        6 => (1u8..15).prop_map(|ms| Step::Moment { ms }),
    ]
}

fn take(world: &mut World, step: &Step) -> Result<(), Failed> {
    match *step {
        Step::Append { at, count } => world.append(at, count.into(), 10),
        Step::AppendMuch { at } => world.append(at, 3_000, 90),
        Step::AppendLong { at } => world.append(at, 1, 300_000),
        Step::AppendToDeleted => {
            world.append_to_deleted();
            Ok(())
        }
        Step::Partial { at } => world.partial(at),
        Step::Close { at } => {
            world.close(at);
            Ok(())
        }
        Step::Rename { from, to } => world.rename(from, to),
        Step::Cycle { a, b } => world.cycle(a, b),
        Step::Rotate => world.rotate(),
        Step::CopyTruncate { at, to, lines } => world.truncate(at, Some(to), lines.into()),
        Step::Truncate { at, lines } => world.truncate(at, None, lines.into()),
        Step::Delete { at, close } => world.delete(at, close),
        Step::Recreate { at, lines } => world.recreate(at, lines.into()),
        Step::HardLink { from, to } => world.hard_link(from, to),
        Step::Swap { to } => world.swap(to),
        Step::Chmod { at, open } => {
            world.chmod(at, if open { 0o644 } else { 0o600 });
            Ok(())
        }
        Step::Stop { drain } => world.stop(drain),
        Step::Kill => world.kill(),
        Step::Start => {
            world.start();
            Ok(())
        }
        Step::Jump { seconds } => {
            world.jump(seconds);
            Ok(())
        }
        Step::Deliver(mode) => {
            world.shelf.set_mode(mode);
            Ok(())
        }
        Step::Release { shuffle, most } => {
            world.shelf.release(shuffle.into(), most.into());
            Ok(())
        }
        Step::CatchUp => world.catch_up(),
        Step::Moment { ms } => {
            // Not a wait for anything: it decides what the agent sees between two steps.
            std::thread::sleep(Duration::from_millis(ms.into()));
            Ok(())
        }
    }
}

/// Plays a story to its end.
fn play(steps: &[Step], batch_bytes: usize, starts_late: bool) -> Result<(), Failed> {
    let mut world = World::new(batch_bytes);
    if !starts_late {
        world.start();
    }
    for (i, step) in steps.iter().enumerate() {
        take(&mut world, step).map_err(|failed| format!("step {i}, {step:?}: {failed}"))?;
    }
    world.finish()
}

fn cases() -> u32 {
    std::env::var("LUGGER_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        // A failing story takes seconds, and the same story may pass the next time.
        max_shrink_iters: 200,
        max_shrink_time: 120_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_complete_line_is_delivered_once(
        story in prop::collection::vec(any_step(), 1..40).prop_map(Story),
        batch_bytes in prop_oneof![Just(200usize), Just(4_000), Just(100_000)],
        starts_late in prop::bool::weighted(0.2),
    ) {
        if let Err(failed) = play(&story.0, batch_bytes, starts_late) {
            return Err(TestCaseError::fail(failed));
        }
    }
}
