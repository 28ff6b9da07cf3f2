//! What `check` says of structure: every statement, what is left out, what an administrator owes.

use super::everything::SCHEMA;
use crate::support::agent::Agent;
use crate::support::cluster::pair;

#[tokio::test]
async fn every_object_is_shown_with_its_statement_and_nothing_is_created() {
    let (source, destination) = pair().await;
    source.exec(SCHEMA).await;
    let agent = Agent::between(&source, &destination).set("include", "[\"shop.*\"]");
    let written = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    let before = destination.scalar(written).await;
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(destination.scalar(written).await, before, "it wrote something");
    for statement in [
        "CREATE SCHEMA IF NOT EXISTS \"kit\"",
        "CREATE COLLATION \"kit\".\"plain\"",
        "CREATE TYPE \"shop\".\"mood\" AS ENUM ('sad', 'it''s ok', 'happy')",
        "CREATE DOMAIN \"kit\".\"code\" AS text",
        "CREATE TYPE \"kit\".\"sizes\" AS (",
        "CREATE TYPE \"kit\".\"textrange\" AS RANGE (",
        "CREATE SEQUENCE \"shop\".\"free_numbers\" AS smallint",
        "CREATE TABLE \"shop\".\"customers\" (",
        "ATTACH PARTITION \"shop\".\"events_2024_other_1\" FOR VALUES WITH (modulus 2, remainder 1)",
        "ADD CONSTRAINT \"customers_pkey\" PRIMARY KEY (id) WITH (fillfactor='80')",
        "EXCLUDE USING gist",
        "CREATE INDEX \"customers_doc\" ON \"shop\".\"customers\" USING gin",
        "INHERITS (\"shop\".\"animals\", \"shop\".\"owned\")",
        "setval('\"shop\".\"free_numbers\"'",
        "ADD CONSTRAINT \"price_small\" CHECK ((price < (1000)::numeric)) NOT VALID",
        "VALIDATE CONSTRAINT \"of_customer\"",
        "COMMENT ON INDEX \"shop\".\"customers_lower\"",
        "CREATE STATISTICS \"shop\".\"customers_stats\"",
    ] {
        assert!(output.stdout.contains(statement), "{statement}:\n{}", output.stdout);
    }
}

#[tokio::test]
async fn what_only_an_administrator_can_make_is_one_finding_with_its_statement() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE EXTENSION citext; CREATE TABLE t (id integer PRIMARY KEY, e citext UNIQUE, l citext[]);
             CREATE FUNCTION f(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';
             CREATE TABLE u (id integer PRIMARY KEY, d integer DEFAULT f(1), CHECK (f(id) > 0));
             CREATE INDEX u_f ON u (f(id)); CREATE TYPE mood AS ENUM ('a', 'b');
             CREATE TABLE v (id integer PRIMARY KEY, m mood);
             INSERT INTO t VALUES (1, 'Ab', '{C}'); INSERT INTO u VALUES (1);",
        )
        .await;
    destination.exec("CREATE TYPE mood AS ENUM ('a')").await;
    let mut agent = Agent::between(&source, &destination);
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    for part in [
        "extension \"citext\"",
        "CREATE EXTENSION \"citext\";",
        "ALTER TYPE \"public\".\"mood\" ADD VALUE 'b'",
        "the default of column \"d\" is left out: the destination lacks function public.f(integer)",
        "index \"u_f\" is left out",
        "check \"u_id_check\" is left out",
    ] {
        assert!(output.stdout.contains(part), "{part}:\n{}", output.stdout);
    }
    assert_eq!(output.stdout.matches("CREATE EXTENSION").count(), 1, "{}", output.stdout);
    agent.start();
    assert_eq!(agent.wait_for_exit().await, Some(4), "{}", agent.log());
    assert_eq!(agent.traces().await, Vec::<String>::new());
    destination.exec("CREATE EXTENSION citext; ALTER TYPE mood ADD VALUE 'b'").await;
    destination
        .exec(
            "CREATE FUNCTION f(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1'",
        )
        .await;
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (2, 'aB2', NULL); INSERT INTO v VALUES (1, 'b')").await;
    agent.caught_up().await;
    crate::support::compare::assert_same(&source, &destination, &["t", "u", "v"]).await;
    let index = "SELECT pg_get_indexdef('u_f'::regclass)";
    assert_eq!(destination.scalar(index).await, source.scalar(index).await);
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_role_that_may_not_create_is_told_which_grants_it_needs() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TYPE b.mood AS ENUM ('x');
             CREATE TABLE a.t (id integer PRIMARY KEY, m b.mood);",
        )
        .await;
    destination
        .exec("CREATE ROLE app LOGIN; CREATE SCHEMA b; CREATE SCHEMA sync_agent AUTHORIZATION app")
        .await;
    let agent = Agent::between(&source, &destination)
        .set("include", "[\"a.*\"]")
        .text("destination.url", &destination.url_as("app"));
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    for statement in [
        "CREATE SCHEMA \"a\" AUTHORIZATION \"app\"",
        "GRANT USAGE, CREATE ON SCHEMA \"b\" TO \"app\"",
    ] {
        assert!(output.stdout.contains(statement), "{statement}:\n{}", output.stdout);
        destination.exec(statement).await;
    }
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(destination.scalar("SELECT count(*) FROM a.t").await, "0");
}
