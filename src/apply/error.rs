//! What can go wrong at the destination.

use crate::apply::reread::RereadError;
use crate::checkpoint::CheckpointError;
use crate::pg::ident::QualifiedName;
use crate::pg::server_error::{self, ServerError};

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The server rejected what we wrote to a table.
    #[error("table \"{table}\" at the destination rejected a change")]
    Table { table: QualifiedName, source: tokio_postgres::Error },
    /// The server failed on the transaction itself.
    #[error("the destination failed while {doing}")]
    Transaction { doing: &'static str, source: tokio_postgres::Error },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An update without all values, for a row that the destination lacks, and that has no key to read
    /// it by.
    #[error(
        "table \"{table}\" at the destination lacks a row that an update changes, and the update does not carry all its values"
    )]
    RowMissing { table: QualifiedName },
    /// The same where it has one, and could not be read.
    #[error("table \"{table}\" at the destination lacks a row that an update changes: {source}")]
    Reread { table: QualifiedName, source: RereadError },
    /// A row in a format that the table's path cannot write.
    #[error("a row of table \"{table}\" could not be encoded for COPY")]
    Encode { table: QualifiedName },
    /// The plan of a table was lost: a bug, not a condition.
    #[error("no plan for table \"{table}\"")]
    NoTarget { table: QualifiedName },
}

impl ApplyError {
    pub fn server_error(&self) -> Option<ServerError> {
        match self {
            ApplyError::Table { source, .. } | ApplyError::Transaction { source, .. } => {
                server_error::of(source)
            }
            ApplyError::Checkpoint(error) => error.server_error(),
            ApplyError::Reread { source: RereadError::Source(source), .. } => {
                server_error::of(source)
            }
            ApplyError::Reread { .. }
            | ApplyError::RowMissing { .. }
            | ApplyError::Encode { .. }
            | ApplyError::NoTarget { .. } => None,
        }
    }

    pub fn table(&self) -> Option<&QualifiedName> {
        match self {
            ApplyError::Table { table, .. }
            | ApplyError::RowMissing { table }
            | ApplyError::Reread { table, .. }
            | ApplyError::Encode { table }
            | ApplyError::NoTarget { table } => Some(table),
            ApplyError::Transaction { .. } | ApplyError::Checkpoint(_) => None,
        }
    }
}
