//! Hashed keys that change, beside filters and expressions: under every replica identity, with large values
//! that are not sent, and much of it to one row in one transaction.

use crate::support::agent::Agent;
use crate::support::compare::Pair;
use crate::support::thrice::Thrice;

/// `kd`: DEFAULT; `kf`: FULL; `ki`: USING INDEX, the key of which is hashed; `kp`: a filter over a key
/// that stays, so that it is pushed, beside a hashed column that is unique.
const TABLES: [&str; 4] = ["kd", "kf", "ki", "kp"];

fn create(table: &str) -> String {
    let identity = match table {
        "kf" => "FULL",
        "ki" => "USING INDEX ki_code_key",
        _ => "DEFAULT",
    };
    format!(
        "CREATE TABLE {table} (id int PRIMARY KEY, code text NOT NULL UNIQUE, region text, n int, body text); \
         ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL, REPLICA IDENTITY {identity}; \
         INSERT INTO {table} SELECT g, 'c' || g, CASE g % 3 WHEN 0 THEN 'us' WHEN 1 THEN 'eu' END, g, \
             repeat(md5(g::text), 90) FROM generate_series(1, 60) g; "
    )
}

fn condition(table: &str) -> &'static str {
    match table {
        "kd" => "region = 'eu' OR n > 50",
        "kf" => "region = 'eu' AND length(body) > 10",
        "ki" => "region = 'eu'",
        _ => "id % 2 = 0",
    }
}

fn section(table: &str) -> String {
    let columns = match table {
        "kd" => "id = { hash = \"sha256\" }\nmixed = { sql = \"n || left(body, 3)\" }",
        "kf" => "id = { hash = \"sha256\" }\nbody = { drop = true }",
        _ => "code = { hash = \"sha256\" }\nn = { sql = \"n * 2\" }",
    };
    format!(
        "[[table]]\nname = \"public.{table}\"\nwhere = \"{}\"\n[table.columns]\nsize = {{ sql = \"length(body)\" }}\n{columns}\n",
        condition(table)
    )
}

fn expected(table: &str) -> Pair {
    let hash = |column: &str| format!("encode(sha256({column}::text::bytea), 'hex')");
    let (here, there) = match table {
        "kd" => (
            format!("{}, code, region, n, body, n || left(body, 3)", hash("id")),
            "id, code, region, n, body, mixed",
        ),
        "kf" => (format!("{}, code, region, n", hash("id")), "id, code, region, n"),
        _ => (format!("id, {}, region, n * 2, body", hash("code")), "id, code, region, n, body"),
    };
    Pair::renamed(&format!("(SELECT * FROM {table} WHERE {}) AS s", condition(table)), table)
        .columns(&format!("{here}, length(body)"), &format!("{there}, size"))
}

fn changes(table: &str) -> String {
    format!(
        "-- Both keys, in and out of the filter with them; large values are not sent.
         UPDATE {table} SET id = id + 1000 WHERE id % 10 = 0;
         UPDATE {table} SET code = code || 'x' WHERE id % 10 = 1;
         UPDATE {table} SET id = id + 1001, code = code || 'y', region = 'eu' WHERE id % 10 = 2;
         UPDATE {table} SET id = id + 1001, code = code || 'z', region = 'us', n = 0 WHERE id % 10 = 3;
         UPDATE {table} SET region = 'eu' WHERE id % 10 = 4;
         UPDATE {table} SET region = 'us', n = 0 WHERE id % 10 = 5;
         UPDATE {table} SET id = id + 20000, code = code || 'w' WHERE id IN (56, 1050);
         -- There and back, by way of other keys.
         BEGIN; UPDATE {table} SET id = 5001, code = 'a' WHERE id = 7; UPDATE {table} SET region = 'us', n = 0 WHERE id = 5001;
         UPDATE {table} SET id = 5002, code = 'b' WHERE id = 5001; UPDATE {table} SET region = 'eu', n = 70 WHERE id = 5002;
         UPDATE {table} SET id = 5004, code = 'c' WHERE id = 5002; UPDATE {table} SET n = n + 1 WHERE id = 5004; COMMIT;
         BEGIN; UPDATE {table} SET region = 'us', n = 0 WHERE id = 16; UPDATE {table} SET id = 5016, code = 'q' WHERE id = 16;
         UPDATE {table} SET region = 'eu' WHERE id = 5016; COMMIT;
         -- Another row under the key of one that has moved or gone.
         BEGIN; UPDATE {table} SET id = 6026, code = 'm' WHERE id = 26; UPDATE {table} SET id = 26, code = 'c26' WHERE id = 27; COMMIT;
         BEGIN; DELETE FROM {table} WHERE id = 28; UPDATE {table} SET id = 28, code = 'c28', region = 'eu' WHERE id = 29; COMMIT;
         BEGIN; DELETE FROM {table} WHERE id = 36; INSERT INTO {table} VALUES (36, 'c36', 'us', 1, 'short');
         UPDATE {table} SET region = 'eu' WHERE id = 36; UPDATE {table} SET body = repeat('n', 3000) WHERE id = 36;
         UPDATE {table} SET id = 7036, code = 'r' WHERE id = 36; UPDATE {table} SET n = 71 WHERE id = 7036; COMMIT;
         -- They change places.
         BEGIN; UPDATE {table} SET id = -1, code = '-' WHERE id = 46; UPDATE {table} SET id = 46, code = 'c46' WHERE id = 47;
         UPDATE {table} SET id = 47, code = 'c47' WHERE id = -1; COMMIT;
         -- A value that changes, is let alone, and goes.
         BEGIN; UPDATE {table} SET body = repeat('k', 4000), region = 'eu' WHERE id = 48; UPDATE {table} SET n = 80 WHERE id = 48;
         UPDATE {table} SET id = 8048, code = 's' WHERE id = 48; UPDATE {table} SET body = NULL WHERE id = 8048; COMMIT;
         BEGIN; UPDATE {table} SET id = 9049, code = 't' WHERE id = 49; DELETE FROM {table} WHERE id = 9049; COMMIT;
         BEGIN; INSERT INTO {table} VALUES (58, 'new', 'us', 0, repeat('i', 3000)) ON CONFLICT DO NOTHING;
         UPDATE {table} SET region = 'eu', id = 59 + 9000 WHERE id = 59; UPDATE {table} SET region = 'us', n = 0 WHERE id = 9059; COMMIT"
    )
}

#[tokio::test]
async fn hashed_keys_that_change_take_their_rows_in_and_out_of_the_filter() {
    let setup = TABLES.map(create).concat();
    let sections = TABLES.map(section).concat();
    let configure = |agent: Agent| agent.section(&sections);
    let mut thrice = Thrice::start_with(&setup, "", configure).await;
    let pairs = TABLES.map(expected);
    thrice.assert_followed(&pairs).await;
    let changes = TABLES.map(changes);
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    thrice.play(&changes).await;
    thrice.assert_followed(&pairs).await;
    // The same once more, under identities that have changed since.
    thrice
        .source
        .exec(
            "ALTER TABLE kd REPLICA IDENTITY FULL; ALTER TABLE kf REPLICA IDENTITY DEFAULT; \
             ALTER TABLE ki REPLICA IDENTITY FULL; ALTER TABLE kp REPLICA IDENTITY FULL",
        )
        .await;
    thrice
        .play(&[
            "UPDATE kd SET id = -id, region = CASE WHEN region = 'eu' THEN 'us' ELSE 'eu' END WHERE n % 2 = 0",
            "UPDATE kf SET id = -id, region = CASE WHEN region = 'eu' THEN 'us' ELSE 'eu' END WHERE n % 2 = 0",
            "UPDATE kp SET id = id + 50001, code = code || '!' WHERE n % 3 = 0",
            "UPDATE kd SET n = n + 1; UPDATE kf SET n = n + 1; DELETE FROM kd WHERE n % 5 = 0; DELETE FROM kf WHERE n % 5 = 0",
        ])
        .await;
    thrice.assert_followed(&pairs).await;
    thrice.assert_copied(&pairs, configure).await;
}
