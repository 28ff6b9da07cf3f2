//! The destination's row: who may apply, and up to where has been applied. SQL only.
//!
//! Every destination transaction of a pipeline starts with [`CheckpointSql::guarded_begin_text`]
//! (the advisory lock in shared mode, then our epoch) and one that moves the position ends with
//! [`CheckpointSql::advance`]. Taking over ([`acquire`]) takes the lock exclusively and only then
//! reads the row: a COMMIT whose outcome nobody knows has one before the position is believed.
//!
//! **Invariant:** the statements raise an error inside the server (a division by zero) where they
//! touch no row, so that a COMMIT already on its way behind them becomes a ROLLBACK.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

use crate::checkpoint::CheckpointError;
use crate::model::change::Commit;
use crate::pg::ident::{identifier, literal};
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

/// How long a lease lasts without renewal, on the destination's clock.
pub const LEASE_SECONDS: f64 = 15.0;

/// How often the holder renews it: three chances before it runs out.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(5);

/// How long a take-over waits for the earlier holder's transaction before it ends that backend. The
/// lease has run out then, so nobody has renewed it for [`LEASE_SECONDS`]: with both, a standby has
/// taken over within 20 s of the moment at which the holder stopped. Longer only delays that.
const TAKE_OVER_PATIENCE: &str = "2s";

/// The pipeline's row as read under the exclusive lock.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub epoch: i64,
    /// End of the last applied commit or idle position; none before the slot exists.
    pub applied_lsn: Option<Lsn>,
    pub source_system_identifier: String,
    pub timeline: i32,
    pub slot: Option<String>,
    pub owned_publications: Vec<String>,
    /// The last applied commit, which must reappear identically if it is sent again.
    pub last_commit: Option<LastCommit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCommit {
    pub commit_lsn: Lsn,
    pub xid: i64,
    pub time: PgTimestamp,
}

impl LastCommit {
    /// From the three columns of a row, which are all there or none.
    pub fn from_columns(
        commit_lsn: Option<PgLsn>,
        xid: Option<i64>,
        time: Option<SystemTime>,
    ) -> Option<LastCommit> {
        let ((commit_lsn, xid), time) = commit_lsn.zip(xid).zip(time)?;
        Some(LastCommit { commit_lsn: commit_lsn.into(), xid, time: time.into() })
    }

    /// Whether `sent`, the last transaction that the source sent again and that was skipped, fits a
    /// history whose last applied commit is this one. An earlier one does: the slot was behind it,
    /// and what lies between had nothing for us.
    pub fn agrees_with(&self, sent: Commit) -> bool {
        match sent.commit_lsn.cmp(&self.commit_lsn) {
            Ordering::Less => true,
            Ordering::Equal => i64::from(sent.xid) == self.xid && sent.commit_time == self.time,
            Ordering::Greater => false,
        }
    }
}

/// What asking for the lease gave.
#[derive(Debug)]
pub enum Acquired {
    Ours {
        checkpoint: Checkpoint,
        /// The earlier holder is alive and has let its lease run out: a process that was stopped, or
        /// that the network has cut off. What it left at the source is still in use.
        from_stalled: bool,
    },
    /// Somebody else works; their description.
    Standby { holder: String },
}

/// The statements of one pipeline. Built once, prepared once a connection.
#[derive(Clone, Debug)]
pub struct CheckpointSql {
    pub schema: String,
    pub pipeline: String,
    /// `pg_advisory_xact_lock_shared` on the pipeline's key.
    pub lock_shared: String,
    /// Fails inside the server unless `$2` is still the epoch of `$1`.
    pub check_epoch: String,
    /// Moves the position, or fails inside the server. See [`CheckpointSql::advance`].
    pub advance: String,
}

impl CheckpointSql {
    pub fn new(schema: &str, pipeline: &str) -> CheckpointSql {
        let table = format!("{}.checkpoint", identifier(schema));
        CheckpointSql {
            schema: schema.to_owned(),
            pipeline: pipeline.to_owned(),
            lock_shared: format!("SELECT pg_catalog.pg_advisory_xact_lock_shared({LOCK_KEY})"),
            check_epoch: format!(
                "SELECT 1 / (SELECT count(*) FROM {table} WHERE pipeline = $1 AND epoch = $2)"
            ),
            advance: format!(
                "WITH moved AS (UPDATE {table} SET applied_lsn = $4, \
                 commit_lsn = coalesce($5, commit_lsn), commit_xid = coalesce($6, commit_xid), \
                 commit_time = coalesce($7, commit_time), updated_at = pg_catalog.now() \
                 WHERE pipeline = $1 AND epoch = $2 AND applied_lsn = $3 RETURNING 1) \
                 SELECT 1 / count(*) FROM moved"
            ),
        }
    }

    fn table(&self) -> String {
        format!("{}.checkpoint", identifier(&self.schema))
    }

    /// `BEGIN`, the lock and the epoch check as one simple query, for sessions without parameters.
    /// Each statement of it sees what the one before it waited for (READ COMMITTED).
    pub fn guarded_begin_text(&self, epoch: i64) -> String {
        let pipeline = literal(&self.pipeline);
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT \
             pg_catalog.pg_advisory_xact_lock_shared({}); \
             SELECT 1 / (SELECT count(*) FROM {} WHERE pipeline = {pipeline} AND epoch = {epoch})",
            LOCK_KEY.replace("$1", &pipeline),
            self.table(),
        )
    }
}

/// The advisory lock's key of pipeline `$1`.
const LOCK_KEY: &str = "pg_catalog.hashtextextended('sync-agent:' || $1::text, 0)";

/// Parameters of [`CheckpointSql::advance`].
#[derive(Clone, Copy, Debug)]
pub struct Advance {
    pub epoch: i64,
    pub from: Lsn,
    pub to: Lsn,
    /// The commit at `to`; none for an idle position.
    pub commit: Option<Commit>,
}

impl Advance {
    pub fn commit_lsn(&self) -> Option<PgLsn> {
        self.commit.map(|commit| commit.commit_lsn.into())
    }

    pub fn commit_xid(&self) -> Option<i64> {
        self.commit.map(|commit| i64::from(commit.xid))
    }

    pub fn commit_time(&self) -> Option<SystemTime> {
        self.commit.map(|commit| commit.commit_time.into())
    }
}

/// Who asks for the lease.
#[derive(Clone, Debug)]
pub struct Claim {
    /// For people: host and process.
    pub holder: String,
    pub source_system_identifier: String,
    pub timeline: i32,
}

/// Reads the row without taking anything.
pub async fn read(
    client: &Client,
    sql: &CheckpointSql,
) -> Result<Option<Checkpoint>, CheckpointError> {
    let query = format!(
        "SELECT epoch, applied_lsn, source_system_identifier, timeline, slot, owned_publications, \
         commit_lsn, commit_xid, commit_time FROM {} WHERE pipeline = $1",
        sql.table()
    );
    let row = client.query_opt(&query, &[&sql.pipeline]).await?;
    Ok(row.map(|row| Checkpoint {
        epoch: row.get(0),
        applied_lsn: row.get::<_, Option<PgLsn>>(1).map(Lsn::from),
        source_system_identifier: row.get(2),
        timeline: row.get(3),
        slot: row.get(4),
        owned_publications: row.get(5),
        last_commit: LastCommit::from_columns(row.get(6), row.get(7), row.get(8)),
    }))
}

/// Asks for the lease on the connection that will renew it: that backend is recorded as the holder's.
///
/// A live lease of a living backend means standby. Otherwise the row (made if absent) is ours under
/// a raised epoch. `previous_epoch` is the epoch this process held before, if any: its own lease
/// does not stand in its way.
pub async fn acquire(
    client: &Client,
    sql: &CheckpointSql,
    claim: &Claim,
    previous_epoch: Option<i64>,
) -> Result<Acquired, CheckpointError> {
    if let Some(holder) = living_holder(client, sql, previous_epoch).await? {
        return Ok(Acquired::Standby { holder });
    }
    take_lock(client, sql).await?;
    // The lock is the session's now; from here every way out releases it.
    let acquired = raise_epoch(client, sql, claim, previous_epoch).await;
    let unlock = format!("SELECT pg_catalog.pg_advisory_unlock({LOCK_KEY})");
    client.query_one(&unlock, &[&sql.pipeline]).await?;
    acquired
}

/// Who holds the lease, if it is not the process that held `previous_epoch`.
pub async fn living_holder(
    client: &Client,
    sql: &CheckpointSql,
    previous_epoch: Option<i64>,
) -> Result<Option<String>, CheckpointError> {
    let query = format!(
        "SELECT coalesce(c.holder, 'unknown') FROM {} c WHERE c.pipeline = $1 \
         AND c.lease_until > pg_catalog.clock_timestamp() AND c.epoch IS DISTINCT FROM $2 \
         AND EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE a.pid = c.holder_pid \
         AND (a.backend_start IS NULL OR a.backend_start = c.holder_started))",
        sql.table()
    );
    let row = client.query_opt(&query, &[&sql.pipeline, &previous_epoch]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// The epoch of whoever took the lease since we held it under `epoch`. A later one of our own, from a
/// connection that broke before it said so, is none of theirs.
pub async fn superseded(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
    holder: &str,
) -> Result<Option<i64>, CheckpointError> {
    let query = format!(
        "SELECT epoch FROM {} WHERE pipeline = $1 AND epoch > $2 AND holder IS DISTINCT FROM $3",
        sql.table()
    );
    let row = client.query_opt(&query, &[&sql.pipeline, &epoch, &holder]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Whether the holder's backend lives although nobody renews the lease.
async fn is_stalled(
    client: &Client,
    sql: &CheckpointSql,
    previous_epoch: Option<i64>,
) -> Result<bool, CheckpointError> {
    let query = format!(
        "SELECT EXISTS (SELECT 1 FROM {} c JOIN pg_catalog.pg_stat_activity a \
         ON a.pid = c.holder_pid AND a.backend_start = c.holder_started \
         WHERE c.pipeline = $1 AND c.epoch IS DISTINCT FROM $2)",
        sql.table()
    );
    Ok(client.query_one(&query, &[&sql.pipeline, &previous_epoch]).await?.get(0))
}

/// Takes the pipeline's lock for the session, ending the backends that hold it after a while.
async fn take_lock(client: &Client, sql: &CheckpointSql) -> Result<(), CheckpointError> {
    let lock = format!("SELECT pg_catalog.pg_advisory_lock({LOCK_KEY})");
    client.batch_execute(&format!("SET lock_timeout = '{TAKE_OVER_PATIENCE}'")).await?;
    let first = client.query_one(&lock, &[&sql.pipeline]).await;
    if first.is_err() {
        let terminate = format!(
            "SELECT pg_catalog.pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks l, \
             (SELECT {LOCK_KEY} AS key) k WHERE l.locktype = 'advisory' AND l.granted \
             AND l.pid <> pg_catalog.pg_backend_pid() AND l.objsubid = 1 \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database \
                               WHERE datname = pg_catalog.current_database()) \
             AND (l.classid::bigint << 32 | l.objid::bigint) = k.key"
        );
        client.query(&terminate, &[&sql.pipeline]).await?;
        client.query_one(&lock, &[&sql.pipeline]).await?;
    }
    client.batch_execute("SET lock_timeout = 0").await?;
    Ok(())
}

async fn raise_epoch(
    client: &Client,
    sql: &CheckpointSql,
    claim: &Claim,
    previous_epoch: Option<i64>,
) -> Result<Acquired, CheckpointError> {
    // Somebody may have been quicker between the first look and the lock.
    if let Some(holder) = living_holder(client, sql, previous_epoch).await? {
        return Ok(Acquired::Standby { holder });
    }
    let from_stalled = is_stalled(client, sql, previous_epoch).await?;
    let upsert = format!(
        "INSERT INTO {table} AS c (pipeline, epoch, lease_until, holder, holder_pid, \
         holder_started, source_system_identifier, timeline) \
         SELECT $1, 1, pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $2), $3, \
         a.pid, a.backend_start, $4, $5 FROM pg_catalog.pg_stat_activity a \
         WHERE a.pid = pg_catalog.pg_backend_pid() \
         ON CONFLICT (pipeline) DO UPDATE SET epoch = c.epoch + 1, \
         lease_until = excluded.lease_until, holder = excluded.holder, \
         holder_pid = excluded.holder_pid, holder_started = excluded.holder_started, \
         updated_at = pg_catalog.now()",
        table = sql.table()
    );
    client
        .execute(
            &upsert,
            &[
                &sql.pipeline,
                &LEASE_SECONDS,
                &claim.holder,
                &claim.source_system_identifier,
                &claim.timeline,
            ],
        )
        .await?;
    match read(client, sql).await? {
        Some(checkpoint) => Ok(Acquired::Ours { checkpoint, from_stalled }),
        None => Err(CheckpointError::Gone { pipeline: sql.pipeline.clone() }),
    }
}

/// Renews the lease; fenced where the epoch is no longer ours.
pub async fn renew(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
) -> Result<(), CheckpointError> {
    let update = format!(
        "UPDATE {} SET lease_until = pg_catalog.clock_timestamp() \
         + pg_catalog.make_interval(secs => $3) WHERE pipeline = $1 AND epoch = $2",
        sql.table()
    );
    let renewed = client.execute(&update, &[&sql.pipeline, &epoch, &LEASE_SECONDS]).await?;
    if renewed == 0 { Err(explain(client, sql, epoch, None).await?) } else { Ok(()) }
}

/// Gives the lease back on a clean stop, so that a standby takes over at once.
pub async fn release(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
) -> Result<(), CheckpointError> {
    let update = format!(
        "UPDATE {} SET lease_until = '-infinity', holder_pid = NULL, holder_started = NULL \
         WHERE pipeline = $1 AND epoch = $2",
        sql.table()
    );
    client.execute(&update, &[&sql.pipeline, &epoch]).await?;
    Ok(())
}

/// What the row says after [`CheckpointSql::check_epoch`] or [`CheckpointSql::advance`] failed.
pub async fn explain(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
    expected: Option<Lsn>,
) -> Result<CheckpointError, CheckpointError> {
    let pipeline = sql.pipeline.clone();
    Ok(match read(client, sql).await? {
        None => CheckpointError::Gone { pipeline },
        Some(row) if row.epoch != epoch => {
            CheckpointError::Fenced { pipeline, ours: epoch, theirs: row.epoch }
        }
        Some(row) => CheckpointError::Moved {
            pipeline,
            found: row.applied_lsn.map_or_else(|| "no position".to_owned(), |lsn| lsn.to_string()),
            expected: expected.unwrap_or(Lsn::ZERO),
        },
    })
}

/// Facts written once: the slot's name before it exists, its consistent point after.
pub async fn record_slot(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
    slot: &str,
    consistent_lsn: Option<Lsn>,
) -> Result<(), CheckpointError> {
    let update = format!(
        "UPDATE {} SET slot = $3, applied_lsn = $4, commit_lsn = NULL, commit_xid = NULL, \
         commit_time = NULL, updated_at = pg_catalog.now() WHERE pipeline = $1 AND epoch = $2",
        sql.table()
    );
    let lsn = consistent_lsn.map(PgLsn::from);
    let updated = client.execute(&update, &[&sql.pipeline, &epoch, &slot, &lsn]).await?;
    if updated == 0 { Err(explain(client, sql, epoch, None).await?) } else { Ok(()) }
}

/// Which source a position belongs to.
#[derive(Clone, Copy, Debug)]
pub struct SourceOrigin<'a> {
    pub system_identifier: &'a str,
    pub timeline: i32,
}

/// Remembers another source: everything of the earlier one is about to be copied again.
pub async fn record_source(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
    origin: SourceOrigin<'_>,
) -> Result<(), CheckpointError> {
    let update = format!(
        "UPDATE {} SET source_system_identifier = $3, timeline = $4 \
         WHERE pipeline = $1 AND epoch = $2",
        sql.table()
    );
    let SourceOrigin { system_identifier, timeline } = origin;
    let updated =
        client.execute(&update, &[&sql.pipeline, &epoch, &system_identifier, &timeline]).await?;
    if updated == 0 { Err(explain(client, sql, epoch, None).await?) } else { Ok(()) }
}

/// Everything is about to be copied again: what was applied before need not be in the source's history.
pub async fn forget_last_commit(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
) -> Result<(), CheckpointError> {
    let update = format!(
        "UPDATE {} SET commit_lsn = NULL, commit_xid = NULL, commit_time = NULL \
         WHERE pipeline = $1 AND epoch = $2",
        sql.table()
    );
    let updated = client.execute(&update, &[&sql.pipeline, &epoch]).await?;
    if updated == 0 { Err(explain(client, sql, epoch, None).await?) } else { Ok(()) }
}

/// Remembers which publications we made, and so may alter and drop.
pub async fn record_publications(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
    owned: &[String],
) -> Result<(), CheckpointError> {
    let update = format!(
        "UPDATE {} SET owned_publications = $3 WHERE pipeline = $1 AND epoch = $2",
        sql.table()
    );
    let updated = client.execute(&update, &[&sql.pipeline, &epoch, &owned]).await?;
    if updated == 0 { Err(explain(client, sql, epoch, None).await?) } else { Ok(()) }
}

/// The living holder of the lease, for verbs that must not disturb it.
pub async fn holder(
    client: &Client,
    sql: &CheckpointSql,
) -> Result<Option<String>, CheckpointError> {
    living_holder(client, sql, None).await
}

/// When the position moved last, on the destination's clock.
pub async fn updated_at(
    client: &Client,
    sql: &CheckpointSql,
) -> Result<Option<SystemTime>, CheckpointError> {
    let query = format!("SELECT updated_at FROM {} WHERE pipeline = $1", sql.table());
    let row = client.query_opt(&query, &[&sql.pipeline]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Forgets the pipeline under the lease that `epoch` stands for: its tables' records and its row.
pub async fn forget(
    client: &Client,
    sql: &CheckpointSql,
    epoch: i64,
) -> Result<(), CheckpointError> {
    let (schema, pipeline) = (identifier(&sql.schema), literal(&sql.pipeline));
    let text = format!(
        "{}; DELETE FROM {schema}.requests WHERE pipeline = {pipeline}; \
         DELETE FROM {schema}.chunks WHERE pipeline = {pipeline}; \
         DELETE FROM {schema}.missing WHERE pipeline = {pipeline}; \
         DELETE FROM {schema}.catch_up WHERE pipeline = {pipeline}; \
         DELETE FROM {schema}.tables WHERE pipeline = {pipeline}; \
         DELETE FROM {schema}.checkpoint WHERE pipeline = {pipeline}; COMMIT",
        sql.guarded_begin_text(epoch)
    );
    let Err(error) = client.batch_execute(&text).await else { return Ok(()) };
    client.batch_execute("ROLLBACK").await?;
    match read(client, sql).await? {
        Some(row) if row.epoch == epoch => Err(error.into()),
        _ => Err(explain(client, sql, epoch, None).await?),
    }
}

/// The pipelines that the schema remembers, one-off snapshots among them.
pub async fn pipelines(client: &Client, schema: &str) -> Result<Vec<String>, CheckpointError> {
    let query = format!("SELECT pipeline FROM {}.checkpoint", identifier(schema));
    let rows = client.query(&query, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// How many pipelines the state schema knows.
pub async fn pipeline_count(client: &Client, schema: &str) -> Result<i64, CheckpointError> {
    let query = format!("SELECT count(*) FROM {}.checkpoint", identifier(schema));
    Ok(client.query_one(&query, &[]).await?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(commit_lsn: u64, xid: u32, time: i64) -> Commit {
        Commit {
            commit_lsn: Lsn::new(commit_lsn),
            end_lsn: Lsn::new(commit_lsn + 48),
            commit_time: PgTimestamp(time),
            xid,
        }
    }

    #[test]
    fn another_commit_at_the_same_place_is_another_history() {
        let applied = LastCommit { commit_lsn: Lsn::new(100), xid: 7, time: PgTimestamp(5) };
        assert!(applied.agrees_with(sent(100, 7, 5)));
        assert!(applied.agrees_with(sent(50, 3, 1)));
        assert!(!applied.agrees_with(sent(100, 8, 5)));
        assert!(!applied.agrees_with(sent(100, 7, 6)));
        assert!(!applied.agrees_with(sent(101, 9, 6)), "a commit that was never applied");
    }
}
