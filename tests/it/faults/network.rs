//! Links that stall, swallow, crawl, break or arrive in crumbs.

use std::time::{Duration, Instant};

use super::{PHASES, Phase, SIDES, Scene, Side};
use crate::support::proxy::{Behavior, Direction};
use crate::support::wait;

/// Nothing passes for a while, and then everything does: no byte was lost, so nothing is to mend.
async fn stalls(side: Side, phase: Phase) {
    let scene = Scene::at(phase, &format!("stall at the {side:?}")).await;
    scene.proxy(side).set(Behavior::Stall);
    let before = scene.source.count("journal").await;
    let source = &scene.source;
    wait::until("the writers went on", wait::PROCESS, async || {
        source.count("journal").await > before + 150
    })
    .await;
    scene.proxy(side).set(Behavior::Forward);
    scene.ends_well().await;
}

/// What is sent is lost without a word, for ever on what is connected; new connections pass once
/// the link is back.
async fn swallows(side: Side, phase: Phase) {
    let mut scene = Scene::at(phase, &format!("swallowed at the {side:?}")).await;
    let reconnects = scene.reconnects(side).await;
    scene.proxy(side).set(Behavior::Swallow);
    scene.noticed("backoff").await;
    let status = scene.agent.status().await;
    assert_eq!(status["last_error"]["code"], "E_CONNECT", "{status}");
    let (ready, _) = scene.agent.get("/ready").await;
    assert_eq!(ready, 503, "{}", scene.name);
    scene.proxy(side).set(Behavior::Forward);
    let healed = Instant::now();
    scene.agent.wait_for_state("streaming").await;
    // The servers' ends of the old connections are still there; nobody waits for their time-outs.
    assert!(healed.elapsed() < Duration::from_secs(45), "{}: {:?}", scene.name, healed.elapsed());
    assert!(scene.reconnects(side).await > reconnects, "{}", scene.name);
    scene.ends_well().await;
}

/// All four at once: each of them waits most of the time.
#[tokio::test]
async fn a_link_that_swallows_everything_is_noticed_and_replaced() {
    tokio::join!(swallows(Side::Source, Phase::Tail), swallows(Side::Destination, Phase::Tail));
}

/// What we say to the source, and hear from the destination, is so little that more than this takes
/// minutes.
const LITTLE: u64 = 300;

/// Broken after so many bytes, again and again, until it has cost an attempt.
async fn breaks(side: Side, phase: Phase, sizes: &[u64]) {
    let (other, little) = match side {
        Side::Source => (Side::Destination, Direction::ToServer),
        Side::Destination => (Side::Source, Direction::FromServer),
    };
    let mut scene = Scene::at(phase, &format!("reset at the {side:?}")).await;
    if phase == Phase::Copy {
        // There is still something to copy after the last of them.
        scene.proxy(other).set(Behavior::Throttle { bytes_per_second: 150_000 });
    }
    for &bytes in sizes {
        for direction in [Direction::ToServer, Direction::FromServer] {
            if direction == little && bytes > LITTLE {
                continue;
            }
            let before = scene.reconnects(side).await;
            scene.proxy(side).set(Behavior::ResetAfter { direction, bytes });
            scene.reconnected(side, before).await;
            scene.proxy(side).set(Behavior::Forward);
            match phase {
                Phase::Copy => scene.agent.wait_for_state("copying").await,
                Phase::Tail => scene.progress().await,
            }
        }
    }
    scene.proxy(other).set(Behavior::Forward);
    scene.ends_well().await;
}

/// In between the last byte of a COPY and the answer to it, in the answer, and around the commit
/// that follows: rows are there once, or again from a clean table.
async fn is_cut_at_the_end_of_copy(sizes: &[u64]) {
    let mut scene = Scene::set("cut at the COPY's end").await;
    scene.write();
    // The destination's leg is free to be cut: the source's makes the copy slow.
    scene.near.set(Behavior::Throttle { bytes_per_second: 1_000_000 });
    scene.agent.start();
    for &bytes in sizes {
        scene.in_the_middle_of_the_copy().await;
        let before = scene.reconnects(Side::Destination).await;
        // During a COPY its server is silent: the first that it says is that it has all of it.
        scene.far.set(Behavior::CutAfter { direction: Direction::FromServer, bytes });
        scene.reconnected(Side::Destination, before).await;
        scene.far.set(Behavior::Forward);
        scene.agent.wait_for_state("copying").await;
    }
    scene.near.set(Behavior::Forward);
    scene.ends_well().await;
}

/// Answers come in more pieces than anybody foresees, and are waited for all the same.
async fn crumbles(side: Side) {
    let mut scene = Scene::set(&format!("crumbs at the {side:?}")).await;
    // A megabyte by single bytes takes as long as ten by frames.
    scene.source.exec("DELETE FROM wide WHERE id > 2000").await;
    scene.proxy(side).set(Behavior::Slice);
    scene.write();
    scene.agent.start_and_stream().await;
    scene.progress().await;
    let reconnects = scene.reconnects(side).await;
    assert!(reconnects < 1.0, "no protocol error: {}", scene.agent.log());
    scene.ends_well().await;
}

#[tokio::test]
async fn a_link_of_crumbs_carries_everything() {
    tokio::join!(crumbles(Side::Source), crumbles(Side::Destination));
}

/// Too many and too slow for every run of the tests.
mod long {
    use super::*;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_link_that_swallows_everything_under_a_copy_is_noticed_and_replaced() {
        tokio::join!(swallows(Side::Source, Phase::Copy), swallows(Side::Destination, Phase::Copy));
    }

    /// From the first byte on, one size a decade.
    macro_rules! reset {
        ($($name:ident: $side:ident, $phase:ident, $sizes:expr;)*) => {$(
            #[tokio::test]
            #[ignore = "long: make test-long"]
            async fn $name() {
                breaks(Side::$side, Phase::$phase, &$sizes).await;
            }
        )*};
    }

    reset! {
        a_source_that_is_reset_under_the_copy: Source, Copy, [1, 100, 10_000, 100_000];
        a_source_that_is_reset_under_the_tail: Source, Tail, [1, 10, 100, 1_000, 10_000];
        a_destination_that_is_reset_under_the_copy: Destination, Copy, [1, 100, 10_000, 100_000];
        a_destination_that_is_reset_under_the_tail: Destination, Tail, [1, 10, 100, 1_000, 10_000];
    }

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_copy_cut_around_its_end_is_exact() {
        is_cut_at_the_end_of_copy(&[0, 1, 10, 20, 30, 60]).await;
    }

    /// Copy and tail from the first connection on.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_slow_link_carries_everything() {
        for behavior in
            [Behavior::Delay { milliseconds: 150 }, Behavior::Throttle { bytes_per_second: 50_000 }]
        {
            for side in SIDES {
                let mut scene = Scene::set(&format!("{behavior:?} at the {side:?}")).await;
                scene.source.exec("DELETE FROM wide WHERE id > 5000").await;
                scene.proxy(side).set(behavior);
                scene.write();
                scene.agent.start_and_stream().await;
                scene.progress().await;
                let failed = scene.reconnects(side).await;
                assert!(failed < 1.0, "slow is not broken: {}", scene.agent.log());
                scene.ends_well().await;
            }
        }
    }

    /// Nobody told the server that the agent is gone: its walsender keeps the slot for a while.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_slot_that_a_lost_agent_left_busy_is_waited_for_by_its_pid() {
        let mut scene = Scene::set("left busy").await;
        scene.source.exec("ALTER SYSTEM SET wal_sender_timeout = '15s'").await;
        scene.source.exec("SELECT pg_reload_conf()").await;
        scene.begin(Phase::Tail).await;
        scene.near.set(Behavior::Swallow);
        let pid = scene.source.scalar("SELECT active_pid FROM pg_replication_slots").await;
        scene.agent.kill9();
        scene.near.set(Behavior::Forward);
        scene.agent.start();
        scene.agent.wait_for_state("backoff").await;
        let reason = scene.agent.status().await["reason"].to_string();
        assert!(reason.contains(&format!("active for PID {pid}")), "{reason}");
        scene.ends_well().await;
    }

    /// Never quicker than once a second, and no slower than the cap.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_link_that_stays_down_is_tried_again_with_growing_pauses() {
        for phase in PHASES {
            let mut scene = Scene::at(phase, "down").await;
            scene.far.set(Behavior::Cut);
            scene.agent.wait_for_state("backoff").await;
            let began = Instant::now();
            scene
                .agent
                .wait_for("six attempts", async |agent| {
                    agent.status().await["attempts"].as_u64() >= Some(6)
                })
                .await;
            // 0.5 + 1 + 2 + 4 + 8 s, and as much again of jitter at most.
            let took = began.elapsed();
            assert!(took > Duration::from_secs(10) && took < Duration::from_secs(50), "{took:?}");
            scene.far.set(Behavior::Forward);
            scene.ends_well().await;
        }
    }

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_stalled_link_is_waited_for() {
        for phase in PHASES {
            tokio::join!(stalls(Side::Source, phase), stalls(Side::Destination, phase));
        }
    }
}
