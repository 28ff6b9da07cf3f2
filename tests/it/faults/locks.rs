//! The destination's own users: rows locked in another order than ours, tables locked for a moment.

use super::{Phase, Scene};
use crate::support::workload::Workload;

/// Two rows in the reverse of the order in which transactions of the source write them, and now and
/// then the whole table. These sessions wait longer than the agent before they look for a deadlock:
/// so the agent is the one that is rolled back.
const APPLICATION: &str = "\\set low random(1, 10)\n\\set high random(11, 20)\n\
     SET deadlock_timeout = '10s';\nBEGIN;\n\
     SELECT 1 FROM totals WHERE id = :high FOR UPDATE;\nSELECT pg_sleep(0.02);\n\
     SELECT 1 FROM totals WHERE id = :low FOR UPDATE;\nCOMMIT;\n\
     \\set dice random(1, 20)\n\\if :dice = 1\nBEGIN;\nLOCK TABLE totals IN SHARE MODE;\n\
     SELECT pg_sleep(0.02);\nCOMMIT;\n\\endif\nSELECT pg_sleep(0.05);\n";

/// Every row, in order, in one transaction.
const WRITES: &str = "\\set n random(1, 1000000)\nBEGIN;\nINSERT INTO journal VALUES (:n);\n\
     UPDATE totals SET sum = sum + :n WHERE id <= 10;\n\
     UPDATE totals SET sum = sum - :n WHERE id > 10;\nCOMMIT;\n";

async fn deadlocks(rounds: u32) {
    let mut scene = Scene::at(Phase::Tail, "deadlocks").await;
    scene.destination.exec("ALTER SYSTEM SET deadlock_timeout = '20ms'").await;
    scene.destination.exec("SELECT pg_reload_conf()").await;
    scene.stop_writing().await;
    let writers = ["-n", "-c", "1", "-R", "50", "-T", "3600"];
    scene.load = Some(Workload::start(&scene.source, &writers, Some(WRITES)));
    let rounds = rounds.to_string();
    let application = ["-n", "-c", "2", "-t", &rounds, "--max-tries", "1000"];
    let mut application = Workload::start(&scene.destination, &application, Some(APPLICATION));
    application.finish().await;
    let met = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'";
    assert_ne!(scene.destination.scalar(met).await, "0", "they never met");
    let log = scene.agent.log();
    assert!(log.contains("deadlock"), "the agent was never the one: {log}");
    let held = log.contains("E_CONFLICT") || log.contains("degraded");
    assert!(!held, "a deadlock passes: {log}");
    scene.ends_well().await;
}

#[tokio::test]
async fn deadlocks_with_the_destinations_users_are_retried() {
    deadlocks(25).await;
}

mod long {
    use super::*;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn a_thousand_rounds_of_crossed_locks_lose_nothing() {
        deadlocks(500).await;
    }

    /// DDL of somebody else at the destination: it waits for us, and we for it.
    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn ddl_of_others_is_waited_for() {
        let mut scene = Scene::at(Phase::Tail, "ddl").await;
        for round in 0..30 {
            let index = format!("CREATE INDEX i{round} ON totals (sum); DROP INDEX i{round}");
            scene.destination.exec(&index).await;
            scene.destination.exec("REINDEX TABLE totals").await;
            scene.destination.exec("VACUUM FULL journal").await;
            scene.destination.exec("CLUSTER wide USING wide_pkey").await;
            scene.progress().await;
        }
        scene.ends_well().await;
    }
}
