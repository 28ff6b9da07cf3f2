//! The once-a-second look at the source: WAL end, clock, slot; and its pulse (`super::pulse`).

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::pg::catalog;
use crate::pg::client::Client;
use crate::pipeline::context::Context;
use crate::pipeline::pulse::{self, Reports};
use crate::pipeline::retention::Retention;
use crate::pipeline::status::{SlotPoll, SourcePoll};

/// DESIGN: the lag in seconds is measured against a WAL-end poll every second.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Polls for as long as the agent runs, reconnecting by itself; its failures only show.
pub fn start(context: Context, reports: Reports) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut client = None;
        let mut retention = Retention::default();
        let mut tick = tokio::time::interval(POLL_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let stood = client.is_some();
            let polling = poll(&context, &mut client, &mut retention);
            let polled = pulse::answer(polling, || context.board.source_unreachable()).await;
            if polled != Some(true) {
                client = None;
                context.board.source_unreachable();
            }
            if polled.is_none() && stood {
                reports.silent();
            }
        }
    })
}

async fn poll(context: &Context, client: &mut Option<Client>, retention: &mut Retention) -> bool {
    if client.is_none() {
        *client = crate::pg::client::connect(&context.source, "poll").await.ok();
    }
    let Some(client) = client else { return false };
    let Ok(row) = catalog::poll(client, &context.settings.source.slot).await else {
        return false;
    };
    let retained_bytes = row.slot.as_ref().and_then(|slot| slot.retained_bytes);
    retention.look(context, retained_bytes.unwrap_or(0));
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
