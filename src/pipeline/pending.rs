//! Which tables are still to be copied, by the destination's records and the settings.

use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::pg::catalog::TableInfo;
use crate::pg::client::Client;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::transform;

/// `copy_data = false`: the operator says that the tables are equal at the consistent point.
pub async fn adopt(
    context: &Context,
    destination: &Client,
    pending: &[TableInfo],
    copied_lsn: Lsn,
) -> Result<(), PipelineError> {
    let (settings, sql) = (&context.settings, &context.checkpoint);
    for info in pending {
        let destination_name = settings.destination_name(&info.name);
        let record = TableRecord {
            source: info.name.clone(),
            fingerprint: transform::fingerprint(settings.table(&info.name), &destination_name),
            destination: destination_name,
            state: CopyState::Copied,
            copied_lsn: Some(copied_lsn),
            created: false,
            known_columns: info.columns.iter().map(|column| column.name.clone()).collect(),
            rows: 0,
            bytes: 0,
            copied_at: None,
            source_oid: Some(info.oid),
            published: None,
            partitions: None,
            finished: true,
        };
        tables::write(destination, &sql.schema, &sql.pipeline, &record).await?;
        tracing::info!(table = %info.name, lsn = %copied_lsn, "table adopted without a copy (copy_data)");
    }
    Ok(())
}

/// Tables whose rows are not at the destination yet.
pub fn pending(tables: &[TableInfo], records: &[TableRecord]) -> Vec<TableInfo> {
    let is_copied = |table: &&TableInfo| {
        records
            .iter()
            .any(|record| record.source == table.name && record.state == CopyState::Copied)
    };
    tables.iter().filter(|table| !is_copied(table)).cloned().collect()
}

pub fn refuse_changed_tables(
    context: &Context,
    records: &[TableRecord],
) -> Result<(), PipelineError> {
    let changed = changed_tables(context, records);
    if changed.is_empty() {
        return Ok(());
    }
    Err(PipelineError::Config { message: changed.join("\n") })
}

/// A copied table whose settings shape rows differently now would be half old, half new: one
/// message each.
pub fn changed_tables(context: &Context, records: &[TableRecord]) -> Vec<String> {
    let settings = &context.settings;
    records
        .iter()
        .filter(|record| record.state == CopyState::Copied && settings.selects(&record.source))
        .filter(|record| {
            let destination = settings.destination_name(&record.source);
            let settings = settings.table(&record.source);
            transform::fingerprint(settings, &destination) != record.fingerprint
        })
        .map(|record| {
            format!(
                "[[table]] {}: its destination or columns differ from those its rows were copied with; undo the change, or reset the pipeline and copy again",
                record.source.sql()
            )
        })
        .collect()
}
