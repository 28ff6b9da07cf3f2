//! The harness keeps its own promises; otherwise no verdict of the other tests means anything.

use crate::support::cluster::{Cluster, Stop, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::proxy::{Behavior, Direction, Proxy};
use crate::support::{wait, workload};

#[tokio::test]
async fn servers_start_answer_restart_and_leave_nothing() {
    let (mut source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    assert_eq!(source.count("t").await, 2);
    let identity = "SELECT system_identifier FROM pg_control_system()";
    assert_ne!(source.scalar(identity).await, destination.scalar(identity).await);
    for mode in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        source.restart(mode).await;
        assert_eq!(source.count("t").await, 2, "after {mode:?}");
    }
    let socket = source.socket.clone();
    assert!(socket.exists());
    drop(source);
    assert!(!socket.exists(), "the directory is removed");
}

#[tokio::test]
async fn comparison_finds_a_duplicate_a_change_and_a_missing_row() {
    let (source, destination) = pair().await;
    let create = "CREATE TABLE h (a int, \"B c\" text)";
    let rows = "INSERT INTO h SELECT g, 'v' || g FROM generate_series(1, 1000) g";
    for side in [&source, &destination] {
        side.exec(create).await;
        side.exec(rows).await;
    }
    assert_same(&source, &destination, &["h"]).await;
    for damage in [
        "INSERT INTO h VALUES (7, 'v7'), (7, 'v7')",
        "UPDATE h SET \"B c\" = NULL WHERE a = 8",
        "DELETE FROM h WHERE a = 9",
    ] {
        destination.exec("TRUNCATE h").await;
        destination.exec(rows).await;
        assert_same(&source, &destination, &["h"]).await;
        destination.exec(damage).await;
        let (here, there) = ((*source).clone(), (*destination).clone());
        let verdict = tokio::spawn(async move { assert_same(&here, &there, &["h"]).await }).await;
        let report = verdict.expect_err("the damage shows").into_panic();
        let report = report.downcast_ref::<String>().expect("a message");
        assert!(report.contains("only at the"), "{report}");
    }
    let renamed = Pair::table("h").columns("a, upper(\"B c\")", "a, upper('v' || a)");
    assert_pair(&source, &source, renamed).await;
}

#[tokio::test]
async fn a_workload_runs_until_it_is_stopped() {
    let source = Cluster::source().await;
    workload::initialize(&source, 1).await;
    let load = workload::Workload::tpcb(&source, 2);
    wait::until("a hundred transactions", wait::PROCESS, async || {
        source.count("pgbench_history").await >= 100
    })
    .await;
    load.stop(&source).await;
    let count = source.count("pgbench_history").await;
    assert_eq!(source.count("pgbench_history").await, count);
}

#[tokio::test]
async fn the_proxy_cuts_stalls_and_counts() {
    let source = Cluster::source().await;
    let proxy = Proxy::to(source.port).await;
    let connect = async || {
        let url = source.url_by_way_of(proxy.port);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok::<_, tokio_postgres::Error>(client)
    };
    let client = connect().await.expect("it forwards");
    assert_eq!(proxy.open_connections(), 1);
    client.batch_execute("SELECT 1").await.expect("it forwards");

    proxy.set(Behavior::Stall);
    let answer = client.batch_execute("SELECT 2");
    let waited = tokio::time::timeout(std::time::Duration::from_millis(200), answer).await;
    assert!(waited.is_err(), "a stalled link gives no answer");
    proxy.set(Behavior::Forward);
    client.batch_execute("SELECT 3").await.expect("it goes on");

    proxy.cut_once().await;
    client.batch_execute("SELECT 4").await.expect_err("it was cut");
    let client = connect().await.expect("a new connection passes");
    let many = "SELECT repeat('x', 100000)";
    proxy.set(Behavior::CutAfter { direction: Direction::FromServer, bytes: 50_000 });
    client.simple_query(many).await.expect_err("cut in the middle of the answer");

    proxy.set(Behavior::Throttle { bytes_per_second: 10_000_000 });
    let client = connect().await.expect("a new connection passes");
    client.simple_query(many).await.expect("slow, but it arrives");

    proxy.set(Behavior::HalfOpen);
    wait::until("the server's side ends", wait::PROCESS, async || {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE client_port IS NOT NULL \
             AND client_addr IS NOT NULL";
        source.scalar(sessions).await == "0"
    })
    .await;
    assert!(!client.is_closed(), "the agent's side stays open");
}

#[tokio::test]
async fn a_killed_test_process_leaves_no_server() {
    // The supervisor sees only that its pipe closes, so closing it is the same as being killed.
    let mut source = Cluster::source().await;
    let socket = source.socket.clone();
    source.abandon();
    wait::until("the directory is removed", wait::PROCESS, async || !socket.exists()).await;
}
