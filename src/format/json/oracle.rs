//! For tests: any JSON, and a slow and plain reading of it to compare with.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Any JSON that a float64 can hold, with few and short names so that paths meet.
pub(super) fn json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("x-y".to_owned()),
        Just("".to_owned()),
        "[a-c<\"\\\\ä\n]{0,3}"
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("serde_json is not exact for all", |n| exact(*n)).prop_map(Value::from),
        (-1000..1000_i32).prop_map(|n| Value::from(f64::from(n) / 100.0)),
        ".{0,12}".prop_map(Value::from),
        "[a-z\"\\\\\n\t/<>&]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..5).prop_map(|members| Value::from(Map::from_iter(members))),
        ]
    })
}

/// Whether two trees are the same, all numbers taken as floats, which is how Go reads them. These may differ by what serde_json is off.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap_or(0.0), other.as_f64().unwrap_or(0.0));
            (one - other).abs() <= one.abs() * 4.0 * f64::EPSILON
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, a)| other.get(key).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

/// Whether serde_json, as it is built here, reads a float as what it wrote. It may be a bit off.
fn exact(number: f64) -> bool {
    serde_json::from_str(&Value::from(number).to_string()).is_ok_and(|again: Value| again.as_f64() == Some(number))
}
