//! A disk that is full: the agent's own, and one that a destination's table is on.

use super::{Phase, Scene};
use crate::support::small_disk::SmallDisk;

const CONFIRMED: &str = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots";
const APPLIED: &str = "SELECT applied_lsn - '0/0' FROM sync_agent.checkpoint";

async fn number(database: &crate::support::database::Database, sql: &str) -> u64 {
    database.scalar(sql).await.parse().expect("a position")
}

/// The store's mirror cannot be written: rows still arrive, nothing more is confirmed, the reason
/// is shown, and all goes on once there is room.
#[tokio::test]
async fn an_agent_whose_disk_is_full_confirms_nothing_and_goes_on_later() {
    // The store wants 64 MB to itself when it opens.
    let Some(disk) = SmallDisk::of(80) else { return };
    let mut scene = Scene::set("the agent's disk").await;
    let state = disk.path().join("state");
    scene.agent.change("state.dir", &format!("{:?}", state.display().to_string()));
    scene.begin(Phase::Tail).await;
    disk.fill();
    let errors = ["code=\"E_IO\"", "stage=\"checkpoint\""];
    scene
        .agent
        .wait_for("the reason", async |agent| {
            agent.metric("sync_agent_errors_total", &errors).await > Some(0.0)
        })
        .await;
    let status = scene.agent.status().await;
    assert_eq!(status["last_error"]["code"], "E_IO", "{status}");
    // What was on its way is there now; from here on it must stand still.
    let applied_before = number(&scene.destination, APPLIED).await;
    scene.progress().await;
    let confirmed = number(&scene.source, CONFIRMED).await;
    scene.progress().await;
    assert_eq!(number(&scene.source, CONFIRMED).await, confirmed, "{}", scene.agent.log());
    assert!(number(&scene.destination, APPLIED).await > applied_before, "rows still arrive");
    assert_eq!(scene.state().await, "degraded", "{}", scene.agent.status().await);
    disk.empty();
    let source = scene.source.database("postgres");
    scene
        .agent
        .wait_for("it confirms again", async |_| number(&source, CONFIRMED).await > confirmed)
        .await;
    scene.agent.wait_for_state("streaming").await;
    // The store is whole: a start from it needs nothing else.
    scene.agent.kill9();
    scene.agent.start_and_stream().await;
    assert!(!scene.agent.log().contains("could not be used"), "{}", scene.agent.log());
    scene.ends_well().await;
}

/// In the copy and in the tail: 53100 passes, as soon as somebody makes room.
#[tokio::test]
async fn a_destination_whose_disk_is_full_is_waited_for() {
    let Some(disk) = SmallDisk::of(4) else { return };
    let mut scene = Scene::set("the destination's disk").await;
    let path = disk.path().display();
    scene.destination.exec(&format!("CREATE TABLESPACE small LOCATION '{path}'")).await;
    let wide = "CREATE TABLE wide (id int PRIMARY KEY, line text) TABLESPACE small";
    scene.destination.exec(wide).await;
    scene.write();
    scene.agent.start();
    is_full(&mut scene).await;
    disk.resize(24);
    scene.agent.wait_for_state("streaming").await;
    scene.progress().await;
    disk.fill();
    let more = "INSERT INTO wide SELECT g, repeat('x', 900) FROM generate_series(50000, 60000) g";
    scene.source.exec(more).await;
    is_full(&mut scene).await;
    let late = "SELECT count(*) FROM wide WHERE id >= 50000";
    assert_eq!(scene.destination.scalar(late).await, "0", "no part of a transaction");
    disk.resize(100);
    scene.ends_well().await;
}

async fn is_full(scene: &mut Scene) {
    scene.agent.wait_for_state("backoff").await;
    let status = scene.agent.status().await;
    let reason = status["reason"].as_str().expect("a reason");
    assert!(reason.contains("could not") && reason.contains("No space left"), "{status}");
    assert_eq!(status["last_error"]["code"], "E_CONNECT", "{status}");
}
