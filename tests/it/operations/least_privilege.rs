//! The roles of docs/privileges.md, made by its statements word for word, do everything.

use super::documented;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, pair};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::installation::installation;

const TABLES: [&str; 3] = ["customers", "orders", "journal"];

/// Every kind of change, few and many rows, and all of it in one transaction.
const CHANGES: &str = "
    BEGIN;
    INSERT INTO customers SELECT g, 'new' FROM generate_series(1001, 1200) g;
    INSERT INTO orders SELECT g, g, 2 FROM generate_series(1001, 1200) g;
    UPDATE customers SET name = 'changed' WHERE id % 3 = 0;
    UPDATE orders SET total = 7 WHERE id IN (1, 2);
    DELETE FROM orders WHERE id BETWEEN 100 AND 300;
    DELETE FROM customers WHERE id BETWEEN 100 AND 300;
    UPDATE orders SET id = id + 10000 WHERE id = 5;
    INSERT INTO journal SELECT 'x' FROM generate_series(1, 100);
    COMMIT;
    INSERT INTO customers VALUES (0, 'one'); INSERT INTO orders VALUES (0, 0, 1);
    TRUNCATE journal; INSERT INTO journal VALUES ('y');";

fn agent(source: &Database, destination: &Database) -> Agent {
    Agent::between(source, destination)
        .named("shop")
        .text("source.url", &source.url_as("sync_reader"))
        .text("destination.url", &destination.url_as("sync_writer"))
}

async fn check(agent: &Agent) -> serde_json::Value {
    let output = agent.verb(&["check", "--output", "json"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    serde_json::from_str(&output.stdout).expect("JSON")
}

/// check, run, status, wait, a restart, reset.
async fn all_verbs(agent: &mut Agent, source: &Database, destination: &Database) {
    check(agent).await;
    agent.start_and_stream().await;
    source.exec(CHANGES).await;
    agent.caught_up().await;
    assert_same(source, destination, &TABLES).await;
    for verb in [&["status"][..], &["wait", "--for", "caught-up"]] {
        let output = agent.verb(verb).await;
        assert_eq!(output.code, 0, "{output:?}");
    }
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("UPDATE customers SET name = 'while it was down' WHERE id = 1").await;
    assert_eq!(agent.verb(&["status"]).await.code, 0);
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(source, destination, &TABLES).await;
    assert_eq!(agent.terminate().await, Some(0));
    let output = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 0, "{output:?}");
}

async fn servers() -> (Cluster, Cluster, Database, Database) {
    let (source, destination) = pair().await;
    let (at_source, at_destination) = documented::shops(&source, &destination).await;
    (source, destination, at_source, at_destination)
}

#[tokio::test]
async fn they_replicate_into_tables_that_exist() {
    let (_source, _destination, source, destination) = servers().await;
    documented::run(&source, "The publication, made by the owner").await;
    destination.exec(documented::SCHEMA).await;
    documented::run(&destination, "Tables that exist").await;
    let mut agent = agent(&source, &destination);
    all_verbs(&mut agent, &source, &destination).await;
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) || ' ' || (SELECT count(*) FROM pg_publication)";
    assert_eq!(source.scalar(left).await, "0 2", "the owner's publications stay");
    // And the one-off copy, into emptied tables.
    documented::run(&destination, "Recommended: the replica role").await;
    destination.exec("TRUNCATE customers, orders, journal").await;
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_same(&source, &destination, &TABLES).await;
}

#[tokio::test]
async fn they_replicate_into_tables_that_the_agent_creates() {
    let (_source, _destination, source, destination) = servers().await;
    documented::run(&source, "Or: the agent keeps the publication").await;
    documented::run(&destination, "Or: tables that the agent creates").await;
    let mut agent = agent(&source, &destination);
    all_verbs(&mut agent, &source, &destination).await;
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) || ' ' || (SELECT count(*) FROM pg_publication)";
    assert_eq!(source.scalar(left).await, "0 0", "its own publications are gone");
    destination.exec("DROP TABLE customers, orders, journal CASCADE").await;
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_same(&source, &destination, &TABLES).await;
}

/// Tables at the destination with what an application hangs on them.
const TRIGGERS: &str = "
    CREATE TABLE fired (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN INSERT INTO public.fired VALUES (TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON customers
        FOR EACH ROW EXECUTE FUNCTION note();
    REVOKE ALL ON fired FROM sync_writer;";

const REPLICA: &str = "setting session_replication_role";

async fn warnings(agent: &Agent) -> Vec<(String, String)> {
    let report = check(agent).await;
    let findings = report["findings"].as_array().expect("a list");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let warnings = findings.iter().filter(|finding| finding["severity"] == "warning");
    warnings.map(|finding| (text(&finding["object"]), text(&finding["remedy"]))).collect()
}

/// Foreign keys are checked and triggers fire, in the copy and in the tail; then the grant that
/// `check` prints ends both.
async fn without_the_replica_role(major: u32, grant: &str) {
    let found = installation(major);
    assert!(found.is_some(), "PostgreSQL {major}: run scripts/install-versions.sh");
    let spec = Spec { installation: found, identity: 1, ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::source(), Cluster::start(spec));
    let (at_source, at_destination) = documented::shops(&source, &destination).await;
    documented::run(&at_source, "The publication, made by the owner").await;
    at_destination.exec(documented::SCHEMA).await;
    documented::run(&at_destination, "Tables that exist").await;
    at_destination.exec(TRIGGERS).await;
    let mut agent = agent(&at_source, &at_destination);
    let known = warnings(&agent).await;
    assert!(known.contains(&(REPLICA.to_owned(), grant.to_owned())), "{known:?}");
    agent.start_and_stream().await;
    assert_eq!(at_destination.count("fired").await, 1000, "the copy's rows");
    at_source.exec(CHANGES).await;
    agent.caught_up().await;
    assert_same(&at_source, &at_destination, &TABLES).await;
    let after = at_destination.count("fired").await;
    assert!(after > 1400, "{after}");
    assert_eq!(agent.terminate().await, Some(0));

    at_destination.exec(grant).await;
    let known = warnings(&agent).await;
    assert!(known.iter().all(|(object, _)| object != REPLICA), "{known:?}");
    agent.start_and_stream().await;
    at_source.exec("INSERT INTO customers VALUES (-1, 'x')").await;
    agent.caught_up().await;
    assert_same(&at_source, &at_destination, &TABLES).await;
    assert_eq!(at_destination.count("fired").await, after, "the replica role fires none");
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn foreign_keys_and_triggers_hold_without_the_replica_role_and_its_grant_ends_that() {
    without_the_replica_role(
        15,
        "GRANT SET ON PARAMETER session_replication_role TO \"sync_writer\"",
    )
    .await;
}

#[tokio::test]
async fn on_14_the_role_is_preset() {
    let grant = "ALTER ROLE \"sync_writer\" SET session_replication_role = 'replica'";
    without_the_replica_role(14, grant).await;
}
