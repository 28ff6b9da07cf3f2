//! The verbs beside `run`, with an agent at work and without one.

use serde_json::Value;

use crate::support::agent::Output;
use crate::support::cluster::{Cluster, pair};

mod check;
mod init;
mod json;
mod offline;
mod preview;
mod reset;
mod resync;
mod status;
mod wait;
mod watch;

async fn with_table() -> (Cluster, Cluster) {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')").await;
    (source, destination)
}

fn json(output: &Output) -> Value {
    let Ok(value) = serde_json::from_str(&output.stdout) else {
        panic!("no JSON on stdout: {output:?}")
    };
    value
}
