//! Keeps the lease while an attempt lasts.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::row::{self, CheckpointSql, LEASE_RENEWAL};
use crate::pg::client::Client;

/// How long the destination may take to say whose the lease is, once an attempt has failed.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(2);

/// Renews until dropped. The task ends only with an error: fenced, or the connection is lost.
#[derive(Debug)]
pub struct Lease {
    client: Arc<Client>,
    sql: CheckpointSql,
    epoch: i64,
    task: JoinHandle<CheckpointError>,
}

impl Lease {
    /// `client` is the connection that acquired the lease: its backend is recorded as the holder's.
    pub fn keep(client: Arc<Client>, sql: CheckpointSql, epoch: i64) -> Lease {
        let task = tokio::spawn({
            let (client, sql) = (Arc::clone(&client), sql.clone());
            let renewing = async move {
                let mut tick = tokio::time::interval(LEASE_RENEWAL);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                tick.tick().await;
                loop {
                    tick.tick().await;
                    if let Err(error) = row::renew(&client, &sql, epoch).await {
                        return error;
                    }
                }
            };
            renewing.in_current_span()
        });
        Lease { client, sql, epoch, task }
    }

    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Ends when the lease cannot be kept. Cancel-safe.
    pub async fn lost(&mut self) -> CheckpointError {
        match (&mut self.task).await {
            Ok(error) => error,
            // The task is aborted only by its owner, who then no longer waits for it.
            Err(_) => CheckpointError::Gone { pipeline: self.sql.pipeline.clone() },
        }
    }

    /// Whether somebody took over meanwhile: a process that was stopped finds its connections ended
    /// by whoever did, and that says more than how.
    pub async fn superseded(&self) -> Option<CheckpointError> {
        let renewing = row::renew(&self.client, &self.sql, self.epoch);
        let renewed = tokio::time::timeout(RENEWAL_PATIENCE, renewing).await.ok()?;
        renewed.err().filter(|error| matches!(error, CheckpointError::Fenced { .. }))
    }

    /// Gives the lease back, so that a standby need not wait.
    pub async fn release(self) {
        self.task.abort();
        if let Err(error) = row::release(&self.client, &self.sql, self.epoch).await {
            tracing::debug!(%error, "the lease could not be given back; it runs out by itself");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}
