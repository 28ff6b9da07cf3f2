//! What `check` says of expressions: where each is computed, and what is read again for it.

use std::collections::BTreeMap;

use super::pushed::{Kept, is_dropped};
use crate::config::settings::Settings;
use crate::model::finding::{Finding, Side};
use crate::model::table::Column;
use crate::pg::catalog::{ReplicaIdentity, TableInfo};
use crate::pg::ident::QualifiedName;
use crate::pg::oid;
use crate::transform::TransformPlan;

/// Where a table's filter runs.
pub fn of_filters(
    filters: &BTreeMap<QualifiedName, Result<String, Kept>>,
) -> impl Iterator<Item = Finding> {
    filters.iter().map(|(table, filter)| {
        let message = match filter {
            Ok(_) => {
                "its where is part of our publication: rows that stay out are not sent".to_owned()
            }
            Err(kept) => {
                format!("its where runs at the agent, for every row that is sent, because {kept}")
            }
        };
        Finding::info(Side::Source, format!("table {}", table.sql()), message)
    })
}

/// What travels for a table's expressions, and what has to be read.
pub fn of_table(settings: &Settings, info: &TableInfo, plan: &TransformPlan) -> Vec<Finding> {
    let Some(table) = settings.table(&info.name) else { return Vec::new() };
    let object = format!("table {}", info.name.sql());
    let finding = |message: String| Finding::info(Side::Source, object.clone(), message);
    let mut findings = Vec::new();
    if !plan.table().has_key() && plan.expressions().next().is_some() {
        findings.push(finding(
            "it has no key, so that its rows are found by all of their values: of an expression whose value \
             changes with time (now()) none is found again, and rows that are deleted stay; a primary key \
             avoids that"
                .to_owned(),
        ));
    }
    for (name, reads) in plan.expressions() {
        let dropped = reads.iter().filter(|column| is_dropped(table, &column.name));
        let dropped = quoted(dropped.copied());
        if !dropped.is_empty() {
            findings.push(finding(format!(
                "{name} reads what is not stored: values of column {dropped} go back to the source as \
                 parameters of a statement, and nowhere else"
            )));
        }
        // One that reads nothing else leaves its column as it is; a filter has to be answered.
        let is_asked = name == "where" || reads.len() > 1;
        let is_large =
            |column: &&&Column| !column.is_identity && !oid::has_fixed_length(column.type_oid);
        let large = quoted(reads.iter().filter(is_large).copied());
        if info.identity != ReplicaIdentity::Full && is_asked && !large.is_empty() {
            findings.push(finding(format!(
                "an update that leaves a large value of column {large} as it is does not send it: the row \
                 is read at the source by its key for {name}; REPLICA IDENTITY FULL avoids that"
            )));
        }
    }
    findings
}

fn quoted<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    columns.map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ")
}
