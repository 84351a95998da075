//! The thread that writes messages, so that nobody else waits for stderr.
//!
//! Promises: [`Writer::write`] never blocks on the output; the queue is bounded; what did not fit is counted and said;
//! errors of the output are ignored, for there is nowhere to report them. Leaves to others: the form of a line.

use super::record::{Record, Value};
use super::repeat::{Repeats, Verdict};
use super::style::Style;
use crate::base::clock::Clock;
use crate::base::limits::{LOG_FLUSH_MS, LOG_QUEUE};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

enum Order {
    Write(Box<Record>),
    /// Something was held back: find out when to sum it up.
    Look,
    /// Write all there is and say so.
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Shared {
    repeats: Mutex<Repeats>,
    dropped: AtomicU64,
}

impl Shared {
    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        // Its operations do not panic half-way; if one did, a count would be off.
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands messages to the thread.
#[derive(Debug)]
pub struct Writer {
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

impl Writer {
    /// Starts the thread, which writes to `out`.
    pub fn start(out: impl Write + Send + 'static, style: Style) -> std::io::Result<Self> {
        let (orders, queue) = sync_channel(LOG_QUEUE);
        let shared = Arc::new(Shared::default());
        let thread = Thread { queue, shared: shared.clone(), style, out, line: String::new() };
        // Messages are short; the default stack would be 2 MiB of address space for nothing.
        std::thread::Builder::new().name("log".to_owned()).stack_size(128 * 1024).spawn(move || thread.run())?;
        Ok(Writer { orders, shared })
    }

    /// Queues a message, unless it repeats.
    pub fn write(&self, record: Record) {
        if record.target == super::EACH {
            return self.send(record);
        }
        let mut due = Vec::new();
        let verdict = self.shared.repeats().judge(record, Instant::now(), &mut due);
        for summary in due {
            self.send(summary);
        }
        match verdict {
            Verdict::Write(record) => self.send(record),
            // A full queue wakes the thread anyway.
            Verdict::Held(true) => drop(self.orders.try_send(Order::Look)),
            Verdict::Held(false) => {}
        }
    }

    fn send(&self, record: Record) {
        if self.orders.try_send(Order::Write(Box::new(record))).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, summaries too; returns after [`LOG_FLUSH_MS`] even if the output is stuck.
    pub fn flush(&self) {
        let deadline = Instant::now() + Duration::from_millis(LOG_FLUSH_MS);
        let (done, wait) = sync_channel(1);
        let mut order = Order::Flush(done);
        // `send` could wait for ever if the output is stuck.
        while let Err(error) = self.orders.try_send(order) {
            let std::sync::mpsc::TrySendError::Full(back) = error else { return };
            order = back;
            if Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // An error is a stuck output: nothing more can be done.
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

struct Thread<W> {
    queue: Receiver<Order>,
    shared: Arc<Shared>,
    style: Style,
    out: W,
    line: String,
}

impl<W: Write> Thread<W> {
    fn run(mut self) {
        loop {
            let next = self.shared.repeats().next();
            let order = match next {
                Some(at) => self.queue.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {
                    let due = self.shared.repeats().due(Instant::now());
                    due.iter().for_each(|record| self.put(record));
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // What has gathered goes out in one write.
            loop {
                match self.queue.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
                if self.line.len() > 64 * 1024 {
                    self.out();
                }
            }
            self.say_dropped();
            self.out();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(record) => self.put(&record),
            Order::Look => {}
            Order::Flush(done) => {
                let rest = self.shared.repeats().drain();
                rest.iter().for_each(|record| self.put(record));
                self.say_dropped();
                self.out();
                // Nobody waiting any more is fine.
                let _ = done.try_send(());
            }
        }
    }

    fn put(&mut self, record: &Record) {
        self.style.line(record, &mut self.line);
    }

    fn out(&mut self) {
        if self.line.is_empty() {
            return;
        }
        // A closed stderr must not stop anything.
        let _ = self.out.write_all(self.line.as_bytes());
        let _ = self.out.flush();
        self.line.clear();
        self.line.shrink_to(16 * 1024);
    }

    fn say_dropped(&mut self) {
        let dropped = self.shared.dropped.swap(0, Ordering::Relaxed);
        if dropped == 0 {
            return;
        }
        self.put(&Record {
            time_ns: Clock::System.now_ns(),
            level: tracing::Level::WARN,
            target: module_path!(),
            place: 0,
            message: "messages were dropped because stderr did not take them fast enough".to_owned(),
            fields: vec![("dropped", Value::Bare(dropped.to_string()))],
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Condvar;

    fn record(message: &str, place: usize) -> Record {
        let (time_ns, level) = (0, tracing::Level::INFO);
        Record { time_ns, level, target: "lugger", place, message: message.to_owned(), fields: Vec::new() }
    }

    /// Collects what is written; while the gate is shut, writing waits.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<State>, Condvar)>);

    #[derive(Default)]
    struct State {
        open: bool,
        text: Vec<u8>,
    }

    impl Gate {
        fn set(&self, open: bool) {
            self.0.0.lock().unwrap().open = open;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().text.clone()).unwrap()
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| !state.open).unwrap();
            state.text.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn flushing_writes_everything_with_the_summaries() {
        let gate = Gate::default();
        gate.set(true);
        let writer = Writer::start(gate.clone(), Style::Journal).unwrap();
        for _ in 0..20 {
            writer.write(record("again", 1));
        }
        writer.flush();
        let text = gate.text();
        assert_eq!(text.matches("msg=again").count(), 5, "{text}");
        assert!(text.contains("\"again (repeated 15 times in the last 10 s)\" repeated=15"), "{text}");
    }

    #[test]
    fn a_stuck_output_holds_up_nobody_and_what_is_dropped_is_counted() {
        let gate = Gate::default();
        let writer = Writer::start(gate.clone(), Style::Journal).unwrap();
        let total = LOG_QUEUE * 3;
        for place in 0..total {
            writer.write(record("x", place));
        }
        writer.flush();
        gate.set(true);
        while !gate.text().contains("dropped=") {
            std::thread::yield_now();
        }
        writer.flush();
        let text = gate.text();
        let dropped: usize =
            text.split("dropped=").skip(1).map(|rest| rest.lines().next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(text.matches("msg=x").count() + dropped, total);
    }

    #[test]
    fn a_closed_output_is_no_error() {
        let writer = Writer::start(Closed, Style::Json).unwrap();
        writer.write(record("x", 1));
        writer.flush();
        writer.write(record("y", 2));
        writer.flush();
    }
}
