//! Whether both servers are still those of the checkpoint, asked at every connect and before anything
//! else: what another server holds (tables, publications, settings) must not be judged as if it were
//! ours.
//!
//! The row is read before the source is asked who and where it is, because an agent at work moves it:
//! then its position is one that the source had reached.

use std::convert::Infallible;
use std::time::Duration;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::row::{self, Checkpoint, SourceOrigin};
use crate::checkpoint::schema::{self, Presence};
use crate::checkpoint::tables;
use crate::model::finding::Side;
use crate::pg::catalog;
use crate::pg::client::Client;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::requests;
use crate::source::slot::{PresentSource, RememberedSource, TimelineSwitch, judge_lineage};
use crate::wire::{Session, SystemIdentity};

/// Between two looks at a standby that we read from. A crash of ours between its promotion and the
/// next look leaves positions of the new timeline under the old one's number.
const PROMOTION_LOOK: Duration = Duration::from_secs(1);

/// Who asks: its name in the row, and the epoch it held last, if any.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    pub holder: &'a str,
    pub epoch: Option<i64>,
}

/// Refuses to go on where somebody took over since, where the row is gone, or where the source is
/// another one; the last may be what `resync --all` was asked for.
pub async fn refuse_broken(
    context: &Context,
    destination: &Client,
    replication: &mut Session,
    claimant: Claimant<'_>,
) -> Result<(), PipelineError> {
    let sql = &context.checkpoint;
    let gone = || CheckpointError::Gone { pipeline: sql.pipeline.clone() };
    match schema::presence(destination, &sql.schema).await? {
        Presence::Closed => return Ok(()),
        Presence::Absent if claimant.epoch.is_some() => return Err(gone().into()),
        Presence::Absent => return Ok(()),
        Presence::Readable => {}
    }
    let Some(row) = row::read(destination, sql).await? else {
        return if claimant.epoch.is_some() { Err(gone().into()) } else { Ok(()) };
    };
    if let Some(ours) = claimant.epoch
        && let Some(theirs) = row::superseded(destination, sql, ours, claimant.holder).await?
    {
        return Err(CheckpointError::Fenced { pipeline: sql.pipeline.clone(), ours, theirs }.into());
    }
    let Some(remembered) = remembered(&row) else { return Ok(()) };
    let identity = replication.identify_system().await;
    let identity = identity.map_err(PipelineError::wire(Side::Source, "identifying it"))?;
    let history = history(replication, &remembered, &identity).await?;
    let present = PresentSource {
        system_identifier: &identity.system_identifier,
        timeline: identity.timeline,
        history: &history,
        wal_end: identity.wal_end,
        database: identity.dbname.as_deref().unwrap_or_default(),
    };
    let Err(error) = judge_lineage(&remembered, &present) else { return Ok(()) };
    let records = tables::read_all(destination, &sql.schema, &sql.pipeline).await?;
    match requests::look(context, destination, &records).await?.is_all {
        true => Ok(()),
        false => Err(error.into()),
    }
}

/// A standby that is promoted goes on streaming over the same connection: the new timeline is stored
/// while it does. Never ends; a look that fails is followed by the next.
pub async fn follow_promotion(
    context: &Context,
    source: &Client,
    destination: &Client,
    epoch: i64,
) -> Infallible {
    loop {
        tokio::time::sleep(PROMOTION_LOOK).await;
        match store_promotion(context, source, destination, epoch).await {
            Ok(false) => {}
            Ok(true) => return std::future::pending().await,
            Err(error) => tracing::debug!("whether the source was promoted: {}", error.chain()),
        }
    }
}

async fn store_promotion(
    context: &Context,
    source: &Client,
    destination: &Client,
    epoch: i64,
) -> Result<bool, PipelineError> {
    let facts = catalog::server_facts(source).await;
    if facts.map_err(PipelineError::catalog(Side::Source))?.in_recovery {
        return Ok(false);
    }
    let mut session = context.replication_session().await?;
    let identity = session.identify_system().await;
    let identity = identity.map_err(PipelineError::wire(Side::Source, "identifying it"))?;
    row::record_source(destination, &context.checkpoint, epoch, origin(&identity)).await?;
    tracing::info!(to = identity.timeline, "the source was promoted; the stream goes on");
    Ok(true)
}

/// The source as it is, for the row.
pub fn origin(identity: &SystemIdentity) -> SourceOrigin<'_> {
    SourceOrigin {
        system_identifier: &identity.system_identifier,
        timeline: i32::try_from(identity.timeline).unwrap_or(i32::MAX),
    }
}

/// The source as the row has it; `None` where no slot was ever made.
pub fn remembered(row: &Checkpoint) -> Option<RememberedSource<'_>> {
    row.slot.as_ref().map(|_| RememberedSource {
        system_identifier: &row.source_system_identifier,
        timeline: u32::try_from(row.timeline).unwrap_or(0),
        applied_lsn: row.applied_lsn,
    })
}

/// Where the source's earlier timelines were left; asked for only where it matters.
pub async fn history(
    replication: &mut Session,
    remembered: &RememberedSource<'_>,
    identity: &SystemIdentity,
) -> Result<Vec<TimelineSwitch>, PipelineError> {
    let is_other = remembered.system_identifier != identity.system_identifier;
    if is_other || remembered.timeline == identity.timeline {
        return Ok(Vec::new());
    }
    let history = replication.timeline_history(identity.timeline).await;
    let history =
        history.map_err(PipelineError::wire(Side::Source, "reading its timeline's history"))?;
    let switches = history
        .iter()
        .map(|switch| TimelineSwitch { timeline: switch.timeline, switch_lsn: switch.switch_lsn });
    Ok(switches.collect())
}
