//! Rows that are found by all their values, and keys that are large.

use crate::support::both_ways::Case;

/// Duplicates and NULLs; types without an equality; values that are equal without being the same text;
/// a key that two rows may have at once, until the transaction ends.
#[tokio::test]
async fn exactly_the_row_that_changed_changes() {
    let types = "CREATE EXTENSION citext; CREATE DOMAIN blanks AS bpchar;";
    let source = format!(
        "{types} CREATE TABLE every (j json, p point, x xml, f float8, n numeric, b box, c citext,
           ch char(5), i interval, ar text[], l lseg, pa path);
         INSERT INTO every VALUES
           ('{{\"b\":1, \"a\":2}}', '(1,2)', '<a/>', '-0', 1.10, '(1,1),(0,0)', 'Ab', 'x', '1 day',
            '{{a,NULL}}', '[(0,0),(1,1)]', '[(0,0),(1,1)]'),
           ('{{\"b\":1,\"a\":2}}', '(1,2)', '<a />', '0', 1.1, '(1,1),(0,0)', 'aB', 'x', '24:00',
            '{{a,\"NULL\"}}', '[(0,0),(1,1)]', '((0,0),(1,1))');
         INSERT INTO every (n, f) SELECT 'NaN', 'NaN' FROM generate_series(1, 3);
         INSERT INTO every SELECT FROM generate_series(1, 3);
         CREATE TABLE blank (b bpchar, d blanks, v int);
         INSERT INTO blank SELECT rpad('x', g), rpad('y', g), 1 FROM generate_series(1, 4) g;
         CREATE TABLE scale (n numeric, v int); INSERT INTO scale VALUES (1.0, 1), (1.00, 1), (1.000, 1);
         CREATE TABLE large (k text, v int); ALTER TABLE large ALTER k SET STORAGE EXTERNAL;
         INSERT INTO large SELECT repeat(g::text, 22000), g FROM generate_series(1, 9) g;
         CREATE TABLE keyed (id int PRIMARY KEY, v text, big text);
         ALTER TABLE keyed ALTER big SET STORAGE EXTERNAL;
         INSERT INTO keyed SELECT g, 'v', repeat('z', 4000) FROM generate_series(1, 50) g;
         CREATE TABLE late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
         INSERT INTO late VALUES (1, 'a'), (2, 'b'), (3, 'c');
         ALTER TABLE every REPLICA IDENTITY FULL; ALTER TABLE blank REPLICA IDENTITY FULL;
         ALTER TABLE scale REPLICA IDENTITY FULL; ALTER TABLE large REPLICA IDENTITY FULL;
         ALTER TABLE keyed REPLICA IDENTITY FULL; ALTER TABLE late REPLICA IDENTITY FULL"
    );
    let changes = [
        "UPDATE every SET n = 2 WHERE ctid = (SELECT min(ctid) FROM every WHERE f = 'NaN')",
        "UPDATE every SET ch = 'y' WHERE ctid = (SELECT max(ctid) FROM every WHERE f IS NULL)",
        "DELETE FROM every WHERE ctid = (SELECT max(ctid) FROM every WHERE f = 'NaN')",
        "DELETE FROM every WHERE ctid = (SELECT min(ctid) FROM every WHERE f IS NULL)",
        "DELETE FROM every WHERE f::text = '0'; UPDATE every SET c = 'AB' WHERE f::text = '-0'",
        "DELETE FROM blank WHERE octet_length(b) = 2; UPDATE blank SET v = 5 WHERE octet_length(d) = 3",
        "DELETE FROM scale WHERE n::text = '1.00'; UPDATE scale SET v = 5 WHERE n::text = '1.000'",
        "UPDATE large SET v = v + 1; UPDATE large SET k = k || 'x' WHERE v = 3",
        "DELETE FROM large WHERE v = 4",
        "UPDATE keyed SET v = 'w' WHERE id < 10; UPDATE keyed SET id = id + 100 WHERE id < 5",
        "DELETE FROM keyed WHERE id = 30",
        "UPDATE late SET id = 3 - id WHERE id < 3",
        "BEGIN; INSERT INTO late VALUES (3, 'd'); DELETE FROM late WHERE v = 'c'; COMMIT",
    ];
    let tables = ["every", "blank", "scale", "large", "keyed", "late"];
    let case = Case {
        source: &source,
        destination: types,
        changes: &changes,
        tables: &tables,
        ..Case::default()
    };
    case.arrives().await;
}

/// A key out of line is sent with every change of its row, whether it changes or not.
#[tokio::test]
async fn keys_that_are_stored_out_of_line_find_their_rows() {
    let source = "
        CREATE TABLE inline (k text PRIMARY KEY, v int, w text);
        INSERT INTO inline SELECT repeat(md5(g::text), 1000), g, repeat('w', 5000)
          FROM generate_series(1, 9) g;
        CREATE TABLE aside (k text PRIMARY KEY, v int, w text);
        ALTER TABLE aside ALTER k SET STORAGE EXTERNAL, ALTER w SET STORAGE EXTERNAL;
        INSERT INTO aside SELECT repeat(g::text, 2500), g, repeat('w', 5000) FROM generate_series(1, 9) g;
        CREATE TABLE indexed (k text NOT NULL UNIQUE, v int); ALTER TABLE indexed ALTER k SET STORAGE EXTERNAL;
        ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_k_key;
        INSERT INTO indexed SELECT repeat(g::text, 2500), g FROM generate_series(1, 9) g";
    let mut changes = Vec::new();
    for table in ["inline", "aside", "indexed"] {
        changes.push(format!("UPDATE {table} SET v = v + 1"));
        changes.push(format!("UPDATE {table} SET k = k || 'x' WHERE v = 3"));
        changes.push(format!("DELETE FROM {table} WHERE v = 4"));
        changes.push(format!("INSERT INTO {table} SELECT left(k, 500) || 'y', v FROM {table}"));
        changes.push(format!(
            "BEGIN; UPDATE {table} SET k = 'z' || k WHERE v = 6; UPDATE {table} SET v = 60 WHERE v = 6;
             UPDATE {table} SET k = substr(k, 2) WHERE v = 60; COMMIT"
        ));
    }
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    let tables = ["inline", "aside", "indexed"];
    Case { source, changes: &changes, tables: &tables, ..Case::default() }.arrives().await;
}
