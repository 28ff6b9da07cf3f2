//! A copy that was cut off goes on: what was loaded is not read again, and the result is exact whatever
//! happened to the rows meanwhile.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Stop, pair};
use crate::support::compare::assert_same;
use crate::support::proxy::{Behavior, Proxy};
use crate::support::workload::Workload;

const ROWS: u64 = 30_000;

/// Rows of some 300 bytes, large values in every tenth. `small` and `locked` are done before.
const TABLES: &str = "
    CREATE TABLE small (id int PRIMARY KEY, v text);
    INSERT INTO small SELECT g, 'v' || g FROM generate_series(1, 100) g;
    CREATE TABLE large (id int, part text, n int, pad text, body text, PRIMARY KEY (part, id));
    ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
    CREATE INDEX large_n ON large (n);
    INSERT INTO large SELECT g, 'p' || g % 3, 0, repeat(md5(g::text), 8),
        CASE WHEN g % 10 = 0 THEN repeat(md5(g::text), 90) END FROM generate_series(1, 30000) g;";

/// What a copy meets that starts over: rows of every block changed in every way, some of them without
/// their large value, some more than once.
const CHANGES: &str = "
    UPDATE large SET n = n + 1 WHERE id % 100 = 0;
    UPDATE large SET id = id WHERE id % 100 = 10;
    DELETE FROM large WHERE id % 100 = 1;
    UPDATE large SET id = id + 1000000 WHERE id % 100 = 20;
    UPDATE large SET n = 7 WHERE id % 100 = 20;
    UPDATE large SET body = 'short' WHERE id % 200 = 30;
    UPDATE large SET body = NULL WHERE id % 200 = 40;
    DELETE FROM large WHERE id % 1000 = 50;
    INSERT INTO large SELECT g, 'p' || g % 3, 9, 'new', repeat('x', 5000)
        FROM generate_series(2000000, 2000500) g;
    INSERT INTO large SELECT g, 'p' || g % 3, 9, 'anew', NULL FROM generate_series(1, 2001, 100) g;
    UPDATE large SET n = n + 1 WHERE id % 1000 = 60;
    DELETE FROM large WHERE id BETWEEN 100 AND 1500;
    VACUUM large;
    UPDATE large SET n = n + 1 WHERE id > 27500 AND id % 10 = 0;
    UPDATE large SET id = id WHERE id BETWEEN 25000 AND 25500 AND id % 10 = 0;
    UPDATE large SET id = id + 3000000 WHERE id BETWEEN 26000 AND 26250;
    UPDATE small SET v = 'changed' WHERE id = 1;";

/// One by one: VACUUM is for itself. The rows that are updated after it move into the blocks that it has
/// freed, which are loaded already.
async fn change(source: &Cluster) {
    for statement in CHANGES.split(';').filter(|statement| !statement.trim().is_empty()) {
        source.exec(statement).await;
    }
}

/// `large` is being copied over a slow link, one chunk of 1 MiB after the other.
struct Copying {
    source: Cluster,
    destination: Cluster,
    proxy: Proxy,
    agent: Agent,
}

impl Copying {
    async fn of(tables: &str) -> Copying {
        let (source, destination) = pair().await;
        source.exec(tables).await;
        let proxy = Proxy::to(destination.port).await;
        proxy.set(Behavior::Throttle { bytes_per_second: 5_000_000 });
        let agent = Agent::between(&source, &destination)
            .text("destination.url", &destination.url_by_way_of(proxy.port))
            .text("snapshot.chunk", "1MiB")
            .set("snapshot.workers", "1");
        Copying { source, destination, proxy, agent }
    }

    /// Starts it, and kills it once some more of `large` is there.
    async fn killed_after(&mut self, share: f64) -> u64 {
        self.agent.start();
        let destination = &self.destination;
        let wanted = (ROWS as f64 * share) as u64;
        self.agent
            .wait_for("a part of the copy", async |_| loaded(destination).await > wanted)
            .await;
        self.agent.kill9();
        let there = loaded(destination).await;
        assert!(there < ROWS, "the copy was quicker than the test");
        there
    }

    /// How many rows of `large` the running agent has read.
    async fn read_count(&self) -> u64 {
        let name = "sync_agent_snapshot_rows_total";
        let count = self.agent.metric(name, &["table=\"public.large\""]).await;
        count.map_or(0, |count| count as u64)
    }

    async fn ends_well(mut self, tables: &[&str]) {
        self.agent.wait_for_state("streaming").await;
        self.agent.caught_up().await;
        assert_same(&self.source, &self.destination, tables).await;
        let left = "SELECT (SELECT count(*) FROM sync_agent.chunks) || ' ' \
             || (SELECT count(*) FROM sync_agent.missing)";
        assert_eq!(self.destination.scalar(left).await, "0 0");
        let slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots";
        assert_eq!(self.source.scalar(slots).await, "sync_agent_it");
        let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'large'";
        assert_eq!(
            self.destination.scalar(indexes).await,
            self.source.scalar(indexes).await,
            "every index was built"
        );
        assert_eq!(self.agent.terminate().await, Some(0));
    }
}

async fn loaded(destination: &Cluster) -> u64 {
    let count = destination.try_query("SELECT count(*) FROM large").await;
    let count = count.ok().and_then(|rows| rows[0][0].clone());
    count.map_or(0, |text| text.parse().expect("a count"))
}

#[tokio::test]
async fn only_missing_chunks_are_read_and_every_change_meanwhile_counts() {
    let mut copying = Copying::of(TABLES).await;
    let there = copying.killed_after(0.4).await;
    change(&copying.source).await;
    copying.proxy.set(Behavior::Forward);
    copying.agent.start();
    copying.agent.wait_for_state("streaming").await;
    let read = copying.read_count().await;
    assert!(copying.agent.log().contains("a copy that was cut off goes on"));
    let missing = ROWS - there;
    assert!(read >= missing / 2, "{read} rows were read, about {missing} were missing");
    // Those whose changes came without their large value are read by their keys, too.
    assert!(read <= missing + 3_000, "{read} rows were read, only some {missing} were missing");
    copying.ends_well(&["small", "large"]).await;
}

/// Whoever may not read a table any more cannot have read it again.
#[tokio::test]
async fn a_table_that_is_done_is_not_read_again() {
    // The largest comes first.
    let first = "CREATE TABLE first (id int PRIMARY KEY, v text); \
         INSERT INTO first SELECT g, repeat(md5(g::text), 12) FROM generate_series(1, 60000) g";
    let mut copying = Copying::of(&format!("{TABLES}{first}")).await;
    let role = "CREATE ROLE repl LOGIN REPLICATION; GRANT SELECT ON first, small, large TO repl; \
         CREATE PUBLICATION shop FOR TABLE first, small, large";
    copying.source.exec(role).await;
    copying.agent.change("source.url", &format!("{:?}", copying.source.url_as("repl")));
    copying.agent.change("source.publication", "\"shop\"");
    copying.killed_after(0.2).await;
    let state = "SELECT state FROM sync_agent.tables WHERE source_table = 'first'";
    assert_eq!(copying.destination.scalar(state).await, "copied");
    copying.source.exec("REVOKE SELECT ON first FROM repl").await;
    copying.source.exec("UPDATE first SET v = 'later' WHERE id = 2").await;
    copying.proxy.set(Behavior::Forward);
    copying.agent.start();
    copying.ends_well(&["first", "small", "large"]).await;
}

#[tokio::test]
async fn a_copy_is_cut_off_again_and_again_under_load() {
    let mut copying = Copying::of(TABLES).await;
    let script = "\\set id random(1, 30000)\n\
         UPDATE large SET n = n + 1 WHERE id = :id;\n\
         DELETE FROM large WHERE id = :id + 7;\n\
         INSERT INTO large VALUES (:id + 7, 'p0', 1, 'pad', repeat('y', 4000)) ON CONFLICT DO NOTHING;\n\
         UPDATE large SET id = id + 100000 WHERE id = :id + 11 AND part = 'p1' \
         AND NOT EXISTS (SELECT FROM large WHERE id = :id + 100011);\n";
    let load = Workload::script(&copying.source, 1, script);
    for share in [0.2, 0.4, 0.6] {
        copying.killed_after(share).await;
        copying.agent.delete_state();
    }
    copying.proxy.set(Behavior::Forward);
    copying.agent.start();
    copying.agent.wait_for_state("streaming").await;
    load.stop(&copying.source).await;
    copying.ends_well(&["small", "large"]).await;
}

/// It dies once more when all is applied up to the new point and no chunk is copied at it, and then in
/// the middle of these chunks.
#[tokio::test]
async fn a_copy_that_dies_at_its_new_point_goes_on_from_a_newer_one() {
    let mut copying = Copying::of(TABLES).await;
    copying.proxy.set(Behavior::Forward);
    for death in ["chunk-committed:4=kill", "point-reached=kill", "chunk-committed:3=kill"] {
        copying.agent.arm(death);
        copying.agent.start();
        copying.agent.wait_for_exit().await;
        let point = death.split([':', '=']).next().expect("a name");
        let log = copying.agent.log();
        let last = format!("failpoint {point}: the process ends here");
        assert_eq!(log.lines().last(), Some(last.as_str()), "it did not die there:\n{log}");
        let moved = "UPDATE large SET n = n + 1 WHERE id % 10 = 0 AND id > 15000; \
             DELETE FROM large WHERE id % 500 = 3 OR id BETWEEN 200 AND 900";
        copying.source.exec(moved).await;
        copying.source.exec("VACUUM large").await;
        copying.source.exec("UPDATE large SET id = id WHERE id % 20 = 0 AND id > 20000").await;
    }
    copying.agent.arm("");
    copying.agent.start();
    copying.ends_well(&["small", "large"]).await;
}

/// A table without a key appears, and with it a publication that is younger than our position: the
/// stream goes past its creation first, and past changes of the table that is loaded in part.
#[tokio::test]
async fn what_the_stream_goes_past_is_not_missing_in_what_was_loaded() {
    let mut copying = Copying::of(TABLES).await;
    copying.killed_after(0.4).await;
    copying.source.exec("CREATE TABLE journal (n int); INSERT INTO journal VALUES (1)").await;
    change(&copying.source).await;
    copying.proxy.set(Behavior::Forward);
    copying.agent.start();
    copying.agent.wait_for_state("streaming").await;
    assert!(copying.agent.log().contains("younger than our position"), "it went past something");
    copying.ends_well(&["small", "large", "journal"]).await;
}

/// Rows move and nothing in the stream tells of it.
#[tokio::test]
async fn a_table_that_was_rewritten_meanwhile_starts_over() {
    for rewrite in ["VACUUM FULL large", "CLUSTER large USING large_pkey"] {
        let mut copying = Copying::of(TABLES).await;
        copying.killed_after(0.3).await;
        copying.source.exec("DELETE FROM large WHERE id % 2 = 1").await;
        copying.source.exec(rewrite).await;
        copying.source.exec("UPDATE large SET n = 5 WHERE id % 10 = 0").await;
        copying.proxy.set(Behavior::Forward);
        copying.agent.start();
        copying.agent.wait_for_state("streaming").await;
        assert!(!copying.agent.log().contains("a copy that was cut off goes on"), "{rewrite}");
        copying.ends_well(&["small", "large"]).await;
    }
}

/// A column, a truncation, another partition: what was loaded is not what is there.
#[tokio::test]
async fn a_table_that_is_another_by_now_starts_over() {
    for change in [
        "ALTER TABLE large ADD COLUMN extra int DEFAULT 5; UPDATE large SET extra = 6 WHERE id < 50",
        "TRUNCATE large; INSERT INTO large VALUES (1, 'p1', 1, 'one', NULL)",
    ] {
        let mut copying = Copying::of(TABLES).await;
        copying.killed_after(0.3).await;
        copying.source.exec(change).await;
        copying.proxy.set(Behavior::Forward);
        copying.agent.start();
        copying.ends_well(&["small", "large"]).await;
    }
}

#[tokio::test]
async fn partitions_go_on_each_for_itself() {
    let tables = TABLES
        .replace("PRIMARY KEY (part, id))", "PRIMARY KEY (part, id)) PARTITION BY LIST (part)")
        .replace(
            "ALTER TABLE large ALTER body",
            "CREATE TABLE large_0 PARTITION OF large FOR VALUES IN ('p0'); \
             CREATE TABLE large_1 PARTITION OF large FOR VALUES IN ('p1'); \
             CREATE TABLE large_2 PARTITION OF large FOR VALUES IN ('p2', 'p9'); \
             ALTER TABLE large ALTER body",
        );
    let mut copying = Copying::of(&tables).await;
    copying.killed_after(0.5).await;
    change(&copying.source).await;
    copying.source.exec("UPDATE large SET part = 'p9' WHERE id % 500 = 7").await;
    copying.proxy.set(Behavior::Forward);
    copying.agent.start();
    copying.agent.wait_for_state("streaming").await;
    assert!(copying.agent.log().contains("a copy that was cut off goes on"));
    copying.ends_well(&["small", "large"]).await;
}

/// The link breaks and the agent lives: it is the same as after a kill.
#[tokio::test]
async fn a_lost_connection_costs_what_was_in_hand() {
    let mut copying = Copying::of(TABLES).await;
    copying.agent.start();
    for share in [0.2, 0.5] {
        let wanted = (ROWS as f64 * share) as u64;
        let destination = &copying.destination;
        copying
            .agent
            .wait_for("a part of the copy", async |_| loaded(destination).await > wanted)
            .await;
        copying.proxy.cut_once().await;
    }
    change(&copying.source).await;
    copying.source.restart(Stop::Fast).await;
    copying.proxy.set(Behavior::Forward);
    copying.agent.wait_for_state("streaming").await;
    assert!(copying.agent.log().contains("a copy that was cut off goes on"));
    copying.ends_well(&["small", "large"]).await;
}
