//! Several source tables with one destination: what has to be so; pure.

use std::collections::HashMap;

use crate::config::settings::Settings;
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::TableInfo;
use crate::pg::ident::{QualifiedName, identifier, identifiers};
use crate::structure::{OutputColumn, TableRequest};

/// A selected table, and whether its destination is missing.
pub(super) type Shared<'a> = (&'a TableRequest, bool);

/// Tables that have one destination, each with the first of its kind.
fn pairs<'a>(tables: &[Shared<'a>]) -> Vec<(&'a TableRequest, &'a TableRequest, bool)> {
    let mut first: HashMap<&QualifiedName, &TableRequest> = HashMap::new();
    let mut pairs = Vec::new();
    for &(table, is_missing) in tables {
        match first.get(&table.destination) {
            Some(first) => pairs.push((*first, table, is_missing)),
            None => drop(first.insert(&table.destination, table)),
        }
    }
    pairs
}

/// Tables that would write into each other's rows.
pub(super) fn mistakes(settings: &Settings, tables: &[Shared<'_>]) -> Vec<String> {
    let clashes = pairs(tables).into_iter().filter(|(first, second, _)| {
        first.apart.is_none() || second.apart.is_none() || first.apart != second.apart
    });
    let mistake = |(first, second, _): (&TableRequest, &TableRequest, bool)| {
        let index = settings.tables.iter().position(|entry| entry.name == second.source);
        let place = index.map(|index| format!("{}: ", settings.places.table(index)));
        format!(
            "{}tables {} and {} have the destination {}, and nothing tells their rows apart. Give both a [[table]] \
             with the same column and another value, tenant = {{ value = \"a\" }}, or another destination.",
            place.unwrap_or_default(),
            first.source.sql(),
            second.source.sql(),
            second.destination.sql()
        )
    };
    clashes.map(mistake).collect()
}

/// What keeps a table's rows out of the destination that is made after another one.
pub(super) fn findings(tables: &[Shared<'_>]) -> Vec<Finding> {
    let missing = pairs(tables).into_iter().filter(|(.., is_missing)| *is_missing);
    missing.flat_map(|(first, second, _)| misfits(first, second)).collect()
}

/// Unique indexes of a shared destination that do not have the column which tells its tables apart: rows of
/// one may refuse another's.
pub(super) fn index_findings<'a>(
    tables: impl Iterator<Item = (&'a TableRequest, &'a TableInfo)>,
) -> Vec<Finding> {
    let mut sharers: HashMap<&QualifiedName, (usize, &TableRequest, &TableInfo)> = HashMap::new();
    for (request, existing) in tables.filter(|(request, _)| request.apart.is_some()) {
        sharers.entry(&request.destination).or_insert((0, request, existing)).0 += 1;
    }
    let mut findings = Vec::new();
    for (_, request, existing) in sharers.into_values().filter(|(count, ..)| *count > 1) {
        let Some(apart) = &request.apart else { continue };
        let in_the_way = existing.indexes.iter().filter(|index| {
            let is_plain = index.is_unique && !index.is_exclusion && !index.columns.is_empty();
            is_plain && !index.is_partial && !index.columns.contains(apart)
        });
        for index in in_the_way {
            let (name, own) = (existing.name.sql(), identifier(&index.name));
            let drop = match index.constraint {
                Some(_) => format!("ALTER TABLE {name} DROP CONSTRAINT {own}"),
                None => {
                    let schema = &existing.name.schema;
                    format!("DROP INDEX {}", QualifiedName::new(schema, &index.name).sql())
                }
            };
            let columns = [apart].into_iter().chain(&index.columns).map(String::as_str);
            let columns = identifiers(columns);
            let finding = Finding::warning(
                Side::Destination,
                format!("index {own} of table {name}"),
                format!(
                    "several tables have rows there, and it lacks the column {} that tells them apart: a value \
                     that two of them have is refused (E_CONFLICT)",
                    identifier(apart)
                ),
            );
            let remedy = format!("{drop}; CREATE UNIQUE INDEX ON {name} ({columns})");
            findings.push(finding.remedy(remedy));
        }
    }
    findings.sort_by(|one, other| one.object.cmp(&other.object));
    findings
}

fn misfits(first: &TableRequest, second: &TableRequest) -> Vec<Finding> {
    let name = second.destination.sql();
    let object = format!("table {}", second.source.sql());
    let made = format!("{name} is made after {}", first.source.sql());
    let mut findings = Vec::new();
    let mut add = |message: String| {
        let finding = Finding::error(Side::Source, object.clone(), message);
        findings.push(finding.remedy(format!(
            "CREATE TABLE {name} (…) at the destination with columns that hold the rows of both; or change [table.columns]"
        )));
    };
    let of = |table: &TableRequest, name: &str| -> Option<OutputColumn> {
        table.columns.iter().find(|column| column.name == name).cloned()
    };
    for column in &second.columns {
        let quoted = identifier(&column.name);
        match of(first, &column.name) {
            None => add(format!("{made}, which has no column {quoted}")),
            Some(known) if known.type_name != column.type_name => add(format!(
                "{made}, whose column {quoted} has type {} and not {}",
                known.type_name, column.type_name
            )),
            Some(known) if known.not_null && !column.not_null => {
                add(format!("{made}, whose column {quoted} is NOT NULL, and this one is not"));
            }
            Some(_) => {}
        }
    }
    for column in first.columns.iter().filter(|column| column.not_null) {
        if of(second, &column.name).is_none() {
            let quoted = identifier(&column.name);
            add(format!("{made}, whose column {quoted} is NOT NULL, and this one has none"));
        }
    }
    findings
}
