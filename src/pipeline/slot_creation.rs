//! Making a slot: it waits for every running write transaction, and says so.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::finding::Side;
use crate::pg::catalog;
use crate::pg::client::Client;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::State;
use crate::snapshot::ConsistentPoint;
use crate::wire::Session;

/// When to look for who is in the way: a healthy creation takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub struct SlotPlan<'a> {
    pub name: &'a str,
    pub is_temporary: bool,
    pub failover: bool,
}

/// Creates the slot and takes its snapshot. `None`: stopped meanwhile, and no slot is left behind.
pub async fn create(
    context: &Context,
    source: &Client,
    session: Session,
    plan: SlotPlan<'_>,
    shutdown: &CancellationToken,
) -> Result<Option<ConsistentPoint>, PipelineError> {
    let cancel = session.cancel_handle();
    let making = ConsistentPoint::of_slot(session, plan.name, plan.is_temporary, plan.failover);
    let mut making = std::pin::pin!(making);
    loop {
        tokio::select! {
            biased;
            made = &mut making => {
                let made = made.map_err(PipelineError::wire(Side::Source, "creating a slot"))?;
                tracing::info!(slot = plan.name, lsn = %made.lsn, "slot created");
                return Ok(Some(made));
            }
            () = shutdown.cancelled() => {
                // The server does not notice that we are gone while it waits for others.
                if let Err(error) = cancel.cancel().await {
                    tracing::warn!(slot = plan.name, %error, "the slot's creation could not be cancelled; it ends when the transactions it waits for do");
                }
                return Ok(None);
            }
            () = tokio::time::sleep(PATIENCE) => report(context, source, plan.name).await,
        }
    }
}

async fn report(context: &Context, source: &Client, slot: &str) {
    let blockers = match catalog::blocking_transactions(source).await {
        Ok(blockers) => blockers,
        Err(error) => {
            tracing::warn!(slot, %error, "waiting for transactions to end; could not ask which");
            return;
        }
    };
    for blocker in &blockers {
        tracing::warn!(
            slot,
            xid = blocker.transaction,
            pid = blocker.pid,
            prepared = blocker.prepared_name,
            role = blocker.role,
            "waiting for transaction(s) that were running when the slot's creation began"
        );
    }
    let reason = format!("waiting for {} transaction(s) to end", blockers.len());
    context.board.set_state(State::Waiting, reason);
}
