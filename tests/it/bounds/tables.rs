//! Many tables: one start, one transaction over all of them, one page of metrics.

use std::time::{Duration, Instant};

use super::assert_bounded;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};

/// Connections of ours to one server while it copies with the default of four workers.
const CONNECTIONS_MAX: u32 = 10;

/// A statement for each table, in transactions of a hundred or in one.
fn each(count: u32, statement: &str, is_one: bool) -> String {
    let commit = if is_one { "" } else { "IF i % 100 = 0 THEN COMMIT; END IF;" };
    format!(
        "DO $$ BEGIN FOR i IN 1 .. {count} LOOP EXECUTE format('{statement}', i); {commit} END LOOP; END $$"
    )
}

/// The number of rows in all of them, and the sum of what is in them.
const SUMS: &str = "SELECT count(*) || ' ' || sum((xpath('/row/s/text()', query_to_xml(format( \
     'SELECT count(*) * 1000 + coalesce(sum(id), 0) AS s FROM %I', relname), false, true, '')))[1]::text::bigint) \
     FROM pg_class WHERE relname LIKE 'many\\_%' AND relkind = 'r'";

async fn many(count: u32, patience: Duration) {
    let settings = "max_locks_per_transaction = 2048\n".to_owned();
    let source = Spec { settings: settings.clone(), ..Spec::default() };
    let destination = Spec { identity: 1, settings, ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(source), Cluster::start(destination));
    source.exec(&each(count, "CREATE TABLE many_%s (id int PRIMARY KEY, v text)", false)).await;
    source.exec(&each(count.min(300), "INSERT INTO many_%s VALUES (1, ''a'')", false)).await;
    let mut agent = Agent::between(&source, &destination).patient(patience);
    let begun = Instant::now();
    agent.start();
    let mut most = 0;
    agent
        .wait_for("state streaming", async |agent| {
            let ours =
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sync-agent%'";
            for server in [&source, &destination] {
                most = most.max(server.scalar(ours).await.parse().expect("a count"));
            }
            let status = agent.try_get("/status").await;
            status.is_some_and(|(_, body)| body.contains("\"state\":\"streaming\""))
        })
        .await;
    let elapsed = begun.elapsed();
    crate::bounds::say(&format!("{count} tables: streaming after {elapsed:?}, {most} connections"));
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?} to start", begun.elapsed());
    assert!(most <= CONNECTIONS_MAX, "{most} connections");
    let begun = Instant::now();
    source.exec(&each(count, "INSERT INTO many_%s VALUES (2, ''b'')", true)).await;
    agent.caught_up().await;
    crate::bounds::say(&format!("one transaction over all of them: {:?}", begun.elapsed()));
    let begun = Instant::now();
    let (code, metrics) = agent.get("/metrics").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?} for /metrics", begun.elapsed());
    assert_eq!(code, 200);
    let series = metrics.lines().filter(|line| line.contains("table=\"public.many_")).count();
    assert!(series < 20_000, "{series} series");
    assert_bounded(&agent, 0);
    assert_eq!(source.scalar(SUMS).await, destination.scalar(SUMS).await);
}

#[tokio::test]
async fn hundreds_of_tables_are_followed_within_bounds() {
    many(200, crate::support::wait::CATCH_UP).await;
}

mod long {
    use std::time::Duration;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn ten_thousand_tables_are_followed_within_bounds() {
        super::many(10_000, Duration::from_secs(900)).await;
    }
}
