//! TRUNCATE keeps its place among the other changes, however they are batched.

mod policies;
mod tied;

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::hold::{GATE, Hold};

async fn truncate_keeps_its_place(max_batch_rows: &str) {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source.exec("CREATE TABLE tr (id int PRIMARY KEY); CREATE TABLE ts (id int PRIMARY KEY)").await;
    source.exec("INSERT INTO tr VALUES (77); INSERT INTO ts VALUES (78)").await;
    let mut agent =
        Agent::between(&source, &destination).set("apply.max_batch_rows", max_batch_rows);
    agent.start_and_stream().await;
    let hold = Hold::place(&source, &destination).await;
    source
        .exec("BEGIN; INSERT INTO tr VALUES (1); TRUNCATE tr; INSERT INTO tr VALUES (2); COMMIT")
        .await;
    source.exec("BEGIN; INSERT INTO ts VALUES (9); INSERT INTO tr VALUES (3); COMMIT").await;
    source.exec("TRUNCATE ts").await;
    source.exec("INSERT INTO ts VALUES (10)").await;
    hold.release().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["tr", "ts"]).await;
    assert_eq!(destination.scalar("SELECT array_agg(id ORDER BY id) FROM tr").await, "{2,3}");
    assert_eq!(destination.scalar("SELECT array_agg(id) FROM ts").await, "{10}");
}

#[tokio::test]
async fn truncate_keeps_its_place_with_one_row_a_batch() {
    truncate_keeps_its_place("1").await;
}

#[tokio::test]
async fn truncate_keeps_its_place_with_default_batches() {
    truncate_keeps_its_place("50000").await;
}

#[tokio::test]
async fn truncate_keeps_its_place_with_everything_in_one_batch() {
    truncate_keeps_its_place("1000000").await;
}

#[tokio::test]
async fn truncate_of_several_tables_empties_all_of_them() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE par (id int PRIMARY KEY); \
             CREATE TABLE chi (id int PRIMARY KEY, p int REFERENCES par); \
             INSERT INTO par VALUES (1), (2); INSERT INTO chi VALUES (1, 1), (2, 2)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("TRUNCATE par CASCADE").await;
    source.exec("INSERT INTO par VALUES (3)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["par", "chi"]).await;
    assert_eq!(destination.count("chi").await, 0);
}

#[tokio::test]
async fn truncate_is_let_go_by_when_told_so() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    let mut agent = Agent::between(&source, &destination).text("destination.on_truncate", "ignore");
    agent.start_and_stream().await;
    source.exec("TRUNCATE t").await;
    source.exec("INSERT INTO t VALUES (3)").await;
    agent.caught_up().await;
    assert_eq!(destination.scalar("SELECT array_agg(id ORDER BY id) FROM t").await, "{1,2,3}");
}
