//! What stands between the destination and apply, each with the statement that mends it.
//!
//! In: both servers' facts, and each table as it would be written. Out: findings, all of them at
//! once, and what `run` would create. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::apply::ddl::{self, NewTable, OutputColumn};
use crate::apply::mapping::{ArbiterProblem, Mapping, MappingError};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, CatalogError, SchemaInfo, ServerFacts, TableInfo, TablePrivileges};
use crate::pg::ident::{QualifiedName, identifier, identifiers};
use crate::pg::oid::{self, Oid};

/// Versions that are tested; older ones are refused, newer ones are a warning.
const VERSIONS: std::ops::RangeInclusive<i32> = 14..=18;

/// The first version on which a parameter can be granted.
const PARAMETER_GRANTS_SINCE: i32 = 15;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct DestinationRequest<'a> {
    pub facts: &'a ServerFacts,
    pub source_facts: &'a ServerFacts,
    pub state_schema: &'a str,
    /// Source schema → destination schema.
    pub schemas: &'a BTreeMap<String, String>,
    pub tables: &'a [DestinationTable<'a>],
}

/// One table as it would be written.
#[derive(Clone, Copy, Debug)]
pub struct DestinationTable<'a> {
    pub source: &'a TableInfo,
    pub name: &'a QualifiedName,
    /// As the catalog has it; `None` where it does not exist.
    pub existing: Option<&'a TableInfo>,
    /// Against `existing`.
    pub mapping: Option<&'a Result<Mapping, Vec<MappingError>>>,
    /// What it would be created with.
    pub columns: &'a [OutputColumn],
    /// `create_tables`.
    pub may_create: bool,
    /// It is to be copied, our records do not explain its rows, and `on_existing` is `refuse`.
    pub must_be_empty: bool,
    /// A copy that starts over, `on_existing = "truncate"` or `on_truncate = "truncate"`.
    pub needs_truncate: bool,
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
        findings.push(replica_role_finding(request.facts));
    }
    let schemas = schemas(client, request).await?;
    findings.extend(state_findings(client, request, &schemas).await?);
    findings.extend(creation_findings(client, request, &schemas).await?);
    findings.extend(existing_findings(client, request).await?);
    Ok(findings)
}

/// Version, role of the server, encodings, and whether it is the source.
pub fn server_findings(facts: &ServerFacts, source: &ServerFacts) -> Vec<Finding> {
    let error = |object: &str, message: String| Finding::error(Side::Destination, object, message);
    let warning =
        |object: &str, message: String| Finding::warning(Side::Destination, object, message);
    let mut findings = Vec::new();
    let major = facts.major_version();
    if major < *VERSIONS.start() {
        let message = format!("it is PostgreSQL {}; version 14 is the oldest", facts.version);
        findings.push(error("server", message));
    } else if major > *VERSIONS.end() {
        let message = format!("it is PostgreSQL {}, newer than what was tested", facts.version);
        findings.push(warning("server", message));
    }
    if facts.in_recovery {
        findings.push(error("server", "it is a standby and cannot be written".to_owned()));
    }
    let database = format!("database {}", identifier(&facts.database));
    if facts.is_same_database(source) {
        findings.push(error(&database, "it is the source itself".to_owned()));
    }
    if source.encoding == "SQL_ASCII" && facts.encoding != "SQL_ASCII" {
        let message = format!(
            "the source's encoding is SQL_ASCII: text that is not valid {} is rejected",
            facts.encoding
        );
        findings.push(warning(&database, message));
    } else if facts.encoding != source.encoding && facts.encoding != "UTF8" {
        let message = format!(
            "its encoding is {}, the source's is {}: characters that it lacks are rejected",
            facts.encoding, source.encoding
        );
        findings.push(warning(&database, message));
    }
    findings
}

/// Whether our role may set `session_replication_role`: then foreign keys are not checked and
/// triggers do not fire while we write.
pub async fn can_set_replica_role(client: &Client) -> Result<bool, CatalogError> {
    // Outside a transaction block SET LOCAL does nothing but check the privilege. A role that has
    // the value by ALTER ROLE … SET needs none.
    const ATTEMPT: &str = "SET LOCAL session_replication_role = 'replica'";
    const QUESTION: &str = "session_replication_role";
    let failed = |source| CatalogError::Query { question: QUESTION, source };
    let present = client.simple_query("SHOW session_replication_role").await.map_err(failed)?;
    if first_value(&present) == Some("replica") {
        return Ok(true);
    }
    match client.batch_execute(ATTEMPT).await {
        Ok(()) => Ok(true),
        Err(error)
            if error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            Ok(false)
        }
        Err(error) => Err(failed(error)),
    }
}

fn replica_role_finding(facts: &ServerFacts) -> Finding {
    let role = identifier(&facts.role);
    let message = "our role may not set it: foreign keys are checked and triggers fire while rows \
                   are written";
    let statement = if facts.major_version() >= PARAMETER_GRANTS_SINCE {
        format!("GRANT SET ON PARAMETER session_replication_role TO {role}")
    } else {
        format!("ALTER ROLE {role} SET session_replication_role = 'replica'")
    };
    Finding::warning(Side::Destination, "setting session_replication_role", message)
        .remedy(statement)
}

/// Whether a proxy gives each transaction another server session: then session settings, advisory
/// locks and prepared statements are not ours.
///
/// Two connections of ours that are open at once can share a server session only so. Between
/// transactions such a proxy takes the first one's session back and, taking the last one used, gives
/// it to the second.
pub async fn is_transaction_pooled(
    first: &Client,
    second: &Client,
) -> Result<bool, tokio_postgres::Error> {
    /// Other clients of the same pool can take the session in between: not every try hits.
    const ATTEMPTS: usize = 3;
    const PID: &str = "SELECT pg_catalog.pg_backend_pid()";
    let mut sessions = BTreeSet::new();
    for _ in 0..ATTEMPTS {
        let before = first.simple_query(PID).await?;
        second.batch_execute("BEGIN").await?;
        let held = second.simple_query(PID).await;
        let after = first.simple_query(PID).await;
        second.batch_execute("ROLLBACK").await?;
        let (held, after) = (held?, after?);
        let pids = [&before, &held, &after].map(|answer| first_value(answer).map(str::to_owned));
        if pids[0] == pids[1] || pids[1] == pids[2] {
            return Ok(true);
        }
        sessions.insert(pids[0].clone());
        sessions.insert(pids[2].clone());
    }
    Ok(sessions.len() > 1)
}

/// What [`is_transaction_pooled`] means for an operator.
pub fn pooling_finding(side: Side) -> Finding {
    let message = "a proxy in front of it pools by transaction: sessions are not kept; connect to \
                   the server itself or to a pool by session";
    Finding::error(side, "connection", message)
}

fn first_value(messages: &[SimpleQueryMessage]) -> Option<&str> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

type Schemas = BTreeMap<String, SchemaInfo>;

async fn schemas(
    client: &Client,
    request: DestinationRequest<'_>,
) -> Result<Schemas, CatalogError> {
    let mut names: BTreeSet<String> =
        request.tables.iter().map(|table| table.name.schema.clone()).collect();
    names.insert(request.state_schema.to_owned());
    let sequences = request.tables.iter().flat_map(|table| &table.source.sequences);
    names.extend(sequences.map(|sequence| {
        let schema = &sequence.name.schema;
        request.schemas.get(schema).unwrap_or(schema).clone()
    }));
    let names: Vec<String> = names.into_iter().collect();
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
    let finding = match schemas.get(request.state_schema) {
        None if request.facts.can_create_in_database => {
            Finding::info(Side::Destination, object, "run creates it for its checkpoints")
                .remedy(format!("CREATE SCHEMA {name}"))
        }
        None => Finding::error(
            Side::Destination,
            object,
            format!("role {role} may not create it for its checkpoints"),
        )
        .remedy(format!("CREATE SCHEMA {name} AUTHORIZATION {role}")),
        Some(schema) if schema.can_use && schema.can_create => return Ok(Vec::new()),
        Some(schema) => {
            let checkpoint = QualifiedName::new(request.state_schema, "checkpoint");
            let names = [checkpoint];
            let made = catalog::tables(client, catalog::TableFilter::Names(&names)).await?;
            if schema.can_use && !made.is_empty() {
                return Ok(Vec::new());
            }
            let message = format!("role {role} may not create its checkpoints there");
            Finding::error(Side::Destination, object, message)
                .remedy(format!("GRANT USAGE, CREATE ON SCHEMA {name} TO {role}"))
        }
    };
    Ok(vec![finding])
}

/// Tables that do not exist.
async fn creation_findings(
    client: &Client,
    request: DestinationRequest<'_>,
    schemas: &Schemas,
) -> Result<Vec<Finding>, CatalogError> {
    let existing_schemas: BTreeSet<String> = schemas.keys().cloned().collect();
    let missing: Vec<(&DestinationTable<'_>, NewTable<'_>)> = request
        .tables
        .iter()
        .filter(|table| table.existing.is_none())
        .map(|table| {
            let new = NewTable {
                source: table.source,
                name: table.name,
                columns: table.columns,
                schemas: request.schemas,
                existing_schemas: &existing_schemas,
                major_version: request.facts.major_version(),
            };
            (table, new)
        })
        .collect();
    let types: BTreeSet<QualifiedName> =
        missing.iter().flat_map(|(_, new)| ddl::user_types(new)).collect();
    let types: Vec<QualifiedName> = types.into_iter().collect();
    let no_types: BTreeSet<QualifiedName> =
        catalog::missing_types(client, &types).await?.into_iter().collect();
    let collations: BTreeSet<QualifiedName> =
        missing.iter().flat_map(|(_, new)| ddl::collations(new)).collect();
    let collations: Vec<QualifiedName> = collations.into_iter().collect();
    let no_collations: BTreeSet<QualifiedName> =
        catalog::missing_collations(client, &collations).await?.into_iter().collect();
    let mut findings = schema_findings(request.facts, &missing, schemas);
    for (table, new) in &missing {
        let error = |message: String| {
            let object = format!("table {}", table.name.sql());
            Finding::error(Side::Destination, object, message)
        };
        for name in ddl::user_types(new).intersection(&no_types) {
            let message = format!(
                "it needs type {}, which the destination lacks; types are not created yet",
                name.sql()
            );
            findings.push(error(message));
        }
        for name in ddl::collations(new).intersection(&no_collations) {
            findings.push(error(format!("it needs collation {}", name.sql())));
        }
        findings.extend(new_table_findings(table, new));
    }
    Ok(findings)
}

fn new_table_findings(table: &DestinationTable<'_>, new: &NewTable<'_>) -> Vec<Finding> {
    let object = format!("table {}", table.name.sql());
    let mut ddl = ddl::create_table_sql(new);
    let keys = ddl::constraints_sql(new, None);
    ddl.statements.extend(keys.statements);
    ddl.notes.extend(keys.notes);
    let script = ddl.statements.join("; ");
    let mut findings = vec![if table.may_create {
        Finding::info(Side::Destination, object.clone(), "run creates it").remedy(script)
    } else {
        let message = "it does not exist, and create_tables is false";
        Finding::error(Side::Destination, object.clone(), message).remedy(script)
    }];
    let note = |note: String| Finding::warning(Side::Destination, object.clone(), note);
    findings.extend(ddl.notes.into_iter().map(note));
    findings
}

/// Whether the missing tables' schemas are there to create in.
fn schema_findings(
    facts: &ServerFacts,
    missing: &[(&DestinationTable<'_>, NewTable<'_>)],
    schemas: &Schemas,
) -> Vec<Finding> {
    let created = missing.iter().filter(|(table, _)| table.may_create);
    let wanted: BTreeSet<&str> = created.map(|(table, _)| table.name.schema.as_str()).collect();
    let role = identifier(&facts.role);
    let mut findings = Vec::new();
    for schema in wanted {
        let name = identifier(schema);
        let error = |message: &str| {
            Finding::error(Side::Destination, format!("schema {name}"), format!("{message} {role}"))
        };
        match schemas.get(schema) {
            None if !facts.can_create_in_database => findings.push(
                error("it does not exist and may not be created by role")
                    .remedy(format!("CREATE SCHEMA {name} AUTHORIZATION {role}")),
            ),
            Some(info) if !(info.can_use && info.can_create) => findings.push(
                error("tables may not be created there by role")
                    .remedy(format!("GRANT USAGE, CREATE ON SCHEMA {name} TO {role}")),
            ),
            _ => {}
        }
    }
    findings
}

/// Tables that exist: privileges, fit, rows.
async fn existing_findings(
    client: &Client,
    request: DestinationRequest<'_>,
) -> Result<Vec<Finding>, CatalogError> {
    let present: Vec<(&DestinationTable<'_>, &TableInfo)> = request
        .tables
        .iter()
        .filter_map(|table| table.existing.map(|existing| (table, existing)))
        .collect();
    let oids: Vec<Oid> = present.iter().map(|(_, existing)| existing.oid).collect();
    let privileges: BTreeMap<Oid, TablePrivileges> = catalog::privileges(client, &oids)
        .await?
        .into_iter()
        .map(|privileges| (privileges.oid, privileges))
        .collect();
    let mut findings = Vec::new();
    let mut unusable_schemas = BTreeSet::new();
    let mut to_look_into = Vec::new();
    for (table, existing) in &present {
        let Some(privileges) = privileges.get(&existing.oid) else { continue };
        if !privileges.schema_usage {
            unusable_schemas.insert(table.name.schema.as_str());
        } else if table.must_be_empty && privileges.select {
            to_look_into.push(table.name.clone());
        }
        findings.extend(privilege_finding(&request.facts.role, table, privileges));
        findings.extend(fit_findings(request, table, existing));
    }
    let role = identifier(&request.facts.role);
    for schema in unusable_schemas {
        let schema = identifier(schema);
        findings.push(
            Finding::error(Side::Destination, format!("schema {schema}"), "no USAGE privilege")
                .remedy(format!("GRANT USAGE ON SCHEMA {schema} TO {role}")),
        );
    }
    for name in catalog::tables_with_rows(client, &to_look_into).await? {
        let message = "it holds rows that this pipeline did not copy; empty it, or set on_existing";
        findings.push(
            Finding::error(Side::Destination, format!("table {}", name.sql()), message)
                .remedy(format!("TRUNCATE {}", name.sql())),
        );
    }
    Ok(findings)
}

fn privilege_finding(
    role: &str,
    table: &DestinationTable<'_>,
    privileges: &TablePrivileges,
) -> Option<Finding> {
    // SELECT is what ON CONFLICT and WHERE read keys with. Where the table's privilege is missing,
    // those on all of its columns do.
    let needed = [
        ("SELECT", privileges.select || privileges.no_select.is_empty()),
        ("INSERT", privileges.insert || privileges.no_insert.is_empty()),
        ("UPDATE", privileges.update || privileges.no_update.is_empty()),
        ("DELETE", privileges.delete),
        ("TRUNCATE", privileges.truncate || !table.needs_truncate),
    ];
    let missing: Vec<&str> =
        needed.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return None;
    }
    let (name, missing) = (table.name.sql(), missing.join(", "));
    let message = format!("no {missing} privilege");
    Some(
        Finding::error(Side::Destination, format!("table {name}"), message)
            .remedy(format!("GRANT {missing} ON {name} TO {}", identifier(role))),
    )
}

/// Columns, keys, lossy types, row security.
fn fit_findings(
    request: DestinationRequest<'_>,
    table: &DestinationTable<'_>,
    existing: &TableInfo,
) -> Vec<Finding> {
    let name = table.name.sql();
    let object = format!("table {name}");
    let error = |message: String| Finding::error(Side::Destination, object.clone(), message);
    let mut findings = Vec::new();
    if existing.row_security_active {
        let message = "row-level security applies to our role".to_owned();
        let role = identifier(&request.facts.role);
        findings.push(error(message).remedy(format!("ALTER ROLE {role} BYPASSRLS")));
    }
    let mapping = match table.mapping {
        None => return findings,
        Some(Err(errors)) => {
            findings.extend(errors.iter().map(|misfit| {
                let finding = error(misfit.to_string());
                misfit.remedy().into_iter().fold(finding, Finding::remedy)
            }));
            return findings;
        }
        Some(Ok(mapping)) => mapping,
    };
    match &mapping.arbiter {
        Ok(_) | Err(ArbiterProblem::NoKey) => {}
        Err(_) if table.keys_are_pending => {}
        Err(problem) => {
            let key = identifiers(mapping.key.iter().map(String::as_str));
            findings.push(
                error(problem.to_string()).remedy(format!("CREATE UNIQUE INDEX ON {name} ({key})")),
            );
        }
    }
    let money_differs = request.facts.lc_monetary != request.source_facts.lc_monetary;
    for column in &mapping.columns {
        let of = format!("column {} of table {name}", identifier(&column.destination.name));
        if let Some(reason) = column.lossy {
            findings.push(Finding::warning(
                Side::Destination,
                of,
                format!("its type {} may lose something: {reason}", column.destination.type_name),
            ));
        } else if money_differs && column.destination.type_oid == oid::MONEY {
            let message = format!(
                "lc_monetary is {} here and {} at the source: amounts are shown otherwise",
                request.facts.lc_monetary, request.source_facts.lc_monetary
            );
            findings.push(Finding::warning(Side::Destination, of, message));
        }
    }
    findings
}
