//! Events of the stream, one after the other, into the intake.
//!
//! **Invariant:** while a server is asked something, status updates go on: the source must not miss us.

use std::sync::Arc;

use super::{Reader, ReaderEnd};
use crate::model::change::{Change, Op, RowChange, TailEvent};
use crate::model::table::Table;
use crate::pg::channel::READ_BYTES;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;
use crate::pipeline::error::PipelineError;
use crate::pipeline::status::ConflictKind;
use crate::pipeline::stream_tables::{Resolution, StreamTable};

/// Events taken in one turn before the other arms of the loop are looked at: well under a
/// millisecond of work.
const EVENTS_PER_TURN: usize = 1024;

impl Reader {
    /// Takes an event, and those that came with it.
    pub(super) async fn take_turn(&mut self, first: TailEvent) -> Result<(), PipelineError> {
        let taken = self.take_events(first).await;
        // Also before an error: what came before it is applied.
        self.settle().await?;
        taken?;
        self.board.received(self.tail.received_lsn(), self.tail.take_received_bytes());
        self.wal_end_polled = self.board.wal_end().unwrap_or(Lsn::ZERO);
        self.board.message_received(PgTimestamp::now());
        Ok(())
    }

    async fn take_events(&mut self, first: TailEvent) -> Result<(), PipelineError> {
        self.take(first).await?;
        for _ in 0..EVENTS_PER_TURN {
            let is_enough = self.intake.batcher().has_closed() || self.intake.is_full();
            if is_enough || self.end.is_some() {
                break;
            }
            match self.tail.try_next()? {
                Some(event) => self.take(event).await?,
                None => break,
            }
        }
        Ok(())
    }

    /// What waits to be computed is computed. The source must not miss us meanwhile.
    async fn settle(&mut self) -> Result<(), PipelineError> {
        if !self.intake.is_open() {
            return Ok(());
        }
        tokio::select! {
            biased;
            settled = self.intake.settle() => settled,
            never = self.tail.keep_alive() => match never? {},
        }
    }

    async fn take(&mut self, event: TailEvent) -> Result<(), PipelineError> {
        self.held.event(self.tail.total_bytes());
        match event {
            TailEvent::Begin(begin) => {
                self.check_past()?;
                if self.goal.before.is_some_and(|before| begin.commit_lsn >= before) {
                    self.end = Some(ReaderEnd::CaughtUp);
                    return Ok(());
                }
                self.begun = begin;
                self.tables.begin(begin);
                self.intake.begin(begin);
            }
            TailEvent::Change(change) => self.take_change(change).await?,
            TailEvent::Commit(commit) => {
                let is_alone = commit.commit_lsn <= self.goal.alone_until;
                self.intake.commit(commit, is_alone);
            }
            TailEvent::Keepalive { wal_end, reply_requested } => {
                if wal_end >= self.goal.past.resume_lsn {
                    self.check_past()?;
                }
                self.idle_rule.on_keepalive(wal_end, reply_requested);
                if !self.in_flight().is_busy {
                    self.board.idle_up_to(wal_end);
                    self.reached(wal_end);
                }
            }
        }
        Ok(())
    }

    async fn take_change(&mut self, change: Change) -> Result<(), PipelineError> {
        match change {
            Change::Row { table, change } => {
                let Some(stream_table) = self.resolve(&table).await? else { return Ok(()) };
                let change = match stream_table.needs_values(&change, self.begun.commit_lsn) {
                    false => change,
                    true => match self.read_values(&table, &stream_table, change).await? {
                        Some(change) => change,
                        None => return Ok(()),
                    },
                };
                if let Some(taken) = stream_table.take(change, self.begun)? {
                    let held_bytes = self.held.keep(READ_BYTES as u64);
                    self.intake.take_row(&stream_table, taken, held_bytes, self.begun);
                }
            }
            // Ours alone to make.
            Change::Left { .. } => {}
            Change::Truncate(truncate) => {
                for table in &truncate.tables {
                    if self.resolve(table).await?.is_none() {
                        return Ok(());
                    }
                }
                let truncated = self.tables.truncate(truncate, self.begun.commit_lsn)?;
                for table in &truncated.ignored {
                    self.board.rows(table, Op::Truncate, 1);
                }
                if let Some((change, policy)) = truncated.change {
                    self.intake.push(change, policy);
                }
            }
        }
        Ok(())
    }

    /// What happens to the table's changes. `None`: the stream has to begin anew for it.
    async fn resolve(
        &mut self,
        table: &Arc<Table>,
    ) -> Result<Option<Arc<StreamTable>>, PipelineError> {
        if let Some(known) = self.tables.known(table, self.begun.commit_lsn) {
            return Ok(Some(known));
        }
        // Asking both servers takes a while; the source must not miss us.
        let resolution = tokio::select! {
            biased;
            resolved = self.tables.resolve(table, self.begun.commit_lsn) => resolved?,
            never = self.tail.keep_alive() => match never? {},
        };
        match resolution {
            Resolution::Known(known) => Ok(Some(known)),
            Resolution::Restart(restart) => {
                self.end = Some(ReaderEnd::Restart(restart));
                Ok(None)
            }
        }
    }

    /// The row of a change without all its values, completed at the source.
    async fn read_values(
        &mut self,
        table: &Arc<Table>,
        followed: &StreamTable,
        change: RowChange,
    ) -> Result<Option<RowChange>, PipelineError> {
        self.board.conflict(&table.name, ConflictKind::UpdateMissing, 1);
        tokio::select! {
            biased;
            completed = self.tables.complete(table, followed, change) => completed,
            never = self.tail.keep_alive() => match never? {},
        }
    }

    /// Asked once, when the stream has come to where we are: before the first transaction that is
    /// not skipped, or when the server says that it is there.
    fn check_past(&mut self) -> Result<(), PipelineError> {
        if self.is_past_checked {
            return Ok(());
        }
        let message = self.goal.past.contradiction(self.tail.last_skipped());
        if let Some(message) = message {
            return Err(PipelineError::Lineage { message });
        }
        self.is_past_checked = true;
        self.confirm(self.link.positions().flushed_lsn);
        Ok(())
    }
}
