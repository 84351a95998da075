//! Tests of `format/logql.rs`.

use super::*;
use proptest::prelude::*;

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn value<'a>(labels: &[(&str, &'a str)], name: &str) -> &'a str {
    labels.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

#[test]
fn labels() {
    let labels = [("app", "shop"), ("env", "prod"), ("path", "/var/log/a.log"), ("uni", "größe"), ("__name__", "x")];
    for (text, expected) in [
        ("{}", true),
        (r#"{app="shop"}"#, true),
        (r#" { app = "shop" , env="prod" } "#, true),
        (r#"{app="shop",env="test"}"#, false),
        (r#"{app!="shop"}"#, false),
        (r#"{app!="web"}"#, true),
        (r#"{app=~"sh.*"}"#, true),
        (r#"{app=~"sh"}"#, false),
        (r#"{app=~"sh|shop"}"#, true),
        (r#"{app=~"SHOP"}"#, false),
        (r#"{app=~"(?i)SHOP"}"#, true),
        (r#"{app!~"sh.*"}"#, false),
        (r#"{app!~"sh"}"#, true),
        // What is absent is empty, and empty is absent.
        (r#"{none=""}"#, true),
        (r#"{none!=""}"#, false),
        (r#"{none=~".*"}"#, true),
        (r#"{none=~".+"}"#, false),
        (r#"{none!~".+"}"#, true),
        (r#"{none!="x"}"#, true),
        (r#"{app=""}"#, false),
        (r#"{path=~"/var/log/.*\\.log"}"#, true),
        (r"{path=~`/var/log/.*\.log`}", true),
        (r#"{uni="gr\u00f6\U000000dfe"}"#, true),
        (r#"{uni="gr\xc3\xb6\303\237e"}"#, true),
        (r#"{uni=~"gr..e"}"#, true),
        (r#"{__name__="x"}"#, true),
        ("{app=\"shop\", # the shop\n env=`prod`}", true),
    ] {
        let selector = selector(text);
        assert_eq!(selector.matches_labels(&|name| value(&labels, name)), expected, "{text}");
        let names: Vec<&str> = selector.label_names().collect();
        assert_eq!(selector.matches_values(&|i| value(&labels, names[i])), expected, "{text}");
        assert!(!selector.reads_line());
    }
}

#[test]
fn lines() {
    let line = r#"level=error msg="größe \ failed" took 12ms"#;
    for (text, expected) in [
        (r#"|= "error""#, true),
        (r#"|= "ERROR""#, false),
        (r#"!= "error""#, false),
        (r#"!= "debug""#, true),
        (r#"|~ "err.r msg""#, true),
        (r#"|~ "^err""#, false),
        (r#"|~ "(?i)ERROR""#, true),
        (r#"|~ "(?i)GRÖSSE|GRÖßE""#, true),
        (r#"!~ "took \\d+ms$""#, false),
        (r"|~ `took \d+ms$`", true),
        (r"|= `\`", true),
        (r#"|= "\\""#, true),
        (r#"|= "\"gr""#, true),
        (r#"|= """#, true),
        (r#"!= """#, false),
        (r#"|= "error" |= "took" != "debug""#, true),
        (r#"|= "error" != "took""#, false),
        (r#"|= "a1" or "b1" or "failed""#, true),
        (r#"|= "a1" or "b1""#, false),
        (r#"!= "a1" or "failed""#, false),
        (r#"!= "a1" or "b1""#, true),
        (r#"|~ "a1" or "to{3}k""#, false),
        (r#"|~ "a1" or "to{2}k""#, true),
        (r#"|="error"|="took""#, true),
        (r#"|> "<_>took <_>""#, true),
        (r#"|> "level=<_> <_>""#, true),
        (r#"|> "level=<_>""#, true),
        (r#"|> "error <_>12ms""#, true),
        // The first place counts, as in Loki: `ms` is also that of `msg`, and the gap before it would be empty.
        (r#"|> "error <_>ms""#, false),
        (r#"|> "<_>took""#, false),
        (r#"|> "<_>level=<_>""#, false),
        (r#"|> "<_>""#, true),
        (r#"|> "nothing" or "<_>12ms""#, true),
        (r#"!> "<_>took <_>""#, false),
        (r#"!> "<_>debug<_>""#, true),
    ] {
        let selector = selector(&format!("{{a=\"b\"}} {text}"));
        assert_eq!(selector.matches_line(line), expected, "{text}");
        assert!(selector.reads_line());
    }
    assert!(!selector(r#"{} |> "<_>""#).matches_line(""));
    assert!(selector(r#"{} |> """#).matches_line(""));
    assert!(!selector(r#"{} |> """#).matches_line("a"));
    assert!(selector(r#"{} |> "a < b <c d><_>""#).matches_line("a < b <c d>x"));
}

#[track_caller]
fn refused(text: &str, column: usize, says: &str) {
    let error = Selector::parse(text).expect_err(text);
    assert!(error.to_string().contains(says), "{text}: {error}");
    assert_eq!(error.column, column, "{text}: {error}");
}

#[test]
fn errors_have_a_place_and_a_remedy() {
    refused("", 1, "begins with {");
    refused(r#"app="a""#, 1, r#"as in {app="...""#);
    refused(r#"rate({a="b"}[5m])"#, 1, "`rate(...)` is a metric query");
    refused("{", 2, "a label's name and there is the end");
    refused(r#"{a="b""#, 7, "there should be , or }");
    refused(r#"{a="b" c="d"}"#, 8, "there should be , or }");
    refused(r#"{a="b",}"#, 8, "remove the comma");
    refused(r#"{1a="b"}"#, 2, "a label's name");
    refused(r#"{ä="b"}"#, 2, "a label's name");
    refused(r#"{a b="c"}"#, 4, "=, !=, =~ or !~ behind a");
    refused(r#"{a=="c"}"#, 3, "=, !=, =~ or !~");
    refused(r#"{a>"c"}"#, 3, "cannot be compared by size");
    refused(r#"{a=b}"#, 4, "a text in quotes");
    refused(r#"{a='b'}"#, 4, "not in single quotes");
    refused(r#"{a="b}"#, 4, "has no \" at its end");
    refused(r#"{a=`b}"#, 4, "has no ` at its end");
    refused("{a=\"b\n\"}", 4, "at the end of its line");
    refused(r#"{a=~"\d"}"#, 6, r"write \\d for a backslash");
    refused(r#"{a="\x4"}"#, 5, "2 hexadecimal digits");
    refused(r#"{a="\400"}"#, 5, "larger than a byte");
    refused(r#"{a="\ud800"}"#, 5, "no character of this number");
    refused(r#"{a="\xff"}"#, 4, "no UTF-8");
    refused(r#"{a=~"ö(?=x)"}"#, 5, "look-ahead is not possible");
    refused(r#"{a="b"} |~ "(""#, 12, "group is not closed");
    refused(r#"{a="b"} | json"#, 9, "`| json` is a parser, which a selector cannot have: extract with a `json` stage");
    refused(r#"{a="b"} |= "x" | logfmt | level="error""#, 16, "`| logfmt` is a parser");
    refused(r#"{a="b"} | line_format "x""#, 9, "is a format");
    refused(r#"{a="b"} | level="error""#, 9, "make level a label");
    refused(r#"{a="b"} |"#, 9, "there is the end behind |");
    refused(r#"{a="b"} "x""#, 9, "there should be a line filter");
    refused(r#"{a="b"} or {c="d"}"#, 9, "use a second `match` stage");
    refused(r#"{a="b"} |= ip("10.0.0.0/8")"#, 12, "`ip(...)` is not possible");
    refused(r#"{a="b"} |="#, 11, "a text in quotes and there is the end");
    refused(r#"{a="b"} |= "x" or"#, 18, "a text in quotes");
    refused(r#"{a="b"} |> "<_><_>""#, 12, "two <_> without a text");
    refused(r#"{a="b"} |> "<_> <name>""#, 12, "<name> would capture");
    let long = format!("{{a=\"{}\"}}", "x".repeat(SELECTOR_BYTES));
    refused(&long, 1, "longer than");
    let many = format!("{{}}{}", r#"|= "x""#.repeat(SELECTOR_PARTS + 1));
    refused(&many, 1, "conditions");
}

proptest! {
    #[test]
    fn any_text_is_a_selector_or_an_error(
        text in r#"\{?([ab_=~!,"`\\{}|<>ux0-9(.* #\n]|or|json|=~"a"|\|= "b"|<_>){0,20}"#,
        line in "[ab<>_ ]{0,12}",
    ) {
        if let Ok(selector) = Selector::parse(&text) {
            selector.matches_labels(&|name| if name == "a" { "b" } else { "" });
            selector.matches_line(&line);
        }
    }

    /// Any text, written with escapes or between backquotes, is compared as it is.
    #[test]
    fn texts_are_read_as_they_were_written(value in "\\PC{0,12}|[\\x00-\\x20\"\\\\a-c]{0,12}", other in "[a-c]{0,3}") {
        let escaped: String = value.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
        let mut forms = vec![format!("\"{escaped}\"")];
        if !value.contains(['`', '\r']) {
            forms.push(format!("`{value}`"));
        }
        for form in forms {
            let selector = selector(&format!("{{a={form}}} |= {form}"));
            prop_assert!(selector.matches_values(&|_| &value));
            prop_assert!(selector.matches_line(&value));
            prop_assert_eq!(selector.matches_values(&|_| &other), other == value);
            prop_assert_eq!(selector.matches_line(&other), other.contains(&value));
        }
    }
}
