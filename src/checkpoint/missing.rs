//! Rows that a table which is loaded in part lacks, and that an update could not make: it did not bring
//! all their values. Their keys wait here until the rest of the table is read. SQL only.

use tokio_postgres::Client;

use crate::checkpoint::CheckpointError;
use crate::pg::ident::{QualifiedName, identifier, literal};

/// A key's values as text, in the order of the target's key columns.
pub type Key = Vec<String>;

/// The head of a statement that writes a key down: what follows is the key as a `text[]`, and may be a
/// condition.
pub fn remember_text(schema: &str, pipeline: &str, source: &QualifiedName) -> String {
    format!(
        "INSERT INTO {}.missing (pipeline, source_schema, source_table, key) SELECT {}, {}, {},",
        identifier(schema),
        literal(pipeline),
        literal(&source.schema),
        literal(&source.name),
    )
}

/// A table's keys, each once, at most `keys_max` and one more.
pub async fn read(
    client: &Client,
    schema: &str,
    pipeline: &str,
    source: &QualifiedName,
    keys_max: usize,
) -> Result<Vec<Key>, CheckpointError> {
    let query = format!(
        "SELECT DISTINCT key FROM {}.missing WHERE pipeline = $1 AND source_schema = $2 \
         AND source_table = $3 LIMIT $4",
        identifier(schema)
    );
    let limit = i64::try_from(keys_max).unwrap_or(i64::MAX).saturating_add(1);
    let rows = client.query(&query, &[&pipeline, &source.schema, &source.name, &limit]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
