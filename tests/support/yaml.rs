//! YAML files as trees of JSON, for tests that look into files of other programs. Aliases and tags are not used by them, and fail.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The documents of a file; it has to be right, and no key may come twice.
#[track_caller]
pub fn documents(text: &str) -> Vec<Value> {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap_or_else(|error| panic!("{error}\n{text}")).0);
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        match event {
            Event::DocumentStart(_) => {
                let first = events.next().expect("a document has a value");
                documents.push(value(first, &mut events));
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    documents
}

/// The document of a file that has one.
#[track_caller]
pub fn document(text: &str) -> Value {
    let mut all = documents(text);
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

fn value<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, None) => plain(&text),
        Event::Scalar(text, _, _, None) => Value::String(text.into_owned()),
        Event::SequenceStart(_, None) => {
            let mut items = Vec::new();
            loop {
                match events.next().expect("a list ends") {
                    Event::SequenceEnd => return Value::Array(items),
                    item => items.push(value(item, events)),
                }
            }
        }
        Event::MappingStart(_, None) => {
            let mut entries = Map::new();
            loop {
                let key = match events.next().expect("a mapping ends") {
                    Event::MappingEnd => return Value::Object(entries),
                    Event::Scalar(key, ..) => key.into_owned(),
                    other => panic!("a key is {other:?}"),
                };
                let next = events.next().expect("a key has a value");
                let content = value(next, events);
                assert!(entries.insert(key.clone(), content).is_none(), "the key {key:?} comes twice");
            }
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}
