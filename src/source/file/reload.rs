//! Changing a running worker to another set of sources, between two turns of its thread.
//!
//! Sources are told apart by name. One whose patterns, labels and output are as before keeps its descriptors, offsets and everything else. When
//! the labels changed, the next chunk gets another stream and nothing is read again. When the output changed, all that was written is sealed
//! first, so that it has its intents; then what is not stored is read again, cut and stamped as before, and given to the new output.
//!
//! When a pattern, or the set of sources, changed, a new tree with watches of its own takes the place of the old one. Files are met again by
//! identity. The new watches are there before the events of the old ones are taken in for the last time, so that none falls between.
//!
//! Promises: cannot fail, as all that can is done by [`Sources::parse`] before; a cursor is never moved back, and never past what is stored; a file that
//! is not wanted any more keeps its checkpoint, and goes on there when it is wanted again. Files of a source that is gone may have an heir (`heirs`). Leaves to others: outputs and their endpoints.

use super::begin::ALIVE_MARGIN_NS;
use super::follow::{Follow, Source};
use super::heirs::{Estate, Heirs, wants};
use super::identity::{Mark, stat_path};
use super::pattern::{Excludes, Pattern};
use super::records::Decoder;
use super::saved::SavedFiles;
use super::settings::{Records, Settings};
use super::status::Status;
use super::tracked::{FileId, Tracked};
use super::tree::{DirId, Found, Rules, Tree};
use super::worker::{Books, StartError, Worker, new_watcher};
use crate::base::metrics::Registry;
use crate::base::rate::Rate;
use crate::model::flow::Output;
use crate::pipeline::state::Memory;
use crate::pipeline::{Program, compile, relabel};
use crate::source::handle::{self, exchange, outputs_fit};
use crate::source::stages::Pipeline;
use crate::store::checkpoint::Checkpoints;
use foldhash::{HashMap, HashMapExt, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use crate::source::handle::NextOutput;

/// What waits for the worker.
pub(super) type Orders = handle::Orders<Next, Status>;

/// A set of sources that a worker can run: everything that could fail is done.
pub struct Next {
    sources: Sources,
    outputs: Vec<NextOutput>,
}

/// One source of it.
pub(super) struct Planned {
    settings: Settings,
    literals: Vec<PathBuf>,
    output: usize,
    /// Its stages, compiled.
    program: Option<Box<Program>>,
}

/// Sources whose settings are understood.
pub struct Sources {
    planned: Vec<Planned>,
    /// Where each of them looks.
    rules: Vec<Rules>,
}

impl Sources {
    /// The sources, each with the number of its output.
    pub fn parse(sources: Vec<(Settings, usize)>) -> Result<Self, StartError> {
        let mut parsed = Sources { planned: Vec::new(), rules: Vec::new() };
        for (settings, output) in sources {
            let fail = |error| StartError::Pattern { source_name: settings.name.clone(), error };
            let mut patterns = Vec::new();
            for text in &settings.include {
                patterns.extend(Pattern::parse(text).map_err(fail)?);
            }
            let excludes = Excludes::parse(&settings.exclude).map_err(fail)?;
            // Nobody wrote out where an inlet is.
            let is_written = settings.records.is_none();
            let literals = patterns.iter().filter_map(Pattern::literal_path).filter(|_| is_written).collect();
            let program = program_of(&settings)?;
            if let Some(Records { relabel, .. }) = &settings.records {
                let source_name = settings.name.clone();
                relabel::Rules::compile(relabel).map_err(|error| StartError::Relabel { source_name, error })?;
            }
            parsed.planned.push(Planned { literals, output, program, settings });
            parsed.rules.push(Rules { patterns, excludes });
        }
        Ok(parsed)
    }

    /// The sources' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.planned.iter().map(Planned::name)
    }

    /// The sources that would follow a file at this path.
    pub(super) fn following(&self, path: &Path) -> impl Iterator<Item = &Settings> {
        let both = self.planned.iter().zip(&self.rules);
        both.filter(move |(_, rules)| wants(rules, path)).map(|(planned, _)| &planned.settings)
    }
}

impl Next {
    /// These sources, and their outputs by number.
    pub fn new(sources: Sources, outputs: Vec<NextOutput>) -> Self {
        Next { sources, outputs }
    }

    /// Whether the outputs that it keeps are there.
    fn fits(&self, outputs: usize) -> bool {
        outputs_fit(&self.outputs, outputs, self.sources.planned.iter().map(|source| source.output))
    }

    /// For a worker that starts: it has no outputs that could be kept.
    pub(super) fn into_parts(self) -> (Vec<Planned>, Vec<Rules>, Vec<Box<dyn Output>>) {
        let outputs = self.outputs.into_iter().filter_map(|output| match output {
            NextOutput::New(output) => Some(output),
            NextOutput::Kept { .. } => None,
        });
        (self.sources.planned, self.sources.rules, outputs.collect())
    }
}

impl Planned {
    /// A source that did not run before. `is_new`: not under an earlier process either; `replaces_since_ns`: see [`Source`].
    pub(super) fn begin(self, registry: &Registry, is_new: bool, replaces_since_ns: Option<i64>) -> Source {
        let status = Status::new(registry, &self.settings.name);
        let literals = self.literals.into_iter().map(|path| (path, false)).collect();
        let (settings, output) = (self.settings, self.output);
        let rate = settings.rate.map(|limit| Rate::new(limit, Instant::now()));
        let pipeline = self.program.map(|program| Pipeline::new(program, &settings.name, registry));
        let (carried, in_flight) = (false, 0);
        let records = decoder(&settings, registry);
        Source {
            settings,
            status,
            output,
            is_new,
            replaces_since_ns,
            carried,
            in_flight,
            rate,
            pipeline,
            records,
            literals,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }
}

impl Worker {
    /// Changes to the set that waits, if one does. True if so.
    pub(super) fn obey(&mut self) -> bool {
        let Some((next, answer)) = self.orders.take() else { return false };
        if !next.fits(self.outputs.len()) {
            // Dropping the answer refuses it.
            return false;
        }
        self.change(*next);
        let status = self.follow.sources.iter().map(|s| (s.settings.name.clone(), s.status.clone())).collect();
        // Whoever asked may have stopped waiting.
        let _ = answer.send(status);
        true
    }

    fn change(&mut self, next: Next) {
        let Next { sources: Sources { planned, rules }, outputs } = next;
        let before = &self.follow.sources;
        let map: Vec<Option<u16>> = before
            .iter()
            .map(|old| (0u16..).zip(&planned).find(|(_, new)| new.name() == old.settings.name).map(|(i, _)| i))
            .collect();
        let successor = |number: usize| planned.get(usize::from((*map.get(number)?)?));
        let places = || before.iter().enumerate().map(|(i, old)| (old, successor(i)));
        let same_places = before.len() == planned.len()
            && map.iter().enumerate().all(|(i, new)| new.map(usize::from) == Some(i))
            && places().all(|(old, new)| new.is_some_and(|new| same_files(&old.settings, &new.settings)));
        let may_leave: Vec<bool> =
            places().map(|(old, new)| new.is_none_or(|new| !same_files(&old.settings, &new.settings))).collect();
        let moved: Vec<bool> =
            places().map(|(old, new)| new.is_some_and(|new| !keeps_output(&outputs, new, old.output))).collect();
        let relabelled: Vec<bool> =
            places().map(|(old, new)| new.is_some_and(|new| !same_entries(&old.settings, &new.settings))).collect();
        let recoded: Vec<bool> =
            places().map(|(old, new)| new.is_some_and(|new| new.settings.encoding != old.settings.encoding)).collect();

        // The next tree is there before the last events of this one are taken in: one of the two has told of what happened.
        let next_tree = (!same_places).then(|| {
            let mut tree = Tree::new(rules, new_watcher());
            let mut found = Found::default();
            tree.plant(&mut found);
            self.drain_events();
            (tree, found)
        });
        // What waits for further lines is sent without, before other stages or labels get the rest, or another source.
        let is = |list: &[bool], source: u16| list.get(usize::from(source)).copied().unwrap_or_default();
        let changed = |source: u16| is(&relabelled, source) || is(&may_leave, source);
        let held: Vec<FileId> =
            self.follow.files.iter().filter(|(_, file)| changed(file.source)).map(|(id, _)| id).collect();
        for id in held {
            self.release_held(id, None);
        }
        // What was stored by now counts. What is written is sealed, and has its intents, before anything of it is read again or let go.
        if !same_places || moved.contains(&true) {
            for output in &mut self.outputs {
                output.flush(&mut Books(&mut self.follow));
            }
        }
        let names: Vec<&str> = planned.iter().map(Planned::name).collect();
        // Asked before others' cursors are copied for them.
        let has_run = |planned: &Planned| has_run(&self.follow.saved, &self.follow.store, planned.name());
        let is_new = |(number, planned)| !map.contains(&Some(number)) && !has_run(planned);
        let is_new: Vec<bool> = (0u16..).zip(&planned).map(is_new).collect();
        let mut estate = Estate::default();
        let uprooted = next_tree.map(|(tree, found)| {
            estate = self.follow.bequeath(&map, &may_leave, &names, &tree);
            let stays = |source: u16| map.get(usize::from(source)).copied().flatten().is_some();
            let keeps = |output| keeps(&outputs, output);
            self.follow.count_lost(&estate.unwanted, keeps, stays, &self.removed_lost_bytes);
            self.follow.copy_cursors(&estate.copies, &names, &self.removed_lost_bytes);
            self.follow.uproot(&map, tree, found)
        });
        let Estate { heirs, unwanted, .. } = &estate;
        let files: Vec<(FileId, u16)> = self.follow.files.iter().map(|(id, file)| (id, file.source)).collect();
        let mut rewound = Vec::new();
        for (id, source) in files {
            let heir = heirs.get(&id).and_then(|heir| planned.get(usize::from(*heir)));
            let before = self.follow.sources.get(usize::from(source));
            let (is_moved, is_relabelled, is_recoded) = match (heir, before) {
                (Some(heir), Some(before)) => {
                    let is_recoded = heir.settings.encoding != before.settings.encoding;
                    (!keeps_output(&outputs, heir, before.output), true, is_recoded)
                }
                _ => (is(&moved, source), is(&relabelled, source), is(&recoded, source)),
            };
            if is_moved || is_relabelled {
                self.follow.release_stream(id);
                if let Some(file) = self.follow.files.get_mut(id) {
                    if file.cut_counted() {
                        file.set_cut_counted(false);
                    }
                    // What it remembers is of the old stages, or of what is read again.
                    file.pipe = None;
                    file.set_memory(Memory::default());
                }
            }
            if is_recoded && let Some(file) = self.follow.files.get_mut(id) {
                // A line that was passed over for being long may have ended long ago.
                file.long = None;
            }
            if is_moved && self.follow.rewind(id) {
                rewound.push(id);
            }
        }
        self.follow.order_again(&rewound);
        for id in unwanted {
            self.follow.release_stream(*id);
        }
        self.follow.disburden(heirs);
        self.follow.drop_files(unwanted);
        for (output, stream) in self.follow.released.drain(..) {
            if let Some(output) = self.outputs.get_mut(output) {
                output.release(stream);
            }
        }

        // Of outputs that are left, the files that their batches spoke of were begun again.
        exchange(&mut self.outputs, outputs);
        // What was made just now may not have been met by the source before.
        let met_ns = self.reader.now_ns().saturating_sub(ALIVE_MARGIN_NS);
        let gets = estate.heirs.values().chain(estate.copies.iter().map(|(_, heir)| heir));
        let replaces: HashMap<u16, i64> = gets.map(|heir| (*heir, met_ns)).collect();
        self.follow.exchange_sources(planned, &is_new, &map, &self.registry, same_places, &replaces);
        self.show_kept();
        if let Some(uprooted) = uprooted {
            self.follow.replant(uprooted, &map, heirs);
        }
        self.follow.store.flush();
    }
}

/// Whether the source goes to the output that has this number now.
fn keeps_output(outputs: &[NextOutput], source: &Planned, now: usize) -> bool {
    matches!(outputs.get(source.output), Some(NextOutput::Kept { number, .. }) if *number == now)
}

/// Whether both make the same entries of a file, with the same labels.
fn same_entries(a: &Settings, b: &Settings) -> bool {
    let same_labels = a.labels == b.labels && a.late_labels == b.late_labels && a.label_caps == b.label_caps;
    same_labels && a.stages == b.stages && a.records == b.records && a.owners == b.owners
}

/// The stages of a source, compiled; `None`: it has none.
fn program_of(settings: &Settings) -> Result<Option<Box<Program>>, StartError> {
    if settings.stages.is_empty() && settings.records.is_none() {
        return Ok(None);
    }
    match compile(&settings.stages) {
        Ok(mut program) => {
            program.set_line_bytes(settings.line_bytes);
            program.set_late_labels(settings.late_labels.clone());
            Ok(Some(Box::new(program)))
        }
        Err(error) => Err(StartError::Stages { source_name: settings.name.clone(), error }),
    }
}

/// What makes entries of its records. Its rules were compiled when the source was understood.
fn decoder(settings: &Settings, registry: &Registry) -> Option<Box<Decoder>> {
    Decoder::new(settings.records.clone()?, &settings.name, registry).ok()
}

/// Whether the output with this number stays.
fn keeps(outputs: &[NextOutput], now: usize) -> bool {
    outputs.iter().any(|output| matches!(output, NextOutput::Kept { number, .. } if *number == now))
}

/// Whether both look for the same files.
fn same_files(a: &Settings, b: &Settings) -> bool {
    a.include == b.include && a.exclude == b.exclude
}

impl Follow {
    /// Lets files go that are not wanted any more. Their checkpoints stay, for when they are wanted again.
    pub(super) fn drop_files(&mut self, unwanted: &[FileId]) {
        if unwanted.is_empty() {
            return;
        }
        // There may be very many: the lists are gone through once.
        let gone: HashSet<FileId> = unwanted.iter().copied().collect();
        self.idle.retain(|id| !gone.contains(id));
        self.failing.retain(|id| !gone.contains(id));
        self.unsettled.retain(|id| !gone.contains(id));
        self.files.unlist(&gone);
        for id in unwanted {
            self.drop_file(*id);
        }
    }

    fn drop_file(&mut self, id: FileId) {
        let Some(file) = self.files.remove(id) else { return };
        if file.file.is_some() {
            self.open = self.open.saturating_sub(1);
        }
        if let Some(source) = self.sources.get_mut(usize::from(file.source)) {
            source.in_flight = source.in_flight.saturating_sub(file.offset.saturating_sub(file.stored));
        }
        if let Some(slot) = file.slot {
            self.store.unclaim(slot);
        }
    }

    /// Goes back to what is stored, so that the rest is read again as it was. False when everything is stored.
    fn rewind(&mut self, id: FileId) -> bool {
        let generation = self.files.next_generation();
        let Some(file) = self.files.get_mut(id) else { return false };
        if file.offset == file.stored || file.compressed {
            return false;
        }
        let Some(saved) = file.slot.and_then(|slot| self.store.look(slot)) else { return false };
        let Some(mark) = Mark::decode(&saved.mark) else { return false };
        if let Some(source) = self.sources.get_mut(usize::from(file.source)) {
            source.in_flight = source.in_flight.saturating_sub(file.offset - file.stored);
        }
        file.generation = generation;
        file.offset = saved.position;
        file.stored = saved.position;
        file.mark = mark;
        file.long = None;
        file.at_end = false;
        file.replay = (!saved.intents.is_empty()).then(|| Box::new(saved.intents));
        self.files.make_ready(id);
        true
    }

    /// Of files that were begun again, those of one path are read one after the other again.
    fn order_again(&mut self, rewound: &[FileId]) {
        let is_rotated = |follow: &Follow, id: FileId| follow.files.get(id).is_some_and(|f| f.rotated);
        for id in rewound.iter().copied().filter(|id| is_rotated(self, *id)).collect::<Vec<_>>() {
            self.files.rotated(id);
            self.unsettle(id);
        }
        // Those that are stored as far as they were read have more to come: it comes after what is read again.
        let paths: HashSet<(u16, PathBuf)> = rewound
            .iter()
            .filter_map(|id| Some((self.files.get(*id).filter(|f| f.rotated)?.source, self.origin(*id))))
            .collect();
        if paths.is_empty() {
            return;
        }
        let is_it = |id: FileId, file: &Tracked| paths.contains(&(file.source, self.origin(id)));
        let all: Vec<FileId> = self.files.iter().filter(|(id, file)| is_it(*id, file)).map(|(id, _)| id).collect();
        for id in all {
            let Some(file) = self.files.get(id).filter(|file| !file.gated) else { continue };
            if !file.rotated {
                let path = self.origin(id);
                self.files.succeeds(id, &path);
            } else if file.quiet_since().is_some() && file.failing().is_none() {
                self.files.rotated(id);
            }
        }
    }

    /// Puts the sources of the next set into the places of those before.
    fn exchange_sources(
        &mut self,
        planned: Vec<Planned>,
        is_new: &[bool],
        map: &[Option<u16>],
        registry: &Registry,
        same_places: bool,
        replaces: &HashMap<u16, i64>,
    ) {
        if !same_places {
            let names = planned.iter().map(|p| p.name().to_owned()).collect();
            let looks_for = |number: usize, path: &Path| self.looks_for(number as u16, path);
            self.saved = SavedFiles::new(self.store.clone(), names, looks_for);
        }
        let mut old: Vec<Option<Source>> = std::mem::take(&mut self.sources).into_iter().map(Some).collect();
        for (source, _) in old.iter().zip(map).filter(|(_, new)| new.is_none()) {
            if let Some(source) = source {
                forget_start(&self.store, &source.settings.name);
            }
        }
        for ((number, planned), is_new) in (0u16..).zip(planned).zip(is_new.iter().copied()) {
            let before = map.iter().position(|new| *new == Some(number));
            let source = match before.and_then(|before| old.get_mut(before)?.take()) {
                Some(before) => before.go_on(planned, same_places, registry),
                None => {
                    let orphaned = || self.saved.orphaned_s(|path| self.looks_for(number, path));
                    let orphaned_ns =
                        || Some(orphaned()?.saturating_mul(1_000_000_000).saturating_sub(ALIVE_MARGIN_NS));
                    let replaces = replaces.get(&number).copied().or_else(orphaned_ns).filter(|_| is_new);
                    planned.begin(registry, is_new, replaces)
                }
            };
            self.sources.push(source);
        }
    }

    /// Puts the next tree into the place of this one. No file has a name any more; `found` is what the next tree has seen.
    fn uproot(&mut self, map: &[Option<u16>], tree: Tree, found: Found) -> Uprooted {
        let dangling = std::mem::take(&mut self.dangling)
            .into_iter()
            .filter_map(|(source, dir, name, since)| {
                let source = map.get(usize::from(source)).copied().flatten()?;
                Some((source, self.path_of(dir, &name)?, since))
            })
            .collect();
        let linked = self.files.iter().filter(|(_, file)| file.alias().is_some()).map(|(id, _)| id).collect();
        self.note_origins();
        self.tree = tree;
        self.files.forget_names();
        self.renamed = (0, Vec::new());
        Uprooted { found, dangling, linked }
    }

    /// Every file is to know its path by itself, as its place will not tell it any more.
    fn note_origins(&mut self) {
        let all: Vec<FileId> = self.files.iter().map(|(id, _)| id).collect();
        for id in all {
            let origin = self.origin(id);
            if let Some(file) = self.files.get_mut(id).filter(|file| file.origin().is_none()) {
                file.set_origin(Some(origin.into()));
            }
        }
    }

    /// Finds the files of all sources in the new tree. `map`: the new number of each source that was there; `heirs`: of files whose source is gone.
    fn replant(&mut self, uprooted: Uprooted, map: &[Option<u16>], heirs: &Heirs) {
        self.files.renumber(map, heirs);
        self.adopt(heirs);
        self.is_starting = true;
        self.meet_again(&uprooted.found);
        let mut dangling = uprooted.dangling;
        for id in uprooted.linked {
            let link = self.files.get(id).filter(|file| file.names == 0);
            dangling.extend(link.map(|file| (file.source, self.origin(id), Instant::now())));
        }
        for (source, path, since) in dangling {
            if let (Some(dir), Some(name)) = (self.parent_of(&path), path.file_name()) {
                self.dangling.push((source, dir, name.to_owned(), since));
            }
        }
        self.scan(&uprooted.found);
    }

    fn parent_of(&self, path: &Path) -> Option<DirId> {
        self.tree.id_at(path.parent()?)
    }

    /// Gives the followed files their names again, and does what events would have done about those that came or went in the meantime.
    fn meet_again(&mut self, found: &Found) {
        let all: Vec<FileId> = self.files.iter().map(|(id, _)| id).collect();
        for id in &all {
            let Some(file) = self.files.get(*id) else { continue };
            let (source, origin) = (file.source, self.origin(*id));
            if let (Some(dir), Some(name)) = (self.parent_of(&origin), origin.file_name()) {
                self.meet(source, dir, name);
            }
        }
        // Those that are not at their path have another name, if any.
        let mut nameless: HashMap<u64, Vec<u16>> = HashMap::new();
        for (_, file) in self.files.iter().filter(|(_, file)| file.names == 0) {
            nameless.entry(file.identity.inode).or_default().push(file.source);
        }
        for found in found.iter() {
            for source in nameless.get(&found.inode).into_iter().flatten() {
                self.meet(*source, found.dir, found.name);
            }
        }
        for id in all {
            let Some(file) = self.files.get(id) else { continue };
            let place = file.place.as_ref().and_then(|p| self.path_of(p.dir, &p.name));
            let at_origin = place.is_some_and(|path| file.origin() == Some(&*path));
            if at_origin && file.rotated {
                self.back_at_origin(id);
            } else if !at_origin && !file.rotated {
                self.rotate(id);
            } else if file.place.is_none() {
                self.unsettle(id);
            } else {
                if at_origin && let Some(file) = self.files.get_mut(id) {
                    file.set_origin(None);
                }
                self.number(id);
                continue;
            }
            self.files.make_ready(id);
        }
    }

    /// If a name leads to a file that is followed, it is one of its names, and what was written to the file is seen.
    fn meet(&mut self, source: u16, dir: DirId, name: &OsStr) {
        if self.files.named(source, dir, name).is_some() {
            return;
        }
        let Some(path) = self.path_of(dir, name) else { return };
        let Ok(stat) = stat_path(&path) else { return };
        let Some(id) = self.files.by_identity(source, &stat.identity) else { return };
        let Some(file) = self.files.get_mut(id).filter(|file| stat.is_file && file.identity == stat.identity) else {
            return;
        };
        let has_news = stat.size != file.offset && (file.at_end || stat.size < file.offset);
        file.size = stat.size;
        self.files.name(id, dir, name);
        self.watch_target(source, id, &path, &stat);
        if has_news {
            self.files.make_ready(id);
        }
    }
}

/// What is to be found again in the next tree.
struct Uprooted {
    /// Names in the next tree.
    found: Found,
    /// Links without target: source, path, and since when.
    dangling: Vec<(u16, PathBuf, Instant)>,
    /// Files that are reached through a link.
    linked: Vec<FileId>,
}

impl Source {
    /// This source under its settings of the next set. Problems are told anew when files are looked for anew.
    fn go_on(self, planned: Planned, same_places: bool, registry: &Registry) -> Source {
        let Planned { settings, literals, output, program } = planned;
        let literals = if same_places {
            self.literals
        } else {
            self.status.forget_problems();
            literals.into_iter().map(|path| (path, false)).collect()
        };
        let rate = match self.rate {
            Some(rate) if Some(rate.limit()) == settings.rate => Some(rate),
            _ => settings.rate.map(|limit| Rate::new(limit, Instant::now())),
        };
        let same_stages = self.settings.stages == settings.stages;
        // What is remembered of records is of their labels as they were, and of the stages.
        let same_records = self.settings.records == settings.records && self.settings.label_caps == settings.label_caps;
        let records = match self.records {
            Some(records) if same_stages && same_records => Some(records),
            _ => decoder(&settings, registry),
        };
        let pipeline = match (self.pipeline, program) {
            (Some(mut pipeline), Some(_)) if same_stages => {
                pipeline.take_settings(settings.line_bytes, &settings.late_labels);
                Some(pipeline)
            }
            (_, program) => program.map(|program| Pipeline::new(program, &settings.name, registry)),
        };
        let (is_new, replaces_since_ns, carried) = (false, None, true);
        Source { settings, output, literals, rate, pipeline, records, is_new, replaces_since_ns, carried, ..self }
    }
}

/// The cursor that says of a source that it has run.
fn start_key(name: &str) -> Vec<u8> {
    [b"source\0", name.as_bytes()].concat()
}

/// Whether the source has run before, even if it had no file then. From now on it has.
pub(super) fn has_run(saved: &SavedFiles, store: &Checkpoints, name: &str) -> bool {
    // Both are asked: whether it was started is also written down by that, and kept from growing old.
    let was_started = was_started(store, name);
    was_started || saved.knows_source(name)
}

fn was_started(store: &Checkpoints, name: &str) -> bool {
    let key = start_key(name);
    match store.saved(&key).iter().find(|saved| *saved.key == *key) {
        Some(saved) => store.claim(saved.slot, &key),
        None => {
            store.define(&key, b"", 0, b"");
            false
        }
    }
}

/// The source does not run any more: that it has run is forgotten by and by.
fn forget_start(store: &Checkpoints, name: &str) {
    let key = start_key(name);
    if let Some(saved) = store.saved(&key).iter().find(|saved| *saved.key == *key) {
        store.unclaim(saved.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::{Identity, encode_key};
    use super::*;
    use crate::base::clock::Clock;

    #[test]
    fn that_a_source_has_run_does_not_grow_old_while_it_has_files() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Checkpoints::open(dir.path(), Clock::System, &Registry::default()).unwrap();
        let has_run =
            |store: &Checkpoints| has_run(&SavedFiles::new(store.clone(), vec!["a".into()], |_, _| true), store, "a");
        let store = open();
        assert!(!has_run(&store));
        let file = Identity { device: 1, inode: 7, born_ns: 5 };
        store.define(&encode_key("a", &file), b"/a", 10, &Mark::default().encode());
        store.close();
        drop(store);
        let store = open();
        assert!(has_run(&store));
        let mut in_use = Vec::new();
        store.for_each_saved(&start_key("a"), |saved| in_use.push(saved.in_use));
        assert_eq!(in_use, [true]);
    }
}
