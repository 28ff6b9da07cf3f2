//! Everything around the pipeline fails, and nothing is lost, repeated, or in need of help.
//!
//! A scene is a pair of servers with a proxy before each, writers at work and an agent in the
//! middle of its copy or of its tail. The fault comes, the fault goes; the end is always the same:
//! it streams again by itself, the tables are equal (one has no key, so that what is repeated
//! shows), and at no moment was more confirmed than the destination held.

use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::monitor::Monitor;
use crate::support::proxy::{Behavior, Proxy};
use crate::support::workload::Workload;

mod credentials;
mod disk;
mod liveness;
mod locks;
mod network;
mod servers;
mod settings;

/// The contract: a peer that is gone is noticed within this.
const NOTICED: Duration = Duration::from_secs(30);

/// A table for the copy, one without a key and one with a key for the tail.
const TABLES: &str = "CREATE TABLE wide (id int PRIMARY KEY, line text); \
     CREATE TABLE journal (n bigint, at timestamptz DEFAULT clock_timestamp()); \
     CREATE TABLE totals (id int PRIMARY KEY, sum bigint); \
     INSERT INTO totals SELECT g, 0 FROM generate_series(1, 20) g";
const NAMES: [&str; 3] = ["wide", "journal", "totals"];
const SCRIPT: &str = "\\set id random(1, 20)\n\\set n random(1, 1000000)\nBEGIN;\n\
     INSERT INTO journal VALUES (:n);\nUPDATE totals SET sum = sum + :n WHERE id = :id;\n\
     UPDATE wide SET line = line || 'x' WHERE id = :id;\nCOMMIT;\n";

/// Transactions a second: enough for every moment to have one, and no load to speak of.
const RATE: &str = "100";

/// Which server it happens to, or on the way to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

impl Side {
    /// As metrics have it.
    fn label(self) -> &'static str {
        match self {
            Side::Source => "side=\"source\"",
            Side::Destination => "side=\"destination\"",
        }
    }
}

const SIDES: [Side; 2] = [Side::Source, Side::Destination];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Copy,
    Tail,
}

const PHASES: [Phase; 2] = [Phase::Copy, Phase::Tail];

struct Scene {
    source: Cluster,
    destination: Cluster,
    near: Proxy,
    far: Proxy,
    agent: Agent,
    monitor: Option<Monitor>,
    load: Option<Workload>,
    /// What the assertions say.
    name: String,
}

impl Scene {
    /// Servers, rows, proxies, a configured agent; nothing runs yet.
    async fn set(name: &str) -> Scene {
        let (source, destination) = pair().await;
        source.exec(TABLES).await;
        source
            .exec("INSERT INTO wide SELECT g, repeat(md5(g::text), 3) FROM generate_series(1, 40000) g")
            .await;
        let (near, far) = (Proxy::to(source.port).await, Proxy::to(destination.port).await);
        let agent = Agent::between(&source, &destination)
            .text("source.url", &source.url_by_way_of(near.port))
            .text("destination.url", &destination.url_by_way_of(far.port))
            .text("snapshot.chunk", "1MiB")
            .set("snapshot.workers", "1");
        let name = name.to_owned();
        Scene { source, destination, near, far, agent, monitor: None, load: None, name }
    }

    /// Writers at work and the agent in the middle of the phase.
    async fn begin(&mut self, phase: Phase) {
        self.write();
        match phase {
            Phase::Copy => {
                self.far.set(Behavior::Throttle { bytes_per_second: 1_000_000 });
                self.agent.start();
                self.in_the_middle_of_the_copy().await;
                self.far.set(Behavior::Forward);
            }
            Phase::Tail => {
                self.agent.start_and_stream().await;
                self.progress().await;
            }
        }
        let pipeline = self.agent.pipeline.clone();
        self.monitor = Some(Monitor::watch(&self.source, &self.destination, &pipeline));
    }

    /// As [`Scene::set`] and [`Scene::begin`].
    async fn at(phase: Phase, name: &str) -> Scene {
        let mut scene = Self::set(&format!("{name}, {phase:?}")).await;
        scene.begin(phase).await;
        scene
    }

    async fn stop_writing(&mut self) {
        if let Some(load) = self.load.take() {
            load.stop(&self.source).await;
        }
    }

    fn write(&mut self) {
        let options = ["-n", "-c", "1", "-R", RATE, "-T", "3600"];
        self.load = Some(Workload::start(&self.source, &options, Some(SCRIPT)));
    }

    async fn in_the_middle_of_the_copy(&mut self) {
        let copying = async |agent: &Agent| {
            let rows = agent.metric("sync_agent_snapshot_rows_total", &["wide"]).await;
            rows.is_some_and(|rows| rows > 100.0)
        };
        self.agent
            .wait_for("rows on their way", async |agent| {
                agent.try_get("/status").await.is_some() && copying(agent).await
            })
            .await;
        assert_eq!(self.state().await, "copying", "{}: the copy was quicker", self.name);
    }

    fn proxy(&self, side: Side) -> &Proxy {
        match side {
            Side::Source => &self.near,
            Side::Destination => &self.far,
        }
    }

    async fn state(&self) -> String {
        self.agent.status().await["state"].as_str().expect("a state").to_owned()
    }

    async fn reconnects(&self, side: Side) -> f64 {
        let count = self.agent.metric("sync_agent_reconnects_total", &[side.label()]).await;
        count.expect("it is there from the start")
    }

    /// Waits until it has connected again, oftener than `before`.
    async fn reconnected(&mut self, side: Side, before: f64) {
        let label = side.label();
        let what = format!("{}: a reconnection", self.name);
        self.agent
            .wait_for(&what, async |agent| {
                let now = agent.metric("sync_agent_reconnects_total", &[label]).await;
                now.is_some_and(|now| now > before)
            })
            .await;
    }

    /// Waits until some more of the load has arrived at the destination.
    async fn progress(&mut self) {
        let destination = self.destination.database("postgres");
        let count = async || {
            let rows = destination.try_query("SELECT count(*) FROM journal").await.ok()?;
            rows.first()?[0].as_ref()?.parse::<u64>().ok()
        };
        let mut before = None;
        let what = format!("{}: progress at the destination", self.name);
        self.agent
            .wait_for(&what, async |_| {
                let now = count().await;
                before = before.or(now);
                now.zip(before).is_some_and(|(now, before)| now > before + 10)
            })
            .await;
    }

    /// Waits until the agent says that it does not work, and fails where it takes too long.
    async fn noticed(&mut self, state: &str) {
        let began = Instant::now();
        self.agent.wait_for_state(state).await;
        let took = began.elapsed();
        assert!(took < NOTICED, "{}: noticed after {took:?}\n{}", self.name, self.agent.log());
    }

    /// It streams again by itself; all is there, once.
    async fn ends_well(mut self) {
        self.agent.wait_for_state("streaming").await;
        self.progress().await;
        self.stop_writing().await;
        self.agent.caught_up().await;
        if let Some(monitor) = self.monitor.take() {
            monitor.verdict();
        }
        assert_eq!(self.agent.terminate().await, Some(0), "{}", self.name);
        assert_same(&self.source, &self.destination, &NAMES).await;
        let slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots";
        assert_eq!(self.source.scalar(slots).await, "sync_agent_it", "{}", self.name);
    }
}
