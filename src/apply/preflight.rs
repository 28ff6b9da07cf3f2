//! What stands between the destination and apply, each with the statement that mends it.
//!
//! In: both servers' facts, and each table as it would be written. Out: findings, all of them at
//! once. Reads only. What `run` would create is the pipeline's to say: it takes both servers.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::apply::mapping::{Mapping, MappingError};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, CatalogError, SchemaInfo, ServerFacts, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};

mod existing;
mod server;
mod tables;
mod values;

pub use existing::{no_arbiter_finding, referrer_findings};
pub use server::{can_set_replica_role, is_transaction_pooled, pooling_finding, server_findings};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct DestinationRequest<'a> {
    pub facts: &'a ServerFacts,
    pub source_facts: &'a ServerFacts,
    pub state_schema: &'a str,
    pub tables: &'a [DestinationTable<'a>],
}

/// One table as it would be written.
#[derive(Clone, Copy, Debug)]
pub struct DestinationTable<'a> {
    pub source: &'a TableInfo,
    pub name: &'a QualifiedName,
    /// Its rows, where other source tables have theirs in the table, too: an SQL condition.
    pub own_rows: Option<&'a str>,
    /// As the catalog has it; `None` where it does not exist.
    pub existing: Option<&'a TableInfo>,
    /// Against `existing`.
    pub mapping: Option<&'a Result<Mapping, Vec<MappingError>>>,
    /// It is to be copied, our records do not explain its rows, and `on_existing` is `refuse`.
    pub must_be_empty: bool,
    /// The same, and its rows are removed (`truncate`).
    pub is_emptied: bool,
    /// The same, and its rows stay (`merge`).
    pub is_merged: bool,
    /// A copy that starts over, `on_existing = "truncate"` or `on_truncate = "truncate"`.
    pub needs_truncate: bool,
    /// Its rows are removed one by one.
    pub needs_delete: bool,
    /// No change follows the copy: rows are only inserted, and no key is needed.
    pub is_copy_only: bool,
    /// Its copy is done, so that its changes decide what has to fit.
    pub is_followed: bool,
    /// Created by us, its keys are still to come.
    pub keys_are_pending: bool,
}

/// Everything that is wrong or worth knowing, and what `run` would create.
pub async fn findings(
    client: &Client,
    request: DestinationRequest<'_>,
) -> Result<Vec<Finding>, CatalogError> {
    let mut findings = server_findings(request.facts, request.source_facts);
    if !can_set_replica_role(client).await? {
        findings.push(server::replica_role_finding(request.facts));
    }
    if !catalog::may_use_temporary(client).await? {
        findings.push(server::temporary_finding(request.facts));
    }
    let schemas = schemas(client, request).await?;
    findings.extend(state_findings(client, request, &schemas).await?);
    findings.extend(tables::existing_findings(client, request).await?);
    Ok(findings)
}

/// What keeps the tables that exist from being written, and nothing else.
pub async fn existing_findings(
    client: &Client,
    request: DestinationRequest<'_>,
) -> Result<Vec<Finding>, CatalogError> {
    tables::existing_findings(client, request).await
}

type Schemas = BTreeMap<String, SchemaInfo>;

async fn schemas(
    client: &Client,
    request: DestinationRequest<'_>,
) -> Result<Schemas, CatalogError> {
    let names = [request.state_schema.to_owned()];
    let found = catalog::schemas(client, &names).await?;
    Ok(found.into_iter().map(|schema| (schema.name.clone(), schema)).collect())
}

/// The schema for checkpoints.
async fn state_findings(
    client: &Client,
    request: DestinationRequest<'_>,
    schemas: &Schemas,
) -> Result<Vec<Finding>, CatalogError> {
    let role = identifier(&request.facts.role);
    let name = identifier(request.state_schema);
    let object = format!("schema {name}");
    Ok(match schemas.get(request.state_schema) {
        None if request.facts.can_create_in_database => vec![
            Finding::info(Side::Destination, object, "run creates it for its checkpoints")
                .remedy(format!("CREATE SCHEMA {name}")),
        ],
        None => {
            let message = format!("role {role} may not create it for its checkpoints");
            let finding = Finding::error(Side::Destination, object, message);
            vec![finding.remedy(format!("CREATE SCHEMA {name} AUTHORIZATION {role}"))]
        }
        Some(schema) if !schema.can_use => vec![unusable_schema(&name, &role)],
        Some(schema) => {
            let names = [QualifiedName::new(request.state_schema, "checkpoint")];
            let made = catalog::tables(client, catalog::TableFilter::Names(&names)).await?;
            if made.is_empty() {
                return Ok(if schema.can_create {
                    Vec::new()
                } else {
                    vec![unusable_schema(&name, &role)]
                });
            }
            closed_state_findings(client, request.state_schema, request.facts).await?
        }
    })
}

fn unusable_schema(schema: &str, role: &str) -> Finding {
    let message = format!("role {role} may not create its checkpoints there");
    Finding::error(Side::Destination, format!("schema {schema}"), message)
        .remedy(format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}"))
}

/// Tables of an earlier agent whose role was another one.
pub async fn closed_state_findings(
    client: &Client,
    schema: &str,
    facts: &ServerFacts,
) -> Result<Vec<Finding>, CatalogError> {
    let role = identifier(&facts.role);
    let names = [schema.to_owned()];
    let present = catalog::schemas(client, &names).await?;
    let quoted = identifier(schema);
    if present.iter().any(|schema| !schema.can_use) {
        return Ok(vec![unusable_schema(&quoted, &role)]);
    }
    let closed = catalog::closed_tables(client, schema).await?;
    if closed.is_empty() {
        return Ok(Vec::new());
    }
    let schema = quoted;
    let message = format!("role {role} may not write its tables {}", closed.join(", "));
    let finding = Finding::error(Side::Destination, format!("schema {schema}"), message);
    Ok(vec![finding.remedy(format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
    ))])
}
