//! Values of a template while it runs, and how Go prints them.
//!
//! Promises: lists and maps are bounded in size and depth, so that printing them ends. Leaves to others: what is done with them.

use super::RenderError;
use crate::base::limits::{TEMPLATE_ELEMENTS, TEMPLATE_TEXT_BYTES, TEMPLATE_VALUE_DEPTH};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

#[derive(Debug, Clone, Default)]
pub(super) enum Val<'t> {
    /// A missing key, or Go's nil.
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'t, str>),
    List(Rc<List<'t>>),
    Map(Rc<Map<'t>>),
    /// Nanoseconds since 1970.
    Time(i64),
}

#[derive(Debug)]
pub(super) struct List<'t> {
    pub items: Vec<Val<'t>>,
    depth: u16,
}

#[derive(Debug)]
pub(super) struct Map<'t> {
    pub items: BTreeMap<String, Val<'t>>,
    depth: u16,
}

/// Fails when a text has become too large.
pub(super) fn bounded(len: usize) -> Result<(), RenderError> {
    if len > TEMPLATE_TEXT_BYTES { Err(RenderError::TooLarge(TEMPLATE_TEXT_BYTES)) } else { Ok(()) }
}

fn depth_over<'v, 't: 'v>(values: impl Iterator<Item = &'v Val<'t>>, count: usize) -> Result<u16, RenderError> {
    let depth = 1 + values.map(Val::depth).max().unwrap_or(0);
    if depth > TEMPLATE_VALUE_DEPTH || count > TEMPLATE_ELEMENTS {
        return Err(RenderError::TooMuch);
    }
    Ok(depth)
}

impl<'t> Val<'t> {
    pub(super) fn text(text: impl Into<Cow<'t, str>>) -> Val<'t> {
        Val::Text(text.into())
    }

    pub(super) fn list(items: Vec<Val<'t>>) -> Result<Val<'t>, RenderError> {
        let depth = depth_over(items.iter(), items.len())?;
        Ok(Val::List(Rc::new(List { items, depth })))
    }

    pub(super) fn map(items: BTreeMap<String, Val<'t>>) -> Result<Val<'t>, RenderError> {
        let depth = depth_over(items.values(), items.len())?;
        Ok(Val::Map(Rc::new(Map { items, depth })))
    }

    fn depth(&self) -> u16 {
        match self {
            Val::List(list) => list.depth,
            Val::Map(map) => map.depth,
            _ => 0,
        }
    }

    /// Go's notion of true: anything but nil, false, zero and what is empty.
    pub(super) fn truth(&self) -> bool {
        match self {
            Val::Nil => false,
            Val::Bool(value) => *value,
            Val::Int(value) => *value != 0,
            Val::Float(value) => *value != 0.0,
            Val::Text(text) => !text.is_empty(),
            Val::List(list) => !list.items.is_empty(),
            Val::Map(map) => !map.items.is_empty(),
            Val::Time(_) => true,
        }
    }

    /// What it is, for messages and for `kindOf`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Val::Nil => "invalid",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Float(_) => "float64",
            Val::Text(_) => "string",
            Val::List(_) => "slice",
            Val::Map(_) => "map",
            Val::Time(_) => "struct",
        }
    }

    /// Its type in Go.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Val::Nil => "<nil>",
            Val::List(_) => "[]interface {}",
            Val::Map(_) => "map[string]interface {}",
            Val::Time(_) => "time.Time",
            _ => self.kind(),
        }
    }

    /// What it is, in words.
    pub(super) fn described(&self) -> &'static str {
        match self {
            Val::Nil => "no value",
            Val::Bool(_) => "true or false",
            Val::Int(_) => "a whole number",
            Val::Float(_) => "a number with a fraction",
            Val::Text(_) => "text",
            Val::List(_) => "a list",
            Val::Map(_) => "a map",
            Val::Time(_) => "a time",
        }
    }

    /// Appends it as an action prints it: nil is `<no value>`.
    pub(super) fn print(&self, out: &mut String) -> Result<(), RenderError> {
        match self {
            Val::Nil => out.push_str("<no value>"),
            _ => return self.show(out),
        }
        bounded(out.len())
    }

    /// Appends it as Go's `%v` does: nil is `<nil>`.
    pub(super) fn show(&self, out: &mut String) -> Result<(), RenderError> {
        bounded(out.len())?;
        match self {
            Val::Nil => out.push_str("<nil>"),
            Val::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Val::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Val::Float(value) => float(*value, out),
            Val::Text(text) => {
                bounded(out.len() + text.len())?;
                out.push_str(text);
            }
            Val::List(list) => {
                out.push('[');
                for (index, item) in list.items.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    item.show(out)?;
                }
                out.push(']');
            }
            Val::Map(map) => {
                out.push_str("map[");
                for (index, (key, item)) in map.items.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    out.push_str(key);
                    out.push(':');
                    item.show(out)?;
                }
                out.push(']');
            }
            // As Go's Time.String in UTC.
            Val::Time(ns) => super::lists::print_time("2006-01-02 15:04:05.999999999 -0700 MST", None, *ns, out),
        }
        bounded(out.len())
    }
}

/// Go's `%v` of a float64: the fewest digits, with an exponent below -4 and from a million on.
pub(super) fn float(value: f64, out: &mut String) {
    shortest(value, 6, out);
}

/// The fewest digits that give the same number; an exponent below -4 and from `large` on.
pub(super) fn shortest(value: f64, large: i32, out: &mut String) {
    if value.is_nan() || value.is_infinite() {
        out.push_str(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        });
        return;
    }
    let exponent = exponent(value);
    let _ = if exponent < -4 || exponent >= large {
        let written = format!("{value:e}");
        let (digits, _) = written.split_once('e').unwrap_or((&written, ""));
        write!(out, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    } else {
        write!(out, "{value}")
    };
}

/// The decimal exponent of the shortest form; 0 for 0.
pub(super) fn exponent(value: f64) -> i32 {
    let written = format!("{value:e}");
    written.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}
