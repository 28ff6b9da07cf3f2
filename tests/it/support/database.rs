//! One database of a throwaway server: SQL in, text out.
//!
//! Every call connects anew over the server's socket, where everybody is trusted: that costs a few
//! milliseconds and survives a restart of the server between two calls.

use std::path::PathBuf;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A row as the server writes it; `None` is NULL.
pub(crate) type TextRow = Vec<Option<String>>;

/// Where a database is.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// The folder of the server's unix socket.
    pub(crate) socket: PathBuf,
    pub(crate) port: u16,
    pub(crate) name: String,
}

impl Database {
    /// A session of its own, for transactions that stay open.
    pub(crate) async fn session(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket).port(self.port).user("postgres").dbname(&self.name);
        config.application_name("harness");
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Runs statements; a failure is the test's failure.
    pub(crate) async fn exec(&self, sql: &str) {
        if let Err(error) = self.try_exec(sql).await {
            panic!("{sql}\n  {}", describe(&error));
        }
    }

    pub(crate) async fn try_exec(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.session().await?.batch_execute(sql).await
    }

    /// The rows of the last statements, all of them, as text.
    pub(crate) async fn query(&self, sql: &str) -> Vec<TextRow> {
        match self.try_query(sql).await {
            Ok(rows) => rows,
            Err(error) => panic!("{sql}\n  {}", describe(&error)),
        }
    }

    pub(crate) async fn try_query(&self, sql: &str) -> Result<Vec<TextRow>, tokio_postgres::Error> {
        let messages = self.session().await?.simple_query(sql).await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()
        };
        Ok(rows.map(text).collect())
    }

    /// The first value of the first row; NULL and "no row" are the empty text.
    pub(crate) async fn scalar(&self, sql: &str) -> String {
        let rows = self.query(sql).await;
        rows.into_iter().flatten().next().flatten().unwrap_or_default()
    }

    pub(crate) async fn count(&self, table: &str) -> u64 {
        let text = self.scalar(&format!("SELECT count(*) FROM {table}")).await;
        text.parse().expect("count(*) is a number")
    }

    pub(crate) async fn current_lsn(&self) -> String {
        self.scalar("SELECT pg_current_wal_lsn()").await
    }

    /// The address over TCP as the superuser, as a user of the agent would write it.
    pub(crate) fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// `user` may carry a password: `role:secret`.
    pub(crate) fn url_as(&self, user: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// The same through something that stands in between.
    pub(crate) fn url_by_way_of(&self, port: u16) -> String {
        format!("postgresql://postgres@127.0.0.1:{port}/{}", self.name)
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db| format!("{} {}: {}", db.severity(), db.code().code(), db.message()),
    )
}
