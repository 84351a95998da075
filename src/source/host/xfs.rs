//! `xfs`: what XFS file systems did. From /sys/fs/xfs/*/stats/stats (the kernel's fs/xfs/xfs_stats.c).

use super::devices::Class;
use super::files::{Buffer, File, cut, lines, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

/// Families, each with the line of the file and the number in it.
const ROWS: [(&str, &str, &str, usize); 39] = [
    ("node_xfs_extent_allocation_extents_allocated_total", "Extents that were allocated.", "extent_alloc", 0),
    ("node_xfs_extent_allocation_blocks_allocated_total", "Blocks that were allocated.", "extent_alloc", 1),
    ("node_xfs_extent_allocation_extents_freed_total", "Extents that were freed.", "extent_alloc", 2),
    ("node_xfs_extent_allocation_blocks_freed_total", "Blocks that were freed.", "extent_alloc", 3),
    ("node_xfs_allocation_btree_lookups_total", "Lookups in trees of free space.", "abt", 0),
    ("node_xfs_allocation_btree_compares_total", "Comparisons in trees of free space.", "abt", 1),
    ("node_xfs_allocation_btree_records_inserted_total", "Records put into trees of free space.", "abt", 2),
    ("node_xfs_allocation_btree_records_deleted_total", "Records deleted in trees of free space.", "abt", 3),
    ("node_xfs_block_mapping_reads_total", "Block maps for reading.", "blk_map", 0),
    ("node_xfs_block_mapping_writes_total", "Block maps for writing.", "blk_map", 1),
    ("node_xfs_block_mapping_unmaps_total", "Blocks that were unmapped.", "blk_map", 2),
    ("node_xfs_block_mapping_extent_list_insertions_total", "Extents put into lists.", "blk_map", 3),
    ("node_xfs_block_mapping_extent_list_deletions_total", "Extents deleted in lists.", "blk_map", 4),
    ("node_xfs_block_mapping_extent_list_lookups_total", "Lookups in lists of extents.", "blk_map", 5),
    ("node_xfs_block_mapping_extent_list_compares_total", "Comparisons in lists of extents.", "blk_map", 6),
    ("node_xfs_block_map_btree_lookups_total", "Lookups in trees of block maps.", "bmbt", 0),
    ("node_xfs_block_map_btree_compares_total", "Comparisons in trees of block maps.", "bmbt", 1),
    ("node_xfs_block_map_btree_records_inserted_total", "Records put into trees of block maps.", "bmbt", 2),
    ("node_xfs_block_map_btree_records_deleted_total", "Records deleted in trees of block maps.", "bmbt", 3),
    ("node_xfs_directory_operation_lookup_total", "Lookups of names that no cache had.", "dir", 0),
    ("node_xfs_directory_operation_create_total", "Directory entries that were made.", "dir", 1),
    ("node_xfs_directory_operation_remove_total", "Directory entries that were removed.", "dir", 2),
    ("node_xfs_directory_operation_getdents_total", "Readings of directories.", "dir", 3),
    ("node_xfs_inode_operation_attempts_total", "Lookups in the inode cache.", "ig", 0),
    ("node_xfs_inode_operation_found_total", "Inodes that the cache had.", "ig", 1),
    ("node_xfs_inode_operation_recycled_total", "Inodes that were just being recycled.", "ig", 2),
    ("node_xfs_inode_operation_missed_total", "Inodes that the cache did not have.", "ig", 3),
    ("node_xfs_inode_operation_duplicates_total", "Inodes that somebody else put into the cache.", "ig", 4),
    ("node_xfs_inode_operation_reclaims_total", "Inodes that were taken from the cache.", "ig", 5),
    ("node_xfs_inode_operation_attribute_changes_total", "Changes of inodes' attributes.", "ig", 6),
    ("node_xfs_read_calls_total", "Calls of read.", "rw", 1),
    ("node_xfs_write_calls_total", "Calls of write.", "rw", 0),
    ("node_xfs_vnode_active_total", "Vnodes that are in use.", "vnodes", 0),
    ("node_xfs_vnode_allocate_total", "Calls of vn_alloc.", "vnodes", 1),
    ("node_xfs_vnode_get_total", "Calls of vn_get.", "vnodes", 2),
    ("node_xfs_vnode_hold_total", "Calls of vn_hold.", "vnodes", 3),
    ("node_xfs_vnode_release_total", "Calls of vn_rele.", "vnodes", 4),
    ("node_xfs_vnode_reclaim_total", "Calls of vn_reclaim.", "vnodes", 5),
    ("node_xfs_vnode_remove_total", "Calls of vn_remove.", "vnodes", 6),
];

pub(super) struct Xfs {
    class: Class,
    systems: Vec<(String, File, [u64; ROWS.len()])>,
    buffer: Buffer,
}

impl Xfs {
    pub(super) fn new(settings: &Settings) -> Xfs {
        let class = Class::new(settings.roots.sys("fs/xfs"));
        Xfs { class, systems: Vec::new(), buffer: Buffer::default() }
    }
}

impl Collector for Xfs {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        match self.class.look() {
            Ok(true) => {
                self.systems.clear();
                for name in self.class.names().to_vec() {
                    let path = self.class.directory().join(&name).join("stats/stats");
                    // Those of all file systems together lie beside.
                    if path.is_file() {
                        let file = self.class.attribute(path);
                        self.systems.push((name, file, [0; ROWS.len()]));
                    }
                }
            }
            Ok(false) => {}
            Err(Fail::NoData) => return Ok(()),
            Err(fail) => return Err(fail),
        }
        for (_, file, values) in &mut self.systems {
            let bytes = match file.read(&mut self.buffer) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.class.again();
                    return Err(Fail::io(file.path(), error));
                }
            };
            *values = numbers(bytes).map_err(|what| Fail::malformed(file.path(), what))?;
        }
        if self.systems.is_empty() {
            return Ok(());
        }
        for (row, (name, help, ..)) in ROWS.iter().enumerate() {
            out.family(name, help, Kind::Counter);
            for (system, _, values) in &self.systems {
                out.add(&[("device", system)], values.get(row).copied().unwrap_or(0) as f64);
            }
        }
        Ok(())
    }
}

/// The number of each row; 0 if its line is missing.
fn numbers(bytes: &[u8]) -> Result<[u64; ROWS.len()], String> {
    let mut values = [0; ROWS.len()];
    for (key, rest) in lines(bytes).filter_map(|line| cut(line, b' ')) {
        for (value, (.., at)) in values.iter_mut().zip(ROWS).filter(|(_, row)| row.2.as_bytes() == key) {
            let number = words(rest).nth(at).and_then(unsigned);
            *value = number.ok_or_else(|| format!("'{}' has no number {}", text(key), at + 1))?;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    const STATS: &str = "extent_alloc 92447 97589 92448 93751\\nabt 1 2 3 4\\nblk_map 1767055 188820 184891 92447 92448 2140766 5\\nbmbt 6 7 8 9\\n\
        dir 185039 92447 92444 136422\\ntrans 706 944304 0\\nig 185045 58807 10 126238 11 33637 22\\nlog 2883 113448 9 17360 739\\n\
        push_ail 945014 0 134260 15483 0 3940 464 159985 0 40\\nxstrat 92447 0\\nrw 107739 94045\\nattr 4 0 0 0\\nicluster 8677 7849 135802\\n\
        vnodes 92601 12 13 14 92444 92445 92446 0\\nbuf 2666287 7122 2659202 3599 2 7085 0 10297 7085\\nxpc 399724544 92823103 86219234\\ndebug 0";

    #[test]
    fn file_systems() {
        let tree = Tree::new(&format!(
            "
            sys/fs/xfs/sda1/stats/stats: {STATS}
            sys/fs/xfs/dm-0/stats/stats: rw 1 2
            sys/fs/xfs/stats/stats: rw 1000 2000
            sys/fs/xfs/debug/bug_on_assert: 1"
        ));
        let values: [u64; 39] = [
            92447, 97589, 92448, 93751, 1, 2, 3, 4, 1767055, 188820, 184891, 92447, 92448, 2140766, 5, 6, 7, 8, 9,
            185039, 92447, 92444, 136422, 185045, 58807, 10, 126238, 11, 33637, 22, 94045, 107739, 92601, 12, 13, 14,
            92444, 92445, 92446,
        ];
        let mut expected = String::new();
        for ((name, ..), value) in ROWS.iter().zip(values) {
            let other = match *name {
                "node_xfs_read_calls_total" => 2,
                "node_xfs_write_calls_total" => 1,
                _ => 0,
            };
            expected +=
                &format!("# {name} counter\n{name}{{device=\"dm-0\"}} {other}\n{name}{{device=\"sda1\"}} {value}\n");
        }
        let mut xfs = Xfs::new(&tree.settings());
        assert_text(&told(&mut xfs), &expected);
        tree.write("sys/fs/xfs/dm-0/stats/stats", "rw 1\n");
        let (text, fail) = failed(&mut xfs);
        assert!(
            text.is_empty()
                && matches!(fail, Fail::Error(what) if what.ends_with("dm-0/stats/stats: not understood: 'rw' has no number 2"))
        );
        assert_eq!(told(&mut Xfs::new(&Tree::new("").settings())), "");
        assert_eq!(told(&mut Xfs::new(&Tree::new("sys/fs/xfs/stats/stats: rw 1 2").settings())), "");
    }
}
