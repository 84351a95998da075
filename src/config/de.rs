//! Nodes to Rust types, by serde; every error with the place it belongs to, and all of them.
//!
//! A derived `Deserialize` gives up at the first error. So the value that an error is about is cut out of the tree and the whole is
//! read again, until it reads through: each round finds one more. What is missing only because it was cut out is not reported.
//!
//! Promises: a plain `5` or `true` is a text where text is wanted (people write `tenant_id: 1`), but a quoted `"true"` is no truth value;
//! wrong types are named in YAML's words. Leaves to others: which keys there are (`raw`).

use super::report::Finding;
use super::tree::{Entry, Node, Scalar, Value};
use crate::base::limits::CONFIG_PROBLEMS;
use crate::base::words::{nearest, suggest};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use std::fmt;

/// Reads `root`, which loses what does not fit. `None`: nothing could be read at all.
pub(super) fn read<T: DeserializeOwned>(root: &mut Node, findings: &mut Vec<Finding>) -> Option<T> {
    // One round more than problems are shown; the report says that there are more.
    for _ in 0..=CONFIG_PROBLEMS {
        let mut fault = match T::deserialize(De(root)) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        fault.steps.reverse();
        let suggestion = match &fault.kind {
            Kind::Unknown { key, valid } => nearest(key, valid.iter().copied()),
            _ => None,
        };
        if let Some(finding) = describe(root, &fault) {
            findings.push(finding);
        }
        if !cut(root, &fault.steps, suggestion) {
            return None;
        }
    }
    None
}

/// Removes the node at `steps`. `false`: that would be the root.
fn cut(root: &mut Node, steps: &[usize], suggestion: Option<&str>) -> bool {
    let Some((&last, parents)) = steps.split_last() else { return false };
    let mut node = root;
    for &step in parents {
        let next = match &mut node.value {
            Value::List(items) => items.get_mut(step),
            Value::Map(entries) => entries.get_mut(step).map(|entry| &mut entry.value),
            Value::Scalar(_) => None,
        };
        let Some(next) = next else { return false };
        node = next;
    }
    match &mut node.value {
        Value::List(items) if last < items.len() => {
            items.remove(last);
            node.lost.push(String::new());
        }
        Value::Map(entries) if last < entries.len() => {
            let entry = entries.remove(last);
            node.lost.push(entry.key);
            node.lost.extend(suggestion.map(str::to_owned));
        }
        _ => return false,
    }
    true
}

/// The finding of a fault; `None` if it is only the consequence of an earlier one.
fn describe(root: &Node, fault: &Fault) -> Option<Finding> {
    // The names on the way, the innermost last, and the place of the node.
    let mut keys: Vec<&str> = Vec::new();
    let mut node = root;
    let mut key_span = None;
    let mut quoted = String::new();
    for &step in &fault.steps {
        match &node.value {
            Value::List(items) => (node, key_span) = (items.get(step)?, None),
            Value::Map(entries) => {
                let entry = entries.get(step)?;
                keys.push(&entry.key);
                quoted = entry.quoted_key();
                (node, key_span) = (&entry.value, Some(entry.key_span));
            }
            Value::Scalar(_) => return None,
        }
    }
    Some(match &fault.kind {
        Kind::Unknown { key, valid } => {
            let span = key_span.unwrap_or(node.span);
            let parent = keys.iter().rev().nth(1).copied().unwrap_or("");
            if let Some(help) = unsupported(parent, key) {
                Finding::error(span, format!("{key} is not supported")).help(help)
            } else if is_for_later(parent, key) {
                Finding::error(span, format!("{key:?} is not supported by this version"))
                    .help(format!("remove it; the keys here are: {}", valid.join(", ")))
            } else {
                Finding::error(span, format!("unknown {quoted}")).help(suggest(
                    key,
                    "the keys here are",
                    valid.iter().copied(),
                ))
            }
        }
        Kind::Missing(field) if node.has_lost(field) => return None,
        Kind::Missing(field) => Finding::error(node.span, format!("{field:?} is missing")),
        Kind::Variant { valid } => {
            let text = match &node.value {
                Value::Scalar(scalar) => scalar.text.as_str(),
                _ => "",
            };
            Finding::error(node.span, format!("{text:?} is not a choice")).help(suggest(
                text,
                "the choices are",
                valid.iter().copied(),
            ))
        }
        Kind::Other { message, help } => {
            let span = if node.is_null() { key_span.unwrap_or(node.span) } else { node.span };
            let finding = Finding::error(span, message.clone());
            match help {
                Some(help) => finding.help(*help),
                None => finding,
            }
        }
    })
}

/// Keys of the configuration's plan that this version has no use for yet. Taking them silently would be worse than refusing them.
fn is_for_later(parent: &str, key: &str) -> bool {
    match parent {
        "metrics" => key == "containers",
        "loki" => matches!(key, "authorization" | "oauth2" | "queue_config"),
        _ => false,
    }
}

/// What to do without a key that Prometheus knows in this place.
fn unsupported(parent: &str, key: &str) -> Option<&'static str> {
    const TOKEN: &str = "remove it; `authorization: { credentials_file: … }` takes a token that something else renews, and reads it again when it is refused";
    if parent == "scrape" {
        return super::scrape::unsupported(key);
    }
    if parent != "remote_write" {
        return None;
    }
    Some(match key {
        "sigv4" => "remove it; run a proxy that signs requests, and put its address into `url`",
        "oauth2" | "azuread" | "google_iam" => TOKEN,
        "http_headers" => "write `headers: { Name: value }`",
        "no_proxy" => "remove it: `proxy_url` is for this endpoint alone, and without it there is no proxy",
        "proxy_connect_header" => "remove it: proxies that want headers of their own are not supported",
        _ => return None,
    })
}

/// Why a node could not be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// The way to the node, as indices of entries and elements, the innermost first.
    steps: Vec<usize>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unknown { key: String, valid: &'static [&'static str] },
    Variant { valid: &'static [&'static str] },
    Missing(&'static str),
    Other { message: String, help: Option<&'static str> },
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Fault { steps: Vec::new(), kind }
    }

    fn wrong_type(expected: impl fmt::Display, node: &Node) -> Self {
        let expected = match expected.to_string().as_str() {
            "f64" => "a number".to_owned(),
            "u64" => "a whole number from 0".to_owned(),
            other => other.to_owned(),
        };
        let help = match expected.as_str() {
            "a list" => Some("begin each element with `- ` on a line of its own, or write [a, b]"),
            "text" => Some("write one value; text with characters that mean something in YAML has to be quoted"),
            "a number" | "a whole number from 0" if is_quoted_number(node) => Some("remove the quotes"),
            map if map.starts_with("a map") => Some("write `key: value` lines, indented, or { key: value }"),
            _ => None,
        };
        Fault::new(Kind::Other { message: format!("expected {expected}, found {}", found(node)), help })
    }

    fn step(mut self, step: usize) -> Self {
        self.steps.push(step);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Unknown { key, .. } => write!(f, "unknown key {key:?}"),
            Kind::Variant { .. } => f.write_str("not a choice"),
            Kind::Missing(field) => write!(f, "{field:?} is missing"),
            Kind::Other { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::new(Kind::Other { message: message.to_string(), help: None })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a map",
            _ => "text",
        };
        Self::custom(format_args!("expected {expected}, found {found}"))
    }

    fn unknown_field(key: &str, valid: &'static [&'static str]) -> Self {
        Fault::new(Kind::Unknown { key: key.to_owned(), valid })
    }

    fn unknown_variant(_: &str, valid: &'static [&'static str]) -> Self {
        Fault::new(Kind::Variant { valid })
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::new(Kind::Missing(field))
    }
}

fn is_quoted_number(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if !scalar.plain && scalar.text.parse::<f64>().is_ok())
}

/// What a node is, in the words of the file.
fn found(node: &Node) -> &'static str {
    match &node.value {
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Scalar(scalar) if scalar.is_null() => "nothing",
        Value::Scalar(scalar) if !scalar.plain => "text in quotes",
        Value::Scalar(scalar) if truth(scalar).is_some() => "true or false",
        Value::Scalar(scalar) if scalar.text.parse::<f64>().is_ok() => "a number",
        Value::Scalar(_) => "text",
    }
}

/// By this name of a newtype a type asks for true, false or a map.
pub(super) const TRUTH_OR_MAP: &str = "true, false or a map";

/// YAML 1.2's truth values.
fn truth(scalar: &Scalar) -> Option<bool> {
    match scalar.text.as_str() {
        "true" | "True" | "TRUE" if scalar.plain => Some(true),
        "false" | "False" | "FALSE" if scalar.plain => Some(false),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct De<'a>(&'a Node);

impl<'a> De<'a> {
    fn text(self) -> Result<&'a str, Fault> {
        match &self.0.value {
            Value::Scalar(scalar) if !scalar.is_null() => Ok(&scalar.text),
            _ => Err(Fault::wrong_type("text", self.0)),
        }
    }
}

/// Numbers: plain scalars that the type can hold.
macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match &self.0.value {
                Value::Scalar(scalar) if scalar.plain => match scalar.text.parse::<$type>() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => Err(Fault::wrong_type(&visitor as &dyn de::Expected, self.0)),
                },
                _ => Err(Fault::wrong_type("a number", self.0)),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for De<'_> {
    type Error = Fault;

    /// A scalar is handed on as text: a type that wants more than one form decides by list, map or text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Scalar(scalar) if scalar.is_null() => visitor.visit_unit(),
            Value::Scalar(scalar) => visitor.visit_str(&scalar.text),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Scalar(scalar) if !scalar.is_null() => match truth(scalar) {
                Some(truth) => visitor.visit_bool(truth),
                None => {
                    let message = format!("expected true or false, found {}", found(self.0));
                    let help = if scalar.plain { "write true or false" } else { "remove the quotes" };
                    Err(Fault::new(Kind::Other { message, help: Some(help) }))
                }
            },
            _ => Err(Fault::wrong_type("true or false", self.0)),
        }
    }

    numbers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64, deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            _ if name != TRUTH_OR_MAP => visitor.visit_newtype_struct(self),
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
            Value::Scalar(scalar) if truth(scalar).is_some() || matches!(scalar.text.as_str(), "true" | "false") => {
                self.deserialize_bool(visitor)
            }
            _ => Err(Fault::wrong_type(&visitor as &dyn de::Expected, self.0)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            _ => Err(Fault::wrong_type("a list", self.0)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
            _ => Err(Fault::wrong_type("a map", self.0)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
            _ => Err(Fault::wrong_type(format_args!("a map with keys such as {}", some(fields)), self.0)),
        }
    }

    /// Externally tagged: a text, or a map with one key, the variant's name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Scalar(scalar) if !scalar.is_null() => visitor.visit_enum(scalar.text.as_str().into_deserializer()),
            Value::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Choice(entry)),
                _ => Err(Fault::wrong_type(format_args!("one of {}", some(variants)), self.0)),
            },
            _ => Err(Fault::wrong_type(format_args!("one of {}", some(variants)), self.0)),
        }
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any i128 u128
    }
}

/// The first few of a list of names.
fn some(names: &[&str]) -> String {
    names.iter().take(3).copied().collect::<Vec<_>>().join(", ")
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let index = self.next;
        let Some(item) = self.items.get(index) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(De(item)).map(Some).map_err(|fault| fault.step(index))
    }
}

struct Entries<'a> {
    entries: &'a [Entry],
    /// The entry whose key comes next.
    next: usize,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let index = self.next;
        let Some(entry) = self.entries.get(index) else { return Ok(None) };
        self.next += 1;
        let key: de::value::StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.step(index))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let index = self.next.saturating_sub(1);
        match self.entries.get(index) {
            Some(entry) => seed.deserialize(De(&entry.value)).map_err(|fault| fault.step(index)),
            None => Err(de::Error::custom("a value without its key")),
        }
    }
}

/// A map with one key, read as a variant and its content.
struct Choice<'a>(&'a Entry);

impl<'a, 'de> de::EnumAccess<'de> for Choice<'a> {
    type Error = Fault;
    type Variant = De<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, De<'a>), Fault> {
        let key: de::value::StrDeserializer<'_, Fault> = self.0.key.as_str().into_deserializer();
        let variant = seed.deserialize(key).map_err(|mut fault: Fault| {
            if let Kind::Variant { valid } = fault.kind {
                fault.kind = Kind::Unknown { key: self.0.key.clone(), valid };
            }
            fault.step(0)
        })?;
        Ok((variant, De(&self.0.value)))
    }
}

impl<'de> de::VariantAccess<'de> for De<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        if self.0.is_null() { Ok(()) } else { Err(Fault::wrong_type("nothing", self.0).step(0)) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self).map_err(|fault| fault.step(0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        de::Deserializer::deserialize_seq(self, visitor).map_err(|fault| fault.step(0))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        de::Deserializer::deserialize_struct(self, "", fields, visitor).map_err(|fault| fault.step(0))
    }
}
