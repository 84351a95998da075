//! Reading entries allocates nothing, once the buffers have grown.

use crate::allocations::{Counting, allocations};
use crate::journalctl::{Export, FORMS, write};
use crate::real::BOOT;
use lugger::format::journal::{Fields, Merge, Reader, Wanted, Work};
use std::fs::File;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What reading 1500 entries of four files allocates, when as many have been read before.
fn allocated(compressed: bool) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let mut merge = Merge::default();
    for (at, form) in FORMS.into_iter().enumerate() {
        let mut export = Export::default();
        for i in (0..3000_u64).filter(|i| i % 4 == at as u64) {
            let entry = export.entry(1_700_000_000_000_000 + i * 1000, i * 1000, BOOT);
            entry.field("MESSAGE", format!("message {i}")).field("PRIORITY", (i % 8).to_string());
            entry.field("_HOSTNAME", "host");
            if compressed && i % 50 < 4 {
                entry.field("LONG", format!("long text {i} ").repeat(100));
            }
        }
        let file = write(directory.path(), &at.to_string(), form, &export.0);
        assert!(merge.add(Reader::open(File::open(file).unwrap()).unwrap()));
    }
    let (mut work, mut fields) = (Work::new(Wanted::all()), Fields::default());
    let mut read = |count: usize| {
        let mut bytes = 0;
        for _ in 0..count {
            assert!(merge.next(&mut work, &mut fields).unwrap().is_some());
            bytes += fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        }
        bytes
    };
    assert!(read(1000) > 0);
    allocations(|| assert!(read(1500) > 0))
}

#[test]
fn nothing_an_entry() {
    // The lists of arrays grow now and then.
    assert!(allocated(false) <= 8);
}

#[test]
fn little_a_compressed_field() {
    // 120 of them. Most of the room that their decoder takes is kept; some tables it makes anew.
    assert!(allocated(true) <= 8 + 120 * 8);
}
