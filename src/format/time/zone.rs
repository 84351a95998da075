//! Time zones: the host's zoneinfo, read once into a table of spans with one offset each.
//!
//! Why not ask jiff for each time: a table of our own answers in a few nanoseconds, and the questions that Go asks (which offset is
//! in force, what does an abbreviation mean) need no calendar. Zoneinfo is not carried in the binary: it would be old within a year,
//! and hosts have it.
//!
//! Promises: exact from 1677 to 2262, all that 64 bits of nanoseconds can say. Leaves to others: dates.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A zone's offsets through time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// In order; the first begins at the beginning.
    spans: Vec<Span>,
    /// Abbreviations such as `CEST`, each once.
    names: Vec<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// First second of it, since 1970.
    start: i64,
    /// Seconds east of UTC.
    offset: i32,
    /// Which of the names.
    name: usize,
}

impl Zone {
    /// The zone with an IANA name; `None` for UTC; `Local` is that of the host.
    ///
    /// # Errors
    /// When the host does not know it. The text says what is wrong.
    pub fn named(name: &str) -> Result<Option<Zone>, String> {
        match name {
            "" | "UTC" => Ok(None),
            "Local" => Ok(Zone::host()),
            _ => {
                // The host's database, and no other: jiff would look into the binary's own if it had one.
                let found = TimeZoneDatabase::from_env().get(name).map_err(|error| error.to_string())?;
                Ok(Zone::of(&found))
            }
        }
    }

    /// The zone that the host is set to (`TZ`, else `/etc/localtime`); `None` for UTC, also when it cannot be told.
    pub fn host() -> Option<Zone> {
        TimeZone::try_system().ok().and_then(|zone| Zone::of(&zone))
    }

    fn of(zone: &TimeZone) -> Option<Zone> {
        let earliest = Timestamp::from_second(i64::MIN / 1_000_000_000).unwrap_or(Timestamp::MIN);
        let latest = i64::MAX / 1_000_000_000;
        let mut table = Zone { spans: Vec::new(), names: Vec::new() };
        let first = zone.to_offset_info(earliest);
        table.push(i64::MIN, first.offset().seconds(), first.abbreviation());
        for change in zone.following(earliest).take_while(|change| change.timestamp().as_second() <= latest) {
            table.push(change.timestamp().as_second(), change.offset().seconds(), change.abbreviation());
        }
        let is_utc = table.spans.len() == 1 && table.spans.iter().all(|span| span.offset == 0);
        (!is_utc).then_some(table)
    }

    fn push(&mut self, start: i64, offset: i32, name: &str) {
        let index = self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        self.spans.push(Span { start, offset, name: index });
    }

    fn span(&self, second: i64) -> Option<&Span> {
        let after = self.spans.partition_point(|span| span.start <= second);
        self.spans.get(after.checked_sub(1)?)
    }

    /// Seconds east of UTC at a moment, seconds since 1970.
    pub fn offset(&self, second: i64) -> i64 {
        self.span(second).map_or(0, |span| i64::from(span.offset))
    }

    /// The abbreviation in force at a moment, seconds since 1970.
    pub fn name(&self, second: i64) -> &str {
        self.span(second).and_then(|span| self.names.get(span.name)).map_or("UTC", |name| name)
    }

    /// The moment at which clocks of the zone show `local` (seconds since 1970, as if it were UTC). Where they never did, or did
    /// twice, it is the moment that Go chooses: the offset is first looked up as if `local` were UTC, then once more with what that gave.
    pub fn moment(&self, local: i64) -> i64 {
        let guess = self.offset(local);
        if guess == 0 {
            return local;
        }
        local - self.offset(local - guess)
    }

    /// Seconds east of UTC that an abbreviation means at a local time: preferably where it was in force, else anywhere in the zone's history.
    pub fn abbreviation(&self, name: &str, local: i64) -> Option<i64> {
        let wanted = self.names.iter().position(|known| **known == *name)?;
        let mut first = None;
        for span in self.spans.iter().filter(|span| span.name == wanted) {
            let offset = i64::from(span.offset);
            // The same offset again: nothing new can come of it.
            if first == Some(offset) {
                continue;
            }
            first = first.or(Some(offset));
            if self.span(local - offset).is_some_and(|span| span.name == wanted) {
                return Some(self.offset(local - offset));
            }
        }
        first
    }
}
