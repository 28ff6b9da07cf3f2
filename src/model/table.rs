//! A table as the stream or the catalog described it at one moment.

pub use crate::pg::catalog::ReplicaIdentity;
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;

/// The source relation's OID: what a change refers to while a connection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub Oid);

/// One column of a [`Table`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: Oid,
    /// `atttypmod`; -1 where the type has none.
    pub type_modifier: i32,
    /// Whether the column belongs to the replica identity.
    pub is_identity: bool,
}

/// A table: immutable, shared by every change that refers to it. Another description (a column
/// added, another identity) is another `Table`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub id: TableId,
    pub name: QualifiedName,
    pub identity: ReplicaIdentity,
    pub columns: Vec<Column>,
    /// Positions in `columns` of the values that identify a row at the destination, in column
    /// order; empty where there is no key (insert-only, or FULL identity without one).
    pub key: Vec<usize>,
}

impl Table {
    pub fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|&index| &self.columns[index])
    }
}
