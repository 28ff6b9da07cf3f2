//! The second slot's row: how far the tables that are copied beside the stream have come. SQL only.
//!
//! ```text
//! no row ──► slot named ──► its point recorded ──► position moves with the rows ──► tables handed over,
//!    ▲          (no position: whatever stands                                       position forgotten
//!    │           under the name is ours)  ▲                                                │
//!    │                                    └── the slot is lost: its tables start over      │
//!    └───────────────────────────── slot dropped ◄─────────────────────────────────────────┘
//! ```

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::row::{CheckpointSql, LastCommit};
use crate::pg::ident::{identifier, literal};
use crate::pg::lsn::Lsn;

/// The row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUp {
    pub slot: String,
    /// End of the last commit or idle position that was applied; none while the slot is not there, or
    /// is to be dropped.
    pub applied_lsn: Option<Lsn>,
    pub last_commit: Option<LastCommit>,
}

/// Reads the row; none where no second slot is in use.
pub async fn read(
    client: &Client,
    sql: &CheckpointSql,
) -> Result<Option<CatchUp>, CheckpointError> {
    let query = format!(
        "SELECT slot, applied_lsn, commit_lsn, commit_xid, commit_time FROM {} WHERE pipeline = $1",
        table(sql)
    );
    let row = client.query_opt(&query, &[&sql.pipeline]).await?;
    Ok(row.map(|row| CatchUp {
        slot: row.get(0),
        applied_lsn: row.get::<_, Option<PgLsn>>(1).map(Lsn::from),
        last_commit: LastCommit::from_columns(row.get(2), row.get(3), row.get(4)),
    }))
}

/// The statement that names the slot before it exists, for a guarded transaction. A position that was
/// there is forgotten.
pub fn claim_text(sql: &CheckpointSql, slot: &str) -> String {
    format!(
        "INSERT INTO {} (pipeline, slot) VALUES ({}, {slot}) ON CONFLICT (pipeline) DO UPDATE SET \
         slot = {slot}, applied_lsn = NULL, commit_lsn = NULL, commit_xid = NULL, commit_time = NULL, \
         updated_at = pg_catalog.now()",
        table(sql),
        literal(&sql.pipeline),
        slot = literal(slot),
    )
}

/// The statement that records the slot's consistent point, for a guarded transaction.
pub fn point_text(sql: &CheckpointSql, point: Lsn) -> String {
    format!(
        "UPDATE {} SET applied_lsn = {}, updated_at = pg_catalog.now() WHERE pipeline = {}",
        table(sql),
        literal(&point.to_string()),
        literal(&sql.pipeline),
    )
}

/// The statement that forgets the row once its slot is dropped, for a guarded transaction.
pub fn forget_text(sql: &CheckpointSql) -> String {
    format!("DELETE FROM {} WHERE pipeline = {}", table(sql), literal(&sql.pipeline))
}

fn table(sql: &CheckpointSql) -> String {
    format!("{}.catch_up", identifier(&sql.schema))
}

impl CheckpointSql {
    /// The same pipeline's statements, where the position that moves is the second slot's. The epoch
    /// stays the pipeline's.
    pub fn of_catch_up(&self) -> CheckpointSql {
        let advance = format!(
            "WITH moved AS (UPDATE {} SET applied_lsn = $4, \
             commit_lsn = coalesce($5, commit_lsn), commit_xid = coalesce($6, commit_xid), \
             commit_time = coalesce($7, commit_time), updated_at = pg_catalog.now() \
             WHERE pipeline = $1 AND applied_lsn = $3 AND EXISTS (SELECT FROM {}.checkpoint \
             WHERE pipeline = $1 AND epoch = $2) RETURNING 1) SELECT 1 / count(*) FROM moved",
            table(self),
            identifier(&self.schema),
        );
        CheckpointSql { advance, ..self.clone() }
    }
}
