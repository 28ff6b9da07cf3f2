//! `wait` ends when it shall, and says where it stands when it does not.

use super::{json, with_table};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, Stop};

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
}

#[tokio::test]
async fn wait_counts_commits_that_the_source_has_not_flushed_yet() {
    let settings = "synchronous_commit = off\nwal_writer_delay = 3s\n".to_owned();
    let spec = Spec { settings, ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    for round in 1..4 {
        source.exec(&format!("INSERT INTO t VALUES ({round})")).await;
        let output = agent.verb(&["wait", "--for", "caught-up", "--timeout", "60s"]).await;
        assert_eq!(output.code, 0, "{output:?}");
        assert_eq!(destination.count("t").await, round, "what was committed is there");
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
