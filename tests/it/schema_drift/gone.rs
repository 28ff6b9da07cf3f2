//! Tables dropped on either side.

use super::{assert_held_before, held, resync};
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

#[tokio::test]
async fn a_table_dropped_at_the_source_leaves_and_the_others_go_on() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE stays (id int PRIMARY KEY); \
             INSERT INTO gone VALUES (1)",
        )
        .await;
    let mut agent =
        Agent::between(&source, &destination).set("include", "[\"public.gone\", \"public.stays\"]");
    agent.start_and_stream().await;
    let metric = ("sync_agent_table_state", ["table=\"public.gone\""]);
    assert!(agent.metric(metric.0, &metric.1).await.is_some());
    source.exec("INSERT INTO gone VALUES (2)").await;
    agent.caught_up().await;
    source.exec("DROP TABLE gone; INSERT INTO stays VALUES (1)").await;
    agent
        .wait_for("the table leaves", async |agent| {
            agent.metric(metric.0, &metric.1).await.is_none()
        })
        .await;
    let tables = agent.status().await["tables"].to_string();
    assert!(!tables.contains("public.gone") && tables.contains("public.stays"), "{tables}");
    // Its rows stay; the others go on, also over a new connection.
    let cut = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots";
    source.exec(cut).await;
    source.exec("INSERT INTO stays VALUES (2)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["stays"]).await;
    assert_eq!(destination.count("gone").await, 2);
    let record = "SELECT count(*) FROM sync_agent.tables WHERE source_table = 'gone'";
    assert_eq!(destination.scalar(record).await, "0", "forgotten");
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_table_dropped_with_unread_changes_holds_nobody() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE gone (id int PRIMARY KEY); CREATE TABLE stays (id int PRIMARY KEY); \
             INSERT INTO gone VALUES (1)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    source
        .exec(
            "INSERT INTO gone VALUES (2); INSERT INTO stays VALUES (1); UPDATE gone SET id = 3 WHERE id = 2; \
             TRUNCATE gone; DROP TABLE gone; INSERT INTO stays VALUES (2)",
        )
        .await;
    agent.start();
    agent.caught_up().await;
    assert_same(&source, &destination, &["stays"]).await;
    let record = "SELECT count(*) FROM sync_agent.tables WHERE source_table = 'gone'";
    assert_eq!(destination.scalar(record).await, "0", "forgotten");
    assert!(agent.metric("sync_agent_table_state", &["table=\"public.gone\""]).await.is_none());
    agent.wait_for_state("streaming").await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_table_dropped_at_the_destination_holds_until_it_is_copied_again() {
    for has_changes in [true, false] {
        let (source, destination) = pair().await;
        source
            .exec(
                "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY); \
                 INSERT INTO t SELECT generate_series(1, 5)",
            )
            .await;
        let mut agent = Agent::between(&source, &destination);
        agent.start_and_stream().await;
        source.exec("INSERT INTO t VALUES (6)").await;
        agent.caught_up().await;
        let began = std::time::Instant::now();
        destination.exec("DROP TABLE t").await;
        if has_changes {
            source.exec("INSERT INTO t VALUES (7)").await;
        }
        let lsn = source.current_lsn().await;
        let message = held(&mut agent, "E_SCHEMA").await;
        assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
        assert!(message.contains("public.t"), "{message}");
        if has_changes {
            assert_held_before(&source, &destination, &lsn).await;
        }
        // Not at the next start either.
        assert_eq!(agent.terminate().await, Some(0));
        agent.start();
        let message = held(&mut agent, "E_SCHEMA").await;
        assert!(message.contains("public.t") && message.contains("resync"), "{message}");
        assert_eq!(destination.scalar("SELECT to_regclass('t') IS NULL").await, "t");
        // Made anew by hand, it lacks what was copied.
        destination.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
        agent
            .wait_for("it sees through it", async |agent| {
                let status = agent.status().await;
                let message = status["last_error"]["message"].as_str().unwrap_or_default();
                message.contains("made anew")
            })
            .await;
        assert_eq!(destination.count("t").await, 0);
        resync(&agent, "public.t").await;
        agent.wait_for_state("streaming").await;
        source.exec("INSERT INTO other VALUES (1)").await;
        agent.caught_up().await;
        assert_same(&source, &destination, &["t", "other"]).await;
        assert_eq!(agent.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn a_table_replaced_at_the_destination_between_two_rows_holds_for_good() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    destination.exec("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)").await;
    source.exec("INSERT INTO t VALUES (2)").await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("made anew"), "{message}");
    // A row may be in it by now: it is still not the table that was copied.
    assert_eq!(agent.terminate().await, Some(0));
    agent.start();
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("resync --table public.t"), "{message}");
}

#[tokio::test]
async fn a_destination_restored_elsewhere_goes_on() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    source.exec("CREATE TABLE empty (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    // What a dump and restore does to the tables: others, with the same rows.
    destination
        .exec(
            "CREATE TABLE t2 (LIKE t INCLUDING ALL); INSERT INTO t2 SELECT * FROM t; DROP TABLE t; \
             ALTER TABLE t2 RENAME TO t; DROP TABLE empty; CREATE TABLE empty (id int PRIMARY KEY)",
        )
        .await;
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (2); INSERT INTO empty VALUES (1)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "empty"]).await;
}

#[tokio::test]
async fn a_role_that_does_not_own_the_table_says_what_to_do_there() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    destination
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE writer LOGIN; \
             GRANT CREATE ON DATABASE postgres TO writer; \
             GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON t TO writer",
        )
        .await;
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_as("writer"));
    agent.start_and_stream().await;
    source.exec("ALTER TABLE t ADD COLUMN n int DEFAULT 5; INSERT INTO t VALUES (2, 6)").await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("must be owner") && message.contains("ADD COLUMN \"n\""), "{message}");
    destination.exec("ALTER TABLE t ADD COLUMN n int DEFAULT 5").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn another_table_of_the_same_name_is_not_taken_for_the_first() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')").await;
    source.exec("CREATE PUBLICATION every FOR ALL TABLES").await;
    let mut agent = Agent::between(&source, &destination).text("source.publication", "every");
    agent.start_and_stream().await;
    source
        .exec(
            "ALTER TABLE t RENAME TO t_old; CREATE TABLE t (LIKE t_old INCLUDING ALL); \
             INSERT INTO t VALUES (1, 'new'); INSERT INTO t_old VALUES (2, 'old')",
        )
        .await;
    let message = held(&mut agent, "E_SCHEMA").await;
    assert!(message.contains("public.t"), "{message}");
    assert_eq!(destination.scalar("SELECT string_agg(v, ' ') FROM t").await, "a");
}
