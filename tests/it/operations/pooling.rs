//! A pooler in front of a server: refused where it gives sessions away, used where it does not.

use super::with_table;
use crate::support::agent::Agent;
use crate::support::compare::assert_same;
use crate::support::pooler::Pooler;

#[tokio::test]
async fn pooling_by_transaction_is_refused_on_either_side_and_nothing_is_created() {
    let (source, destination) = with_table().await;
    for (side, server) in [("source", &source), ("destination", &destination)] {
        let pooler = Pooler::before(server, "transaction").await;
        let agent = Agent::between(&source, &destination)
            .text(&format!("{side}.url"), &server.url_by_way_of(pooler.port));
        for verb in ["check", "run", "snapshot"] {
            let output = agent.verb(&[verb]).await;
            let said = format!("{}{}", output.stdout, output.stderr);
            assert_eq!(output.code, 4, "{side} {verb}: {said}");
            assert!(said.contains("pools by transaction"), "{side} {verb}: {said}");
        }
        assert_eq!(agent.traces().await, Vec::<String>::new(), "{side}");
    }
}

#[tokio::test]
async fn pooling_by_session_serves_the_destination() {
    let (source, destination) = with_table().await;
    let pooler = Pooler::before(&destination, "session").await;
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_by_way_of(pooler.port));
    agent.start_and_stream().await;
    source.exec("INSERT INTO t SELECT g, 'x' FROM generate_series(2, 200) g").await;
    source.exec("UPDATE t SET v = 'y' WHERE id % 2 = 0").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    agent.kill9();
    source.exec("DELETE FROM t WHERE id < 50").await;
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}

/// Up to 1.22 pgbouncer knows no replication connections; later ones pass them on.
#[tokio::test]
async fn a_pooler_that_knows_no_replication_is_named() {
    let (source, destination) = with_table().await;
    let pooler = Pooler::before(&source, "session").await;
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_by_way_of(pooler.port));
    let output = agent.verb(&["check"]).await;
    if output.code == 0 {
        agent.start_and_stream().await;
        return;
    }
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, 4, "{said}");
    assert!(said.contains("the server itself"), "{said}");
    let output = agent.verb(&["run"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    assert_eq!(agent.traces().await, Vec::<String>::new());
}
