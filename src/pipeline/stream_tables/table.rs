//! One table of the stream, judged and planned: what happens to its changes; pure.

use std::sync::Arc;

use crate::batch::FoldPolicy;
use crate::config::settings::OnTruncate;
use crate::model::change::{Begin, Change, Op, RowChange};
use crate::model::row::Row;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::error::PipelineError;
use crate::transform::{Mark, OpenChange, Outcome, Program, TransformError, TransformPlan};

/// What happens to one table's changes.
#[derive(Debug)]
pub enum StreamTable {
    /// Published, not selected.
    Ignored,
    /// Transactions before this position are in the table's copy. What they say of its columns is
    /// from before the copy, too, and means nothing.
    Copied {
        copied_lsn: Lsn,
    },
    Followed(Box<Followed>),
}

#[derive(Debug)]
pub struct Followed {
    pub(super) source: QualifiedName,
    pub(super) transform: Arc<TransformPlan>,
    pub(super) policy: FoldPolicy,
    pub(super) copied_lsn: Lsn,
    pub(super) on_truncate: OnTruncate,
    pub(super) on_delete: Deletes,
}

/// What a DELETE becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deletes {
    Followed,
    Left,
    Marked(Mark),
}

impl StreamTable {
    /// A new row some of whose values were not sent, and that counts: they have to be read.
    pub fn needs_values(&self, change: &RowChange, commit_lsn: Lsn) -> bool {
        let StreamTable::Followed(table) = self else { return false };
        let is_open = match change {
            RowChange::Insert { new } => !new.is_complete(),
            RowChange::Update { new, .. } => {
                !new.is_complete() && table.transform.needs_reading(new)
            }
            RowChange::Delete { .. } | RowChange::Mark { .. } => false,
        };
        is_open && commit_lsn >= table.copied_lsn
    }

    /// Whether the table's filter reads what was not sent of a new row.
    pub fn is_filter_open(&self, new: &Row) -> bool {
        self.followed().is_some_and(|table| table.transform.is_filter_open(new))
    }

    /// The change as the destination gets it, or as far as the agent makes it; none where it does not
    /// count.
    pub fn take(&self, change: RowChange, begun: Begin) -> Result<Option<Taken>, PipelineError> {
        let commit_lsn = begun.commit_lsn;
        let StreamTable::Followed(table) = self else { return Ok(None) };
        if commit_lsn < table.copied_lsn {
            return Ok(None);
        }
        let refused = |error: TransformError| self.data_error(&error.to_string(), commit_lsn);
        if table.transform.program().is_some() {
            return table.transform.open(change).map(Taken::Open).map(Some).map_err(refused);
        }
        let change = table.transform.apply(change).map_err(refused)?;
        let (change, policy) = table.row(change, begun);
        Ok(Some(Taken::Ready(change, policy)))
    }

    /// An open change with its outcomes, as the destination gets it; none where its row is not
    /// replicated.
    pub fn settle(
        &self,
        change: OpenChange,
        outcomes: impl Iterator<Item = Outcome>,
        begun: Begin,
    ) -> Result<Option<(Change, FoldPolicy)>, PipelineError> {
        let StreamTable::Followed(table) = self else { return Ok(None) };
        let settled = table.transform.settle(change, outcomes);
        let refused = |error: TransformError| self.data_error(&error.to_string(), begun.commit_lsn);
        Ok(settled.map_err(refused)?.map(|change| table.row(change, begun)))
    }

    pub fn followed(&self) -> Option<&Followed> {
        match self {
            StreamTable::Followed(table) => Some(table),
            StreamTable::Ignored | StreamTable::Copied { .. } => None,
        }
    }

    /// A row of the table did not go through its transform.
    pub fn data_error(&self, message: &str, commit_lsn: Lsn) -> PipelineError {
        let followed = self.followed();
        let table = followed.map(|table| table.source.clone());
        PipelineError::Data {
            table: table.unwrap_or_else(|| QualifiedName::new("", "")),
            key: followed.map_or_else(Vec::new, |table| table.transform.source_key()),
            message: message.to_owned(),
            lsn: Some(commit_lsn),
        }
    }
}

impl Followed {
    pub fn program(&self) -> Option<&Arc<Program>> {
        self.transform.program()
    }

    fn row(&self, change: RowChange, begun: Begin) -> (Change, FoldPolicy) {
        let table = Arc::clone(self.transform.table());
        let change = match (change, self.on_delete) {
            (RowChange::Delete { .. }, Deletes::Left) => Change::Left { table, op: Op::Delete },
            (RowChange::Delete { old }, Deletes::Marked(mark)) => {
                let row = self.transform.marked(mark, &old, begun.commit_time);
                Change::Row { table, change: RowChange::Mark { row } }
            }
            (change, _) => Change::Row { table, change },
        };
        (change, self.policy)
    }
}

/// A change that counts.
#[derive(Debug)]
pub enum Taken {
    Ready(Change, FoldPolicy),
    /// The source has to compute something of it.
    Open(OpenChange),
}
