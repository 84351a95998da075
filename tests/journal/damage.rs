//! Damaged files: reading ends, nothing comes that was not written, and what is not damaged comes.

use crate::journalctl::{Entry, Export, FORMS, assert_same, ours, rest, write};
use crate::objects::{DATA, ENTRY, ENTRY_ARRAY, Object, objects, payload, set_number, trim};
use crate::real::{BOOT, sample};
use lugger::format::journal::{Damage, Fields, OpenError, ReadError, Reader, Wanted, Work};
use proptest::prelude::*;
use std::fs;
use std::sync::OnceLock;

/// A file in the regular and one in the compact form, with what is in them.
fn samples() -> &'static [(Vec<u8>, Vec<Entry>); 2] {
    static SAMPLES: OnceLock<[(Vec<u8>, Vec<Entry>); 2]> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        [FORMS[0], FORMS[3]].map(|form| {
            let file = write(directory.path(), "x", form, &sample(7, 400));
            let mut content = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            trim(&mut content);
            let entries = rest(&mut Reader::open(content.as_slice()).unwrap());
            assert_eq!(entries.len(), 400);
            (content, entries)
        })
    })
}

fn read(content: &[u8]) -> (Vec<Entry>, Damage) {
    let mut reader = Reader::open(content).unwrap();
    (rest(&mut reader), reader.damage())
}

/// Objects of a kind.
fn of_kind(content: &[u8], kind: u8) -> Vec<Object> {
    objects(content).into_iter().filter(|object| object.kind == kind).collect()
}

/// Journald empties what it removes, also while it is read: that is no damage.
#[test]
fn what_is_emptied_is_not_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.journal");
    for (content, entries) in samples() {
        for read in [0, 1, 5] {
            fs::write(&path, content).unwrap();
            let mut reader = Reader::open(fs::File::open(&path).unwrap()).unwrap();
            let (mut work, mut fields) = (Work::new(Wanted::all()), Fields::default());
            for want in &entries[..read] {
                let location = reader.next(&mut work, &mut fields).unwrap().unwrap();
                assert_eq!(ours(&location, &fields), *want);
            }
            let is_shown = read == 5 && reader.head(&mut work).unwrap().is_some();
            fs::write(&path, vec![0; content.len()]).unwrap();
            // Nor is it in memory any more.
            work = Work::new(Wanted::all());
            let error = reader.next(&mut work, &mut fields).unwrap_err();
            let unread = (entries.len() - read) as u64;
            assert!(matches!(error, ReadError::Erased { unread: found } if found == unread), "{is_shown} {error}");
            assert_eq!(reader.damage(), Damage::default());
        }
    }
}

/// Reads whatever it is in every way there is, and sees that it ends.
pub fn exercise(content: &[u8]) {
    let mut reader = match Reader::open(content) {
        Ok(reader) => reader,
        Err(OpenError::Io(error)) => panic!("{error}"),
        Err(_) => return,
    };
    let (mut work, mut fields) = (Work::new(Wanted::all()), Fields::default());
    let mut count = 0;
    let mut last = None;
    while let Some(location) = reader.next(&mut work, &mut fields).unwrap() {
        count += 1;
        assert!(count <= content.len() / 64, "more entries than there is room for");
        let _ = fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        last = Some(location);
    }
    for time in [0, 1_700_000_000_100_000, u64::MAX] {
        reader.seek_realtime(&mut work, time).unwrap();
        reader.next(&mut work, &mut fields).unwrap();
    }
    if let Some(last) = last {
        reader.seek_after(&mut work, &last.into()).unwrap();
        reader.head(&mut work).unwrap();
    }
}

#[test]
fn a_damaged_data_object_costs_its_field() {
    for (content, want) in samples() {
        for object in of_kind(content, DATA).into_iter().step_by(17) {
            let mut damaged = content.clone();
            damaged[object.offset..object.offset + 16].fill(0xa5);
            let (found, damage) = read(&damaged);
            assert_eq!(found.len(), want.len(), "all entries come");
            assert_eq!(damage.entries, 0);
            let lost: usize = want.iter().zip(&found).map(|(want, found)| want.fields.len() - found.fields.len()).sum();
            // `_BOOT_ID` is not among those that are compared.
            assert!(lost as u64 == damage.fields || lost == 0 && damage.fields == 400, "{lost} {damage:?}");
            assert!(damage.fields > 0);
            for (want, found) in want.iter().zip(&found) {
                assert_eq!(want.cursor, found.cursor);
                assert!(found.fields.iter().all(|field| want.fields.contains(field)));
            }
        }
    }
}

#[test]
fn a_damaged_entry_costs_itself() {
    for (content, want) in samples() {
        for (at, object) in of_kind(content, ENTRY).into_iter().enumerate().step_by(13) {
            for (byte, value) in [(0, 0), (0, 1), (8, 0xff), (13, 1), (31, 0xff)] {
                let mut damaged = content.clone();
                damaged[object.offset + byte] = value;
                let (found, damage) = read(&damaged);
                let mut want = want.clone();
                want.remove(at);
                assert_same(&found, &want);
                assert_eq!(damage, Damage { entries: 1, ..Damage::default() });
            }
        }
    }
}

/// An offset in the list that leads to another entry would repeat that one and hide those before it.
#[test]
fn a_wrong_offset_in_the_list_costs_one_entry() {
    for (content, want) in samples() {
        let compact = content[12] & 16 != 0;
        let width = if compact { 4 } else { 8 };
        let entries = of_kind(content, ENTRY);
        let lists: Vec<usize> =
            main_arrays(content).iter().flat_map(|array| payload(content, *array).step_by(width)).collect();
        for at in [0, 1, 3, 4, 5, 100, 399] {
            for other in [0, 2, 50, 101, 398, 399] {
                if at == other {
                    continue;
                }
                let mut damaged = content.clone();
                let offset = entries[other].offset as u64;
                damaged[lists[at]..lists[at] + width].copy_from_slice(&offset.to_le_bytes()[..width]);
                let (found, damage) = read(&damaged);
                assert_eq!(damage.entries, 1, "entry {at} is said to be at {other}");
                assert_eq!(found.len(), 399);
                let mut rest = want.iter();
                assert!(found.iter().all(|entry| rest.any(|want| want == entry)), "in order, and none twice");
            }
        }
    }
}

/// The arrays that list all entries; others list those of a data object.
fn main_arrays(content: &[u8]) -> Vec<Object> {
    let all = of_kind(content, ENTRY_ARRAY);
    let mut found = Vec::new();
    let mut next = crate::objects::number(content, 176);
    while let Some(array) = all.iter().find(|array| array.offset == next) {
        found.push(*array);
        next = crate::objects::number(content, array.offset + 16);
    }
    assert!(found.len() > 3);
    found
}

#[test]
fn a_broken_list_costs_nothing_while_objects_can_be_walked() {
    for (content, want) in samples() {
        for array in main_arrays(content) {
            for (byte, value) in [(0, 5), (0, 0), (8, 3), (14, 0x7f)] {
                let mut damaged = content.clone();
                damaged[array.offset + byte] = value;
                let (found, damage) = read(&damaged);
                assert_same(&found, want);
                assert_eq!(damage, Damage::default());
            }
        }
        // The walk itself meets damage: it goes on behind it.
        let arrays = main_arrays(content);
        let entries = of_kind(content, ENTRY);
        let mut damaged = content.clone();
        set_number(&mut damaged, arrays[2].offset + 16, 1 << 40);
        let middle = entries[300].offset;
        damaged[middle..middle + entries[300].size].fill(0xee);
        let (found, damage) = read(&damaged);
        let mut want = want.clone();
        want.remove(300);
        assert_same(&found, &want);
        assert_eq!(damage.entries, 1);
    }
}

#[test]
fn truncated_files_give_what_is_left() {
    for (content, want) in samples() {
        let entries = of_kind(content, ENTRY);
        for (at, entry) in entries.iter().enumerate().step_by(11) {
            let end = entry.offset + entry.size;
            let (found, damage) = read(&content[..end]);
            assert!(found.len() > at, "{} of {}", found.len(), at + 1);
            assert_same(&found[..=at], &want[..=at]);
            assert_eq!(damage.entries, (want.len() - found.len()) as u64);
            let (found, _) = read(&content[..end - 1]);
            assert_eq!(found.len(), at);
        }
    }
}

#[test]
fn what_cannot_be_read_at_all() {
    let (content, _) = &samples()[0];
    for len in 0..208 {
        assert!(matches!(Reader::open(&content[..len]), Err(OpenError::Unfinished)), "{len}");
    }
    let mut newer = content.clone();
    newer[12] |= 64;
    assert!(matches!(Reader::open(newer.as_slice()), Err(OpenError::UnknownFlags { flags: 64, .. })));
    let mut foreign = content.clone();
    foreign[0] = b'X';
    assert!(matches!(Reader::open(foreign.as_slice()), Err(OpenError::Foreign)));
}

/// An entry's fields as they are wanted.
#[test]
fn only_wanted_fields_come() {
    let (content, want) = &samples()[1];
    let mut reader = Reader::open(content.as_slice()).unwrap();
    let (mut work, mut fields) = (Work::new(Wanted::only(["SEQ", "LONG"])), Fields::default());
    for want in want {
        let location = reader.next(&mut work, &mut fields).unwrap().unwrap();
        let mut want = want.clone();
        want.fields.retain(|(name, _)| name == "SEQ" || name == "LONG");
        assert_eq!(ours(&location, &fields), want);
    }
}

/// A list that names a field of megabytes again and again takes no more work than an entry may.
#[test]
fn a_list_that_repeats_a_large_field_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut export = Export::default();
    export.entry(1_700_000_000_000_000, 1, BOOT).field("BIG", "0123456789abcdef".repeat(1 << 17));
    let entry = export.entry(1_700_000_000_000_001, 2, BOOT);
    for i in 0..200 {
        entry.field(&format!("F{i}"), "x");
    }
    for form in [FORMS[0], FORMS[3]] {
        let mut content =
            fs::read(write(directory.path(), if form.compact { "c" } else { "r" }, form, &export.0)).unwrap();
        let big = of_kind(&content, DATA).into_iter().find(|object| object.flags != 0).unwrap().offset as u64;
        let width = if form.compact { 4 } else { 16 };
        for at in payload(&content, of_kind(&content, ENTRY)[1]).step_by(width) {
            content[at..at + width.min(8)].copy_from_slice(&big.to_le_bytes()[..width.min(8)]);
        }
        for (wanted, most) in [(Wanted::all(), 2), (Wanted::only(["F1"]), 0)] {
            let mut reader = Reader::open(content.as_slice()).unwrap();
            let (mut work, mut fields) = (Work::new(wanted), Fields::default());
            reader.next(&mut work, &mut fields).unwrap().unwrap();
            assert_eq!(reader.damage(), Damage::default());
            reader.next(&mut work, &mut fields).unwrap().unwrap();
            assert!(fields.len() <= most, "{}", fields.len());
            assert!(reader.damage().cut > 150, "{:?}", reader.damage());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_anywhere(
        compact in 0..2_usize,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8, 0..4_u8), 1..12),
    ) {
        let mut content = samples()[compact].0.clone();
        // Most bytes are of hash tables and payloads; the heads of objects and of the file are where it matters.
        let objects = objects(&content);
        for (at, change, place) in flips {
            let at = match place {
                0 => at.index(content.len()),
                1 => at.index(264),
                _ => {
                    let object = objects[at.index(objects.len())];
                    object.offset + usize::from(change) % object.size.min(96)
                }
            };
            content[at] ^= change;
        }
        exercise(&content);
    }

    #[test]
    fn truncated_anywhere(compact in 0..2_usize, at in any::<prop::sample::Index>()) {
        let content = &samples()[compact].0;
        exercise(&content[..at.index(content.len())]);
    }

    #[test]
    fn numbers_that_are_extreme(
        compact in 0..2_usize,
        places in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_usize, 0..6_usize), 1..6),
    ) {
        let mut content = samples()[compact].0.clone();
        let objects = objects(&content);
        for (at, field, value) in places {
            let object = objects[at.index(objects.len())];
            let at = if field == 0 { 88 + 8 * (object.offset / 8 % 14) } else { object.offset + 8 * field };
            if at + 8 <= content.len() {
                let values = [0, 1, 8, usize::MAX, usize::MAX - 7, content.len() - 8];
                set_number(&mut content, at, values[value]);
            }
        }
        exercise(&content);
    }
}
