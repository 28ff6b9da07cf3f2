//! The first start: what is waited for, what is refused, and that a refusal leaves nothing behind.

use super::with_table;
use crate::support::agent::Agent;
use crate::support::cluster::{Stop, free_port};
use crate::support::compare::assert_same;
use crate::support::proxy::{Behavior, Proxy};

/// Waits in backoff, and says why.
async fn assert_waits(agent: &mut Agent, why: &str) {
    agent.wait_for_state("backoff").await;
    let attempts = async |agent: &Agent| {
        let status = agent.status().await;
        let reason = status["reason"].as_str().expect("a reason").to_owned();
        assert!(reason.contains("E_CONNECT") && reason.contains(why), "{why}: {reason}");
        status["attempts"].as_u64().expect("a number")
    };
    agent.wait_for("another attempt", async |agent| attempts(agent).await >= 2).await;
}

#[tokio::test]
async fn servers_that_are_not_there_yet_are_waited_for() {
    let (source, mut destination) = with_table().await;
    // Refused, then a link that swallows everything, then no connection left.
    destination.stop(Stop::Fast).await;
    let proxy = Proxy::to(source.port).await;
    proxy.set(Behavior::Stall);
    let url = format!("{}?connect_timeout=2", source.url_by_way_of(proxy.port));
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &url)
        .text("destination.url", &destination.url_as("late"));
    agent.start();
    assert_waits(&mut agent, "no answer within 2 s").await;
    proxy.set(Behavior::Forward);
    agent
        .wait_for("the destination's refusal", async |agent| {
            agent.status().await["reason"].to_string().contains("connection refused")
        })
        .await;
    destination.launch_again().await;
    destination.exec("CREATE ROLE late LOGIN SUPERUSER").await;
    // A superuser is not limited, so the limit comes first.
    agent.wait_for_state("streaming").await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn names_that_do_not_resolve_and_full_servers_are_waited_for() {
    let (source, destination) = with_table().await;
    destination.exec("CREATE ROLE app LOGIN CONNECTION LIMIT 0; CREATE SCHEMA sync_agent AUTHORIZATION app; GRANT CREATE ON SCHEMA public TO app").await;
    let url = format!("postgresql://postgres@no.such.invalid:{}/postgres", source.port);
    let mut agent = Agent::between(&source, &destination).text("source.url", &url);
    agent.start();
    assert_waits(&mut agent, "does not resolve").await;
    assert_eq!(agent.terminate().await, Some(0));
    let mut agent =
        Agent::between(&source, &destination).text("destination.url", &destination.url_as("app"));
    agent.start();
    assert_waits(&mut agent, "too many connections").await;
    assert_eq!(agent.traces().await, ["schema sync_agent"], "made by the administrator");
    destination.exec("ALTER ROLE app CONNECTION LIMIT -1").await;
    agent.wait_for_state("streaming").await;
    assert_same(&source, &destination, &["t"]).await;
}

#[tokio::test]
async fn refusals_before_the_first_success_end_with_4_and_leave_nothing() {
    let (source, destination) = with_table().await;
    for server in [&source, &destination] {
        server.exec("CREATE ROLE app LOGIN SUPERUSER; CREATE ROLE nobody NOLOGIN").await;
        server.require_password("app", "right").await;
    }
    let good = |server: &crate::support::cluster::Cluster| server.url_as("app:right");
    let at = |server: &crate::support::cluster::Cluster, user: &str, rest: &str| {
        format!("postgresql://{user}@127.0.0.1:{}/{rest}", server.port)
    };
    for (side, server) in [("source", &source), ("destination", &destination)] {
        for (url, words) in [
            (at(server, "app:wrong", "postgres"), "password authentication failed"),
            (at(server, "app", "postgres"), "asks for a password and there is none"),
            (at(server, "app:right", "nowhere"), "does not exist (SQLSTATE 3D000)"),
            (at(server, "nobody:x", "postgres"), "password authentication failed"),
            (at(server, "app:right", "postgres?sslmode=require"), "does not offer TLS"),
        ] {
            let agent = Agent::between(&source, &destination)
                .text("source.url", &good(&source))
                .text("destination.url", &good(&destination))
                .text(&format!("{side}.url"), &url);
            for verb in ["run", "check", "snapshot"] {
                let output = agent.verb(&[verb]).await;
                let said = format!("{}{}", output.stdout, output.stderr);
                assert_eq!(output.code, 4, "{verb} {url}: {said}");
                assert!(
                    said.contains("E_PREFLIGHT") && said.contains(words),
                    "{verb} {url}: {said}"
                );
            }
            assert_eq!(agent.traces().await, Vec::<String>::new(), "{url}");
        }
    }
}

#[tokio::test]
async fn passwords_rotated_while_running_are_read_again() {
    let (source, destination) = with_table().await;
    let files = tempfile::tempdir().expect("a folder");
    let mut agent = Agent::between(&source, &destination);
    for (side, server) in [("source", &source), ("destination", &destination)] {
        server.exec("CREATE ROLE app LOGIN SUPERUSER").await;
        server.require_password("app", "first").await;
        let file = files.path().join(side);
        std::fs::write(&file, "first\n").expect("our folder");
        agent = agent
            .text(&format!("{side}.url"), &server.url_as("app"))
            .text(&format!("{side}.password"), &format!("${{file:{}}}", file.display()));
    }
    agent.start_and_stream().await;
    for (side, server) in [("source", &source), ("destination", &destination)] {
        server.exec("ALTER ROLE app PASSWORD 'zweites'").await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
        server.exec(end).await;
        agent.wait_for_state("backoff").await;
        let status = agent.status().await;
        assert_eq!(status["last_error"]["code"], "E_CONNECT", "{side}: {status}");
        std::fs::write(files.path().join(side), "zweites\n").expect("our folder");
        agent.wait_for_state("streaming").await;
    }
    source.exec("INSERT INTO t VALUES (2, 'b')").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
    assert!(!agent.log().contains("zweites"), "no password in the log");
}

#[tokio::test]
async fn other_verbs_fail_at_once_and_wait_when_told_to() {
    let (source, mut destination) = with_table().await;
    destination.stop(Stop::Fast).await;
    let agent = Agent::between(&source, &destination);
    for verb in
        [&["check"][..], &["snapshot"], &["wait", "--for", "caught-up"], &["reset", "--yes"]]
    {
        let output = agent.verb(verb).await;
        assert_eq!(output.code, 1, "{verb:?}: {output:?}");
        assert!(output.stderr.contains("E_CONNECT"), "{verb:?}: {output:?}");
    }
    let patient = ["snapshot", "--wait", "60s"];
    let (output, ()) = tokio::join!(agent.verb(&patient), destination.launch_again());
    assert_eq!(output.code, 0, "{output:?}");
    assert_same(&source, &destination, &["t"]).await;
    destination.stop(Stop::Fast).await;
    let patient = ["check", "--wait", "60s"];
    let (output, ()) = tokio::join!(agent.verb(&patient), destination.launch_again());
    assert!(matches!(output.code, 0 | 4), "it could look: {output:?}");
}

#[tokio::test]
async fn a_port_in_use_is_a_mistake_and_nothing_was_created() {
    let (source, destination) = with_table().await;
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("free a moment ago");
    let agent =
        Agent::between(&source, &destination).text("http.listen", &format!("127.0.0.1:{port}"));
    let output = agent.verb(&["run"]).await;
    assert_eq!(output.code, 3, "{output:?}");
    assert!(
        output.stderr.contains("E_CONFIG") && output.stderr.contains(&port.to_string()),
        "{output:?}"
    );
    assert_eq!(agent.traces().await, Vec::<String>::new());
    assert!(!agent.has_state(), "not even locally");
}
