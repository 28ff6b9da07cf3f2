//! A partition that appears later at the source is created at the next start, with its indexes.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

use super::everything::assert_same_dump;

#[tokio::test]
async fn a_new_partition_of_a_table_we_created_is_created_before_its_rows_come() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE SCHEMA s;
             CREATE TABLE s.log (id integer, day date, note text DEFAULT 'x', PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE INDEX log_note ON s.log (note);
             CREATE TABLE s.log_1 PARTITION OF s.log FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
             INSERT INTO s.log SELECT g, '2024-01-05' FROM generate_series(1, 10) g;",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).set("include", "[\"s.*\"]");
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source
        .exec(
            "CREATE TABLE s.log_2 (note text DEFAULT 'y', id integer NOT NULL, day date NOT NULL) PARTITION BY LIST (id);
             CREATE TABLE s.log_2_rest PARTITION OF s.log_2 DEFAULT;
             ALTER TABLE s.log ATTACH PARTITION s.log_2 FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
             CREATE INDEX log_2_own ON s.log_2_rest (id DESC);
             INSERT INTO s.log SELECT g, '2024-02-05' FROM generate_series(1, 10) g;",
        )
        .await;
    agent.start_and_stream().await;
    source
        .exec("UPDATE s.log SET note = 'changed' WHERE id = 3; DELETE FROM s.log WHERE id = 4")
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["s.log", "s.log_1", "s.log_2", "s.log_2_rest"]).await;
    assert_same_dump(&source, &destination, &["s"]);
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_masked_partition_key_makes_an_ordinary_table() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE log (id integer PRIMARY KEY, note text) PARTITION BY RANGE (id);
             CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (0) TO (100);
             INSERT INTO log VALUES (1, 'a'), (2, 'b');",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).section(
        "[[table]]\nname = \"public.log\"\n[table.columns]\nid = { hash = \"hmac-sha256\", key = \"0123456789abcdef0123456789abcdef\" }",
    );
    agent.start_and_stream().await;
    let kind = "SELECT relkind FROM pg_class WHERE relname = 'log'";
    assert_eq!(destination.scalar(kind).await, "r");
    assert_eq!(destination.scalar("SELECT to_regclass('log_1') IS NULL").await, "t");
    assert_eq!(destination.count("log").await, 2);
    assert!(agent.log().contains("becomes an ordinary table"), "{}", agent.log());
    assert_eq!(agent.terminate().await, Some(0));
}
