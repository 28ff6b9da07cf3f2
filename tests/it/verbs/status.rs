//! `status` from the agent, and from the servers when there is none.

use super::{json, with_table};
use crate::support::agent::Agent;
use crate::support::cluster::Stop;

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
    let copied = [0, 1].map(|table| running["tables"][table]["copy"]["rows"].clone());
    assert_eq!(copied, [0, 1], "the log is empty, t has one row");
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
