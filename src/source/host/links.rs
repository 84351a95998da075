//! `netdev` and `netclass`: what went through network interfaces, and what they are.
//!
//! Both ask rtnetlink for all interfaces at once (RTM_GETLINK), where sysfs would need some twenty files of each. Six properties netlink does not tell are
//! read from /sys/class/net: speed and duplex each time, the others when the interface is new or changed. A tree elsewhere than at /proc or
//! /sys is read by its files alone, since netlink knows nothing of it: /proc/net/dev and /sys/class/net (Documentation/ABI/testing/sysfs-class-net).

use super::files::{Buffer, File, hex, lines, names, read_once, signed, text, trim, unsigned, words};
use super::netlink::{Netlink, attributes, u16_at, u32_at, u64_at};
use super::table::Table;
use super::{Collector, Fail, Filter, Settings};
use crate::base::limits::HOST_LINKS_OPEN;
use crate::model::samples::{Kind, Samples};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The message RTM_GETLINK.
pub(super) const GETLINK: u16 = 18;
/// An `ifinfomsg` that names no interface.
const ANY: [u8; 16] = [0; 16];
/// So often an answer is asked for again that was not of one moment.
const ATTEMPTS: usize = 3;

/// Families of netdev. The numbers are the places in `rtnl_link_stats64` that are added up, as /proc/net/dev does; then the place in /proc/net/dev.
const COUNTS: [(&str, &[usize], Option<usize>); 17] = [
    ("node_network_receive_bytes_total", &[2], Some(0)),
    ("node_network_receive_packets_total", &[0], Some(1)),
    ("node_network_receive_errs_total", &[4], Some(2)),
    ("node_network_receive_drop_total", &[6, 15], Some(3)),
    ("node_network_receive_fifo_total", &[14], Some(4)),
    ("node_network_receive_frame_total", &[10, 11, 12, 13], Some(5)),
    ("node_network_receive_compressed_total", &[21], Some(6)),
    ("node_network_receive_multicast_total", &[8], Some(7)),
    ("node_network_receive_nohandler_total", &[23], None),
    ("node_network_transmit_bytes_total", &[3], Some(8)),
    ("node_network_transmit_packets_total", &[1], Some(9)),
    ("node_network_transmit_errs_total", &[5], Some(10)),
    ("node_network_transmit_drop_total", &[7], Some(11)),
    ("node_network_transmit_fifo_total", &[18], Some(12)),
    ("node_network_transmit_colls_total", &[9], Some(13)),
    ("node_network_transmit_carrier_total", &[16, 17, 19, 20], Some(14)),
    ("node_network_transmit_compressed_total", &[22], Some(15)),
];

pub(super) struct Netdev {
    netlink: Option<Netlink>,
    file: File,
    filter: Filter,
    table: Table,
    buffer: Buffer,
}

impl Netdev {
    pub(super) fn new(settings: &Settings) -> Netdev {
        Netdev {
            netlink: (settings.roots.proc == Path::new("/proc")).then(|| Netlink::new(None)),
            file: File::new(settings.roots.proc("net/dev")),
            filter: settings.netdev_device.clone(),
            table: Table::new(COUNTS.len()),
            buffer: Buffer::default(),
        }
    }

    fn ask(&mut self) -> Result<(), Fail> {
        let Some(netlink) = &mut self.netlink else { return self.read() };
        let (table, filter) = (&mut self.table, &self.filter);
        for _ in 0..ATTEMPTS {
            table.clear();
            let whole = netlink.ask(GETLINK, &ANY, &mut |body| {
                let (mut name, mut counts) = (&b""[..], &b""[..]);
                for (kind, value) in attributes(body.get(ANY.len()..).unwrap_or_default()) {
                    match kind {
                        3 => name = trim(value),
                        23 => counts = value,
                        _ => {}
                    }
                }
                let name = text(name);
                if counts.is_empty() || !filter.takes(name) {
                    return;
                }
                table.row(name);
                for (column, (_, places, _)) in COUNTS.into_iter().enumerate() {
                    // An older kernel has fewer.
                    let mut values = places.iter().map_while(|place| u64_at(counts, place * 8));
                    if let Some(first) = values.next() {
                        table.set(column, values.fold(first, u64::wrapping_add) as f64);
                    }
                }
            })?;
            if whole {
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Fail> {
        let bytes = self.file.all_needed(&mut self.buffer)?;
        self.table.clear();
        // Two lines of names are first.
        for line in lines(bytes).skip(2) {
            let malformed = || Fail::malformed(self.file.path(), text(line));
            let at = memchr::memrchr(b':', line).ok_or_else(malformed)?;
            let name = text(trim(line.get(..at).unwrap_or_default()));
            if !self.filter.takes(name) {
                continue;
            }
            let mut values = [0; 16];
            let mut fields = words(line.get(at + 1..).unwrap_or_default());
            for place in &mut values {
                *place = fields.next().and_then(unsigned).ok_or_else(malformed)?;
            }
            self.table.row(name);
            for (column, (_, _, place)) in COUNTS.into_iter().enumerate() {
                if let Some(value) = place.and_then(|place| values.get(place)) {
                    self.table.set(column, *value as f64);
                }
            }
        }
        Ok(())
    }
}

impl Collector for Netdev {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        self.ask()?;
        for (column, (name, ..)) in COUNTS.into_iter().enumerate() {
            self.table.tell(out, column, (name, "A counter of a network interface.", Kind::Counter), "device");
        }
        Ok(())
    }
}

/// Numbers of netclass: files in sysfs, and families.
const NUMBERS: [(&str, &str, Kind); 17] = [
    ("addr_assign_type", "node_network_address_assign_type", Kind::Gauge),
    ("dev_id", "node_network_device_id", Kind::Gauge),
    ("name_assign_type", "node_network_name_assign_type", Kind::Gauge),
    ("carrier", "node_network_carrier", Kind::Gauge),
    ("carrier_changes", "node_network_carrier_changes_total", Kind::Counter),
    ("carrier_down_count", "node_network_carrier_down_changes_total", Kind::Counter),
    ("carrier_up_count", "node_network_carrier_up_changes_total", Kind::Counter),
    ("dormant", "node_network_dormant", Kind::Gauge),
    ("flags", "node_network_flags", Kind::Gauge),
    ("ifindex", "node_network_iface_id", Kind::Gauge),
    ("iflink", "node_network_iface_link", Kind::Gauge),
    ("link_mode", "node_network_iface_link_mode", Kind::Gauge),
    ("mtu", "node_network_mtu_bytes", Kind::Gauge),
    ("netdev_group", "node_network_net_dev_group", Kind::Gauge),
    ("tx_queue_len", "node_network_transmit_queue_length", Kind::Gauge),
    ("type", "node_network_protocol_type", Kind::Gauge),
    ("speed", "node_network_speed_bytes", Kind::Gauge),
];
/// The first of them only sysfs has; they change with the name or the address.
const SYSFS_ONLY: usize = 3;
const IFINDEX: usize = 9;
const SPEED: usize = 16;

/// Of `flags`: IFF_UP, IFF_PROMISC, and those that the kernel computes for netlink (IFF_RUNNING, IFF_LOWER_UP, IFF_DORMANT) and sysfs does not show.
const UP: u32 = 1;
const PROMISC: u32 = 0x100;
const RUNNING: u32 = 0x40;
const LOWER_UP: u32 = 0x1_0000;
const DORMANT: u32 = 0x2_0000;

/// By their numbers in netlink (RFC 2863).
const OPERSTATES: [&str; 7] = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];

pub(super) struct Netclass {
    netlink: Option<Netlink>,
    directory: PathBuf,
    filter: Filter,
    ignore_invalid_speed: bool,
    links: Vec<Link>,
    buffer: Buffer,
}

/// An interface.
struct Link {
    name: String,
    address: String,
    broadcast: String,
    alias: String,
    operstate: String,
    duplex: String,
    up: bool,
    numbers: [Option<i64>; NUMBERS.len()],
    speed_file: File,
    duplex_file: File,
    seen: bool,
}

impl Link {
    fn new(directory: &Path, name: &str) -> Link {
        let directory = directory.join(name);
        Link {
            name: name.to_owned(),
            address: String::new(),
            broadcast: String::new(),
            alias: String::new(),
            operstate: String::new(),
            duplex: String::new(),
            up: false,
            numbers: [None; NUMBERS.len()],
            speed_file: File::new(directory.join("speed")),
            duplex_file: File::new(directory.join("duplex")),
            seen: true,
        }
    }

    fn set(&mut self, file: &str, value: Option<i64>) {
        let at = NUMBERS.iter().position(|(name, ..)| *name == file);
        if let Some(place) = at.and_then(|at| self.numbers.get_mut(at)) {
            *place = value;
        }
    }

    /// Takes over what a message of rtnetlink says. Whether it is another interface than before, or has another address.
    fn note(&mut self, body: &[u8]) -> bool {
        let index = u32_at(body, 4).unwrap_or(0);
        let flags = u32_at(body, 8).unwrap_or(0);
        let new = self.numbers[IFINDEX] != Some(i64::from(index));
        let mut changed = new;
        self.up = flags & UP != 0;
        let mut promiscuous = flags & PROMISC;
        self.set("type", u16_at(body, 2).map(i64::from));
        self.set("ifindex", Some(i64::from(index)));
        self.set("iflink", Some(i64::from(index)));
        // sysfs has no answer for one that is down.
        self.set("carrier", None);
        self.set("dormant", self.up.then_some(i64::from(flags & DORMANT != 0)));
        self.operstate.clear();
        self.alias.clear();
        for (kind, value) in attributes(body.get(ANY.len()..).unwrap_or_default()) {
            let number = || u32_at(value, 0).map(i64::from);
            let small = || value.first().map(|value| i64::from(*value));
            match kind {
                1 => changed |= write_address(&mut self.address, value),
                2 => drop(write_address(&mut self.broadcast, value)),
                4 => self.set("mtu", number()),
                // Of an interface in another namespace it may be any number.
                5 => self.set("iflink", number()),
                13 => self.set("tx_queue_len", number()),
                16 => {
                    let at = value.first().copied().unwrap_or(0);
                    self.operstate.push_str(OPERSTATES.get(usize::from(at)).copied().unwrap_or("unknown"));
                }
                17 => self.set("link_mode", small()),
                20 => self.alias.push_str(text(trim(value))),
                27 => self.set("netdev_group", number()),
                30 if number() != Some(0) => promiscuous = PROMISC,
                33 if self.up => self.set("carrier", small()),
                35 => self.set("carrier_changes", number()),
                47 => self.set("carrier_up_count", number()),
                48 => self.set("carrier_down_count", number()),
                _ => {}
            }
        }
        self.set("flags", Some(i64::from(flags & !(RUNNING | LOWER_UP | DORMANT | PROMISC) | promiscuous)));
        changed
    }

    /// What sysfs says of it, all or what netlink does not tell. What is not understood is left out; the last such is returned.
    fn read(&mut self, directory: &Path, all: bool, buffer: &mut Buffer) -> Result<(), Fail> {
        let directory = directory.join(&self.name);
        let count = if all { SPEED } else { SYSFS_ONLY };
        let mut failed = Ok(());
        for ((file, ..), place) in NUMBERS.iter().zip(&mut self.numbers).take(count) {
            let path = directory.join(file);
            *place = read_once(&path, buffer).ok().and_then(|word| number(&path, word, &mut failed));
        }
        if all {
            for (file, place) in [
                ("address", &mut self.address),
                ("broadcast", &mut self.broadcast),
                ("ifalias", &mut self.alias),
                ("operstate", &mut self.operstate),
            ] {
                place.clear();
                place.push_str(read_once(&directory.join(file), buffer).map_or("", text));
            }
            self.up = true;
        }
        failed
    }

    /// Speed and duplex, which take the device's driver and its lock: not of one that is down, for which there is no answer.
    fn read_speed(&mut self, keep: bool, buffer: &mut Buffer) -> Result<(), Fail> {
        self.numbers[SPEED] = None;
        self.duplex.clear();
        if !self.up {
            return Ok(());
        }
        let mut failed = Ok(());
        let word = if keep { self.speed_file.word(buffer) } else { read_once(self.speed_file.path(), buffer) };
        let speed = word.ok().and_then(|word| number(self.speed_file.path(), word, &mut failed));
        self.numbers[SPEED] = speed.map(|mbit| mbit.saturating_mul(125_000));
        let word = if keep { self.duplex_file.word(buffer) } else { read_once(self.duplex_file.path(), buffer) };
        self.duplex.push_str(word.map_or("", text));
        failed
    }
}

/// The number that an attribute says; none, and a failure, if it says something else.
fn number(path: &Path, word: &[u8], failed: &mut Result<(), Fail>) -> Option<i64> {
    let number =
        if word.starts_with(b"0x") { hex(word).and_then(|number| i64::try_from(number).ok()) } else { signed(word) };
    if number.is_none() {
        *failed = Err(Fail::malformed(path, format_args!("'{}' is no number", text(word))));
    }
    number
}

/// Writes an address of bytes as sysfs does; whether it is another one than before.
fn write_address(place: &mut String, bytes: &[u8]) -> bool {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        let colon = if text.is_empty() { "" } else { ":" };
        // A string takes everything.
        let _ = write!(text, "{colon}{byte:02x}");
    }
    let changed = *place != text;
    *place = text;
    changed
}

impl Netclass {
    pub(super) fn new(settings: &Settings) -> Netclass {
        Netclass {
            netlink: (settings.roots.sys == Path::new("/sys")).then(|| Netlink::new(None)),
            directory: settings.roots.sys("class/net"),
            filter: settings.netclass_device.clone(),
            ignore_invalid_speed: settings.netclass_ignore_invalid_speed,
            links: Vec::new(),
            buffer: Buffer::default(),
        }
    }

    fn ask(&mut self, failed: &mut Result<(), Fail>) -> Result<(), Fail> {
        let Some(netlink) = &mut self.netlink else { return self.read(failed) };
        // IFLA_EXT_MASK with RTEXT_FILTER_SKIP_STATS: counters are netdev's.
        let mut request = [0; 24];
        for (at, bytes) in [(16, 8u16.to_ne_bytes()), (18, 29u16.to_ne_bytes()), (20, 8u16.to_ne_bytes())] {
            if let Some(place) = request.get_mut(at..at + 2) {
                place.copy_from_slice(&bytes);
            }
        }
        let (links, buffer) = (&mut self.links, &mut self.buffer);
        let (directory, filter) = (&self.directory, &self.filter);
        for _ in 0..ATTEMPTS {
            links.iter_mut().for_each(|link| link.seen = false);
            let whole = netlink.ask(GETLINK, &request, &mut |body| {
                let mut attributes = attributes(body.get(ANY.len()..).unwrap_or_default());
                let Some((_, name)) = attributes.find(|(kind, _)| *kind == 3) else { return };
                let name = text(trim(name));
                if !filter.takes(name) {
                    return;
                }
                let link = match links.iter().position(|link| link.name == name) {
                    Some(at) => links.get_mut(at),
                    None => {
                        links.push(Link::new(directory, name));
                        links.last_mut()
                    }
                };
                let Some(link) = link else { return };
                link.seen = true;
                if link.note(body)
                    && let Err(fail) = link.read(directory, false, buffer)
                {
                    *failed = Err(fail);
                }
            })?;
            if whole {
                break;
            }
        }
        links.retain(|link| link.seen);
        Ok(())
    }

    fn read(&mut self, failed: &mut Result<(), Fail>) -> Result<(), Fail> {
        let names = names(&self.directory)?;
        self.links.clear();
        for name in names.iter().filter(|name| self.filter.takes(name)) {
            // bonding_masters is a file there.
            if !self.directory.join(name).is_dir() {
                continue;
            }
            let mut link = Link::new(&self.directory, name);
            if let Err(fail) = link.read(&self.directory, true, &mut self.buffer) {
                *failed = Err(fail);
            }
            self.links.push(link);
        }
        if self.links.is_empty() { Err(Fail::NoData) } else { Ok(()) }
    }
}

impl Collector for Netclass {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let mut failed = Ok(());
        self.ask(&mut failed)?;
        let keep = self.links.len() <= HOST_LINKS_OPEN;
        for link in &mut self.links {
            if let Err(fail) = link.read_speed(keep, &mut self.buffer) {
                failed = Err(fail);
            }
        }
        if self.links.is_empty() {
            return failed;
        }
        out.family("node_network_up", "Whether an interface is up.", Kind::Gauge);
        for link in &self.links {
            out.add(&[("device", &link.name)], f64::from(u8::from(link.operstate == "up")));
        }
        out.family("node_network_info", "What an interface is.", Kind::Gauge);
        for link in &self.links {
            let flags =
                NUMBERS.iter().zip(link.numbers).find(|((file, ..), _)| *file == "flags").and_then(|(_, flags)| flags);
            let admin = match flags {
                None => "unknown",
                Some(flags) if flags & i64::from(UP) != 0 => "up",
                Some(_) => "down",
            };
            let labels = [
                ("address", link.address.as_str()),
                ("adminstate", admin),
                ("broadcast", &link.broadcast),
                ("device", &link.name),
                ("duplex", &link.duplex),
                ("ifalias", &link.alias),
                ("operstate", &link.operstate),
            ];
            out.add(&labels, 1.0);
        }
        for (at, (_, name, kind)) in NUMBERS.into_iter().enumerate() {
            let mut begun = false;
            for link in &self.links {
                let Some(value) = link.numbers.get(at).copied().flatten() else { continue };
                if at == SPEED && value < 0 && self.ignore_invalid_speed {
                    continue;
                }
                if !std::mem::replace(&mut begun, true) {
                    out.family(name, "A property of a network interface.", kind);
                }
                out.add(&[("device", &link.name)], value as f64);
            }
        }
        failed
    }
}
