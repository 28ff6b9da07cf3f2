//! The agent dies between every two steps of the order law, of the copy, of a followed change and of
//! a reset, and is started again.
//!
//! The points are those of `src/failpoint.rs`. That the agent died at the point, and not elsewhere
//! or never, is read off its last line. Afterwards, whatever the point: both tables are equal, the
//! one without a key has nothing twice, and there is one slot and no object that nobody asked for.

use nix::sys::signal::Signal;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::monitor::Monitor;
use crate::support::wait;
use crate::support::workload::Workload;

/// Without a key nothing hides what is lost or applied twice; some chunks of each.
const TABLES: &str = "CREATE SEQUENCE next; \
     CREATE TABLE ev (n bigint, pad text); CREATE TABLE k (id int PRIMARY KEY, v bigint); \
     INSERT INTO ev SELECT nextval('next'), repeat('x', 100) FROM generate_series(1, 2000); \
     INSERT INTO k SELECT g, 0 FROM generate_series(1, 6000) g";

const SCRIPT: &str = "\\set id random(1, 3000)\nBEGIN;\n\
     INSERT INTO ev VALUES (nextval('next'), repeat('y', 50));\n\
     UPDATE k SET v = v + 1 WHERE id = :id;\nCOMMIT;\n";

/// Enough that each batch has company, little enough that the tests are quick.
const TRANSACTIONS_PER_SECOND: &str = "200";

/// What brings the agent to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Its start, under load.
    Started,
    /// Others' WAL and nothing of ours.
    Idle,
    /// A change of structure while it was away.
    Altered(&'static str),
    /// A new table.
    Joined(&'static str),
    /// SIGTERM while it streams under load.
    Stopped,
    /// The verb.
    Reset,
}

use How::{Altered, Idle, Joined, Reset, Started, Stopped};

/// Two servers, an agent that has not been started, writers at work.
struct Scene {
    source: Cluster,
    destination: Cluster,
    agent: Agent,
    load: Option<Workload>,
    monitor: Monitor,
    tables: Vec<&'static str>,
}

impl Scene {
    async fn begin() -> Scene {
        let (source, destination) = pair().await;
        source.exec(TABLES).await;
        let agent = Agent::between(&source, &destination)
            .text("snapshot.chunk", "64KiB")
            .set("snapshot.workers", "2");
        let monitor = Monitor::watch(&source, &destination, &agent.pipeline);
        let load = Workload::start(
            &source,
            &["-n", "-c", "1", "-T", "3600", "-R", TRANSACTIONS_PER_SECOND],
            Some(SCRIPT),
        );
        let tables = vec!["ev", "k"];
        Scene { source, destination, agent, load: Some(load), monitor, tables }
    }

    /// The same with an agent that has streamed, and was stopped.
    async fn streamed() -> Scene {
        let mut scene = Scene::begin().await;
        scene.agent.start_and_stream().await;
        assert_eq!(scene.agent.terminate().await, Some(0));
        scene
    }

    /// Gets it to the point.
    async fn dies(&mut self, how: How, point: &str) {
        match how {
            Started | Stopped | Reset => {}
            Idle => {
                if self.load.is_some() {
                    self.agent.start_and_stream().await;
                    self.quiet().await;
                    self.agent.caught_up().await;
                    assert_eq!(self.agent.terminate().await, Some(0));
                }
                let noise = "SELECT pg_logical_emit_message(true, 'noise', repeat('x', 100000))";
                self.source.exec(noise).await;
            }
            Altered(sql) => self.source.exec(sql).await,
            Joined(table) => {
                let sql = format!(
                    "CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} VALUES (1), (2)"
                );
                self.source.exec(&sql).await;
                self.tables.push(table);
                self.tables.sort_unstable();
            }
        }
        self.agent.arm(&format!("{point}=kill"));
        if how == Reset {
            return self.dies_resetting(point).await;
        }
        self.agent.start();
        if how == Stopped {
            self.agent.wait_for_state("streaming").await;
            self.agent.signal(Signal::SIGTERM);
        }
        self.died_at(point).await;
    }

    /// A second reset finishes what the first one left, and the pipeline can begin anew.
    async fn dies_resetting(&mut self, point: &str) {
        let output = self.agent.verb(&["reset", "--yes"]).await;
        let expected = format!("failpoint {point}: the process ends here\n");
        assert!(output.code == -1 && output.stderr.ends_with(&expected), "{output:?}");
        self.agent.arm("");
        let output = self.agent.verb(&["reset", "--yes"]).await;
        assert_eq!(output.code, 0, "{output:?}");
        assert_eq!(self.agent.traces().await, ["schema sync_agent"]);
        self.agent.change("destination.on_existing", "\"truncate\"");
        // Its position begins anew, too.
        self.monitor = Monitor::watch(&self.source, &self.destination, &self.agent.pipeline);
    }

    /// Waits for its end, which must be the point.
    async fn died_at(&mut self, point: &str) {
        let code = self.agent.wait_for_exit().await;
        let log = self.agent.log();
        let name = point.split(':').next().expect("a name");
        let last = log.lines().last().unwrap_or_default();
        let expected = format!("failpoint {name}: the process ends here");
        assert_eq!((code, last), (None, expected.as_str()), "it did not die there:\n{log}");
        self.agent.arm("");
    }

    async fn quiet(&mut self) {
        self.load.take().expect("it is at work").stop(&self.source).await;
    }

    /// Started once more, it brings everything into order.
    async fn recovers(mut self) {
        self.agent.start_and_stream().await;
        if self.load.is_some() {
            self.quiet().await;
        }
        self.agent.caught_up().await;
        // Those that are copied beside the stream take their time.
        let (source, destination) = (&self.source, &self.destination);
        let rest = "SELECT count(*) FROM sync_agent.tables WHERE state <> 'copied' OR beside";
        let slots = "SELECT count(*) FROM pg_replication_slots";
        self.agent
            .wait_for("all tables are the stream's", async |_| {
                destination.scalar(rest).await == "0" && source.scalar(slots).await == "1"
            })
            .await;
        self.monitor.verdict();
        assert_eq!(self.agent.terminate().await, Some(0));
        assert_same(&self.source, &self.destination, &self.tables).await;
        let doubled = "SELECT count(*) - count(DISTINCT n) FROM ev";
        assert_eq!(self.destination.scalar(doubled).await, "0");
        assert_nothing_left_over(&self.source, &self.destination, &self.tables).await;
    }
}

async fn assert_nothing_left_over(source: &Cluster, destination: &Cluster, tables: &[&str]) {
    let slots = "SELECT string_agg(slot_name || ' ' || active, ', ') FROM pg_replication_slots";
    assert_eq!(source.scalar(slots).await, "sync_agent_it false");
    let publications = "SELECT string_agg(pubname, ' ' ORDER BY pubname) FROM pg_publication";
    assert_eq!(source.scalar(publications).await, "sync_agent_it sync_agent_it_insert");
    wait::until("its sessions end", wait::PROCESS, async || {
        let ours =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync-agent%'";
        source.scalar(ours).await == "0" && destination.scalar(ours).await == "0"
    })
    .await;
    let relations = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
         WHERE relkind = 'r' AND relnamespace::regnamespace::text NOT IN ('pg_catalog', \
         'information_schema', 'sync_agent')";
    assert_eq!(destination.scalar(relations).await, tables.join(" "));
    let indexes = "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes \
         WHERE schemaname = 'public'";
    assert_eq!(destination.scalar(indexes).await, source.scalar(indexes).await);
    let rows = "SELECT count(*) FROM sync_agent.checkpoint";
    assert_eq!(destination.scalar(rows).await, "1");
}

/// Each point in turn, one start after the other: who dies so often on the way to the stream has
/// nothing left over from any of them.
const TO_THE_STREAM: &[(How, &str)] = &[
    (Started, "lease-taken"),
    (Started, "publications-recorded"),
    (Started, "publications-altered"),
    (Started, "slot-announced"),
    (Started, "slot-created"),
    (Started, "slot-recorded"),
    (Started, "tables-prepared"),
    (Started, "chunk-loaded"),
    (Started, "chunk-loaded:4"),
    (Started, "chunk-committed"),
    (Started, "last-chunk-committed"),
    (Started, "copy-point-taken"),
    // Not "table-copied": what is left then is copied beside the stream.
    (Started, "all-copied"),
    (Started, "before-stream"),
    (Started, "stream-started"),
];

/// Where there is a batch before it, the third: the first one after a start is special.
const TAIL: &[(How, &str)] = &[
    (Started, "stream-started"),
    (Started, "batch-begun:3"),
    (Started, "rows-written:3"),
    (Started, "checkpoint-moved:3"),
    (Started, "commit-sent:3"),
    (Started, "committed:3"),
    (Started, "mirrored:3"),
    (Started, "feedback-sent:3"),
    (Stopped, "drain-begun"),
    (Stopped, "drained"),
    (Idle, "idle-committed"),
];

const STRUCTURE: &[(How, &str)] = &[
    (Altered("ALTER TABLE ev ADD COLUMN extra int DEFAULT 7"), "table-altered"),
    (Altered("ALTER TABLE k ADD COLUMN extra text DEFAULT 'x'"), "table-followed"),
    (Joined("late"), "publications-altered"),
    (Started, "second-slot-created"),
    (Started, "chunk-loaded"),
    (Started, "second-reached"),
    (Started, "handed-over"),
];

const RESET: &[(How, &str)] = &[(Reset, "reset-slot-dropped"), (Reset, "reset-source-forgotten")];

/// Every second time the local store is lost, too: it is no help, and not needed.
async fn dies_at_each(mut scene: Scene, steps: &[(How, &str)]) {
    for (number, (how, point)) in steps.iter().enumerate() {
        scene.dies(*how, point).await;
        if number % 2 == 1 {
            scene.agent.delete_state();
        }
    }
    scene.recovers().await;
}

#[tokio::test]
async fn every_point_on_the_way_to_the_stream() {
    let mut scene = Scene::begin().await;
    // Two at once may both have finished their table when one of them dies: nothing to come then.
    scene.agent.change("snapshot.workers", "1");
    dies_at_each(scene, TO_THE_STREAM).await;
}

#[tokio::test]
async fn every_point_of_the_order_law() {
    dies_at_each(Scene::streamed().await, TAIL).await;
}

#[tokio::test]
async fn every_point_of_a_change_of_structure() {
    dies_at_each(Scene::streamed().await, STRUCTURE).await;
}

#[tokio::test]
async fn every_point_of_a_reset() {
    let mut scene = Scene::streamed().await;
    scene.dies(RESET[0].0, RESET[0].1).await;
    scene.agent.start_and_stream().await;
    assert_eq!(scene.agent.terminate().await, Some(0));
    dies_at_each(scene, &RESET[1..]).await;
}

#[tokio::test]
async fn a_point_that_does_not_exist_is_refused() {
    let nowhere = Database { socket: "/".into(), port: 1, name: "none".to_owned() };
    let mut agent = Agent::between(&nowhere, &nowhere);
    agent.arm("comit-sent=kill");
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("comit-sent"), "{output:?}");
}

/// Each point by itself, on servers of its own: what a chain of them might hide.
mod long {
    use super::*;

    /// `name: the scene, how, the point`.
    macro_rules! points {
        ($($name:ident: $scene:ident, $how:expr, $point:literal;)+) => {
            $(#[tokio::test]
            #[ignore = "long: make test-long"]
            async fn $name() {
                dies_at_each(Scene::$scene().await, &[($how, $point)]).await;
            })+
        };
    }

    points! {
        lease_taken: begin, Started, "lease-taken";
        publications_recorded: begin, Started, "publications-recorded";
        publications_created: begin, Started, "publications-altered";
        slot_announced: begin, Started, "slot-announced";
        slot_created: begin, Started, "slot-created";
        slot_recorded: begin, Started, "slot-recorded";
        tables_prepared: begin, Started, "tables-prepared";
        chunk_loaded: begin, Started, "chunk-loaded";
        fourth_chunk_loaded: begin, Started, "chunk-loaded:4";
        chunk_committed: begin, Started, "chunk-committed";
        third_chunk_committed: begin, Started, "chunk-committed:3";
        last_chunk_committed: begin, Started, "last-chunk-committed";
        table_copied: begin, Started, "table-copied";
        all_copied: begin, Started, "all-copied";
        before_stream: begin, Started, "before-stream";
        stream_started: begin, Started, "stream-started";
        stream_started_again: streamed, Started, "stream-started";
        batch_begun: streamed, Started, "batch-begun";
        rows_written: streamed, Started, "rows-written";
        checkpoint_moved: streamed, Started, "checkpoint-moved";
        commit_sent: streamed, Started, "commit-sent";
        committed: streamed, Started, "committed";
        mirrored: streamed, Started, "mirrored";
        feedback_sent: streamed, Started, "feedback-sent";
        idle_committed: streamed, Idle, "idle-committed";
        table_altered: streamed, Altered("ALTER TABLE ev ADD COLUMN x int DEFAULT 7"), "table-altered";
        table_followed: streamed, Altered("ALTER TABLE ev ADD COLUMN x int DEFAULT 7"), "table-followed";
        table_added: streamed, Joined("late"), "publications-altered";
        second_slot_created: streamed, Joined("late"), "second-slot-created";
        added_table_prepared: streamed, Joined("late"), "tables-prepared";
        added_table_copied: streamed, Joined("late"), "table-copied";
        second_reached: streamed, Joined("late"), "second-reached";
        handed_over: streamed, Joined("late"), "handed-over";
        drain_begun: streamed, Stopped, "drain-begun";
        drained: streamed, Stopped, "drained";
        reset_slot_dropped: streamed, Reset, "reset-slot-dropped";
        reset_source_forgotten: streamed, Reset, "reset-source-forgotten";
    }

    /// Heaps from a size on have their indexes built apart.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn an_index_that_is_built_apart() {
        let mut scene = Scene::begin().await;
        scene.tables.insert(0, "big");
        let sql = "CREATE TABLE big (id int PRIMARY KEY, v text); CREATE INDEX big_v ON big (v); \
             INSERT INTO big SELECT g, repeat('z', 500) || g FROM generate_series(1, 35000) g";
        scene.source.exec(sql).await;
        scene.agent.change("snapshot.chunk", "\"8MiB\"");
        dies_at_each(scene, &[(Started, "index-built")]).await;
    }
}
