//! `source.partitions = "leaf"`: each partition that holds rows is a table of its own.

use crate::support::agent::Agent;
use crate::support::cluster::pair;
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::thrice::{Thrice, tables};

/// Partitions of partitions, one in another schema, one with other columns in another order, one
/// without a key, one that is left out, and what belongs to their root.
const ROOTS: &str = "
    CREATE SCHEMA old;
    CREATE TABLE kinds (id int PRIMARY KEY); INSERT INTO kinds SELECT generate_series(1, 9);
    CREATE TABLE m (id int NOT NULL, k int NOT NULL, v text DEFAULT 'd', kind int REFERENCES kinds,
      big text, CHECK (id > 0), PRIMARY KEY (id, k)) PARTITION BY LIST (k);
    ALTER TABLE m ALTER big SET STORAGE EXTERNAL; CREATE INDEX m_v ON m (v);
    CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1);
    CREATE TABLE old.m_2 PARTITION OF m FOR VALUES IN (2);
    CREATE TABLE m_3 PARTITION OF m FOR VALUES IN (3) PARTITION BY HASH (id);
    CREATE TABLE m_3a PARTITION OF m_3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE m_3b PARTITION OF m_3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE m_rest PARTITION OF m DEFAULT;
    CREATE TABLE m_out PARTITION OF m FOR VALUES IN (66);
    CREATE TABLE junk (x int, big text, v text, k int NOT NULL, y int, kind int, id int NOT NULL);
    ALTER TABLE junk DROP COLUMN x; ALTER TABLE junk DROP COLUMN y;
    ALTER TABLE junk ALTER big SET STORAGE EXTERNAL, 
      ADD CONSTRAINT m_id_check CHECK (id > 0);
    ALTER TABLE m ATTACH PARTITION junk FOR VALUES IN (4);
    CREATE TABLE bag (a int, v text) PARTITION BY LIST (a);
    CREATE TABLE bag_1 PARTITION OF bag FOR VALUES IN (1); CREATE TABLE bag_2 PARTITION OF bag DEFAULT;
    ALTER TABLE bag REPLICA IDENTITY FULL; ALTER TABLE bag_1 REPLICA IDENTITY FULL;
    ALTER TABLE bag_2 REPLICA IDENTITY FULL;
    CREATE TABLE log (a int, v text) PARTITION BY LIST (a);
    CREATE TABLE log_1 PARTITION OF log FOR VALUES IN (1); INSERT INTO log VALUES (1, 'a'), (1, 'a');
    INSERT INTO m SELECT g, 1 + g % 5, 'v' || g, 1 + g % 9, repeat('b', 3000)
      FROM generate_series(1, 200) g;
    INSERT INTO m VALUES (1, 66, 'out', 1, NULL);
    INSERT INTO bag SELECT g % 3, 'x' FROM generate_series(1, 12) g";

/// One leaf is the destination's own partition of something else.
const THERE: &str = "
    CREATE TABLE mine (id int, k int, v text, kind int, big text, PRIMARY KEY (id, k))
      PARTITION BY RANGE (k);
    CREATE TABLE m_1 PARTITION OF mine FOR VALUES FROM (1) TO (2)";

const CHANGES: [&str; 4] = [
    "UPDATE m SET k = 2 WHERE id IN (5, 10); UPDATE m SET k = 3 WHERE id BETWEEN 20 AND 90;
     UPDATE m SET id = id + 1001 WHERE id BETWEEN 100 AND 140; UPDATE m SET k = 66 WHERE id = 150",
    "INSERT INTO m VALUES (500, 1, DEFAULT, 1, 'b'), (500, 8, DEFAULT, 1, 'b'), (500, 66, 'out', 1, '');
     UPDATE m SET v = v || '!' WHERE id > 150; DELETE FROM m WHERE id % 7 = 0; UPDATE junk SET v = 'j'
       WHERE id % 2 = 0; UPDATE m SET k = 1 WHERE k = 66 AND id = 1",
    "UPDATE bag SET a = 1 WHERE ctid = '(0,1)' AND a = 0; UPDATE bag SET v = 'y' WHERE a = 2;
     DELETE FROM bag_1 WHERE ctid = '(0,2)'; INSERT INTO bag VALUES (NULL, NULL), (1, 'x');
     INSERT INTO log VALUES (1, 'a'), (1, 'b')",
    "BEGIN; TRUNCATE m_rest; INSERT INTO m VALUES (600, 77, 'new', 2, NULL); UPDATE m SET k = 1 WHERE
       id = 600; UPDATE m SET k = 77 WHERE id = 600; COMMIT",
];

const LEAVES: [&str; 10] =
    ["m_1", "old.m_2", "m_3a", "m_3b", "m_rest", "junk", "bag_1", "bag_2", "log_1", "kinds"];

fn by_leaf(agent: Agent) -> Agent {
    let agent = agent.text("source.partitions", "leaf");
    agent.set("include", "[\"public.*\"]").set("exclude", "[\"public.m_out\"]")
}

#[tokio::test]
async fn each_leaf_is_a_table_of_its_own_wherever_rows_move() {
    let mut thrice = Thrice::start_with(ROOTS, THERE, by_leaf).await;
    let leaves = tables(&LEAVES);
    thrice.assert_followed(&leaves).await;
    thrice.play(&CHANGES).await;
    thrice.assert_followed(&leaves).await;
    thrice.assert_copied(&leaves, by_leaf).await;
    // What was the root's is each one's own; the root and what is left out are not there.
    let made = "SELECT string_agg(relname::text || relkind::text, ' ' ORDER BY relname) FROM pg_class \
         WHERE relname ~ '^(m|bag|junk)' AND relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace";
    let expected = "bag_1r bag_2r junkr m_1r m_3ar m_3br m_restr minep";
    assert_eq!(thrice.whole.scalar(made).await, expected);
    let own = "SELECT count(*) FILTER (WHERE contype = 'f'), count(*) FILTER (WHERE contype = 'c'), \
         (SELECT count(*) FROM pg_indexes WHERE tablename = 'm_rest') \
         FROM pg_constraint WHERE conrelid = 'm_rest'::regclass";
    let own: Vec<String> = thrice.whole.query(own).await.remove(0).into_iter().flatten().collect();
    assert_eq!(own, ["1", "1", "2"], "foreign key, check, key and index");
    assert_eq!(thrice.whole.count("mine").await, thrice.source.count("m_1").await);
    // The root is emptied by its leaves, and a leaf by itself.
    thrice.play(&["TRUNCATE m, bag; INSERT INTO m VALUES (1, 3, 'again', 1, NULL)"]).await;
    thrice.assert_followed(&leaves).await;
    assert_eq!(thrice.whole.count("m_3b").await + thrice.whole.count("m_3a").await, 1);
}

#[tokio::test]
async fn leaves_that_come_and_go_are_tables_that_come_and_go() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE m (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
             CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1);
             CREATE TABLE m_2 PARTITION OF m FOR VALUES IN (2);
             CREATE TABLE alone (id int NOT NULL, k int NOT NULL, v text, PRIMARY KEY (id, k));
             INSERT INTO m SELECT g, 1 + g % 2, 'v' || g FROM generate_series(1, 50) g;
             INSERT INTO alone SELECT g, 3, 'a' FROM generate_series(1, 50) g",
        )
        .await;
    // The partitions are not named: their root selects them.
    let mut agent = Agent::between(&source, &destination)
        .text("source.partitions", "leaf")
        .set("include", "[\"public.m\", \"public.alone\"]")
        .looking_often();
    agent.start_and_stream().await;
    source
        .exec(
            "CREATE TABLE m_4 PARTITION OF m FOR VALUES IN (4);
             INSERT INTO m SELECT g, 4, 'born' FROM generate_series(1, 20) g;
             CREATE TABLE m_5 (id int NOT NULL, k int NOT NULL, v text);
             INSERT INTO m_5 SELECT g, 5, 'before' FROM generate_series(101, 120) g;
             ALTER TABLE m ATTACH PARTITION m_5 FOR VALUES IN (5);
             ALTER TABLE m ATTACH PARTITION alone FOR VALUES IN (3);
             INSERT INTO m VALUES (100, 3, 'attached'), (100, 5, 'attached')",
        )
        .await;
    source.exec("ALTER TABLE m DETACH PARTITION m_2 CONCURRENTLY").await;
    agent
        .wait_for("both come", async |_| {
            let there = "SELECT to_regclass('m_4') IS NOT NULL AND to_regclass('m_5') IS NOT NULL";
            destination.scalar(there).await == "t" && destination.count("m_5").await == 21
        })
        .await;
    agent.wait_for_state("streaming").await;
    source
        .exec(
            "UPDATE m SET k = 5 WHERE k = 4 AND id < 10; DELETE FROM m WHERE id = 3;
             INSERT INTO m_2 VALUES (900, 2, 'apart'); UPDATE m SET v = 'w' WHERE k = 3",
        )
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["m_1", "m_4", "m_5", "alone"]).await;
    assert_eq!(destination.count("m_2 WHERE id = 900").await, 0, "it is nobody's partition now");
    assert_eq!(destination.count("m_2").await, 25, "its rows stay");
    assert!(!agent.log().contains("is copied again"), "{}", agent.log());
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn somebody_elses_publication_has_to_send_leaves_as_such() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE m (id int, k int, v text DEFAULT 's', PRIMARY KEY (id, k)) PARTITION BY LIST (k);
             CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1);
             CREATE TABLE m_2 PARTITION OF m FOR VALUES IN (2);
             INSERT INTO m SELECT g, 1 + g % 2 FROM generate_series(1, 50) g;
             CREATE PUBLICATION theirs FOR TABLE m WITH (publish_via_partition_root = true)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination)
        .text("source.partitions", "leaf")
        .text("source.publication", "theirs")
        .set("destination.schemas", "{ public = \"shop\" }")
        .section(
            "[[table]]\nname = \"public.m_2\"\ndestination = \"cold.two\"\n[table.columns]\n\
             v = { value = \"-\" }",
        );
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{}", output.stdout);
    let remedy = "ALTER PUBLICATION \"theirs\" SET (publish_via_partition_root = false)";
    assert!(output.stdout.contains(remedy), "{}", output.stdout);
    assert!(output.stdout.contains("table \"public\".\"m_1\""), "{}", output.stdout);
    source.exec(remedy).await;
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 0, "{}", output.stdout);
    assert!(!output.stdout.contains("left aside"), "{}", output.stdout);
    agent.start_and_stream().await;
    source
        .exec(
            "INSERT INTO m VALUES (100, 1), (101, 2); DELETE FROM m WHERE id = 7;
             UPDATE m SET k = 2 WHERE id = 2; UPDATE m SET k = 1 WHERE id = 3",
        )
        .await;
    agent.caught_up().await;
    let pairs = [
        Pair::renamed("m_1", "shop.m_1"),
        Pair::renamed("m_2", "cold.two").columns("id, k, '-'", "id, k, v"),
    ];
    for pair in pairs.clone() {
        assert_pair(&source, &destination, pair).await;
    }
    // Published for its root, and for a while it has none.
    assert_eq!(agent.terminate().await, Some(0));
    source
        .exec(
            "ALTER TABLE m DETACH PARTITION m_2; INSERT INTO m_2 VALUES (200, 2);
             ALTER TABLE m ATTACH PARTITION m_2 FOR VALUES IN (2)",
        )
        .await;
    agent.start_and_stream().await;
    agent.caught_up().await;
    for pair in pairs {
        assert_pair(&source, &destination, pair).await;
    }
    assert_eq!(agent.log().matches("is copied again").count(), 1, "{}", agent.log());
}

#[tokio::test]
async fn another_setting_is_refused_until_the_tables_are_copied_again() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE m (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
             CREATE TABLE m_1 PARTITION OF m FOR VALUES IN (1);
             CREATE TABLE m_2 PARTITION OF m FOR VALUES IN (2);
             CREATE TABLE t (id int PRIMARY KEY);
             INSERT INTO m SELECT g, 1 + g % 2, 'v' FROM generate_series(1, 50) g;
             INSERT INTO t VALUES (1), (2)",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).text("source.new_tables", "ignore");
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    agent.change("source.partitions", "\"leaf\"");
    for verb in ["check", "run"] {
        let output = agent.verb(&[verb]).await;
        assert_eq!(output.code, 3, "{verb}: {}{}", output.stdout, output.stderr);
        let text = output.stdout + &output.stderr;
        assert!(
            text.contains("source.partitions: changed") && text.contains("resync --table"),
            "{text}"
        );
    }
    let entry = agent.verb(&["--set", "table=[{name=\"public.m\"}]", "check"]).await;
    assert!(entry.stdout.contains("its partitions are the tables"), "{}", entry.stdout);
    source.exec("DELETE FROM m WHERE id = 1; INSERT INTO m VALUES (90, 1, 'meanwhile')").await;
    let output = agent.verb(&["resync", "--table", "public.m", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    agent.start_and_stream().await;
    source.exec("UPDATE m SET k = 1 WHERE id = 4; INSERT INTO t VALUES (3)").await;
    agent.caught_up().await;
    // The partitions that were made for the root are each its own table's now.
    assert_same(&source, &destination, &["m_1", "m_2", "m", "t"]).await;
    let again = agent.log().matches("is copied again").count();
    assert_eq!(again, 0, "an ordinary table stays as it is: {}", agent.log());
    assert_eq!(agent.terminate().await, Some(0));
    agent.change("source.partitions", "\"root\"");
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{}", output.stdout);
    assert!(output.stdout.contains("public.m_2"), "{}", output.stdout);
    let entry = agent.verb(&["--set", "table=[{name=\"public.m_1\"}]", "check"]).await;
    assert!(entry.stdout.contains("under the name of \"public\".\"m\""), "{}", entry.stdout);
}
