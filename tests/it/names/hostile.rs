//! Every schema, table, column, type, label, constraint, index and sequence has a name from the
//! list; so have the databases, the roles and the publication.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{NAMES, exposition, in_url, literal, quoted, toml_key, toml_value};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};
use crate::support::database::Database;

/// The name that is `offset` behind the `number`th.
fn name(number: usize, offset: usize) -> &'static str {
    NAMES[(number + offset) % NAMES.len()]
}

fn at(number: usize, offset: usize) -> String {
    quoted(name(number, offset))
}

fn object(number: usize, offset: usize) -> String {
    format!("{}.{}", at(number, 0), at(number, offset))
}

/// What the settings make of each table: most stay, some go elsewhere, some rename a column.
fn destination_of(number: usize) -> (String, String) {
    let table = match number % 4 {
        3 => format!("{}.{}", quoted(&format!("{number} \"$$")), at(number, 1)),
        _ => object(number, 0),
    };
    let renamed = if number.is_multiple_of(3) { 22 } else { 6 };
    (table, at(number, renamed))
}

fn settings(number: usize) -> String {
    let mut text = format!("[[table]]\nname = {}\n", toml_value(&object(number, 0)));
    let (destination, _) = destination_of(number);
    writeln!(text, "destination = {}", toml_value(&destination)).expect("a String");
    if number.is_multiple_of(3) {
        let (from, to) = (toml_key(name(number, 6)), toml_value(name(number, 22)));
        writeln!(text, "[table.columns]\n{from} = {{ rename = {to} }}").expect("a String");
    }
    text
}

/// One schema with one table, and one of every object a table can have.
fn structure(number: usize) -> String {
    let at = |offset| at(number, offset);
    let object = |offset| object(number, offset);
    let text = |offset| literal(name(number, offset));
    format!(
        "CREATE SEQUENCE {seq};
         CREATE DOMAIN {domain} AS text CONSTRAINT {domain_check} CHECK (VALUE <> {t3});
         CREATE TYPE {row} AS ({f1} int, {f2} {mood});
         CREATE TABLE {table} (
            {key} int CONSTRAINT {pk} PRIMARY KEY,
            {v} text DEFAULT {t7} CONSTRAINT {check} CHECK ({v} <> {t8}),
            {mood_column} {mood} DEFAULT {t3},
            {domain_column} {domain} DEFAULT {t2},
            {row_column} {row},
            {identity} int GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {identity_seq}),
            {serial} int DEFAULT nextval({seq_text}::regclass),
            {generated} text GENERATED ALWAYS AS ({v} || {t9}) STORED,
            {parent} int CONSTRAINT {fk} REFERENCES {table});
         ALTER SEQUENCE {seq} OWNED BY {table}.{serial};
         CREATE INDEX {index} ON {table} (({v} || {t8})) WHERE {mood_column} = {t3}::{mood};
         COMMENT ON TABLE {table} IS {t1}; COMMENT ON COLUMN {table}.{v} IS {t2};
         INSERT INTO {table} ({key}, {v}, {row_column}) VALUES
            (1, {t1}, ROW(1, {t3})), (2, DEFAULT, NULL), (3, {t6}, ROW(NULL, {t3})), (4, 'x', NULL);
         UPDATE {table} SET {parent} = 2 WHERE {key} = 1;",
        seq = object(16),
        seq_text = literal(&object(16)),
        domain = object(10),
        domain_check = at(11),
        mood = format!("{}.{}", at(1), at(2)),
        row = object(12),
        f1 = at(0),
        f2 = at(1),
        table = object(0),
        key = at(4),
        pk = at(5),
        v = at(6),
        check = at(7),
        mood_column = at(8),
        domain_column = at(9),
        row_column = at(11),
        identity = at(14),
        identity_seq = object(13),
        serial = at(15),
        generated = at(17),
        parent = at(20),
        fk = at(21),
        index = at(18),
        t1 = text(1),
        t2 = text(2),
        t3 = text(3),
        t6 = text(6),
        t7 = text(7),
        t8 = text(8),
        t9 = text(9),
    )
}

fn schemas_and_enums() -> String {
    let mut sql = "CREATE TABLE victim (i int); ".to_owned();
    for number in 0..NAMES.len() {
        write!(sql, "CREATE SCHEMA {}; ", at(number, 0)).expect("a String");
    }
    for number in 0..NAMES.len() {
        let labels = format!("{}, {}", literal(name(number, 3)), literal(name(number, 4)));
        let mood = format!("{}.{}", at(number, 1), at(number, 2));
        write!(sql, "CREATE TYPE {mood} AS ENUM ({labels}); ").expect("a String");
    }
    sql
}

/// Insert, update, key change, delete; a large change; what the numbers leave is the same again.
fn changes(number: usize, round: usize) -> String {
    let at = |offset| at(number, offset);
    let (table, key, v, row) = (object(number, 0), at(4), at(6), at(11));
    let (mood, first) = (at(8), 1000 * (round + 1));
    let text = |offset| literal(name(number, offset));
    let row_type = object(number, 12);
    format!(
        "BEGIN; INSERT INTO {table} ({key}, {v}, {row}) SELECT g, {t1} || g, ROW(g, {t4})::{row_type}
            FROM generate_series({first}, {last}) g;
         UPDATE {table} SET {v} = {t2}, {mood} = {t4} WHERE {key} = 2;
         UPDATE {table} SET {key} = {first} - 1, {v} = {t5} WHERE {key} IN (3, {first} - 1001);
         UPDATE {table} SET {v} = {v} || 'x' WHERE {key} BETWEEN {first} AND {first} + 39;
         DELETE FROM {table} WHERE {key} BETWEEN {first} + 20 AND {first} + 55;
         DELETE FROM {table} WHERE {key} = 4; COMMIT",
        last = first + 59,
        t1 = text(1),
        t2 = text(2),
        t4 = text(4),
        t5 = text(5),
    )
}

async fn assert_all_same(source: &Database, destination: &Database, is_altered: bool) {
    for number in 0..NAMES.len() {
        let list = |renamed: &str| {
            let mut columns = vec![at(number, 4), renamed.to_owned()];
            columns.extend([8, 9, 11, 14, 15, 17, 20].map(|offset| at(number, offset)));
            if is_altered && number.is_multiple_of(ALTERED) {
                columns.extend([24, 25].map(|offset| at(number, offset)));
            }
            columns.join(", ")
        };
        let (there, renamed) = destination_of(number);
        let pair = Pair::renamed(&object(number, 0), &there)
            .columns(&list(&at(number, 6)), &list(&renamed));
        assert_pair(source, destination, pair).await;
    }
}

/// A role of this name, and a database that it owns.
async fn owned(cluster: &Cluster, role: &str, name: &str) -> Database {
    let (quoted_role, quoted_name) = (quoted(role), quoted(name));
    cluster.exec(&format!("CREATE ROLE {quoted_role} LOGIN REPLICATION")).await;
    cluster
        .exec(&format!("GRANT SET ON PARAMETER session_replication_role TO {quoted_role}"))
        .await;
    cluster.exec(&format!("CREATE DATABASE {quoted_name} OWNER {quoted_role}")).await;
    cluster.database(name)
}

fn url(database: &Database, role: &str) -> String {
    let (role, name) = (in_url(role), in_url(&database.name));
    format!("postgresql://{role}@127.0.0.1:{}/{name}", database.port)
}

#[tokio::test]
async fn hostile_names_are_copied_followed_created_and_shown() {
    let (source_cluster, destination_cluster) = pair().await;
    let roles = ["r'\"o\\le {}%s $1", "w\n$$;--"];
    let source = owned(&source_cluster, roles[0], "so'\"u\\rce {} $$").await;
    let destination = owned(&destination_cluster, roles[1], "de\nst;--%s").await;
    let as_owner = format!("SET ROLE {}; ", quoted(roles[0]));
    source.exec(&format!("{as_owner}{}", schemas_and_enums())).await;
    for number in 0..NAMES.len() {
        source.exec(&format!("{as_owner}{}", structure(number))).await;
    }
    destination.exec("CREATE TABLE victim (i int)").await;
    let slot = format!("9{}", "s".repeat(62));
    let include: Vec<String> = (0..NAMES.len()).map(|n| toml_value(&object(n, 0))).collect();
    let mut agent = Agent::between(&source, &destination)
        .set("source.url", &toml_value(&url(&source, roles[0])))
        .set("destination.url", &toml_value(&url(&destination, roles[1])))
        .set("source.publication", &toml_value("p'\"u\nb\\ {} $$ %s ${v}"))
        .text("source.slot", &slot)
        .set("include", &format!("[{}]", include.join(", ")))
        .set("apply.max_batch_rows", "1");
    for number in 0..NAMES.len() {
        agent = agent.section(&settings(number));
    }
    let checked = agent.verb(&["check"]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    agent.start_and_stream().await;
    assert_all_same(&source, &destination, false).await;
    for round in 0..2 {
        for number in 0..NAMES.len() {
            source.exec(&changes(number, round)).await;
        }
        agent.caught_up().await;
        assert_all_same(&source, &destination, false).await;
        assert_eq!(agent.terminate().await, Some(0));
        agent.change("apply.max_batch_rows", "50000");
        agent.start_and_stream().await;
    }
    the_structure_follows(&mut agent, &source, &destination).await;
    everything_shown_is_well_formed(&agent).await;
    verbs_take_the_names(&mut agent, &source, &destination).await;
    for side in [&source, &destination] {
        assert_eq!(side.count("victim").await, 0);
    }
}

/// Tables that get new columns: each of them starts the stream anew, so not all do.
const ALTERED: usize = 7;

/// Columns with such names, types and defaults; TRUNCATE.
async fn the_structure_follows(agent: &mut Agent, source: &Database, destination: &Database) {
    for number in (0..NAMES.len()).step_by(ALTERED) {
        let at = |offset| at(number, offset);
        let (table, key, v) = (object(number, 0), at(4), at(6));
        let mood_type = format!("{}.{}", at(1), at(2));
        source
            .exec(&format!(
                "ALTER TABLE {table} ADD COLUMN {text} text NOT NULL DEFAULT {default},
                    ADD COLUMN {mood} {mood_type} DEFAULT {label};
                 INSERT INTO {table} ({key}, {v}) VALUES (-1, {value})",
                text = at(24),
                default = literal(name(number, 5)),
                mood = at(25),
                label = literal(name(number, 3)),
                value = literal(name(number, 25)),
            ))
            .await;
    }
    agent.caught_up().await;
    assert_all_same(source, destination, true).await;
    for number in (1..NAMES.len()).step_by(2) {
        let (table, key) = (object(number, 0), at(number, 4));
        source.exec(&format!("TRUNCATE {table}; INSERT INTO {table} ({key}) VALUES (7)")).await;
    }
    agent.caught_up().await;
    assert_all_same(source, destination, true).await;
}

async fn everything_shown_is_well_formed(agent: &Agent) {
    let (_, text) = agent.get("/metrics").await;
    let mut labels = BTreeSet::new();
    for series in exposition(&text) {
        labels.extend(series.into_iter().filter(|(name, _)| name == "table").map(|(_, v)| v));
    }
    let status = agent.status().await;
    let tables = status["tables"].as_array().expect("a list");
    let names: BTreeSet<String> =
        tables.iter().map(|table| table["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(names.len(), NAMES.len(), "each its own: {names:?}");
    labels.remove("_other");
    assert_eq!(labels, names);
    for number in 0..NAMES.len() {
        let plain = format!("{0}.{0}", name(number, 0));
        let is_plain = !plain.contains('"') && plain.matches('.').count() == 1;
        assert!(names.contains(&plain) || !is_plain, "{plain} in {names:?}");
    }
    for line in agent.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("an event is a line of JSON");
    }
}

/// Names as arguments; lines of text for people, one for each thing.
async fn verbs_take_the_names(agent: &mut Agent, source: &Database, destination: &Database) {
    let printed = agent.verb(&["status"]).await;
    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(printed.stdout.lines().count() < NAMES.len() + 20, "{}", printed.stdout);
    let spoiled: Vec<usize> = (0..NAMES.len()).step_by(5).collect();
    let mut arguments = vec!["resync".to_owned(), "--yes".to_owned()];
    for &number in &spoiled {
        destination.exec(&format!("DELETE FROM {}", destination_of(number).0)).await;
        arguments.extend(["--table".to_owned(), object(number, 0)]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let asked = agent.verb(&arguments).await;
    assert_eq!(asked.code, 0, "{asked:?}");
    agent
        .wait_for("the tables are copied again", async |_| {
            let left = "SELECT count(*) FROM sync_agent.tables WHERE state <> 'copied' OR rows = 0";
            destination.scalar(left).await == "0"
        })
        .await;
    agent.caught_up().await;
    assert_all_same(source, destination, true).await;
    assert_eq!(agent.terminate().await, Some(0));

    // With a new column it has more to say than that it came and went.
    for (number, statement) in [(2, "ADD COLUMN n int DEFAULT 3"), (7, "DROP COLUMN"), (23, "")] {
        let (table, key) = (object(number, 0), at(number, 4));
        let column = if number == 7 { at(number, 24) } else { String::new() };
        if !statement.is_empty() {
            source.exec(&format!("ALTER TABLE {table} {statement} {column}")).await;
        }
        source.exec(&format!("INSERT INTO {table} ({key}) VALUES (8)")).await;
    }
    let file = agent.config_file().display().to_string();
    let run = ["--config", &file, "--log-format", "pretty", "run", "--until", "caught-up"];
    let ran = agent.verb_without_file(&run).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("columns added"), "{}", ran.stderr);
    for line in ran.stderr.lines() {
        assert!(line.starts_with("20"), "an event is a line: {line:?} in\n{}", ran.stderr);
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let reset = agent.verb(&["reset", "--yes"]).await;
    assert_eq!(reset.code, 0, "{reset:?}");
    for what in ["pg_replication_slots", "pg_publication"] {
        assert_eq!(source.count(what).await, 0, "{what}");
    }
}
