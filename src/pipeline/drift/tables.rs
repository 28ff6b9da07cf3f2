//! The recorded tables before a stream begins: both sides still have them, and they are the same.
//!
//! A table that is gone from the destination holds the pipeline, and is never made anew by itself:
//! what it held is not in the stream. One that was made anew, and is empty where rows were, counts as
//! gone too.

use std::collections::HashMap;

use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pg::catalog::shapes::files;
use crate::pg::catalog::{self, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::oid::Oid;
use crate::pipeline::context::Context;
use crate::pipeline::drift::decide::resync_text;
use crate::pipeline::drift::judge::first_look;
use crate::pipeline::drift::looks::Looks;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::Planner;

/// In place of the OID of a destination table that was found replaced while we wrote to it.
pub const REPLACED: Oid = 0;

/// Both servers, and the right to write.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    pub context: &'a Context,
    pub source: &'a Client,
    pub destination: &'a Client,
    pub epoch: i64,
}

impl Sides<'_> {
    /// Compares records and tables; brings the records up to date, in `planner` too. `selected`:
    /// the source's tables as they are.
    pub async fn begin(
        &self,
        planner: &mut Planner,
        looks: &Looks,
        selected: &[TableInfo],
    ) -> Result<(), PipelineError> {
        let records: Vec<TableRecord> = planner.records().cloned().collect();
        let selected: HashMap<&QualifiedName, &TableInfo> =
            selected.iter().map(|table| (&table.name, table)).collect();
        let oids: Vec<Oid> = records
            .iter()
            .filter_map(|record| {
                record.source_oid.or_else(|| selected.get(&record.source).map(|table| table.oid))
            })
            .collect();
        looks.look(self.source, &oids).await.map_err(PipelineError::catalog(Side::Source))?;
        let mut statements = Vec::new();
        let copied: Vec<&TableRecord> = records
            .iter()
            .filter(|record| record.state == CopyState::Copied)
            .filter(|record| selected.contains_key(&record.source))
            .collect();
        let sources: Vec<QualifiedName> =
            copied.iter().map(|record| record.source.clone()).collect();
        let present = planner.destinations_of(&sources).await?;
        let empty = self.replaced_and_empty(&copied, &present).await?;
        let mut missing = None;
        for record in copied {
            let Some(there) = present.get(&record.destination) else {
                missing.get_or_insert(gone_from_destination(record));
                continue;
            };
            if record.destination_oid == Some(REPLACED) || empty.contains(&record.source) {
                missing.get_or_insert(replaced(record));
                continue;
            }
            let mut updated = record.clone();
            if record.destination_oid.is_some_and(|oid| oid != there.oid) {
                tracing::warn!(table = %record.destination, "the destination's table is another one than before and holds rows: taken as it is");
            }
            updated.destination_oid = Some(there.oid);
            let oid = record.source_oid.or_else(|| selected.get(&record.source).map(|t| t.oid));
            updated.source_oid = oid;
            if let Some(shape) = oid.and_then(|oid| looks.shape(oid))
                && record.source_shape.is_none()
            {
                updated.source_shape = Some(first_look(&record.known_columns, &shape));
            }
            let is_changed = updated.destination_oid != record.destination_oid
                || updated.source_oid != record.source_oid
                || updated.source_shape != record.source_shape;
            if is_changed {
                let sql = &self.context.checkpoint;
                statements.push(tables::write_text(&sql.schema, &sql.pipeline, &updated));
                planner.set_record(updated);
            }
        }
        self.write(statements).await?;
        missing.map_or(Ok(()), Err)
    }

    /// Destination tables that are others than those recorded, and hold nothing, where the source
    /// or the copy had rows.
    async fn replaced_and_empty(
        &self,
        copied: &[&TableRecord],
        present: &HashMap<QualifiedName, TableInfo>,
    ) -> Result<Vec<QualifiedName>, PipelineError> {
        let is_other = |record: &&&TableRecord| {
            let there = present.get(&record.destination);
            there.is_some_and(|there| record.destination_oid.is_some_and(|oid| oid != there.oid))
        };
        let others: Vec<&TableRecord> = copied.iter().filter(is_other).copied().collect();
        let names: Vec<QualifiedName> =
            others.iter().map(|record| record.destination.clone()).collect();
        let filled = catalog::tables_with_rows(self.destination, &names).await;
        let filled = filled.map_err(PipelineError::catalog(Side::Destination))?;
        let mut found = Vec::new();
        for record in others {
            if filled.contains(&record.destination) {
                continue;
            }
            let has_rows = record.rows > 0 || {
                let has_rows = catalog::has_rows(self.source, &record.source).await;
                has_rows.map_err(PipelineError::catalog(Side::Source))?
            };
            if has_rows {
                found.push(record.source.clone());
            }
        }
        Ok(found)
    }

    /// Records that the destination's table is not the one that was copied to.
    pub async fn mark_replaced(&self, record: &TableRecord) -> Result<(), PipelineError> {
        let schema = identifier(&self.context.checkpoint.schema);
        let row = self.row_of(record);
        let mark = format!("UPDATE {schema}.tables SET destination_oid = {REPLACED} WHERE {row}");
        self.write(vec![mark]).await
    }

    fn row_of(&self, record: &TableRecord) -> String {
        format!(
            "pipeline = {} AND source_schema = {} AND source_table = {}",
            literal(&self.context.checkpoint.pipeline),
            literal(&record.source.schema),
            literal(&record.source.name)
        )
    }

    /// Writes records in one guarded transaction.
    pub async fn write(&self, statements: Vec<String>) -> Result<(), PipelineError> {
        if statements.is_empty() {
            return Ok(());
        }
        let begin = self.context.checkpoint.guarded_begin_text(self.epoch);
        let text = format!("{begin}; {}; COMMIT", statements.join("; "));
        let written = self.destination.batch_execute(&text).await;
        if written.is_err() {
            // The transaction is still open on this connection; its error is what counts.
            let _ = self.destination.batch_execute("ROLLBACK").await;
        }
        written.map_err(PipelineError::query(Side::Destination, "recording its tables"))
    }
}

/// Puts the files of partitioned tables' leaves into records that are being made; other tables know
/// their own.
pub async fn know_leaves(
    source: &Client,
    records: impl Iterator<Item = &mut TableRecord>,
) -> Result<(), PipelineError> {
    let mut shapes: HashMap<Oid, &mut SourceShape> = records
        .filter_map(|record| Some((record.source_oid?, record.source_shape.as_mut()?)))
        .filter(|(_, shape)| shape.files.is_empty())
        .collect();
    if shapes.is_empty() {
        return Ok(());
    }
    let oids: Vec<Oid> = shapes.keys().copied().collect();
    let files = files(source, &oids).await.map_err(PipelineError::catalog(Side::Source))?;
    for (oid, (attribute_count, files)) in files {
        if let Some(shape) = shapes.get_mut(&oid)
            && shape.attribute_count == attribute_count
        {
            shape.files = files;
        }
    }
    Ok(())
}

pub(super) fn gone_from_destination(record: &TableRecord) -> PipelineError {
    let message =
        format!("its destination table {} is gone; create it there", record.destination.sql());
    schema_error(record, &message)
}

pub(super) fn replaced(record: &TableRecord) -> PipelineError {
    let message = format!(
        "its destination table {} was made anew and lacks the rows that were copied",
        record.destination.sql()
    );
    schema_error(record, &message)
}

fn schema_error(record: &TableRecord, message: &str) -> PipelineError {
    PipelineError::Schema {
        table: record.source.clone(),
        message: resync_text(&record.source, message),
        lsn: None,
    }
}
