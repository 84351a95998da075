//! Bodies of pushes as they come in, within what memory they may take together.
//!
//! Promises: who has sent nothing holds nothing; room for all of a body is taken before it is kept, where its length is known, so that none that comes in is given
//! up in the middle; a small one does not wait for room that large ones have; who sends too slowly gives way as soon as others wait. Leaves to others: what is in
//! them.

use crate::base::limits::{
    HTTP_BODY_MS, PUSH_BODIES_SHARE, PUSH_DRAIN_MS, PUSH_PACE_BYTES, PUSH_PACE_MS, PUSH_SMALL_BYTES, PUSH_SMALL_SHARE,
    PUSH_TURN_MS,
};
use crate::base::serve::BodyError;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};
use hyper::header::{self, HeaderMap};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Room for all bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    large: Room,
    /// For those of at most [`PUSH_SMALL_BYTES`].
    small: Room,
}

/// Room, one permit a byte.
#[derive(Debug)]
struct Room {
    permits: Arc<Semaphore>,
    bytes: AtomicUsize,
    /// How many wait for some of it.
    waiting: AtomicUsize,
}

/// What a body takes, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held([Option<OwnedSemaphorePermit>; 2]);

/// Counts one who waits for as long as it is there.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room {
    fn new() -> Self {
        Room { permits: Arc::new(Semaphore::new(0)), bytes: AtomicUsize::new(0), waiting: AtomicUsize::new(0) }
    }

    /// Makes it so large. What is taken at this moment is not given up: the rest shrinks with the next change.
    fn resize(&self, after: usize) {
        let before = self.bytes.load(Ordering::Relaxed);
        self.permits.add_permits(after.saturating_sub(before));
        let gone = self.permits.forget_permits(before.saturating_sub(after));
        self.bytes.store(before.max(after).saturating_sub(gone), Ordering::Relaxed);
    }

    /// Waits for so much, a while.
    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let count = u32::try_from(bytes).map_err(|_| BodyError::TooLarge(u32::MAX as usize))?;
        if let Ok(taken) = Arc::clone(&self.permits).try_acquire_many_owned(count) {
            return Ok(taken);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        let taken = Arc::clone(&self.permits).acquire_many_owned(count);
        match timeout(Duration::from_millis(PUSH_TURN_MS), taken).await {
            Ok(Ok(taken)) => Ok(taken),
            _ => Err(BodyError::Busy),
        }
    }

    /// Adds to what is held, if there is room.
    fn add(&self, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), BodyError> {
        let count = u32::try_from(bytes).map_err(|_| BodyError::TooLarge(u32::MAX as usize))?;
        let more = Arc::clone(&self.permits).try_acquire_many_owned(count).map_err(|_| BodyError::Busy)?;
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Bodies {
    /// With no room yet.
    pub(super) fn new() -> Self {
        Bodies { large: Room::new(), small: Room::new() }
    }

    /// A share of `memory_bytes`, from the next body on.
    pub(super) fn resize(&self, memory_bytes: u64) {
        let share = |part: u64| usize::try_from(memory_bytes / part).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        self.large.resize(share(PUSH_BODIES_SHARE));
        self.small.resize(share(PUSH_SMALL_SHARE));
    }

    /// The largest body that there is room for, bytes.
    pub(super) fn most(&self) -> usize {
        self.large.bytes.load(Ordering::Relaxed)
    }

    /// What of small bodies is small enough for their room, bytes.
    fn small_bytes(&self) -> usize {
        PUSH_SMALL_BYTES.min(self.small.bytes.load(Ordering::Relaxed))
    }

    /// Reads a body of at most `max` bytes, and takes room for it.
    pub(super) async fn read<B: Body<Data = Bytes>>(
        &self,
        headers: &HeaderMap,
        body: B,
        max: usize,
    ) -> Result<(Bytes, Held), BodyError> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let mut body = pin!(body);
        let mut end = Instant::now() + Duration::from_millis(HTTP_BODY_MS);
        if length.is_some_and(|length| length > max) {
            return Err(drain(body, length.unwrap_or(max), max, end).await);
        }
        let is_small = length.is_some_and(|length| length <= self.small_bytes());
        let room = if is_small { &self.small } else { &self.large };
        // The first bytes wait where they are until there is room for all.
        let Some(mut data) = next(body.as_mut(), end).await? else { return Ok((Bytes::new(), Held::default())) };
        let mut held = Held::default();
        if let Some(length) = length {
            let began = Instant::now();
            held.0[0] = Some(room.take(length).await?);
            end += began.elapsed();
        }
        let began = Instant::now();
        let mut kept = BytesMut::with_capacity(length.unwrap_or(0));
        loop {
            let seen = kept.len().saturating_add(data.len());
            if seen > max {
                drop((kept, held));
                return Err(drain(body, seen, max, end).await);
            }
            if length.is_none() {
                let [small, large] = &mut held.0;
                if large.is_none() && seen <= self.small_bytes() {
                    self.small.add(small, data.len())?;
                } else {
                    self.large.add(large, data.len())?;
                }
            }
            kept.extend_from_slice(&data);
            data = loop {
                let tick = Instant::now() + Duration::from_millis(PUSH_PACE_MS);
                match next(body.as_mut(), tick.min(end)).await {
                    Ok(Some(data)) => break data,
                    Ok(None) => return Ok((kept.freeze(), held)),
                    Err(BodyError::TooSlow) if Instant::now() < end => {}
                    Err(error) => return Err(error),
                }
                if room.is_wanted() && is_slow(kept.len(), began.elapsed()) {
                    return Err(BodyError::Busy);
                }
            };
            if room.is_wanted() && is_slow(kept.len().saturating_add(data.len()), began.elapsed()) {
                return Err(BodyError::Busy);
            }
        }
    }
}

/// Whether so many bytes in this time are fewer than others should have to wait for.
fn is_slow(bytes: usize, time: Duration) -> bool {
    let since = time.as_millis().saturating_sub(u128::from(PUSH_PACE_MS));
    (bytes as u128) < since.saturating_mul(PUSH_PACE_BYTES as u128) / 1000
}

/// The next bytes; `None`: there are no more.
async fn next<B: Body<Data = Bytes>>(mut body: Pin<&mut B>, end: Instant) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context));
        let frame = tokio::time::timeout_at(end, frame).await.map_err(|_| BodyError::TooSlow)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = Frame::into_data(frame)
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A client that is still sending does not read the answer: somewhat too large a body is passed over, as long as it comes. `known`: what it has at least.
async fn drain<B: Body<Data = Bytes>>(mut body: Pin<&mut B>, known: usize, max: usize, end: Instant) -> BodyError {
    let most = max.saturating_mul(4);
    let mut seen = 0_usize;
    while known <= most && seen <= most {
        let tick = Instant::now() + Duration::from_millis(PUSH_DRAIN_MS);
        match next(body.as_mut(), tick.min(end)).await {
            Ok(Some(data)) => seen = seen.saturating_add(data.len()),
            _ => break,
        }
    }
    BodyError::TooLarge(max)
}
