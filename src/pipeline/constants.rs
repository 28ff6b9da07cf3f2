//! Whether the destination's columns take the constants of the settings, found before the first row. The
//! server judges: it reads each by its column's type, as a COPY would.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{ColumnInfo, Generated, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid;
use crate::pg::server_error;
use crate::pipeline::error::PipelineError;
use crate::transform::TransformPlan;

/// A constant on its way into a column that is there.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    source: QualifiedName,
    destination: QualifiedName,
    column: ColumnInfo,
    text: String,
    /// It tells the table's rows from those of others (`value` of several tables with one destination).
    sets_apart: bool,
}

/// What the constants of one table need, and what is wrong without asking anybody.
pub(super) fn of_table(
    transform: &TransformPlan,
    existing: &TableInfo,
) -> (Vec<Constant>, Vec<Finding>) {
    let (mut constants, mut findings) = (Vec::new(), Vec::new());
    for (index, column) in transform.table().columns.iter().enumerate() {
        let Some(found) = existing.column(&column.name) else { continue };
        let object = format!("column {} of table {}", identifier(&found.name), existing.name.sql());
        let alter = |change: &str| {
            let name = identifier(&found.name);
            format!("ALTER TABLE {} ALTER COLUMN {name} {change}", existing.name.sql())
        };
        if found.generated != Generated::No {
            if transform.passed_column(index).is_none()
                && transform.mark_name() != Some(&column.name)
            {
                let message =
                    "it is generated there: what [table.columns] makes of it is not written";
                let finding = Finding::warning(Side::Destination, object, message);
                findings.push(finding.remedy(alter("DROP EXPRESSION")));
            }
            continue;
        }
        if transform.is_null(index) && found.not_null {
            let message = "it is NOT NULL, and [table.columns] makes it NULL";
            let finding = Finding::error(Side::Destination, object, message);
            findings.push(finding.remedy(alter("DROP NOT NULL")));
        }
        if let Some(text) = transform.constant(index) {
            constants.push(Constant {
                source: transform.source_table().name.clone(),
                destination: existing.name.clone(),
                column: found.clone(),
                text: String::from_utf8_lossy(text).into_owned(),
                sets_apart: transform.apart() == Some(&column.name),
            });
        }
    }
    (constants, findings)
}

/// Constants that their columns do not take, and whether one of these tells rows apart: then nobody can be
/// asked whose rows are there.
pub(super) async fn refused(
    destination: &Client,
    constants: &[Constant],
) -> Result<(Vec<Finding>, bool), PipelineError> {
    let (mut findings, mut is_apart) = (Vec::new(), false);
    for constant in constants {
        let column = &constant.column;
        let sql = reading(column);
        let text = match is_json(column) {
            true => constant.text.clone(),
            false => json!({ "v": constant.text }).to_string(),
        };
        let Err(error) = destination.query_one(&sql, &[&text]).await else { continue };
        // Classes 22 and 23: the value. Whatever else is the server's matter is met where it matters.
        let said = server_error::of(&error);
        let Some(said) = said.filter(|said| matches!(said.class(), "22" | "23")) else { continue };
        is_apart |= constant.sets_apart;
        let object =
            format!("column {} of table {}", identifier(&column.name), constant.destination.sql());
        let message = format!(
            "it does not take the value that [table.columns] of {} gives it: {said}",
            constant.source.sql()
        );
        let finding = Finding::error(Side::Destination, object, message);
        findings.push(finding.remedy(to_text(constant)));
    }
    Ok((findings, is_apart))
}

/// Tables with one destination whose constants are the same value of their column's type.
pub(super) async fn equal(destination: &Client, constants: &[Constant]) -> Vec<Finding> {
    let mut groups: BTreeMap<&QualifiedName, Vec<&Constant>> = BTreeMap::new();
    for constant in constants.iter().filter(|constant| constant.sets_apart) {
        groups.entry(&constant.destination).or_default().push(constant);
    }
    let mut findings = Vec::new();
    for group in groups.into_values().filter(|group| group.len() > 1) {
        let first = group[0];
        let values: Vec<_> = group.iter().map(|constant| json!({ "v": constant.text })).collect();
        let sql = format!(
            "SELECT pg_catalog.count(DISTINCT x.v) FROM \
             pg_catalog.jsonb_to_recordset($1::pg_catalog.text::pg_catalog.jsonb) AS x(v {})",
            first.column.type_name
        );
        let text = json!(values).to_string();
        // A type without an order is in no unique index: there is a finding of its own for that.
        let Ok(row) = destination.query_one(&sql, &[&text]).await else { continue };
        let count: i64 = row.try_get(0).unwrap_or(0);
        if usize::try_from(count) == Ok(group.len()) {
            continue;
        }
        let tables: Vec<String> = group.iter().map(|constant| constant.source.sql()).collect();
        let message = format!(
            "values that tell apart the rows of {} are equal in its type {}; give each table another",
            tables.join(", "),
            first.column.type_name
        );
        let object = format!(
            "column {} of table {}",
            identifier(&first.column.name),
            first.destination.sql()
        );
        findings.push(Finding::error(Side::Destination, object, message).remedy(to_text(first)));
    }
    findings
}

/// Reads the parameter as the column's type, with its modifier, which cuts nothing off.
fn reading(column: &ColumnInfo) -> String {
    let type_name = &column.type_name;
    match is_json(column) {
        true => format!("SELECT pg_catalog.count($1::pg_catalog.text::{type_name})"),
        false => format!(
            "SELECT pg_catalog.count(x.v) FROM \
             pg_catalog.jsonb_to_record($1::pg_catalog.text::pg_catalog.jsonb) AS x(v {type_name})"
        ),
    }
}

/// A text inside of JSON would be taken as it is.
fn is_json(column: &ColumnInfo) -> bool {
    column.leaf.array_depth == 0 && matches!(column.leaf.type_oid, oid::JSON | oid::JSONB)
}

fn to_text(constant: &Constant) -> String {
    format!(
        "ALTER TABLE {} ALTER COLUMN {} TYPE text; or another value",
        constant.destination.sql(),
        identifier(&constant.column.name)
    )
}
