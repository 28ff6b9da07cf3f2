//! After a table's last row: indexes, statistics, and the record that it is copied.

use std::time::Duration;

use super::schedule::BuildJob;
use super::{Shared, TableJob};
use crate::checkpoint::chunks;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::failpoint;
use crate::model::finding::Side;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::TableState;
use crate::wire::Session;

/// A table that took this long has a line of its own in the log.
const NOTEWORTHY: Duration = Duration::from_secs(1);

/// Builds one index in a transaction of its own. It gets as many parallel helpers as workers of ours
/// have nothing to do, and never more than the server's own setting allows.
pub(super) async fn build(
    shared: &Shared,
    build: &BuildJob,
    destination: &mut Session,
) -> Result<(), PipelineError> {
    begin(shared, destination).await?;
    building(destination, &build.statement).await?;
    destination.execute("COMMIT").await.map_err(completing())
}

/// Finishes a table whose rows were committed before.
pub(super) async fn in_own_transaction(
    shared: &Shared,
    table: &TableJob,
    destination: &mut Session,
) -> Result<(), PipelineError> {
    begin(shared, destination).await?;
    // One by one, so that an error has its statement.
    for statement in &table.job.builds.last {
        building(destination, statement).await?;
    }
    end(shared, table, destination, &[]).await
}

/// Finishes a table in the transaction that has loaded it, and commits it. In one round trip: small
/// tables come in thousands.
pub(super) async fn in_this_transaction(
    shared: &Shared,
    table: &TableJob,
    destination: &mut Session,
) -> Result<(), PipelineError> {
    end(shared, table, destination, &table.job.builds.last).await
}

async fn begin(shared: &Shared, destination: &mut Session) -> Result<(), PipelineError> {
    let guard = shared.context.checkpoint.guarded_begin_text(shared.authority.epoch);
    let helpers = shared.schedule.idle_count();
    let begin = format!(
        "{guard}; SELECT pg_catalog.set_config('max_parallel_maintenance_workers', least({helpers}, \
         pg_catalog.current_setting('max_parallel_maintenance_workers')::int)::text, true)"
    );
    destination.execute(&begin).await.map_err(completing())
}

async fn building(destination: &mut Session, statement: &str) -> Result<(), PipelineError> {
    let failed = |source| PipelineError::Build { statement: statement.to_owned(), source };
    destination.execute(statement).await.map_err(failed)
}

/// Runs `builds` and records the table as copied.
async fn end(
    shared: &Shared,
    table: &TableJob,
    destination: &mut Session,
    builds: &[String],
) -> Result<(), PipelineError> {
    let job = &table.job;
    let (row_count, byte_count) = table.totals();
    let record = TableRecord {
        state: match job.record.beside {
            true => CopyState::CatchingUp,
            false => CopyState::Copied,
        },
        copied_lsn: Some(shared.copied_lsn),
        rows: i64::try_from(row_count).unwrap_or(i64::MAX),
        bytes: i64::try_from(byte_count).unwrap_or(i64::MAX),
        copied_at: Some(shared.copied_at),
        ..job.record.clone()
    };
    let sql = &shared.context.checkpoint;
    let analyze = format!("ANALYZE {}", job.record.destination.sql());
    let mut statements = builds.to_vec();
    statements.push(tables::write_text(&sql.schema, &sql.pipeline, &record));
    if !table.is_single() {
        statements.push(chunks::forget_text(&sql.schema, &sql.pipeline, [&record.source]));
    }
    if job.record.created {
        // Nothing in a table of our making can make it fail, and it saves a commit.
        statements.push(analyze.clone());
    }
    statements.push("COMMIT".to_owned());
    let done = destination.execute(&statements.join("; ")).await;
    done.map_err(|source| match builds {
        [] => completing()(source),
        builds => PipelineError::Build { statement: builds.join("; "), source },
    })?;
    failpoint::hit(failpoint::TABLE_COPIED).await;
    if !job.record.created {
        courtesy(destination, table, &analyze).await;
    }
    shared.schedule.table_done();
    shared.show_state(job, TableState::Copied);
    let (name, elapsed) = (&job.record.source, table.elapsed());
    shared.timings.add(name, elapsed);
    // Thousands of small tables are summed up at the end.
    if elapsed >= NOTEWORTHY {
        tracing::info!(table = %name, rows = row_count, bytes = byte_count, "table copied");
    } else {
        tracing::debug!(table = %name, rows = row_count, bytes = byte_count, "table copied");
    }
    Ok(())
}

fn completing() -> impl FnOnce(crate::wire::WireError) -> PipelineError {
    PipelineError::wire(Side::Destination, "completing a table")
}

/// Statistics are a courtesy: where we cannot make them, autovacuum does; and if a crash takes them
/// back, it does, too.
async fn courtesy(destination: &mut Session, table: &TableJob, analyze: &str) {
    let sql = format!("BEGIN; SET LOCAL synchronous_commit = off; {analyze}; COMMIT");
    if let Err(error) = destination.execute(&sql).await {
        tracing::warn!(table = %table.job.record.destination, %error, "ANALYZE failed after the copy");
        // The transaction is over one way or the other; a lost connection shows at its next use.
        let _ = destination.execute("ROLLBACK").await;
    }
}
