//! Rewrites of the heap change nothing.

use super::held;
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair, assert_same};

#[tokio::test]
async fn a_fast_default_from_before_the_copy_is_the_old_rows_value() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE fd (a int); ALTER TABLE fd REPLICA IDENTITY FULL; \
             INSERT INTO fd VALUES (1); ALTER TABLE fd ADD COLUMN b bool NOT NULL DEFAULT false; \
             INSERT INTO fd VALUES (2, true)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("UPDATE fd SET a = a + 1").await;
    agent.caught_up().await;
    let rows = "SELECT string_agg(fd::text, ' ' ORDER BY a) FROM fd";
    assert_eq!(destination.scalar(rows).await, "(2,f) (3,t)");
    // And one from after it.
    source
        .exec("ALTER TABLE fd ADD COLUMN c int NOT NULL DEFAULT 9; UPDATE fd SET a = a + 1")
        .await;
    agent.caught_up().await;
    assert_eq!(destination.scalar(rows).await, "(3,f,9) (4,t,9)");
}

#[tokio::test]
async fn physical_rewrites_are_invisible() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    source.exec("INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100) g").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    for (number, statement) in [
        "VACUUM FULL t",
        "CLUSTER t USING t_pkey",
        "REINDEX TABLE CONCURRENTLY t",
        "ALTER TABLE t SET (fillfactor = 50)",
        "ANALYZE t",
        "VACUUM FULL t",
    ]
    .iter()
    .enumerate()
    {
        source.exec(statement).await;
        source.exec(&format!("UPDATE t SET v = v || {number} WHERE id % 3 = {number} % 3")).await;
        source.exec(&format!("INSERT INTO t VALUES ({}, 'n')", 1000 + number)).await;
    }
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    let labels = ["stage=\"pipeline\"", "code=\"E_SCHEMA\""];
    assert_eq!(agent.metric("sync_agent_errors_total", &labels).await, Some(0.0));
    // Long enough ago, they are not held against a column of today.
    let moved = format!(
        "SELECT source_shape -> 'files' ->> '{oid}' = '{file}' FROM sync_agent.tables",
        oid = source.scalar("SELECT 't'::regclass::oid").await,
        file = source.scalar("SELECT pg_relation_filenode('t')").await,
    );
    agent
        .wait_for("the rewrite is in the past", async |_| destination.scalar(&moved).await == "t")
        .await;
    source.exec("ALTER TABLE t ADD COLUMN n int DEFAULT 5; INSERT INTO t VALUES (5000)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

/// With a writer beside, large values, a table without a key, another tablespace.
#[tokio::test]
async fn physical_rewrites_under_load_are_invisible() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, v text);
             INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100) g;
             CREATE TABLE bag (a int, big text); ALTER TABLE bag REPLICA IDENTITY FULL;
             ALTER TABLE bag ALTER big SET STORAGE EXTERNAL;
             INSERT INTO bag SELECT g % 5, repeat('b', 3000) FROM generate_series(1, 50) g",
        )
        .await;
    let session = source.session().await.expect("the source answers");
    session.batch_execute("SET allow_in_place_tablespaces = on").await.expect("a superuser may");
    session.batch_execute("CREATE TABLESPACE other LOCATION ''").await.expect("a superuser may");
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let writer = tokio::spawn({
        let source = (*source).clone();
        async move {
            for number in 0..60 {
                let changes = format!(
                    "BEGIN; INSERT INTO bag VALUES ({number}, repeat('n', 3000)); UPDATE bag SET a = a + 1
                       WHERE a % 7 = {number} % 7; UPDATE t SET v = 'w{number}' WHERE id = {number};
                     DELETE FROM bag WHERE a = {number} - 20; COMMIT"
                );
                source.exec(&changes).await;
            }
        }
    });
    for (number, statement) in [
        "VACUUM FULL t",
        "VACUUM FULL bag",
        "CLUSTER t USING t_pkey",
        "REINDEX TABLE CONCURRENTLY t",
        "ALTER TABLE t SET TABLESPACE other",
        "ALTER TABLE bag SET TABLESPACE other",
        "ALTER TABLE t SET LOGGED",
    ]
    .iter()
    .enumerate()
    {
        source.exec(statement).await;
        source.exec(&format!("UPDATE t SET v = v || {number} WHERE id % 3 = {number} % 3")).await;
    }
    writer.await.expect("it writes");
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "bag"]).await;
    let labels = ["stage=\"pipeline\"", "code=\"E_SCHEMA\""];
    assert_eq!(agent.metric("sync_agent_errors_total", &labels).await, Some(0.0));
}

#[tokio::test]
async fn a_type_that_widens_without_a_rewrite_goes_on_where_the_destination_has_room() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(5), n numeric(6,2))").await;
    source.exec("INSERT INTO t VALUES (1, 'short', 1.25)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    destination.exec("ALTER TABLE t ALTER v TYPE text, ALTER n TYPE numeric(12,2)").await;
    source.exec("ALTER TABLE t ALTER v TYPE varchar(50), ALTER n TYPE numeric(12,2)").await;
    source.exec("INSERT INTO t VALUES (2, 'much longer than that', 1234567890.12)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    // No room there: both types are named.
    source.exec("ALTER TABLE t ALTER n TYPE numeric(20,2); INSERT INTO t VALUES (3, 'x', 1)").await;
    let message = held(&mut agent, "E_SCHEMA").await;
    for part in ["\"n\"", "numeric(12,2)", "numeric(20,2)", "ALTER COLUMN \"n\" TYPE"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    destination.exec("ALTER TABLE t ALTER n TYPE numeric(20,2)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn a_type_change_that_rewrites_rows_holds_whatever_the_new_type_is() {
    for (change, types) in [
        ("TYPE bigint USING n * 10", ["integer", "bigint"]),
        ("TYPE timestamptz USING to_timestamp(n)", ["integer", "timestamp with time zone"]),
    ] {
        let (source, destination) = pair().await;
        source
            .exec("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
            .await;
        let mut agent = Agent::between(&source, &destination);
        agent.start_and_stream().await;
        destination.exec(&format!("ALTER TABLE t ALTER n {}", change.replace("n * 10", "n"))).await;
        source.exec(&format!("ALTER TABLE t ALTER n {change}")).await;
        source.exec("INSERT INTO t SELECT 2, max(n) FROM t").await;
        let message = held(&mut agent, "E_SCHEMA").await;
        for part in types.iter().chain(&["\"n\"", "sync-agent resync --table public.t"]) {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(destination.count("t").await, 1);
    }
}

#[tokio::test]
async fn a_table_altered_beside_an_open_transaction_is_read_as_it_was() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, n int)")
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    for round in 1..4 {
        let session = source.session().await.expect("the server answers");
        session
            .batch_execute(&format!("BEGIN; INSERT INTO a VALUES ({round})"))
            .await
            .expect("a row");
        if round == 1 {
            source.exec("ALTER TABLE b ALTER COLUMN n TYPE float8").await;
            destination.exec("ALTER TABLE b ALTER COLUMN n TYPE float8").await;
        }
        source.exec(&format!("ALTER TABLE b ADD COLUMN k{round} int DEFAULT {round}")).await;
        let insert = format!("INSERT INTO b (id, n) VALUES ({round}, {round}.5)");
        session.batch_execute(&insert).await.expect("a row");
        session.batch_execute("COMMIT").await.expect("committed");
        source
            .exec("BEGIN; SAVEPOINT s; ALTER TABLE b ADD COLUMN undone uuid DEFAULT gen_random_uuid(); ROLLBACK TO s; COMMIT")
            .await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["a", "b"]).await;
    }
}

#[tokio::test]
async fn a_column_that_does_not_travel_in_binary_any_more_goes_on_in_text() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(9)); INSERT INTO t VALUES (1, 'v')")
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("ALTER TABLE t ADD COLUMN r regtype, ADD COLUMN d date").await;
    source.exec("INSERT INTO t VALUES (2, 'w', 'int4', '2024-02-29')").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    assert_pair(&source, &destination, Pair::table("t").columns("r::oid", "r::oid")).await;
}
