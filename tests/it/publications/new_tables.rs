//! Tables that appear while the pipeline is there.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::wait;

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);";
const LATE: &str =
    "CREATE TABLE late AS SELECT g AS id, 'v' || g AS v FROM generate_series(1, 20000) g;
     ALTER TABLE late ADD PRIMARY KEY (id);";

#[tokio::test]
async fn a_new_table_is_copied_while_its_writers_go_on_and_a_transaction_straddles() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination).looking_often();
    agent.start_and_stream().await;
    source.exec(LATE).await;
    // It begins before the table is published, and commits last of all.
    let straddling = source.session().await.expect("a session");
    straddling.batch_execute("BEGIN; INSERT INTO late VALUES (900001, 'a')").await.expect("open");
    let writer = source.session().await.expect("a session");
    let writes = tokio::spawn(async move {
        for id in 100_001..100_060 {
            let insert = format!("INSERT INTO late VALUES ({id}, 'w')");
            writer.batch_execute(&insert).await.expect("it writes");
            let update = format!("UPDATE late SET v = 'u' WHERE id = {}", id - 100_000);
            writer.batch_execute(&update).await.expect("it writes");
            wait::between_looks().await;
        }
    });
    let published = "SELECT count(*) FROM pg_publication_tables WHERE tablename = 'late'";
    agent.wait_for("it is published", async |_| source.scalar(published).await == "1").await;
    straddling.batch_execute("INSERT INTO late VALUES (900002, 'b'); COMMIT").await.expect("done");
    source.exec("INSERT INTO t VALUES (2)").await;
    writes.await.expect("the writer ends");
    agent
        .wait_for("its rows", async |_| {
            let sql = "SELECT to_regclass('late') IS NOT NULL";
            destination.scalar(sql).await == "t" && destination.count("late").await >= 20_061
        })
        .await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["late", "t"]).await;
}

#[tokio::test]
async fn a_new_table_that_is_ignored_stays_out_until_it_is_named() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent =
        Agent::between(&source, &destination).text("source.new_tables", "ignore").looking_often();
    agent.start_and_stream().await;
    source.exec(LATE).await;
    agent.wait_for("it is spoken of", async |agent| agent.log().contains("is left aside")).await;
    source.exec("INSERT INTO late VALUES (100001, 'x'); INSERT INTO t VALUES (2)").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    agent.start_and_stream().await;
    agent.caught_up().await;
    let exists = "SELECT to_regclass('late') IS NOT NULL";
    assert_eq!(destination.scalar(exists).await, "f", "not at the next start either");
    assert_eq!(agent.terminate().await, Some(0));
    agent.change("include", "[\"public.*\", \"public.late\"]");
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["late", "t"]).await;
}

#[tokio::test]
async fn a_new_table_that_halts_holds_the_position_until_it_is_excluded() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent =
        Agent::between(&source, &destination).text("source.new_tables", "halt").looking_often();
    agent.start_and_stream().await;
    source.exec(LATE).await;
    agent.wait_for_state("degraded").await;
    let status = agent.status().await;
    assert_eq!(status["last_error"]["code"], "E_SCHEMA");
    assert_eq!(status["last_error"]["table"], "public.late");
    source.exec("INSERT INTO t VALUES (2)").await;
    assert_eq!(agent.terminate().await, Some(0));
    assert_eq!(destination.count("t").await, 1, "the position is held");
    agent.change("exclude", "[\"public.late\"]");
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    let exists = "SELECT to_regclass('late') IS NOT NULL";
    assert_eq!(destination.scalar(exists).await, "f");
}

#[tokio::test]
async fn a_new_table_without_a_key_gets_a_publication_that_the_position_has_not_passed() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    // What waits in the slot is older than the publication that the log will need.
    source
        .exec(
            "INSERT INTO t SELECT generate_series(10, 500); CREATE TABLE log (line text);
             INSERT INTO log SELECT 'l' || g FROM generate_series(1, 100) g;
             INSERT INTO t SELECT generate_series(501, 600)",
        )
        .await;
    agent.start();
    agent
        .wait_for("the log's rows", async |_| {
            let sql = "SELECT to_regclass('log') IS NOT NULL";
            destination.scalar(sql).await == "t" && destination.count("log").await == 100
        })
        .await;
    agent.wait_for_state("streaming").await;
    source.exec("INSERT INTO log VALUES ('new'); UPDATE log SET line = line").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "log"]).await;
}

#[tokio::test]
async fn a_table_moved_into_an_included_schema_is_a_new_one() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source.exec("CREATE SCHEMA aside").await;
    source.exec(&LATE.replace("late", "aside.late")).await;
    source.exec("CREATE PUBLICATION p FOR TABLES IN SCHEMA public").await;
    let mut agent =
        Agent::between(&source, &destination).text("source.publication", "p").looking_often();
    agent.start_and_stream().await;
    source
        .exec("ALTER TABLE aside.late SET SCHEMA public; INSERT INTO late VALUES (-1, 'm')")
        .await;
    agent
        .wait_for("its rows", async |_| {
            let sql = "SELECT to_regclass('late') IS NOT NULL";
            destination.scalar(sql).await == "t" && destination.count("late").await == 20_001
        })
        .await;
    agent.wait_for_state("streaming").await;
    source.exec("DELETE FROM late WHERE id < 10").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["late", "t"]).await;
}

#[tokio::test]
async fn a_new_table_that_our_role_may_not_publish_is_named_and_the_others_go_on() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source
        .exec(
            "CREATE ROLE agent LOGIN REPLICATION; ALTER TABLE t OWNER TO agent;
             GRANT CREATE ON DATABASE postgres TO agent;
             ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO agent",
        )
        .await;
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_as("agent"))
        .looking_often();
    agent.start_and_stream().await;
    source.exec(LATE).await;
    agent.wait_for_state("degraded").await;
    let status = agent.status().await;
    let reason = status["reason"].as_str().expect("a reason").to_owned();
    let statement = "ALTER PUBLICATION \"sync_agent_it\" ADD TABLE \"public\".\"late\"";
    assert!(reason.contains(statement), "{reason}");
    source.exec("INSERT INTO t VALUES (2)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    source.exec(statement).await;
    agent
        .wait_for("its rows", async |_| {
            let sql = "SELECT to_regclass('late') IS NOT NULL";
            destination.scalar(sql).await == "t" && destination.count("late").await == 20_000
        })
        .await;
    agent.wait_for_state("streaming").await;
}

#[tokio::test]
async fn a_new_table_whose_destination_holds_rows_holds_the_pipeline_and_does_not_end_it() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    destination.exec("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (7)").await;
    let mut agent = Agent::between(&source, &destination).looking_often();
    agent.start_and_stream().await;
    source.exec("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)").await;
    agent.wait_for_state("degraded").await;
    let reason = agent.status().await["reason"].to_string();
    assert!(reason.contains("E_SCHEMA") && reason.contains("late"), "{reason}");
    assert_eq!(destination.count("late").await, 1, "nothing is removed");
    destination.exec("TRUNCATE late").await;
    agent.wait_for_state("streaming").await;
    source.exec("INSERT INTO late VALUES (2); INSERT INTO t VALUES (2)").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["late", "t"]).await;
}
