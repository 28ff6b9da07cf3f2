//! Histories that a source could have: changes as the wire carries them, made by running random
//! operations against tables in memory.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::batch::tests::{table, value};
use crate::model::change::{Change, OldRow, RowChange, Truncate};
use crate::model::row::{Row, Value};
use crate::model::table::{ReplicaIdentity, Table};

/// The column that has a unique index of its own where the history asks for one.
pub(super) const UNIQUE_COLUMN: usize = 2;
pub(super) const TABLE_COUNT: usize = 5;

/// One value chosen for each column.
type Choice = [u8; 4];

#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert {
        table: usize,
        values: Choice,
    },
    /// The columns whose bit is set in `mask` get other values; with the key's bits it moves.
    Update {
        table: usize,
        row: usize,
        mask: u8,
        values: Choice,
    },
    Delete {
        table: usize,
        row: usize,
    },
    /// Delete and insert under the same key.
    Renew {
        table: usize,
        row: usize,
        values: Choice,
    },
    /// Two rows exchange their keys through a third.
    Swap {
        table: usize,
        row: usize,
    },
    Truncate {
        tables: u8,
    },
    AddColumn {
        table: usize,
    },
    Commit,
}

fn choice() -> impl Strategy<Value = Choice> {
    prop::array::uniform4(0..5_u8)
}

fn op() -> impl Strategy<Value = Op> {
    let table = || 0..TABLE_COUNT;
    let row = || 0..6_usize;
    prop_oneof![
        6 => (table(), choice()).prop_map(|(table, values)| Op::Insert { table, values }),
        8 => (table(), row(), 0..16_u8, choice())
            .prop_map(|(table, row, mask, values)| Op::Update { table, row, mask, values }),
        4 => (table(), row()).prop_map(|(table, row)| Op::Delete { table, row }),
        2 => (table(), row(), choice())
            .prop_map(|(table, row, values)| Op::Renew { table, row, values }),
        2 => (table(), row()).prop_map(|(table, row)| Op::Swap { table, row }),
        1 => (1..32_u8).prop_map(|tables| Op::Truncate { tables }),
        1 => table().prop_map(|table| Op::AddColumn { table }),
        4 => Just(Op::Commit),
    ]
}

pub(super) fn ops(count_max: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 0..count_max)
}

#[derive(Debug)]
pub(super) struct SourceTable {
    pub(super) table: Arc<Table>,
    pub(super) rows: Vec<Vec<Value>>,
    pub(super) is_unique: bool,
}

/// Tables of every kind of identity.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) tables: Vec<SourceTable>,
    pub(super) changes: Vec<Change>,
    /// How many changes stood before each commit.
    pub(super) commits: Vec<usize>,
}

impl Source {
    pub(super) fn new(is_unique: [bool; TABLE_COUNT]) -> Source {
        use ReplicaIdentity::{Default, Full, Nothing};
        let kinds: [(ReplicaIdentity, &[usize]); TABLE_COUNT] =
            [(Default, &[0]), (Default, &[0, 1]), (Full, &[0]), (Full, &[]), (Nothing, &[])];
        let tables =
            kinds.into_iter().zip(is_unique).zip(1..).map(|(((identity, key), is_unique), id)| {
                SourceTable {
                    table: table(id, identity, &["k", "l", "a", "body"], key),
                    rows: Vec::new(),
                    is_unique: is_unique && !key.is_empty(),
                }
            });
        Source { tables: tables.collect(), changes: Vec::new(), commits: Vec::new() }
    }

    /// An operation that the state does not allow is left out.
    pub(super) fn run(&mut self, ops: &[Op]) {
        for op in ops {
            match *op {
                Op::Insert { table, values } => self.insert(table, chosen(values)),
                Op::Update { table, row, mask, values } => {
                    let Some(before) = self.row(table, row) else { continue };
                    let mut after = before.clone();
                    let values = chosen(values);
                    for index in (0..values.len()).filter(|index| mask & (1 << index) != 0) {
                        after[index].clone_from(&values[index]);
                    }
                    self.update(table, &before, after);
                }
                Op::Delete { table, row } => {
                    let Some(before) = self.row(table, row) else { continue };
                    self.delete(table, &before);
                }
                Op::Renew { table, row, values } => {
                    let Some(before) = self.row(table, row) else { continue };
                    let mut after = chosen(values);
                    for &index in &self.tables[table].table.key {
                        after[index].clone_from(&before[index]);
                    }
                    self.delete(table, &before);
                    self.insert(table, after);
                }
                Op::Swap { table, row } => self.swap(table, row),
                Op::Truncate { tables } => self.truncate(tables),
                Op::AddColumn { table } => self.add_column(table),
                Op::Commit => self.commits.push(self.changes.len()),
            }
        }
        self.commits.push(self.changes.len());
    }

    fn row(&self, table: usize, row: usize) -> Option<Vec<Value>> {
        let rows = &self.tables[table].rows;
        (!rows.is_empty()).then(|| rows[row % rows.len()].clone())
    }

    fn insert(&mut self, table: usize, mut new: Vec<Value>) {
        let at = &mut self.tables[table];
        new.resize(at.table.columns.len(), Value::Null);
        if at.allows(&new, None) {
            at.rows.push(new.clone());
            self.emit(table, RowChange::Insert { new: Row::new(new) });
        }
    }

    fn update(&mut self, table: usize, before: &[Value], after: Vec<Value>) -> bool {
        let at = &mut self.tables[table];
        let place = at.rows.iter().position(|row| row == before).unwrap();
        if at.table.identity == ReplicaIdentity::Nothing || !at.allows(&after, Some(place)) {
            return false;
        }
        at.rows[place].clone_from(&after);
        let change = at.update_on_the_wire(before, after);
        self.emit(table, change);
        true
    }

    fn delete(&mut self, table: usize, before: &[Value]) {
        let at = &mut self.tables[table];
        if at.table.identity == ReplicaIdentity::Nothing {
            return;
        }
        let place = at.rows.iter().position(|row| row == before).unwrap();
        at.rows.remove(place);
        let old = at.old_on_the_wire(before);
        self.emit(table, RowChange::Delete { old });
    }

    fn swap(&mut self, table: usize, row: usize) {
        let (Some(one), Some(two)) = (self.row(table, row), self.row(table, row + 1)) else {
            return;
        };
        if !self.tables[table].table.has_key() || one == two {
            return;
        }
        let with_key = |row: &[Value], key: &Value| {
            let mut row = row.to_vec();
            row[0].clone_from(key);
            row
        };
        let aside = value("aside");
        if self.update(table, &one, with_key(&one, &aside)) {
            self.update(table, &two, with_key(&two, &one[0]));
            self.update(table, &with_key(&one, &aside), with_key(&one, &two[0]));
        }
    }

    fn truncate(&mut self, tables: u8) {
        let is_hit = |&index: &usize| tables & (1 << index) != 0;
        let hit: Vec<usize> = (0..TABLE_COUNT).filter(is_hit).collect();
        for &index in &hit {
            self.tables[index].rows.clear();
        }
        let tables = hit.iter().map(|&index| Arc::clone(&self.tables[index].table)).collect();
        let truncate = Truncate { tables, cascade: false, restart_identity: false };
        self.changes.push(Change::Truncate(truncate));
    }

    fn add_column(&mut self, table: usize) {
        let at = &mut self.tables[table];
        if at.table.columns.len() > 6 {
            return;
        }
        let mut wider = Table::clone(&at.table);
        let mut column = wider.columns[3].clone();
        column.name = format!("added{}", wider.columns.len());
        wider.columns.push(column);
        at.table = Arc::new(wider);
        for row in &mut at.rows {
            row.push(Value::Null);
        }
    }

    fn emit(&mut self, table: usize, change: RowChange) {
        let table = Arc::clone(&self.tables[table].table);
        self.changes.push(Change::Row { table, change });
    }
}

impl SourceTable {
    fn allows(&self, new: &[Value], place: Option<usize>) -> bool {
        let others = self.rows.iter().enumerate().filter(|&(index, _)| Some(index) != place);
        others.into_iter().all(|(_, other)| {
            let key = &self.table.key;
            let is_same_key =
                !key.is_empty() && key.iter().all(|&index| other[index] == new[index]);
            let is_same_unique = self.is_unique
                && new[UNIQUE_COLUMN] != Value::Null
                && new[UNIQUE_COLUMN] == other[UNIQUE_COLUMN];
            !is_same_key && !is_same_unique
        })
    }

    /// What pgoutput sends, after the assembler filled in what FULL knows.
    fn update_on_the_wire(&self, before: &[Value], mut after: Vec<Value>) -> RowChange {
        let is_full = self.table.identity == ReplicaIdentity::Full;
        let moves = self.table.key.iter().any(|&index| before[index] != after[index]);
        let has_large_key = self.table.key.iter().any(|&index| is_large(&before[index]));
        let old = (is_full || moves || has_large_key).then(|| self.old_on_the_wire(before));
        if !is_full {
            for (value, before) in after.iter_mut().zip(before) {
                if value == before && is_large(before) {
                    *value = Value::Unchanged;
                }
            }
        }
        RowChange::Update { old, new: Row::new(after) }
    }

    fn old_on_the_wire(&self, before: &[Value]) -> OldRow {
        if self.table.identity == ReplicaIdentity::Full {
            return OldRow::Full(Row::new(before.to_vec()));
        }
        let of_key = |(index, value): (usize, &Value)| {
            if self.table.key.contains(&index) { value.clone() } else { Value::Null }
        };
        OldRow::Identity(Row::new(before.iter().enumerate().map(of_key).collect()))
    }
}

fn chosen(choice: Choice) -> Vec<Value> {
    let [k, l, a, body] = choice;
    // A key value may be stored out of line, too.
    let key = ["k0", "k1", "k2", "k3", "LARGE-k4"][usize::from(k)];
    let a = ["_", "a1", "a2", "a3", "a4"][usize::from(a)];
    let body = ["_", "b1", "b2", "LARGE-b3", "LARGE-b4"][usize::from(body)];
    [key, if l < 3 { "l0" } else { "l1" }, a, body].map(value).to_vec()
}

/// Stored out of line: not sent again by an update that leaves it as it is.
fn is_large(value: &Value) -> bool {
    value.bytes().is_some_and(|bytes: &Bytes| bytes.starts_with(b"LARGE"))
}
