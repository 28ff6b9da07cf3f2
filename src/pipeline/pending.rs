//! Which tables are still to be copied, by the destination's records and the settings.

use std::collections::HashSet;

use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pg::catalog::{self, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::membership::Membership;
use crate::pipeline::requests;
use crate::pipeline::selection::Selection;
use crate::pipeline::switch::Switch;
use crate::transform;

/// `copy_data = false`: the operator says that the tables are equal at the consistent point.
pub async fn adopt(
    context: &Context,
    destination: &Client,
    pending: &[TableInfo],
    membership: &Membership,
    copied_lsn: Lsn,
) -> Result<(), PipelineError> {
    let (settings, sql) = (&context.settings, &context.checkpoint);
    // All or none: a table without a record would later be taken for a new one.
    let mut statements = vec!["BEGIN".to_owned()];
    for info in pending {
        let destination_name = settings.destination_name(&info.name);
        let mut record = TableRecord {
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
            source_shape: Some(SourceShape::of(info)),
            destination_oid: None,
            beside: false,
        };
        membership.fill(&mut record);
        statements.push(tables::write_text(&sql.schema, &sql.pipeline, &record));
        tracing::info!(table = %info.name, lsn = %copied_lsn, "table adopted without a copy (copy_data)");
    }
    statements.push("COMMIT".to_owned());
    let adopted = destination.batch_execute(&statements.join("; ")).await;
    adopted.map_err(PipelineError::query(Side::Destination, "recording adopted tables"))
}

/// The tables as they are now that the snapshot is taken: a column added before it must not be
/// left out.
pub async fn described_again(
    source: &Client,
    tables: &[TableInfo],
) -> Result<Vec<TableInfo>, PipelineError> {
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let found = catalog::tables(source, TableFilter::Oids(&oids)).await;
    let found = found.map_err(PipelineError::catalog(Side::Source))?;
    let gone = tables.iter().find(|table| !found.iter().any(|info| info.oid == table.oid));
    match gone {
        None => Ok(found),
        Some(table) => Err(PipelineError::Schema {
            table: table.name.clone(),
            message: "it was dropped at the source a moment ago".to_owned(),
            lsn: None,
        }),
    }
}

/// Tables whose rows are not at the destination yet.
pub fn pending(tables: &[TableInfo], records: &[TableRecord]) -> Vec<TableInfo> {
    let is_copied = |table: &&TableInfo| {
        records.iter().any(|record| {
            record.source == table.name
                && matches!(record.state, CopyState::Copied | CopyState::CatchingUp)
        })
    };
    tables.iter().filter(|table| !is_copied(table)).cloned().collect()
}

/// Brings the records in line with the settings: tables that are no longer selected are forgotten
/// (their rows stay), changed settings are refused, or accepted with `keep_old_rows`.
pub async fn settle(
    context: &Context,
    destination: &Client,
    epoch: i64,
    selection: &Selection,
    keep_old_rows: bool,
) -> Result<Vec<TableRecord>, PipelineError> {
    let sql = &context.checkpoint;
    let read = || tables::read_all(destination, &sql.schema, &sql.pipeline);
    let records = read().await?;
    // Tables that took the place of others know where these have put their rows.
    let switch = Switch { context, selection };
    let inherited = switch.inherited(destination, &records).await?;
    let mut statements: Vec<String> = inherited
        .iter()
        .map(|record| tables::write_text(&sql.schema, &sql.pipeline, record))
        .collect();
    let removed = removed_tables(selection, &records);
    if !removed.is_empty() {
        statements.push(tables::forget_text(&sql.schema, &sql.pipeline, &removed));
    }
    let changes = changes(context, selection, &records);
    if !keep_old_rows && !changes.is_empty() {
        let messages: Vec<String> = changes.iter().map(Change::message).collect();
        return Err(PipelineError::Config { message: messages.join("\n") });
    }
    for change in &changes {
        let record = TableRecord {
            destination: change.destination.clone(),
            destination_oid: None,
            fingerprint: change.fingerprint.clone(),
            ..change.record.clone()
        };
        statements.push(tables::write_text(&sql.schema, &sql.pipeline, &record));
    }
    if statements.is_empty() {
        return Ok(records);
    }
    requests::change(context, destination, epoch, &statements.join("; ")).await?;
    for name in &removed {
        context.board.table_removed(name);
        tracing::info!(table = %name, "no longer selected, or gone from the source: its changes are let go by, its rows stay");
    }
    for change in &changes {
        tracing::warn!(table = %change.record.source, keys = change.keys.join(", "), "settings changed; the rows copied before stay as they are (--keep-old-rows)");
    }
    Ok(read().await?)
}

fn removed_tables(selection: &Selection, records: &[TableRecord]) -> Vec<QualifiedName> {
    let selected: HashSet<&QualifiedName> =
        selection.tables.iter().map(|table| &table.name).collect();
    let sources = records.iter().map(|record| &record.source);
    let is_removed =
        |name: &&QualifiedName| !selected.contains(name) && !selection.choice.keeps_record(name);
    sources.filter(is_removed).cloned().collect()
}

/// A copied table whose settings shape rows differently now: it would be half old, half new.
#[derive(Debug)]
struct Change<'a> {
    record: &'a TableRecord,
    destination: QualifiedName,
    fingerprint: String,
    /// The settings' keys that differ.
    keys: Vec<String>,
}

impl Change<'_> {
    fn message(&self) -> String {
        let table = &self.record.source;
        let keys = match self.keys.is_empty() {
            true => "its settings".to_owned(),
            false => self.keys.join(", "),
        };
        format!(
            "[[table]] {}: {keys} changed since its rows were copied; undo the change, or copy it again with \"sync-agent resync --table {}\", or keep the rows as they are with \"run --keep-old-rows\"",
            table.sql(),
            table.argument(),
        )
    }
}

fn changes<'a>(
    context: &Context,
    selection: &Selection,
    records: &'a [TableRecord],
) -> Vec<Change<'a>> {
    let settings = &context.settings;
    let is_selected =
        |name: &QualifiedName| settings.selects(name) || selection.table(name).is_some();
    let change = |record: &'a TableRecord| {
        let destination = settings.destination_name(&record.source);
        let fingerprint = transform::fingerprint(settings.table(&record.source), &destination);
        let keys = transform::changed_keys(&record.fingerprint, &fingerprint)?;
        Some(Change { record, destination, fingerprint, keys })
    };
    records
        .iter()
        .filter(|record| record.state == CopyState::Copied && is_selected(&record.source))
        .filter_map(change)
        .collect()
}

/// What `check` says of copied tables whose settings have changed: one message each.
pub fn changed_tables(
    context: &Context,
    selection: &Selection,
    records: &[TableRecord],
) -> Vec<String> {
    changes(context, selection, records).iter().map(Change::message).collect()
}
