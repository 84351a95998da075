//! Tests of `pipeline/relabel.rs`.

use super::*;
use proptest::prelude::*;

/// A rule, written as short as possible.
fn rule(action: &str, sources: &str, regex: Option<&str>, target: &str, replacement: Option<&str>) -> Settings {
    Settings {
        action: Action::by_name(action).unwrap(),
        source_labels: sources.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        regex: regex.map(str::to_owned),
        target_label: target.to_owned(),
        replacement: replacement.map(str::to_owned),
        ..Settings::default()
    }
}

fn apply(rules: &[Settings], labels: &[(&str, &str)]) -> Option<String> {
    let rules = Rules::compile(rules).unwrap_or_else(|e| panic!("{e}"));
    let mut map: LabelMap = labels.iter().copied().collect();
    let mut scratch = rules.scratch();
    let kept = rules.apply(&mut map, &mut scratch);
    // Used memory makes no difference.
    let mut again: LabelMap = labels.iter().copied().collect();
    assert_eq!(rules.apply(&mut again, &mut scratch), kept);
    assert!(!kept || map == again);
    let shown: Vec<String> = map.iter().map(|(name, value)| format!("{name}={value}")).collect();
    kept.then(|| shown.join(" "))
}

#[track_caller]
fn gives(rules: &[Settings], labels: &[(&str, &str)], expected: &str) {
    assert_eq!(apply(rules, labels).as_deref(), Some(expected));
}

const ABC: [(&str, &str); 3] = [("a", "foo"), ("b", "bar"), ("c", "baz")];

#[test]
fn replace() {
    let one = |sources: &str, regex: Option<&str>, target: &str, replacement: Option<&str>, expected: &str| {
        gives(&[rule("replace", sources, regex, target, replacement)], &ABC, expected);
    };
    one("a", None, "d", None, "a=foo b=bar c=baz d=foo");
    one("a,b", None, "d", None, "a=foo b=bar c=baz d=foo;bar");
    one("a", Some("f(.*)"), "d", Some("ch${1}-ch${1}"), "a=foo b=bar c=baz d=choo-choo");
    one("a", Some("f"), "d", Some("x"), "a=foo b=bar c=baz");
    one("a", Some("o"), "d", Some("x"), "a=foo b=bar c=baz");
    one("a,b", Some("(f).*;(.*)r"), "d", Some("$1$2"), "a=foo b=bar c=baz d=fba");
    one("a", Some("(?P<x>f)(?P<y>.*)"), "d", Some("${y}$x"), "a=foo b=bar c=baz d=oof");
    // A name is as long as it can be, a group that is not there is empty, a dollar that begins nothing stays.
    one("a", Some("(f).*"), "d", Some("<$1x>"), "a=foo b=bar c=baz d=<>");
    one("a", Some("(f).*"), "d", Some("<$2${3}$01>"), "a=foo b=bar c=baz d=<>");
    one("a", Some("(f).*"), "d", Some("$$1 $ ${ ${1 $- $"), "a=foo b=bar c=baz d=$1 $ ${ ${1 $- $");
    one("a", Some("(f)|(x).*"), "a", Some("<$2>"), "a=foo b=bar c=baz");
    one("a", Some("(x)?foo"), "d", Some("<$1$0>"), "a=foo b=bar c=baz d=<foo>");
    // An empty value removes.
    one("a", Some("(x)?foo"), "b", Some("$1"), "a=foo c=baz");
    one("", None, "b", Some(""), "a=foo c=baz");
    one("none", None, "b", None, "a=foo c=baz");
    one("", None, "d", Some("fixed"), "a=foo b=bar c=baz d=fixed");
    one("none", Some("(.+)"), "d", Some("x"), "a=foo b=bar c=baz");
    one("none", Some(".*"), "d", Some("x"), "a=foo b=bar c=baz d=x");
    // The target's name too.
    one("a", Some("(f)(.*)"), "${1}_$2", Some("v"), "a=foo b=bar c=baz f_oo=v");
    one("a,b", Some("(.*);(.*)"), "$1", Some("$2"), "a=foo b=bar c=baz foo=bar");
    one("a", Some("(.*)"), "x${2}", Some("$2"), "a=foo b=bar c=baz");
    gives(&[rule("replace", "a", None, "$1", Some("v"))], &[("a", "no-name")], "a=no-name");
    gives(&[rule("replace", "a", None, "$1", Some("v"))], &[("a", "größe")], "a=größe");
    gives(&[rule("replace", "a", None, "${1}", Some("v"))], &[("b", "x")], "b=x");
    gives(&[rule("replace", "a", Some("(.).(.)"), "b", Some("$2$1"))], &[("a", "ä\nö")], "a=ä\nö b=öä");
    let long = "x".repeat(LABEL_NAME_BYTES + 1);
    gives(&[rule("replace", "a", None, "$1", Some("v"))], &[("a", &long)], &format!("a={long}"));
}

#[test]
fn separator() {
    let with =
        |text: &str| Settings { separator: Some(text.to_owned()), ..rule("replace", "a,none,c", None, "d", None) };
    gives(&[with("")], &ABC, "a=foo b=bar c=baz d=foobaz");
    gives(&[with("||")], &ABC, "a=foo b=bar c=baz d=foo||||baz");
}

#[test]
fn keep_and_drop() {
    let kept = |action, sources, regex| apply(&[rule(action, sources, Some(regex), "", None)], &ABC).is_some();
    assert!(kept("keep", "a", "foo|x"));
    assert!(!kept("keep", "a", "fo"));
    assert!(kept("drop", "a", "fo"));
    assert!(!kept("drop", "a", "f.*"));
    assert!(!kept("keep", "none", ".+"));
    assert!(kept("keep", "none", ""));
    assert!(!kept("drop", "none", ""));
    assert!(kept("keep", "a,b", "foo;bar"));
    let equal =
        |action, sources, target, labels: &[_]| apply(&[rule(action, sources, None, target, None)], labels).is_some();
    assert!(equal("keepequal", "a", "b", &[("a", "x"), ("b", "x")]));
    assert!(!equal("keepequal", "a", "b", &ABC));
    assert!(equal("keepequal", "none", "other", &ABC));
    assert!(!equal("dropequal", "a", "b", &[("a", "x"), ("b", "x")]));
    assert!(equal("dropequal", "a", "b", &ABC));
    // What is dropped is not looked at by later rules.
    let rules = [rule("drop", "a", Some("foo"), "", None), rule("replace", "", None, "x", Some("1"))];
    assert_eq!(apply(&rules, &ABC), None);
}

#[test]
fn hashes_are_those_of_prometheus() {
    let part = |value: &str, modulus| {
        let rule = Settings { modulus, ..rule("hashmod", "a", None, "h", None) };
        let shown = apply(&[rule], &[("a", value)]).unwrap();
        shown.rsplit_once("h=").unwrap().1.to_owned()
    };
    // Computed with md5sum and Python.
    for (text, ten, thousand, whole) in [
        ("", "8", "958", "16825458760271544958"),
        ("a", "7", "697", "3585878926028121697"),
        ("abc", "8", "458", "15462616177412505458"),
        ("message digest", "4", "704", "5934107349381898704"),
        ("abcdefghijklmnopqrstuvwxyz", "1", "771", "9077930205496467771"),
        ("prod-host-7;9100", "2", "942", "8111256996648731942"),
        ("größe", "3", "683", "222654824810388683"),
    ] {
        assert_eq!(part(text, 10), ten, "{text}");
        assert_eq!(part(text, 1000), thousand, "{text}");
        assert_eq!(part(text, u64::MAX), whole, "{text}");
        assert_eq!(part(text, 1), "0", "{text}");
    }
}

#[test]
fn label_names() {
    let meta = [("__meta_label_app", "shop"), ("__meta_label_tier", "web"), ("tier", "old")];
    let map = |regex: &str, replacement| rule("labelmap", "", Some(regex), "", replacement);
    gives(&[map("__meta_label_(.+)", None)], &meta, "__meta_label_app=shop __meta_label_tier=web app=shop tier=web");
    gives(&[map("tier", Some("level"))], &meta, "__meta_label_app=shop __meta_label_tier=web level=old tier=old");
    gives(
        &[map("__meta_label_(.+)", Some("k_${1}"))],
        &meta,
        "__meta_label_app=shop __meta_label_tier=web k_app=shop k_tier=web tier=old",
    );
    // A name that is none is not made: a digit first, nothing.
    gives(&[map("a(.*)", None)], &[("a1", "x"), ("a", "y"), ("ab", "z")], "a=y a1=x ab=z b=z");
    let names = |action, regex: &str| rule(action, "", Some(regex), "", None);
    gives(&[names("labeldrop", "__meta.*")], &meta, "tier=old");
    gives(&[names("labeldrop", "tie")], &ABC, "a=foo b=bar c=baz");
    gives(&[names("labelkeep", "tier|__meta_label_app")], &meta, "__meta_label_app=shop tier=old");
    gives(&[names("labelkeep", "b|c")], &ABC, "b=bar c=baz");
}

#[test]
fn letters() {
    let labels = [("a", "Straße ÀÉ İ Σς 1")];
    gives(&[rule("lowercase", "a", None, "b", None)], &labels, "a=Straße ÀÉ İ Σς 1 b=straße àé i σς 1");
    gives(&[rule("uppercase", "a", None, "b", None)], &labels, "a=Straße ÀÉ İ Σς 1 b=STRAßE ÀÉ İ ΣΣ 1");
}

#[test]
fn rules_build_on_each_other() {
    let rules = [
        rule("replace", "__meta_a", Some("(.*)-(.*)"), "__tmp_x", Some("$2")),
        rule("replace", "__tmp_x", None, "job", None),
        rule("keep", "__tmp_x", Some("y"), "", None),
    ];
    gives(&rules, &[("__meta_a", "x-y")], "__meta_a=x-y __tmp_x=y job=y");
    let compiled = Rules::compile(&rules).unwrap();
    let mut map: LabelMap = [("__meta_a", "x-y"), ("__path__", "/p")].into_iter().collect();
    assert!(compiled.apply(&mut map, &mut compiled.scratch()));
    assert_eq!(map.get("__path__"), "/p", "internal labels are there until they are dropped");
    map.drop_internal();
    assert_eq!(map.iter().collect::<Vec<_>>(), [("job", "y")]);
}

#[track_caller]
fn refused(settings: Settings, field: &str, says: &str) {
    let error =
        Rules::compile(&[Settings { target_label: "x".into(), ..Settings::default() }, settings]).expect_err(says);
    assert_eq!((error.rule, error.field), (1, field), "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn refuses_what_prometheus_refuses() {
    for action in ["replace", "keepequal", "dropequal", "hashmod", "lowercase", "uppercase"] {
        let settings = Settings { modulus: 1, ..rule(action, "a", None, "", None) };
        refused(settings, "target_label", "needs one");
        for bad in ["a-b", "1a", "ä", "a b"] {
            let settings = Settings { modulus: 1, ..rule(action, "a", None, bad, None) };
            refused(settings, "target_label", "letter or _");
        }
    }
    refused(rule("hashmod", "a", None, "b", None), "modulus", "not 0");
    for action in ["keepequal", "dropequal", "hashmod", "lowercase", "uppercase"] {
        let settings = Settings { modulus: 1, ..rule(action, "a", None, "$1", None) };
        refused(settings, "target_label", "no label name");
    }
    for bad in ["$", "a-$1", "${1", "1$1", "$1-", "$ä", "a$"] {
        refused(rule("replace", "a", None, bad, None), "target_label", "gives no label name");
    }
    for bad in ["", "a-b", "1", "$", "${1}x-"] {
        refused(rule("labelmap", "", Some("a"), "", Some(bad)), "replacement", "gives no label name");
    }
    for action in ["lowercase", "uppercase", "keepequal", "dropequal"] {
        refused(rule(action, "a", None, "b", Some("x")), "replacement", "does not take one");
    }
    for action in ["keepequal", "dropequal"] {
        refused(rule(action, "a", Some("x"), "b", None), "regex", "does not take one");
        refused(Settings { modulus: 1, ..rule(action, "a", None, "b", None) }, "modulus", "does not take one");
        let settings = Settings { separator: Some(",".into()), ..rule(action, "a", None, "b", None) };
        refused(settings, "separator", "does not take one");
    }
    for action in ["labeldrop", "labelkeep"] {
        refused(rule(action, "a", Some("x"), "", None), "source_labels", "does not take one");
        refused(rule(action, "", Some("x"), "b", None), "target_label", "does not take one");
        refused(rule(action, "", Some("x"), "", Some("y")), "replacement", "does not take one");
        refused(Settings { modulus: 1, ..rule(action, "", Some("x"), "", None) }, "modulus", "does not take one");
    }
    refused(rule("keep", "a-b", None, "", None), "source_labels", "no label name");
    refused(rule("keep", "a", Some("(?!x)"), "", None), "regex", "negative look-ahead");
    refused(rule("hashmod", "a", Some("("), "b", None), "modulus", "not 0");
    refused(rule("uppercase", "a", Some("("), "b", None), "regex", "not closed");
}

#[test]
fn takes_what_prometheus_takes() {
    // The defaults written out are defaults, and fields that an action does not look at are allowed.
    let written = |action: &str| Settings {
        separator: Some(";".into()),
        replacement: Some("$1".into()),
        ..rule(action, "a", Some("(.*)"), "b", None)
    };
    for action in ["replace", "keepequal", "dropequal", "lowercase", "uppercase", "keep", "drop"] {
        assert!(Rules::compile(&[written(action)]).is_ok(), "{action}");
    }
    for (name, action) in Action::NAMES {
        assert_eq!(Action::by_name(&name.to_uppercase()), Some(action));
        assert_eq!(action.name(), name);
    }
    assert_eq!(Action::by_name("no"), None);
    assert!(Rules::compile(&[rule("replace", "a", None, "${1}_x$name", None)]).is_ok());
}

#[test]
fn growth_is_bounded() {
    let double = Settings { separator: Some(String::new()), ..rule("replace", "a,a", None, "a", None) };
    let rules = Rules::compile(&vec![double; 64]).unwrap();
    let mut map: LabelMap = [("a", "xx")].into_iter().collect();
    assert!(rules.apply(&mut map, &mut rules.scratch()));
    assert_eq!(map.get("a").len(), RELABEL_VALUE_BYTES);
}

fn any_rule() -> impl Strategy<Value = Settings> {
    let words = || prop::sample::select(vec!["a", "b", "__tmp_c", "$1", "${1}_x", "x$2", "größe", "1", "", "$1$1$1"]);
    let regexes = || prop::sample::select(vec!["(.*)", ".*", "(.)(.*)", "a|b", "__(.+)", "(?i)A.*", "", "(x)?.*"]);
    let sources = prop::collection::vec(prop::sample::select(vec!["a", "b", "__tmp_c", "none"]), 0..3);
    (0..11usize, sources, prop::option::of(regexes()), words(), prop::option::of(words()), 0..5u64).prop_map(
        |(action, sources, regex, target, replacement, modulus)| Settings {
            action: Action::NAMES[action].1,
            source_labels: sources.into_iter().map(str::to_owned).collect(),
            separator: None,
            regex: regex.map(str::to_owned),
            modulus,
            target_label: target.to_owned(),
            replacement: replacement.map(str::to_owned),
        },
    )
}

proptest! {
    #[test]
    fn names_are_always_valid(
        rules in prop::collection::vec(any_rule(), 1..12),
        labels in prop::collection::vec(("a|b|__tmp_c|__path__|__name__|_", "[ab1_ -]{0,6}|\\PC{0,6}"), 0..6),
    ) {
        // Rules that are none are left out, so that most cases get somewhere.
        let rules: Vec<Settings> = rules.into_iter().filter(|rule| Rules::compile(std::slice::from_ref(rule)).is_ok()).collect();
        let rules = Rules::compile(&rules).unwrap();
        let mut map: LabelMap = labels.iter().map(|(name, value)| (name, value)).collect();
        rules.apply(&mut map, &mut rules.scratch());
        for (name, value) in map.iter() {
            prop_assert!(is_label_name(name), "{}", name);
            prop_assert!(!value.is_empty());
        }
        map.drop_internal();
        prop_assert!(map.iter().all(|(name, _)| !name.starts_with("__")));
    }
}
