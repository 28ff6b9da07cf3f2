//! Columns of every number, order and kind.

mod generated;
mod identity;
mod wide;

use crate::support::both_ways::Case;

/// None, only a key, only an identity, only generated ones beside the key; other orders, columns of
/// the destination's own, dropped ones in the middle of either side; a default that old rows never
/// were written with.
#[tokio::test]
async fn tables_of_every_shape_arrive() {
    let source = "
        CREATE TABLE bare (); ALTER TABLE bare REPLICA IDENTITY FULL;
        INSERT INTO bare SELECT FROM generate_series(1, 3);
        CREATE TABLE only_key (a int PRIMARY KEY); INSERT INTO only_key VALUES (1), (2);
        CREATE TABLE only_identity (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
        INSERT INTO only_identity SELECT FROM generate_series(1, 3);
        CREATE TABLE no_key (id int GENERATED ALWAYS AS IDENTITY);
        ALTER TABLE no_key REPLICA IDENTITY FULL; INSERT INTO no_key SELECT FROM generate_series(1, 3);
        CREATE TABLE made (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a * 2) STORED);
        INSERT INTO made VALUES (1), (2);
        CREATE TABLE ordered (a int, b text, c int, d date DEFAULT '2020-01-01', PRIMARY KEY (c, a));
        INSERT INTO ordered SELECT g, 'b' || g, -g FROM generate_series(1, 50) g;
        CREATE TABLE dropped (x1 int, a int PRIMARY KEY, x2 text, b text, x3 int, c int);
        INSERT INTO dropped SELECT 1, g, 'x', 'b' || g, 3, g FROM generate_series(1, 50) g;
        ALTER TABLE dropped DROP x1, DROP x2, DROP x3; INSERT INTO dropped VALUES (51, 'b', 51);
        CREATE TABLE dropped_full (LIKE dropped); ALTER TABLE dropped_full ADD x int;
        ALTER TABLE dropped_full DROP x, REPLICA IDENTITY FULL, ALTER a DROP NOT NULL;
        INSERT INTO dropped_full VALUES (1, 'b', 1), (1, 'b', 1), (NULL, NULL, NULL);
        CREATE TABLE fast (a int); ALTER TABLE fast REPLICA IDENTITY FULL; INSERT INTO fast VALUES (1);
        ALTER TABLE fast ADD b bool NOT NULL DEFAULT false; INSERT INTO fast VALUES (2, true)";
    let destination = "
        CREATE TABLE ordered (own text DEFAULT 'own', b text, c int, at timestamptz DEFAULT now(),
          a int, d date, PRIMARY KEY (a, c));
        CREATE TABLE dropped (c int, y1 int, b text, y2 int, a int PRIMARY KEY);
        ALTER TABLE dropped DROP y1, DROP y2;
        CREATE TABLE dropped_full (c int, y1 int, b text, a int); ALTER TABLE dropped_full DROP y1";
    let changes = [
        "INSERT INTO bare DEFAULT VALUES; INSERT INTO bare SELECT FROM generate_series(1, 50)",
        "DELETE FROM bare WHERE ctid IN (SELECT ctid FROM bare LIMIT 2)",
        "INSERT INTO only_key SELECT generate_series(3, 50)",
        "UPDATE only_key SET a = a; UPDATE only_key SET a = -a WHERE a < 7",
        "DELETE FROM only_key WHERE a = 20",
        "INSERT INTO only_identity SELECT FROM generate_series(1, 50)",
        "UPDATE only_identity SET id = DEFAULT WHERE id < 5; DELETE FROM only_identity WHERE id = 10",
        "INSERT INTO no_key SELECT FROM generate_series(1, 50)",
        "UPDATE no_key SET id = DEFAULT WHERE id < 5; DELETE FROM no_key WHERE id = 10",
        "INSERT INTO made SELECT generate_series(3, 50); UPDATE made SET a = a",
        "UPDATE made SET a = -a WHERE a < 7; DELETE FROM made WHERE a = 20",
        "UPDATE ordered SET a = c, c = a WHERE a < 10",
        "UPDATE ordered SET b = 'new', d = NULL WHERE a > 0",
        "INSERT INTO ordered SELECT g, 'n', g FROM generate_series(1000, 1100) g",
        "DELETE FROM ordered WHERE a % 10 = 0",
        "UPDATE dropped SET b = 'u' WHERE a % 2 = 0; UPDATE dropped SET a = a + 1000 WHERE a < 20",
        "INSERT INTO dropped SELECT g, 'n', 1 FROM generate_series(3000, 3050) g",
        "DELETE FROM dropped WHERE a % 7 = 0",
        "UPDATE dropped_full SET c = 2 WHERE ctid = (SELECT min(ctid) FROM dropped_full)",
        "UPDATE dropped_full SET b = 'was null' WHERE a IS NULL",
        "UPDATE fast SET a = a + 1",
    ];
    let tables = [
        "bare",
        "only_key",
        "only_identity",
        "no_key",
        "made",
        "ordered",
        "dropped",
        "dropped_full",
        "fast",
    ];
    let case = Case { source, destination, changes: &changes, tables: &tables, ..Case::default() };
    for arrived in case.arrives().await {
        let own = "SELECT count(*) FROM ordered WHERE own = 'own' AND at IS NOT NULL";
        assert_eq!(arrived.destination.scalar(own).await, "135");
        let fast = "SELECT string_agg(f::text, ' ' ORDER BY a) FROM fast f";
        assert_eq!(arrived.destination.scalar(fast).await, "(2,f) (3,t)");
    }
}
