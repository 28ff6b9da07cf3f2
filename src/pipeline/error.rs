//! Whatever ends an attempt.

use std::fmt;

use crate::apply::ApplyError;
use crate::checkpoint::{CheckpointError, StoreError};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::CatalogError;
use crate::pg::connect_error::ConnectError;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pg::server_error::{self, ServerError};
use crate::source::slot::SlotError;
use crate::source::{Oversized, TailError};
use crate::wire::WireError;

#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A query of ours on an ordinary connection.
    #[error("the {} failed while {doing}", .side.label())]
    Query { side: Side, doing: &'static str, source: tokio_postgres::Error },
    /// A question to a catalog.
    #[error("the {} could not be looked at", .side.label())]
    Catalog { side: Side, source: CatalogError },
    #[error("the {} failed while {doing}", .side.label())]
    Wire { side: Side, doing: &'static str, source: WireError },
    /// A key, index or constraint of a table of our making.
    #[error("the destination refused \"{statement}\"")]
    Build { statement: String, source: WireError },
    #[error(transparent)]
    Tail(TailError),
    /// A row of the tail or the copy that memory has no room for.
    #[error(transparent)]
    Oversized(Box<Oversized>),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The destination did not take a batch.
    #[error("{place} could not be applied")]
    Batch { place: BatchPlace, source: ApplyError },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Preflight found what stands in the way; nothing was created.
    #[error("{}", summary(.0))]
    Preflight(Vec<Finding>),
    /// The configuration does not fit the databases.
    #[error("{message}")]
    Config { message: String },
    /// The slot and the checkpoint do not belong together.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// A publication that rows came by is gone.
    #[error(
        "publication \"{name}\" {}: rows written since are not in the stream; copy everything again with \"sync-agent resync --all\", then \"sync-agent run\"",
        if *.is_replaced { "was dropped and created again" } else { "is gone from the source" }
    )]
    PublicationGone { name: String, is_replaced: bool },
    /// The destination's history is not ours.
    #[error("{message}")]
    Lineage { message: String },
    /// A table does not fit the destination.
    #[error("table \"{table}\": {message}{}", at(.lsn))]
    Schema { table: QualifiedName, message: String, lsn: Option<Lsn> },
    /// A row that cannot become what the settings ask for.
    #[error("table \"{table}\": {message}{}", at(.lsn))]
    Data { table: QualifiedName, key: Vec<String>, message: String, lsn: Option<Lsn> },
    /// Copying one table failed; the cause says why.
    #[error("the copy of table \"{table}\" failed")]
    Copy { table: QualifiedName, source: Box<PipelineError> },
    /// Copying one query's result failed; the cause says why. Nothing of it is at the destination.
    #[error("the copy of query \"{query}\" failed")]
    QueryCopy { query: String, source: Box<PipelineError> },
    /// A query's result that is not what its key says.
    #[error("query \"{query}\": {message}")]
    QueryResult { query: String, message: String },
    /// A table changed under its copy.
    #[error("table \"{table}\" was rewritten while it was copied; it is copied again")]
    Rewritten { table: QualifiedName },
    /// The session that keeps the copy's snapshot has ended: what is not copied needs a new one.
    #[error("the copy's snapshot is gone: the source session that held it has ended")]
    SnapshotGone,
    /// Fewer or more rows than were sent to be computed.
    #[error("the source computed expressions for {expected} rows and answered with {found}")]
    Answer { found: usize, expected: usize },
    /// Bytes leave and nothing comes back.
    #[error(
        "the {} does not answer although the connection stands; it counts as gone",
        .side.label()
    )]
    Silent { side: Side },
    /// Another process works under the same name.
    #[error("the lease is held by {holder}")]
    Held { holder: String },
    #[error("task \"{task}\" ended without a result")]
    TaskEnded { task: &'static str },
    #[error("task \"{task}\" failed")]
    TaskFailed { task: &'static str, source: tokio::task::JoinError },
}

/// Which transactions a failed batch holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    pub transaction_count: u64,
    /// Of the last one, or of the one that the batch is a part of.
    pub commit_lsn: Lsn,
    /// The names of the columns that identify rows of the table that failed.
    pub key: Vec<String>,
}

impl fmt::Display for BatchPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transaction_count {
            1 => write!(f, "the transaction at {}", self.commit_lsn),
            count => write!(f, "a batch of {count} transactions up to {}", self.commit_lsn),
        }
    }
}

fn at(lsn: &Option<Lsn>) -> String {
    lsn.map_or_else(String::new, |lsn| format!(" (in the transaction at {lsn})"))
}

fn summary(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| {
            let mut line =
                format!("{} {}: {}", finding.side.label(), finding.object, finding.message);
            if let Some(remedy) = &finding.remedy {
                line.push_str("; do: ");
                line.push_str(remedy);
            }
            line
        })
        .collect();
    lines.join("\n")
}

impl From<TailError> for PipelineError {
    fn from(error: TailError) -> PipelineError {
        match error {
            TailError::Oversized(oversized) => PipelineError::Oversized(oversized),
            other => PipelineError::Tail(other),
        }
    }
}

impl PipelineError {
    pub fn query(
        side: Side,
        doing: &'static str,
    ) -> impl FnOnce(tokio_postgres::Error) -> PipelineError {
        move |source| PipelineError::Query { side, doing, source }
    }

    pub fn catalog(side: Side) -> impl FnOnce(CatalogError) -> PipelineError {
        move |source| PipelineError::Catalog { side, source }
    }

    pub fn wire(side: Side, doing: &'static str) -> impl FnOnce(WireError) -> PipelineError {
        move |source| PipelineError::Wire { side, doing, source }
    }

    /// Whether it is about one table's data or shape, so that everything before it can be applied.
    pub fn is_about_data(&self) -> bool {
        matches!(
            self,
            PipelineError::Schema { .. } | PipelineError::Data { .. } | PipelineError::Oversized(_)
        )
    }

    /// What a server said, if one did.
    pub fn server_error(&self) -> Option<ServerError> {
        match self {
            PipelineError::Connect(error) => error.server_error().cloned(),
            PipelineError::Query { source, .. }
            | PipelineError::Catalog { source: CatalogError::Query { source, .. }, .. } => {
                server_error::of(source)
            }
            PipelineError::Wire { source, .. }
            | PipelineError::Build { source, .. }
            | PipelineError::Tail(TailError::Wire(source)) => source.server_error().cloned(),
            PipelineError::Apply(error) | PipelineError::Batch { source: error, .. } => {
                error.server_error()
            }
            PipelineError::Checkpoint(error) => error.server_error(),
            PipelineError::Copy { source, .. } | PipelineError::QueryCopy { source, .. } => {
                source.server_error()
            }
            _ => None,
        }
    }

    pub fn table(&self) -> Option<&QualifiedName> {
        match self {
            PipelineError::Apply(error) | PipelineError::Batch { source: error, .. } => {
                error.table()
            }
            PipelineError::Oversized(oversized) => Some(&oversized.table),
            PipelineError::Schema { table, .. }
            | PipelineError::Data { table, .. }
            | PipelineError::Copy { table, .. }
            | PipelineError::Rewritten { table } => Some(table),
            _ => None,
        }
    }

    /// Where in the source's history it stands: the commit's position.
    pub fn lsn(&self) -> Option<Lsn> {
        match self {
            PipelineError::Batch { place, .. } => Some(place.commit_lsn),
            PipelineError::Schema { lsn, .. } | PipelineError::Data { lsn, .. } => *lsn,
            PipelineError::Oversized(oversized) => oversized.lsn,
            _ => None,
        }
    }

    /// The names of the columns that identify the table's rows, where they are known.
    pub fn key(&self) -> Option<String> {
        match self {
            PipelineError::Batch { place, .. } if !place.key.is_empty() => {
                Some(place.key.join(", "))
            }
            PipelineError::Oversized(oversized) if !oversized.key.is_empty() => {
                Some(oversized.key.join(", "))
            }
            PipelineError::Data { key, .. } if !key.is_empty() => Some(key.join(", ")),
            PipelineError::Copy { source, .. } => source.key(),
            _ => None,
        }
    }

    /// What an operator can do, where it is not in the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            PipelineError::Connect(error) => error.hint(),
            PipelineError::Slot(error) => Some(error.hint().to_owned()),
            PipelineError::Oversized(oversized) => Some(oversized.hint()),
            PipelineError::Store(error) => error.hint().map(str::to_owned),
            PipelineError::Copy { source, .. } | PipelineError::QueryCopy { source, .. } => {
                source.hint()
            }
            PipelineError::Apply(ApplyError::RowMissing { .. })
            | PipelineError::Batch { source: ApplyError::RowMissing { .. }, .. } => Some(
                "Put the row back at the destination, or copy the table again with `sync-agent resync --table`."
                    .to_owned(),
            ),
            other => other.server_error()?.own_hint().map(str::to_owned),
        }
    }

    /// The message with its causes, without any row's values: a server's DETAIL is left out.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let part = describe(error);
            if !text.contains(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

/// tokio-postgres prints `db error` and leaves the server's words to its source, which prints
/// DETAIL too: neither will do.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
        return server_error::of(error).map_or_else(|| error.to_string(), |e| e.to_string());
    }
    if let Some(error) = error.downcast_ref::<tokio_postgres::error::DbError>() {
        return ServerError::from(error).to_string();
    }
    error.to_string()
}
