//! How a table comes to hold the copy's rows and, unless it is merged into, no others.

use std::collections::BTreeSet;

use tokio_postgres::error::SqlState;

use super::begin::of_table;
use super::prepare::Preparation;
use super::step::Step;
use crate::apply::mapping::Mapping;
use crate::apply::merge::mark_all;
use crate::apply::preflight;
use crate::config::settings::OnExisting;
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, RelationKind, TableInfo};
use crate::pg::ident::QualifiedName;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::TablePlan;

/// A table that we created is emptied once more to be loaded frozen, from this size on: smaller
/// ones cost more to truncate than VACUUM will ever spend on them.
const FROZEN_BYTES_MIN: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    /// It is empty.
    Load,
    /// Emptied before the copy: its chunks arrive in several transactions, or foreign keys tie it to
    /// others that have to be emptied with it.
    EmptyBefore,
    /// The transaction that loads it empties it.
    EmptyWithLoad,
    /// The transaction that loads it removes its rows one by one: who reads meanwhile sees the old
    /// ones.
    Replace,
    /// Its rows stay; each chunk is upserted.
    Merge,
    /// The same in a table of ours, where rows stay that the source has deleted.
    Renew,
    /// It holds a part of this copy; the chunks that are missing are upserted.
    Resume,
}

/// What decides it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// The destination's table as it is.
    pub(super) table: Option<&'a TableInfo>,
    /// What it holds is a part of this copy.
    pub(super) is_resumed: bool,
    /// Whatever it holds, an earlier copy of ours has put there.
    pub(super) is_ours: bool,
    /// It holds rows that are not ours.
    pub(super) has_rows: bool,
    /// One chunk is the whole table.
    pub(super) is_single: bool,
    /// It was copied before, and is to be copied again.
    pub(super) is_again: bool,
    /// Rows stay that the source has deleted.
    pub(super) keeps_deleted: bool,
    /// One heap is all of it.
    pub(super) is_one_heap: bool,
    /// Other source tables have rows in the table, too: it is never emptied as a whole.
    pub(super) is_shared: bool,
    /// The source's heap.
    pub(super) heap_bytes: u64,
    pub(super) on_existing: OnExisting,
}

impl Filling {
    /// `None`: its rows are in the way.
    pub(super) fn of(found: Found<'_>) -> Option<Filling> {
        if found.is_resumed {
            return Some(Filling::Resume);
        }
        Some(match found.table {
            Some(_) if found.has_rows && found.on_existing == OnExisting::Refuse => return None,
            Some(_) if found.has_rows && found.on_existing == OnExisting::Merge => Filling::Merge,
            Some(_) if found.is_ours && found.is_again && found.keeps_deleted => Filling::Renew,
            // An earlier copy stays readable until this one is committed.
            Some(_) if found.is_ours && found.is_again && found.is_one_heap => Filling::Replace,
            Some(table) if found.is_ours || found.has_rows => {
                let is_alone = table.kind == RelationKind::Table && !table.has_foreign_keys;
                if found.is_single && found.is_shared {
                    Filling::Replace
                } else if found.is_single && is_alone {
                    Filling::EmptyWithLoad
                } else {
                    Filling::EmptyBefore
                }
            }
            None if found.is_single && !found.is_shared && found.heap_bytes >= FROZEN_BYTES_MIN => {
                Filling::EmptyWithLoad
            }
            _ => Filling::Load,
        })
    }
}

/// Rows of nobody knows whom, and no word what to do about them.
pub(super) fn refused(name: &QualifiedName) -> PipelineError {
    let finding = Finding::error(
        Side::Destination,
        format!("table {}", name.sql()),
        "it holds rows that this pipeline did not copy (on_existing is \"refuse\")",
    );
    PipelineError::Preflight(vec![finding.remedy(format!(
        "TRUNCATE {}; or set on_existing = \"truncate\" or \"merge\" for the table",
        name.sql()
    ))])
}

/// What a copy into a table where deleted rows stay tells them by.
pub(super) fn require_renewable(mapping: &Mapping) -> Result<(), PipelineError> {
    let Err(problem) = &mapping.arbiter else { return Ok(()) };
    let message = format!(
        "it is to be copied again, rows stay in it that the source has deleted (on_delete), and they cannot be \
         told apart from those that come: {problem}"
    );
    let object = format!("table {}", mapping.destination.sql());
    let finding = Finding::error(Side::Destination, object, message);
    Err(PipelineError::Preflight(vec![finding.remedy(
        "give it a unique index on its key; or have its rows removed, deleted ones included: sync-agent resync --truncate --table …",
    )]))
}

/// A merge needs an index that says which row is which.
pub(super) fn require_arbiter(mapping: &Mapping) -> Result<(), PipelineError> {
    match &mapping.arbiter {
        Ok(_) => Ok(()),
        Err(problem) => Err(PipelineError::Preflight(vec![preflight::no_arbiter_finding(
            &mapping.destination,
            &mapping.key,
            problem,
        )])),
    }
}

impl Preparation<'_> {
    /// Rows of tables that we do not copy stand on those that we are told to remove: nobody has
    /// told us to remove them, too.
    pub(super) async fn refuse_referred(&self, steps: &[Step]) -> Result<(), PipelineError> {
        let emptied: Vec<QualifiedName> = steps
            .iter()
            .filter(|step| step.removes_others_rows)
            .map(|step| step.record.destination.clone())
            .collect();
        let mut ours: BTreeSet<QualifiedName> =
            steps.iter().map(|step| step.record.destination.clone()).collect();
        ours.extend(self.planner.recorded_destinations().cloned());
        let found = preflight::referrer_findings(self.destination, &emptied, &ours).await;
        let found = found.map_err(PipelineError::catalog(Side::Destination))?;
        if found.is_empty() { Ok(()) } else { Err(PipelineError::Preflight(found)) }
    }

    /// Empties tables and records them.
    pub(super) async fn empty(&self, steps: &[&Step]) -> Result<(), PipelineError> {
        let Some(first) = steps.first() else { return Ok(()) };
        // One statement for all: tables that foreign keys tie together go only together.
        let names: Vec<String> = steps.iter().map(|step| step.truncated()).collect();
        let truncate = format!("TRUNCATE {}", names.join(", "));
        if steps.iter().any(|step| step.own_rows.is_some()) {
            let deleted = self.transaction(self.deletes(steps), steps).await;
            return deleted.map_err(|error| of_table(first, error));
        }
        let truncated = match self.transaction(std::iter::once(truncate), steps).await {
            Err(error) if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) => {
                self.transaction(self.deletes(steps), steps).await
            }
            other => other,
        };
        truncated.map_err(|error| of_table(first, error))
    }

    /// Empties tables that another one, which keeps its rows, refers to: no TRUNCATE can. Where those
    /// rows are ours their references hold again once the copy is done, and the replica role does
    /// not ask in between.
    fn deletes(&self, steps: &[&Step]) -> impl Iterator<Item = String> {
        let deletes: Vec<String> = steps.iter().map(|step| step.delete_sql()).collect();
        self.unchecked().into_iter().chain(deletes)
    }

    /// Marks all rows of a table whose copy comes in several transactions: the copy clears those that the
    /// source still has.
    pub(super) async fn mark_before(
        &self,
        step: &Step,
        plan: &TablePlan,
    ) -> Result<(), PipelineError> {
        let Some(mark) = mark_all(&plan.target) else { return Ok(()) };
        let statements = self.unchecked().into_iter().chain(std::iter::once(mark));
        let marked = self.transaction(statements, &[]).await;
        marked.map_err(|error| of_table(step, error))
    }

    /// Without the foreign keys' and other triggers, where our role may.
    fn unchecked(&self) -> Option<String> {
        let unchecked = "SET LOCAL session_replication_role = replica".to_owned();
        (!self.planner.keeps_order()).then_some(unchecked)
    }

    /// Removes what a copy that was cut off has left of its keys, so that they are planned anew.
    pub(super) async fn remove_unfinished_keys(
        &self,
        tables: &[TableInfo],
    ) -> Result<(), PipelineError> {
        let made: Vec<QualifiedName> = tables
            .iter()
            .filter_map(|info| self.earlier(info))
            .filter(|record| record.created)
            .map(|record| record.destination.clone())
            .collect();
        let left = catalog::loose_indexes(self.destination, &made, super::builds::MARKER).await;
        let left = left.map_err(PipelineError::catalog(Side::Destination))?;
        if left.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = left.iter().map(QualifiedName::sql).collect();
        let drop = format!("DROP INDEX {}", names.join(", "));
        let dropped = self.transaction(std::iter::once(drop), &[]).await;
        dropped.map_err(PipelineError::query(Side::Destination, "removing unfinished keys"))
    }
}
