//! Tests of the parser: what is taken and what is refused, as Prometheus' parsers do it, and that what is written is read.

use super::*;
use crate::base::limits::{SAMPLE_EXCERPT_BYTES, SAMPLE_LABELS_MAX};
use crate::format::prometheus::number::NumberError;
use crate::format::prometheus::text;
use crate::model::samples::labels_of;
use proptest::prelude::*;

/// What is in samples, a line each.
fn told(samples: &Samples) -> Vec<String> {
    let mut lines = Vec::new();
    let joined =
        |labels: Vec<(&str, &str)>| labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect::<Vec<_>>().join(",");
    for (i, family) in samples.families().enumerate() {
        lines.push(format!("{} {:?} {:?} {:?}", family.name, family.kind, family.help, family.unit));
        for (j, sample) in samples.iter().enumerate().filter(|(_, sample)| sample.family == i) {
            let time = sample.time_ms.map(|time| format!(" @{time}")).unwrap_or_default();
            lines.push(format!(
                "  {}{{{}}} {}{time}",
                sample.name(),
                joined(sample.labels().collect()),
                sample.value()
            ));
            for exemplar in samples.exemplars().filter(|exemplar| exemplar.sample == j) {
                let time = exemplar.time_ms.map(|time| format!(" @{time}")).unwrap_or_default();
                let value = f64::from_bits(exemplar.bits);
                lines.push(format!("    # {{{}}} {value}{time}", joined(labels_of(exemplar.key).collect())));
            }
        }
    }
    lines
}

fn read(form: Form, body: &[u8]) -> Result<Vec<String>, ParseError> {
    let mut samples = Samples::default();
    Parser::default().parse(form, body, &mut samples)?;
    Ok(told(&samples))
}

#[track_caller]
fn assert_reads(form: Form, body: &str, expected: &[&str]) {
    assert_eq!(read(form, body.as_bytes()), Ok(expected.iter().map(|line| (*line).to_owned()).collect()), "{body:?}");
}

#[test]
fn a_text_is_read() {
    let body = "# HELP requests_total All \\\\ of them.\\nAnd \\\"more\\\".\n# TYPE requests_total counter\nrequests_total{code=\"200\",path=\"/a \\\"b\\\" \\\\ \\n \\x {\"} 1027 1395066363000\n\
        requests_total{code=\"400\"}    3\t1395066363000\n\n  # just a comment\n#another\nplain 12.47\n\t indented{ a = \"1\" ,b=\"2\" , } 1e3 \n\
        # TYPE took histogram\ntook_bucket{le=\"0.5\"} 1\ntook_bucket{le=\"+Inf\"} 2\ntook_sum 0.25\ntook_count 2\ntook_created 7\ntook_total 1\n\
        # TYPE rpc summary\n# HELP rpc \nrpc{quantile=\"0.9\"} NaN\nrpc_sum -Inf\nrpc_count +Inf\n# TYPE old untyped\nold -3";
    let expected = [
        r#"requests_total Counter "All \\ of them.\nAnd \\\"more\\\"." """#,
        r#"  requests_total{code="200",path="/a \"b\" \\ \n \\x {"} 1027 @1395066363000"#,
        r#"  requests_total{code="400"} 3 @1395066363000"#,
        r#"plain Unknown "" """#,
        r#"  plain{} 12.47"#,
        r#"indented Unknown "" """#,
        r#"  indented{a="1",b="2"} 1000"#,
        r#"took Histogram "" """#,
        r#"  took_bucket{le="0.5"} 1"#,
        r#"  took_bucket{le="+Inf"} 2"#,
        r#"  took_sum{} 0.25"#,
        r#"  took_count{} 2"#,
        r#"  took_created{} 7"#,
        r#"took_total Unknown "" """#,
        r#"  took_total{} 1"#,
        r#"rpc Summary "" """#,
        r#"  rpc{quantile="0.9"} NaN"#,
        r#"  rpc_sum{} -inf"#,
        r#"  rpc_count{} inf"#,
        r#"old Unknown "" """#,
        r#"  old{} -3"#,
    ];
    assert_reads(Form::Text, body, &expected);
}

/// What one would not expect, each as Prometheus takes it.
#[test]
fn text_is_as_forgiving_as_prometheus() {
    let one = |labels: &str, value: &str| vec![r#"a Unknown "" """#.to_owned(), format!("  a{{{labels}}} {value}")];
    let cases = [
        ("a 1", one("", "1")),
        ("a{} 1\n", one("", "1")),
        ("a{b=\"c\"}1\n", one("b=\"c\"", "1")),
        ("a+1\n", one("", "1")),
        ("a\t1", one("", "1")),
        ("a {b=\"c\"} 1", one("b=\"c\"", "1")),
        ("a{b=\"c\"d=\"e\"} 1", one("b=\"c\",d=\"e\"", "1")),
        ("a{b=\"c\" d=\"e\",} 1", one("b=\"c\",d=\"e\"", "1")),
        ("a{b=\"c\nd\"} 1", one("b=\"c\\nd\"", "1")),
        ("a{b=\"\"} 1", one("b=\"\"", "1")),
        ("a{b=\"\0c\"} 1", one("b=\"\\0c\"", "1")),
        ("{\"a\"} 1", one("", "1")),
        ("{\"a\",b=\"c\"} 1", one("b=\"c\"", "1")),
        ("{b=\"c\",\"a\",d=\"e\"} 1", one("b=\"c\",d=\"e\"", "1")),
        ("a{\"b\"=\"c\"} 1", one("b=\"c\"", "1")),
        ("{ \"a\" , b = \"c\" , } 1", one("b=\"c\"", "1")),
        ("a 1\n\0 anything", one("", "1")),
        ("a 1\n#x\0 anything\na 2", one("", "1")),
        ("# x\0\na 1", one("", "1")),
        ("#\na 1\n# \n#HELP\n# HELP\n# HELPx\n# UNIT a s\n# TYPEx\n", one("", "1")),
        ("# TYPE\na 1", one("", "1")),
        ("a 9223372036854775807 9223372036854775807", one("", "9223372036854776000 @9223372036854775807")),
        ("a 1  \n", one("", "1")),
        ("a inf", one("", "inf")),
    ];
    for (body, expected) in cases {
        assert_eq!(read(Form::Text, body.as_bytes()), Ok(expected), "{body:?}");
    }
    assert_eq!(read(Form::Text, b""), Ok(vec![]));
    assert_eq!(read(Form::Text, b"\n \n\t\n"), Ok(vec![]));
    // A byte of any kind ends the name in a line of metadata; a blank help is none.
    assert_reads(Form::Text, "# HELP a{b c\n# HELP a  \t \n", &[r#"a Unknown "" """#]);
    assert_reads(Form::Text, "#\t TYPE\t a\tgauge", &[r#"a Gauge "" """#]);
    assert_reads(Form::Text, "# TYPE \"b.c\" gauge", &[r#"b.c Gauge "" """#]);
    // Bytes that are no text do no harm in a comment.
    assert_eq!(read(Form::Text, b"# \xff\na{b=\"c\"} 1"), Ok(one("b=\"c\"", "1")));
}

#[test]
fn a_text_is_refused_as_a_whole() {
    use Reason::*;
    let form = Number(NumberError::Form);
    let cases: [(&[u8], usize, Reason); 52] = [
        (b"a", 1, NoValue),
        (b"a\n", 1, NoValue),
        (b"a{b=\"c\"}\n", 1, NoValue),
        (b"a 1\nb{b='c'} 1\n", 2, LabelValue),
        (b"a{b=\n", 1, LabelValue),
        (b"a{b=\"c\\\n\"} 1", 1, LabelValue),
        (b"a{b=\"", 1, LabelValue),
        (b"a{b=\"c", 1, LabelValue),
        (b"a{b=\"c\\", 1, LabelValue),
        (b"a{b=\0\"c\"} 1", 1, LabelValue),
        (b"a{b=c} 1", 1, LabelValue),
        (b"a{\xff=\"c\"} 1\n", 1, LabelName),
        (b"a{=\"c\"} 1\n", 1, LabelName),
        (b"a{,b=\"c\"} 1\n", 1, LabelName),
        (b"a{,} 1\n", 1, LabelName),
        (b"a{b=\"c\",,} 1\n", 1, LabelName),
        (b"a{1b=\"c\"} 1\n", 1, LabelName),
        (b"a{b:=\"c\"} 1\n", 1, Equal),
        (b"a{b=\"c\"", 1, LabelName),
        (b"a{\n} 1\n", 1, LabelName),
        (b"a{b=\"\xff\"} 1\n", 1, Utf8),
        (b"# HELP a \xff\n", 1, Utf8),
        (b"# HELP \"\xff\" x\n", 1, Utf8),
        ("# HELP aé\n".as_bytes(), 1, Utf8),
        (b"{\"a\", \"b = \"c\"}", 1, Equal),
        (b"{\"a\",b\\nc=\"d\"} 1", 1, Equal),
        (b"a{b\0=\"c\"} 1", 1, Equal),
        (b"a{b} 1", 1, Equal),
        (b"a{b,c=\"d\"} 1", 1, Equal),
        (b"{a=\"ok\"} 1", 1, NoName),
        (b"{} 1", 1, NoName),
        (b"{\"a\",\"b\"} 1", 1, NameTwice),
        (b"a{\"b\"} 1", 1, NameTwice),
        (b"{\"a.b\"} 1", 1, Name),
        (b"{\"\"} 1", 1, Name),
        (b"a{\"b.c\"=\"d\"} 1", 1, Name),
        (b"a{b=\"c\",b=\"d\"} 1", 1, LabelTwice),
        (b"a{b=\"\",c=\"\",b=\"d\"} 1", 1, LabelTwice),
        (b"a{__name__=\"b\"} 1", 1, LabelTwice),
        (b"a true\n", 1, form),
        (b"foo 1_2\n", 1, form),
        (b"foo 0x1p-3\n", 1, form),
        (b"a.b 1\n", 1, form),
        (b"a 1e999\n", 1, Number(NumberError::Range)),
        (b"a\0{b=\"c\"} 1", 1, form),
        (b"a{b=\"c\"}{d=\"e\"} 1", 1, NoValue),
        (b"a 1 1_2\n", 1, LineEnd),
        (b"a 1 -5\n", 1, LineEnd),
        (b"a 1 2 3\n", 1, LineEnd),
        (b"a 1 9223372036854775808\n", 1, Time),
        (b"a 1 # {b=\"c\"} 1\n", 1, LineEnd),
        (b"a 1\r\n", 1, form),
    ];
    for (body, line, reason) in cases {
        let error = read(Form::Text, body).unwrap_err();
        assert_eq!((error.line, error.reason), (line, reason), "{:?}", String::from_utf8_lossy(body));
    }
    let cases: [(&str, Reason); 14] = [
        ("9\n", Start),
        ("-a 1\n", Start),
        ("\r\n", Start),
        ("# TYPE #\n", FamilyName),
        ("# TYPE \n", FamilyName),
        ("# HELP #\n", FamilyName),
        ("# HELP \"a\n", FamilyName),
        ("# TYPE a\n", Kind),
        ("# TYPE a \n", Kind),
        ("# TYPE a  gauge\n", Kind),
        ("# TYPE a gauge \n", Kind),
        ("# TYPE a gauge\r\n", Kind),
        ("# TYPE a unknown\n", Kind),
        ("# TYPE a Gauge\n", Kind),
    ];
    for (body, reason) in cases {
        let body = format!("a 1\n\n{body}b 1\n");
        let error = read(Form::Text, body.as_bytes()).unwrap_err();
        assert_eq!((error.line, error.reason), (3, reason), "{body:?}");
    }
}

#[test]
fn open_metrics_are_read() {
    let body = "# HELP requests All \\\\ of\\n \\\"them\\\".\n# TYPE requests counter\n# UNIT requests \n\
        requests_total{code=\"200\"} 1027 1395066363.5 # {trace_id=\"a \\\"b\\\"\"} 0.67 123.456\nrequests_created{code=\"200\"} 1395066363.123\n\
        # TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
        took_seconds_bucket{le=\"0.5\"} 1 # {} 0.5\ntook_seconds_bucket{le=\"+Inf\"} 2 # {id=\"1\",} NaN -1\ntook_seconds_sum 1\ntook_seconds_gsum 1\n\
        # TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 2\ng_gcount 2\ng_gsum 1.5\n# TYPE build info\nbuild_info{version=\"1\"} 1\n\
        # TYPE state stateset\nstate{state=\"on\"} 1\nstate{state=\"off\"} 0\n# TYPE u unknown\nu NaN\n{\"v\",w=\"x\"} 1e-3 -0.0015\n# EOF\n";
    let expected = [
        r#"requests Counter "All \\ of\n \"them\"." """#,
        r#"  requests_total{code="200"} 1027 @1395066363500"#,
        r#"    # {trace_id="a \"b\""} 0.67 @123456"#,
        r#"  requests_created{code="200"} 1395066363.123"#,
        r#"took_seconds Histogram "" "seconds""#,
        r#"  took_seconds_bucket{le="0.5"} 1"#,
        r#"    # {} 0.5"#,
        r#"  took_seconds_bucket{le="+Inf"} 2"#,
        r#"    # {id="1"} NaN @-1000"#,
        r#"  took_seconds_sum{} 1"#,
        r#"took_seconds_gsum Unknown "" """#,
        r#"  took_seconds_gsum{} 1"#,
        r#"g GaugeHistogram "" """#,
        r#"  g_bucket{le="+Inf"} 2"#,
        r#"  g_gcount{} 2"#,
        r#"  g_gsum{} 1.5"#,
        r#"build Info "" """#,
        r#"  build_info{version="1"} 1"#,
        r#"state StateSet "" """#,
        r#"  state{state="on"} 1"#,
        r#"  state{state="off"} 0"#,
        r#"u Unknown "" """#,
        r#"  u{} NaN"#,
        r#"v Unknown "" """#,
        r#"  v{w="x"} 0.001 @-1"#,
    ];
    assert_reads(Form::OpenMetrics, body, &expected);
    assert_reads(Form::OpenMetrics, "# EOF", &[]);
    assert_reads(Form::OpenMetrics, "# EOF\n", &[]);
    assert_reads(Form::OpenMetrics, "a{b=\"\0\"} 1\n# EOF", &[r#"a Unknown "" """#, r#"  a{b="\0"} 1"#]);
    assert_reads(Form::OpenMetrics, "# TYPE \"a.b\" gauge\n# EOF", &[r#"a.b Gauge "" """#]);
}

#[test]
fn open_metrics_are_refused_as_a_whole() {
    use Reason::*;
    let form = Number(NumberError::Form);
    let cases: [(&[u8], Reason); 74] = [
        (b"", NoEof),
        (b"a 1", NoEof),
        (b"a 1\n", NoEof),
        (b"a 1 2", NoEof),
        (b"a 1 # {b=\"c\"} 4", NoEof),
        (b"a 1 # {b=\"c\"} 4 5", NoEof),
        (b"# EOF\na 1", AfterEof),
        (b"# EOF\n\n", AfterEof),
        (b"# EOFa 1", AfterEof),
        (b"# EOF ", AfterEof),
        (b"\n", Start),
        (b"\n\n# EOF\n", Start),
        (b"a 1\n\n# EOF\n", Start),
        (b" a 1\n# EOF\n", Start),
        (b"9\n# EOF\n", Start),
        (b" # EOF\n", Start),
        (b"#EOF\n", Start),
        (b"#", Start),
        (b"# H", Start),
        (b"# comment\n# EOF\n", Start),
        (b"#\tTYPE c counter\n", Start),
        (b"#  TYPE c counter\n", Start),
        (b"# TYPE\tc counter\n", Start),
        (b"\0", Start),
        (b"a", NoValue),
        (b"a\n# EOF\n", NoValue),
        (b"a\t1\n# EOF\n", NoValue),
        (b"a  1\n# EOF\n", NoValue),
        (b"a{b=\"c\"}1\n# EOF\n", NoValue),
        (b"a{b=\"c\"}\n# EOF\n", NoValue),
        (b"a\0 1\n# EOF\n", NoValue),
        (b"a {b=\"c\"} 1\n# EOF\n", form),
        (b"a 1\t2\n# EOF\n", form),
        (b"a 1 1z\n# EOF\n", form),
        (b"a true\n# EOF\n", form),
        (b"foo 1_2\n# EOF\n", form),
        (b"foo 0x1P-3\n# EOF\n", form),
        (b"foo 0 1_2\n# EOF\n", form),
        (b"a 1 #\n# EOF\n", form),
        (b"a 1 \n# EOF\n", LineEnd),
        (b"a 1 2 \n# EOF\n", LineEnd),
        (b"a 1 2 #\n# EOF\n", LineEnd),
        (b"a 1 1 1\n# EOF\n", LineEnd),
        (b"a 1 NaN\n# EOF\n", Time),
        (b"a 1 -Inf\n# EOF\n", Time),
        (b"a 1 # {b=\"c\"} 4 NaN\n# EOF\n", Time),
        (b"# TYPE u untyped\n# EOF\n", Kind),
        (b"# TYPE c counter \n# EOF\n", Kind),
        (b"# TYPE c  counter\n# EOF\n", Kind),
        (b"# TYPE \n# EOF\n", FamilyName),
        (b"# HELP \n# EOF\n", FamilyName),
        (b"# UNIT \n# EOF\n", FamilyName),
        (b"# TYPE m\n# EOF\n", FamilyText),
        (b"# HELP m\n# EOF\n", FamilyText),
        (b"# UNIT m\n# EOF\n", FamilyText),
        (b"# HELP m text", FamilyText),
        (b"# HELP m \xff\n# EOF\n", Utf8),
        (b"# UNIT metric suffix\n# EOF\n", Unit),
        (b"# UNIT metricsuffix suffix\n# EOF\n", Unit),
        (b"# UNIT m suffix\n# EOF\n", Unit),
        (b"# UNIT suffix suffix\n# EOF\n", Unit),
        (b"a{b='c'} 1\n# EOF\n", LabelValue),
        (b"a{b=\n# EOF\n", LabelValue),
        (b"a{b=\"c\nd\"} 1\n# EOF\n", LabelValue),
        (b"a 1 # {aa=bb}\n# EOF\n", LabelValue),
        (b"a 1 # {b=\"\0c\"} 1\n# EOF\n", LabelValue),
        (b"a{,b=\"c\"} 1\n# EOF\n", LabelName),
        (b"a{b=\"c\", d=\"e\"} 1\n# EOF\n", LabelName),
        (b"a 1 # {bb}\n# EOF\n", LabelName),
        (b"a 1 # {\"bb\"}\n# EOF\n", LabelName),
        (b"a{b=\"c\"d=\"e\"} 1\n# EOF\n", Comma),
        (b"a{b=\"c\" } 1\n# EOF\n", Comma),
        (b"a 1 # {aa=\"bb\"}\n# EOF\n", NoValue),
        (b"{b=\"c\",} 1\n# EOF\n", NoName),
    ];
    for (body, reason) in cases {
        let error = read(Form::OpenMetrics, body).unwrap_err();
        assert_eq!(error.reason, reason, "{:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn an_error_has_its_place_and_leaves_nothing_behind() {
    let mut samples = Samples::default();
    let mut parser = Parser::default();
    parser.parse(Form::Text, b"# HELP a Says.\na 1\n", &mut samples).unwrap();
    let before = (told(&samples), samples.text_bytes());
    let body = b"# TYPE b counter\nb_total 1\nb{x=\"\xe4\", y=\"z\"} 2\n";
    let error = parser.parse(Form::Text, body, &mut samples).unwrap_err();
    assert_eq!(error.to_string(), "line 3: this is not UTF-8, at `b{x=\"\u{fffd}\", y=\"z\"} 2`".replace('"', "\\\""));
    assert_eq!((told(&samples), samples.text_bytes()), before);
    let long = format!("a 1\n{}={} 1", "x".repeat(1000), "y".repeat(1000));
    let error = parser.parse(Form::Text, long.as_bytes(), &mut samples).unwrap_err();
    assert_eq!((error.line, error.reason), (2, Reason::Number(NumberError::Form)));
    assert!(error.excerpt.len() <= 2 * SAMPLE_EXCERPT_BYTES, "{error}");
    // The parser goes on to work.
    parser.parse(Form::Text, b"b 2\n", &mut samples).unwrap();
    assert_eq!(told(&samples).len(), 4);
}

#[test]
fn what_stands_before_an_error_may_be_kept() {
    let (mut parser, mut samples) = (Parser::default(), Samples::default());
    let body = b"a 1\nb{x=\"1\"} 2\nc{x=\"1\" 3\nd 4\n";
    let error = parser.parse_up_to_error(Form::Text, body, &mut samples).unwrap_err();
    assert_eq!((error.line, error.samples, samples.len()), (3, 2, 2));
    samples.clear();
    let error = parser.parse(Form::Text, body, &mut samples).unwrap_err();
    assert_eq!((error.samples, samples.len()), (2, 0));
}

#[test]
fn memory_is_bounded() {
    let (mut parser, mut samples) = (Parser::default(), Samples::default());
    let body = "a 1\n".repeat(100_000);
    parser.parse(Form::Text, body.as_bytes(), &mut samples).unwrap();
    let whole = samples.memory();
    // A sample with the shortest of names takes many times as much as its line.
    assert!(whole > 10 * body.len());
    parser.bound(whole / 4);
    samples = Samples::default();
    let error = parser.parse_up_to_error(Form::Text, body.as_bytes(), &mut samples).unwrap_err();
    assert_eq!(error.reason, Reason::Memory);
    assert!((24_900..25_100).contains(&error.samples), "{error:?}");
    assert!(samples.memory() <= whole / 4 + 100);
    parser.bound(whole);
    samples.clear();
    parser.parse(Form::Text, body.as_bytes(), &mut samples).unwrap();
}

#[test]
fn created_tells_since_when_others_count() {
    let body = "\
# TYPE a counter
a_total{x=\"1\"} 5
a_created{x=\"1\"} 100.25
a_total{x=\"2\"} 6
a_total 7
a_created 300
# TYPE h histogram
h_created{x=\"1\"} 10
h_bucket{x=\"1\",le=\"1\"} 1
h_bucket{le=\"+Inf\",x=\"1\"} 1
h_sum{x=\"1\"} 1
h_count{x=\"1\"} 1
h_count{x=\"2\"} 1
# TYPE s summary
s{quantile=\"0.5\"} 1
s_sum 1
s_created 2e3
# TYPE bad counter
bad_total 1
bad_created NaN
# TYPE old counter
old_total 1
old_created -5
# TYPE g gauge
g 1
# TYPE a_created gauge
a_created 9
# EOF
";
    let mut samples = Samples::default();
    let mut parser = Parser::default();
    // Behind what is there already.
    for _ in 0..2 {
        parser.parse(Form::OpenMetrics, body.as_bytes(), &mut samples).unwrap();
    }
    let half = samples.len() / 2;
    for from in [0, half] {
        let starts: Vec<(&str, i64)> =
            samples.iter().skip(from).take(half).map(|sample| (sample.name(), sample.start_ms)).collect();
        let expected = [
            ("a_total", 100_250),
            ("a_created", 0),
            ("a_total", 0),
            ("a_total", 300_000),
            ("a_created", 0),
            ("h_created", 0),
            ("h_bucket", 10_000),
            ("h_bucket", 10_000),
            ("h_sum", 10_000),
            ("h_count", 10_000),
            ("h_count", 0),
            ("s", 2_000_000),
            ("s_sum", 2_000_000),
            ("s_created", 0),
            ("bad_total", 0),
            ("bad_created", 0),
            ("old_total", 0),
            ("old_created", 0),
            ("g", 0),
            ("a_created", 0),
        ];
        assert_eq!(starts, expected);
    }
    // In the other format it is a metric like others.
    let mut samples = Samples::default();
    parser.parse(Form::Text, b"# TYPE a counter\na_total 1\na_created 5\n", &mut samples).unwrap();
    assert!(samples.iter().all(|sample| sample.start_ms == 0));
}

#[test]
fn bounds_hold() {
    let labels = |n: usize| (0..n).map(|i| format!("l{i}=\"v\"")).collect::<Vec<_>>().join(",");
    let body = |n| format!("a{{{}}} 1\n", labels(n));
    assert!(read(Form::Text, body(SAMPLE_LABELS_MAX).as_bytes()).is_ok());
    assert_eq!(read(Form::Text, body(SAMPLE_LABELS_MAX + 1).as_bytes()).unwrap_err().reason, Reason::TooManyLabels);

    let left_out = |labels: &str| {
        let mut samples = Samples::default();
        let body = format!("a_total 1 # {{{labels}}} 1\na_total{{b=\"c\"}} 1\n# EOF\n");
        let parsed = Parser::default().parse(Form::OpenMetrics, body.as_bytes(), &mut samples).unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!(samples.exemplars().len() as u64, 1 - parsed.exemplars_left_out);
        parsed.exemplars_left_out
    };
    let of = |chars: usize| format!("id=\"{}\"", "ä".repeat(chars - 2));
    assert_eq!(left_out(&of(EXEMPLAR_LABEL_CHARS)), 0);
    assert_eq!(left_out(&of(EXEMPLAR_LABEL_CHARS + 1)), 1);
    assert_eq!(left_out("a=\"b\",a=\"c\""), 1);
    assert_eq!(left_out("\"a.b\"=\"c\""), 1);
    assert_eq!(left_out("\"ab\"=\"c\""), 0);
    assert_eq!(left_out(&labels(SAMPLE_LABELS_MAX + 1)), 1);
}

#[test]
fn no_text_has_a_stale_marker() {
    let mut samples = Samples::default();
    for form in [Form::Text, Form::OpenMetrics] {
        Parser::default().parse(form, b"a NaN\n# EOF", &mut samples).unwrap();
    }
    assert!(samples.iter().all(|sample| sample.bits == NAN_BITS));
}

#[test]
fn content_types() {
    for (value, form) in [
        ("text/plain; version=0.0.4; charset=utf-8", Some(Form::Text)),
        ("text/plain", Some(Form::Text)),
        ("Text/Plain ;x", Some(Form::Text)),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Some(Form::OpenMetrics)),
        ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", None),
        ("text/html", None),
        ("", None),
    ] {
        assert_eq!(Form::of_content_type(value), form);
    }
    assert_eq!(Form::of_content_type(text::CONTENT_TYPE), Some(Form::Text));
}

/// A family's name, its help and its samples: the value of a label, the bits of its own, its time.
type Given = (String, String, Vec<(String, u64, Option<i64>)>);

/// Families as a target may have them.
fn families() -> impl Strategy<Value = Vec<Given>> {
    let value = prop_oneof![any::<u64>(), (0..1000_u32).prop_map(|n| f64::from(n).to_bits())];
    let time = prop_oneof![Just(None), (0..i64::MAX).prop_map(Some)];
    let samples = prop::collection::vec((".{0,12}", value, time), 1..5);
    prop::collection::vec(("[a-z_:][a-z0-9_:]{0,8}", "[^\r\n]{0,20}(\n[^\r\n]{0,9})?", samples), 0..6)
}

proptest! {
    /// What the writer writes the parser reads, with the same values, text and times.
    #[test]
    fn what_is_written_is_read(families in families()) {
        let mut samples = Samples::default();
        for (i, (name, help, values)) in families.iter().enumerate() {
            let kind = [Kind::Gauge, Kind::Counter, Kind::Unknown][i % 3];
            // Sorted and apart, so that the writer leaves the order.
            let name = format!("f{i}_{name}");
            // A text that begins with a blank has it from the format.
            samples.family(&name, help.trim_matches([' ', '\t']), kind);
            for (j, (value, bits, time)) in values.iter().enumerate() {
                let bits = if f64::from_bits(*bits).is_nan() { NAN_BITS } else { *bits };
                samples.add_as(&name, &[("i", &j.to_string()), ("l", value)], bits, *time);
            }
        }
        let mut written = Vec::new();
        text::Writer::default().write(&samples, &mut written);
        let mut read = Samples::default();
        Parser::default().parse(Form::Text, &written, &mut read).unwrap();
        prop_assert_eq!(told(&read), told(&samples));
        prop_assert!(read.iter().map(|s| s.bits).eq(samples.iter().map(|s| s.bits)));
    }

    /// Text that was changed somewhere: nothing panics, errors are whole, and a parser that met them reads as a new one.
    #[test]
    fn changed_texts_are_read_or_refused(strict: bool, at in 0..400_usize, with in "[\\x00-\\x7f]|[\"{}=, \n#\\\\]{0,3}") {
        const BODY: &str = "# HELP a A \\n \\\\ b.\n# TYPE a counter\na_total{b=\"c\",d=\"\\\"e\\\\\"} 1.5 17 # {x=\"y\"} 1 2\n{\"a\",b=\"c\"} NaN\n# UNIT x_s s\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 17\n# EOF\n";
        let form = if strict { Form::OpenMetrics } else { Form::Text };
        let mut body = if strict { BODY.to_owned() } else { BODY.replace(" # {x=\"y\"} 1 2", "") };
        let at = at % body.len();
        body.replace_range(at..at + with.len().min(1), &with);
        let (mut parser, mut samples) = (Parser::default(), Samples::default());
        samples.one("before", "", Kind::Gauge, 1.0);
        let before = told(&samples);
        let result = parser.parse(form, body.as_bytes(), &mut samples);
        prop_assert!(result.is_ok() || told(&samples) == before);
        for sample in samples.iter() {
            prop_assert!(lex::is_name(sample.name().as_bytes()));
            let mut names: Vec<_> = sample.labels().map(|(name, _)| name).collect();
            prop_assert!(names.iter().all(|name| lex::is_label(name.as_bytes())));
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), sample.labels().count());
        }
        let mut again = Samples::default();
        again.one("before", "", Kind::Gauge, 1.0);
        prop_assert_eq!(parser.parse(form, body.as_bytes(), &mut again), result);
        prop_assert_eq!(told(&again), told(&samples));
    }

    #[test]
    fn no_text_panics(strict: bool, body: Vec<u8>) {
        let form = if strict { Form::OpenMetrics } else { Form::Text };
        let _ = Parser::default().parse(form, &body, &mut Samples::default());
    }
}
