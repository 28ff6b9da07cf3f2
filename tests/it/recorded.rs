//! What servers really send, byte for byte: it is understood, and would be written the same.
//!
//! With `UPDATE_CORPUS=1` the messages become the seeds of the fuzz targets (`fuzz/corpus/`): a few
//! of each kind, small ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt as _;
use sync_agent::pg::copy_format::{BinaryReader, TextReader};
use sync_agent::pgoutput::{Message, decode, encode};

use crate::support::cluster::{Cluster, Spec};
use crate::support::installation::installation;

const SCHEMA: &str = "
CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, m mood, big text);
ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
CREATE TABLE f (a int, b text[]); ALTER TABLE f REPLICA IDENTITY FULL;
CREATE TABLE i (a int NOT NULL, b text NOT NULL, c int);
CREATE UNIQUE INDEX i_b ON i (b); ALTER TABLE i REPLICA IDENTITY USING INDEX i_b;
CREATE TABLE nothing (); CREATE TABLE \"Odd \"\"\n\" (\"a.b\" varchar(5) PRIMARY KEY);
CREATE PUBLICATION p FOR ALL TABLES";

/// One transaction each; in the second mode some are streamed before they end.
const CHANGES: [&str; 9] = [
    "INSERT INTO t VALUES (1, 'one', 1.50, 'sad', repeat('x', 3000)), (2, NULL, 'NaN', NULL, '')",
    "UPDATE t SET v = 'changed' WHERE id = 1; UPDATE t SET id = 7 WHERE id = 1",
    "INSERT INTO f VALUES (1, '{a,NULL}'), (1, NULL); UPDATE f SET a = 2; DELETE FROM f",
    "INSERT INTO i VALUES (1, 'k', 3); UPDATE i SET b = 'l'; DELETE FROM i; DELETE FROM t WHERE id = 2",
    "INSERT INTO nothing DEFAULT VALUES; INSERT INTO \"Odd \"\"\n\" VALUES ('ä\\b')",
    "BEGIN; INSERT INTO t (id) VALUES (20); SAVEPOINT a; INSERT INTO t (id) VALUES (21); ROLLBACK TO a;
        SELECT pg_logical_emit_message(true, 'inside', 'content'); COMMIT",
    "SELECT pg_logical_emit_message(false, 'beside', '')",
    "TRUNCATE t, f RESTART IDENTITY CASCADE",
    "BEGIN; INSERT INTO t SELECT g, 'many' FROM generate_series(100, 2000) g; SAVEPOINT a;
        INSERT INTO t SELECT g, 'away' FROM generate_series(3000, 5000) g; ROLLBACK TO a;
        UPDATE t SET v = 'streamed' WHERE id < 110; DELETE FROM t WHERE id < 105;
        TRUNCATE f; ALTER TABLE f ADD c mood; INSERT INTO f VALUES (1, NULL, 'sad'); COMMIT",
];

/// A few inputs of each kind.
#[derive(Default)]
struct Corpus(BTreeMap<String, Vec<Vec<u8>>>);

impl Corpus {
    fn add(&mut self, kind: &str, input: Vec<u8>) {
        let kept = self.0.entry(kind.to_owned()).or_default();
        if kept.len() < 2 && input.len() < 400 && !kept.contains(&input) {
            kept.push(input);
        }
    }

    fn write(&self, target: &str) {
        if std::env::var_os("UPDATE_CORPUS").is_none() {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&folder).expect("our own folder");
        for (kind, inputs) in &self.0 {
            for (number, input) in inputs.iter().enumerate() {
                let name = format!("{kind}_{number}").replace(' ', "_").to_lowercase();
                std::fs::write(folder.join(name), input).expect("our own folder");
            }
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").expect("bytea in hex").as_bytes();
    let pair = |pair: &[u8]| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
    };
    digits.chunks(2).map(pair).collect()
}

async fn server(major: u32) -> Cluster {
    let found = installation(major).unwrap_or_else(|| {
        panic!("PostgreSQL {major} is not installed: run scripts/install-versions.sh")
    });
    let settings = "logical_decoding_work_mem = 64kB\n".to_owned();
    Cluster::start(Spec { installation: Some(found), settings, ..Spec::default() }).await
}

/// Reads the slot with these options; every message must be what we would write.
async fn every_message(source: &Cluster, options: &str, corpus: &mut Corpus) -> String {
    let sql = format!(
        "SELECT data FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL, \
         'publication_names', 'p', 'messages', 'true', {options})"
    );
    let (mut kinds, mut is_streaming) = (String::new(), false);
    for row in source.query(&sql).await {
        let payload = unhex(row[0].as_deref().expect("a message"));
        if payload[0] == b'S' {
            is_streaming = false;
        }
        let message = decode(Bytes::from(payload.clone()), is_streaming)
            .unwrap_or_else(|error| panic!("{error}: {}", payload.escape_ascii()));
        assert_eq!(encode(&message), payload, "{message:?}");
        let input = [&[u8::from(is_streaming)][..], &payload].concat();
        corpus.add(&format!("{}_{}", message.kind(), u8::from(is_streaming)), input);
        match message {
            Message::StreamStart(_) => is_streaming = true,
            Message::StreamStop => is_streaming = false,
            _ => {}
        }
        let kind = char::from(payload[0]);
        if !kinds.contains(kind) {
            write!(kinds, "{kind}").expect("a String");
        }
    }
    kinds
}

async fn messages_of(major: u32) {
    let source = server(major).await;
    source.exec(SCHEMA).await;
    source.exec("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").await;
    source.exec("SELECT pg_replication_origin_create('elsewhere')").await;
    for change in CHANGES {
        source.exec(change).await;
    }
    source
        .exec(
            "SELECT pg_replication_origin_session_setup('elsewhere');
             BEGIN; SELECT pg_replication_origin_xact_setup('0/123456', now());
             INSERT INTO i VALUES (9, 'origin', 9); COMMIT",
        )
        .await;
    let mut corpus = Corpus::default();
    let sorted = |kinds: String| {
        let mut kinds: Vec<char> = kinds.chars().collect();
        kinds.sort_unstable();
        kinds.into_iter().collect::<String>()
    };
    for binary in ["false", "true"] {
        let options = format!("'proto_version', '1', 'binary', '{binary}'");
        let kinds = every_message(&source, &options, &mut corpus).await;
        assert_eq!(sorted(kinds), "BCDIMORTUY", "every kind there is");
        let options = format!("'proto_version', '2', 'streaming', 'on', 'binary', '{binary}'");
        let kinds = every_message(&source, &options, &mut corpus).await;
        assert_eq!(sorted(kinds), "ABCDEIMORSTUYc");
    }
    corpus.write("pgoutput");
}

#[tokio::test]
async fn messages_of_14_are_what_we_would_write() {
    messages_of(14).await;
}

#[tokio::test]
async fn messages_of_18_are_what_we_would_write() {
    messages_of(18).await;
}

#[tokio::test]
async fn copies_are_read_to_their_last_byte() {
    let source = server(18).await;
    source
        .exec(
            "CREATE TABLE t (a int, b text, c text[], d bytea, e jsonb);
             INSERT INTO t VALUES (1, E'tab\\t nl\\n cr\\r bs\\b ff\\f vt\\v \\\\ \\\\N', '{a,NULL}', '\\x00ff', '{}'),
                (NULL, NULL, NULL, NULL, NULL), (-1, '', '{}', '', '[1]'), (7, '\\N', '{{ä}}', '\\x5c', '\"x\"');
             CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; CREATE TABLE empty (a int)",
        )
        .await;
    let client = source.session().await.expect("it answers");
    let (mut binary, mut text) = (Corpus::default(), Corpus::default());
    for (table, columns, rows) in [("t", 5_u8, 4), ("none", 0, 1), ("empty", 1, 0)] {
        for format in ["binary", "text"] {
            let sql = format!("COPY {table} TO STDOUT (FORMAT {format})");
            let copy = client.copy_out(&sql).await.expect("begun");
            let stream: Vec<Bytes> = copy.try_collect().await.expect("rows");
            let stream = Bytes::from(stream.concat());
            let mut count = 0;
            if format == "binary" {
                let mut reader = BinaryReader::new();
                reader.push(stream.clone());
                while reader.next_row().expect("a row").is_some() {
                    count += 1;
                }
                reader.finish().expect("whole");
                binary.add(table, [&[5][..], &stream].concat());
            } else {
                let mut reader = TextReader::new(usize::from(columns));
                reader.push(stream.clone());
                while reader.next_row().expect("a row").is_some() {
                    count += 1;
                }
                reader.finish().expect("whole");
                text.add(table, [&[columns, 5][..], &stream].concat());
            }
            assert_eq!(count, rows, "{table} in {format}");
        }
    }
    binary.write("copy_binary");
    text.write("copy_text");
}
