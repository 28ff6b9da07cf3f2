//! `reset`, without its command line: the pipeline is forgotten, user tables are not touched.
//!
//! ```text
//! local directory held ─► lease taken over ─► slot, publications ─► rows ─► local directory removed
//! ```
//!
//! The lease comes before anything is dropped, so that no agent starts in between; the rows go
//! after what they remember, so that a reset that is cut off finds all of it again.
//!
//! **Invariant:** at the source only that is dropped which the destination's row says is ours, on
//! the server that it was made on. What could not be dropped is [`Left`], with its statement.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::checkpoint::local::HeldDirectory;
use crate::checkpoint::row::{self, Acquired, Checkpoint, CheckpointSql, Claim};
use crate::checkpoint::{StoreError, schema, tables};
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::client::Client;
use crate::pg::ident::identifier;
use crate::pipeline::context::{Context, SNAPSHOT_SUFFIX};
use crate::pipeline::error::PipelineError;
use crate::pipeline::lease::Lease;

mod source;

pub(super) use source::forget_slot_in_use;

/// Where something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Source,
    Destination,
    Local,
}

impl Place {
    pub fn label(self) -> &'static str {
        match self {
            Place::Source => "source",
            Place::Destination => "destination",
            Place::Local => "local",
        }
    }
}

/// Something that is gone now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    pub place: Place,
    pub object: String,
}

/// Something that is still there and should not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    pub place: Place,
    pub object: String,
    pub reason: String,
    /// What drops it by hand.
    pub statement: Option<String>,
}

/// What a reset did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub dropped: Vec<Dropped>,
    pub left: Vec<Left>,
    /// What is kept on purpose.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    #[error(
        "an agent works on pipeline \"{pipeline}\" ({holder}): stop it first; nothing was dropped"
    )]
    Held { pipeline: String, holder: String },
    /// Nothing was dropped either.
    #[error(transparent)]
    InUse(StoreError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl ResetError {
    /// What an operator can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            ResetError::Held { .. } => None,
            ResetError::InUse(error) => error.hint().map(str::to_owned),
            ResetError::Pipeline(error) => error.hint(),
        }
    }
}

impl Forgotten {
    fn dropped(&mut self, place: Place, object: impl Into<String>) {
        self.dropped.push(Dropped { place, object: object.into() });
    }

    fn left(
        &mut self,
        place: Place,
        object: impl Into<String>,
        reason: impl Into<String>,
        statement: Option<String>,
    ) {
        let (object, reason) = (object.into(), reason.into());
        self.left.push(Left { place, object, reason, statement });
    }
}

/// Forgets the pipeline. An error means that the destination's rows are still there, so that it can
/// be run again. `wait`: how long a source that cannot be reached is waited for before the rest is
/// forgotten without it.
pub async fn reset(context: &Context, wait: Option<Duration>) -> Result<Forgotten, ResetError> {
    let mut forgotten = Forgotten::default();
    let local = hold_local(&context.settings.state.dir, &mut forgotten)?;
    let destination = Arc::new(context.destination_client("reset").await?);
    let state_schema = &context.settings.destination.state_schema;
    let has_state = schema::exists(&destination, state_schema).await.map_err(state_error)?;
    let mut held = None;
    if has_state {
        schema::ensure(&destination, state_schema).await.map_err(state_error)?;
        let snapshot = snapshot_sql(context);
        refuse_if_held(&destination, &snapshot).await?;
        held = take_over(&destination, &context.checkpoint).await?;
    }
    let checkpoint = held.as_ref().map(|(checkpoint, _)| checkpoint);
    source::forget(context, checkpoint, wait, &mut forgotten).await;
    failpoint::hit(failpoint::RESET_SOURCE_FORGOTTEN).await;
    if has_state {
        let epoch = held.map(|(checkpoint, _lease)| checkpoint.epoch);
        forget_rows(&destination, &context.checkpoint, epoch, &mut forgotten).await?;
        let snapshot = snapshot_sql(context);
        let epoch = take_over(&destination, &snapshot).await?.map(|(row, _lease)| row.epoch);
        forget_rows(&destination, &snapshot, epoch, &mut forgotten).await?;
        note_schema(&destination, state_schema, &mut forgotten).await?;
    }
    if let Some(local) = local {
        remove_local(local, &mut forgotten);
    }
    Ok(forgotten)
}

fn state_error(error: crate::checkpoint::CheckpointError) -> ResetError {
    ResetError::Pipeline(error.into())
}

/// The rows of one-off backfills under the pipeline's name.
fn snapshot_sql(context: &Context) -> CheckpointSql {
    let sql = &context.checkpoint;
    CheckpointSql::new(&sql.schema, &format!("{}{SNAPSHOT_SUFFIX}", sql.pipeline))
}

async fn refuse_if_held(client: &Client, sql: &CheckpointSql) -> Result<(), ResetError> {
    match row::holder(client, sql).await.map_err(state_error)? {
        None => Ok(()),
        Some(holder) => Err(ResetError::Held { pipeline: sql.pipeline.clone(), holder }),
    }
}

/// Makes the lease ours until the result is dropped. `None`: there is no row to forget.
async fn take_over(
    client: &Arc<Client>,
    sql: &CheckpointSql,
) -> Result<Option<(Checkpoint, Lease)>, ResetError> {
    let Some(row) = row::read(client, sql).await.map_err(state_error)? else { return Ok(None) };
    let claim = Claim {
        holder: format!("a reset, process {}", std::process::id()),
        source_system_identifier: row.source_system_identifier,
        timeline: row.timeline,
    };
    match row::acquire(client, sql, &claim, None).await.map_err(state_error)? {
        Acquired::Standby { holder } => {
            Err(ResetError::Held { pipeline: sql.pipeline.clone(), holder })
        }
        Acquired::Ours { checkpoint, .. } => {
            let lease = Lease::keep(Arc::clone(client), sql.clone(), checkpoint.epoch);
            Ok(Some((checkpoint, lease)))
        }
    }
}

/// The records of the tables and the row; `epoch` where there is a row.
async fn forget_rows(
    client: &Client,
    sql: &CheckpointSql,
    epoch: Option<i64>,
    forgotten: &mut Forgotten,
) -> Result<(), ResetError> {
    let records =
        tables::read_all(client, &sql.schema, &sql.pipeline).await.map_err(state_error)?;
    match epoch {
        Some(epoch) => row::forget(client, sql, epoch).await.map_err(state_error)?,
        None => {
            for record in &records {
                tables::forget(client, &sql.schema, &sql.pipeline, &record.source)
                    .await
                    .map_err(state_error)?;
            }
        }
    }
    if epoch.is_some() {
        let object = format!("checkpoint of \"{}\"", sql.pipeline);
        forgotten.dropped(Place::Destination, object);
    }
    if !records.is_empty() {
        let object = format!("copy records of {} tables of \"{}\"", records.len(), sql.pipeline);
        forgotten.dropped(Place::Destination, object);
        let note = "the tables keep their rows; before they are copied again, empty them or set \
                    destination.on_existing";
        if !forgotten.notes.iter().any(|known| known == note) {
            forgotten.notes.push(note.to_owned());
        }
    }
    Ok(())
}

async fn note_schema(
    client: &Client,
    schema: &str,
    forgotten: &mut Forgotten,
) -> Result<(), ResetError> {
    let count = row::pipeline_count(client, schema).await.map_err(state_error)?;
    let name = identifier(schema);
    forgotten.notes.push(match count {
        0 => format!(
            "schema {name} is kept; when nobody uses it: DROP SCHEMA {name} CASCADE; (at the {})",
            Side::Destination.label()
        ),
        _ => format!("schema {name} is kept: it holds other pipelines"),
    });
    Ok(())
}

/// Before anything else: an agent that is away from its servers at the moment holds no lease, but it
/// does hold its directory.
fn hold_local(dir: &Path, forgotten: &mut Forgotten) -> Result<Option<HeldDirectory>, ResetError> {
    match HeldDirectory::hold(dir) {
        Ok(held) => Ok(held),
        Err(error @ StoreError::InUse { .. }) => Err(ResetError::InUse(error)),
        // Another user's, perhaps: the rest can be forgotten without it.
        Err(error) => {
            forgotten.left_local(dir, PipelineError::Store(error).chain());
            Ok(None)
        }
    }
}

fn remove_local(local: HeldDirectory, forgotten: &mut Forgotten) {
    let dir = local.path().to_owned();
    match local.remove() {
        Ok(true) => forgotten.dropped(Place::Local, format!("directory \"{}\"", dir.display())),
        Ok(false) => forgotten.notes.push(format!(
            "directory \"{}\" is kept: it holds files that are not ours",
            dir.display()
        )),
        Err(error) => forgotten.left_local(&dir, PipelineError::Store(error).chain()),
    }
}

impl Forgotten {
    fn left_local(&mut self, dir: &Path, reason: String) {
        self.left(Place::Local, format!("directory \"{}\"", dir.display()), reason, None);
    }
}
