//! Tests of `base/expression.rs`.

use super::*;
use proptest::prelude::*;

#[track_caller]
fn check(pattern: &str, matching: &[&str], others: &[&str]) {
    let regex = compile_anchored(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
    let anchored = Anchored::new(pattern).unwrap();
    for text in matching {
        assert!(regex.is_match(text), "{pattern} should match {text:?}");
        assert!(anchored.is_match(text), "{pattern} should match {text:?} the short way");
    }
    for text in others {
        assert!(!regex.is_match(text), "{pattern} should not match {text:?}");
        assert!(!anchored.is_match(text), "{pattern} should not match {text:?} the short way");
    }
}

#[test]
fn means_what_it_means_in_go() {
    check(r"\d+", &["0", "129"], &["", "٣", "a"]);
    check(r"\w+", &["aZ_9"], &["ä", "-"]);
    check(r"\S+\s\S+", &["ä ö", "a\tb"], &["a\u{b}b", "a\u{a0}b"]);
    check(r"[\d.]+", &["1.2"], &["1,2"]);
    check(r"[^\d]", &["a", "٣"], &["1"]);
    check(r"[\D]", &["a"], &["1"]);
    check(r"[\w-]+", &["a-b"], &["a b"]);
    check(r".*\bfoo\b.*", &["a foo b", "äfoo"], &["afoo"]);
    check(r"a\Bb", &["ab"], &["a b"]);
    // Braces that count nothing are text, as in patterns for JSON.
    check(r#"{"a":(\d+)}"#, &[r#"{"a":1}"#], &[r#""a":1"#]);
    check(r"a{,2}", &["a{,2}"], &["aa"]);
    check(r"a{x}", &["a{x}"], &["a"]);
    check(r"a{2,3}", &["aa", "aaa"], &["a", "aaaa", "a{2,3}"]);
    check(r"a{2}?b", &["aab"], &["ab"]);
    // Brackets in classes, and what the crate would take as set operations.
    check(r"[^[]*", &["abc", ""], &["a[b"]);
    check(r"\[([^]]+)\]", &["[abc]"], &["[]", "[a]]"]);
    check(r"[]a]+", &["]a"], &["[a"]);
    check(r"[a&&b]+", &["a&b"], &["c"]);
    check(r"[+--]+", &["+,-"], &["b"]);
    check(r"[a~~b]+", &["a~b"], &["c"]);
    check(r"[a-]+", &["a-"], &["b"]);
    check(r"[-a]+", &["-a"], &["b"]);
    check(r"[[:alpha:]_]+", &["ab_"], &["1", "ä"]);
    check(r"[[:^digit:]]", &["a"], &["1"]);
    check(r"\<a\>", &["<a>"], &["a"]);
    check(r#"\"\/\_\ \-\@"#, &["\"/_ -@"], &[]);
    check(r"\Qa.b*\E+", &["a.b*", "a.b**"], &["aXb*"]);
    check(r"\Qa.b", &["a.b"], &["axb"]);
    check(r"\x41\x{42}\103", &["ABC"], &["ABc"]);
    check(r"\0\t\n\a\f\v\r", &["\0\t\n\u{7}\u{c}\u{b}\r"], &[]);
    check(r"(?i)straße|ΣΑΣ", &["STRAßE", "σας", "σασ"], &["x"]);
    check(r"(?i:a)b", &["Ab", "ab"], &["AB"]);
    check(r"(?i-s:a.)", &["Ab"], &["A\n"]);
    check(r"(?i-i:a)", &["a"], &["A"]);
    check(r"(?)a", &["a"], &[]);
    check("a.b", &["a\nb", "aäb"], &["ab"]);
    check(r"\p{L}+", &["aäß漢"], &["1"]);
    check(r"\pN\PN", &["1a", "٣x"], &["11"]);
    check(r"\p{Greek}[\p{^Greek}\p{Lu}]", &["αA", "α1"], &["αβ"]);
    check(r"(?P<a>x)(?<b>y)", &["xy"], &[]);
    check("#a b ~ & -", &["#a b ~ & -"], &[]);
    check("", &[""], &["a"]);
    check("a|", &["a", ""], &["b"]);
    check("^*a", &["a"], &[]);
}

#[test]
fn short_ways_are_as_good() {
    check(".*", &["", "a\nb"], &[]);
    check("(.*)", &["", "a\nb"], &[]);
    check(".+", &["\n"], &[""]);
    check("api", &["api"], &["API", "apis", ""]);
    check("(api|web)", &["api", "web"], &["(api", "api|web"]);
    check("(?:api|)", &["api", ""], &["web"]);
    check(r"a\.b", &["a.b"], &["axb"]);
    check("/var/log/.*", &["/var/log/", "/var/log/a\nb"], &["/var/log"]);
    check(r".*\.log", &[".log", "a.log"], &["a.log.1", "alog"]);
    check(".*err.*", &["err", "an error"], &["er"]);
    check(r"a\.*", &["a", "a..."], &["ab"]);
    check("(a)(b)", &["ab"], &["a)(b"]);
    check("(a)|(b)", &["a", "b"], &["a)|(b", "ab"]);
}

#[test]
fn beginnings() {
    for (pattern, expected) in [
        ("__meta_label_(.+)", "__meta_label_"),
        ("abc*", "ab"),
        ("abc{0,2}", "ab"),
        ("ab(c)?", "ab"),
        ("ä*", ""),
        ("word", "word"),
        (".*", ""),
        ("a|b", ""),
        ("ab(?i:c)", ""),
        (r"a\.b", "a"),
    ] {
        assert_eq!(beginning(pattern), expected, "{pattern}");
    }
}

#[track_caller]
fn refused(pattern: &str, column: usize, text: &str) {
    let error = compile(pattern).expect_err(pattern);
    assert!(error.to_string().contains(text), "{pattern}: {error}");
    assert_eq!(error.column, column, "{pattern}: {error}");
    assert_eq!(compile_anchored(pattern).map(|_| ()), Err(error.clone()));
    assert_eq!(Anchored::new(pattern).map(|_| ()), Err(error));
}

#[test]
fn errors_have_a_place_and_a_remedy() {
    refused(r"ä(?=b)", 2, "look-ahead is not possible: match what follows too");
    refused(r"(?!a)", 1, "negative look-ahead");
    refused(r"x(?<=a)", 2, "look-behind is not possible");
    refused(r"x(?<!a)", 2, "negative look-behind");
    refused(r"(a)\1", 4, "back references are not possible");
    refused(r"(?P<a>.)(?P=a)", 9, "back references");
    refused(r"(?P<a>.)\k<a>", 9, "back references");
    refused(r"(?>a)", 1, "atomic groups");
    refused(r"a++", 3, "no possessive operators");
    refused(r"a**", 3, "repetition of a repetition");
    refused(r"*a", 1, "nothing to repeat");
    refused(r"a|{2}", 3, "nothing to repeat");
    refused(r"a{2,1}", 2, "2 to 1 is no range");
    refused(r"a{1001}", 2, "at most 1000");
    refused(r"a{99999999999}", 2, "at most 1000");
    refused(r"(a", 1, "not closed");
    refused(r"a)", 2, "closes nothing");
    refused(r"a[b", 2, "class is not closed");
    refused(r"[z-a]", 2, "no range");
    refused(r"[[:nope:]]", 2, "[:nope:] is not known; there are alnum");
    refused(r"a\", 2, "ends with a backslash");
    refused(r"a\Z", 2, "write $ or \\z");
    refused(r"\y", 1, "\\y is not known");
    refused(r"[\b]", 2, "\\b is not known");
    refused(r"(?x)a", 3, "flag x is not possible");
    refused(r"(?P<1>a)", 5, "cannot be a group's name");
    refused(r"(?P<a>a)(?P<a>b)", 13, "two groups have the name a");
    refused(r"\xzz", 1, "no character");
    refused(r"\x{110000}", 1, "no character");
    refused(r"\p{Klingon}", 1, "not found");
    refused(r"(?i", 1, "not closed");
}

#[test]
fn size_is_bounded() {
    for pattern in [r"(\pL{1000}){1000}", r"((((a{100}){100}){100}){100})", r"[^x]{1000}[^y]{1000}\pL{1000}"] {
        let error = compile(pattern).expect_err(pattern);
        assert!(error.what.contains("when compiled"), "{error}");
    }
    let long = "a".repeat(EXPRESSION_BYTES + 1);
    assert!(compile(&long).is_err_and(|e| e.what.contains("longer than")));
    let deep = format!("{}{}", "(".repeat(1000), ")".repeat(1000));
    assert!(compile(&deep).is_err_and(|e| e.what.contains("inside each other")));
    // What is large and still real.
    let fields = r#"^(?P<a>[\d.]+) - (?P<b>[^ ]{1,255}) \[(?P<c>[^]]{1,100})\] "(?P<d>[^"]{0,500})" (?P<e>\d{3})"#;
    assert!(compile(fields).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_an_error(pattern in r"[ab0-9\\\[\](){}?*+|.^$:<>P=!,&~#\-ipdwsQEx]{0,24}", text in "[ab(){}\\[ ]{0,12}") {
        if let Ok(regex) = compile(&pattern) {
            regex.is_match(&text);
        }
        let long = compile_anchored(&pattern);
        prop_assert!(!long.as_ref().is_ok_and(|long| long.is_match(&text)) || text.starts_with(&beginning(&pattern)));
        let short = Anchored::new(&pattern);
        prop_assert_eq!(long.is_ok(), short.is_ok());
        if let (Ok(long), Ok(short)) = (long, short) {
            prop_assert_eq!(long.is_match(&text), short.is_match(&text));
        }
    }

    /// What the checks here let through, the crate does not refuse for its syntax, and any unicode is no harm.
    #[test]
    fn nothing_is_left_for_the_crate_to_refuse(pattern in r"([ab0-9\\\[\](){}?*+|.^$:<>,&~#\-idwsQEx]|ä){0,24}") {
        if let Err(error) = compile(&pattern) {
            prop_assert!(!error.what.contains("repetition operator missing") && !error.what.contains("unrecognized"), "{}", error);
        }
    }

    #[test]
    fn quoted_text_matches_itself(text in "\\PC{0,20}") {
        prop_assume!(!text.contains("\\E"));
        let pattern = format!("\\Q{text}\\E");
        prop_assert!(compile_anchored(&pattern).is_ok_and(|regex| regex.is_match(&text)));
    }
}
