//! The stage `geoip`, with databases that are written here: what becomes of an address, mistakes at check time, the running agent.

#[path = "support/allocations.rs"]
mod counting;
#[path = "support/mmdb.rs"]
mod mmdb;
mod support;

use counting::{Counting, allocations};
use lugger::base::limits::{GEOIP_RECORD_BYTES, GEOIP_RECORDS};
use lugger::format::mmdb::{Database, Kind, Stamp};
use lugger::model::labels::{LabelCaps, Labels};
use lugger::pipeline::entry::Entry;
use lugger::pipeline::rehearsal::{Outcome, Rehearsal};
use lugger::pipeline::settings::{GeoIp, Regex, Stage, Template};
use lugger::pipeline::state::State;
use lugger::pipeline::{Emit, LabelNames, compile};
use mmdb::{Data, Mmdb, map, text};
use proptest::prelude::*;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use support::agent::{Config, FileSource, Rig};
use support::loki::{Loki, Options};
use support::wait::wait_until;
use support::writer::append_to;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn names(en: &str) -> Data {
    map([("de", text("Deutsch")), ("en", text(en)), ("ru", text("по-русски"))])
}

fn bedmond() -> Data {
    map([
        ("city", map([("geoname_id", Data::U32(2_656_070)), ("names", names("Bedmond"))])),
        ("continent", map([("code", text("EU")), ("geoname_id", Data::U32(6_255_148)), ("names", names("Europe"))])),
        ("country", map([("iso_code", text("GB")), ("names", names("United Kingdom"))])),
        (
            "location",
            map([
                ("accuracy_radius", Data::U16(20)),
                ("latitude", Data::Double(51.7196)),
                ("longitude", Data::Double(-0.4144)),
                ("time_zone", text("Europe/London")),
            ]),
        ),
        ("postal", map([("code", text("WD5"))])),
        (
            "subdivisions",
            Data::List(vec![
                map([("iso_code", text("ENG")), ("names", names("England"))]),
                map([("iso_code", text("HRT")), ("names", names("Hertfordshire"))]),
            ]),
        ),
        ("traits", map([("is_anycast", Data::Bool(true))])),
    ])
}

fn provider(number: u32, name: &str) -> Data {
    map([("autonomous_system_number", Data::U32(number)), ("autonomous_system_organization", text(name))])
}

fn open(database: &Mmdb) -> Arc<Database> {
    open_bytes(database.bytes()).unwrap()
}

fn open_bytes(bytes: Vec<u8>) -> Option<Arc<Database>> {
    let stamp = Stamp { path: "/x".into(), file: (0, 0), len: 0, written: (0, 0) };
    Database::new(stamp, bytes).ok().map(Arc::new)
}

fn geoip(database: &Arc<Database>, kind: Option<Kind>, lookups: &[(&str, &str)]) -> Stage {
    let lookups = lookups.iter().map(|(key, path)| ((*key).to_owned(), (*path).to_owned())).collect();
    Stage::GeoIp(GeoIp { database: Arc::clone(database), source: "ip".into(), kind, lookups })
}

/// The first word of a line as `ip`.
fn first_word() -> Stage {
    Stage::Regex(Regex { expression: r"^(?P<ip>\S+)".into(), source: None, labels_from_groups: false })
}

fn from_keys(names: &[&str]) -> Stage {
    Stage::Labels(names.iter().map(|name| ((*name).to_owned(), String::new())).collect())
}

/// The labels that lines with these addresses get, as they are written in selectors.
fn labels(stages: Vec<Stage>, addresses: &[&str]) -> Vec<String> {
    let all: Vec<Stage> = [first_word()].into_iter().chain(stages).collect();
    let mut rehearsal = Rehearsal::new(&all, Labels::default(), LabelCaps::default(), 1 << 20).unwrap();
    let mut lines = rehearsal.begin(Labels::new([("job", "a")]).unwrap(), false);
    let one = |address: &&str| match rehearsal.line(&format!("{address} GET /"), 1, &mut lines).as_slice() {
        [Outcome::Sent(sent)] => sent.labels.encoded(),
        other => panic!("{other:?}"),
    };
    addresses.iter().map(one).collect()
}

const NOTHING: &str = r#"{job="a"}"#;

#[test]
fn each_type_gives_promtails_labels_whatever_the_form_of_the_tree() {
    let city = concat!(
        r#"{geoip_city_name="Bedmond", geoip_continent_code="EU", geoip_continent_name="Europe", "#,
        r#"geoip_country_name="United Kingdom", geoip_location_latitude="51.7196", geoip_location_longitude="-0.4144", "#,
        r#"geoip_postal_code="WD5", geoip_subdivision_code="HRT", geoip_subdivision_name="Hertfordshire", "#,
        r#"geoip_timezone="Europe/London", job="a"}"#
    );
    let country =
        r#"{geoip_continent_code="EU", geoip_continent_name="Europe", geoip_country_name="United Kingdom", job="a"}"#;
    let asn = concat!(
        r#"{geoip_autonomous_system_number="20712", "#,
        r#"geoip_autonomous_system_organization="Andrews & Arnold Ltd", job="a"}"#
    );
    for bits in [24, 28, 32] {
        let database =
            Mmdb::new("GeoLite2-City", 6, bits).with("81.2.69.128/26", &bedmond()).with("2001:db8::/32", &bedmond());
        let database = open(&database);
        let given = ["81.2.69.142", "::ffff:81.2.69.142", "2001:db8::1", "81.2.69.1", "2001:db9::1"];
        let expected = [city, city, city, NOTHING, NOTHING];
        assert_eq!(labels(vec![geoip(&database, Some(Kind::City), &[])], &given), expected, "{bits}");
        assert_eq!(labels(vec![geoip(&database, Some(Kind::Country), &[])], &given[..1]), [country], "{bits}");

        let database =
            Mmdb::new("GeoLite2-ASN", 4, bits).with("81.2.69.0/24", &provider(20_712, "Andrews & Arnold Ltd"));
        let given = ["81.2.69.142", "::ffff:81.2.69.142", "2001:db8::1", "81.2.70.1"];
        let found = labels(vec![geoip(&open(&database), Some(Kind::Asn), &[])], &given);
        assert_eq!(found, [asn, asn, NOTHING, NOTHING], "{bits}");
    }
}

#[test]
fn what_is_no_address_changes_nothing() {
    let database = open(&Mmdb::new("GeoLite2-ASN", 6, 24).with("1.0.0.0/8", &provider(7, "x")));
    let given =
        ["-", "1.2.3", "1.2.3.4:80", "01.2.3.4", "1.2.3.4.5", "example.org", "[::1]", "fe80::1%eth0", "1.2.3.4,"];
    assert_eq!(labels(vec![geoip(&database, Some(Kind::Asn), &[])], &given), [NOTHING; 9]);
    // Without a source, too.
    let stage = geoip(&database, Some(Kind::Asn), &[]);
    let mut rehearsal = Rehearsal::new(&[stage], Labels::default(), LabelCaps::default(), 1 << 20).unwrap();
    let mut lines = rehearsal.begin(Labels::new([("job", "a")]).unwrap(), false);
    let out = rehearsal.line("1.2.3.4", 1, &mut lines);
    assert!(matches!(&out[..], [Outcome::Sent(sent)] if sent.labels.encoded() == NOTHING), "{out:?}");
}

#[test]
fn what_a_record_has_not_or_has_empty_or_wrong_is_left_out() {
    let place = |latitude, longitude| map([("location", map([("latitude", latitude), ("longitude", longitude)]))]);
    let records = [
        (map([]), NOTHING),
        (map([("city", map([("names", map([("de", text("Köln"))]))]))]), NOTHING),
        (map([("city", map([("names", map([("en", text(""))]))]))]), NOTHING),
        (map([("location", map([("latitude", Data::Double(1.0))]))]), NOTHING),
        (
            place(Data::Double(0.0), Data::Double(-180.0)),
            r#"{geoip_location_latitude="0", geoip_location_longitude="-180", job="a"}"#,
        ),
        (
            place(Data::Double(0.00001), Data::Float(0.5)),
            r#"{geoip_location_latitude="1e-05", geoip_location_longitude="0.5", job="a"}"#,
        ),
        (map([("subdivisions", Data::List(vec![]))]), NOTHING),
        // Of another form than it should have: as if it were not there, with all that is beside it.
        (
            map([("city", map([("names", map([("en", text("A"))]))])), ("postal", map([("code", Data::U16(5))]))]),
            NOTHING,
        ),
        (text("no record"), NOTHING),
        (
            map([("unknown", Data::U128(1 << 100)), ("postal", map([("code", text("7"))]))]),
            r#"{geoip_postal_code="7", job="a"}"#,
        ),
    ];
    let mut database = Mmdb::new("GeoLite2-City", 4, 24);
    for (i, (record, _)) in records.iter().enumerate() {
        database.add(&format!("10.0.{i}.0/24"), record);
    }
    let given: Vec<String> = (0..records.len()).map(|i| format!("10.0.{i}.1")).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let expected: Vec<&str> = records.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(labels(vec![geoip(&open(&database), Some(Kind::City), &[])], &given), expected);

    let database = Mmdb::new("GeoLite2-ASN", 4, 24)
        .with("10.0.0.0/24", &map([("autonomous_system_organization", text("x"))]))
        .with("10.0.1.0/24", &provider(0, ""));
    let found = labels(vec![geoip(&open(&database), Some(Kind::Asn), &[])], &["10.0.0.1", "10.0.1.1"]);
    assert_eq!(found, [r#"{geoip_autonomous_system_organization="x", job="a"}"#, NOTHING]);
}

#[test]
fn all_of_it_and_custom_lookups_are_extracted_keys() {
    let lookups = [
        ("radius", "location.accuracy_radius"),
        ("outer", "subdivisions[0].iso_code"),
        ("anycast", "traits.is_anycast"),
        ("many", "length(subdivisions)"),
        ("postal", ""),
        ("missing", "city.nope"),
        ("unread", "country.iso_code"),
    ];
    let database = open(&Mmdb::new("GeoLite2-City", 6, 28).with("81.2.69.0/24", &bedmond()));
    let from = |lookups: &[(&str, &str)], kind, names: &[&str]| {
        let without = Stage::LabelDrop(Kind::City.fields().iter().map(|field| field.name.to_owned()).collect());
        labels(vec![geoip(&database, kind, lookups), without, from_keys(names)], &["81.2.69.142"]).remove(0)
    };
    let names = ["radius", "outer", "anycast", "many", "postal", "missing", "geoip_country_code", "geoip_city_name"];
    let expected = concat!(
        r#"{anycast="true", geoip_city_name="Bedmond", geoip_country_code="GB", job="a", many="2", "#,
        r#"outer="ENG", postal="{\"code\":\"WD5\"}", radius="20"}"#
    );
    assert_eq!(from(&lookups, Some(Kind::City), &names), expected);
    // Without a type there are the lookups alone.
    assert_eq!(from(&lookups[..1], None, &names), r#"{job="a", radius="20"}"#);
    // They are what templates see.
    let template =
        Stage::Template(Template { source: "both".into(), template: "{{.geoip_country_code}} {{.radius}}".into() });
    let stages = vec![geoip(&database, Some(Kind::Country), &lookups[..1]), template, from_keys(&["both"])];
    assert!(labels(stages, &["81.2.69.142"])[0].contains(r#"both="GB 20""#));

    // Forms that JSON has not.
    let record = map([
        ("bytes", Data::Bytes(vec![1, 2])),
        ("wide", Data::U128(1 << 70)),
        ("long", Data::U64(1 << 40)),
        ("less", Data::I32(-5)),
        ("half", Data::Float(0.5)),
        ("quoted", text("a\"b\n")),
    ]);
    let database = open(&Mmdb::new("Own", 4, 32).with("10.0.0.0/8", &record));
    let names = ["bytes", "wide", "long", "less", "half", "quoted"];
    let lookups: Vec<_> = names.iter().map(|name| (*name, "")).collect();
    let found = labels(vec![geoip(&database, None, &lookups), from_keys(&names)], &["10.1.1.1"]);
    let expected =
        r#"{half="0.5", job="a", less="-5", long="1099511627776", quoted="a\"b\n", wide="1180591620717411300000"}"#;
    assert_eq!(found, [expected]);
}

/// What is remembered of records is of the right record, also when there are more than places, and texts that are not kept.
#[test]
fn records_do_not_get_mixed_up() {
    let count = GEOIP_RECORDS * 3;
    let long = "x".repeat(GEOIP_RECORD_BYTES);
    let name = |i: usize| if i % 50 == 7 { format!("{i}{long}") } else { format!("provider {i}") };
    let mut database = Mmdb::new("GeoLite2-ASN", 4, 24);
    for i in 0..count {
        database.add(&format!("10.{}.{}.0/24", i / 256, i % 256), &provider(i as u32 + 1, &name(i)));
    }
    let mut program = compile(&[first_word(), geoip(&open(&database), Some(Kind::Asn), &[])]).unwrap();
    let mut work = program.work(Arc::new(Labels::default()));
    struct Seen(String, String);
    impl Emit for Seen {
        fn emit(&mut self, entry: &Entry<'_>, names: &LabelNames) {
            let label = |name: &str| entry.label_text(names.names().find_label(name).unwrap()).to_owned();
            *self = Seen(label("geoip_autonomous_system_number"), label("geoip_autonomous_system_organization"));
        }

        fn dropped(&mut self, _: &Entry<'_>, _: u16) {}
    }
    let (mut state, mut seen) = (State::default(), Seen(String::new(), String::new()));
    // The second time in another order.
    for i in (0..count).chain((0..count).map(|i| i * 7 % count)) {
        let line = format!("10.{}.{}.9 x", i / 256, i % 256);
        program.run(&line, 0, 1, &mut work, &mut state, &mut seen);
        assert_eq!((&seen.0, &seen.1), (&(i + 1).to_string(), &name(i)));
    }
}

#[test]
fn a_line_allocates_nothing() {
    let database =
        open(&Mmdb::new("GeoLite2-City", 6, 28).with("81.2.69.0/24", &bedmond()).with("2001:db8::/32", &bedmond()));
    let lookups = [("radius", "location.accuracy_radius"), ("many", "length(subdivisions)")];
    let stages = [first_word(), geoip(&database, Some(Kind::City), &lookups), from_keys(&["radius", "many"])];
    let mut program = compile(&stages).unwrap();
    let mut work = program.work(Arc::new(Labels::new([("job", "a")]).unwrap()));
    struct Count(usize);
    impl Emit for Count {
        fn emit(&mut self, entry: &Entry<'_>, _: &LabelNames) {
            self.0 += usize::from(entry.has_changes());
        }

        fn dropped(&mut self, _: &Entry<'_>, _: u16) {}
    }
    let (mut state, mut count) = (State::default(), Count(0));
    let mut all = |rounds: usize| {
        for line in
            ["81.2.69.1 a", "81.2.69.2 b", "2001:db8::7 c", "192.0.2.1 d", "- e"].iter().cycle().take(rounds * 5)
        {
            program.run(black_box(line), 0, 1, &mut work, &mut state, &mut count);
        }
    };
    all(2);
    assert_eq!(allocations(|| all(100)), 0);
    assert_eq!(count.0, 102 * 3);
}

/// All that a stage may ask of a database, for a few addresses.
fn ask(database: &Arc<Database>) {
    for kind in [Kind::City, Kind::Country, Kind::Asn] {
        let lookups = [("all", "@"), ("radius", "location.accuracy_radius")];
        let stages = vec![geoip(database, Some(kind), &lookups), from_keys(&["all", "radius"])];
        labels(stages, &["81.2.69.142", "2001:db8::1", "9.9.9.9", "0.0.0.0", "255.255.255.255", "ffff::"]);
    }
}

/// Reading what is nested deeply must not run out of stack.
#[test]
fn deep_records_have_nothing_or_all() {
    for (depth, expected) in [(10, r#"{deep="1", job="a"}"#), (100, NOTHING), (400, NOTHING), (5000, NOTHING)] {
        let deep = (0..depth).fold(Data::U16(1), |inner, _| map([("x", inner)]));
        let path = ["x"; 10].join(".");
        let database = open(&Mmdb::new("Own", 4, 24).with("10.0.0.0/8", &deep));
        let stages = vec![geoip(&database, Some(Kind::City), &[("deep", &path)]), from_keys(&["deep"])];
        assert_eq!(labels(stages, &["10.1.1.1"]), [expected], "{depth}");
    }
}

#[test]
fn a_file_that_ends_early_is_refused() {
    let whole = Mmdb::new("GeoLite2-City", 6, 24).with("81.2.69.0/24", &bedmond()).bytes();
    for len in 0..whole.len() {
        assert!(open_bytes(whole[..len].to_vec()).is_none(), "{len} of {}", whole.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_database_does_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        bits in prop::sample::select(vec![24u16, 28, 32]),
    ) {
        let database = Mmdb::new("GeoLite2-City", 6, bits)
            .with("81.2.69.0/24", &bedmond())
            .with("2001:db8::/32", &map([("wide", Data::U128(u128::MAX)), ("bytes", Data::Bytes(vec![0; 40]))]));
        let mut bytes = database.bytes();
        let len = bytes.len();
        for (at, byte) in changes {
            bytes[at.index(len)] = byte;
        }
        if let Some(database) = open_bytes(bytes) {
            ask(&database);
        }
    }
}

fn lugger(arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lugger")).args(arguments).env_remove("JOURNAL_STREAM").output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn write(path: &Path, database: &Mmdb) {
    // As those do who update databases: written beside, and renamed.
    let beside = path.with_extension("new");
    fs::write(&beside, database.bytes()).unwrap();
    fs::rename(beside, path).unwrap();
}

#[test]
fn mistakes_are_said_with_their_place_before_anything_runs() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write(&at("city.mmdb"), &Mmdb::new("GeoLite2-City", 6, 24).with("81.2.69.0/24", &bedmond()));
    fs::write(at("text.mmdb"), "no database").unwrap();
    let config = at("agent.yaml");
    let check = |stage: &str| {
        let stage = stage.replace("DIR", directory.path().to_str().unwrap());
        let text = format!(
            "loki: [{{ url: 'http://127.0.0.1:1' }}]\nlogs:\n- name: a\n  file: {{ include: /tmp/x }}\n  stages:\n  - {stage}\n"
        );
        fs::write(&config, text).unwrap();
        let (code, said) = lugger(&["check", "--config", config.to_str().unwrap()]);
        (code, said.replace(directory.path().to_str().unwrap(), "DIR"))
    };
    for (stage, expected) in [
        (
            "geoip: { db: DIR/none.mmdb, source: ip, db_type: city }",
            "6:18: this file cannot be read: there is no such file",
        ),
        (
            "geoip: { db: DIR/none.mmdb, source: ip, db_type: city }",
            "help: put the database there, readable for the user that",
        ),
        ("geoip: { db: DIR, source: ip, db_type: city }", "6:18: this file cannot be read: it is a directory"),
        (
            "geoip: { db: /dev/null, source: ip, db_type: city }",
            "6:18: this file cannot be read: it is no regular file",
        ),
        ("geoip: { db: city.mmdb, source: ip, db_type: city }", "6:18: this path is not absolute"),
        ("geoip: { db: DIR/text.mmdb, source: ip, db_type: city }", "6:18: this is no database of addresses"),
        ("geoip: { source: ip, db_type: city }", "6:5: `geoip` needs `db`"),
        ("geoip: { db: DIR/city.mmdb, db_type: city }", "6:5: `geoip` needs `source`"),
        ("geoip: { db: DIR/city.mmdb, source: ip }", "6:5: `geoip` needs `db_type`"),
        ("geoip: { db: DIR/city.mmdb, source: ip, db_type: cty }", "help: did you mean \"city\"?"),
        ("geoip: { db: DIR/city.mmdb, source: ip, db_typ: city }", "unknown key \"db_typ\""),
        ("geoip: { db: DIR/city.mmdb, source: ip, custom_lookups: { a: 'b[' } }", "wrong JMESPath expression `b[`"),
        ("geoip: { db: DIR/city.mmdb, source: ip, custom_lookups: { a: 'nope(@)' } }", "nope"),
    ] {
        let (code, said) = check(stage);
        assert!(code == Some(1) && said.contains(expected), "{expected}\n---\n{code:?} {said}");
    }
    let (code, said) =
        check("geoip: { db: DIR/city.mmdb, source: ip, db_type: city, custom_lookups: { city: , r: a.b } }");
    assert!(code == Some(0) && !said.contains("warning"), "{said}");
    let (code, said) = check("geoip: { db: DIR/city.mmdb, source: ip, db_type: asn }");
    assert!(code == Some(0) && said.contains("this database calls itself \"GeoLite2-City\""), "{said}");
}

/// Stages share a database, also with those of a later configuration, as long as its file is the same.
#[test]
fn a_database_is_in_memory_once() {
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("asn.mmdb");
    write(&db, &Mmdb::new("GeoLite2-ASN", 6, 24).with("81.2.69.0/24", &provider(1, "Old")));
    let stage = format!("{{ geoip: {{ db: {}, source: ip, db_type: asn }} }}", db.display());
    let text = format!(
        "loki: [{{ url: 'http://localhost:1' }}]\nlogs: [{{ file: {{ include: /x }}, stages: [{stage}, {stage}] }}]\n"
    );
    let stages =
        || lugger::config::load_str("agent.yaml", &text, &|_| None).unwrap().plan.files[0].settings.stages.clone();
    let database = |stage: &Stage| match stage {
        Stage::GeoIp(settings) => Arc::clone(&settings.database),
        other => panic!("{other:?}"),
    };
    let (first, second) = (stages(), stages());
    for other in [&first[1], &second[0], &second[1]] {
        assert!(Arc::ptr_eq(&database(&first[0]), &database(other)));
    }
    assert_eq!(first, second);
    write(&db, &Mmdb::new("GeoLite2-ASN", 6, 24).with("81.2.69.0/24", &provider(1, "New")));
    assert_ne!(stages(), first);
}

/// A Promtail file with the stage as its users have it converts, and the agent runs it. A new database is taken with a reload.
#[test]
fn the_agent_labels_lines_and_takes_a_new_database_with_a_reload() {
    let loki = Loki::start_with(Options { keep: true, ..Options::default() });
    let rig = Rig::new();
    let (path, db) = (rig.log("access.log"), rig.path().join("asn.mmdb"));
    write(&db, &Mmdb::new("GeoLite2-ASN", 6, 24).with("81.2.69.0/24", &provider(20_712, "Old")));
    let stages = format!(
        "[ {{ regex: {{ expression: '^(?P<ip>\\S+)' }} }}, {{ labeldrop: [filename] }}, \
         {{ geoip: {{ db: {}, source: ip, db_type: asn }} }} ]",
        db.display()
    );
    let config =
        Config::new(&loki.url()).source(FileSource::new("web", &path).label("job", "web").option("stages", &stages));
    let agent = rig.start(&config);
    append_to(&path, "81.2.69.142 GET /\n192.0.2.1 GET /\n");
    wait_until("two lines", Duration::from_secs(60), || loki.entries().len() >= 2);
    let labels = |name: &str| {
        format!(
            r#"{{geoip_autonomous_system_number="20712", geoip_autonomous_system_organization="{name}", job="web"}}"#
        )
    };
    let streams = || {
        let mut all: Vec<String> = loki.entries().into_iter().map(|entry| entry.stream).collect();
        all.sort();
        all
    };
    assert_eq!(streams(), [labels("Old"), r#"{job="web"}"#.to_owned()]);
    write(&db, &Mmdb::new("GeoLite2-ASN", 6, 24).with("81.2.69.0/24", &provider(20_712, "New")));
    let answer = agent.reload();
    assert_eq!(answer.status, 200, "{}", answer.body);
    append_to(&path, "81.2.69.142 GET /again\n");
    wait_until("the third line", Duration::from_secs(60), || loki.entries().len() >= 3);
    assert_eq!(streams(), [labels("New"), labels("Old"), r#"{job="web"}"#.to_owned()]);
    loki.assert_no_defects();

    let promtail = format!(
        "clients: [{{ url: {} }}]\npositions: {{ filename: /tmp/positions.yaml }}\nscrape_configs:\n- job_name: web\n  \
         static_configs: [{{ labels: {{ job: web, __path__: {} }} }}]\n  pipeline_stages:\n  - geoip:\n      db: {}\n      \
         source: ip\n      db_type: asn\n",
        loki.url(),
        path.display(),
        db.display()
    );
    let file = rig.path().join("promtail.yaml");
    fs::write(&file, promtail).unwrap();
    let (code, said) = lugger(&["convert", file.to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("geoip:") && said.contains("db_type: asn"), "{said}");
    let (code, said) = lugger(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
}
