//! A slot that the source gave up: `max_slot_wal_keep_size`, `idle_replication_slot_timeout`.

use std::time::Instant;

use super::{LIMIT, Scene, last_error};
use crate::support::cluster::{Cluster, Spec};
use crate::support::wait;
use crate::versions::required;

const KEEPS_LITTLE: &str =
    "max_slot_wal_keep_size = 32MB\nmax_wal_size = 32MB\nmin_wal_size = 32MB";

async fn keeping_little() -> Scene {
    let spec = Spec { settings: KEEPS_LITTLE.to_owned(), ..Spec::default() };
    Scene::between(tokio::join!(Cluster::start(spec), Cluster::destination())).await
}

/// Writes WAL until the source has given the slot up.
async fn lose(source: &Cluster) {
    source.exec("CREATE TABLE IF NOT EXISTS noise (line text)").await;
    wait::until("the slot is lost", wait::PROCESS, async || {
        source.exec("SELECT pg_switch_wal(); CHECKPOINT").await;
        source.exec("INSERT INTO noise VALUES ('x')").await;
        source.scalar("SELECT wal_status FROM pg_replication_slots").await == "lost"
    })
    .await;
}

#[tokio::test]
async fn a_slot_lost_while_nobody_was_there_halts_without_a_second_try() {
    let mut scene = keeping_little().await;
    // What an alert before the loss goes by.
    scene
        .agent
        .wait_for("the metrics", async |agent| {
            let safe = agent.metric("sync_agent_slot_safe_wal_bytes", &[]).await;
            safe.is_some_and(|bytes| bytes > 0.0)
                && agent.metric("sync_agent_slot_lost", &[]).await == Some(0.0)
        })
        .await;
    assert_eq!(scene.agent.terminate().await, Some(0));
    lose(&scene.source).await;
    let applied = scene.applied().await;
    let confirmed = scene.confirmed().await;
    scene.is_refused("E_SLOT", &[&applied, &confirmed, "wal_status is lost"]).await;

    // To be looked at: it stays, says so, and does not try again.
    let before = scene.untouched().await;
    let begun = Instant::now();
    scene.agent.start_with(&["--on-halt", "stay"]);
    scene.agent.wait_for_state("halted").await;
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    let connections = "SELECT sessions FROM pg_stat_database WHERE datname = 'postgres'";
    scene
        .agent
        .wait_for("the metric", async |agent| {
            agent.metric("sync_agent_slot_lost", &[]).await == Some(1.0)
        })
        .await;
    assert_eq!(last_error(&scene.agent).0, "E_SLOT");
    let attempts = scene.agent.log().matches("\"ERROR\"").count();
    let open = scene.source.scalar(connections).await;
    wait::until("five seconds of it", wait::PROCESS, async || begun.elapsed().as_secs() >= 5).await;
    assert_eq!(scene.agent.log().matches("\"ERROR\"").count(), attempts);
    let opened = scene.source.scalar(connections).await.parse::<i64>().expect("a count")
        - open.parse::<i64>().expect("a count");
    // Ours, one a question.
    assert!(opened <= 4, "{opened} sessions in five seconds");
    assert_eq!(scene.untouched().await, before);
    assert_eq!(scene.agent.terminate().await, Some(5));
    scene.goes_on_after_resync().await;
}

/// The agent is connected all the time, and cannot confirm anything.
#[tokio::test]
async fn a_slot_lost_while_the_destination_is_locked_is_refused() {
    let mut scene = keeping_little().await;
    let session = scene.destination.session().await.expect("the destination answers");
    session.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
    scene.write().await;
    wait::until("the agent waits", wait::CATCH_UP, async || {
        scene.destination.scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").await != "0"
    })
    .await;
    let applied = scene.applied().await;
    lose(&scene.source).await;
    let begun = Instant::now();
    let exit = scene.agent.wait_for_exit().await;
    assert!(begun.elapsed() < LIMIT, "{:?}\n{}", begun.elapsed(), scene.agent.log());
    let (code, said) = last_error(&scene.agent);
    assert_eq!((exit, code.as_str()), (Some(5), "E_SLOT"), "{said}");
    assert!(said.contains(&applied), "{said}");
    session.batch_execute("COMMIT").await.expect("it lives");
    assert_eq!(scene.applied().await, applied);
    assert_eq!(scene.destination.count("t WHERE v = 'written'").await, 1, "and not the second");
    scene.is_refused("E_SLOT", &[&applied]).await;
}

#[tokio::test]
async fn an_idle_slot_that_version_18_gave_up_is_refused() {
    let spec = Spec {
        installation: Some(required(18)),
        settings: "idle_replication_slot_timeout = 1s".to_owned(),
        ..Spec::default()
    };
    let servers = tokio::join!(Cluster::start(spec), Cluster::destination());
    let mut scene = Scene::between(servers).await;
    assert_eq!(scene.agent.terminate().await, Some(0));
    let source = &scene.source;
    wait::until("the slot is given up", wait::PROCESS, async || {
        source.exec("CHECKPOINT").await;
        let reason = "SELECT invalidation_reason FROM pg_replication_slots";
        source.scalar(reason).await == "idle_timeout"
    })
    .await;
    let applied = scene.applied().await;
    scene.is_refused("E_SLOT", &[&applied, "idle_timeout"]).await;
}
