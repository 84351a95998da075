//! What scraping may take of memory: who is refused, what is said of it, and that the others go on.

use super::exposer::{Exposer, Reply, until};
use super::{Run, job, of};
use lugger::base::limits::{SCRAPE_BENCH_32NDS, SCRAPE_BODY_32NDS, SCRAPE_SERIES_32NDS};

const MEMORY: u64 = 24 << 20;

/// A body of so many series.
fn body(name: &str, count: usize) -> String {
    (0..count).map(|at| format!("{name}{{number=\"{at:06}\"}} {at}\n")).collect()
}

fn is_up(run: &Run, exposer: &Exposer) -> bool {
    run.kept.last(&of("up", exposer)) == Some(1.0)
}

fn is_down(run: &Run, exposer: &Exposer) -> bool {
    run.kept.last(&of("up", exposer)) == Some(0.0)
}

/// Series that take this part of what there is for all, by about what one takes.
fn part(of: u64) -> usize {
    (MEMORY / 32 * SCRAPE_SERIES_32NDS / of / 220) as usize
}

#[tokio::test]
async fn the_largest_target_is_refused_whoever_was_there_first() {
    let huge = Exposer::start(|_| Reply::text(&body("huge", part(2) + part(4)))).await;
    let mut slow = job("j", &[huge.address()]);
    slow.interval = std::time::Duration::from_secs(1);
    slow.timeout = slow.interval;
    let run = Run::within(MEMORY, vec![slow.clone()]);
    until("it has room alone", || is_up(&run, &huge)).await;
    // Three that are smaller, and need more than is left.
    let text = body("small", part(6));
    let others = [(); 3].map(|()| text.clone()).map(|text| Exposer::start(move |_| Reply::text(&text)));
    let [one, other, third] = others;
    let smaller = [one.await, other.await, third.await];
    let mut settings = slow.clone();
    settings.groups[0].targets.extend(smaller.iter().map(Exposer::address));
    run.change(vec![settings.clone()]);
    until("the huge one gives way", || is_down(&run, &huge)).await;
    until("the others are there", || smaller.iter().all(|small| is_up(&run, small))).await;
    let series = format!("huge{{instance=\"{}\",job=\"j\",number=\"000000\"}}", huge.addr);
    assert!(run.kept.is_stale(&series), "its series have ended");
    let scrapes = run.kept.of(&of("up", &huge)).len();
    until("it is tried again", || run.kept.of(&of("up", &huge)).len() >= scrapes + 2).await;
    let error = run.error();
    for word in ["limits.memory", "KiB", "raise it", " series "] {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(is_down(&run, &huge) && smaller.iter().all(|small| is_up(&run, small)));
    // Nobody else was ever refused for it.
    for small in &smaller {
        assert!(run.kept.of(&of("up", small)).iter().all(|value| value.get() == 1.0));
    }
    assert!(run.metric("lugger_scrape_failures_total{scrape_job=\"j\",reason=\"memory\"}") >= 2.0);
    // With more memory it comes back.
    run.handle.resize(4 * MEMORY);
    until("it is back", || is_up(&run, &huge)).await;
    assert!(run.kept.last(&series).is_some());
    // And with less it goes again, at once.
    run.handle.resize(MEMORY);
    until("it gives way again", || is_down(&run, &huge) && run.kept.is_stale(&series)).await;
    // As soon as the others are gone there is room.
    run.change(vec![slow]);
    until("it is alone", || is_up(&run, &huge)).await;
    run.handle.stop().await;
}

#[tokio::test]
async fn each_thing_that_takes_memory_has_its_message() {
    let share = |of_32: u64| MEMORY as usize / 32 * of_32 as usize;
    let comment = format!("# {}\n", "x".repeat(100));
    // Much text that is no sample; many samples in little text; few samples with much of labels.
    let large = format!("a 1\n{}", comment.repeat(share(SCRAPE_BODY_32NDS) / comment.len() + 1));
    let many = "a 1\n".repeat(share(SCRAPE_BENCH_32NDS) / 40 + 1);
    let long = "y".repeat(60);
    let bodies = [
        (large, "the body has more than the 1536 KiB for which `limits.memory` has room (1 series are in that)"),
        (many, "samples that were read so far take more than 3840 KiB"),
        (body(&format!("b{long}"), 13_500), "13500 samples take more than "),
    ];
    for (text, expected) in bodies {
        let small = Exposer::start(|_| Reply::text("a 1\n")).await;
        let exposer = Exposer::start(move |_| Reply::text(&text)).await;
        let mut settings = job("j", &[exposer.address(), small.address()]);
        settings.interval = std::time::Duration::from_secs(2);
        settings.timeout = settings.interval;
        let run = Run::within(MEMORY, vec![settings]);
        until("both are scraped", || is_down(&run, &exposer) && is_up(&run, &small)).await;
        let error = run.error();
        assert!(error.contains(expected) && error.contains("raise it"), "{error}");
        run.handle.stop().await;
    }
}
