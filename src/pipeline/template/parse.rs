//! Words to a tree: keys to slots, names of functions to functions, variables to numbers, pipes to nested calls.
//!
//! Promises: the tree is bounded in depth, and every name in it is known. Leaves to others: running it.

use super::functions::{self, Function};
use super::lex::{Fault, Piece, Token, Word, pieces};
use super::{Problem, Slot};
use crate::base::expression;
use crate::base::limits::TEMPLATE_DEPTH;
use regex::Regex;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(Box<str>),
    Print(Expr),
    /// Sets a variable and prints nothing.
    Set(Expr),
    If {
        condition: Expr,
        then: Vec<Node>,
        other: Vec<Node>,
    },
    With {
        value: Expr,
        then: Vec<Node>,
        other: Vec<Node>,
    },
    Range {
        over: Expr,
        key: Option<usize>,
        value: Option<usize>,
        body: Vec<Node>,
        other: Vec<Node>,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone)]
pub(super) enum Expr {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Slot(Slot),
    /// Whether a slot is filled.
    Has(Slot),
    Dot,
    Variable(usize),
    Field(Box<Expr>, Box<str>),
    Call(&'static Function, Vec<Expr>, Option<Box<Regex>>),
    /// `and`, or `or` if true: stops at the first that decides.
    Logic(bool, Vec<Expr>),
    Let(usize, Box<Expr>),
}

impl Expr {
    /// Expressions inside each other.
    fn height(&self) -> usize {
        match self {
            Expr::Field(inner, _) | Expr::Let(_, inner) => 1 + inner.height(),
            Expr::Call(_, args, _) | Expr::Logic(_, args) => 1 + args.iter().map(Expr::height).max().unwrap_or(0),
            _ => 1,
        }
    }
}

/// Compiles; gives also the number of variables.
pub(super) fn parse(text: &str, slot_of: &mut dyn FnMut(&str) -> Slot) -> Result<(Vec<Node>, usize), Fault> {
    let pieces = pieces(text)?;
    let mut parser = Parser { pieces, next: 0, slot_of, names: Vec::new(), variables: 0, dots: 0, loops: 0, depth: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        None => Ok((nodes, parser.variables)),
        Some(end) => Err(Fault::syntax(end.at, format!("there is no open if, with or range for this `{}`", end.word))),
    }
}

struct Parser<'t, 'f> {
    pieces: Vec<Piece<'t>>,
    next: usize,
    slot_of: &'f mut dyn FnMut(&str) -> Slot,
    /// Variables in scope, the youngest last.
    names: Vec<(String, usize)>,
    variables: usize,
    /// `with` and `range` around this place: there the dot is not the set of all keys.
    dots: usize,
    loops: usize,
    depth: usize,
}

/// What ended a block: `end` or `else`, with the words after it.
struct End {
    at: usize,
    word: &'static str,
    words: Words,
}

struct Words {
    list: Vec<Token>,
    next: usize,
    /// Where the action begins.
    at: usize,
}

impl Words {
    fn peek(&self) -> Option<&Token> {
        self.list.get(self.next)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.list.get(self.next).cloned()?;
        self.next += 1;
        Some(token)
    }

    fn at(&self) -> usize {
        self.peek().or(self.list.last()).map_or(self.at, |token| token.at)
    }

    fn is(&self, ahead: usize, word: &Word) -> bool {
        self.list.get(self.next + ahead).is_some_and(|token| token.word == *word)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token { word: Word::Name(found), .. }) if found == name)
    }

    fn must_end(&self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(token) => Err(Fault::syntax(token.at, "the action should end here; write }}")),
        }
    }
}

impl Parser<'_, '_> {
    /// Nodes up to the end of the text, an `end` or an `else`.
    fn block(&mut self) -> Result<(Vec<Node>, Option<End>), Fault> {
        let mut nodes = Vec::new();
        loop {
            let index = self.next;
            self.next += 1;
            let (at, words) = match self.pieces.get_mut(index) {
                None => return Ok((nodes, None)),
                Some(Piece::Text(text)) => {
                    nodes.push(Node::Text((*text).into()));
                    continue;
                }
                Some(Piece::Action { at, words }) => (*at, std::mem::take(words)),
            };
            let mut words = Words { list: words, next: 0, at };
            let first = match words.peek() {
                None => return Err(Fault::syntax(at, "there is nothing between the braces")),
                Some(Token { word: Word::Name(name), .. }) => name.clone(),
                Some(_) => String::new(),
            };
            match first.as_str() {
                "if" | "with" | "range" => {
                    words.next += 1;
                    nodes.push(self.control(&first, words)?);
                }
                "end" | "else" => {
                    words.next += 1;
                    let word = if first == "end" { "end" } else { "else" };
                    return Ok((nodes, Some(End { at, word, words })));
                }
                "break" | "continue" => {
                    words.next += 1;
                    words.must_end()?;
                    if self.loops == 0 {
                        return Err(Fault::syntax(at, format!("`{first}` is only for the inside of a range")));
                    }
                    nodes.push(if first == "break" { Node::Break } else { Node::Continue });
                }
                "define" | "template" | "block" => {
                    return Err(Fault { at: words.at(), problem: Problem::Action(first) });
                }
                _ => {
                    let expr = self.pipeline(&mut words)?;
                    words.must_end()?;
                    nodes.push(if matches!(expr, Expr::Let(..)) { Node::Set(expr) } else { Node::Print(expr) });
                }
            }
        }
    }

    fn deeper(&mut self, at: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > TEMPLATE_DEPTH {
            return Err(Fault { at, problem: Problem::TooLarge("blocks and parentheses are nested too deeply") });
        }
        Ok(())
    }

    /// Pipes and fields nest too, though their text does not show it.
    fn flat_enough(&self, expr: &Expr, at: usize) -> Result<(), Fault> {
        if expr.height() > TEMPLATE_DEPTH {
            return Err(Fault { at, problem: Problem::TooLarge("there are too many pipes or fields in a row") });
        }
        Ok(())
    }

    /// `if`, `with` and `range`, to their `end`.
    fn control(&mut self, kind: &str, mut words: Words) -> Result<Node, Fault> {
        let at = words.at;
        self.deeper(at)?;
        let scope = self.names.len();
        let (key, value) = if kind == "range" { self.range_variables(&mut words)? } else { (None, None) };
        let expr = self.pipeline(&mut words)?;
        words.must_end()?;
        let inner = usize::from(kind != "if");
        let turns = usize::from(kind == "range");
        self.dots += inner;
        self.loops += turns;
        let (then, end) = self.block()?;
        self.dots -= inner;
        self.loops -= turns;
        let mut end = end.ok_or_else(|| Fault::syntax(at, format!("this `{kind}` has no {{{{ end }}}}")))?;
        let mut other = Vec::new();
        if end.word == "else" {
            if end.words.peek().is_some() {
                let chained = if end.words.is_name("if") && kind != "range" {
                    "if"
                } else if end.words.is_name("with") && kind == "with" {
                    "with"
                } else {
                    return Err(Fault::syntax(end.words.at(), format!("this cannot follow the else of `{kind}`")));
                };
                end.words.next += 1;
                // The chained one takes the `end` of both.
                other.push(self.control(chained, end.words)?);
                self.close(scope);
                return Ok(self.node(kind, expr, key, value, then, other));
            }
            let (nodes, last) = self.block()?;
            other = nodes;
            end = last.ok_or_else(|| Fault::syntax(at, format!("this `{kind}` has no {{{{ end }}}}")))?;
            if end.word == "else" {
                return Err(Fault::syntax(end.at, "there is an else before this one"));
            }
        }
        end.words.must_end()?;
        self.close(scope);
        Ok(self.node(kind, expr, key, value, then, other))
    }

    fn close(&mut self, scope: usize) {
        self.names.truncate(scope);
        self.depth -= 1;
    }

    fn node(
        &self,
        kind: &str,
        expr: Expr,
        key: Option<usize>,
        value: Option<usize>,
        then: Vec<Node>,
        other: Vec<Node>,
    ) -> Node {
        match kind {
            "if" => Node::If { condition: expr, then, other },
            "with" => Node::With { value: expr, then, other },
            _ => Node::Range { over: expr, key, value, body: then, other },
        }
    }

    /// `$v :=` or `$k, $v :=` of a range. One variable alone is the value.
    fn range_variables(&mut self, words: &mut Words) -> Result<(Option<usize>, Option<usize>), Fault> {
        let name = |words: &Words, ahead: usize| match words.list.get(words.next + ahead).map(|token| &token.word) {
            Some(Word::Variable(name)) if !name.is_empty() => Some(name.clone()),
            _ => None,
        };
        let Some(first) = name(words, 0) else { return Ok((None, None)) };
        let mut bind = |name: String, declares: bool, at: usize| {
            if declares { Ok(self.declare(name)) } else { self.variable(&name, at) }
        };
        let at = words.at();
        if words.is(1, &Word::Comma) {
            let second = name(words, 2).ok_or_else(|| Fault::syntax(at, "a variable is expected after the comma"))?;
            if !words.is(3, &Word::Declare) && !words.is(3, &Word::Assign) {
                return Err(Fault::syntax(at, "write range $index, $value := …"));
            }
            let declares = words.is(3, &Word::Declare);
            words.next += 4;
            return Ok((Some(bind(first, declares, at)?), Some(bind(second, declares, at)?)));
        }
        if words.is(1, &Word::Declare) || words.is(1, &Word::Assign) {
            let declares = words.is(1, &Word::Declare);
            words.next += 2;
            return Ok((None, Some(bind(first, declares, at)?)));
        }
        Ok((None, None))
    }

    fn declare(&mut self, name: String) -> usize {
        let index = self.variables;
        self.variables += 1;
        self.names.push((name, index));
        index
    }

    fn variable(&self, name: &str, at: usize) -> Result<usize, Fault> {
        let found = self.names.iter().rev().find(|(known, _)| known == name).map(|(_, index)| *index);
        found.ok_or_else(|| Fault { at, problem: Problem::Variable(name.to_owned()) })
    }

    /// Commands joined by pipes, up to a closing parenthesis or the end; before them perhaps a variable to set.
    fn pipeline(&mut self, words: &mut Words) -> Result<Expr, Fault> {
        self.deeper(words.at())?;
        let mut target = None;
        if let Some(Token { word: Word::Variable(name), at, .. }) = words.peek()
            && (words.is(1, &Word::Declare) || words.is(1, &Word::Assign))
        {
            let (name, at, declares) = (name.clone(), *at, words.is(1, &Word::Declare));
            if name.is_empty() {
                return Err(Fault::syntax(at, "a variable needs a name, as in $x := …"));
            }
            words.next += 2;
            target = Some((name, at, declares));
        }
        let mut expr = self.command(words, None)?;
        while words.is(0, &Word::Pipe) {
            words.next += 1;
            expr = self.command(words, Some(expr))?;
            self.flat_enough(&expr, words.at())?;
        }
        self.depth -= 1;
        match target {
            None => Ok(expr),
            Some((name, _, true)) => Ok(Expr::Let(self.declare(name), Box::new(expr))),
            Some((name, at, false)) => Ok(Expr::Let(self.variable(&name, at)?, Box::new(expr))),
        }
    }

    /// A function with its arguments, or one value. `piped` is the last argument.
    fn command(&mut self, words: &mut Words, piped: Option<Expr>) -> Result<Expr, Fault> {
        let at = words.at();
        match words.peek().map(|token| token.word.clone()) {
            Some(Word::Name(name)) if !matches!(name.as_str(), "true" | "false" | "nil") => {
                words.next += 1;
                return self.call(&name, at, words, piped);
            }
            None | Some(Word::Pipe | Word::Close) => return Err(Fault::syntax(at, "a value is missing here")),
            Some(_) => {}
        }
        if words.is_name("nil") {
            return Err(Fault::syntax(at, "nil is not a command"));
        }
        let value = self.operand(words)?;
        if piped.is_some() {
            return Err(Fault::syntax(at, "only a function can take what is piped to it"));
        }
        match words.peek() {
            None => Ok(value),
            Some(Token { word: Word::Pipe | Word::Close, .. }) => Ok(value),
            Some(token) => Err(Fault::syntax(token.at, "only a function takes arguments; write the function first")),
        }
    }

    fn call(&mut self, name: &str, at: usize, words: &mut Words, piped: Option<Expr>) -> Result<Expr, Fault> {
        if let Some(expr) = self.of_everything(name, words, piped.as_ref())? {
            return Ok(expr);
        }
        let known = functions::find(name);
        let logic = matches!(name, "and" | "or");
        if known.is_none() && !logic {
            return Err(Fault { at, problem: Problem::Function(name.to_owned()) });
        }
        let mut args = Vec::new();
        while let Some(token) = words.peek() {
            if matches!(token.word, Word::Pipe | Word::Close) {
                break;
            }
            args.push(self.operand(words)?);
        }
        args.extend(piped);
        let wrong = |wanted: String, given: usize| Fault {
            at,
            problem: Problem::Arguments { name: name.to_owned(), wanted, given },
        };
        let Some(function) = known else {
            return if args.is_empty() {
                Err(wrong("at least 1 argument".to_owned(), 0))
            } else {
                Ok(Expr::Logic(name == "or", args))
            };
        };
        function.check(args.len()).map_err(|wanted| wrong(wanted, args.len()))?;
        let regex = if function.pattern {
            let Some(Expr::Text(pattern)) = args.first() else {
                return Err(Fault { at, problem: Problem::Pattern(name.to_owned()) });
            };
            let compiled = expression::compile(pattern)
                .map_err(|error| Fault { at, problem: Problem::Regex(error.to_string()) })?;
            Some(Box::new(compiled))
        } else {
            None
        };
        Ok(Expr::Call(function, args, regex))
    }

    /// `index . "name"` and its like: the key is known now, so that no set of all keys is needed.
    fn of_everything(&mut self, name: &str, words: &mut Words, piped: Option<&Expr>) -> Result<Option<Expr>, Fault> {
        let whole = match words.peek().map(|token| &token.word) {
            Some(Word::Dot) => self.dots == 0,
            Some(Word::Variable(name)) => {
                name.is_empty() && !words.list.get(words.next + 1).is_some_and(is_joined_field)
            }
            _ => false,
        };
        if !matches!(name, "index" | "get" | "hasKey") || !whole || piped.is_some() {
            return Ok(None);
        }
        let Some(Token { word: Word::Text(key), .. }) = words.list.get(words.next + 1) else { return Ok(None) };
        let slot = (self.slot_of)(key);
        words.next += 2;
        match words.peek() {
            None | Some(Token { word: Word::Pipe | Word::Close, .. }) => {}
            Some(token) => return Err(Fault::syntax(token.at, "a key is a text and has no parts")),
        }
        Ok(Some(match name {
            "hasKey" => Expr::Has(slot),
            // sprig's `get` gives an empty text for what is missing.
            "get" => Expr::Logic(true, vec![Expr::Slot(slot), Expr::Text("".into())]),
            _ => Expr::Slot(slot),
        }))
    }

    /// One value, with the fields that follow it without a space.
    fn operand(&mut self, words: &mut Words) -> Result<Expr, Fault> {
        let at = words.at();
        let token = words.take().ok_or_else(|| Fault::syntax(at, "a value is missing here"))?;
        let mut value = match token.word {
            Word::Text(text) => Expr::Text(text.into()),
            Word::Int(value) => Expr::Int(value),
            Word::Float(value) => Expr::Float(value),
            Word::Field(name) if self.dots == 0 => Expr::Slot((self.slot_of)(&name)),
            Word::Field(name) => Expr::Field(Box::new(Expr::Dot), name.into()),
            Word::Dot if self.dots == 0 => return Err(Fault { at, problem: Problem::Everything(".") }),
            Word::Dot => Expr::Dot,
            Word::Variable(name) if name.is_empty() => match words.take() {
                Some(Token { word: Word::Field(name), spaced: false, .. }) => Expr::Slot((self.slot_of)(&name)),
                _ => return Err(Fault { at, problem: Problem::Everything("$") }),
            },
            Word::Variable(name) => Expr::Variable(self.variable(&name, at)?),
            Word::Open => {
                let inner = self.pipeline(words)?;
                match words.take() {
                    Some(Token { word: Word::Close, .. }) => inner,
                    _ => return Err(Fault::syntax(at, "the parenthesis is not closed; write )")),
                }
            }
            Word::Name(name) => match name.as_str() {
                "true" => Expr::Bool(true),
                "false" => Expr::Bool(false),
                "nil" => Expr::Nil,
                // A function as an argument is called, without arguments of its own.
                _ => {
                    let mut none = Words { list: Vec::new(), next: 0, at };
                    self.call(&name, at, &mut none, None)?
                }
            },
            _ => return Err(Fault::syntax(at, "a value is expected here")),
        };
        while words.peek().is_some_and(is_joined_field) {
            let Some(Token { word: Word::Field(name), at, .. }) = words.take() else { break };
            value = Expr::Field(Box::new(value), name.into());
            self.flat_enough(&value, at)?;
        }
        Ok(value)
    }
}

fn is_joined_field(token: &Token) -> bool {
    matches!(token.word, Word::Field(_)) && !token.spaced
}
