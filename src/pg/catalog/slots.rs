//! Replication slots, the WAL's end, and who delays a new slot.

use std::time::{Duration, SystemTime};

use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Row};

use super::{CatalogError, Cells, query, query_one};
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

/// A slot as `pg_replication_slots` shows it, on any version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    pub name: String,
    /// `logical` or `physical`.
    pub kind: String,
    pub plugin: Option<String>,
    pub database: Option<String>,
    pub temporary: bool,
    pub active: bool,
    pub active_pid: Option<i32>,
    pub restart_lsn: Option<Lsn>,
    pub confirmed_flush_lsn: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`; `None` while nothing is reserved.
    pub wal_status: Option<String>,
    /// How much more WAL may be written before the slot is lost; `None` is without limit.
    pub safe_wal_bytes: Option<i64>,
    pub two_phase: bool,
    /// Version 17 and later.
    pub invalidation_reason: Option<String>,
    /// Version 16 and later.
    pub conflicting: bool,
    /// Version 17 and later.
    pub failover: bool,
}

/// The slot of that name, if there is one.
pub async fn slot(client: &Client, name: &str) -> Result<Option<SlotInfo>, CatalogError> {
    const QUESTION: &str = "its replication slots";
    let rows = query(client, QUESTION, include_str!("slot.sql"), &[&name]).await?;
    rows.first().map(|row| slot_info(row, QUESTION)).transpose()
}

fn slot_info(row: &Row, question: &'static str) -> Result<SlotInfo, CatalogError> {
    let mut cells = Cells::new(row, question);
    Ok(SlotInfo {
        name: cells.next()?,
        kind: cells.next()?,
        plugin: cells.next()?,
        database: cells.next()?,
        temporary: cells.next()?,
        active: cells.next()?,
        active_pid: cells.next()?,
        restart_lsn: lsn(&mut cells)?,
        confirmed_flush_lsn: lsn(&mut cells)?,
        wal_status: cells.next()?,
        safe_wal_bytes: cells.next()?,
        two_phase: cells.next()?,
        invalidation_reason: cells.next()?,
        conflicting: cells.next()?,
        failover: cells.next()?,
    })
}

fn lsn(cells: &mut Cells<'_>) -> Result<Option<Lsn>, CatalogError> {
    Ok(cells.next::<Option<PgLsn>>()?.map(Lsn::from))
}

/// Where the source's WAL ends, and the source's clock just before that was read.
///
/// The end is what a logical walsender may send: flushed on a primary, replayed on a standby.
pub async fn wal_end(client: &Client) -> Result<(Lsn, PgTimestamp), CatalogError> {
    const QUESTION: &str = "the end of its WAL";
    let row = query_one(client, QUESTION, include_str!("wal_end.sql"), &[]).await?;
    let mut cells = Cells::new(&row, QUESTION);
    let now: SystemTime = cells.next()?;
    Ok((lsn(&mut cells)?.unwrap_or(Lsn::ZERO), PgTimestamp::from(now)))
}

/// How far the WAL is written, and how far it is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenWal {
    /// Every transaction that has committed by now did so before it.
    pub insert_lsn: Lsn,
    /// What a walsender may send.
    pub flush_lsn: Lsn,
    /// A commit is flushed within it, asynchronous ones included.
    pub flush_limit: Duration,
}

pub async fn written_wal(client: &Client) -> Result<WrittenWal, CatalogError> {
    const QUESTION: &str = "the end of its WAL";
    let row = query_one(client, QUESTION, include_str!("written.sql"), &[]).await?;
    let mut cells = Cells::new(&row, QUESTION);
    Ok(WrittenWal {
        insert_lsn: lsn(&mut cells)?.unwrap_or(Lsn::ZERO),
        flush_lsn: lsn(&mut cells)?.unwrap_or(Lsn::ZERO),
        flush_limit: Duration::from_millis(cells.next::<i64>()?.unsigned_abs()),
    })
}

/// What is asked each second: the WAL's end and how the slot stands. One cheap query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePollRow {
    /// The source's clock, read before `wal_end`: whoever has applied up to `wal_end` has applied
    /// everything up to this time.
    pub now: PgTimestamp,
    pub wal_end: Lsn,
    /// `None`: there is no such slot.
    pub slot: Option<SlotPoll>,
}

/// The slot's part of [`SourcePollRow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotPoll {
    pub active: bool,
    pub active_pid: Option<i32>,
    pub restart_lsn: Option<Lsn>,
    pub confirmed_flush_lsn: Option<Lsn>,
    pub wal_status: Option<String>,
    pub safe_wal_bytes: Option<i64>,
    pub invalidation_reason: Option<String>,
    /// WAL that the slot keeps: from `restart_lsn` to the WAL's end.
    pub retained_bytes: Option<u64>,
}

/// The WAL's end and the slot, as of now.
pub async fn poll(client: &Client, slot: &str) -> Result<SourcePollRow, CatalogError> {
    const QUESTION: &str = "the end of its WAL";
    let row = query_one(client, QUESTION, include_str!("poll.sql"), &[&slot]).await?;
    let mut cells = Cells::new(&row, QUESTION);
    let now: SystemTime = cells.next()?;
    let wal_end = lsn(&mut cells)?.unwrap_or(Lsn::ZERO);
    let exists: bool = cells.next()?;
    let slot = if exists { Some(slot_poll(&mut cells, wal_end)?) } else { None };
    Ok(SourcePollRow { now: PgTimestamp::from(now), wal_end, slot })
}

fn slot_poll(cells: &mut Cells<'_>, wal_end: Lsn) -> Result<SlotPoll, CatalogError> {
    let active = cells.next()?;
    let active_pid = cells.next()?;
    let restart_lsn = lsn(cells)?;
    Ok(SlotPoll {
        active,
        active_pid,
        restart_lsn,
        confirmed_flush_lsn: lsn(cells)?,
        wal_status: cells.next()?,
        safe_wal_bytes: cells.next()?,
        invalidation_reason: cells.next()?,
        retained_bytes: restart_lsn.map(|restart_lsn| wal_end.bytes_since(restart_lsn)),
    })
}

/// A transaction that writes (or is prepared): a slot that is being created waits for its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockingTransaction {
    /// `None`: a prepared transaction, see `prepared_name`.
    pub pid: Option<i32>,
    pub transaction: String,
    pub prepared_name: Option<String>,
    pub role: Option<String>,
    pub database: Option<String>,
    pub application_name: Option<String>,
    /// `None` where the role may not see it.
    pub began: Option<PgTimestamp>,
}

/// Writing and prepared transactions of the whole cluster, oldest first, ours left out.
pub async fn blocking_transactions(
    client: &Client,
) -> Result<Vec<BlockingTransaction>, CatalogError> {
    const QUESTION: &str = "its running transactions";
    let rows = query(client, QUESTION, include_str!("blocking_transactions.sql"), &[]).await?;
    let transaction = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(BlockingTransaction {
            pid: cells.next()?,
            transaction: cells.next()?,
            prepared_name: cells.next()?,
            role: cells.next()?,
            database: cells.next()?,
            application_name: cells.next()?,
            began: cells.next::<Option<SystemTime>>()?.map(PgTimestamp::from),
        })
    };
    rows.iter().map(transaction).collect()
}
