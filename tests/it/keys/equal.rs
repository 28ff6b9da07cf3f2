//! Keys of every type, and keys that are equal without being the same text.

use std::fmt::Write as _;

use crate::support::both_ways::Case;

/// Types that users made are found by their schema alone: nothing is on our `search_path`.
const OBJECTS: &str = "
    CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION ltree;
    CREATE EXTENSION isn SCHEMA ext; CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
    CREATE DOMAIN ext.mail AS ext.citext; CREATE TYPE pair AS (a int, b text);
    CREATE COLLATION ext.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);";

/// A type and three different keys.
const TYPES: &[(&str, [&str; 3])] = &[
    (
        "uuid",
        [
            "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    ("bytea", ["\\x", "\\x00ff", "\\x5c"]),
    ("timestamptz", ["2020-01-01 12:00:00.000001+02", "-infinity", "0044-03-15 BC"]),
    ("date", ["infinity", "2020-02-29", "0001-01-01 BC"]),
    ("time", ["24:00", "00:00", "12:00:00.5"]),
    ("numeric", ["NaN", "12345678901234567890.123", "-0.001"]),
    ("float8", ["NaN", "Infinity", "1e-300"]),
    ("mood", ["sad", "ok", "glad"]),
    ("pair", ["(1,)", "(1,\"a b\")", "(,x)"]),
    ("int4range", ["empty", "[1,5)", "(,)"]),
    ("int[]", ["{}", "[0:1]={1,NULL}", "{{1},{2}}"]),
    ("inet", ["10.0.0.1/8", "::1", "10.0.0.1"]),
    ("bit(4)", ["0000", "1010", "1111"]),
    ("varbit", ["", "1", "10"]),
    ("macaddr", ["08:00:2b:01:02:03", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"]),
    ("char(5)", ["", "a", "b"]),
    ("\"char\"", ["a", "\\377", ""]),
    ("name", ["a", "B", "%s '$1\""]),
    ("jsonb", ["{\"a\": 1}", "[]", "null"]),
    ("ltree", ["a.b", "c", "d.e.f"]),
    ("ext.isbn13", ["978-0-11-000533-1", "978-0-393-04002-9", "978-0-11-000222-4"]),
    ("ext.citext", ["a", "b", "c"]),
    ("ext.mail", ["a@x", "b@x", "c@x"]),
];

/// Two spellings of one key.
const SPELLINGS: &[(&str, [&str; 2])] = &[
    ("ext.citext", ["a", "A"]),
    ("ext.mail", ["a@X", "A@x"]),
    ("text COLLATE ext.loose", ["a", "A"]),
    ("numeric", ["1.0", "1.00"]),
    ("float8", ["-0", "0"]),
    ("interval", ["1 mon", "30 days"]),
    ("jsonb", ["{\"a\": 1.0}", "{\"a\": 1.00}"]),
];

#[tokio::test]
async fn keys_of_every_type_and_in_every_spelling_arrive() {
    let mut source = OBJECTS.to_owned();
    let (mut changes, mut tables) = (Vec::new(), Vec::new());
    let mut table = |source: &mut String, of: &str| {
        let name = format!("k{}", tables.len());
        write!(source, "CREATE TABLE {name} (k {of} PRIMARY KEY, v int, big text); ALTER TABLE {name} ALTER big SET STORAGE EXTERNAL;").expect("a String takes text");
        tables.push(name.clone());
        name
    };
    for (of, keys) in TYPES {
        let name = table(&mut source, of);
        let [a, b, c] = keys.map(|key| format!("'{}'", key.replace('\'', "''")));
        write!(
            source,
            "INSERT INTO {name} VALUES ({a}, 1, repeat('x', 5000)), ({b}, 2, repeat('y', 5000));"
        )
        .expect("a String takes text");
        let is = |key: &str| format!("k::text = ({key}::{of})::text");
        changes.push(format!(
            "UPDATE {name} SET v = 3 WHERE {}; UPDATE {name} SET k = {c} WHERE {};
             INSERT INTO {name} VALUES ({b}, 4); DELETE FROM {name} WHERE {};
             INSERT INTO {name} VALUES ({a}, 5)",
            is(&a),
            is(&b),
            is(&a),
        ));
    }
    for (of, spellings) in SPELLINGS {
        let name = table(&mut source, of);
        let [a, b] = spellings.map(|key| format!("'{key}'"));
        write!(source, "INSERT INTO {name} VALUES ({a}, 1, repeat('x', 5000));")
            .expect("a String takes text");
        changes.extend([
            // Only the spelling changes, and the large value is not sent.
            format!("UPDATE {name} SET k = {b}"),
            format!("BEGIN; DELETE FROM {name}; INSERT INTO {name} VALUES ({a}, 2); COMMIT"),
            // There and back again.
            format!("BEGIN; UPDATE {name} SET v = 3; UPDATE {name} SET k = {b}; UPDATE {name} SET v = 4; UPDATE {name} SET k = {a}; COMMIT"),
            format!("BEGIN; DELETE FROM {name}; INSERT INTO {name} VALUES ({b}, 5); DELETE FROM {name}; COMMIT"),
            format!("BEGIN; INSERT INTO {name} VALUES ({a}, 6); DELETE FROM {name}; INSERT INTO {name} VALUES ({b}, 7); COMMIT"),
        ]);
    }
    // Many at once go another way.
    changes.push(
        "CREATE TEMPORARY TABLE many AS SELECT 'g' || g AS k, g AS v FROM generate_series(1, 60) g;
         INSERT INTO ci SELECT k, v FROM many; INSERT INTO lt SELECT k::ltree, v FROM many;
         UPDATE ci SET v = v + 1; UPDATE lt SET v = v + 1;
         DELETE FROM ci WHERE v > 20; DELETE FROM lt WHERE v > 20"
            .to_owned(),
    );
    source.push_str(
        "CREATE TABLE ci (k ext.citext PRIMARY KEY, v int); CREATE TABLE lt (k ltree PRIMARY KEY, v int);
         INSERT INTO ci SELECT 'old' || g, g FROM generate_series(1, 60) g;
         INSERT INTO lt SELECT ('old' || g)::ltree, g FROM generate_series(1, 60) g;",
    );
    tables.extend(["ci".to_owned(), "lt".to_owned()]);
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    let case = Case {
        source: &source,
        destination: OBJECTS,
        changes: &changes,
        tables: &tables,
        ..Case::default()
    };
    case.arrives().await;
}
