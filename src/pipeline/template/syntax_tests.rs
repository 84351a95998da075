//! The grammar: what Go makes of it, what is refused, and what is bounded.

use super::*;
use proptest::prelude::*;

/// Keys of a line, as the stages would hold them.
pub(super) const KEYS: [(&str, &str); 8] = [
    ("Value", "Hello World"),
    ("Entry", "the line"),
    ("level", "info"),
    ("n", "42"),
    ("empty", ""),
    ("path", "a,b,c"),
    ("foo-bar", "dashed"),
    ("json", "{\"a\":{\"b\":[1,\"x\",null]},\"c\":1.5}"),
];

struct Line;

impl Lookup for Line {
    fn get(&self, slot: Slot) -> Option<&str> {
        KEYS.get(slot as usize).map(|(_, value)| *value)
    }

    fn now_ns(&self) -> i64 {
        1_136_214_245_000_000_000
    }
}

pub(super) fn compile(text: &str) -> Result<Template, CompileError> {
    Template::compile(text, &mut |name| {
        let found = KEYS.iter().position(|(key, _)| *key == name).unwrap_or(KEYS.len());
        Slot::try_from(found).unwrap()
    })
}

pub(super) fn render(text: &str) -> Result<String, RenderError> {
    let template = compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut out = String::from("before ");
    let result = template.render(&Line, &mut Scratch::default(), &mut out);
    let made = out.strip_prefix("before ").unwrap().to_owned();
    assert!(result.is_ok() || made.is_empty(), "{text}: an error leaves {made}");
    result.map(|()| made)
}

pub(super) fn check(table: &[(&str, &str)]) {
    for (template, expected) in table {
        assert_eq!(render(template).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn text_actions_and_trimming() {
    check(&[
        ("", ""),
        ("plain", "plain"),
        ("a {{ .level }} b", "a info b"),
        ("{{.Value}}|{{.Entry}}", "Hello World|the line"),
        ("a  {{- .level -}}  b", "ainfob"),
        ("a \n {{- 3}} < {{3 -}} \t b", "a3 < 3b"),
        ("{{-3}}", "-3"),
        ("{{/* nothing */}}x", "x"),
        ("a {{- /* nothing */ -}} b", "ab"),
        ("}} {", "}} {"),
        ("{{ \"}}\" }}", "}}"),
        ("{{ `a\"\\n` }}", "a\"\\n"),
        ("{{ \"a\\tb\\u00e4\\x41\\101\\\"\" }}", "a\tbäAA\""),
        ("{{ 'a' }} {{ '\\n' }} {{ 'ä' }}", "97 10 228"),
        ("{{ 0x10 }} {{ 010 }} {{ 1_000 }} {{ -5 }} {{ 1.50 }} {{ 1e3 }} {{ .5 }}", "16 8 1000 -5 1.5 1000 0.5"),
        ("{{ true }} {{ false }}", "true false"),
        ("{{ .missing }}", "<no value>"),
        ("{{ .missing.part }}", "<no value>"),
        ("{{ $.level }}", "info"),
        ("{{ index . \"foo-bar\" }}", "dashed"),
        ("{{ index $ \"nope\" }}", "<no value>"),
        ("{{ get . \"level\" | ToUpper }}", "INFO"),
        ("{{ hasKey . \"level\" }} {{ hasKey . \"nope\" }}", "true false"),
        ("{{ print .missing }}", "<nil>"),
        ("{{ print nil }}", "<nil>"),
    ]);
}

#[test]
fn pipes_and_parentheses() {
    check(&[
        ("{{ .Value | ToLower | ToUpper }}", "HELLO WORLD"),
        ("{{ ToLower .Value | replace \"o\" \"0\" }}", "hell0 w0rld"),
        ("{{ (ToLower .Value) }}", "hello world"),
        ("{{ Replace (ToLower .Value) \"l\" \"L\" 2 }}", "heLLo world"),
        ("{{ printf \"%s-%s\" (.level | upper) (print .n) }}", "INFO-42"),
        ("{{ (split \",\" .path)._1 }}", "b"),
        ("{{ (dict \"a\" (dict \"b\" \"deep\")).a.b }}", "deep"),
        ("{{ (fromJson .json).a.b }}", "[1 x <nil>]"),
    ]);
}

#[test]
fn conditions() {
    check(&[
        ("{{ if .level }}y{{ end }}", "y"),
        ("{{ if .empty }}y{{ else }}n{{ end }}", "n"),
        ("{{ if .missing }}y{{ else }}n{{ end }}", "n"),
        ("{{ if 0 }}a{{ else if 0.0 }}b{{ else if \"\" }}c{{ else if 1 }}d{{ else }}e{{ end }}", "d"),
        ("{{ if eq .level \"info\" }}1{{ else if eq .level \"warn\" }}2{{ end }}", "1"),
        ("{{ if and .level (eq .n \"42\") }}y{{ end }}", "y"),
        ("{{ if or .missing .level }}y{{ end }}", "y"),
        ("{{ if not .missing }}y{{ end }}", "y"),
        ("{{ and 1 0 2 }} {{ or 0 \"\" \"x\" }} {{ and \"a\" \"b\" }} {{ or 0 \"\" }}|", "0 x b |"),
        // The second argument would fail.
        ("{{ or .level (ToUpper .missing) }}", "info"),
        ("{{ with .level }}[{{ . }}]{{ end }}", "[info]"),
        ("{{ with .missing }}a{{ else }}b{{ end }}", "b"),
        ("{{ with .missing }}a{{ else with .level }}{{ . }}{{ end }}", "info"),
        ("{{ with $x := .level }}{{ $x }}{{ . }}{{ $.n }}{{ end }}", "infoinfo42"),
        ("{{ with dict \"k\" 1 }}{{ .k }}{{ .other }}{{ end }}", "1<no value>"),
        ("{{ if .level }}{{ if .empty }}a{{ else }}b{{ end }}{{ end }}c", "bc"),
    ]);
}

#[test]
fn variables_and_ranges() {
    check(&[
        ("{{ $x := .level }}{{ $x }}", "info"),
        ("{{ $x := 1 }}{{ $x = 2 }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 3 }}{{ $y }}{{ end }}{{ $x }}", "32"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ $x := .level | upper }}{{ $x }}{{ $x }}", "INFOINFO"),
        ("{{ $m := dict \"a\" \"b\" }}{{ $m.a }}", "b"),
        ("{{ range splitList \",\" .path }}<{{ . }}>{{ end }}", "<a><b><c>"),
        ("{{ range $i, $p := splitList \",\" .path }}{{ $i }}{{ $p }}{{ end }}", "0a1b2c"),
        ("{{ range $p := splitList \",\" .path }}{{ $p }}{{ $.level }}{{ end }}", "ainfobinfocinfo"),
        ("{{ range .missing }}a{{ else }}none{{ end }}", "none"),
        ("{{ range list }}a{{ else }}none{{ end }}", "none"),
        ("{{ range $k, $v := dict \"b\" 2 \"a\" 1 }}{{ $k }}{{ $v }}{{ end }}", "a1b2"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        (
            "{{ range until 5 }}{{ if eq . 3 }}{{ break }}{{ end }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ . }}{{ end }}",
            "02",
        ),
        ("{{ range list 1 2 }}{{ range list 8 9 }}{{ . }}{{ end }}{{ . }}{{ end }}", "891892"),
        ("{{ with 5 }}{{ range list 1 }}{{ . }}{{ end }}{{ . }}{{ end }}", "15"),
    ]);
}

#[test]
fn failures_of_a_line() {
    assert_eq!(
        render("{{ ToUpper .missing }}"),
        Err(RenderError::Argument { function: "ToUpper", wanted: "text", given: "no value" })
    );
    for template in [
        "x{{ .missing | ToLower }}",
        "{{ .level.part }}",
        "{{ range .level }}{{ end }}",
        "{{ div 1 0 }}",
        "{{ mod 1 0 }}",
        "{{ eq 1 \"1\" }}",
        "{{ lt .missing \"a\" }}",
        "{{ lt 1 1.5 }}",
        "{{ index (list 1) 1 }}",
        "{{ len 3 }}",
        "{{ len .missing }}",
        "{{ Replace .Value \"a\" \"b\" \"1\" }}",
        "{{ substr 0 99 .level }}{{ slice .level 3 99 }}",
        "{{ fail \"no\" }}",
        "{{ first .level }}",
        "{{ b64dec \"!\" }}",
        "{{ repeat -1 \"x\" }}",
    ] {
        assert!(render(template).is_err(), "{template}");
    }
}

#[test]
fn what_is_not_supported_is_named_with_its_place() {
    let error = |text: &str| compile(text).expect_err(text);
    let missing = error("line one\n  {{ .a | frobnicate 1 }}");
    assert_eq!((missing.line, missing.column), (2, 11));
    assert_eq!(missing.problem, Problem::Function("frobnicate".to_owned()));
    assert!(missing.to_string().contains("line 2, column 11") && missing.to_string().contains("`frobnicate`"));
    assert_eq!(error("{{ template \"x\" }}").problem, Problem::Action("template".to_owned()));
    assert_eq!(error("{{ define \"x\" }}{{ end }}").problem, Problem::Action("define".to_owned()));
    assert_eq!(error("{{ env \"HOME\" }}").problem, Problem::Function("env".to_owned()));
    for (text, remedy) in [
        ("{{ env \"HOME\" }}", "write ${NAME} in its place, which is the variable when the configuration is read"),
        (
            "{{ expandenv \"$HOME\" }}",
            "write ${NAME} in its place, which is the variable when the configuration is read",
        ),
        ("{{ uuidv4 }}", "take it out, for a line that is sent again has to be the same"),
        ("{{ randAlpha 5 }}", "take it out, for a line that is sent again has to be the same"),
        ("{{ ToUper .a }}", "did you mean `ToUpper`?"),
        ("{{ pow .a 2 }}", "take it out of the template"),
        ("{{ regexReplace \"a\" .a \"b\" }}", "did you mean `regexReplaceAll`?"),
        ("{{ frobnicate .a }}", "take it out of the template"),
    ] {
        let shown = error(text).to_string();
        assert!(shown.ends_with(&format!("` is not supported; {remedy}")), "{shown}");
    }
    assert_eq!(error("{{ $x }}").problem, Problem::Variable("x".to_owned()));
    assert_eq!(error("{{ if true }}{{ $y := 1 }}{{ end }}{{ $y }}").problem, Problem::Variable("y".to_owned()));
    assert_eq!(error("{{ . }}").problem, Problem::Everything("."));
    assert_eq!(error("{{ toJson $ }}").problem, Problem::Everything("$"));
    assert_eq!(error("{{ index . .key }}").problem, Problem::Everything("."));
    assert!(matches!(error("{{ ToLower }}").problem, Problem::Arguments { given: 0, .. }));
    assert!(matches!(error("{{ .a | ToLower \"x\" }}").problem, Problem::Arguments { given: 2, .. }));
    assert!(matches!(error("{{ default }}").problem, Problem::Arguments { .. }));
    assert!(matches!(error("{{ or }}").problem, Problem::Arguments { .. }));
    assert_eq!(error("{{ regexReplaceAll .a .b \"\" }}").problem, Problem::Pattern("regexReplaceAll".to_owned()));
    assert!(matches!(error("{{ regexReplaceAll \"(\" .b \"\" }}").problem, Problem::Regex(_)));
    for bad in [
        "{{",
        "{{ .a",
        "{{ }}",
        "{{ end }}",
        "{{ else }}",
        "{{ if }}{{ end }}",
        "{{ if .a }}",
        "{{ if .a }}{{ else }}{{ else }}{{ end }}",
        "{{ if .a }}{{ end .b }}",
        "{{ if .a }}{{ else .b }}{{ end }}",
        "{{ range .a }}{{ else if .b }}{{ end }}",
        "{{ break }}",
        "{{ if .a }}{{ continue }}{{ end }}",
        "{{ .foo-bar }}",
        "{{ .a .b }}",
        "{{ .a | .b }}",
        "{{ .a | \"x\" }}",
        "{{ | ToLower }}",
        "{{ .a | }}",
        "{{ (.a }}",
        "{{ .a) }}",
        "{{ \"a }}",
        "{{ `a }}",
        "{{ 'ab' }}",
        "{{ \"\\q\" }}",
        "{{ 1x }}",
        "{{ 0x1.5 }}",
        "{{ 99999999999999999999x }}",
        "{{ nil }}",
        "{{ /* a }}",
        "{{ /* a */ .b }}",
        "{{ $ := 1 }}",
        "{{ $x = 1 }}",
        "{{ range $a, := .b }}{{ end }}",
        "{{ # }}",
        "{{ .a ; }}",
    ] {
        assert!(compile(bad).is_err(), "{bad}");
    }
}

#[test]
fn hostile_templates_end() {
    let nested = |n: usize| format!("{}x{}", "{{ if 1 }}".repeat(n), "{{ end }}".repeat(n));
    assert!(compile(&nested(60)).is_ok());
    assert!(matches!(compile(&nested(70)).unwrap_err().problem, Problem::TooLarge(_)));
    for (open, close) in [("(", ")"), ("ToLower (", ")"), ("", " | ToLower"), ("", ".a")] {
        let text = format!("{{{{ {}$.a{} }}}}", open.repeat(2000), close.repeat(2000));
        assert!(matches!(compile(&text).unwrap_err().problem, Problem::TooLarge(_)), "{open}{close}");
    }
    let chain = format!("{{{{ if 0 }}}}{}{{{{ end }}}}", "{{ else if 0 }}".repeat(2000));
    assert!(matches!(compile(&chain).unwrap_err().problem, Problem::TooLarge(_)));
    assert!(matches!(compile(&"x".repeat(TEMPLATE_BYTES + 1)).unwrap_err().problem, Problem::TooLarge(_)));
    let big = "{{ range 1000000000 }}{{ end }}";
    assert_eq!(render(big), Err(RenderError::TooMuch));
    for bomb in [
        "{{ repeat 1000000000 .Value }}",
        "{{ repeat 9223372036854775807 .Value }}",
        "{{ $x := .Value }}{{ range until 100 }}{{ $x = print $x $x }}{{ end }}",
        "{{ range until 60000 }}{{ repeat 1000 \"x\" }}{{ end }}",
        "{{ $x := list 1 }}{{ range until 100 }}{{ $x = list $x $x }}{{ end }}{{ $x }}",
        "{{ $x := list }}{{ range until 60 }}{{ $x = list $x $x }}{{ end }}{{ $x }}",
        "{{ $x := list }}{{ range until 60 }}{{ $x = list $x $x }}{{ end }}{{ toJson $x }}",
        "{{ $x := list }}{{ range until 60000 }}{{ $x = append $x . }}{{ end }}",
        "{{ uniq (until 60000) }}",
        "{{ until 1000000 }}",
        "{{ splitList \"\" (repeat 100000 \"x\") }}",
        "{{ $x := repeat 1000000 \"x\" }}{{ range until 60000 }}{{ contains \"y\" $x }}{{ end }}",
        "{{ $x := repeat 1000000 \"x\" }}{{ regexReplaceAll \".*\" $x \"$0$0$0$0$0$0\" }}",
        "{{ replace \"\" (repeat 1000 \"y\") (repeat 100000 \"x\") }}",
        "{{ indent 1000000000 .Value }}",
    ] {
        assert!(matches!(render(bomb), Err(RenderError::TooMuch | RenderError::TooLarge(_))), "{bomb}");
    }
    // A width is cut to what is sensible, as there is no error for it.
    assert_eq!(render("{{ printf \"%999999999d\" 1 }}").map(|text| text.len()), Ok(4096));
}

/// Buffers come back to the scratch, however many texts are made.
#[test]
fn buffers_are_used_again() {
    let template =
        compile("{{ .Value | ToUpper | replace \"L\" \"__\" | ToLower | trim }}{{ Hash \"a\" .Value }}").unwrap();
    let mut scratch = Scratch::default();
    let mut out = String::new();
    template.render(&Line, &mut scratch, &mut out).unwrap();
    let known: Vec<*const u8> = scratch.spare.iter().map(|text| text.as_ptr()).collect();
    assert!(!known.is_empty());
    for _ in 0..10 {
        out.clear();
        template.render(&Line, &mut scratch, &mut out).unwrap();
        let mut again: Vec<*const u8> = scratch.spare.iter().map(|text| text.as_ptr()).collect();
        again.sort();
        let mut sorted = known.clone();
        sorted.sort();
        assert_eq!(again, sorted);
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC{0,60}") {
        if let Ok(template) = compile(&text) {
            let _ = template.render(&Line, &mut Scratch::default(), &mut String::new());
        }
    }

    #[test]
    fn nearly_templates_do_not_panic(words in proptest::collection::vec(0usize..40, 0..25)) {
        const WORDS: [&str; 40] = [
            "{{", "}}", "{{- ", " -}}", " if ", " else ", " end ", " range ", " with ", "{{end}}", ".Value", ".missing", ".", "$", "$x",
            ":=", "=", ",", "|", "(", ")", " ToUpper ", " list ", " index ", " printf ", "\"%d%s\"", " eq ", " 1 ", " -1 ", " 1.5 ",
            " nil ", " substr ", " trunc ", " slice ", " dict ", " fromJson ", " until ", " \"ä\" ", " splitList ", " date ",
        ];
        let text: String = words.into_iter().map(|word| WORDS[word]).collect();
        if let Ok(template) = compile(&text) {
            let _ = template.render(&Line, &mut Scratch::default(), &mut String::new());
        }
    }

    #[test]
    fn functions_do_not_panic(name in 0usize..200, args in proptest::collection::vec(0usize..12, 0..4)) {
        const ARGS: [&str; 12] = [
            ".Value", ".missing", "\"äöü\"", "1", "-3", "1.5", "true", "nil", "(list \"ä\" 1 nil)", "(dict \"a\" 1)", "\"\"",
            "9223372036854775807",
        ];
        let names: Vec<&str> = super::functions::names().collect();
        let call: Vec<&str> = std::iter::once(names[name % names.len()]).chain(args.into_iter().map(|arg| ARGS[arg])).collect();
        let text = format!("{{{{ {} }}}}", call.join(" "));
        if let Ok(template) = compile(&text) {
            let _ = template.render(&Line, &mut Scratch::default(), &mut String::new());
        }
    }
}
