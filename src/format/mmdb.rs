//! Databases of addresses in MaxMind's format (`.mmdb`, version 2): what is known of an IP address.
//!
//! The whole file is held in memory, once for all who ask. Mapping it would save the copy, but a mapped file that somebody writes anew in its
//! place, instead of renaming another one to it, ends the process by a signal.
//!
//! Promises: finding a record allocates nothing; a damaged database gives errors or no records, and does not panic. Leaves to others: reading
//! the file, remembering what was found.

use crate::base::limits::GEOIP_DEPTH;
use crate::format::json::quote;
use crate::model::value::{Kind as ValueKind, Value};
use maxminddb::{LookupResult, MaxMindDbError, Reader};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::slice::IterMut;

/// A database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("this is no database of addresses: {0}")]
pub struct DatabaseError(String);

/// What tells a file's content apart from an earlier one, without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Where it is.
    pub path: PathBuf,
    /// Device and inode.
    pub file: (u64, u64),
    /// Length, bytes.
    pub len: u64,
    /// When it was written last: seconds and nanoseconds.
    pub written: (i64, i64),
}

/// An open database. Two are equal if they are of the same file as it was then.
pub struct Database {
    stamp: Stamp,
    reader: Reader<Vec<u8>>,
}

impl Database {
    /// A database from the bytes of its file.
    ///
    /// # Errors
    /// The bytes are not in the format.
    pub fn new(stamp: Stamp, bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        let reader = Reader::from_source(bytes).map_err(|error| DatabaseError(error.to_string()))?;
        Ok(Database { stamp, reader })
    }

    /// The file that it was read from.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// What it calls itself, such as `GeoLite2-City`.
    pub fn called(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// What is known of an address. An IPv4 address that is written as IPv6 is one of IPv4.
    pub fn find(&self, address: IpAddr) -> Option<Record<'_>> {
        // The only error is an IPv6 address in a database of IPv4.
        let found = self.reader.lookup(address.to_canonical()).ok()?;
        found.offset().map(|number| Record { number, found })
    }
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        self.stamp == other.stamp
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("stamp", &self.stamp).field("called", &self.called()).finish()
    }
}

/// What is known of the addresses of one or many networks.
pub struct Record<'a> {
    number: usize,
    found: LookupResult<'a, Vec<u8>>,
}

/// One thing that is taken from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name as Promtail and Alloy have it.
    pub name: &'static str,
    /// Whether Promtail makes a label of it.
    pub is_label: bool,
}

const fn label(name: &'static str) -> Field {
    Field { name, is_label: true }
}

/// What Alloy has and Promtail has not.
const fn key(name: &'static str) -> Field {
    Field { name, is_label: false }
}

const CITY: [Field; 11] = [
    label("geoip_city_name"),
    label("geoip_country_name"),
    key("geoip_country_code"),
    label("geoip_continent_name"),
    label("geoip_continent_code"),
    label("geoip_location_latitude"),
    label("geoip_location_longitude"),
    label("geoip_postal_code"),
    label("geoip_timezone"),
    label("geoip_subdivision_name"),
    label("geoip_subdivision_code"),
];
const COUNTRY: [Field; 4] = [
    label("geoip_country_name"),
    key("geoip_country_code"),
    label("geoip_continent_name"),
    label("geoip_continent_code"),
];
const ASN: [Field; 2] = [label("geoip_autonomous_system_number"), label("geoip_autonomous_system_organization")];

/// What is taken from records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Places down to cities.
    City,
    /// Countries.
    Country,
    /// Networks and who runs them.
    Asn,
}

impl Kind {
    /// All, by the names of `db_type`.
    pub const NAMES: [(&'static str, Kind); 3] = [("city", Kind::City), ("asn", Kind::Asn), ("country", Kind::Country)];

    /// What is taken, in the order of [`Record::fields`].
    pub fn fields(self) -> &'static [Field] {
        match self {
            Kind::City => &CITY,
            Kind::Country => &COUNTRY,
            Kind::Asn => &ASN,
        }
    }

    /// Whether a database that calls itself so has this. What is unknown is taken to have it.
    pub fn is_in(self, called: &str) -> bool {
        let called = called.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| called.contains(word));
        let (networks, cities, countries) = (&["asn"], &["city"], &["country"]);
        match self {
            Kind::City => !has(networks) && !has(countries) || has(cities),
            Kind::Country => !has(networks) || has(cities) || has(countries),
            Kind::Asn => !has(cities) && !has(countries) || has(networks),
        }
    }
}

/// The parts of records that are used. Everything may be missing, and what is beside it is passed over.
mod parts {
    use super::{Degrees, Last};
    use serde::Deserialize;

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub struct Names<'a> {
        pub en: Option<&'a str>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub struct Named<'a> {
        #[serde(borrow)]
        pub names: Names<'a>,
        pub code: Option<&'a str>,
        pub iso_code: Option<&'a str>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub struct Location<'a> {
        pub latitude: Option<Degrees>,
        pub longitude: Option<Degrees>,
        pub time_zone: Option<&'a str>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub struct Postal<'a> {
        pub code: Option<&'a str>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub struct Country<'a> {
        #[serde(borrow)]
        pub country: Named<'a>,
        pub continent: Named<'a>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub struct City<'a> {
        #[serde(borrow)]
        pub city: Named<'a>,
        pub country: Named<'a>,
        pub continent: Named<'a>,
        pub location: Location<'a>,
        pub postal: Postal<'a>,
        pub subdivisions: Last<'a>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub struct Asn<'a> {
        pub autonomous_system_number: Option<u32>,
        pub autonomous_system_organization: Option<&'a str>,
    }
}

/// The last one of a list: the most specific part of a country.
#[derive(Default)]
struct Last<'a>(parts::Named<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Last<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Last<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Last<'de>, A::Error> {
                let mut last = parts::Named::default();
                while let Some(next) = list.next_element()? {
                    last = next;
                }
                Ok(Last(last))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Values on their way into a row of places.
struct Row<'a, 'o> {
    scratch: &'a mut String,
    out: IterMut<'o, Option<Value>>,
}

impl Row<'_, '_> {
    fn next(&mut self, value: Option<Value>) {
        if let Some(place) = self.out.next() {
            *place = value;
        }
    }

    fn text(&mut self, text: Option<&str>) {
        let value = text.filter(|text| !text.is_empty()).map(|text| Value::push(self.scratch, text));
        self.next(value);
    }

    fn number(&mut self, number: Option<impl fmt::Display>) {
        let value = number.map(|number| {
            let start = self.scratch.len();
            // Writing to a String cannot fail.
            let _ = write!(self.scratch, "{number}");
            Value::in_scratch(start..self.scratch.len()).with_kind(ValueKind::Number)
        });
        self.next(value);
    }
}

/// Degrees as Go prints a float64: the fewest digits, with an exponent below 0.0001.
#[derive(Clone, Copy)]
struct Degrees(f64);

impl<'de> Deserialize<'de> for Degrees {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Degrees;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of either precision")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Degrees, E> {
                Ok(Degrees(number))
            }
        }
        // Asked for one precision, the reader refuses the other.
        deserializer.deserialize_any(Number)
    }
}

impl fmt::Display for Degrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Degrees(value) = *self;
        if value != 0.0 && value.abs() < 1e-4 {
            let written = format!("{value:e}");
            let (digits, exponent) = written.split_once("e-").unwrap_or((&written, "0"));
            write!(f, "{digits}e-{exponent:0>2}")
        } else {
            write!(f, "{value}")
        }
    }
}

impl Record<'_> {
    /// Tells records of a database apart.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Puts the values of a kind's fields into `out`, in their order, with their text in `scratch`. What the record has not, or has empty, is
    /// `None`. A record whose parts are not of their types has no fields.
    pub fn fields(&self, kind: Kind, scratch: &mut String, out: &mut [Option<Value>]) {
        out.fill(None);
        let mut row = Row { scratch, out: out.iter_mut() };
        // What it says is about this record alone, and the database is not ours to mend.
        let _ = match kind {
            Kind::City => self.city(&mut row),
            Kind::Country => self.country(&mut row),
            Kind::Asn => self.asn(&mut row),
        };
    }

    fn city(&self, row: &mut Row<'_, '_>) -> Result<(), MaxMindDbError> {
        let Some(record) = self.found.decode::<parts::City<'_>>()? else { return Ok(()) };
        row.text(record.city.names.en);
        row.text(record.country.names.en);
        row.text(record.country.iso_code);
        row.text(record.continent.names.en);
        row.text(record.continent.code);
        // One without the other is no place.
        let place = record.location.latitude.zip(record.location.longitude);
        row.number(place.map(|(latitude, _)| latitude));
        row.number(place.map(|(_, longitude)| longitude));
        row.text(record.postal.code);
        row.text(record.location.time_zone);
        row.text(record.subdivisions.0.names.en);
        row.text(record.subdivisions.0.iso_code);
        Ok(())
    }

    fn country(&self, row: &mut Row<'_, '_>) -> Result<(), MaxMindDbError> {
        let Some(record) = self.found.decode::<parts::Country<'_>>()? else { return Ok(()) };
        row.text(record.country.names.en);
        row.text(record.country.iso_code);
        row.text(record.continent.names.en);
        row.text(record.continent.code);
        Ok(())
    }

    fn asn(&self, row: &mut Row<'_, '_>) -> Result<(), MaxMindDbError> {
        let Some(record) = self.found.decode::<parts::Asn<'_>>()? else { return Ok(()) };
        row.number(record.autonomous_system_number.filter(|number| *number != 0));
        row.text(record.autonomous_system_organization);
        Ok(())
    }

    /// The whole record as JSON; bytes, which JSON has not, are null. `None`: it is damaged.
    pub fn json(&self) -> Option<String> {
        self.found.decode::<Json>().ok().flatten().map(|Json(text)| text)
    }
}

/// Any value as JSON.
struct Json(String);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue { depth: 0 })
    }
}

/// A value inside of so many others.
#[derive(Clone, Copy)]
struct AnyValue {
    depth: usize,
}

impl AnyValue {
    /// A value inside of this one. What is nested deeper is refused, as reading it takes stack.
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.depth >= GEOIP_DEPTH {
            Err(E::custom("it is nested too deeply"))
        } else {
            Ok(AnyValue { depth: self.depth + 1 })
        }
    }
}

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Json, E> {
        Ok(Json(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json(if value.is_finite() { value.to_string() } else { "null".to_owned() }))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        let mut json = String::new();
        quote(text, &mut json);
        Ok(Json(json))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Json, E> {
        Ok(Json("null".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut json = String::from("[");
        let inner = self.inner()?;
        while let Some(Json(value)) = list.next_element_seed(inner)? {
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(&value);
        }
        json.push(']');
        Ok(Json(json))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut json = String::from("{");
        let inner = self.inner()?;
        while let Some(name) = map.next_key::<&str>()? {
            if json.len() > 1 {
                json.push(',');
            }
            quote(name, &mut json);
            json.push(':');
            let Json(value) = map.next_value_seed(inner)?;
            json.push_str(&value);
        }
        json.push('}');
        Ok(Json(json))
    }
}
