//! lugger's own form while it is made from a Promtail file: nodes that keep the places of the Promtail file, and comments for people.
//!
//! The same nodes are read as a configuration (so that `run` and `convert` cannot differ) and printed.

use crate::config::source::Span;
use crate::config::tree::{Entry, Node, Scalar, Value};

/// A configuration in lugger's own form.
#[derive(Debug, Default)]
pub(in crate::config) struct Native {
    /// Comments at its beginning.
    pub(super) comments: Vec<String>,
    /// Top-level keys in their order.
    pub(super) sections: Vec<Section>,
}

/// A top-level key.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) comments: Vec<String>,
    pub(super) key: &'static str,
    pub(super) key_span: Span,
    pub(super) content: Content,
}

/// What stands under a top-level key.
#[derive(Debug)]
pub(super) enum Content {
    Node(Node),
    /// A list whose elements have comments of their own.
    Items(Vec<Item>),
}

/// An element of `loki` or `logs`; without a node it is comments only.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) comments: Vec<String>,
    pub(super) node: Option<Node>,
}

impl Native {
    /// The whole as one tree. `damaged`: something was reported, and what is missing in lists may be missing because of that.
    pub(in crate::config) fn to_tree(&self, span: Span, damaged: bool) -> Node {
        let entries = self.sections.iter().map(|section| {
            let value = match &section.content {
                Content::Node(node) => node.clone(),
                Content::Items(items) => {
                    let mut list = list(section.key_span, items.iter().filter_map(|item| item.node.clone()).collect());
                    list.lost.extend(damaged.then(String::new));
                    list
                }
            };
            entry(section.key, section.key_span, value)
        });
        map(span, entries.collect())
    }
}

/// Text.
pub(super) fn text(span: Span, text: impl Into<String>) -> Node {
    Node::new(span, Value::Scalar(Scalar { text: text.into(), plain: false, written: None }))
}

/// A number, a truth value or a quantity.
pub(super) fn word(span: Span, word: impl ToString) -> Node {
    Node::new(span, Value::Scalar(Scalar { text: word.to_string(), plain: true, written: None }))
}

/// A map.
pub(super) fn map(span: Span, entries: Vec<Entry>) -> Node {
    Node::new(span, Value::Map(entries))
}

/// A list.
pub(super) fn list(span: Span, items: Vec<Node>) -> Node {
    Node::new(span, Value::List(items))
}

/// An entry of a map.
pub(super) fn entry(key: impl Into<String>, key_span: Span, value: Node) -> Entry {
    Entry { key: key.into(), key_span, value }
}
