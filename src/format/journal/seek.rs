//! Places in a journal file: times and cursors.
//!
//! Promises: behind a cursor means that nothing comes again that has the cursor's number or a lower one from the same source of numbers; where
//! only times can be compared, rather a repeated entry than a lost one. Some twenty entries are read for it. Leaves to others: files that need no
//! look, and cursors of entries that nobody has any more.

use super::Work;
use super::bytes::Bytes;
use super::cursor::{Cursor, Id, Location};
use super::reader::{ReadError, Reader};

/// Damaged entries that are passed over in search of one that tells the direction.
const DAMAGED: u64 = 64;

impl<B: Bytes> Reader<B> {
    /// The first entry comes next.
    pub fn seek_head(&mut self) {
        self.set_index(0);
    }

    /// What is logged from now on comes next.
    pub fn seek_tail(&mut self, work: &mut Work) -> Result<(), ReadError> {
        self.refresh(work)?;
        self.set_index(self.header.entries);
        Ok(())
    }

    /// The first entry at a time or after it comes next. Microseconds since 1970.
    pub fn seek_realtime(&mut self, work: &mut Work, time_us: u64) -> Result<(), ReadError> {
        let end = self.listed_entries(work)?;
        let index = self.first(work, (0, end), |entry| entry.realtime_us >= time_us)?;
        self.set_index(index);
        Ok(())
    }

    /// The entry behind the cursor's comes next: by number if this file has numbers from the same source, else by time since the same boot,
    /// else by the clock.
    pub fn seek_after(&mut self, work: &mut Work, cursor: &Cursor) -> Result<(), ReadError> {
        let end = self.listed_entries(work)?;
        if let Some((_, number)) = cursor.seqnum.filter(|(id, _)| *id == self.header.seqnum_id) {
            let index = self.first(work, (0, end), |entry| entry.seqnum > number)?;
            self.set_index(index);
            return self.pass(work, |entry| entry.seqnum <= number);
        }
        if let Some((boot, time)) = cursor.monotonic
            && let Some(run) = self.boot(work, boot, cursor.realtime_us, end)?
        {
            let index = self.first(work, run, |entry| entry.monotonic_us >= time)?;
            return self.behind(work, cursor, index, |entry| entry.boot_id == boot && entry.monotonic_us == time);
        }
        // A cursor without a time and with nothing that is known here: everything may be new.
        let Some(time) = cursor.realtime_us else {
            self.set_index(0);
            return Ok(());
        };
        let index = self.first(work, (0, end), |entry| entry.realtime_us >= time)?;
        self.behind(work, cursor, index, |entry| entry.realtime_us == time)
    }

    /// Goes to an index, and on behind the cursor's entry if it is among those of the same time.
    fn behind(
        &mut self,
        work: &mut Work,
        cursor: &Cursor,
        index: u64,
        same: impl Fn(&Location) -> bool,
    ) -> Result<(), ReadError> {
        self.set_index(index);
        while let Some(entry) = self.head(work)?.filter(|entry| same(entry)) {
            self.advance();
            if cursor.is_of(&entry) {
                return Ok(());
            }
        }
        self.set_index(index);
        Ok(())
    }

    /// Passes entries over.
    fn pass(&mut self, work: &mut Work, old: impl Fn(&Location) -> bool) -> Result<(), ReadError> {
        while self.head(work)?.is_some_and(|entry| old(&entry)) {
            self.advance();
        }
        Ok(())
    }

    /// The first entry of a range for which something holds that holds for all behind it as well; the range's end if there is none.
    /// Where too much is damaged, an earlier one.
    fn first(
        &mut self,
        work: &mut Work,
        (mut low, mut high): (u64, u64),
        holds: impl Fn(&Location) -> bool,
    ) -> Result<u64, ReadError> {
        while low < high {
            let middle = low + (high - low) / 2;
            match self.near(work, middle, high)? {
                Some((at, entry)) if !holds(&entry) => low = at + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The entry at an index, or the first one behind it that is whole.
    fn near(&mut self, work: &mut Work, index: u64, end: u64) -> Result<Option<(u64, Location)>, ReadError> {
        for at in index..end.min(index.saturating_add(DAMAGED)) {
            if let Some(entry) = self.sound(work, at)? {
                return Ok(Some((at, entry)));
            }
        }
        Ok(None)
    }

    /// The entries of a boot, which lie together. They are looked for where the clock says; if the clock was set so that they are not there,
    /// this does not find them.
    fn boot(
        &mut self,
        work: &mut Work,
        boot: Id,
        time_us: Option<u64>,
        end: u64,
    ) -> Result<Option<(u64, u64)>, ReadError> {
        let near = match time_us {
            Some(time) => self.first(work, (0, end), |entry| entry.realtime_us >= time)?,
            None => end,
        };
        let mut inside = None;
        for at in [near, near.saturating_sub(1)] {
            if at < end && self.location(work, at)?.is_some_and(|entry| entry.boot_id == boot) {
                inside = Some(at);
                break;
            }
        }
        let Some(inside) = inside else { return Ok(None) };
        // In steps that double, to something that is of another boot, and then back.
        let (mut low, mut step) = (inside, 1);
        while low > 0 && self.near(work, low, end)?.is_some_and(|(_, entry)| entry.boot_id == boot) {
            low = low.saturating_sub(step);
            step *= 2;
        }
        let start = self.first(work, (low, inside), |entry| entry.boot_id == boot)?;
        let (mut high, mut step) = (inside, 1);
        while high < end && self.near(work, high, end)?.is_some_and(|(_, entry)| entry.boot_id == boot) {
            high = high.saturating_add(step).min(end);
            step *= 2;
        }
        let stop = self.first(work, (inside, high), |entry| entry.boot_id != boot)?;
        Ok(Some((start, stop)))
    }
}
