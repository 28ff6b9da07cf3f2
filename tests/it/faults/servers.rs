//! Servers that restart, crash, lose a walsender, or stay away for a while.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PHASES, Phase, SIDES, Scene, Side};
use crate::support::cluster::Stop;
use crate::support::wait;

/// Stops a server in the way given and starts it again. Writers end with their server.
async fn restart(scene: &mut Scene, side: Side, mode: Stop) {
    match side {
        Side::Source => {
            scene.stop_writing().await;
            scene.source.restart(mode).await;
            scene.write();
        }
        Side::Destination => scene.destination.restart(mode).await,
    }
}

async fn survives_a_restart(side: Side, phase: Phase, mode: Stop) {
    let mut scene = Scene::at(phase, &format!("{mode:?} restart of the {side:?}")).await;
    restart(&mut scene, side, mode).await;
    scene.ends_well().await;
}

const WALSENDER: &str =
    "SELECT pid FROM pg_stat_replication WHERE application_name LIKE 'sync-agent%'";

/// While a server is away it is not ready, says why, and does not get in a hurry.
async fn outage(side: Side) {
    let mut scene = Scene::at(Phase::Tail, &format!("outage of the {side:?}")).await;
    assert_eq!(scene.agent.get("/ready").await.0, 200, "{}", scene.name);
    match side {
        Side::Source => {
            scene.stop_writing().await;
            scene.source.stop(Stop::Fast).await;
        }
        Side::Destination => scene.destination.stop(Stop::Fast).await,
    }
    scene.noticed("backoff").await;
    let attempts = |status: &serde_json::Value| status["attempts"].as_u64().expect("a number");
    scene
        .agent
        .wait_for("three attempts, none of them ready", async |agent| {
            let status = agent.status().await;
            assert_ne!(status["state"], "streaming");
            assert_eq!(agent.get("/ready").await.0, 503);
            assert_eq!(agent.get("/live").await.0, 200);
            attempts(&status) >= 3
        })
        .await;
    let status = scene.agent.status().await;
    assert_eq!(status["last_error"]["code"], "E_CONNECT", "{status}");
    match side {
        Side::Source => {
            scene.source.launch_again().await;
            scene.write();
        }
        Side::Destination => scene.destination.launch_again().await,
    }
    scene.agent.wait_for_state("streaming").await;
    assert_eq!(scene.agent.get("/ready").await.0, 200, "{}", scene.name);
    scene.ends_well().await;
}

mod long {
    use super::*;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn every_restart_in_every_phase_is_survived() {
        for mode in [Stop::Fast, Stop::Immediate, Stop::Kill] {
            for side in SIDES {
                for phase in PHASES {
                    survives_a_restart(side, phase, mode).await;
                }
            }
        }
    }

    /// Told to end, it says so; killed, it says nothing and takes the whole server down for a moment.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_walsender_that_is_killed_is_replaced() {
        let mut scene = Scene::at(Phase::Tail, "walsender").await;
        let reconnects = scene.reconnects(Side::Source).await;
        let pid = scene.source.scalar(WALSENDER).await;
        scene.source.exec(&format!("SELECT pg_terminate_backend({pid})")).await;
        scene.reconnected(Side::Source, reconnects).await;
        scene.progress().await;
        scene.stop_writing().await;
        let pid = scene.source.scalar(WALSENDER).await.parse().expect("it streams");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("root, or the servers' own user");
        let source = scene.source.database("postgres");
        wait::until("the server is back", wait::PROCESS, async || {
            source.try_query(WALSENDER).await.is_ok_and(|rows| {
                rows.first().is_none_or(|row| row[0].as_deref() != Some(pid.to_string().as_str()))
            })
        })
        .await;
        scene.write();
        scene.ends_well().await;
    }

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn an_outage_is_shown_and_outlived() {
        tokio::join!(outage(Side::Source), outage(Side::Destination));
    }
}
