//! Rows that stay at the destination once the source has deleted them. What should be there is kept by a
//! trigger at the source, in a table that is not replicated.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};
use crate::support::hold::{GATE, Hold};

/// `shadow` has every row that ever was: as it is, or as it was when it was deleted.
const SHADOW: &str = "
    CREATE TABLE shadow (of text, id text, v text, deleted bool, PRIMARY KEY (of, id));
    CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' OR NEW.v = 'hidden' THEN
            UPDATE shadow SET deleted = true WHERE of = TG_ARGV[0] AND id = OLD.id::text;
            RETURN NULL;
        ELSIF TG_OP = 'UPDATE' AND OLD.id <> NEW.id THEN
            DELETE FROM shadow WHERE of = TG_ARGV[0] AND id = OLD.id::text;
        END IF;
        INSERT INTO shadow VALUES (TG_ARGV[0], NEW.id::text, NEW.v, false)
            ON CONFLICT (of, id) DO UPDATE SET v = excluded.v, deleted = false;
        RETURN NULL;
    END $$;";

/// Marked in a column of our making; with a second unique index, whose order counts; in a boolean; under
/// a FULL identity; by a hashed key; in a partitioned table; with large values; with a filter on our side of
/// the stream. Kept; kept and unique.
const TABLES: [&str; 10] = ["mt", "mu", "mb", "mf", "mh", "mp", "ml", "mw", "kk", "ku"];

fn create(table: &str) -> String {
    let columns = match table {
        "mu" | "ku" => "(id int PRIMARY KEY, v text UNIQUE)",
        "mh" => "(id text PRIMARY KEY, v text)",
        "mp" => "(id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
        "ml" => "(id int PRIMARY KEY, v text, body text)",
        _ => "(id int PRIMARY KEY, v text)",
    };
    let more = match table {
        "mf" => "ALTER TABLE mf REPLICA IDENTITY FULL",
        "mp" => {
            "CREATE TABLE mp_1 PARTITION OF mp FOR VALUES FROM (0) TO (50); \
             CREATE TABLE mp_2 PARTITION OF mp FOR VALUES FROM (50) TO (10000)"
        }
        "ml" => "ALTER TABLE ml ALTER body SET STORAGE EXTERNAL",
        _ => "",
    };
    let body = if table == "ml" { ", repeat(md5(g::text), 500)" } else { "" };
    let id = if table == "mh" { "g::text" } else { "g" };
    format!(
        "CREATE TABLE {table} {columns}; {more};
         CREATE TRIGGER follow AFTER INSERT OR UPDATE OR DELETE ON {table}
             FOR EACH ROW EXECUTE FUNCTION follow('{table}');
         INSERT INTO {table} SELECT {id}, 'v' || g{body} FROM generate_series(1, 9) g;
         INSERT INTO {table} SELECT {id}, 'v' || g{body} FROM generate_series(100, 199) g;"
    )
}

fn agent(source: &Cluster, destination: &Cluster, max_batch_rows: &str) -> Agent {
    let mut agent = Agent::between(source, destination)
        .set("exclude", "[\"public.shadow\", \"public.mp_*\"]")
        .set("apply.max_batch_rows", max_batch_rows);
    for table in TABLES {
        let on_delete = match table {
            "mb" => "mark:gone",
            table if table.starts_with('m') => "mark:deleted_at",
            _ => "keep",
        };
        let mut section =
            format!("[[table]]\nname = \"public.{table}\"\non_delete = {on_delete:?}");
        if table == "mw" {
            section += "\nwhere = \"v <> 'hidden'\"";
        }
        if table == "mh" {
            section += "\n[table.columns]\nid = { hash = \"sha256\", rename = \"id_hash\" }\n\
                        v = { rename = \"value\" }";
        }
        agent = agent.section(&section);
    }
    agent
}

/// One change after the other; the rows that stay are in the way of the later ones.
fn changes(table: &str) -> Vec<String> {
    let id = |id: u32| if table == "mh" { format!("'{id}'") } else { id.to_string() };
    let insert =
        |at: u32, v: &str| format!("INSERT INTO {table} (id, v) VALUES ({}, '{v}')", id(at));
    let delete = |at: u32| format!("DELETE FROM {table} WHERE id = {}", id(at));
    let moves =
        |from: u32, to: u32| format!("UPDATE {table} SET id = {} WHERE id = {}", id(to), id(from));
    let update = |at: u32, v: &str| format!("UPDATE {table} SET v = '{v}' WHERE id = {}", id(at));
    let together = |statements: &[String]| format!("BEGIN; {}; COMMIT", statements.join("; "));
    let mut changes = vec![
        delete(1),
        // Its value, which is unique in some tables, is free again.
        insert(98, "v1"),
        delete(2),
        insert(2, "again 2"),
        together(&[delete(3), insert(3, "again 3")]),
        insert(10, "new 10"),
        delete(10),
        together(&[insert(11, "new 11"), delete(11)]),
        update(4, "last 4"),
        delete(4),
        // Another row gets the key of one that stays.
        together(&[delete(5), moves(6, 5)]),
        moves(7, 70),
        moves(70, 71),
        together(&[delete(8), insert(8, "again 8"), delete(8)]),
        together(&[insert(12, "a"), update(12, "b"), delete(12), insert(12, "c 12")]),
        insert(7, "another 7"),
        moves(71, 7_000),
        delete(7),
        moves(7_000, 7),
        // As many as go by set.
        format!("DELETE FROM {table} WHERE v LIKE 'v1__'"),
        format!(
            "INSERT INTO {table} (id, v) SELECT {}, 'again ' || g FROM generate_series(100, 149) g",
            if table == "mh" { "g::text" } else { "g" }
        ),
    ];
    if table == "mw" {
        // Out, still out, in again, and both at once.
        changes.extend([update(9, "hidden"), update(9, "hidden"), update(9, "back 9")]);
        changes.push(together(&[update(9, "hidden"), update(9, "back again")]));
    }
    changes
}

async fn assert_kept(source: &Cluster, destination: &Cluster, tables: &[&str]) {
    for &table in tables {
        let (hidden, mark) = match table {
            "mh" => ("encode(sha256(convert_to(id, 'UTF8')), 'hex')", "deleted_at IS NOT NULL"),
            "mb" => ("id", "gone"),
            table if table.starts_with('m') => ("id", "deleted_at IS NOT NULL"),
            // A row that is kept does not say so.
            _ => ("id", ""),
        };
        let names = if table == "mh" { ("id_hash", "value") } else { ("id::text", "v") };
        let (deleted, mark) = match mark {
            "" => (String::new(), String::new()),
            mark => (", deleted".to_owned(), format!(", {mark}")),
        };
        let here = format!("(SELECT * FROM shadow WHERE of = '{table}') AS s");
        let pair = Pair::renamed(&here, table)
            .columns(&format!("{hidden}, v{deleted}"), &format!("{}, {}{mark}", names.0, names.1));
        assert_pair(source, destination, pair).await;
    }
}

async fn conflicts(agent: &Agent, table: &str, kind: &str) -> f64 {
    let labels = [&format!("table=\"public.{table}\""), &format!("kind=\"{kind}\"")];
    let count = agent.metric("sync_agent_conflicts_total", &labels.map(String::as_str)).await;
    count.unwrap_or(0.0)
}

async fn changes_of(agent: &Agent, table: &str, op: &str) -> f64 {
    let labels = [&format!("table=\"public.{table}\""), &format!("op=\"{op}\"")];
    let count = agent.metric("sync_agent_rows_total", &labels.map(String::as_str)).await;
    count.unwrap_or(0.0)
}

async fn rows_stay(max_batch_rows: &str) {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source.exec(SHADOW).await;
    for table in TABLES {
        source.exec(&create(table)).await;
    }
    // NULL, not false, in rows that somebody else has written.
    destination.exec("CREATE TABLE mb (id int PRIMARY KEY, gone boolean, v text)").await;
    let mut agent = agent(&source, &destination, max_batch_rows);
    agent.start_and_stream().await;
    assert_kept(&source, &destination, &TABLES).await;
    let before = source.scalar("SELECT clock_timestamp()").await;
    let hold = Hold::place(&source, &destination).await;
    for table in TABLES {
        for change in changes(table) {
            source.exec(&change).await;
        }
    }
    hold.release().await;
    agent.caught_up().await;
    let after = source.scalar("SELECT clock_timestamp()").await;
    assert_kept(&source, &destination, &TABLES).await;
    let times =
        format!("SELECT count(*) FROM mt WHERE deleted_at NOT BETWEEN '{before}' AND '{after}'");
    assert_eq!(destination.scalar(&times).await, "0", "it is when the source has committed");
    // Unsent large values have moved with their rows.
    let there = Pair::renamed("ml", "(SELECT * FROM ml WHERE deleted_at IS NULL) AS l")
        .columns("id, v, body", "id, v, body");
    assert_pair(&source, &destination, there).await;
    for table in TABLES {
        for kind in ["insert_exists", "update_missing", "delete_missing", "suppressed"] {
            let count = conflicts(&agent, table, kind).await;
            assert_eq!(count, 0.0, "{table}: {kind}");
        }
        // Those of a partitioned table that crossed from one partition to the other are two more.
        let expected = match table {
            "mp" => 113.0,
            "mw" => 114.0,
            _ => 111.0,
        };
        assert_eq!(changes_of(&agent, table, "delete").await, expected, "{table}");
    }
    // Once more after a kill, in which nothing is done twice; and a row that somebody has taken away.
    agent.kill9();
    destination.exec("DELETE FROM mt WHERE id = 9; DELETE FROM kk WHERE id = 9").await;
    for table in TABLES {
        source.exec(&format!("DELETE FROM {table} WHERE v IN ('v9', 'c 12')")).await;
        source.exec("DELETE FROM shadow WHERE of IN ('mt', 'kk') AND id = '9'").await;
    }
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_kept(&source, &destination, &TABLES).await;
    for (table, expected) in [("mt", 1.0), ("kk", 0.0)] {
        assert_eq!(conflicts(&agent, table, "delete_missing").await, expected, "{table}");
    }
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn rows_stay_with_one_row_a_batch() {
    rows_stay("1").await;
}

#[tokio::test]
async fn rows_stay_with_everything_in_one_batch() {
    rows_stay("1000000").await;
}

#[tokio::test]
async fn rows_stay_when_their_table_is_copied_again_or_emptied() {
    let (source, destination) = pair().await;
    source.exec(SHADOW).await;
    for table in TABLES {
        source.exec(&create(table)).await;
    }
    destination.exec("CREATE TABLE mb (id int PRIMARY KEY, gone boolean, v text)").await;
    let mut agent = agent(&source, &destination, "50000");
    agent.start_and_stream().await;
    for table in TABLES {
        source.exec(&format!("DELETE FROM {table} WHERE v IN ('v1', 'v2')")).await;
    }
    agent.caught_up().await;
    assert_eq!(agent.terminate().await, Some(0));
    // Nobody sees these, not even the stream.
    let all: Vec<&str> = TABLES.to_vec();
    source.exec(&format!("ALTER PUBLICATION sync_agent_it DROP TABLE {}", all.join(", "))).await;
    for table in TABLES {
        let (two, last) = if table == "mh" { ("'2'", "'300'") } else { ("2", "300") };
        source
            .exec(&format!(
                "DELETE FROM {table} WHERE v IN ('v3', 'v4'); UPDATE {table} SET v = 'w5' WHERE v = 'v5'; \
                 INSERT INTO {table} (id, v) VALUES ({two}, 'again 2'), ({last}, 'v300')"
            ))
            .await;
    }
    source.exec(&format!("ALTER PUBLICATION sync_agent_it ADD TABLE {}", all.join(", "))).await;
    agent.start_and_stream().await;
    agent.caught_up().await;
    assert_kept(&source, &destination, &TABLES).await;
    source.exec("TRUNCATE mt, mb, mp, kk").await;
    source.exec("INSERT INTO mt VALUES (100, 'after'), (301, 'after')").await;
    agent.caught_up().await;
    assert_kept(&source, &destination, &TABLES).await;
    for table in ["mt", "kk"] {
        assert_eq!(changes_of(&agent, table, "truncate").await, 1.0, "{table}");
    }
    // Now they are known to be gone.
    source
        .exec(
            "UPDATE shadow SET deleted = true WHERE of IN ('mb', 'mp') \
             OR of = 'mt' AND id NOT IN ('100', '301')",
        )
        .await;
    let output = agent.verb(&["resync", "--all", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_kept(&source, &destination, &TABLES).await;
    let output = agent.verb(&[
        "resync",
        "--table",
        "public.mt",
        "--table",
        "public.kk",
        "--truncate",
        "--yes",
    ]);
    let output = output.await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_eq!(destination.count("mt").await, 2, "who says so gets what the source has");
    assert_eq!(destination.count("kk").await, 0);
    assert_eq!(agent.terminate().await, Some(0));
}

#[tokio::test]
async fn what_cannot_be_marked_is_found_with_the_statement() {
    let (source, destination) = pair().await;
    source
        .exec(
            "CREATE TABLE a (id int PRIMARY KEY, v text UNIQUE); CREATE TABLE b (id int PRIMARY KEY);
             CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY, gone text);
             CREATE TABLE e (v text); ALTER TABLE e REPLICA IDENTITY FULL;
             CREATE TABLE f (id int PRIMARY KEY, a int REFERENCES a)",
        )
        .await;
    destination
        .exec(
            "CREATE TABLE a (id int PRIMARY KEY, v text UNIQUE);
             CREATE TABLE b (id int PRIMARY KEY, gone text);
             CREATE TABLE c (id int PRIMARY KEY, gone timestamptz NOT NULL DEFAULT now())",
        )
        .await;
    let section =
        |table: &str| format!("[[table]]\nname = \"public.{table}\"\non_delete = \"mark:gone\"");
    let mut agent = Agent::between(&source, &destination).set("exclude", "[\"public.d\"]");
    for table in ["a", "b", "c", "e", "f"] {
        agent = agent.section(&section(table));
    }
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{}{}", output.stdout, output.stderr);
    for finding in [
        "no column \"gone\" to mark deleted rows in",
        "ALTER TABLE \"public\".\"a\" ADD COLUMN \"gone\" timestamptz",
        "CREATE UNIQUE INDEX ON \"public\".\"a\" (\"v\") WHERE \"gone\" IS NULL",
        "ALTER TABLE \"public\".\"b\" RENAME COLUMN \"gone\" TO \"gone_before\"",
        "ALTER TABLE \"public\".\"c\" ALTER COLUMN \"gone\" DROP NOT NULL",
        "no columns identify a row of the source's table",
    ] {
        assert!(output.stdout.contains(finding), "{finding}\n{}", output.stdout);
    }
    assert_eq!(agent.verb(&["run"]).await.code, 4);
    // Between two runs: what is missing then is not for a change at the source to bring.
    destination.exec("DROP TABLE a, b, c").await;
    agent.clear_sections();
    agent.start_and_stream().await;
    assert_eq!(agent.terminate().await, Some(0));
    let mut agent = agent.section(&section("a"));
    let output = agent.verb(&["run"]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    destination.exec("ALTER TABLE a ADD COLUMN gone timestamptz").await;
    agent.start_and_stream().await;
    source.exec("INSERT INTO a VALUES (1, 'x'), (2, 'y'); DELETE FROM a WHERE id = 1").await;
    agent.caught_up().await;
    assert_eq!(destination.scalar("SELECT array_agg(id) FROM a WHERE gone IS NULL").await, "{2}");
    assert_eq!(destination.count("a").await, 2);
    // The column appears at the source.
    source.exec("ALTER TABLE a ADD COLUMN gone int; INSERT INTO a VALUES (3, 'z', 3)").await;
    agent.wait_for_state("degraded").await;
    let log = agent.log();
    assert!(log.contains("E_SCHEMA") && log.contains("is the mark of deleted rows"), "{log}");
    source.exec("ALTER TABLE a DROP COLUMN gone").await;
    let output = agent.verb(&["resync", "--table", "public.a", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    agent.wait_for_state("streaming").await;
    agent.caught_up().await;
    assert_eq!(destination.count("a").await, 3);
    assert_eq!(agent.terminate().await, Some(0));
    let agent = Agent::between(&source, &destination)
        .set("include", "[\"public.d\"]")
        .section(&section("d"));
    let output = agent.verb(&["check"]).await;
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("table[0].on_delete: column \"gone\""), "{said}");
}
