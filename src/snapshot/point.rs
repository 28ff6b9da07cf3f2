//! The consistent point of a copy: an exported snapshot, and the LSN up to which it sees.
//!
//! Why two kinds? A slot's creation exports the snapshot that goes with its first change: copy plus
//! stream is exact (`CREATE_REPLICATION_SLOT … EXPORT_SNAPSHOT`). A one-off backfill needs no
//! stream and so no slot: any repeatable-read transaction exports its snapshot, and its LSN is only
//! for the report.
//!
//! An exported snapshot dies with the next command on the session that exported it. The session is
//! therefore kept in here, unused, until the last worker has finished.

use crate::pg::client::Client;
use crate::pg::ident::literal;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;
use crate::wire::{CreatedSlot, Session, WireError};

/// Keeps the exporting session alive.
#[derive(Debug)]
enum Holder {
    Slot(Box<Session>),
    Transaction(Box<Client>),
}

#[derive(Debug)]
pub struct ConsistentPoint {
    /// Transactions whose commit record starts before it are in the snapshot, later ones are not.
    pub lsn: Lsn,
    pub snapshot: String,
    /// The source's clock when the snapshot was taken.
    pub taken_at: PgTimestamp,
    holder: Holder,
}

impl ConsistentPoint {
    /// Creates a slot and takes its snapshot. A temporary slot goes away with the point.
    pub async fn of_slot(
        mut session: Session,
        slot: &str,
        is_temporary: bool,
        has_failover: bool,
    ) -> Result<ConsistentPoint, WireError> {
        let CreatedSlot { consistent_lsn, snapshot_name } =
            session.create_logical_slot(slot, is_temporary, has_failover).await?;
        Ok(ConsistentPoint {
            lsn: consistent_lsn,
            snapshot: snapshot_name,
            taken_at: PgTimestamp::now(),
            holder: Holder::Slot(Box::new(session)),
        })
    }

    /// Takes the snapshot of an ordinary transaction.
    pub async fn of_transaction(client: Client) -> Result<ConsistentPoint, tokio_postgres::Error> {
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let row = client
            .query_one(
                "SELECT pg_catalog.pg_export_snapshot(), CASE \
                 WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
                 ELSE pg_catalog.pg_current_wal_insert_lsn() END, pg_catalog.clock_timestamp()",
                &[],
            )
            .await?;
        Ok(ConsistentPoint {
            lsn: row.get::<_, tokio_postgres::types::PgLsn>(1).into(),
            snapshot: row.get(0),
            taken_at: row.get::<_, std::time::SystemTime>(2).into(),
            holder: Holder::Transaction(Box::new(client)),
        })
    }

    /// The statements that put a worker's session under the snapshot.
    pub fn import_sql(&self) -> String {
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
            literal(&self.snapshot)
        )
    }

    /// Lets the snapshot (and a temporary slot) go.
    pub async fn release(self) {
        match self.holder {
            // A replication session holds nothing after its end.
            Holder::Slot(session) => drop(session),
            Holder::Transaction(client) => {
                if let Err(error) = client.batch_execute("COMMIT").await {
                    tracing::debug!(%error, "the snapshot's session had ended already");
                }
            }
        }
    }
}

/// The name of the second slot, by which tables catch up that are copied beside the stream.
pub fn sync_slot_name(slot: &str) -> String {
    suffixed(slot, "_sync")
}

/// The name of a temporary slot that only gives a later consistent point.
pub fn point_slot_name(slot: &str) -> String {
    suffixed(slot, "_point")
}

fn suffixed(slot: &str, suffix: &str) -> String {
    // 63 bytes is the longest slot name; the suffix must survive.
    let stem: String = slot.chars().take(63 - suffix.len()).collect();
    format!("{stem}{suffix}")
}
