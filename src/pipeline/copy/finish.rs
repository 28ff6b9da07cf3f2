//! After a table's last row: keys, statistics, and the record that it is copied.

use std::time::Duration;

use super::{Shared, TableJob};
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::TableState;
use crate::wire::Session;

/// A table that took this long has a line of its own in the log.
const NOTEWORTHY: Duration = Duration::from_secs(1);

/// Finishes a table whose rows were committed before.
pub(super) async fn in_own_transaction(
    shared: &Shared,
    table: &TableJob,
    destination: &mut Session,
) -> Result<(), PipelineError> {
    let guard = shared.context.checkpoint.guarded_begin_text(shared.authority.epoch);
    let beginning = PipelineError::wire(Side::Destination, "building a table's keys");
    destination.execute(&guard).await.map_err(beginning)?;
    in_this_transaction(shared, table, destination).await
}

/// Finishes a table in the open transaction, and commits it.
pub(super) async fn in_this_transaction(
    shared: &Shared,
    table: &TableJob,
    destination: &mut Session,
) -> Result<(), PipelineError> {
    let job = &table.job;
    let (row_count, byte_count) = table.totals();
    let record = TableRecord {
        state: CopyState::Copied,
        copied_lsn: Some(shared.copied_lsn),
        rows: i64::try_from(row_count).unwrap_or(i64::MAX),
        bytes: i64::try_from(byte_count).unwrap_or(i64::MAX),
        copied_at: Some(shared.copied_at),
        ..job.record.clone()
    };
    let sql = &shared.context.checkpoint;
    let analyze = format!("ANALYZE {}", job.record.destination.sql());
    let mut statements: Vec<String> = job.completion.statements().cloned().collect();
    statements.push(tables::write_text(&sql.schema, &sql.pipeline, &record));
    if job.record.created {
        // Nothing in a table of our making can make it fail, and it saves a commit.
        statements.push(analyze.clone());
    }
    statements.push("COMMIT".to_owned());
    let finishing = PipelineError::wire(Side::Destination, "building a table's keys");
    destination.execute(&statements.join("; ")).await.map_err(finishing)?;
    if !job.record.created {
        courtesy(destination, table, &analyze).await;
    }
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
