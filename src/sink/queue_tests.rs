//! Tests of the queue and of what goes to disk: real files, no endpoint.

use super::*;
use crate::base::clock::Clock;
use crate::base::metrics::{Gauge, Registry};
use crate::base::wake::Wake;
use crate::model::batch::{Inbox, Ticket};
use std::path::Path;

/// One agent's half: a budget and where settled numbers arrive.
struct Rig {
    budget: Budget,
    wake: Wake,
    inbox: Inbox,
    made: u64,
    directory: tempfile::TempDir,
}

impl Rig {
    fn new(budget: u64) -> Rig {
        let wake = Wake::new().unwrap();
        let (inbox, directory) = (Inbox::new(wake.clone()), tempfile::tempdir().unwrap());
        Rig { budget: Budget::new(budget, Gauge::default()), wake, inbox, made: 0, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn store(&self, bytes: u64) -> Store {
        Store::new(&self.path().join("away"), bytes, 1_000_000, Clock::System, &Registry::default(), "away")
    }

    fn queue(&self, bytes: u64) -> Queue {
        Queue::new(Some(self.store(bytes)), News::default())
    }

    /// A batch of so many bytes for so many endpoints; its body begins with its number.
    fn batch(&mut self, endpoints: u32, bytes: usize) -> Arc<Batch> {
        let number = self.made;
        self.made += 1;
        let mut body = vec![0; bytes.max(8)];
        body[..8].copy_from_slice(&number.to_le_bytes());
        let charge = self.budget.charge(bytes as u64, &self.wake);
        let ticket = Ticket::new(number, endpoints, self.inbox.clone());
        Arc::new(Batch::new(body.into(), bytes, 1, Instant::now(), ticket, charge))
    }

    /// The same, stored by one of the others.
    fn stored(&mut self, bytes: usize) -> Arc<Batch> {
        let batch = self.batch(2, bytes);
        batch.settled();
        batch
    }

    fn settled(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        self.inbox.drain(&mut numbers);
        numbers
    }
}

fn number(load: &Load) -> u64 {
    u64::from_le_bytes(load.body[..8].try_into().unwrap())
}

async fn spill_now(queue: &Queue) -> usize {
    let Plan::Now(batches) = queue.plan(Instant::now()) else { return 0 };
    queue.write(batches).await
}

/// Sends everything that is there. The disk may take its time.
async fn drain(queue: &Queue) -> Vec<u64> {
    let mut sent = Vec::new();
    let emptied = async || {
        while !queue.is_empty() || queue.store.as_ref().is_some_and(Store::has_frames) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    loop {
        tokio::select! {
            biased;
            () = emptied() => return sent,
            load = queue.next() => sent.push(number(&load)),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("something is never sent: {sent:?} was"),
        }
        queue.finished(true);
    }
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn only_what_another_endpoint_has_goes_to_disk_and_in_order() {
    let mut rig = Rig::new(1_000);
    let queue = rig.queue(8 * MIB);
    for _ in 0..4 {
        queue.push(rig.stored(100));
    }
    assert!(matches!(queue.plan(Instant::now()), Plan::At(_)), "there is room yet");
    let kept = rig.batch(2, 100);
    queue.push(Arc::clone(&kept));
    queue.push(rig.stored(100));
    queue.push(rig.batch(1, 100));
    let load = queue.next().await;
    // Of the five that are stored elsewhere the last one waits behind one that is not.
    assert_eq!(spill_now(&queue).await, 4);
    assert_eq!(rig.settled(), [0, 1, 2, 3]);
    assert_eq!((queue.len(), queue.store.as_ref().unwrap().status().frames), (4, 4));
    assert!(matches!(queue.plan(Instant::now()), Plan::Never));
    kept.settled();
    assert!(matches!(queue.plan(Instant::now()), Plan::At(_)), "there is room again");
    // The one in hand is done: its frame is not sent again.
    assert_eq!(number(&load), 0);
    queue.finished(true);
    let mut sent = drain(&queue).await;
    // The one that goes to this endpoint alone takes its turn beside the others.
    sent.retain(|n| *n != 6);
    assert_eq!(sent, [1, 2, 3, 4, 5]);
    assert_eq!(rig.settled(), [6, 4, 5]);
    assert!(queue.is_empty() && !queue.store.as_ref().unwrap().has_frames());
}

#[tokio::test]
async fn one_budget_does_not_hold_up_another() {
    let mut rig = Rig::new(1_000);
    let queue = rig.queue(8 * MIB);
    let shares = [rig.budget.share(2), rig.budget.share(2)];
    let mut kept = Vec::new();
    for i in 0..8 {
        rig.budget = shares[i % 2].clone();
        // Nobody has those of the first share.
        let batch = if i % 2 == 0 { rig.batch(2, 100) } else { rig.stored(100) };
        kept.push(Arc::clone(&batch));
        queue.push(batch);
    }
    assert_eq!(spill_now(&queue).await, 4);
    assert_eq!(rig.settled(), [1, 3, 5, 7]);
}

#[tokio::test]
async fn age_and_the_end_send_to_disk_too() {
    let mut rig = Rig::new(1_000_000);
    let queue = rig.queue(8 * MIB);
    queue.push(rig.stored(100));
    let age = Duration::from_millis(SPILL_AGE_MS);
    assert!(matches!(queue.plan(Instant::now()), Plan::At(_)));
    let Plan::Now(batches) = queue.plan(Instant::now() + age) else { panic!("it is old enough") };
    assert!(matches!(queue.choose(), Choice::Wait), "nothing is taken while it is written");
    assert_eq!(queue.write(batches).await, 1);
    queue.push(rig.stored(100));
    assert!(!queue.is_spilling());
    queue.spill_all();
    assert!(queue.is_spilling());
    assert_eq!(spill_now(&queue).await, 1);
    assert!(!queue.is_spilling());
    assert_eq!(drain(&queue).await, [0, 1]);
}

#[tokio::test]
async fn what_the_disk_does_not_take_stays() {
    let mut rig = Rig::new(1_000);
    let queue = rig.queue(3_000);
    for _ in 0..4 {
        queue.push(rig.stored(1_000));
    }
    let written = spill_now(&queue).await;
    assert!(written > 0 && written < 4, "{written}");
    let settled: Vec<u64> = (0..written as u64).collect();
    assert_eq!(rig.settled(), settled);
    assert!(matches!(queue.plan(Instant::now()), Plan::At(_)), "it is tried again after a pause");
    assert_eq!(drain(&queue).await, [0, 1, 2, 3]);
    assert_eq!(rig.settled().len(), 4 - written);

    // A directory that cannot be made.
    std::fs::write(rig.path().join("file"), "").unwrap();
    let path = rig.path().join("file").join("away");
    let store = Store::new(&path, 8 * MIB, 1_000_000, Clock::System, &Registry::default(), "away");
    let queue = Queue::new(Some(store), News::default());
    queue.push(rig.stored(1_000));
    assert_eq!(spill_now(&queue).await, 0);
    assert_eq!(drain(&queue).await, [4]);
}

#[tokio::test]
async fn a_batch_that_ends_while_it_is_written_is_settled_once() {
    for delivered in [true, false] {
        for fits in [true, false] {
            let mut rig = Rig::new(1_000);
            let queue = rig.queue(if fits { 8 * MIB } else { 10 });
            queue.push(rig.stored(600));
            queue.push(rig.stored(600));
            let load = queue.next().await;
            let Plan::Now(batches) = queue.plan(Instant::now()) else { panic!("memory is short") };
            queue.finished(delivered);
            assert_eq!(rig.settled(), [0u64; 0]);
            assert_eq!(queue.write(batches).await, if fits { 2 } else { 0 });
            drop(load);
            let first = if delivered { 1 } else { 0 };
            assert_eq!(drain(&queue).await, (first..2).collect::<Vec<u64>>(), "{delivered} {fits}");
            assert_eq!(rig.settled(), [0, 1], "{delivered} {fits}");
        }
    }
}

#[tokio::test]
async fn what_an_earlier_run_left_goes_before_everything() {
    let mut rig = Rig::new(1_000);
    let queue = rig.queue(8 * MIB);
    queue.push(rig.stored(600));
    queue.push(rig.stored(600));
    assert_eq!(spill_now(&queue).await, 2);
    queue.close().await;
    drop(queue);
    // It goes to nobody else by now, and nothing more may go to disk.
    let queue = rig.queue(0);
    queue.push(rig.batch(1, 100));
    queue.push(rig.stored(600));
    queue.spill_all();
    assert_eq!(spill_now(&queue).await, 0);
    assert_eq!(drain(&queue).await[..2], [0, 1]);
    assert_eq!(std::fs::read_dir(rig.path().join("away")).unwrap().count(), 1, "the position alone is left");
}

#[tokio::test]
async fn retiring_settles_what_is_in_memory() {
    let mut rig = Rig::new(1_000);
    let queue = rig.queue(0);
    queue.push(rig.stored(10));
    queue.push(rig.batch(1, 10));
    let load = queue.next().await;
    assert_eq!(number(&load), 0);
    queue.finished(false);
    queue.retire();
    assert_eq!(rig.settled(), [0, 1]);
    assert!(queue.is_empty());
}

#[tokio::test]
async fn sources_that_go_here_alone_take_turns_with_the_disk_unless_told_otherwise() {
    for disk_first in [false, true] {
        let mut rig = Rig::new(1_000);
        let queue = rig.queue(8 * MIB);
        for _ in 0..3 {
            queue.push(rig.stored(300));
        }
        assert_eq!(spill_now(&queue).await, 3);
        queue.push(rig.batch(1, 10));
        queue.push(rig.batch(1, 10));
        if disk_first {
            queue.disk_first();
        }
        let sent = drain(&queue).await;
        let turns = sent.iter().position(|n| *n == 3).unwrap();
        assert_eq!(turns == 3, disk_first, "{sent:?}");
        assert!(sent.iter().filter(|n| **n < 3).is_sorted() && sent.len() == 5, "{sent:?}");
    }
}

#[tokio::test]
async fn what_a_removed_endpoint_had_counts_as_stored_nowhere() {
    let mut rig = Rig::new(1_000);
    let (queue, other) = (rig.queue(0), rig.queue(8 * MIB));
    for _ in 0..3 {
        let batch = rig.batch(2, 300);
        queue.push(Arc::clone(&batch));
        other.push(batch);
    }
    assert_eq!(queue.retire(), 3);
    assert_eq!(rig.settled(), [0u64; 0]);
    assert_eq!(spill_now(&other).await, 0, "nobody has them");
    assert_eq!(drain(&other).await, [0, 1, 2]);
    assert_eq!(rig.settled(), [0, 1, 2], "nobody waits for the one that is gone");
}

#[tokio::test]
async fn an_endpoint_that_leaves_keeps_on_disk_what_it_should_have_had() {
    let mut rig = Rig::new(1_000_000);
    let (queue, other) = (rig.queue(8 * MIB), rig.queue(0));
    let unstored = rig.batch(2, 300);
    for batch in [rig.stored(300), Arc::clone(&unstored), rig.stored(300), rig.batch(1, 300)] {
        queue.push(batch);
    }
    other.push(Arc::clone(&unstored));
    assert!(!queue.is_spilling());
    queue.leave();
    assert!(queue.is_spilling());
    assert_eq!(spill_now(&queue).await, 3);
    assert!(!unstored.is_stored_somewhere(), "what is kept for the one that is gone is nothing to the others");
    assert_eq!(queue.retire(), 1, "the one that is for it alone");
    assert_eq!(rig.settled(), [1, 2, 3]);
    assert_eq!(drain(&other).await, [0]);
    assert_eq!(rig.settled(), [0]);
    let store = queue.store.clone().unwrap();
    store.end().await;
    let back = rig.queue(8 * MIB);
    // The one before does not touch the directory any more, whatever it was about to do.
    let late = rig.stored(300);
    assert_eq!(queue.write(vec![late]).await, 0);
    assert_eq!(drain(&back).await, [1, 0, 2]);
}

#[tokio::test]
async fn only_what_was_on_disk_when_sources_changed_goes_before_everything() {
    let mut rig = Rig::new(1_000);
    let queue = rig.queue(8 * MIB);
    for _ in 0..2 {
        queue.push(rig.stored(600));
    }
    assert_eq!(spill_now(&queue).await, 2);
    queue.disk_first();
    queue.push(rig.batch(1, 10));
    queue.push(rig.batch(1, 10));
    queue.disk_first_until_here();
    for _ in 0..3 {
        queue.push(rig.stored(600));
    }
    queue.spill_all();
    assert_eq!(spill_now(&queue).await, 3);
    let sent = drain(&queue).await;
    assert_eq!(sent[..2], [0, 1]);
    let (one, two) = (sent.iter().position(|n| *n == 2).unwrap(), sent.iter().position(|n| *n == 3).unwrap());
    assert!(one < two && two < 6, "{sent:?}: they take turns with what came later");
    assert_eq!(sent.len(), 7);
}

#[tokio::test]
async fn a_spool_that_cannot_be_opened_at_the_start_is_tried_again() {
    let mut rig = Rig::new(1_000);
    let queue = rig.queue(8 * MIB);
    queue.push(rig.stored(600));
    queue.push(rig.stored(600));
    assert_eq!(spill_now(&queue).await, 2);
    queue.close().await;
    drop(queue);
    let (at, aside) = (rig.path().join("away"), rig.path().join("aside"));
    std::fs::rename(&at, &aside).unwrap();
    std::fs::write(&at, "").unwrap();
    let queue = rig.queue(8 * MIB);
    queue.push(rig.stored(100));
    queue.push(rig.batch(1, 100));
    queue.push(rig.batch(1, 100));
    for expected in [3, 4] {
        assert_eq!(number(&queue.next().await), expected, "these do not wait for it");
        queue.finished(true);
    }
    std::fs::remove_file(&at).unwrap();
    std::fs::rename(&aside, &at).unwrap();
    let first = queue.next().await;
    assert_eq!(number(&first), 0);
    queue.finished(true);
    assert_eq!(drain(&queue).await, [1, 2]);
}

#[tokio::test]
async fn a_spool_that_opens_late_is_waited_for_only_then() {
    let mut rig = Rig::new(1_000);
    let queue = rig.queue(8 * MIB);
    for _ in 0..4 {
        queue.push(rig.stored(600));
    }
    assert_eq!(spill_now(&queue).await, 4);
    queue.close().await;
    drop(queue);
    for reload in [false, true] {
        let (at, aside) = (rig.path().join("away"), rig.path().join("aside"));
        std::fs::rename(&at, &aside).unwrap();
        std::fs::write(&at, "").unwrap();
        let queue = rig.queue(8 * MIB);
        if reload {
            queue.disk_first();
            queue.push(rig.batch(1, 10));
            queue.disk_first_until_here();
        } else {
            queue.push(rig.batch(1, 10));
        }
        assert_eq!(drain(&queue).await.len(), 1, "{reload}: nobody knows for how long that would be");
        std::fs::remove_file(&at).unwrap();
        std::fs::rename(&aside, &at).unwrap();
        let first = queue.next().await;
        queue.push(rig.batch(1, 10));
        queue.push(rig.batch(1, 10));
        queue.finished(false);
        assert_eq!(number(&first), 0);
        drop(first);
        if !reload {
            queue.close().await;
            continue;
        }
        let sent = drain(&queue).await;
        assert_eq!(sent[..4], [0, 1, 2, 3], "what was there goes first: {sent:?}");
        assert_eq!(sent.len(), 6);
    }
}

#[tokio::test]
async fn what_a_source_leaves_behind_goes_to_disk_though_the_spool_goes_away() {
    let mut rig = Rig::new(1_000_000);
    let queue = rig.queue(8 * MIB);
    let store = queue.store.clone().unwrap();
    queue.push(rig.stored(300));
    queue.push(rig.batch(2, 300));
    queue.push(rig.batch(1, 300));
    let load = queue.next().await;
    queue.part();
    queue.resize_spool(0, 1_000_000);
    assert!(store.takes_batches() && queue.is_spilling(), "there is room for what it has");
    assert_eq!(queue.parted_entries(), 2);
    assert_eq!(spill_now(&queue).await, 2);
    assert_eq!(queue.parted_entries(), 0);
    assert!(!store.takes_batches(), "and for nothing more");
    queue.push(rig.stored(300));
    assert_eq!(spill_now(&queue).await, 0);
    drop(load);
    queue.finished(false);
    assert_eq!(store.status().frames, 2);
    // A spool that is made larger is at once; one with nothing to keep is made smaller at once.
    queue.resize_spool(8 * MIB, 1_000_000);
    assert!(store.takes_batches());
    queue.resize_spool(0, 1_000_000);
    assert!(!store.takes_batches());
}

#[tokio::test]
async fn what_a_source_leaves_behind_and_is_sent_needs_no_room_either() {
    let mut rig = Rig::new(1_000_000);
    let queue = rig.queue(8 * MIB);
    let store = queue.store.clone().unwrap();
    queue.push(rig.stored(300));
    queue.part();
    queue.resize_spool(0, 1_000_000);
    assert!(store.takes_batches());
    assert_eq!(drain(&queue).await, [0]);
    assert!(!store.takes_batches());
}
