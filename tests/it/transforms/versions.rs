//! Filters, expressions, masks and hashed keys on other versions of the source: `make test-versions`.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::{Pair, assert_pair};
use crate::versions::required;

const TABLES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, region text, n numeric, mail text, d timestamptz, j jsonb, body text);
    ALTER TABLE t ALTER body SET STORAGE EXTERNAL;
    INSERT INTO t SELECT g, CASE g % 3 WHEN 0 THEN 'us' WHEN 1 THEN 'eu' END, g * 1.25, 'user' || g || '@x.org',
        timestamptz '2024-03-31 00:30+00' + g * interval '1 h', jsonb_build_object('k', g),
        repeat(md5(g::text), 90) FROM generate_series(1, 60) g;
    CREATE TABLE parts (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
    INSERT INTO parts SELECT g, g % 3, 'v' || g FROM generate_series(1, 60) g;
    CREATE FUNCTION ours(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''<'' || $1 || ''>''';";

const SECTIONS: &str = r#"
    [[table]]
    name = "public.t"
    where = "region = 'eu' OR n > 60"
    [table.columns]
    id    = { hash = "sha256" }
    mail  = { mask = "email" }
    who   = { sql = "ours(left(mail, 3))" }
    n     = { sql = "(n * 1.10)::numeric(12,3)" }
    d     = { sql = "date_trunc('month', d AT TIME ZONE 'Europe/Berlin')" }
    j     = { sql = "j || jsonb_build_object('n', n)" }
    mixed = { sql = "coalesce(region, '-') || left(body, 2)" }
    size  = { sql = "length(body)" }
    [[table]]
    name = "public.parts"
    where = "id % 2 = 0 AND k <> 2"
    [table.columns]
    v = [{ sql = "upper(v) || k" }, { hash = "sha256" }]
"#;

const CHANGES: &str = "
    INSERT INTO t SELECT g, 'eu', g, 'new' || g || '@x.org', '2024-10-27 00:30+00', NULL, 'b' FROM generate_series(100, 140) g;
    UPDATE t SET region = 'eu' WHERE id % 5 = 0; UPDATE t SET region = 'us' WHERE id % 5 = 1;
    UPDATE t SET n = n + 20 WHERE id % 4 = 0; UPDATE t SET id = id + 1000 WHERE id % 7 = 0;
    UPDATE t SET body = repeat('n', 3000) WHERE id % 11 = 0; DELETE FROM t WHERE id % 13 = 0;
    UPDATE parts SET k = (k + 1) % 3 WHERE id % 4 = 0; UPDATE parts SET id = id + 1001 WHERE id % 6 = 0;
    INSERT INTO parts SELECT g, g % 3, 'n' FROM generate_series(2000, 2020) g; DELETE FROM parts WHERE id % 10 = 0";

async fn transforms_on(major: u32) {
    let spec = Spec { installation: Some(required(major)), ..Spec::default() };
    let (source, destination) = tokio::join!(Cluster::start(spec), Cluster::destination());
    source.exec(TABLES).await;
    let mut agent = Agent::between(&source, &destination).section(SECTIONS);
    agent.start_and_stream().await;
    let mail = "left(mail, 1) || repeat('*', position('@' in mail) - 2) || '@x.org'";
    let pairs = [
        Pair::renamed("(SELECT * FROM t WHERE region = 'eu' OR n > 60) AS s", "t").columns(
            &format!(
                "encode(sha256(id::text::bytea), 'hex'), region, {mail}, public.ours(left({mail}, 3)), \
                 (n * 1.10)::numeric(12,3), date_trunc('month', d AT TIME ZONE 'Europe/Berlin'), \
                 j || jsonb_build_object('n', n), coalesce(region, '-') || left(body, 2), length(body), body"
            ),
            "id, region, mail, who, n, d, j, mixed, size, body",
        ),
        Pair::renamed("(SELECT * FROM parts WHERE id % 2 = 0 AND k <> 2) AS s", "parts")
            .columns("id, k, encode(sha256((upper(v) || k)::bytea), 'hex')", "id, k, v"),
    ];
    for pair in &pairs {
        assert_pair(&source, &destination, pair.clone()).await;
    }
    source.exec(CHANGES).await;
    agent.caught_up().await;
    agent.kill9();
    source
        .exec("UPDATE t SET region = 'eu', n = 70 WHERE id % 3 = 0; UPDATE parts SET v = v || '!'")
        .await;
    agent.start_and_stream().await;
    agent.caught_up().await;
    for pair in &pairs {
        assert_pair(&source, &destination, pair.clone()).await;
    }
    if major > 14 {
        let filters = "SELECT count(*) FROM pg_publication_rel WHERE prqual IS NOT NULL";
        assert_eq!(source.scalar(filters).await, "1", "that of the key");
    } else {
        let checked = agent.verb(&["check"]).await;
        assert!(checked.stdout.contains("row filters since version 15"), "{}", checked.stdout);
    }
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
#[ignore = "all versions: make test-versions"]
async fn from_14() {
    transforms_on(14).await;
}

#[tokio::test]
#[ignore = "all versions: make test-versions"]
async fn from_16() {
    transforms_on(16).await;
}

#[tokio::test]
#[ignore = "all versions: make test-versions"]
async fn from_17() {
    transforms_on(17).await;
}

#[tokio::test]
#[ignore = "all versions: make test-versions"]
async fn from_18() {
    transforms_on(18).await;
}
