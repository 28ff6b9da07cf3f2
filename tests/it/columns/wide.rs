//! As many columns as PostgreSQL has room for.

use crate::support::both_ways::Case;

/// 1,500 columns by the key, as many beside an identity, and 1,599 without a key, where a change is as
/// many parameters twice.
#[tokio::test]
async fn tables_with_1500_columns_arrive() {
    let source = "
        CREATE FUNCTION c_list(count int) RETURNS text LANGUAGE sql RETURN (
          SELECT string_agg(format('c%s %s', g, CASE WHEN g % 3 = 0 THEN 'text' ELSE 'int' END), ', ')
            FROM generate_series(1, count) g);
        DO $$ BEGIN
          EXECUTE format('CREATE TABLE keyed (%s, PRIMARY KEY (c700))', c_list(1500));
          EXECUTE format('CREATE TABLE whole (%s)', c_list(1599));
          EXECUTE format('CREATE TABLE beside (%s, PRIMARY KEY (c700),
                          id int GENERATED ALWAYS AS IDENTITY)', c_list(1500));
          EXECUTE (SELECT format('INSERT INTO keyed (%s) VALUES (%s)',
                                 string_agg('c' || g, ', '), string_agg(g::text, ', '))
                     FROM generate_series(1, 1500) g);
          EXECUTE (SELECT format('INSERT INTO whole (%s) VALUES (%s)',
                                 string_agg('c' || g, ', '), string_agg(g::text, ', '))
                     FROM generate_series(1, 1599) g);
        END $$;
        ALTER TABLE whole REPLICA IDENTITY FULL;
        INSERT INTO keyed (c700, c3, c1500) SELECT g, repeat('t', 3000), 'x' FROM generate_series(1, 8) g;
        INSERT INTO beside (c700, c3, c1500) SELECT g, repeat('t', 3000), 'x' FROM generate_series(1, 8) g;
        INSERT INTO whole (c700, c3, c1500) SELECT g / 2, 't', 'x' FROM generate_series(1, 8) g";
    let changes = [
        "UPDATE keyed SET c1 = 7, c1499 = 8 WHERE c700 = 700; UPDATE keyed SET c1 = 9",
        "UPDATE keyed SET c700 = 1000 WHERE c700 = 3; DELETE FROM keyed WHERE c700 = 5",
        "INSERT INTO keyed (c700, c1, c1499) SELECT g, g, g FROM generate_series(2000, 2035) g",
        "UPDATE whole SET c1 = 7, c1499 = 8 WHERE c700 = 700",
        "UPDATE whole SET c1 = 7 WHERE ctid IN (SELECT ctid FROM whole WHERE c700 < 4 LIMIT 5)",
        "INSERT INTO whole (c700, c1, c1599) SELECT g, g, g FROM generate_series(2000, 2035) g",
        "DELETE FROM whole WHERE c700 < 3",
        "UPDATE beside SET c1 = 7, c1499 = 8; UPDATE beside SET c700 = 1000 WHERE c700 = 3",
        "UPDATE beside SET id = DEFAULT WHERE c700 < 10",
    ];
    let tables = ["keyed", "whole", "beside"];
    Case { source, changes: &changes, tables: &tables, ..Case::default() }.arrives().await;
}
