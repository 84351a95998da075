//! The host's metrics from trees of the tests' own making: what this host does not have, what is malformed, and a systemd that is none.

mod support;
#[path = "support/host_tree.rs"]
mod tree;

use lugger::format::prometheus::text::Writer;
use lugger::model::samples::Samples;
use lugger::source::host::{Host, Roots, Settings};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use support::exposition;
use tree::Tree;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// What one collector tells of a tree, and its failure.
fn collect(root: &Path, collector: &str, set: impl Fn(&mut Settings)) -> (String, Option<String>) {
    let roots =
        Roots { proc: root.join("proc"), sys: root.join("sys"), rootfs: root.to_owned(), udev: root.join("udev") };
    let mut settings = Settings::new(roots);
    settings.none();
    settings.set(collector, true).unwrap();
    set(&mut settings);
    let mut host = Host::new(&settings).unwrap();
    let (mut samples, mut text) = (Samples::default(), Vec::new());
    host.collect(&mut samples);
    Writer::default().write(&samples, &mut text);
    let text = String::from_utf8(text).unwrap();
    exposition::read(&text);
    (text, host.failures().first().map(|failure| failure.what.clone()))
}

#[track_caller]
fn told(files: &[(&str, &str)], collector: &str, expected: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), files);
    let (text, failure) = collect(root.path(), collector, |_| {});
    assert_eq!(failure, None);
    for line in expected {
        assert!(text.lines().any(|found| found == *line), "{line}\n{text}");
    }
}

/// Series of a server that has everything, of hardware and file systems that hosts of tests have not.
const OF_TREE: &[&str] = &[
    "node_hwmon_chip_names{chip=\"platform_coretemp_0\",chip_name=\"coretemp\"} 1",
    "node_hwmon_sensor_label{chip=\"platform_coretemp_0\",label=\"Physical id 0\",sensor=\"temp1\"} 1",
    "node_hwmon_temp_celsius{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 55",
    "node_hwmon_temp_crit_alarm_celsius{chip=\"platform_coretemp_0\",sensor=\"temp1\"} 0",
    "node_hwmon_temp_crit_hyst_celsius{chip=\"nct6779\",sensor=\"temp2\"} 77",
    "node_hwmon_fan_rpm{chip=\"nct6779\",sensor=\"fan2\"} 1098",
    "node_hwmon_fan_min_rpm{chip=\"nct6779\",sensor=\"fan2\"} 0",
    "node_hwmon_in_volts{chip=\"nct6779\",sensor=\"in0\"} 0.792",
    "node_hwmon_energy_joule_total{chip=\"nct6779\",sensor=\"energy1\"} 12.5",
    "node_nvme_info{cntlid=\"1997\",device=\"nvme0\",firmware_revision=\"1B2QEXP7\",model=\"Samsung SSD 970 PRO 512GB\",serial=\"S680HF8N190894I\",state=\"live\"} 1",
    "node_nvme_namespace_used_bytes{device=\"nvme0\",nsid=\"1\"} 2e+12",
    "node_md_state{device=\"md1\",state=\"recovering\"} 1",
    "node_md_disks{device=\"md1\",state=\"failed\"} 1",
    "node_md_disks{device=\"md1\",state=\"spare\"} 1",
    "node_md_disks_required{device=\"md1\"} 3",
    "node_md_degraded{device=\"md1\"} 1",
    "node_md_blocks_synced{device=\"md1\"} 1.6775552e+07",
    "node_edac_correctable_errors_total{controller=\"0\"} 1",
    "node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"unknown\"} 6",
    "node_edac_channel_correctable_errors_total{channel=\"0\",controller=\"0\",csrow=\"0\",dimm_label=\"CPU_SrcID0_MC0_Chan0_DIMM0\"} 7",
    "node_power_supply_online{power_supply=\"AC\"} 1",
    "node_power_supply_voltage_volt{power_supply=\"BAT0\"} 12.229",
    "node_power_supply_info{power_supply=\"BAT0\",status=\"Discharging\",type=\"Battery\"} 1",
    "node_bonding_active{master=\"bond0\"} 1",
    "node_bonding_slaves{master=\"bond0\"} 2",
    "node_btrfs_used_bytes{block_group_type=\"data\",mode=\"raid0\",uuid=\"0abb23a9-579b-43e6-ad30-227ef47fcb9d\"} 8.08189952e+08",
    "node_btrfs_allocation_ratio{block_group_type=\"metadata\",mode=\"raid1\",uuid=\"0abb23a9-579b-43e6-ad30-227ef47fcb9d\"} 2",
    "node_btrfs_device_size_bytes{device=\"loop25\",uuid=\"0abb23a9-579b-43e6-ad30-227ef47fcb9d\"} 1.073741824e+10",
    "node_zfs_arc_memory_available_bytes -9.22337203685e+11",
    "node_zfs_zpool_nread{zpool=\"tank\"} 1.88416e+06",
    "node_zfs_zpool_dataset_nread{dataset=\"tank/home\",zpool=\"tank\"} 28",
    "node_zfs_zpool_state{state=\"online\",zpool=\"tank\"} 1",
    "node_thermal_zone_temp{type=\"x86_pkg_temp\",zone=\"0\"} 12.376",
    "node_cooling_device_max_state{name=\"0\",type=\"Processor\"} 3",
    "node_rapl_package_joules_total{index=\"0\",path=\"ROOT/sys/class/powercap/intel-rapl:0\"} 240422.366267",
    "node_cpu_package_throttles_total{package=\"0\"} 30",
    "node_cpu_isolated{cpu=\"1\"} 1",
    "node_cpu_info{core=\"1\",cpu=\"1\",package=\"0\",vendor=\"GenuineIntel\"} 1",
    "node_disk_ata_write_cache_enabled{device=\"sda\"} 0",
    "node_network_flags{device=\"eth0\"} 4867",
    "node_network_speed_bytes{device=\"eth0\"} 1.25e+08",
    "node_memory_HardwareCorrupted_bytes 4096",
    "node_softnet_backlog_len{cpu=\"1\"} 6",
    "node_nf_conntrack_stat_search_restart 2",
    "node_processes_threads_state{thread_state=\"D\"} 1",
    "node_interrupts_total{cpu=\"1\",devices=\"524288-edge eth0-tx, eth0-rx\",info=\"PCI-MSI\",type=\"24\"} 330",
    "node_os_support_end_timestamp_seconds 1.845936e+09",
    "node_ipvs_backend_connections_active{local_address=\"192.168.0.22\",local_port=\"3306\",proto=\"TCP\",remote_address=\"192.168.82.22\",remote_port=\"3306\"} 248",
    "batch_last_seconds{job=\"backup\"} 1.5e+09",
];

#[test]
fn a_server_that_has_everything() {
    let tree = Tree::new();
    let mut host = Host::new(&tree.settings()).unwrap();
    // The second tick reads what the first has opened.
    for _ in 0..2 {
        let text = tree::told(&mut host).replace(&tree.root().display().to_string(), "ROOT");
        let none: [lugger::source::host::Failure; 0] = [];
        assert_eq!(host.failures(), none);
        for line in OF_TREE {
            let name = line.split(['{', ' ']).next().unwrap();
            let near: Vec<&str> = text.lines().filter(|found| found.starts_with(name)).collect();
            assert!(near.contains(line), "{line}\n{near:#?}");
        }
        let succeeded = text.lines().filter(|line| line.starts_with("node_scrape_collector_success{"));
        let failed: Vec<_> = succeeded.filter(|line| !line.ends_with(" 1")).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

/// What becomes of a host.
enum Change {
    /// A file or directory is gone.
    Gone(&'static str),
    /// The lines of a file from the one that has this up to the next that begins without white space.
    Without(&'static str, &'static str),
}

/// What goes away while the agent runs, and what is in each line of its series and in no other.
const VANISHING: &[(Change, &str)] = &[
    (Change::Without("proc/stat", "cpu1 "), "node_cpu_seconds_total{cpu=\"1\""),
    (Change::Gone("sys/devices/system/cpu/cpu1/cpufreq"), "node_cpu_scaling_frequency_hertz{cpu=\"1\""),
    (Change::Gone("sys/devices/system/cpu/cpu0/cpufreq"), "node_cpu_scaling_governor{"),
    (Change::Without("proc/diskstats", " sda "), "{device=\"sda\""),
    (Change::Without("proc/net/dev", "eth0:"), "node_network_receive_bytes_total{device=\"eth0\""),
    (Change::Gone("sys/class/net/eth0"), "node_network_mtu_bytes{device=\"eth0\""),
    (Change::Without("sys/class/net/bonding_masters", "bond0"), "node_bonding_"),
    (Change::Without("proc/net/arp", "eth0"), "node_arp_entries{device=\"eth0\""),
    (Change::Without("proc/1/mountinfo", "/var/tmp"), "mountpoint=\"/var/tmp"),
    (Change::Without("proc/interrupts", "24:"), "type=\"24\""),
    (Change::Without("proc/softirqs", "TIMER"), "type=\"TIMER\""),
    (Change::Without("proc/schedstat", "cpu0 "), "node_schedstat_running_seconds_total{cpu=\"0\""),
    (Change::Without("proc/mdstat", "md0"), "node_md_disks{device=\"md0\""),
    (Change::Gone("sys/block/md1"), "node_md_degraded{device=\"md1\""),
    (Change::Gone("sys/class/hwmon/hwmon1"), "chip=\"nct6779\""),
    (Change::Gone("sys/devices/platform/coretemp.0/hwmon/hwmon0/temp1_max"), "node_hwmon_temp_max_celsius{"),
    (Change::Gone("sys/class/hwmon/hwmon0"), "node_hwmon_"),
    (Change::Gone("sys/class/thermal/thermal_zone0"), "node_thermal_zone_temp{"),
    (Change::Gone("sys/class/thermal/cooling_device0"), "node_cooling_device_"),
    (Change::Gone("sys/class/nvme/nvme0/nvme0c0n1"), "node_nvme_namespace_"),
    (Change::Gone("sys/class/nvme/nvme0"), "node_nvme_info{"),
    (Change::Gone("sys/devices/system/edac/mc/mc0/csrow0"), "csrow=\"0\""),
    (Change::Gone("sys/devices/system/edac/mc/mc0"), "node_edac_"),
    (Change::Gone("sys/class/powercap/intel-rapl:0:0"), "node_rapl_core_joules_total"),
    (Change::Gone("sys/class/power_supply/BAT0"), "power_supply=\"BAT0\""),
    (Change::Gone("sys/fs/xfs/sda1"), "node_xfs_"),
    (Change::Gone("sys/class/watchdog/watchdog0"), "name=\"watchdog0\""),
    (Change::Gone("sys/block/dm-5"), "node_dmmultipath_"),
    (Change::Gone("sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74"), "uuid=\"deaddd54"),
    (Change::Gone("sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/devices/loop26"), "device=\"loop26\""),
    (Change::Gone("sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d"), "uuid=\"0abb23a9"),
    (Change::Gone("sys/class/fc_host/host0"), "fc_host=\"host0\""),
    (Change::Gone("sys/class/infiniband/mlx4_0"), "device=\"mlx4_0\""),
    (Change::Gone("sys/class/scsi_tape/st0"), "device=\"st0\""),
    (Change::Gone("proc/spl/kstat/zfs/tank/objset-0x1"), "node_zfs_zpool_dataset_"),
    (Change::Gone("proc/spl/kstat/zfs/tank"), "zpool=\"tank\""),
    (Change::Gone("text/batch.prom"), "batch_last_seconds"),
];

#[test]
fn what_is_there_no_more_is_told_no_more() {
    let tree = Tree::new();
    let mut host = Host::new(&tree.settings()).unwrap();
    let mut wrong = Vec::new();
    for (change, of) in VANISHING {
        let has = |text: &str| text.lines().any(|line| !line.starts_with('#') && line.contains(of));
        // What is open is told from there.
        tree::told(&mut host);
        if !has(&tree::told(&mut host)) {
            wrong.push(format!("{of} is not told"));
            continue;
        }
        match change {
            Change::Gone(path) => {
                let path = tree.path(path);
                if path.is_symlink() || path.is_file() { fs::remove_file(path) } else { fs::remove_dir_all(path) }
                    .unwrap();
            }
            Change::Without(path, begins) => {
                let path = tree.path(path);
                let text = fs::read_to_string(&path).unwrap();
                let mut leaves_out = false;
                let stays = |line: &&str| {
                    leaves_out = line.contains(begins) || leaves_out && line.starts_with(char::is_whitespace);
                    !leaves_out
                };
                let stays: String = text.split_inclusive('\n').filter(stays).collect();
                assert_ne!(stays, text, "{of}");
                fs::write(path, stays).unwrap();
            }
        }
        // Some devices are looked at closely now and then only; the kernel's own files would tell nothing at once.
        let mut ticks = 0;
        while has(&tree::told(&mut host)) && ticks <= lugger::base::limits::HOST_LOOK_TICKS {
            ticks += 1;
        }
        if has(&tree::told(&mut host)) {
            wrong.push(format!("{of} is still told"));
        }
        wrong.extend(host.failures().iter().map(|failure| format!("without {of}: {failure:?}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn many_disks_interfaces_and_processors() {
    const MANY: usize = 1500;
    let tree = Tree::of("proc/net/stat/");
    let mut disks = String::new();
    let mut interfaces = "Inter-|   Receive\n face |bytes\n".to_owned();
    let mut cpus = "cpu 1 2 3 4\n".to_owned();
    let mut md = "Personalities : [raid1]\n".to_owned();
    for number in 0..MANY {
        let (letter, rest) = (char::from(b'a' + u8::try_from(number % 26).unwrap()), number / 26);
        writeln!(disks, " 8 {number} sd{letter}x{rest} {number} 0 {number} 0 0 0 0 0 0 0 0").unwrap();
        writeln!(interfaces, "veth{number}: {number} 1 0 0 0 0 0 0 {number} 1 0 0 0 0 0 0").unwrap();
        writeln!(cpus, "cpu{number} {number} 0 0 100 0 0 0 0 0 0").unwrap();
        let class = format!("sys/class/net/veth{number}");
        tree.write(&format!("{class}/operstate"), b"up\n");
        tree.write(&format!("{class}/mtu"), format!("{number}\n").as_bytes());
        writeln!(
            md,
            "md{number} : active raid1 sdb{number}[1] sda{number}[0]\n      {number} blocks super 1.2 [2/2] [UU]\n"
        )
        .unwrap();
    }
    for (file, content) in
        [("proc/diskstats", disks), ("proc/net/dev", interfaces), ("proc/stat", cpus), ("proc/mdstat", md)]
    {
        tree.write(file, content.as_bytes());
    }
    let mut settings = tree.settings();
    settings.none();
    for name in ["cpu", "diskstats", "mdadm", "netclass", "netdev"] {
        settings.set(name, true).unwrap();
    }
    let mut host = Host::new(&settings).unwrap();
    let before = fs::read_dir("/proc/self/fd").unwrap().count();
    for _ in 0..2 {
        let told = exposition::read(&tree::told(&mut host));
        assert!(host.failures().is_empty(), "{:?}", host.failures());
        for (name, series) in [
            ("node_disk_reads_completed_total", MANY),
            ("node_network_receive_bytes_total", MANY),
            ("node_network_mtu_bytes", MANY),
            ("node_cpu_seconds_total", MANY * 8),
            ("node_md_disks", MANY * 3),
        ] {
            assert_eq!(told.get(name).map_or(0, |family| family.series.len()), series, "{name}");
        }
        let label = vec![("device".to_owned(), "veth777".to_owned())];
        assert_eq!(told["node_network_mtu_bytes"].series[&label], 777.0);
    }
    // Files of many things do not stay open one each: other tests of this process open some meanwhile.
    let after = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(after < before + MANY / 2, "{before} {after}");
}

#[test]
fn interfaces_by_their_files() {
    let dev = "Inter-|   Receive |  Transmit\n face |bytes ...\n\
               eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
    let expected = [
        "node_network_receive_multicast_total{device=\"eth0:1\"} 8",
        "node_network_transmit_carrier_total{device=\"eth0:1\"} 15",
    ];
    told(&[("proc/net/dev", dev)], "netdev", &expected);
    let class = [
        ("sys/class/net/eth0/operstate", "up\n"),
        ("sys/class/net/eth0/flags", "0x1003\n"),
        ("sys/class/net/eth0/speed", "-1\n"),
        ("sys/class/net/eth0/mtu", "1500\n"),
        ("sys/class/net/eth0/address", "01:02\n"),
        ("sys/class/net/bonding_masters", "bond0\n"),
    ];
    let expected = [
        "node_network_up{device=\"eth0\"} 1",
        "node_network_flags{device=\"eth0\"} 4099",
        "node_network_speed_bytes{device=\"eth0\"} -125000",
        "node_network_info{address=\"01:02\",adminstate=\"up\",device=\"eth0\",operstate=\"up\"} 1",
    ];
    told(&class, "netclass", &expected);
}

#[test]
fn disks_with_what_udev_knows() {
    let files = [
        (
            "proc/diskstats",
            "8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n253 0 dm-0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
        ),
        ("sys/block/sda/queue/rotational", "1\n"),
        (
            "udev/b8:0",
            "S:x\nE:ID_MODEL=M\nE:ID_SERIAL=long\nE:ID_SERIAL_SHORT=s\nE:ID_ATA=1\nE:ID_ATA_ROTATION_RATE_RPM=7200\n",
        ),
        ("udev/b253:0", "E:DM_NAME=vg-lv\nE:DM_LV_NAME=lv\nE:ID_FS_TYPE=xfs\nE:ID_FS_UUID=u\n"),
    ];
    let expected = [
        "node_disk_read_bytes_total{device=\"sda\"} 1536",
        "node_disk_flush_requests_time_seconds_total{device=\"dm-0\"} 0.017",
        "node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",model=\"M\",rotational=\"1\",serial=\"s\"} 1",
        "node_disk_ata_rotation_rate_rpm{device=\"sda\"} 7200",
        "node_disk_device_mapper_info{device=\"dm-0\",lv_name=\"lv\",name=\"vg-lv\"} 1",
        "node_disk_filesystem_info{device=\"dm-0\",type=\"xfs\",uuid=\"u\"} 1",
    ];
    told(&files, "diskstats", &expected);
}

#[test]
fn other_parts_that_this_host_may_lack() {
    let schedstat = [("proc/schedstat", "version 15\ncpu0 0 0 0 0 0 0 2000000000 500000000 7\ndomain0 1 2\n")];
    let expected =
        ["node_schedstat_running_seconds_total{cpu=\"0\"} 2", "node_schedstat_waiting_seconds_total{cpu=\"0\"} 0.5"];
    told(&schedstat, "schedstat", &expected);
    let freq = [
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1600000\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_available_governors", "performance powersave\n"),
    ];
    let expected = [
        "node_cpu_scaling_frequency_hertz{cpu=\"1\"} 1.6e+09",
        "node_cpu_scaling_governor{cpu=\"1\",governor=\"performance\"} 0",
        "node_cpu_scaling_governor{cpu=\"1\",governor=\"powersave\"} 1",
    ];
    told(&freq, "cpufreq", &expected);
    let pressure = [("proc/pressure/irq", "full avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n")];
    told(&pressure, "pressure", &["node_pressure_irq_stalled_seconds_total 2.5"]);
    let arp = "IP address HW type Flags HW address Mask Device\n1.2.3.4 0x1 0x2 aa * eth0\n1.2.3.5 0x1 0x2 aa * eth0\n";
    told(&[("proc/net/arp", arp)], "arp", &["node_arp_entries{device=\"eth0\"} 2"]);
}

#[test]
fn what_is_malformed_is_an_error_and_no_number() {
    let cases = [
        ("loadavg", "proc/loadavg", "0.1 x"),
        ("meminfo", "proc/meminfo", "MemTotal: -3 kB\n"),
        ("meminfo", "proc/meminfo", "MemTotal: 3 MB\n"),
        ("cpu", "proc/stat", "cpu0 1 2 3\n"),
        ("cpu", "proc/stat", "cpu0 1 2 3 99999999999999999999\n"),
        ("cpu", "proc/stat", ""),
        ("stat", "proc/stat", "ctxt\n"),
        ("diskstats", "proc/diskstats", "8 0 sda 1 two\n"),
        ("netdev", "proc/net/dev", "a\nb\neth0: 1 2 3\n"),
        ("netstat", "proc/net/netstat", "IpExt: InOctets\nTcpExt: 1\n"),
        ("sockstat", "proc/net/sockstat", "TCP: inuse many\n"),
        ("softnet", "proc/net/softnet_stat", "00 01\n"),
        ("vmstat", "proc/vmstat", "pgfault\n"),
        ("filefd", "proc/sys/fs/file-nr", "1 2\n"),
        ("udp_queues", "proc/net/udp", "head\n1 2 3 4 5\n"),
        ("schedstat", "proc/schedstat", "cpu0 1 2 3\n"),
        ("filesystem", "proc/1/mountinfo", "1 2 3\n"),
        ("interrupts", "proc/interrupts", "CPU0\n1: x IO-APIC timer\n"),
    ];
    for (collector, file, content) in cases {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[(file, content)]);
        let (text, failure) = collect(root.path(), collector, |_| {});
        assert!(failure.is_some_and(|what| what.contains(file)), "{collector} {content:?}\n{text}");
        assert!(text.contains(&format!("node_scrape_collector_success{{collector=\"{collector}\"}} 0")));
        // Nothing is there: no data, and no failure that would be told.
        let empty = tempfile::tempdir().unwrap();
        let (text, failure) = collect(empty.path(), collector, |_| {});
        assert!(text.contains(&format!("node_scrape_collector_success{{collector=\"{collector}\"}} 0")), "{text}");
        assert!(failure.is_none() || collector == "filesystem", "{failure:?}");
    }
}

/// A message of D-Bus, little-endian: an answer to call `serial`.
fn answer(serial: u32, body: &[u8]) -> Vec<u8> {
    let mut message = vec![b'l', 2, 0, 1];
    for number in [body.len() as u32, 1, 8] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    // The field REPLY_SERIAL, a variant of a number.
    message.extend_from_slice(&[5, 1, b'u', 0]);
    message.extend_from_slice(&serial.to_le_bytes());
    message.extend_from_slice(body);
    message
}

fn pad(out: &mut Vec<u8>, to: usize) {
    while !out.len().is_multiple_of(to) {
        out.push(0);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    pad(out, 4);
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// The body that answers a call, by the names that the call has in it.
fn body(call: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if call.contains("ListUnits") {
        let mut units = Vec::new();
        for (name, state) in [("a.service", "active"), ("b.timer", "failed"), ("c.slice", "active")] {
            pad(&mut units, 8);
            for word in [name, "x", "loaded", state, "x", "", "/unit"] {
                text(&mut units, word);
            }
            pad(&mut units, 4);
            units.extend_from_slice(&0u32.to_le_bytes());
            text(&mut units, "");
            text(&mut units, "/");
        }
        out.extend_from_slice(&(units.len() as u32).to_le_bytes());
        pad(&mut out, 8);
        out.extend_from_slice(&units);
    } else if call.contains("LastTriggerUSec") {
        out.extend_from_slice(&[1, b't', 0]);
        pad(&mut out, 8);
        out.extend_from_slice(&1_500_000u64.to_le_bytes());
    } else {
        out.extend_from_slice(&[1, b's', 0]);
        let known = [("SystemState", "running"), ("Version", "252.39-1"), ("Type", "notify")];
        text(&mut out, known.iter().find(|(name, _)| call.contains(name)).map_or("", |(_, value)| value));
    }
    out
}

#[test]
fn systemd_is_asked_for_its_units() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("run/systemd")).unwrap();
    let listener = UnixListener::bind(root.path().join("run/systemd/private")).unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut from = BufReader::new(stream.try_clone().unwrap());
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line).unwrap();
        assert!(line.starts_with(b"\0AUTH EXTERNAL "), "{line:?}");
        stream.write_all(b"OK 1234\r\n").unwrap();
        line.clear();
        from.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, b"BEGIN\r\n");
        let mut head = [0; 16];
        while from.read_exact(&mut head).is_ok() {
            let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
            let mut rest = vec![0; (number(12) as usize).next_multiple_of(8) + number(4) as usize];
            from.read_exact(&mut rest).unwrap();
            stream.write_all(&answer(number(8), &body(&String::from_utf8_lossy(&rest)))).unwrap();
        }
    });
    let (text, failure) = collect(root.path(), "systemd", |_| {});
    assert_eq!(failure, None);
    for line in [
        "node_systemd_units{state=\"active\"} 2",
        "node_systemd_units{state=\"failed\"} 1",
        "node_systemd_unit_state{name=\"a.service\",state=\"active\",type=\"notify\"} 1",
        "node_systemd_unit_state{name=\"b.timer\",state=\"active\"} 0",
        "node_systemd_timer_last_trigger_seconds{name=\"b.timer\"} 1.5",
        "node_systemd_system_running 1",
        "node_systemd_version{version=\"252.39-1\"} 252.39",
        "node_systemd_virtualization_info{virtualization_type=\"none\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("c.slice"), "{text}");
    served.join().unwrap();
    let nowhere = tempfile::tempdir().unwrap();
    let (_, failure) = collect(nowhere.path(), "systemd", |_| {});
    assert!(failure.is_some_and(|what| what.contains("/run/systemd/private")));
}
