//! Time limits and transaction defaults aimed at our role and at the database, on both sides.
//!
//! The harness is exempt, and so is pgbench: both are `postgres`, and a role's setting goes before
//! the database's.

use super::{NAMES, SCRIPT};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::assert_same;
use crate::support::installation::installation;
use crate::support::wait;
use crate::support::workload::Workload;

/// Shorter than anything that the test makes the agent wait for.
const LIMIT: &str = "400ms";

/// Name, hostile value, what the harness has.
const HOSTILE: [(&str, &str, &str); 7] = [
    ("statement_timeout", LIMIT, "0"),
    ("lock_timeout", LIMIT, "0"),
    ("idle_in_transaction_session_timeout", LIMIT, "0"),
    ("idle_session_timeout", LIMIT, "0"),
    ("default_transaction_read_only", "on", "off"),
    ("default_transaction_isolation", "serializable", "read committed"),
    ("default_transaction_deferrable", "on", "off"),
];

/// Whom the settings are aimed at.
#[derive(Clone, Copy, Debug)]
enum Aim {
    Role,
    Database,
}

async fn make_hostile(server: &Cluster, aim: Aim) {
    server.exec("CREATE ROLE agent LOGIN SUPERUSER").await;
    let mut hostile = HOSTILE.to_vec();
    if server.major >= 17 {
        hostile.push(("transaction_timeout", LIMIT, "0"));
    }
    for (name, value, ours) in hostile {
        let aimed = match aim {
            Aim::Role => format!("ALTER ROLE agent SET {name} = '{value}'"),
            Aim::Database => format!("ALTER DATABASE postgres SET {name} = '{value}'"),
        };
        // Ours first: the next session must still be able to write.
        server.exec(&format!("ALTER ROLE postgres SET {name} = '{ours}'")).await;
        server.exec(&aimed).await;
    }
}

async fn works_whatever_is_set(major: u32, aim: Aim) {
    let installation = installation(major);
    assert!(installation.is_some(), "PostgreSQL {major} is missing: make install");
    let spec = |identity| Spec { installation: installation.clone(), identity, ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec(0)), Cluster::start(spec(1)));
    source.exec(super::TABLES).await;
    source.exec("INSERT INTO wide SELECT g, 'line' FROM generate_series(1, 1000) g").await;
    destination.exec("CREATE TABLE wide (id int PRIMARY KEY, line text)").await;
    for server in [&source, &destination] {
        make_hostile(server, aim).await;
    }
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_as("agent"))
        .text("destination.url", &destination.url_as("agent"));
    let lock = destination.session().await.expect("the server answers");
    // In the copy: somebody has the table, for several times every limit.
    lock.batch_execute("BEGIN; LOCK TABLE wide").await.expect("it is there");
    agent.start();
    waits_beyond_the_limits(&mut agent, &destination).await;
    lock.batch_execute("COMMIT").await.expect("the session lives");
    agent.wait_for_state("streaming").await;
    // In the tail, and with every other connection idle meanwhile.
    lock.batch_execute("BEGIN; LOCK TABLE wide").await.expect("it is there");
    let load =
        Workload::start(&source, &["-n", "-c", "1", "-R", super::RATE, "-T", "3600"], Some(SCRIPT));
    waits_beyond_the_limits(&mut agent, &destination).await;
    lock.batch_execute("COMMIT").await.expect("the session lives");
    agent.caught_up().await;
    load.stop(&source).await;
    agent.caught_up().await;
    let log = agent.log();
    assert!(!log.contains("timeout"), "{major} {aim:?}: {log}");
    for side in ["source", "destination"] {
        let side = format!("side=\"{side}\"");
        let reconnects = agent.metric("sync_agent_reconnects_total", &[&side]).await;
        assert_eq!(reconnects, Some(0.0), "{major} {aim:?} {side}: {log}");
    }
    assert_eq!(agent.terminate().await, Some(0));
    assert_same(&source, &destination, &NAMES).await;
}

/// Three times the limits, by the server's clock.
async fn waits_beyond_the_limits(agent: &mut Agent, destination: &Cluster) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND usename = 'agent' AND clock_timestamp() - query_start > '1.3 s'";
    agent.wait_for("it waits for a lock", async |_| destination.scalar(waiting).await != "0").await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'agent'";
    wait::until("its sessions live", wait::PROCESS, async || {
        destination.scalar(open).await.parse::<u32>().is_ok_and(|count| count > 1)
    })
    .await;
}

/// The newest has all of the settings.
#[tokio::test]
async fn limits_and_defaults_of_role_and_database_change_nothing() {
    tokio::join!(works_whatever_is_set(18, Aim::Role), works_whatever_is_set(18, Aim::Database));
}

mod long {
    use super::*;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn limits_and_defaults_change_nothing_on_any_version() {
        for major in [14, 16, 17] {
            for aim in [Aim::Role, Aim::Database] {
                works_whatever_is_set(major, aim).await;
            }
        }
    }
}
