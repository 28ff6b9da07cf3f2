//! Why a sequence of well-formed messages is not a sequence of transactions.

use crate::model::table::TableId;
use crate::pg::catalog::ReplicaIdentity;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;

/// The stream broke the protocol. None of these can come from a server that works as documented,
/// so none of them is repaired here: a new connection starts from the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    // The four errors of the bracket Begin … Commit.
    #[error("{message} message outside a transaction")]
    OutsideTransaction { message: &'static str },
    #[error("transaction at {commit_lsn} begins inside the transaction at {open_commit_lsn}")]
    NestedBegin { open_commit_lsn: Lsn, commit_lsn: Lsn },
    #[error(
        "commit at {commit_lsn} (end {end_lsn}) disagrees with its begin, which announced {begin_commit_lsn}"
    )]
    CommitMismatch { begin_commit_lsn: Lsn, commit_lsn: Lsn, end_lsn: Lsn },
    #[error("the stream ends inside the transaction at {commit_lsn}")]
    EndInsideTransaction { commit_lsn: Lsn },

    #[error("transaction at {commit_lsn} follows one that ended at {previous_end_lsn}")]
    OutOfOrder { commit_lsn: Lsn, previous_end_lsn: Lsn },
    #[error("{message} message without streaming having been asked for")]
    StreamingNotRequested { message: &'static str },
    #[error("relation with OID {} was never described on this connection", .id.0)]
    UnknownRelation { id: TableId },
    #[error("tuple of table \"{table}\" has {actual} values, its relation {expected} columns")]
    ColumnCount { table: QualifiedName, expected: usize, actual: usize },
    #[error("old tuple of table \"{table}\" does not fit its replica identity {identity:?}")]
    OldTupleKind { table: QualifiedName, identity: ReplicaIdentity },
    #[error("old tuple of table \"{table}\" lacks the value of column \"{column}\"")]
    OldValueNotSent { table: QualifiedName, column: String },
}
