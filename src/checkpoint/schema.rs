//! The state schema: created when absent, refused when it is a newer agent's.

use tokio_postgres::Client;

use crate::checkpoint::CheckpointError;
use crate::pg::ident::{identifier, literal};

/// Version of the layout in `sql/schema.sql`.
const STATE_VERSION: i32 = 2;

const SCHEMA_SQL: &str = include_str!("sql/schema.sql");
const UPGRADE_1_TO_2_SQL: &str = include_str!("sql/upgrade_1_to_2.sql");

/// Serializes concurrent first starts: `CREATE … IF NOT EXISTS` races against itself in Postgres.
const BOOTSTRAP_LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('sync-agent state schema', 0))";

/// Whether the state schema's checkpoint table exists.
pub async fn exists(client: &Client, schema: &str) -> Result<bool, CheckpointError> {
    let name = format!("{}.checkpoint", identifier(schema));
    let row = client.query_one("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[&name]).await?;
    Ok(row.get(0))
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
    if found == 1 {
        // Every statement of it may run twice: two agents that start at once both may.
        let sql = UPGRADE_1_TO_2_SQL.replace("{schema}", &identifier(schema));
        client.batch_execute(&format!("{BOOTSTRAP_LOCK}; {sql}")).await?;
        tracing::info!(schema, from = found, to = STATE_VERSION, "state schema upgraded");
    }
    Ok(())
}
