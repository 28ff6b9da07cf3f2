//! A value over `limits.max_value` is refused by its name and size, before it is in memory.

use serde_json::Value;

use super::assert_bounded;
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

const TABLES: &str = "CREATE TABLE large (id int PRIMARY KEY, v bytea);
     ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
     CREATE TABLE other (id int PRIMARY KEY)";

fn insert(id: u32, megabytes: u32) -> String {
    format!("INSERT INTO large VALUES ({id}, decode(repeat('0af1', {megabytes} << 19), 'hex'))")
}

/// The one line at ERROR.
fn error_line(agent: &Agent) -> Value {
    let log = agent.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let errors: Vec<Value> = lines.filter(|line| line["level"] == "ERROR").collect();
    let [error] = &errors[..] else { panic!("one line: {errors:#?}") };
    error.clone()
}

fn assert_names(error: &Value, bytes: usize) {
    let text = error.to_string();
    for part in ["E_DATA", "public.large", "\"key\":\"id\"", &bytes.to_string(), "max_value"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.contains("column \\\\\\\"v\\\\\\\"") || text.contains("column \\\"v\\\""),
        "{text}"
    );
}

#[tokio::test]
async fn an_oversized_value_in_the_tail_holds_the_position_before_it_is_read() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination).text("limits.max_value", "1MiB");
    agent.start_and_stream().await;
    source.exec(&insert(1, 1)).await;
    source.exec(&format!("BEGIN; INSERT INTO other VALUES (1); {}; COMMIT", insert(2, 70))).await;
    source.exec("INSERT INTO other VALUES (2)").await;
    agent.wait_for_state("degraded").await;
    assert_names(&error_line(&agent), 70 << 20);
    assert!(error_line(&agent).to_string().contains("\"lsn\":\""), "{:#}", error_line(&agent));
    agent
        .wait_for("three attempts", async |agent| {
            let labels = ["code=\"E_DATA\"", "stage=\"stream\""];
            agent.metric("sync_agent_errors_total", &labels).await >= Some(3.0)
        })
        .await;
    assert_bounded(&agent, 0);
    error_line(&agent);
    assert_eq!(destination.count("large").await, 1, "what came before it");
    assert_eq!(destination.count("other").await, 0, "nothing of its transaction or after it");
    assert_eq!(agent.terminate().await, Some(0));
    agent.change("limits.max_value", "\"256MiB\"");
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["large", "other"]).await;
}

#[tokio::test]
async fn an_oversized_value_in_the_copy_holds_until_it_is_made_smaller() {
    let (source, destination) = pair().await;
    source.exec(TABLES).await;
    source.exec(&format!("{}; {}", insert(1, 1), insert(2, 2))).await;
    let mut agent = Agent::between(&source, &destination).text("limits.max_value", "1MiB");
    agent.start();
    agent.wait_for_state("degraded").await;
    assert_names(&error_line(&agent), 2 << 20);
    source.exec("UPDATE large SET v = '\\x00' WHERE id = 2").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["large"]).await;
}
