//! `zfs`: OpenZFS' counters, and the state of pools. From /proc/spl/kstat/zfs (OpenZFS' include/sys/kstat.h).
//!
//! Names are made of what files call their numbers: there are some 280 families, and versions have more or less of them.

use super::devices::{Class, needed_entries};
use super::files::{Buffer, File, lines, signed, text, trim, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::path::PathBuf;

/// Files of all pools together, and how their families are called.
const SUBSYSTEMS: [(&str, &str); 11] = [
    ("abdstats", "node_zfs_abd_"),
    ("arcstats", "node_zfs_arc_"),
    ("dbufstats", "node_zfs_dbuf_"),
    ("dmu_tx", "node_zfs_dmu_tx_"),
    ("dnodestats", "node_zfs_dnode_"),
    ("fm", "node_zfs_fm_"),
    ("vdev_cache_stats", "node_zfs_vdev_cache_"),
    ("vdev_mirror_stats", "node_zfs_vdev_mirror_"),
    ("xuio_stats", "node_zfs_xuio_"),
    ("zfetchstats", "node_zfs_zfetch_"),
    ("zil", "node_zfs_zil_"),
];

/// The states of a pool, by `state`.
const STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

pub(super) struct Zfs {
    directory: PathBuf,
    subsystems: Vec<(File, &'static str)>,
    pools: Vec<Pool>,
    found: Groups,
    buffer: Buffer,
}

/// The files of a pool.
struct Pool {
    name: String,
    class: Class,
    io: Option<File>,
    state: Option<File>,
    datasets: Vec<File>,
}

impl Zfs {
    pub(super) fn new(settings: &Settings) -> Zfs {
        let directory = settings.roots.proc("spl/kstat/zfs");
        let subsystems = SUBSYSTEMS.iter().map(|(file, prefix)| (File::new(directory.join(file)), *prefix)).collect();
        Zfs { directory, subsystems, pools: Vec::new(), found: Groups::default(), buffer: Buffer::default() }
    }

    /// Which pools there are now, with the files that each has.
    fn look(&mut self) -> Result<(), Fail> {
        let names = needed_entries(&self.directory)?;
        self.pools.retain(|pool| names.contains(&pool.name));
        for name in names {
            let directory = self.directory.join(&name);
            if !self.pools.iter().any(|pool| pool.name == name) && directory.is_dir() {
                let class = Class::new(directory);
                self.pools.push(Pool { name, class, io: None, state: None, datasets: Vec::new() });
            }
        }
        for pool in &mut self.pools {
            // A pool that is exported just now has no files.
            if pool.class.look().unwrap_or(true) {
                (pool.io, pool.state) = (None, None);
                pool.datasets.clear();
                for name in pool.class.names().to_vec() {
                    let path = pool.class.directory().join(&name);
                    match name.as_str() {
                        "io" => pool.io = Some(pool.class.attribute(path)),
                        "state" => pool.state = Some(pool.class.attribute(path)),
                        name if name.starts_with("objset-") => pool.datasets.push(pool.class.attribute(path)),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), Fail> {
        for (file, prefix) in &mut self.subsystems {
            // Which there are is a matter of the version.
            let Ok(bytes) = file.all(&mut self.buffer) else { continue };
            let told = kstat(bytes, &mut |name, value| {
                self.found.add(prefix, name, &[], value);
            });
            told.map_err(|what| Fail::malformed(file.path(), what))?;
        }
        for pool in &mut self.pools {
            if let Some(file) = &mut pool.io
                && let Ok(bytes) = file.all(&mut self.buffer)
            {
                io(bytes, &pool.name, &mut self.found).map_err(|what| Fail::malformed(file.path(), what))?;
            }
        }
        for pool in &mut self.pools {
            for file in &mut pool.datasets {
                // A dataset that is unmounted just now has none.
                let Ok(bytes) = file.all(&mut self.buffer) else { continue };
                let dataset = lines(bytes).find_map(dataset_name).unwrap_or_default();
                let labels = [("dataset", dataset), ("zpool", pool.name.as_str())];
                let told = kstat(bytes, &mut |name, value| {
                    self.found.add("node_zfs_zpool_dataset_", name, &labels, value);
                });
                told.map_err(|what| Fail::malformed(file.path(), what))?;
            }
        }
        Ok(())
    }
}

impl Collector for Zfs {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        self.look()?;
        let filled = self.fill();
        self.found.tell(out);
        filled?;
        let mut begun = false;
        for pool in &mut self.pools {
            let Some(Ok(state)) = pool.state.as_mut().map(|file| file.word(&mut self.buffer)) else { continue };
            if !begun {
                out.family("node_zfs_zpool_state", "Whether a pool is in a state.", Kind::Gauge);
                begun = true;
            }
            for known in STATES {
                let is = f64::from(u8::from(text(state).eq_ignore_ascii_case(known)));
                out.add(&[("state", known), ("zpool", &pool.name)], is);
            }
        }
        Ok(())
    }
}

/// Calls `tell` for each whole number of 64 bits in such a file: a line of numbers, `name type data`, then a line for each.
fn kstat(bytes: &[u8], tell: &mut dyn FnMut(&str, f64)) -> Result<(), String> {
    let mut lines = lines(bytes);
    if !lines.any(|line| words(line).eq([b"name", b"type", b"data"])) {
        return Err("it has no line 'name type data'".to_owned());
    }
    for line in lines {
        let mut fields = words(line);
        let (Some(name), Some(kind), Some(data)) = (fields.next(), fields.next(), fields.next()) else { continue };
        // KSTAT_DATA_INT64 and KSTAT_DATA_UINT64.
        let value = match kind {
            b"3" => signed(data).map(|value| value as f64),
            b"4" => unsigned(data).map(|value| value as f64),
            other if unsigned(other).is_none() => {
                return Err(format!("{} is of the type '{}'", text(name), text(other)));
            }
            _ => continue,
        };
        tell(text(name), value.ok_or_else(|| format!("{} is '{}'", text(name), text(data)))?);
    }
    Ok(())
}

/// What a line says if it tells whose numbers follow.
fn dataset_name(line: &[u8]) -> Option<&str> {
    let rest = trim(line.strip_prefix(b"dataset_name")?);
    // Its type is before it; there may be spaces in it.
    let at = rest.iter().position(u8::is_ascii_whitespace)?;
    rest.get(at..).map(|name| text(trim(name)))
}

/// A line of names, and one of numbers.
fn io(bytes: &[u8], pool: &str, found: &mut Groups) -> Result<(), String> {
    let mut lines = lines(bytes).skip_while(|line| words(line).next() != Some(b"nread"));
    let names = lines.next().unwrap_or_default();
    for line in lines {
        let mut numbers = words(line);
        for name in words(names) {
            let number = numbers.next().and_then(unsigned).ok_or_else(|| format!("{} has no number", text(name)))?;
            found.add("node_zfs_zpool_", text(name), &[("zpool", pool)], number as f64);
        }
    }
    Ok(())
}

/// Families as they are met, each with its samples; they stay for the next time.
#[derive(Default)]
struct Groups {
    groups: Vec<(&'static str, String, Samples)>,
    /// Where the next one is likely to be: files say the same in the same order.
    next: usize,
}

impl Groups {
    fn add(&mut self, prefix: &'static str, name: &str, labels: &[(&str, &str)], value: f64) {
        let is = |group: &(&str, String, Samples)| group.0 == prefix && group.1 == name;
        let at = match self.groups.get(self.next).is_some_and(is) {
            true => self.next,
            false => self.groups.iter().position(is).unwrap_or_else(|| {
                self.groups.push((prefix, name.to_owned(), Samples::default()));
                self.groups.len() - 1
            }),
        };
        self.next = at + 1;
        if let Some((_, _, samples)) = self.groups.get_mut(at) {
            if samples.is_empty() {
                let letters = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
                let family: String = prefix.chars().chain(name.chars()).map(letters).collect();
                samples.family(&family, "A counter or level of OpenZFS.", Kind::Unknown);
            }
            samples.add(labels, value);
        }
    }

    fn tell(&mut self, out: &mut Samples) {
        self.next = 0;
        for (_, _, samples) in self.groups.iter_mut().filter(|(_, _, samples)| !samples.is_empty()) {
            out.append(samples);
            samples.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    const ARC: &str = "\
6 1 0x01 91 4368 5266997922 97951858082072
name                            type data
hits                            4    8772612
memory_available_bytes          3    -922337203685
l2_write_spa_mismatch           2    7
";

    fn tree() -> Tree {
        let tree = Tree::new(
            "
            proc/spl/kstat/zfs/fm: 0 1 0x01 4 128 5266997922 97951858082072\\nname type data\\nerpt-dropped 4 18\\nerpt-set-failed 4 0
            proc/spl/kstat/zfs/tank/io: 12 3 0x00 1 80 79205351707403 395818011156865\\nnread nwritten reads writes wtime wlentime wupdate rtime rlentime rupdate wcnt rcnt\\n1884160 3206144 22 132 7155162 104112268 79210489694949 24168078 104112268 79210489849220 0 0
            proc/spl/kstat/zfs/tank/state: ONLINE
            proc/spl/kstat/zfs/tank/objset-0x1: 36 1 0x01 7 2160 1 2\\nname type data\\ndataset_name 7 tank\\nwrites 4 4\\nnread 4 0
            proc/spl/kstat/zfs/tank/objset-0x2: 36 1 0x01 7 2160 1 2\\nname type data\\ndataset_name 7 tank/my photos\\nwrites 4 5\\nnread 4 28\\nnunlinks 4 3
            proc/spl/kstat/zfs/old/state: SUSPENDED
            proc/spl/kstat/zfs/old/objset-0x1: 36 1 0x01 7 2160 1 2\\nname type data\\ndataset_name 7 old\\nwrites 4 6",
        );
        tree.write("proc/spl/kstat/zfs/arcstats", ARC);
        tree
    }

    #[test]
    fn counters_pools_and_datasets() {
        let tree = tree();
        let mut expected = r#"
            # node_zfs_arc_hits unknown
            node_zfs_arc_hits 8772612
            # node_zfs_arc_memory_available_bytes unknown
            node_zfs_arc_memory_available_bytes -922337203685
            # node_zfs_fm_erpt_dropped unknown
            node_zfs_fm_erpt_dropped 18
            # node_zfs_fm_erpt_set_failed unknown
            node_zfs_fm_erpt_set_failed 0
            "#
        .to_owned();
        for (name, value) in [
            ("nread", 1884160u64),
            ("nwritten", 3206144),
            ("reads", 22),
            ("writes", 132),
            ("wtime", 7155162),
            ("wlentime", 104112268),
            ("wupdate", 79210489694949),
            ("rtime", 24168078),
            ("rlentime", 104112268),
            ("rupdate", 79210489849220),
            ("wcnt", 0),
            ("rcnt", 0),
        ] {
            expected += &format!("# node_zfs_zpool_{name} unknown\nnode_zfs_zpool_{name}{{zpool=\"tank\"}} {value}\n");
        }
        expected += r#"
            # node_zfs_zpool_dataset_writes unknown
            node_zfs_zpool_dataset_writes{dataset="old",zpool="old"} 6
            node_zfs_zpool_dataset_writes{dataset="tank",zpool="tank"} 4
            node_zfs_zpool_dataset_writes{dataset="tank/my photos",zpool="tank"} 5
            # node_zfs_zpool_dataset_nread unknown
            node_zfs_zpool_dataset_nread{dataset="tank",zpool="tank"} 0
            node_zfs_zpool_dataset_nread{dataset="tank/my photos",zpool="tank"} 28
            # node_zfs_zpool_dataset_nunlinks unknown
            node_zfs_zpool_dataset_nunlinks{dataset="tank/my photos",zpool="tank"} 3
            # node_zfs_zpool_state gauge
            "#;
        for (pool, is) in [("old", "suspended"), ("tank", "online")] {
            for state in STATES {
                expected +=
                    &format!("node_zfs_zpool_state{{state=\"{state}\",zpool=\"{pool}\"}} {}\n", u8::from(state == is));
            }
        }
        let mut zfs = Zfs::new(&tree.settings());
        assert_text(&told(&mut zfs), &expected);
        // The same again; then without a pool and a dataset.
        assert_text(&told(&mut zfs), &expected);
        tree.remove("proc/spl/kstat/zfs/old");
        tree.remove("proc/spl/kstat/zfs/tank/objset-0x1");
        let text = told(&mut zfs);
        assert!(!text.contains("old") && !text.contains("dataset=\"tank\"") && text.contains("my photos"), "{text}");
    }

    #[test]
    fn what_is_not_understood() {
        let tree = tree();
        tree.write("proc/spl/kstat/zfs/arcstats", "6 1\nname type data\nhits 4 -5\n");
        let (text, fail) = failed(&mut Zfs::new(&tree.settings()));
        assert!(
            text.is_empty()
                && matches!(fail, Fail::Error(what) if what.ends_with("arcstats: not understood: hits is '-5'"))
        );
        tree.write("proc/spl/kstat/zfs/arcstats", "6 1\nhits 4 5\n");
        let (_, fail) = failed(&mut Zfs::new(&tree.settings()));
        assert!(matches!(fail, Fail::Error(what) if what.ends_with("it has no line 'name type data'")));
        assert!(matches!(failed(&mut Zfs::new(&Tree::new("").settings())).1, Fail::NoData));
    }
}
