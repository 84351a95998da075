//! A sealed batch, and the ticket by which its source learns that it is stored.
//!
//! Promises: a ticket reports once, when every endpoint has stored the batch or has nothing to do with it any more.
//! Leaves to others: making batches (`sink::batcher`), sending them, moving cursors.

use crate::base::wake::Wake;
use crate::model::budget::Charge;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What one request carries. Immutable; shared by the endpoints that it goes to.
#[derive(Debug)]
pub struct Batch {
    /// The request body: one raw snappy block of an encoded push request.
    pub body: Bytes,
    /// Size before compression, bytes.
    pub raw_bytes: usize,
    /// Number of entries.
    pub entries: u32,
    /// When the first entry came in.
    pub opened: Instant,
    /// Whose it is, if not the endpoint's own tenant's.
    pub tenant: Option<Arc<str>>,
    ticket: Ticket,
    charge: Charge,
}

impl Batch {
    /// A batch that reports to `ticket` and holds `charge` for as long as it lives.
    pub fn new(body: Bytes, raw_bytes: usize, entries: u32, opened: Instant, ticket: Ticket, charge: Charge) -> Self {
        Batch { body, raw_bytes, entries, opened, tenant: None, ticket, charge }
    }

    /// This one, as another tenant's.
    pub fn of_tenant(self, tenant: Option<Arc<str>>) -> Self {
        Batch { tenant, ..self }
    }

    /// Called by each endpoint, once, after it has stored the whole batch (or has settled every entry of it: stored, or refused for good
    /// and written to the dead letters).
    pub fn settled(&self) {
        self.ticket.stored.store(true, Ordering::Release);
        self.released();
    }

    /// Called in its place, once, by an endpoint that nothing goes to any more: it is not waited for, and does not count as having the batch.
    pub fn released(&self) {
        if self.ticket.waiting_for.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ticket.inbox.deliver(self.ticket.sequence);
        }
    }

    /// Whether it goes to more than one endpoint.
    pub fn is_shared(&self) -> bool {
        self.ticket.endpoints > 1
    }

    /// Whether an endpoint has settled it.
    pub fn is_stored_somewhere(&self) -> bool {
        self.ticket.stored.load(Ordering::Acquire)
    }

    /// What it takes of the budget while it lives.
    pub fn charge(&self) -> &Charge {
        &self.charge
    }
}

/// A batch's number within its batcher, and who wants to know.
#[derive(Debug)]
pub struct Ticket {
    sequence: u64,
    endpoints: u32,
    waiting_for: AtomicU32,
    /// Whether an endpoint has settled it.
    stored: AtomicBool,
    inbox: Inbox,
}

impl Ticket {
    /// A ticket that reports `sequence` to `inbox` after `endpoints` calls of [`Batch::settled`] or [`Batch::released`].
    pub fn new(sequence: u64, endpoints: u32, inbox: Inbox) -> Self {
        Ticket { sequence, endpoints, waiting_for: AtomicU32::new(endpoints), stored: AtomicBool::new(false), inbox }
    }
}

/// Where the numbers of settled batches arrive; wakes the thread that reads it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inbox {
    settled: Arc<Mutex<Vec<u64>>>,
    wake: Wake,
}

impl Inbox {
    /// An empty inbox that wakes `wake`.
    pub fn new(wake: Wake) -> Self {
        Inbox { settled: Arc::default(), wake }
    }

    fn deliver(&self, sequence: u64) {
        // The vector is whole even if a thread panicked while it held the lock: push either happened or not.
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).push(sequence);
        self.wake.wake();
    }

    /// Takes all that has arrived, in order of arrival, into `out`.
    pub fn drain(&self, out: &mut Vec<u64>) {
        out.append(&mut self.settled.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
