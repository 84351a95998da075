//! From settings to a program: names become numbers, expressions, layouts, templates and selectors are compiled, nested stages become one row.
//!
//! Promises: everything that can be wrong with a pipeline is found here, with its place. What no stage reads is not extracted. Leaves to
//! others: what stages do.

use super::error::{CompileError, Problem, Step};
use super::keys::{Key, Label};
use super::metrics::{Form, Metric, Metrics};
use super::program::{Flow, LabelNames, Program};
use super::settings::{self, GaugeAction, MatchAction, MetricKind, TimeFailure};
use super::stages::partial::Joining;
use super::stages::{self as compiled, Stage};
use super::template::{self, Slot};
use crate::base::expression;
use crate::base::limits::{MULTILINE_STREAMS, PIPELINE_DEPTH, PIPELINE_STAGES};
use crate::base::text::head;
use crate::format::json;
use crate::format::logql::Selector;
use crate::format::time::Layout;
use crate::model::labels::{LabelCaps, check_name};
use crate::model::tenant::{TENANT_LABEL, TENANT_RULE, is_tenant};
use std::sync::Arc;
use std::time::Duration;

/// Compiles stages.
///
/// # Errors
/// The first problem, with its place.
pub fn compile(stages: &[settings::Stage]) -> Result<Program, CompileError> {
    let mut compiler = Compiler::default();
    compiler.list(stages)?;
    let Compiler { mut steps, labels, reasons, read, set, metrics, .. } = compiler;
    for (at, step) in steps.iter_mut().enumerate() {
        step.prune(&|key| read.iter().any(|(known, _)| *known == key));
        let is_set = |label: &Label| set.iter().any(|(known, first)| known == label && *first < at);
        step.see_labels(&mut read.iter().filter(|(_, last)| *last > at).filter_map(|(key, _)| {
            let label = labels.names.find_label(labels.names.key_name(*key)).filter(is_set)?;
            Some((label, *key))
        }));
    }
    Ok(Program::new(steps, labels, reasons, Metrics::new(metrics)))
}

#[derive(Default)]
struct Compiler {
    steps: Vec<Box<dyn Stage>>,
    labels: LabelNames,
    reasons: Vec<String>,
    /// Keys that stages read, and the number of the last step that does.
    read: Vec<(Key, usize)>,
    /// Labels that stages set, and the number of the first step that does.
    set: Vec<(Label, usize)>,
    metrics: Vec<Arc<Metric>>,
    /// Where we are.
    path: Vec<Step>,
    depth: usize,
}

type Result1 = Result<Box<dyn Stage>, CompileError>;

impl Compiler {
    fn list(&mut self, stages: &[settings::Stage]) -> Result<(), CompileError> {
        if self.depth > PIPELINE_DEPTH {
            return Err(self.wrong(format!("stages are nested more than {PIPELINE_DEPTH} deep")));
        }
        self.depth += 1;
        for (at, stage) in stages.iter().enumerate() {
            self.path.push(Step::Index(at));
            self.path.push(Step::Key(stage.name().to_owned()));
            if self.steps.len() >= PIPELINE_STAGES {
                return Err(self.wrong(format!("a pipeline has at most {PIPELINE_STAGES} stages")));
            }
            self.stage(stage)?;
            self.path.truncate(self.path.len().saturating_sub(2));
        }
        self.depth -= 1;
        Ok(())
    }

    fn stage(&mut self, stage: &settings::Stage) -> Result<(), CompileError> {
        use settings::Stage as S;
        let step: Box<dyn Stage> = match stage {
            S::Match(settings) => return self.matching(settings),
            S::Docker | S::DockerLine => {
                let output = self.key("output")?;
                Box::new(compiled::docker::Docker {
                    output,
                    stream: self.key("stream")?,
                    timestamp: self.key("timestamp")?,
                    label: if *stage == S::Docker { Some(self.set_label("stream")?) } else { None },
                    joining: Joining { streams: MULTILINE_STREAMS, key: output, cut: None },
                    work: json::Work::default(),
                })
            }
            S::Cri(settings) => self.cri(settings)?,
            S::Regex(settings) => self.regex(settings)?,
            S::Json(settings) => self.json(settings)?,
            S::Logfmt(settings) => {
                let wanted = self.keyed(&settings.mapping, "mapping")?;
                Box::new(compiled::logfmt::Logfmt::new(wanted, self.source(settings.source.as_deref())?))
            }
            S::Replace(settings) => self.replace(settings)?,
            S::Multiline(settings) => self.multiline(settings)?,
            S::Template(settings) => self.template(settings)?,
            S::Timestamp(settings) => self.timestamp(settings)?,
            S::Output(settings) => {
                Box::new(compiled::output::Output { source: self.read_at(&settings.source, "source")? })
            }
            S::Labels(pairs) => {
                let (tenant, pairs) = without_tenant(self.some(pairs)?);
                let label = |(name, key): &(String, String)| {
                    Ok((self.set_label(self.checked(name)?)?, self.read_at(own(key, name), name)?))
                };
                let labels = pairs.into_iter().map(label).collect::<Result<_, _>>()?;
                let tenant = tenant.map(|key| self.read_at(own(key, TENANT_LABEL), TENANT_LABEL)).transpose()?;
                Box::new(compiled::labels::FromKeys { labels, tenant })
            }
            S::LabelDrop(names) => {
                let labels = self.names(names)?;
                Box::new(compiled::labels::Without { labels, tenant: names.iter().any(|name| name == TENANT_LABEL) })
            }
            S::LabelAllow(names) => {
                let labels = self.names(names)?;
                let list =
                    u16::try_from(self.labels.allowed.len()).map_err(|_| self.wrong("there are too many lists"))?;
                self.labels.allowed.push(names.clone());
                Box::new(compiled::labels::Only { labels, list })
            }
            S::StaticLabels(pairs) => {
                let (tenant, pairs) = without_tenant(self.some(pairs)?);
                let label =
                    |(name, value): &(String, String)| Ok((self.set_label(self.checked(name)?)?, value.clone()));
                let labels = pairs.into_iter().map(label).collect::<Result<_, _>>()?;
                if let Some(name) = tenant {
                    self.tenant(name, TENANT_LABEL)?;
                }
                Box::new(compiled::labels::Fixed { labels, tenant: tenant.cloned() })
            }
            S::StructuredMetadata(pairs) => {
                self.some(pairs)?;
                let field = |(name, key): &(String, String)| {
                    let key = own(key, name);
                    Ok((self.label(self.checked(name)?)?, self.read_at(key, name)?, self.label(key)?))
                };
                let fields = pairs.iter().map(field).collect::<Result<_, _>>()?;
                Box::new(compiled::metadata::Metadata { fields })
            }
            S::Metrics(metrics) => self.measure(metrics)?,
            S::Tenant(tenant) => Box::new(match tenant {
                settings::Tenant::Label(name) => compiled::tenant::Tenant::Label(self.label(name)?),
                settings::Tenant::Source(key) => compiled::tenant::Tenant::Source(self.read_at(key, "source")?),
                settings::Tenant::Value(text) => {
                    self.tenant(text, "value")?;
                    compiled::tenant::Tenant::Value(text.clone())
                }
            }),
            S::Drop(settings) => self.drop(settings)?,
            S::Limit(settings) => self.limit(settings)?,
            S::Sampling(settings) => {
                if !(0.0..=1.0).contains(&settings.rate) {
                    return Err(self.wrong_at("rate", "the rate is a part of all entries, from 0 to 1"));
                }
                let reason = self.reason(&settings.drop_counter_reason)?;
                Box::new(compiled::sampling::Sampling::new(settings.rate, reason))
            }
            S::Pack(settings) => self.pack(settings)?,
            S::Decolorize => Box::new(compiled::decolorize::Decolorize),
            S::Redact(settings) => {
                let redactor = super::redact::Redactor::compile(&settings.what).map_err(|error| self.wrong(error))?;
                let source = self.source(settings.source.as_deref())?;
                Box::new(compiled::redact::Redact { redactor, source, scratch: super::redact::Scratch::default() })
            }
            #[cfg(feature = "geoip")]
            S::GeoIp(settings) => self.geoip(settings)?,
        };
        self.steps.push(step);
        Ok(())
    }

    fn matching(&mut self, settings: &settings::Match) -> Result<(), CompileError> {
        let selector = Selector::parse(&settings.selector).map_err(|error| self.wrong_at("selector", error))?;
        let names: Vec<String> = selector.label_names().map(str::to_owned).collect();
        if names.iter().any(|name| name == TENANT_LABEL) {
            let problem = "the tenant is no label, so that entries cannot be selected by it";
            return Err(self.wrong_at("selector", (problem, "make a label of what the tenant comes from")));
        }
        let labels = names.iter().map(|name| self.label(name)).collect::<Result<_, _>>()?;
        let (fits, nested) = match &settings.action {
            MatchAction::Keep(stages) => (Flow::Next, stages.as_slice()),
            MatchAction::Drop => (Flow::Drop(self.reason(&settings.drop_counter_reason)?), [].as_slice()),
        };
        // It goes before the nested ones, but where they end is known only afterwards.
        let at = self.steps.len();
        let step = compiled::matching::Matching { selector, labels, seen: Vec::new(), fits, other: Flow::Next };
        self.steps.push(Box::new(step));
        self.path.push(Step::Key("stages".to_owned()));
        self.list(nested)?;
        self.path.pop();
        let end = self.steps.len();
        if let Some(step) = self.steps.get_mut(at) {
            step.pass_over_to(end);
        }
        Ok(())
    }

    fn cri(&mut self, settings: &settings::Cri) -> Result1 {
        if settings.max_partial_lines == 0 {
            return Err(self.wrong_at("max_partial_lines", "it has to be 1 or more"));
        }
        let content = self.key("content")?;
        let keys = [self.key("time")?, self.key("stream")?, self.key("flags")?, content];
        let cut =
            Some(settings.max_partial_line_size).filter(|size| *size > 0 && settings.max_partial_line_size_truncate);
        let joining = Joining { streams: settings.max_partial_lines, key: content, cut };
        Ok(Box::new(compiled::cri::Cri { keys, label: self.set_label("stream")?, joining }))
    }

    fn regex(&mut self, settings: &settings::Regex) -> Result1 {
        let regex = expression::compile(&settings.expression).map_err(|error| self.wrong_at("expression", error))?;
        let groups = self.groups(&regex)?;
        if groups.is_empty() {
            let problem = "it has no named group, so that nothing is extracted: write (?P<name>...)";
            return Err(self.wrong_at("expression", problem));
        }
        let mut labels = Vec::new();
        if settings.labels_from_groups {
            for (name, (_, key)) in regex.capture_names().flatten().zip(&groups) {
                if name == TENANT_LABEL {
                    let help = "give the group another name, and name that in a `tenant` stage";
                    return Err(
                        self.wrong_at("expression", ("a group is named like the tenant, which is no label", help))
                    );
                }
                labels.push((self.set_label(name)?, *key));
                self.reads(*key);
            }
        }
        let source = self.source(settings.source.as_deref())?;
        Ok(Box::new(compiled::regex::Groups::new(regex, source, groups, labels)))
    }

    /// The named groups of an expression, by number.
    fn groups(&mut self, regex: &regex::Regex) -> Result<Vec<(usize, Key)>, CompileError> {
        let named = regex.capture_names().enumerate().filter_map(|(number, name)| Some((number, name?)));
        named.map(|(number, name)| Ok((number, self.key(name)?))).collect()
    }

    fn json(&mut self, settings: &settings::Json) -> Result1 {
        let wanted = self.keyed(&settings.expressions, "expressions")?;
        let source = self.source(settings.source.as_deref())?;
        let reason = if settings.drop_malformed { Some(self.reason("malformed_json")?) } else { None };
        match compiled::json::Json::new(wanted, source, reason) {
            Ok(json) => Ok(Box::new(json)),
            Err(error) => {
                let name = settings.expressions.get(error.index).map_or("", |(name, _)| name);
                self.path.push(Step::Key("expressions".to_owned()));
                Err(self.wrong_at(name, error))
            }
        }
    }

    #[cfg(feature = "geoip")]
    fn geoip(&mut self, settings: &settings::GeoIp) -> Result1 {
        let source = self.read_at(&settings.source, "source")?;
        let fields = settings.kind.map_or(&[][..], |kind| kind.fields());
        let mut wanted = Vec::new();
        for field in fields {
            let label = if field.is_label { Some(self.set_label(field.name)?) } else { None };
            wanted.push((self.key(field.name)?, label));
        }
        if settings.kind.is_none() && settings.lookups.is_empty() {
            return Err(self.wrong("it looks for nothing: name a db_type or custom_lookups"));
        }
        let mut lookups = Vec::new();
        for (key, path) in &settings.lookups {
            lookups.push((self.key(key)?, own(path, key).to_owned()));
        }
        let database = Arc::clone(&settings.database);
        match compiled::geoip::GeoIp::new(database, source, settings.kind, wanted, lookups) {
            Ok(stage) => Ok(Box::new(stage)),
            Err(error) => {
                let name = settings.lookups.get(error.index).map_or("", |(name, _)| name);
                self.path.push(Step::Key("custom_lookups".to_owned()));
                Err(self.wrong_at(name, error))
            }
        }
    }

    /// Keys and what they are got from. What is empty is the key's own name.
    fn keyed(&mut self, pairs: &[(String, String)], field: &'static str) -> Result<Vec<(Key, String)>, CompileError> {
        if pairs.is_empty() {
            return Err(self.wrong_at(field, "nothing is named here, so that nothing is extracted"));
        }
        let pair = |(key, from): &(String, String)| Ok((self.key(key)?, own(from, key).to_owned()));
        pairs.iter().map(pair).collect()
    }

    fn replace(&mut self, settings: &settings::Replace) -> Result1 {
        let regex = expression::compile(&settings.expression).map_err(|error| self.wrong_at("expression", error))?;
        let source = self.source(settings.source.as_deref())?;
        let template = self.go_template(&settings.replace, "replace")?;
        let named = self.groups(&regex)?;
        Ok(Box::new(compiled::replace::Replace::new(regex, source, template, named)))
    }

    fn multiline(&mut self, settings: &settings::Multiline) -> Result1 {
        let first = expression::compile(&settings.firstline).map_err(|error| self.wrong_at("firstline", error))?;
        if settings.max_lines == 0 {
            return Err(self.wrong_at("max_lines", "it has to be 1 or more"));
        }
        let max_wait_ns = nanoseconds(settings.max_wait_time);
        if max_wait_ns == 0 {
            return Err(self.wrong_at("max_wait_time", "it has to be more than 0"));
        }
        Ok(Box::new(compiled::multiline::Multiline { first, max_lines: settings.max_lines, max_wait_ns }))
    }

    fn template(&mut self, settings: &settings::Template) -> Result1 {
        let source = self.read_at(&settings.source, "source")?;
        let template = self.go_template(&settings.template, "template")?;
        Ok(Box::new(compiled::template::Template { source, template, scratch: template::Scratch::default() }))
    }

    fn go_template(&mut self, text: &str, field: &str) -> Result<template::Template, CompileError> {
        let mut keys = Vec::new();
        let mut too_many = false;
        let template = template::Template::compile(text, &mut |name| match name {
            "Value" => compiled::template::VALUE,
            "Entry" => compiled::template::ENTRY,
            name => match self.labels.names.key(name) {
                Some(key) => {
                    keys.push(key);
                    Slot::from(key.0)
                }
                None => {
                    too_many = true;
                    0
                }
            },
        });
        keys.into_iter().for_each(|key| self.reads(key));
        match template {
            Err(error) => Err(self.wrong_at(field, error)),
            Ok(_) if too_many => Err(self.wrong_at(field, TOO_MANY)),
            Ok(template) => Ok(template),
        }
    }

    fn timestamp(&mut self, settings: &settings::Timestamp) -> Result1 {
        let source = self.read_at(&settings.source, "source")?;
        let location = settings.location.as_deref();
        let first = Layout::compile(&settings.format, location).map_err(|error| {
            let field =
                if matches!(error, crate::format::time::LayoutError::Location { .. }) { "location" } else { "format" };
            self.wrong_at(field, error)
        })?;
        let mut layouts = vec![first];
        for (at, format) in settings.fallback_formats.iter().enumerate() {
            layouts.push(Layout::compile(format, location).map_err(|error| {
                self.path.push(Step::Key("fallback_formats".to_owned()));
                self.path.push(Step::Index(at));
                self.wrong(error)
            })?);
        }
        let fudge = settings.action_on_failure == TimeFailure::Fudge;
        Ok(Box::new(compiled::timestamp::Timestamp { source, layouts, fudge }))
    }

    fn measure(&mut self, metrics: &[settings::Metric]) -> Result1 {
        let mut rules = Vec::new();
        for metric in self.some(metrics)? {
            self.path.push(Step::Key(metric.name.clone()));
            rules.push(self.rule(metric)?);
            self.path.pop();
        }
        Ok(Box::new(compiled::metrics::Measure::new(rules)))
    }

    fn rule(&mut self, metric: &settings::Metric) -> Result<compiled::metrics::Rule, CompileError> {
        use compiled::metrics::Action;
        let name = format!("{}{}", metric.prefix, metric.name);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        if name.is_empty() || !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) {
            let help = "a name has letters, digits, _ and colons, and does not begin with a digit";
            return Err(self.wrong((format!("{name:?} is not the name of a metric").as_str(), help)));
        }
        if name.starts_with("lugger_") {
            return Err(self.wrong(format!("{name} begins like the agent's own metrics: choose another prefix")));
        }
        if metric.max_idle < Duration::from_secs(1) {
            return Err(self.wrong_at("max_idle_duration", "it has to be 1 s or more"));
        }
        let (form, value, action) = match &metric.kind {
            MetricKind::Counter { match_all, count_entry_bytes, value, add } => {
                let action = match (match_all, count_entry_bytes, add) {
                    (true, true, true) => Action::CountBytes,
                    (_, true, _) => {
                        let problem = "needs match_all: true and action: add";
                        return Err(self.wrong_at("config", format!("count_entry_bytes {problem}")));
                    }
                    (true, false, false) => Action::CountAll,
                    (true, false, true) => {
                        let problem = "match_all counts entries: it needs action: inc, or count_entry_bytes: true";
                        return Err(self.wrong_at("config", problem));
                    }
                    (false, false, true) => Action::Change(GaugeAction::Add),
                    (false, false, false) => Action::Change(GaugeAction::Inc),
                };
                if *match_all && value.is_some() {
                    return Err(self.wrong_at("config", "match_all and value exclude each other"));
                }
                (Form::Counter, value, action)
            }
            MetricKind::Gauge { value, action } => (Form::Gauge, value, Action::Change(*action)),
            MetricKind::Histogram { value, buckets } => {
                let ascending = buckets.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
                if buckets.is_empty() || !ascending || buckets.iter().any(|bound| !bound.is_finite()) {
                    return Err(self.wrong_at("config", "buckets are numbers, at least one, in ascending order"));
                }
                (Form::Histogram(buckets.clone()), value, Action::Observe)
            }
        };
        if let Some(other) = self.metrics.iter().find(|other| other.name() == name)
            && *other.form() != form
        {
            return Err(self.wrong(format!("{name} is another kind of metric before")));
        }
        let source = self.read_at(metric.source.as_deref().unwrap_or(&metric.name), "source")?;
        let metric = Arc::new(Metric::new(name, metric.description.clone(), form, nanoseconds(metric.max_idle)));
        self.metrics.push(Arc::clone(&metric));
        Ok(compiled::metrics::Rule { metric, source, value: value.clone(), action })
    }

    fn drop(&mut self, settings: &settings::Drop) -> Result1 {
        let settings::Drop { source, separator, value, expression, older_than, longer_than, drop_counter_reason } =
            settings;
        if source.is_empty() && expression.is_none() && older_than.is_none() && longer_than.is_none() {
            let problem = "it has no condition: name a source, expression, older_than or longer_than";
            return Err(self.wrong(problem));
        }
        if value.is_some() && source.is_empty() {
            return Err(self.wrong_at("value", "a value needs the source that has it"));
        }
        if value.is_some() && expression.is_some() {
            return Err(self.wrong_at("value", "value and expression exclude each other"));
        }
        let regex = match expression {
            Some(text) => Some(expression::compile(text).map_err(|error| self.wrong_at("expression", error))?),
            None => None,
        };
        Ok(Box::new(compiled::drop::Drop {
            source: source.iter().map(|key| self.read_at(key, "source")).collect::<Result<_, _>>()?,
            separator: separator.clone(),
            value: value.clone(),
            regex,
            older_than_ns: older_than.map(nanoseconds),
            longer_than: *longer_than,
            reason: self.reason(drop_counter_reason)?,
            joined: String::new(),
        }))
    }

    fn limit(&mut self, settings: &settings::Limit) -> Result1 {
        if !(settings.rate.is_finite() && settings.rate > 0.0) {
            return Err(self.wrong_at("rate", "it has to be a number above 0, in entries a second"));
        }
        if settings.burst == 0 {
            return Err(self.wrong_at("burst", "it has to be 1 or more"));
        }
        let reason = self.reason("limit_stage")?;
        let limit = compiled::limit::Limit::new(settings.rate, settings.burst, settings.drop, reason);
        Ok(Box::new(match &settings.by_label_name {
            None => limit,
            Some(_) if !settings.drop => {
                let problem = "it needs drop: true; one value must not make the whole source wait";
                return Err(self.wrong_at("by_label_name", problem));
            }
            Some(name) => limit.by(self.label(name)?, settings.max_distinct_labels),
        }))
    }

    fn pack(&mut self, settings: &settings::Pack) -> Result1 {
        let mut names = settings.labels.clone();
        names.sort_unstable();
        names.dedup();
        let label = |name: String| {
            let (key, label) = (self.read_at(&name, "labels")?, self.label(&name)?);
            Ok((name, key, label))
        };
        let labels = names.into_iter().map(label).collect::<Result<_, _>>()?;
        Ok(Box::new(compiled::pack::Pack { labels, ingest_timestamp: settings.ingest_timestamp }))
    }

    /// The key that a stage looks into.
    fn source(&mut self, source: Option<&str>) -> Result<Option<Key>, CompileError> {
        source.map(|name| self.read_at(name, "source")).transpose()
    }

    /// A key that is read.
    fn read_at(&mut self, name: &str, field: &str) -> Result<Key, CompileError> {
        if name.is_empty() {
            return Err(self.wrong_at(field, "it is empty: name an extracted key"));
        }
        let key = self.key(name)?;
        self.reads(key);
        Ok(key)
    }

    /// The stage that is compiled reads a key.
    fn reads(&mut self, key: Key) {
        let at = self.steps.len();
        match self.read.iter_mut().find(|(known, _)| *known == key) {
            Some((_, last)) => *last = at,
            None => self.read.push((key, at)),
        }
    }

    fn key(&mut self, name: &str) -> Result<Key, CompileError> {
        self.labels.names.key(name).ok_or_else(|| self.wrong(TOO_MANY))
    }

    fn label(&mut self, name: &str) -> Result<Label, CompileError> {
        self.labels.names.label(name).ok_or_else(|| self.wrong(TOO_MANY))
    }

    /// The name of a tenant.
    fn tenant(&self, name: &str, field: &str) -> Result<(), CompileError> {
        if is_tenant(name) {
            return Ok(());
        }
        let problem = format!("Loki takes no tenant that is named {:?}: all lines would be dropped", head(name, 64));
        Err(self.wrong_at(field, (problem.as_str(), TENANT_RULE)))
    }

    /// A label that the stage that is compiled may set.
    fn set_label(&mut self, name: &str) -> Result<Label, CompileError> {
        let label = self.label(name)?;
        if !self.set.iter().any(|(known, _)| *known == label) {
            self.set.push((label, self.steps.len()));
        }
        Ok(label)
    }

    /// The name of something that is sent, named at the key of its own name.
    fn checked<'n>(&self, name: &'n str) -> Result<&'n str, CompileError> {
        if name == TENANT_LABEL {
            return Err(self.wrong_at(name, ("the tenant is no label", "use the stage `tenant`")));
        }
        check_name(name, LabelCaps { name_bytes: usize::MAX, ..LabelCaps::default() })
            .map_err(|error| self.wrong_at(name, error))?;
        Ok(name)
    }

    fn names(&mut self, names: &[String]) -> Result<Vec<Label>, CompileError> {
        self.some(names)?.iter().map(|name| self.label(name)).collect()
    }

    /// What must not be empty.
    fn some<'a, T>(&self, list: &'a [T]) -> Result<&'a [T], CompileError> {
        if list.is_empty() { Err(self.wrong("nothing is named here, so that nothing happens")) } else { Ok(list) }
    }

    fn reason(&mut self, text: &str) -> Result<u16, CompileError> {
        let at = self.reasons.iter().position(|known| known == text).unwrap_or_else(|| {
            self.reasons.push(text.to_owned());
            self.reasons.len() - 1
        });
        u16::try_from(at).map_err(|_| self.wrong(TOO_MANY))
    }

    fn wrong(&self, problem: impl Into<Problem>) -> CompileError {
        let Problem { what, help } = problem.into();
        CompileError { path: self.path.clone(), problem: what, help }
    }

    fn wrong_at(&self, field: &str, problem: impl Into<Problem>) -> CompileError {
        let mut error = self.wrong(problem);
        error.path.push(Step::Key(field.to_owned()));
        error
    }
}

const TOO_MANY: &str = "the pipeline names more than 65,535 keys or labels";

/// What is named, or by default what it is named for.
fn own<'a>(named: &'a str, name: &'a str) -> &'a str {
    if named.is_empty() { name } else { named }
}

/// The tenant among labels, and the others.
fn without_tenant(pairs: &[(String, String)]) -> (Option<&String>, Vec<&(String, String)>) {
    let tenant = pairs.iter().rfind(|(name, _)| name == TENANT_LABEL).map(|(_, from)| from);
    (tenant, pairs.iter().filter(|(name, _)| name != TENANT_LABEL).collect())
}

/// A duration in the unit of times.
fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
