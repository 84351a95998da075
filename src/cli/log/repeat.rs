//! Sums up messages that repeat.
//!
//! Promises: of equal messages (same place in the code, same subject) [`LOG_REPEATS`] are let through in a window; the others are
//! counted and become one line at its end, or earlier if too many different messages are watched. Nothing is lost without that line.
//! Leaves to others: the clock, writing.

use super::record::{Record, Value};
use crate::base::limits::{LOG_KEYS, LOG_REPEATS, LOG_WINDOW_MS};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_millis(LOG_WINDOW_MS);

#[derive(Debug)]
struct Seen {
    since: Instant,
    written: u64,
    held: u64,
    last: Option<Record>,
}

impl Seen {
    fn summary(self) -> Option<Record> {
        let mut record = self.last?;
        let seconds = LOG_WINDOW_MS / 1000;
        record.message = format!("{} (repeated {} times in the last {seconds} s)", record.message, self.held);
        record.fields.push(("repeated", Value::Bare(self.held.to_string())));
        Some(record)
    }
}

/// What has been said lately.
#[derive(Debug, Default)]
pub struct Repeats(HashMap<(usize, String), Seen>);

/// What is to be done with a message.
#[derive(Debug)]
pub enum Verdict {
    /// Write it.
    Write(Record),
    /// It is held back; true: the first one, so that somebody has to ask for summaries later.
    Held(bool),
}

impl Repeats {
    /// Judges a message. Summaries that become due by it are added to `due`.
    pub fn judge(&mut self, record: Record, now: Instant, due: &mut Vec<Record>) -> Verdict {
        let key = (record.place, record.subject());
        if let Some(seen) = self.0.get_mut(&key)
            && now.saturating_duration_since(seen.since) < WINDOW
        {
            if seen.written < LOG_REPEATS {
                seen.written += 1;
                return Verdict::Write(record);
            }
            seen.held += 1;
            seen.last = Some(record);
            return Verdict::Held(seen.held == 1);
        }
        self.make_room(&key, now, due);
        self.0.insert(key, Seen { since: now, written: 1, held: 0, last: None });
        Verdict::Write(record)
    }

    fn make_room(&mut self, key: &(usize, String), now: Instant, due: &mut Vec<Record>) {
        due.extend(self.0.remove(key).and_then(Seen::summary));
        if self.0.len() >= LOG_KEYS {
            due.append(&mut self.due(now));
        }
        if self.0.len() >= LOG_KEYS {
            let oldest = self.0.iter().min_by_key(|(_, seen)| seen.since).map(|(key, _)| key.clone());
            due.extend(oldest.and_then(|oldest| self.0.remove(&oldest)).and_then(Seen::summary));
        }
    }

    /// The summaries of windows that have ended by `now`.
    pub fn due(&mut self, now: Instant) -> Vec<Record> {
        let ended = self.0.extract_if(|_, seen| now.saturating_duration_since(seen.since) >= WINDOW);
        let mut due: Vec<Record> = ended.filter_map(|(_, seen)| seen.summary()).collect();
        due.sort_by_key(|record| record.time_ns);
        due
    }

    /// All summaries, for the end of the program.
    pub fn drain(&mut self) -> Vec<Record> {
        self.0.drain().filter_map(|(_, seen)| seen.summary()).collect()
    }

    /// When the next summary is due.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().filter(|seen| seen.held > 0).filter_map(|seen| seen.since.checked_add(WINDOW)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn record(place: usize, endpoint: &str) -> Record {
        let fields = vec![("endpoint", Value::Text(endpoint.to_owned()))];
        Record { time_ns: 0, level: Level::WARN, target: "lugger", place, message: "no".to_owned(), fields }
    }

    fn is_written(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Write(_))
    }

    #[test]
    fn repeats_are_held_and_summed_up_by_subject() {
        let (mut repeats, start, mut due) = (Repeats::default(), Instant::now(), Vec::new());
        let written = (0..62).filter(|_| is_written(&repeats.judge(record(1, "a"), start, &mut due))).count();
        assert_eq!(written as u64, LOG_REPEATS);
        assert!(is_written(&repeats.judge(record(1, "b"), start, &mut due)), "another endpoint is another message");
        assert!(is_written(&repeats.judge(record(2, "a"), start, &mut due)), "another place is another message");
        assert!(due.is_empty() && repeats.due(start).is_empty());
        assert_eq!(repeats.next(), Some(start + WINDOW));
        let due = repeats.due(start + WINDOW);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].message, "no (repeated 57 times in the last 10 s)");
        assert_eq!(due[0].fields.last().unwrap(), &("repeated", Value::Bare("57".to_owned())));
        assert_eq!(repeats.next(), None);
    }

    #[test]
    fn a_new_window_lets_through_again() {
        let (mut repeats, start, mut due) = (Repeats::default(), Instant::now(), Vec::new());
        for _ in 0..=LOG_REPEATS {
            repeats.judge(record(1, "a"), start, &mut due);
        }
        assert!(is_written(&repeats.judge(record(1, "a"), start + WINDOW, &mut due)));
        assert_eq!(due.len(), 1, "what was held is said first");
    }

    #[test]
    fn many_different_messages_take_bounded_memory_and_lose_no_count() {
        let (mut repeats, start, mut due) = (Repeats::default(), Instant::now(), Vec::new());
        let mut written = 0;
        for i in 0..LOG_KEYS * 3 {
            for _ in 0..LOG_REPEATS + 2 {
                written += u64::from(is_written(&repeats.judge(record(1, &i.to_string()), start, &mut due)));
            }
            assert!(repeats.0.len() <= LOG_KEYS);
        }
        due.append(&mut repeats.drain());
        assert_eq!(written, LOG_KEYS as u64 * 3 * LOG_REPEATS);
        assert_eq!(due.len(), LOG_KEYS * 3);
    }
}
