//! Rows that the destination rejects: the whole transaction waits, named, and goes on once mended.

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::assert_same;
use crate::support::hold::{GATE, Hold};
use crate::support::wait;

/// Stands in every row that is rejected, and must not stand in any log.
const CANARY: &str = "CANARY-4d2e";

/// One way to be rejected.
struct Case {
    /// What makes the destination reject the row, and what mends it.
    spoil: &'static str,
    mend: &'static str,
    /// The values of the row: `t(id, v, n, u)`.
    row: &'static str,
    code: &'static str,
    constraint: Option<&'static str>,
}

const CASES: [Case; 6] = [
    // First: afterwards there are more rows that are none.
    Case {
        spoil: "ALTER TABLE t ALTER v TYPE uuid USING NULL",
        mend: "ALTER TABLE t ALTER v TYPE text; UPDATE t SET v = 'a'",
        row: "'CANARY-4d2e', 1, 3",
        code: "E_DATA",
        constraint: None,
    },
    Case {
        spoil: "ALTER TABLE t ALTER n SET NOT NULL",
        mend: "ALTER TABLE t ALTER n DROP NOT NULL",
        row: "'CANARY-4d2e', NULL, 1",
        code: "E_CONFLICT",
        constraint: None,
    },
    Case {
        spoil: "ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0)",
        mend: "ALTER TABLE t DROP CONSTRAINT positive",
        row: "'CANARY-4d2e', -1, 2",
        code: "E_CONFLICT",
        constraint: Some("positive"),
    },
    Case {
        spoil: "CREATE UNIQUE INDEX further ON t (u)",
        mend: "DROP INDEX further",
        row: "'CANARY-4d2e', 1, 0",
        code: "E_CONFLICT",
        constraint: Some("further"),
    },
    Case {
        spoil: "ALTER TABLE t ALTER n TYPE smallint",
        mend: "ALTER TABLE t ALTER n TYPE int",
        row: "'CANARY-4d2e', 71829, 4",
        code: "E_DATA",
        constraint: None,
    },
    Case {
        spoil: "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN RAISE 'not here'; END $$; \
                CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no(); \
                ALTER TABLE t ENABLE ALWAYS TRIGGER no",
        mend: "DROP TRIGGER no ON t",
        row: "'CANARY-4d2e', 1, 5",
        code: "E_CONFLICT",
        constraint: None,
    },
];

/// The lines at ERROR.
fn errors(agent: &Agent) -> Vec<Value> {
    let log = agent.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["level"] == "ERROR").collect()
}

fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    line[name].as_str().or_else(|| line["fields"][name].as_str())
}

/// Attempts that were rejected, as counted.
async fn failures(agent: &Agent, code: &str) -> f64 {
    let labels = [&format!("code=\"{code}\"") as &str, "stage=\"apply\""];
    agent.metric("sync_agent_errors_total", &labels).await.unwrap_or_default()
}

async fn confirmed(source: &Cluster) -> String {
    source.scalar("SELECT confirmed_flush_lsn FROM pg_replication_slots").await
}

/// One case, from a pipeline that streams to one that streams again.
async fn is_held_and_goes_on(
    (source, destination): (&Cluster, &Cluster),
    agent: &mut Agent,
    (number, case): (usize, &Case),
) {
    let Case { spoil, mend, row, code, constraint } = case;
    destination.exec(spoil).await;
    // Behind a hold they land in one batch.
    let hold = Hold::place(source, destination).await;
    source.exec(&format!("INSERT INTO other VALUES ({number}0, 'earlier')")).await;
    let begun = source.current_lsn().await;
    source
        .exec(&format!(
            "BEGIN; INSERT INTO other VALUES ({number}1, 'same'); \
             INSERT INTO t VALUES ({number}, {row}); INSERT INTO other VALUES ({number}2, 'same'); COMMIT"
        ))
        .await;
    source.exec(&format!("INSERT INTO other VALUES ({number}3, 'later')")).await;
    let end = source.current_lsn().await;
    hold.release().await;
    let (seen, counted) = (errors(agent).len(), failures(agent, code).await);
    agent.wait_for_state("degraded").await;
    let rows = format!("SELECT string_agg(id::text, ' ') FROM other WHERE id / 10 = {number}");
    agent
        .wait_for("it was tried again", async |agent| failures(agent, code).await >= counted + 1.0)
        .await;
    assert_eq!(destination.scalar(&rows).await, format!("{number}0"), "{spoil}: earlier, only");
    let held = format!("SELECT '{}'::pg_lsn < '{end}'", confirmed(source).await);
    assert_eq!(source.scalar(&held).await, "t", "{spoil}: the position is held");

    let new = errors(agent).split_off(seen);
    let [error] = &new[..] else { panic!("{spoil}: named once: {new:#?}") };
    assert_eq!(field(error, "code"), Some(*code), "{error:#}");
    assert_eq!(field(error, "table"), Some("public.t"), "{error:#}");
    assert_eq!(field(error, "key"), Some("id"), "{error:#}");
    assert_eq!(field(error, "constraint"), *constraint, "{error:#}");
    let lsn = field(error, "lsn").expect("an LSN");
    let inside = format!("SELECT '{lsn}'::pg_lsn BETWEEN '{begun}' AND '{end}'");
    assert_eq!(source.scalar(&inside).await, "t", "the commit's position");

    destination.exec(mend).await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(source, destination, &["t", "other"]).await;
}

#[tokio::test]
async fn each_way_to_be_rejected_holds_the_whole_transaction_until_it_is_mended() {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, v text, n int, u int);
             CREATE TABLE other (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1000, 'a', 1, 0)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).variable("RUST_LOG", "debug");
    agent.start_and_stream().await;
    for (number, case) in CASES.iter().enumerate() {
        is_held_and_goes_on((&source, &destination), &mut agent, (number + 1, case)).await;
    }
    let log = agent.log();
    for canary in [CANARY, "71829"] {
        assert!(!log.contains(canary), "a value in the log");
    }
    let (_, status) = agent.get("/status").await;
    assert!(!status.contains(CANARY), "a value in /status");
    assert_eq!(agent.terminate().await, Some(0));
}

/// Foreign keys are checked where the role may not become a replica.
#[tokio::test]
async fn a_row_without_its_parent_waits_for_it() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, p int);
             CREATE TABLE other (id int PRIMARY KEY); INSERT INTO parent VALUES (1)",
        )
        .await;
    destination
        .exec(
            "CREATE ROLE writer LOGIN; CREATE SCHEMA sync_agent AUTHORIZATION writer;
             CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY);
             CREATE TABLE t (id int PRIMARY KEY, p int CONSTRAINT has_parent REFERENCES parent);
             GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO writer",
        )
        .await;
    let mut agent = Agent::between(&source, &destination)
        .text("destination.url", &destination.url_as("writer"));
    agent.start_and_stream().await;
    source.exec("BEGIN; INSERT INTO other VALUES (1); INSERT INTO t VALUES (1, 7); COMMIT").await;
    agent.wait_for_state("degraded").await;
    let lines = errors(&agent);
    let [error] = &lines[..] else { panic!("{lines:#?}") };
    assert_eq!(field(error, "code"), Some("E_CONFLICT"));
    assert_eq!(field(error, "constraint"), Some("has_parent"));
    assert_eq!(field(error, "key"), Some("id"));
    assert_eq!(destination.count("other").await, 0, "the whole transaction or nothing");
    destination.exec("INSERT INTO parent VALUES (7)").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "other"]).await;
}

/// In the copy; what the server says of the row has its values in it.
#[tokio::test]
async fn a_copy_of_rows_that_cannot_be_read_holds_without_naming_a_value() {
    let (source, destination) = pair().await;
    source
        .exec(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, '{CANARY}')"
        ))
        .await;
    destination.exec("CREATE TABLE t (id int PRIMARY KEY, v json)").await;
    let mut agent = Agent::between(&source, &destination).variable("RUST_LOG", "debug");
    agent.start();
    agent.wait_for_state("degraded").await;
    agent
        .wait_for("it was tried again", async |agent| {
            let labels = ["code=\"E_DATA\"", "stage=\"snapshot\""];
            agent.metric("sync_agent_errors_total", &labels).await >= Some(2.0)
        })
        .await;
    let lines = errors(&agent);
    let [error] = &lines[..] else { panic!("{lines:#?}") };
    assert_eq!(field(error, "code"), Some("E_DATA"));
    assert_eq!(field(error, "table"), Some("public.t"));
    assert!(!agent.log().contains(CANARY), "a value in the log");
    destination.exec("ALTER TABLE t ALTER v TYPE text").await;
    agent.wait_for_state("streaming").await;
    assert_same(&source, &destination, &["t"]).await;
}

/// Tries become rarer: no hot loop.
#[tokio::test]
async fn a_rejected_row_is_tried_ever_more_rarely() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    destination.exec("ALTER TABLE t ADD CHECK (id < 5)").await;
    source.exec("INSERT INTO t VALUES (5)").await;
    agent.wait_for_state("degraded").await;
    let begun = std::time::Instant::now();
    let first = failures(&agent, "E_CONFLICT").await;
    wait::until("three more tries", wait::CATCH_UP, async || {
        failures(&agent, "E_CONFLICT").await >= first + 3.0
    })
    .await;
    // Half a second, one, and two, less what had passed before we looked.
    assert!(begun.elapsed().as_secs_f64() > 2.5, "{:?} for three tries", begun.elapsed());
}
