//! Schemas and names that are others at the destination; columns that are renamed, dropped, made.

use super::everything::{CHANGES, SCHEMA};
use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair};
use crate::support::database::Database;

const TABLES: &str = r#"
[[table]]
name = "shop.customers"
destination = "crm.clients"
unlisted = "pass"
[table.columns]
email = { rename = "mail" }
mood = { rename = "feeling" }
born = { drop = true }
[[table]]
name = "shop.events"
[table.columns]
customer = { rename = "buyer" }
day = { rename = "date" }
amount = { rename = "quantity" }
[[table]]
name = "shop.dogs"
[table.columns]
breed = { rename = "kind" }
[[table]]
name = "shop.orders"
[table.columns]
parent = { rename = "outside" }
outside = { rename = "parent" }
"#;

async fn definition(database: &Database, sql: &str) -> String {
    database.scalar(&format!("SET search_path = ''; {sql}")).await
}

#[tokio::test]
async fn expressions_follow_schemas_tables_and_columns_to_their_new_names() {
    let (source, destination) = pair().await;
    source.exec(SCHEMA).await;
    source
        .exec("ALTER TABLE shop.orders ADD CONSTRAINT sane CHECK (parent < id AND outside > 0)")
        .await;
    source.exec("CREATE INDEX orders_sums ON shop.orders ((parent + outside * 2))").await;
    let mut agent = Agent::between(&source, &destination)
        .set("include", "[\"shop.*\"]")
        .set("destination.schemas", "{ shop = \"store\", kit = \"tools\" }")
        .section(TABLES);
    agent.start_and_stream().await;
    source.exec(CHANGES).await;
    agent.caught_up().await;
    for (sql, expected) in [
        (
            "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute \
             ON attrelid = adrelid AND attnum = adnum WHERE adrelid = 'crm.clients'::regclass \
             AND attname = 'lower_email'",
            "lower(mail)",
        ),
        (
            "SELECT pg_get_indexdef('crm.customers_happy'::regclass)",
            "CREATE INDEX customers_happy ON crm.clients USING btree (feeling) WHERE (feeling = \
             'happy'::store.mood)",
        ),
        (
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'one_email'",
            "UNIQUE (mail) INCLUDE (price) DEFERRABLE INITIALLY DEFERRED",
        ),
        (
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'sane'",
            "CHECK (((outside < id) AND (parent > 0)))",
        ),
        (
            "SELECT pg_get_indexdef('store.orders_sums'::regclass)",
            "CREATE INDEX orders_sums ON store.orders USING btree (((outside + (parent * 2))))",
        ),
        ("SELECT pg_get_partkeydef('store.events'::regclass)", "RANGE (date)"),
        (
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'of_event' \
             AND conparentid = 0",
            "FOREIGN KEY (event_id, event_day, event_region) REFERENCES store.events(id, date, \
             region) MATCH FULL ON UPDATE SET NULL",
        ),
        (
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'has_breed'",
            "CHECK ((kind <> ''::text))",
        ),
        (
            "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute \
             ON attrelid = adrelid AND attnum = adnum WHERE adrelid = 'crm.clients'::regclass \
             AND attname = 'ticket'",
            "('T-'::text || nextval('crm.free_numbers'::regclass))",
        ),
        (
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'store.events_2024_other'::regclass",
            "2",
        ),
        ("SELECT count(*) FROM pg_inherits WHERE inhrelid = 'store.dogs'::regclass", "2"),
        (
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND NOT convalidated",
            "0",
        ),
        // They need the dropped column.
        (
            "SELECT count(*) FROM pg_class WHERE relname IN ('customers_lower', 'customers_code')",
            "0",
        ),
        ("SELECT count(*) FROM pg_constraint WHERE conname = 'born_before'", "0"),
        ("SELECT count(*) FROM pg_namespace WHERE nspname IN ('shop', 'kit')", "0"),
    ] {
        assert_eq!(definition(&destination, sql).await, expected, "{sql}");
    }
    for (name, reason) in
        [("customers_code", "one of its columns"), ("born_before", "one of its columns")]
    {
        let log = agent.log();
        let is_said = log.lines().any(|line| line.contains(name) && line.contains(reason));
        assert!(is_said, "{name}: {log}");
    }
    let clients = Pair::renamed("shop.customers", "crm.clients").columns(
        "id, code, email, mood, size, sizes, lower_email, price",
        "id, code, mail, feeling, size, sizes, lower_email, price",
    );
    assert_pair(&source, &destination, clients).await;
    let events = Pair::renamed("shop.events", "store.events").columns(
        "id, day, region, customer, amount, mood",
        "id, date, region, buyer, quantity, mood",
    );
    assert_pair(&source, &destination, events).await;
    let orders = Pair::renamed("shop.orders", "store.orders")
        .columns("id, customer, parent, outside", "id, customer, outside, parent");
    assert_pair(&source, &destination, orders).await;
    let dogs = Pair::renamed("shop.dogs", "store.dogs")
        .columns("id, name, born, owner, breed", "id, name, born, owner, kind");
    assert_pair(&source, &destination, dogs).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn a_hashed_key_is_still_a_key_and_other_indexes_of_it_are_left_out() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id integer PRIMARY KEY, ssn text UNIQUE, CHECK (ssn <> ''));
             CREATE INDEX t_lower ON t (lower(ssn)); CREATE INDEX t_plain ON t (id);
             INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 20) g;",
        )
        .await;
    let hash = "{ hash = \"hmac-sha256\", key = \"0123456789abcdef0123456789abcdef\" }";
    let mut agent = Agent::between(&source, &destination).section(&format!(
        "[[table]]\nname = \"public.t\"\nunlisted = \"pass\"\n[table.columns]\nid = {hash}\nssn = {hash}"
    ));
    agent.start_and_stream().await;
    source.exec("DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (30, 'x')").await;
    agent.caught_up().await;
    let made = destination
        .scalar("SELECT string_agg(indexrelid::regclass::text, ',' ORDER BY indexrelid::regclass::text) FROM (SELECT * FROM pg_index WHERE indrelid = 't'::regclass) i")
        .await;
    assert_eq!(made, "t_pkey,t_ssn_key");
    let checks =
        "SELECT count(*) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c'";
    assert_eq!(destination.scalar(checks).await, "0");
    assert_eq!(destination.count("t").await, 20);
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn what_is_computed_stands_in_its_column_s_place() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, b int, v text, gone text, note text, pay numeric(12, 2), \
               g text GENERATED ALWAYS AS (v || '!') STORED, at timestamptz); \
             INSERT INTO t VALUES (1, 2, 'v', 'gone', 'note', 3, DEFAULT, now())",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).section(
        "[[table]]\nname = \"public.t\"\nunlisted = \"drop\"\n[table.columns]\nnote = { }\nid = { }\n\
         v = { sql = \"upper(v)\", rename = \"w\" }\nb = { sql = \"b * 1.5\" }\npay = { \"null\" = true }\n\
         g = { sql = \"length(v)\" }\nmade = { value = \"m\" }\nat = [{ sql = \"at::date\" }]",
    );
    agent.start_and_stream().await;
    source.exec("INSERT INTO t VALUES (2, 3, 'x', 'gone', 'note', 4, DEFAULT, now())").await;
    agent.caught_up().await;
    let columns = "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || attgenerated::text, ', ' \
         ORDER BY attnum) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";
    assert_eq!(
        destination.scalar(columns).await,
        "id integer, b numeric, w text, note text, pay numeric(12,2), at date, g integer, made text"
    );
    let rows = Pair::table("t").columns(
        "id, b * 1.5, upper(v), note, NULL::numeric, at::date, length(v), 'm'::text",
        "id, b, w, note, pay, at, g, made",
    );
    assert_pair(&source, &destination, rows).await;
    assert_eq!(agent.terminate().await, Some(0));
}
