//! The destination's record of each table's copy. SQL only.

use std::time::SystemTime;

use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Row};

use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::{CheckpointError, chunks};
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;
use crate::pg::time::PgTimestamp;

/// How far a table's copy is. Only what must survive a restart is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// Chosen; its copy may have begun. What it holds at the destination is ours to remove.
    Copying,
    /// To be copied again; its old rows stay readable until the new ones are there.
    Replacing,
    /// Chosen; its copy may have begun, into a table that held rows before: they stay.
    Merging,
    /// All rows as of `copied_lsn` are at the destination; later changes come by the second slot,
    /// until the stream takes the table over.
    CatchingUp,
    /// All rows as of `copied_lsn` are at the destination; later changes come from the stream.
    Copied,
}

impl CopyState {
    fn of(text: &str) -> CopyState {
        match text {
            "copied" => CopyState::Copied,
            "catching_up" => CopyState::CatchingUp,
            "replacing" => CopyState::Replacing,
            "merging" => CopyState::Merging,
            _ => CopyState::Copying,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            CopyState::Copying => "copying",
            CopyState::Replacing => "replacing",
            CopyState::Merging => "merging",
            CopyState::CatchingUp => "catching_up",
            CopyState::Copied => "copied",
        }
    }
}

/// One table's record.
#[derive(Clone, Debug)]
pub struct TableRecord {
    pub source: QualifiedName,
    pub destination: QualifiedName,
    pub state: CopyState,
    /// The consistent point its rows were copied at, or are being copied at: earlier transactions are
    /// in the copy.
    pub copied_lsn: Option<Lsn>,
    /// The agent created the destination's table.
    pub created: bool,
    pub fingerprint: String,
    /// The source's columns when the table was chosen.
    pub known_columns: Vec<String>,
    pub rows: i64,
    pub bytes: i64,
    /// When that was, on the source's clock.
    pub copied_at: Option<SystemTime>,
    /// The source's table by OID: another one of the same name is another table.
    pub source_oid: Option<Oid>,
    /// What the publications published of it, in a form that only compares.
    pub published: Option<String>,
    /// The leaves of a partitioned source table, sorted; `None` for a table without partitions.
    pub partitions: Option<Vec<Oid>>,
    /// What is built after the load (indexes, foreign keys) is built.
    pub finished: bool,
    /// The source's columns as they were judged last; `None` for records of an earlier version.
    pub source_shape: Option<SourceShape>,
    /// It is copied beside the stream: its changes come by the second slot, and not by the first.
    pub beside: bool,
    /// The destination's table: `None` until it was looked at, 0 once it was found replaced.
    pub destination_oid: Option<Oid>,
}

/// All tables of a pipeline, by name.
pub async fn read_all(
    client: &Client,
    schema: &str,
    pipeline: &str,
) -> Result<Vec<TableRecord>, CheckpointError> {
    // The last seven came with versions 2 and 3 of the state: read by name, so that a look does not fail
    // on state that the next `run` upgrades.
    let query = format!(
        "SELECT t.source_schema, t.source_table, t.destination_schema, t.destination_table, \
         t.state, t.copied_lsn, t.created, t.fingerprint, t.known_columns, t.rows, t.bytes, \
         t.copied_at, (j.row ->> 'source_oid')::oid, j.row ->> 'published', \
         CASE WHEN pg_catalog.jsonb_typeof(j.row -> 'partitions') = 'array' THEN \
         ARRAY(SELECT pg_catalog.jsonb_array_elements_text(j.row -> 'partitions')::oid) END, \
         coalesce((j.row ->> 'finished')::boolean, true), \
         j.row ->> 'source_shape', (j.row ->> 'destination_oid')::oid, \
         coalesce((j.row ->> 'beside')::boolean, false) \
         FROM {}.tables t CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(t)) AS j (row) \
         WHERE t.pipeline = $1 ORDER BY 1, 2",
        identifier(schema)
    );
    let rows = client.query(&query, &[&pipeline]).await?;
    Ok(rows.iter().map(from_row).collect())
}

fn from_row(row: &Row) -> TableRecord {
    let state: &str = row.get(4);
    TableRecord {
        source: QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        destination: QualifiedName::new(row.get::<_, String>(2), row.get::<_, String>(3)),
        state: CopyState::of(state),
        copied_lsn: row.get::<_, Option<PgLsn>>(5).map(Lsn::from),
        created: row.get(6),
        fingerprint: row.get(7),
        known_columns: row.get(8),
        rows: row.get(9),
        bytes: row.get(10),
        copied_at: row.get(11),
        source_oid: row.get(12),
        published: row.get(13),
        partitions: row.get(14),
        finished: row.get(15),
        source_shape: row.get::<_, Option<&str>>(16).and_then(SourceShape::from_text),
        destination_oid: row.get(17),
        beside: row.get(18),
    }
}

/// Whether the pipeline has tables and all of them are copied: only then does its position say what
/// the destination holds.
pub async fn are_all_copied(
    client: &Client,
    schema: &str,
    pipeline: &str,
) -> Result<bool, CheckpointError> {
    let query = format!(
        "SELECT coalesce(bool_and(state = $2), false) FROM {}.tables WHERE pipeline = $1",
        identifier(schema)
    );
    let row = client.query_one(&query, &[&pipeline, &CopyState::Copied.as_str()]).await?;
    Ok(row.get(0))
}

/// Writes a table's record, whole.
pub async fn write(
    client: &Client,
    schema: &str,
    pipeline: &str,
    record: &TableRecord,
) -> Result<(), CheckpointError> {
    Ok(client.batch_execute(&write_text(schema, pipeline, record)).await?)
}

/// The statement that writes a table's record, for a transaction that does more.
pub fn write_text(schema: &str, pipeline: &str, record: &TableRecord) -> String {
    let columns: Vec<String> = record.known_columns.iter().map(|name| literal(name)).collect();
    let values = [
        literal(pipeline),
        literal(&record.source.schema),
        literal(&record.source.name),
        literal(&record.destination.schema),
        literal(&record.destination.name),
        literal(record.state.as_str()),
        record.copied_lsn.map_or_else(null, |lsn| literal(&lsn.to_string())),
        record.created.to_string(),
        literal(&record.fingerprint),
        format!("ARRAY[{}]::text[]", columns.join(", ")),
        record.rows.to_string(),
        record.bytes.to_string(),
        record.copied_at.map_or_else(null, timestamp),
        record.source_oid.map_or_else(null, |oid| oid.to_string()),
        record.published.as_deref().map_or_else(null, literal),
        record.partitions.as_deref().map_or_else(null, oids),
        record.finished.to_string(),
        record.source_shape.as_ref().map_or_else(null, |shape| literal(&shape.to_text())),
        record.destination_oid.map_or_else(null, |oid| oid.to_string()),
        record.beside.to_string(),
    ];
    format!(
        "INSERT INTO {}.tables (pipeline, source_schema, source_table, destination_schema, \
         destination_table, state, copied_lsn, created, fingerprint, known_columns, rows, bytes, \
         copied_at, source_oid, published, partitions, finished, source_shape, destination_oid, \
         beside) VALUES ({}) ON CONFLICT (pipeline, source_schema, source_table) DO UPDATE SET \
         destination_schema = excluded.destination_schema, \
         destination_table = excluded.destination_table, state = excluded.state, \
         copied_lsn = excluded.copied_lsn, created = excluded.created, \
         fingerprint = excluded.fingerprint, known_columns = excluded.known_columns, \
         rows = excluded.rows, bytes = excluded.bytes, copied_at = excluded.copied_at, \
         source_oid = excluded.source_oid, published = excluded.published, \
         partitions = excluded.partitions, finished = excluded.finished, \
         source_shape = excluded.source_shape, destination_oid = excluded.destination_oid, \
         beside = excluded.beside",
        identifier(schema),
        values.join(", ")
    )
}

/// Records what is known of a table's columns, and nothing else. The caller has begun a guarded
/// transaction.
pub fn shape_text(
    schema: &str,
    pipeline: &str,
    source: &QualifiedName,
    shape: &SourceShape,
) -> String {
    format!(
        "UPDATE {}.tables SET source_shape = {} WHERE pipeline = {} AND source_schema = {} \
         AND source_table = {}",
        identifier(schema),
        literal(&shape.to_text()),
        literal(pipeline),
        literal(&source.schema),
        literal(&source.name)
    )
}

fn oids(oids: &[Oid]) -> String {
    let numbers: Vec<String> = oids.iter().map(ToString::to_string).collect();
    format!("'{{{}}}'::oid[]", numbers.join(","))
}

fn null() -> String {
    "NULL".to_owned()
}

/// To the microsecond, which a number of seconds would not keep. Multiplied, because version 14
/// reads at most 2^31 of a unit in an interval's text; the product is exact up to 2^53.
fn timestamp(time: SystemTime) -> String {
    format!(
        "'epoch'::pg_catalog.timestamptz + {} * '1 microsecond'::pg_catalog.interval",
        PgTimestamp::from(time).unix_micros()
    )
}

/// Starts the named tables over, as `state` says. The caller has begun a guarded transaction.
pub fn reopen_text(
    schema: &str,
    pipeline: &str,
    sources: &[QualifiedName],
    state: CopyState,
) -> String {
    let names: Vec<String> = sources
        .iter()
        .map(|name| format!("({}, {})", literal(&name.schema), literal(&name.name)))
        .collect();
    format!(
        "UPDATE {}.tables SET state = {}, copied_lsn = NULL, copied_at = NULL, rows = 0, \
         bytes = 0, beside = false WHERE pipeline = {} AND (source_schema, source_table) IN ({}); {}",
        identifier(schema),
        literal(state.as_str()),
        literal(pipeline),
        names.join(", "),
        chunks::forget_text(schema, pipeline, sources)
    )
}

/// Hands the tables that were copied beside the stream over to it: what stands before `reached` they
/// have. Fails inside the server where the stream is further than that. The caller has begun a guarded
/// transaction.
pub fn hand_over_text(schema: &str, pipeline: &str, reached: Lsn) -> String {
    format!(
        "SELECT 1 / (SELECT count(*) FROM {schema}.checkpoint WHERE pipeline = {pipeline} \
         AND applied_lsn <= {reached}); \
         UPDATE {schema}.tables SET state = {}, beside = false, copied_lsn = {reached} \
         WHERE pipeline = {pipeline} AND state = {}",
        literal(CopyState::Copied.as_str()),
        literal(CopyState::CatchingUp.as_str()),
        schema = identifier(schema),
        pipeline = literal(pipeline),
        reached = literal(&reached.to_string()),
    )
}

/// Records that what follows a table's load is built. The caller has begun a guarded transaction.
pub fn finish_text(schema: &str, pipeline: &str, source: &QualifiedName) -> String {
    format!(
        "UPDATE {}.tables SET finished = true WHERE pipeline = {} AND source_schema = {} AND \
         source_table = {}",
        identifier(schema),
        literal(pipeline),
        literal(&source.schema),
        literal(&source.name),
    )
}

/// Destination tables of pipelines whose name does not end in `suffix`, with the pipeline's name.
pub async fn fed_by_others(
    client: &Client,
    schema: &str,
    suffix: &str,
) -> Result<Vec<(QualifiedName, String)>, CheckpointError> {
    let query = format!(
        "SELECT destination_schema, destination_table, pipeline FROM {}.tables \
         WHERE pg_catalog.right(pipeline, pg_catalog.length($1)) <> $1 ORDER BY 1, 2, 3",
        identifier(schema)
    );
    let rows = client.query(&query, &[&suffix]).await?;
    let fed = |row: &Row| {
        let name = QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (name, row.get(2))
    };
    Ok(rows.iter().map(fed).collect())
}

/// A table that a pipeline fills.
#[derive(Clone, Debug)]
pub struct Filled {
    pub pipeline: String,
    pub source: QualifiedName,
    pub destination: QualifiedName,
}

/// Tables that pipelines fill from one system.
pub async fn filled_from(
    client: &Client,
    schema: &str,
    system_identifier: &str,
) -> Result<Vec<Filled>, CheckpointError> {
    let query = format!(
        "SELECT t.pipeline, t.source_schema, t.source_table, t.destination_schema, \
         t.destination_table FROM {schema}.tables t JOIN {schema}.checkpoint c USING (pipeline) \
         WHERE c.source_system_identifier = $1 ORDER BY 1, 2, 3",
        schema = identifier(schema)
    );
    let rows = client.query(&query, &[&system_identifier]).await?;
    let name = |row: &Row, first: usize| {
        QualifiedName::new(row.get::<_, String>(first), row.get::<_, String>(first + 1))
    };
    let filled = |row: &Row| Filled {
        pipeline: row.get(0),
        source: name(row, 1),
        destination: name(row, 3),
    };
    Ok(rows.iter().map(filled).collect())
}

/// The statement that forgets tables that are no longer chosen (their rows stay), for a guarded
/// transaction.
pub fn forget_text(schema: &str, pipeline: &str, sources: &[QualifiedName]) -> String {
    let names: Vec<String> = sources
        .iter()
        .map(|name| format!("({}, {})", literal(&name.schema), literal(&name.name)))
        .collect();
    format!(
        "DELETE FROM {}.tables WHERE pipeline = {} AND (source_schema, source_table) IN ({}); {}",
        identifier(schema),
        literal(pipeline),
        names.join(", "),
        chunks::forget_text(schema, pipeline, sources)
    )
}

/// Forgets tables that are no longer chosen (their rows stay).
pub async fn forget(
    client: &Client,
    schema: &str,
    pipeline: &str,
    source: &QualifiedName,
) -> Result<(), CheckpointError> {
    let delete = format!(
        "DELETE FROM {}.tables WHERE pipeline = $1 AND source_schema = $2 AND source_table = $3",
        identifier(schema)
    );
    client.execute(&delete, &[&pipeline, &source.schema, &source.name]).await?;
    Ok(())
}
