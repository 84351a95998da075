//! What each stage of a program did to an entry, for people who write pipelines.
//!
//! The stages of a program are put into a shell that looks at the entry before and after. A program that is not traced has no shells and costs
//! nothing more.
//!
//! Promises: what stages do is the same. What no later stage reads is not extracted, and so is not seen. Leaves to others: showing it.

use super::Program;
use super::entry::Entry;
use super::keys::Key;
use super::program::{Context, Flow, LabelNames};
use super::settings;
use super::stages::Stage;
use super::streams::pairs_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An entry at one point of its way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its text.
    pub text: String,
    /// Its time, nanoseconds since 1970.
    pub time_ns: i64,
    /// Its labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// What was extracted, by key.
    pub extracted: Vec<(String, String)>,
    /// Structured metadata.
    pub metadata: Vec<(String, String)>,
    /// The tenant, if a stage named one.
    pub tenant: Option<String>,
}

impl Seen {
    /// What an entry is now.
    pub fn of(entry: &Entry<'_>, names: &LabelNames) -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut labels: Vec<_> = pairs_of(entry, names).map(own).collect();
        labels.sort_unstable();
        let keys = names.names().keys().iter();
        let extracted = keys.filter_map(|name| {
            let key: Key = names.names().find_key(name)?;
            Some((name.clone(), entry.extracted_text(key)?.to_owned()))
        });
        let metadata = entry.metadata().iter();
        let metadata = metadata.map(|(name, value)| own((names.names().label_name(*name), entry.text(*value))));
        Seen {
            text: entry.line_text().to_owned(),
            time_ns: entry.time_ns,
            labels,
            extracted: extracted.collect(),
            metadata: metadata.collect(),
            tenant: entry.tenant.map(|tenant| entry.text(tenant).to_owned()),
        }
    }
}

/// How an entry left a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// To the next stage.
    On,
    /// Past the stages that are nested in this one.
    Past,
    /// It was dropped.
    Dropped,
    /// It waits for further lines, or became part of what waits.
    Held,
}

/// One entry in one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Which stage: they are counted as [`stage_names`] does.
    pub stage: usize,
    /// Before it.
    pub before: Seen,
    /// After it.
    pub after: Seen,
    /// How it went on.
    pub left: Left,
}

/// What was seen since it was last asked.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<Passage>>>);

impl Trace {
    /// Watches the stages of a program from now on.
    pub fn of(program: &mut Program) -> Self {
        let trace = Trace::default();
        let steps = std::mem::take(&mut program.steps);
        let shell = |inner| Box::new(Shell { inner, trace: trace.clone() }) as Box<dyn Stage>;
        program.steps = steps.into_iter().map(shell).collect();
        trace
    }

    /// Takes what was seen.
    pub fn take(&self) -> Vec<Passage> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Passage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Shell {
    inner: Box<dyn Stage>,
    trace: Trace,
}

impl Stage for Shell {
    fn run(&mut self, entry: &mut Entry<'_>, context: &mut Context<'_>) -> Flow {
        let (stage, labels) = (context.at, context.labels);
        let before = Seen::of(entry, labels);
        let flow = self.inner.run(entry, context);
        let left = match flow {
            Flow::Next => Left::On,
            Flow::Jump(_) => Left::Past,
            Flow::Drop(_) => Left::Dropped,
            Flow::Hold => Left::Held,
            // The stage is asked again.
            Flow::Release => return flow,
        };
        self.trace.lock().push(Passage { stage, before, after: Seen::of(entry, labels), left });
        flow
    }

    fn prune(&mut self, is_read: &dyn Fn(Key) -> bool) {
        self.inner.prune(is_read);
    }

    fn pass_over_to(&mut self, step: usize) {
        self.inner.pass_over_to(step);
    }

    fn holds(&self) -> bool {
        self.inner.holds()
    }

    fn wait_until_ns(&self) -> Option<i64> {
        self.inner.wait_until_ns()
    }
}

/// The stages in the order of [`Passage::stage`], each with its way from the outside, and `match` with its `pipeline_name`: `1 json`, `2 match`, `2.1 labels`.
pub fn stage_names(stages: &[settings::Stage]) -> Vec<String> {
    fn walk(stages: &[settings::Stage], before: &str, names: &mut Vec<String>) {
        for (i, stage) in stages.iter().enumerate() {
            let number = format!("{before}{}", i + 1);
            let mut name = format!("{number} {}", stage.name());
            let settings::Stage::Match(matching) = stage else {
                names.push(name);
                continue;
            };
            if let Some(own) = &matching.pipeline_name {
                name.push(' ');
                name.push_str(own);
            }
            names.push(name);
            if let settings::MatchAction::Keep(nested) = &matching.action {
                walk(nested, &format!("{number}."), names);
            }
        }
    }
    let mut names = Vec::new();
    walk(stages, "", &mut names);
    names
}
