//! Which endpoints the sources go to and which files they look for, and what a change of that means for what endpoints have already.
//!
//! Files are not known here. Where a source is gone, or looks elsewhere, any other one may go on with files that it had.
//!
//! Promises: where order or lines are at stake, rather too many endpoints than too few. Leaves to others: what is done about it.

use super::Arranged;
use std::collections::{BTreeMap, BTreeSet};

/// By the names of the sources.
#[derive(Debug)]
pub(super) struct Routes(BTreeMap<String, Route>);

#[derive(Debug)]
struct Route {
    /// Names of endpoints, sorted.
    to: Vec<String>,
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Routes {
    /// The routes of a plan. A journal is one that nobody else can take.
    pub(super) fn new(arranged: &Arranged) -> Self {
        let Arranged { files, file_sets, journals, journal_sets } = arranged;
        let files = files.iter().filter_map(|(source, set)| {
            let (include, exclude) = (source.include.clone(), source.exclude.clone());
            Some((source.name.clone(), Route { to: file_sets.get(*set)?.clone(), include, exclude }))
        });
        let journals = journals.iter().filter_map(|(source, set)| {
            let (include, exclude) = (Vec::new(), Vec::new());
            Some((source.name.clone(), Route { to: journal_sets.get(*set)?.clone(), include, exclude }))
        });
        Routes(files.chain(journals).collect())
    }

    /// Endpoints that a source goes to alone, some of whose files may have gone to others as well `before`.
    pub(super) fn newly_alone(&self, before: &Routes) -> BTreeSet<String> {
        let files_move = before.gives_files_away(self);
        let is_new = |(name, now): &(&String, &Route)| {
            files_move || before.0.get(*name).is_none_or(|before| before.to != now.to)
        };
        let alone =
            |(_, now): (&String, &Route)| if let [only] = now.to.as_slice() { Some(only.clone()) } else { None };
        self.0.iter().filter(is_new).filter_map(alone).collect()
    }

    /// Whether files that went to this endpoint and to others may go only elsewhere under `next`.
    pub(super) fn parts(&self, next: &Routes, endpoint: &str) -> bool {
        let shared = || self.0.iter().filter(|(_, route)| route.to.len() > 1 && route.goes_to(endpoint));
        let leaves = |(name, _): (&String, &Route)| next.0.get(name).is_some_and(|next| !next.goes_to(endpoint));
        let elsewhere = || next.0.values().any(|route| !route.goes_to(endpoint));
        shared().any(leaves) || (shared().next().is_some() && self.gives_files_away(next) && elsewhere())
    }

    /// Whether a source is gone under `next`, or looks for other files.
    fn gives_files_away(&self, next: &Routes) -> bool {
        let is_same = |before: &Route, now: &Route| before.include == now.include && before.exclude == now.exclude;
        self.0.iter().any(|(name, before)| !next.0.get(name).is_some_and(|now| is_same(before, now)))
    }
}

impl Route {
    fn goes_to(&self, endpoint: &str) -> bool {
        self.to.iter().any(|name| name == endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sources by name, pattern, and endpoints.
    fn routes(sources: &[(&str, &str, &[&str])]) -> Routes {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let route = |(name, pattern, to): &(&str, &str, &[&str])| {
            ((*name).to_owned(), Route { to: owned(to), include: owned(&[pattern]), exclude: Vec::new() })
        };
        Routes(sources.iter().map(route).collect())
    }

    #[test]
    fn an_endpoint_gets_files_alone_by_whichever_source() {
        let before = routes(&[("a", "p", &["x", "y"]), ("b", "q", &["x"])]);
        let alone = |now: &[(&str, &str, &[&str])]| routes(now).newly_alone(&before).into_iter().collect::<Vec<_>>();
        assert!(alone(&[("a", "p", &["x", "y"]), ("b", "q", &["x"])]).is_empty(), "nothing changed");
        assert_eq!(alone(&[("a", "p", &["x"]), ("b", "q", &["x"])]), ["x"]);
        assert_eq!(alone(&[("a", "p", &["x", "y"]), ("b", "q", &["x"]), ("c", "r", &["y"])]), ["y"]);
        assert_eq!(alone(&[("b", "q", &["x"])]), ["x"], "a is gone");
        assert_eq!(alone(&[("a", "r", &["x", "y"]), ("b", "q", &["x"])]), ["x"], "a looks elsewhere");
    }

    #[test]
    fn an_endpoint_loses_files_by_whichever_source() {
        let before = routes(&[("a", "p", &["x", "y"]), ("b", "q", &["x"])]);
        let parts = |now: &[(&str, &str, &[&str])]| ["x", "y"].map(|endpoint| before.parts(&routes(now), endpoint));
        assert_eq!(parts(&[("a", "p", &["x", "y"]), ("b", "q", &["x"])]), [false, false], "nothing changed");
        assert_eq!(parts(&[("a", "p", &["x"]), ("b", "q", &["x"])]), [false, true]);
        assert_eq!(parts(&[("a", "p", &["y"]), ("b", "q", &["x"])]), [true, false]);
        assert_eq!(parts(&[("b", "q", &["x"])]), [false, true], "b may go on with files of a");
        assert_eq!(parts(&[("c", "p", &["x", "y"])]), [false, false], "c goes to both");
    }
}
