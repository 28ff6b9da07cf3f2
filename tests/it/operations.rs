//! What an operator meets: servers that are not there yet, stops in every phase, a second agent,
//! conditions that hold the pipeline, roles with few privileges.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};

mod documented;
mod held;
mod lease;
mod least_privilege;
mod missing_privilege;
mod pooling;
mod shutdown;
mod start_up;
mod until_caught_up;
mod waiting;

async fn with_table() -> (Cluster, Cluster) {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')").await;
    (source, destination)
}

/// The lines of the log, which are JSON.
fn log_lines(agent: &Agent) -> Vec<Value> {
    let log = agent.log();
    log.lines().map(|line| serde_json::from_str(line).expect("the log is JSON")).collect()
}

/// The states that `/status` names until `ready` says so.
async fn states_until(
    agent: &mut Agent,
    what: &str,
    mut ready: impl AsyncFnMut(&Agent) -> bool,
) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    agent
        .wait_for(what, async |agent| {
            let status = agent.status().await;
            seen.insert(status["state"].as_str().expect("a state").to_owned());
            ready(agent).await
        })
        .await;
    seen
}
