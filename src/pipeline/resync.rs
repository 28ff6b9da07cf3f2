//! `resync`, without its command line: a request in the destination, and what came of it.
//!
//! The agent does the work; this only writes the row and watches it for a moment, so that whoever
//! calls it knows whether an agent has taken it (then its state is no longer "streaming") or the next
//! `run` will.

use std::time::Duration;

use tokio::time::Instant;

use crate::checkpoint::requests::{self, NewRequest};
use crate::checkpoint::{row, schema, tables};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::requests::RESYNC;

/// An agent that streams looks every second; one that copies, when it is done.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at the request.
const LOOK: Duration = Duration::from_millis(200);

/// What to copy again.
#[derive(Clone, Debug)]
pub struct ResyncOptions {
    /// Empty: every table.
    pub tables: Vec<QualifiedName>,
    /// Empty them first.
    pub truncate: bool,
}

/// What became of the request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// An agent works on it, or has finished it.
    Taken { id: i64 },
    /// An agent is there and has not come to it yet.
    Waiting { id: i64, holder: String },
    /// Nobody is there: the next `run` does it.
    Recorded { id: i64 },
}

/// Writes the request.
pub async fn resync(
    context: &Context,
    options: &ResyncOptions,
) -> Result<Requested, PipelineError> {
    let client = context.destination_client("resync").await?;
    let sql = &context.checkpoint;
    refuse_unknown(context, &client, &options.tables).await?;
    schema::ensure(&client, &sql.schema).await?;
    let names: Vec<String> = options.tables.iter().map(QualifiedName::sql).collect();
    let tables = Some(names.as_slice()).filter(|names| !names.is_empty());
    let request = NewRequest { verb: RESYNC, tables, truncate: options.truncate };
    // Asked before: between two attempts of a running agent nobody seems to hold the lease.
    let holder = row::holder(&client, sql).await?;
    let id = requests::insert(&client, sql, request).await?;
    let deadline = Instant::now() + ANSWER_LIMIT;
    loop {
        let fate = requests::fate(&client, sql, id).await?.unwrap_or_default();
        if let Some(message) = fate.message.filter(|_| fate.outcome.as_deref() == Some("refused")) {
            return Err(PipelineError::Config {
                message: format!("request {id} was refused: {message}"),
            });
        }
        if fate.is_taken {
            return Ok(Requested::Taken { id });
        }
        match &holder {
            None => return Ok(Requested::Recorded { id }),
            Some(holder) if Instant::now() > deadline => {
                return Ok(Requested::Waiting { id, holder: holder.clone() });
            }
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// A mistyped name must not wait in the destination for an agent to refuse it.
async fn refuse_unknown(
    context: &Context,
    client: &Client,
    names: &[QualifiedName],
) -> Result<(), PipelineError> {
    let sql = &context.checkpoint;
    let has_run =
        schema::exists(client, &sql.schema).await? && row::read(client, sql).await?.is_some();
    if !has_run {
        return Err(PipelineError::Config {
            message: format!(
                "pipeline \"{}\" has never run: the destination has no checkpoint of it; \"sync-agent run\" copies every table",
                sql.pipeline
            ),
        });
    }
    let records = tables::read_all(client, &sql.schema, &sql.pipeline).await?;
    let unknown = names.iter().filter(|name| !records.iter().any(|r| r.source == **name));
    let messages: Vec<String> = unknown
        .map(|name| {
            format!("--table {}: it is not a table of pipeline \"{}\"; \"sync-agent status\" lists them", name.argument(), sql.pipeline)
        })
        .collect();
    if messages.is_empty() {
        Ok(())
    } else {
        Err(PipelineError::Config { message: messages.join("\n") })
    }
}
