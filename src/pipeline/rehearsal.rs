//! Runs lines through stages outside of the data path, for tests of pipelines and for looking at what they would do.
//!
//! Promises: it is the same program that the data path runs; what comes out is owned and in the order in which it comes. Leaves to
//! others: where lines come from, comparing, showing.

use super::entry::{Entry, Work};
use super::error::CompileError;
use super::program::{Emit, LabelNames, Program};
use super::settings::Stage;
use super::state::State;
use super::streams::pairs_to_send;
use super::trace::{Passage, Seen, Trace};
use crate::model::labels::{LabelCaps, Labels};
use crate::model::tenant::is_tenant;
use std::sync::Arc;

/// The label that every line of a file has, and what stands for it where lines come from no file; it is not shown then.
const FILENAME: (&str, &str) = ("filename", "-");

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It would be sent.
    Sent(Sent),
    /// It was dropped.
    Dropped {
        /// Why.
        reason: String,
        /// Its text then.
        text: String,
    },
}

/// An entry that would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its labels as they would be sent.
    pub labels: Labels,
    /// Its time, nanoseconds since 1970.
    pub time_ns: i64,
    /// Its text.
    pub text: String,
    /// Structured metadata.
    pub metadata: Vec<(String, String)>,
    /// The tenant, if a stage named one.
    pub tenant: Option<String>,
}

/// A program, and what it gave.
#[derive(Debug)]
pub struct Rehearsal {
    program: Program,
    caps: LabelCaps,
    trace: Option<Trace>,
}

/// One file, or whatever else lines come from in order.
#[derive(Debug)]
pub struct Lines {
    work: Work,
    state: State,
    /// They have no file.
    has_no_file: bool,
}

impl Rehearsal {
    /// Compiles stages. `late`: labels that come behind them. `line_bytes`: the cap of a line that is gathered from several.
    pub fn new(stages: &[Stage], late: Labels, caps: LabelCaps, line_bytes: usize) -> Result<Self, CompileError> {
        let mut program = super::compile(stages)?;
        program.set_line_bytes(line_bytes);
        program.set_late_labels(late);
        Ok(Rehearsal { program, caps, trace: None })
    }

    /// Keeps from now on what each stage does.
    pub fn watch(&mut self) {
        self.trace = Some(Trace::of(&mut self.program));
    }

    /// What stages did since this was last asked, if they are watched.
    pub fn passages(&self) -> Vec<Passage> {
        self.trace.as_ref().map_or_else(Vec::new, Trace::take)
    }

    /// Begins with lines that have these labels before any stage. `of_file`: they would be those of a file, and so have its name as a label, whether it
    /// is among these or not.
    pub fn begin(&mut self, labels: Labels, of_file: bool) -> Lines {
        let has_no_file = of_file && !labels.iter().any(|(name, _)| name == FILENAME.0);
        let caps = LabelCaps { count: self.caps.count + 1, ..self.caps };
        let with_file = || Labels::capped(labels.iter().chain([FILENAME]), caps).0;
        let labels = if has_no_file { with_file() } else { labels };
        Lines { work: self.program.work(Arc::new(labels)), state: State::default(), has_no_file }
    }

    /// Runs a line that is read at `time_ns`.
    pub fn line(&mut self, text: &str, time_ns: i64, lines: &mut Lines) -> Vec<Outcome> {
        self.line_with_time(text, time_ns, time_ns, lines)
    }

    /// Runs a line that is read at `read_ns`, and has brought a time.
    pub fn line_with_time(&mut self, text: &str, read_ns: i64, time_ns: i64, lines: &mut Lines) -> Vec<Outcome> {
        let mut sink = Sink { caps: self.caps, has_no_file: lines.has_no_file, out: Vec::new() };
        let Lines { work, state, .. } = lines;
        self.program.run_prepared(text, (0, read_ns), &mut |entry| entry.time_ns = time_ns, work, state, &mut sink);
        self.named(sink)
    }

    /// Lets go what is complete at `now_ns`; with `is_end`, everything that is held.
    pub fn release(&mut self, now_ns: i64, is_end: bool, lines: &mut Lines) -> Vec<Outcome> {
        let mut sink = Sink { caps: self.caps, has_no_file: lines.has_no_file, out: Vec::new() };
        let due = (!is_end).then_some(now_ns);
        self.program.release(due, now_ns, &mut lines.state, &mut sink);
        self.named(sink)
    }

    fn named(&self, sink: Sink) -> Vec<Outcome> {
        let reason = |why: Why| match why {
            Why::Stage(number) => self.program.reasons().get(usize::from(number)).cloned().unwrap_or_default(),
            Why::BadTenant => "bad_tenant".to_owned(),
            Why::NoLabels => "no_labels".to_owned(),
        };
        let outcome = |kept| match kept {
            Ok(sent) => Outcome::Sent(sent),
            Err((why, text)) => Outcome::Dropped { reason: reason(why), text },
        };
        sink.out.into_iter().map(outcome).collect()
    }
}

/// Why an entry is not sent; the data path has the same reasons.
enum Why {
    Stage(u16),
    BadTenant,
    NoLabels,
}

struct Sink {
    caps: LabelCaps,
    has_no_file: bool,
    out: Vec<Result<Sent, (Why, String)>>,
}

impl Emit for Sink {
    fn emit(&mut self, entry: &Entry<'_>, names: &LabelNames) {
        let Seen { text, time_ns, metadata, tenant, .. } = Seen::of(entry, names);
        let (mut labels, _) = Labels::capped(pairs_to_send(entry, names), self.caps);
        let is_empty = labels.is_empty();
        if self.has_no_file {
            labels = Labels::capped(labels.iter().filter(|label| *label != FILENAME), self.caps).0;
        }
        self.out.push(if tenant.as_ref().is_some_and(|tenant| !is_tenant(tenant)) {
            Err((Why::BadTenant, text))
        } else if is_empty {
            Err((Why::NoLabels, text))
        } else {
            Ok(Sent { labels, time_ns, text, metadata, tenant })
        });
    }

    fn dropped(&mut self, entry: &Entry<'_>, reason: u16) {
        self.out.push(Err((Why::Stage(reason), entry.line_text().to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Drop, Json, Match, MatchAction, Multiline};
    use super::super::trace::{Left, stage_names};
    use super::*;
    use std::time::Duration;

    fn stages() -> Vec<Stage> {
        let pair = |name: &str| (name.to_owned(), name.to_owned());
        let reason = "drop_stage".to_owned();
        vec![
            Stage::Multiline(Multiline {
                firstline: "^[{]".into(),
                max_lines: 9,
                max_wait_time: Duration::from_secs(3),
            }),
            Stage::Json(Json { expressions: vec![pair("level"), pair("unread")], source: None, drop_malformed: false }),
            Stage::Match(Match {
                selector: "{job=\"j\"}".into(),
                action: MatchAction::Keep(vec![Stage::Labels(vec![pair("level")])]),
                pipeline_name: None,
                drop_counter_reason: "match_stage".into(),
            }),
            Stage::Drop(Drop {
                source: vec!["level".into()],
                separator: ";".into(),
                value: Some("debug".into()),
                expression: None,
                older_than: None,
                longer_than: None,
                drop_counter_reason: reason,
            }),
        ]
    }

    #[test]
    fn what_comes_out_and_what_each_stage_did() {
        let mut rehearsal = Rehearsal::new(&stages(), Labels::default(), LabelCaps::default(), 1000).unwrap();
        rehearsal.watch();
        let mut lines = rehearsal.begin(Labels::new([("job", "j")]).unwrap(), true);
        assert_eq!(rehearsal.line(r#"{"level":"info"}"#, 1, &mut lines), []);
        let held = rehearsal.passages();
        assert_eq!((held.len(), held[0].left), (1, Left::Held));
        let first = rehearsal.line(r#"{"level":"debug"}"#, 2, &mut lines);
        let sent = Sent {
            labels: Labels::new([("job", "j"), ("level", "info")]).unwrap(),
            time_ns: 1,
            text: r#"{"level":"info"}"#.to_owned(),
            metadata: Vec::new(),
            tenant: None,
        };
        assert_eq!(first, [Outcome::Sent(sent)]);
        assert_eq!(rehearsal.release(3, false, &mut lines), []);
        let (reason, text) = ("drop_stage".to_owned(), r#"{"level":"debug"}"#.to_owned());
        assert_eq!(rehearsal.release(4, true, &mut lines), [Outcome::Dropped { reason, text }]);

        let names = stage_names(&stages());
        assert_eq!(names, ["1 multiline", "2 json", "3 match", "3.1 labels", "4 drop"]);
        let passages = rehearsal.passages();
        let way: Vec<_> = passages.iter().map(|p| (names[p.stage].as_str(), p.left)).collect();
        assert_eq!(
            way,
            [
                ("2 json", Left::On),
                ("3 match", Left::On),
                ("3.1 labels", Left::On),
                ("4 drop", Left::On),
                ("1 multiline", Left::Held),
                ("2 json", Left::On),
                ("3 match", Left::On),
                ("3.1 labels", Left::On),
                ("4 drop", Left::Dropped),
            ]
        );
        let json = &passages[0];
        assert_eq!(json.before.extracted, []);
        assert_eq!(json.after.extracted, [("level".to_owned(), "info".to_owned())]);
        assert_eq!(passages[2].after.labels.len(), passages[2].before.labels.len() + 1);
    }
}
