//! The fold: a table's changes to one net effect a key.
//!
//! | before | insert | update | delete | mark |
//! | --- | --- | --- | --- | --- |
//! | nothing | Insert | Update | Delete | Mark |
//! | Insert | Insert (newer) | Insert (merged) | Removal | Insert (marked) |
//! | Update | Insert (newer) | Update (union of sent columns) | Delete | Update (marked) |
//! | Delete | Replace | not foldable | Delete | not foldable |
//! | Replace | Replace (newer) | Replace (merged) | Delete | Replace (marked) |
//! | Removal | Insert | not foldable | Removal | not foldable |
//! | Mark | Insert | not foldable | Delete | Mark (earlier) |
//!
//! "Removal" still deletes at the destination, uncounted: if the row was there against expectation,
//! one-by-one application would have overwritten and deleted it. "Not foldable" is a change of a
//! row that the batch itself has removed; the caller keeps it in order instead, so that it is
//! treated exactly like any change of a missing row, and a change of one that it has only marked. The law, tested: the folded effects leave the
//! same table as the changes one by one.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::contents::NetEffects;
use crate::model::change::RowChange;
use crate::model::row::{Row, Value};
use crate::model::table::Table;

/// What a key's changes amount to.
#[derive(Debug)]
enum NetEffect {
    Insert(Row),
    Update(Row),
    Delete(Row),
    Replace(Row),
    Removal(Row),
    Mark(Row),
}

/// The open fold of one table.
#[derive(Debug)]
pub struct Fold {
    table: Arc<Table>,
    effects: Vec<Option<NetEffect>>,
    index: HashMap<Bytes, usize>,
    /// Inserts of a table without a key: nothing to fold by.
    appended: Vec<Row>,
}

impl Fold {
    pub fn new(table: Arc<Table>) -> Fold {
        Fold { table, effects: Vec::new(), index: HashMap::new(), appended: Vec::new() }
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Folds `change` in, or gives it back where the algebra has no answer.
    pub fn push(&mut self, change: RowChange) -> Result<(), RowChange> {
        if !self.table.has_key() {
            return match change {
                RowChange::Insert { new } if new.is_complete() => {
                    self.appended.push(new);
                    Ok(())
                }
                other => Err(other),
            };
        }
        match change {
            RowChange::Insert { new } => self.insert(new),
            RowChange::Update { old: Some(old), mut new } => {
                fill_key(&self.table, &mut new, old.row());
                match (key_of(&self.table, old.row()), key_of(&self.table, &new)) {
                    (Some(before), Some(after)) if before == after => self.update(after, new),
                    (Some(before), Some(after)) => {
                        self.fill_from_known(&before, &mut new);
                        if !new.is_complete() {
                            return Err(RowChange::Update { old: Some(old), new });
                        }
                        // A key change with all values known is a delete and an insert.
                        self.delete(before, old.row().clone());
                        self.place_insert(after, new);
                        Ok(())
                    }
                    _ => Err(RowChange::Update { old: Some(old), new }),
                }
            }
            RowChange::Update { old: None, new } => match key_of(&self.table, &new) {
                Some(key) => self.update(key, new),
                None => Err(RowChange::Update { old: None, new }),
            },
            RowChange::Delete { old } => match key_of(&self.table, old.row()) {
                Some(key) => {
                    self.delete(key, old.row().clone());
                    Ok(())
                }
                None => Err(RowChange::Delete { old }),
            },
            RowChange::Mark { row } => self.mark(row),
        }
    }

    fn mark(&mut self, row: Row) -> Result<(), RowChange> {
        let Some(key) = key_of(&self.table, &row) else { return Err(RowChange::Mark { row }) };
        let place = self.place(key);
        match place {
            None => *place = Some(NetEffect::Mark(row)),
            // The time is that of the first.
            Some(NetEffect::Mark(_)) => {}
            Some(
                NetEffect::Insert(known) | NetEffect::Update(known) | NetEffect::Replace(known),
            ) => {
                known.overwrite_from(&row);
            }
            Some(NetEffect::Delete(_) | NetEffect::Removal(_)) => {
                return Err(RowChange::Mark { row });
            }
        }
        Ok(())
    }

    fn insert(&mut self, new: Row) -> Result<(), RowChange> {
        if !new.is_complete() {
            return Err(RowChange::Insert { new });
        }
        let Some(key) = key_of(&self.table, &new) else {
            return Err(RowChange::Insert { new });
        };
        self.place_insert(key, new);
        Ok(())
    }

    fn place_insert(&mut self, key: Bytes, new: Row) {
        let place = self.place(key);
        let effect = match place.take() {
            None
            | Some(
                NetEffect::Insert(_)
                | NetEffect::Update(_)
                | NetEffect::Removal(_)
                | NetEffect::Mark(_),
            ) => NetEffect::Insert(new),
            Some(NetEffect::Delete(_) | NetEffect::Replace(_)) => NetEffect::Replace(new),
        };
        *place = Some(effect);
    }

    /// What the batch knows of the row under `key` completes `new`.
    fn fill_from_known(&self, key: &Bytes, new: &mut Row) {
        let known = self.index.get(key).and_then(|&index| self.effects[index].as_ref());
        if let Some(NetEffect::Insert(row) | NetEffect::Update(row) | NetEffect::Replace(row)) =
            known
        {
            new.fill_unchanged_from(row);
        }
    }

    fn update(&mut self, key: Bytes, mut new: Row) -> Result<(), RowChange> {
        let place = self.place(key);
        let effect = match place.take() {
            None => NetEffect::Update(new),
            Some(NetEffect::Update(before)) => {
                new.fill_unchanged_from(&before);
                NetEffect::Update(new)
            }
            Some(NetEffect::Insert(before)) => {
                new.fill_unchanged_from(&before);
                NetEffect::Insert(new)
            }
            Some(NetEffect::Replace(before)) => {
                new.fill_unchanged_from(&before);
                NetEffect::Replace(new)
            }
            Some(gone @ (NetEffect::Delete(_) | NetEffect::Removal(_) | NetEffect::Mark(_))) => {
                *place = Some(gone);
                return Err(RowChange::Update { old: None, new });
            }
        };
        *place = Some(effect);
        Ok(())
    }

    fn delete(&mut self, key: Bytes, old: Row) {
        let place = self.place(key);
        *place = Some(match place.take() {
            None
            | Some(
                NetEffect::Update(_)
                | NetEffect::Delete(_)
                | NetEffect::Replace(_)
                | NetEffect::Mark(_),
            ) => NetEffect::Delete(old),
            Some(NetEffect::Insert(_) | NetEffect::Removal(_)) => NetEffect::Removal(old),
        });
    }

    fn place(&mut self, key: Bytes) -> &mut Option<NetEffect> {
        let next = self.effects.len();
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            self.effects.push(None);
        }
        &mut self.effects[index]
    }

    /// The net effects, in the order in which their keys first appeared.
    pub fn finish(self) -> NetEffects {
        let mut net = NetEffects {
            table: self.table,
            removals: Vec::new(),
            deletes: Vec::new(),
            marks: Vec::new(),
            updates: Vec::new(),
            inserts: self.appended,
        };
        for effect in self.effects.into_iter().flatten() {
            match effect {
                NetEffect::Insert(row) => net.inserts.push(row),
                NetEffect::Update(row) => net.updates.push(row),
                NetEffect::Delete(row) => net.deletes.push(row),
                NetEffect::Removal(row) => net.removals.push(row),
                NetEffect::Mark(row) => net.marks.push(row),
                NetEffect::Replace(row) => {
                    net.deletes.push(row.clone());
                    net.inserts.push(row);
                }
            }
        }
        net
    }
}

/// A key column that the new row does not carry has the old row's value.
fn fill_key(table: &Table, new: &mut Row, old: &Row) {
    for &index in &table.key {
        if new.values()[index].is_unchanged() {
            new.values_mut()[index] = old.values()[index].clone();
        }
    }
}

/// The key's bytes, equal exactly where the values' bytes are; none where a value is missing.
///
/// One column: its own bytes, shared. Several: each with its length in front, so that ("a", "bc")
/// and ("ab", "c") differ.
fn key_of(table: &Table, row: &Row) -> Option<Bytes> {
    let values = row.values();
    if let [only] = table.key[..] {
        return values[only].bytes().cloned();
    }
    let mut key = BytesMut::new();
    for &index in &table.key {
        let bytes = match &values[index] {
            Value::Text(bytes) | Value::Binary(bytes) => bytes,
            Value::Null | Value::Unchanged => return None,
        };
        key.put_u32(u32::try_from(bytes.len()).ok()?);
        key.extend_from_slice(bytes);
    }
    Some(key.freeze())
}
