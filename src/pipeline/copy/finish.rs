//! After a table's last row: keys, statistics, and the record that it is copied.

use super::{Shared, TableJob};
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::TableState;
use crate::wire::Session;

pub(super) async fn finish_table(
    shared: &Shared,
    table: &TableJob,
    destination: &mut Session,
) -> Result<(), PipelineError> {
    let job = &table.job;
    let building = || PipelineError::wire(Side::Destination, "building a table's keys");
    if !job.finish_sql.is_empty() {
        let guard = shared.context.checkpoint.guarded_begin_text(shared.authority.epoch);
        let sql = format!("{guard}; {}; COMMIT", job.finish_sql.join("; "));
        destination.execute(&sql).await.map_err(|source| PipelineError::Copy {
            table: job.record.source.clone(),
            source: Box::new(building()(source)),
        })?;
    }
    let analyze = format!("ANALYZE {}", job.record.destination.sql());
    if let Err(error) = destination.execute(&analyze).await {
        // Statistics are a courtesy: without the privilege autovacuum makes them.
        tracing::warn!(table = %job.record.destination, %error, "ANALYZE failed after the copy");
    }
    let (row_count, byte_count) = table.totals();
    let record = TableRecord {
        state: CopyState::Copied,
        copied_lsn: Some(shared.copied_lsn),
        rows: i64::try_from(row_count).unwrap_or(i64::MAX),
        bytes: i64::try_from(byte_count).unwrap_or(i64::MAX),
        copied_at: Some(shared.copied_at),
        ..job.record.clone()
    };
    let guard = shared.context.checkpoint.guarded_begin_text(shared.authority.epoch);
    let write = tables::write_text(
        &shared.context.checkpoint.schema,
        &shared.context.checkpoint.pipeline,
        &record,
    );
    destination.execute(&format!("{guard}; {write}; COMMIT")).await.map_err(building())?;
    shared.show_state(job, TableState::Copied);
    shared.timings.add(&job.record.source, table.elapsed());
    tracing::info!(table = %job.record.source, rows = row_count, bytes = byte_count, lsn = %shared.copied_lsn, "table copied");
    Ok(())
}
