//! Another source behind the same address, or an earlier state of the same one.

use super::{Scene, TABLES, write};
use crate::support::cluster::{Cluster, Spec};
use crate::support::wait;

/// Its system identifier, as the server prints it.
async fn identifier(server: &Cluster) -> String {
    server.scalar("SELECT system_identifier FROM pg_control_system()").await
}

#[tokio::test]
async fn another_cluster_behind_the_same_address_is_refused() {
    let mut scene = Scene::streaming().await;
    let other = Cluster::start(Spec { identity: 2, ..Spec::default() }).await;
    let mut applied = scene.applied().await;
    let (ours, theirs) = (identifier(&scene.source).await, identifier(&other).await);
    // Bare; then with tables; then with all that we look for, and further on than we are.
    for step in ["", TABLES, "slot"] {
        if step == "slot" {
            other.exec("CREATE PUBLICATION sync_agent_it FOR TABLE t, journal").await;
            other
                .exec("SELECT pg_create_logical_replication_slot('sync_agent_it', 'pgoutput')")
                .await;
        } else {
            other.exec(step).await;
        }
        // At a reconnect, and at a start.
        scene.cut_off_source().await;
        scene.near.lead_to(other.port);
        let before = scene.untouched().await;
        let slots = "SELECT coalesce(string_agg(slot_name || confirmed_flush_lsn, ' '), '') \
             FROM pg_replication_slots";
        let at_other = other.scalar(slots).await;
        scene.let_through();
        scene.ends(before, "E_LINEAGE", &[&ours, &theirs, &applied]).await;
        scene.is_refused("E_LINEAGE", &[&ours, &theirs, &applied]).await;
        assert_eq!(other.scalar(slots).await, at_other, "nothing happens at the other one");
        if step == "slot" {
            break;
        }
        scene.near.lead_to(scene.source.port);
        scene.agent.start_and_stream().await;
        scene.is_exact().await;
        applied = scene.applied().await;
        scene.agent.wait_for_state("streaming").await;
    }
    // Told to, it moves over.
    other.exec("SELECT pg_drop_replication_slot('sync_agent_it')").await;
    write(&other).await;
    scene.source = other;
    scene.near.lead_to(scene.source.port);
    let asked = scene.agent.verb(&["resync", "--all", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    scene.agent.start_and_stream().await;
    write(&scene.source).await;
    let end = scene.source.current_lsn().await;
    scene.agent.wait_until_applied(&end).await;
    crate::support::compare::assert_same(&scene.source, &scene.destination, &["t", "journal"])
        .await;
}

/// A source whose files are older than our position, stopped while the agent is.
async fn put_back() -> (Scene, String) {
    let mut scene = Scene::stopped().await;
    let saved = scene.source.saved().await;
    scene.agent.start_and_stream().await;
    scene.is_exact().await;
    assert_eq!(scene.agent.terminate().await, Some(0));
    let applied = scene.applied().await;
    scene.source.put_back(&saved).await;
    (scene, applied)
}

#[tokio::test]
async fn a_source_put_back_to_an_earlier_state_is_refused() {
    let (mut scene, applied) = put_back().await;
    scene.is_refused("E_LINEAGE", &[&applied, "WAL ends at"]).await;

    // Its WAL grows beyond our position, and holds other transactions there.
    let sql = format!("SELECT pg_current_wal_flush_lsn() > '{applied}'");
    wait::until("the source has passed our position", wait::PROCESS, async || {
        scene.write().await;
        scene.source.scalar(&sql).await == "t"
    })
    .await;
    scene.write().await;
    scene.is_refused("E_LINEAGE", &["history"]).await;
    scene.goes_on_after_resync().await;
}

#[tokio::test]
async fn a_source_recovered_to_an_earlier_point_in_time_is_refused() {
    let mut scene = Scene::stopped().await;
    let saved = scene.source.saved().await;
    scene.agent.start_and_stream().await;
    scene.is_exact().await;
    let applied = scene.applied().await;
    scene.cut_off_source().await;
    scene.source.recover(&saved).await;
    assert_eq!(
        scene.source.scalar("SELECT timeline_id FROM pg_control_checkpoint()").await,
        "2",
        "a point-in-time recovery makes a timeline"
    );
    for _ in 0..20 {
        scene.write().await;
    }
    let before = scene.untouched().await;
    scene.let_through();
    scene.ends(before, "E_LINEAGE", &[&applied, "timeline 1", "timeline 2"]).await;
    scene.is_refused("E_LINEAGE", &[&applied, "timeline 1", "timeline 2"]).await;
    scene.goes_on_after_resync().await;
}
