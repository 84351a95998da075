//! Values of many things (disks, interfaces, CPUs), found thing by thing and told family by family.
//!
//! Promises: nothing is allocated once it was as large; what was not set is not told, and a family without values is not begun.
//! Leaves to others: what the columns mean.

use crate::model::samples::{Kind, Samples};
use std::ops::Range;

/// Rows of numbers, each under a name.
#[derive(Debug)]
pub(super) struct Table {
    columns: usize,
    text: String,
    names: Vec<Range<usize>>,
    /// Row by row; NaN where nothing was set.
    values: Vec<f64>,
}

impl Table {
    /// An empty one of so many columns.
    pub(super) fn new(columns: usize) -> Table {
        Table { columns, text: String::new(), names: Vec::new(), values: Vec::new() }
    }

    /// Forgets the rows.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.names.clear();
        self.values.clear();
    }

    /// Begins a row; what is set is of it.
    pub(super) fn row(&mut self, name: &str) {
        let start = self.text.len();
        self.text.push_str(name);
        self.names.push(start..self.text.len());
        self.values.resize(self.values.len() + self.columns, f64::NAN);
    }

    /// Sets a value of the row that was begun last.
    pub(super) fn set(&mut self, column: usize, value: f64) {
        let start = self.values.len().saturating_sub(self.columns);
        if let Some(place) = self.values.get_mut(start + column) {
            *place = value;
        }
    }

    /// Whether there are no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The values of a column, with the names of their rows.
    pub(super) fn column(&self, column: usize) -> impl Iterator<Item = (&str, f64)> {
        let names = self.names.iter().map(|name| self.text.get(name.clone()).unwrap_or_default());
        let values = self.values.chunks_exact(self.columns.max(1)).filter_map(move |row| row.get(column));
        names.zip(values.copied()).filter(|(_, value)| !value.is_nan())
    }

    /// A family of a column's values; `label` is what the rows' names are.
    pub(super) fn tell(&self, out: &mut Samples, column: usize, family: (&str, &str, Kind), label: &str) {
        let mut begun = false;
        for (name, value) in self.column(column) {
            if !begun {
                out.family(family.0, family.1, family.2);
                begun = true;
            }
            out.add(&[(label, name)], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_set_is_not_told() {
        let mut table = Table::new(3);
        for _ in 0..2 {
            table.clear();
            assert!(table.is_empty());
            table.row("a");
            table.set(0, 1.0);
            table.set(9, 1.0);
            table.row("b");
            table.set(0, 2.0);
            table.set(1, 3.0);
        }
        assert_eq!(table.column(0).collect::<Vec<_>>(), [("a", 1.0), ("b", 2.0)]);
        assert_eq!(table.column(1).collect::<Vec<_>>(), [("b", 3.0)]);
        let mut out = Samples::default();
        table.tell(&mut out, 1, ("x", "", Kind::Gauge), "device");
        table.tell(&mut out, 2, ("y", "", Kind::Gauge), "device");
        assert_eq!((out.families().len(), out.len()), (1, 1));
    }
}
