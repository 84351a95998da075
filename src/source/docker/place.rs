//! How far the log of each container was taken from the API: kept outside the tasks that take it, past stop and removal, and on disk.
//!
//! A place is a time in nanoseconds and how many lines of that time were taken, for each of a container's streams: both have lines of one time,
//! and what one stream says may come behind later words of the other one.
//!
//! They are saved every second, and each step is noted beside that in a file that is written and not synced: so a kill costs nothing. After a power loss those
//! notes may know of more than what they speak of has lasted; they are only for the boot that they were written in.
//!
//! Promises: of what is asked for again, [`Catch`] lets through what was not taken, also where many lines have one time; what is kept is bounded.
//! Leaves to others: asking, the lines themselves.

use crate::base::atomic_file::Replacement;
use crate::base::limits::{DOCKER_NOTES_BYTES, DOCKER_PLACES, DOCKER_REORDER_NS};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// stdout and stderr.
pub(super) const STREAMS: usize = 2;

/// How far a stream was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The time of the last line, nanoseconds since 1970.
    pub time_ns: i64,
    /// How many lines of that time were taken.
    pub lines: u64,
}

/// How far both streams of a container were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Taken {
    /// By stream.
    pub places: [Place; STREAMS],
    /// The time of the first line of which a part was seen, and which was not taken; 0: there is none.
    pub waiting_ns: i64,
}

/// All places of a source.
#[derive(Debug)]
pub(super) struct Places {
    path: PathBuf,
    by_id: HashMap<String, Taken>,
    /// When the source was run for the first time, nanoseconds since 1970; 0: nobody knows.
    begun_ns: i64,
    /// Containers that exist, when that was last asked.
    living: HashSet<String>,
    is_dirty: bool,
    /// Steps since they were saved.
    notes: Option<File>,
    /// Containers whose step is not noted: what it speaks of is in memory only.
    unnoted: HashSet<String>,
    /// What they take, bytes.
    noted: usize,
    note: String,
}

/// What tells one boot from another.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

impl Places {
    /// What was saved at `path`; nothing if that is no file of ours, which is told. If it is not there the source is run for the first time, which is noted at once.
    pub(super) fn open(path: PathBuf, now_ns: i64) -> Self {
        let mut is_first = false;
        let (mut by_id, begun_ns) = match std::fs::read(&path).map(|bytes| serde_json::from_slice::<Value>(&bytes)) {
            Ok(Ok(saved)) => read(&saved),
            Ok(Err(error)) => {
                tracing::warn!(path = %path.display(), %error, "places in the logs of containers cannot be read: they are taken from their beginning");
                (HashMap::new(), 0)
            }
            Err(error) => {
                is_first = error.kind() == io::ErrorKind::NotFound;
                if !is_first {
                    tracing::warn!(path = %path.display(), %error, "places in the logs of containers cannot be read: they are taken from their beginning");
                }
                (HashMap::new(), if is_first { now_ns } else { 0 })
            }
        };
        let boot = std::fs::read_to_string(BOOT).unwrap_or_default();
        let notes_path = path.with_extension("notes");
        let noted = std::fs::read_to_string(&notes_path).unwrap_or_default();
        let all_noted = noted.len();
        let noted = noted.strip_prefix(&boot).filter(|_| !boot.is_empty());
        let is_dirty = noted.is_some_and(|noted| !noted.is_empty());
        // The last one may be torn.
        let whole = |line: &&str| line.ends_with('\n');
        by_id.extend(noted.unwrap_or_default().split_inclusive('\n').filter(whole).filter_map(step));
        // Without it a kill costs what was not saved, which comes again.
        let notes = File::options().append(true).create(true).open(&notes_path).ok().filter(|_| !boot.is_empty());
        let living = HashSet::new();
        let mut places = Places {
            path,
            by_id,
            begun_ns,
            living,
            is_dirty,
            notes,
            unnoted: HashSet::new(),
            noted: all_noted,
            note: String::new(),
        };
        if noted.is_none() {
            places.begin_notes(&boot);
        }
        if is_first {
            // What fails here shows when lines come.
            places.is_dirty = places.save().is_err();
        }
        places
    }

    fn begin_notes(&mut self, boot: &str) {
        self.noted = boot.len();
        if self.notes.is_none() && !boot.is_empty() {
            // A full disk had no room for one. What it left must not be read behind what is saved now.
            let path = self.path.with_extension("notes");
            self.notes = File::options().append(true).create(true).open(path).ok();
        }
        let begun = self.notes.as_mut().map(|notes| notes.set_len(0).and_then(|()| notes.write_all(boot.as_bytes())));
        if begun.is_some_and(|begun| begun.is_err()) {
            self.notes = None;
        }
    }

    /// Where a container's streams are.
    pub(super) fn of(&self, id: &str) -> Taken {
        self.by_id.get(id).copied().unwrap_or_default()
    }

    /// When the source was run for the first time, nanoseconds since 1970; 0: nobody knows.
    pub(super) fn begun_ns(&self) -> i64 {
        self.begun_ns
    }

    /// These containers exist, and no others. Those that are gone make room first.
    pub(super) fn living(&mut self, ids: &HashSet<String>) {
        // Nobody asks before there are many.
        if self.by_id.len() >= DOCKER_PLACES / 2 {
            self.living.clone_from(ids);
        }
    }

    /// They are there now. `is_safe`: all that was taken outlives this process, so that it may be noted; otherwise [`Places::note_all`] has to follow.
    pub(super) fn set(&mut self, id: &str, taken: Taken, is_safe: bool) {
        if let Some(known) = self.by_id.get_mut(id) {
            *known = taken;
        } else {
            if self.by_id.len() >= DOCKER_PLACES {
                // One that is gone, or else the one that was silent for the longest time.
                let newest = |taken: &Taken| taken.places.iter().map(|place| place.time_ns).max();
                let order = |(id, taken): &(&String, &Taken)| (self.living.contains(*id), newest(taken));
                let oldest = self.by_id.iter().min_by_key(order).map(|(id, _)| id.clone());
                if let Some(id) = oldest {
                    self.by_id.remove(&id);
                    self.unnoted.remove(&id);
                }
            }
            self.by_id.insert(id.to_owned(), taken);
        }
        self.is_dirty = true;
        if is_safe {
            self.note_all();
            self.note(id, &taken);
        } else if !self.unnoted.contains(id) {
            self.unnoted.insert(id.to_owned());
        }
    }

    /// Notes the steps that could not be noted before: what they speak of outlives this process now.
    pub(super) fn note_all(&mut self) {
        for id in std::mem::take(&mut self.unnoted) {
            if let Some(taken) = self.by_id.get(&id).copied() {
                self.note(&id, &taken);
            }
        }
    }

    fn note(&mut self, id: &str, taken: &Taken) {
        if let Some(notes) = &mut self.notes {
            self.note.clear();
            note(&mut self.note, id, taken);
            if notes.write_all(self.note.as_bytes()).is_err() {
                // Half a note must not be followed by others.
                self.notes = None;
            }
            self.noted += self.note.len();
            if self.noted > DOCKER_NOTES_BYTES {
                // They cannot be saved: the disk may take notes all the same.
                self.notes = self.note_anew().ok();
            }
        }
    }

    /// Puts notes of where all are in the place of those of how they came there.
    fn note_anew(&mut self) -> io::Result<File> {
        let mut all = std::fs::read_to_string(BOOT)?;
        self.by_id.iter().for_each(|(id, taken)| note(&mut all, id, taken));
        let (path, new) = (self.path.with_extension("notes"), self.path.with_extension("notes-new"));
        std::fs::write(&new, &all)?;
        std::fs::rename(&new, &path)?;
        self.noted = all.len();
        File::options().append(true).open(&path)
    }

    /// Whether there is something to save.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Saves them. What they speak of has to last already.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let one = |taken: &Taken| {
            let [out, err] = taken.places.map(|place| json!([place.time_ns, place.lines]));
            json!([out, err, taken.waiting_ns])
        };
        let all: Map<_, _> = self.by_id.iter().map(|(id, taken)| (id.clone(), one(taken))).collect();
        let mut file = Replacement::begin(&self.path)?;
        file.write_all(json!({ "begun_ns": self.begun_ns, "containers": all }).to_string().as_bytes())?;
        file.commit()?;
        self.is_dirty = false;
        self.begin_notes(&std::fs::read_to_string(BOOT).unwrap_or_default());
        Ok(())
    }

    /// Where they are saved.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a note.
fn note(to: &mut String, id: &str, taken: &Taken) {
    let Taken { places: [out, err], waiting_ns } = taken;
    // Writing to a String cannot fail.
    let _ = writeln!(to, "{id} {} {} {} {} {waiting_ns}", out.time_ns, out.lines, err.time_ns, err.lines);
}

/// Reads one.
fn step(line: &str) -> Option<(String, Taken)> {
    let mut words = line.split_ascii_whitespace();
    let id = words.next()?.to_owned();
    let mut place = || Some(Place { time_ns: words.next()?.parse().ok()?, lines: words.next()?.parse().ok()? });
    let places = [place()?, place()?];
    Some((id, Taken { places, waiting_ns: words.next()?.parse().ok()? }))
}

fn read(saved: &Value) -> (HashMap<String, Taken>, i64) {
    let place = |value: Option<&Value>| {
        let value = value?;
        Some(Place { time_ns: value.get(0)?.as_i64()?, lines: value.get(1)?.as_u64()? })
    };
    let number = |value: Option<&Value>| value.and_then(Value::as_i64).unwrap_or_default();
    let of = |value: &Value| Taken {
        places: [0, 1].map(|at| place(value.get(at)).unwrap_or_default()),
        waiting_ns: number(value.get(2)),
    };
    let object = saved.get("containers").and_then(Value::as_object);
    let by_id = object.map(|object| object.iter().map(|(id, value)| (id.clone(), of(value))).collect());
    (by_id.unwrap_or_default(), number(saved.get("begun_ns")))
}

/// The time from which to ask for lines again: before the newest line by more than streams overtake each other, and not behind a line that waits. `None`: nothing
/// was taken yet.
pub(super) fn since_ns(taken: &Taken) -> Option<i64> {
    let newest = taken.places.iter().map(|place| place.time_ns).max().filter(|newest| *newest > 0);
    let newest = newest.map(|newest| newest.saturating_sub(DOCKER_REORDER_NS));
    newest.into_iter().chain(Some(taken.waiting_ns).filter(|ns| *ns > 0)).min().map(|ns| ns.max(0))
}

/// Tells what was taken before from what was not, while lines come again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Catch {
    /// Where the stream is.
    place: Place,
    /// Where it was when lines began to come again; `None`: that is behind.
    until: Option<Place>,
    /// Lines seen of that time.
    seen: u64,
}

impl Catch {
    pub(super) fn new(place: Place) -> Self {
        Catch { place, until: (place.time_ns > 0).then_some(place), seen: 0 }
    }

    /// Whether a line of this time is new. It is taken then.
    pub(super) fn takes(&mut self, time_ns: i64) -> bool {
        if let Some(until) = self.until {
            if time_ns < until.time_ns {
                return false;
            }
            if time_ns == until.time_ns {
                self.seen += 1;
                if self.seen <= until.lines {
                    return false;
                }
            }
            // From here on nothing comes again, whatever the clock does.
            self.until = None;
        }
        if time_ns == self.place.time_ns {
            self.place.lines += 1;
        } else {
            self.place = Place { time_ns, lines: 1 };
        }
        true
    }

    /// Where the stream is now.
    pub(super) fn place(&self) -> Place {
        self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(catch: &mut Catch, times: &[i64]) -> Vec<i64> {
        times.iter().copied().filter(|time| catch.takes(*time)).collect()
    }

    #[test]
    fn lines_of_one_time_come_once() {
        let mut first = Catch::new(Place::default());
        assert_eq!(taken(&mut first, &[5, 5, 7, 7, 7]), [5, 5, 7, 7, 7]);
        assert_eq!(first.place(), Place { time_ns: 7, lines: 3 });
        // Again, and more of the last time and later ones; then the clock is set back.
        let mut again = Catch::new(first.place());
        assert_eq!(taken(&mut again, &[5, 5, 7, 7, 7, 7, 9, 3]), [7, 9, 3]);
        assert_eq!(again.place(), Place { time_ns: 3, lines: 1 });
        let mut again = Catch::new(first.place());
        assert_eq!(taken(&mut again, &[7, 7]), [] as [i64; 0]);
        assert_eq!(again.place(), first.place());
    }

    fn open(path: &Path) -> Places {
        Places::open(path.to_owned(), 77)
    }

    fn taken_at(out: Place, err: Place, waiting_ns: i64) -> Taken {
        Taken { places: [out, err], waiting_ns }
    }

    #[test]
    fn places_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places");
        let mut places = Places::open(path.clone(), 76);
        let two = taken_at(Place { time_ns: i64::MAX, lines: 2 }, Place::default(), 4);
        places.set("a", two, true);
        assert!(places.is_dirty());
        assert_eq!(open(&path).begun_ns(), 76, "the first run is the first run, also if nothing was taken in it");
        places.save().unwrap();
        assert!(!places.is_dirty());
        assert_eq!((open(&path).of("a"), open(&path).begun_ns()), (two, 76));
        assert_eq!(open(&path).of("b"), Taken::default());
        // What was not saved is known after a kill, but not after another boot.
        let later = taken_at(Place { time_ns: 9, lines: 3 }, Place { time_ns: -1, lines: 1 }, 0);
        places.set("k", later, true);
        assert_eq!(open(&path).of("k"), later);
        let notes = path.with_extension("notes");
        let noted = std::fs::read_to_string(&notes).unwrap();
        std::fs::write(&notes, format!("{noted}k 10 1 1")).unwrap();
        assert_eq!(open(&path).of("k"), later, "a torn note is none");
        std::fs::write(&notes, noted.replacen(|c: char| c.is_ascii_hexdigit(), "g", 1)).unwrap();
        assert_eq!(open(&path).of("k"), Taken::default());
        std::fs::write(&path, "[").unwrap();
        assert_eq!((open(&path).of("a"), open(&path).begun_ns()), (Taken::default(), 0));
    }

    #[test]
    fn what_is_only_in_memory_is_not_noted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places");
        let mut places = open(&path);
        let at = |time_ns| taken_at(Place { time_ns, lines: 1 }, Place::default(), 0);
        places.set("a", at(1), true);
        places.set("a", at(2), false);
        places.set("b", at(3), false);
        let known = || ["a", "b", "c"].map(|id| open(&path).of(id));
        assert_eq!((places.of("a"), places.of("b")), (at(2), at(3)));
        assert_eq!(known(), [at(1), Taken::default(), Taken::default()]);
        places.note_all();
        assert_eq!(known(), [at(2), at(3), Taken::default()]);
        places.set("b", at(4), false);
        places.set("c", at(5), true);
        assert_eq!(known(), [at(2), at(4), at(5)]);
    }

    #[test]
    fn notes_begin_again_when_places_are_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places");
        let mut places = open(&path);
        let at = |time_ns| taken_at(Place { time_ns, lines: 1 }, Place::default(), 0);
        places.set("a", at(1), true);
        // As after a write that failed.
        places.notes = None;
        places.set("a", at(2), true);
        places.save().unwrap();
        assert_eq!(open(&path).of("a"), at(2), "an older note must not be believed");
        places.set("a", at(3), true);
        assert_eq!(open(&path).of("a"), at(3));
    }

    #[test]
    fn notes_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places");
        let mut places = open(&path);
        let at = |time_ns| taken_at(Place { time_ns, lines: 1 }, Place::default(), 0);
        let size = || std::fs::metadata(path.with_extension("notes")).unwrap().len() as usize;
        let mut most = 0;
        for n in 0..DOCKER_NOTES_BYTES as i64 / 10 {
            places.set(if n % 2 == 0 { "a" } else { "b" }, at(1 + n), true);
            if n % 1000 == 0 {
                most = most.max(size());
            }
        }
        assert!(most > DOCKER_NOTES_BYTES / 2 && most < DOCKER_NOTES_BYTES + 1000, "{most}");
        let (a, b) = (places.of("a"), places.of("b"));
        drop(places);
        assert_eq!((open(&path).of("a"), open(&path).of("b")), (a, b), "a kill costs nothing all the same");
    }

    #[test]
    fn those_that_are_gone_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut places = open(&dir.path().join("places"));
        let at = |time_ns| taken_at(Place { time_ns, lines: 1 }, Place::default(), 0);
        for n in 0..DOCKER_PLACES {
            places.set(&n.to_string(), at(1 + n as i64), true);
        }
        places.living(&["0", "2"].map(str::to_owned).into());
        places.set("x", at(10_000), true);
        places.set("y", at(10_001), true);
        assert_eq!(places.by_id.len(), DOCKER_PLACES);
        let known = |id: &str| places.of(id) != Taken::default();
        assert_eq!(["0", "1", "2", "3", "4", "x"].map(known), [true, false, true, false, true, true]);
    }

    #[test]
    fn since_is_before_both_streams_and_what_waits() {
        let place = |time_ns| Place { time_ns, lines: 1 };
        assert_eq!(since_ns(&Taken::default()), None);
        assert_eq!(since_ns(&taken_at(place(10 * DOCKER_REORDER_NS), place(5), 0)), Some(9 * DOCKER_REORDER_NS));
        assert_eq!(since_ns(&taken_at(place(10 * DOCKER_REORDER_NS), place(5), 7)), Some(7));
        assert_eq!(since_ns(&taken_at(Place::default(), Place::default(), 7)), Some(7));
        assert_eq!(since_ns(&taken_at(place(5), Place::default(), 0)), Some(0));
    }
}
