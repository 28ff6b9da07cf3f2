//! Types of extensions: their OIDs differ on the two sides, and so may their schemas.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

const TABLES: &str = "CREATE TYPE hc AS (h x.hstore, c x.citext); CREATE DOMAIN em AS x.citext CHECK (VALUE <> '');
    CREATE TABLE t (id int PRIMARY KEY, h x.hstore, hs x.hstore[], c x.citext, l ltree, ls ltree[], q lquery,
        lt ltxtquery, cu cube, i isbn13, e ean13, sg seg, hc hc, hcs hc[], em em,
        k text DEFAULT x.hstore('a', 'b')::text);
    CREATE TABLE ck (c x.citext PRIMARY KEY, v int); CREATE INDEX by_h ON t USING gin (h);";

fn rows(first: u32) -> String {
    format!(
        "INSERT INTO t SELECT g, 'a=>NULL, \"b c\"=>\"d=>e\", \"\"=>\"\"', ARRAY['a=>1', NULL, '']::x.hstore[], 'AbÇ',
             'a.b_1', '{{a.b,c,\"\"}}', 'a.*{{1,2}}.!b|c%@', 'a & !b*', '(1,2,3,4,5),(-0.1,2,3,4,NaN)',
             '978-0-393-04002-9', '0012345678905', '1.00 .. 2.0', '(\"a=>b\",\"X,\\\"\")',
             ARRAY['(\"\"\"(\"\"=>b\",X)'::hc, NULL], 'Q@x' FROM generate_series({first}, {first} + 39) g;
         INSERT INTO t (id) VALUES ({first} + 50); INSERT INTO t (id, h, cu) VALUES ({first} + 51, '', '()');
         INSERT INTO ck SELECT 'Key' || g, g FROM generate_series({first}, {first} + 5) g;"
    )
}

#[tokio::test]
async fn types_of_extensions_arrive_whatever_their_schemas_are() {
    let (source, destination) = pair().await;
    source
        .exec(&format!(
            "CREATE SCHEMA x; CREATE EXTENSION hstore SCHEMA x; CREATE EXTENSION citext SCHEMA x; \
             CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION isn; CREATE EXTENSION seg; \
             {TABLES}"
        ))
        .await;
    let agent = Agent::between(&source, &destination);
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    for name in ["hstore", "citext", "ltree", "cube", "isn", "seg"] {
        let statement = format!("CREATE EXTENSION \"{name}\"");
        assert!(output.stdout.contains(&statement), "{statement} is missing in {}", output.stdout);
        // Where they are by default, and after types of its own.
        destination.exec(&format!("CREATE TYPE filler_{name} AS ENUM (); {statement}")).await;
    }
    source.exec(&rows(0)).await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let index = "SELECT count(*) FROM pg_indexes WHERE indexname IN ('by_h', 'ck_pkey')";
    assert_eq!(destination.scalar(index).await, "2", "operator classes were found");
    let default = "SELECT count(*) FROM pg_attrdef WHERE adrelid = 't'::regclass";
    assert_eq!(destination.scalar(default).await, "1", "a function was found");
    source.exec(&rows(100)).await;
    source
        .exec(
            "UPDATE t SET h = hs[1], c = 'zZ', hc = hcs[1] WHERE id < 20; UPDATE t SET id = -id WHERE id = 100; \
             UPDATE ck SET c = 'KEY1' WHERE c OPERATOR(x.=) 'key1'; UPDATE ck SET v = 9 WHERE v = 2; \
             DELETE FROM ck WHERE v = 3; DELETE FROM t WHERE id = 101",
        )
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t", "ck"]).await;
    assert_eq!(agent.terminate().await, Some(0));
}
