//! The source's names of the tables that are followed, for whoever counts what became of their rows.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::apply::conflicts::ConflictKind;
use crate::model::table::TableId;
use crate::pg::ident::QualifiedName;

/// Source names by table, for whoever counts. Filled as tables appear.
#[derive(Clone, Debug, Default)]
pub struct SourceNames(Arc<RwLock<HashMap<TableId, Counted>>>);

#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) name: QualifiedName,
    /// A filter looks at new rows alone: those that come in are missing at the destination, and those that
    /// stay out are, too.
    pub(super) expects_missing: bool,
}

impl SourceNames {
    pub(super) fn insert(&self, table: TableId, counted: Counted) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(table, counted);
    }

    pub fn of(&self, table: TableId) -> Option<QualifiedName> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&table).map(|counted| counted.name.clone())
    }

    /// The table's name where a row of it was not as the stream said; none where the stream said nothing
    /// of what was to be found.
    pub fn of_conflict(&self, table: TableId, kind: ConflictKind) -> Option<QualifiedName> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let counted = known.get(&table)?;
        let is_missing = matches!(kind, ConflictKind::UpdateMissing | ConflictKind::DeleteMissing);
        (!is_missing || !counted.expects_missing).then(|| counted.name.clone())
    }
}
