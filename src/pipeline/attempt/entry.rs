//! From nothing to the lease: connect, look, preflight, stand by while somebody else works.
//!
//! Whoever starts beside an agent at work sees its half-made objects: a slot that no row explained
//! a moment ago, tables that are being filled. So what preflight says counts only while nobody
//! else holds the lease, and all is looked at again when it becomes free.
//!
//! **Invariant:** nothing but the state schema is created before the lease is ours.

use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, holder_name};
use crate::checkpoint::row::{self, Acquired, Checkpoint, Claim};
use crate::checkpoint::schema::{self, Presence};
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::client::Client;
use crate::pipeline::check::explain_refusal;
use crate::pipeline::error::PipelineError;
use crate::pipeline::lineage::{self, Claimant};
use crate::pipeline::look::{Look, look};
use crate::pipeline::membership;
use crate::pipeline::pooling;
use crate::pipeline::status::State;
use crate::pipeline::wait::committed_position;
use crate::wire::Session;

/// Between two looks at a lease that somebody else holds. They release it on a clean stop, and its
/// backend is gone on a crash: either shows at the next look.
const STANDBY_LOOK: Duration = Duration::from_secs(1);

/// Refusals beside a working agent that its next steps may explain; each is followed by another
/// look. More only delay the warning.
const DOUBTS_MAX: u32 = 3;

/// The connections, before anything was asked over them.
struct Connected {
    source: Arc<Client>,
    destination: Arc<Client>,
    /// Does nothing else: a query that waits for a lock must not let the lease run out.
    lease: Client,
    replication: Session,
}

/// All that must come before the work: connections, what they showed, the lease.
pub(super) struct Ready {
    pub(super) source: Arc<Client>,
    pub(super) destination: Arc<Client>,
    pub(super) lease: Client,
    pub(super) replication: Session,
    pub(super) look: Look,
    pub(super) checkpoint: Checkpoint,
}

impl Attempt<'_> {
    /// Takes the lease after all that must come before it.
    pub(super) async fn enter(&mut self) -> Result<Ready, PipelineError> {
        let mut connected = self.connect().await?;
        let mut doubts = 0;
        let (look, checkpoint) = loop {
            let Connected { destination, replication, .. } = &mut connected;
            let claimant = Claimant { holder: &holder_name(), epoch: self.memory.epoch };
            lineage::refuse_broken(self.context, destination, replication, claimant).await?;
            let seen = self.look(&mut connected).await?;
            if let Err(error) = self.preflight(&connected, &seen).await {
                self.doubt(&connected.destination, error, &mut doubts).await?;
                continue;
            }
            if self.options.until_caught_up && self.memory.until.is_none() {
                self.memory.until = Some(committed_position(&connected.source).await?);
            }
            schema::ensure(&connected.destination, &self.context.checkpoint.schema).await?;
            match self.acquire(&connected.lease, &seen).await? {
                Some(checkpoint) => break (seen, checkpoint),
                None => self.stand_by(&connected.destination).await?,
            }
        };
        if self.context.board.state() == State::Standby {
            tracing::info!(epoch = checkpoint.epoch, "the lease is ours; taking over");
            self.context.board.set_state(State::Starting, "taking over");
        }
        let look = self.still_true(&mut connected, look, &checkpoint).await?;
        self.memory.is_preflighted = true;
        self.context.set_established();
        let Connected { source, destination, lease, replication } = connected;
        Ok(Ready { source, destination, lease, replication, look, checkpoint })
    }

    /// All three connections. A refusal before the first success is explained as `check` would.
    async fn connect(&mut self) -> Result<Connected, PipelineError> {
        let context = self.context;
        let source = context.source_client("control").await;
        let source = self.explained(Side::Source, source).await?;
        let destination = context.destination_client("control").await;
        let destination = self.explained(Side::Destination, destination).await?;
        let lease = context.destination_client("lease").await?;
        self.memory.reached.destination = true;
        if !self.memory.is_preflighted {
            // Before anything that fails behind a pooler in a way of its own.
            pooling::refuse(context, &source, &destination).await?;
        }
        let replication = context.replication_session().await;
        let replication = self.explained(Side::Source, replication).await?;
        self.memory.reached.source = true;
        let (source, destination) = (Arc::new(source), Arc::new(destination));
        Ok(Connected { source, destination, lease, replication })
    }

    async fn explained<T>(
        &self,
        side: Side,
        opened: Result<T, PipelineError>,
    ) -> Result<T, PipelineError> {
        match opened {
            Err(error) if !self.memory.reached.has(side) => {
                Err(explain_refusal(self.context, error).await)
            }
            opened => opened,
        }
    }

    async fn look(&self, connected: &mut Connected) -> Result<Look, PipelineError> {
        let Connected { source, destination, replication, .. } = connected;
        let look = look(self.context, source, destination, replication).await?;
        let (choice, owned) = (&look.selection.choice, look.owned());
        membership::refuse_lost(self.context, choice, owned, &look.records)?;
        Ok(look)
    }

    async fn preflight(&self, connected: &Connected, look: &Look) -> Result<(), PipelineError> {
        if self.memory.is_preflighted {
            return Ok(());
        }
        look.preflight(self.context, &connected.source, &connected.destination).await
    }

    /// Preflight refused: an error, unless another agent's work is what it saw.
    async fn doubt(
        &self,
        destination: &Client,
        error: PipelineError,
        doubts: &mut u32,
    ) -> Result<(), PipelineError> {
        let PipelineError::Preflight(_) = error else { return Err(error) };
        let Some(holder) = self.other_holder(destination).await? else {
            // It may have ended between the two looks, and have explained itself before.
            if *doubts == 0 {
                *doubts = 1;
                return Ok(());
            }
            return Err(error);
        };
        self.show_standby(&holder);
        if *doubts < DOUBTS_MAX {
            *doubts += 1;
            tokio::time::sleep(STANDBY_LOOK).await;
            return Ok(());
        }
        tracing::warn!(
            holder,
            "standing by; as things are it could not take over:\n{}",
            error.chain()
        );
        self.stand_by(destination).await
    }

    /// Who else holds the lease, as far as our role may see.
    async fn other_holder(&self, destination: &Client) -> Result<Option<String>, PipelineError> {
        let sql = &self.context.checkpoint;
        if schema::presence(destination, &sql.schema).await? != Presence::Readable {
            return Ok(None);
        }
        Ok(row::living_holder(destination, sql, self.memory.epoch).await?)
    }

    /// `None`: somebody else holds it, and we never did.
    async fn acquire(
        &mut self,
        lease: &Client,
        look: &Look,
    ) -> Result<Option<Checkpoint>, PipelineError> {
        let claim = Claim {
            holder: holder_name(),
            source_system_identifier: look.identity.system_identifier.clone(),
            timeline: i32::try_from(look.identity.timeline).unwrap_or(i32::MAX),
        };
        let sql = &self.context.checkpoint;
        match row::acquire(lease, sql, &claim, self.memory.epoch).await? {
            Acquired::Ours { checkpoint, from_stalled } => {
                self.memory.has_superseded |= from_stalled;
                self.memory.epoch = Some(checkpoint.epoch);
                failpoint::hit(failpoint::LEASE_TAKEN).await;
                Ok(Some(checkpoint))
            }
            Acquired::Standby { holder } => match self.memory.epoch {
                // We held it: whoever took over while we were away has superseded us.
                Some(ours) => Err(row::explain(lease, sql, ours, None).await?.into()),
                None => {
                    self.show_standby(&holder);
                    Ok(None)
                }
            },
        }
    }

    /// Until nobody else holds the lease.
    async fn stand_by(&self, destination: &Client) -> Result<(), PipelineError> {
        while let Some(holder) = self.other_holder(destination).await? {
            self.show_standby(&holder);
            tokio::time::sleep(STANDBY_LOOK).await;
        }
        Ok(())
    }

    fn show_standby(&self, holder: &str) {
        if self.context.board.state() != State::Standby {
            tracing::info!(holder, "another agent holds the lease; standing by");
        }
        let reason = format!("the lease is held by {holder}");
        self.context.board.set_state(State::Standby, reason);
    }

    /// What was seen, or seen anew: between the look and the lease another agent may have had its
    /// turn, and positions, tables and records are its then. Every turn raises the epoch.
    async fn still_true(
        &self,
        connected: &mut Connected,
        look: Look,
        checkpoint: &Checkpoint,
    ) -> Result<Look, PipelineError> {
        let seen_epoch = look.remembered.as_ref().map_or(0, |row| row.epoch);
        if checkpoint.epoch == seen_epoch + 1 {
            return Ok(look);
        }
        let look = self.look(connected).await?;
        self.preflight(connected, &look).await?;
        Ok(look)
    }
}
