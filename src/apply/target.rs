//! The destination's table as the statements see it: which of a row's values go into which column.

use crate::batch::FoldPolicy;
use crate::pg::ident::QualifiedName;

/// One column that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    pub name: String,
    /// The type's name without modifier, for casts.
    pub type_name: String,
    /// Position of its value in a row.
    pub value_index: usize,
    /// `GENERATED ALWAYS AS IDENTITY`: inserted with OVERRIDING SYSTEM VALUE, never updated.
    pub is_identity_always: bool,
}

/// One destination table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: QualifiedName,
    pub columns: Vec<TargetColumn>,
    /// Positions in `columns` that identify a row; empty where nothing does.
    pub key: Vec<usize>,
    /// A valid, immediate, non-partial unique index stands on exactly the key: ON CONFLICT may name it.
    pub has_arbiter: bool,
    pub is_partitioned: bool,
    pub policy: FoldPolicy,
}

impl Target {
    pub fn has_identity_always(&self) -> bool {
        self.columns.iter().any(|column| column.is_identity_always)
    }

    pub fn key_columns(&self) -> impl Iterator<Item = &TargetColumn> {
        self.key.iter().map(|&index| &self.columns[index])
    }
}
