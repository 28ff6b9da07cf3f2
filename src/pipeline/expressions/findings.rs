//! What `check` says of expressions: where each is computed, and what is read again for it.

use std::collections::BTreeMap;

use super::pushed::{Kept, is_dropped};
use crate::config::settings::Settings;
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{ReplicaIdentity, TableInfo};
use crate::pg::ident::QualifiedName;
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
    let Some(program) = plan.program() else { return Vec::new() };
    let finding = |message: String| {
        Finding::info(Side::Source, format!("table {}", info.name.sql()), message)
    };
    let mut findings = Vec::new();
    let dropped: Vec<String> = plan
        .inputs_read()
        .filter(|name| settings.table(&info.name).is_some_and(|table| is_dropped(table, name)))
        .map(|name| format!("\"{name}\""))
        .collect();
    if !dropped.is_empty() {
        findings.push(finding(format!(
            "{} reads what is not stored: values of column {} go back to the source as parameters of a \
             statement, and nowhere else",
            program.names(),
            dropped.join(", ")
        )));
    }
    if info.identity != ReplicaIdentity::Full {
        // Only values of types without a fixed length are kept apart, and left out where unchanged.
        let read: Vec<String> = plan.read_again().map(|name| format!("\"{name}\"")).collect();
        if !read.is_empty() {
            findings.push(finding(format!(
                "an update that leaves a large value of column {} as it is does not send it: the row is \
                 read at the source by its key for {}; REPLICA IDENTITY FULL avoids that",
                read.join(", "),
                program.names()
            )));
        }
    }
    findings
}
