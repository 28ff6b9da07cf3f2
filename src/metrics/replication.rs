//! How far behind the destination is, and what that costs the source.

use prometheus::{GaugeVec, IntCounter, IntGaugeVec, Opts, Registry};

use super::{KnownGauge, labels, registered};

/// The slot's WAL, as the source's catalog shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotWal {
    pub retained_bytes: u64,
    /// Bytes that may still be written before the slot is lost; none where nothing limits it.
    pub safe_bytes: Option<i64>,
    pub status: String,
}

#[derive(Clone, Debug)]
pub struct ReplicationMetrics {
    lag_bytes: GaugeVec,
    pub lag_seconds: KnownGauge,
    pub source_commit_timestamp_seconds: KnownGauge,
    pub last_message_timestamp_seconds: KnownGauge,
    slot_retained_wal_bytes: KnownGauge,
    slot_safe_wal_bytes: KnownGauge,
    slot_wal_status: IntGaugeVec,
    slot_lost: KnownGauge,
    pub received_bytes: IntCounter,
}

impl ReplicationMetrics {
    pub(super) fn register(registry: &Registry) -> ReplicationMetrics {
        let known = |name, help| KnownGauge::register(registry, name, help);
        ReplicationMetrics {
            lag_bytes: registered(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "replication_lag_bytes",
                        "WAL between the source's last known WAL end and a stage's position.",
                    ),
                    &["stage"],
                ),
            ),
            lag_seconds: known(
                "replication_lag_seconds",
                "Age of the oldest source change that is not at the destination, by the source's \
                 clock; 0 when there is none.",
            ),
            source_commit_timestamp_seconds: known(
                "source_commit_timestamp_seconds",
                "Commit time of the last applied transaction, by the source's clock.",
            ),
            last_message_timestamp_seconds: known(
                "last_message_timestamp_seconds",
                "When the source last sent anything, keepalives included.",
            ),
            slot_retained_wal_bytes: known(
                "slot_retained_wal_bytes",
                "WAL that the source keeps because of the replication slot.",
            ),
            slot_safe_wal_bytes: known(
                "slot_safe_wal_bytes",
                "WAL that may still be written before the slot is lost; absent without a limit.",
            ),
            slot_wal_status: registered(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "slot_wal_status",
                        "The slot's wal_status: 1 for the present one, else 0.",
                    ),
                    &["status"],
                ),
            ),
            slot_lost: known(
                "slot_lost",
                "1 when the replication slot is gone or was invalidated by the source, else 0.",
            ),
            received_bytes: registered(
                registry,
                IntCounter::new("received_bytes_total", "Bytes read from the replication stream."),
            ),
        }
    }

    /// One of [`labels::LAG_STAGES`]; `None` where the distance is not known.
    pub fn lag_bytes(&self, stage: &'static str, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => self.lag_bytes.with_label_values(&[stage]).set(bytes as f64),
            // An error says that there was no such child.
            None => drop(self.lag_bytes.remove_label_values(&[stage])),
        }
    }

    pub fn slot(&self, slot: &SlotWal) {
        self.slot_retained_wal_bytes.set(slot.retained_bytes as f64);
        self.slot_safe_wal_bytes.set_or_forget(slot.safe_bytes.map(|bytes| bytes as f64));
        for status in labels::WAL_STATUSES {
            let is_present = i64::from(status == slot.status);
            self.slot_wal_status.with_label_values(&[status]).set(is_present);
        }
        self.slot_lost.set(f64::from(u8::from(slot.status == "lost")));
    }

    /// There was a slot and now there is none.
    pub fn slot_gone(&self) {
        self.slot_retained_wal_bytes.forget();
        self.slot_safe_wal_bytes.forget();
        self.slot_wal_status.reset();
        self.slot_lost.set(1.0);
    }
}
