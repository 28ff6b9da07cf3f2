//! A slot that is not where we left it.

use super::Scene;
use crate::support::agent::Agent;
use crate::support::cluster::Cluster;

const DROP: &str = "SELECT pg_drop_replication_slot('sync_agent_it')";
const CREATE: &str = "SELECT pg_create_logical_replication_slot('sync_agent_it', 'pgoutput')";
const ADVANCE: &str = "SELECT pg_replication_slot_advance('sync_agent_it', pg_current_wal_lsn())";

/// What somebody does to the slot, and what the agent says of it.
async fn meddle(scene: &Scene, what: &str) -> Vec<String> {
    let (slot, applied) = ("replication slot \"sync_agent_it\"".to_owned(), scene.applied().await);
    match what {
        "advanced" => {
            scene.write().await;
            scene.source.exec(ADVANCE).await;
            vec![slot, applied, scene.confirmed().await]
        }
        "dropped" => {
            scene.source.exec(DROP).await;
            vec![slot, applied, "does not exist".to_owned()]
        }
        "made again" => {
            // The row between the two slots is in no stream.
            scene.source.exec("INSERT INTO t VALUES (701, 'missing')").await;
            scene.source.exec(CREATE).await;
            scene.source.exec("INSERT INTO t VALUES (702, 'there')").await;
            vec![slot, applied, scene.confirmed().await]
        }
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn a_slot_that_was_moved_dropped_or_made_again_is_refused_at_the_start() {
    let mut scene = Scene::stopped().await;
    for what in ["advanced", "dropped", "made again"] {
        let words = meddle(&scene, what).await;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        scene.is_refused("E_SLOT", &words).await;
    }
    let skipped = "t WHERE id = 702";
    assert_eq!(scene.destination.count(skipped).await, 0, "701 is missing");
    // The way out, from a slot that is there and not ours any more.
    scene.goes_on_after_resync().await;
    assert_eq!(scene.destination.count("t WHERE id IN (701, 702)").await, 2);
}

#[tokio::test]
async fn a_slot_that_was_moved_dropped_or_made_again_is_refused_at_a_reconnect() {
    let mut scene = Scene::streaming().await;
    for what in ["advanced", "dropped", "made again"] {
        scene.cut_off_source().await;
        let mut words = Vec::new();
        if what == "made again" {
            scene.source.exec(DROP).await;
        }
        words.extend(meddle(&scene, what).await);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let before = scene.untouched().await;
        scene.let_through();
        scene.ends(before, "E_SLOT", &words).await;
        scene.goes_on_after_resync().await;
    }
}

/// Whatever else has the slot's name is nothing to start from, and is left alone.
#[tokio::test]
async fn a_slot_of_another_plugin_or_database_or_session_is_refused() {
    let mut scene = Scene::stopped().await;
    let refused = async |agent: &Agent, source: &Cluster, words: &str| {
        let slots = "SELECT string_agg(slot_name || ' ' || plugin || ' ' || database, '; ') \
             FROM pg_replication_slots";
        let before = source.scalar(slots).await;
        let run = agent.verb(&["run"]).await;
        assert_eq!(run.code, 4, "{}", run.stderr);
        assert!(run.stderr.contains("E_PREFLIGHT"), "{}", run.stderr);
        assert!(run.stderr.contains(words), "\"{words}\" is not in:\n{}", run.stderr);
        assert_eq!(source.scalar(slots).await, before);
    };
    let source = &scene.source;
    source.exec(DROP).await;
    let other = "SELECT pg_create_logical_replication_slot('sync_agent_it', 'test_decoding')";
    source.exec(other).await;
    refused(&scene.agent, source, "its plugin is test_decoding, not pgoutput").await;
    source.exec(DROP).await;
    source.exec("CREATE DATABASE elsewhere").await;
    source.database("elsewhere").exec(CREATE).await;
    refused(&scene.agent, source, "it belongs to database \\\"elsewhere\\\"").await;
    source.exec(DROP).await;
    let session = source.session().await.expect("the source answers");
    let temporary =
        "SELECT pg_create_logical_replication_slot('sync_agent_it', 'pgoutput', temporary => true)";
    session.batch_execute(temporary).await.expect("a temporary slot");
    refused(&scene.agent, source, "it is temporary").await;
    drop(session);
    scene.goes_on_after_resync().await;
}

/// The slot exists, and nobody knows how far its changes went.
#[tokio::test]
async fn our_slot_does_not_serve_a_destination_that_never_saw_it() {
    let scene = Scene::stopped().await;
    let fresh = scene.destination.database("fresh");
    scene.destination.exec("CREATE DATABASE fresh").await;
    let agent = Agent::between(&scene.source, &fresh);
    let slot = scene.confirmed().await;
    let run = agent.verb(&["run"]).await;
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(
        run.stderr.contains("no checkpoint at the destination belongs to it"),
        "{}",
        run.stderr
    );
    let tables =
        "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname IN ('t', 'journal')";
    assert_eq!(fresh.scalar(tables).await, "0", "nothing is copied");
    assert_eq!(scene.confirmed().await, slot);
}
