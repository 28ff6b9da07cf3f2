//! Making a slot: it waits for every running write transaction, and says so.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::settings::Failover;
use crate::model::finding::Side;
use crate::pg::catalog;
use crate::pg::client::Client;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::Look;
use crate::pipeline::status::State;
use crate::snapshot::ConsistentPoint;
use crate::source::preflight::has_failover_slots;
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

/// Makes a slot that is there what the settings say of failover; "auto" leaves it as it is.
pub async fn align_failover(
    context: &Context,
    source: &Client,
    session: &mut Session,
    look: &Look,
) -> Result<(), PipelineError> {
    let wanted = match context.settings.source.failover {
        Failover::Auto => return Ok(()),
        Failover::On => true,
        Failover::Off => false,
    };
    let name = &context.settings.source.slot;
    let slot = catalog::slot(source, name).await.map_err(PipelineError::catalog(Side::Source))?;
    let is_other = slot.is_some_and(|slot| slot.failover != wanted);
    if !is_other || !has_failover_slots(&look.source_facts) {
        return Ok(());
    }
    let altered = session.alter_slot_failover(name, wanted).await;
    altered.map_err(PipelineError::wire(Side::Source, "altering a slot"))?;
    tracing::info!(slot = name, failover = wanted, "slot altered, as source.failover says");
    Ok(())
}

async fn report(context: &Context, source: &Client, slot: &str) {
    let facts = catalog::server_facts(source).await;
    if facts.is_ok_and(|facts| facts.in_recovery) {
        // It waits for a record of the primary's, which an idle primary does not write.
        let reason = "waiting for activity on the primary: a slot on a standby needs a record of its \
             running transactions; SELECT pg_log_standby_snapshot() there writes one";
        tracing::warn!(slot, "{reason}");
        context.board.set_state(State::Waiting, reason);
        return;
    }
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
