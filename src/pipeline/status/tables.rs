//! The tables of a board: what is known of each, and its metrics beside it.

use std::collections::BTreeMap;

use super::report::{CopyStatus, TableStatus};
use super::states::{ConflictKind, TableState};
use crate::metrics::{TableHandle, TableMetrics};
use crate::model::change::Op;
use crate::pg::ident::QualifiedName;

#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<QualifiedName, Entry>);

#[derive(Debug)]
pub(super) struct Entry {
    status: TableStatus,
    metrics: TableHandle,
}

impl Tables {
    /// The table's entry. One that nobody announced is made: a count is never dropped.
    pub(super) fn entry(&mut self, name: &QualifiedName, metrics: &mut TableMetrics) -> &mut Entry {
        if !self.0.contains_key(name) {
            self.0.insert(name.clone(), Entry::new(name, metrics));
        }
        self.0.get_mut(name).expect("inserted above")
    }

    pub(super) fn remove(&mut self, name: &QualifiedName, metrics: &mut TableMetrics) {
        if let Some(entry) = self.0.remove(name) {
            metrics.remove(entry.metrics);
        }
    }

    pub(super) fn statuses(&self) -> Vec<TableStatus> {
        self.0.values().map(|entry| entry.status.clone()).collect()
    }
}

impl Entry {
    fn new(name: &QualifiedName, metrics: &mut TableMetrics) -> Entry {
        let label = label(name);
        let mut entry = Entry {
            metrics: metrics.add(&label),
            status: TableStatus {
                name: label,
                destination: None,
                state: TableState::Pending,
                insert_only: false,
                rows: Default::default(),
                copy: CopyStatus::default(),
                conflicts: 0,
            },
        };
        entry.state(TableState::Pending);
        entry
    }

    pub(super) fn describe(&mut self, destination: &QualifiedName, insert_only: bool) {
        self.status.destination = Some(label(destination));
        self.status.insert_only = insert_only;
    }

    pub(super) fn state(&mut self, state: TableState) {
        self.status.state = state;
        self.metrics.state(state.label(), state.copy_label());
    }

    pub(super) fn rows(&mut self, op: Op, count: u64) {
        self.status.rows.add(op, count);
        self.metrics.rows(op.label(), count);
    }

    pub(super) fn conflicts(&mut self, kind: ConflictKind, count: u64) {
        self.status.conflicts += count;
        self.metrics.conflicts(kind.label(), count);
    }

    /// A copy of the table begins: its progress starts over, the counters of the metrics go on.
    pub(super) fn expect_copy(&mut self, rows: Option<u64>, bytes: u64) {
        self.status.copy =
            CopyStatus { expected_rows: rows, expected_bytes: Some(bytes), ..Default::default() };
        self.metrics.expected_rows(rows.map(|rows| rows as f64));
    }

    pub(super) fn copied(&mut self, rows: u64, bytes: u64) {
        self.status.copy.rows += rows;
        self.status.copy.bytes += bytes;
        self.metrics.copied(rows, bytes);
    }
}

/// The name as people and Prometheus see it: `public.orders`; a part that holds a dot or a quote is
/// quoted, so that two tables never have the same. What is in no schema is a query's result.
pub(crate) fn label(name: &QualifiedName) -> String {
    let part = |part: &str| {
        if part.contains(['.', '"']) {
            format!("\"{}\"", part.replace('"', "\"\""))
        } else {
            part.to_owned()
        }
    };
    if name.schema.is_empty() {
        return format!("query {}", part(&name.name));
    }
    format!("{}.{}", part(&name.schema), part(&name.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tables_never_share_a_label() {
        assert_eq!(label(&QualifiedName::new("public", "Orders")), "public.Orders");
        let dotted = label(&QualifiedName::new("a.b", "c"));
        assert_eq!(dotted, "\"a.b\".c");
        assert_ne!(dotted, label(&QualifiedName::new("a", "b.c")));
        assert_eq!(label(&QualifiedName::new("a", "b\"")), "a.\"b\"\"\"");
        assert_eq!(label(&QualifiedName::new("", "b.c")), "query \"b.c\"");
    }
}
