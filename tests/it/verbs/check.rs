//! What `check` finds, and that it only looks.

use super::{json, with_table};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, Stop};
use serde_json::Value;

/// The statements of all errors, in one text.
fn remedies(report: &Value) -> String {
    let findings = report["findings"].as_array().expect("a list");
    let errors = findings.iter().filter(|finding| finding["severity"] == "error");
    let remedies = errors.filter_map(|finding| finding["remedy"].as_str());
    remedies.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn check_names_everything_that_is_missing_on_both_sides_at_once() {
    let (source, destination) = with_table().await;
    source.exec("CREATE ROLE app LOGIN").await;
    destination.exec("CREATE ROLE app LOGIN").await;
    let agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_as("app"))
        .text("destination.url", &destination.url_as("app"));
    let output = agent.verb(&["check", "--output", "json"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    let report = json(&output);
    assert_eq!(report["ok"], false);
    assert_eq!(report["code"], "E_PREFLIGHT");
    let remedies = remedies(&report);
    for statement in [
        "ALTER ROLE \"app\" REPLICATION",
        "GRANT SELECT ON \"public\".\"t\" TO \"app\"",
        "CREATE PUBLICATION \"sync_agent_it\" FOR TABLE \"public\".\"t\"",
        "CREATE SCHEMA \"sync_agent\" AUTHORIZATION \"app\"",
        "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"app\"",
    ] {
        assert!(remedies.contains(statement), "{statement} is missing in:\n{remedies}");
    }
    assert_eq!(agent.traces().await, Vec::<String>::new());
}

/// What the server counts up for every transaction that writes anything at all.
pub(super) async fn next_transaction(server: &Cluster) -> String {
    server.scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())").await
}

#[tokio::test]
async fn check_writes_nothing_on_either_side_and_shows_what_run_would_create() {
    let spec =
        |identity| Spec { identity, settings: "autovacuum = off\n".to_owned(), ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec(0)), Cluster::start(spec(1)));
    source.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE log (line text)").await;
    let agent = Agent::between(&source, &destination);
    let before = [next_transaction(&source).await, next_transaction(&destination).await];
    let output = agent.verb(&["check"]).await;
    let after = [next_transaction(&source).await, next_transaction(&destination).await];
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(before, after, "a transaction wrote something");
    assert_eq!(agent.traces().await, Vec::<String>::new());
    for statement in [
        "CREATE PUBLICATION \"sync_agent_it\" FOR TABLE \"public\".\"t\"",
        "CREATE PUBLICATION \"sync_agent_it_insert\" FOR TABLE \"public\".\"log\"",
        "ALTER TABLE \"public\".\"log\" REPLICA IDENTITY FULL;",
        "replication slot \"sync_agent_it\"",
        "CREATE SCHEMA \"sync_agent\";",
        "CREATE TABLE \"public\".\"t\"",
    ] {
        assert!(output.stdout.contains(statement), "{statement} is missing in:\n{}", output.stdout);
    }
    let last = output.stdout.lines().last();
    assert_eq!(last, Some("ready: `run` would copy 2 tables, then stream"));
}

#[tokio::test]
async fn mistakes_that_only_the_databases_show_are_all_named() {
    let (source, destination) = with_table().await;
    let agent = || Agent::between(&source, &destination);
    let patterns = agent()
        .set("include", "[\"public.*\", \"shop.*\"]")
        .section("[[table]]\nname = \"public.gone\"\n[table.columns]\nx = { null = true }");
    let output = patterns.verb(&["check", "--output", "json"]).await;
    assert_eq!(output.code, 3, "{output:?}");
    let mistakes = json(&output)["mistakes"].to_string();
    assert!(mistakes.contains("shop.*") && mistakes.contains("gone"), "{mistakes}");

    let misfit = agent()
        .section("[[table]]\nname = \"public.t\"\n[table.columns]\nw = { null = true }")
        .text("destination.url", &destination.url_as("app"));
    destination.exec("CREATE ROLE app LOGIN").await;
    let output = misfit.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stdout.contains("E_CONFIG") && output.stdout.contains("\"w\""), "{output:?}");

    // Spelled otherwise, so that only the servers know.
    let url = format!(
        "host={} port={} user=postgres dbname={}",
        source.socket.display(),
        source.port,
        source.name
    );
    let same = agent().text("destination.url", &url).set("include", "[\"nowhere.*\"]");
    let output = same.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{output:?}");
    for word in ["same database", "nowhere.*"] {
        assert!(output.stdout.contains(word), "{word} is missing in {output:?}");
    }
    assert_eq!(same.traces().await, Vec::<String>::new());
}

#[tokio::test]
async fn check_waits_for_a_server_that_is_told_to_come() {
    let (source, mut destination) = with_table().await;
    destination.stop(Stop::Fast).await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["check", "--output", "json"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(json(&output)["failures"][0]["code"], "E_CONNECT");
    let (output, ()) = tokio::join!(agent.verb(&["check", "--wait", "60s"]), async {
        destination.launch_again().await;
    });
    assert_eq!(output.code, 0, "{output:?}");
}

#[tokio::test]
async fn check_beside_a_running_agent_says_who_works_and_finds_a_slot_that_was_moved() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("lease of pipeline \"it\""), "{}", output.stdout);
    let last = output.stdout.lines().last();
    assert_eq!(last, Some("ready: `run` would stand by for the agent at work"));
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    let output = agent.verb(&["check"]).await;
    let last = output.stdout.lines().last();
    assert_eq!(last, Some("ready: `run` would go on from the destination's checkpoint"));

    source.exec("INSERT INTO t VALUES (2, 'b'); SELECT pg_switch_wal(); CHECKPOINT").await;
    source.exec("SELECT pg_replication_slot_advance('sync_agent_it', pg_current_wal_lsn())").await;
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    assert!(output.stdout.contains("E_SLOT"), "{}", output.stdout);
    assert!(output.stdout.contains("ahead of checkpoint"), "{}", output.stdout);
    source.exec("SELECT pg_drop_replication_slot('sync_agent_it')").await;
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    assert!(output.stdout.contains("does not exist, but the checkpoint"), "{}", output.stdout);
    assert!(!output.stdout.contains("run creates it"), "it does not: {}", output.stdout);
}

#[tokio::test]
async fn check_refuses_transforms_that_changed_since_the_copy() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    let agent =
        agent.section("[[table]]\nname = \"public.t\"\n[table.columns]\nv = { null = true }");
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stdout.contains("changed since its rows were copied"), "{output:?}");
}

/// Which of two conditions a server looks at first is up to its planner, and changes with statistics.
#[tokio::test]
async fn what_is_asked_can_be_answered_by_any_plan() {
    let (source, destination) = with_table().await;
    source.exec("CREATE TABLE numbered (id serial PRIMARY KEY, long text)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    for setting in ["enable_nestloop", "enable_hashjoin", "enable_mergejoin", "enable_indexscan"] {
        for server in [&source, &destination] {
            server.exec(&format!("ALTER ROLE postgres SET {setting} = off")).await;
        }
        let output = agent.verb(&["check"]).await;
        assert_eq!(output.code, 0, "{setting}: {output:?}");
    }
}
