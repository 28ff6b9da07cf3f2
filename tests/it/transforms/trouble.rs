//! Expressions that fail, wait, or lose what they read: the position is held, and nothing wrong arrives.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec, pair};
use crate::support::compare::{Pair, assert_pair};

const PAY: &str = "CREATE TABLE pay (id int PRIMARY KEY, gross int, age int);
     INSERT INTO pay SELECT g, g * 100, g FROM generate_series(1, 5) g";

const SECTION: &str = r#"
[[table]]
name = "public.pay"
[table.columns]
net   = { sql = "gross * 8 / 10" }
gross = { drop = true }
"#;

fn pay() -> Pair {
    Pair::table("pay").columns("id, gross * 8 / 10, age", "id, net, age")
}

/// The agent is degraded with this code; what it said.
async fn held(agent: &mut Agent, code: &str) -> String {
    agent.wait_for_state("degraded").await;
    let log = agent.log();
    let line = log.lines().find(|line| line.contains(&format!("\"code\":\"{code}\"")));
    line.unwrap_or_else(|| panic!("{code} is not in {log}")).to_owned()
}

async fn loses(statement: &str, back: &str) {
    let (source, destination) = pair().await;
    source.exec(PAY).await;
    let mut agent = Agent::between(&source, &destination).section(SECTION);
    agent.start_and_stream().await;
    source.exec("INSERT INTO pay VALUES (6, 600, 6)").await;
    source.exec(statement).await;
    source.exec("INSERT INTO pay (id, age) VALUES (7, 7)").await;
    let line = held(&mut agent, "E_SCHEMA").await;
    assert!(line.contains("public.pay") && line.contains("gross"), "{line}");
    let there = "SELECT string_agg(id || ':' || net, ' ' ORDER BY id) FROM pay";
    assert_eq!(destination.scalar(there).await, "1:80 2:160 3:240 4:320 5:400 6:480");
    source.exec(back).await;
    let resync = agent.verb(&["resync", "--table", "public.pay", "--yes"]).await;
    assert_eq!(resync.code, 0, "{}", resync.stderr);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_pair(&source, &destination, pay()).await;
}

#[tokio::test]
async fn a_column_that_an_expression_reads_and_that_is_dropped_holds() {
    loses("ALTER TABLE pay DROP COLUMN gross", "ALTER TABLE pay ADD COLUMN gross int").await;
}

#[tokio::test]
async fn a_column_that_an_expression_reads_and_that_is_renamed_holds() {
    loses(
        "ALTER TABLE pay RENAME COLUMN gross TO brutto",
        "ALTER TABLE pay RENAME COLUMN brutto TO gross",
    )
    .await;
}

#[tokio::test]
async fn an_expression_that_takes_its_time_does_not_cost_the_stream() {
    let settings = "wal_sender_timeout = '2s'\n".to_owned();
    let spec = Spec { settings, ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source
        .exec(
            "CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql STABLE AS $$
             BEGIN IF n = 100 THEN PERFORM pg_sleep(5); END IF; RETURN n * 8 / 10; END $$",
        )
        .await;
    source.exec(PAY).await;
    source.exec("DELETE FROM pay WHERE gross = 100").await;
    let section = SECTION.replace("gross * 8 / 10", "slow(gross)");
    let mut agent = Agent::between(&source, &destination).section(&section);
    agent.start_and_stream().await;
    source.exec("INSERT INTO pay VALUES (10, 100, 1)").await;
    agent.caught_up().await;
    assert_pair(&source, &destination, pay()).await;
    let reconnects = agent.metric("sync_agent_reconnects_total", &["side=\"source\""]).await;
    assert_eq!(reconnects, Some(0.0), "{}", agent.log());
}

#[tokio::test]
async fn a_null_that_the_destination_does_not_take_holds() {
    let (source, destination) = pair().await;
    source.exec(PAY).await;
    destination.exec("CREATE TABLE pay (id int PRIMARY KEY, net int NOT NULL, age int)").await;
    let mut agent = Agent::between(&source, &destination).section(SECTION);
    agent.start_and_stream().await;
    source.exec("INSERT INTO pay VALUES (6, NULL, 6), (7, 700, 7)").await;
    let line = held(&mut agent, "E_CONFLICT").await;
    assert!(line.contains("public.pay") && line.contains("net"), "{line}");
    assert_eq!(destination.scalar("SELECT count(*) FROM pay").await, "5");
    destination.exec("ALTER TABLE pay ALTER net DROP NOT NULL").await;
    agent.caught_up().await;
    assert_pair(&source, &destination, pay()).await;
}

#[tokio::test]
async fn a_filter_that_changes_asks_for_a_resync() {
    let (source, destination) = pair().await;
    source.exec(PAY).await;
    let filtered =
        |condition: &str| format!("[[table]]\nname = \"public.pay\"\nwhere = \"{condition}\"\n");
    let mut agent = Agent::between(&source, &destination).section(&filtered("id > 2"));
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    agent.clear_sections();
    let mut agent = agent.section(&filtered("id < 4"));
    let refused = agent.verb(&["run", "--until", "caught-up"]).await;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("where"), "{}", refused.stderr);
    let resync = agent.verb(&["resync", "--table", "public.pay", "--yes"]).await;
    assert_eq!(resync.code, 0, "{}", resync.stderr);
    agent.start_and_stream().await;
    source.exec("UPDATE pay SET age = age + 1; INSERT INTO pay VALUES (0, 0, 0), (9, 9, 9)").await;
    agent.caught_up().await;
    let pair = Pair::renamed("(SELECT * FROM pay WHERE id < 4) AS pay", "pay");
    assert_pair(&source, &destination, pair.columns("id, gross, age", "id, gross, age")).await;
}

/// Two unique values that go from row to row; an update leaves the large value as it is.
const HANDED: &str = "CREATE TABLE seats (id int PRIMARY KEY, seat int UNIQUE, about text, n int);
     ALTER TABLE seats ALTER about SET STORAGE EXTERNAL;
     INSERT INTO seats SELECT g, g, repeat(md5(g::text), 100), g FROM generate_series(1, 9) g";

/// What is read again at the source is the row as it is by then, or none: here none, for all of them.
#[tokio::test]
async fn a_row_that_is_gone_before_it_is_read_stands_in_nobodys_way() {
    let (source, destination) = pair().await;
    let tables = ["seats", "open_seats"];
    for table in tables {
        source.exec(&HANDED.replace("seats", table)).await;
    }
    let columns = "mixed = { sql = \"left(about, 3) || n\" }";
    let section = format!(
        "[[table]]\nname = 'public.seats'\n[table.columns]\n{columns}\n\
         [[table]]\nname = 'public.open_seats'\nwhere = \"about <> '' AND n > 0\"\n\
         [table.columns]\n{columns}\nabout = {{ drop = true }}\n"
    );
    let mut agent =
        Agent::between(&source, &destination).set("apply.max_batch_rows", "1").section(&section);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    for table in tables {
        let free = format!("UPDATE {table} SET seat = NULL, n = n + 1 WHERE id IN (1, 2, 3)");
        let take = format!("UPDATE {table} SET seat = id - 3 WHERE id IN (4, 5, 6)");
        let moved = format!("UPDATE {table} SET id = id + 10, n = n + 1 WHERE id IN (2, 12, 7)");
        let gone = format!("DELETE FROM {table} WHERE id IN (1, 3, 12, 17)");
        for sql in [free, take, moved, gone] {
            source.exec(&sql).await;
        }
    }
    agent.start_and_stream().await;
    agent.caught_up().await;
    let mixed = "left(about, 3) || n";
    let seats = Pair::table("seats")
        .columns(&format!("id, seat, about, n, {mixed}"), "id, seat, about, n, mixed");
    assert_pair(&source, &destination, seats).await;
    let open =
        Pair::table("open_seats").columns(&format!("id, seat, n, {mixed}"), "id, seat, n, mixed");
    assert_pair(&source, &destination, open).await;
    assert!(!agent.log().contains("E_CONFLICT"), "{}", agent.log());
}

/// A row that is read again and is not shown is not gone: who may not see it says so, and goes on when it may.
#[tokio::test]
async fn a_row_that_row_level_security_hides_is_not_taken_for_gone() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE ROLE follower LOGIN REPLICATION;
             GRANT CREATE ON DATABASE postgres TO follower; GRANT ALL ON SCHEMA public TO follower;
             CREATE TABLE t (id int PRIMARY KEY, f int, body text);
             ALTER TABLE t ALTER body SET STORAGE EXTERNAL, OWNER TO follower;
             INSERT INTO t SELECT g, g % 2, repeat('b', 3000) FROM generate_series(1, 4) g",
        )
        .await;
    let section = "[[table]]\nname = \"public.t\"\nwhere = \"f = 1\"";
    let mut agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_as("follower"))
        .section(section);
    agent.start_and_stream().await;
    source
        .exec(
            "ALTER TABLE t OWNER TO postgres; GRANT SELECT ON t TO follower;
             ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        )
        .await;
    source.exec("UPDATE t SET f = 1 WHERE id = 2").await;
    let line = held(&mut agent, "E_ACCESS").await;
    assert!(line.contains("42501"), "{line}");
    source.exec("ALTER ROLE follower BYPASSRLS").await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    let pair = Pair::renamed("(SELECT * FROM t WHERE f = 1) AS t", "t");
    assert_pair(&source, &destination, pair.columns("id, f, body", "id, f, body")).await;
}

/// The bytes of one type are never taken for another's of the same length.
#[tokio::test]
async fn a_function_that_is_made_anew_with_another_type_gives_the_same() {
    let (source, destination) = pair().await;
    let makes = |kind: &str| {
        format!(
            "DROP FUNCTION IF EXISTS made(int);
             CREATE FUNCTION made(int) RETURNS {kind} LANGUAGE sql IMMUTABLE AS 'SELECT ($1 + 1)::{kind}'"
        )
    };
    source.exec(&format!("{}; {PAY}", makes("bigint"))).await;
    let section =
        "[[table]]\nname = \"public.pay\"\n[table.columns]\nmore = { sql = \"made(age)\" }";
    let mut agent = Agent::between(&source, &destination).section(section);
    agent.start_and_stream().await;
    source.exec("INSERT INTO pay VALUES (6, 600, 6)").await;
    agent.caught_up().await;
    source.exec(&makes("double precision")).await;
    source.exec("INSERT INTO pay VALUES (7, 700, 7)").await;
    agent.caught_up().await;
    let more = || Pair::table("pay").columns("id, (age + 1)::bigint", "id, more");
    assert_pair(&source, &destination, more()).await;
    let resync = agent.verb(&["resync", "--table", "public.pay", "--yes"]).await;
    assert_eq!(resync.code, 0, "{}", resync.stderr);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_pair(&source, &destination, more()).await;
}

/// What is refused of many rows and of none by itself says no value either.
#[tokio::test]
async fn a_refusal_that_no_row_repeats_says_no_value() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, v text);
             CREATE FUNCTION alone(text) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN
               IF pg_catalog.current_query() LIKE '%(1, $%' THEN RAISE EXCEPTION 'not %', $1; END IF;
               RETURN $1; END $$",
        )
        .await;
    let section = "[[table]]\nname = \"public.t\"\n[table.columns]\nv = { sql = \"alone(v)\" }";
    let mut agent = Agent::between(&source, &destination).section(section);
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (1, 'CANARY-1'), (2, 'CANARY-2')").await;
    let line = held(&mut agent, "E_DATA").await;
    assert!(line.contains("P0001"), "{line}");
    assert!(!agent.log().contains("CANARY"), "{}", agent.log());
}
