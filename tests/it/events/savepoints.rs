//! Subtransactions: what was rolled back to a savepoint never arrives, what was released does.

use super::Group;
use crate::support::database::Database;

pub(super) const GROUP: Group = Group {
    schema: "savepoints",
    setup: TABLES,
    changes: &[NESTED, DDL, THOUSANDS, "BEGIN; DELETE FROM t; ROLLBACK"],
    tables: &["t", "u", "d", "many"],
};

const TABLES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, n int, big text);
    ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE u (a int, v text); ALTER TABLE u REPLICA IDENTITY FULL;
    CREATE TABLE many (id int PRIMARY KEY, n int);
    CREATE TABLE d (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT g, 0, repeat('b', 3000) FROM generate_series(1, 20) g;
    INSERT INTO u SELECT g % 4, 'x' FROM generate_series(1, 12) g;";

/// Nested, rolled back inside released ones and the other way round, with large values.
const NESTED: &str = "
    BEGIN;
    UPDATE t SET n = 1 WHERE id = 1;
    SAVEPOINT a;
      UPDATE t SET n = 2 WHERE id <= 2;
      SAVEPOINT b;
        DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 99, repeat('never', 2000));
        UPDATE t SET big = repeat('never', 2000) WHERE id = 3;
        SAVEPOINT c; INSERT INTO t VALUES (30, 1, 'released into b'); RELEASE c;
      ROLLBACK TO b;
      UPDATE t SET n = 3 WHERE id = 1;
      SAVEPOINT d; UPDATE t SET big = repeat('kept', 2000) WHERE id = 4; RELEASE d;
    RELEASE a;
    SAVEPOINT e; TRUNCATE u; INSERT INTO u VALUES (9, 'never'); ROLLBACK TO e;
    UPDATE u SET v = 'y' WHERE a = 1; DELETE FROM u WHERE ctid = '(0,2)';
    SAVEPOINT f; UPDATE t SET id = id + 100 WHERE id = 5; ROLLBACK TO f;
    UPDATE t SET id = id + 200 WHERE id = 5;
    COMMIT";

/// Structure that is changed and changed back inside, and once for good.
const DDL: &str = "
    BEGIN;
    INSERT INTO d VALUES (1, 'before');
    SAVEPOINT a;
      ALTER TABLE d ADD COLUMN w int DEFAULT 5; INSERT INTO d VALUES (2, 'never', 2);
      ALTER TABLE d ALTER v TYPE varchar(90);
    ROLLBACK TO a;
    INSERT INTO d VALUES (3, 'after');
    SAVEPOINT b; ALTER TABLE d ADD COLUMN x int; INSERT INTO d VALUES (4, 'kept', 4); RELEASE b;
    UPDATE d SET x = 7 WHERE id = 1;
    COMMIT";

/// More subtransactions than a server keeps in memory, every third of them rolled back.
const THOUSANDS: &str = "
    DO $$ BEGIN
      FOR i IN 1..3000 LOOP
        BEGIN
          INSERT INTO many VALUES (i, 0);
          UPDATE many SET n = n + 1 WHERE id = i - 1;
          IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
      END LOOP;
    END $$";

pub(super) async fn assert_nothing_undone(destination: &Database) {
    assert_eq!(destination.count("savepoints.many").await, 2000);
    let undone = "savepoints.t WHERE big LIKE 'never%' OR id = 30";
    assert_eq!(destination.count(undone).await, 0);
    assert_eq!(destination.scalar("SELECT sum(id) FROM savepoints.d").await, "8");
}
