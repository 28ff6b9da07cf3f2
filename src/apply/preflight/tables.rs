//! The destination's tables that exist: whether they fit, and what our role may do with them.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use crate::apply::mapping::{ArbiterProblem, Mapping};
use crate::apply::preflight::{DestinationRequest, DestinationTable};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, CatalogError, Generated, IndexInfo, TableInfo, TablePrivileges};
use crate::pg::ident::{QualifiedName, identifier, identifiers};
use crate::pg::oid::Oid;

/// Tables that exist: privileges, fit, rows.
pub(super) async fn existing_findings(
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
        } else if privileges.select && (table.must_be_empty || table.is_emptied || table.is_merged)
        {
            // Without its columns there is nothing to ask by, and they are a finding.
            if table.own_rows.is_none() || matches!(table.mapping, Some(Ok(_))) {
                to_look_into.push(*table);
            }
        }
        findings.extend(privilege_finding(&request.facts.role, table, privileges));
        findings.extend(fit_findings(request, table, existing));
    }
    findings.extend(sequence_findings(client, request, &present, &oids).await?);
    let role = identifier(&request.facts.role);
    for schema in unusable_schemas {
        let schema = identifier(schema);
        findings.push(
            Finding::error(Side::Destination, format!("schema {schema}"), "no USAGE privilege")
                .remedy(format!("GRANT USAGE ON SCHEMA {schema} TO {role}")),
        );
    }
    let asked: Vec<(QualifiedName, Option<String>)> = to_look_into
        .iter()
        .map(|table| (table.name.clone(), table.own_rows.map(str::to_owned)))
        .collect();
    let answers = catalog::have_rows(client, &asked).await?;
    let with_rows = to_look_into.into_iter().zip(answers).filter(|(_, has_rows)| *has_rows);
    let with_rows: Vec<&DestinationTable<'_>> = with_rows.map(|(table, _)| table).collect();
    findings.extend(super::existing::rows_findings(client, request, &with_rows).await?);
    Ok(findings)
}

/// Defaults of columns that we do not write: every insert of ours reads the sequences behind them.
async fn sequence_findings(
    client: &Client,
    request: DestinationRequest<'_>,
    present: &[(&DestinationTable<'_>, &TableInfo)],
    oids: &[Oid],
) -> Result<Vec<Finding>, CatalogError> {
    let role = identifier(&request.facts.role);
    let mut findings = Vec::new();
    for closed in catalog::closed_sequences(client, oids).await? {
        let table = present.iter().find(|(_, existing)| existing.oid == closed.table);
        let Some((table, _)) = table else { continue };
        let is_written = |mapping: &Mapping| {
            let mut written = mapping.columns.iter().filter(|column| column.is_written());
            written.any(|column| column.destination.name == closed.column)
        };
        if !matches!(table.mapping, Some(Ok(mapping)) if !is_written(mapping)) {
            continue;
        }
        let name = closed.name.sql();
        let message = format!(
            "no USAGE privilege: the default of column {} of table {} reads it",
            identifier(&closed.column),
            table.name.sql()
        );
        findings.push(
            Finding::error(Side::Destination, format!("sequence {name}"), message)
                .remedy(format!("GRANT USAGE ON SEQUENCE {name} TO {role}")),
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
        (
            "UPDATE",
            table.is_copy_only && !table.is_merged
                || privileges.update
                || privileges.no_update.is_empty(),
        ),
        ("DELETE", table.is_copy_only && !table.needs_delete || privileges.delete),
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

/// What the key lacks for ON CONFLICT.
fn key_finding(table: &DestinationTable<'_>, mapping: &Mapping) -> Option<Finding> {
    let problem = mapping.arbiter.as_ref().err()?;
    if *problem == ArbiterProblem::NoKey || table.keys_are_pending || table.is_copy_only {
        return None;
    }
    let name = table.name.sql();
    let object = format!("table {name}");
    if matches!(problem, ArbiterProblem::Temporal { .. }) {
        let message = format!("{problem}: a row that is there already is refused (E_CONFLICT)");
        return Some(Finding::warning(Side::Destination, object, message));
    }
    if matches!(problem, ArbiterProblem::Wider { .. }) {
        return Some(Finding::warning(Side::Destination, object, problem.to_string()));
    }
    let key = identifiers(mapping.key.iter().map(String::as_str));
    let create = format!("CREATE UNIQUE INDEX ON {name} ({key})");
    let remedy = match problem {
        ArbiterProblem::Deferrable { index } => {
            format!("ALTER TABLE {name} DROP CONSTRAINT {}; {create}", identifier(index))
        }
        _ => create,
    };
    Some(Finding::error(Side::Destination, object, problem.to_string()).remedy(remedy))
}

/// Columns that one side generates and the other does not: the stream has no generated values, and
/// none can be written to a generated column.
fn generated_findings(
    table: &DestinationTable<'_>,
    existing: &TableInfo,
    mapping: &Mapping,
) -> Vec<Finding> {
    let name = table.name.sql();
    let object = |column: &str| format!("column {} of table {name}", identifier(column));
    let mut findings = Vec::new();
    for column in &table.source.columns {
        let Some(here) = existing.column(&column.name) else { continue };
        let is_sent = mapping.columns.iter().any(|sent| sent.destination.name == column.name);
        let is_generated = column.generated != Generated::No && !column.is_published_generated;
        if is_generated && !is_sent && here.generated == Generated::No {
            let message =
                "it is generated at the source, which does not send it, and not generated here";
            let finding = match here.default.is_some() || existing.has_before_triggers {
                true => Finding::warning(Side::Destination, object(&column.name), message),
                false => Finding::error(Side::Destination, object(&column.name), message),
            };
            let own = identifier(&column.name);
            let of = column.generation.as_deref().unwrap_or_default();
            findings.push(finding.remedy(format!(
                "ALTER TABLE {name} DROP COLUMN {own}, ADD COLUMN {own} {} GENERATED ALWAYS AS ({of}) STORED",
                column.type_name
            )));
        } else if column.generated == Generated::No && is_sent && here.generated != Generated::No {
            let message =
                "it is generated here and not at the source: its values are the ones made here";
            findings.push(Finding::warning(Side::Destination, object(&column.name), message));
        }
    }
    findings
}

/// Constraints that the source may check late and the destination checks at each row: two rows that
/// swap their values are refused, in whatever order they are written.
fn immediate_findings(table: &DestinationTable<'_>, existing: &TableInfo) -> Vec<Finding> {
    let name = table.name.sql();
    let late = table.source.indexes.iter().filter(|index| !index.is_immediate);
    let mut findings = Vec::new();
    for (late, (_, definition)) in late.filter_map(|late| Some((late, late.constraint.as_ref()?))) {
        let is_same = |index: &&IndexInfo| {
            index.is_immediate && index.is_unique && index.columns == late.columns
        };
        for index in existing.indexes.iter().filter(is_same) {
            let own = identifier(&index.name);
            let message = "the source may check it at the end of a transaction, and here it is checked at \
                           each row: rows that swap values are refused (E_CONFLICT)";
            let drop = match index.constraint {
                Some(_) => format!("ALTER TABLE {name} DROP CONSTRAINT {own}"),
                None => {
                    let index = QualifiedName::new(table.name.schema.clone(), index.name.clone());
                    format!("DROP INDEX {}", index.sql())
                }
            };
            findings.push(
                Finding::warning(
                    Side::Destination,
                    format!("index {own} of table {name}"),
                    message,
                )
                .remedy(format!("{drop}; ALTER TABLE {name} ADD {definition}")),
            );
        }
    }
    findings
}

/// Columns, keys, types, row security.
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
    findings.extend(key_finding(table, mapping));
    findings.extend(immediate_findings(table, existing));
    findings.extend(generated_findings(table, existing, mapping));
    findings.extend(super::values::type_findings(table, mapping));
    findings
}
