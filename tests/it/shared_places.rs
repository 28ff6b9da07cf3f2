//! Ports and state directories that somebody else has, or that two of us share.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;

#[tokio::test]
async fn an_ipv6_only_address_serves() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let listener = std::net::TcpListener::bind("[::1]:0").expect("a loopback of version 6");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let mut agent = Agent::between(&source, &destination).text("http.listen", &address);
    agent.start();
    let output = agent.verb(&["wait", "--for", "streaming", "--timeout", "60s"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let output = agent.verb(&["status", "--output", "json"]).await;
    assert!(output.stdout.contains("\"seen_from\":\"agent\""), "{output:?}");
    assert!(output.stdout.contains(&address), "{output:?}");
    assert_eq!(agent.verb(&["status", "--probe"]).await.code, 0);
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn two_pipelines_share_a_state_directory() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)").await;
    let mut one = Agent::between(&source, &destination).set("include", "[\"public.t\"]");
    let dir = one.state_dir().display().to_string();
    let mut two = Agent::between(&source, &destination)
        .named("two")
        .set("include", "[\"public.u\"]")
        .text("state.dir", &dir);
    one.start_and_stream().await;
    two.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (1); INSERT INTO u VALUES (2)").await;
    one.caught_up().await;
    two.caught_up().await;
    assert_same(&source, &destination, &["t", "u"]).await;
    assert_eq!(one.terminate().await, Some(0));
    assert_eq!(two.terminate().await, Some(0));
}

#[tokio::test]
async fn a_second_agent_on_one_state_directory_is_refused_before_it_makes_anything() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut one = Agent::between(&source, &destination);
    one.start_and_stream().await;
    // The same name between other servers: the lease cannot tell.
    let (other_source, other) = tokio::join!(Cluster::source(), Cluster::destination());
    other_source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let dir = one.state_dir().display().to_string();
    let two = Agent::between(&other_source, &other).text("state.dir", &dir);
    let output = two.verb(&["run"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    for word in ["E_IO", "in use by another sync-agent", &dir] {
        assert!(output.stderr.contains(word), "{word} is missing in {output:?}");
    }
    assert_eq!(two.traces().await, Vec::<String>::new());
    source.exec("INSERT INTO t VALUES (1)").await;
    one.caught_up().await;
    assert_eq!(one.terminate().await, Some(0), "the first one was not disturbed");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_made_is_refused_before_anything_else_is() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    // A file in its way, because root may write in a read-only directory.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let dir = file.path().join("state").display().to_string();
    let agent = Agent::between(&source, &destination).text("state.dir", &dir);
    let output = agent.verb(&["run"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    for word in ["E_IO", &dir] {
        assert!(output.stderr.contains(word), "{word} is missing in {output:?}");
    }
    assert_eq!(agent.traces().await, Vec::<String>::new());
    assert_eq!(agent.verb(&["check"]).await.code, 0, "only `run` opens it");
}
