//! A schema with every kind of object is created equal, replicates, and is not created twice.

use std::fmt::Write as _;

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::support::installation::{client, server_command};

pub(super) const SCHEMA: &str = include_str!("everything.sql");

/// The tables that hold rows.
pub(super) const TABLES: [&str; 8] = [
    "shop.customers",
    "shop.addresses",
    "shop.events",
    "shop.animals",
    "shop.dogs",
    "shop.orders",
    "shop.\"Odd \"\"Names\"",
    "shop.whole",
];

/// Changes of each kind in each table.
pub(super) const CHANGES: &str = "
    INSERT INTO shop.customers (code, email, mood, moods, size, names, ages, price, place, busy)
        VALUES ('x', 'new@x', 'sad', '{sad}', ROW(3, 'l', NULL), '[q,r)', '[2,7)', 7.25,
                point(1000, 1), tsrange('2030-01-01', NULL));
    UPDATE shop.customers SET mood = 'it''s ok', price = price + 1 WHERE id < 200;
    UPDATE shop.customers SET sizes = ROW(ARRAY[ROW(9, 'z', 'sad')::kit.size], NULL)::kit.sizes,
        many = '{[m,n)}', doc = '{\"b\": 2}' WHERE id = 300;
    DELETE FROM shop.orders WHERE id = 30;
    DELETE FROM shop.customers WHERE id = 590;
    INSERT INTO shop.orders (id, customer) VALUES (31, 100);
    UPDATE shop.orders SET outside = id WHERE id > 20;
    INSERT INTO shop.addresses VALUES (7, 'work', 'a street');
    UPDATE shop.addresses SET street = 'other' WHERE customer < 200;
    DELETE FROM shop.addresses WHERE customer > 450;
    INSERT INTO shop.events (day, region, amount) VALUES ('2024-05-05', 'eu', 1),
        ('2024-05-05', 'jp', 2), ('2023-02-02', 'us', 3), ('2031-01-01', 'us', 4);
    UPDATE shop.events SET amount = 99 WHERE id % 3 = 0;
    UPDATE shop.events SET day = '2024-07-07' WHERE id = 55;
    DELETE FROM shop.events WHERE id % 5 = 4 AND NOT EXISTS
        (SELECT FROM shop.orders WHERE event_id = events.id);
    INSERT INTO shop.animals VALUES (10, 'owl', 2010);
    UPDATE shop.animals SET name = 'renamed' WHERE id IN (1, 3);
    INSERT INTO shop.dogs VALUES (11, 'lassie', 2011, 'her', 'collie');
    INSERT INTO shop.\"Odd \"\"Names\" VALUES (5, 'five');
    UPDATE shop.\"Odd \"\"Names\" SET \"select\" = 'changed' WHERE \"a.b\" = 1;
    UPDATE shop.whole SET v = 'changed' WHERE id = 1;
    DELETE FROM shop.whole WHERE id = 2;";

/// What pg_dump says of the schemas, without what is no structure.
pub(super) fn dump(database: &Database, schemas: &[&str]) -> String {
    let mut command = server_command(client("pg_dump"));
    command.args(["--schema-only", "--no-owner", "--no-privileges", "--no-publications"]);
    for schema in schemas {
        command.args(["--schema", schema]);
    }
    command.arg("-h").arg(&database.socket).args(["-p", &database.port.to_string()]);
    let output = command.args(["-U", "postgres", &database.name]).output().expect("pg_dump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_structure = |line: &&str| {
        !line.is_empty()
            && !["--", "\\", "SET ", "SELECT pg_catalog.set_config"]
                .iter()
                .any(|start| line.starts_with(start))
    };
    text.lines().filter(is_structure).collect::<Vec<_>>().join("\n")
}

pub(super) fn assert_same_dump(source: &Database, destination: &Database, schemas: &[&str]) {
    let (here, there) = (dump(source, schemas), dump(destination, schemas));
    let mut text = String::new();
    for (side, lines, others) in [("source", &here, &there), ("destination", &there, &here)] {
        for line in lines.lines().filter(|line| !others.lines().any(|other| other == *line)) {
            writeln!(text, "only at the {side}: {line}").expect("a String takes text");
        }
    }
    assert!(here == there, "{text}(or the order)");
}

#[tokio::test]
async fn a_schema_with_every_kind_of_object_is_created_equal_and_replicates() {
    let (source, destination) = pair().await;
    source.exec(SCHEMA).await;
    let mut agent = Agent::between(&source, &destination).set("include", "[\"shop.*\"]");
    agent.start_and_stream().await;
    assert_same(&source, &destination, &TABLES).await;
    assert_same_dump(&source, &destination, &["shop", "kit"]);
    let positions = "SELECT string_agg(sequencename || last_value, ',' ORDER BY sequencename) \
         FROM pg_sequences WHERE schemaname = 'shop'";
    assert_eq!(destination.scalar(positions).await, source.scalar(positions).await);

    source.exec(CHANGES).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &TABLES).await;
    assert_eq!(agent.terminate().await, Some(0));

    // Whatever would be created again would have another OID, or fail.
    let oids = "SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class WHERE relkind <> 't' \
         AND relnamespace IN ('shop'::regnamespace, 'kit'::regnamespace)";
    let before = destination.scalar(oids).await;
    agent.start_and_stream().await;
    source.exec("INSERT INTO shop.whole VALUES (7, 'x')").await;
    agent.caught_up().await;
    assert_eq!(destination.scalar(oids).await, before);
    assert_same_dump(&source, &destination, &["shop", "kit"]);
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn only_what_is_missing_is_created() {
    let (source, destination) = pair().await;
    source.exec(SCHEMA).await;
    destination
        .exec(
            "CREATE SCHEMA shop; CREATE SCHEMA kit; COMMENT ON SCHEMA kit IS 'the kit';
             CREATE COLLATION kit.plain (provider = libc, locale = 'C');
             COMMENT ON COLLATION kit.plain IS 'bytes';
             CREATE TYPE shop.mood AS ENUM ('sad', 'it''s ok', 'happy');
             COMMENT ON TYPE shop.mood IS 'how it goes';
             CREATE DOMAIN kit.positive AS integer CONSTRAINT above_zero CHECK (VALUE > 0);
             CREATE TABLE shop.whole (id integer PRIMARY KEY, v text);
             ALTER TABLE shop.whole REPLICA IDENTITY FULL;",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).set("include", "[\"shop.*\"]");
    agent.start_and_stream().await;
    assert_same(&source, &destination, &TABLES).await;
    assert_same_dump(&source, &destination, &["shop", "kit"]);
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn nothing_deferred_comes_to_the_same() {
    let (source, destination) = pair().await;
    source.exec(SCHEMA).await;
    let mut agent = Agent::between(&source, &destination)
        .set("include", "[\"shop.*\"]")
        .set("snapshot.defer_indexes", "false");
    agent.start_and_stream().await;
    assert_same(&source, &destination, &TABLES).await;
    assert_same_dump(&source, &destination, &["shop", "kit"]);
    assert_eq!(agent.terminate().await, Some(0));
}
