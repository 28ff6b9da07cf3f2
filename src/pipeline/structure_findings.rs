//! What `check` says about structure: every object that `run` would create, with its statement, what
//! is left out, and what only an administrator can make.

use std::collections::BTreeMap;

use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, CatalogError, ServerFacts};
use crate::pg::client::Client;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid::Oid;
use crate::structure::{ForeignKeys, Lack, Statement, Structure, TableRequest, TableStructure};

/// Who may do what, as far as creation goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Creator<'a> {
    pub(super) destination: &'a Client,
    pub(super) facts: &'a ServerFacts,
}

/// A table that the destination lacks or that is still being copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) request: &'a TableRequest,
    pub(super) is_missing: bool,
    /// `create_tables`.
    pub(super) may_create: bool,
}

/// Everything that stands in the way of creation, and everything that would be created.
pub(super) async fn findings(
    creator: Creator<'_>,
    structure: &Structure,
    wanted: &BTreeMap<Oid, Wanted<'_>>,
) -> Result<Vec<Finding>, CatalogError> {
    let mut findings = lack_findings(&structure.lacks);
    let may_create = wanted.values().any(|wanted| wanted.is_missing && wanted.may_create);
    if may_create {
        findings.extend(schema_findings(creator, structure).await?);
    }
    findings.extend(reference_findings(creator, structure, wanted).await?);
    if may_create {
        findings.extend(created(&structure.before, "run creates it"));
    }
    for (object, note) in &structure.notes {
        findings.push(Finding::warning(Side::Destination, object.clone(), note.clone()));
    }
    for oid in &structure.order {
        let (Some(planned), Some(wanted)) = (structure.tables.get(oid), wanted.get(oid)) else {
            continue;
        };
        findings.extend(table_findings(planned, *wanted));
    }
    findings.extend(foreign_key_findings(&structure.foreign_keys));
    Ok(findings)
}

/// What only an administrator can make.
pub(super) fn lack_findings(lacks: &[Lack]) -> Vec<Finding> {
    let finding = |lack: &Lack| {
        let finding = Finding::error(Side::Destination, &lack.object, &lack.message);
        lack.remedy.iter().fold(finding, Finding::remedy)
    };
    lacks.iter().map(finding).collect()
}

fn table_findings(planned: &TableStructure, wanted: Wanted<'_>) -> Vec<Finding> {
    let object = format!("table {}", wanted.request.destination.sql());
    let mut findings = Vec::new();
    if wanted.is_missing && !wanted.may_create {
        let message = "it does not exist, and create_tables is false";
        let all = planned.create.iter().chain(&planned.keys);
        let script: Vec<&str> = all.map(|statement| statement.sql.as_str()).collect();
        let finding = Finding::error(Side::Destination, &object, message);
        return vec![finding.remedy(script.join("; "))];
    }
    findings.extend(created(&planned.create, "run creates it"));
    for partition in &planned.partitions {
        let statements: Vec<Statement> =
            partition.create.iter().chain(std::iter::once(&partition.attach)).cloned().collect();
        findings.extend(created(&statements, "run creates it"));
    }
    let later: Vec<Statement> =
        planned.keys.iter().chain(&planned.indexes).chain(&planned.rest).cloned().collect();
    findings.extend(created(&later, "run makes it after the load"));
    let note = |note: &String| Finding::warning(Side::Destination, &object, note);
    findings.extend(planned.notes.iter().map(note));
    findings
}

/// One finding an object: neighbors that make the same one stand together.
fn created(statements: &[Statement], message: &str) -> Vec<Finding> {
    let of_one_object = statements.chunk_by(|a, b| a.object == b.object);
    of_one_object
        .map(|statements| {
            let script: Vec<&str> = statements.iter().map(|made| made.sql.as_str()).collect();
            Finding::info(Side::Destination, &statements[0].object, message)
                .remedy(script.join("; "))
        })
        .collect()
}

fn foreign_key_findings(foreign_keys: &ForeignKeys) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in &foreign_keys.keys {
        let parts = [&key.add, &key.validate, &key.comment];
        let statements: Vec<Statement> = parts.into_iter().flatten().cloned().collect();
        findings.extend(created(&statements, "run adds it after all loads"));
    }
    for left_out in &foreign_keys.left_out {
        let (name, table) = (identifier(&left_out.name), left_out.table.sql());
        let object = format!("foreign key {name} of table {table}");
        let message = format!("it is left out: {}", left_out.reason);
        findings.push(Finding::warning(Side::Destination, object, message));
    }
    findings
}

/// Whether the schemas are there to create in.
async fn schema_findings(
    creator: Creator<'_>,
    structure: &Structure,
) -> Result<Vec<Finding>, CatalogError> {
    let names: Vec<String> = structure.schemas.iter().cloned().collect();
    let found = catalog::schemas(creator.destination, &names).await?;
    let role = identifier(&creator.facts.role);
    let mut findings = Vec::new();
    for schema in &names {
        let name = identifier(schema);
        let error = |message: &str| {
            Finding::error(Side::Destination, format!("schema {name}"), format!("{message} {role}"))
        };
        match found.iter().find(|info| info.name == *schema) {
            None if !creator.facts.can_create_in_database => findings.push(
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
    Ok(findings)
}

/// Foreign keys to tables that are not ours need a privilege on these.
async fn reference_findings(
    creator: Creator<'_>,
    structure: &Structure,
    wanted: &BTreeMap<Oid, Wanted<'_>>,
) -> Result<Vec<Finding>, CatalogError> {
    let is_ours =
        |name: &QualifiedName| wanted.values().any(|wanted| wanted.request.destination == *name);
    let mut names: Vec<QualifiedName> = structure
        .foreign_keys
        .keys
        .iter()
        .filter(|key| key.add.is_some() && !is_ours(&key.referenced))
        .map(|key| key.referenced.clone())
        .collect();
    names.sort();
    names.dedup();
    let role = identifier(&creator.facts.role);
    let missing = catalog::tables_without_references(creator.destination, &names).await?;
    let finding = |name: QualifiedName| {
        let message =
            "foreign keys of tables that run creates point to it: no REFERENCES privilege";
        Finding::error(Side::Destination, format!("table {}", name.sql()), message)
            .remedy(format!("GRANT REFERENCES ON {} TO {role}", name.sql()))
    };
    Ok(missing.into_iter().map(finding).collect())
}
