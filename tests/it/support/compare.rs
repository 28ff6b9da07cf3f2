//! Are two tables equal? The servers say so: the number of rows and the sum of their hashes.
//!
//! A sum, not an exclusive or: two equal rows too many must show. Only when the sums differ are
//! rows read, and only those of the buckets that differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::database::{Database, TextRow};

/// What changes the text of a value; the same on both sides.
const PINNED: &str = "SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; \
     SET extra_float_digits = 3; SET bytea_output = 'hex'; SET timezone = 'UTC';";

/// Rows shown of a difference; more would hide the first ones.
const SHOWN: usize = 20;

/// One comparison: the same expressions over a table on each side.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// What stands after FROM at the source, a sub-query if you like.
    pub(crate) source: String,
    pub(crate) destination: String,
    /// The columns or expressions, in one order; empty: all columns of the source's table.
    pub(crate) source_columns: String,
    pub(crate) destination_columns: String,
}

impl Pair {
    /// The same table with the same columns on both sides.
    pub(crate) fn table(name: &str) -> Self {
        Self::renamed(name, name)
    }

    /// The same columns under another table name.
    pub(crate) fn renamed(source: &str, destination: &str) -> Self {
        Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
            source_columns: String::new(),
            destination_columns: String::new(),
        }
    }

    /// What the destination should hold, said in SQL over the source.
    pub(crate) fn columns(mut self, source: &str, destination: &str) -> Self {
        source.clone_into(&mut self.source_columns);
        destination.clone_into(&mut self.destination_columns);
        self
    }
}

/// Fails the test, with the rows that differ, unless every table is the same on both sides.
pub(crate) async fn assert_same(source: &Database, destination: &Database, tables: &[&str]) {
    for table in tables {
        assert_pair(source, destination, Pair::table(table)).await;
    }
}

pub(crate) async fn assert_pair(source: &Database, destination: &Database, mut pair: Pair) {
    if pair.source_columns.is_empty() {
        pair.source_columns = all_columns(source, &pair.source).await;
        pair.destination_columns.clone_from(&pair.source_columns);
    }
    let (here, there) = tokio::join!(
        sums(source, &pair.source, &pair.source_columns),
        sums(destination, &pair.destination, &pair.destination_columns),
    );
    if here != there {
        panic!("{}", difference(source, destination, &pair, &here, &there).await);
    }
}

/// Bucket → number of rows and sum of hashes.
type Sums = BTreeMap<String, (u64, String)>;

async fn sums(database: &Database, table: &str, columns: &str) -> Sums {
    let sql = format!(
        "{PINNED} SELECT left(h, 3), count(*), sum(('x' || left(h, 15))::bit(60)::bigint::numeric) \
         FROM (SELECT md5(row({columns})::text) AS h FROM {table}) AS hashed GROUP BY 1"
    );
    let rows = database.query(&sql).await.into_iter().map(|row| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().expect("three columns");
        let (bucket, count, sum) = (next(), next(), next());
        (bucket, (count.parse().expect("a count"), sum))
    });
    rows.collect()
}

async fn difference(
    source: &Database,
    destination: &Database,
    pair: &Pair,
    here: &Sums,
    there: &Sums,
) -> String {
    let differing: Vec<String> = here
        .keys()
        .chain(there.keys())
        .filter(|bucket| here.get(*bucket) != there.get(*bucket))
        .take(SHOWN)
        .map(|bucket| format!("'{bucket}'"))
        .collect();
    let buckets = differing.join(", ");
    let mut balance: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows_of(source, &pair.source, &pair.source_columns, &buckets).await {
        *balance.entry(row).or_default() += 1;
    }
    for row in rows_of(destination, &pair.destination, &pair.destination_columns, &buckets).await {
        *balance.entry(row).or_default() -= 1;
    }
    balance.retain(|_, balance| *balance != 0);
    let mut text = format!(
        "{} at the source has {} rows, {} at the destination {}; they differ in:\n",
        pair.source,
        total(here),
        pair.destination,
        total(there)
    );
    for (row, balance) in balance.iter().take(SHOWN) {
        let side = if *balance > 0 { "only at the source" } else { "only at the destination" };
        let row: String = row.chars().take(200).collect();
        writeln!(text, "  {side}, {} times: {row}", balance.abs()).expect("a String takes text");
    }
    if balance.len() > SHOWN {
        text.push_str("  … and more\n");
    }
    text
}

async fn rows_of(database: &Database, table: &str, columns: &str, buckets: &str) -> Vec<String> {
    let sql = format!(
        "{PINNED} SELECT t FROM (SELECT row({columns})::text AS t FROM {table}) AS rows \
         WHERE left(md5(t), 3) IN ({buckets})"
    );
    let first = |row: TextRow| row.into_iter().next().flatten().unwrap_or_default();
    database.query(&sql).await.into_iter().map(first).collect()
}

fn total(sums: &Sums) -> u64 {
    sums.values().map(|(count, _)| count).sum()
}

async fn all_columns(database: &Database, table: &str) -> String {
    let sql = format!(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute \
         WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped",
        table.replace('\'', "''")
    );
    database.scalar(&sql).await
}
