//! `mdadm`: software RAID. From /proc/mdstat, and /sys/block/md*/md (the kernel's Documentation/admin-guide/md).

use super::devices::{Families, Row, entries, number_of, text_of, word};
use super::files::{Buffer, File, lines, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};
use std::path::PathBuf;

const STATE: usize = 0;
const DISKS: usize = 1;
const REQUIRED: usize = 2;
const BLOCKS: usize = 3;
const SYNCED: usize = 4;
const RAID_DISKS: usize = 5;
const DEGRADED: usize = 6;
const ROWS: [Row; 7] = [
    ("node_md_state", "Whether an array is in a state.", Kind::Gauge),
    ("node_md_disks", "Disks of an array that are active, failed or spare.", Kind::Gauge),
    ("node_md_disks_required", "Disks that an array wants.", Kind::Gauge),
    ("node_md_blocks", "Blocks of an array.", Kind::Gauge),
    ("node_md_blocks_synced", "Blocks of an array that are in sync.", Kind::Gauge),
    ("node_md_raid_disks", "Disks of a fully working array.", Kind::Gauge),
    ("node_md_degraded", "Disks that an array lacks.", Kind::Gauge),
];

/// The states that are told of each array, by `state`.
const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];

pub(super) struct Mdadm {
    stat: File,
    blocks: PathBuf,
    families: Families,
    buffer: Buffer,
}

impl Mdadm {
    pub(super) fn new(settings: &Settings) -> Mdadm {
        Mdadm {
            stat: File::new(settings.roots.proc("mdstat")),
            blocks: settings.roots.sys("block"),
            families: Families::new(&ROWS),
            buffer: Buffer::default(),
        }
    }

    /// What /sys says of arrays, which of containers and inactive arrays is not all.
    fn fill_from_sys(&mut self) -> Result<(), Fail> {
        for name in entries(&self.blocks).unwrap_or_default().iter().filter(|name| name.starts_with("md")) {
            let directory = self.blocks.join(name).join("md");
            let Some(level) = text_of(directory.join("level"), &mut self.buffer)? else { continue };
            // While an array is reshaped this says `4 (3)`.
            let mut file = File::passing(directory.join("raid_disks"));
            let disks = word(&mut file, &mut self.buffer)?;
            if let Some(disks) = disks.and_then(|disks| words(disks).next()) {
                let disks = unsigned(disks).ok_or_else(|| Fail::malformed(file.path(), text(disks)))?;
                self.families.add(RAID_DISKS, &[("device", name)], disks as f64);
            }
            let lacks = match level.as_str() {
                "raid1" | "raid4" | "raid5" | "raid6" | "raid10" => {
                    number_of(directory.join("degraded"), &mut self.buffer)?
                }
                // These work with all of their disks or not at all.
                _ => Some(0),
            };
            if let Some(lacks) = lacks {
                self.families.add(DEGRADED, &[("device", name)], lacks as f64);
            }
        }
        Ok(())
    }
}

impl Collector for Mdadm {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        self.families.clear();
        let bytes = self.stat.all_needed(&mut self.buffer)?;
        fill_from_stat(bytes, &mut self.families).map_err(|what| Fail::malformed(self.stat.path(), what))?;
        let found = self.fill_from_sys();
        self.families.tell(out);
        found
    }
}

/// An array in /proc/mdstat.
#[derive(Debug, Default)]
struct Array {
    active: u64,
    wanted: u64,
    blocks: u64,
}

/// What /proc/mdstat says: for each array a line, one with its size and disks, and perhaps others for its bitmap and what is done with it.
fn fill_from_stat(bytes: &[u8], families: &mut Families) -> Result<(), String> {
    let mut lines = lines(bytes).peekable();
    while let Some(line) = lines.next() {
        let line = text(line);
        if line.trim().is_empty() || line.starts_with([' ', '\t']) {
            continue;
        }
        if line.starts_with("Personalities") || line.starts_with("unused") {
            continue;
        }
        let mut fields = line.split_ascii_whitespace();
        let (Some(name), Some(_), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(format!("'{line}' names no array and its state"));
        };
        let status = lines.next().map(text).unwrap_or_default();
        let array =
            array(line, status).ok_or_else(|| format!("{name}: '{}' are no blocks and disks", status.trim()))?;
        let mut doing = lines.peek().map(|line| text(line)).unwrap_or_default();
        if doing.contains("bitmap") {
            lines.next();
            doing = lines.peek().map(|line| text(line)).unwrap_or_default();
        }
        let done = [("recovery", "recovering"), ("reshape", "reshaping"), ("check", "check"), ("resync", "resync")]
            .into_iter()
            .find(|(word, _)| doing.contains(word));
        let waits = ["PENDING", "DELAYED", "REMOTE"].iter().any(|word| doing.contains(word));
        let synced = match done {
            None => array.blocks,
            Some(_) if waits => 0,
            Some(_) => synced(doing).ok_or_else(|| format!("{name}: '{}' has no (done/all)", doing.trim()))?,
        };
        let state = done.map_or(state, |(_, state)| state);
        for known in STATES {
            families.add(STATE, &[("device", name), ("state", known)], f64::from(u8::from(known == state)));
        }
        let marked = |mark: &str| line.matches(mark).count() as f64;
        for (state, disks) in [("active", array.active as f64), ("failed", marked("(F)")), ("spare", marked("(S)"))] {
            families.add(DISKS, &[("device", name), ("state", state)], disks);
        }
        families.add(REQUIRED, &[("device", name)], array.wanted as f64);
        families.add(BLOCKS, &[("device", name)], array.blocks as f64);
        families.add(SYNCED, &[("device", name)], synced as f64);
    }
    Ok(())
}

/// Size and disks by the two lines of an array.
fn array(line: &str, status: &str) -> Option<Array> {
    let blocks = number(status.split_ascii_whitespace().next()?)?;
    if line.contains("raid0") || line.contains("linear") {
        // These have no spares: all that there are have to be.
        let disks = line.matches('[').count() as u64;
        return Some(Array { active: disks, wanted: disks, blocks });
    }
    if line.contains("inactive") {
        return Some(Array { blocks, ..Array::default() });
    }
    // `[wanted/active] [UU_]`
    let counts = status.split_ascii_whitespace().find_map(|word| {
        let (wanted, active) = word.strip_prefix('[')?.strip_suffix(']')?.split_once('/')?;
        Some((number(wanted)?, number(active)?))
    });
    let (wanted, active) = counts?;
    Some(Array { active, wanted, blocks })
}

fn number(word: &str) -> Option<u64> {
    unsigned(word.as_bytes())
}

/// The first number of `(done/all)`.
fn synced(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().find_map(|word| {
        let (done, all) = word.strip_prefix('(')?.strip_suffix(')')?.split_once('/')?;
        number(all).and(number(done))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    const STAT: &str = "\
Personalities : [linear] [raid0] [raid1] [raid6] [raid5] [raid4] [raid10]
md0 : active raid1 sdb1[1] sda1[0]
      104320 blocks super 1.2 [2/2] [UU]
      bitmap: 0/1 pages [0KB], 65536KB chunk

md1 : active raid5 sdd1[3] sdc1[2](F) sdb2[1] sda2[0]
      390620288 blocks level 5, 64k chunk, algorithm 2 [3/2] [UU_]
      [=>...................]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec

md2 : active (auto-read-only) raid1 sdf1[1] sde1[0]
      7813735424 blocks super 1.2 [2/2] [UU]
      \tresync=PENDING
      bitmap: 59/59 pages [236KB], 65536KB chunk

md3 : active raid6 sdl1[5](S) sdk1[4] sdj1[3] sdi1[2] sdh1[1] sdg1[0]
      5853468288 blocks super 1.2 level 6, 64k chunk, algorithm 2 [5/5] [UUUUU]
      bitmap: 0/15 pages [0KB], 65536KB chunk
      [===>.................]  check = 16.1% (236813696/1463367072) finish=150.4min speed=135901K/sec

md4 : active raid10 sdp1[3] sdo1[2] sdn1[1] sdm1[0]
      1000 blocks super 1.2 512K chunks 2 near-copies [4/4] [UUUU]
      [========>............]  resync = 43.0% (430/1000) finish=1.0min speed=1K/sec

md5 : active raid0 sdr1[1] sdq1[0]
      314159265 blocks 64k chunks

md127 : inactive sdt[1](S) sds[0](S)
      5544 blocks super external:imsm

md6 : active raid5 sdx1[3] sdw1[2] sdv1[1] sdu1[0]
      2000 blocks super 1.2 level 5, 512k chunk, algorithm 2 [4/4] [UUUU]
      [>....................]  reshape =  1.0% (20/2000) finish=1.0min speed=1K/sec

unused devices: <none>
";

    #[test]
    fn arrays_in_all_states() {
        let tree = Tree::new(
            "
            sys/block/md1/md/level: raid5
            sys/block/md1/md/raid_disks: 3
            sys/block/md1/md/degraded: 1
            sys/block/md5/md/level: raid0
            sys/block/md5/md/raid_disks: 2
            sys/block/md6/md/level: raid5
            sys/block/md6/md/raid_disks: 4 (3)
            sys/block/md6/md/degraded: 0
            sys/block/md127/md/level: container
            sys/block/md127/md/raid_disks:
            sys/block/sda/size: 5",
        );
        tree.write("proc/mdstat", STAT);
        let states = |device: &str, state: &str| {
            STATES.map(|known| {
                format!("node_md_state{{device=\"{device}\",state=\"{known}\"}} {}\n", u8::from(known == state))
            })
        };
        let disks = |device: &str, [active, failed, spare]: [u8; 3]| {
            [("active", active), ("failed", failed), ("spare", spare)]
                .map(|(state, disks)| format!("node_md_disks{{device=\"{device}\",state=\"{state}\"}} {disks}\n"))
        };
        let mut expected = vec!["# node_md_state gauge\n".to_owned()];
        for (device, state) in [
            ("md0", "active"),
            ("md1", "recovering"),
            ("md2", "resync"),
            ("md3", "check"),
            ("md4", "resync"),
            ("md5", "active"),
            ("md127", "inactive"),
            ("md6", "reshaping"),
        ] {
            expected.extend(states(device, state));
        }
        expected.push("# node_md_disks gauge\n".to_owned());
        for (device, counts) in [
            ("md0", [2, 0, 0]),
            ("md1", [2, 1, 0]),
            ("md2", [2, 0, 0]),
            ("md3", [5, 0, 1]),
            ("md4", [4, 0, 0]),
            ("md5", [2, 0, 0]),
            ("md127", [0, 0, 2]),
            ("md6", [4, 0, 0]),
        ] {
            expected.extend(disks(device, counts));
        }
        let rest = r#"
            # node_md_disks_required gauge
            node_md_disks_required{device="md0"} 2
            node_md_disks_required{device="md1"} 3
            node_md_disks_required{device="md2"} 2
            node_md_disks_required{device="md3"} 5
            node_md_disks_required{device="md4"} 4
            node_md_disks_required{device="md5"} 2
            node_md_disks_required{device="md127"} 0
            node_md_disks_required{device="md6"} 4
            # node_md_blocks gauge
            node_md_blocks{device="md0"} 104320
            node_md_blocks{device="md1"} 390620288
            node_md_blocks{device="md2"} 7813735424
            node_md_blocks{device="md3"} 5853468288
            node_md_blocks{device="md4"} 1000
            node_md_blocks{device="md5"} 314159265
            node_md_blocks{device="md127"} 5544
            node_md_blocks{device="md6"} 2000
            # node_md_blocks_synced gauge
            node_md_blocks_synced{device="md0"} 104320
            node_md_blocks_synced{device="md1"} 16775552
            node_md_blocks_synced{device="md2"} 0
            node_md_blocks_synced{device="md3"} 236813696
            node_md_blocks_synced{device="md4"} 430
            node_md_blocks_synced{device="md5"} 314159265
            node_md_blocks_synced{device="md127"} 5544
            node_md_blocks_synced{device="md6"} 20
            # node_md_raid_disks gauge
            node_md_raid_disks{device="md1"} 3
            node_md_raid_disks{device="md5"} 2
            node_md_raid_disks{device="md6"} 4
            # node_md_degraded gauge
            node_md_degraded{device="md1"} 1
            node_md_degraded{device="md127"} 0
            node_md_degraded{device="md5"} 0
            node_md_degraded{device="md6"} 0"#;
        assert_text(&told(&mut Mdadm::new(&tree.settings())), &(expected.concat() + rest));
    }

    #[test]
    fn what_is_not_understood_is_no_number() {
        let tree = Tree::new("proc/mdstat: Personalities : [raid1]\\nunused devices: <none>");
        let mut mdadm = Mdadm::new(&tree.settings());
        assert_eq!(told(&mut mdadm), "");
        for (stat, why) in [
            (
                "md0 : active raid1 sda1[0]\n      5 blocks super 1.2\n\n",
                "md0: '5 blocks super 1.2' are no blocks and disks",
            ),
            ("md0 : active raid1 sda1[0]\n", "md0: '' are no blocks and disks"),
            ("md0 :\n", "'md0 :' names no array and its state"),
            (
                "md1 : active raid0 sda1[0]\n 5 blocks\n\nmd0 : active raid1 sda1[0]\n 5 blocks [2/1] [U_]\n recovery = 5%\n",
                "md0: 'recovery = 5%' has no (done/all)",
            ),
        ] {
            tree.write("proc/mdstat", stat);
            let (text, fail) = failed(&mut mdadm);
            assert_eq!(text, "");
            let Fail::Error(what) = fail else { panic!("{stat}") };
            assert_eq!(tree.without_root(&what), format!("proc/mdstat: not understood: {why}"));
        }
        tree.remove("proc/mdstat");
        assert!(matches!(failed(&mut Mdadm::new(&tree.settings())), (text, Fail::NoData) if text.is_empty()));
    }
}
