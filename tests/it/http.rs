//! What the agent shows: health, status, metrics, the page; read-only, and true.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, Stop, pair};
use crate::support::wait;

#[tokio::test]
async fn health_follows_the_pipeline() {
    let (source, mut destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    destination.stop(Stop::Fast).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start();
    agent.wait_for_state("backoff").await;
    assert_eq!(agent.get("/live").await.0, 200);
    assert_eq!(agent.get("/started").await.0, 503, "the destination was never reached");
    assert_eq!(agent.get("/ready").await.0, 503);
    destination.launch_again().await;
    agent.wait_for_state("streaming").await;
    for path in ["/live", "/started", "/ready"] {
        assert_eq!(agent.get(path).await.0, 200, "{path}");
    }
    destination.stop(Stop::Fast).await;
    // The destination is only noticed when there is something to write, or to look after.
    source.exec("INSERT INTO t VALUES (1)").await;
    agent
        .wait_for("not ready", async |agent| {
            agent.try_get("/ready").await.is_some_and(|(code, _)| code == 503)
        })
        .await;
    assert_eq!(agent.get("/started").await.0, 200, "it stays started");
    assert_eq!(agent.get("/live").await.0, 200);
    destination.launch_again().await;
    agent.caught_up().await;
    assert_eq!(destination.count("t").await, 1);
}

#[tokio::test]
async fn pages_say_what_they_are_and_unknown_ones_are_not_found() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let (code, page) = agent.get("/").await;
    assert_eq!(code, 200);
    assert!(page.contains("<html") && !page.contains("https://cdn"), "a self-contained page");
    let status = agent.status().await;
    assert!(status["schema_version"].is_number(), "{status}");
    assert_eq!(status["state"], "streaming");
    assert_eq!(status["pipeline"], "it");
    assert!(status.to_string().contains("public.t"), "{status}");
    assert_eq!(agent.get("/nonsense").await.0, 404);
}

#[tokio::test]
async fn counters_count_what_the_source_did() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE e (id int PRIMARY KEY)")
        .await;
    source.exec("INSERT INTO t SELECT g, 0 FROM generate_series(1, 7) g").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let series = "sync_agent_rows_total";
    for op in ["insert", "update", "delete", "truncate"] {
        let labels = [&format!("op=\"{op}\"") as &str, "table=\"public.t\""];
        assert_eq!(agent.metric(series, &labels).await, Some(0.0), "{op} at zero, not missing");
    }
    let copied = agent.metric("sync_agent_snapshot_rows_total", &["table=\"public.t\""]).await;
    assert_eq!(copied, Some(7.0));
    source.exec("INSERT INTO t SELECT g, 0 FROM generate_series(11, 20) g").await;
    source.exec("UPDATE t SET v = 1 WHERE id BETWEEN 11 AND 15").await;
    source.exec("DELETE FROM t WHERE id BETWEEN 18 AND 20").await;
    source.exec("INSERT INTO e VALUES (1); TRUNCATE e").await;
    agent.caught_up().await;
    for (table, op, expected) in [
        ("public.t", "insert", 10.0),
        ("public.t", "update", 5.0),
        ("public.t", "delete", 3.0),
        ("public.e", "insert", 1.0),
        ("public.e", "truncate", 1.0),
    ] {
        let labels = [format!("op=\"{op}\""), format!("table=\"{table}\"")];
        let seen = agent.metric(series, &[&labels[0], &labels[1]]).await;
        assert_eq!(seen, Some(expected), "{table} {op}");
    }
}

/// The names that other people's dashboards rely on, as far as they make sense so far.
const NAMES: &[&str] = &[
    "build_info",
    "state",
    "table_state",
    "replication_lag_bytes",
    "replication_lag_seconds",
    "slot_retained_wal_bytes",
    "rows_total",
    "transactions_total",
    "received_bytes_total",
    "apply_batch_duration_seconds_bucket",
    "apply_batch_rows_bucket",
    "snapshot_rows_total",
    "snapshot_bytes_total",
    "snapshot_tables",
    "conflicts_total",
    "errors_total",
    "reconnects_total",
    "queue_bytes",
    "queue_capacity_bytes",
];

#[tokio::test]
async fn metrics_are_exported_before_anything_happens() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    agent.caught_up().await;
    let names: Vec<String> = NAMES.iter().map(|name| format!("sync_agent_{name}")).collect();
    wait_until_exported(&mut agent, &names).await;
    let streaming = agent.metric("sync_agent_state", &["state=\"streaming\""]).await;
    assert_eq!(streaming, Some(1.0));
    let (_, text) = agent.get("/metrics").await;
    let unknown = text.lines().find(|line| !line.starts_with('#') && line.ends_with(" -1"));
    assert_eq!(unknown, None, "an unknown value is absent, never -1");
    wait::until("lag falls to zero", wait::CATCH_UP, async || {
        agent.metric("sync_agent_replication_lag_seconds", &[]).await == Some(0.0)
    })
    .await;
}

/// Every metric that a dashboard or a rule names is in a scrape of the real binary.
#[tokio::test]
async fn dashboards_name_only_what_a_scrape_has() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let mut text = String::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("grafana/ is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "json" || e == "yml" || e == "yaml") {
                text.push_str(&std::fs::read_to_string(path).expect("text"));
            }
        }
    }
    let named: std::collections::BTreeSet<&str> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.starts_with("sync_agent_") && !word.contains(':'))
        .collect();
    assert!(!named.is_empty(), "a dashboard shows something");
    let names: Vec<String> = named.into_iter().map(str::to_owned).collect();
    // What a server does not know is absent: so it has a limit on WAL, and statistics.
    let settings = "max_slot_wal_keep_size = 1GB\n".to_owned();
    let spec = Spec { settings, ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); ANALYZE t").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (2)").await;
    agent.caught_up().await;
    wait_until_exported(&mut agent, &names).await;
}

/// Some values come with the next look at the servers, a second later.
async fn wait_until_exported(agent: &mut Agent, names: &[String]) {
    let mut missing: Vec<String> = Vec::new();
    let start = std::time::Instant::now();
    agent
        .wait_for("every metric", async |agent| {
            missing.clear();
            for name in names {
                if agent.metric(name, &[]).await.is_none() {
                    missing.push(name.clone());
                }
            }
            assert!(start.elapsed() < wait::PROCESS || missing.is_empty(), "missing: {missing:?}");
            missing.is_empty()
        })
        .await;
}
