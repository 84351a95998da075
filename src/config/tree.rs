//! YAML text to a tree of nodes that know their place.
//!
//! Own, on the events of `saphyr-parser`, because every message of the later steps needs the place of the value it talks about, and because
//! a key that is there twice must not win silently.
//!
//! Promises: aliases and merge keys (`<<`) are resolved, within [`CONFIG_NODES`] and [`CONFIG_DEPTH`]; a key is in a map once (of equal
//! ones the first stays and the second is reported); scalars keep whether they were plain. Leaves to others: what a scalar means
//! (`de`), what a key means (`raw`).

use super::report::Finding;
use super::source::{Pos, Span};
use crate::base::limits::{CONFIG_DEPTH, CONFIG_NODE_BYTES, CONFIG_NODES};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use std::collections::HashMap;

/// A value of the file.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it is; of a list or map, its first character.
    pub(super) span: Span,
    pub(super) value: Value,
    /// Keys that were removed from a map because they were reported; for a list, an empty text for each element. What is missing
    /// only because of that is not reported again.
    pub(super) lost: Vec<String>,
    /// Entries of a map that do not count: second ones of a key, overridden ones of `<<`. Kept because they too may hold secrets.
    pub(super) dropped: Vec<Entry>,
    /// It has an anchor or a tag, which stands before it and may not be in its span.
    pub(super) adorned: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Without quotes, not a block: it may be a number, a truth value or nothing.
    pub(super) plain: bool,
    /// Where variables of the environment were put in: what stood there before, as a configuration of lugger writes it.
    pub(super) written: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Entry {
    /// Whether nothing stands after the key; the place of such a value is the key's.
    pub(super) fn is_bare(&self) -> bool {
        self.value.span == self.key_span
    }

    /// The key as a message may have it. Without a value, or of several words, it may be a secret whose colon went missing.
    pub(super) fn quoted_key(&self) -> String {
        let is_name = self.key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '<'));
        if is_name && !self.is_bare() { format!("key {:?}", self.key) } else { "key".to_owned() }
    }
}

impl Scalar {
    /// Nothing, as YAML's core schema writes it. What comes from the environment is nothing only if it is empty: a password may be `~`.
    pub(super) fn is_null(&self) -> bool {
        self.plain
            && (self.text.is_empty()
                || (self.written.is_none() && matches!(self.text.as_str(), "~" | "null" | "Null" | "NULL")))
    }
}

impl Node {
    pub(super) fn new(span: Span, value: Value) -> Self {
        Node { span, value, lost: Vec::new(), dropped: Vec::new(), adorned: false }
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a map with this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of this key; the node itself if it has none, so that there always is a place.
    pub(super) fn child(&self, key: &str) -> &Node {
        self.entry(key).map_or(self, |entry| &entry.value)
    }

    /// The place of this key; the node's own if it has none.
    pub(super) fn key_span(&self, key: &str) -> Span {
        self.entry(key).map_or(self.span, |entry| entry.key_span)
    }

    /// The element of a list; the node itself if there is none (one value may stand for a list of one).
    pub(super) fn item(&self, index: usize) -> &Node {
        match &self.value {
            Value::List(items) => items.get(index).unwrap_or(self),
            _ => self,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// Whether `key` is missing only because it was reported and removed.
    pub(super) fn has_lost(&self, key: &str) -> bool {
        self.lost.iter().any(|lost| lost == key)
    }

    /// Whether something of this list or map was reported and removed.
    pub(super) fn is_damaged(&self) -> bool {
        !self.lost.is_empty()
    }

    /// How many values it counts for, and how deep it is.
    fn weight(&self) -> (usize, usize) {
        let inner = |nodes: &mut dyn Iterator<Item = &Node>| {
            nodes.fold((1usize, 1usize), |(count, depth), node| {
                let (c, d) = node.weight();
                (count.saturating_add(c), depth.max(d + 1))
            })
        };
        match &self.value {
            Value::Scalar(scalar) => (1 + scalar.text.len() / CONFIG_NODE_BYTES, 1),
            Value::List(items) => inner(&mut items.iter()),
            Value::Map(entries) => inner(&mut entries.iter().map(|entry| &entry.value)),
        }
    }
}

/// What a text comes to.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: Node,
    /// What was wrong and left a tree all the same.
    pub(super) findings: Vec<Finding>,
}

/// Reads one document. `Err`: there is no tree.
pub(super) fn parse(text: &str) -> Result<Parsed, Finding> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        if !builder.take(event, Span { start: pos(span.start), end: pos(span.end) })? {
            break;
        }
    }
    match builder.root {
        Some(root) if !root.is_null() => Ok(Parsed { root, findings: builder.findings }),
        _ => Err(Finding::error(Span::at(1, 1), "the configuration is empty")
            .help("it needs at least `loki`, where logs go, and `logs`, where they come from")),
    }
}

fn pos(marker: Marker) -> Pos {
    Pos { line: marker.line(), column: marker.col() + 1 }
}

/// A list or map whose end has not come yet.
struct Frame {
    span: Span,
    anchor: usize,
    kind: Open,
}

enum Open {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// Where each key is, in an index of its own: a search through `entries` would be quadratic.
        places: HashMap<String, Span>,
        /// The key whose value comes next; its text is `None` for a key that was reported and whose value is dropped.
        key: Option<(Option<String>, Span)>,
        /// Values of `<<`, in order.
        merges: Vec<Node>,
        dropped: Vec<Entry>,
    },
}

#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    findings: Vec<Finding>,
    nodes: usize,
    documents: usize,
}

impl Builder {
    /// `false`: the document is over.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<bool, Finding> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.findings.push(
                        Finding::error(Span::at(span.start.line, span.start.column), "a second document starts here")
                            .help("a configuration is one YAML document: remove the `---`"),
                    );
                    return Ok(false);
                }
            }
            Event::Alias(anchor) => {
                let node = match self.anchors.get(&anchor) {
                    Some(node) => node.clone(),
                    None => {
                        return Err(Finding::error(span, "this alias stands inside the value that it repeats")
                            .help("remove it"));
                    }
                };
                let (count, depth) = node.weight();
                self.count(count, span)?;
                self.check_depth(depth, span)?;
                self.complete(node, 0)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let adorned = anchor > 0 || tag.is_some();
                // The span of a value that is not there is that of whatever comes next.
                let missing = text.is_empty() && style == ScalarStyle::Plain && !adorned;
                let span = if missing { Span { start: span.start, end: span.start } } else { span };
                let plain = self.plain(style == ScalarStyle::Plain, tag.as_deref(), span);
                self.count(1 + text.len() / CONFIG_NODE_BYTES, span)?;
                let scalar = Scalar { text: text.into_owned(), plain, written: None };
                self.complete(Node { adorned, ..Node::new(span, Value::Scalar(scalar)) }, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", span);
                self.push(span, anchor, Open::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", span);
                let map = Open::Map {
                    entries: Vec::new(),
                    places: HashMap::new(),
                    key: None,
                    merges: Vec::new(),
                    dropped: Vec::new(),
                };
                self.push(span, anchor, map)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(frame) = self.open.pop() {
                    let node = match frame.kind {
                        Open::List(items) => Node::new(frame.span, Value::List(items)),
                        Open::Map { mut entries, mut places, merges, mut dropped, .. } => {
                            for merge in merges {
                                self.merge(merge, &mut entries, &mut places, &mut dropped);
                            }
                            Node { dropped, ..Node::new(frame.span, Value::Map(entries)) }
                        }
                    };
                    self.complete(node, frame.anchor)?;
                }
            }
        }
        Ok(true)
    }

    fn push(&mut self, span: Span, anchor: usize, kind: Open) -> Result<(), Finding> {
        let span = Span::at(span.start.line, span.start.column);
        self.count(1, span)?;
        self.check_depth(1, span)?;
        self.open.push(Frame { span, anchor, kind });
        Ok(())
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Finding> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= CONFIG_NODES {
            return Ok(());
        }
        Err(Finding::error(span, format!("the configuration has more than {CONFIG_NODES} values"))
            .help("aliases (`*name`) count as often as they are used: remove some"))
    }

    fn check_depth(&self, depth: usize, span: Span) -> Result<(), Finding> {
        if self.open.len() + depth <= CONFIG_DEPTH {
            return Ok(());
        }
        Err(Finding::error(span, format!("lists and maps stand more than {CONFIG_DEPTH} deep inside each other")))
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, mut node: Node, anchor: usize) -> Result<(), Finding> {
        if anchor > 0 {
            // The copy counts too: nested anchors would multiply.
            self.count(node.weight().0, node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|frame| &mut frame.kind) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map { key: key @ None, dropped, .. }) => {
                let span = node.span;
                let text = match node.value {
                    Value::Scalar(scalar) => Some(scalar.text),
                    Value::List(_) | Value::Map(_) => {
                        self.findings.push(
                            Finding::error(span, "a key has to be text, not a list or map")
                                .help("quote it if it is meant as text"),
                        );
                        let key_span = Span { start: span.start, end: span.start };
                        dropped.push(Entry { key: String::new(), key_span, value: node });
                        None
                    }
                };
                *key = Some((text, span));
            }
            Some(Open::Map { entries, places, key, merges, dropped }) => {
                let Some((text, key_span)) = key.take() else { return Ok(()) };
                if node.is_null() && node.span.start >= node.span.end {
                    // Where nothing stands, the parser names the place of what follows.
                    node.span = key_span;
                }
                let known = text.is_some();
                let entry = Entry { key: text.unwrap_or_default(), key_span, value: node };
                if !known {
                    dropped.push(entry);
                } else if entry.key == "<<" {
                    merges.push(entry.value);
                } else if let Some(first) = places.get(&entry.key) {
                    let Pos { line, column } = first.start;
                    self.findings.push(
                        Finding::error(key_span, format!("the {} is here for the second time", entry.quoted_key()))
                            .help(format!("the first is at line {line}, column {column}: keep one of them")),
                    );
                    dropped.push(entry);
                } else {
                    places.insert(entry.key.clone(), key_span);
                    entries.push(entry);
                }
            }
        }
        Ok(())
    }

    /// Adds what `<<` brings and the map does not have itself; of several maps the first wins.
    fn merge(
        &mut self,
        merge: Node,
        entries: &mut Vec<Entry>,
        places: &mut HashMap<String, Span>,
        dropped: &mut Vec<Entry>,
    ) {
        let maps = match merge.value {
            Value::List(items) => items,
            value => vec![Node::new(merge.span, value)],
        };
        for map in maps {
            if !matches!(map.value, Value::Map(_)) {
                let message = "`<<` takes a map, or a list of maps";
                let help = "give a map a name with &name, and repeat it with *name";
                self.findings.push(Finding::error(map.span, message).help(help));
                dropped.push(Entry { key: "<<".to_owned(), key_span: map.span, value: map });
                continue;
            }
            dropped.extend(map.dropped);
            let inherited = match map.value {
                Value::Map(inherited) => inherited,
                Value::List(_) | Value::Scalar(_) => Vec::new(),
            };
            for entry in inherited {
                if places.contains_key(&entry.key) {
                    dropped.push(entry);
                } else {
                    places.insert(entry.key.clone(), entry.key_span);
                    entries.push(entry);
                }
            }
        }
    }

    /// Whether a scalar is to be taken as a plain one: as written, unless its tag says otherwise.
    fn plain(&mut self, written: bool, tag: Option<&Tag>, span: Span) -> bool {
        match tag {
            None => written,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => false,
            Some(tag)
                if tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null") =>
            {
                true
            }
            // A lone `!` is YAML's way to say: take it as text.
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => false,
            Some(_) => {
                self.refuse_tag(span);
                written
            }
        }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, own: &str, span: Span) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == own)
        {
            self.refuse_tag(span);
        }
    }

    /// Without the tag itself: it may be a password that begins with an exclamation mark.
    fn refuse_tag(&mut self, span: Span) {
        self.findings.push(
            Finding::error(span, "a YAML tag means nothing here")
                .help("remove it; text that begins with ! has to be quoted"),
        );
    }
}

/// What the parser says, with the remedy for what people run into.
fn syntax(error: &ScanError) -> Finding {
    // It may quote a character of the file; a terminal must not act on it.
    let info = error.info().replace(char::is_control, "\u{fffd}");
    let place = pos(*error.marker());
    let finding = Finding::error(Span::at(place.line, place.column), format!("not valid YAML: {info}"));
    let help = if info.contains("tab") {
        "YAML is indented with spaces, not with tabs"
    } else if info.contains("anchor") {
        "text that begins with * or & has to be quoted, such as \"*.log\""
    } else if info.contains("mapping values are not allowed") {
        "check the indentation; text that contains \": \" has to be quoted"
    } else if info.contains("quoted scalar") {
        "a quote is opened and not closed, or the text goes on after it"
    } else if info.contains("unexpected character") || info.contains("cannot start any token") {
        "text that begins with one of @ ` % has to be quoted"
    } else if ["',' or '", "flow", "node content", "bracket", "illegal placement"]
        .iter()
        .any(|part| info.contains(part))
    {
        "a value is missing, or a comma, or a [ or { is opened and not closed"
    } else if info.contains("escape") {
        "inside double quotes a backslash begins an escape: write \\\\, or use single quotes"
    } else {
        "check the indentation of this line and the one above it"
    };
    finding.help(help)
}
