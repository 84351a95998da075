//! `nfs`: what NFS mounts of this host asked for. From /proc/net/rpc/nfs (the kernel's fs/nfs and net/sunrpc/stats.c).

use super::files::{Buffer, File, cut, lines, text, unsigned, words};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

/// Procedures of NFS 2, in the kernel's order.
pub(super) const VERSION_2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create", "Remove",
    "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];
/// Procedures of NFS 3.
pub(super) const VERSION_3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];
/// What a client of NFS 4 asks for. Kernels know more by now, which node_exporter does not tell.
const VERSION_4: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

pub(super) struct Nfs {
    file: File,
    buffer: Buffer,
}

impl Nfs {
    pub(super) fn new(settings: &Settings) -> Nfs {
        Nfs { file: File::new(settings.roots.proc("net/rpc/nfs")), buffer: Buffer::default() }
    }
}

/// A line of a file in /proc/net/rpc: its numbers, by its first word. Zeros if there is none, as an old kernel or a module that is not there has them.
pub(super) fn numbers<const N: usize>(bytes: &[u8], name: &str) -> Result<[u64; N], String> {
    let mut found = [0; N];
    for (key, rest) in lines(bytes).filter_map(|line| cut(line, b' ')) {
        if key == name.as_bytes() {
            let mut numbers = words(rest).map(unsigned);
            for number in &mut found {
                *number = numbers.next().flatten().ok_or_else(|| format!("'{}' has too few numbers", text(key)))?;
            }
        }
    }
    Ok(found)
}

/// Such a line that says first how many numbers follow, of which there may be fewer or more than names; names that have none are told as 0.
pub(super) fn requests(
    bytes: &[u8],
    line: &str,
    proto: &str,
    names: &[&str],
    least: usize,
    out: &mut Samples,
) -> Result<(), String> {
    let rest = lines(bytes).filter_map(|line| cut(line, b' ')).find(|(key, _)| *key == line.as_bytes());
    let mut numbers = words(rest.map(|(_, rest)| rest).unwrap_or_default());
    if let Some((_, rest)) = rest {
        let said = numbers.next().and_then(unsigned);
        let there = words(rest).count().saturating_sub(1);
        if said != Some(there as u64) || there < least {
            return Err(format!("'{line}' has {there} numbers"));
        }
    }
    for name in names {
        let number = match numbers.next() {
            Some(word) => unsigned(word).ok_or_else(|| format!("'{line}' says '{}'", text(word)))?,
            None => 0,
        };
        // Without a name are those that node_exporter does not tell.
        if !name.is_empty() {
            out.add(&[("method", name), ("proto", proto)], number as f64);
        }
    }
    Ok(())
}

fn fill(bytes: &[u8], out: &mut Samples) -> Result<(), String> {
    let [_, udp, tcp, connections] = numbers(bytes, "net")?;
    let [calls, retransmissions, refreshes] = numbers(bytes, "rpc")?;
    out.family("node_nfs_packets_total", "Packets of NFS mounts.", Kind::Counter);
    out.add(&[("protocol", "udp")], udp as f64);
    out.add(&[("protocol", "tcp")], tcp as f64);
    for (name, help, value) in [
        ("node_nfs_connections_total", "TCP connections of NFS mounts.", connections),
        ("node_nfs_rpcs_total", "Calls of NFS mounts.", calls),
        ("node_nfs_rpc_retransmissions_total", "Calls that were sent again.", retransmissions),
        ("node_nfs_rpc_authentication_refreshes_total", "Credentials that were renewed.", refreshes),
    ] {
        out.one(name, help, Kind::Counter, value as f64);
    }
    out.family("node_nfs_requests_total", "Procedures that NFS mounts called.", Kind::Counter);
    requests(bytes, "proc2", "2", &VERSION_2, VERSION_2.len(), out)?;
    requests(bytes, "proc3", "3", &VERSION_3, VERSION_3.len(), out)?;
    requests(bytes, "proc4", "4", &VERSION_4, 0, out)
}

impl Collector for Nfs {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let bytes = self.file.all_needed(&mut self.buffer)?;
        let mut found = Samples::default();
        fill(bytes, &mut found).map_err(|what| Fail::malformed(self.file.path(), what))?;
        out.append(&found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Tree, assert_text, failed, told};
    use super::*;

    pub(super) fn expected_requests(proto: &str, names: &[&str], numbers: &[u64]) -> String {
        let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
        let line = |(at, name): (usize, &&str)| {
            format!("node_nfs_requests_total{{method=\"{name}\",proto=\"{proto}\"}} {}\n", number(at))
        };
        names.iter().enumerate().filter(|(_, name)| !name.is_empty()).map(line).collect()
    }

    #[test]
    fn what_was_asked_for() {
        let tree = Tree::new(
            "proc/net/rpc/nfs: net 70 71 69 45\\nrpc 1218785755 374636 1218815394\\n\
             proc3 22 0 1061909262 48906 4077635 117661341 5 29391916 2570425 2993289 590 0 0 7815 15 1130 0 3983 92385 13332 2 1 23729\\n\
             proc4 4 98 51 54 83",
        );
        let mut nfs = Nfs::new(&tree.settings());
        let head = r#"
            # node_nfs_packets_total counter
            node_nfs_packets_total{protocol="udp"} 71
            node_nfs_packets_total{protocol="tcp"} 69
            # node_nfs_connections_total counter
            node_nfs_connections_total 45
            # node_nfs_rpcs_total counter
            node_nfs_rpcs_total 1218785755
            # node_nfs_rpc_retransmissions_total counter
            node_nfs_rpc_retransmissions_total 374636
            # node_nfs_rpc_authentication_refreshes_total counter
            node_nfs_rpc_authentication_refreshes_total 1218815394
            # node_nfs_requests_total counter
            "#;
        let third = [
            0, 1061909262, 48906, 4077635, 117661341, 5, 29391916, 2570425, 2993289, 590, 0, 0, 7815, 15, 1130, 0,
            3983, 92385, 13332, 2, 1, 23729,
        ];
        let requests = [
            expected_requests("2", &VERSION_2, &[]),
            expected_requests("3", &VERSION_3, &third),
            expected_requests("4", &VERSION_4, &[98, 51, 54, 83]),
        ];
        assert_text(&told(&mut nfs), &(head.to_owned() + &requests.concat()));
        for (content, why) in [
            ("net 70 71\n", "'net' has too few numbers"),
            ("proc3 22 0\n", "'proc3' has 1 numbers"),
            ("proc3 2 0 1\n", "'proc3' has 2 numbers"),
            ("proc4 1 x\n", "'proc4' says 'x'"),
        ] {
            tree.write("proc/net/rpc/nfs", content);
            let (text, fail) = failed(&mut nfs);
            assert!(text.is_empty() && matches!(fail, Fail::Error(what) if what.ends_with(why)), "{content}");
        }
        assert!(matches!(failed(&mut Nfs::new(&Tree::new("").settings())).1, Fail::NoData));
    }
}
