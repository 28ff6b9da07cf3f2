//! What the servers tell of a pipeline whose agent does not answer, in the agent's own words.
//!
//! In: the destination's rows and, where it can be reached, the source's slot. Out: a [`Status`].
//! What only the agent knows (counters, queue, errors) is zero or absent in it.
//!
//! **Invariant:** reads only, and takes nothing: neither the lease nor a lock.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::checkpoint::row::{self, Checkpoint};
use crate::checkpoint::schema;
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pg::catalog::{self, SourcePollRow, TableFilter};
use crate::pg::ident::QualifiedName;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::{
    CopyStatus, LagStatus, OpCounts, Positions, SlotStatus, State, Status, TableState, TableStatus,
    table_label,
};

/// The destination's memory of the pipeline.
#[derive(Debug, Default)]
struct AtDestination {
    version: Option<String>,
    checkpoint: Option<Checkpoint>,
    records: Vec<TableRecord>,
    holder: Option<String>,
    /// When the checkpoint moved last.
    updated_at: Option<Timestamp>,
}

#[derive(Debug)]
struct AtSource {
    version: String,
    poll: SourcePollRow,
    /// Recorded tables whose updates and deletes do not come.
    insert_only: HashSet<QualifiedName>,
}

/// Looks at both servers; what can be read of one is shown whatever the other does. `Err` where
/// neither could be read: the destination's error, because that is where the truth is.
pub async fn observe(context: &Context) -> Result<Status, PipelineError> {
    let destination = look_at_destination(context).await;
    let records = destination.as_ref().map_or(&[][..], |seen| &seen.records);
    let source = look_at_source(context, records).await;
    match (destination, source) {
        (Ok(destination), source) => Ok(status(context, &destination, source)),
        (Err(error), Ok(source)) => {
            let mut status = status(context, &AtDestination::default(), Ok(source));
            status.state = State::Backoff;
            status.reason = error.chain();
            status.destination.reached = false;
            Ok(status)
        }
        (Err(error), Err(_)) => Err(error),
    }
}

async fn look_at_destination(context: &Context) -> Result<AtDestination, PipelineError> {
    let client = context.destination_client("status").await?;
    let sql = &context.checkpoint;
    let facts = catalog::server_facts(&client).await;
    let facts = facts.map_err(PipelineError::catalog(Side::Destination))?;
    let mut seen = AtDestination { version: Some(facts.version), ..AtDestination::default() };
    if schema::exists(&client, &sql.schema).await? {
        seen.checkpoint = row::read(&client, sql).await?;
        seen.records = tables::read_all(&client, &sql.schema, &sql.pipeline).await?;
        seen.holder = row::holder(&client, sql).await?;
        let updated_at = row::updated_at(&client, sql).await?;
        seen.updated_at = updated_at.and_then(|time| Timestamp::try_from(time).ok());
    }
    Ok(seen)
}

async fn look_at_source(
    context: &Context,
    records: &[TableRecord],
) -> Result<AtSource, PipelineError> {
    let failed = || PipelineError::catalog(Side::Source);
    let client = context.source_client("status").await?;
    let facts = catalog::server_facts(&client).await.map_err(failed())?;
    let slot = &context.settings.source.slot;
    let poll = catalog::poll(&client, slot).await.map_err(failed())?;
    let names: Vec<QualifiedName> = records.iter().map(|record| record.source.clone()).collect();
    let found = catalog::tables(&client, TableFilter::Names(&names)).await.map_err(failed())?;
    let insert_only = found
        .into_iter()
        .filter(|table| !table.has_usable_identity())
        .map(|table| table.name)
        .collect();
    Ok(AtSource { version: facts.version, poll, insert_only })
}

fn status(
    context: &Context,
    destination: &AtDestination,
    source: Result<AtSource, PipelineError>,
) -> Status {
    let mut status = Status::new(&context.settings.pipeline);
    status.destination.reached = true;
    status.destination.server_version.clone_from(&destination.version);
    let applied = destination.checkpoint.as_ref().and_then(|row| row.applied_lsn);
    status.positions = Positions { applied, ..Positions::default() };
    let (state, reason) = state(destination, source.as_ref().ok());
    status.state = state;
    status.reason = reason;
    match &source {
        Ok(source) => add_source(&mut status, source),
        Err(error) => status.reason.push_str(&format!("; {}", error.chain())),
    }
    status.since = destination.updated_at.unwrap_or(status.at);
    let is_streaming = matches!(state, State::Streaming | State::CatchingUp);
    let is_insert_only =
        |name: &QualifiedName| source.as_ref().is_ok_and(|seen| seen.insert_only.contains(name));
    status.tables = destination
        .records
        .iter()
        .map(|record| table(record, is_streaming, is_insert_only(&record.source)))
        .collect();
    status
}

fn add_source(status: &mut Status, source: &AtSource) {
    let poll = &source.poll;
    status.source.reached = true;
    status.source.server_version = Some(source.version.clone());
    status.positions.wal_end = Some(poll.wal_end);
    let Some(slot) = &poll.slot else { return };
    status.positions.confirmed = slot.confirmed_flush_lsn;
    let behind = |lsn: Option<crate::pg::lsn::Lsn>| lsn.map(|lsn| poll.wal_end.bytes_since(lsn));
    let applied_bytes = behind(status.positions.applied);
    status.lag = LagStatus {
        applied_bytes,
        confirmed_bytes: behind(slot.confirmed_flush_lsn),
        // The age of what is missing is known to the agent alone.
        seconds: (applied_bytes == Some(0)).then_some(0.0),
        ..LagStatus::default()
    };
    status.slot = Some(SlotStatus {
        confirmed_flush: slot.confirmed_flush_lsn,
        restart_lsn: slot.restart_lsn,
        retained_bytes: slot.retained_bytes.unwrap_or(0),
        safe_bytes: slot.safe_wal_bytes,
        wal_status: slot.wal_status.clone().unwrap_or_else(|| "unknown".to_owned()),
        active: slot.active,
    });
}

/// What the pipeline does, as far as rows and slot give it away. The slot is in use only while it
/// streams: the copy has one of its own.
fn state(destination: &AtDestination, source: Option<&AtSource>) -> (State, String) {
    let Some(checkpoint) = &destination.checkpoint else {
        return (State::Starting, "it has never run: the destination has no checkpoint".to_owned());
    };
    let Some(holder) = &destination.holder else {
        return (State::Halted, "no agent is at work: nobody holds the lease".to_owned());
    };
    let reason = format!("the lease is held by {holder}");
    let slot = source.and_then(|source| source.poll.slot.as_ref());
    let is_copied = destination.records.iter().all(|record| record.state == CopyState::Copied);
    let state = match (source, slot) {
        _ if checkpoint.applied_lsn.is_none() || destination.records.is_empty() => State::Starting,
        _ if !is_copied => State::Copying,
        (Some(source), Some(slot)) if slot.active => {
            if checkpoint.applied_lsn >= Some(source.poll.wal_end) {
                State::Streaming
            } else {
                State::CatchingUp
            }
        }
        (Some(_), _) => State::Starting,
        (None, _) => State::Backoff,
    };
    (state, reason)
}

fn table(record: &TableRecord, is_streaming: bool, insert_only: bool) -> TableStatus {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    TableStatus {
        name: table_label(&record.source),
        destination: Some(table_label(&record.destination)),
        state: match record.state {
            CopyState::Copying | CopyState::Replacing | CopyState::Merging => TableState::Copying,
            CopyState::CatchingUp => TableState::CatchingUp,
            CopyState::Copied if is_streaming => TableState::Ready,
            CopyState::Copied => TableState::Copied,
        },
        insert_only,
        rows: OpCounts::default(),
        copy: CopyStatus {
            rows: count(record.rows),
            bytes: count(record.bytes),
            ..CopyStatus::default()
        },
        conflicts: 0,
    }
}
