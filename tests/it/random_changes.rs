//! Random changes over random small tables leave the same rows everywhere: applied one transaction at a
//! time, folded into one batch, and by the servers' own logical replication. `SYNC_AGENT_SEED` repeats
//! the tables and the changes of a run.

mod changes;
mod tables;

use tokio_postgres::Client;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::hold::{GATE, Hold};
use crate::support::random::Random;
use crate::support::wait;
use changes::transaction;
use tables::{KINDS, Table};

const TRANSACTIONS_A_ROUND: usize = 300;

/// More transactions fail than this (one in so many), and the changes are not worth much.
const FAILED_ONE_IN: usize = 3;

/// Every way to get there.
struct Ways {
    source: Cluster,
    one_by_one: (Database, Agent),
    at_once: (Database, Agent),
    built_in: Database,
    // The destinations end with it.
    _destination: Cluster,
}

impl Ways {
    async fn open(tables: &[Table], random: &mut Random, source: Spec) -> Self {
        let (source, destination) = tokio::join!(Cluster::start(source), Cluster::destination());
        for name in ["one_by_one", "at_once", "built_in"] {
            destination.exec(&format!("CREATE DATABASE {name}")).await;
        }
        let built_in = destination.database("built_in");
        let mut create = GATE.to_owned();
        for table in tables {
            create = format!("{create}; {}", table.create());
        }
        source.exec(&create).await;
        built_in.exec(&create).await;
        for table in tables {
            source.exec(&table.fill(random)).await;
        }
        source.exec("CREATE PUBLICATION theirs FOR ALL TABLES").await;
        let subscribe = format!(
            "CREATE SUBSCRIPTION theirs CONNECTION 'host={} port={} user=postgres dbname=postgres' \
             PUBLICATION theirs",
            source.socket.display(),
            source.port
        );
        built_in.exec(&subscribe).await;
        let agent = |name: &str, rows| {
            let database = destination.database(name);
            let agent = Agent::between(&source, &database).named(name);
            (database, agent.set("apply.max_batch_rows", rows))
        };
        let mut one_by_one = agent("one_by_one", "1");
        let (database, at_once) = agent("at_once", "1000000");
        // All of a round is read while the agent is held, and becomes one batch.
        let at_once = at_once.text("limits.memory", "1GiB").text("apply.max_batch_bytes", "256MiB");
        let mut at_once = (database, at_once);
        tokio::join!(one_by_one.1.start_and_stream(), at_once.1.start_and_stream());
        Ways { source, one_by_one, at_once, built_in, _destination: destination }
    }

    async fn assert_same(&mut self, tables: &[Table]) {
        let lsn = self.source.current_lsn().await;
        tokio::join!(self.one_by_one.1.caught_up(), self.at_once.1.caught_up());
        wait::until("the servers' own replication is there", wait::CATCH_UP, async || {
            let sql = format!(
                "SELECT count(*) FROM pg_stat_replication \
                 WHERE application_name = 'theirs' AND replay_lsn >= '{lsn}'"
            );
            self.source.scalar(&sql).await == "1"
        })
        .await;
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        // First what nobody doubts: a difference there is one of the test.
        for database in [&self.built_in, &self.one_by_one.0, &self.at_once.0] {
            assert_same(&self.source, database, &names).await;
        }
    }
}

/// Returns how many of them failed.
async fn change(session: &Client, random: &mut Random, tables: &[Table]) -> usize {
    let mut failed = 0;
    for _ in 0..TRANSACTIONS_A_ROUND {
        let sql = transaction(random, tables);
        if session.batch_execute(&sql).await.is_err() {
            failed += 1;
            session.batch_execute("ROLLBACK").await.expect("the session lives");
        }
    }
    failed
}

#[allow(clippy::print_stderr, reason = "a failure shows what the tables were")]
async fn rounds(count: usize) {
    let mut random = Random::seeded("random changes");
    let mut tables: Vec<Table> = KINDS.iter().map(|&kind| Table::draw(&mut random, kind)).collect();
    for table in &tables {
        eprintln!("{}", table.create());
    }
    let mut ways = Ways::open(&tables, &mut random, Spec::default()).await;
    ways.assert_same(&tables).await;
    for _ in 0..count {
        let hold = Hold::place(&ways.source, &ways.at_once.0).await;
        let session = ways.source.session().await.expect("the source answers");
        let failed = change(&session, &mut random, &tables).await;
        hold.release().await;
        assert!(failed * FAILED_ONE_IN < TRANSACTIONS_A_ROUND, "{failed} transactions failed");
        ways.assert_same(&tables).await;
    }
    tables.clear();
    for (_, agent) in [&ways.one_by_one, &ways.at_once] {
        let log = agent.log();
        assert!(!log.contains("rows were not as the stream said"), "{log}");
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[tokio::test]
async fn every_way_leaves_the_same_rows() {
    rounds(3).await;
}

/// More of it.
mod long {
    use super::rounds;

    #[tokio::test]
    #[ignore = "long: make test-long"]
    async fn every_way_leaves_the_same_rows_again_and_again() {
        for _ in 0..8 {
            rounds(12).await;
        }
    }
}
