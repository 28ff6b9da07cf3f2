//! Updates that do not bring their row's large values, for rows that the destination has lost: they
//! are read again at the source, counted, and never made up.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair, assert_same};
use crate::support::hold::{GATE, Hold};

/// One table of each kind that is written in a way of its own: by key, in the source's order (a
/// second unique index), by delete and insert (an identity that no UPDATE may set), partitioned.
const TABLES: [&str; 4] = ["plain", "uniq", "ident", "parted"];

const CREATE: &str = "CREATE TABLE plain (id int PRIMARY KEY, body text, code char(3000), js jsonb, n int); \
     CREATE TABLE uniq (id int PRIMARY KEY, body text, code char(3000), js jsonb, n int UNIQUE); \
     CREATE TABLE ident (id int PRIMARY KEY, body text, code char(3000), js jsonb, n int, \
       g int GENERATED ALWAYS AS IDENTITY); \
     CREATE TABLE parted (id int PRIMARY KEY, body text, code char(3000), js jsonb, n int); \
     ALTER TABLE plain ALTER body SET STORAGE EXTERNAL, ALTER code SET STORAGE EXTERNAL; \
     ALTER TABLE uniq ALTER body SET STORAGE EXTERNAL, ALTER code SET STORAGE EXTERNAL; \
     ALTER TABLE ident ALTER body SET STORAGE EXTERNAL, ALTER code SET STORAGE EXTERNAL; \
     ALTER TABLE parted ALTER body SET STORAGE EXTERNAL, ALTER code SET STORAGE EXTERNAL";

/// What the destination has for `parted`.
const PARTITIONED: &str = "CREATE TABLE parted (id int PRIMARY KEY, body text, code char(3000), js jsonb, n int) \
     PARTITION BY RANGE (id); \
     CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (MINVALUE) TO (30); \
     CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (30) TO (MAXVALUE)";

/// Statement by statement, its own transaction each: what becomes of row 8 is known only later.
const CHANGES: [&str; 11] = [
    "UPDATE {t} SET n = -7 WHERE id = 7",
    "UPDATE {t} SET n = -70 WHERE id = 7",
    "UPDATE {t} SET n = -8 WHERE id = 8",
    "DELETE FROM {t} WHERE id = 8",
    // A key that moves, and moves on.
    "UPDATE {t} SET id = 109, n = -9 WHERE id = 9",
    "UPDATE {t} SET id = 209 WHERE id = 109",
    // A large value that comes after all.
    "UPDATE {t} SET n = -10 WHERE id = 10",
    "UPDATE {t} SET body = repeat('later', 2000) WHERE id = 10",
    // Gone and there again.
    "UPDATE {t} SET n = -11 WHERE id = 11",
    "DELETE FROM {t} WHERE id = 11",
    "INSERT INTO {t} VALUES (11, repeat('again', 2000), 'again', '{}', -12)",
];

/// Many at once, one of which nobody has.
const MANY: &str = "UPDATE {t} SET n = n - 1000 WHERE id BETWEEN 12 AND 60";

async fn fill(source: &Cluster) {
    source.exec(GATE).await;
    source.exec(CREATE).await;
    for table in TABLES {
        let sql = format!(
            "INSERT INTO {table} SELECT g, repeat(md5(g::text), 300), repeat(g::text || ' ', 700), \
             jsonb_build_object('k', (SELECT string_agg(md5((g + h)::text), '') FROM generate_series(1, 300) h)), g \
             FROM generate_series(1, 60) g"
        );
        source.exec(&sql).await;
    }
}

async fn rows_that_are_missing_are_read_again(max_batch_rows: &str, is_text: bool) {
    let (source, destination) = pair().await;
    fill(&source).await;
    if is_text {
        // Such a column does not travel in binary, and so nothing does.
        source.exec("CREATE TABLE names (id int PRIMARY KEY, c regclass)").await;
    }
    destination.exec(PARTITIONED).await;
    let mut agent =
        Agent::between(&source, &destination).set("apply.max_batch_rows", max_batch_rows);
    agent.start_and_stream().await;
    assert_same(&source, &destination, &TABLES).await;
    for table in TABLES {
        destination.exec(&format!("DELETE FROM {table} WHERE id BETWEEN 7 AND 11")).await;
        destination.exec(&format!("DELETE FROM {table} WHERE id IN (20, 21)")).await;
    }
    let hold = Hold::place(&source, &destination).await;
    for table in TABLES {
        for change in CHANGES {
            source.exec(&change.replace("{t}", table)).await;
        }
        source.exec(&MANY.replace("{t}", table)).await;
    }
    hold.release().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &TABLES).await;
    for table in TABLES {
        let name = format!("public.{table}");
        let labels = [("table", name.as_str()), ("kind", "update_missing")];
        let labels = labels.map(|(name, value)| format!("{name}=\"{value}\""));
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let counted = agent.metric("sync_agent_conflicts_total", &labels).await.unwrap_or(0.0);
        assert!(counted >= 2.0, "{table}: {counted}");
    }
    assert!(!agent.log().contains("E_CONFLICT"), "{}", agent.log());
}

#[tokio::test]
async fn with_one_row_a_batch() {
    rows_that_are_missing_are_read_again("1", false).await;
}

#[tokio::test]
async fn with_everything_in_one_batch() {
    rows_that_are_missing_are_read_again("1000000", false).await;
}

#[tokio::test]
async fn in_text() {
    rows_that_are_missing_are_read_again("50000", true).await;
}

/// The destination knows the row by a hash of its key, and the rest goes through steps, too.
#[tokio::test]
async fn through_the_steps_of_its_table() {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source
        .exec(
            "CREATE TABLE person (ssn text, part int, note text, body text, n int, PRIMARY KEY (part, ssn)); \
             ALTER TABLE person ALTER body SET STORAGE EXTERNAL, ALTER note SET STORAGE EXTERNAL; \
             INSERT INTO person SELECT 'no ' || g, g % 3, repeat('raw' || g, 1000), repeat(md5(g::text), 300), g \
             FROM generate_series(1, 50) g",
        )
        .await;
    let mut agent = Agent::between(&source, &destination).section(
        "[[table]]\nname = \"public.person\"\nunlisted = \"pass\"\n[table.columns]\n\
         ssn = { hash = \"sha256\", rename = \"who\" }\n\
         note = { hash = \"sha256\" }\n\
         body = { rename = \"text\" }\n",
    );
    agent.start_and_stream().await;
    destination.exec("DELETE FROM person WHERE n IN (7, 8, 9, 30)").await;
    source.exec("UPDATE person SET n = -7 WHERE n = 7").await;
    let hold = Hold::place(&source, &destination).await;
    source.exec("UPDATE person SET n = -8 WHERE n = 8").await;
    source.exec("UPDATE person SET ssn = 'moved', n = -9 WHERE n = 9").await;
    source.exec("UPDATE person SET n = n + 1000 WHERE n > 10").await;
    hold.release().await;
    agent.caught_up().await;
    let hashed = |column: &str| format!("encode(sha256({column}::bytea), 'hex')");
    assert_pair(
        &source,
        &destination,
        Pair::table("person").columns(
            &format!("{}, part, {}, body, n", hashed("ssn"), hashed("note")),
            "who, part, note, text, n",
        ),
    )
    .await;
}

/// What the destination lost is not made up where the source does not have it either any more.
#[tokio::test]
async fn a_row_that_the_source_has_lost_too_is_left_out() {
    let (source, destination) = pair().await;
    source.exec(GATE).await;
    source
        .exec(
            "CREATE TABLE doc (id int PRIMARY KEY, body text, n int); \
             ALTER TABLE doc ALTER body SET STORAGE EXTERNAL; \
             INSERT INTO doc SELECT g, repeat(md5(g::text), 300), g FROM generate_series(1, 3) g",
        )
        .await;
    // One transaction a batch: the update is applied before anybody hears of the delete.
    let mut agent = Agent::between(&source, &destination).set("apply.max_batch_rows", "1");
    agent.start_and_stream().await;
    destination.exec("DELETE FROM doc WHERE id = 2").await;
    destination
        .exec(
            "CREATE TABLE seen (id int); \
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS \
               'BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NEW; END'; \
             CREATE TRIGGER see BEFORE INSERT ON doc FOR EACH ROW EXECUTE FUNCTION see(); \
             ALTER TABLE doc ENABLE ALWAYS TRIGGER see",
        )
        .await;
    let hold = Hold::place(&source, &destination).await;
    source.exec("UPDATE doc SET n = -2 WHERE id = 2").await;
    source.exec("DELETE FROM doc WHERE id = 2").await;
    hold.release().await;
    agent.caught_up().await;
    assert_same(&source, &destination, &["doc"]).await;
    assert_eq!(destination.count("seen").await, 0, "a row was made up");
    let labels = ["table=\"public.doc\"", "kind=\"update_missing\""];
    assert_eq!(agent.metric("sync_agent_conflicts_total", &labels).await, Some(1.0));
}
