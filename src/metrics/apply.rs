//! How the destination is written: batches, latency, checkpoint, the queue before it.

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, Registry};

use super::{KnownGauge, registered};

/// Seconds: from a pipelined batch on one machine (about 1 ms) to the time after which somebody
/// should have been called (a minute). 15 steps, so a percentile is right within a factor of 2.5.
const DURATION_BUCKETS_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Rows: from one row to more than the default `max_batch_rows` (50 000), by fours.
const ROW_BUCKETS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0];

#[derive(Clone, Debug)]
pub struct ApplyMetrics {
    pub transactions: IntCounter,
    pub batch_duration_seconds: Histogram,
    pub batch_rows: Histogram,
    pub end_to_end_latency_seconds: Histogram,
    pub checkpoint_timestamp_seconds: KnownGauge,
    pub checkpoint_flush_duration_seconds: Histogram,
    pub queue_bytes: Gauge,
    pub queue_capacity_bytes: KnownGauge,
}

impl ApplyMetrics {
    pub(super) fn register(registry: &Registry) -> ApplyMetrics {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            registered(registry, Histogram::with_opts(options))
        };
        ApplyMetrics {
            transactions: registered(
                registry,
                IntCounter::new(
                    "transactions_total",
                    "Source transactions committed at the destination.",
                ),
            ),
            batch_duration_seconds: histogram(
                "apply_batch_duration_seconds",
                "Time of one destination transaction, from its first statement to its commit.",
                &DURATION_BUCKETS_SECONDS,
            ),
            batch_rows: histogram(
                "apply_batch_rows",
                "Source changes in one destination transaction.",
                &ROW_BUCKETS,
            ),
            end_to_end_latency_seconds: histogram(
                "end_to_end_latency_seconds",
                "From the commit at the source to the commit at the destination, by the source's \
                 clock; one observation a batch, for its newest transaction.",
                &DURATION_BUCKETS_SECONDS,
            ),
            checkpoint_timestamp_seconds: KnownGauge::register(
                registry,
                "checkpoint_timestamp_seconds",
                "When the checkpoint last moved forward.",
            ),
            checkpoint_flush_duration_seconds: histogram(
                "checkpoint_flush_duration_seconds",
                "Time to make the local mirror of the checkpoint durable.",
                &DURATION_BUCKETS_SECONDS,
            ),
            queue_bytes: registered(
                registry,
                Gauge::new("queue_bytes", "Changes that were read and are not applied yet."),
            ),
            queue_capacity_bytes: KnownGauge::register(
                registry,
                "queue_capacity_bytes",
                "How large the queue may become before the source is no longer read.",
            ),
        }
    }
}
