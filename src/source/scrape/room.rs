//! Memory for bodies that are being received: many targets share it.
//!
//! Bodies take what they need in steps. Above a bound in all, a share of `limits.memory`, one at a time goes on, up to the bound of a body, and the others wait: so a
//! body that waits for room always gets it, and many slow ones with little take little. The one that goes on gives back what it had of the room of the others, so
//! that they are not held up by it.
//!
//! Promises: bodies take that much and one more body, a step of [`SCRAPE_BODY_STEP_BYTES`] for each besides; buffers are used again, and large ones given
//! back. Leaves to others: refusing a body above the bound of one.

use crate::base::limits::{
    SCRAPE_BODIES_32NDS, SCRAPE_BODIES_BYTES, SCRAPE_BODY_32NDS, SCRAPE_BODY_STEP_BYTES, SCRAPE_KEPT_BYTES,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Room for bodies.
#[derive(Debug)]
pub(super) struct Room {
    steps: Arc<Semaphore>,
    /// How many of those there are.
    count: AtomicUsize,
    /// Bytes of the largest body.
    body: AtomicUsize,
    /// Who has this needs no room.
    free: Arc<AsyncMutex<()>>,
    /// Buffers for the next ones.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A body while it is received and read. Its buffer goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    room: Arc<Room>,
    steps: usize,
    owned: Option<OwnedSemaphorePermit>,
    free: Option<OwnedMutexGuard<()>>,
}

impl Room {
    /// With its shares of this memory, bytes.
    pub(super) fn new(memory: u64) -> Arc<Self> {
        let room = Self::of(steps_of(memory), 0);
        room.resize(memory);
        room
    }

    fn of(steps: usize, body: usize) -> Arc<Self> {
        Arc::new(Room {
            steps: Arc::new(Semaphore::new(steps)),
            count: AtomicUsize::new(steps),
            body: AtomicUsize::new(body),
            free: Arc::default(),
            kept: Mutex::default(),
        })
    }

    /// From now on its shares are of this memory, bytes. Steps that bodies have when it becomes less stay.
    pub(super) fn resize(&self, memory: u64) {
        self.body.store(share(memory, SCRAPE_BODY_32NDS), Ordering::Relaxed);
        let (steps, count) = (steps_of(memory), self.count.load(Ordering::Relaxed));
        if steps > count {
            self.steps.add_permits(steps - count);
            self.count.store(steps, Ordering::Relaxed);
        } else {
            let gone = self.steps.forget_permits(count - steps);
            self.count.store(count - gone, Ordering::Relaxed);
        }
    }

    /// Bytes of the largest body that there is memory for.
    pub(super) fn body_most(&self) -> usize {
        self.body.load(Ordering::Relaxed)
    }

    /// Bytes of buffers that are kept for the next scrapes.
    pub(super) fn kept_most(&self) -> usize {
        SCRAPE_KEPT_BYTES.min(self.body_most())
    }

    /// A body without bytes, which needs no room yet.
    pub(super) fn body(self: &Arc<Self>) -> Body {
        let mut kept = self.kept();
        let bytes = kept.buffers.pop().unwrap_or_default();
        kept.bytes = kept.bytes.saturating_sub(bytes.capacity());
        drop(kept);
        // The first step is free: every scrape under way has one.
        Body { bytes, room: Arc::clone(self), steps: 1, owned: None, free: None }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whole buffers go in and out.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body {
    /// Waits until there is room for the bytes that are there.
    pub(super) async fn settle(&mut self) {
        let needed = self.bytes.len().div_ceil(SCRAPE_BODY_STEP_BYTES).saturating_sub(self.steps);
        let Ok(count @ 1..) = u32::try_from(needed) else { return };
        if self.free.is_some() {
            return;
        }
        let room = Arc::clone(&self.room);
        let permit = match Arc::clone(&room.steps).try_acquire_many_owned(count) {
            Ok(permit) => permit,
            Err(_) => tokio::select! {
                biased;
                guard = Arc::clone(&room.free).lock_owned() => {
                    self.free = Some(guard);
                    // It needs them no more, and others may.
                    self.owned = None;
                    return;
                }
                permit = Arc::clone(&room.steps).acquire_many_owned(count) => match permit {
                    Ok(permit) => permit,
                    // It is never closed.
                    Err(_) => return,
                },
            },
        };
        self.steps += needed;
        match &mut self.owned {
            Some(owned) => owned.merge(permit),
            none => *none = Some(permit),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut kept = self.room.kept();
        if bytes.capacity() > 0 && kept.bytes.saturating_add(bytes.capacity()) <= self.room.kept_most() {
            kept.bytes += bytes.capacity();
            kept.buffers.push(bytes);
        }
    }
}

/// A share of `limits.memory`, in 32nds.
pub(super) fn share(memory: u64, of_32: u64) -> usize {
    usize::try_from(memory / 32 * of_32).unwrap_or(usize::MAX)
}

fn steps_of(memory: u64) -> usize {
    share(memory, SCRAPE_BODIES_32NDS).min(SCRAPE_BODIES_BYTES) / SCRAPE_BODY_STEP_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn has_room(body: &mut Body, steps: usize) -> bool {
        body.bytes.resize(steps * SCRAPE_BODY_STEP_BYTES, 0);
        tokio::time::timeout(Duration::from_secs(1), body.settle()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn above_the_bound_one_goes_on_at_a_time() {
        let room = Room::of(4, 1 << 30);
        let [mut first, mut second, mut third] = [(); 3].map(|()| room.body());
        assert!(has_room(&mut first, 3).await && has_room(&mut second, 3).await);
        assert!(has_room(&mut third, 1).await, "small ones need none");
        // Nothing is left: one may go on all the same, and what it had is for others.
        assert!(has_room(&mut first, 50).await);
        assert!(has_room(&mut first, 90).await);
        assert!(has_room(&mut second, 5).await);
        assert!(!has_room(&mut second, 6).await);
        drop(first);
        assert!(has_room(&mut second, 6).await && has_room(&mut third, 5).await);
        assert!(!has_room(&mut third, 10).await);
        drop(second);
        assert!(has_room(&mut third, 10).await);
        drop(third);
        assert_eq!(room.steps.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn shares_follow_the_memory() {
        let room = Room::new(64 << 20);
        assert_eq!((room.body_most(), room.steps.available_permits()), (4 << 20, 32));
        let mut body = room.body();
        assert!(has_room(&mut body, 31).await);
        room.resize(32 << 20);
        assert_eq!((room.body_most(), room.steps.available_permits()), (2 << 20, 0));
        drop(body);
        room.resize(32 << 20);
        assert_eq!(room.steps.available_permits(), 16);
        room.resize(16 << 30);
        assert_eq!(room.steps.available_permits() * SCRAPE_BODY_STEP_BYTES, SCRAPE_BODIES_BYTES);
    }

    #[tokio::test]
    async fn buffers_are_used_again_and_large_ones_are_not_kept() {
        let room = Room::of(4, 1 << 30);
        let mut body = room.body();
        body.bytes.reserve_exact(1000);
        let at = body.bytes.as_ptr();
        drop(body);
        let mut body = room.body();
        assert_eq!((body.bytes.as_ptr(), body.bytes.len()), (at, 0));
        body.bytes.reserve_exact(SCRAPE_KEPT_BYTES + 1);
        drop(body);
        assert_eq!(room.body().bytes.capacity(), 0);
        let many: Vec<_> = (0..8).map(|_| room.body()).collect();
        for mut body in many {
            body.bytes.reserve_exact(SCRAPE_KEPT_BYTES / 4);
        }
        let kept = room.kept();
        assert_eq!((kept.buffers.len(), kept.bytes), (4, SCRAPE_KEPT_BYTES));
    }
}
