//! The tables of one stream: what happens to each one's changes.
//!
//! A table is judged and planned when its description first arrives, and judged again whenever it
//! arrives again: the server repeats it when something about the table has changed, be it something
//! that a description does not tell. A table that the publication has and the settings do not select
//! is left aside, and so is one that is gone from the source.
//!
//! **Invariant:** a change of a table counts only from the table's own consistent point on:
//! transactions whose commit record starts before it are in the table's copy.

mod judgment;
mod names;
mod table;
mod truncate;

use std::collections::HashMap;
use std::sync::Arc;

pub use judgment::{Resolution, Restart};
pub use names::SourceNames;
pub use table::{Followed, StreamTable, Taken};
pub use truncate::Truncated;

use crate::apply::ApplyError;
use crate::apply::reread::RereadError;
use crate::apply::targets::Targets;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::model::change::{Begin, OldRow, RowChange};
use crate::model::finding::Side;
use crate::model::table::{Table, TableId};
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::drift::Looks;
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::Calculator;
use crate::pipeline::planner::Planner;
use crate::pipeline::reread::Rereader;

/// Which tables' changes count in a stream.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The second slot's stream: those that are copied beside the first.
    pub is_beside: bool,
    /// Tables that are loaded in part, each with the head of the statement that writes down the key of a
    /// row which it lacks.
    pub partial: HashMap<QualifiedName, String>,
}

impl Scope {
    pub fn has(&self, record: &TableRecord) -> bool {
        match record.state {
            CopyState::Copied => !self.is_beside,
            CopyState::CatchingUp => self.is_beside,
            CopyState::Copying | CopyState::Replacing | CopyState::Merging => {
                self.partial.contains_key(&record.source)
            }
        }
    }
}

/// The tables of one stream.
#[derive(Debug)]
pub struct StreamTables {
    planner: Planner,
    scope: Scope,
    targets: Targets,
    rereader: Rereader,
    names: SourceNames,
    looks: Looks,
    is_binary: bool,
    /// The first transaction of this stream: all before is applied.
    first_commit_lsn: Option<Lsn>,
    /// The transaction that is being received.
    xid: u32,
    known: HashMap<TableId, (Arc<Table>, Arc<StreamTable>)>,
}

impl StreamTables {
    pub fn new(
        planner: Planner,
        scope: Scope,
        (targets, rereader): (Targets, Rereader),
        looks: Looks,
        is_binary: bool,
    ) -> StreamTables {
        StreamTables {
            planner,
            scope,
            targets,
            rereader,
            names: SourceNames::default(),
            looks,
            is_binary,
            first_commit_lsn: None,
            xid: 0,
            known: HashMap::new(),
        }
    }

    /// A transaction begins.
    pub fn begin(&mut self, begin: Begin) {
        self.first_commit_lsn.get_or_insert(begin.commit_lsn);
        self.xid = begin.xid;
    }

    /// What computes, and whether values of the stream are in binary.
    pub fn calculation(&self) -> (Calculator, bool) {
        (self.planner.calculator().clone(), self.is_binary)
    }

    pub fn names(&self) -> SourceNames {
        self.names.clone()
    }

    /// Source names of the tables that are followed.
    pub fn followed(&self) -> Vec<QualifiedName> {
        let records = self.planner.records().filter(|record| self.scope.has(record));
        records.map(|record| record.source.clone()).collect()
    }

    /// The plan of a table as described, if it was made already. A description that was sent again
    /// is another `Arc`, whatever it says.
    pub fn known(&self, table: &Arc<Table>, commit_lsn: Lsn) -> Option<Arc<StreamTable>> {
        let (described, known) = self.known.get(&table.id)?;
        let is_over = |known: &StreamTable| matches!(known, StreamTable::Copied { copied_lsn } if commit_lsn >= *copied_lsn);
        (Arc::ptr_eq(described, table) && !is_over(known)).then(|| Arc::clone(known))
    }

    /// Judges and plans a table that is described for the first time, or again.
    pub async fn resolve(
        &mut self,
        table: &Arc<Table>,
        commit_lsn: Lsn,
    ) -> Result<Resolution, PipelineError> {
        let resolved = self.judge(table, commit_lsn).await;
        let resolved = resolved.map_err(|error| at_commit(error, commit_lsn))?;
        if let Resolution::Known(known) = &resolved {
            self.known.insert(table.id, (Arc::clone(table), Arc::clone(known)));
        }
        Ok(resolved)
    }

    /// Reads what was not sent of a new row. Of one that is gone from the source by now the stream says
    /// later what became of it; until then the destination's row is to stand in nobody's way, with the key
    /// and the unique values that it had before.
    pub async fn complete(
        &self,
        table: &Arc<Table>,
        followed: &StreamTable,
        mut change: RowChange,
    ) -> Result<Option<RowChange>, PipelineError> {
        let (RowChange::Insert { new } | RowChange::Update { new, .. }) = &mut change else {
            return Ok(Some(change));
        };
        let is_there = self.rereader.complete(table, new, &[self.xid]).await;
        if is_there.map_err(|error| reread_error(&table.name, error))? {
            return Ok(Some(change));
        }
        Ok(match change {
            RowChange::Update { old: Some(old), .. } => Some(RowChange::Delete { old }),
            // Nobody can say any more whether it passed.
            RowChange::Update { old: None, new } if followed.is_filter_open(&new) => {
                Some(RowChange::Delete { old: OldRow::Identity(new) })
            }
            update @ RowChange::Update { .. } => Some(update),
            RowChange::Insert { .. } | RowChange::Delete { .. } | RowChange::Mark { .. } => None,
        })
    }
}

/// An error of the source's is one of its connection; what it sent is about the table.
fn reread_error(table: &QualifiedName, error: RereadError) -> PipelineError {
    match error {
        RereadError::Source(source) => PipelineError::Query {
            side: Side::Source,
            doing: "reading a row that entered a filter",
            source,
        },
        other => PipelineError::Apply(ApplyError::Reread { table: table.clone(), source: other }),
    }
}

/// A planning error gets the position at which it was met.
fn at_commit(error: PipelineError, commit_lsn: Lsn) -> PipelineError {
    match error {
        PipelineError::Schema { table, message, .. } => {
            PipelineError::Schema { table, message, lsn: Some(commit_lsn) }
        }
        other => other,
    }
}
