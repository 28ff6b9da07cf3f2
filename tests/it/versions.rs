//! Every version with every other: the same copy, hand-over, tail and restart, judged by both servers.
//!
//! Three pairs run always: the oldest source into the newest destination, the reverse, and between
//! them a source that has failover slots into a destination that has not (15 is what every other
//! test runs on). `make test-versions` runs all 25; left out, they are counted as skipped, not as
//! passed. A version that is not installed fails its tests: `scripts/install-versions.sh` brings it.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, Spec};
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::installation::{Installation, installation};
use crate::support::workload::{self, Workload};

const TABLES: [&str; 6] = ["kinds", "events", "papers", "full_identity", "journal", "computed"];

/// Types, partitions, large values, identities of every sort.
const SCHEMA: &str = "
    CREATE TABLE kinds (id int PRIMARY KEY, b bool, s int2, l int8, n numeric(30, 10), f float8, r real,
        t text, v varchar(20), c char(5), y bytea, u uuid, j json, k jsonb, a text[], m int[][],
        d date, z timestamptz, w timestamp, o time, oz timetz, i interval, tr tstzrange,
        ir int4multirange, net inet, mac macaddr8, bits varbit, p point, ts tsvector, pos pg_lsn);
    CREATE TABLE events (id int, at date, what text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2024-01-01');
    CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2030-01-01');
    CREATE TABLE events_rest PARTITION OF events DEFAULT;
    CREATE TABLE papers (id int PRIMARY KEY, version int, body text);
    ALTER TABLE papers ALTER body SET STORAGE EXTERNAL;
    CREATE TABLE full_identity (id int, body text, v int);
    ALTER TABLE full_identity REPLICA IDENTITY FULL;
    ALTER TABLE full_identity ALTER body SET STORAGE EXTERNAL;
    CREATE TABLE journal (line text);
    CREATE TABLE computed (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int,
        twice int GENERATED ALWAYS AS (n * 2) STORED, line text COLLATE \"C\" DEFAULT 'none');";

/// Rows from `$1` to `$2`, before and after the hand-over the same.
const ROWS: &str = "
    INSERT INTO kinds SELECT g, g % 2 = 0, g, g::int8 << 33, g / 7.0, g / 3.0, g / 3.0, 'ä€' || g,
        'v' || g, 'c', decode(md5(g::text), 'hex'), md5(g::text)::uuid, '{\"a\":  1}',
        jsonb_build_object('g', g), ARRAY['x', NULL, 'it''s'], ARRAY[[g, 2], [3, 4]],
        date '2024-02-29' + g, timestamptz '2024-01-01 12:00+03' + make_interval(hours => g),
        timestamp '2024-01-01' + make_interval(secs => g / 7.0), '12:34:56.789', '12:34:56+05:30',
        make_interval(months => g, days => -1, secs => 0.5), tstzrange('2024-01-01', NULL),
        '{[1,3),[7,9)}', '10.0.0.0/8', '08:00:2b:01:02:03:04:05', B'10101', point(g, -g),
        to_tsvector('simple', 'a fat cat ' || g), '0/16B3748' FROM generate_series($1, $2) g;
    INSERT INTO events SELECT g, date '2023-12-01' + g % 90, 'e' || g FROM generate_series($1, $2) g;
    INSERT INTO papers SELECT g, 1, repeat(md5(g::text), 400) FROM generate_series($1, $2) g;
    INSERT INTO full_identity SELECT g, repeat(md5(g::text), 200), 0 FROM generate_series($1, $2) g;
    INSERT INTO journal SELECT 'line ' || g FROM generate_series($1, $2) g;
    INSERT INTO computed (n, line) SELECT g, 'l' || g FROM generate_series($1, $2) g;";

const CHANGES: &str = "
    UPDATE kinds SET n = 'NaN', f = '-Infinity', z = 'infinity', d = '-infinity', t = NULL WHERE id % 10 = 0;
    UPDATE kinds SET id = id + 100000 WHERE id % 7 = 0;
    DELETE FROM kinds WHERE id % 11 = 0;
    UPDATE events SET at = at + 60 WHERE id % 3 = 0;
    DELETE FROM events WHERE id % 5 = 0;
    INSERT INTO events VALUES (-1, '1999-12-31', 'by default');
    UPDATE papers SET version = version + 1;
    UPDATE papers SET id = -id WHERE id % 4 = 0;
    UPDATE full_identity SET v = id WHERE id % 2 = 0;
    DELETE FROM full_identity WHERE id % 9 = 0;
    UPDATE computed SET n = n + 1 WHERE n % 2 = 1;
    BEGIN; UPDATE papers SET version = 0 WHERE id = 1; ROLLBACK;";

fn rows(from: u32, to: u32) -> String {
    ROWS.replace("$1", &from.to_string()).replace("$2", &to.to_string())
}

pub(crate) fn required(major: u32) -> Installation {
    let found = installation(major);
    found.unwrap_or_else(|| {
        panic!("PostgreSQL {major} is not installed: run scripts/install-versions.sh")
    })
}

async fn replicates(from: u32, to: u32) {
    let spec = |major, identity| Spec {
        installation: Some(required(major)),
        identity,
        settings: String::new(),
    };
    let (source, destination) =
        tokio::join!(Cluster::start(spec(from, 0)), Cluster::start(spec(to, 1)));
    assert_eq!((source.major, destination.major), (from, to));
    workload::initialize(&source, 1).await;
    source.exec(SCHEMA).await;
    source.exec(&rows(1, 300)).await;
    let load = Workload::tpcb(&source, 2);
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    source.exec(&rows(301, 500)).await;
    source.exec(CHANGES).await;
    agent
        .wait_for("some of the load", async |_| destination.count("pgbench_history").await > 100)
        .await;
    assert_eq!(agent.terminate().await, Some(0));
    // What happens meanwhile is read from the slot.
    source.exec(&rows(501, 520)).await;
    source.exec(CHANGES).await;
    agent.start();
    load.stop(&source).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &workload::TABLES).await;
    assert_same(&source, &destination, &TABLES).await;
    source
        .exec("TRUNCATE kinds, events; INSERT INTO events VALUES (1, '2025-01-01', 'after')")
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &TABLES).await;
    assert_eq!(agent.terminate().await, Some(0));
    let query = "SELECT abs(id) AS id, version * 1.5 AS v, ARRAY[body] AS b FROM papers";
    let backfill =
        Agent::between(&source, &destination).named("q").set("include", "[]").section(&format!(
            "[[query]]\nname = \"q\"\nsql = \"{query}\"\ndestination = \"q.q\"\nkey = [\"id\"]"
        ));
    let output = backfill.verb(&["snapshot"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let pair = Pair::renamed(&format!("({query}) AS q"), "q.q AS q").columns("q.*", "q.*");
    assert_pair(&source, &destination, pair).await;
}

/// One test a pair.
macro_rules! pairs {
    ($($(#[$attribute:meta])* $name:ident: $from:literal $to:literal,)*) => {
        $(
            #[tokio::test]
            $(#[$attribute])*
            async fn $name() {
                replicates($from, $to).await;
            }
        )*
    };
}

pairs! {
    from_14_to_18: 14 18,
    from_18_to_14: 18 14,
    from_17_to_16: 17 16,
    #[ignore = "all pairs: make test-versions"]
    from_14_to_14: 14 14,
    #[ignore = "all pairs: make test-versions"]
    from_14_to_15: 14 15,
    #[ignore = "all pairs: make test-versions"]
    from_14_to_16: 14 16,
    #[ignore = "all pairs: make test-versions"]
    from_14_to_17: 14 17,
    #[ignore = "all pairs: make test-versions"]
    from_15_to_14: 15 14,
    #[ignore = "all pairs: make test-versions"]
    from_15_to_15: 15 15,
    #[ignore = "all pairs: make test-versions"]
    from_15_to_16: 15 16,
    #[ignore = "all pairs: make test-versions"]
    from_15_to_17: 15 17,
    #[ignore = "all pairs: make test-versions"]
    from_15_to_18: 15 18,
    #[ignore = "all pairs: make test-versions"]
    from_16_to_14: 16 14,
    #[ignore = "all pairs: make test-versions"]
    from_16_to_15: 16 15,
    #[ignore = "all pairs: make test-versions"]
    from_16_to_16: 16 16,
    #[ignore = "all pairs: make test-versions"]
    from_16_to_17: 16 17,
    #[ignore = "all pairs: make test-versions"]
    from_16_to_18: 16 18,
    #[ignore = "all pairs: make test-versions"]
    from_17_to_14: 17 14,
    #[ignore = "all pairs: make test-versions"]
    from_17_to_15: 17 15,
    #[ignore = "all pairs: make test-versions"]
    from_17_to_17: 17 17,
    #[ignore = "all pairs: make test-versions"]
    from_17_to_18: 17 18,
    #[ignore = "all pairs: make test-versions"]
    from_18_to_15: 18 15,
    #[ignore = "all pairs: make test-versions"]
    from_18_to_16: 18 16,
    #[ignore = "all pairs: make test-versions"]
    from_18_to_17: 18 17,
    #[ignore = "all pairs: make test-versions"]
    from_18_to_18: 18 18,
}
