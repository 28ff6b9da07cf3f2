//! Foreign keys of the tables that we created, once all rows are there.
//!
//! Each is added without looking at the rows (a moment's lock), then validated: rows that break it,
//! because a filter left others out, leave it NOT VALID with a warning, and nothing halts. Only the
//! rows of a partitioned table are looked at at once: before version 18 the server cannot do
//! otherwise.
//!
//! **Invariant:** a table of our making is recorded as unfinished before its first row, and as
//! finished only when nothing more can be done for it; so whatever stops us, a later attempt goes on.

use std::collections::HashSet;

use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::model::finding::Side;
use crate::pg::client::Client;
use crate::pg::oid::Oid;
use crate::pipeline::context::Context;
use crate::pipeline::copy::create::{Sides, requests};
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::Planner;
use crate::structure::{ForeignKey, Statement};

/// What building needs: both sides, what is selected, by what right.
#[derive(Clone, Copy, Debug)]
pub struct Building<'a> {
    pub context: &'a Context,
    pub source: &'a Client,
    /// Knows the selected tables and their records.
    pub planner: &'a Planner,
    pub epoch: i64,
    pub shutdown: &'a CancellationToken,
}

/// What became of a foreign key.
enum Outcome {
    /// It is there, or there is no way that it could be.
    Settled,
    /// A later attempt may do better.
    Owed,
    Shutdown,
}

impl Building<'_> {
    /// Adds the foreign keys that are owed. On a connection of its own: checking rows takes time,
    /// and the lease's must stay free.
    pub async fn settle_foreign_keys(&self) -> Result<(), PipelineError> {
        let owed: Vec<Oid> = self.owed().collect();
        if owed.is_empty() {
            return Ok(());
        }
        let destination = self.context.destination_client("foreign keys").await?;
        let requests = requests(self.context, self.planner, |info| owed.contains(&info.oid))?;
        let sides = Sides { context: self.context, source: self.source, destination: &destination };
        let foreign_keys = sides.plan(&requests).await?.foreign_keys;
        for left_out in &foreign_keys.left_out {
            tracing::info!(table = %left_out.table, foreign_key = left_out.name, reason = left_out.reason, "foreign key left out");
        }
        let mut unfinished = HashSet::new();
        for key in &foreign_keys.keys {
            match self.settle(&destination, key).await? {
                Outcome::Settled => {}
                Outcome::Owed => drop(unfinished.insert(key.source)),
                Outcome::Shutdown => return Ok(()),
            }
        }
        let finished = self.owed_records().filter(|(oid, _)| !unfinished.contains(oid));
        let sql = &self.context.checkpoint;
        let mut statements = Vec::new();
        for (_, record) in finished {
            statements.push(tables::finish_text(&sql.schema, &sql.pipeline, &record.source));
        }
        let done = self.transaction(&destination, &statements).await;
        done.map_err(PipelineError::query(Side::Destination, "recording that tables are finished"))
    }

    fn owed(&self) -> impl Iterator<Item = Oid> {
        self.owed_records().map(|(oid, _)| oid)
    }

    fn owed_records(&self) -> impl Iterator<Item = (Oid, &TableRecord)> {
        self.planner.source_tables().filter_map(|info| {
            let record = self.planner.record(&info.name)?;
            let is_owed = record.created && !record.finished && record.state == CopyState::Copied;
            is_owed.then_some((info.oid, record))
        })
    }

    async fn settle(
        &self,
        destination: &Client,
        key: &ForeignKey,
    ) -> Result<Outcome, PipelineError> {
        if let Some(add) = &key.add {
            let statements: Vec<Statement> =
                std::iter::once(add).chain(&key.comment).cloned().collect();
            match self.run(destination, &statements).await {
                Some(Ok(())) => {}
                Some(Err(error)) => return not_added(key, add, error),
                None => return Ok(Outcome::Shutdown),
            }
        }
        let Some(validate) = &key.validate else { return Ok(Outcome::Settled) };
        match self.run(destination, std::slice::from_ref(validate)).await {
            Some(Ok(())) => Ok(Outcome::Settled),
            Some(Err(error)) => not_valid(key, error),
            None => Ok(Outcome::Shutdown),
        }
    }

    /// `None`: stopped meanwhile, and the statement with it.
    async fn run(
        &self,
        destination: &Client,
        statements: &[Statement],
    ) -> Option<Result<(), tokio_postgres::Error>> {
        let texts: Vec<String> = statements.iter().map(|made| made.sql.clone()).collect();
        let cancel = destination.cancel_handle();
        tokio::select! {
            biased;
            // A dropped query would go on at the server.
            () = self.shutdown.cancelled() => {
                let _ = cancel.cancel().await;
                None
            }
            done = self.transaction(destination, &texts) => Some(done),
        }
    }

    /// Under our epoch; rolled back where it fails.
    pub(super) async fn transaction(
        &self,
        destination: &Client,
        statements: &[String],
    ) -> Result<(), tokio_postgres::Error> {
        let guard = self.context.checkpoint.guarded_begin_text(self.epoch);
        let text = format!("{guard}; {}; COMMIT", statements.join("; "));
        let done = destination.batch_execute(&text).await;
        if done.is_err() {
            // Its own error is what counts.
            let _ = destination.batch_execute("ROLLBACK").await;
        }
        done
    }
}

/// Whether the statement itself was refused: whoever fenced us, or a lost connection, is no matter
/// of the foreign key.
fn is_refused(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return false };
    *code == SqlState::FOREIGN_KEY_VIOLATION
        || *code == SqlState::INSUFFICIENT_PRIVILEGE
        // 42…: no unique index there, types that do not compare, a table that is gone; 0A: a
        // feature that the server lacks.
        || code.code().starts_with("42")
        || code.code().starts_with("0A")
}

fn not_added(
    key: &ForeignKey,
    add: &Statement,
    error: tokio_postgres::Error,
) -> Result<Outcome, PipelineError> {
    if !is_refused(&error) {
        let doing = PipelineError::query(Side::Destination, "adding a foreign key");
        return Err(doing(error));
    }
    let reason = error.as_db_error().map_or_else(String::new, |error| error.message().to_owned());
    let remedy = &add.sql;
    tracing::warn!(table = %key.table, foreign_key = key.name, reason, remedy, "foreign key left out");
    let may_be_granted = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    Ok(if may_be_granted { Outcome::Owed } else { Outcome::Settled })
}

fn not_valid(key: &ForeignKey, error: tokio_postgres::Error) -> Result<Outcome, PipelineError> {
    if !is_refused(&error) {
        let doing = PipelineError::query(Side::Destination, "validating a foreign key");
        return Err(doing(error));
    }
    // The server's detail would show values: its message names the tables and the constraint.
    let reason = error.as_db_error().map_or_else(String::new, |error| error.message().to_owned());
    tracing::warn!(table = %key.table, foreign_key = key.name, reason, "foreign key left NOT VALID: rows break it");
    Ok(Outcome::Settled)
}
