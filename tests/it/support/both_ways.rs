//! Tables that must arrive exactly by copy and by tail, with one change a batch and with all in one.

use super::agent::Agent;
use super::cluster::{Cluster, Spec};
use super::compare::assert_same;
use super::hold::{GATE, Hold};
use super::installation::installation;

/// What is on both sides before, what happens then, and what is compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case<'a> {
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
    /// Each is a message of its own; they land in one batch where the limit allows it.
    pub(crate) changes: &'a [&'a str],
    pub(crate) tables: &'a [&'a str],
    /// `[[table]]` and other sections of the configuration.
    pub(crate) sections: &'a str,
    /// Who writes at the destination, where not the superuser.
    pub(crate) role: &'a str,
    /// PostgreSQL on both sides, where not the default one.
    pub(crate) major: Option<u32>,
}

/// Two servers on which a case has come to its end, and what one may still ask there.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) destination: Cluster,
}

impl Case<'_> {
    /// Fails unless every table is the same, without a single conflict on the way.
    pub(crate) async fn arrives(&self) -> [Arrived; 2] {
        let (one, all) = tokio::join!(self.with("1"), self.with("1000000"));
        [one, all]
    }

    async fn with(&self, max_batch_rows: &str) -> Arrived {
        let spec = |identity| {
            let installation =
                self.major.map(|major| installation(major).expect("that version is installed"));
            Spec { installation, identity, ..Spec::default() }
        };
        let (source, destination) = tokio::join!(Cluster::start(spec(0)), Cluster::start(spec(1)));
        source.exec(GATE).await;
        source.exec(self.source).await;
        destination.exec(self.destination).await;
        let mut agent = Agent::between(&source, &destination)
            .set("apply.max_batch_rows", max_batch_rows)
            .section(self.sections);
        if !self.role.is_empty() {
            agent = agent.text("destination.url", &destination.url_as(self.role));
        }
        agent.start_and_stream().await;
        assert_same(&source, &destination, self.tables).await;
        let hold = Hold::place(&source, &destination).await;
        let session = source.session().await.expect("the source answers");
        for sql in self.changes {
            if let Err(error) = session.batch_execute(sql).await {
                panic!("{sql}\n  {error:?}");
            }
        }
        hold.release().await;
        agent.caught_up().await;
        assert_same(&source, &destination, self.tables).await;
        let (_, metrics) = agent.get("/metrics").await;
        let conflicts: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("sync_agent_conflicts_total{") && !line.ends_with(" 0"))
            .collect();
        assert!(conflicts.is_empty(), "{conflicts:?}");
        Arrived { destination }
    }
}
