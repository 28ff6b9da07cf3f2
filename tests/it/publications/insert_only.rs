//! Tables without identity.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE log (line text);
     INSERT INTO log SELECT 'l' || g FROM generate_series(1, 20) g;
     UPDATE log SET line = line || '!';";

#[tokio::test]
async fn updates_of_an_insert_only_table_succeed_and_degrade_until_it_is_copied_again() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination).looking_often();
    agent.start_and_stream().await;
    let status = agent.status().await;
    let tables = status["tables"].as_array().expect("tables");
    let insert_only = |name: &str| {
        tables.iter().find(|table| table["name"] == name).expect("listed")["insert_only"].clone()
    };
    assert_eq!((insert_only("public.log"), insert_only("public.t")), (true.into(), false.into()));
    let checked = agent.verb(&["check"]).await;
    assert!(checked.stdout.contains("only inserts are replicated"), "{}", checked.stdout);
    source.exec("INSERT INTO log VALUES ('new'); INSERT INTO t VALUES (1)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["log", "t"]).await;
    let state = agent.status().await["state"].clone();
    assert_eq!(state, "streaming", "what was updated before the copy is in it");

    source
        .exec("UPDATE log SET line = 'x' WHERE line = 'l1!'; DELETE FROM log WHERE line = 'l2!'")
        .await;
    agent.wait_for_state("degraded").await;
    let status = agent.status().await;
    let reason = status["reason"].as_str().expect("a reason");
    for part in ["\"public\".\"log\"", "REPLICA IDENTITY FULL", "resync --table public.log"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    source.exec("INSERT INTO t VALUES (2)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    assert_eq!(agent.terminate().await, Some(0));

    agent.start();
    agent.wait_for_state("degraded").await;
    source.exec("ALTER TABLE log REPLICA IDENTITY FULL").await;
    agent.wait_for_state("streaming").await;
    source.exec("UPDATE log SET line = 'y' WHERE line = 'x'").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["log", "t"]).await;
}

#[tokio::test]
async fn a_table_that_loses_its_key_is_moved_so_that_the_application_can_write() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source.exec("INSERT INTO t SELECT generate_series(1, 10)").await;
    let mut agent = Agent::between(&source, &destination).looking_often();
    agent.start_and_stream().await;
    source.exec("ALTER TABLE t DROP CONSTRAINT t_pkey").await;
    agent
        .wait_for("the application can write", async |_| {
            source.try_exec("DELETE FROM t WHERE id = 3").await.is_ok()
        })
        .await;
    agent.wait_for_state("degraded").await;
    assert!(!agent.log().contains("is copied again"), "{}", agent.log());
}
