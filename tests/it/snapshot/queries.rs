//! `[[query]]`: results of queries, copied beside tables under the same snapshot.

use serde_json::Value;

use crate::support::agent::{Agent, Output};
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::wait;

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, user_id int, total numeric(10,2), \
       at timestamptz(3) DEFAULT '2026-01-01 12:00:00.1234+02'); \
     INSERT INTO orders SELECT g, g % 100, g / 7.0 FROM generate_series(1, 5000) g; \
     CREATE TABLE users (id int PRIMARY KEY, name varchar(20)); \
     INSERT INTO users SELECT g, 'user ' || g FROM generate_series(0, 99) g";

const TOTALS: &str =
    "SELECT user_id, count(*) AS orders, sum(total) AS total FROM orders GROUP BY 1";

fn query(name: &str, sql: &str, destination: &str, key: &str) -> String {
    let key = if key.is_empty() { String::new() } else { format!("key = [{key}]\n") };
    format!("[[query]]\nname = {name:?}\nsql = '''{sql}'''\ndestination = {destination:?}\n{key}")
}

async fn ended(agent: &Agent, code: i32, arguments: &[&str]) -> Output {
    let output = agent.verb(arguments).await;
    assert_eq!(output.code, code, "{arguments:?}: {}", output.stderr);
    output
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The destination's table is the query's result, as the servers see both.
async fn assert_result(source: &Cluster, destination: &Cluster, sql: &str, table: &str) {
    let pair = Pair::renamed(&format!("({sql}) AS q"), &format!("{table} AS q"));
    assert_pair(source, destination, pair.columns("q.*", "q.*")).await;
}

async fn columns(database: &Cluster, table: &str) -> String {
    let sql = format!(
        "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) \
         FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0"
    );
    database.scalar(&sql).await
}

#[tokio::test]
async fn results_of_every_kind_arrive_beside_the_tables() {
    let (source, destination) = pair().await;
    let mood = "CREATE TYPE public.mood AS ENUM ('sad', 'ok')";
    source.exec(&format!("{ORDERS}; {mood}")).await;
    // So that its type has another number.
    destination.exec(&format!("CREATE TYPE other AS ENUM ('x'); {mood}")).await;
    // Names without a schema are the role's business, and `app.orders` is the one it means.
    source
        .exec(
            "CREATE SCHEMA app; CREATE VIEW app.orders AS SELECT * FROM public.orders WHERE id <= 900; \
             ALTER ROLE postgres SET search_path = app, public",
        )
        .await;
    let typed = "SELECT id, total * 1.5 AS price, total::numeric(12,3) AS exact, at, \
         ARRAY[id, NULL] AS ids, CASE WHEN id % 2 = 0 THEN 'ok'::mood END AS m, NULL AS nothing, \
         convert_to(repeat('\\x', id % 5), 'UTF8') AS raw, jsonb_build_object('a', id) AS j, \
         E'tab\\t\\\\N \\n'::varchar(9) AS v, 'infinity'::date AS d \
         FROM public.orders ORDER BY id DESC";
    let cases = [
        ("order_totals", TOTALS, "reports.order_totals", "\"user_id\""),
        ("typed", typed, "reports.\"Typed table\"", "\"id\""),
        (
            "joined",
            "WITH o AS (SELECT * FROM orders) SELECT u.name, o.total FROM users u \
          LEFT JOIN o ON o.user_id = u.id -- with a comment",
            "public.joined",
            "",
        ),
        ("values", "VALUES (1, 'a'), (2, NULL)", "reports.\"values\"", "\"column1\""),
        ("none", "TABLE users LIMIT 0", "reports.none", ""),
        (
            "large",
            "SELECT g AS n, repeat(md5(g::text), 40) AS v FROM generate_series(1, 30000) g",
            "reports.large",
            "\"n\"",
        ),
    ];
    let mut agent = Agent::between(&source, &destination);
    for (name, sql, table, key) in cases {
        agent = agent.section(&query(name, &format!("{sql}\n;\n"), table, key));
    }
    let checked = json(&ended(&agent, 0, &["check", "--output", "json"]).await);
    assert!(checked.to_string().contains("snapshot creates it for query"), "{checked}");
    assert_eq!(
        destination.scalar("SELECT count(*) FROM pg_namespace WHERE nspname = 'reports'").await,
        "0"
    );
    let report = json(&ended(&agent, 0, &["snapshot", "--output", "json"]).await);
    assert_same(&source, &destination, &["public.orders", "users"]).await;
    for (_, sql, table, _) in cases {
        let sql = format!("{sql}\n");
        assert_result(&source, &destination, &sql, table).await;
    }
    assert_eq!(destination.count("reports.order_totals").await, 100, "the view's rows alone");
    assert_eq!(destination.scalar("SELECT sum(orders) FROM reports.order_totals").await, "900");
    assert_eq!(
        columns(&destination, "reports.\"Typed table\"").await,
        "id integer, price numeric, exact numeric(12,3), at timestamp(3) with time zone, ids integer[], \
         m mood, nothing text, raw bytea, j jsonb, v character varying(9), d date"
    );
    let keys = "SELECT string_agg(conrelid::regclass || ' ' || pg_get_constraintdef(oid), '; ' \
         ORDER BY conrelid::regclass::text) FROM pg_constraint WHERE contype = 'p' \
         AND connamespace = 'reports'::regnamespace";
    assert_eq!(
        destination.scalar(keys).await,
        "reports.\"Typed table\" PRIMARY KEY (id); reports.\"values\" PRIMARY KEY (column1); \
         reports.large PRIMARY KEY (n); reports.order_totals PRIMARY KEY (user_id)"
    );
    let queries = report["queries"].as_array().expect("a list");
    let large = queries.iter().find(|query| query["name"] == "large").expect("it is there");
    assert_eq!((&large["rows"], &large["copied"]), (&30000.into(), &"now".into()));
    assert!(large["bytes"].as_u64() > Some(30000 * 1280), "{large}");
    let lsns: Vec<&Value> = queries
        .iter()
        .chain(report["tables"].as_array().expect("a list"))
        .map(|entry| &entry["lsn"])
        .collect();
    assert!(lsns.iter().all(|lsn| *lsn == lsns[0]), "one snapshot: {report}");
    assert_eq!((&report["totals"]["tables"], &report["totals"]["queries"]), (&2.into(), &6.into()));
    let again = ended(&agent, 0, &["snapshot"]).await;
    assert!(again.stdout.contains("All 2 tables and 6 queries were copied already"), "{again:?}");
    assert!(again.stdout.contains("query order_totals"), "{again:?}");
    agent.change("destination.on_existing", "\"truncate\"");
    agent.start_and_stream().await;
    assert!(agent.log().contains("sections are left aside"), "{}", agent.log());
}

/// Before anything is written, and all of it at once.
#[tokio::test]
async fn what_cannot_be_copied_is_found_before_anything_is_written() {
    let (source, destination) = pair().await;
    source.exec(&format!("{ORDERS}; CREATE TYPE mood AS ENUM ('ok')")).await;
    source
        .exec(
            "CREATE TABLE secret (id int); CREATE ROLE reader LOGIN; GRANT SELECT ON orders, users \
             TO reader; CREATE TABLE guarded (id int); GRANT SELECT ON guarded TO reader; \
             ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        )
        .await;
    destination
        .exec("CREATE TABLE narrow (n int, extra text NOT NULL); CREATE TABLE t (id int)")
        .await;
    let agent = Agent::between(&source, &destination)
        .text("source.url", &source.url_as("reader"))
        .set("include", "[\"public.orders\", \"public.users\"]");
    let mistakes = [
        ("SELEC 1", "syntax error at or near \"SELEC\" (SQLSTATE 42601) at line 1, column 1"),
        ("SELECT 1 AS a,\n  ordrs.x FROM orders", "missing FROM-clause entry for table \"ordrs\""),
        ("SELECT * FROM gone", "\"gone\" does not exist (SQLSTATE 42P01) at line 1, column 15"),
        ("SELECT 1 AS a; SELECT 2 AS b", "it has more than one statement"),
        ("SELECT 1 AS a) TO STDOUT; DROP TABLE orders; --", "syntax error"),
        (
            "INSERT INTO orders (id) VALUES (-1) RETURNING id",
            "it must be one query that only reads",
        ),
        (
            "WITH gone AS (DELETE FROM orders RETURNING id) SELECT id FROM gone",
            "it must be one query",
        ),
        ("DROP TABLE orders", "it must be one query that only reads"),
        ("SELECT 1 AS a INTO made", "it must be one query that only reads"),
        ("SELECT id FROM orders FOR UPDATE", "it must be one query that only reads"),
        ("SELECT id FROM orders WHERE id = $1", "it has parameters ($1)"),
        (
            "SELECT count(*), 1, id AS count FROM orders GROUP BY id",
            "column 2 of its result has no name",
        ),
        ("SELECT 1 AS a, 2 AS a", "two columns of its result are called \"a\""),
        ("SELECT ROW(1, 2) AS pair", "column \"pair\" has the pseudo-type record"),
        ("SELECT id AS ctid FROM orders", "no table's column can be called \"ctid\""),
        ("SELECT", "its result has no columns"),
    ];
    let findings = [
        ("SELECT * FROM secret", "denied", "permission denied for table secret"),
        ("SELECT * FROM guarded", "rls", "row-level security"),
        (
            "SELECT 'ok'::mood AS m",
            "typed",
            "it does not exist, and column \"m\" of query \"typed\"",
        ),
        ("SELECT 1::bigint AS n, 'x' AS missing", "narrow", "has no column \"missing\""),
    ];
    let mut broken = agent;
    for (number, (sql, _)) in mistakes.iter().enumerate() {
        broken = broken.section(&query(&format!("q{number}"), sql, &format!("r.q{number}"), ""));
    }
    for (sql, name, _) in &findings {
        broken = broken.section(&query(name, sql, &format!("public.{name}"), ""));
    }
    broken = broken
        .section(&query("unkeyed", "SELECT 1 AS a", "r.unkeyed", "\"b\""))
        .section(&query("unordered", "SELECT '{}'::json AS j", "r.unordered", "\"j\""))
        .section(&query("taken", "SELECT 1 AS a", "public.users", ""));
    let checked = json(&ended(&broken, 3, &["check", "--output", "json"]).await);
    let said = checked["mistakes"].to_string().replace("\\\"", "\"");
    let snapshot = ended(&broken, 3, &["snapshot"]).await.stderr.replace("\\\"", "\"");
    for text in [&said, &snapshot] {
        for (number, (_, expected)) in mistakes.iter().enumerate() {
            let place = format!(": query[{number}].sql: query \"q{number}\": ");
            let at = text.find(&place).unwrap_or_else(|| panic!("{place} is missing in\n{text}"));
            let end = (at + 400).min(text.len());
            assert!(text[at..end].contains(expected), "{expected}: {}", &text[at..end]);
        }
        assert!(text.contains("has no column \"b\", which the key names"), "{text}");
        assert!(text.contains("could not identify an ordering operator for type json"), "{text}");
        assert!(text.contains("has the destination \"public\".\"users\" already"), "{text}");
    }
    let found = checked["findings"].to_string().replace("\\\"", "\"");
    for (_, _, expected) in &findings {
        assert!(found.contains(expected), "{expected} is missing in\n{found}");
    }
    assert!(found.contains("GRANT SELECT ON secret TO \"reader\""), "{found}");
    assert!(found.contains("ALTER ROLE \"reader\" BYPASSRLS"), "{found}");
    assert_eq!(broken.traces().await, Vec::<String>::new(), "nothing was made");
    assert_eq!(source.count("orders").await, 5000);
    let made = "SELECT count(*) FROM pg_class WHERE relname IN ('made', 'orders')";
    assert_eq!(
        (source.scalar(made).await, destination.scalar(made).await),
        ("1".into(), "0".into())
    );
    let refused = Agent::between(&source, &destination)
        .set("destination.create_tables", "false")
        .set("include", "[]")
        .section(&query("n", "SELECT 1 AS n", "public.n", ""));
    let refused = ended(&refused, 4, &["snapshot"]).await;
    assert!(
        refused.stderr.contains("CREATE TABLE \\\"public\\\".\\\"n\\\" (\\\"n\\\" integer)"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn rows_in_the_way_are_refused_replaced_or_merged_with() {
    let (source, destination) = pair().await;
    source.exec(ORDERS).await;
    destination
        .exec(
            "CREATE TABLE totals (user_id int PRIMARY KEY, orders numeric, total numeric, note text DEFAULT \
             'own'); INSERT INTO totals VALUES (1, -1, -1, 'mine'), (-5, 0, 0, 'other')",
        )
        .await;
    let with = |on_existing: &str, sql: &str, key: &str| {
        Agent::between(&source, &destination)
            .set("include", "[]")
            .text("destination.on_existing", on_existing)
            .section(&query("totals", sql, "public.totals", key))
    };
    let key = "\"user_id\"";
    let refused = ended(&with("refuse", TOTALS, key), 4, &["snapshot"]).await;
    assert!(
        refused.stderr.contains("it holds rows that this pipeline did not copy"),
        "{refused:?}"
    );
    assert_eq!(destination.count("totals").await, 2, "nothing was touched");
    ended(&with("merge", TOTALS, ""), 3, &["snapshot"]).await;
    let unindexed = with("merge", "SELECT user_id, 1 AS orders FROM orders LIMIT 1", "\"orders\"");
    let unindexed = ended(&unindexed, 4, &["snapshot"]).await;
    assert!(unindexed.stderr.contains("CREATE UNIQUE INDEX ON"), "{unindexed:?}");

    // Merged: rows of others stay, and so do columns that the result has not.
    ended(&with("merge", TOTALS, key), 0, &["snapshot"]).await;
    let result = format!("{TOTALS} UNION ALL SELECT -5, 0, 0");
    let pair = |sql: &str| {
        Pair::renamed(&format!("({sql}) AS q"), "totals")
            .columns("user_id, orders::numeric, total", "user_id, orders, total")
    };
    assert_pair(&source, &destination, pair(&result)).await;
    assert_eq!(destination.scalar("SELECT note FROM totals WHERE user_id = 1").await, "mine");
    source.exec("DELETE FROM orders WHERE user_id = 7").await;
    ended(&with("merge", TOTALS, key), 0, &["snapshot", "--restart", "--yes"]).await;
    assert_eq!(destination.count("totals").await, 101, "what is not in the result stays");
    // What it was merged with is still not its own.
    let refused = ended(&with("refuse", TOTALS, key), 0, &["snapshot"]).await;
    assert!(refused.stdout.contains("copied already"), "{refused:?}");
    ended(&with("refuse", TOTALS, key), 4, &["snapshot", "--restart", "--yes"]).await;
    ended(&with("truncate", TOTALS, key), 0, &["snapshot", "--restart", "--yes"]).await;
    assert_pair(&source, &destination, pair(TOTALS)).await;

    // Its own are replaced, when it is told to and when the query is another one.
    source.exec("DELETE FROM orders WHERE user_id = 8").await;
    ended(&with("refuse", TOTALS, key), 0, &["snapshot"]).await;
    assert_eq!(destination.count("totals").await, 99, "it was finished");
    let again = ended(&with("refuse", TOTALS, key), 0, &["snapshot", "--restart", "--yes"]).await;
    assert!(again.stdout.contains("Copied 1 query: 98 rows"), "{again:?}");
    assert_pair(&source, &destination, pair(TOTALS)).await;
    let narrowed = format!("SELECT * FROM ({TOTALS}) t WHERE user_id < 50");
    ended(&with("refuse", &narrowed, key), 0, &["snapshot"]).await;
    assert_pair(&source, &destination, pair(&narrowed)).await;
    destination.exec("DROP TABLE totals").await;
    let anew = ended(&with("refuse", &narrowed, key), 0, &["snapshot"]).await;
    assert!(anew.stderr.contains("the destination's table is gone"), "{anew:?}");
    assert_pair(&source, &destination, pair(&narrowed)).await;
}

/// Whatever is wrong with rows: E_DATA that names the query and no value, and the table as it was.
#[tokio::test]
async fn a_result_that_fails_changes_nothing() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE s (id int, k int, v text); INSERT INTO s SELECT g, g, 'canary' FROM \
             generate_series(1, 3000) g; UPDATE s SET k = 1 WHERE id = 2; CREATE FUNCTION raising(int, text) \
             RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF $1 = 2999 THEN RAISE 'a canary died' USING \
             ERRCODE = $2, DETAIL = 'canary', HINT = 'canary'; END IF; RETURN $1; END $$; CREATE TABLE written (id int); CREATE FUNCTION writing() RETURNS int \
             LANGUAGE sql AS 'INSERT INTO written VALUES (1) RETURNING id'",
        )
        .await;
    let nulls = "SELECT nullif(id, 3) AS k, v FROM s";
    let twice = "SELECT k, v FROM s";
    let cases = [
        ("SELECT id AS k, 1 / (id - 3000) AS v FROM s", "E_DATA", "division by zero"),
        ("SELECT 1 / 0 AS k, 1 AS v", "E_DATA", "division by zero"),
        (
            "SELECT id AS k, (v || id)::int AS v FROM s WHERE id > 2990",
            "E_DATA",
            "no value of the type",
        ),
        ("SELECT id AS k, (v || id)::regclass::text AS v FROM s", "E_SCHEMA", "SQLSTATE 42P01"),
        ("SELECT id AS k, raising(id, 'P0001') AS v FROM s", "E_DATA", "SQLSTATE P0001"),
        ("SELECT id AS k, raising(id, 'ABCDE') AS v FROM s", "E_DATA", "SQLSTATE ABCDE"),
        ("SELECT 1 AS k, (SELECT id FROM s) AS v", "E_DATA", "SQLSTATE 21000"),
        ("SELECT writing() AS k, 1 AS v", "E_CONFIG", "written where nothing may be"),
        (nulls, "E_DATA", "rows of its result have no value in the key"),
        (twice, "E_DATA", "rows of its result share a key"),
    ];
    let with = |table: &str, sql: &str, on_existing: &str| {
        Agent::between(&source, &destination)
            .set("include", "[]")
            .text("destination.on_existing", on_existing)
            .section(&query("failing", sql, table, "\"k\""))
    };
    for (sql, code, expected) in cases {
        let output = with("r.made", sql, "refuse").verb(&["snapshot"]).await;
        assert_eq!(output.code, if code == "E_CONFIG" { 3 } else { 6 }, "{sql}: {output:?}");
        for part in [code, "query \\\"failing\\\"", expected] {
            assert!(output.stderr.contains(part), "{part} is missing in {output:?}");
        }
        assert!(!output.stderr.contains("canary"), "{output:?}");
        assert_eq!(destination.scalar("SELECT to_regclass('r.made') IS NULL").await, "t", "{sql}");
    }
    assert_eq!(source.count("written").await, 0);
    let checked = ended(&with("r.made", cases[1].0, "refuse"), 4, &["check"]).await;
    assert!(checked.stdout.contains("division by zero"), "{checked:?}");
    // Tables that are there, with a unique index, with one that takes NULL, and without any.
    destination
        .exec(
            "CREATE TABLE keyed (k int PRIMARY KEY, v text); CREATE TABLE loose (k int UNIQUE, v text); \
             CREATE TABLE bare (k int, v text)",
        )
        .await;
    let plain = "SELECT id AS k, v FROM s WHERE id < 10";
    for (table, on_existing) in [
        ("keyed", "refuse"),
        ("loose", "refuse"),
        ("bare", "refuse"),
        ("keyed", "merge"),
        ("loose", "merge"),
    ] {
        let name = format!("public.{table}");
        destination.exec(&format!("TRUNCATE {table}")).await;
        destination.exec("DROP SCHEMA IF EXISTS sync_agent CASCADE").await;
        ended(&with(&name, plain, on_existing), 0, &["snapshot"]).await;
        for (sql, expected) in [(nulls, "have no value in the key"), (twice, "share a key")] {
            let output = ended(&with(&name, sql, on_existing), 6, &["snapshot"]).await;
            assert!(output.stderr.contains(expected), "{table}, {on_existing}: {output:?}");
            assert!(!output.stderr.contains("canary"), "{output:?}");
            assert_result(&source, &destination, plain, table).await;
        }
    }
}

/// The first query waits for its table while the source goes on: a reader sees the old rows, one snapshot
/// holds for all, and a table that was emptied meanwhile does not count as empty.
#[tokio::test]
async fn a_cut_off_backfill_keeps_finished_queries_and_none_reads_a_rewritten_table() {
    let (source, destination) = pair().await;
    source.exec(ORDERS).await;
    let totals = "SELECT user_id, count(*) AS orders FROM orders GROUP BY 1";
    let mut agent = Agent::between(&source, &destination)
        .set("include", "[]")
        .set("snapshot.workers", "1")
        .section(&query("held", "SELECT count(*) AS n FROM users", "r.held", ""))
        .section(&query("totals", totals, "r.totals", "\"user_id\""));
    ended(&agent, 0, &["snapshot"]).await;
    let lock = destination.session().await.expect("a session");
    lock.batch_execute("BEGIN; LOCK TABLE r.held IN SHARE MODE").await.expect("it locks");
    source.exec("INSERT INTO users VALUES (100, 'new')").await;
    agent.start_verb("snapshot", &["--restart", "--yes"]);
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'r.held'::regclass";
    wait::until("the first query waits for its table", wait::CATCH_UP, async || {
        destination.scalar(waits).await == "1"
    })
    .await;
    source
        .exec(
            "INSERT INTO users VALUES (101, 'after the snapshot'); TRUNCATE orders; \
             INSERT INTO orders SELECT g, g % 3 FROM generate_series(1, 10) g",
        )
        .await;
    assert_eq!(destination.scalar("SELECT n FROM r.held").await, "100", "the old row");
    lock.batch_execute("COMMIT").await.expect("the session lives");
    assert_eq!(agent.wait_for_exit().await, Some(0), "{}", agent.log());
    assert!(agent.log().contains("was rewritten while"), "{}", agent.log());
    assert_eq!(destination.scalar("SELECT n FROM r.held").await, "101", "as of the snapshot");
    assert_result(&source, &destination, totals, "r.totals").await;

    // Killed after the first, with the second one's rows sent: the first one stays finished.
    let point = "SELECT copied_lsn FROM sync_agent.tables WHERE source_table = 'held'";
    agent.arm("chunk-loaded:2=kill");
    let killed = agent.verb(&["snapshot", "--restart", "--yes"]).await;
    assert_ne!(killed.code, 0, "{killed:?}");
    let before = destination.scalar(point).await;
    agent.arm("");
    source.exec("DELETE FROM orders WHERE id > 5; DELETE FROM users").await;
    let report = json(&ended(&agent, 0, &["snapshot", "--output", "json"]).await);
    assert_eq!(destination.scalar(point).await, before);
    let [held, rest] = [&report["queries"][0], &report["queries"][1]];
    assert_eq!((&held["name"], &held["copied"]), (&"held".into(), &"earlier".into()));
    assert_eq!((&rest["name"], &rest["copied"]), (&"totals".into(), &"now".into()));
    assert_eq!(report["totals"]["rows"], 3, "{report}");
    assert_result(&source, &destination, totals, "r.totals").await;
}

/// Its source's server would go on with it, whatever became of us.
#[tokio::test]
async fn a_query_that_computes_ends_with_the_backfill() {
    let (source, destination) = pair().await;
    let mut agent = Agent::between(&source, &destination).set("include", "[]").section(&query(
        "long",
        "SELECT 1 AS a FROM pg_sleep(600)",
        "r.long",
        "",
    ));
    let computing = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
         AND query LIKE 'COPY%pg_sleep%'";
    agent.start_verb("snapshot", &[]);
    wait::until("the query computes", wait::CATCH_UP, async || {
        source.scalar(computing).await == "1"
    })
    .await;
    assert_eq!(agent.terminate().await, Some(143), "{}", agent.log());
    wait::until("it ends", wait::PROCESS, async || source.scalar(computing).await == "0").await;
    assert_eq!(destination.scalar("SELECT to_regclass('r.long') IS NULL").await, "t");
}
