//! Bad input: one clear message with what to do, the right exit code, nothing created anywhere.

use crate::support::agent::{Agent, Output};
use crate::support::cluster::{Cluster, Spec, Stop, pair};
use crate::support::compare::assert_same;

/// Ends with the code, names all of the words, leaves nothing behind.
#[track_caller]
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let text = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, code, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

async fn refused(agent: &Agent, code: i32, words: &[&str]) {
    for verb in ["check", "run"] {
        let output = agent.verb(&[verb]).await;
        assert_refused(&output, code, words);
    }
}

async fn with_table() -> (Cluster, Cluster) {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    (source, destination)
}

const NOTHING: Vec<String> = Vec::new();

#[tokio::test]
async fn broken_configuration_is_refused_with_its_place() {
    let (source, destination) = with_table().await;
    let agent = || Agent::between(&source, &destination);
    let long_key = agent().set("apply.max_batch_row", "5");
    refused(&long_key, 3, &["E_CONFIG", "max_batch_row", "sync-agent.toml:"]).await;
    refused(&agent().text("source.url", "not a url"), 3, &["E_CONFIG", "source.url"]).await;
    refused(&agent().text("source.password", "${UNSET_9}"), 3, &["E_CONFIG", "UNSET_9"]).await;
    refused(&agent().set("snapshot.workers", "0"), 3, &["E_CONFIG", "snapshot.workers"]).await;
    refused(&agent().text("apply.max_batch_delay", "soon"), 3, &["max_batch_delay"]).await;
    // All of them at once.
    let both = agent().set("apply.max_batch_rows", "-1").text("limits.memory", "much");
    refused(&both, 3, &["apply.max_batch_rows", "limits.memory"]).await;
    assert_eq!(agent().traces().await, NOTHING);
}

#[tokio::test]
async fn what_is_not_built_yet_is_refused() {
    let (source, destination) = with_table().await;
    let section = "[[table]]\nname = \"public.t\"\non_error = \"dead-letter\"";
    let letters = Agent::between(&source, &destination).section(section);
    refused(&letters, 3, &["E_CONFIG", "not yet"]).await;
    let lanes = Agent::between(&source, &destination).set("apply.lanes", "4");
    refused(&lanes, 3, &["E_CONFIG", "lanes", "not yet"]).await;
    assert_eq!(lanes.traces().await, NOTHING);
}

#[tokio::test]
async fn usage_errors_are_2() {
    let (source, destination) = with_table().await;
    let agent = Agent::between(&source, &destination);
    assert_eq!(agent.verb(&["runn"]).await.code, 2);
    assert_eq!(agent.verb(&["run", "--nonsense"]).await.code, 2);
    let output = agent.verb(&["reset"]).await;
    assert_refused(&output, 2, &["--yes"]);
    let help = agent.verb(&["--help"]).await;
    assert_eq!(help.code, 0);
    for verb in ["run", "snapshot", "check", "status", "wait", "reset", "config-schema"] {
        assert!(help.stdout.contains(verb), "{verb} is not in the help");
    }
}

#[tokio::test]
async fn an_unreachable_server_fails_check_and_keeps_run_trying() {
    let (source, mut destination) = with_table().await;
    destination.stop(Stop::Fast).await;
    let mut agent = Agent::between(&source, &destination);
    let output = agent.verb(&["check"]).await;
    assert_refused(&output, 1, &["E_CONNECT", "destination"]);
    agent.start();
    agent.wait_for_state("backoff").await;
    destination.launch_again().await;
    assert_eq!(agent.traces().await, NOTHING);
    agent.wait_for_state("streaming").await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn waiting_for_a_server_stops_on_a_signal_with_0() {
    let (source, mut destination) = with_table().await;
    destination.stop(Stop::Fast).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    agent.wait_for_state("backoff").await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    let (source, destination) = with_table().await;
    source.require_password("postgres", "right").await;
    let agent = Agent::between(&source, &destination).text("source.password", "CANARY wr@ng:/%");
    refused(&agent, 4, &["E_PREFLIGHT", "password", "postgres"]).await;
    for verb in ["check", "run"] {
        let output = agent.verb(&["--log-level", "debug", verb]).await;
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(!text.contains("CANARY"), "the password is shown:\n{text}");
    }
    assert_eq!(agent.traces().await, NOTHING);
    let mut agent = agent.text("source.password", "right");
    agent.start_and_stream().await;
}

#[tokio::test]
async fn an_unknown_database_is_refused() {
    let (source, destination) = with_table().await;
    let nowhere = source.database("nowhere").url();
    let agent = Agent::between(&source, &destination).text("source.url", &nowhere);
    refused(&agent, 4, &["E_PREFLIGHT", "nowhere"]).await;
    assert_eq!(agent.traces().await, NOTHING);
}

#[tokio::test]
async fn a_source_without_logical_wal_is_refused_with_the_statement() {
    let spec = Spec { settings: "wal_level = replica\n".to_owned(), ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let agent = Agent::between(&source, &destination);
    refused(&agent, 4, &["E_PREFLIGHT", "ALTER SYSTEM SET wal_level"]).await;
    assert_eq!(agent.traces().await, NOTHING);
}

#[tokio::test]
async fn missing_privileges_are_named_with_their_grants() {
    let (source, destination) = with_table().await;
    source.exec("CREATE ROLE app LOGIN").await;
    destination.exec("CREATE ROLE app LOGIN").await;
    let at_source = Agent::between(&source, &destination).text("source.url", &source.url_as("app"));
    refused(&at_source, 4, &["E_PREFLIGHT", "ALTER ROLE", "REPLICATION", "GRANT SELECT"]).await;
    let at_destination =
        Agent::between(&source, &destination).text("destination.url", &destination.url_as("app"));
    refused(&at_destination, 4, &["E_PREFLIGHT", "GRANT USAGE, CREATE"]).await;
    assert_eq!(at_source.traces().await, NOTHING);
    assert_eq!(destination.scalar("SELECT to_regclass('t')").await, "");
}

#[tokio::test]
async fn a_publication_that_may_not_be_made_is_refused() {
    let (source, destination) = with_table().await;
    // It may replicate and read, but it neither owns the table nor may create in the database.
    source.exec("CREATE ROLE app LOGIN REPLICATION; GRANT SELECT ON t TO app").await;
    let agent = Agent::between(&source, &destination).text("source.url", &source.url_as("app"));
    refused(&agent, 4, &["E_PREFLIGHT", "CREATE PUBLICATION"]).await;
    assert_eq!(agent.traces().await, NOTHING);
}

#[tokio::test]
async fn a_port_in_use_is_refused_before_anything_is_made() {
    let (source, destination) = with_table().await;
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a port");
    let address = taken.local_addr().expect("bound").to_string();
    let agent = Agent::between(&source, &destination).text("http.listen", &address);
    let output = agent.verb(&["run"]).await;
    assert_refused(&output, 3, &["E_CONFIG", "http.listen", &address]);
    assert_eq!(agent.traces().await, NOTHING);
}

#[tokio::test]
async fn rows_that_we_did_not_copy_are_refused() {
    let (source, destination) = with_table().await;
    destination.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (999)").await;
    let agent = Agent::between(&source, &destination);
    refused(&agent, 4, &["E_PREFLIGHT", "TRUNCATE", "on_existing"]).await;
    assert_eq!(destination.scalar("SELECT array_agg(id) FROM t").await, "{999}");
}

#[tokio::test]
async fn a_slot_that_is_not_ours_is_refused() {
    let (source, destination) = with_table().await;
    source.exec("SELECT pg_create_logical_replication_slot('sync_agent_it', 'pgoutput')").await;
    let agent = Agent::between(&source, &destination);
    refused(&agent, 4, &["E_PREFLIGHT", "sync_agent_it"]).await;
    assert_eq!(agent.traces().await, ["slot sync_agent_it"]);
}

#[tokio::test]
async fn check_creates_nothing_and_says_what_run_would_create() {
    let (source, destination) = with_table().await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["check"]).await;
    assert_refused(&output, 0, &["sync_agent_it", "public.t"]);
    assert_eq!(agent.traces().await, NOTHING);
    assert_eq!(destination.scalar("SELECT to_regclass('t')").await, "");
    let json = agent.verb(&["check", "--output", "json"]).await;
    serde_json::from_str::<serde_json::Value>(&json.stdout).expect("JSON on stdout");
}

#[tokio::test]
async fn status_wait_and_reset_work_on_a_running_pipeline() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    let output = agent.verb(&["wait", "--for", "streaming", "--timeout", "60s"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    source.exec("INSERT INTO t VALUES (2)").await;
    let output = agent.verb(&["wait", "--for", "caught-up", "--timeout", "60s"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["t"]).await;
    let status = agent.verb(&["status", "--output", "json"]).await;
    let value: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON on stdout");
    assert_eq!(value["state"], "streaming", "{value}");
    assert_eq!(agent.verb(&["status", "--probe"]).await.code, 0);

    let output = agent.verb(&["reset", "--yes"]).await;
    assert_ne!(output.code, 0, "another agent holds the lease");
    assert_eq!(agent.terminate().await, Some(0));
    let output = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let left = agent.traces().await;
    assert!(!left.iter().any(|trace| trace.starts_with("slot")), "{left:?}");
    assert!(!left.iter().any(|trace| trace.starts_with("publication")), "{left:?}");
    assert_eq!(destination.count("t").await, 2, "user tables are never touched");
}

#[tokio::test]
async fn until_caught_up_drains_and_keeps_the_slot() {
    let (source, destination) = with_table().await;
    let agent = Agent::between(&source, &destination);
    for round in 2..4 {
        source.exec(&format!("INSERT INTO t VALUES ({round})")).await;
        let output = agent.verb(&["run", "--until", "caught-up"]).await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_same(&source, &destination, &["t"]).await;
    }
    assert!(agent.traces().await.contains(&"slot sync_agent_it".to_owned()));
}

#[tokio::test]
async fn two_addresses_are_enough_without_a_file() {
    let (source, destination) = with_table().await;
    let agent = Agent::between(&source, &destination);
    let flags = ["--source", &source.url(), "--destination", &destination.url(), "snapshot"];
    let output = agent.verb_without_file(&flags).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn the_schema_of_the_configuration_is_json() {
    let (source, destination) = with_table().await;
    let output = Agent::between(&source, &destination).verb(&["config-schema"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let schema: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON on stdout");
    assert!(schema["properties"]["source"].is_object(), "{schema}");
}
