//! A table that goes by another name, for a while or for good.
//!
//! Tables are followed by name, publications by table: what a renamed table gets still comes, under
//! its new name, and is nobody's there. If the table comes back under its old name, nothing in its
//! catalog tells that it was away. So the first change under another name marks the record, in the
//! destination, before the stream goes past it; a marked table is copied again when its name is
//! there again.

use crate::checkpoint::tables::TableRecord;
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;
use crate::pipeline::drift::follow::Follow;

/// In place of the OID of a source table whose changes came under another name.
pub const RENAMED: Oid = 0;

/// What marks the record.
pub fn mark(record: &TableRecord, now: &QualifiedName) -> Follow {
    tracing::warn!(table = %record.source, %now, "the table was renamed at the source: under its old name it is no longer followed, until it is copied again");
    Follow {
        conditions: Vec::new(),
        statements: Vec::new(),
        columns: Vec::new(),
        record: TableRecord { source_oid: Some(RENAMED), ..record.clone() },
    }
}
