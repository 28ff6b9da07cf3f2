//! The same hand-over from PostgreSQL 14 to 18, and across versions in both directions.
//!
//! A version that is not installed fails its test: `scripts/install-versions.sh` brings it.
//! `SYNC_AGENT_TEST_PG=15,18` names the versions that are wanted; the others then say so and pass.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::assert_same;
use crate::support::installation::{Installation, installation};
use crate::support::workload::{self, Workload};

/// `None` when this version is not wanted, which is said.
#[allow(clippy::print_stderr, reason = "a version that is left out must be seen to be left out")]
fn wanted(major: u32) -> Option<Installation> {
    let list = std::env::var("SYNC_AGENT_TEST_PG").ok();
    if let Some(list) = list
        && !list.split(',').any(|entry| entry.trim() == major.to_string())
    {
        eprintln!("NOT RUN: PostgreSQL {major} is not in SYNC_AGENT_TEST_PG={list}");
        return None;
    }
    let found = installation(major);
    assert!(
        found.is_some(),
        "PostgreSQL {major} is not installed: run scripts/install-versions.sh"
    );
    found
}

async fn hand_over(from: u32, to: u32) {
    let (Some(from), Some(to)) = (wanted(from), wanted(to)) else { return };
    let spec = |installation, identity| Spec {
        installation: Some(installation),
        identity,
        settings: String::new(),
    };
    let (source, destination) =
        tokio::join!(Cluster::start(spec(from.clone(), 0)), Cluster::start(spec(to.clone(), 1)));
    assert_eq!((source.major, destination.major), (from.major, to.major));
    workload::initialize(&source, 1).await;
    source
        .exec("CREATE TABLE kinds (id int PRIMARY KEY, j jsonb, a text[], i interval, r tstzrange)")
        .await;
    let row = "INSERT INTO kinds SELECT g, jsonb_build_object('g', g), ARRAY['x', NULL], \
         make_interval(days => g), tstzrange('2024-01-01', NULL) FROM generate_series";
    source.exec(&format!("{row}(1, 50) g")).await;
    let load = Workload::tpcb(&source, 4);
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec(&format!("{row}(51, 60) g")).await;
    source.exec("UPDATE kinds SET a = '{}' WHERE id = 3; DELETE FROM kinds WHERE id = 4").await;
    source.exec("CREATE TABLE gone (id int)").await;
    agent
        .wait_for("some of the load", async |_| destination.count("pgbench_history").await > 100)
        .await;
    load.stop(&source).await;
    source.exec("TRUNCATE kinds; INSERT INTO kinds (id) VALUES (99)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &workload::TABLES).await;
    assert_same(&source, &destination, &["kinds"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn from_14_to_14() {
    hand_over(14, 14).await;
}

#[tokio::test]
async fn from_15_to_15() {
    hand_over(15, 15).await;
}

#[tokio::test]
async fn from_16_to_16() {
    hand_over(16, 16).await;
}

#[tokio::test]
async fn from_17_to_17() {
    hand_over(17, 17).await;
}

#[tokio::test]
async fn from_18_to_18() {
    hand_over(18, 18).await;
}

#[tokio::test]
async fn from_14_to_18() {
    hand_over(14, 18).await;
}

#[tokio::test]
async fn from_18_to_14() {
    hand_over(18, 14).await;
}
