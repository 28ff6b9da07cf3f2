//! Rows come under their root's name, whatever shape either side has.

use crate::support::compare::Pair;
use crate::support::thrice::{Thrice, tables};

/// Partitions of partitions, a default one, one with other columns in another order, and the same
/// once more without a key.
const ROOTS: &str = "
    CREATE TABLE junk (x int, v text, k int NOT NULL, y int, id int NOT NULL, big text);
    ALTER TABLE junk DROP COLUMN x; ALTER TABLE junk DROP COLUMN y;
    CREATE TABLE keyed (id int, k int, v text, big text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
    CREATE TABLE keyed_1 PARTITION OF keyed FOR VALUES IN (1);
    CREATE TABLE keyed_2 PARTITION OF keyed FOR VALUES IN (2) PARTITION BY HASH (id);
    CREATE TABLE keyed_2a PARTITION OF keyed_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE keyed_2b PARTITION OF keyed_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE keyed_rest PARTITION OF keyed DEFAULT;
    ALTER TABLE keyed ATTACH PARTITION junk FOR VALUES IN (3);
    ALTER TABLE keyed ALTER big SET STORAGE EXTERNAL; ALTER TABLE junk ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE plainly (id int, k int, v text, big text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
    CREATE TABLE plainly_1 PARTITION OF plainly FOR VALUES FROM (0) TO (2);
    CREATE TABLE plainly_2 PARTITION OF plainly FOR VALUES FROM (2) TO (9);
    CREATE TABLE bag (k int, v text) PARTITION BY LIST (k);
    CREATE TABLE bag_1 PARTITION OF bag FOR VALUES IN (1); CREATE TABLE bag_rest PARTITION OF bag DEFAULT;
    ALTER TABLE bag REPLICA IDENTITY FULL; ALTER TABLE bag_1 REPLICA IDENTITY FULL;
    ALTER TABLE bag_rest REPLICA IDENTITY FULL;
    CREATE TABLE ev (id bigint PRIMARY KEY, b int, p text);
    CREATE TABLE flat (id bigint PRIMARY KEY, b int, p text);
    CREATE EXTENSION postgres_fdw; CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw;
    CREATE TABLE far (id int, k int) PARTITION BY LIST (k);
    CREATE TABLE far_1 PARTITION OF far FOR VALUES IN (1);
    CREATE FOREIGN TABLE far_2 PARTITION OF far FOR VALUES IN (2) SERVER away;
    ALTER TABLE far REPLICA IDENTITY FULL; ALTER TABLE far_1 REPLICA IDENTITY FULL;
    INSERT INTO far VALUES (1, 1), (2, 1);
    INSERT INTO keyed SELECT g, 1 + g % 4, 'v' || g, repeat('b', 3000) FROM generate_series(1, 200) g;
    INSERT INTO plainly SELECT g, g % 5, 'v' || g, repeat('b', 3000) FROM generate_series(1, 200) g;
    INSERT INTO bag SELECT g % 3, 'x' FROM generate_series(1, 12) g;
    INSERT INTO ev SELECT g, g % 2, 'p' FROM generate_series(1, 100) g;
    INSERT INTO flat SELECT g, g % 2, 'p' FROM generate_series(1, 100) g";

/// What somebody else did at the destination shows, however many rows it were.
const DISTURBED: &str = "
    DELETE FROM ev WHERE id BETWEEN 300 AND 339; DELETE FROM ev WHERE id = 25;
    INSERT INTO ev SELECT g, 0, 'theirs' FROM generate_series(1000, 1049) g";

/// Partitioned otherwise, not at all, and where the source is not.
const THERE: &str = "
    CREATE TABLE keyed (v text, id int, big text, k int, PRIMARY KEY (id, k)) PARTITION BY HASH (id);
    CREATE TABLE keyed_even PARTITION OF keyed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE keyed_odd PARTITION OF keyed FOR VALUES WITH (MODULUS 2, REMAINDER 1)
      PARTITION BY LIST (k);
    CREATE TABLE keyed_odd_1 PARTITION OF keyed_odd FOR VALUES IN (1, 2, 3);
    CREATE TABLE keyed_odd_rest PARTITION OF keyed_odd DEFAULT;
    CREATE TABLE plainly (id int, k int, v text, big text, PRIMARY KEY (id, k));
    CREATE TABLE bag (k int, v text) PARTITION BY LIST (v);
    CREATE TABLE bag_x PARTITION OF bag FOR VALUES IN ('x'); CREATE TABLE bag_rest PARTITION OF bag DEFAULT;
    CREATE TABLE ev (id bigint, b int, p text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM (MINVALUE) TO (50);
    CREATE TABLE ev_2 PARTITION OF ev FOR VALUES FROM (50) TO (MAXVALUE);
    CREATE TABLE flat (id bigint, b int, p text, PRIMARY KEY (id, b)) PARTITION BY LIST (b);
    CREATE TABLE flat_0 PARTITION OF flat FOR VALUES IN (0); CREATE TABLE flat_1 PARTITION OF flat DEFAULT";

const TABLES: [&str; 5] = ["keyed", "plainly", "bag", "ev", "flat"];

const CHANGES: [&str; 7] = [
    // From partition to partition, unchanged large values with them; there by another key.
    "UPDATE keyed SET k = 2 WHERE id = 4; UPDATE keyed SET k = 3 WHERE id BETWEEN 5 AND 90;
     UPDATE keyed SET id = id + 1001 WHERE id BETWEEN 100 AND 140",
    "UPDATE plainly SET k = 4 - k WHERE id BETWEEN 5 AND 90; UPDATE plainly SET v = 'w' WHERE k = 3",
    "INSERT INTO keyed VALUES (150, 7, 'n', NULL) ON CONFLICT DO NOTHING;
     INSERT INTO keyed SELECT g, 9, 'rest', 'r' FROM generate_series(2000, 2100) g;
     UPDATE keyed SET v = v || '!' WHERE k = 9; UPDATE junk SET v = 'in its own order' WHERE id > 60;
     DELETE FROM keyed WHERE id BETWEEN 20 AND 70; DELETE FROM keyed_rest WHERE id = 2001",
    "UPDATE bag SET k = 1 WHERE ctid = '(0,1)' AND k = 0; UPDATE bag SET v = 'y' WHERE k = 2;
     DELETE FROM bag_1 WHERE ctid = '(0,1)'; INSERT INTO bag VALUES (1, 'x'), (1, 'x'), (NULL, NULL)",
    "UPDATE ev SET id = 200 - id WHERE id < 20; UPDATE ev SET b = b + 1, p = 'q' WHERE id < 60;
     DELETE FROM ev WHERE id % 10 = 0; INSERT INTO ev SELECT g, 1, 'n' FROM generate_series(300, 400) g",
    "UPDATE flat SET b = 1 - b WHERE id < 20; UPDATE flat SET b = b + 1, p = 'q' WHERE id < 60;
     UPDATE flat SET id = 200 - id WHERE id BETWEEN 60 AND 70; DELETE FROM flat WHERE id % 10 = 0;
     INSERT INTO flat SELECT g, g % 3, 'n' FROM generate_series(300, 400) g",
    "BEGIN; UPDATE keyed SET k = 1 WHERE id = 1; UPDATE keyed SET k = 3 WHERE id = 1;
     DELETE FROM keyed WHERE id = 1; INSERT INTO keyed VALUES (1, 2, 'again', NULL);
     UPDATE keyed SET k = 9 WHERE id = 1; COMMIT",
];

#[tokio::test]
async fn rows_move_between_partitions_that_are_others_on_the_other_side() {
    let mut thrice = Thrice::start(ROOTS, THERE).await;
    thrice.play(&CHANGES).await;
    // A partition that is a foreign table has its rows elsewhere.
    let far = Pair::renamed("far_1", "far");
    thrice.source.exec("INSERT INTO far VALUES (3, 1); DELETE FROM far_1 WHERE id = 1").await;
    thrice.caught_up().await;
    thrice.assert_same(&[tables(&TABLES), vec![far]].concat()).await;
    let log = thrice.whole.agent.log();
    assert!(log.contains("far_2") && log.contains("they are left out"), "{log}");
    for followed in [&thrice.singly, &thrice.whole] {
        followed.exec(DISTURBED).await;
    }
    thrice
        .play(&[
            "UPDATE ev SET p = 'x' WHERE id BETWEEN 300 AND 400; UPDATE ev SET p = 'y' WHERE id = 25",
            "INSERT INTO ev SELECT g, 1, 'ours' FROM generate_series(980, 1100) g",
            "DELETE FROM ev WHERE id IN (350, 1100)",
        ])
        .await;
    thrice.assert_followed(&tables(&["ev"])).await;
    for followed in [&thrice.singly, &thrice.whole] {
        for (kind, count) in [("update_missing", 41.0), ("insert_exists", 50.0)] {
            let labels = ["table=\"public.ev\"", &format!("kind=\"{kind}\"")];
            let counted = followed.agent.metric("sync_agent_conflicts_total", &labels).await;
            assert_eq!(counted, Some(count), "{kind}");
        }
    }
    // All at once, and nothing of it at a root's leaves alone: that is not in the stream.
    thrice
        .play(&[
            "INSERT INTO keyed VALUES (5000, 2, 'gone', NULL); TRUNCATE keyed, ev, bag;
             INSERT INTO keyed VALUES (5001, 2, 'stays', NULL); INSERT INTO ev VALUES (1, 1, 'n')",
            "TRUNCATE ONLY ev, flat; INSERT INTO ev VALUES (60, 1, 'n'), (2, 2, 'n');
             INSERT INTO flat VALUES (1, 0, 'n'), (2, 5, 'n')",
            "TRUNCATE plainly_1",
        ])
        .await;
    thrice.assert_followed(&tables(&["keyed", "bag", "ev", "flat"])).await;
    let left = thrice.whole.count("plainly WHERE k < 2").await;
    assert!(left > 0, "documented: TRUNCATE of one partition does not arrive");
    assert_eq!(thrice.source.count("plainly WHERE k < 2").await, 0);
}
