//! Changing a running worker to another set of sources, between two turns of its thread.
//!
//! Sources are told apart by name. One that is as before goes on without noticing. When its filters, labels or stages changed they hold from the
//! next entry on, and nothing is read again; where lines may wait for further ones and what was sent before a crash is being sent again, from the end
//! of that on, for it would be cut in another way. When its output changed, all that was written is sealed first, so that it has its intents;
//! then what is not stored is read again, as before, for the new output.
//!
//! Promises: cannot fail, as all that can is done by [`Sources::parse`] before; a cursor is never moved back, and never past what is stored.
//! Leaves to others: outputs and their endpoints.

use super::filter::{Filter, own_unit};
use super::kinds::Kinds;
use super::settings::Settings;
use super::source::Source;
use super::status::Status;
use super::worker::{StartError, Worker};
use crate::pipeline::{Program, compile};
use crate::source::handle::{NextOutput, exchange, outputs_fit};
use crate::source::stages::Pipeline;
use std::time::Instant;

/// Sources whose settings are understood.
pub struct Sources(Vec<Planned>);

/// A source whose settings are understood.
pub(super) struct Planned {
    settings: Settings,
    output: usize,
    kinds: Kinds,
    program: Option<Box<Program>>,
}

impl Sources {
    /// The sources, each with the number of its output.
    pub fn parse(sources: Vec<(Settings, usize)>) -> Result<Self, StartError> {
        let planned = sources.into_iter().map(|(settings, output)| {
            let source_name = || settings.name.clone();
            let kinds =
                Kinds::new(&settings).map_err(|error| StartError::Rules { source_name: source_name(), error })?;
            let program = if settings.stages.is_empty() {
                None
            } else {
                let compiled = compile(&settings.stages);
                let mut program = compiled.map_err(|error| StartError::Stages { source_name: source_name(), error })?;
                program.set_line_bytes(settings.line_bytes);
                program.set_late_labels(settings.late_labels.clone());
                Some(Box::new(program))
            };
            Ok(Planned { settings, output, kinds, program })
        });
        planned.collect::<Result<_, _>>().map(Sources)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A set of sources that a worker can run: everything that could fail is done.
pub struct Next {
    sources: Sources,
    outputs: Vec<NextOutput>,
}

impl Next {
    /// These sources, and their outputs by number.
    pub fn new(sources: Sources, outputs: Vec<NextOutput>) -> Self {
        Next { sources, outputs }
    }
}

impl Worker {
    /// Changes to the set that waits, if one does. True if so.
    pub(super) fn obey(&mut self) -> bool {
        let Some((next, answer)) = self.orders.take() else { return false };
        if !outputs_fit(&next.outputs, self.outputs.len(), next.sources.0.iter().map(|planned| planned.output)) {
            // Dropping the answer refuses it.
            return false;
        }
        self.change(*next);
        // Whoever asked may have stopped waiting.
        let _ = answer.send(self.statuses());
        true
    }

    /// Changes to a set that fits.
    pub(super) fn change(&mut self, next: Next) {
        let Next { sources: Sources(planned), outputs } = next;
        let stays = |number: usize, output: usize| matches!(outputs.get(output), Some(NextOutput::Kept { number: kept, .. }) if *kept == number);
        // What waits for further lines is sent without, before other stages or labels get the rest.
        for at in 0..self.sources.len() {
            let Some(source) = self.sources.get(at) else { break };
            let next = planned.iter().find(|planned| planned.settings.name == source.settings.name);
            if next.is_none_or(|next| next.settings != source.settings) {
                self.release_again(at);
                self.release_all(at);
            }
        }
        // What was stored by now counts. What is written is sealed, and has its intents, before anything of it is read again or let go.
        for output in &mut self.outputs {
            output.flush(&mut self.books);
        }
        let mut before: Vec<Source> = std::mem::take(&mut self.sources);
        let now = Instant::now();
        for planned in planned {
            let name = planned.settings.name.clone();
            let old = before.iter().position(|source| source.settings.name == name).map(|at| before.swap_remove(at));
            let Some(mut source) = old else {
                let Planned { settings, output, kinds, program } = planned;
                self.books.take_up(&name);
                let status = Status::new(&self.registry, &name);
                let filter = Filter::new(&settings, self.own_unit.clone());
                let pipeline = program.map(|program| Pipeline::new(program, &name, &self.registry));
                self.sources.push(Source::new(
                    settings,
                    output,
                    status,
                    (filter, kinds, pipeline),
                    (now, self.wake.clone()),
                ));
                continue;
            };
            let is_moved = !stays(source.output, planned.output);
            let is_changed = source.settings != planned.settings;
            source.later = None;
            // What is being sent again would be cut in another way, and what waits for its further lines would be lost.
            let holds = source.pipeline.as_ref().is_some_and(|pipeline| pipeline.holds());
            if holds && is_changed && !is_moved && self.books.is_replaying(&name) {
                source.output = planned.output;
                source.later = Some(Box::new(planned));
                self.sources.push(source);
                continue;
            }
            if is_moved {
                self.books.rewind(&name);
                source.begin_again();
            }
            if is_moved || is_changed {
                self.switch(&mut source, planned, now);
            } else {
                source.output = planned.output;
            }
            self.sources.push(source);
        }
        for source in before {
            self.books.leave(&source.settings.name);
        }
        exchange(&mut self.outputs, outputs);
        self.show_kept();
        self.watches.begin();
        for source in &mut self.sources {
            source.watch(&mut self.watches);
        }
        self.watches.end();
        self.books.store.flush();
    }

    /// Gives a source other settings.
    fn switch(&mut self, source: &mut Source, planned: Planned, now: Instant) {
        let Planned { settings, output, kinds, program } = planned;
        let name = &settings.name;
        // Their streams are of the output before, or have other labels.
        let number = source.output;
        let mut forgotten = Vec::new();
        source.kinds.forget(|stream| forgotten.push(stream));
        self.books.forget_strands(name, |stream| forgotten.push(stream));
        if let Some(output) = self.outputs.get_mut(number) {
            forgotten.into_iter().for_each(|stream| output.release(stream));
        }
        let filter = Filter::new(&settings, self.own_unit.clone());
        let pipeline = match (source.pipeline.take(), program) {
            (Some(mut pipeline), Some(_)) if source.settings.stages == settings.stages => {
                pipeline.take_settings(settings.line_bytes, &settings.late_labels);
                Some(pipeline)
            }
            (_, program) => program.map(|program| Pipeline::new(program, name, &self.registry)),
        };
        source.take_settings(settings, output, (filter, kinds, pipeline), now);
    }

    /// Gives sources the settings that were kept back for them, if all was sent again that was sent before, or nothing more of it comes.
    pub(super) fn switch_later(&mut self, now: Instant) {
        for at in 0..self.sources.len() {
            let Some(source) = self.sources.get(at).filter(|source| source.later.is_some()) else { continue };
            let name = source.settings.name.clone();
            let is_idle = !source.reading && !source.fresh && !source.may_have_more();
            if self.books.is_replaying(&name) && !is_idle {
                continue;
            }
            self.release_again(at);
            self.release_all(at);
            for output in &mut self.outputs {
                output.flush(&mut self.books);
            }
            let mut source = self.sources.remove(at);
            if self.books.is_replaying(&name) {
                // What waits for the rest of it would be lost.
                self.books.rewind(&name);
                source.begin_again();
            }
            if let Some(planned) = source.later.take() {
                let is_moved = source.settings.path != planned.settings.path;
                self.switch(&mut source, *planned, now);
                if is_moved {
                    source.watch(&mut self.watches);
                }
            }
            self.sources.insert(at, source);
            self.show_kept();
            self.books.store.flush();
        }
    }
}

/// How journald knows the agent's own entries.
pub(super) fn own_entries() -> Option<(&'static [u8], Box<[u8]>)> {
    std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| own_unit(&text))
}
