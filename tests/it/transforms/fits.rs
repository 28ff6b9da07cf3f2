//! What expressions give against the columns that the destination has already: what cannot hold it is found
//! with its statement, what holds it arrives, and a value that cannot be read there holds its transaction.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair};

const ROWS: &str = "CREATE TABLE p (id int PRIMARY KEY, t text, n int, price numeric(10,2), at timestamptz, doc json);
    INSERT INTO p SELECT g, 'name ' || g, g, g * 1.25, timestamptz '2024-03-31 00:30:00.123+00' + g * interval '1 h',
        '{\"a\": 1, \"a\": 2}' FROM generate_series(1, 30) g";

fn section(to: &str, columns: &[(&str, &str)]) -> String {
    let columns: Vec<String> =
        columns.iter().map(|(column, step)| format!("{column} = {step}\n")).collect();
    format!(
        "[[table]]\nname = \"public.p\"\ndestination = \"public.{to}\"\nunlisted = \"drop\"\n[table.columns]\n\
         id = {{ rename = \"id\" }}\n{}",
        columns.concat()
    )
}

/// Column, type of the column that is there, step, and the type that the statement gives it.
const TOO_NARROW: [(&str, &str, &str, &str); 11] = [
    ("a", "varchar(10)", r#"[{ sql = "t || n" }, { mask = "full" }]"#, "text"),
    ("b", "varchar(32)", r#"[{ sql = "n::text" }, { hash = "sha256" }]"#, "text"),
    ("c", "varchar(5)", r#"{ sql = "t" }"#, "text"),
    ("d", "smallint", r#"{ sql = "n * 2" }"#, "integer"),
    ("e", "numeric(10,2)", r#"{ sql = "price * 1.10" }"#, "numeric"),
    ("f", "numeric(6,2)", r#"{ sql = "(price * 1.10)::numeric(10,2)" }"#, "numeric(10,2)"),
    ("g", "date", r#"{ sql = "at + interval '1 h'" }"#, "timestamp with time zone"),
    ("h", "int", r#"[{ sql = "t || 'x'" }, { mask = "full" }]"#, "text"),
    ("i", "text[]", r#"{ sql = "n + 1" }"#, "integer"),
    ("j", "varchar(4)", r#"[{ sql = "t::varchar(6)" }, { mask = "full" }]"#, "character varying"),
    ("k", "timestamptz(0)", r#"{ sql = "at - interval '1 h'" }"#, "timestamp with time zone"),
];

/// The same where it fits, and what arrives.
const FITS: [(&str, &str, &str, &str); 12] = [
    ("a", "text", r#"[{ sql = "t || n" }, { mask = "full" }]"#, "repeat('*', length(t || n))"),
    (
        "b",
        "varchar(64)",
        r#"[{ sql = "n::text" }, { hash = "sha256" }]"#,
        "encode(sha256(n::text::bytea), 'hex')",
    ),
    ("c", "varchar(5)", r#"{ sql = "left(t, 5)::varchar(5)" }"#, "left(t, 5)"),
    ("d", "bigint", r#"{ sql = "n * 2" }"#, "n * 2"),
    (
        "e",
        "numeric(12,2)",
        r#"{ sql = "(price * 1.10)::numeric(10,2)" }"#,
        "round(price * 1.10, 2)",
    ),
    ("f", "text", r#"{ sql = "price * 1.10" }"#, "price * 1.10"),
    (
        "g",
        "varchar(8)",
        r#"[{ sql = "t::varchar(6)" }, { mask = { keep_first = 2 } }]"#,
        "left(t, 2) || repeat('*', length(left(t, 6)) - 2)",
    ),
    ("h", "int", r#"{ sql = "n || '0'" }"#, "n * 10"),
    ("i", "jsonb", r#"{ sql = "doc" }"#, "doc::jsonb"),
    ("j", "date", r#"{ sql = "at::date" }"#, "at::date"),
    ("k", "timestamptz(0)", r#"{ sql = "at::timestamptz(0)" }"#, "at::timestamptz(0)"),
    (
        "l",
        "char(64)",
        r#"[{ sql = "t" }, { lower = true }, { hash = "sha256" }]"#,
        "encode(sha256(lower(t)::bytea), 'hex')",
    ),
];

#[tokio::test]
async fn what_expressions_give_is_put_against_the_columns_that_are_there() {
    let (source, destination) = pair().await;
    source.exec(ROWS).await;
    let table = |name: &str, cases: &[(&str, &str, &str, &str)]| {
        let columns: Vec<String> =
            cases.iter().map(|(column, kind, ..)| format!("{column} {kind}")).collect();
        format!("CREATE TABLE {name} (id int PRIMARY KEY, {})", columns.join(", "))
    };
    let steps = |cases: &[(&'static str, &str, &'static str, &str)]| -> Vec<(&str, &str)> {
        cases.iter().map(|(column, _, step, _)| (*column, *step)).collect()
    };
    destination.exec(&table("narrow", &TOO_NARROW)).await;
    destination.exec(&table("fits", &FITS)).await;
    let narrow = section("narrow", &steps(&TOO_NARROW));
    let output = Agent::between(&source, &destination).section(&narrow).verb(&["check"]).await;
    let text = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, 4, "{text}");
    for (column, _, step, type_name) in TOO_NARROW {
        let statement =
            format!("ALTER TABLE \"public\".\"narrow\" ALTER COLUMN \"{column}\" TYPE {type_name}");
        let is_said = text.lines().any(|line| line.contains(&statement));
        assert!(is_said, "{column}: {step}: {statement}\n{text}");
    }
    // Each statement mends it.
    for (column, _, _, type_name) in TOO_NARROW {
        let using = if column == "i" {
            "USING 0"
        } else if column == "g" {
            "USING NULL"
        } else {
            ""
        };
        destination
            .exec(&format!("ALTER TABLE narrow ALTER COLUMN {column} TYPE {type_name} {using}"))
            .await;
    }
    let output = Agent::between(&source, &destination).section(&narrow).verb(&["check"]).await;
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let mut agent = Agent::between(&source, &destination).section(&section("fits", &steps(&FITS)));
    agent.start_and_stream().await;
    source.exec("INSERT INTO p SELECT id + 100, t || '!', n + 7, price, at, doc FROM p").await;
    source
        .exec("UPDATE p SET n = n + 1, price = price * 3, t = 'Other ' || id WHERE id % 3 = 0")
        .await;
    agent.caught_up().await;
    let here: Vec<&str> = FITS.iter().map(|(.., arrives)| *arrives).collect();
    let there: Vec<&str> = FITS.iter().map(|(column, ..)| *column).collect();
    let pair = Pair::renamed("p", "fits")
        .columns(&format!("id, {}", here.join(", ")), &format!("id, {}", there.join(", ")));
    assert_pair(&source, &destination, pair).await;
}

#[tokio::test]
async fn a_value_that_the_column_cannot_read_holds_its_transaction() {
    let (source, destination) = pair().await;
    source.exec("CREATE TABLE p (id int PRIMARY KEY, a text)").await;
    source.exec("INSERT INTO p VALUES (1, '1')").await;
    destination.exec("CREATE TABLE p (id int PRIMARY KEY, a text, twice int)").await;
    destination.exec("CREATE DATABASE copied").await;
    let section = "[[table]]\nname = \"public.p\"\n[table.columns]\ntwice = { sql = \"a || '0'\" }";
    let mut agent = Agent::between(&source, &destination).section(section);
    let output = agent.verb(&["check"]).await;
    assert!(
        output.stdout.contains("values that are none of its type are refused"),
        "{}",
        output.stdout
    );
    agent.start_and_stream().await;
    source.exec("INSERT INTO p VALUES (2, '2')").await;
    source.exec("INSERT INTO p VALUES (3, '3'), (4, 'CANARY'), (5, '5')").await;
    agent.wait_for_state("degraded").await;
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("\"code\":\"E_DATA\"")).expect("it is said");
    assert!(line.contains("public.p") && line.contains("22P02"), "{line}");
    assert!(!log.contains("CANARY"), "{log}");
    let there = "SELECT string_agg(id || ':' || twice, ' ' ORDER BY id) FROM p";
    assert_eq!(destination.scalar(there).await, "1:10 2:20");
    // A copy says the same.
    let copied = destination.database("copied");
    copied.exec("CREATE TABLE p (id int PRIMARY KEY, a text, twice int)").await;
    let output =
        Agent::between(&source, &copied).named("c").section(section).verb(&["snapshot"]).await;
    assert_eq!(output.code, 6, "{}", output.stderr);
    assert!(
        output.stderr.contains("E_DATA") && output.stderr.contains("public.p"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("CANARY"), "{}", output.stderr);
    assert_eq!(copied.count("p").await, 0);
    // It goes on by itself once the column takes it.
    destination.exec("ALTER TABLE p ALTER COLUMN twice TYPE text").await;
    agent.caught_up().await;
    let pair = Pair::table("p").columns("id, a, a || '0'", "id, a, twice");
    assert_pair(&source, &destination, pair).await;
}
