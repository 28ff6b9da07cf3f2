//! Tables that hold rows which no record of ours explains: whether what we are told to do about them
//! can be done.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::apply::mapping::ArbiterProblem;
use crate::apply::preflight::{DestinationRequest, DestinationTable};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, CatalogError, Referrer};
use crate::pg::ident::{QualifiedName, identifier, identifiers};

/// `tables` hold rows.
pub(super) async fn rows_findings(
    client: &Client,
    request: DestinationRequest<'_>,
    tables: &[&DestinationTable<'_>],
) -> Result<Vec<Finding>, CatalogError> {
    let mut findings = Vec::new();
    for table in tables.iter().filter(|table| table.must_be_empty) {
        let name = table.name.sql();
        let message = "it holds rows that this pipeline did not copy; empty it, or set on_existing";
        findings.push(Finding::error(Side::Destination, format!("table {name}"), message).remedy(
            match table.own_rows {
                Some(own) => format!("DELETE FROM {name} WHERE {own}"),
                None => format!("TRUNCATE {name}"),
            },
        ));
    }
    let merged: Vec<_> = tables.iter().filter(|table| table.is_merged).collect();
    for table in &merged {
        let Some(Ok(mapping)) = table.mapping else { continue };
        // Where changes follow, a key without an index is a finding whatever the table holds.
        if let Err(problem) = &mapping.arbiter
            && (table.is_copy_only || *problem == ArbiterProblem::NoKey)
        {
            findings.push(no_arbiter_finding(table.name, &mapping.key, problem));
        }
    }
    if !merged.is_empty() && !catalog::may_make_temporary_tables(client).await? {
        let (database, role) = (&request.facts.database, identifier(&request.facts.role));
        let database = identifier(database);
        let message = "no TEMPORARY privilege, which on_existing = \"merge\" stages rows with";
        findings.push(
            Finding::error(Side::Destination, format!("database {database}"), message)
                .remedy(format!("GRANT TEMPORARY ON DATABASE {database} TO {role}")),
        );
    }
    let emptied: Vec<QualifiedName> =
        tables.iter().filter(|table| table.is_emptied).map(|table| table.name.clone()).collect();
    let ours = request.tables.iter().map(|table| table.name.clone()).collect();
    findings.extend(referrer_findings(client, &emptied, &ours).await?);
    Ok(findings)
}

/// Rows cannot be merged into a table without a unique index on exactly the key.
pub fn no_arbiter_finding(
    table: &QualifiedName,
    key: &[String],
    problem: &ArbiterProblem,
) -> Finding {
    let name = table.sql();
    let message = format!("on_existing is \"merge\", and rows cannot be told apart: {problem}");
    let finding = Finding::error(Side::Destination, format!("table {name}"), message);
    if key.is_empty() {
        return finding
            .remedy("give the source's table a primary key; or set on_existing = \"truncate\"");
    }
    let key = identifiers(key.iter().map(String::as_str));
    finding.remedy(format!("CREATE UNIQUE INDEX ON {name} ({key})"))
}

/// Rows of other tables than `ours` that refer to rows of the `emptied` ones.
pub async fn referrer_findings(
    client: &Client,
    emptied: &[QualifiedName],
    ours: &BTreeSet<QualifiedName>,
) -> Result<Vec<Finding>, CatalogError> {
    let mut findings = Vec::new();
    for referrer in catalog::referrers(client, emptied).await? {
        if ours.contains(&referrer.table) {
            continue;
        }
        if !referrer.can_select || catalog::does_refer(client, &referrer).await? {
            findings.push(referrer_finding(&referrer));
        }
    }
    Ok(findings)
}

fn referrer_finding(referrer: &Referrer) -> Finding {
    let (table, constraint) = (referrer.table.sql(), identifier(&referrer.constraint));
    let object = format!("table {}", referrer.referred.sql());
    let why = if referrer.can_select {
        format!("rows of table {table} refer to it (foreign key {constraint})")
    } else {
        format!(
            "whether rows of table {table} refer to it (foreign key {constraint}) cannot be seen"
        )
    };
    let message = format!("it is to be emptied, but {why}, and that table is not replicated");
    Finding::error(Side::Destination, object, message).remedy(format!(
        "include table {table}, remove its rows that refer to it, or set on_existing = \"merge\""
    ))
}
