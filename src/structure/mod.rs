//! What tables consist of at the source, as statements for a destination that lacks them. Pure.
//!
//! ```text
//!  the source's catalog rows ─┐
//!  tables that we create ─────┼─► plan ─► before: schemas, collations, types, sequences
//!  what the destination has ──┘           each table: create, partitions │ load │ keys, indexes, rest
//!                                         after all loads: foreign keys
//! ```
//!
//! **Invariants:** a statement comes after what it needs; what is there is not made again, so that a
//! plan made after a crash holds just what is missing. What cannot be kept (it needs a column that
//! does not pass as it is, a function that the destination lacks, a feature of a younger version) is
//! left out with a note, never silently; what only an administrator can make is a [`Lack`].

mod checks;
mod columns;
mod create;
mod describe;
mod foreign_keys;
mod indexes;
mod names;
mod plan;
mod present;
mod scope;
mod sequences;
mod table;
mod types;

pub use foreign_keys::{ForeignKey, ForeignKeys, LeftOut};
pub use names::Names;
pub use plan::{PartitionStructure, Structure, StructureInput, TableStructure, plan};
pub use present::Present;
pub use scope::Lack;

use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;

/// One statement, and what it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The object with its kind: `index "shop"."a"`.
    pub object: String,
    pub sql: String,
}

impl Statement {
    fn new(object: impl Into<String>, sql: impl Into<String>) -> Statement {
        Statement { object: object.into(), sql: sql.into() }
    }
}

/// A selected table.
#[derive(Clone, Debug)]
pub struct TableRequest {
    /// At the source.
    pub oid: Oid,
    pub source: QualifiedName,
    pub destination: QualifiedName,
    /// All that it shall have, generated ones included.
    pub columns: Vec<OutputColumn>,
    /// It is ours to create: missing, or created by us before.
    pub is_ours: bool,
    /// Rows stay that the source has deleted.
    pub kept: Option<Kept>,
    /// Other source tables have rows in the table, too, with another value of this column.
    pub apart: Option<String>,
}

/// A table in which rows stay that the source has deleted: what is unique at the source is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The source's columns that identify a row: they do so in any case.
    pub key: Vec<String>,
    /// True of the rows that are not deleted, as SQL; `None` where nothing tells.
    pub is_present: Option<String>,
}

/// One column as it leaves the transforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// At the destination.
    pub name: String,
    /// At the source; `None` for one that a transform adds.
    pub source_name: Option<String>,
    pub type_name: String,
    pub not_null: bool,
    /// Its values are the source's own: default, identity, generation and collation are kept.
    pub is_untransformed: bool,
    /// Equal values stay equal and others different: a key over it is still one.
    pub is_distinct: bool,
}

#[cfg(test)]
mod tests;
