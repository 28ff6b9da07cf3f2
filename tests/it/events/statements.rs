//! Every kind of statement that writes rows, and many changes that share one position.

use super::Group;

pub(super) const GROUP: Group = Group {
    schema: "statements",
    setup: TABLES,
    changes: &CHANGES,
    tables: &["bag", "t", "other", "log"],
};

const TABLES: &str = "
    CREATE TABLE bag (a int, v text, big text);
    ALTER TABLE bag ALTER big SET STORAGE EXTERNAL;
    ALTER TABLE bag REPLICA IDENTITY FULL;
    CREATE TABLE t (id int PRIMARY KEY, n int, v text, u int UNIQUE);
    CREATE TABLE other (id int PRIMARY KEY, n int);
    CREATE TABLE log (id bigserial PRIMARY KEY, what text);
    INSERT INTO t SELECT g, g, 'v' || g, g FROM generate_series(1, 100) g;
    INSERT INTO other SELECT g, g FROM generate_series(51, 150) g;";

const CHANGES: [&str; 9] = [
    // Multi-inserts: one record, one position, hundreds of rows, large values among them.
    "COPY bag FROM PROGRAM 'for i in $(seq 500); do b=; if [ $((i % 50)) = 0 ]; then
         b=$(printf %04500d $i); fi; echo $((i % 7)),line $((i % 5)),$b; done' (FORMAT csv);
     COPY bag FROM PROGRAM 'for i in $(seq 500); do echo $((i % 7)),line,; done' (FORMAT csv) WHERE a = 3",
    "INSERT INTO t SELECT g, 0, 'new', g FROM generate_series(90, 120) g
       ON CONFLICT (id) DO UPDATE SET n = t.n + 1000, v = excluded.v WHERE t.id % 2 = 0;
     INSERT INTO t VALUES (500, 1, 'taken', 1) ON CONFLICT DO NOTHING;
     INSERT INTO t VALUES (1, 1, 'taken', 700) ON CONFLICT (id) DO UPDATE SET u = excluded.u",
    "MERGE INTO t USING other o ON t.id = o.id
       WHEN MATCHED AND t.id % 5 = 0 THEN DELETE
       WHEN MATCHED THEN UPDATE SET n = t.n + o.n
       WHEN NOT MATCHED THEN INSERT VALUES (o.id, o.n, 'merged', NULL)",
    "UPDATE t SET v = 'from ' || o.n FROM other o WHERE o.id = t.id AND o.id < 70;
     DELETE FROM other USING t WHERE t.id = other.id AND t.n > 130",
    "WITH gone AS (DELETE FROM t WHERE id BETWEEN 10 AND 19 RETURNING *),
          moved AS (INSERT INTO other SELECT id, n FROM gone RETURNING *),
          noted AS (INSERT INTO log (what) SELECT 'moved ' || id FROM moved RETURNING id)
     UPDATE t SET n = -1 WHERE id = 20",
    "BEGIN; DECLARE c CURSOR FOR SELECT * FROM t WHERE id BETWEEN 30 AND 35 ORDER BY id FOR UPDATE;
     FETCH c; UPDATE t SET v = 'first' WHERE CURRENT OF c; FETCH 2 FROM c;
     DELETE FROM t WHERE CURRENT OF c; COMMIT",
    // One row, many times.
    "BEGIN; INSERT INTO t VALUES (900, 0, 'a', 900); UPDATE t SET n = 1 WHERE id = 900;
     UPDATE t SET id = 901 WHERE id = 900; DELETE FROM t WHERE id = 901;
     INSERT INTO t VALUES (901, 5, 'b', 901); UPDATE t SET v = v || 'c' WHERE id = 901;
     UPDATE t SET id = 902, u = 902 WHERE id = 901; INSERT INTO t VALUES (900, 9, 'z', 900);
     UPDATE t SET n = n + 1 WHERE id IN (900, 902); UPDATE t SET n = n + 1 WHERE id = 900; COMMIT",
    // Nothing but noise.
    "BEGIN; COMMIT; BEGIN; SELECT * FROM t FOR UPDATE; SELECT * FROM other FOR KEY SHARE; COMMIT;
     BEGIN; SELECT nextval('log_id_seq'), pg_current_xact_id(); COMMIT;
     UPDATE t SET n = n WHERE false; BEGIN; LOCK TABLE t; COMMIT; CHECKPOINT",
    "DELETE FROM bag WHERE ctid IN (SELECT min(ctid) FROM bag GROUP BY a);
     UPDATE bag SET v = 'twin' WHERE ctid IN (SELECT max(ctid) FROM bag GROUP BY a, v)",
];
