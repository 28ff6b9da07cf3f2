//! Nobody waits for us longer than they have to: walsenders, neighbours' WAL, shutdowns, signals.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{PHASES, Phase, Scene, Side};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, Stop, pair};
use crate::support::compare::assert_same;
use crate::support::monitor::Monitor;
use crate::support::proxy::Behavior;

/// How long a server, or whoever stops us, has to wait at most.
const STOPPED: Duration = Duration::from_secs(10);

/// Neighbours' WAL is let go within this.
const FOLLOWED: Duration = Duration::from_secs(30);

const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted";

/// The destination is locked for so long, first under the copy's end, then under the tail with
/// more in hand than memory takes; the source's patience is three seconds.
async fn keeps_its_walsender(seconds: u32) {
    let spec = Spec { settings: "wal_sender_timeout = 3s\n".to_owned(), ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (0, 'a')").await;
    destination.exec("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let mut agent = Agent::between(&source, &destination).text("limits.memory", "16MiB");
    let lock = destination.session().await.expect("the server answers");
    lock.batch_execute("BEGIN; LOCK TABLE t").await.expect("it is there");
    agent.start();
    agent.wait_for("the lock", async |_| destination.scalar(WAITING).await != "0").await;
    let walsender = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity \
         WHERE backend_type = 'walsender'";
    let before = source.scalar(walsender).await;
    source.exec(&format!("SELECT pg_sleep({seconds})")).await;
    assert_eq!(source.scalar(walsender).await, before, "in the copy:\n{}", source.log());
    lock.batch_execute("COMMIT").await.expect("the session lives");
    agent.wait_for_state("streaming").await;

    lock.batch_execute("BEGIN; LOCK TABLE t").await.expect("it is there");
    let before = source.scalar(walsender).await;
    source.exec("INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 100000) g").await;
    agent.wait_for("the lock", async |_| destination.scalar(WAITING).await != "0").await;
    source.exec(&format!("SELECT pg_sleep({seconds})")).await;
    assert_eq!(source.scalar(walsender).await, before, "in the tail:\n{}", source.log());
    lock.batch_execute("COMMIT").await.expect("the session lives");
    agent.caught_up().await;
    assert_eq!(source.scalar(walsender).await, before, "the same all along");
    let log = agent.log();
    assert!(!log.contains("trying again") && !log.contains("E_CONNECT"), "{log}");
    assert_same(&source, &destination, &["t"]).await;
}

async fn stops_in_time(scene: &mut Scene, what: &str) {
    let asked = Instant::now();
    scene.source.stop(Stop::Fast).await;
    let took = asked.elapsed();
    assert!(took < STOPPED, "{}, {what}: {took:?}\n{}", scene.name, scene.source.log());
    scene.source.launch_again().await;
}

/// Idle, behind a destination that takes next to nothing, and behind one that takes nothing.
async fn stops_without_us() {
    let mut scene = Scene::set("fast shutdown").await;
    scene.agent.start_and_stream().await;
    stops_in_time(&mut scene, "idle").await;
    scene.agent.wait_for_state("streaming").await;
    let backlog = "INSERT INTO journal SELECT generate_series(1, 50000)";
    scene.far.set(Behavior::Throttle { bytes_per_second: 20_000 });
    scene.source.exec(backlog).await;
    stops_in_time(&mut scene, "behind a slow destination").await;
    scene.far.set(Behavior::Forward);
    scene.agent.caught_up().await;
    let lock = scene.destination.session().await.expect("the server answers");
    lock.batch_execute("BEGIN; LOCK TABLE journal").await.expect("it is there");
    scene.source.exec(backlog).await;
    let destination = scene.destination.database("postgres");
    scene.agent.wait_for("the lock", async |_| destination.scalar(WAITING).await != "0").await;
    stops_in_time(&mut scene, "behind a locked destination").await;
    lock.batch_execute("COMMIT").await.expect("the session lives");
    scene.write();
    scene.ends_well().await;
}

/// SIGTERM while nothing that is sent arrives: exit 0 in its ten seconds all the same.
async fn stops_without_a_link(side: Side, phase: Phase) {
    let mut scene = Scene::set(&format!("stop without the {side:?}, {phase:?}")).await;
    // The next agent waits for what the server still takes for a living stream.
    scene.source.exec("ALTER SYSTEM SET wal_sender_timeout = '5s'").await;
    scene.source.exec("SELECT pg_reload_conf()").await;
    scene.begin(phase).await;
    scene.proxy(side).set(Behavior::Swallow);
    let asked = Instant::now();
    assert_eq!(scene.agent.terminate().await, Some(0), "{}: {}", scene.name, scene.agent.log());
    let took = asked.elapsed();
    assert!(took < STOPPED + Duration::from_secs(1), "{}: {took:?}", scene.name);
    scene.proxy(side).set(Behavior::Forward);
    scene.agent.start();
    scene.ends_well().await;
}

mod long {
    use super::*;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_destination_locked_for_a_minute_costs_no_walsender() {
        keeps_its_walsender(60).await;
    }

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_stop_needs_no_link_in_any_phase() {
        for phase in PHASES {
            tokio::join!(
                stops_without_a_link(Side::Source, phase),
                stops_without_a_link(Side::Destination, phase),
            );
        }
    }

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_fast_shutdown_of_the_source_waits_for_nobody() {
        stops_without_us().await;
    }

    /// The second signal does not wait for the grace.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_second_signal_needs_no_link_either() {
        let mut scene = Scene::at(Phase::Tail, "two signals").await;
        scene.far.set(Behavior::Swallow);
        scene.agent.signal(Signal::SIGTERM);
        let said = "a second signal forces it";
        scene.agent.wait_for("it stops", async |agent| agent.log().contains(said)).await;
        let asked = Instant::now();
        scene.agent.signal(Signal::SIGTERM);
        let code = scene.agent.wait_for_exit().await;
        assert!(matches!(code, Some(130 | 143)), "{code:?}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        scene.far.set(Behavior::Forward);
        scene.agent.start();
        scene.ends_well().await;
    }

    /// Nothing of ours is written; another database of the cluster fills one WAL file after the other.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn the_wal_of_a_noisy_neighbour_is_let_go() {
        let (source, destination) = pair().await;
        source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
        source.exec("CREATE DATABASE noise").await;
        let noise = source.database("noise");
        noise.exec("CREATE TABLE n (v text)").await;
        let mut agent = Agent::between(&source, &destination);
        agent.start_and_stream().await;
        let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
        for _ in 0..2 {
            noise.exec("INSERT INTO n SELECT repeat('x', 500) FROM generate_series(1, 2000)").await;
            noise.exec("SELECT pg_switch_wal()").await;
        }
        let lsn = source.current_lsn().await;
        let began = Instant::now();
        let passed = format!(
            "SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots \
             WHERE slot_name = 'sync_agent_it'"
        );
        agent
            .wait_for("the slot follows the neighbour", async |_| {
                source.scalar(&passed).await == "t"
            })
            .await;
        assert!(began.elapsed() < FOLLOWED, "{:?}", began.elapsed());
        monitor.verdict();
    }
}
