//! Pages of journal files, kept for all files together.
//!
//! Promises: a fixed number of pages, the one that was not used for longest makes room; a page that ends early is read again when more of it
//! is asked for. A page that the system does not give is an error, until it is given up: then its blocks are read one by one, and only what
//! lies in one that is not given is damaged. Leaves to others: saying when what is kept may be old ([`Pages::forget`]): the writer changes bytes in
//! place.

use super::bytes::{Bytes, fill};
use crate::base::limits::{
    JOURNALD_BLOCK_BYTES, JOURNALD_BUFFER_BYTES, JOURNALD_HOLES, JOURNALD_PAGE_BYTES, JOURNALD_PAGES,
};
use foldhash::HashSet;
use std::io;

/// Why something could not be read from a file.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file says something that cannot be, or ends too early.
    Damaged,
    /// The system could not read.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        // An offset beyond what the system can express.
        if error.kind() == io::ErrorKind::InvalidInput { Fault::Damaged } else { Fault::Io(error) }
    }
}

/// A part of a file.
struct Page {
    file: u64,
    number: u64,
    /// Bytes that there were.
    len: usize,
    /// When it was used last, in uses.
    used: u64,
    bytes: Box<[u8]>,
    /// Blocks that the system does not give, a bit each.
    bad: u32,
}

impl Page {
    /// The blocks of a range.
    fn blocks(from: usize, to: usize) -> u32 {
        let (first, last) = (from / JOURNALD_BLOCK_BYTES, to.saturating_sub(1).max(from) / JOURNALD_BLOCK_BYTES);
        (first..=last).fold(0, |bits, block| bits | 1_u32.checked_shl(block as u32).unwrap_or_default())
    }
}

/// The pages. A file is a number of its reader's.
#[derive(Default)]
pub(super) struct Pages {
    pages: Vec<Page>,
    /// Where the last page was found.
    last: usize,
    uses: u64,
    /// For what does not lie in one page.
    span: Vec<u8>,
    /// File and number of the page that the system did not give last.
    failed: Option<(u64, u64)>,
    /// Pages that were given up.
    holes: HashSet<(u64, u64)>,
}

impl Pages {
    /// Exactly so many bytes at an offset. The caller has bounded `len`.
    pub(super) fn get(&mut self, file: u64, bytes: &impl Bytes, offset: u64, len: usize) -> Result<&[u8], Fault> {
        let (number, within) = place(offset);
        if within.checked_add(len).is_some_and(|end| end <= JOURNALD_PAGE_BYTES) {
            let page = self.page(file, bytes, number, within + len)?;
            if page.bad & Page::blocks(within, within + len) != 0 {
                return Err(Fault::Damaged);
            }
            return page.bytes.get(within..within + len).ok_or(Fault::Damaged);
        }
        if self.span.capacity() > JOURNALD_BUFFER_BYTES {
            self.span = Vec::new();
        }
        let mut span = std::mem::take(&mut self.span);
        span.clear();
        let read = if len <= JOURNALD_PAGE_BYTES {
            self.gather(file, bytes, offset, len, &mut span)
        } else {
            span.resize(len, 0);
            match fill(bytes, &mut span, offset) {
                Ok(count) if count == len => Ok(()),
                Ok(_) => Err(Fault::Damaged),
                // Page by page it is known which one it is.
                Err(_) => {
                    span.clear();
                    self.gather(file, bytes, offset, len, &mut span)
                }
            }
        };
        self.span = span;
        read.map(|()| self.span.as_slice())
    }

    /// What there is at an offset in its page, but no more than `most`: at least one byte.
    pub(super) fn some(&mut self, file: u64, bytes: &impl Bytes, offset: u64, most: usize) -> Result<&[u8], Fault> {
        let (number, within) = place(offset);
        let page = self.page(file, bytes, number, within + 1)?;
        let mut end = page.len.min(within.saturating_add(most));
        if page.bad != 0 {
            if page.bad & Page::blocks(within, within) != 0 {
                return Err(Fault::Damaged);
            }
            while end > within && page.bad & Page::blocks(within, end) != 0 {
                end = (end - 1) / JOURNALD_BLOCK_BYTES * JOURNALD_BLOCK_BYTES;
            }
        }
        page.bytes.get(within..end).ok_or(Fault::Damaged)
    }

    /// Gives up the page that the system did not give last. False if there is none of this file.
    pub(super) fn give_up(&mut self, file: u64) -> bool {
        let Some(failed) = self.failed.take_if(|(its, _)| *its == file) else { return false };
        if self.holes.len() >= JOURNALD_HOLES {
            self.holes.clear();
        }
        self.holes.insert(failed)
    }

    /// Forgets what is kept of a file.
    pub(super) fn forget(&mut self, file: u64) {
        for page in self.pages.iter_mut().filter(|page| page.file == file) {
            page.file = u64::MAX;
            page.used = 0;
        }
    }

    /// Puts something together that lies in two pages.
    fn gather(
        &mut self,
        file: u64,
        bytes: &impl Bytes,
        offset: u64,
        len: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        while into.len() < len {
            let at = offset.checked_add(into.len() as u64).ok_or(Fault::Damaged)?;
            let found = self.some(file, bytes, at, len - into.len())?;
            into.extend_from_slice(found);
        }
        Ok(())
    }

    /// A page that has at least so many bytes.
    fn page(&mut self, file: u64, bytes: &impl Bytes, number: u64, least: usize) -> Result<&Page, Fault> {
        self.uses += 1;
        let is = |page: &Page| page.file == file && page.number == number;
        let found = match self.pages.get(self.last) {
            Some(page) if is(page) => Some(self.last),
            _ => self.pages.iter().position(is),
        };
        let at = match found {
            Some(at) => at,
            None => self.room(),
        };
        self.last = at;
        let page = self.pages.get_mut(at).ok_or(Fault::Damaged)?;
        if found.is_none() || page.len < least {
            page.file = u64::MAX;
            let offset = number.checked_mul(JOURNALD_PAGE_BYTES as u64).ok_or(Fault::Damaged)?;
            page.bad = 0;
            match fill(bytes, &mut page.bytes, offset) {
                Ok(len) => page.len = len,
                Err(_) if self.holes.contains(&(file, number)) => by_blocks(page, bytes, offset)?,
                Err(error) => {
                    self.failed = Some((file, number));
                    return Err(error.into());
                }
            }
            (page.file, page.number) = (file, number);
        }
        page.used = self.uses;
        if page.len < least {
            return Err(Fault::Damaged);
        }
        Ok(page)
    }

    /// The place of a page that may be overwritten.
    fn room(&mut self) -> usize {
        if self.pages.len() < JOURNALD_PAGES {
            let bytes = vec![0; JOURNALD_PAGE_BYTES].into_boxed_slice();
            self.pages.push(Page { file: u64::MAX, number: 0, len: 0, used: 0, bytes, bad: 0 });
            return self.pages.len() - 1;
        }
        let oldest = self.pages.iter().enumerate().min_by_key(|(_, page)| page.used);
        oldest.map_or(0, |(at, _)| at)
    }
}

/// Reads what can be read of a page.
fn by_blocks(page: &mut Page, bytes: &impl Bytes, offset: u64) -> Result<(), Fault> {
    let there = bytes.len()?.saturating_sub(offset).min(JOURNALD_PAGE_BYTES as u64);
    // At most a page's.
    page.len = usize::try_from(there).unwrap_or_default();
    let Some(content) = page.bytes.get_mut(..page.len) else { return Err(Fault::Damaged) };
    for (block, room) in content.chunks_mut(JOURNALD_BLOCK_BYTES).enumerate() {
        let at = block * JOURNALD_BLOCK_BYTES;
        let want = room.len();
        if !fill(bytes, room, offset.saturating_add(at as u64)).is_ok_and(|count| count == want) {
            page.bad |= Page::blocks(at, at);
        }
    }
    Ok(())
}

/// Number of a page, and where in it.
fn place(offset: u64) -> (u64, usize) {
    let page = JOURNALD_PAGE_BYTES as u64;
    // Less than a page, so it fits.
    (offset / page, usize::try_from(offset % page).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// Bytes that can grow, and that count how often they are read.
    struct Growing(RefCell<Vec<u8>>, Cell<usize>);

    impl Bytes for Growing {
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            self.1.set(self.1.get() + 1);
            if self.1.get() % 3 == 1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.borrow().as_slice().read_at(into, offset)
        }

        fn len(&self) -> io::Result<u64> {
            Ok(self.0.borrow().len() as u64)
        }
    }

    fn pattern(at: usize) -> u8 {
        (at / 7 % 251) as u8
    }

    #[test]
    fn parts_of_any_size_anywhere() {
        let len = 3 * JOURNALD_PAGE_BYTES + 100;
        let file = Growing(RefCell::new((0..len).map(pattern).collect()), Cell::new(0));
        let mut pages = Pages::default();
        for offset in [0, 1, JOURNALD_PAGE_BYTES - 1, JOURNALD_PAGE_BYTES, 2 * JOURNALD_PAGE_BYTES - 50, len - 1] {
            for want in [1, 50, 51, JOURNALD_PAGE_BYTES, JOURNALD_PAGE_BYTES + 1, len] {
                let found = pages.get(1, &file, offset as u64, want);
                match found {
                    Ok(found) => {
                        assert!(offset + want <= len);
                        assert!(found.iter().enumerate().all(|(at, byte)| *byte == pattern(offset + at)));
                        assert_eq!(found.len(), want);
                    }
                    Err(Fault::Damaged) => assert!(offset + want > len, "{want} at {offset}"),
                    Err(Fault::Io(error)) => panic!("{error}"),
                }
            }
        }
        assert!(matches!(pages.get(1, &file, u64::MAX, 16), Err(Fault::Damaged)));
        assert!(matches!(pages.some(1, &file, len as u64, 16), Err(Fault::Damaged)));
    }

    #[test]
    fn kept_read_again_and_forgotten() {
        let file = Growing(RefCell::new(vec![1; 10]), Cell::new(1));
        let mut pages = Pages::default();
        assert_eq!(pages.get(1, &file, 0, 10).unwrap(), [1; 10]);
        let reads = file.1.get();
        file.0.borrow_mut().fill(2);
        assert_eq!(pages.get(1, &file, 5, 5).unwrap(), [1; 5]);
        assert_eq!(file.1.get(), reads, "it was kept");
        file.0.borrow_mut().push(3);
        assert_eq!(pages.get(1, &file, 9, 2).unwrap(), [2, 3], "more was asked for");
        file.0.borrow_mut().fill(4);
        pages.forget(2);
        assert_eq!(pages.get(1, &file, 9, 2).unwrap(), [2, 3]);
        pages.forget(1);
        assert_eq!(pages.get(1, &file, 9, 2).unwrap(), [4, 4]);
    }

    /// Bytes of which one block cannot be read.
    struct Bad(Vec<u8>, u64);

    impl Bytes for Bad {
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            if offset <= self.1 && self.1 < offset + into.len() as u64 {
                return Err(io::Error::from_raw_os_error(5));
            }
            self.0.as_slice().read_at(into, offset)
        }

        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
    }

    #[test]
    fn a_page_that_is_given_up_costs_a_block() {
        let block = JOURNALD_BLOCK_BYTES as u64;
        let file = Bad((0..3 * JOURNALD_PAGE_BYTES).map(pattern).collect(), 2 * block + 7);
        let mut pages = Pages::default();
        assert!(!pages.give_up(1));
        for _ in 0..2 {
            assert!(matches!(pages.get(1, &file, 0, 1), Err(Fault::Io(_))));
            assert!(matches!(pages.get(1, &file, 10, 2 * JOURNALD_PAGE_BYTES), Err(Fault::Io(_))));
        }
        assert!(!pages.give_up(2), "another file");
        assert!(pages.give_up(1));
        for (offset, len, is_there) in [
            (0, 2 * JOURNALD_BLOCK_BYTES, true),
            (2 * block - 1, 2, false),
            (2 * block, 1, false),
            (3 * block - 1, 1, false),
            (3 * block, JOURNALD_PAGE_BYTES, true),
            (0, 2 * JOURNALD_PAGE_BYTES, false),
        ] {
            match pages.get(1, &file, offset, len) {
                Ok(found) => assert!(is_there && found == &file.0[offset as usize..][..len], "{offset}"),
                Err(error) => assert!(!is_there && matches!(error, Fault::Damaged), "{offset} {error:?}"),
            }
        }
        assert_eq!(pages.some(1, &file, 5, JOURNALD_PAGE_BYTES).unwrap().len(), 2 * JOURNALD_BLOCK_BYTES - 5);
        assert!(matches!(pages.some(1, &file, 2 * block + 1, 9), Err(Fault::Damaged)));
    }

    #[test]
    fn many_files_share_the_pages() {
        let mut pages = Pages::default();
        for round in 0..3 {
            for file in 0..(2 * JOURNALD_PAGES) as u64 {
                let content = vec![file as u8; 100];
                assert_eq!(pages.get(file, &content.as_slice(), round, 1).unwrap(), [file as u8]);
            }
        }
        assert_eq!(pages.pages.len(), JOURNALD_PAGES);
    }
}
