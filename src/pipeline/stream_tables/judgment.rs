//! What a description of a table comes to: its changes go on, or the stream has to begin anew for it.
//!
//! The description is of the transaction's time, both catalogs are of now, and the record is of the last
//! look. Nothing is judged before the source's catalog shows what the transaction did.

use std::sync::Arc;

use super::StreamTables;
use super::names::Counted;
use super::table::{Deletes, Followed, StreamTable};
use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::TableRecord;
use crate::model::finding::Side;
use crate::model::table::{Table, TableId};
use crate::pg::catalog::shapes::{self, TableShape};
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::drift::decide::{Case, Decision, Sight, decide, resync_text};
use crate::pipeline::drift::judge::{first_look, judge};
use crate::pipeline::drift::renamed::{self, RENAMED};
use crate::pipeline::drift::{Follow, Looks};
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::TablePlan;
use crate::pipeline::visible::become_visible;

/// What a description came to.
#[derive(Debug)]
pub enum Resolution {
    Known(Arc<StreamTable>),
    /// The stream has to begin anew for it.
    Restart(Restart),
}

/// What is to be done between two streams, once all before is applied.
#[derive(Debug)]
pub enum Restart {
    /// The destination follows the source's change.
    Follow(Box<Follow>),
    /// A column does not travel in binary: from the transaction at this position on, as text.
    AsText { commit_lsn: Lsn },
    /// Nothing: with all before applied, the table is judged again.
    LookAgain,
}

impl StreamTables {
    pub(super) async fn judge(
        &mut self,
        table: &Arc<Table>,
        commit_lsn: Lsn,
    ) -> Result<Resolution, PipelineError> {
        let Some(record) = self.record(table) else {
            tracing::debug!(table = %table.name, "published but not selected: left aside");
            return Ok(ignored());
        };
        if let Some(resolution) = self.judge_by_record(table, &record, commit_lsn)? {
            return Ok(resolution);
        }
        self.wait_until_visible(table).await?;
        let shapes = shapes::shapes(self.planner.source(), &[table.id.0]).await;
        let shapes = shapes.map_err(PipelineError::catalog(Side::Source))?;
        let Some(present) = shapes.get(&table.id.0) else { return Ok(ignored_as_gone(table)) };
        let known = known_shape(&record, present, &self.looks, commit_lsn);
        let drift = judge(&known, &table.columns, present);
        if drift.is_none()
            && let Some((described, plan)) = self.known.get(&table.id)
            && described == table
            && matches!(**plan, StreamTable::Followed(_))
        {
            return Ok(Resolution::Known(Arc::clone(plan)));
        }
        if !drift.is_none() {
            self.planner.look_again(table.id);
        }
        let Some(outline) = self.planner.outline(table).await? else {
            return Ok(ignored_as_gone(table));
        };
        if !drift.is_none() {
            let case = Case {
                settings: self.planner.settings(),
                source: self.planner.source(),
                destination: self.planner.destination(),
                record: &record,
                known: &known,
                outline: &outline,
                drift: &drift,
                sight: self.sight(table.id, commit_lsn),
            };
            match decide(case).await? {
                Decision::GoOn => {}
                Decision::Follow(follow) => {
                    return Ok(Resolution::Restart(Restart::Follow(follow)));
                }
                Decision::LookAgain => return Ok(Resolution::Restart(Restart::LookAgain)),
            }
        }
        let plan = self.planner.plan_outlined(&table.name, outline)?;
        if self.is_binary && !plan.is_stream_binary {
            return Ok(Resolution::Restart(Restart::AsText { commit_lsn }));
        }
        Ok(Resolution::Known(Arc::new(self.follow(table, &record, plan))))
    }

    /// What the record says by itself; none where the table's columns have to be looked at.
    fn judge_by_record(
        &self,
        table: &Table,
        record: &TableRecord,
        commit_lsn: Lsn,
    ) -> Result<Option<Resolution>, PipelineError> {
        if !self.scope.has(record) {
            tracing::debug!(table = %table.name, "its copy has these changes, or another stream");
            return Ok(Some(ignored()));
        }
        if let Some(copied_lsn) = record.copied_lsn.filter(|copied_lsn| commit_lsn < *copied_lsn) {
            return Ok(Some(Resolution::Known(Arc::new(StreamTable::Copied { copied_lsn }))));
        }
        if record.source_oid == Some(RENAMED) {
            return Ok(Some(ignored()));
        }
        if record.source != table.name {
            let mark = renamed::mark(record, &table.name);
            return Ok(Some(Resolution::Restart(Restart::Follow(Box::new(mark)))));
        }
        if record.source_oid.is_some_and(|oid| oid != table.id.0) {
            let message = "is another table than the one that was copied: it was dropped or renamed, and made anew under its name";
            return Err(schema_error(&table.name, resync_text(&table.name, message)));
        }
        Ok(None)
    }

    /// A catalog without what the transaction did to the table would be older than the description, and
    /// all is judged as if it were younger.
    async fn wait_until_visible(&self, table: &Arc<Table>) -> Result<(), PipelineError> {
        let shown = become_visible(self.planner.source(), &[self.xid]).await;
        if shown.map_err(PipelineError::catalog(Side::Source))? {
            return Ok(());
        }
        let message = "was described by a transaction whose commit the source does not show yet: does it wait for a synchronous standby?";
        Err(schema_error(&table.name, message.to_owned()))
    }

    /// The record of the table's name, or else of the table under another name; none for one that is
    /// not selected.
    fn record(&self, table: &Arc<Table>) -> Option<TableRecord> {
        let of_name = self.planner.record(&table.name);
        let of_table = || {
            let mut records = self.planner.records();
            records.find(|record| record.source_oid == Some(table.id.0))
        };
        of_name.or_else(of_table).cloned()
    }

    fn sight(&self, table: TableId, commit_lsn: Lsn) -> Sight {
        let was_followed = self
            .known
            .get(&table)
            .is_some_and(|(_, known)| matches!(**known, StreamTable::Followed(_)));
        match was_followed {
            false => Sight::First,
            true if self.first_commit_lsn == Some(commit_lsn) => Sight::SameTransaction,
            true => Sight::Later,
        }
    }

    fn follow(&mut self, table: &Arc<Table>, record: &TableRecord, plan: TablePlan) -> StreamTable {
        let TablePlan { transform, mut target, source_equalities, .. } = plan;
        if let Some(remember) = self.scope.partial.get(&table.name) {
            target = target.into_partial(remember.clone());
        }
        let is_filtered = transform.program().is_some_and(|program| program.has_filter());
        let name = table.name.clone();
        // Without a key each change is what it means.
        let expects_missing = is_filtered && transform.table().has_key();
        self.names.insert(table.id, Counted { name, expects_missing });
        let policy = target.policy;
        self.targets.register(Arc::clone(transform.table()), Arc::new(target));
        self.rereader.register(Arc::clone(&transform), source_equalities);
        let on_delete = match transform.mark() {
            Some(mark) => Deletes::Marked(mark),
            None if self.planner.settings().keeps_deleted(&table.name) => Deletes::Left,
            None => Deletes::Followed,
        };
        StreamTable::Followed(Box::new(Followed {
            source: table.name.clone(),
            transform,
            policy,
            copied_lsn: record.copied_lsn.unwrap_or(Lsn::ZERO),
            on_truncate: self.planner.settings().on_truncate(&table.name),
            on_delete,
        }))
    }
}

/// What is known of the table's columns, as well as it can be for this transaction.
fn known_shape(
    record: &TableRecord,
    present: &TableShape,
    looks: &Looks,
    commit_lsn: Lsn,
) -> SourceShape {
    let known = match &record.source_shape {
        Some(shape) => shape.clone(),
        None => first_look(&record.known_columns, present),
    };
    let oid = record.source_oid.unwrap_or_default();
    looks.moved_on(oid, &known, commit_lsn).unwrap_or(known)
}

/// The last changes of a table that was dropped: nobody can say any more what they mean there.
fn ignored_as_gone(table: &Table) -> Resolution {
    tracing::warn!(table = %table.name, "the table is gone from the source: its last changes are let go by");
    ignored()
}

fn ignored() -> Resolution {
    Resolution::Known(Arc::new(StreamTable::Ignored))
}

fn schema_error(table: &QualifiedName, message: String) -> PipelineError {
    PipelineError::Schema { table: table.clone(), message, lsn: None }
}
