//! The state schema: created when absent, refused when it is a newer agent's.

use tokio_postgres::Client;

use crate::checkpoint::CheckpointError;
use crate::pg::ident::{identifier, literal};

/// Version of the layout in `sql/schema.sql`.
const STATE_VERSION: i32 = 3;

const SCHEMA_SQL: &str = include_str!("sql/schema.sql");

/// Each brings the state from the version at its place, counted from 1, to the next.
const UPGRADES_SQL: [&str; 2] =
    [include_str!("sql/upgrade_1_to_2.sql"), include_str!("sql/upgrade_2_to_3.sql")];

/// Serializes concurrent first starts: `CREATE … IF NOT EXISTS` races against itself in Postgres.
const BOOTSTRAP_LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('sync-agent state schema', 0))";

/// What there is of the state schema, for our role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Absent,
    /// Its tables exist, and our role may not read them.
    Closed,
    Readable,
}

/// Looks for the state schema's tables. Asks the catalogs, which answer whatever the privileges are.
pub async fn presence(client: &Client, schema: &str) -> Result<Presence, CheckpointError> {
    const QUERY: &str = "SELECT pg_catalog.bool_and(\
         pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
         AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname IN ('checkpoint', 'tables', 'versions') \
         HAVING pg_catalog.bool_or(c.relname = 'checkpoint')";
    let row = client.query_opt(QUERY, &[&schema]).await?;
    Ok(match row.map(|row| row.get(0)) {
        None => Presence::Absent,
        Some(false) => Presence::Closed,
        Some(true) => Presence::Readable,
    })
}

/// Whether the state schema's checkpoint table exists.
pub async fn exists(client: &Client, schema: &str) -> Result<bool, CheckpointError> {
    Ok(presence(client, schema).await? != Presence::Absent)
}

/// Creates what is missing, in one transaction. Needs CREATE on the database only the first time.
pub async fn ensure(client: &Client, schema: &str) -> Result<(), CheckpointError> {
    if !exists(client, schema).await? {
        let present = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)";
        let mut sql = SCHEMA_SQL.replace("{schema}", &identifier(schema));
        if client.query_one(present, &[&schema]).await?.get(0) {
            // An administrator made the schema: we may lack CREATE on the database.
            sql = sql.replacen("CREATE SCHEMA IF NOT EXISTS", "-- present:", 1);
        }
        // Statements of one simple query are one transaction.
        client.batch_execute(&format!("{BOOTSTRAP_LOCK}; {sql}")).await?;
    }
    let version = format!(
        "SELECT version FROM {}.versions WHERE component = {}",
        identifier(schema),
        literal("state")
    );
    let found: i32 = client.query_one(&version, &[]).await?.get(0);
    if found > STATE_VERSION {
        return Err(CheckpointError::NewerState { schema: schema.to_owned(), found });
    }
    let upgrades: Vec<String> = (1..)
        .zip(UPGRADES_SQL)
        .filter(|(from, _)| *from >= found)
        .map(|(_, sql)| sql.replace("{schema}", &identifier(schema)))
        .collect();
    if !upgrades.is_empty() {
        // Every statement may run twice: two agents that start at once both may.
        let sql = upgrades.join("; ");
        client.batch_execute(&format!("{BOOTSTRAP_LOCK}; {sql}")).await?;
        tracing::info!(schema, from = found, to = STATE_VERSION, "state schema upgraded");
    }
    Ok(())
}
