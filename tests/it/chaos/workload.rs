//! The writers: transactions that make whatever is lost, repeated, torn or reordered visible.
//!
//! Each is a loop of its own over one session; what it writes is SQL made from its random numbers,
//! and where it must go on after a lost connection is asked of the server. A COMMIT with unknown
//! outcome is thereby nobody's concern.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::rare;
use super::record::Record;
use crate::support::database::Database;
use crate::support::random::Random;
use crate::support::wait;

/// Whatever is there before the agent starts.
pub(super) const TABLES: &str = "
CREATE TABLE acct_a (id int PRIMARY KEY, bal bigint NOT NULL);
CREATE TABLE acct_b (LIKE acct_a INCLUDING ALL);
INSERT INTO acct_a SELECT g, 1000 FROM generate_series(1, 100) g;
INSERT INTO acct_b SELECT * FROM acct_a;
CREATE TABLE accounts (aid int PRIMARY KEY, abalance bigint NOT NULL, filler char(84));
INSERT INTO accounts SELECT g, 0, '' FROM generate_series(1, 20000) g;
CREATE TABLE history (aid int, delta int, mtime timestamptz);
CREATE TABLE k (id int PRIMARY KEY, v text);
CREATE TABLE codes (id int PRIMARY KEY, code int UNIQUE, v text);
INSERT INTO codes SELECT g, g * 10, 'c' || g FROM generate_series(1, 8) g;
CREATE TABLE doc (id int PRIMARY KEY, body text, n int, m int);
ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
INSERT INTO doc SELECT g, repeat(md5(g::text), 300), 0, 0 FROM generate_series(1, 30) g;
CREATE TABLE bag (v int, w text);
ALTER TABLE bag REPLICA IDENTITY FULL;
CREATE TABLE ev (n bigint, pad text);
CREATE INDEX ON ev (n);
CREATE TABLE people (id int PRIMARY KEY, email text, salary numeric, region text);
INSERT INTO people SELECT g, 'e' || g || '@x.org', g, 'us' FROM generate_series(1, 200) g;
CREATE TABLE seq_0 (n bigint PRIMARY KEY);
CREATE TABLE seq_1 (n bigint PRIMARY KEY);
CREATE TABLE seq_2 (n bigint PRIMARY KEY);
CREATE TABLE seq_3 (n bigint PRIMARY KEY);
CREATE TABLE seq_4 (n bigint PRIMARY KEY);
CREATE TABLE bulk (id bigint PRIMARY KEY, v text);
INSERT INTO bulk SELECT g, md5(g::text) FROM generate_series(1, 150000) g;
CREATE TABLE scratch (id int PRIMARY KEY, v text);
CREATE TABLE grown (id int PRIMARY KEY, v text);
";

/// The bank: this much at every moment, in every snapshot.
pub(super) const BANK_SUM: &str = "200000";

/// What `people` goes through on its way; [`PEOPLE_EXPECTED`] says the same in SQL.
pub(super) const PEOPLE_STEPS: &str = r#"
[[table]]
name = "public.people"
[table.columns]
email  = { hash = "sha256" }
salary = { "null" = true }
region = { value = "eu-1" }
"#;
pub(super) const PEOPLE_EXPECTED: &str =
    "id, encode(sha256(convert_to(email, 'UTF8')), 'hex'), NULL::numeric, 'eu-1'::text";

/// One kind of transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bank,
    History,
    Churn,
    Codes,
    Doc,
    Bag,
    Events,
    People,
}

const KINDS: [Kind; 9] = [
    Kind::Bank,
    Kind::Bank,
    Kind::History,
    Kind::Churn,
    Kind::Codes,
    Kind::Doc,
    Kind::Bag,
    Kind::Events,
    Kind::People,
];

/// All writers at work.
#[derive(Debug)]
pub(super) struct Writers {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(super) fn start(source: &Database, seed: u64, record: &Arc<Record>) -> Self {
        let stop = CancellationToken::new();
        let writer = |name: &str| Writer {
            source: source.clone(),
            random: Random::part(seed, name),
            record: Arc::clone(record),
            stop: stop.clone(),
        };
        let mut tasks: Vec<JoinHandle<()>> = KINDS
            .iter()
            .enumerate()
            .map(|(i, kind)| {
                let step = |random: &mut Random| transaction(*kind, random);
                tokio::spawn(writer(&format!("{kind:?} {i}")).write(4, 25, step))
            })
            .collect();
        tasks.push(tokio::spawn(writer("sequence").count()));
        let mut rare = rare::Rare::default();
        let step = move |random: &mut Random| rare.transaction(random);
        tasks.push(tokio::spawn(writer("rare").write(1500, 5000, step)));
        Self { stop, tasks }
    }

    /// Returns once every transaction has ended.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.expect("a writer does not panic");
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Debug)]
struct Writer {
    source: Database,
    random: Random,
    record: Arc<Record>,
    stop: CancellationToken,
}

impl Writer {
    /// Transactions made by `next`, so many milliseconds apart.
    async fn write(mut self, least: u64, most: u64, mut next: impl FnMut(&mut Random) -> String) {
        let mut session = None;
        while !self.stop.is_cancelled() {
            let pause = self.random.between(least, most);
            self.pause(pause).await;
            let sql = next(&mut self.random);
            let Some(client) = connected(&self.source, session.take()).await else { continue };
            match client.batch_execute(&sql).await {
                Ok(()) => {
                    self.record.committed();
                    session = Some(client);
                }
                Err(error) => self.judge(&error, &sql),
            }
        }
    }

    /// 1, 2, 3 …, each in the next of five tables: the order of commits is the order of numbers.
    async fn count(mut self) {
        let mut session = None;
        let mut last: Option<u64> = None;
        while !self.stop.is_cancelled() {
            let pause = self.random.between(2, 12);
            self.pause(pause).await;
            let Some(client) = connected(&self.source, session.take()).await else { continue };
            let written = match last {
                None => last_number(&client).await,
                Some(last) => {
                    let n = last + 1;
                    let sql = format!("INSERT INTO seq_{} VALUES ({n})", n % 5);
                    client.batch_execute(&sql).await.map(|()| n)
                }
            };
            match written {
                Ok(n) => {
                    self.record.numbered(n);
                    last = Some(n);
                    session = Some(client);
                }
                Err(error) => {
                    // Committed or not: the server knows.
                    last = None;
                    self.judge(&error, "the sequence");
                }
            }
        }
    }

    async fn pause(&self, ms: u64) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = wait::pace(std::time::Duration::from_millis(ms)) => {}
        }
    }

    /// Lost connections and lost races are part of the game; anything else is a broken workload.
    fn judge(&self, error: &tokio_postgres::Error, sql: &str) {
        let Some(db) = error.as_db_error() else { return };
        let passes = db.code().code().starts_with("57P")
            || *db.code() == SqlState::T_R_DEADLOCK_DETECTED
            || *db.code() == SqlState::T_R_SERIALIZATION_FAILURE;
        if !passes {
            self.record
                .breach("workload", format!("{}: {}\n{sql}", db.code().code(), db.message()));
        }
    }
}

/// The session, or a new one; `None` while the server is away.
pub(super) async fn connected(database: &Database, session: Option<Client>) -> Option<Client> {
    match session {
        Some(client) if !client.is_closed() => Some(client),
        _ => match database.session().await {
            Ok(client) => Some(client),
            Err(_) => {
                wait::between_looks().await;
                None
            }
        },
    }
}

async fn last_number(client: &Client) -> Result<u64, tokio_postgres::Error> {
    let all = (0..5).map(|i| format!("SELECT max(n) AS n FROM seq_{i}")).collect::<Vec<_>>();
    let sql = format!("SELECT coalesce(max(n), 0) FROM ({}) AS s", all.join(" UNION ALL "));
    let n: i64 = client.query_one(&sql, &[]).await?.get(0);
    Ok(u64::try_from(n).expect("a count"))
}

fn transaction(kind: Kind, random: &mut Random) -> String {
    let body = match kind {
        Kind::Bank => bank(random),
        Kind::History => history(random),
        Kind::Churn => many(random, 8, churn),
        Kind::Codes => many(random, 4, codes),
        Kind::Doc => many(random, 3, doc),
        Kind::Bag => many(random, 3, bag),
        Kind::Events => events(random),
        Kind::People => many(random, 2, people),
    };
    format!("BEGIN; {body}; COMMIT")
}

fn many(random: &mut Random, most: u64, statement: fn(&mut Random) -> String) -> String {
    let count = random.between(1, most);
    (0..count).map(|_| statement(random)).collect::<Vec<_>>().join("; ")
}

/// In the order of the tables, so that two writers cannot deadlock often.
fn bank(random: &mut Random) -> String {
    let (from, to, amount) =
        (random.between(1, 100), random.between(1, 100), random.between(1, 50));
    let sign = if random.one_in(2) { "-" } else { "" };
    format!(
        "UPDATE acct_a SET bal = bal - ({sign}{amount}) WHERE id = {from}; \
         UPDATE acct_b SET bal = bal + ({sign}{amount}) WHERE id = {to}"
    )
}

fn history(random: &mut Random) -> String {
    let (aid, delta) = (random.between(1, 20_000), random.between(1, 5000));
    let kept = format!(
        "UPDATE accounts SET abalance = abalance + {delta} WHERE aid = {aid}; \
         INSERT INTO history VALUES ({aid}, {delta}, clock_timestamp())"
    );
    if !random.one_in(4) {
        return kept;
    }
    format!(
        "SAVEPOINT s; UPDATE accounts SET abalance = -1 WHERE aid = {aid}; \
         INSERT INTO history VALUES ({aid}, -1, NULL); ROLLBACK TO s; {kept}; \
         SAVEPOINT t; INSERT INTO history VALUES ({aid}, 0, NULL); RELEASE t"
    )
}

/// Deletes, inserts, moves and swaps over ten ids.
fn churn(random: &mut Random) -> String {
    let (a, b) = (random.between(1, 10), random.between(1, 10));
    let v = random.between(0, 999_999);
    match random.between(0, 4) {
        0 => format!("DELETE FROM k WHERE id = {a}"),
        1 => format!("INSERT INTO k VALUES ({a}, '{v}') ON CONFLICT (id) DO UPDATE SET v = '{v}+'"),
        2 => format!("UPDATE k SET v = '{v}' WHERE id = {a}"),
        3 => format!(
            "DELETE FROM k WHERE id = {b} AND {a} <> {b}; UPDATE k SET id = {b} WHERE id = {a}"
        ),
        _ if a == b => {
            format!("DELETE FROM k WHERE id = {a}; INSERT INTO k VALUES ({a}, 'again {v}')")
        }
        _ => format!(
            "UPDATE k SET id = 99 WHERE id = {a}; UPDATE k SET id = {a} WHERE id = {b}; \
             UPDATE k SET id = {b} WHERE id = 99"
        ),
    }
}

/// The same with a second unique column: codes change hands.
fn codes(random: &mut Random) -> String {
    let (a, b) = (random.between(1, 8), random.between(1, 8));
    let v = random.between(0, 999_999);
    match random.between(0, 3) {
        0 => format!("UPDATE codes SET v = '{v}' WHERE id = {a}"),
        1 => format!(
            "DELETE FROM codes WHERE id = {a}; DELETE FROM codes WHERE code = {b}0; \
             INSERT INTO codes VALUES ({a}, {b}0, '{v}')"
        ),
        2 if a != b => format!(
            "UPDATE codes SET code = -code WHERE id IN ({a}, {b}); \
             UPDATE codes c SET code = -o.code FROM codes o WHERE c.id = {a} AND o.id = {b} \
             AND o.code < 0; \
             UPDATE codes SET code = NULL WHERE code < 0"
        ),
        _ => format!(
            "DELETE FROM codes WHERE id = {b} AND {a} <> {b}; UPDATE codes SET id = {b} WHERE id = {a}"
        ),
    }
}

/// Large values that most updates leave alone, key changes included.
fn doc(random: &mut Random) -> String {
    let (a, b) = (random.between(1, 40), random.between(1, 40));
    let v = random.between(0, 999_999);
    let body = format!("repeat(md5('{v}'), {})", random.between(70, 400));
    match random.between(0, 9) {
        0..4 => format!("UPDATE doc SET n = n + 1 WHERE id = {a}"),
        4 => format!("UPDATE doc SET m = {v} WHERE id BETWEEN {a} AND {a} + 5"),
        5 => format!("UPDATE doc SET body = {body} WHERE id = {a}"),
        6 => format!(
            "UPDATE doc SET body = NULL WHERE id = {a}; UPDATE doc SET n = 9 WHERE id = {a}"
        ),
        7 => format!(
            "DELETE FROM doc WHERE id = {b} AND {a} <> {b}; UPDATE doc SET id = {b}, m = {v} WHERE id = {a}"
        ),
        8 => format!("DELETE FROM doc WHERE id = {a}"),
        _ => format!(
            "INSERT INTO doc VALUES ({a}, {body}, 0, 0) ON CONFLICT (id) DO UPDATE SET n = doc.n - 1; \
             UPDATE doc SET m = m + 1 WHERE id = {a}"
        ),
    }
}

/// Equal rows, told apart by nothing.
fn bag(random: &mut Random) -> String {
    let (v, w) = (random.between(1, 5), random.between(1, 3));
    match random.between(0, 3) {
        0 | 1 => format!("INSERT INTO bag VALUES ({v}, 'w{w}'), ({v}, 'w{w}'), ({w}, NULL)"),
        2 => format!(
            "UPDATE bag SET v = v % 5 + 1 WHERE ctid = (SELECT min(ctid) FROM bag WHERE w = 'w{w}')"
        ),
        _ => format!("DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE v = {v} LIMIT 2)"),
    }
}

fn events(random: &mut Random) -> String {
    let count = if random.one_in(10) { random.between(2, 40) } else { 1 };
    format!(
        "INSERT INTO ev SELECT m + g, repeat('p', g::int % 50) \
         FROM (SELECT coalesce(max(n), 0) AS m FROM ev) AS last, generate_series(1, {count}) AS g"
    )
}

fn people(random: &mut Random) -> String {
    let (id, to, v) = (random.between(1, 250), random.between(1, 250), random.between(0, 999));
    match random.between(0, 3) {
        0 => format!("UPDATE people SET email = 'n{v}@y.org', salary = {v} WHERE id = {id}"),
        1 => format!(
            "INSERT INTO people VALUES ({id}, 'i{v}', {v}, NULL) ON CONFLICT (id) DO NOTHING"
        ),
        2 => format!(
            "DELETE FROM people WHERE id = {to} AND {id} <> {to}; UPDATE people SET id = {to} WHERE id = {id}"
        ),
        _ => format!("UPDATE people SET email = NULL, region = 'r{v}' WHERE id = {id}"),
    }
}
