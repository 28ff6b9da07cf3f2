//! Tables that are added or copied again while others stream: these do not wait, and nothing is lost or
//! doubled in the hand-over.

use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::wait;
use crate::support::workload::Workload;

/// How long a change of another table may take while a table is copied.
const LAG_MAX: Duration = Duration::from_secs(5);

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0);
     CREATE TABLE ev (n bigint, pad text)";

/// 4,000 rows, with large values in some.
const LATE: &str = "
    CREATE TABLE late (id int PRIMARY KEY, n int, body text);
    ALTER TABLE late ALTER body SET STORAGE EXTERNAL;
    INSERT INTO late SELECT g, 0, CASE WHEN g % 10 = 0 THEN repeat(md5(g::text), 90) END
        FROM generate_series(1, 4000) g";

/// The same table at the destination, where every row takes a while.
const SLOW_LATE: &str = "
    CREATE TABLE late (id int PRIMARY KEY, n int, body text);
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END';
    CREATE TRIGGER linger BEFORE INSERT ON late FOR EACH ROW EXECUTE FUNCTION linger();
    ALTER TABLE late ENABLE ALWAYS TRIGGER linger";

const LATE_LOAD: &str = "\\set id random(1, 4000)\n\
    UPDATE late SET n = n + 1 WHERE id = :id;\n\
    UPDATE late SET id = id + 10000 WHERE id = :id + 3 AND NOT EXISTS (SELECT FROM late WHERE id = :id + 10003);\n\
    DELETE FROM late WHERE id = :id + 5;\n\
    INSERT INTO late VALUES (:id + 5, -1, repeat('y', 3000)) ON CONFLICT DO NOTHING;\n\
    BEGIN;\n\
    INSERT INTO ev VALUES (:id, 'e');\n\
    UPDATE t SET v = v + 1 WHERE id = 1;\n\
    COMMIT;\n";

/// So many rounds a second that a destination where every row takes a while keeps up with them.
fn late_load(source: &Cluster, script: &str) -> Workload {
    let options = ["-n", "-c", "1", "-T", "3600", "-R", "60"];
    Workload::start(source, &options, Some(script))
}

/// Half of the rows, where one chunk is as good as several.
fn fewer(sql: &str) -> String {
    sql.replace("4000", "2000")
}

async fn is_copying(destination: &Cluster) -> bool {
    let sql = "SELECT count(*) FROM sync_agent.tables WHERE source_table = 'late' AND beside";
    destination.scalar(sql).await == "1"
}

async fn one_slot_left(source: &Cluster) {
    let slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots";
    assert_eq!(source.scalar(slots).await, "sync_agent_it");
}

/// Writes to `t` for as long as `late` is copied; how long the slowest change took.
async fn slowest_change(source: &Cluster, destination: &Cluster) -> (Duration, u32) {
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    while is_copying(destination).await {
        count += 1;
        source.exec(&format!("INSERT INTO t VALUES ({}, 0)", 1000 + count)).await;
        let began = Instant::now();
        let sql = format!("SELECT count(*) FROM t WHERE id = {}", 1000 + count);
        wait::until("a change of another table", 3 * LAG_MAX, async || {
            destination.scalar(&sql).await == "1"
        })
        .await;
        slowest = slowest.max(began.elapsed());
    }
    (slowest, count)
}

#[tokio::test]
async fn others_stream_on_while_a_new_table_is_copied_under_load() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    destination.exec(SLOW_LATE).await;
    let mut agent = Agent::between(&source, &destination).looking_often();
    agent.start_and_stream().await;
    source.exec(&fewer(LATE)).await;
    let load = late_load(&source, &fewer(LATE_LOAD));
    agent.wait_for("its copy beside", async |_| is_copying(&destination).await).await;
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'sync_agent_it_sync'";
    assert_eq!(source.scalar(slots).await, "1");
    let (slowest, count) = slowest_change(&source, &destination).await;
    assert!(count > 3, "the copy was quicker than the test");
    assert!(slowest < LAG_MAX, "a change of another table took {slowest:?}");
    agent.wait_for_state("streaming").await;
    load.stop(&source).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "ev", "late"]).await;
    one_slot_left(&source).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_table_is_copied_again_while_its_old_rows_stay_and_others_stream() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source.exec(&fewer(LATE)).await;
    destination.exec(SLOW_LATE).await;
    let mut agent = Agent::between(&source, &destination).looking_often();
    agent.start_and_stream().await;
    destination
        .exec("DELETE FROM late WHERE id < 100; UPDATE late SET n = 77 WHERE id > 1900")
        .await;
    let load = late_load(&source, &fewer(LATE_LOAD));
    let asked = agent.verb(&["resync", "--table", "public.late", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    agent.wait_for("its copy beside", async |_| is_copying(&destination).await).await;
    assert!(destination.count("late").await > 1750, "the old rows are readable");
    let (slowest, _) = slowest_change(&source, &destination).await;
    assert!(slowest < LAG_MAX, "a change of another table took {slowest:?}");
    agent.wait_for_state("streaming").await;
    load.stop(&source).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "ev", "late"]).await;
    one_slot_left(&source).await;
    let request = "SELECT outcome FROM sync_agent.requests";
    assert_eq!(destination.scalar(request).await, "done");
}

/// Killed while it copies, while it catches up, and wherever the moment falls.
#[tokio::test]
async fn a_copy_beside_the_stream_survives_kills() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    destination.exec(SLOW_LATE).await;
    let mut agent =
        Agent::between(&source, &destination).text("snapshot.chunk", "256KiB").looking_often();
    agent.start_and_stream().await;
    source.exec(LATE).await;
    let load = late_load(&source, LATE_LOAD);
    agent.wait_for("its copy beside", async |_| is_copying(&destination).await).await;
    for share in [0, 1000, 2000] {
        agent
            .wait_for("a part of the copy", async |_| {
                destination.count("late").await > share || !is_copying(&destination).await
            })
            .await;
        agent.kill9();
        agent.delete_state();
        agent.start();
    }
    agent.wait_for_state("streaming").await;
    assert!(agent.log().contains("a copy that was cut off goes on"), "{}", agent.log());
    load.stop(&source).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "ev", "late"]).await;
    one_slot_left(&source).await;
}

/// A table without a key appears meanwhile, and with it a publication that is younger than the second
/// slot: no stream may ask for it before its creation.
#[tokio::test]
async fn a_publication_that_is_younger_than_the_second_slot_holds_nothing_up() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)").await;
    destination.exec(SLOW_LATE).await;
    let mut agent =
        Agent::between(&source, &destination).text("snapshot.chunk", "256KiB").looking_often();
    agent.start_and_stream().await;
    source.exec(LATE).await;
    agent.wait_for("a part", async |_| destination.count("late").await > 500).await;
    source.exec("CREATE TABLE journal (n int); INSERT INTO journal VALUES (1)").await;
    source.exec("UPDATE late SET n = 3 WHERE id % 7 = 0; UPDATE t SET v = 1").await;
    agent.terminate().await;
    agent.start();
    agent.wait_for_state("streaming").await;
    source.exec("INSERT INTO journal VALUES (2); UPDATE late SET n = 4 WHERE id % 11 = 0").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "late", "journal"]).await;
    one_slot_left(&source).await;
}

#[tokio::test]
async fn without_its_slot_the_table_starts_over_and_the_others_do_not() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    destination.exec(SLOW_LATE).await;
    let mut agent =
        Agent::between(&source, &destination).text("snapshot.chunk", "256KiB").looking_often();
    agent.start_and_stream().await;
    source.exec(LATE).await;
    agent.wait_for("a part", async |_| destination.count("late").await > 500).await;
    agent.kill9();
    let gone = "SELECT count(*) FROM pg_replication_slots WHERE active";
    wait::until("the slots to be free", Duration::from_secs(20), async || {
        source.scalar(gone).await == "0"
    })
    .await;
    source.exec("SELECT pg_drop_replication_slot('sync_agent_it_sync')").await;
    source.exec("UPDATE late SET n = 3; INSERT INTO ev VALUES (1, 'x')").await;
    agent.start();
    agent.wait_for_state("streaming").await;
    assert!(agent.log().contains("the second slot cannot go on"), "{}", agent.log());
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "ev", "late"]).await;
    one_slot_left(&source).await;
}
