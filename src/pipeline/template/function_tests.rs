//! Each function with the results that Go, Promtail and sprig document, or that follow from what they document.

use super::syntax_tests::{check, render};

#[test]
fn every_function_is_named_once() {
    let mut names: Vec<&str> = super::functions::names().collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn of_promtail() {
    check(&[
        ("{{ ToLower .Value }}", "hello world"),
        ("{{ ToUpper .Value }}", "HELLO WORLD"),
        ("{{ ToUpper \"straße ŉ ä\" }}", "STRAßE ŉ Ä"),
        ("{{ ToLower \"ÄİΣ\" }}", "äiσ"),
        ("{{ Replace .Value \"l\" \"L\" 2 }}", "HeLLo World"),
        ("{{ Replace .Value \"l\" \"L\" -1 }}", "HeLLo WorLd"),
        ("{{ Replace .Value \"l\" \"L\" 0 }}", "Hello World"),
        ("{{ Replace \"abc\" \"\" \"-\" -1 }}", "-a-b-c-"),
        ("{{ Replace \"abc\" \"\" \"-\" 2 }}", "-a-bc"),
        ("{{ Trim \"¡¡¡Hello!!!\" \"!¡\" }}", "Hello"),
        ("{{ TrimLeft \"¡¡¡Hello!!!\" \"!¡\" }}", "Hello!!!"),
        ("{{ TrimRight \"¡¡¡Hello!!!\" \"!¡\" }}", "¡¡¡Hello"),
        ("{{ Trim .Value \",. \" }}", "Hello World"),
        ("{{ TrimPrefix .Value \"Hello\" }}", " World"),
        ("{{ TrimPrefix .Value \"x\" }}", "Hello World"),
        ("{{ TrimSuffix .Value \"World\" }}", "Hello "),
        ("{{ TrimSpace \" \\t a b\\n\" }}|", "a b|"),
        ("{{ TrimSpace (print \"  \" .Value \" \") }}|", "Hello World|"),
        ("{{ regexReplaceAll \"(l+)o\" .Value \"<${1}>\" }}", "He<ll> World"),
        ("{{ regexReplaceAll \"(?P<a>o)\" .Value \"$a$a\" }}", "Helloo Woorld"),
        ("{{ regexReplaceAll \"x*\" \"baaau\" \"-\" }}", "-b-a-a-a-u-"),
        ("{{ regexReplaceAllLiteral \"o\" .Value \"$1\" }}", "Hell$1 W$1rld"),
        ("{{ .Value | regexReplaceAll \"o\" \"x\" }}", "x"),
        // Digests of known texts.
        ("{{ Hash \"\" \"\" }}", "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"),
        ("{{ Hash \"a\" \"bc\" }}", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        ("{{ Sha2Hash \"a\" \"bc\" }}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ]);
}

#[test]
fn of_go() {
    check(&[
        (
            "{{ eq .level \"x\" \"info\" }} {{ eq 1 2 }} {{ ne 1 2 }} {{ eq true true }} {{ eq 1.5 1.5 }}",
            "true false true true true",
        ),
        ("{{ eq .missing \"x\" }} {{ ne .missing \"x\" }}", "false true"),
        (
            "{{ lt 1 2 }} {{ le 2 2 }} {{ gt 1 2 }} {{ ge 2 2 }} {{ lt \"a\" \"b\" }} {{ lt 1.5 2.5 }}",
            "true true false true true true",
        ),
        ("{{ not 0 }} {{ not \"x\" }}", "true false"),
        ("{{ len .Value }} {{ len \"ä\" }} {{ len (list 1 2) }} {{ len (dict \"a\" 1) }}", "11 2 2 1"),
        ("{{ index (list \"a\" \"b\") 1 }} {{ index (dict \"k\" \"v\") \"k\" }} {{ index \"abc\" 1 }}", "b v 98"),
        ("{{ index (list (list 1 2) (list 3 4)) 1 0 }} {{ index (dict) \"k\" }}", "3 <no value>"),
        ("{{ slice .Value 1 3 }} {{ slice .Value 6 }} {{ slice (list 1 2 3) 1 }}", "el World [2 3]"),
        ("{{ print 1 2 \"a\" 3 \"b\" }} {{ print 1 2 }} {{ print \"a\" \"b\" }}", "1 2a3b 1 2 ab"),
        ("{{ println 1 \"a\" }}", "1 a\n"),
        ("{{ html \"<a href='x'>&\\\"\" }}", "&lt;a href=&#39;x&#39;&gt;&amp;&#34;"),
        ("{{ js \"it's <\\\"a=b\\\"> & \\n\\\\\" }}", "it\\'s \\u003C\\\"a\\u003Db\\\"\\u003E \\u0026 \\u000A\\\\"),
        ("{{ urlquery \"a b&c=ä/~\" }}", "a+b%26c%3D%C3%A4%2F~"),
    ]);
}

#[test]
fn printf_of_go() {
    check(&[
        ("{{ printf \"%s %d %v %q\" \"a\" 5 1.5 \"x\\\"y\" }}", "a 5 1.5 \"x\\\"y\""),
        (
            "{{ printf \"%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%b|%o|%O|%c|%U|%q\" 42 42 42 42 42 255 255 255 5 8 8 65 228 65 }}",
            "   42|42   |00042|+42| 42|ff|FF|0xff|101|10|0o10|A|U+00E4|'A'",
        ),
        ("{{ printf \"%05d|%.3d|%*d\" -42 7 4 9 }}", "-0042|007|   9"),
        (
            "{{ printf \"%6.2f|%-8.3f|%08.3f|%+.1f|%.0f|%f\" 3.14159 2.5 -1.5 2.0 2.5 1.0 }}",
            "  3.14|2.500   |-001.500|+2.0|2|1.000000",
        ),
        (
            "{{ printf \"%e|%.2E|%g|%g|%g|%g|%G\" 123456.789 0.00012 100000.0 1000000.0 0.0001 0.00001 1e-7 }}",
            "1.234568e+05|1.20E-04|100000|1e+06|0.0001|1e-05|1E-07",
        ),
        (
            "{{ printf \"%.3g|%.3g|%.3g|%.10g\" 1234.5678 0.00001234 100.0 1234.5678 }}",
            "1.23e+03|1.23e-05|100|1234.5678",
        ),
        ("{{ printf \"%8s|%-8s|%.2s|%x|%X\" \"ä\" \"ab\" \"xyz\" \"hi\" \"hi\" }}", "       ä|ab      |xy|6869|6869"),
        ("{{ printf \"%t %v %T %T %T\" true false \"a\" 1 1.5 }}", "true false string int float64"),
        ("{{ printf \"%d%%\" 5 }}", "5%"),
        ("{{ printf \"%d\" \"x\" }}", "%!d(string=x)"),
        ("{{ printf \"%s\" 5 }} {{ printf \"%s\" true }}", "%!s(int=5) %!s(bool=true)"),
        ("{{ printf \"%d %d\" 1 }}", "1 %!d(MISSING)"),
        ("{{ printf \"%d\" 1 \"a\" 2 }}", "1%!(EXTRA string=a, int=2)"),
        ("{{ printf \"%z %\" 1 }}", "%!z(int=1) %!(NOVERB)"),
        ("{{ printf \"%v %s %d\" (list 1 \"a\") (list \"b\") (list 1 2) }}", "[1 a] [b] [1 2]"),
        ("{{ printf \"%v %s\" .missing .missing }}", "<nil> %!s(<nil>)"),
        ("{{ printf \"%v\" (dict \"b\" 1 \"a\" nil) }}", "map[a:<nil> b:1]"),
        ("{{ 123456789.0 }} {{ 0.00001 }} {{ 123456.5 }} {{ float64 1 }}", "1.23456789e+08 1e-05 123456.5 1"),
    ]);
}

#[test]
fn texts_of_sprig() {
    check(&[
        (
            "{{ lower \"ABC\" }}{{ upper \"abc\" }} {{ title \"hello wide-world a_b\" }} {{ untitle \"Hello World\" }}",
            "abcABC Hello Wide-World A_b hello world",
        ),
        (
            "{{ trim \"  a \" }}|{{ trimAll \"$\" \"$5.00$\" }}|{{ trimPrefix \"-\" \"-hello\" }}|{{ trimSuffix \"-\" \"hello-\" }}",
            "a|5.00|hello|hello",
        ),
        ("{{ \"I Am Henry VIII\" | replace \" \" \"-\" }}", "I-Am-Henry-VIII"),
        (
            "{{ contains \"cat\" \"catch\" }} {{ hasPrefix \"cat\" \"catch\" }} {{ hasSuffix \"cat\" \"catch\" }}",
            "true true false",
        ),
        ("{{ repeat 3 \"ab\" }}{{ repeat 0 \"x\" }}", "ababab"),
        (
            "{{ substr 0 5 \"hello world\" }} {{ substr 6 -1 \"hello world\" }} {{ substr -1 2 \"hello\" }} {{ substr 3 99 \"hello\" }}",
            "hello world he lo",
        ),
        (
            "{{ trunc 5 \"hello world\" }} {{ trunc -5 \"hello world\" }} {{ trunc 99 \"a\" }} {{ trunc -99 \"a\" }}",
            "hello world a a",
        ),
        ("{{ trunc 1 \"äb\" }}|{{ substr 0 1 \"ä\" }}|", "||"),
        ("{{ nospace \"hello w o r l d\" }}", "helloworld"),
        ("{{ quote .level 1 .missing \"a\\nb\" }} {{ squote .level 2 }}", "\"info\" \"1\" \"a\\nb\" 'info' '2'"),
        ("{{ cat \"hello\" \"beautiful\" .missing 1 }}", "hello beautiful 1"),
        ("{{ indent 2 \"a\\nb\" }}|{{ nindent 1 \"a\" }}", "  a\n  b|\n a"),
        ("{{ toString 5 }}{{ toString 1.5 }}{{ toString true }}{{ toString nil }}", "51.5true<nil>"),
        ("{{ b64enc \"hello\" }} {{ b64dec \"aGVsbG8=\" }}", "aGVsbG8= hello"),
        ("{{ sha1sum \"abc\" }}", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("{{ sha256sum \"abc\" }}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("{{ md5sum \"abc\" }}", "900150983cd24fb0d6963f7d28e17f72"),
        ("{{ sha512sum \"abc\" | trunc 16 }}", "ddaf35a193617aba"),
        ("{{ regexMatch \"^H\" .Value }} {{ regexFind \"W..\" .Value }} {{ regexFind \"x\" .Value }}|", "true Wor |"),
    ]);
}

#[test]
fn defaults_of_sprig() {
    check(&[
        (
            "{{ .missing | default \"x\" }} {{ .empty | default \"y\" }} {{ .level | default \"z\" }} {{ default 5 0 }}",
            "x y info 5",
        ),
        ("{{ default \"a\" }}", "a"),
        ("{{ empty .missing }} {{ empty .level }} {{ empty 0 }} {{ empty (list) }}", "true false true true"),
        ("{{ coalesce .missing .empty 0 \"found\" 1 }} {{ coalesce 0 \"\" }}", "found <no value>"),
        ("{{ ternary \"yes\" \"no\" true }} {{ eq .level \"warn\" | ternary \"yes\" \"no\" }}", "yes no"),
        ("{{ all 1 \"a\" }} {{ all 1 0 }} {{ any 0 1 }} {{ any 0 \"\" }}", "true false true false"),
        (
            "{{ kindOf 1 }} {{ kindOf \"a\" }} {{ kindOf (list) }} {{ kindOf (dict) }} {{ kindIs \"int\" 1 }}",
            "int string slice map true",
        ),
        (
            "{{ toJson (dict \"b\" (list 1 1.5 nil true) \"a\" \"<x>\\\"\\n\") }}",
            "{\"a\":\"\\u003cx\\u003e\\\"\\n\",\"b\":[1,1.5,null,true]}",
        ),
        (
            "{{ toRawJson \"<x>\" }} {{ toJson 1e21 }} {{ toJson 1e20 }} {{ toJson 1e-7 }}",
            "\"<x>\" 1e+21 100000000000000000000 1e-7",
        ),
        ("{{ fromJson .json }}", "map[a:map[b:[1 x <nil>]] c:1.5]"),
        ("{{ fromJson \"no\" }}", "<no value>"),
        ("{{ toJson (fromJson .json) }}", "{\"a\":{\"b\":[1,\"x\",null]},\"c\":1.5}"),
    ]);
}

#[test]
fn numbers_of_sprig() {
    check(&[
        (
            "{{ add 1 2 3 }} {{ add .n 1 }} {{ add \"x\" 1 }} {{ add1 5 }} {{ sub 5 2 }} {{ mul 2 3 4 }} {{ div 7 2 }} {{ mod 7 3 }}",
            "6 43 1 6 3 24 3 1",
        ),
        ("{{ max 1 3 2 }} {{ min 4 2 3 }} {{ div -7 2 }} {{ mod -7 3 }}", "3 2 -3 -1"),
        (
            "{{ int \"12\" }} {{ int \"12.0\" }} {{ int \"12.5\" }} {{ int 3.9 }} {{ int true }} {{ int \"0x1f\" }} {{ int \"010\" }} {{ int \"\" }}",
            "12 12 0 3 1 31 8 0",
        ),
        (
            "{{ float64 \"1.5\" }} {{ float64 \"x\" }} {{ atoi \"12\" }} {{ atoi \"x\" }} {{ atoi \"010\" }} {{ int64 .n }}",
            "1.5 0 12 0 10 42",
        ),
        ("{{ addf 1.5 2 }} {{ subf 5 1.5 }} {{ mulf 1.5 2 }} {{ divf 3 2 }}", "3.5 3.5 3 1.5"),
        ("{{ floor 123.9999 }} {{ ceil 123.001 }} {{ round 123.555555 3 }} {{ floor \"1.5\" }}", "123 124 123.556 1"),
        ("{{ if gt (int .n) 40 }}big{{ end }}", "big"),
    ]);
}

#[test]
fn lists_and_maps_of_sprig() {
    check(&[
        ("{{ list 1 \"a\" nil }} {{ list }} {{ list 1 2 3 4 5 6 }}", "[1 a <nil>] [] [1 2 3 4 5 6]"),
        (
            "{{ (split \"$\" \"foo$bar$baz\")._0 }} {{ splitList \"$\" \"foo$bar\" }} {{ splitn \"$\" 2 \"foo$bar$baz\" }}",
            "foo [foo bar] map[_0:foo _1:bar$baz]",
        ),
        (
            "{{ splitList \"\" \"äb\" }} {{ splitList \",\" \"\" | len }} {{ splitList \",\" (upper .path) }}",
            "[ä b] 1 [A B C]",
        ),
        (
            "{{ join \"_\" (list \"a\" 1 nil true) }} {{ splitList \",\" .path | join \"-\" }} {{ join \"-\" \"x\" }}",
            "a_1_true a-b-c x",
        ),
        (
            "{{ $l := list 1 2 3 }}{{ first $l }} {{ last $l }} {{ rest $l }} {{ initial $l }} {{ reverse $l }}",
            "1 3 [2 3] [1 2] [3 2 1]",
        ),
        ("{{ first (list) }} {{ rest (list) }} {{ initial (list) }}", "<no value> [] []"),
        ("{{ append (list 1) 2 }} {{ prepend (list 1) 2 }}", "[1 2] [2 1]"),
        (
            "{{ uniq (list 1 1 \"a\" 2 \"a\") }} {{ has 4 (list 1 4) }} {{ has 5 (list 1) }} {{ compact (list 1 \"\" nil 0 2) }}",
            "[1 a 2] true false [1 2]",
        ),
        ("{{ sortAlpha (list \"b\" \"a\" 3) }} {{ until 3 }} {{ until -2 }}", "[3 a b] [0 1 2] [0 -1]"),
        (
            "{{ $d := dict \"a\" 1 \"b\" }}{{ $d }} {{ get $d \"a\" }} {{ get $d \"x\" }}| {{ hasKey $d \"b\" }} {{ keys $d }} {{ values $d }}",
            "map[a:1 b:] 1 | true [a b] [1 ]",
        ),
    ]);
}

#[test]
fn times_of_sprig() {
    check(&[
        ("{{ now | unixEpoch }}", "1136214245"),
        ("{{ dateInZone \"2006-01-02 15:04:05\" now \"UTC\" }}", "2006-01-02 15:04:05"),
        ("{{ dateInZone \"2006-01-02T15:04:05Z07:00\" now \"America/New_York\" }}", "2006-01-02T10:04:05-05:00"),
        (
            "{{ date_in_zone \"2006\" 0 \"UTC\" }} {{ dateInZone \"2006\" 0 \"Nowhere/Town\" }} {{ dateInZone \"xyz\" 0 \"UTC\" }}",
            "1970 1970 xyz",
        ),
        ("{{ now }}", "2006-01-02 15:04:05 +0000 UTC"),
        ("{{ toJson now }}", "\"2006-01-02T15:04:05Z\""),
    ]);
    assert_eq!(render("{{ date \"06\" now }}").map(|year| year.len()), Ok(2));
}

#[test]
fn paths_of_sprig() {
    check(&[
        (
            "{{ base \"/var/log/app.log\" }} {{ base \"a/b//\" }} {{ base \"\" }} {{ base \"//\" }} {{ base \"x\" }}",
            "app.log b . / x",
        ),
        (
            "{{ dir \"/var/log/app.log\" }} {{ dir \"x\" }} {{ dir \"/x\" }} {{ dir \"a/b/\" }} {{ dir \"a/../../b\" }}",
            "/var/log . / a/b ..",
        ),
        ("{{ ext \"/a.b/app.tar.gz\" }} {{ ext \"/a.b/app\" }}| {{ ext \".x\" }}", ".gz | .x"),
        ("{{ clean \"/a/./b//../c/\" }} {{ clean \"\" }} {{ clean \"/../a\" }} {{ clean \"../a\" }}", "/a/c . /a ../a"),
        ("{{ isAbs \"/a\" }} {{ isAbs \"a\" }} {{ upper \"/x/y.log\" | osBase }}", "true false Y.LOG"),
    ]);
}

#[test]
fn words_of_sprig() {
    let names = [
        ("FirstName", "first_name"),
        ("HTTPServer", "http_server"),
        ("NoHTTPS", "no_https"),
        ("GO_PATH", "go_path"),
        ("GO PATH", "go_path"),
        ("GO-PATH", "go_path"),
        ("http2xx", "http_2xx"),
        ("HTTP20xOK", "http_20x_ok"),
        ("Duration2m3s", "duration_2m3s"),
        ("Bld4Floor3rd", "bld4_floor_3rd"),
        ("_a__b_", "_a__b_"),
        ("a.B", "a.b"),
        ("", ""),
    ];
    for (name, snake) in names {
        check(&[
            (&format!("{{{{ snakecase \"{name}\" }}}}"), snake),
            (&format!("{{{{ kebabcase \"{name}\" }}}}"), &snake.replace('_', "-")),
        ]);
    }
    for (name, camel) in [
        ("some_words", "SomeWords"),
        ("http_server", "HttpServer"),
        ("_complex__case_", "_Complex_Case_"),
        ("some words", "SomeWords"),
        ("GOLANG_IS_GREAT", "GolangIsGreat"),
        ("HTTPServer", "Httpserver"),
        ("__a-b__", "__AB__"),
        ("_", "_"),
    ] {
        check(&[(&format!("{{{{ camelcase \"{name}\" }}}}"), camel)]);
    }
    check(&[
        ("{{ swapcase \"This Is aÄ\" }} {{ initials \"First  Try x\" }}", "tHIS iS Aä FTx"),
        (
            "{{ abbrev 5 \"hello world\" }} {{ abbrev 11 \"hello world\" }} {{ abbrev 3 \"hello\" }}",
            "he... hello world hello",
        ),
        ("{{ plural \"one\" \"many\" 1 }} {{ len .Value | plural \"one\" \"many\" }}", "one many"),
    ]);
}

#[test]
fn patterns_and_lists_of_sprig() {
    check(&[
        (
            "{{ regexSplit \"z+\" \"pizza\" -1 }} {{ regexSplit \"z\" \"pizza\" -1 }} {{ regexSplit \"z\" \"pizza\" 2 }}",
            "[pi a] [pi  a] [pi za]",
        ),
        (
            "{{ regexSplit \"a*\" \"abaabaccadaaae\" 5 }} {{ regexSplit \",\" \"\" -1 | len }} {{ regexSplit \",\" \"a,\" -1 | len }} {{ regexSplit \",\" \"a\" 0 }}",
            "[ b b c cadaaae] 1 2 []",
        ),
        ("{{ regexSplit \"\" \"abc\" -1 }}", "[a b c]"),
        (
            "{{ regexFindAll \"[2,4,6,8]\" \"123456789\" -1 }} {{ regexFindAll \"o\" .Value 1 }} {{ regexFindAll \"x\" .Value -1 }}",
            "[2 4 6 8] [o] []",
        ),
        ("{{ index (regexSplit \"/\" (lower .path) -1) 0 }}", "a,b,c"),
        (
            "{{ mustRegexMatch \"^H\" .Value }} {{ mustRegexFind \"W..\" .Value }} {{ mustRegexReplaceAll \"(o)\" .Value \"<$1>\" }}",
            "true Wor Hell<o> W<o>rld",
        ),
        (
            "{{ mustRegexReplaceAllLiteral \"o\" .Value \"$1\" }} {{ mustRegexSplit \"o\" .Value 2 }} {{ mustRegexFindAll \"l\" .Value 2 }}",
            "Hell$1 W$1rld [Hell  World] [l l]",
        ),
        (
            "{{ concat (list 1) (list) (list 2 3) }} {{ without (list 1 2 3 1) 1 3 }} {{ tuple 1 2 }} {{ mustLast (list 1 2) }}",
            "[1 2 3] [2] [1 2] 2",
        ),
        (
            "{{ untilStep 3 6 2 }} {{ untilStep 6 3 -2 }} {{ untilStep 3 6 -1 }} {{ untilStep 3 6 0 }} {{ untilStep 3 3 1 }}",
            "[3 5] [6 4] [] [] []",
        ),
        (
            "{{ typeOf 1 }} {{ typeOf \"a\" }} {{ typeOf (list) }} {{ typeOf nil }} {{ typeIs \"string\" .Value }}",
            "int string []interface {} <nil> true",
        ),
        ("{{ deepEqual (list 1 \"a\") (list 1 \"a\") }} {{ deepEqual 1 \"1\" }}", "true false"),
        (
            "{{ duration 95 }} {{ duration \"3600\" }} {{ duration -5 }} {{ duration 0 }} {{ duration \"x\" }}",
            "1m35s 1h0m0s -5s 0s 0s",
        ),
        ("{{ biggest 1 3 }} {{ maxf 1 2.5 }} {{ minf 1 2.5 }} {{ add1f 1.5 }}", "3 2.5 1 2.5"),
        ("{{ toDate \"2006-01-02T15:04:05Z07:00\" \"2024-05-06T07:08:09+02:00\" | unixEpoch }}", "1714972089"),
        ("{{ dateInZone \"02.01.06\" (toDate \"2006-01-02 -0700\" \"2024-05-06 +0000\") \"UTC\" }}", "06.05.24"),
    ]);
    assert!(render("{{ toDate \"2006\" .Value }}").is_err());
    assert!(render("{{ untilStep 0 100000000 1 }}").is_err());
}
