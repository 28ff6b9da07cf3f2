//! The verbs beside `run`: check, status, wait, reset; with an agent at work and without one.

use serde_json::Value;

use crate::support::agent::{Agent, Output};
use crate::support::cluster::{Cluster, Spec, Stop, pair};
use crate::support::compare::assert_same;
use crate::support::wait;

async fn with_table() -> (Cluster, Cluster) {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')").await;
    (source, destination)
}

fn json(output: &Output) -> Value {
    let Ok(value) = serde_json::from_str(&output.stdout) else {
        panic!("no JSON on stdout: {output:?}")
    };
    value
}

/// The statements of all errors, in one text.
fn remedies(report: &Value) -> String {
    let findings = report["findings"].as_array().expect("a list");
    let errors = findings.iter().filter(|finding| finding["severity"] == "error");
    let remedies = errors.filter_map(|finding| finding["remedy"].as_str());
    remedies.collect::<Vec<_>>().join("\n")
}

// === check ===

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
async fn next_transaction(server: &Cluster) -> String {
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
    assert!(output.stdout.contains("differ from those its rows were copied with"), "{output:?}");
}

// === status ===

#[tokio::test]
async fn status_is_the_agents_while_it_runs_and_the_servers_afterwards() {
    let (source, destination) = with_table().await;
    source.exec("CREATE TABLE log (line text)").await;
    let mut agent = Agent::between(&source, &destination);
    let never = json(&agent.verb(&["status", "--output", "json"]).await);
    assert_eq!(never["seen_from"], "servers");
    assert_eq!(never["state"], "starting");
    assert_eq!(agent.verb(&["status", "--probe"]).await.code, 1, "nobody answers");

    agent.start_and_stream().await;
    let running = json(&agent.verb(&["status", "--output", "json"]).await);
    assert_eq!(running["seen_from"], "agent");
    assert_eq!(running["state"], "streaming");
    let probe = agent.verb(&["status", "--probe"]).await;
    assert_eq!((probe.code, probe.stdout.as_str()), (0, ""));
    let elsewhere = Agent::between(&source, &destination).named("other");
    let port = agent.status_address();
    let elsewhere = elsewhere.text("http.listen", &port);
    let other = elsewhere.verb(&["status", "--probe"]).await;
    assert_eq!(other.code, 1, "it is another pipeline's: {other:?}");

    // Without HTTP the servers tell the same.
    let blind = Agent::between(&source, &destination).text("http.listen", "off");
    agent.caught_up().await;
    let seen = json(&blind.verb(&["status", "--output", "json"]).await);
    assert_eq!(seen["seen_from"], "servers");
    assert!(["streaming", "catching_up"].contains(&seen["state"].as_str().unwrap_or("")), "{seen}");
    assert_eq!(seen["tables"][0]["name"], "public.log");
    assert_eq!(seen["tables"][0]["insert_only"], true);
    assert_eq!(seen["tables"][1]["copy"]["rows"], 1);

    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    let sql = "SELECT applied_lsn FROM sync_agent.checkpoint WHERE pipeline = 'it'";
    let applied = destination.scalar(sql).await;
    let stopped = json(&agent.verb(&["status", "--output", "json"]).await);
    assert_eq!(stopped["state"], "halted", "{stopped}");
    assert_eq!(stopped["positions"]["applied"], applied.as_str());
    assert_eq!(stopped["slot"]["active"], false);
    assert_eq!(stopped["tables"][1]["state"], "copied");
    let text = agent.verb(&["status"]).await.stdout;
    assert!(text.contains("seen from  the servers") && text.contains("public.t"), "{text}");
}

#[tokio::test]
async fn status_shows_what_one_server_tells_and_fails_only_without_both() {
    let (mut source, mut destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    destination.stop(Stop::Fast).await;
    let status = json(&agent.verb(&["status", "--output", "json"]).await);
    assert_eq!(status["state"], "backoff");
    assert_eq!(status["destination"]["reached"], false);
    assert_eq!(status["slot"]["active"], false, "{status}");
    source.stop(Stop::Fast).await;
    let output = agent.verb(&["status"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("E_CONNECT"), "{output:?}");
}

// === wait ===

#[tokio::test]
async fn wait_returns_when_it_streams_and_when_the_destination_has_everything() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    // It knows the same pipeline from the servers alone.
    let blind = Agent::between(&source, &destination).text("http.listen", "off");
    let wait = ["wait", "--for", "streaming", "--timeout", "60s"];
    let (output, ()) = tokio::join!(blind.verb(&wait), agent.start_and_stream());
    assert_eq!(output.code, 0, "{output:?}");
    let output = agent.verb(&wait).await;
    assert_eq!(output.code, 0, "{output:?}");
    for round in 0..20 {
        source.exec(&format!("INSERT INTO t VALUES ({}, 'x')", 100 + round)).await;
        let output = agent.verb(&["wait", "--for", "caught-up", "--timeout", "60s"]).await;
        assert_eq!(output.code, 0, "{output:?}");
        assert_eq!(destination.count("t").await, 2 + round, "what was committed is there");
    }
}

#[tokio::test]
async fn wait_ends_with_both_positions_when_the_time_is_up() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    let sql = "SELECT applied_lsn FROM sync_agent.checkpoint WHERE pipeline = 'it'";
    let applied = destination.scalar(sql).await;
    let arguments = ["wait", "--for", "caught-up", "--timeout", "2s", "--output", "json"];
    let output = agent.verb(&arguments).await;
    assert_eq!(output.code, 1, "{output:?}");
    let report = json(&output);
    assert_eq!(report["reached"], false);
    assert_eq!(report["applied"], applied.as_str());
    let target = report["target"].as_str().expect("a position").to_owned();
    let reason = report["reason"].as_str().expect("a reason");
    assert!(reason.contains(&applied) && reason.contains(&target), "{reason}");
    let output = agent.verb(&["wait", "--for", &applied, "--timeout", "5s"]).await;
    assert_eq!(output.code, 0, "that far it is: {output:?}");
    let output = agent.verb(&["wait", "--for", "streaming", "--timeout", "1s"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("halted"), "{output:?}");
}

#[tokio::test]
async fn wait_ends_at_once_with_the_code_of_an_agent_that_has_halted() {
    let (source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source.exec("SELECT pg_drop_replication_slot('sync_agent_it')").await;
    agent.start_with(&["--on-halt", "stay"]);
    agent.wait_for_state("halted").await;
    let output = agent.verb(&["wait", "--for", "caught-up"]).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains("E_SLOT"), "{output:?}");
    assert_eq!(agent.verb(&["status", "--probe"]).await.code, 0, "it lives, to be looked at");
}

#[tokio::test]
async fn wait_fails_at_once_without_servers_unless_told_to_be_patient() {
    let (source, mut destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    agent.caught_up().await;
    destination.stop(Stop::Fast).await;
    let output = agent.verb(&["wait", "--for", "0/1"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    let patient = ["wait", "--for", "0/1", "--wait", "60s"];
    let (output, ()) = tokio::join!(agent.verb(&patient), destination.launch_again());
    assert_eq!(output.code, 0, "{output:?}");
}

// === reset ===

#[tokio::test]
async fn reset_forgets_everything_but_the_tables_and_the_pipeline_can_begin_again() {
    let (source, destination) = with_table().await;
    source.exec("CREATE TABLE log (line text); INSERT INTO log VALUES ('x')").await;
    let mut agent = Agent::between(&source, &destination);
    let output = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("nothing to forget"), "{output:?}");

    agent.start_and_stream().await;
    let refused = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let elsewhere = Agent::between(&source, &destination);
    let refused = elsewhere.verb(&["reset", "--yes"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("process"), "the holder is named: {refused:?}");
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));

    let output = agent.verb(&["reset", "--yes", "--output", "json"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let report = json(&output);
    assert_eq!(report["ok"], true);
    let dropped = report["dropped"].to_string();
    for object in ["sync_agent_it", "sync_agent_it_insert", "checkpoint", "directory"] {
        assert!(dropped.contains(object), "{object} is missing in {dropped}");
    }
    assert!(report["notes"].to_string().contains("DROP SCHEMA"), "{report}");
    assert_eq!(agent.traces().await, ["schema sync_agent"]);
    assert_eq!(destination.count("sync_agent.checkpoint").await, 0);
    assert_eq!(destination.count("sync_agent.tables").await, 0);
    assert!(!agent.has_state(), "the local store is gone");
    assert_eq!((destination.count("t").await, destination.count("log").await), (2, 1));
    let output = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("nothing to forget"), "{output:?}");

    agent.change("destination.on_existing", "\"truncate\"");
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (3, 'c')").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "log"]).await;
}

#[tokio::test]
async fn reset_without_the_source_forgets_the_rest_and_names_what_pins_wal() {
    let (mut source, destination) = with_table().await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    source.stop(Stop::Fast).await;
    let output = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    let statement = "SELECT pg_drop_replication_slot('sync_agent_it')";
    let publication = "DROP PUBLICATION \"sync_agent_it\"";
    for word in [statement, publication, "keeps WAL"] {
        assert!(output.stdout.contains(word), "{word} is missing in {output:?}");
    }
    assert_eq!(destination.count("sync_agent.checkpoint").await, 0);
    source.launch_again().await;
    let output = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 1, "what nobody remembers is not dropped: {output:?}");
    assert!(output.stdout.contains(statement), "{output:?}");
    source.exec(&format!("{statement}; {publication}")).await;
    assert_eq!(agent.verb(&["reset", "--yes"]).await.code, 0);
}

#[tokio::test]
async fn reset_drops_nothing_on_a_server_that_the_pipeline_was_never_on() {
    let (source, destination) = with_table().await;
    let other = Cluster::start(Spec { identity: 2, ..Spec::default() }).await;
    let slot = "SELECT pg_create_logical_replication_slot('sync_agent_it', 'pgoutput')";
    other.exec(slot).await;
    other.exec("CREATE PUBLICATION sync_agent_it").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    agent.change("source.url", &format!("{:?}", other.url()));
    let output = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("another server"), "{output:?}");
    assert_eq!(other.count("pg_replication_slots").await, 1, "somebody else's");
    assert_eq!(other.count("pg_publication").await, 1, "somebody else's");
}

#[tokio::test]
async fn reset_after_a_kill_takes_over_and_leaves_other_pipelines_alone() {
    let (source, destination) = with_table().await;
    source.exec("CREATE TABLE u (id int PRIMARY KEY)").await;
    let mut other =
        Agent::between(&source, &destination).named("other").set("include", "[\"public.u\"]");
    other.start_and_stream().await;
    let mut agent = Agent::between(&source, &destination).set("include", "[\"public.t\"]");
    agent.start_and_stream().await;
    agent.kill9();
    // The lease of a killed agent is free as soon as the server has noticed.
    let mut code = 1;
    let mut said = String::new();
    wait::until("a dead agent is no holder", wait::PROCESS, async || {
        let output = agent.verb(&["reset", "--yes"]).await;
        code = output.code;
        said = format!("{output:?}");
        code == 0
    })
    .await;
    assert!(said.contains("other pipelines"), "{said}");
    let left = agent.traces().await;
    let expected = ["slot sync_agent_other", "publication sync_agent_other", "schema sync_agent"];
    assert_eq!(left, expected);
    source.exec("INSERT INTO u VALUES (1)").await;
    other.caught_up().await;
    assert_same(&source, &destination, &["u"]).await;
}
