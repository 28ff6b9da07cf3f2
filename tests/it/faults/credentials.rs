//! Privileges that are taken away in the middle of the copy or the tail, and given back.

use super::{Phase, Scene};

/// The scene with roles that may do just enough on either side.
async fn with_roles(name: &str) -> Scene {
    let mut scene = Scene::set(name).await;
    scene
        .source
        .exec(
            "CREATE ROLE reader LOGIN REPLICATION; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; \
             CREATE PUBLICATION sync_agent_it FOR TABLE wide, totals; \
             CREATE PUBLICATION sync_agent_it_insert FOR TABLE journal WITH (publish = 'insert, truncate')",
        )
        .await;
    scene
        .destination
        .exec("CREATE ROLE writer LOGIN; GRANT CREATE ON DATABASE postgres TO writer")
        .await;
    scene.destination.exec("GRANT CREATE ON SCHEMA public TO writer").await;
    let by = |role: &str, port: u16| format!("postgresql://{role}@127.0.0.1:{port}/postgres");
    let (reader, writer) = (by("reader", scene.near.port), by("writer", scene.far.port));
    scene.agent.change("source.url", &format!("{reader:?}"));
    scene.agent.change("source.publication", "[\"sync_agent_it\", \"sync_agent_it_insert\"]");
    scene.agent.change("destination.url", &format!("{writer:?}"));
    scene
}

async fn is_held(scene: &mut Scene, what: &str) {
    scene.agent.wait_for_state("degraded").await;
    let status = scene.agent.status().await;
    assert_eq!(status["last_error"]["code"], "E_ACCESS", "{what}: {status}");
}

mod long {
    use super::*;

    /// The source's SELECT is read by the copy, the destination's privileges by either.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn privileges_taken_away_hold_it_until_they_are_given_back() {
        let mut scene = with_roles("privileges").await;
        scene.begin(Phase::Copy).await;
        scene.source.exec("REVOKE SELECT ON wide FROM reader").await;
        scene.near.cut_once().await;
        is_held(&mut scene, "SELECT").await;
        scene.source.exec("GRANT SELECT ON wide TO reader").await;
        scene.agent.wait_for_state("streaming").await;
        scene.progress().await;
        for privilege in ["INSERT", "UPDATE"] {
            // The owner's own privileges can be taken away, too.
            let table = if privilege == "INSERT" { "journal" } else { "totals" };
            scene.destination.exec(&format!("REVOKE {privilege} ON {table} FROM writer")).await;
            is_held(&mut scene, privilege).await;
            scene.destination.exec(&format!("GRANT {privilege} ON {table} TO writer")).await;
            scene.agent.wait_for_state("streaming").await;
            scene.progress().await;
        }
        scene.ends_well().await;
    }
}
