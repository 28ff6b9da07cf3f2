//! One destination connection: prepared statements, staging tables, and a pipeline of statements
//! whose answers are awaited later.
//!
//! **Invariant:** statements reach the server in the order of the calls, whether their answers have
//! been awaited or not. While there are answers to come, whatever else the connection is asked is
//! awaited by [`Pipeline::beside`]. After an error the connection is not used again for rows.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::BytesMut;
use futures::{FutureExt, SinkExt, future::MaybeDone};
use tokio_postgres::Statement;

use crate::apply::error::ApplyError;
use crate::apply::statement;
use crate::apply::target::Target;
use crate::model::row::{Row, Value};
use crate::pg::client::Client;
use crate::pg::copy_format::{self, CopyField, CopyFormatError, RowPieces};
use crate::pg::ident::QualifiedName;

/// Prepared statements kept a connection; beyond it all are forgotten. 10,000 tables with four
/// shapes each would hold some 100 MB of plans at the destination.
const STATEMENTS_MAX: usize = 2_000;

/// A row from this size on is sent in pieces: whole, it would be in memory a second time as a
/// message, and a third time in the connection's buffer. Below it, that costs less than it saves.
pub const LARGE_ROW_BYTES: usize = 1024 * 1024;

/// One write to the socket. Below 32 KiB the per-write cost shows; far above only memory does.
const COPY_WRITE_BYTES: usize = 128 * 1024;

#[derive(Debug)]
pub struct Writer {
    client: Arc<Client>,
    statements: HashMap<String, Statement>,
    /// Staging tables of this connection by target and columns.
    staging: HashMap<(QualifiedName, Vec<usize>), usize>,
    /// Rows come in binary (else text): decides the COPY format.
    is_binary: bool,
}

impl Writer {
    pub fn new(client: Client, is_binary: bool) -> Writer {
        Writer {
            client: Arc::new(client),
            statements: HashMap::new(),
            staging: HashMap::new(),
            is_binary,
        }
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The statement for `sql`, prepared at its first use.
    pub async fn prepared(&mut self, sql: String) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(&sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&sql).await?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Prepares a statement that touches `table`.
    pub async fn prepared_for(
        &mut self,
        table: &QualifiedName,
        sql: String,
    ) -> Result<Statement, ApplyError> {
        let result = self.prepared(sql).await;
        result.map_err(|source| ApplyError::Table { table: table.clone(), source })
    }

    /// The empty staging table for these columns, with `rows` copied into it.
    pub async fn stage(
        &mut self,
        target: &Target,
        mask: &[usize],
        rows: &[&Row],
    ) -> Result<String, ApplyError> {
        let rejected = |source| ApplyError::Table { table: target.name.clone(), source };
        let key = (target.name.clone(), mask.to_vec());
        let staging = match self.staging.get(&key) {
            Some(&number) => {
                // Rows of an earlier part of the same transaction may be in it.
                let staging = staging_table(number);
                let truncate = format!("TRUNCATE {}", statement::staging_name(&staging));
                let truncate = self.prepared(truncate).await.map_err(rejected)?;
                self.client.execute(&truncate, &[]).await.map_err(rejected)?;
                staging
            }
            None => {
                let number = self.staging.len() + 1;
                let staging = staging_table(number);
                let create = statement::create_staging(target, &staging, mask);
                self.client.batch_execute(&create).await.map_err(rejected)?;
                self.staging.insert(key, number);
                staging
            }
        };
        self.copy(&statement::staging_name(&staging), target, mask, rows).await?;
        Ok(staging)
    }

    /// Staging tables made so far.
    pub fn staging_count(&self) -> usize {
        self.staging.len()
    }

    /// Those made after the first `count` were taken back with a savepoint.
    pub fn forget_staging(&mut self, count: usize) {
        self.staging.retain(|_, &mut number| number <= count);
    }

    /// Copies the mask's values of `rows` into a table.
    pub async fn copy(
        &mut self,
        table: &str,
        target: &Target,
        mask: &[usize],
        rows: &[&Row],
    ) -> Result<u64, ApplyError> {
        let rejected = |source| ApplyError::Table { table: target.name.clone(), source };
        let sql = statement::copy_in(table, target, mask, self.is_binary);
        let statement = self.prepared(sql).await.map_err(rejected)?;
        let sink = self.client.copy_in(&statement).await.map_err(rejected)?;
        let mut sink = std::pin::pin!(sink);
        let mut chunk = BytesMut::with_capacity(COPY_WRITE_BYTES + COPY_WRITE_BYTES / 4);
        if self.is_binary {
            chunk.extend_from_slice(copy_format::HEADER);
        }
        for row in rows {
            let fields = mask.iter().map(|&index| CopyField::from(value_of(target, row, index)));
            let unwritable = |_| ApplyError::Encode { table: target.name.clone() };
            if row.memory_bytes() < LARGE_ROW_BYTES {
                self.encode(&mut chunk, fields).map_err(unwritable)?;
            } else {
                let mut pieces = RowPieces::new(self.is_binary, fields).map_err(unwritable)?;
                while pieces.fill(&mut chunk, COPY_WRITE_BYTES) {
                    sink.feed(chunk.split().freeze()).await.map_err(rejected)?;
                    chunk.reserve(COPY_WRITE_BYTES + COPY_WRITE_BYTES / 4);
                }
            }
            if chunk.len() >= COPY_WRITE_BYTES {
                sink.feed(chunk.split().freeze()).await.map_err(rejected)?;
                chunk.reserve(COPY_WRITE_BYTES + COPY_WRITE_BYTES / 4);
            }
        }
        if self.is_binary {
            chunk.extend_from_slice(copy_format::TRAILER);
        }
        sink.feed(chunk.freeze()).await.map_err(rejected)?;
        sink.as_mut().finish().await.map_err(rejected)
    }

    fn encode<'a>(
        &self,
        out: &mut BytesMut,
        fields: impl ExactSizeIterator<Item = CopyField<'a>>,
    ) -> Result<(), CopyFormatError> {
        if self.is_binary {
            copy_format::encode_row(out, fields)
        } else {
            copy_format::encode_text_row(out, fields)
        }
    }
}

fn staging_table(number: usize) -> String {
    format!("sync_agent_stage_{number}")
}

/// The value that goes into the target's column `index`.
pub fn value_of<'a>(target: &Target, row: &'a Row, index: usize) -> &'a Value {
    &row.values()[target.columns[index].value_index]
}

/// How many rows a statement wrote.
pub type RowCount = u64;

type Answer<'a> = Pin<Box<dyn Future<Output = Result<RowCount, ApplyError>> + Send + 'a>>;

/// Statements on their way, in order, each with what its answer is for.
pub struct Pipeline<'a, T> {
    answers: VecDeque<(T, MaybeDone<Answer<'a>>)>,
}

impl<T> Default for Pipeline<'_, T> {
    fn default() -> Self {
        Pipeline { answers: VecDeque::new() }
    }
}

impl<'a, T> Pipeline<'a, T> {
    /// Statements whose answers have not been taken.
    pub fn pending_count(&self) -> usize {
        self.answers.len()
    }

    /// Sends the statement now: tokio-postgres queues a request when its future is first polled.
    pub async fn push(&mut self, tag: T, answer: Answer<'a>) {
        let mut answer = futures::future::maybe_done(answer);
        let _ = futures::poll!(&mut answer);
        self.answers.push_back((tag, answer));
    }

    /// Waits for something else on the same connection, and takes the answers that come before.
    /// tokio-postgres reads no further while one of them is neither polled nor taken and comes in
    /// more than two pieces: whoever waited for a later one alone would wait for ever.
    pub async fn beside<F: Future>(&mut self, other: F) -> F::Output {
        let mut other = pin!(other);
        poll_fn(|cx| {
            for (_, answer) in &mut self.answers {
                if Pin::new(answer).poll(cx).is_pending() {
                    // Those behind it have not come either.
                    break;
                }
            }
            other.as_mut().poll(cx)
        })
        .await
    }

    /// The next answer in order; none when all have come.
    pub async fn next(&mut self) -> Option<(T, Result<RowCount, ApplyError>)> {
        let (tag, mut answer) = self.answers.pop_front()?;
        (&mut answer).await;
        let result = Pin::new(&mut answer).take_output();
        Some((tag, result.expect("a finished answer is taken once")))
    }
}

/// Boxes an answer that counts rows of a table.
pub fn answer<'a, F>(target: Arc<Target>, future: F) -> Answer<'a>
where
    F: Future<Output = Result<RowCount, tokio_postgres::Error>> + Send + 'a,
{
    future
        .map(move |result| {
            result.map_err(|source| ApplyError::Table { table: target.name.clone(), source })
        })
        .boxed()
}

/// Boxes an answer of a statement that belongs to the transaction, not to a table.
pub fn control<'a, F>(doing: &'static str, future: F) -> Answer<'a>
where
    F: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'a,
{
    future
        .map(move |result| {
            result.map(|()| 0).map_err(|source| ApplyError::Transaction { doing, source })
        })
        .boxed()
}
