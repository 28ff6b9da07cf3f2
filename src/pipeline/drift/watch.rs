//! What no change in the stream announces: tables that are gone, on either side.
//!
//! While a stream runs, both catalogs are looked at every few seconds. The looks at the source also
//! keep [`Looks`] young, so that a rewrite of last month is not held against a column of today.

use std::collections::HashMap;
use std::time::Duration;

use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pace;
use crate::pg::catalog::{self, shapes};
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;
use crate::pipeline::drift::looks::Looks;
use crate::pipeline::drift::renamed::RENAMED;
use crate::pipeline::drift::tables::{Sides, gone_from_destination, replaced};
use crate::pipeline::error::PipelineError;

/// Between two looks. ACCEPTANCE: a table that is gone shows within 15 s.
const INTERVAL: Duration = Duration::from_secs(5);

/// Looks again and again; ends only with an error.
pub async fn watch(sides: Sides<'_>, looks: &Looks, records: Vec<TableRecord>) -> PipelineError {
    let mut watched: HashMap<Oid, TableRecord> = records
        .into_iter()
        .filter(|record| record.state == CopyState::Copied)
        .filter(|record| record.source_oid != Some(RENAMED))
        .filter_map(|record| Some((record.source_oid?, record)))
        .collect();
    loop {
        tokio::time::sleep(pace::between_looks(INTERVAL)).await;
        match look(sides, looks, &mut watched).await {
            Ok(()) => {}
            // A connection that has ended shows elsewhere, with more patience than is due here.
            Err(error) if !error.is_about_data() && error.server_error().is_none() => {
                tracing::debug!(%error, "could not look for tables that are gone");
            }
            Err(error) => return error,
        }
    }
}

async fn look(
    sides: Sides<'_>,
    looks: &Looks,
    watched: &mut HashMap<Oid, TableRecord>,
) -> Result<(), PipelineError> {
    // The look of a while ago: what came before it is applied by now.
    move_on(sides, looks, watched).await?;
    let oids: Vec<Oid> = watched.keys().copied().collect();
    let gone = looks.look(sides.source, &oids).await;
    for oid in gone.map_err(PipelineError::catalog(Side::Source))? {
        let Some(record) = watched.remove(&oid) else { continue };
        tracing::warn!(table = %record.source, "the table was dropped at the source: it is no longer followed, its rows at the destination stay");
        sides.context.board.table_removed(&record.source);
    }
    look_at_destination(sides, watched).await
}

async fn look_at_destination(
    sides: Sides<'_>,
    watched: &HashMap<Oid, TableRecord>,
) -> Result<(), PipelineError> {
    let there: Vec<Oid> = watched.values().filter_map(|record| record.destination_oid).collect();
    let at_destination = || PipelineError::catalog(Side::Destination);
    let present = shapes::present_oids(sides.destination, &there).await;
    let present = present.map_err(at_destination())?;
    let is_gone =
        |record: &&TableRecord| record.destination_oid.is_some_and(|oid| !present.contains(&oid));
    let Some(record) = watched.values().find(is_gone) else { return Ok(()) };
    let names = std::slice::from_ref(&record.destination);
    let anew = catalog::tables(sides.destination, catalog::TableFilter::Names(names)).await;
    if anew.map_err(at_destination())?.is_empty() {
        return Err(gone_from_destination(record));
    }
    // Rows may have been written to the new one already: from its looks nobody could tell later.
    sides.mark_replaced(record).await?;
    Err(replaced(record))
}

/// Records newer files of tables whose columns did not change, once all up to that look is applied.
async fn move_on(
    sides: Sides<'_>,
    looks: &Looks,
    watched: &mut HashMap<Oid, TableRecord>,
) -> Result<(), PipelineError> {
    let applied = sides.context.board.status().positions.applied.unwrap_or(Lsn::ZERO);
    let sql = &sides.context.checkpoint;
    let mut statements = Vec::new();
    for (oid, record) in watched.iter_mut() {
        let Some(known) = &record.source_shape else { continue };
        let Some(moved) = looks.moved_on(*oid, known, applied) else { continue };
        statements.push(tables::shape_text(&sql.schema, &sql.pipeline, &record.source, &moved));
        record.source_shape = Some(moved);
    }
    sides.write(statements).await
}
