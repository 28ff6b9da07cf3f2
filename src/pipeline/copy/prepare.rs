//! Before a table's first row: the destination's table exists, is empty, and is recorded as ours to
//! fill.

use std::sync::Arc;

use super::CopyJob;
use super::create::{DestinationShape, creation};
use crate::apply::statement;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::config::settings::OnExisting;
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, RelationKind, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::{Planner, TablePlan, describe};
use crate::snapshot::copy_out::CopyOutPlan;
use crate::snapshot::{Chunk, plan_chunks};
use crate::transform;

/// Prepares tables for their copy.
#[derive(Clone, Copy, Debug)]
pub struct Preparation<'a> {
    pub context: &'a Context,
    pub source: &'a Client,
    pub destination: &'a Client,
    pub planner: &'a Planner,
    pub shape: &'a DestinationShape,
    pub epoch: i64,
}

impl Preparation<'_> {
    /// Creates or empties the table's destination, records it, and plans its copy.
    pub async fn prepare(&self, info: &TableInfo) -> Result<CopyJob, PipelineError> {
        let settings = &self.context.settings;
        let name = settings.destination_name(&info.name);
        // A record explains the rows of the table that it names and of no other.
        let earlier = self.planner.record(&info.name).filter(|record| record.destination == name);
        let found = self.find(&name).await?;
        let is_created = match (&found, earlier) {
            (None, _) => true,
            (Some(_), Some(record)) => record.created,
            (Some(_), None) => false,
        };
        let description = Arc::new(describe(info));
        let transform = self.planner.transform(&description, info, found.as_ref())?;
        let creation = creation(info, &name, &transform, self.shape, found.as_ref());
        let mut statements = Vec::new();
        let mut finish_sql = Vec::new();
        match &found {
            None => statements.extend(creation.table.statements),
            // Rows of a copy of ours that did not finish.
            Some(_) if earlier.is_some() => statements.push(empty_sql(&name)),
            Some(_) => statements.extend(self.empty_existing(info, &name).await?),
        }
        if is_created {
            for note in creation.table.notes.iter().chain(&creation.constraints.notes) {
                tracing::info!(table = %name, note, "created table differs from the source's");
            }
            if settings.snapshot.defer_indexes {
                finish_sql = creation.constraints.statements;
            } else {
                statements.extend(creation.constraints.statements);
            }
        }
        let record = TableRecord {
            source: info.name.clone(),
            destination: name.clone(),
            state: CopyState::Copying,
            copied_lsn: None,
            created: is_created,
            fingerprint: transform::fingerprint(settings.table(&info.name), &name),
            known_columns: info.columns.iter().map(|column| column.name.clone()).collect(),
            rows: 0,
            bytes: 0,
            copied_at: None,
        };
        begin_copy(self.context, self.destination, statements, &record, self.epoch).await?;
        let plan = self.planner.plan_catalog(info).await?;
        job(self.context, self.source, info, record, plan, finish_sql).await
    }

    async fn find(&self, name: &QualifiedName) -> Result<Option<TableInfo>, PipelineError> {
        let names = [name.clone()];
        let found = catalog::tables(self.destination, TableFilter::Names(&names)).await;
        Ok(found.map_err(PipelineError::catalog(Side::Destination))?.pop())
    }

    /// What makes room in a table that was there before us.
    async fn empty_existing(
        &self,
        info: &TableInfo,
        name: &QualifiedName,
    ) -> Result<Option<String>, PipelineError> {
        let has_rows = catalog::has_rows(self.destination, name).await;
        if !has_rows.map_err(PipelineError::catalog(Side::Destination))? {
            return Ok(None);
        }
        match self.context.settings.on_existing(&info.name) {
            OnExisting::Truncate => Ok(Some(empty_sql(name))),
            OnExisting::Refuse => Err(refused(name)),
        }
    }
}

fn empty_sql(name: &QualifiedName) -> String {
    format!("TRUNCATE {}", name.sql())
}

fn refused(name: &QualifiedName) -> PipelineError {
    let finding = Finding::error(
        Side::Destination,
        format!("table {}", name.sql()),
        "it holds rows that this pipeline did not copy (on_existing is \"refuse\")",
    );
    PipelineError::Preflight(vec![finding.remedy(format!(
        "TRUNCATE {}; or set on_existing = \"truncate\" for the table",
        name.sql()
    ))])
}

/// Creates or empties the table and records it, in one guarded transaction.
async fn begin_copy(
    context: &Context,
    destination: &Client,
    statements: Vec<String>,
    record: &TableRecord,
    epoch: i64,
) -> Result<(), PipelineError> {
    let sql = &context.checkpoint;
    let mut all = vec![sql.guarded_begin_text(epoch)];
    all.extend(statements);
    all.push(tables::write_text(&sql.schema, &sql.pipeline, record));
    all.push("COMMIT".to_owned());
    let done = destination.batch_execute(&all.join("; ")).await;
    if let Err(error) = done {
        // The transaction is still open on this connection; its error is what counts.
        let _ = destination.batch_execute("ROLLBACK").await;
        return Err(PipelineError::Copy {
            table: record.source.clone(),
            source: Box::new(PipelineError::Query {
                side: Side::Destination,
                doing: "preparing a table for its copy",
                source: error,
            }),
        });
    }
    Ok(())
}

async fn job(
    context: &Context,
    source: &Client,
    info: &TableInfo,
    record: TableRecord,
    plan: TablePlan,
    finish_sql: Vec<String>,
) -> Result<CopyJob, PipelineError> {
    let is_binary = plan.is_copy_binary;
    let target = &plan.target;
    let columns = plan.transform.copy_columns();
    // The COPY's columns are the target's: what the destination generates itself is left out.
    let written: Vec<usize> = target.columns.iter().map(|column| column.value_index).collect();
    let select: Vec<String> =
        written.iter().map(|&index| columns[index].source_sql.clone()).collect();
    let is_plain = columns.iter().all(|column| column.is_bare);
    let mask: Vec<usize> = (0..target.columns.len()).collect();
    let copy_in_sql = statement::copy_in(&target.name.sql(), target, &mask, is_binary);
    let mut parts = Vec::new();
    let mut heap_bytes_total = 0;
    for (relation, oid, heap_bytes, is_heap) in relations(source, info).await? {
        heap_bytes_total += heap_bytes;
        let chunks = if is_heap {
            plan_chunks(heap_bytes, context.settings.snapshot.chunk_bytes)
        } else {
            vec![Chunk::WHOLE]
        };
        let plan = CopyOutPlan { relation, columns: select.clone(), is_plain, is_binary };
        parts.push((plan, oid, chunks));
    }
    context.board.snapshot_expected(&info.name, info.estimated_rows, heap_bytes_total);
    Ok(CopyJob {
        record,
        info: info.clone(),
        transform: Arc::clone(&plan.transform),
        parts,
        copy_in_sql,
        is_binary,
        finish_sql,
    })
}

/// The heaps behind a table: itself, or the leaves of a partitioned one.
async fn relations(
    source: &Client,
    info: &TableInfo,
) -> Result<Vec<(QualifiedName, u32, u64, bool)>, PipelineError> {
    if info.kind != RelationKind::Partitioned {
        return Ok(vec![(info.name.clone(), info.oid, info.heap_bytes, info.is_heap)]);
    }
    let asking = || PipelineError::catalog(Side::Source);
    let leaves = catalog::partition_leaves(source, &[info.oid]).await.map_err(asking())?;
    let oids: Vec<u32> = leaves.iter().map(|leaf| leaf.oid).collect();
    let tables = catalog::tables(source, TableFilter::Oids(&oids)).await.map_err(asking())?;
    Ok(tables.into_iter().map(|t| (t.name, t.oid, t.heap_bytes, t.is_heap)).collect())
}
