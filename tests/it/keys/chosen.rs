//! `[[table]] key`: columns of the user's choice identify rows.

use crate::support::agent::Agent;
use crate::support::both_ways::Case;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

const KEYS: &str = "
    [[table]]\nname = \"public.bare\"\nkey = [\"code\"]
    [[table]]\nname = \"public.other\"\nkey = [\"b\", \"a\"]
    [[table]]\nname = \"public.part\"\nkey = [\"a\"]";

/// A table without a primary key; one whose primary key is another; a part of the primary key.
#[tokio::test]
async fn rows_are_found_by_the_key_of_the_configuration() {
    let source = "
        CREATE TABLE bare (v int, code text NOT NULL, big text);
        CREATE UNIQUE INDEX ON bare (code); ALTER TABLE bare REPLICA IDENTITY FULL;
        CREATE TABLE other (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, v int, big text, UNIQUE (a, b));
        ALTER TABLE other REPLICA IDENTITY FULL;
        CREATE TABLE part (a int UNIQUE, b int, v int, big text, PRIMARY KEY (a, b));
        ALTER TABLE bare ALTER big SET STORAGE EXTERNAL; ALTER TABLE part ALTER big SET STORAGE EXTERNAL;
        INSERT INTO bare SELECT g, 'c' || g, repeat('b', 4000) FROM generate_series(1, 50) g;
        INSERT INTO other SELECT g, g, -g, 1, repeat('b', 4000) FROM generate_series(1, 50) g;
        INSERT INTO part SELECT g, g, g, repeat('b', 4000) FROM generate_series(1, 50) g";
    let destination = "
        CREATE TABLE bare (v int, code text PRIMARY KEY, big text);
        CREATE TABLE other (id int, a int, b int, v int, big text, PRIMARY KEY (b, a))";
    let changes = [
        "UPDATE bare SET v = v + 1; UPDATE bare SET code = code || 'x' WHERE v < 10",
        "BEGIN; UPDATE bare SET code = 'tmp' WHERE v = 20; UPDATE bare SET code = 'c20' WHERE v = 21;
         UPDATE bare SET code = 'c19' WHERE code = 'tmp'; COMMIT",
        "DELETE FROM bare WHERE v % 9 = 0; INSERT INTO bare SELECT g, 'n' || g FROM generate_series(1, 60) g",
        "UPDATE other SET id = id + 1000, v = 2; UPDATE other SET b = -b WHERE a < 10",
        "BEGIN; DELETE FROM other WHERE a = 11; INSERT INTO other VALUES (1, 11, -11, 3); COMMIT",
        "DELETE FROM other WHERE a % 7 = 0",
        "UPDATE part SET b = b + 1; UPDATE part SET a = -a WHERE a < 10; DELETE FROM part WHERE a = 12",
        "BEGIN; DELETE FROM part WHERE a = 13; INSERT INTO part VALUES (13, 0, 3); COMMIT",
    ];
    let case = Case {
        source,
        destination,
        changes: &changes,
        tables: &["bare", "other", "part"],
        sections: KEYS,
        ..Case::default()
    };
    case.arrives().await;
}

/// Nothing is written before all of it is so; each finding's statement mends it.
#[tokio::test]
async fn what_a_key_needs_is_found_and_mended() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE t (id int PRIMARY KEY, code text); INSERT INTO t VALUES (1, 'a')")
        .await;
    destination.exec("CREATE TABLE t (id int PRIMARY KEY, code text)").await;
    let key = "[[table]]\nname = \"public.t\"\nkey = [\"code\"]";
    let wrong = Agent::between(&source, &destination).section(&key.replace("code", "cod"));
    for verb in ["check", "run"] {
        let refused = wrong.verb(&[verb]).await;
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert_eq!(refused.code, 3, "{said}");
        assert!(said.contains("table[0].key") && said.contains("does not exist"), "{said}");
    }
    let mut agent = Agent::between(&source, &destination).section(key);
    let mut mended = Vec::new();
    loop {
        let checked = agent.verb(&["check", "--output", "json"]).await;
        let report: serde_json::Value = serde_json::from_str(&checked.stdout).expect("JSON");
        let findings = report["findings"].as_array().expect("a list").iter();
        let remedies: Vec<(bool, String)> = findings
            .filter(|finding| finding["severity"] != "info")
            .filter_map(|f| Some((f["side"] == "source", f["remedy"].as_str()?.to_owned())))
            .collect();
        if remedies.is_empty() {
            assert_eq!(checked.code, 0, "{checked:?}");
            break;
        }
        assert!(mended.is_empty(), "one look finds all: {remedies:?}");
        assert_eq!(checked.code, 4, "{checked:?}");
        assert_eq!(agent.verb(&["run"]).await.code, 4);
        assert_eq!(agent.traces().await, Vec::<String>::new(), "nothing was made");
        for (is_source, remedy) in remedies {
            if is_source {
                source.exec(&remedy).await
            } else {
                destination.exec(&remedy).await
            }
            mended.push(remedy);
        }
    }
    assert_eq!(mended.len(), 4, "identity, NOT NULL, an index on each side: {mended:?}");
    agent.start_and_stream().await;
    source
        .exec("UPDATE t SET id = 5; UPDATE t SET code = 'b'; INSERT INTO t VALUES (1, 'c')")
        .await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;

    // Without the old values nobody could find the row.
    source
        .exec("ALTER TABLE t REPLICA IDENTITY DEFAULT; UPDATE t SET code = 'd' WHERE id = 1")
        .await;
    agent.wait_for_state("degraded").await;
    let reason = agent.status().await["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("REPLICA IDENTITY FULL") && reason.contains("\"code\""), "{reason}");
    assert_eq!(destination.count("t WHERE code = 'c'").await, 1, "held");
}

/// The key is a setting like a transform: rows were told apart by another one.
#[tokio::test]
async fn a_changed_key_is_refused_until_the_table_is_copied_again() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE);
             ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        )
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    let mut agent = agent.section("[[table]]\nname = \"public.t\"\nkey = [\"code\"]");
    let refused = agent.verb(&["run"]).await;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains(": key changed"), "{}", refused.stderr);
    let asked = agent.verb(&["resync", "--table", "public.t", "--yes"]).await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    agent.start_and_stream().await;
    source.exec("UPDATE t SET id = 20 WHERE code = 'b'; DELETE FROM t WHERE code = 'a'").await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["t"]).await;
}
