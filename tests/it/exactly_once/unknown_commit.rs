//! COMMIT was sent and its answer never came: the link broke, or the process died, while the server
//! was still inside it.
//!
//! A deferred constraint trigger that sleeps keeps a server inside COMMIT. The successor must not
//! read the checkpoint before that has ended one way or the other: by itself, or because the
//! successor ends it. Rows and position then agree, and every row is there once.

use super::assert_exact;
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::monitor::Monitor;
use crate::support::proxy::{Behavior, Direction, Proxy};
use crate::support::wait;

/// On the destination. It fires under the replica role, too.
const NAP: &str = "CREATE TABLE nap (seconds float); INSERT INTO nap VALUES (0); \
     CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
     PERFORM pg_sleep((SELECT seconds FROM public.nap)); RETURN NULL; END $$; \
     CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON ev DEFERRABLE INITIALLY DEFERRED \
     FOR EACH ROW EXECUTE FUNCTION nap(); ALTER TABLE ev ENABLE ALWAYS TRIGGER nap";

/// The backend that sleeps inside COMMIT.
const INSIDE: &str = "SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active' \
     AND wait_event = 'PgSleep' AND application_name LIKE 'sync-agent%'";

/// What comes between the agent and the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// The process is killed, and started again.
    Killed,
    /// The link is cut; the server learns of it after its COMMIT.
    Cut,
    /// COMMIT is done, and its answer is the first thing that does not pass.
    AnswerLost,
}

/// How long the server stays inside COMMIT, against the patience of whoever takes over (2 s).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nap {
    /// It ends by itself meanwhile: committed.
    Short,
    /// Nobody waits for that: it is terminated, and rolled back.
    Long,
}

struct Scene {
    source: Cluster,
    destination: Cluster,
    proxy: Proxy,
    agent: Agent,
}

impl Scene {
    async fn begin() -> Scene {
        let (source, destination) = pair().await;
        source
            .exec(
                "CREATE TABLE ev (n bigint, pad text); \
                 CREATE TABLE k (id int PRIMARY KEY, v bigint); INSERT INTO k VALUES (1, 0)",
            )
            .await;
        let proxy = Proxy::to(destination.port).await;
        let mut agent = Agent::between(&source, &destination)
            .text("destination.url", &destination.url_by_way_of(proxy.port));
        agent.start_and_stream().await;
        destination.exec(NAP).await;
        Scene { source, destination, proxy, agent }
    }

    /// Loses the answer to the COMMIT of transaction `n`, and gets over it.
    async fn lose(&mut self, n: u32, loss: Loss, nap: Nap) {
        let seconds = if nap == Nap::Short { 1.0 } else { 600.0 };
        self.destination.exec(&format!("UPDATE nap SET seconds = {seconds}")).await;
        let sql =
            format!("BEGIN; INSERT INTO ev VALUES ({n}, 'x'); UPDATE k SET v = v + 1; COMMIT");
        self.source.exec(&sql).await;
        let mut backend = String::new();
        wait::until("the server is inside COMMIT", wait::CATCH_UP, async || {
            backend = self.destination.scalar(INSIDE).await;
            !backend.is_empty()
        })
        .await;
        // The next one that comes to the trigger is not held up.
        self.destination.exec("UPDATE nap SET seconds = 0").await;
        match loss {
            Loss::Killed => {
                self.agent.kill9();
                let still = self.destination.scalar(INSIDE).await;
                assert_eq!(still, backend, "it died while the server was inside COMMIT");
                self.agent.start();
            }
            Loss::Cut => {
                self.proxy.cut_once().await;
                let still = self.destination.scalar(INSIDE).await;
                assert_eq!(still, backend, "the link broke while the server was inside COMMIT");
            }
            Loss::AnswerLost => {
                let direction = Direction::FromServer;
                self.proxy.set(Behavior::CutAfter { direction, bytes: 0 });
                wait::until("the transaction is committed", wait::CATCH_UP, async || {
                    let sql = format!("SELECT count(*) FROM ev WHERE n = {n}");
                    self.destination.scalar(&sql).await == "1"
                })
                .await;
                wait::until("its answer is lost", wait::PROCESS, async || {
                    self.proxy.cut_count() > 0
                })
                .await;
                self.proxy.set(Behavior::Forward);
            }
        }
        self.agent.caught_up().await;
        assert_eq!(self.destination.scalar(INSIDE).await, "", "nobody is left inside");
        let terminated = self.destination.log().contains("terminating connection due to");
        assert_eq!(terminated, nap == Nap::Long, "{}", self.destination.log());
    }

    async fn ends_exact(mut self) {
        assert_eq!(self.agent.terminate().await, Some(0));
        assert!(!self.agent.log().contains("E_LINEAGE"), "{}", self.agent.log());
        assert_exact(&self.source, &self.destination).await;
    }
}

/// Those whose COMMIT succeeds, though nobody hears of it.
#[tokio::test]
async fn a_commit_that_succeeds_unheard_is_not_repeated() {
    let mut scene = Scene::begin().await;
    let monitor = Monitor::watch(&scene.source, &scene.destination, &scene.agent.pipeline);
    for (n, loss) in (1..).zip([Loss::Killed, Loss::Cut, Loss::AnswerLost]) {
        scene.lose(n, loss, Nap::Short).await;
    }
    monitor.verdict();
    scene.ends_exact().await;
}

/// Those that would take for ever are ended first, and their rows come once all the same.
#[tokio::test]
async fn a_commit_that_does_not_end_is_ended_before_the_checkpoint_is_believed() {
    let mut scene = Scene::begin().await;
    let monitor = Monitor::watch(&scene.source, &scene.destination, &scene.agent.pipeline);
    for (n, loss) in (1..).zip([Loss::Killed, Loss::Cut]) {
        scene.lose(n, loss, Nap::Long).await;
    }
    monitor.verdict();
    scene.ends_exact().await;
}
