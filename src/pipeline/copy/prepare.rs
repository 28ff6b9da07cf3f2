//! Before the tables' first rows: the destination's tables exist, are ours to fill, and are recorded
//! as such.
//!
//! However many tables there are, each catalog is asked a fixed number of times, and tables are
//! created [`TABLES_PER_TRANSACTION`] at a time: two thousand small tables spend their time on rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::create::{DestinationShape, creation};
use super::parts::{self, Part};
use super::builds::{self, Built};
use super::{Completion, CopyJob};
use crate::apply::statement;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::config::settings::OnExisting;
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, RelationKind, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::{Planner, TablePlan, describe};
use crate::snapshot::Chunk;
use crate::snapshot::copy_out::CopyOutPlan;
use crate::transform;

/// Tables created in one transaction. Each keeps up to six locks (table, sequence, TOAST, indexes,
/// type) until its end; a server's lock table holds 6,400 by default.
const TABLES_PER_TRANSACTION: usize = 100;

/// A table that we created is emptied once more to be loaded frozen, from this size on: smaller
/// ones cost more to truncate than VACUUM will ever spend on them.
const FROZEN_BYTES_MIN: u64 = 1 << 20;

/// Heaps from this size on have each index built by itself, by any worker. Below, all of them take less
/// time than it takes to read the rows again from the disk's cache.
const BUILT_APART_BYTES_MIN: u64 = 16 << 20;

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

/// What one table's destination needs.
#[derive(Debug)]
struct Step {
    record: TableRecord,
    /// Creates the table.
    create_sql: Vec<String>,
    /// Built once all rows are there.
    completion: Completion,
    emptying: Emptying,
    is_partitioned: bool,
}

impl Step {
    /// The table in a TRUNCATE. Tables that inherit from it are not part of it; partitions are.
    fn truncated(&self) -> String {
        let only = if self.is_partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.record.destination.sql())
    }
}

/// What a source table is read from.
#[derive(Clone, Copy, Debug)]
struct Heaps {
    /// One chunk is all of it.
    is_single: bool,
    is_one_heap: bool,
}

impl Heaps {
    fn new(parts: &[Part]) -> Heaps {
        Heaps { is_single: parts::is_single(parts), is_one_heap: parts.len() == 1 }
    }
}

/// Who empties a table, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emptying {
    /// It is empty, and stays as it is.
    No,
    /// Before the copy: its chunks arrive in several transactions, or foreign keys tie it to
    /// others that have to be emptied with it.
    Before,
    /// The transaction that loads it.
    WithLoad,
    /// The transaction that loads it, row by row: who reads meanwhile sees the old rows.
    Replace,
}

impl Preparation<'_> {
    /// Creates or empties the tables' destinations, records them, and plans their copies.
    pub async fn prepare(&self, tables: &[TableInfo]) -> Result<Vec<CopyJob>, PipelineError> {
        let mut present = self.planner.destination_tables(tables).await?;
        let mut with_rows = self.with_rows(tables, &present).await?;
        let mut parts = parts::read(self.context, self.source, tables).await?;
        let mut steps = Vec::with_capacity(tables.len());
        for info in tables {
            let name = self.context.settings.destination_name(&info.name);
            let found = present.remove(&name);
            let heaps = Heaps::new(parts.get(&info.oid).map_or(&[][..], Vec::as_slice));
            let has_rows = with_rows.remove(&name);
            steps.push(self.step(info, found.as_ref(), has_rows, heaps)?);
        }
        self.begin(&steps).await?;
        let plans = self.planner.plan_catalog(tables).await?;
        let mut jobs = Vec::with_capacity(tables.len());
        for ((info, step), plan) in tables.iter().zip(steps).zip(plans) {
            let mut parts = parts.remove(&info.oid).unwrap_or_default();
            if step.emptying == Emptying::Replace {
                // One transaction replaces all rows.
                parts.iter_mut().for_each(|part| part.chunks = vec![Chunk::WHOLE]);
            }
            let bytes = parts.iter().map(|part| part.heap_bytes).sum();
            self.context.board.snapshot_expected(&info.name, info.estimated_rows, bytes);
            jobs.push(job(step, plan, parts));
        }
        Ok(jobs)
    }

    /// Destination tables that hold rows which no record of ours explains.
    async fn with_rows(
        &self,
        tables: &[TableInfo],
        present: &HashMap<QualifiedName, TableInfo>,
    ) -> Result<HashSet<QualifiedName>, PipelineError> {
        let unexplained: Vec<QualifiedName> = tables
            .iter()
            .filter(|info| self.earlier(info).is_none())
            .map(|info| self.context.settings.destination_name(&info.name))
            .filter(|name| present.contains_key(name))
            .collect();
        let found = catalog::tables_with_rows(self.destination, &unexplained).await;
        let found = found.map_err(PipelineError::catalog(Side::Destination))?;
        Ok(found.into_iter().collect())
    }

    /// The table's record. It explains the rows of the table that it names and of no other.
    fn earlier(&self, info: &TableInfo) -> Option<&TableRecord> {
        let name = self.context.settings.destination_name(&info.name);
        self.planner.record(&info.name).filter(|record| record.destination == name)
    }

    fn step(
        &self,
        info: &TableInfo,
        found: Option<&TableInfo>,
        has_rows: bool,
        Heaps { is_single, is_one_heap }: Heaps,
    ) -> Result<Step, PipelineError> {
        let settings = &self.context.settings;
        let name = settings.destination_name(&info.name);
        let earlier = self.earlier(info);
        let is_created = match (found, earlier) {
            (None, _) => true,
            (Some(_), Some(record)) => record.created,
            (Some(_), None) => false,
        };
        if has_rows && settings.on_existing(&info.name) == OnExisting::Refuse {
            return Err(refused(&name));
        }
        let transform = self.planner.transform(&Arc::new(describe(info)), info, found)?;
        let creation = creation(info, &name, &transform, self.shape, found);
        let mut create_sql = Vec::new();
        let mut completion = Completion::default();
        if is_created {
            for note in creation.table.notes.iter().chain(&creation.constraints.notes) {
                tracing::info!(table = %name, note, "created table differs from the source's");
            }
            if found.is_none() {
                create_sql = creation.table.statements;
            }
            if settings.snapshot.defer_indexes {
                completion.keys = creation.constraints.statements;
            } else {
                create_sql.extend(creation.constraints.statements);
            }
        }
        let record = TableRecord {
            source: info.name.clone(),
            destination: name.clone(),
            state: match earlier {
                Some(record) if record.state == CopyState::Replacing => CopyState::Replacing,
                _ => CopyState::Copying,
            },
            copied_lsn: None,
            created: is_created,
            fingerprint: transform::fingerprint(settings.table(&info.name), &name),
            known_columns: info.columns.iter().map(|column| column.name.clone()).collect(),
            rows: 0,
            bytes: 0,
            copied_at: None,
            source_oid: Some(info.oid),
            published: None,
            partitions: None,
            finished: true,
        };
        let emptying = match found {
            Some(found) if earlier.is_some() || has_rows => {
                let is_alone = found.kind == RelationKind::Table && !found.has_foreign_keys;
                let is_replaced = record.state == CopyState::Replacing && is_one_heap;
                if is_replaced {
                    Emptying::Replace
                } else if is_single && is_alone {
                    Emptying::WithLoad
                } else {
                    Emptying::Before
                }
            }
            None if is_single && info.heap_bytes >= FROZEN_BYTES_MIN => Emptying::WithLoad,
            _ => Emptying::No,
        };
        let is_partitioned = found.is_some_and(|found| found.kind == RelationKind::Partitioned);
        Ok(Step { record, create_sql, completion, emptying, is_partitioned })
    }

    /// Creates or empties the tables and records them, in guarded transactions.
    async fn begin(&self, steps: &[Step]) -> Result<(), PipelineError> {
        let (emptied, others): (Vec<&Step>, Vec<&Step>) =
            steps.iter().partition(|step| step.emptying == Emptying::Before);
        if !emptied.is_empty() {
            // One statement for all: tables that foreign keys tie together go only together.
            let names: Vec<String> = emptied.iter().map(|step| step.truncated()).collect();
            let truncate = format!("TRUNCATE {}", names.join(", "));
            let truncated = match self.transaction(std::iter::once(truncate), &emptied).await {
                Err(error) if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) => {
                    self.transaction(deletes(&emptied), &emptied).await
                }
                other => other,
            };
            truncated.map_err(|error| of_table(emptied[0], error))?;
        }
        for batch in others.chunks(TABLES_PER_TRANSACTION) {
            if self.transaction(std::iter::empty(), batch).await.is_ok() {
                continue;
            }
            // One of them failed: each for itself tells which.
            for step in batch {
                self.transaction(std::iter::empty(), std::slice::from_ref(step))
                    .await
                    .map_err(|error| of_table(step, error))?;
            }
        }
        Ok(())
    }

    async fn transaction(
        &self,
        first: impl Iterator<Item = String>,
        steps: &[&Step],
    ) -> Result<(), tokio_postgres::Error> {
        let sql = &self.context.checkpoint;
        let mut all = vec![sql.guarded_begin_text(self.epoch)];
        all.extend(first);
        for step in steps {
            all.extend(step.create_sql.iter().cloned());
            all.push(tables::write_text(&sql.schema, &sql.pipeline, &step.record));
        }
        all.push("COMMIT".to_owned());
        let done = self.destination.batch_execute(&all.join("; ")).await;
        if done.is_err() {
            // The transaction is still open on this connection; its error is what counts.
            let _ = self.destination.batch_execute("ROLLBACK").await;
        }
        done
    }
}

/// Empties tables that another one, which keeps its rows, refers to: no TRUNCATE can. The other's
/// references hold again once the copy is done; the replica role does not ask in between.
fn deletes<'a>(steps: &'a [&Step]) -> impl Iterator<Item = String> + 'a {
    let unchecked = "SET LOCAL session_replication_role = replica".to_owned();
    let delete = |step: &&Step| format!("DELETE FROM {}", step.truncated());
    std::iter::once(unchecked).chain(steps.iter().map(delete))
}

fn of_table(step: &Step, source: tokio_postgres::Error) -> PipelineError {
    PipelineError::Copy {
        table: step.record.source.clone(),
        source: Box::new(PipelineError::Query {
            side: Side::Destination,
            doing: "preparing a table for its copy",
            source,
        }),
    }
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

fn job(step: Step, plan: TablePlan, parts: Vec<Part>) -> CopyJob {
    let is_binary = plan.is_copy_binary;
    let target = &plan.target;
    let columns = plan.transform.copy_columns();
    // The COPY's columns are the target's: what the destination generates itself is left out.
    let select: Vec<String> = target
        .columns
        .iter()
        .map(|column| columns[column.value_index].source_sql.clone())
        .collect();
    let is_plain = columns.iter().all(|column| column.is_bare);
    let mask: Vec<usize> = (0..target.columns.len()).collect();
    let name = target.name.sql();
    let copy_in_sql = match step.emptying {
        Emptying::WithLoad => {
            let load = statement::copy_in_frozen(&name, target, &mask, is_binary);
            format!("TRUNCATE ONLY {name}; {load}")
        }
        Emptying::Replace => {
            let load = statement::copy_in(&name, target, &mask, is_binary);
            format!("DELETE FROM {}; {load}", step.truncated())
        }
        Emptying::No | Emptying::Before => statement::copy_in(&name, target, &mask, is_binary),
    };
    let out = |part: Part| {
        let plan =
            CopyOutPlan { relation: part.relation, columns: select.clone(), is_plain, is_binary };
        (plan, part.oid, part.chunks)
    };
    let heap_bytes = parts.iter().map(|part| part.heap_bytes).sum();
    let built = Built {
        table: &name,
        oid: plan.destination.oid,
        is_partitioned: target.is_partitioned,
        is_small: heap_bytes < BUILT_APART_BYTES_MIN,
    };
    let builds = builds::plan(&step.completion, built);
    CopyJob {
        record: step.record,
        heap_bytes,
        transform: Arc::clone(&plan.transform),
        parts: parts.into_iter().map(out).collect(),
        copy_in_sql,
        is_binary,
        builds,
    }
}
