//! What the agent as a whole is doing: build, state, errors, reconnects.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{labels, registered};

#[derive(Clone, Debug)]
pub struct AgentMetrics {
    build_info: IntGaugeVec,
    state: IntGaugeVec,
    errors: IntCounterVec,
    reconnects: IntCounterVec,
}

impl AgentMetrics {
    pub(super) fn register(registry: &Registry) -> AgentMetrics {
        let build_info = registered(
            registry,
            IntGaugeVec::new(
                Opts::new(
                    "build_info",
                    "Always 1: the agent's version and commit, and the servers' versions once known.",
                ),
                &["version", "commit", "pg_source", "pg_destination"],
            ),
        );
        let state = registered(
            registry,
            IntGaugeVec::new(
                Opts::new("state", "What the pipeline is doing: 1 for the present state, else 0."),
                &["state"],
            ),
        );
        let errors = registered(
            registry,
            IntCounterVec::new(
                Opts::new("errors_total", "Errors met, by the stage that met them and code."),
                &["stage", "code"],
            ),
        );
        let reconnects = registered(
            registry,
            IntCounterVec::new(
                Opts::new("reconnects_total", "Connections made again after one was lost."),
                &["side"],
            ),
        );
        for state_label in labels::STATES {
            state.with_label_values(&[state_label]);
        }
        for stage in labels::STAGES {
            for code in labels::CODES {
                errors.with_label_values(&[stage, code]);
            }
        }
        for side in labels::SIDES {
            reconnects.with_label_values(&[side]);
        }
        let metrics = AgentMetrics { build_info, state, errors, reconnects };
        metrics.build_info("", "");
        metrics
    }

    /// An empty version is one not known yet; Prometheus takes an empty label for none.
    pub fn build_info(&self, source_version: &str, destination_version: &str) {
        self.build_info.reset();
        let commit = option_env!("SYNC_AGENT_COMMIT").unwrap_or("");
        let values = [env!("CARGO_PKG_VERSION"), commit, source_version, destination_version];
        self.build_info.with_label_values(&values).set(1);
    }

    pub fn state(&self, present: &str) {
        for state in labels::STATES {
            self.state.with_label_values(&[state]).set(i64::from(state == present));
        }
    }

    pub fn error(&self, stage: &'static str, code: &'static str) {
        self.errors.with_label_values(&[stage, code]).inc();
    }

    pub fn reconnect(&self, side: &'static str) {
        self.reconnects.with_label_values(&[side]).inc();
    }
}
