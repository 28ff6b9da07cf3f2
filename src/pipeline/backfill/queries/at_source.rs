//! A query as the source understands it. Its server parses it, plans it and begins to run it, in a
//! transaction that may only read; not one row is asked for.
//!
//! By itself it must be one statement, and inside of parentheses it must be one that reads: what is both
//! cannot do more inside of a COPY than be read.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::error::{ErrorPosition, SqlState};

use super::{Problem, mistake, name, object};
use crate::config::settings::{QuerySettings, Settings};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, IndexInfo, RelationKind, ReplicaIdentity, ResultColumn, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::{SYSTEM_COLUMNS, identifier, identifiers};
use crate::pg::server_error::{self, ServerError};
use crate::pipeline::error::PipelineError;

/// Names in it mean what they mean to others who connect like us, and row security fails it instead of
/// thinning it out.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL row_security = off; SET LOCAL search_path TO DEFAULT";

/// What the server calls a column that has no name.
const UNNAMED: &str = "?column?";

/// Why the server did not take it.
enum Refusal {
    /// It was not the query that was at fault.
    Failed(tokio_postgres::Error),
    Said {
        error: Box<ServerError>,
        place: String,
        is_alone: bool,
    },
    Plain(&'static str, String),
}

/// The result like a table, or everything that is wrong with the query.
pub(super) async fn describe(
    client: &Client,
    settings: &Settings,
    index: usize,
    role: &str,
) -> Result<Result<TableInfo, Vec<Problem>>, PipelineError> {
    let failed = || PipelineError::query(Side::Source, "looking at a query");
    let query = &settings.queries[index];
    client.batch_execute(BEGIN).await.map_err(failed())?;
    let asked = ask(client, query).await;
    client.batch_execute("ROLLBACK").await.map_err(failed())?;
    let columns = match asked {
        Ok(columns) => columns,
        Err(Refusal::Failed(error)) => return Err(failed()(error)),
        Err(Refusal::Said { error, place, is_alone }) => {
            return Ok(Err(vec![said(settings, index, role, &error, &place, is_alone)]));
        }
        Err(Refusal::Plain(key, message)) => {
            return Ok(Err(vec![mistake(settings, index, key, &message)]));
        }
    };
    let described = catalog::result_columns(client, &columns).await;
    let described = described.map_err(PipelineError::catalog(Side::Source))?;
    let mut problems = column_problems(settings, index, &columns);
    for column in described.iter().filter(|column| column.leaf.kind == 'p') {
        let name = identifier(&column.name);
        let message = format!(
            "column {name} has the pseudo-type {}, which no table can hold; give it a type: \
             {name}::text",
            column.type_name
        );
        problems.push(mistake(settings, index, "sql", &message));
    }
    if !problems.is_empty() {
        return Ok(Err(problems));
    }
    if !query.key.is_empty()
        && let Err(error) = orders(client, query).await
    {
        return Ok(Err(vec![match server_error::of(&error) {
            Some(error) => mistake(settings, index, "key", &error.to_string()),
            None => return Err(failed()(error)),
        }]));
    }
    Ok(Ok(TableInfo { columns: described, ..result(query) }))
}

async fn ask(client: &Client, query: &QuerySettings) -> Result<Vec<ResultColumn>, Refusal> {
    let alone = client.prepare(&query.sql).await.map_err(|error| refusal(error, query, true))?;
    if !alone.params().is_empty() {
        let message = "it has parameters ($1), and nobody gives them values";
        return Err(Refusal::Plain("sql", message.to_owned()));
    }
    let inside = |error| refusal(error, query, false);
    let wrapped = format!("SELECT * FROM (\n{}\n) AS q LIMIT 0", query.sql);
    let wrapped = client.prepare(&wrapped).await.map_err(inside)?;
    client.query(&wrapped, &[]).await.map_err(inside)?;
    let column = |column: &tokio_postgres::Column| ResultColumn {
        name: column.name().to_owned(),
        type_oid: column.type_().oid(),
        type_modifier: column.type_modifier(),
    };
    Ok(alone.columns().iter().map(column).collect())
}

/// A key's columns must have an order: its index needs one.
async fn orders(client: &Client, query: &QuerySettings) -> Result<(), tokio_postgres::Error> {
    let key = identifiers(query.key.iter().map(String::as_str));
    client.batch_execute(BEGIN).await?;
    let ordered = format!("SELECT FROM (\n{}\n) AS q ORDER BY {key}", query.sql);
    let prepared = client.prepare(&ordered).await;
    client.batch_execute("ROLLBACK").await?;
    prepared.map(drop)
}

fn refusal(error: tokio_postgres::Error, query: &QuerySettings, is_alone: bool) -> Refusal {
    let Some(server) = server_error::of(&error) else { return Refusal::Failed(error) };
    if server.is_transient() && server.class() != "XX" {
        return Refusal::Failed(error);
    }
    let position = error.as_db_error().and_then(|error| error.position());
    let place = match position {
        Some(ErrorPosition::Original(position)) if is_alone => line_and_column(query, *position),
        _ => String::new(),
    };
    Refusal::Said { error: Box::new(server), place, is_alone }
}

/// ` at line 2, column 5`, of the query.
fn line_and_column(query: &QuerySettings, position: u32) -> String {
    let position = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
    let before: String = query.sql.chars().take(position).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" at line {line}, column {column}")
}

/// What the server said, as a problem.
fn said(
    settings: &Settings,
    index: usize,
    role: &str,
    error: &ServerError,
    place: &str,
    is_alone: bool,
) -> Problem {
    let query = &settings.queries[index];
    if matches!(error.class(), "21" | "22") || error.is_raised() {
        return Problem::Doomed(query.name.clone(), error.to_string());
    }
    if error.code == SqlState::INSUFFICIENT_PRIVILEGE {
        let finding = Finding::error(Side::Source, object(query), error.to_string());
        return Problem::Finding(finding.remedy(grant(error, role)));
    }
    let hint = error.own_hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    let message = match &error.code {
        code if is_alone && error.message.contains("multiple commands") => {
            format!("it has more than one statement ({})", code.code())
        }
        _ if !is_alone => format!(
            "it must be one query that only reads (SELECT, VALUES, TABLE, WITH … SELECT): {error}{hint}"
        ),
        code if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION].contains(code) => {
            format!(
                "{error}{place}{hint}; names without a schema are looked up by the search_path that \
                 role {} has at the source",
                identifier(role)
            )
        }
        _ => format!("{error}{place}{hint}"),
    };
    mistake(settings, index, "sql", &message)
}

/// The statement that lets the role read. The server names what it refuses, without a schema.
fn grant(error: &ServerError, role: &str) -> String {
    let role = identifier(role);
    let named = error.message.strip_prefix("permission denied for ").unwrap_or_default();
    match named.rsplit_once(' ') {
        Some(("table" | "view" | "materialized view" | "foreign table", name)) => {
            format!("GRANT SELECT ON {name} TO {role}")
        }
        Some(("schema", name)) => format!("GRANT USAGE ON SCHEMA {name} TO {role}"),
        Some(("function", name)) => format!("GRANT EXECUTE ON FUNCTION {name} TO {role}"),
        _ if error.message.contains("row-level security") => {
            format!("ALTER ROLE {role} BYPASSRLS")
        }
        _ => format!("GRANT … TO {role}"),
    }
}

fn column_problems(settings: &Settings, index: usize, columns: &[ResultColumn]) -> Vec<Problem> {
    let query = &settings.queries[index];
    let mut messages = Vec::new();
    if columns.is_empty() {
        messages.push(("sql", "its result has no columns".to_owned()));
    }
    let mut seen = BTreeSet::new();
    for (number, column) in columns.iter().enumerate() {
        let name = column.name.as_str();
        if name == UNNAMED {
            let number = number + 1;
            messages.push(("sql", format!("column {number} of its result has no name: add AS …")));
        } else if !seen.insert(name) {
            let name = identifier(name);
            messages
                .push(("sql", format!("two columns of its result are called {name}: add AS …")));
        }
        if SYSTEM_COLUMNS.contains(&name) {
            let name = identifier(name);
            messages.push(("sql", format!("no table's column can be called {name}: add AS …")));
        }
    }
    for column in query.key.iter().filter(|column| !seen.contains(column.as_str())) {
        let name = identifier(column);
        messages.push(("key", format!("its result has no column {name}, which the key names")));
    }
    messages.into_iter().map(|(key, message)| mistake(settings, index, key, &message)).collect()
}

/// The result as a table without columns, its key as a primary key.
fn result(query: &QuerySettings) -> TableInfo {
    let key = IndexInfo {
        name: String::new(),
        is_primary: true,
        is_unique: true,
        is_exclusion: false,
        is_immediate: true,
        is_valid: true,
        is_partial: false,
        columns: query.key.clone(),
        read_columns: Vec::new(),
        nulls_are_equal: false,
        is_replica_identity: false,
        constraint: None,
    };
    TableInfo {
        oid: 0,
        name: name(query),
        kind: RelationKind::Table,
        is_partition: false,
        is_permanent: true,
        identity: ReplicaIdentity::Default,
        columns: Vec::new(),
        indexes: if query.key.is_empty() { Vec::new() } else { vec![key] },
        sequences: Vec::new(),
        row_filters: BTreeMap::new(),
        partition_ancestors: Vec::new(),
        has_leaf_without_identity: false,
        needs_generated_published: false,
        has_before_triggers: false,
        has_foreign_keys: false,
        row_security_active: false,
        is_owner: true,
        owner: String::new(),
        heap_bytes: 0,
        table_bytes: 0,
        estimated_rows: None,
        filenode: 0,
        attribute_count: 0,
        is_heap: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::ident::QualifiedName;

    #[test]
    fn a_mistake_is_found_by_line_and_column() {
        let query = QuerySettings {
            name: "q".to_owned(),
            sql: "SELECT ä,\n  frm t".to_owned(),
            destination: QualifiedName::new("r", "q"),
            key: Vec::new(),
        };
        assert_eq!(line_and_column(&query, 8), " at line 1, column 8");
        assert_eq!(line_and_column(&query, 13), " at line 2, column 3");
    }
}
