//! The sample log: a few lines a second that look like a small web shop's, so that there is always something to see.
//!
//! Promises: whole lines only; the file is rotated by renaming at [`DEMO_SAMPLE_BYTES`] and one old file is kept, so that the disk
//! does not fill; it stops within a moment. Leaves to others: reading it.

use crate::base::limits::{DEMO_LINES_PER_S, DEMO_SAMPLE_BYTES};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Writes the sample log until it is dropped.
#[derive(Debug)]
pub struct Sample {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sample {
    /// Starts writing `shop.log` in `directory`; the first lines are there when this returns.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let mut shop = Shop::open(directory)?;
        for _ in 0..3 {
            shop.line()?;
        }
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("sample".to_owned()).spawn(move || run(&mut shop, &stopped))?;
        Ok(Sample { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // The thread wakes up because the channel is closed.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It returns nothing, and a panic of its has been shown already.
            let _ = thread.join();
        }
    }
}

fn run(shop: &mut Shop, stopped: &Receiver<()>) {
    let pause = Duration::from_millis(1000 / DEMO_LINES_PER_S);
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
        if let Err(error) = shop.line() {
            tracing::warn!(file = %shop.path.display(), %error, "the sample log cannot be written; it ends here");
            return;
        }
    }
}

struct Shop {
    path: PathBuf,
    file: File,
    bytes: u64,
    lines: u64,
    started: Instant,
    random: RandomState,
}

impl Shop {
    fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("shop.log");
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Shop { path, file, bytes: 0, lines: 0, started: Instant::now(), random: RandomState::new() })
    }

    fn line(&mut self) -> io::Result<()> {
        if self.bytes >= DEMO_SAMPLE_BYTES {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = 0;
        }
        let line = self.words();
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        self.lines += 1;
        Ok(())
    }

    fn words(&self) -> String {
        let dice = self.random.hash_one(self.lines);
        let pick = |shift: u32, from: &[&'static str]| -> &'static str {
            let index = usize::try_from((dice >> shift) % (from.len().max(1) as u64)).unwrap_or(0);
            from.get(index).copied().unwrap_or("")
        };
        let number = |shift: u32, max: u64| (dice >> shift) % max;
        let up = self.started.elapsed().as_secs();
        let (order, ms) = (10_000 + self.lines, 3 + number(8, 90));
        match number(0, 12) {
            0 => format!(
                "level=warn msg=\"slow query\" table={} duration_ms={}\n",
                pick(16, &["orders", "stock"]),
                ms * 20
            ),
            1 if number(20, 3) == 0 => {
                format!(
                    "level=error msg=\"payment declined\" order={order} provider={} retry=true\n",
                    pick(16, &["acme", "northbank"])
                )
            }
            1 | 2 => format!(
                "level=info msg=\"order placed\" order={order} items={} total=\"{}.90 EUR\"\n",
                1 + number(16, 5),
                9 + number(24, 120)
            ),
            3 => format!("level=debug msg=\"cache refreshed\" keys={} up_s={up}\n", 100 + number(16, 900)),
            _ => format!(
                "level=info msg=\"request\" method={} path={} status={} duration_ms={ms}\n",
                pick(16, &["GET", "GET", "GET", "POST"]),
                pick(24, &["/", "/products", "/products/42", "/basket", "/checkout", "/search?q=tea"]),
                pick(32, &["200", "200", "200", "200", "304", "404"]),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_whole_lines_at_once_and_stops() {
        let directory = tempfile::tempdir().unwrap();
        let sample = Sample::start(directory.path()).unwrap();
        drop(sample);
        let text = std::fs::read_to_string(directory.path().join("shop.log")).unwrap();
        assert!(text.lines().count() >= 3 && text.ends_with('\n'));
        assert!(text.lines().all(|line| line.starts_with("level=") && line.contains(" msg=")), "{text}");
    }

    #[test]
    fn it_rotates_before_it_grows_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut shop = Shop::open(directory.path()).unwrap();
        while !directory.path().join("shop.log.1").exists() {
            shop.line().unwrap();
        }
        let size = std::fs::metadata(directory.path().join("shop.log.1")).unwrap().len();
        assert!((DEMO_SAMPLE_BYTES..DEMO_SAMPLE_BYTES + 1024).contains(&size));
    }
}
