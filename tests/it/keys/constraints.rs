//! Constraints and indexes at the destination that identify nothing, and can still refuse rows.

use crate::support::agent::{Agent, Output};
use crate::support::both_ways::Case;
use crate::support::cluster::pair;
use crate::support::compare::assert_same;

const WRITER: &str = "CREATE ROLE writer LOGIN; GRANT CREATE ON DATABASE postgres TO writer;
    GRANT ALL ON SCHEMA public TO writer; SET ROLE writer;";

/// Without the replica role they are checked: at the end, as at the source.
#[tokio::test]
async fn what_may_be_deferred_is_checked_at_the_end() {
    let tables = "
        CREATE TABLE parent (id int PRIMARY KEY);
        CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent DEFERRABLE);
        CREATE TABLE late (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE often (id int PRIMARY KEY, n int UNIQUE DEFERRABLE);
        CREATE TABLE apart (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&) DEFERRABLE);";
    let source = format!(
        "{tables} INSERT INTO late SELECT g, g FROM generate_series(1, 9) g; INSERT INTO often SELECT * FROM late;
         INSERT INTO apart SELECT g, int4range(g * 10, g * 10 + 10) FROM generate_series(1, 9) g"
    );
    let destination = format!("{WRITER} {tables}");
    let changes = [
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO child VALUES (1, 1); INSERT INTO parent VALUES (1); COMMIT",
        "UPDATE late SET n = 10 - n; UPDATE often SET n = n + 1; UPDATE often SET n = n - 1",
        "UPDATE apart SET r = int4range(lower(r) + 10, upper(r) + 10)",
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO late VALUES (20, 5); DELETE FROM late WHERE n = 5 AND id < 20; COMMIT",
    ];
    let case = Case {
        source: &source,
        destination: &destination,
        changes: &changes,
        tables: &["parent", "child", "late", "often", "apart"],
        role: "writer",
        ..Case::default()
    };
    case.arrives().await;
}

/// Partial ones, over expressions, with NULLs, exclusions; and values that travel from row to row.
#[tokio::test]
async fn indexes_that_are_no_keys_never_collide() {
    let source = "
        CREATE TABLE su (id int PRIMARY KEY, b int, c text, r int4range, flag bool, n int);
        INSERT INTO su SELECT g, g / 2, 'c' || g, int4range(g * 10, g * 10 + 10), false, NULL
          FROM generate_series(1, 9) g;
        CREATE TABLE chain (id int PRIMARY KEY, a text, UNIQUE (a));
        INSERT INTO chain SELECT g, 'v' || g FROM generate_series(1, 9) g";
    let destination = "
        CREATE TABLE su (id int PRIMARY KEY, b int, c text, r int4range, flag bool, n int UNIQUE,
          EXCLUDE USING gist (r WITH &&));
        CREATE UNIQUE INDEX ON su (b) WHERE flag; CREATE UNIQUE INDEX ON su (lower(c))";
    let changes = [
        "INSERT INTO su SELECT g, 1, 'C' || g, int4range(g * 10, g * 10 + 10), false, NULL FROM generate_series(10, 60) g",
        "UPDATE su SET flag = true WHERE id = 2; UPDATE su SET flag = false WHERE id = 2; UPDATE su SET flag = true WHERE id = 3",
        "BEGIN; UPDATE su SET c = 'tmp' WHERE id = 1; UPDATE su SET c = 'C1' WHERE id = 2; UPDATE su SET c = 'c2' WHERE id = 1; COMMIT",
        "BEGIN; UPDATE su SET r = 'empty' WHERE id = 1; UPDATE su SET r = '[10,20)' WHERE id = 2; UPDATE su SET r = '[20,30)' WHERE id = 1; COMMIT",
        "BEGIN; UPDATE su SET n = 1 WHERE id = 1; DELETE FROM su WHERE id = 1; INSERT INTO su VALUES (100, 1, 'c2', '[20,30)', false, 1); COMMIT",
        // One value after the other moves up, and the last one goes round.
        "BEGIN; UPDATE chain SET a = 'x' WHERE id = 9; UPDATE chain SET a = 'v9' WHERE id = 8; UPDATE chain SET a = 'v8' WHERE id = 7; UPDATE chain SET a = 'v7' WHERE id = 9; COMMIT",
        "BEGIN; DELETE FROM chain WHERE id = 1; INSERT INTO chain VALUES (11, 'v1'); UPDATE chain SET id = 1 WHERE id = 11; COMMIT",
        "BEGIN; UPDATE chain SET id = 20, a = 'y' WHERE id = 2; INSERT INTO chain VALUES (2, 'v2'); DELETE FROM chain WHERE id = 20; COMMIT",
    ];
    let tables = ["su", "chain"];
    let case = Case { source, destination, changes: &changes, tables: &tables, ..Case::default() };
    case.arrives().await;
}

fn remedies(checked: &Output, severity: &str) -> Vec<(String, String)> {
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("a list").iter();
    let of = findings.filter(|finding| finding["severity"] == severity);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    of.map(|finding| (text(&finding["object"]), text(&finding["remedy"]))).collect()
}

#[tokio::test]
async fn a_destination_whose_key_is_another_is_found_and_mended() {
    let (source, destination) = pair().await;
    // What the destination has instead of a primary key on id, and whether that will do.
    let pairs = [
        ("none", "", false),
        ("more", ", PRIMARY KEY (id, v)", false),
        ("part", "; CREATE UNIQUE INDEX ON part (id) WHERE id > 0", false),
        ("late", ", PRIMARY KEY (id) DEFERRABLE", false),
        ("expression", "; CREATE UNIQUE INDEX ON expression (abs(id))", false),
        ("apart", ", EXCLUDE USING btree (id WITH =)", false),
        ("other", ", PRIMARY KEY (v), UNIQUE (id)", true),
        ("covering", "; CREATE UNIQUE INDEX ON covering (id) INCLUDE (v)", true),
    ];
    for (name, key, _) in pairs {
        source.exec(&format!("CREATE TABLE {name} (id int PRIMARY KEY, v text UNIQUE)")).await;
        source
            .exec(&format!("INSERT INTO {name} VALUES (1, 'one'), (2, 'two'), (3, 'three')"))
            .await;
        let (key, rest) = key.split_once(';').unwrap_or((key, ""));
        destination.exec(&format!("CREATE TABLE {name} (id int, v text{key}); {rest}")).await;
    }
    let mut agent = Agent::between(&source, &destination).set("apply.max_batch_rows", "1000000");
    let checked = agent.verb(&["check", "--output", "json"]).await;
    assert_eq!(checked.code, 4, "{checked:?}");
    let found = remedies(&checked, "error");
    let mut objects: Vec<&str> = found.iter().map(|(object, _)| object.as_str()).collect();
    objects.sort_unstable();
    let refused = pairs.iter().filter(|(.., fits)| !fits);
    let mut expected: Vec<String> =
        refused.map(|(name, ..)| format!("table \"public\".\"{name}\"")).collect();
    expected.sort_unstable();
    assert_eq!(objects, expected);
    assert_eq!(agent.verb(&["run"]).await.code, 4);
    assert_eq!(destination.count("other").await, 0, "before any write");
    for (_, remedy) in &found {
        destination.exec(remedy).await;
    }
    agent.start_and_stream().await;
    let tables = pairs.map(|(name, ..)| name);
    let churn: Vec<String> = tables
        .iter()
        .map(|t| {
            format!(
                "BEGIN; DELETE FROM {t} WHERE id = 1; INSERT INTO {t} VALUES (1, 'one-b');
                 UPDATE {t} SET id = 99 WHERE id = 2; UPDATE {t} SET id = 2 WHERE id = 3;
                 UPDATE {t} SET id = 3 WHERE id = 99; INSERT INTO {t} VALUES (4, 'x');
                 UPDATE {t} SET id = 5 WHERE id = 4; DELETE FROM {t} WHERE id = 5;
                 INSERT INTO {t} VALUES (6, 'a'); UPDATE {t} SET v = 'b' WHERE id = 6; COMMIT"
            )
        })
        .collect();
    source.exec(&churn.join("; ")).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &tables).await;
}

/// Two rows that swap values under an immediate constraint: no order of single rows satisfies it.
#[tokio::test]
async fn a_swap_that_the_destination_refuses_holds_until_its_constraint_may_wait() {
    let (source, destination) = pair().await;
    source
        .exec("CREATE TABLE pos (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO pos VALUES (1, 1), (2, 2)")
        .await;
    destination.exec("CREATE TABLE pos (id int PRIMARY KEY, n int UNIQUE)").await;
    let mut agent = Agent::between(&source, &destination);
    let checked = agent.verb(&["check", "--output", "json"]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let warnings = remedies(&checked, "warning");
    let (object, remedy) = warnings.first().expect("it is said beforehand");
    assert_eq!(object, "index \"pos_n_key\" of table \"public\".\"pos\"");
    agent.start_and_stream().await;
    source.exec("UPDATE pos SET n = 3 - n").await;
    agent.wait_for_state("degraded").await;
    let reason = agent.status().await["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("pos_n_key"), "{reason}");
    let rows = "SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM pos";
    assert_eq!(destination.scalar(rows).await, "1:1 2:2", "nothing is half applied");
    destination.exec(remedy).await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["pos"]).await;
}

/// Triggers that keep rows from being written: counted, in the copy and in the tail, and never a
/// reason to stop.
#[tokio::test]
async fn rows_that_a_trigger_suppresses_are_counted() {
    let (source, destination) = pair().await;
    let tables = "
        CREATE TABLE inserted (id int PRIMARY KEY, v int); CREATE TABLE updated (id int PRIMARY KEY, v int);
        CREATE TABLE bare (id int, v int); CREATE TABLE wide (id int PRIMARY KEY, v int, big text);";
    source
        .exec(&format!(
            "{tables} ALTER TABLE bare REPLICA IDENTITY FULL;
             ALTER TABLE wide ALTER big SET STORAGE EXTERNAL;
             INSERT INTO wide SELECT g, 1, repeat(md5(g::text), 100) FROM generate_series(1, 50) g;
             INSERT INTO inserted SELECT generate_series(1, 10), 1;
             INSERT INTO updated SELECT generate_series(1, 100), 1;
             INSERT INTO bare SELECT generate_series(1, 10), 1"
        ))
        .await;
    destination
        .exec(&format!(
            "{tables} CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF NEW.id % 5 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;
             CREATE TRIGGER suppress BEFORE INSERT ON inserted FOR EACH ROW EXECUTE FUNCTION suppress();
             CREATE TRIGGER suppress BEFORE UPDATE ON updated FOR EACH ROW EXECUTE FUNCTION suppress();
             CREATE TRIGGER suppress BEFORE UPDATE ON bare FOR EACH ROW EXECUTE FUNCTION suppress();
             CREATE TRIGGER suppress BEFORE UPDATE ON wide FOR EACH ROW EXECUTE FUNCTION suppress();
             ALTER TABLE wide ENABLE ALWAYS TRIGGER suppress;
             ALTER TABLE inserted ENABLE REPLICA TRIGGER suppress;
             ALTER TABLE updated ENABLE ALWAYS TRIGGER suppress;
             ALTER TABLE bare ENABLE ALWAYS TRIGGER suppress"
        ))
        .await;
    let mut agent = Agent::between(&source, &destination);
    agent.start_and_stream().await;
    let counted = async |agent: &Agent, table: &str, kind: &str| {
        let labels = [format!("table=\"public.{table}\""), format!("kind=\"{kind}\"")];
        let labels = labels.each_ref().map(String::as_str);
        agent.metric("sync_agent_conflicts_total", &labels).await.unwrap_or(0.0)
    };
    assert!((counted(&agent, "inserted", "suppressed").await - 2.0).abs() < 0.1, "the copy");
    for (sql, table, count) in [
        ("INSERT INTO inserted SELECT generate_series(11, 20), 1", "inserted", 4.0),
        ("INSERT INTO inserted SELECT generate_series(21, 70), 1", "inserted", 14.0),
        ("UPDATE updated SET v = 2 WHERE id <= 10", "updated", 2.0),
        ("UPDATE updated SET v = 3", "updated", 22.0),
        ("UPDATE bare SET v = 2", "bare", 2.0),
        // Without their large values, one by one and many at once.
        ("UPDATE wide SET v = 2 WHERE id <= 10", "wide", 2.0),
        ("UPDATE wide SET v = 3", "wide", 12.0),
    ] {
        source.exec(sql).await;
        agent.caught_up().await;
        let counted = counted(&agent, table, "suppressed").await;
        assert!((counted - count).abs() < 0.1, "{sql}: {counted}");
    }
    for table in ["inserted", "updated", "bare", "wide"] {
        for kind in ["insert_exists", "update_missing"] {
            assert!(counted(&agent, table, kind).await < 0.1, "{table} {kind}");
        }
    }
    assert_eq!(destination.count("inserted").await, 56);
    assert_eq!(destination.count("updated WHERE v = 3").await, 80);
    assert_eq!(destination.count("bare").await, 10, "no row twice");
}
