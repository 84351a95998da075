//! Files of targets as Prometheus' `file_sd_configs` read them: a list of groups, each with addresses and labels, in JSON or YAML.
//!
//! Promises: what is taken is whole: a file with a mistake gives an error and no groups; the size of what comes out is bounded, whatever aliases
//! repeat. Leaves to others: finding files, and what becomes of targets.

use crate::base::limits::{TARGETS_FILE_DEPTH, TARGETS_FILE_NODES};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// Targets with the labels that all of them have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Addresses.
    pub targets: Vec<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Why a file has no groups; the text says what to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupsError {
    /// No JSON, or not of this form.
    #[error("it is no list of targets in JSON: {0}")]
    Json(String),
    /// No YAML.
    #[error("it is no YAML: {0}")]
    Yaml(String),
    /// YAML of another form.
    #[error("line {line}: {what}")]
    Form {
        /// Where.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A label.
    #[error("{0:?} is no label name: it starts with a letter or _ and goes on with letters, digits or _")]
    Label(String),
}

/// The groups in JSON.
pub fn from_json(text: &[u8]) -> Result<Vec<Group>, GroupsError> {
    let groups = serde_json::from_slice(text).map_err(|error| GroupsError::Json(error.to_string()))?;
    checked(groups)
}

/// The groups in YAML. An empty file has none.
pub fn from_yaml(text: &str) -> Result<Vec<Group>, GroupsError> {
    let Some(root) = tree(text)? else { return Ok(Vec::new()) };
    let groups = match root.value {
        Value::List(items) => items.into_iter().map(group).collect::<Result<_, _>>()?,
        Value::Null => Vec::new(),
        _ => return Err(root.wrong("expected a list of groups, each with `targets` and `labels`")),
    };
    checked(groups)
}

fn checked(groups: Vec<Group>) -> Result<Vec<Group>, GroupsError> {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit())
    };
    match groups.iter().flat_map(|group| group.labels.keys()).find(|name| !is_name(name)) {
        Some(name) => Err(GroupsError::Label(name.clone())),
        None => Ok(groups),
    }
}

#[derive(Debug, Clone)]
struct Node {
    line: usize,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    fn wrong(&self, what: &'static str) -> GroupsError {
        GroupsError::Form { line: self.line, what }
    }

    fn weight(&self) -> usize {
        match &self.value {
            Value::Null | Value::Text(_) => 1,
            Value::List(items) => items.iter().map(Node::weight).fold(1, usize::saturating_add),
            Value::Map(pairs) => pairs
                .iter()
                .map(|(key, value)| key.weight().saturating_add(value.weight()))
                .fold(1, usize::saturating_add),
        }
    }

    fn text(self, what: &'static str) -> Result<String, GroupsError> {
        match self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong(what)),
        }
    }
}

fn group(node: Node) -> Result<Group, GroupsError> {
    let line = node.line;
    let Value::Map(pairs) = node.value else {
        return Err(node.wrong("expected a group: a map with `targets` and `labels`"));
    };
    let (mut targets, mut labels) = (None, None);
    for (key, value) in pairs {
        let key_line = key.line;
        let twice = GroupsError::Form { line: key_line, what: "this key is here for the second time" };
        match key.text("expected `targets` or `labels`")?.as_str() {
            "targets" => {
                let list = match value.value {
                    Value::List(items) => items,
                    Value::Null => Vec::new(),
                    _ => return Err(value.wrong("expected a list of addresses")),
                };
                let list = list.into_iter().map(|item| item.text("expected an address such as 127.0.0.1:9100"));
                if targets.replace(list.collect::<Result<Vec<_>, _>>()?).is_some() {
                    return Err(twice);
                }
            }
            "labels" => {
                let map = match value.value {
                    Value::Map(pairs) => pairs,
                    Value::Null => Vec::new(),
                    _ => return Err(value.wrong("expected a map of labels")),
                };
                let mut all = BTreeMap::new();
                for (name, value) in map {
                    let line = name.line;
                    let value = match value.value {
                        Value::Null => String::new(),
                        _ => value.text("expected the label's value, a text")?,
                    };
                    if all.insert(name.text("expected a label's name")?, value).is_some() {
                        return Err(GroupsError::Form { line, what: "this label is here for the second time" });
                    }
                }
                if labels.replace(all).is_some() {
                    return Err(twice);
                }
            }
            _ => {
                return Err(GroupsError::Form {
                    line: key_line,
                    what: "unknown key: a group has `targets` and `labels`",
                });
            }
        }
    }
    let targets = targets.ok_or(GroupsError::Form { line, what: "this group has no `targets`" })?;
    Ok(Group { targets, labels: labels.unwrap_or_default() })
}

/// A list or map whose end has not come yet: its items, and for a map the keys among them in turns.
struct Open {
    line: usize,
    anchor: usize,
    is_map: bool,
    items: Vec<Node>,
}

fn tree(text: &str) -> Result<Option<Node>, GroupsError> {
    let (mut open, mut root): (Vec<Open>, Option<Node>) = (Vec::new(), None);
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let (mut count, mut documents) = (0usize, 0usize);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| GroupsError::Yaml(error.to_string()))?;
        let line = span.start.line();
        let wrong = |what| GroupsError::Form { line, what };
        let (node, anchor) = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(wrong("a second document starts here: remove the `---`"));
                }
                continue;
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if open.len() >= TARGETS_FILE_DEPTH {
                    return Err(wrong("lists and maps stand too deep inside each other"));
                }
                open.push(Open { line, anchor, is_map: matches!(event, Event::MappingStart(..)), items: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, anchor, is_map, items }) = open.pop() else { continue };
                let mut items = items.into_iter();
                let value = match is_map {
                    false => Value::List(items.collect()),
                    true => Value::Map(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()),
                };
                (Node { line, value }, anchor)
            }
            Event::Alias(anchor) => {
                let node = anchors.get(&anchor).cloned();
                (node.ok_or_else(|| wrong("this alias stands inside the value that it repeats"))?, 0)
            }
            Event::Scalar(text, style, anchor, _) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::Text(text.into_owned()) };
                (Node { line, value }, anchor)
            }
        };
        // What is kept under an anchor counts once more.
        let weight =
            if anchor > 0 || !matches!(node.value, Value::Text(_)) { node.weight().saturating_mul(2) } else { 1 };
        count = count.saturating_add(weight);
        if count > TARGETS_FILE_NODES {
            return Err(wrong("the file has too many values; those that aliases repeat count too"));
        }
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        match open.last_mut() {
            Some(open) => open.items.push(node),
            None => root = Some(node),
        }
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(groups: &[Group]) -> String {
        let labels = |group: &Group| group.labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(",");
        groups
            .iter()
            .map(|group| format!("{}[{}]", group.targets.join(" "), labels(group)))
            .collect::<Vec<_>>()
            .join(";")
    }

    #[test]
    fn both_forms_give_the_same() {
        let json =
            r#"[{"targets":["a:1","b:2"],"labels":{"job":"x","n":"1"}},{"targets":[]},{"targets":["c"],"labels":{}}]"#;
        let yaml = "- targets: ['a:1', b:2]\n  labels: { job: x, n: 1 }\n- targets: []\n- labels:\n  targets:\n  - c\n";
        let expected = "a:1 b:2[job=x,n=1];[];c[]";
        assert_eq!(told(&from_json(json.as_bytes()).unwrap()), expected);
        assert_eq!(told(&from_yaml(yaml).unwrap()), expected);
        // What is JSON is YAML.
        assert_eq!(told(&from_yaml(json).unwrap()), expected);
        let aliased = "- { targets: [a], labels: &l { x: '1' } }\n- { targets: [b], labels: *l }\n";
        assert_eq!(told(&from_yaml(aliased).unwrap()), "a[x=1];b[x=1]");
        for empty in ["", "# nothing\n", "[]", "---\n"] {
            assert_eq!(from_yaml(empty), Ok(vec![]), "{empty:?}");
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, expected) in [
            ("- targets: [a]\n  lables: {}\n", "line 2: unknown key"),
            ("- labels: {}\n", "line 1: this group has no `targets`"),
            ("- targets: a\n", "line 1: expected a list of addresses"),
            ("- targets: [[a]]\n", "line 1: expected an address"),
            ("targets: [a]\n", "line 1: expected a list of groups"),
            ("- targets: [a]\n  labels: { x: [1] }\n", "line 2: expected the label's value"),
            ("- targets: [a]\n  labels: { x: 1, x: 2 }\n", "line 2: this label is here for the second time"),
            ("- targets: [a]\n  labels: { x-y: 1 }\n", "\"x-y\" is no label name"),
            ("- targets: [a\n", "it is no YAML"),
            ("- targets: [a]\n---\n- targets: [b]\n", "line 2: a second document"),
            ("- null\n", "line 1: expected a group"),
        ] {
            let error = from_yaml(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for text in ["", "{}", "[{\"targets\":[1]}]", "[{\"targets\":[],\"x\":1}]", "[{\"labels\":{}}]", "[null]"] {
            assert!(from_json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn aliases_do_not_multiply() {
        let mut text = String::from("- &a [x, x, x, x, x, x, x, x, x, x]\n");
        for (of, name) in ["b", "c", "d", "e", "f", "g", "h"].iter().enumerate() {
            let before = ["a", "b", "c", "d", "e", "f", "g"][of];
            text.push_str(&format!("- &{name} [{}]\n", vec![format!("*{before}"); 10].join(", ")));
        }
        assert!(from_yaml(&text).unwrap_err().to_string().contains("too many values"));
        assert!(from_yaml(&"[".repeat(100)).is_err());
    }
}
