//! Running a compiled template for a line.
//!
//! Promises: ends after a bounded number of steps; texts that functions make are written into buffers that are used again.
//! Leaves to others: the functions.

use super::functions::{Function, Type};
use super::parse::{Expr, Node};
use super::value::{Val, bounded};
use super::{Lookup, RenderError};
use crate::base::limits::{TEMPLATE_BUFFER_BYTES, TEMPLATE_BUFFERS, TEMPLATE_STEPS};
use regex::Regex;
use std::borrow::Cow;

/// Runs the nodes and appends their text.
pub(super) fn render(
    nodes: &[Node],
    variables: usize,
    lookup: &dyn Lookup,
    spare: &mut Vec<String>,
    out: &mut String,
) -> Result<(), RenderError> {
    // No variable, no allocation: an empty Vec has none.
    let vars = vec![Val::Nil; variables];
    let mut env = Env { lookup, spare, vars, dot: Val::Nil, steps: 0, start: out.len() };
    env.nodes(nodes, out).map(|_| ())
}

/// What a template needs while it runs. `'t` is the template and the line, from which text is borrowed.
pub(super) struct Env<'t, 's> {
    pub lookup: &'t dyn Lookup,
    spare: &'s mut Vec<String>,
    vars: Vec<Val<'t>>,
    dot: Val<'t>,
    steps: u64,
    /// Where this template's text begins in the output.
    start: usize,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// Arguments of a call. Up to four, which nearly all calls have, lie where they are.
#[derive(Default)]
pub(super) struct Args<'t> {
    few: [Val<'t>; 4],
    len: usize,
    many: Vec<Val<'t>>,
    pub name: &'static str,
}

impl<'t> Args<'t> {
    fn push(&mut self, value: Val<'t>) {
        match self.few.get_mut(self.len) {
            Some(place) if self.many.is_empty() => {
                *place = value;
                self.len += 1;
            }
            _ => {
                if self.many.is_empty() {
                    self.many.extend(self.few.iter_mut().map(std::mem::take));
                }
                self.many.push(value);
            }
        }
    }

    pub(super) fn all(&self) -> &[Val<'t>] {
        if self.many.is_empty() { self.few.get(..self.len).unwrap_or_default() } else { &self.many }
    }

    fn all_mut(&mut self) -> &mut [Val<'t>] {
        if self.many.is_empty() { self.few.get_mut(..self.len).unwrap_or_default() } else { &mut self.many }
    }

    pub(super) fn take(&mut self, index: usize) -> Val<'t> {
        self.all_mut().get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    /// All of them, owned.
    pub(super) fn into_vec(mut self) -> Vec<Val<'t>> {
        self.all_mut().iter_mut().map(std::mem::take).collect()
    }

    pub(super) fn get(&self, index: usize) -> &Val<'t> {
        self.all().get(index).unwrap_or(&Val::Nil)
    }

    /// The text of an argument; the types were checked before.
    pub(super) fn text(&self, index: usize) -> &str {
        match self.get(index) {
            Val::Text(text) => text,
            _ => "",
        }
    }

    pub(super) fn take_text(&mut self, index: usize) -> Cow<'t, str> {
        match self.take(index) {
            Val::Text(text) => text,
            _ => Cow::Borrowed(""),
        }
    }

    pub(super) fn int(&self, index: usize) -> i64 {
        match self.get(index) {
            Val::Int(value) => *value,
            _ => 0,
        }
    }

    pub(super) fn fail<T>(&self, reason: &'static str) -> Result<T, RenderError> {
        Err(RenderError::Failed { function: self.name, reason })
    }
}

impl<'t> Env<'t, '_> {
    pub(super) fn step(&mut self) -> Result<(), RenderError> {
        self.charge(1)
    }

    /// Work beyond a step: elements, or pieces of text.
    pub(super) fn charge(&mut self, steps: usize) -> Result<(), RenderError> {
        self.steps = self.steps.saturating_add(u64::try_from(steps).unwrap_or(u64::MAX));
        if self.steps > TEMPLATE_STEPS { Err(RenderError::TooMuch) } else { Ok(()) }
    }

    /// An empty buffer for a text.
    pub(super) fn buffer(&mut self) -> String {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a value's buffer back.
    pub(super) fn give_back(&mut self, value: Val<'t>) {
        if let Val::Text(Cow::Owned(mut text)) = value
            && self.spare.len() < TEMPLATE_BUFFERS
            && text.capacity() <= TEMPLATE_BUFFER_BYTES
        {
            text.clear();
            self.spare.push(text);
        }
    }

    fn nodes(&mut self, nodes: &'t [Node], out: &mut String) -> Result<Flow, RenderError> {
        for node in nodes {
            self.step()?;
            match node {
                Node::Text(text) => {
                    bounded(out.len() - self.start + text.len())?;
                    out.push_str(text);
                }
                Node::Print(expr) => {
                    let value = self.eval(expr)?;
                    self.print(value, out)?;
                }
                Node::Set(expr) => {
                    let value = self.eval(expr)?;
                    self.give_back(value);
                }
                Node::If { condition, then, other } => {
                    let value = self.eval(condition)?;
                    let branch = if value.truth() { then } else { other };
                    self.give_back(value);
                    match self.nodes(branch, out)? {
                        Flow::On => {}
                        flow => return Ok(flow),
                    }
                }
                Node::With { value, then, other } => {
                    let value = self.eval(value)?;
                    let flow = if value.truth() {
                        let outer = std::mem::replace(&mut self.dot, value);
                        let flow = self.nodes(then, out)?;
                        self.dot = outer;
                        flow
                    } else {
                        self.nodes(other, out)?
                    };
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Range { over, key, value, body, other } => {
                    let over = self.eval(over)?;
                    self.range(over, [*key, *value], body, other, out)?;
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::On)
    }

    fn print(&mut self, value: Val<'t>, out: &mut String) -> Result<(), RenderError> {
        if let Val::Text(text) = &value {
            bounded(out.len() - self.start + text.len())?;
            out.push_str(text);
        } else {
            // By way of a buffer: the bound is of this template's text alone.
            let mut buffer = self.buffer();
            value.print(&mut buffer)?;
            bounded(out.len() - self.start + buffer.len())?;
            out.push_str(&buffer);
            self.give_back(Val::Text(Cow::Owned(buffer)));
        }
        self.give_back(value);
        Ok(())
    }

    fn range(
        &mut self,
        over: Val<'t>,
        names: [Option<usize>; 2],
        body: &'t [Node],
        other: &'t [Node],
        out: &mut String,
    ) -> Result<(), RenderError> {
        let outer = std::mem::take(&mut self.dot);
        let mut turns = 0u32;
        let mut turn = |env: &mut Self, key: Val<'t>, value: Val<'t>, out: &mut String| {
            turns += 1;
            env.step()?;
            let [key_name, value_name] = names;
            if let Some(place) = key_name.and_then(|index| env.vars.get_mut(index)) {
                *place = key;
            }
            if let Some(place) = value_name.and_then(|index| env.vars.get_mut(index)) {
                *place = value.clone();
            }
            env.dot = value;
            env.nodes(body, out).map(|flow| flow != Flow::Break)
        };
        match &over {
            Val::Nil => {}
            Val::List(list) => {
                for (index, item) in (0i64..).zip(&list.items) {
                    if !turn(self, Val::Int(index), item.clone(), out)? {
                        break;
                    }
                }
            }
            Val::Map(map) => {
                for (key, item) in &map.items {
                    if !turn(self, Val::text(key.clone()), item.clone(), out)? {
                        break;
                    }
                }
            }
            Val::Int(count) => {
                for index in 0..*count {
                    if !turn(self, Val::Int(index), Val::Int(index), out)? {
                        break;
                    }
                }
            }
            _ => return Err(RenderError::Range(over.described())),
        }
        self.dot = outer;
        if turns == 0 {
            self.nodes(other, out)?;
        }
        Ok(())
    }

    fn eval(&mut self, expr: &'t Expr) -> Result<Val<'t>, RenderError> {
        self.step()?;
        Ok(match expr {
            Expr::Nil => Val::Nil,
            Expr::Bool(value) => Val::Bool(*value),
            Expr::Int(value) => Val::Int(*value),
            Expr::Float(value) => Val::Float(*value),
            Expr::Text(text) => Val::Text(Cow::Borrowed(text)),
            Expr::Slot(slot) => self.lookup.get(*slot).map_or(Val::Nil, |text| Val::Text(Cow::Borrowed(text))),
            Expr::Has(slot) => Val::Bool(self.lookup.get(*slot).is_some()),
            Expr::Dot => self.dot.clone(),
            Expr::Variable(index) => self.vars.get(*index).cloned().unwrap_or_default(),
            Expr::Field(inner, name) => match self.eval(inner)? {
                Val::Nil => Val::Nil,
                Val::Map(map) => map.items.get(&**name).cloned().unwrap_or_default(),
                other => return Err(RenderError::Field(other.described())),
            },
            Expr::Let(index, inner) => {
                let value = self.eval(inner)?;
                if let Some(place) = self.vars.get_mut(*index) {
                    *place = value.clone();
                }
                value
            }
            Expr::Logic(stop, args) => {
                let mut value = Val::Nil;
                for arg in args {
                    value = self.eval(arg)?;
                    if value.truth() == *stop {
                        break;
                    }
                }
                value
            }
            Expr::Call(function, args, regex) => self.call(function, args, regex.as_deref())?,
        })
    }

    fn call(
        &mut self,
        function: &'static Function,
        exprs: &'t [Expr],
        regex: Option<&Regex>,
    ) -> Result<Val<'t>, RenderError> {
        let mut args = Args { name: function.name, ..Args::default() };
        for (index, expr) in exprs.iter().enumerate() {
            let value = self.eval(expr)?;
            let wanted = function.type_of(index);
            match &value {
                Val::Text(text) => self.charge(text.len() / 256)?,
                Val::List(list) => self.charge(list.items.len() / 16)?,
                Val::Map(map) => self.charge(map.items.len() / 16)?,
                _ => {}
            }
            let fits = match wanted {
                Type::Any => true,
                Type::Text => matches!(value, Val::Text(_)),
                Type::Int => matches!(value, Val::Int(_)),
                Type::Bool => matches!(value, Val::Bool(_)),
                Type::List => matches!(value, Val::List(_)),
                Type::Map => matches!(value, Val::Map(_)),
            };
            if !fits {
                return Err(RenderError::Argument {
                    function: function.name,
                    wanted: wanted.described(),
                    given: value.described(),
                });
            }
            args.push(value);
        }
        (function.run)(self, &mut args, regex)
    }

    /// Puts a text that a function made in place of an argument, whose buffer is taken back.
    pub(super) fn made(&mut self, text: String, from: &mut Args<'t>) -> Result<Val<'t>, RenderError> {
        bounded(text.len())?;
        for index in 0..from.all().len() {
            let used = from.take(index);
            self.give_back(used);
        }
        Ok(Val::Text(Cow::Owned(text)))
    }
}
