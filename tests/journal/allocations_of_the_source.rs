//! The journal source allocates for chunks, not for entries: filters, relabelling, stages and lines with it.

use crate::allocations::so_far;
use crate::journalctl::{Export, FORMS, write};
use crate::real::BOOT;
use lugger::base::clock::Clock;
use lugger::base::metrics::Registry;
use lugger::base::shutdown;
use lugger::base::wake::Wake;
use lugger::model::flow::{Chunk, Entries, Ledger, Limits, Output, Receipt, StreamId};
use lugger::model::labels::{LabelCaps, Labels};
use lugger::pipeline::relabel;
use lugger::pipeline::settings::Stage;
use lugger::source::handle::{Kept, NextOutput};
use lugger::source::journal::reload::{Next, Sources};
use lugger::source::journal::settings::{Match, Settings};
use lugger::source::journal::worker::{Parts, start};
use lugger::store::checkpoint::Checkpoints;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

const ENTRIES: u64 = 60_000;

/// Stores everything at once, and tells of each chunk: entries, and what the thread has allocated by then.
struct Sink {
    streams: u32,
    chunks: Sender<(usize, u64)>,
}

impl Output for Sink {
    fn stream(&mut self, _: &Labels, _: &Labels, _: Option<&str>) -> StreamId {
        self.streams += 1;
        StreamId(self.streams)
    }

    fn release(&mut self, _: StreamId) {}

    fn has_room(&self) -> bool {
        true
    }

    fn write(&mut self, _: &Chunk<'_>, _: &mut dyn Ledger) {}

    fn write_entries(&mut self, entries: &Entries, receipts: &[Receipt], _: bool, ledger: &mut dyn Ledger) {
        ledger.intend(receipts);
        ledger.commit(receipts);
        let _ = self.chunks.send((entries.list.len(), so_far()));
    }

    fn tick(&mut self, _: Instant, _: &mut dyn Ledger) -> Option<Instant> {
        None
    }

    fn flush(&mut self, _: &mut dyn Ledger) {}

    fn set_limits(&mut self, _: Limits) {}

    fn is_settled(&self) -> bool {
        true
    }

    fn oldest(&self) -> Option<Instant> {
        None
    }
}

fn settings(path: &std::path::Path, json: bool, stages: Vec<Stage>) -> Settings {
    let rule = |source: &str, target: &str| relabel::Settings {
        source_labels: vec![source.to_owned()],
        target_label: target.to_owned(),
        ..relabel::Settings::default()
    };
    Settings {
        name: "journal".to_owned(),
        path: Some(path.to_owned()),
        matches: vec![vec![Match { field: "WANTED".to_owned(), value: "yes".to_owned() }]],
        units: Vec::new(),
        priority: Some((0, 7)),
        json,
        max_age: Duration::from_secs(1 << 40),
        imported: None,
        own_unit: false,
        labels: Labels::new([("job", "journal")]).unwrap(),
        outer_labels: Labels::default(),
        late_labels: Labels::default(),
        relabel: vec![rule("__journal__systemd_unit", "unit"), rule("__journal_priority_keyword", "level")],
        label_caps: LabelCaps::default(),
        line_bytes: 4096,
        rate: None,
        stages,
    }
}

/// Chunks, and what was allocated between one and the next.
fn chunks(json: bool, stages: &str) -> Vec<(usize, u64)> {
    let (files, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut export = Export::default();
    for i in 0..ENTRIES {
        let entry = export.entry(1_700_000_000_000_000 + i * 1000, i * 1000, BOOT);
        entry.field("MESSAGE", format!("message {i} of many status={}", i % 5)).field("PRIORITY", (i % 8).to_string());
        entry
            .field("_SYSTEMD_UNIT", format!("unit-{}.service", i % 20))
            .field("WANTED", if i % 3 == 0 { "no" } else { "yes" });
    }
    write(files.path(), "a", FORMS[3], &export.0);
    let yaml = format!("loki: [{{ url: \"http://x\" }}]\nlogs: [{{ file: {{ include: /x }}, stages: {stages} }}]\n");
    let plan =
        lugger::config::load_str("agent.yaml", &yaml, &|_| None).unwrap_or_else(|report| panic!("{report}")).plan;
    let settings = settings(files.path(), json, plan.files[0].settings.stages.clone());
    let registry = Registry::default();
    let (sender, receiver) = channel();
    let ((alive, _), (begun, _)) = (shutdown::channel(), shutdown::channel());
    let output = NextOutput::New(Box::new(Sink { streams: 0, chunks: sender }));
    let handle = start(Parts {
        next: Next::new(Sources::parse(vec![(settings, 0)]).unwrap(), vec![output]),
        store: Checkpoints::open(state.path(), Clock::System, &registry).unwrap(),
        wake: Wake::new().unwrap(),
        clock: Clock::System,
        kept: Kept::new(&registry, Clock::System).list(),
        registry,
        alive,
        begun,
    })
    .unwrap();
    let (mut seen, mut found, mut before) = (0, Vec::new(), 0);
    while seen < ENTRIES as usize * 2 / 3 {
        let (entries, allocated) = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        seen += entries;
        found.push((entries, allocated - before));
        before = allocated;
    }
    handle.stop();
    assert!(handle.join());
    found
}

#[track_caller]
fn assert_few(chunks: &[(usize, u64)]) {
    assert!(chunks.len() > 3, "{chunks:?}");
    // The first one makes the streams, and the buffers grow until then.
    for (entries, allocated) in &chunks[2..chunks.len() - 1] {
        assert!(*entries > 1000 && *allocated < 60, "{chunks:?}");
    }
}

#[test]
fn messages() {
    assert_few(&chunks(false, "[]"));
}

#[test]
fn fields_as_json() {
    assert_few(&chunks(true, "[]"));
}

#[test]
fn stages() {
    let stages = "[{ regex: { expression: 'status=(?P<status>\\d)' } }, { labels: { status: } }]";
    assert_few(&chunks(false, stages));
}
