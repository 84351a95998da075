//! Writes databases of addresses in MaxMind's format, version 2, from its published description.
//!
//! Promises: nothing of a reader is used; texts that were written before are pointers, as in real files. Leaves to others: networks inside
//! of each other, which these tests do not need.

use std::collections::HashMap;
use std::net::IpAddr;

/// A value of a record.
#[derive(Debug, Clone)]
pub enum Data {
    Text(String),
    Double(f64),
    Float(f32),
    Bytes(Vec<u8>),
    U16(u16),
    U32(u32),
    I32(i32),
    U64(u64),
    U128(u128),
    Bool(bool),
    Map(Vec<(String, Data)>),
    List(Vec<Data>),
}

pub fn text(text: &str) -> Data {
    Data::Text(text.to_owned())
}

pub fn map<const N: usize>(pairs: [(&str, Data); N]) -> Data {
    Data::Map(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A section of values. Pointers count from its beginning.
#[derive(Default)]
struct Section {
    bytes: Vec<u8>,
    texts: HashMap<String, usize>,
}

impl Section {
    /// The byte that says what follows, and how long it is.
    fn head(&mut self, kind: u8, len: usize) {
        let (size, more): (u8, Vec<u8>) = match len {
            0..29 => (len as u8, vec![]),
            29..285 => (29, vec![(len - 29) as u8]),
            285..65_821 => (30, ((len - 285) as u16).to_be_bytes().to_vec()),
            _ => (31, ((len - 65_821) as u32).to_be_bytes()[1..].to_vec()),
        };
        if kind <= 7 {
            self.bytes.push(kind << 5 | size);
        } else {
            self.bytes.extend([size, kind - 7]);
        }
        self.bytes.extend(more);
    }

    /// A number without the zeros before it.
    fn number(&mut self, kind: u8, bytes: &[u8]) {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        self.head(kind, bytes.len() - zeros);
        self.bytes.extend(&bytes[zeros..]);
    }

    fn pointer(&mut self, to: usize) {
        let to = to as u32;
        let (size, rest, count) = match to {
            0..2048 => (0u8, to, 1),
            2048..526_336 => (1, to - 2048, 2),
            526_336..134_744_064 => (2, to - 526_336, 3),
            _ => (3, to, 4),
        };
        let bytes = rest.to_be_bytes();
        // The highest three bits are in the first byte, but for the longest form.
        let high = if count == 4 { 0 } else { (rest >> (8 * count)) as u8 };
        self.bytes.push(1 << 5 | size << 3 | high);
        self.bytes.extend(&bytes[4 - count..]);
    }

    fn text(&mut self, text: &str) {
        if let Some(at) = self.texts.get(text).copied().filter(|_| text.len() > 2) {
            return self.pointer(at);
        }
        self.texts.insert(text.to_owned(), self.bytes.len());
        self.head(2, text.len());
        self.bytes.extend(text.as_bytes());
    }

    fn value(&mut self, value: &Data) {
        match value {
            Data::Text(text) => self.text(text),
            Data::Double(number) => {
                self.head(3, 8);
                self.bytes.extend(number.to_be_bytes());
            }
            Data::Bytes(bytes) => {
                self.head(4, bytes.len());
                self.bytes.extend(bytes);
            }
            Data::U16(number) => self.number(5, &number.to_be_bytes()),
            Data::U32(number) => self.number(6, &number.to_be_bytes()),
            Data::Map(pairs) => {
                self.head(7, pairs.len());
                for (name, value) in pairs {
                    self.text(name);
                    self.value(value);
                }
            }
            Data::I32(number) => self.number(8, &number.to_be_bytes()),
            Data::U64(number) => self.number(9, &number.to_be_bytes()),
            Data::U128(number) => self.number(10, &number.to_be_bytes()),
            Data::List(values) => {
                self.head(11, values.len());
                values.iter().for_each(|value| self.value(value));
            }
            Data::Bool(value) => self.head(14, usize::from(*value)),
            Data::Float(number) => {
                self.head(15, 4);
                self.bytes.extend(number.to_be_bytes());
            }
        }
    }
}

/// Where a bit of an address leads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Nowhere,
    Node(usize),
    /// Into the section of records.
    Record(usize),
}

/// A database while it is written.
pub struct Mmdb {
    called: String,
    version: u16,
    record_bits: u16,
    nodes: Vec<[Way; 2]>,
    records: Section,
}

impl Mmdb {
    /// `version`: 4 or 6; `record_bits`: 24, 28 or 32.
    pub fn new(called: &str, version: u16, record_bits: u16) -> Self {
        let nodes = vec![[Way::Nowhere; 2]];
        Mmdb { called: called.to_owned(), version, record_bits, nodes, records: Section::default() }
    }

    /// With what is known of a network, such as `192.0.2.0/24`.
    pub fn with(mut self, network: &str, record: &Data) -> Self {
        self.add(network, record);
        self
    }

    pub fn add(&mut self, network: &str, record: &Data) {
        let (address, bits) = network.split_once('/').unwrap();
        let bits: u32 = bits.parse().unwrap();
        // In a tree of IPv6, IPv4 is below ::/96.
        let (address, bits) = match (address.parse().unwrap(), self.version) {
            (IpAddr::V4(address), 4) => (u128::from(address.to_bits()) << 96, bits),
            (IpAddr::V4(address), 6) => (u128::from(address.to_bits()), bits + 96),
            (IpAddr::V6(address), 6) => (address.to_bits(), bits),
            other => panic!("{other:?}"),
        };
        let at = self.records.bytes.len();
        self.records.value(record);
        let mut node = 0;
        for bit in 0..bits {
            let side = (address >> (127 - bit) & 1) as usize;
            if bit + 1 == bits {
                assert_eq!(self.nodes[node][side], Way::Nowhere, "{network} is in another network or has one in it");
                self.nodes[node][side] = Way::Record(at);
                return;
            }
            node = match self.nodes[node][side] {
                Way::Node(next) => next,
                Way::Nowhere => {
                    self.nodes.push([Way::Nowhere; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][side] = Way::Node(next);
                    next
                }
                Way::Record(_) => panic!("{network} is in another network"),
            };
        }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let number = |way: Way| match way {
            Way::Node(at) => at as u32,
            Way::Nowhere => count as u32,
            Way::Record(at) => (count + 16 + at) as u32,
        };
        let mut file = Vec::new();
        for node in &self.nodes {
            let (left, right) = (number(node[0]), number(node[1]));
            let (l, r) = (left.to_be_bytes(), right.to_be_bytes());
            match self.record_bits {
                24 => file.extend([l[1], l[2], l[3], r[1], r[2], r[3]]),
                // The middle byte has the highest four bits of both.
                28 => file.extend([l[1], l[2], l[3], l[0] << 4 | r[0], r[1], r[2], r[3]]),
                32 => file.extend([l, r].concat()),
                other => panic!("{other}"),
            }
        }
        file.extend([0; 16]);
        file.extend(&self.records.bytes);
        file.extend(b"\xAB\xCD\xEFMaxMind.com");
        let mut about = Section::default();
        about.value(&map([
            ("binary_format_major_version", Data::U16(2)),
            ("binary_format_minor_version", Data::U16(0)),
            ("build_epoch", Data::U64(1_700_000_000)),
            ("database_type", text(&self.called)),
            ("description", map([("en", text("for tests"))])),
            ("ip_version", Data::U16(self.version)),
            ("languages", Data::List(vec![text("en")])),
            ("node_count", Data::U32(count as u32)),
            ("record_size", Data::U16(self.record_bits)),
        ]));
        file.extend(about.bytes);
        file
    }
}
