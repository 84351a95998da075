//! What is wrong with a configuration: every problem with its place, the line it is on, and what to do.
//!
//! Promises: problems come in the order of their places, each once, and at most [`CONFIG_PROBLEMS`] of them; no text in here contains a
//! secret. Leaves to others: finding problems.

use super::source::{Excerpt, Pos, Source, Span};
use crate::base::limits::CONFIG_PROBLEMS;
use std::collections::HashSet;
use std::fmt;

/// Whether the agent can run with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but this is probably not what was meant.
    Warning,
    /// It can, and nobody has to do anything; somebody may want to know.
    Note,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is; `None` when the file could not be read at all.
    pub place: Option<Pos>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    excerpt: Option<Excerpt>,
}

/// All problems of one configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    file: String,
    problems: Vec<Problem>,
    /// Problems beyond the bound.
    more: usize,
}

impl std::error::Error for Report {}

/// A problem as it is found, before its line is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) span: Option<Span>,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// It is about this host, and says nothing of the file: what it names is not there, or not readable, here.
    pub(super) of_host: bool,
}

impl Finding {
    pub(super) fn error(span: Span, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Error, span: Some(span), message: message.into(), help: None, of_host: false }
    }

    pub(super) fn warning(span: Span, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::error(span, message) }
    }

    pub(super) fn note(span: Span, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Note, ..Finding::error(span, message) }
    }

    /// An error that has no place in the file.
    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        Finding { severity: Severity::Error, span: None, message: message.into(), help: None, of_host: false }
    }

    /// The same, as one that is about this host alone.
    pub(super) fn of_host(self) -> Self {
        Finding { of_host: true, ..self }
    }

    /// For a file that is to run on another host: what is about this one is no error.
    pub(super) fn elsewhere(self) -> Self {
        match self.severity {
            Severity::Error if self.of_host => Finding { severity: Severity::Note, ..self },
            _ => self,
        }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Finding { help: Some(help.into()), ..self }
    }
}

impl Report {
    pub(super) fn new(file: &str, source: &Source<'_>, mut findings: Vec<Finding>) -> Self {
        // Stable: what was found first at a place stays first. An alias makes one value be checked several times.
        findings.sort_by_key(|finding| finding.span.map(|span| span.start));
        let mut seen = HashSet::new();
        findings.retain(|finding| seen.insert((finding.span.map(|span| span.start), finding.message.clone())));
        let more = findings.len().saturating_sub(CONFIG_PROBLEMS);
        let problem = |finding: Finding| Problem {
            severity: finding.severity,
            place: finding.span.map(|span| source.clamp(span.start)),
            message: finding.message,
            help: finding.help,
            excerpt: finding.span.map(|span| source.excerpt(span)),
        };
        let problems = findings.into_iter().take(CONFIG_PROBLEMS).map(problem).collect();
        Report { file: file.to_owned(), problems, more }
    }

    /// The problems, in the order of their places.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }
}

/// `file:line:column: message`, the line with carets under the place, and the help, for each problem; a blank line between two.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&self.file)?;
            if let Some(place) = problem.place {
                write!(f, ":{}:{}", place.line, place.column)?;
            }
            f.write_str(match problem.severity {
                Severity::Error => ": ",
                Severity::Warning => ": warning: ",
                Severity::Note => ": note: ",
            })?;
            f.write_str(&problem.message)?;
            if let (Some(place), Some(excerpt)) = (problem.place, &problem.excerpt) {
                let number = place.line.to_string();
                // Tabs are repeated below, so that the carets stand right however wide the terminal makes them.
                let before = excerpt.text.chars().take(excerpt.before);
                let mut gap: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                gap.extend(std::iter::repeat_n(' ', excerpt.before.saturating_sub(gap.chars().count())));
                let margin = " ".repeat(number.len());
                write!(f, "\n  {number} | {}\n  {margin} | {gap}{}", excerpt.text, "^".repeat(excerpt.width))?;
            }
            if let Some(help) = &problem.help {
                write!(f, "\nhelp: {help}")?;
            }
        }
        if self.more > 0 {
            write!(f, "\n\n{}: {} more problems are not shown; correct these first", self.file, self.more)?;
        }
        Ok(())
    }
}
