//! The once-a-second look at the source: WAL end, clock, slot.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::pg::catalog;
use crate::pg::client::Client;
use crate::pipeline::context::Context;
use crate::pipeline::status::{SlotPoll, SourcePoll};

/// DESIGN: the lag in seconds is measured against a WAL-end poll every second.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A poll that takes longer counts as unreachable.
const POLL_TIMEOUT: Duration = Duration::from_secs(10);

/// Polls for as long as the agent runs, reconnecting by itself; its failures only show.
pub fn start(context: Context) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut client = None;
        let mut tick = tokio::time::interval(POLL_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let polled = tokio::time::timeout(POLL_TIMEOUT, poll(&context, &mut client)).await;
            if !matches!(polled, Ok(true)) {
                client = None;
                context.board.source_unreachable();
            }
        }
    })
}

async fn poll(context: &Context, client: &mut Option<Client>) -> bool {
    if client.is_none() {
        *client = crate::pg::client::connect(&context.source, "poll").await.ok();
    }
    let Some(client) = client else { return false };
    let Ok(row) = catalog::poll(client, &context.settings.source.slot).await else {
        return false;
    };
    context.board.source_poll(SourcePoll {
        wal_end: row.wal_end,
        server_time: row.now,
        slot: row.slot.map(|slot| SlotPoll {
            confirmed_flush: slot.confirmed_flush_lsn,
            restart_lsn: slot.restart_lsn,
            retained_bytes: slot.retained_bytes.unwrap_or(0),
            safe_bytes: slot.safe_wal_bytes,
            wal_status: slot.wal_status.unwrap_or_else(|| "unknown".to_owned()),
            active: slot.active,
        }),
    });
    true
}
