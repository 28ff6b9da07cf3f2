//! Which tables a copy that was cut off may go on with, instead of starting over.
//!
//! The snapshot of the chunks that were loaded is gone; those that are missing are read under a later
//! one, at a point C. That is exact where everything between the two points has been applied to what
//! is there before the rest is copied:
//!
//! ```text
//!   loaded as of A ── changes of the stream, A … C ──► what was loaded or changed, as of C
//!                     chunks that are missing, read at C ──► what was neither, as of C
//! ```
//!
//! A row that was in a missing block at A and is not changed until C is still in that block: rows move
//! only by a change of their own, which is in the stream, or with their whole table, which is not
//! (VACUUM FULL, CLUSTER), and gives it another file. One that was changed is at the destination
//! already, and its chunk brings the same values: so the rest is upserted, by the key. An update that
//! did not bring all values of a row which is not there (unchanged large ones) could not make it: its key
//! is remembered, and the row is read at C by the key, wherever it lies then.
//!
//! **Invariant:** a table that is not surely so starts over.

use std::collections::HashMap;

use super::prepare::Preparation;
use crate::checkpoint::chunks::LoadedChunk;
use crate::checkpoint::missing::{self, Key};
use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pg::catalog::shapes::{Files, files};
use crate::pg::catalog::{self, TableInfo};
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::oid::Oid;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::TablePlan;
use crate::snapshot::Chunk;
use crate::transform;

/// Rows read by their key at most, a table. They are held in memory, some hundred bytes each; a table of
/// which more changed that way is not far from being copied anew.
const KEYS_MAX: usize = 50_000;

/// Keys in one statement: its text stays under a few hundred kilobytes.
const KEYS_AT_ONCE: usize = 2_000;

/// Tables that are loaded in part, by OID, with the blocks of each heap that are loaded.
#[derive(Clone, Debug, Default)]
pub struct Resumed(HashMap<Oid, HashMap<Oid, Vec<Chunk>>>);

impl Resumed {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, table: Oid) -> bool {
        self.0.contains_key(&table)
    }

    /// The blocks of a table's heap that are loaded.
    pub fn loaded(&self, table: Oid, part: Oid) -> &[Chunk] {
        self.0.get(&table).and_then(|parts| parts.get(&part)).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, table: Oid, chunks: &[&LoadedChunk]) {
        let parts = self.0.entry(table).or_default();
        for chunk in chunks {
            let blocks = Chunk { first_block: chunk.first_block, end_block: chunk.end_block };
            parts.entry(chunk.part).or_default().push(blocks);
        }
    }
}

impl Preparation<'_> {
    /// Those of `tables` that can go on with what is `loaded`, as far as can be told without building
    /// anything; what their keys lack is built by [`Preparation::build_keys`].
    async fn candidates<'t>(
        &self,
        tables: &'t [TableInfo],
        loaded: &HashMap<&QualifiedName, Vec<&LoadedChunk>>,
    ) -> Result<Vec<&'t TableInfo>, PipelineError> {
        let begun: Vec<&TableInfo> = tables
            .iter()
            .filter(|info| loaded.contains_key(&info.name))
            .filter(|info| self.earlier(info).is_some_and(|record| self.is_begun(info, record)))
            .collect();
        // Foreign keys that are checked while we write would see half a table.
        if begun.is_empty() || self.planner.keeps_order() {
            return Ok(Vec::new());
        }
        let oids: Vec<Oid> = begun.iter().map(|info| info.oid).collect();
        let present = files(self.source, &oids).await;
        let present = present.map_err(PipelineError::catalog(Side::Source))?;
        let names: Vec<QualifiedName> =
            begun.iter().map(|info| self.context.settings.destination_name(&info.name)).collect();
        let filled = catalog::tables_with_rows(self.destination, &names).await;
        let filled = filled.map_err(PipelineError::catalog(Side::Destination))?;
        let is_as_it_was = |info: &&TableInfo| {
            let (Some(record), Some((attribute_count, files))) =
                (self.earlier(info), present.get(&info.oid))
            else {
                return false;
            };
            let is_filled = record.rows == 0 || filled.contains(&record.destination);
            let chunks = &loaded[&info.name];
            // A partition that left took rows along, and nothing in the stream tells of that.
            let has_parts = record.partitions.as_ref().is_none_or(|known| files.keys().eq(known));
            is_filled
                && has_parts
                && has_shape(record, info, *attribute_count)
                && has_files(chunks, files)
        };
        Ok(begun.into_iter().filter(is_as_it_was).collect())
    }

    /// Whether the record is that of a copy of this table, of the same stream, that was cut off.
    fn is_begun(&self, info: &TableInfo, record: &TableRecord) -> bool {
        let name = self.context.settings.destination_name(&info.name);
        let settings = self.context.settings.table(&info.name);
        let has_key = settings.is_some_and(|settings| settings.key.is_some());
        let fingerprint = transform::fingerprint(settings, &name);
        !matches!(record.state, CopyState::Copied | CopyState::CatchingUp)
            && record.copied_lsn.is_some()
            && record.beside == self.is_beside
            && record.source_oid == Some(info.oid)
            && record.fingerprint == fingerprint
            && info.has_usable_identity()
            && (has_key || !info.key_columns().is_empty())
    }

    /// Finds the tables that can go on, and builds what identifies their rows at the destination:
    /// changes and missing chunks need it.
    pub async fn resume(
        &self,
        tables: &[TableInfo],
        loaded: &[LoadedChunk],
    ) -> Result<Resumed, PipelineError> {
        let mut by_table: HashMap<&QualifiedName, Vec<&LoadedChunk>> = HashMap::new();
        for chunk in loaded {
            by_table.entry(&chunk.source).or_default().push(chunk);
        }
        let candidates = self.candidates(tables, &by_table).await?;
        if candidates.is_empty() {
            return Ok(Resumed::default());
        }
        let candidates: Vec<TableInfo> = candidates.into_iter().cloned().collect();
        self.build_keys(&candidates).await?;
        let plans = self.planner.plan_each(&candidates).await?;
        let has_arbiter = |plan: &Result<TablePlan, PipelineError>| {
            plan.as_ref().is_ok_and(|plan| plan.target.has_arbiter && !plan.target.has_unsettable())
        };
        let has_keys = |info: &TableInfo, plan: &Result<TablePlan, PipelineError>| {
            plan.as_ref().is_ok_and(|plan| source_key(info, plan).is_some())
        };
        let mut resumed = Resumed::default();
        let is_able = |(info, plan): &(&TableInfo, &Result<TablePlan, PipelineError>)| {
            has_arbiter(plan) && has_keys(info, plan)
        };
        for (info, _) in candidates.iter().zip(&plans).filter(is_able) {
            resumed.add(info.oid, &by_table[&info.name]);
        }
        Ok(resumed)
    }

    /// The keys of the rows that changes have missed; `None` where there are too many to read by key.
    pub(super) async fn missing_keys(
        &self,
        info: &TableInfo,
    ) -> Result<Option<Vec<Key>>, PipelineError> {
        let sql = &self.context.checkpoint;
        let keys =
            missing::read(self.destination, &sql.schema, &sql.pipeline, &info.name, KEYS_MAX)
                .await?;
        if keys.len() > KEYS_MAX {
            tracing::warn!(table = %info.name, "so many rows changed without their large values that the table starts over");
            return Ok(None);
        }
        Ok(Some(keys))
    }

    async fn build_keys(&self, tables: &[TableInfo]) -> Result<(), PipelineError> {
        self.remove_unfinished_keys(tables).await?;
        let present = self.planner.destination_tables(tables).await?;
        let structure = self.structure(tables, &present, &Default::default()).await?;
        for info in tables {
            let Some(planned) = structure.tables.get(&info.oid) else { continue };
            for key in &planned.keys {
                tracing::info!(table = %info.name, "building the key of a table whose copy goes on");
                let built = self.transaction(std::iter::once(key.sql.clone()), &[]).await;
                built.map_err(|source| PipelineError::Copy {
                    table: info.name.clone(),
                    source: Box::new(PipelineError::Query {
                        side: Side::Destination,
                        doing: "building the key of a table that is loaded in part",
                        source,
                    }),
                })?;
            }
        }
        Ok(())
    }

    /// Those of `resumed` whose files are still the ones that were read: asked again once the point is
    /// taken, because from then on a chunk notices itself.
    pub async fn still_whole(
        &self,
        resumed: &Resumed,
        loaded: &[LoadedChunk],
    ) -> Result<Resumed, PipelineError> {
        let oids: Vec<Oid> = resumed.0.keys().copied().collect();
        let present = files(self.source, &oids).await;
        let present = present.map_err(PipelineError::catalog(Side::Source))?;
        let mut whole = resumed.clone();
        whole.0.retain(|table, parts| {
            let chunks: Vec<&LoadedChunk> =
                loaded.iter().filter(|chunk| parts.contains_key(&chunk.part)).collect();
            present.get(table).is_some_and(|(_, files)| has_files(&chunks, files))
        });
        Ok(whole)
    }
}

/// A source column of the target's key, as SQL.
struct KeyColumn {
    name: String,
    type_name: String,
    equals: String,
}

/// Source columns of the target's key; `None` where a step makes one of them another.
fn source_key(info: &TableInfo, plan: &TablePlan) -> Option<Vec<KeyColumn>> {
    let columns = plan.target.key_columns().map(|column| {
        let passed = plan.transform.passed_column(column.value_index)?;
        let source = info.column(&passed.name)?;
        Some(KeyColumn {
            name: identifier(&source.name),
            type_name: source.type_name.clone(),
            equals: source.equals().to_owned(),
        })
    });
    columns.collect()
}

/// The conditions by which the rows of these keys are read, each for at most [`KEYS_AT_ONCE`] of them.
pub(super) fn key_conditions(info: &TableInfo, plan: &TablePlan, keys: &[Key]) -> Vec<String> {
    let Some(columns) = source_key(info, plan) else { return Vec::new() };
    let aliases: Vec<String> =
        (1..=columns.len()).map(|number| format!("sync_agent_key_{number}")).collect();
    let matches: Vec<String> = columns
        .iter()
        .zip(&aliases)
        .map(|(column, alias)| format!("{} {} {alias}", column.name, column.equals))
        .collect();
    let row = |key: &Key| {
        let values = key.iter().zip(&columns);
        let values: Vec<String> = values
            .map(|(value, column)| format!("{}::{}", literal(value), column.type_name))
            .collect();
        format!("({})", values.join(", "))
    };
    let condition = |keys: &[Key]| {
        let rows: Vec<String> = keys.iter().map(row).collect();
        format!(
            "EXISTS (SELECT FROM (VALUES {}) AS sync_agent_keys ({}) WHERE {})",
            rows.join(", "),
            aliases.join(", "),
            matches.join(" AND ")
        )
    };
    keys.chunks(KEYS_AT_ONCE).map(condition).collect()
}

fn has_shape(record: &TableRecord, info: &TableInfo, attribute_count: i16) -> bool {
    let Some(shape) = &record.source_shape else { return false };
    shape.attribute_count == attribute_count && shape.columns == SourceShape::of(info).columns
}

/// Whether the heaps are the files that were read.
fn has_files(chunks: &[&LoadedChunk], files: &Files) -> bool {
    chunks.iter().all(|chunk| files.get(&chunk.part) == Some(&chunk.file))
}
