//! Doing at the destination what the source has done, between two streams.
//!
//! One guarded transaction: what must hold of the destination's rows is looked at, the statements
//! run, and what is known of the table is recorded with them. It has a connection of its own, so
//! that waiting for a table's lock never keeps the lease from being renewed.

use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use crate::checkpoint::row;
use crate::checkpoint::tables::{self, TableRecord};
use crate::failpoint;
use crate::model::finding::Side;
use crate::pg::client::Client;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;

/// How long to wait for other sessions that hold the table: our own transaction has ended, but its
/// backend may still be rolling back. Everything behind us in the lock's queue waits as long.
const LOCK_PATIENCE: &str = "5s";

/// What has to be done.
#[derive(Clone, Debug)]
pub struct Follow {
    pub conditions: Vec<Condition>,
    pub statements: Vec<String>,
    /// The columns it is about, for the log.
    pub columns: Vec<String>,
    /// The table's record afterwards.
    pub record: TableRecord,
}

/// Something that must not be so.
#[derive(Clone, Debug)]
pub struct Condition {
    /// A boolean expression, true where it is broken.
    pub broken: String,
    pub error: String,
}

/// Does it, or says why it cannot be done.
pub async fn follow(context: &Context, epoch: i64, follow: &Follow) -> Result<(), PipelineError> {
    let client = context.destination_client("schema").await?;
    let result = run(context, &client, epoch, follow).await;
    if result.is_err() {
        // The connection ends here; only what it could not do counts.
        let _ = client.batch_execute("ROLLBACK").await;
        return result;
    }
    let (table, columns) = (&follow.record.source, follow.columns.join(", "));
    if columns.is_empty() {
        tracing::debug!(%table, "its record is marked");
    } else if follow.statements.is_empty() {
        tracing::info!(%table, columns, "the source's columns changed; the destination takes them");
    } else {
        tracing::info!(%table, columns, "columns added at the destination, as at the source");
    }
    Ok(())
}

async fn run(
    context: &Context,
    client: &Client,
    epoch: i64,
    follow: &Follow,
) -> Result<(), PipelineError> {
    let failed = || PipelineError::query(Side::Destination, "following a change of columns");
    let sql = &context.checkpoint;
    let begin =
        format!("{}; SET LOCAL lock_timeout = '{LOCK_PATIENCE}'", sql.guarded_begin_text(epoch));
    if let Err(error) = client.batch_execute(&begin).await {
        if error.code() != Some(&SqlState::DIVISION_BY_ZERO) {
            return Err(failed()(error));
        }
        // Our epoch is not the row's any more.
        client.batch_execute("ROLLBACK").await.map_err(failed())?;
        return Err(row::explain(client, sql, epoch, None).await?.into());
    }
    for condition in &follow.conditions {
        let question = format!("SELECT {}", condition.broken);
        let answer = client.simple_query(&question).await.map_err(failed())?;
        let is_broken = answer.iter().any(
            |message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")),
        );
        if is_broken {
            return Err(schema_error(follow, condition.error.clone()));
        }
    }
    for statement in &follow.statements {
        client.batch_execute(statement).await.map_err(|error| refused(follow, statement, error))?;
    }
    failpoint::hit(failpoint::TABLE_ALTERED).await;
    let record = tables::write_text(&sql.schema, &sql.pipeline, &follow.record);
    client.batch_execute(&format!("{record}; COMMIT")).await.map_err(failed())?;
    failpoint::hit(failpoint::TABLE_FOLLOWED).await;
    Ok(())
}

/// A statement that the destination does not take as it is; a lost connection or a lock that was
/// not to be had passes.
fn refused(follow: &Follow, statement: &str, error: tokio_postgres::Error) -> PipelineError {
    let is_final = error
        .code()
        .is_some_and(|code| ["42", "22", "23", "0A", "P0"].contains(&&code.code()[..2]));
    let Some(server) = error.as_db_error().filter(|_| is_final) else {
        return PipelineError::Query {
            side: Side::Destination,
            doing: "following a change of columns",
            source: error,
        };
    };
    let message = format!(
        "a column that was added at the source could not be added at the destination ({}); do there: {statement}",
        server.message()
    );
    schema_error(follow, message)
}

fn schema_error(follow: &Follow, message: String) -> PipelineError {
    PipelineError::Schema { table: follow.record.source.clone(), message, lsn: None }
}
