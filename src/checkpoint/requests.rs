//! Requests of operators: rows in `requests`, written by a verb or by anybody with SQL. SQL only.
//!
//! ```text
//! waiting ──► taken (its effect is committed with it) ──► finished: done
//!    └──────────────────────────────────────────────────► finished: refused, with a message
//! ```

use tokio_postgres::{Client, Row};

use crate::checkpoint::CheckpointError;
use crate::checkpoint::row::CheckpointSql;
use crate::pg::ident::{identifier, literal};

/// One request that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub id: i64,
    /// An attempt has taken it before, and was cut off.
    pub is_taken: bool,
    pub verb: String,
    /// SQL-style names as they were written; none: every table.
    pub tables: Option<Vec<String>>,
    /// `options ->> 'truncate'`.
    pub truncate: bool,
}

/// What has become of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    pub is_taken: bool,
    /// `done` or `refused`, once it is finished.
    pub outcome: Option<String>,
    pub message: Option<String>,
}

/// What to write into a new row.
#[derive(Clone, Copy, Debug)]
pub struct NewRequest<'a> {
    pub verb: &'a str,
    pub tables: Option<&'a [String]>,
    pub truncate: bool,
}

fn table(sql: &CheckpointSql) -> String {
    format!("{}.requests", identifier(&sql.schema))
}

/// Whether the table is there: state of the first version has none.
pub async fn exists(client: &Client, sql: &CheckpointSql) -> Result<bool, CheckpointError> {
    let present = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    Ok(client.query_one(present, &[&table(sql)]).await?.get(0))
}

/// Whether a request for this pipeline waits that nobody has taken.
pub async fn has_waiting(client: &Client, sql: &CheckpointSql) -> Result<bool, CheckpointError> {
    let query = format!(
        "SELECT EXISTS (SELECT FROM {} WHERE pipeline = $1 AND taken_at IS NULL \
         AND finished_at IS NULL)",
        table(sql)
    );
    Ok(client.query_one(&query, &[&sql.pipeline]).await?.get(0))
}

/// Requests for this pipeline that are not finished, oldest first.
pub async fn unfinished(
    client: &Client,
    sql: &CheckpointSql,
) -> Result<Vec<Request>, CheckpointError> {
    let query = format!(
        "SELECT id, taken_at IS NOT NULL, verb, tables, \
         coalesce(options ->> 'truncate', '') = 'true' FROM {} \
         WHERE pipeline = $1 AND finished_at IS NULL ORDER BY id",
        table(sql)
    );
    let request = |row: &Row| Request {
        id: row.get(0),
        is_taken: row.get(1),
        verb: row.get(2),
        tables: row.get(3),
        truncate: row.get(4),
    };
    Ok(client.query(&query, &[&sql.pipeline]).await?.iter().map(request).collect())
}

/// Writes a request; gives its id.
pub async fn insert(
    client: &Client,
    sql: &CheckpointSql,
    request: NewRequest<'_>,
) -> Result<i64, CheckpointError> {
    let insert = format!(
        "INSERT INTO {} (pipeline, verb, tables, options) \
         VALUES ($1, $2, $3, pg_catalog.jsonb_build_object('truncate', $4::boolean)) RETURNING id",
        table(sql)
    );
    let row = client
        .query_one(&insert, &[&sql.pipeline, &request.verb, &request.tables, &request.truncate])
        .await?;
    Ok(row.get(0))
}

/// The statement that takes a request, for the transaction that has its effect.
pub fn take_text(sql: &CheckpointSql, id: i64) -> String {
    format!(
        "UPDATE {} SET taken_at = pg_catalog.now() WHERE id = {id} AND taken_at IS NULL",
        table(sql)
    )
}

/// Ends a request that cannot be carried out.
pub async fn refuse(
    client: &Client,
    sql: &CheckpointSql,
    id: i64,
    message: &str,
) -> Result<(), CheckpointError> {
    let update = format!(
        "UPDATE {} SET finished_at = pg_catalog.now(), outcome = 'refused', message = $2 \
         WHERE id = $1 AND finished_at IS NULL",
        table(sql)
    );
    client.execute(&update, &[&id, &message]).await?;
    Ok(())
}

/// Ends the requests of this pipeline that were taken.
pub async fn finish_taken(client: &Client, sql: &CheckpointSql) -> Result<(), CheckpointError> {
    let update = format!(
        "UPDATE {} SET finished_at = pg_catalog.now(), outcome = 'done' \
         WHERE pipeline = $1 AND taken_at IS NOT NULL AND finished_at IS NULL",
        table(sql)
    );
    client.execute(&update, &[&sql.pipeline]).await?;
    Ok(())
}

/// What has become of a request.
pub async fn fate(
    client: &Client,
    sql: &CheckpointSql,
    id: i64,
) -> Result<Option<Fate>, CheckpointError> {
    let query =
        format!("SELECT taken_at IS NOT NULL, outcome, message FROM {} WHERE id = $1", table(sql));
    let row = client.query_opt(&query, &[&id]).await?;
    Ok(row.map(|row| Fate { is_taken: row.get(0), outcome: row.get(1), message: row.get(2) }))
}

/// Forgets the pipeline's requests, for the transaction that forgets it.
pub fn forget_text(sql: &CheckpointSql) -> String {
    format!("DELETE FROM {} WHERE pipeline = {}", table(sql), literal(&sql.pipeline))
}
