//! The parts of tables that a copy has loaded and committed, while the copy is not complete. SQL only.
//!
//! A chunk's row is written by the transaction that loads it, and all rows of a table go when its copy
//! is complete or starts over.

use tokio_postgres::{Client, Row};

use crate::checkpoint::CheckpointError;
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::oid::Oid;

/// A range of blocks whose rows, as of the table's point, are at the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedChunk {
    pub source: QualifiedName,
    /// The heap that was read: the table, or one of its partitions.
    pub part: Oid,
    /// The heap's file then. In another file the same rows lie in other blocks, and nothing in the
    /// stream tells of that (VACUUM FULL, CLUSTER, pg_repack).
    pub file: Oid,
    pub first_block: u64,
    /// First block not in it; none for "to the end".
    pub end_block: Option<u64>,
}

/// All of a pipeline's. State of an earlier version has none.
pub async fn read_all(
    client: &Client,
    schema: &str,
    pipeline: &str,
) -> Result<Vec<LoadedChunk>, CheckpointError> {
    let query = format!(
        "SELECT source_schema, source_table, part, file, first_block, end_block FROM {}.chunks \
         WHERE pipeline = $1 ORDER BY 1, 2, 3, 5",
        identifier(schema)
    );
    let rows = client.query(&query, &[&pipeline]).await?;
    Ok(rows.iter().map(from_row).collect())
}

fn from_row(row: &Row) -> LoadedChunk {
    let block = |number: i64| u64::try_from(number).unwrap_or(0);
    LoadedChunk {
        source: QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        part: row.get(2),
        file: row.get(3),
        first_block: block(row.get(4)),
        end_block: row.get::<_, Option<i64>>(5).map(block),
    }
}

/// The statement that records a chunk, for the transaction that loads it.
pub fn record_text(schema: &str, pipeline: &str, chunk: &LoadedChunk) -> String {
    let LoadedChunk { source, part, file, first_block, end_block } = chunk;
    let end_block = end_block.map_or_else(|| "NULL".to_owned(), |block| block.to_string());
    format!(
        "INSERT INTO {}.chunks (pipeline, source_schema, source_table, part, file, first_block, \
         end_block) VALUES ({}, {}, {}, {part}, {file}, {first_block}, {end_block})",
        identifier(schema),
        literal(pipeline),
        literal(&source.schema),
        literal(&source.name),
    )
}

/// The statements that forget the tables' chunks and missing rows, for a guarded transaction.
pub fn forget_text<'a>(
    schema: &str,
    pipeline: &str,
    sources: impl IntoIterator<Item = &'a QualifiedName>,
) -> String {
    let names: Vec<String> = sources
        .into_iter()
        .map(|name| format!("({}, {})", literal(&name.schema), literal(&name.name)))
        .collect();
    let (schema, pipeline, names) = (identifier(schema), literal(pipeline), names.join(", "));
    let which = format!("pipeline = {pipeline} AND (source_schema, source_table) IN ({names})");
    format!("DELETE FROM {schema}.chunks WHERE {which}; DELETE FROM {schema}.missing WHERE {which}")
}
