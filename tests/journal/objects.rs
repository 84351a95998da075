//! Objects of journal files, walked and changed by the tests: compression that this host's systemd does not write, and damage at a chosen place.
#![allow(dead_code, reason = "each test binary uses a part of this")]

/// Where an object is and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    pub offset: usize,
    pub kind: u8,
    pub flags: u8,
    pub size: usize,
}

pub const DATA: u8 = 1;
pub const ENTRY: u8 = 3;
pub const ENTRY_ARRAY: u8 = 6;

pub fn number(file: &[u8], at: usize) -> usize {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize
}

pub fn set_number(file: &mut [u8], at: usize, value: usize) {
    file[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
}

pub fn is_compact(file: &[u8]) -> bool {
    file[12] & 16 != 0
}

/// All objects.
pub fn objects(file: &[u8]) -> Vec<Object> {
    let last = number(file, 136);
    let mut offset = number(file, 88);
    let mut found = Vec::new();
    while offset <= last {
        let object = Object { offset, kind: file[offset], flags: file[offset + 1], size: number(file, offset + 8) };
        found.push(object);
        offset += object.size.next_multiple_of(8);
    }
    found
}

/// Where an object's payload or list begins.
pub fn payload(file: &[u8], object: Object) -> std::ops::Range<usize> {
    let head = match (object.kind, is_compact(file)) {
        (DATA, true) => 72,
        (DATA | ENTRY, _) => 64,
        _ => 24,
    };
    object.offset + head..object.offset + object.size
}

/// Takes what journald has reserved at the end away.
pub fn trim(file: &mut Vec<u8>) {
    let last = *objects(file).last().unwrap();
    file.truncate((last.offset + last.size).next_multiple_of(8));
}

/// Puts a data object with another payload at the end, and has all entries name it in place of an old one.
pub fn replace(file: &mut Vec<u8>, old: Object, flags: u8, content: &[u8]) {
    let head = payload(file, old).start - old.offset;
    let offset = file.len();
    file.extend_from_within(old.offset..old.offset + head);
    file.extend_from_slice(content);
    file[offset + 1] = flags;
    set_number(file, offset + 8, head + content.len());
    file.resize(file.len().next_multiple_of(8), 0);
    let compact = is_compact(file);
    let entries: Vec<Object> = objects(file).into_iter().filter(|object| object.kind == ENTRY).collect();
    for entry in entries {
        for at in payload(file, entry).step_by(if compact { 4 } else { 16 }) {
            if compact && file[at..at + 4] == (old.offset as u32).to_le_bytes() {
                file[at..at + 4].copy_from_slice(&(offset as u32).to_le_bytes());
            } else if !compact && number(file, at) == old.offset {
                set_number(file, at, offset);
            }
        }
    }
    set_number(file, 136, offset);
    let header = number(file, 88);
    let arena = file.len() - header;
    set_number(file, 96, arena);
}
