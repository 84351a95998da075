//! The functions by name: what they take, and what does their work.
//!
//! From Go's text/template, from Promtail, and the common ones of sprig. They differ from there on purpose only so: texts are cut
//! at characters, not in them; `b64dec` of what is not base64, and `toDate` of what is no time, is an error instead of a text that says so or of
//! the year 1; times are shown in the host's zone by `date`, as there; `duration` takes any whole number; `env` and `expandenv` are
//! missing, for the configuration has `${NAME}`; so is what makes something else each time, for a line that is sent again must be the same.
//!
//! Promises: each name once. Leaves to others: the work (`strings`, `math`, `lists`, `printf`, `json`).

use super::RenderError;
use super::eval::{Args, Env};
use super::value::Val;
use super::{json, lists, math, paths, printf, strings, words};
use crate::base::words::nearest;
use Type::{Any, Bool, Int, Text};
use regex::Regex;

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Text,
    Int,
    Bool,
    List,
    Map,
}

impl Type {
    pub(super) fn described(self) -> &'static str {
        match self {
            Type::Any => "anything",
            Type::Text => "text",
            Type::Int => "a whole number",
            Type::Bool => "true or false",
            Type::List => "a list",
            Type::Map => "a map",
        }
    }
}

pub(super) type Run =
    for<'t, 's, 'a> fn(&'a mut Env<'t, 's>, &'a mut Args<'t>, Option<&'a Regex>) -> Result<Val<'t>, RenderError>;

pub(super) struct Function {
    pub name: &'static str,
    params: &'static [Type],
    /// The type of further arguments, if it takes any number of them.
    rest: Option<Type>,
    /// Whether the first argument is a regular expression, compiled with the template.
    pub pattern: bool,
    pub run: Run,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    pub(super) fn type_of(&self, index: usize) -> Type {
        self.params.get(index).copied().or(self.rest).unwrap_or(Type::Any)
    }

    /// The error says how many arguments it takes.
    pub(super) fn check(&self, given: usize) -> Result<(), String> {
        let wanted = self.params.len();
        let plural = if wanted == 1 { "" } else { "s" };
        match self.rest {
            Some(_) if given >= wanted => Ok(()),
            Some(_) => Err(format!("at least {wanted} argument{plural}")),
            None if given == wanted => Ok(()),
            None => Err(format!("{wanted} argument{plural}")),
        }
    }
}

pub(super) fn find(name: &str) -> Option<&'static Function> {
    TABLE.iter().find(|function| function.name == name)
}

/// What to do about a name that is not in the table.
pub(super) fn remedy(name: &str) -> String {
    const RANDOM: &[&str] = &["rand", "uuid", "shuffle", "bcrypt", "htpasswd", "gen", "encryptAES", "ago"];
    match name {
        "env" | "expandenv" => {
            "write ${NAME} in its place, which is the variable when the configuration is read".to_owned()
        }
        "getHostByName" => "take it out, for nothing is looked up on the network for a line".to_owned(),
        _ if RANDOM.iter().any(|begin| name.starts_with(begin)) => {
            "take it out, for a line that is sent again has to be the same".to_owned()
        }
        _ => match nearest(name, TABLE.iter().map(|function| function.name).chain(["and", "or"])) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "take it out of the template".to_owned(),
        },
    }
}

/// All names, for tests and documentation. `and` and `or` belong to the grammar.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|function| function.name)
}

const fn f(name: &'static str, params: &'static [Type], run: Run) -> Function {
    Function { name, params, rest: None, pattern: false, run }
}

/// With any number of further arguments.
const fn v(name: &'static str, params: &'static [Type], rest: Type, run: Run) -> Function {
    Function { name, params, rest: Some(rest), pattern: false, run }
}

/// With a pattern first.
const fn p(name: &'static str, params: &'static [Type], run: Run) -> Function {
    Function { name, params, rest: None, pattern: true, run }
}

const ONE: &[Type] = &[Text];
const TWO: &[Type] = &[Text, Text];
const THREE: &[Type] = &[Text, Text, Text];
const TEXTS_AND_COUNT: &[Type] = &[Text, Text, Int];

static TABLE: &[Function] = &[
    // Promtail.
    f("ToLower", ONE, strings::lower),
    f("ToUpper", ONE, strings::upper),
    f("Replace", &[Text, Text, Text, Int], strings::replace_n),
    f("Trim", TWO, |_, a, _| strings::trim_set(a, 0, 1, true, true)),
    f("TrimLeft", TWO, |_, a, _| strings::trim_set(a, 0, 1, true, false)),
    f("TrimRight", TWO, |_, a, _| strings::trim_set(a, 0, 1, false, true)),
    f("TrimPrefix", TWO, |_, a, _| strings::trim_affix(a, 0, 1, true)),
    f("TrimSuffix", TWO, |_, a, _| strings::trim_affix(a, 0, 1, false)),
    f("TrimSpace", ONE, strings::trim_space),
    f("Hash", TWO, |env, a, _| strings::hash::<sha3::Sha3_256>(env, a)),
    f("Sha2Hash", TWO, |env, a, _| strings::hash::<sha2::Sha256>(env, a)),
    p("regexReplaceAll", THREE, |env, a, r| strings::regex_replace(env, a, r, false)),
    p("regexReplaceAllLiteral", THREE, |env, a, r| strings::regex_replace(env, a, r, true)),
    // Go.
    f("not", &[Any], |_, a, _| Ok(Val::Bool(!a.get(0).truth()))),
    v("eq", &[Any, Any], Any, math::eq),
    f("ne", &[Any, Any], math::ne),
    f("lt", &[Any, Any], |_, a, _| math::compare(a, |order| order.is_lt())),
    f("le", &[Any, Any], |_, a, _| math::compare(a, |order| order.is_le())),
    f("gt", &[Any, Any], |_, a, _| math::compare(a, |order| order.is_gt())),
    f("ge", &[Any, Any], |_, a, _| math::compare(a, |order| order.is_ge())),
    f("len", &[Any], lists::len),
    v("index", &[Any], Any, lists::index),
    v("slice", &[Any], Int, lists::slice),
    v("print", &[], Any, printf::print),
    v("println", &[], Any, printf::println),
    v("printf", &[Text], Any, printf::printf),
    v("html", &[], Any, |env, a, _| strings::escape(env, a, strings::html)),
    v("js", &[], Any, |env, a, _| strings::escape(env, a, strings::js)),
    v("urlquery", &[], Any, |env, a, _| strings::escape(env, a, strings::urlquery)),
    // sprig: texts.
    f("lower", ONE, strings::lower),
    f("upper", ONE, strings::upper),
    f("title", ONE, strings::title),
    f("untitle", ONE, strings::untitle),
    f("trim", ONE, strings::trim_space),
    f("trimAll", TWO, |_, a, _| strings::trim_set(a, 1, 0, true, true)),
    f("trimall", TWO, |_, a, _| strings::trim_set(a, 1, 0, true, true)),
    f("trimPrefix", TWO, |_, a, _| strings::trim_affix(a, 1, 0, true)),
    f("trimSuffix", TWO, |_, a, _| strings::trim_affix(a, 1, 0, false)),
    f("replace", THREE, strings::replace),
    f("contains", TWO, |_, a, _| Ok(Val::Bool(a.text(1).contains(a.text(0))))),
    f("hasPrefix", TWO, |_, a, _| Ok(Val::Bool(a.text(1).starts_with(a.text(0))))),
    f("hasSuffix", TWO, |_, a, _| Ok(Val::Bool(a.text(1).ends_with(a.text(0))))),
    f("repeat", &[Int, Text], strings::repeat),
    f("substr", &[Int, Int, Text], strings::substr),
    f("trunc", &[Int, Text], strings::trunc),
    f("nospace", ONE, strings::nospace),
    v("quote", &[], Any, |env, a, _| strings::quote(env, a, true)),
    v("squote", &[], Any, |env, a, _| strings::quote(env, a, false)),
    v("cat", &[], Any, strings::cat),
    f("indent", &[Int, Text], |env, a, _| strings::indent(env, a, false)),
    f("nindent", &[Int, Text], |env, a, _| strings::indent(env, a, true)),
    f("toString", &[Any], strings::to_string),
    f("b64enc", ONE, strings::b64enc),
    f("b64dec", ONE, strings::b64dec),
    f("sha1sum", ONE, |env, a, _| strings::sum::<sha1::Sha1>(env, a)),
    f("sha256sum", ONE, |env, a, _| strings::sum::<sha2::Sha256>(env, a)),
    f("sha512sum", ONE, |env, a, _| strings::sum::<sha2::Sha512>(env, a)),
    f("md5sum", ONE, |env, a, _| strings::sum::<md5::Md5>(env, a)),
    p("regexMatch", TWO, |_, a, r| Ok(Val::Bool(r.is_some_and(|r| r.is_match(a.text(1)))))),
    p("mustRegexMatch", TWO, |_, a, r| Ok(Val::Bool(r.is_some_and(|r| r.is_match(a.text(1)))))),
    p("regexFind", TWO, strings::regex_find),
    p("mustRegexFind", TWO, strings::regex_find),
    p("regexFindAll", TEXTS_AND_COUNT, lists::regex_find_all),
    p("mustRegexFindAll", TEXTS_AND_COUNT, lists::regex_find_all),
    p("regexSplit", TEXTS_AND_COUNT, lists::regex_split),
    p("mustRegexSplit", TEXTS_AND_COUNT, lists::regex_split),
    p("mustRegexReplaceAll", THREE, |env, a, r| strings::regex_replace(env, a, r, false)),
    p("mustRegexReplaceAllLiteral", THREE, |env, a, r| strings::regex_replace(env, a, r, true)),
    f("snakecase", ONE, words::snakecase),
    f("kebabcase", ONE, words::kebabcase),
    f("camelcase", ONE, words::camelcase),
    f("swapcase", ONE, words::swapcase),
    f("initials", ONE, words::initials),
    f("abbrev", &[Int, Text], words::abbrev),
    f("plural", &[Text, Text, Int], words::plural),
    // sprig: paths.
    f("base", ONE, paths::base),
    f("dir", ONE, paths::dir),
    f("ext", ONE, paths::ext),
    f("clean", ONE, paths::clean),
    f("isAbs", ONE, |_, a, _| Ok(Val::Bool(a.text(0).starts_with('/')))),
    f("osBase", ONE, paths::base),
    f("osDir", ONE, paths::dir),
    f("osExt", ONE, paths::ext),
    f("osClean", ONE, paths::clean),
    f("osIsAbs", ONE, |_, a, _| Ok(Val::Bool(a.text(0).starts_with('/')))),
    // sprig: defaults and conversions.
    v("default", &[Any], Any, math::default),
    f("empty", &[Any], |_, a, _| Ok(Val::Bool(!a.get(0).truth()))),
    v("coalesce", &[], Any, math::coalesce),
    v("all", &[], Any, |_, a, _| Ok(Val::Bool(a.all().iter().all(Val::truth)))),
    v("any", &[], Any, |_, a, _| Ok(Val::Bool(a.all().iter().any(Val::truth)))),
    f("ternary", &[Any, Any, Bool], math::ternary),
    f("fail", ONE, |_, a, _| a.fail("the template says so")),
    f("kindOf", &[Any], |_, a, _| Ok(Val::text(a.get(0).kind()))),
    f("kindIs", &[Text, Any], |_, a, _| Ok(Val::Bool(a.text(0) == a.get(1).kind()))),
    f("typeOf", &[Any], |_, a, _| Ok(Val::text(a.get(0).type_name()))),
    f("typeIs", &[Text, Any], |_, a, _| Ok(Val::Bool(a.text(0) == a.get(1).type_name()))),
    f("deepEqual", &[Any, Any], |_, a, _| Ok(Val::Bool(lists::equal(a.get(0), a.get(1))))),
    f("mustToJson", &[Any], |env, a, _| json::to_json(env, a, true)),
    f("mustToRawJson", &[Any], |env, a, _| json::to_json(env, a, false)),
    f("toJson", &[Any], |env, a, _| json::to_json(env, a, true)),
    f("toRawJson", &[Any], |env, a, _| json::to_json(env, a, false)),
    f("fromJson", ONE, json::from_json),
    // sprig: numbers.
    f("int", &[Any], |_, a, _| Ok(Val::Int(math::to_int(a.get(0))))),
    f("int64", &[Any], |_, a, _| Ok(Val::Int(math::to_int(a.get(0))))),
    f("float64", &[Any], |_, a, _| Ok(Val::Float(math::to_float(a.get(0))))),
    f("atoi", ONE, math::atoi),
    v("add", &[], Any, |_, a, _| Ok(math::fold(a, 0, i64::wrapping_add))),
    f("add1", &[Any], |_, a, _| Ok(Val::Int(math::to_int(a.get(0)).wrapping_add(1)))),
    f("sub", &[Any, Any], |_, a, _| Ok(Val::Int(math::to_int(a.get(0)).wrapping_sub(math::to_int(a.get(1)))))),
    v("mul", &[Any], Any, |_, a, _| Ok(math::fold(a, 1, i64::wrapping_mul))),
    f("div", &[Any, Any], |_, a, _| math::divide(a, i64::wrapping_div)),
    f("mod", &[Any, Any], |_, a, _| math::divide(a, i64::wrapping_rem)),
    v("max", &[Any], Any, |_, a, _| Ok(math::fold(a, i64::MIN, i64::max))),
    v("min", &[Any], Any, |_, a, _| Ok(math::fold(a, i64::MAX, i64::min))),
    v("biggest", &[Any], Any, |_, a, _| Ok(math::fold(a, i64::MIN, i64::max))),
    v("maxf", &[Any], Any, |_, a, _| Ok(math::fold_float(a, f64::max))),
    v("minf", &[Any], Any, |_, a, _| Ok(math::fold_float(a, f64::min))),
    f("add1f", &[Any], |_, a, _| Ok(Val::Float(math::to_float(a.get(0)) + 1.0))),
    v("addf", &[], Any, |_, a, _| Ok(math::fold_float(a, |x, y| x + y))),
    v("subf", &[Any], Any, |_, a, _| Ok(math::fold_float(a, |x, y| x - y))),
    v("mulf", &[Any], Any, |_, a, _| Ok(math::fold_float(a, |x, y| x * y))),
    v("divf", &[Any], Any, |_, a, _| Ok(math::fold_float(a, |x, y| x / y))),
    f("floor", &[Any], |_, a, _| Ok(Val::Float(math::to_float(a.get(0)).floor()))),
    f("ceil", &[Any], |_, a, _| Ok(Val::Float(math::to_float(a.get(0)).ceil()))),
    f("round", &[Any, Int], math::round),
    // sprig: lists and maps.
    v("list", &[], Any, lists::list),
    f("split", TWO, lists::split),
    f("splitList", TWO, lists::split_list),
    f("splitn", &[Text, Int, Text], lists::splitn),
    f("join", &[Text, Any], lists::join),
    f("first", &[Type::List], |_, a, _| lists::at(a, |len| len.checked_sub(len))),
    f("last", &[Type::List], |_, a, _| lists::at(a, |len| len.checked_sub(1))),
    f("rest", &[Type::List], |_, a, _| lists::part(a, 1, 0)),
    f("initial", &[Type::List], |_, a, _| lists::part(a, 0, 1)),
    f("append", &[Type::List, Any], |_, a, _| lists::extend(a, false)),
    f("prepend", &[Type::List, Any], |_, a, _| lists::extend(a, true)),
    f("reverse", &[Type::List], lists::reverse),
    f("uniq", &[Type::List], lists::uniq),
    f("has", &[Any, Any], lists::has),
    f("compact", &[Type::List], lists::compact),
    f("sortAlpha", &[Any], lists::sort_alpha),
    f("until", &[Int], lists::until),
    f("untilStep", &[Int, Int, Int], lists::until_step),
    v("tuple", &[], Any, lists::list),
    v("concat", &[], Type::List, lists::concat),
    v("without", &[Type::List], Any, lists::without),
    v("mustWithout", &[Type::List], Any, lists::without),
    f("mustFirst", &[Type::List], |_, a, _| lists::at(a, |len| len.checked_sub(len))),
    f("mustLast", &[Type::List], |_, a, _| lists::at(a, |len| len.checked_sub(1))),
    f("mustRest", &[Type::List], |_, a, _| lists::part(a, 1, 0)),
    f("mustInitial", &[Type::List], |_, a, _| lists::part(a, 0, 1)),
    f("push", &[Type::List, Any], |_, a, _| lists::extend(a, false)),
    f("mustAppend", &[Type::List, Any], |_, a, _| lists::extend(a, false)),
    f("mustPush", &[Type::List, Any], |_, a, _| lists::extend(a, false)),
    f("mustPrepend", &[Type::List, Any], |_, a, _| lists::extend(a, true)),
    f("mustReverse", &[Type::List], lists::reverse),
    f("mustUniq", &[Type::List], lists::uniq),
    f("mustHas", &[Any, Any], lists::has),
    f("mustCompact", &[Type::List], lists::compact),
    v("dict", &[], Any, lists::dict),
    f("get", &[Type::Map, Text], lists::get),
    f("hasKey", &[Type::Map, Text], lists::has_key),
    f("keys", &[Type::Map], lists::keys),
    f("values", &[Type::Map], lists::values),
    // sprig: times.
    f("now", &[], |env, _, _| Ok(Val::Time(env.lookup.now_ns()))),
    f("unixEpoch", &[Any], lists::unix_epoch),
    f("toDate", TWO, lists::to_date),
    f("mustToDate", TWO, lists::to_date),
    f("duration", &[Any], lists::duration),
    f("date", &[Text, Any], |env, a, _| lists::date(env, a, "Local")),
    f("dateInZone", &[Text, Any, Text], lists::date_in_zone),
    f("date_in_zone", &[Text, Any, Text], lists::date_in_zone),
];
