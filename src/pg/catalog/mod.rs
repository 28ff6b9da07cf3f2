//! The catalog questions we ask: what a database holds, in our words.
//!
//! One function per question, its SQL in a file of its own beside this one.

pub mod table_info;

pub use table_info::{ColumnInfo, Generated, IndexInfo, RelationKind, TableInfo};

/// `relreplident`: what the source sends of the old row on update and delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// `d`: the primary key's columns.
    Default,
    /// `n`: nothing; only inserts can be replicated.
    Nothing,
    /// `f`: the whole old row.
    Full,
    /// `i`: the columns of one unique index.
    Index,
}
