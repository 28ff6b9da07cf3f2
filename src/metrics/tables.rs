//! The metrics with a `table` label, and the limit on how many of them there are.
//!
//! A pipeline may have tens of thousands of tables, Prometheus should not get as many label sets.
//! The first `max_tables` tables have a label of their own; the others share `_other`, where
//! counters add up and a state's gauge says how many tables are in it. That is why gauges are moved
//! by differences here: a table alone in its label and one of many then need no two ways.

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{labels, registered};

/// The families; a [`TableHandle`] is one table's share of them.
#[derive(Debug)]
pub struct TableMetrics {
    families: Families,
    max_tables: usize,
    labelled_count: usize,
}

#[derive(Clone, Debug)]
struct Families {
    state: IntGaugeVec,
    rows: IntCounterVec,
    conflicts: IntCounterVec,
    snapshot_rows: IntCounterVec,
    snapshot_rows_expected: GaugeVec,
    snapshot_bytes: IntCounterVec,
    snapshot_tables: IntGaugeVec,
}

/// One table's metrics, labels bound.
#[derive(Debug)]
pub struct TableHandle {
    families: Families,
    label: String,
    state: Option<(&'static str, &'static str)>,
    expected_rows: Option<f64>,
    rows: Vec<IntCounter>,
    conflicts: Vec<IntCounter>,
    snapshot_rows: IntCounter,
    snapshot_bytes: IntCounter,
}

impl TableMetrics {
    pub(super) fn register(registry: &Registry, max_tables: usize) -> TableMetrics {
        let counters = |name, help, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauges = |name, help, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let families = Families {
            state: gauges(
                "table_state",
                "A table's state: 1 for the present one, else 0; for table=\"_other\" how many \
                 tables are in it.",
                &["table", "state"],
            ),
            rows: counters(
                "rows_total",
                "Source changes committed at the destination.",
                &["table", "op"],
            ),
            conflicts: counters(
                "conflicts_total",
                "Changes that did not find the destination as the source left it.",
                &["table", "kind"],
            ),
            snapshot_rows: counters("snapshot_rows_total", "Rows copied.", &["table"]),
            snapshot_rows_expected: registered(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "snapshot_rows_expected",
                        "Rows the copy expects, as the source's statistics estimate them.",
                    ),
                    &["table"],
                ),
            ),
            snapshot_bytes: counters("snapshot_bytes_total", "Bytes copied.", &["table"]),
            snapshot_tables: gauges(
                "snapshot_tables",
                "How many tables the copy has before it, in hand and behind it.",
                &["state"],
            ),
        };
        for state in labels::COPY_STATES {
            families.snapshot_tables.with_label_values(&[state]);
        }
        TableMetrics { families, max_tables, labelled_count: 0 }
    }

    /// Makes room for one table; every counter of it exists from now on.
    pub fn add(&mut self, label: &str) -> TableHandle {
        let label = if self.labelled_count < self.max_tables {
            self.labelled_count += 1;
            label.to_owned()
        } else {
            labels::OTHER_TABLES.to_owned()
        };
        TableHandle::new(self.families.clone(), label)
    }

    /// Forgets a table that left the pipeline; the next one may have its place.
    pub fn remove(&mut self, mut handle: TableHandle) {
        handle.leave_state();
        handle.expected_rows(None);
        if handle.label != labels::OTHER_TABLES {
            self.labelled_count -= 1;
            handle.remove_series();
        }
    }
}

impl TableHandle {
    fn new(families: Families, label: String) -> TableHandle {
        let table = label.as_str();
        for state in labels::TABLE_STATES {
            families.state.with_label_values(&[table, state]);
        }
        let rows = labels::OPS.map(|op| families.rows.with_label_values(&[table, op]));
        let conflicts =
            labels::CONFLICT_KINDS.map(|kind| families.conflicts.with_label_values(&[table, kind]));
        TableHandle {
            rows: rows.into(),
            conflicts: conflicts.into(),
            snapshot_rows: families.snapshot_rows.with_label_values(&[table]),
            snapshot_bytes: families.snapshot_bytes.with_label_values(&[table]),
            state: None,
            expected_rows: None,
            families,
            label,
        }
    }

    /// One of [`labels::TABLE_STATES`], and what it is for the copy ([`labels::COPY_STATES`]).
    pub fn state(&mut self, state: &'static str, copy_state: &'static str) {
        self.leave_state();
        self.families.state.with_label_values(&[self.label.as_str(), state]).inc();
        self.families.snapshot_tables.with_label_values(&[copy_state]).inc();
        self.state = Some((state, copy_state));
    }

    fn leave_state(&mut self) {
        if let Some((state, copy_state)) = self.state.take() {
            self.families.state.with_label_values(&[self.label.as_str(), state]).dec();
            self.families.snapshot_tables.with_label_values(&[copy_state]).dec();
        }
    }

    /// One of [`labels::OPS`].
    pub fn rows(&self, op: &str, count: u64) {
        add(&labels::OPS, &self.rows, op, count);
    }

    /// One of [`labels::CONFLICT_KINDS`].
    pub fn conflicts(&self, kind: &str, count: u64) {
        add(&labels::CONFLICT_KINDS, &self.conflicts, kind, count);
    }

    pub fn copied(&self, rows: u64, bytes: u64) {
        self.snapshot_rows.inc_by(rows);
        self.snapshot_bytes.inc_by(bytes);
    }

    pub fn expected_rows(&mut self, rows: Option<f64>) {
        let before = self.expected_rows.take();
        if before.is_none() && rows.is_none() {
            return;
        }
        let gauge = self.families.snapshot_rows_expected.with_label_values(&[self.label.as_str()]);
        gauge.add(rows.unwrap_or(0.0) - before.unwrap_or(0.0));
        self.expected_rows = rows;
        if rows.is_none() && self.label != labels::OTHER_TABLES {
            drop(self.families.snapshot_rows_expected.remove_label_values(&[self.label.as_str()]));
        }
    }

    fn remove_series(&self) {
        let table = self.label.as_str();
        for state in labels::TABLE_STATES {
            drop(self.families.state.remove_label_values(&[table, state]));
        }
        for op in labels::OPS {
            drop(self.families.rows.remove_label_values(&[table, op]));
        }
        for kind in labels::CONFLICT_KINDS {
            drop(self.families.conflicts.remove_label_values(&[table, kind]));
        }
        drop(self.families.snapshot_rows.remove_label_values(&[table]));
        drop(self.families.snapshot_bytes.remove_label_values(&[table]));
    }
}

/// Adds to the counter whose label stands at the same place in `names`.
fn add(names: &[&str], counters: &[IntCounter], name: &str, count: u64) {
    let index = names.iter().position(|known| *known == name);
    counters[index.expect("the label is one of its closed set")].inc_by(count);
}
