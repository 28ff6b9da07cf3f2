//! Every metric of the agent: names, labels and help texts stand here and nowhere else.
//!
//! In come numbers from [`crate::pipeline::status::Board`], which owns the one [`Metrics`] of a
//! pipeline; out goes the text exposition. Each struct here is the metrics of one subject, and each
//! handle has its labels bound, so that a hot path never looks one up.
//!
//! Three rules hold for all of them:
//! - Every name carries the prefix `sync_agent_` and the constant label `pipeline`. Only the usual
//!   `process_*` lack both: they belong to the process, whatever it replicates.
//! - A closed label set (states, stages, codes, sides, ops, kinds) is created at the start, so that
//!   nothing is missing at zero. The sets are the constants of [`labels`].
//! - A value that is not known is absent, never -1 and never 0: see [`KnownGauge`].
//!
//! **Invariant:** nothing here knows where a number comes from.

mod agent;
mod apply;
mod known;
pub mod labels;
mod replication;
mod tables;

use prometheus::{Registry, TextEncoder};

pub use agent::AgentMetrics;
pub use apply::ApplyMetrics;
pub use known::KnownGauge;
pub use replication::{ReplicationMetrics, SlotWal};
pub use tables::{TableHandle, TableMetrics};

/// What `/metrics` sends: version 0.0.4 of the text format. Prometheus 3 refuses a scrape without a
/// content type that it knows.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

const PREFIX: &str = "sync_agent";

/// The metrics of one pipeline, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    pub agent: AgentMetrics,
    pub replication: ReplicationMetrics,
    pub apply: ApplyMetrics,
    pub tables: TableMetrics,
    exposition: Exposition,
}

/// What the metrics say, readable without whoever writes them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exposition {
    registry: Registry,
    process: Registry,
}

impl Metrics {
    /// At most `max_tables` tables get a `table` label of their own; the others share
    /// [`labels::OTHER_TABLES`].
    pub fn new(pipeline: &str, max_tables: usize) -> Metrics {
        let constant = [("pipeline".to_owned(), pipeline.to_owned())].into();
        let registry = Registry::new_custom(Some(PREFIX.to_owned()), Some(constant))
            .expect("the prefix is a valid metric name");
        let process = Registry::new();
        #[cfg(target_os = "linux")]
        process
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("nothing else is in this registry");
        Metrics {
            agent: AgentMetrics::register(&registry),
            replication: ReplicationMetrics::register(&registry),
            apply: ApplyMetrics::register(&registry),
            tables: TableMetrics::register(&registry, max_tables),
            exposition: Exposition { registry, process },
        }
    }

    pub fn exposition(&self) -> Exposition {
        self.exposition.clone()
    }
}

impl Exposition {
    /// The text exposition of everything that is known.
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(self.process.gather());
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("every family that gather returns has a metric, and labels are UTF-8")
    }
}

/// Registers what `new` made; the names are constants of this module, so a clash is a bug.
fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    new: prometheus::Result<C>,
) -> C {
    let collector = new.expect("metric names and labels are valid");
    registry.register(Box::new(collector.clone())).expect("metric names are unique");
    collector
}

#[cfg(test)]
mod tests;
