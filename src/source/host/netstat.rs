//! `netstat`: counters of the network's protocols, from /proc/net/netstat, snmp and snmp6 (proc(5)), as far as the filter takes them.
//!
//! There are some 400 of which few are taken. What a filter says of a line of names is kept until the line is another one.

use super::files::{Buffer, File, float, lines, text, words};
use super::{Collector, Fail, Filter, Settings};
use crate::model::samples::{Kind, Samples};

pub(super) struct Netstat {
    tables: [Tables; 2],
    six: File,
    /// Of each line of snmp6: its name, and the family's if it is taken.
    six_names: Vec<(Vec<u8>, Option<String>)>,
    filter: Filter,
    buffer: Buffer,
}

/// A file in which each line of values has a line of names before it.
struct Tables {
    file: File,
    heads: Vec<Head>,
}

/// A line of names: which columns are taken, and under which name.
struct Head {
    line: Vec<u8>,
    columns: Vec<(usize, String)>,
}

impl Netstat {
    pub(super) fn new(settings: &Settings) -> Netstat {
        let file = |name: &str| File::new(settings.roots.proc("net").join(name));
        Netstat {
            tables: ["netstat", "snmp"].map(|name| Tables { file: file(name), heads: Vec::new() }),
            six: file("snmp6"),
            six_names: Vec::new(),
            filter: settings.netstat_fields.clone(),
            buffer: Buffer::default(),
        }
    }
}

const HELP: &str = "A counter of the network's protocols.";

impl Tables {
    fn tell(&mut self, out: &mut Samples, filter: &Filter, buffer: &mut Buffer) -> Result<(), Fail> {
        let bytes = self.file.all_needed(buffer)?;
        let mut pairs = lines(bytes);
        let mut number = 0;
        while let (Some(names), Some(values)) = (pairs.next(), pairs.next()) {
            let malformed = || Fail::malformed(self.file.path(), text(values));
            if self.heads.get(number).is_none_or(|head| head.line != names) {
                self.heads.truncate(number);
                self.heads.push(Head::of(names, filter));
            }
            let Some(head) = self.heads.get(number) else { break };
            number += 1;
            if words(names).next() != words(values).next() {
                return Err(malformed());
            }
            let mut fields = words(values).enumerate();
            for (column, name) in &head.columns {
                let value = fields.find(|(at, _)| at == column).and_then(|(_, value)| float(value));
                out.one(name, HELP, Kind::Unknown, value.ok_or_else(malformed)?);
            }
        }
        Ok(())
    }
}

impl Head {
    fn of(line: &[u8], filter: &Filter) -> Head {
        let mut names = words(line);
        let protocol = text(names.next().unwrap_or_default()).trim_end_matches(':');
        let mut columns = Vec::new();
        for (at, field) in names.enumerate() {
            let name = format!("{protocol}_{}", text(field));
            if filter.takes(&name) {
                columns.push((at + 1, format!("node_netstat_{name}")));
            }
        }
        Head { line: line.to_vec(), columns }
    }
}

impl Collector for Netstat {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        for tables in &mut self.tables {
            tables.tell(out, &self.filter, &mut self.buffer)?;
        }
        let bytes = match self.six.all_needed(&mut self.buffer) {
            // A host without IPv6.
            Err(Fail::NoData) => return Ok(()),
            bytes => bytes?,
        };
        for (number, line) in lines(bytes).enumerate() {
            let mut fields = words(line);
            let (Some(field), Some(value)) = (fields.next(), fields.next()) else { continue };
            if self.six_names.get(number).is_none_or(|(name, _)| name != field) {
                self.six_names.truncate(number);
                self.six_names.push((field.to_vec(), six_name(text(field), &self.filter)));
            }
            if let Some((_, Some(name))) = self.six_names.get(number) {
                let value = float(value).ok_or_else(|| Fail::malformed(self.six.path(), text(line)))?;
                out.one(name, HELP, Kind::Unknown, value);
            }
        }
        Ok(())
    }
}

/// Ip6InOctets is Ip6_InOctets.
fn six_name(field: &str, filter: &Filter) -> Option<String> {
    let (protocol, name) = field.split_once('6')?;
    let name = format!("{protocol}6_{name}");
    filter.takes(&name).then(|| format!("node_netstat_{name}"))
}
