//! Foreign keys come after all loads: valid where the rows are, NOT VALID or left out with a word
//! where they are not.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::wait;

const TABLES: &str = "
    CREATE TABLE parent (id integer PRIMARY KEY);
    CREATE TABLE outside (id integer PRIMARY KEY);
    CREATE TABLE child (
        id integer PRIMARY KEY,
        parent integer CONSTRAINT of_parent REFERENCES parent ON DELETE CASCADE,
        outside integer CONSTRAINT to_outside REFERENCES outside,
        child integer CONSTRAINT of_child REFERENCES child);
    INSERT INTO parent SELECT generate_series(1, 100);
    INSERT INTO child (id, parent) SELECT g, g FROM generate_series(1, 100) g;";

/// Each foreign key of the destination and whether it is valid.
const STATE: &str = "SELECT string_agg(conname || ' ' || convalidated, ', ' ORDER BY conname) \
     FROM pg_constraint WHERE contype = 'f' AND conparentid = 0";

#[tokio::test]
async fn rows_that_break_one_leave_it_not_valid_and_nothing_halts() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source
        .exec(
            "CREATE TABLE part (id integer, parent integer CONSTRAINT part_of REFERENCES parent) PARTITION BY RANGE (id);
             CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
             SET session_replication_role = replica;
             INSERT INTO child (id, parent) VALUES (500, 999); INSERT INTO part VALUES (1, 999);",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).set("exclude", "[\"public.outside\"]");
    agent.start_and_stream().await;
    assert_eq!(destination.scalar(STATE).await, "of_child true, of_parent false");
    let log = agent.log();
    for (name, word) in
        [("of_parent", "NOT VALID"), ("part_of", "left out"), ("to_outside", "left out")]
    {
        let is_said = log.lines().any(|line| line.contains(name) && line.contains(word));
        assert!(is_said, "{name} {word}: {log}");
    }
    source.exec("INSERT INTO child (id, parent, child) VALUES (600, 5, 1); DELETE FROM parent WHERE id = 7").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["parent", "child", "part"]).await;
    let owed = "SELECT count(*) FROM sync_agent.tables WHERE NOT finished";
    assert_eq!(destination.scalar(owed).await, "0", "nothing more can be done");
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn killed_between_load_and_foreign_keys_the_next_start_adds_them() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    // There already, and locked so that rows may come and no foreign key.
    destination.exec("CREATE TABLE parent (id integer PRIMARY KEY)").await;
    let gate = destination.session().await.expect("a session");
    gate.batch_execute("BEGIN; LOCK TABLE parent IN ROW EXCLUSIVE MODE").await.expect("a lock");
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    wait::until("a foreign key waits for the lock", wait::CATCH_UP, async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND query LIKE '%of_parent%'";
        destination.scalar(waiting).await == "1"
    })
    .await;
    let owed = "SELECT string_agg(source_table, ',') FROM sync_agent.tables WHERE NOT finished";
    assert_eq!(destination.scalar(owed).await, "child");
    agent.kill9();
    gate.batch_execute("COMMIT").await.expect("a commit");
    agent.start_and_stream().await;
    let all = "of_child true, of_parent true, to_outside true";
    assert_eq!(destination.scalar(STATE).await, all);
    assert_eq!(destination.scalar(owed).await, "");
    assert_same(&source, &destination, &["parent", "child"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_backfill_adds_them_too() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let all = "of_child true, of_parent true, to_outside true";
    assert_eq!(destination.scalar(STATE).await, all);
    assert_same(&source, &destination, &["parent", "child"]).await;
}

#[tokio::test]
async fn a_missing_privilege_on_the_other_side_is_found_and_its_grant_mends_it() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    destination
        .exec(
            "CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE postgres TO app;
             GRANT USAGE, CREATE ON SCHEMA public TO app; CREATE TABLE parent (id integer PRIMARY KEY);
             GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON parent TO app;",
        )
        .await;
    let agent =
        Agent::between(&source, &destination).text("destination.url", &destination.url_as("app"));
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    let grant = "GRANT REFERENCES ON \"public\".\"parent\" TO \"app\"";
    assert!(output.stdout.contains(grant), "{}", output.stdout);
    destination.exec(grant).await;
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{output:?}");
}
