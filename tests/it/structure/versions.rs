//! Structure from and to the oldest and the youngest version, compared by catalog queries.

use super::everything::{CHANGES, SCHEMA, TABLES};
use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::assert_same;
use crate::support::database::Database;
use crate::versions::required;

/// What every version says in the same words.
const CATALOG: [&str; 9] = [
    "SELECT c.relname, c.relkind, c.relreplident, c.reloptions, pg_get_expr(c.relpartbound, c.oid), \
     CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END, obj_description(c.oid, 'pg_class') \
     FROM pg_class c WHERE c.relnamespace IN ('shop'::regnamespace, 'kit'::regnamespace) ORDER BY 1",
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, \
     a.attgenerated, a.attstorage, a.attcompression, nullif(a.attstattarget, -1), a.attislocal, \
     a.attinhcount, a.attcollation::regcollation, a.attoptions, pg_get_expr(d.adbin, d.adrelid), \
     col_description(c.oid, a.attnum) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
     LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
     WHERE c.relnamespace IN ('shop'::regnamespace, 'kit'::regnamespace) AND a.attnum > 0 \
     AND c.relkind IN ('r', 'p', 'c') AND NOT a.attisdropped ORDER BY c.relname, \
     (SELECT count(*) FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attnum < a.attnum AND NOT b.attisdropped)",
    "SELECT c.relname, k.conname, k.contype, pg_get_constraintdef(k.oid), k.convalidated, \
     k.conislocal, k.coninhcount, obj_description(k.oid, 'pg_constraint') FROM pg_constraint k \
     JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype <> 'n' AND k.connamespace = \
     'shop'::regnamespace AND NOT (k.contype = 'f' AND k.conparentid <> 0) ORDER BY 1, 2",
    "SELECT i.indexrelid::regclass, pg_get_indexdef(i.indexrelid), i.indisclustered, i.indisreplident, \
     i.indisvalid, obj_description(i.indexrelid, 'pg_class'), (SELECT p.inhparent::regclass FROM \
     pg_inherits p WHERE p.inhrelid = i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = \
     i.indrelid WHERE c.relnamespace = 'shop'::regnamespace ORDER BY 1::text",
    "SELECT t.typname, t.typtype, format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault, \
     obj_description(t.oid, 'pg_type'), ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid \
     ORDER BY enumsortorder), ARRAY(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE \
     k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname) FROM pg_type t WHERE t.typnamespace IN \
     ('shop'::regnamespace, 'kit'::regnamespace) ORDER BY 1",
    "SELECT schemaname, sequencename, data_type, start_value, min_value, max_value, increment_by, cycle, \
     cache_size, last_value FROM pg_sequences WHERE schemaname = 'shop' ORDER BY 2",
    "SELECT inhrelid::regclass, inhparent::regclass, inhseqno FROM pg_inherits WHERE \
     inhrelid::regclass::text LIKE 'shop.%' ORDER BY 1::text, 3",
    "SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext ORDER BY 1",
    "SELECT d.refobjid::regclass, d.refobjsubid, d.objid::regclass, d.deptype FROM pg_depend d \
     JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' \
     AND s.relnamespace = 'shop'::regnamespace WHERE d.classid = 'pg_class'::regclass \
     AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') ORDER BY 3::text",
];

async fn assert_same_catalog(source: &Database, destination: &Database) {
    for sql in CATALOG {
        // ORDER BY 1::text is no output column: sorted here.
        let sql = sql.replace("ORDER BY 1::text, 3", "").replace("ORDER BY 1::text", "");
        let sql = sql.replace("ORDER BY 3::text", "");
        let (mut here, mut there) = tokio::join!(source.query(&sql), destination.query(&sql));
        here.sort();
        there.sort();
        for row in &here {
            assert!(there.contains(row), "only at the source: {row:?}\n{sql}\n{there:#?}");
        }
        assert_eq!(here.len(), there.len(), "{sql}");
    }
}

async fn create(from: u32, to: u32) {
    let (from, to) = (required(from), required(to));
    let spec = |installation, identity| Spec {
        installation: Some(installation),
        identity,
        settings: String::new(),
    };
    let (source, destination) =
        tokio::join!(Cluster::start(spec(from, 0)), Cluster::start(spec(to, 1)));
    source.exec(SCHEMA).await;
    let mut agent = Agent::between(&source, &destination).set("include", "[\"shop.*\"]");
    agent.start_and_stream().await;
    assert_same_catalog(&source, &destination).await;
    source.exec(CHANGES).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &TABLES).await;
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn from_14_to_18() {
    create(14, 18).await;
}

#[tokio::test]
async fn from_18_to_14() {
    create(18, 14).await;
}

#[tokio::test]
async fn from_18_to_18() {
    create(18, 18).await;
}

#[tokio::test]
async fn what_only_a_younger_version_has_is_left_out_with_a_note() {
    let (from, to, same) = (required(18), required(14), required(18));
    let spec = |installation, identity| Spec {
        installation: Some(installation),
        identity,
        settings: String::new(),
    };
    let (source, older, younger) = tokio::join!(
        Cluster::start(spec(from, 0)),
        Cluster::start(spec(to, 1)),
        Cluster::start(spec(same, 1))
    );
    source
        .exec(
            "CREATE COLLATION built (provider = builtin, locale = 'C.UTF-8');
             CREATE TABLE t (id integer PRIMARY KEY, u uuid DEFAULT uuidv7(), a integer, b text COLLATE built,
                twice integer GENERATED ALWAYS AS (id * 2) VIRTUAL, c integer CONSTRAINT must NOT NULL,
                UNIQUE NULLS NOT DISTINCT (a), CONSTRAINT lax CHECK (a > 5) NOT ENFORCED);
             INSERT INTO t (id, a, c) SELECT g, g, g FROM generate_series(1, 20) g;
             ALTER TABLE t ADD CONSTRAINT later NOT NULL b NOT VALID;",
        )
        .await;
    let mut agent = Agent::between(&source, &older).text("pipeline", "older");
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    for part in [
        "no uuidv7()",
        "no virtual columns",
        "no NULLS NOT DISTINCT",
        "no NOT ENFORCED",
        "collation \"public\".\"built\"",
        "NOT NULL of column \"b\" is left out",
    ] {
        assert!(output.stdout.contains(part), "{part}:\n{}", output.stdout);
    }
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(older.count("t").await, 20);
    agent = Agent::between(&source, &younger);
    let output = agent.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let constraints = "SELECT conname, contype, convalidated, pg_get_constraintdef(oid) FROM pg_constraint \
         WHERE conrelid = 't'::regclass ORDER BY 1";
    assert_eq!(younger.query(constraints).await, source.query(constraints).await);
    assert_same(&source, &younger, &["t"]).await;
}
