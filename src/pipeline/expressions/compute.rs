//! Rows in, their expressions' values out: many rows in one statement, several statements on their way at
//! once.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::try_join_all;
use tokio_postgres::Statement;
use tokio_postgres::types::{ToSql, Type};

use super::examine::parameter_type;
use super::{Calculator, Prepared, Session};
use crate::apply::parameter::{RawBytes, WireValue};
use crate::model::finding::Side;
use crate::model::row::Value;
use crate::pg::server_error;
use crate::pipeline::error::PipelineError;
use crate::transform::{Inputs, Outcome, Program};
use crate::wire::WireError;

/// Why rows have no values.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// The server refused one of the rows: the one at `index`. No value of it is in here.
    #[error("{message}")]
    Row { index: usize, message: String },
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

/// Statements kept on a connection: nine sizes a table. A table that is described anew has others.
const STATEMENTS_MAX: usize = 512;

impl Calculator {
    /// The outcome of each row, in order.
    pub async fn compute(
        &self,
        program: &Arc<Program>,
        rows: &[&Inputs],
        is_binary: bool,
    ) -> Result<Vec<Outcome>, ComputeError> {
        let session = self.session().await?;
        let size = program.rows_max();
        let parts = rows.chunks(size).map(|rows| session.compute(program, rows, is_binary));
        match try_join_all(parts).await {
            Ok(parts) => whole(parts.into_iter().flatten().collect(), rows.len()),
            Err(error) if is_about_rows(&error) => {
                Err(session.first_refused(program, rows, is_binary, error).await)
            }
            Err(error) => Err(computing(error).into()),
        }
    }
}

/// One outcome a row, or none at all: what has no outcome must not count as one that passes.
fn whole(outcomes: Vec<Outcome>, row_count: usize) -> Result<Vec<Outcome>, ComputeError> {
    match outcomes.len() == row_count {
        true => Ok(outcomes),
        false => Err(PipelineError::Answer { found: outcomes.len(), expected: row_count }.into()),
    }
}

/// The server computed and refused: another attempt would see the same. A function of the user's may
/// raise anything; what is missing or forbidden (class 42) is there no more.
fn is_about_rows(error: &tokio_postgres::Error) -> bool {
    server_error::of(error).is_some_and(|error| !error.is_transient())
}

/// Whatever passes; a function of the user's may have raised that, too, in words of its own.
fn computing(error: tokio_postgres::Error) -> PipelineError {
    const DOING: &str = "computing expressions";
    match server_error::of(&error) {
        Some(said) => PipelineError::wire(Side::Source, DOING)(WireError::from(said.reworded())),
        None => PipelineError::query(Side::Source, DOING)(error),
    }
}

impl Session {
    async fn compute(
        &self,
        program: &Arc<Program>,
        rows: &[&Inputs],
        is_binary: bool,
    ) -> Result<Vec<Outcome>, tokio_postgres::Error> {
        // Few sizes, so that few statements are prepared: what is missing to one repeats the smallest row,
        // and so at most doubles what is sent.
        let size = rows.len().next_power_of_two().min(program.rows_max());
        let statement = self.statement(program, size, is_binary).await?;
        let smallest = rows.iter().min_by_key(|row| row.memory_bytes());
        let filled = rows.iter().chain(smallest.into_iter().cycle()).take(size);
        let values: Vec<WireValue<'_>> =
            filled.flat_map(|row| program.parameters(row)).map(WireValue).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let found = self.client.query(&statement, &parameters).await?;
        let width = program.outcome_width() - usize::from(program.has_filter());
        let outcome = |row: &tokio_postgres::Row| {
            let values = (0..width).map(|index| {
                let bytes: Option<RawBytes> = row.try_get(index)?;
                Ok(value(bytes.map(|RawBytes(bytes)| bytes), is_binary))
            });
            let values = values.collect::<Result<Vec<Value>, tokio_postgres::Error>>()?;
            let passes = !program.has_filter() || row.try_get(width)?;
            Ok(Outcome { values, passes })
        };
        found.iter().take(rows.len()).map(outcome).collect()
    }

    async fn statement(
        &self,
        program: &Arc<Program>,
        row_count: usize,
        is_binary: bool,
    ) -> Result<Statement, tokio_postgres::Error> {
        let key = (Arc::clone(program), row_count, is_binary);
        if let Some(statement) = self.known().get(&key) {
            return Ok(statement.clone());
        }
        let types: Vec<Type> = program.parameter_types().map(parameter_type).collect();
        let types: Vec<Type> = std::iter::repeat_n(types, row_count).flatten().collect();
        let sql = program.statement(row_count, is_binary);
        let statement = self.client.prepare_typed(&sql, &types).await?;
        let mut known = self.known();
        if known.len() >= STATEMENTS_MAX {
            known.clear();
        }
        known.insert(key, statement.clone());
        Ok(statement)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Prepared, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One row after the other, until one is refused.
    async fn first_refused(
        &self,
        program: &Arc<Program>,
        rows: &[&Inputs],
        is_binary: bool,
        error: tokio_postgres::Error,
    ) -> ComputeError {
        // Not yet about any row's values: the server's words are safe, and say what to mend.
        if let Err(error) = self.statement(program, 1, is_binary).await {
            let said = server_error::of(&error).filter(|error| !error.is_transient());
            return match said {
                Some(said) => ComputeError::Row { index: 0, message: refused(program, &said) },
                None => computing(error).into(),
            };
        }
        for (index, row) in rows.iter().enumerate() {
            match self.compute(program, &[row], is_binary).await {
                Ok(_) => {}
                Err(error) if is_about_rows(&error) => {
                    let said = server_error::of(&error).map(|error| error.without_words());
                    let message = refused(program, &said.unwrap_or_default());
                    return ComputeError::Row { index, message };
                }
                Err(error) => return computing(error).into(),
            }
        }
        // None by itself: whatever it was has passed. What was said of it may hold a row's values all the same.
        let said = server_error::of(&error).map(|error| error.without_words());
        ComputeError::Row { index: 0, message: refused(program, &said.unwrap_or_default()) }
    }
}

fn refused(program: &Program, said: &dyn std::fmt::Display) -> String {
    format!("an expression ({}) failed for the row: {said}", program.names())
}

fn value(bytes: Option<Bytes>, is_binary: bool) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) if is_binary => Value::Binary(bytes),
        Some(bytes) => Value::Text(bytes),
    }
}
