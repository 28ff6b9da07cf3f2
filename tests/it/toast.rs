//! Large values that an update does not touch are not in the stream, and must not be lost.

mod missing;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::hold::{GATE, Hold};

const DOC: &str = "CREATE TABLE doc (id int PRIMARY KEY, body text, js jsonb, arr int[], n int, m int); \
     ALTER TABLE doc ALTER body SET STORAGE EXTERNAL; \
     INSERT INTO doc SELECT g, repeat(md5(g::text), 500), \
       jsonb_build_object('k', repeat(md5(g::text), 500)), array(SELECT generate_series(1, 5000)), \
       0, 0 FROM generate_series(1, 50) g";

async fn with_documents(max_batch_rows: &str) -> (Cluster, Cluster, Agent) {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source.exec(DOC).await;
    let mut agent =
        Agent::between(&source, &destination).set("apply.max_batch_rows", max_batch_rows);
    agent.start_and_stream().await;
    (source, destination, agent)
}

#[tokio::test]
async fn unchanged_large_values_survive() {
    let (source, destination, mut agent) = with_documents("50000").await;
    source.exec("UPDATE doc SET n = n + 1").await;
    source.exec("UPDATE doc SET body = NULL WHERE id % 2 = 0").await;
    source.exec("UPDATE doc SET n = n + 1").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["doc"]).await;
    let nulls = "SELECT count(*) FROM doc WHERE body IS NULL";
    assert_eq!(destination.scalar(nulls).await, "25");
}

async fn unchanged_values_survive_a_folded_batch(max_batch_rows: &str) {
    let (source, destination, mut agent) = with_documents(max_batch_rows).await;
    let hold = Hold::place(&source, &destination).await;
    for sql in [
        "INSERT INTO doc (id, body, n, m) VALUES (900, repeat('a1', 9000), 0, 0)",
        "UPDATE doc SET n = 1 WHERE id = 900",
        "UPDATE doc SET m = 1 WHERE id = 900",
        "UPDATE doc SET n = 2 WHERE id = 1",
        "UPDATE doc SET body = 'short' WHERE id = 1",
        "UPDATE doc SET m = 3 WHERE id = 1",
        "UPDATE doc SET body = NULL WHERE id = 2",
        "UPDATE doc SET n = 9 WHERE id = 2",
        "UPDATE doc SET n = 5 WHERE id = 3",
        "UPDATE doc SET body = repeat('z9', 9000) WHERE id = 3",
        "UPDATE doc SET m = 6 WHERE id = 3",
        // A moved key takes its unsent values along.
        "UPDATE doc SET id = 1004 WHERE id = 4",
        "UPDATE doc SET n = 8 WHERE id = 1004",
        "UPDATE doc SET id = 2004 WHERE id = 1004",
    ] {
        source.exec(sql).await;
    }
    hold.release().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["doc"]).await;
    let lengths = "SELECT string_agg(coalesce(length(body), -1)::text, ' ' ORDER BY id) FROM doc \
         WHERE id IN (1, 2, 3, 900, 2004)";
    assert_eq!(destination.scalar(lengths).await, "5 -1 18000 18000 16000");
}

#[tokio::test]
async fn unchanged_values_survive_with_one_row_a_batch() {
    unchanged_values_survive_a_folded_batch("1").await;
}

#[tokio::test]
async fn unchanged_values_survive_with_default_batches() {
    unchanged_values_survive_a_folded_batch("50000").await;
}

#[tokio::test]
async fn unchanged_values_survive_with_everything_in_one_batch() {
    unchanged_values_survive_a_folded_batch("1000000").await;
}
