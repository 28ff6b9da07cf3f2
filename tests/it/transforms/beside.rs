//! Filters, expressions and masks on tables that are copied beside the stream: those that appear, and those
//! that are copied again, with changes of every kind while their copy stands still.

use tokio_postgres::Client;

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};
use crate::support::wait;

const TABLES: [&str; 3] = ["late", "masks", "keyed"];

fn create(table: &str) -> String {
    format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, region text, n int, mail text, body text); \
         ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL; \
         INSERT INTO {table} SELECT g, CASE g % 3 WHEN 0 THEN 'us' WHEN 1 THEN 'eu' END, g % 10, \
             'user' || g || '@x.org', repeat(md5(g::text), 90) FROM generate_series(1, 300) g; "
    )
}

/// As the agent would create them; their copies wait for a lock of ours.
const THERE: &str = "
    CREATE TABLE late (id int PRIMARY KEY, region text, n int, mail text, body text, size int, mixed text);
    CREATE TABLE masks (id int PRIMARY KEY, region text, n int, mail text, body text, who text, mixed text);
    CREATE TABLE keyed (id text PRIMARY KEY, region text, n int, mail text, body text, size int, mixed text)";

const OPEN: &str = "region = 'eu' OR n > 7";

fn sections() -> String {
    let section = |table: &str| {
        let more = match table {
            "late" => "size = { sql = \"length(body)\" }",
            // Computed apart from the copy's SELECT.
            "masks" => "who = { sql = \"left(mail, 3) || n\" }",
            _ => "size = { sql = \"length(body)\" }\nid = { hash = \"sha256\" }",
        };
        format!(
            "[[table]]\nname = \"public.{table}\"\nwhere = \"{OPEN}\"\n[table.columns]\n\
             mail = {{ mask = \"email\" }}\nmixed = {{ sql = \"n || left(body, 3)\" }}\n{more}\n"
        )
    };
    TABLES.map(section).concat()
}

fn expected(table: &str) -> Pair {
    let mail = "left(mail, 1) || repeat('*', position('@' in mail) - 2) || '@x.org'";
    let (id, more) = match table {
        "masks" => ("id", format!("left({mail}, 3) || n")),
        "late" => ("id", "length(body)".to_owned()),
        _ => ("encode(sha256(id::text::bytea), 'hex')", "length(body)".to_owned()),
    };
    let there = if table == "masks" { "who" } else { "size" };
    Pair::renamed(&format!("(SELECT * FROM {table} WHERE {OPEN}) AS s"), table).columns(
        &format!("{id}, region, n, {mail}, body, n || left(body, 3), {more}"),
        &format!("id, region, n, mail, body, mixed, {there}"),
    )
}

async fn change(source: &Cluster, round: i32) {
    for table in TABLES {
        source
            .exec(&format!(
                "UPDATE {table} SET region = 'eu' WHERE id % 10 = {round};
                 UPDATE {table} SET region = 'us', n = 0 WHERE id % 10 = 2 + {round};
                 UPDATE {table} SET n = 9 - n WHERE id % 10 = 4 + {round};
                 UPDATE {table} SET mail = 'other' || id || '@x.org' WHERE id % 9 = 5;
                 UPDATE {table} SET id = id + 1000 * {round} WHERE id % 12 = 6;
                 UPDATE {table} SET id = id + 5000 * {round}, region = 'eu' WHERE id % 15 = 8;
                 UPDATE {table} SET body = repeat('new', 900) WHERE id % 11 = {round};
                 DELETE FROM {table} WHERE id % 7 = {round};
                 INSERT INTO {table} SELECT g, 'eu', g % 10, 'new@x.org', repeat('x', 3000)
                     FROM generate_series({round} * 100000, {round} * 100000 + 20) g;
                 BEGIN; UPDATE {table} SET region = 'us', n = 0 WHERE id = 16; UPDATE {table} SET n = 9 WHERE id = 16;
                 DELETE FROM {table} WHERE id = 17; INSERT INTO {table} VALUES (17, 'eu', 1, 'again@x.org', 'b'); COMMIT"
            ))
            .await;
    }
}

/// Nobody loads the tables while it lives; what is there can be read.
async fn lock(destination: &Cluster) -> Client {
    let session = destination.session().await.expect("the destination answers");
    let sql = format!("BEGIN; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", TABLES.join(", "));
    session.batch_execute(&sql).await.expect("the tables are there");
    session
}

/// The copies wait, others do not, and everything happens to the tables meanwhile.
async fn while_they_are_copied(
    agent: &mut Agent,
    (source, destination): (&Cluster, &Cluster),
    locked: Client,
    round: i32,
) {
    let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
         WHERE NOT l.granted AND c.relname IN ('late', 'masks', 'keyed')";
    agent.wait_for("their copies wait", async |_| destination.scalar(waiting).await == "3").await;
    change(source, round).await;
    source.exec(&format!("INSERT INTO t VALUES ({round}, 'beside')")).await;
    wait::until("another table's change", wait::CATCH_UP, async || {
        destination.scalar(&format!("SELECT count(*) FROM t WHERE id = {round}")).await == "1"
    })
    .await;
    locked.batch_execute("COMMIT").await.expect("the session lives");
    agent
        .wait_for("they are part of the stream", async |_| {
            let sql = "SELECT count(*) FROM sync_agent.tables WHERE state = 'copied' AND NOT beside \
                 AND source_table IN ('late', 'masks', 'keyed')";
            destination.scalar(sql).await == "3"
        })
        .await;
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    for table in TABLES {
        assert_pair(source, destination, expected(table)).await;
    }
}

#[tokio::test]
async fn tables_with_filters_and_expressions_come_and_are_copied_again_beside_the_stream() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    destination.exec(THERE).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    let locked = lock(&destination).await;
    source.exec(&TABLES.map(create).concat()).await;
    let mut agent = agent.section(&sections());
    agent.start();
    while_they_are_copied(&mut agent, (&source, &destination), locked, 1).await;
    // Somebody has spoilt them.
    destination
        .exec(
            "DELETE FROM late WHERE n > 4; UPDATE masks SET who = 'spoilt', mail = 'spoilt'; \
             INSERT INTO keyed (id) VALUES ('nobody''s'); UPDATE late SET mixed = 'spoilt'",
        )
        .await;
    let locked = lock(&destination).await;
    let all = TABLES.map(|table| format!("public.{table}"));
    let arguments: Vec<&str> = all.iter().flat_map(|table| ["--table", table.as_str()]).collect();
    let output = agent.verb(&[&["resync", "--yes"], &arguments[..]].concat()).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    while_they_are_copied(&mut agent, (&source, &destination), locked, 2).await;
    change(&source, 3).await;
    agent.caught_up().await;
    for table in TABLES {
        assert_pair(&source, &destination, expected(table)).await;
    }
    let conflicts = agent.metric("sync_agent_conflicts_total", &["kind=\"insert_exists\""]).await;
    assert_eq!(conflicts.unwrap_or(0.0), 0.0);
    assert_eq!(agent.terminate().await, Some(0));
}
