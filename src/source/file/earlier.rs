//! Earlier generations of a log that is met for the first time, where its owner keeps them: `x.log.3`, `x.log.2.gz`, `x.log.1`.
//!
//! Elsewhere what lies beside a log when it is met is history that nobody asked for. The log of a container is all that Docker keeps of it, and Docker
//! may have rotated it before it could be met.
//!
//! Promises: the oldest comes first, and all of them before the log itself. A compressed one is unpacked into a file without a name; if the agent is
//! killed before that is read, the rest of it is not read again. What may have been read before may be read again; it has its own time, so nobody sees
//! that. Leaves to others: rotation while the log is followed (`follow`), or while the agent
//! was down (`begin`, `twin`).

use super::begin::alive_ns;
use super::follow::{Follow, fail};
use super::identity::{Identity, Stat, stat_file, stat_path};
use super::tracked::{Tracked, open_for_reading};
use super::tree::DirId;
use crate::base::limits::TWIN_BYTES;
use flate2::read::MultiGzDecoder;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

impl Follow {
    /// Takes in what was rotated before the file with this name and identity was met.
    pub(super) fn present_earlier(&mut self, source: u16, dir: DirId, (name, met): (&OsStr, &Identity), origin: &Path) {
        let Some(parent) = origin.parent() else { return };
        // A directory that cannot be listed is told of by who lists it.
        let Ok(entries) = std::fs::read_dir(parent) else { return };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut earlier: Vec<(u32, bool, OsString)> = names.filter_map(|other| generation_of(name, other)).collect();
        earlier.sort_unstable_by(|a, b| b.cmp(a));
        // What was there when the agent was last at work was read then, or has a checkpoint.
        let has_run = self.is_starting && self.sources.get(usize::from(source)).is_some_and(|source| !source.is_new);
        let since_ns = if has_run { alive_ns(&self.store) } else { i64::MIN };
        let mut last = None;
        for (number, is_packed, other) in earlier {
            // While it is being compressed there are both. The plain one is whole, and comes behind.
            if is_packed && parent.join(plain_name(name, number)).exists() {
                continue;
            }
            if last.replace(number) == Some(number) {
                continue;
            }
            // The file itself may be rotated just now.
            let is_it = |stat: Stat| stat.identity != *met && stat.modified_ns >= since_ns;
            let identity = match stat_path(&parent.join(&other)) {
                Ok(stat) if is_it(stat) => stat.identity,
                // It was compressed since the directory was listed.
                Err(error) if !is_packed && error.kind() == io::ErrorKind::NotFound => {
                    let mut packed = other;
                    packed.push(".gz");
                    self.track_packed(source, &parent.join(packed), origin);
                    continue;
                }
                _ => continue,
            };
            if is_packed {
                self.track_packed(source, &parent.join(&other), origin);
            } else {
                self.present(source, dir, &other, Some(origin));
                // It may be compressed, and gone, before its turn comes.
                let id = self.files.by_identity(source, &identity);
                if !id.is_some_and(|id| self.open_file(id)) && !parent.join(&other).exists() {
                    let mut packed = other;
                    packed.push(".gz");
                    self.track_packed(source, &parent.join(packed), origin);
                }
            }
        }
    }

    fn track_packed(&mut self, number: u16, path: &Path, origin: &Path) {
        let unpacked = stat_path(path).and_then(|stat| {
            let (mut writer, reader) = self.store.nameless_file()?;
            let mut content = MultiGzDecoder::new(BufReader::new(open_for_reading(path)?)).take(TWIN_BYTES + 1);
            let size = io::copy(&mut content, &mut writer)?;
            if size > TWIN_BYTES {
                return Err(io::Error::other(format!("it has more than {TWIN_BYTES} bytes")));
            }
            writer.flush()?;
            // What is followed is the file without a name. The compressed one will have other names, and must not be taken for it.
            let identity = Identity { born_ns: stat.identity.born_ns, ..stat_file(&reader)?.identity };
            Ok((identity, reader, size))
        });
        match unpacked {
            Ok((identity, reader, size)) => {
                let generation = self.files.next_generation();
                let mut file = Tracked::new(number, identity, generation);
                file.size = size;
                file.set_origin(Some(origin.into()));
                file.file = Some(reader);
                self.open += 1;
                let id = self.files.insert(file);
                self.rotate(id);
                self.files.make_ready(id);
            }
            Err(error) => {
                if let Some(source) = self.sources.get(usize::from(number)) {
                    fail(source, path, "unpack", &error);
                }
            }
        }
    }
}

fn plain_name(name: &OsStr, number: u32) -> OsString {
    let mut plain = name.to_owned();
    plain.push(format!(".{number}"));
    plain
}

/// Which generation of `name` this is, and whether it is compressed.
fn generation_of(name: &OsStr, other: OsString) -> Option<(u32, bool, OsString)> {
    let added = other.to_str()?.strip_prefix(name.to_str()?)?.strip_prefix('.')?;
    let (number, is_packed) = match added.strip_suffix(".gz") {
        Some(number) => (number, true),
        None => (added, false),
    };
    let number = number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()))?;
    Some((number, is_packed, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_by_name() {
        let of = |other: &str| generation_of(OsStr::new("a-json.log"), other.into()).map(|(n, packed, _)| (n, packed));
        assert_eq!(of("a-json.log.1"), Some((1, false)));
        assert_eq!(of("a-json.log.12.gz"), Some((12, true)));
        for other in ["a-json.log", "a-json.log.", "a-json.log.gz", "a-json.log.+1", "b-json.log.1", "a-json.log.1.xz"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
