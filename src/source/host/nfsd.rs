//! `nfsd`: what this host's NFS server did. From /proc/net/rpc/nfsd (the kernel's fs/nfsd/stats.c).

use super::files::{Buffer, File};
use super::nfs::{VERSION_2, VERSION_3, numbers, requests};
use super::{Collector, Fail, Settings};
use crate::model::samples::{Kind, Samples};

/// Operations of NFS 4, in the order of their numbers; those without a name are not told by node_exporter.
const VERSION_4: [&str; 40] = [
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "",
    "",
    "Verify",
    "Write",
    "RelLockOwner",
];

/// So many operations old kernels have.
const VERSION_4_LEAST: usize = 39;

pub(super) struct Nfsd {
    file: File,
    buffer: Buffer,
}

impl Nfsd {
    pub(super) fn new(settings: &Settings) -> Nfsd {
        Nfsd { file: File::new(settings.roots.proc("net/rpc/nfsd")), buffer: Buffer::default() }
    }
}

fn fill(bytes: &[u8], out: &mut Samples) -> Result<(), String> {
    let [hits, misses, uncached] = numbers(bytes, "rc")?;
    let [stale] = numbers(bytes, "fh")?;
    let [read, written] = numbers(bytes, "io")?;
    let [threads] = numbers(bytes, "th")?;
    let [ahead, .., missed] = numbers::<12>(bytes, "ra")?;
    let [_, udp, tcp, connections] = numbers(bytes, "net")?;
    let [calls, _, format, auth, client] = numbers(bytes, "rpc")?;
    let [delegated] = numbers(bytes, "wdeleg_getattr")?;
    for (name, help, kind, value) in [
        ("node_nfsd_reply_cache_hits_total", "Replies that were lost and sent again.", Kind::Counter, hits),
        ("node_nfsd_reply_cache_misses_total", "Calls whose replies were kept.", Kind::Counter, misses),
        ("node_nfsd_reply_cache_nocache_total", "Calls whose replies need not be kept.", Kind::Counter, uncached),
        ("node_nfsd_file_handles_stale_total", "File handles of what is gone.", Kind::Counter, stale),
        ("node_nfsd_disk_bytes_read_total", "Bytes that the server read.", Kind::Counter, read),
        ("node_nfsd_disk_bytes_written_total", "Bytes that the server wrote.", Kind::Counter, written),
        ("node_nfsd_server_threads", "Threads of the server.", Kind::Gauge, threads),
        ("node_nfsd_read_ahead_cache_size_blocks", "Size of the cache for reading ahead.", Kind::Gauge, ahead),
        ("node_nfsd_read_ahead_cache_not_found_total", "What that cache did not have.", Kind::Counter, missed),
        ("node_nfsd_connections_total", "TCP connections to the server.", Kind::Counter, connections),
        ("node_nfsd_server_rpcs_total", "Calls to the server.", Kind::Counter, calls),
    ] {
        out.one(name, help, kind, value as f64);
    }
    out.family("node_nfsd_packets_total", "Packets of the server.", Kind::Counter);
    for (proto, value) in [("udp", udp), ("tcp", tcp)] {
        out.add(&[("proto", proto)], value as f64);
    }
    out.family("node_nfsd_rpc_errors_total", "Calls that could not be answered.", Kind::Counter);
    for (error, value) in [("fmt", format), ("auth", auth), ("cInt", client)] {
        out.add(&[("error", error)], value as f64);
    }
    out.family("node_nfsd_requests_total", "Procedures that clients called.", Kind::Counter);
    let (mut version_2, mut version_3) = (VERSION_2, VERSION_3);
    // A call of nothing is told by clients alone.
    for names in [&mut version_2[..], &mut version_3[..]] {
        names.iter_mut().take(1).for_each(|name| *name = "");
    }
    requests(bytes, "proc2", "2", &version_2, VERSION_2.len(), out)?;
    requests(bytes, "proc3", "3", &version_3, VERSION_3.len(), out)?;
    requests(bytes, "proc4ops", "4", &VERSION_4, VERSION_4_LEAST, out)?;
    out.add(&[("method", "WdelegGetattr"), ("proto", "4")], delegated as f64);
    Ok(())
}

impl Collector for Nfsd {
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

    const NFSD: &str = "\
rc 0 6 18622
fh 5 0 0 0 0
io 157286400 72864
th 8 0 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000 0.000
ra 32 0 0 0 0 0 0 0 0 0 0 7
net 972 55 917 1
rpc 18628 3 1 2 0
proc2 18 2 69 0 0 4410 0 0 0 0 0 0 0 0 0 0 0 99 2
proc3 22 2 112 0 2719 111 0 0 0 0 0 0 0 0 0 0 0 27 216 0 2 1 0
proc4 2 2 10853
proc4ops 72 0 0 0 1098 2 0 0 0 0 8179 5896 0 0 0 0 5900 0 0 2 0 2 0 9609 0 2 150 1272 0 0 0 1236 0 0 0 0 3 3 0 0 11 \
0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
wdeleg_getattr 16
";

    #[test]
    fn what_the_server_did() {
        let tree = Tree::new("");
        tree.write("proc/net/rpc/nfsd", NFSD);
        let mut nfsd = Nfsd::new(&tree.settings());
        let head = r#"
            # node_nfsd_reply_cache_hits_total counter
            node_nfsd_reply_cache_hits_total 0
            # node_nfsd_reply_cache_misses_total counter
            node_nfsd_reply_cache_misses_total 6
            # node_nfsd_reply_cache_nocache_total counter
            node_nfsd_reply_cache_nocache_total 18622
            # node_nfsd_file_handles_stale_total counter
            node_nfsd_file_handles_stale_total 5
            # node_nfsd_disk_bytes_read_total counter
            node_nfsd_disk_bytes_read_total 157286400
            # node_nfsd_disk_bytes_written_total counter
            node_nfsd_disk_bytes_written_total 72864
            # node_nfsd_server_threads gauge
            node_nfsd_server_threads 8
            # node_nfsd_read_ahead_cache_size_blocks gauge
            node_nfsd_read_ahead_cache_size_blocks 32
            # node_nfsd_read_ahead_cache_not_found_total counter
            node_nfsd_read_ahead_cache_not_found_total 7
            # node_nfsd_connections_total counter
            node_nfsd_connections_total 1
            # node_nfsd_server_rpcs_total counter
            node_nfsd_server_rpcs_total 18628
            # node_nfsd_packets_total counter
            node_nfsd_packets_total{proto="udp"} 55
            node_nfsd_packets_total{proto="tcp"} 917
            # node_nfsd_rpc_errors_total counter
            node_nfsd_rpc_errors_total{error="fmt"} 1
            node_nfsd_rpc_errors_total{error="auth"} 2
            node_nfsd_rpc_errors_total{error="cInt"} 0
            # node_nfsd_requests_total counter
            "#;
        let mut expected = head.to_owned();
        let numbers = |key: &str| {
            let line = NFSD.lines().find(|line| line.split(' ').next() == Some(key)).unwrap();
            line.split(' ').skip(2).map(|number| number.parse().unwrap()).collect::<Vec<u64>>()
        };
        for (proto, key, names) in
            [("2", "proc2", &VERSION_2[..]), ("3", "proc3", &VERSION_3), ("4", "proc4ops", &VERSION_4)]
        {
            for (name, number) in names.iter().zip(numbers(key)) {
                if !name.is_empty() && *name != "Null" {
                    expected += &format!("node_nfsd_requests_total{{method=\"{name}\",proto=\"{proto}\"}} {number}\n");
                }
            }
        }
        expected += "node_nfsd_requests_total{method=\"WdelegGetattr\",proto=\"4\"} 16\n";
        let text = told(&mut nfsd);
        assert_text(&text, &expected);
        // Numbers of operations as in RFC 7530: 9 is GETATTR, 38 WRITE.
        for line in [
            "method=\"GetAttr\",proto=\"4\"} 8179",
            "method=\"PutFH\",proto=\"4\"} 9609",
            "method=\"RelLockOwner\",proto=\"4\"} 11",
        ] {
            assert!(text.contains(line), "{line}");
        }
        tree.write("proc/net/rpc/nfsd", "th x\n");
        assert!(matches!(failed(&mut nfsd), (text, Fail::Error(_)) if text.is_empty()));
        assert!(matches!(failed(&mut Nfsd::new(&Tree::new("").settings())).1, Fail::NoData));
    }
}
