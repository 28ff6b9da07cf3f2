//! `init`: what it prints works, shows no secret, and nothing is created.

use super::check::next_transaction;
use super::with_table;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Stop, pair};
use crate::support::compare::assert_same;

/// Every character that one of the notations a password passes through has a meaning for.
const PASSWORD: &str = "CANARY@:/%'\"\\ ?&#€";
const ENCODED: &str = "CANARY%40%3A%2F%25%27%22%5C%20%3F%26%23%E2%82%AC";

const HOSTILE: &str = r#"
CREATE SCHEMA "We.ird ""Schema"""; CREATE TABLE "We.ird ""Schema"""."T" (id int PRIMARY KEY);
INSERT INTO "We.ird ""Schema"""."T" VALUES (1);
CREATE SCHEMA "line
break"; CREATE TABLE "line
break"."it's" (id int PRIMARY KEY);
INSERT INTO "line
break"."it's" VALUES (2);
CREATE SCHEMA "${HOME}"; CREATE TABLE "${HOME}"."]" (id int PRIMARY KEY);
CREATE SCHEMA "empty"; CREATE SCHEMA only_views; CREATE VIEW only_views.v AS SELECT 1 AS id;
CREATE TABLE log (line text);
CREATE UNLOGGED TABLE cache (id int PRIMARY KEY);
CREATE TABLE events (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20);
INSERT INTO events VALUES (1, 1), (2, 11);
"#;

fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

async fn printed(agent: &Agent) -> String {
    let output = agent.verb(&["init"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout
}

#[tokio::test]
async fn what_init_prints_checks_runs_and_streams() {
    let (source, destination) = with_table().await;
    source.exec(HOSTILE).await;
    for server in [&source, &destination] {
        server.require_password("postgres", &PASSWORD.replace('\'', "''")).await;
    }
    // One password beside the URL, one inside it.
    let with_password = destination.url_as(&format!("postgres:{ENCODED}"));
    let asked = Agent::between(&source, &destination)
        .set("source.password", "'''CANARY@:/%'\"\\ ?&#€'''")
        .text("destination.url", &format!("{with_password}?sslmode=prefer"));
    let before = [next_transaction(&source).await, next_transaction(&destination).await];
    let text = printed(&asked).await;
    let after = [next_transaction(&source).await, next_transaction(&destination).await];
    assert_eq!(before, after, "a transaction wrote something");
    assert_eq!(asked.traces().await, Vec::<String>::new());
    assert!(!text.contains("CANARY"), "a password is shown:\n{text}");
    has(
        &text,
        &[
            "pipeline = \"it\"",
            "\"public.*\", # 3 tables",
            "'\"We.ird \"\"Schema\"\"\".*'",
            "'\"$${HOME}\".*'",
            "ALTER TABLE \"public\".\"log\" REPLICA IDENTITY FULL;",
            "public.cache (unlogged table)",
            "public.events (2 partitions)",
            "only_views.v (view)",
            "sslmode=prefer",
            "password = \"${SOURCE_PASSWORD}\"",
            "password = \"${DESTINATION_PASSWORD}\"",
        ],
    );
    assert!(!text.contains("\"empty.*\"") && !text.contains("\"only_views.*\""), "{text}");

    let unset = Agent::between(&source, &destination).configured_by(&text);
    let output = unset.verb(&["check"]).await;
    assert_eq!(output.code, 3, "the variables are not set: {output:?}");
    let mut agent = Agent::between(&source, &destination)
        .configured_by(&text)
        .variable("SOURCE_PASSWORD", PASSWORD)
        .variable("DESTINATION_PASSWORD", PASSWORD)
        .listening_as(&asked);
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{output:?}\n{text}");
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (7, 'x'); INSERT INTO events VALUES (3, 12)").await;
    agent.caught_up().await;
    let tables = ["t", "events", "\"We.ird \"\"Schema\"\"\".\"T\"", "\"line\nbreak\".\"it's\""];
    assert_same(&source, &destination, &tables).await;
    assert_eq!(destination.scalar("SELECT to_regclass('cache')").await, "");
    assert!(!agent.log().contains("CANARY"));
}

#[tokio::test]
async fn init_needs_no_file_names_the_pipeline_after_the_database_and_keeps_what_was_said() {
    let (source, destination) = pair().await;
    source.exec("CREATE DATABASE \"My Shop\"").await;
    let shop = source.database("My Shop");
    shop.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE SCHEMA s; CREATE TABLE s.u (id int PRIMARY KEY)").await;
    destination
        .exec("CREATE SCHEMA x; CREATE TABLE x.t (id int); INSERT INTO x.t VALUES (1)")
        .await;
    let agent = Agent::between(&shop, &destination);
    let url = |name: &str| source.database(name).url().replace(' ', "%20");
    let (from, to) = (url("My Shop"), destination.url());
    let output = agent.verb_without_file(&["init", "--source", &from, "--destination", &to]).await;
    assert_eq!(output.code, 0, "{output:?}");
    has(&output.stdout, &["pipeline = \"my_shop\"", "\"public.*\"", "\"s.*\"", "/My%20Shop\""]);
    has(&output.stdout, &["# password = \"${SOURCE_PASSWORD}\""]);

    let flags = [
        "init",
        "--source",
        &from,
        "--destination",
        &to,
        "--include",
        "public.*",
        "--set",
        "destination.schemas={ public = \"x\" }",
        "--set",
        "pipeline=\"mine\"",
    ];
    let output = agent.verb_without_file(&flags).await;
    assert_eq!(output.code, 0, "{output:?}");
    has(&output.stdout, &["pipeline = \"mine\"", "schemas = { public = \"x\" }", "#   x.t\n"]);
    has(&output.stdout, &["# on_existing = \"truncate\""]);
    assert!(!output.stdout.contains("\"s.*\""), "{}", output.stdout);
}

#[tokio::test]
async fn init_gives_a_second_pipeline_of_a_database_a_name_of_its_own() {
    let (source, destination) = with_table().await;
    let first = Agent::between(&source, &destination).named("postgres");
    let output = first.verb(&["run", "--until", "caught-up"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let unnamed = |to: &Cluster| Agent::between(&source, to).text("pipeline", "default");
    let text = printed(&unnamed(&destination)).await;
    has(&text, &["pipeline = \"postgres\"", "It is known at the destination already"]);
    assert!(!text.contains("These hold rows already"), "our own rows are explained:\n{text}");
    let third = Cluster::destination().await;
    has(&printed(&unnamed(&third)).await, &["pipeline = \"postgres_2\"", "sync_agent_postgres"]);
}

#[tokio::test]
async fn init_fails_without_a_server_unless_told_to_wait_and_says_what_the_source_lacks() {
    let (source, mut destination) = with_table().await;
    destination.stop(Stop::Fast).await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["init"]).await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains("E_CONNECT"), "{output:?}");
    let (output, ()) =
        tokio::join!(agent.verb(&["init", "--wait", "60s"]), destination.launch_again());
    assert_eq!(output.code, 0, "{output:?}");

    source.exec("ALTER SYSTEM SET wal_level = 'replica'").await;
    source.exec("CREATE ROLE reader LOGIN").await;
    let mut source = source;
    source.restart(Stop::Fast).await;
    let reader = Agent::between(&source, &destination).text("source.url", &source.url_as("reader"));
    has(&printed(&reader).await, &["ALTER SYSTEM SET wal_level = 'logical'", "REPLICATION"]);
}
