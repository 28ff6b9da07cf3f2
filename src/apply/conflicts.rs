//! Rows that were not as the stream said: counted by table and kind, never in silence.

use crate::model::table::TableId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictKind {
    /// An insert found its key taken: overwritten.
    InsertExists,
    /// An update found no row: inserted where all values were known.
    UpdateMissing,
    /// A delete found no row.
    DeleteMissing,
    /// A trigger of the destination's kept a row from being written.
    Suppressed,
}

impl ConflictKind {
    pub fn label(self) -> &'static str {
        match self {
            ConflictKind::InsertExists => "insert_exists",
            ConflictKind::UpdateMissing => "update_missing",
            ConflictKind::DeleteMissing => "delete_missing",
            ConflictKind::Suppressed => "suppressed",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(Vec<(TableId, ConflictKind, u64)>);

impl Conflicts {
    pub fn add(&mut self, table: TableId, kind: ConflictKind, count: u64) {
        if count == 0 {
            return;
        }
        match self.0.iter_mut().find(|(t, k, _)| *t == table && *k == kind) {
            Some((_, _, counted)) => *counted += count,
            None => self.0.push((table, kind, count)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (TableId, ConflictKind, u64)> {
        self.0.iter().copied()
    }
}
