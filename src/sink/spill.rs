//! Putting batches on disk, and taking them from there: the slow half of an endpoint's queue.
//!
//! A batch goes to the endpoint's spool when another endpoint has stored it and memory is short, when it has waited for long, or when the
//! agent stops. Then its source moves on, and its file may go away.
//!
//! Promises: a batch is settled only after the spool has synced it, so that no checkpoint is ahead of what is on disk; the runtime's
//! thread never waits for the disk; nothing wakes up while nothing happens; where the spool takes nothing the batches stay in
//! memory, and nothing is lost. Leaves to others: which batches (`queue`), sending (`endpoint`), the disk (`spool`).

use super::queue::{Choice, Load, Plan, Queue};
use super::spool::{Framed, Written};
use crate::base::limits::SPILL_RETRY_MS;
use crate::base::shutdown::Shutdown;
use crate::model::batch::Batch;
use crate::store::spool::{Frame, Meta};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub use super::spool::{SpoolStatus, Store};

/// By this the endpoints of an agent hear that one of them has settled a batch, so that others may put it on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct News(Arc<watch::Sender<()>>);

impl Default for News {
    fn default() -> Self {
        News(Arc::new(watch::Sender::new(())))
    }
}

impl News {
    pub(super) fn tell(&self) {
        self.0.send_replace(());
    }
}

/// In `raw_bytes` of a frame: the payload begins with the length and name of a tenant. No batch is so large.
const HAS_TENANT: u32 = 1 << 31;

/// What is written of a batch: what the spool notes, and the payload, if it is another one than the body.
fn frame_of(batch: &Batch) -> (Meta, Option<Vec<u8>>) {
    let raw_bytes = u32::try_from(batch.raw_bytes).unwrap_or(u32::MAX).min(HAS_TENANT - 1);
    let meta = Meta { raw_bytes, entries: batch.entries };
    let Some(tenant) = &batch.tenant else { return (meta, None) };
    let len = u16::try_from(tenant.len()).unwrap_or(u16::MAX);
    let name = tenant.as_bytes().get(..usize::from(len)).unwrap_or_default();
    let payload = [&len.to_le_bytes(), name, &batch.body].concat();
    (Meta { raw_bytes: raw_bytes | HAS_TENANT, ..meta }, Some(payload))
}

impl Framed for Batch {
    fn frame(&self) -> (Meta, Cow<'_, [u8]>) {
        let (meta, framed) = frame_of(self);
        (meta, framed.map_or(Cow::Borrowed(&*self.body), Cow::Owned))
    }
}

/// A batch as it was written.
fn load_of(frame: Frame) -> Load {
    let Meta { raw_bytes, entries } = frame.meta;
    let mut body = frame.payload;
    let mut tenant = None;
    if raw_bytes & HAS_TENANT != 0
        && let Some((len, rest)) = body.split_first_chunk::<2>()
        && let Some((name, _)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))
    {
        tenant = std::str::from_utf8(name).ok().map(Arc::from);
        body = body.slice(2 + name.len()..);
    }
    let raw_bytes = usize::try_from(raw_bytes & !HAS_TENANT).unwrap_or(usize::MAX);
    Load { body, raw_bytes, entries, tenant }
}

impl Queue {
    /// Takes the next thing to send, as soon as there is one. [`Queue::finished`] must follow.
    pub(super) async fn next(&self) -> Load {
        loop {
            match self.choose() {
                Choice::Batch(batch) => {
                    let (body, tenant) = (batch.body.clone(), batch.tenant.clone());
                    return Load { body, raw_bytes: batch.raw_bytes, entries: batch.entries, tenant };
                }
                Choice::Disk(delivered) => {
                    if let Some(frame) = self.read_disk(delivered).await {
                        return load_of(frame);
                    }
                }
                Choice::At(again) => tokio::select! {
                    () = self.filled() => {}
                    () = tokio::time::sleep_until(again.into()) => {}
                },
                Choice::Wait => self.filled().await,
            }
        }
    }

    async fn read_disk(&self, delivered: Option<u64>) -> Option<Frame> {
        let store = self.store.as_ref()?;
        let before = store.status().bytes;
        match store.fetch(delivered).await {
            Ok(frame) => {
                self.acknowledged();
                if store.status().bytes < before {
                    self.spill_again();
                }
                if let Some(frame) = &frame {
                    self.took(frame);
                }
                frame
            }
            Err(error) => {
                // The spool has said it, and gives up what cannot be read after a few attempts.
                tracing::debug!(error, "the spool is read again after a pause");
                self.read_again(Instant::now() + Duration::from_millis(SPILL_RETRY_MS));
                None
            }
        }
    }

    /// Puts batches on disk when that is due, until `shutdown`.
    pub(super) async fn spill(&self, mut shutdown: Shutdown) {
        let mut news = self.news.0.subscribe();
        loop {
            // News that come after the look are seen.
            news.mark_unchanged();
            let due = match self.plan(Instant::now()) {
                Plan::Now(batches) => {
                    self.write(batches).await;
                    if shutdown.is_raised() {
                        return;
                    }
                    continue;
                }
                Plan::At(due) => Some(due),
                Plan::Never => None,
            };
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.raised() => return,
                // The queue holds the other end.
                _ = news.changed() => {}
                () = sleep => {}
            }
        }
    }

    /// Puts on disk what was planned; how many of them it took.
    pub(super) async fn write(&self, batches: Vec<Arc<Batch>>) -> usize {
        let written = match &self.store {
            Some(store) => store.write(batches.clone()).await,
            None => Written::default(),
        };
        let again = written.failed.then(|| Instant::now() + Duration::from_millis(SPILL_RETRY_MS));
        self.spilled(&batches, &written.frames, again);
        written.frames.len()
    }

    /// Writes down how far everything is delivered.
    pub(super) async fn close(&self) {
        let Some(store) = &self.store else { return };
        let delivered = self.delivered();
        store.on_disk(move |_, disk| disk.close(delivered)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::Gauge;
    use crate::base::wake::Wake;
    use crate::model::batch::{Inbox, Ticket};
    use crate::model::budget::Budget;
    use bytes::Bytes;

    #[test]
    fn a_batch_comes_back_with_its_tenant() {
        let wake = Wake::new().unwrap();
        for tenant in [None, Some("t"), Some("another tenant")] {
            let charge = Budget::new(1000, Gauge::default()).charge(10, &wake);
            let ticket = Ticket::new(1, 1, Inbox::new(wake.clone()));
            let body = Bytes::from_static(b"the body");
            let batch =
                Batch::new(body.clone(), 70_000, 3, Instant::now(), ticket, charge).of_tenant(tenant.map(Arc::from));
            let (meta, framed) = frame_of(&batch);
            let payload = framed.map_or(body.clone(), Bytes::from);
            let load = load_of(Frame { sequence: 1, created_s: 0, meta, payload });
            assert_eq!((load.body, load.raw_bytes, load.entries, load.tenant.as_deref()), (body, 70_000, 3, tenant));
        }
    }
}
