//! `snapshot`: the one-off backfill, without a slot.

/// Killed, stopped, cut off, and called again.
mod again;
/// Results of queries beside them.
mod queries;
/// Tables of every shape.
mod shapes;

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

#[tokio::test]
async fn a_backfill_copies_everything_and_leaves_no_slot() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE small (id int PRIMARY KEY, v text); INSERT INTO small VALUES (1, 'a'); \
             CREATE TABLE empty (id int PRIMARY KEY); \
             CREATE TABLE nokey (a int, b text); \
             INSERT INTO nokey SELECT g % 7, 'same' FROM generate_series(1, 1000) g; \
             CREATE TABLE dropped (a int, b text, c int); \
             INSERT INTO dropped SELECT g, 'x', g FROM generate_series(1, 10) g; \
             ALTER TABLE dropped DROP COLUMN b",
        )
        .await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["small", "empty", "nokey", "dropped"]).await;
    let left: Vec<String> =
        agent.traces().await.into_iter().filter(|trace| !trace.starts_with("schema")).collect();
    assert_eq!(left, Vec::<String>::new());
}

/// A third of the rows is dead and the visible ones have moved between pages.
#[tokio::test]
async fn a_table_in_many_chunks_is_copied_once() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE big (id int PRIMARY KEY, v text); \
             INSERT INTO big SELECT g, repeat(md5(g::text), 3) FROM generate_series(1, 120000) g; \
             UPDATE big SET v = upper(v) WHERE id % 3 = 0; DELETE FROM big WHERE id % 5 = 0",
        )
        .await;
    let agent = Agent::between(&source, &destination)
        .text("snapshot.chunk", "1MiB")
        .set("snapshot.workers", "4");
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["big"]).await;
}

#[tokio::test]
async fn hundreds_of_tables_are_copied() {
    let (source, destination) = pair().await;
    source
        .exec(
            "DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format(\
               'CREATE TABLE t_%s (id int PRIMARY KEY, v text); \
                INSERT INTO t_%s SELECT g, md5(g::text) FROM generate_series(1, %s) g', i, i, i); \
             END LOOP; END $$",
        )
        .await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["t_1", "t_57", "t_200"]).await;
    let rows = "SELECT sum((xpath('/row/c/text()', query_to_xml(\
         format('SELECT count(*) AS c FROM %I', relname), false, true, '')))[1]::text::int) \
         FROM pg_class WHERE relname LIKE 't\\_%' AND relkind = 'r'";
    assert_eq!(destination.scalar(rows).await, "20100");
}

#[tokio::test]
async fn keys_and_unique_constraints_are_there_after_the_copy() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE k (id bigint PRIMARY KEY, code text NOT NULL UNIQUE, \
               v int DEFAULT 7, at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO k SELECT g, 'c' || g FROM generate_series(1, 100) g",
        )
        .await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["k"]).await;
    for sql in [
        "SELECT string_agg(pg_get_constraintdef(oid), '; ' ORDER BY contype) FROM pg_constraint \
         WHERE conrelid = 'k'::regclass AND contype IN ('p', 'u')",
        "SELECT string_agg(column_name || ' ' || is_nullable || ' ' || coalesce(column_default, ''), ';' \
         ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'k'",
    ] {
        assert_eq!(destination.scalar(sql).await, source.scalar(sql).await);
    }
}

#[tokio::test]
async fn a_destination_that_holds_rows_is_refused_or_truncated_as_told() {
    let (source, destination) = pair().await;
    let create = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    source.exec(create).await;
    source.exec("INSERT INTO t SELECT g, 'new' FROM generate_series(1, 10) g").await;
    destination.exec(create).await;
    destination.exec("INSERT INTO t VALUES (1, 'stale'), (999, 'extra')").await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("E_PREFLIGHT"), "{}", output.stderr);
    assert_eq!(destination.count("t").await, 2, "nothing was touched");
    let agent = agent.text("destination.on_existing", "truncate");
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_same(&source, &destination, &["t"]).await;
}

/// Rows by snapshot and rows by stream have the same text, for every built-in type.
#[tokio::test]
async fn every_type_keeps_its_text_in_the_copy_and_in_the_tail() {
    let (source, destination) = pair().await;
    source.exec(&format!("{TYPES}; {TYPES_TABLE}")).await;
    // Types of the user's own have to be there; the table comes by itself.
    destination.exec(TYPES).await;
    source.exec(&format!("{TYPES_ROWS} {}", rows_from(0))).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_same(&source, &destination, &["ty"]).await;
    source.exec(&format!("{TYPES_ROWS} {}", rows_from(100))).await;
    source.exec("UPDATE ty SET n = n WHERE id = 1").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["ty"]).await;
    assert_eq!(destination.count("ty").await, 6);
}

const TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"'); \
     CREATE TYPE pt AS (a float8, b text, c int[]); CREATE DOMAIN pos AS int CHECK (VALUE > 0)";
const TYPES_TABLE: &str = "CREATE TABLE ty (id int PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, \
       t text, vc varchar(20), c char(10), ba bytea, d date, ti time, tz timetz, ts timestamp, \
       tstz timestamptz, iv interval, u uuid, j json, jb jsonb, x xml, ip inet, cd cidr, mac macaddr, \
       bt bit(3), vb varbit, ia int[], ta text[], r int4range, mr int4multirange, p point, tsv tsvector, \
       lsn pg_lsn, o oid, rc regclass, m mood, ms mood[], comp pt, comps pt[], q pos, ch \"char\", na name)";
const TYPES_ROWS: &str = "INSERT INTO ty";

fn rows_from(first: u32) -> String {
    let (a, b, c) = (first + 1, first + 2, first + 3);
    format!(
        r#"VALUES
        ({a}, true, -32768, 9007199254740993, 'NaN', '-0', 1.100, E'tab\t \\N "q" ü', 'v', 'pad',
         '\x00ff5c', 'infinity', '24:00:00', '12:00:00.5+05:30', '-infinity', '0044-03-15 12:00:00+00 BC',
         '-1 mons +2 days -00:00:01.5', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{{"b":1,  "a":2}}',
         '{{"b":1,"a":[null]}}', '<a b="c"/>', '10.1.2.3/24', '::1/128', '08:00:2b:01:02:03', '101', '1',
         '[0:1]={{1,NULL}}', '{{"a,b",NULL,"{{}}","\"q\""}}', '[1,5]', '{{[1,3),[5,8)}}', '(1,2.5)',
         'a:1 cat:3B', '16/B374D848', 4294967295, 'pg_class', 'sad', '{{"it''s \"ok\"",sad}}',
         '(1.5,"a,(b)""","{{1,2}}")', ARRAY['(NaN,,)'::pt], 7, 'c', 'n'),
        ({b}, false, 32767, -9223372036854775808, 'Infinity', 1e-300, 'NaN', '', '', '', '', '-infinity',
         '00:00', '00:00-15:59', 'infinity', '294276-12-31 23:59:59.999999+00', '178000000 years', NULL,
         'null', 'null', NULL, '::/0', '0.0.0.0/0', NULL, '000', '', '{{}}', '{{}}', 'empty', '{{}}', '(0,0)',
         '', '0/0', 0, '-', 'it''s "ok"', '{{}}', '(,,)', '{{}}', 1, '', ''),
        ({c}, NULL, NULL, NULL, NULL, NULL, 10::numeric ^ 1000 + 0.1, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"#
    )
}
