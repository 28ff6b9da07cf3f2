//! Where values come from that the stream did not send: the source, asked again.
//!
//! An update leaves out large values that did not change. Where the destination has lost the row they
//! are nowhere but at the source, and nothing here knows the source: who assembles the pipeline gives
//! the applier something that does.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::model::row::Row;
use crate::model::table::Table;

/// Reads rows again, as the destination gets them.
pub trait Reread: Debug + Send + Sync {
    /// `row` with what it lacks, as the source has it by now; none where the source has no such row any
    /// more. `table` is the description that the row came with, `xids` the source transactions one of
    /// which brought it: what they did may not be visible yet.
    fn reread<'a>(
        &'a self,
        table: &'a Arc<Table>,
        row: &'a Row,
        xids: &'a [u32],
    ) -> BoxFuture<'a, Result<Option<Row>, RereadError>>;
}

/// Why a row could not be read again.
#[derive(Debug, thiserror::Error)]
pub enum RereadError {
    #[error("reading a row again at the source")]
    Source(#[from] tokio_postgres::Error),
    /// What came cannot be made the destination's.
    #[error("{0}")]
    Value(String),
    #[error("asking the source what it shows: {0}")]
    Unasked(String),
    /// The table is of a description that is not followed any more.
    #[error("its description is gone")]
    NoPlan,
    /// One of the transactions that brought the row does not become visible.
    #[error(
        "the source does not show yet what it has committed: does it wait for a synchronous standby?"
    )]
    Hidden,
}
