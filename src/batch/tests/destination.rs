//! A destination in memory that takes steps and single changes the way `apply` does: an insert
//! overwrites the row with its key, an update of a missing row inserts it when all values are
//! known, a delete of a missing row is nothing.

use std::collections::{BTreeMap, HashSet};

use crate::batch::contents::{Batch, NetEffects, Step};
use crate::model::change::{Change, OldRow, RowChange};
use crate::model::row::{Row, Value};
use crate::model::table::{Table, TableId};

/// Why the destination would have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// An update without all values found no row.
    RowMissing,
    /// Two rows with one key, or with one value of the unique column.
    Duplicate,
    /// A value that the source did not send would have been written or searched for.
    NotSent,
    /// A row of an older description came after one of a newer.
    OlderDescription,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StoredRow {
    /// NULL is `None`.
    pub(super) values: Vec<Option<Vec<u8>>>,
    /// A column that only the destination has: 0 in a row inserted by the agent.
    pub(super) further: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) rows: Vec<StoredRow>,
    /// A column with a unique index of its own.
    pub(super) unique: Option<usize>,
    /// Rows stay that the source has deleted: one gives way to a row that moves to its key.
    pub(super) keeps: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Destination(pub(super) BTreeMap<TableId, Stored>);

pub(super) fn stored(values: &[Value]) -> Vec<Option<Vec<u8>>> {
    values.iter().map(|value| value.bytes().map(|bytes| bytes.to_vec())).collect()
}

impl Destination {
    /// The rows of each table as a sorted multiset.
    pub(super) fn sorted(&self) -> BTreeMap<TableId, Vec<StoredRow>> {
        let sorted = |stored: &Stored| {
            let mut rows = stored.rows.clone();
            rows.sort();
            rows
        };
        self.0.iter().map(|(&table, stored)| (table, sorted(stored))).collect()
    }

    /// As [`Destination::sorted`], without the destination's own column.
    pub(super) fn sorted_values(&self) -> BTreeMap<TableId, Vec<Vec<Option<Vec<u8>>>>> {
        let values = |rows: Vec<StoredRow>| {
            let mut values: Vec<_> = rows.into_iter().map(|row| row.values).collect();
            values.sort();
            values
        };
        self.sorted().into_iter().map(|(table, rows)| (table, values(rows))).collect()
    }

    pub(super) fn apply(&mut self, batch: &Batch) -> Result<(), Refusal> {
        batch.steps.iter().try_for_each(|step| match step {
            Step::Net(net) => self.net(net),
            Step::InOrder(ordered) => {
                ordered.changes.iter().try_for_each(|change| self.row(&ordered.table, change))
            }
            Step::Truncate(truncate) => self.change(&Change::Truncate(truncate.clone())),
        })
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::Row { table, change } => self.row(table, change),
            Change::Left { .. } => Ok(()),
            Change::Truncate(truncate) => {
                for table in &truncate.tables {
                    self.0.entry(table.id).or_default().rows.clear();
                }
                Ok(())
            }
        }
    }

    fn net(&mut self, net: &NetEffects) -> Result<(), Refusal> {
        let table = &net.table;
        let mut written = HashSet::new();
        for row in net.removals.iter().chain(&net.deletes) {
            assert!(written.insert(key(table, row)?), "a key twice among the deletes");
            self.table(table)?.delete(table, row)?;
        }
        let mut written = HashSet::new();
        for row in &net.marks {
            assert!(written.insert(key(table, row)?), "a key twice among the marks");
            self.table(table)?.mark(table, row)?;
        }
        for row in &net.updates {
            assert!(written.insert(key(table, row)?), "a key twice among the updates");
            self.table(table)?.update(table, row, row)?;
        }
        for row in &net.inserts {
            assert!(!table.has_key() || written.insert(key(table, row)?), "a key written twice");
            self.table(table)?.insert(table, row)?;
        }
        Ok(())
    }

    fn row(&mut self, table: &Table, change: &RowChange) -> Result<(), Refusal> {
        let stored = self.table(table)?;
        match change {
            RowChange::Insert { new } if new.is_complete() => stored.insert(table, new),
            RowChange::Insert { new } => stored.update(table, new, new),
            RowChange::Update { old, new } => {
                stored.update(table, old.as_ref().map_or(new, OldRow::row), new)
            }
            RowChange::Delete { old } => stored.delete(table, old.row()),
            RowChange::Mark { row } => stored.mark(table, row),
        }
    }

    /// The table, as wide as this description: a column that was added is NULL in its rows.
    fn table(&mut self, table: &Table) -> Result<&mut Stored, Refusal> {
        let stored = self.0.entry(table.id).or_default();
        for row in &mut stored.rows {
            if row.values.len() > table.columns.len() {
                return Err(Refusal::OlderDescription);
            }
            row.values.resize(table.columns.len(), None);
        }
        Ok(stored)
    }
}

fn key(table: &Table, row: &Row) -> Result<Vec<Vec<u8>>, Refusal> {
    let values = table.key.iter().map(|&index| row.values()[index].bytes());
    values.map(|bytes| bytes.map(|bytes| bytes.to_vec()).ok_or(Refusal::NotSent)).collect()
}

impl Stored {
    fn find(&self, table: &Table, row: &Row) -> Result<Option<usize>, Refusal> {
        let columns: Vec<usize> =
            if table.has_key() { table.key.clone() } else { (0..row.values().len()).collect() };
        if columns.iter().any(|&index| row.values()[index].is_unchanged()) {
            return Err(Refusal::NotSent);
        }
        let wanted = stored(row.values());
        let is_it =
            |found: &StoredRow| columns.iter().all(|&index| found.values[index] == wanted[index]);
        Ok(self.rows.iter().position(is_it))
    }

    fn insert(&mut self, table: &Table, new: &Row) -> Result<(), Refusal> {
        if !new.is_complete() {
            return Err(Refusal::NotSent);
        }
        let found = if table.has_key() { self.find(table, new)? } else { None };
        match found {
            Some(place) => self.rows[place].values = stored(new.values()),
            None => self.rows.push(StoredRow { values: stored(new.values()), further: 0 }),
        }
        self.check(table)
    }

    fn update(&mut self, table: &Table, before: &Row, new: &Row) -> Result<(), Refusal> {
        let is_set = |index: &usize| {
            let after = &new.values()[*index];
            let is_moved = after != &before.values()[*index];
            !after.is_unchanged() && (!table.key.contains(index) || is_moved)
        };
        let mask: Vec<usize> = (0..new.values().len()).filter(is_set).collect();
        if mask.is_empty() {
            return Ok(());
        }
        let is_moved = mask.iter().any(|index| table.key.contains(index));
        if is_moved && self.keeps && self.find(table, before)?.is_some() {
            let mut moved = new.clone();
            moved.fill_unchanged_from(before);
            self.delete(table, &moved)?;
        }
        match self.find(table, before)? {
            Some(place) => {
                let after = stored(new.values());
                for index in mask {
                    self.rows[place].values[index].clone_from(&after[index]);
                }
            }
            None if new.is_complete() => {
                self.rows.push(StoredRow { values: stored(new.values()), further: 0 });
            }
            None => return Err(Refusal::RowMissing),
        }
        self.check(table)
    }

    /// An update that neither makes a row nor asks for one.
    fn mark(&mut self, table: &Table, row: &Row) -> Result<(), Refusal> {
        let is_there = self.find(table, row)?.is_some();
        if is_there { self.update(table, row, row) } else { Ok(()) }
    }

    fn delete(&mut self, table: &Table, old: &Row) -> Result<(), Refusal> {
        if let Some(place) = self.find(table, old)? {
            self.rows.remove(place);
        }
        Ok(())
    }

    /// The unique indexes, checked after every statement.
    fn check(&self, table: &Table) -> Result<(), Refusal> {
        let mut keys = HashSet::new();
        let mut others = HashSet::new();
        for row in &self.rows {
            let key: Vec<_> = table.key.iter().map(|&index| &row.values[index]).collect();
            if table.has_key() && !keys.insert(key) {
                return Err(Refusal::Duplicate);
            }
            let other = self.unique.and_then(|index| row.values[index].as_ref());
            if other.is_some_and(|value| !others.insert(value)) {
                return Err(Refusal::Duplicate);
            }
        }
        Ok(())
    }
}
