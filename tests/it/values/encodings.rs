//! Databases of different encodings: texts and names are converted exactly, or the row is named that
//! cannot be; never another character.

use crate::support::agent::Agent;
use crate::support::cluster::{Cluster, pair};
use crate::support::compare::{Pair, assert_pair};
use crate::support::database::Database;

async fn database(cluster: &Cluster, name: &str, encoding: &str) -> Database {
    let locale = "TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'";
    cluster.exec(&format!("CREATE DATABASE {name} ENCODING '{encoding}' {locale}")).await;
    cluster.database(name)
}

/// A pipeline between two databases that are made for it.
struct Line {
    source: Database,
    destination: Database,
    agent: Agent,
}

impl Line {
    async fn new(
        (source, destination): (&Cluster, &Cluster),
        name: &str,
        (from, to): (&str, &str),
    ) -> Line {
        let source = database(source, name, from).await;
        let destination = database(destination, name, to).await;
        let agent = Agent::between(&source, &destination).named(name);
        Line { source, destination, agent }
    }

    /// The same characters, whatever their bytes are.
    async fn assert_same_characters(&self, table: &str, columns: &[&str]) {
        let characters = |column: &&str| format!("convert_to({column}::text, 'UTF8')");
        let columns = columns.iter().map(characters).collect::<Vec<_>>().join(", ");
        let pair = Pair::table(table).columns(&columns, &columns);
        assert_pair(&self.source, &self.destination, pair).await;
    }

    /// One row is refused, named and held; what is there stays.
    async fn assert_held(&mut self, rows: u64) {
        self.agent.wait_for_state("degraded").await;
        let log = self.agent.log();
        let error = log.lines().find(|line| line.contains("\"ERROR\"")).expect("it is named");
        for word in ["E_DATA", "public.t", "encoding"] {
            assert!(error.contains(word), "{word} is missing in {error}");
        }
        assert!(!error.contains("0x"), "a value's bytes in {error}");
        let counted = self.destination.try_query("SELECT count(*) FROM t").await;
        let count = counted.ok().and_then(|rows| rows[0][0].clone()).unwrap_or_default();
        assert_eq!(count, rows.to_string());
    }

    async fn stop(mut self) {
        assert_eq!(self.agent.terminate().await, Some(0));
    }
}

const NAMES: &str = "CREATE TYPE \"größe\" AS ENUM ('groß', 'é\"'); \
     CREATE TABLE \"tö\" (\"schlüssel\" text PRIMARY KEY, \"né\" \"größe\", \"wörter\" text[], j jsonb); \
     INSERT INTO \"tö\" VALUES ('Motörhead', 'groß', '{é,\"ü \\\"x\"}', '{\"ß\": \"ñ\"}')";

const CHANGES: &str = "INSERT INTO \"tö\" VALUES ('å', 'é\"', NULL, NULL), ('æ', NULL, '{ø}', '\"þ\"'); \
     UPDATE \"tö\" SET \"schlüssel\" = 'Mötley Crüe' WHERE \"schlüssel\" = 'Motörhead'; \
     DELETE FROM \"tö\" WHERE \"schlüssel\" = 'å'";

#[tokio::test]
async fn characters_and_names_are_converted_exactly() {
    let (source, destination) = pair().await;
    let sides = (&source, &destination);
    let mut lines = [
        Line::new(sides, "to_latin", ("UTF8", "LATIN1")).await,
        Line::new(sides, "from_latin", ("LATIN1", "UTF8")).await,
        Line::new(sides, "between", ("LATIN1", "WIN1252")).await,
    ];
    for line in &mut lines {
        line.source.exec(NAMES).await;
        line.agent.start();
    }
    let mut japanese = Line::new(sides, "from_japanese", ("EUC_JP", "UTF8")).await;
    japanese
        .source
        .exec("CREATE TABLE t (\"日\" text PRIMARY KEY); INSERT INTO t VALUES ('日本')")
        .await;
    japanese.agent.start_and_stream().await;
    japanese
        .source
        .exec("INSERT INTO t VALUES ('語'); UPDATE t SET \"日\" = '本' WHERE \"日\" = '日本'")
        .await;
    for line in &mut lines {
        line.agent.wait_for_state("streaming").await;
        line.source.exec(CHANGES).await;
        line.agent.caught_up().await;
        let columns = ["\"schlüssel\"", "\"né\"", "\"wörter\"", "j"];
        line.assert_same_characters("\"tö\"", &columns).await;
        assert_eq!(line.destination.count("\"tö\"").await, 2);
    }
    japanese.agent.caught_up().await;
    japanese.assert_same_characters("t", &["\"日\""]).await;
    for line in lines {
        line.stop().await;
    }
    japanese.stop().await;
}

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

#[tokio::test]
async fn a_text_that_has_no_form_there_is_named_and_held() {
    let (source, destination) = pair().await;
    let sides = (&source, &destination);
    let mut copied = Line::new(sides, "copied", ("UTF8", "LATIN1")).await;
    let mut tailed = Line::new(sides, "tailed", ("UTF8", "LATIN1")).await;
    let mut raw = Line::new(sides, "raw", ("SQL_ASCII", "UTF8")).await;
    copied.source.exec(&format!("{T}; INSERT INTO t VALUES (1, 'ä'), (2, '日本')")).await;
    tailed.source.exec(&format!("{T}; INSERT INTO t VALUES (1, 'ä')")).await;
    raw.source.exec(&format!("{T}; INSERT INTO t VALUES (1, 'plain'), (2, 'ä')")).await;
    for line in [&mut copied, &mut tailed, &mut raw] {
        line.agent.start();
    }
    tailed.agent.wait_for_state("streaming").await;
    tailed.source.exec("INSERT INTO t VALUES (2, '日本'); INSERT INTO t VALUES (3, 'later')").await;
    raw.agent.wait_for_state("streaming").await;
    assert_eq!(raw.destination.scalar("SELECT v FROM t WHERE id = 2").await, "ä");
    raw.source.exec("INSERT INTO t VALUES (3, E'\\xe9'); INSERT INTO t VALUES (4, 'later')").await;
    tailed.assert_held(1).await;
    raw.assert_held(2).await;
    copied.assert_held(0).await;
    for line in [copied, tailed, raw] {
        line.stop().await;
    }
}

/// Neither database knows what its bytes are: they are the same.
#[tokio::test]
async fn bytes_without_an_encoding_pass_as_they_are() {
    let (source, destination) = pair().await;
    let sides = (&source, &destination);
    let mut raw = Line::new(sides, "raw", ("SQL_ASCII", "SQL_ASCII")).await;
    let mut utf8 = Line::new(sides, "utf8", ("UTF8", "SQL_ASCII")).await;
    raw.source.exec(&format!("{T}; INSERT INTO t VALUES (1, E'\\xe9\\xff'), (2, 'ä')")).await;
    utf8.source.exec(&format!("{T}; INSERT INTO t VALUES (1, 'ä')")).await;
    for line in [&mut raw, &mut utf8] {
        line.agent.start_and_stream().await;
    }
    raw.source
        .exec("INSERT INTO t VALUES (3, E'\\xa0'); UPDATE t SET v = v || E'\\xfe' WHERE id = 1")
        .await;
    utf8.source.exec("INSERT INTO t VALUES (2, '日本')").await;
    for line in [&mut raw, &mut utf8] {
        line.agent.caught_up().await;
        let bytes = "id, v::bytea";
        let pair = Pair::table("t").columns(bytes, bytes);
        assert_pair(&line.source, &line.destination, pair).await;
    }
    let latin = Line::new(sides, "latin", ("LATIN1", "SQL_ASCII")).await;
    latin.source.exec(T).await;
    let output = latin.agent.verb(&["check"]).await;
    assert_eq!(output.code, 4, "{output:?}");
    assert!(output.stdout.contains("SQL_ASCII") && output.stdout.contains("LATIN1"), "{output:?}");
    for line in [raw, utf8] {
        line.stop().await;
    }
}
