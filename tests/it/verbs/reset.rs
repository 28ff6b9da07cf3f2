//! `reset` forgets all that is ours and nothing else.

use super::{json, with_table};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, Stop};
use crate::support::compare::assert_same;
use crate::support::wait;

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
    assert!(refused.stderr.contains("Stop the other process"), "{refused:?}");
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
async fn reset_forgets_what_a_one_off_snapshot_has_finished() {
    let (source, destination) = with_table().await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_ne!(destination.count("sync_agent.tables").await, 0);
    let output = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("it:snapshot"), "{output:?}");
    assert_eq!(destination.count("sync_agent.tables").await, 0);
    assert_eq!(destination.count("sync_agent.checkpoint").await, 0);
    assert_same(&source, &destination, &["t"]).await;
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
    let mut left = agent.traces().await;
    left.sort();
    let expected = ["publication sync_agent_other", "schema sync_agent", "slot sync_agent_other"];
    assert_eq!(left, expected);
    source.exec("INSERT INTO u VALUES (1)").await;
    other.caught_up().await;
    assert_same(&source, &destination, &["u"]).await;
}
