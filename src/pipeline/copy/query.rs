//! A query's result, as one table of the copy: read under the snapshot by one COPY, loaded by one
//! transaction that also makes the table, or removes its rows, or merges into it. Whoever reads it
//! meanwhile sees the old rows; whatever fails leaves them.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::builds::Builds;
use super::{CopyJob, Shared, TableJob, finish, worker};
use crate::apply::mapping::Mapping;
use crate::apply::merge::{STAGING, merge_sql};
use crate::apply::statement;
use crate::apply::target::{Circumstances, Target};
use crate::checkpoint::tables::TableRecord;
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::catalog::TableInfo;
use crate::pg::ident::{QualifiedName, identifier, identifiers};
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::is_binary_compatible;
use crate::pipeline::status::TableState;
use crate::transform::TransformPlan;
use crate::wire::{Session, WireError};

/// What happens to the destination's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fill {
    /// It is missing: the statement that makes it.
    Create(String),
    /// Its rows go.
    Replace,
    /// Its rows stay, but for those of the same key.
    Merge,
}

/// A query that was looked at on both sides.
#[derive(Debug)]
pub struct QueryPlan {
    /// Its record, as it will be once the rows are there.
    pub record: TableRecord,
    pub sql: String,
    /// The result, described like a table; its name is the query's, in no schema.
    pub result: TableInfo,
    pub destination: TableInfo,
    pub transform: TransformPlan,
    pub mapping: Mapping,
    pub fill: Fill,
    /// The key's columns; empty where none is named.
    pub key: Vec<String>,
}

/// What the job of a query has instead of heaps.
#[derive(Debug)]
pub(super) struct Reading {
    name: String,
    copy_out_sql: String,
    /// Says what is wrong with the keys that are loaded: `null`, `twice` or nothing.
    keys_sql: Option<String>,
    key: Vec<String>,
    /// The index that refuses a key twice, where one stands before the rows come.
    arbiter: Option<String>,
    is_created: bool,
}

impl QueryPlan {
    /// The job; it is loaded after those of lower levels.
    pub fn job(self, level: usize) -> CopyJob {
        let circumstances = Circumstances {
            keeps_order: false,
            has_further_columns: false,
            keeps_deleted: false,
            mark: None,
            own_rows: None,
        };
        let target = Target::new(&self.mapping, self.transform.table(), circumstances);
        let is_binary = is_binary_compatible(&self.transform, &self.mapping);
        let mask: Vec<usize> = (0..target.columns.len()).collect();
        let name = target.name.sql();
        let load = statement::copy_in(&name, &target, &mask, is_binary);
        let (mut merge, mut last) = (Vec::new(), Vec::new());
        let copy_in_sql = match &self.fill {
            Fill::Create(create) => {
                if !self.key.is_empty() {
                    let key = identifiers(self.key.iter().map(String::as_str));
                    last.push(format!("ALTER TABLE {name} ADD PRIMARY KEY ({key})"));
                }
                format!("{create}; {load}")
            }
            Fill::Replace => format!("DELETE FROM {}; {load}", target.rows_sql()),
            Fill::Merge => {
                let sql = merge_sql(&target, is_binary);
                merge = sql.merge;
                sql.copy_in
            }
        };
        let arbiter = self.mapping.arbiter.as_ref().ok().cloned();
        let query = Reading {
            name: self.record.source.name.clone(),
            copy_out_sql: self.copy_out_sql(&target, is_binary),
            keys_sql: self.keys_sql(&target, arbiter.is_some()),
            arbiter: arbiter.filter(|_| self.fill != Fill::Merge),
            is_created: matches!(self.fill, Fill::Create(_)),
            key: self.key,
        };
        CopyJob {
            record: self.record,
            bytes: 0,
            level,
            transform: Arc::new(self.transform),
            outputs: target.columns.iter().map(|column| column.value_index).collect(),
            parts: Vec::new(),
            heap_count: 0,
            copy_in_sql,
            merge,
            is_binary,
            is_resumed: false,
            is_renewed: false,
            query: Some(query),
            builds: Builds { apart: Vec::new(), last },
        }
    }

    /// Columns by name and type: what the query reads may have changed since it was looked at, and a
    /// result of another shape must fail.
    fn copy_out_sql(&self, target: &Target, is_binary: bool) -> String {
        let column = |index: usize| {
            let column = &self.result.columns[index];
            format!("q.{}::{}", identifier(&column.name), column.type_qualified.sql())
        };
        let columns: Vec<String> =
            target.columns.iter().map(|target| column(target.value_index)).collect();
        let format = if is_binary { "binary" } else { "text" };
        format!(
            "COPY (SELECT {} FROM (\n{}\n) AS q) TO STDOUT (FORMAT {format})",
            columns.join(", "),
            self.sql
        )
    }

    fn keys_sql(&self, target: &Target, has_arbiter: bool) -> Option<String> {
        // Where the key is built after the rows it says so itself.
        if self.key.is_empty() || matches!(self.fill, Fill::Create(_)) {
            return None;
        }
        let (rows, is_distinct) = match self.fill {
            Fill::Merge => (statement::staging_name(STAGING), false),
            _ => (target.rows_sql(), has_arbiter),
        };
        let nulls: Vec<String> =
            self.key.iter().map(|name| format!("{} IS NULL", identifier(name))).collect();
        let key = identifiers(self.key.iter().map(String::as_str));
        let twice = match is_distinct {
            true => String::new(),
            false => format!(
                " WHEN EXISTS (SELECT FROM {rows} GROUP BY {key} HAVING pg_catalog.count(*) > 1) \
                 THEN 'twice'"
            ),
        };
        Some(format!(
            "SELECT CASE WHEN EXISTS (SELECT FROM {rows} WHERE {}) THEN 'null'{twice} END",
            nulls.join(" OR ")
        ))
    }
}

/// Copies the result, whole, and records it as copied.
pub(super) async fn copy(
    shared: &Shared,
    table: &TableJob,
    source: &mut Session,
    destination: &mut Session,
) -> Result<(), PipelineError> {
    let Some(reading) = &table.job.query else { return Ok(()) };
    table.start();
    shared.show_state(&table.job, TableState::Copying);
    let loaded = load(shared, table, reading, source, destination).await;
    loaded.map_err(|error| match error {
        PipelineError::SnapshotGone | PipelineError::QueryResult { .. } => error,
        error => reading.key_error(&error).unwrap_or_else(|| PipelineError::QueryCopy {
            query: reading.name.clone(),
            source: Box::new(error),
        }),
    })
}

async fn load(
    shared: &Shared,
    table: &TableJob,
    reading: &Reading,
    source: &mut Session,
    destination: &mut Session,
) -> Result<(), PipelineError> {
    let job = &table.job;
    // By itself, so that what the query's own beginning fails with is not taken for the snapshot's end.
    // Names in it mean what they mean to others who connect like us.
    let begin = format!("{}; SET LOCAL search_path TO DEFAULT", shared.import_sql);
    source.execute(&begin).await.map_err(worker::snapshot_gone)?;
    let guard = shared.context.checkpoint.guarded_begin_text(shared.authority.epoch);
    let in_sql = format!("{guard}; {}", job.copy_in_sql);
    let (copy_out, copy_in) =
        tokio::join!(source.copy_out(&reading.copy_out_sql), destination.copy_in(&in_sql));
    let mut copy_out = copy_out.map_err(running())?;
    let mut copy_in = copy_in.map_err(worker::loading())?;
    let pumped = worker::pump(shared, job, &mut copy_out, &mut copy_in).await;
    let pumped = pumped.map_err(|error| match error {
        // It has seen rows: what a cast or a function says of them is not repeated.
        PipelineError::Wire { side: Side::Source, source, .. } => running()(source.reworded()),
        other => other,
    })?;
    end_reading(source).await?;
    let row_count = copy_in.finish().await.map_err(worker::loading())?;
    if row_count < pumped.row_count {
        tracing::warn!(query = %reading.name, read = pumped.row_count, kept = row_count, "the destination kept fewer rows than were copied");
    }
    if let Some(keys_sql) = &reading.keys_sql {
        let checking = PipelineError::wire(Side::Destination, "checking a query's key");
        let rows = destination.simple_query(keys_sql).await.map_err(checking)?;
        match rows.first().and_then(|row| row.first()?.as_deref()) {
            Some("null") => return Err(reading.has_null()),
            Some(_) => return Err(reading.has_key_twice()),
            None => {}
        }
    }
    worker::merge(job, destination).await?;
    failpoint::hit(failpoint::CHUNK_LOADED).await;
    table.add(row_count, pumped.byte_count);
    finish::in_this_transaction(shared, table, destination).await
}

fn running() -> impl FnOnce(WireError) -> PipelineError {
    PipelineError::wire(Side::Source, "running a query")
}

/// Ends the source's transaction. A table that was rewritten or made after the snapshot reads as empty,
/// without an error. Whatever the query has read is locked by now, so the file that the snapshot knows
/// must be the one of the present.
async fn end_reading(source: &mut Session) -> Result<(), PipelineError> {
    const SQL: &str = "SET LOCAL search_path = ''; \
         SELECT l.relation::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_locks l \
         LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation \
         WHERE l.locktype = 'relation' AND l.pid = pg_catalog.pg_backend_pid() \
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d \
         WHERE d.datname = pg_catalog.current_database()) \
         AND (c.oid IS NULL OR c.relkind IN ('r', 'm', 't') AND c.relfilenode <> 0 \
         AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid)) LIMIT 1; COMMIT";
    let rows = source.simple_query(SQL).await;
    let rows = rows.map_err(PipelineError::wire(Side::Source, "checking a query's tables"))?;
    match rows.into_iter().next() {
        None => Ok(()),
        Some(row) => {
            let name = row.into_iter().next().flatten().unwrap_or_default();
            Err(PipelineError::Rewritten { table: QualifiedName::new("", name) })
        }
    }
}

impl Reading {
    /// What the destination says of a key that the result has twice, or not at all.
    fn key_error(&self, error: &PipelineError) -> Option<PipelineError> {
        if self.key.is_empty() {
            return None;
        }
        let server = error.server_error()?;
        let is_of_key = |column: &String| self.key.contains(column);
        if server.code == SqlState::NOT_NULL_VIOLATION
            && server.column.as_ref().is_some_and(is_of_key)
        {
            return Some(self.has_null());
        }
        let is_arbiter = self.is_created || server.constraint == self.arbiter;
        (server.code == SqlState::UNIQUE_VIOLATION && is_arbiter).then(|| self.has_key_twice())
    }

    fn has_null(&self) -> PipelineError {
        self.wrong("rows of its result have no value in the key", "leave such rows out")
    }

    fn has_key_twice(&self) -> PipelineError {
        self.wrong("rows of its result share a key", "make one row a key (GROUP BY, DISTINCT ON)")
    }

    fn wrong(&self, what: &str, remedy: &str) -> PipelineError {
        let key = identifiers(self.key.iter().map(String::as_str));
        PipelineError::QueryResult {
            query: self.name.clone(),
            message: format!(
                "{what} ({key}); its table is as it was; {remedy}, or name another key"
            ),
        }
    }
}
