//! What is read from the board: the status, the metrics, the answers to the probes.

use super::{Board, Inner, timestamp};
use crate::pg::lsn::Lsn;
use crate::pipeline::status::clock::Now;
use crate::pipeline::status::report::{LagStatus, Positions, Status};
use crate::pipeline::status::states::State;

impl Board {
    /// Everything that is known now.
    pub fn status(&self) -> Status {
        let now = self.now();
        let inner = self.lock();
        let mut status = inner.status.clone();
        status.since = timestamp(inner.state_since);
        status.at = timestamp(now.wall);
        status.lag = inner.lag_status(now);
        status.tables = inner.tables.statuses();
        status
    }

    /// State and reason alone, for answers that carry nothing else.
    pub fn state_and_reason(&self) -> (State, String) {
        let inner = self.lock();
        (inner.status.state, inner.status.reason.clone())
    }

    /// Whether both servers were reached once.
    pub fn is_started(&self) -> bool {
        let inner = self.lock();
        inner.status.source.reached && inner.status.destination.reached
    }

    /// The text of `/metrics`; its content type is [`crate::metrics::CONTENT_TYPE`].
    pub fn metrics_text(&self) -> String {
        let now = self.now();
        let inner = self.lock();
        let lag = inner.lag_status(now);
        let replication = &inner.metrics.replication;
        replication.lag_seconds.set_or_forget(lag.seconds);
        replication.lag_bytes("received", lag.received_bytes);
        replication.lag_bytes("applied", lag.applied_bytes);
        replication.lag_bytes("confirmed", lag.confirmed_bytes);
        drop(inner);
        self.shared.exposition.render()
    }
}

impl Inner {
    fn lag_status(&self, now: Now) -> LagStatus {
        let Positions { received, confirmed, wal_end, .. } = self.status.positions;
        let behind = |lsn: Option<Lsn>| Some(wal_end?.bytes_since(lsn?));
        LagStatus {
            received_bytes: behind(received),
            applied_bytes: behind(self.lag.covered()),
            confirmed_bytes: behind(confirmed),
            seconds: self.lag.micros(now.steady_micros).map(|micros| micros as f64 / 1e6),
        }
    }
}
