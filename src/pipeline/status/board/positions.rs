//! What the stream writes on the board: how far it is, and what it has applied.
//!
//! A stream beside the pipeline's has positions of its own, and says nothing of them here: only its
//! rows and conflicts count.

use std::time::Duration;

use super::{Board, Moment, SourcePoll};
use crate::model::change::Op;
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;
use crate::pipeline::status::states::ConflictKind;

impl Board {
    // --- positions ---

    /// An attempt begins at `lsn`, the destination's checkpoint. `commit_time`: the last applied
    /// commit's, where it is known, on the source's clock.
    pub fn resumed(&self, lsn: Lsn, commit_time: Option<PgTimestamp>) {
        if self.is_beside {
            return;
        }
        let now = self.now();
        let mut inner = self.lock();
        inner.status.positions.received = Some(lsn);
        inner.status.positions.applied = Some(lsn);
        inner.lag.restart(lsn);
        inner.applied_commit(commit_time, now);
    }

    /// `byte_count` bytes came, up to position `lsn`.
    pub fn received(&self, lsn: Lsn, byte_count: u64) {
        if self.is_beside {
            return;
        }
        let mut inner = self.lock();
        inner.status.totals.received_bytes += byte_count;
        inner.metrics.replication.received_bytes.inc_by(byte_count);
        let received = &mut inner.status.positions.received;
        *received = (*received).max(Some(lsn));
    }

    /// The source sent something, be it a keepalive, at `time` on our clock.
    pub fn message_received(&self, time: PgTimestamp) {
        if self.is_beside {
            return;
        }
        let inner = self.lock();
        inner.metrics.replication.last_message_timestamp_seconds.set(time.unix_seconds());
    }

    /// The destination's checkpoint is at `lsn`. `commit_time`: of the last transaction in it, on
    /// the source's clock; `None` for an idle position.
    pub fn applied(&self, lsn: Lsn, commit_time: Option<PgTimestamp>) {
        if self.is_beside {
            return;
        }
        let now = self.now();
        let mut inner = self.lock();
        let applied = &mut inner.status.positions.applied;
        *applied = (*applied).max(Some(lsn));
        inner.lag.cover(lsn);
        inner.metrics.apply.checkpoint_timestamp_seconds.set(now.wall.unix_seconds());
        inner.applied_commit(commit_time, now);
    }

    /// Nothing is in flight, and the source says that it has sent all it has up to `lsn`: there is
    /// no lag up to there, though the checkpoint follows later.
    pub fn idle_up_to(&self, lsn: Lsn) {
        if self.is_beside {
            return;
        }
        self.lock().lag.cover(lsn);
    }

    pub fn confirmed(&self, lsn: Lsn) {
        if self.is_beside {
            return;
        }
        let confirmed = &mut self.lock().status.positions.confirmed;
        *confirmed = (*confirmed).max(Some(lsn));
    }

    /// The once-a-second look at the source.
    pub fn source_poll(&self, poll: SourcePoll) {
        let steady_micros = self.now().steady_micros;
        let mut inner = self.lock();
        inner.status.positions.wal_end = Some(poll.wal_end);
        inner.lag.poll(poll.wal_end, Moment { steady_micros, source: poll.server_time });
        inner.slot(poll.slot);
    }

    /// The source's WAL end at the last poll.
    pub fn wal_end(&self) -> Option<Lsn> {
        self.lock().status.positions.wal_end
    }

    /// The poll failed: what it showed last stays, the lag in seconds grows.
    pub fn source_unreachable(&self) {
        self.lock().lag.unreachable();
    }

    // --- throughput ---

    /// Source transactions committed at the destination.
    pub fn transactions(&self, count: u64) {
        if self.is_beside {
            return;
        }
        let mut inner = self.lock();
        inner.status.totals.transactions += count;
        inner.metrics.apply.transactions.inc_by(count);
    }

    /// Source changes committed at the destination (not net effects).
    pub fn rows(&self, table: &QualifiedName, op: Op, count: u64) {
        let mut inner = self.lock();
        inner.status.totals.rows.add(op, count);
        inner.table(table).rows(op, count);
    }

    /// One destination transaction committed. `commit_time`: of its newest source transaction.
    pub fn batch_applied(
        &self,
        duration: Duration,
        change_count: u64,
        commit_time: Option<PgTimestamp>,
    ) {
        if self.is_beside {
            return;
        }
        let now = self.now();
        let inner = self.lock();
        let apply = &inner.metrics.apply;
        apply.batch_duration_seconds.observe(duration.as_secs_f64());
        apply.batch_rows.observe(change_count as f64);
        let source_now = inner.lag.source_now(now.steady_micros);
        if let (Some(source_now), Some(commit_time)) = (source_now, commit_time) {
            let latency = source_now.since(commit_time);
            apply.end_to_end_latency_seconds.observe(latency.as_secs_f64());
        }
    }

    pub fn conflict(&self, table: &QualifiedName, kind: ConflictKind, count: u64) {
        self.lock().table(table).conflicts(kind, count);
    }

    /// Changes read and not applied yet.
    pub fn queue(&self, bytes: u64, capacity_bytes: u64) {
        if self.is_beside {
            return;
        }
        let mut inner = self.lock();
        inner.status.queue.bytes = bytes;
        inner.status.queue.capacity_bytes = Some(capacity_bytes);
        inner.metrics.apply.queue_bytes.set(bytes as f64);
        inner.metrics.apply.queue_capacity_bytes.set(capacity_bytes as f64);
    }

    /// The local mirror of the checkpoint became durable.
    pub fn checkpoint_flush(&self, duration: Duration) {
        let inner = self.lock();
        inner.metrics.apply.checkpoint_flush_duration_seconds.observe(duration.as_secs_f64());
    }
}
