//! Why a table has no plan, in words, with what mends it and the place in the settings; pure.

use crate::apply::mapping::MappingError;
use crate::config::settings::Settings;
use crate::pg::catalog::{Generated, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};
use crate::pipeline::error::PipelineError;
use crate::transform::{PlanError, Refusal};

/// Why `on_delete = "mark:…"` is refused of a table.
pub(in crate::pipeline) const NO_KEY_TO_MARK_BY: &str = "no columns identify a row of the source's table, and of several equal ones one would be marked that another row stands for; give it a primary key, or set on_delete to \"keep\"";

/// The steps of its settings do not go with its columns: each error at its place in the file. Where the
/// columns have changed meanwhile, the settings are not to blame.
pub(super) fn not_compiled(
    settings: &Settings,
    source: &TableInfo,
    errors: &[PlanError],
) -> PipelineError {
    let table = &source.name;
    let is_generated =
        |name: &str| source.column(name).is_some_and(|column| column.generated != Generated::No);
    let described = |error: &PlanError| match error.refusal {
        Refusal::Absent if is_generated(&error.column) => format!(
            "column {} of table {}: it is generated, and the stream does not send it: the destination computes it. \
             Take it out of [table.columns]; a step sql or value makes a plain column of it.",
            identifier(&error.column),
            table.sql()
        ),
        _ => format!("{error}. {}", error.hint()),
    };
    if errors.iter().any(PlanError::is_schema_change) {
        return schema(table, join(errors.iter().map(described)));
    }
    let index = settings.tables.iter().position(|entry| entry.name == *table);
    let placed = |error: &PlanError| match index {
        Some(index) => {
            let place = match () {
                () if error.is_of_the_key() => settings.places.table_key(index),
                () if error.is_of_the_filter() => settings.places.table_filter(index),
                () if error.is_of_the_mark() => settings.places.table_on_delete(index),
                () => settings.places.column(index, &error.column),
            };
            format!("{place}: {}", described(error))
        }
        None => described(error),
    };
    let lines: Vec<String> = errors.iter().map(placed).collect();
    PipelineError::Config { message: lines.join("\n") }
}

pub(super) fn missing(source: &QualifiedName, destination: &QualifiedName) -> PipelineError {
    let destination = destination.sql();
    schema(
        source,
        format!(
            "its destination table {destination} does not exist; create it there, then copy it again: sync-agent resync --table {source}"
        ),
    )
}

/// Its rows have nothing that they could be marked by.
pub(super) fn no_key_to_mark_by(table: &QualifiedName) -> PipelineError {
    schema(table, format!("deleted rows cannot be marked: {NO_KEY_TO_MARK_BY}"))
}

/// A key of the settings' choosing that the stream does not identify rows by.
pub(super) fn chosen_key_misfit(table: &QualifiedName, misfit: &str) -> PipelineError {
    let remedy = format!("ALTER TABLE {} REPLICA IDENTITY FULL", table.sql());
    let resync = format!("sync-agent resync --table {}", table.argument());
    schema(table, format!("{misfit}; do at the source: {remedy}; then: {resync}"))
}

/// The destination's columns do not take its values.
pub(in crate::pipeline) fn not_mapped(
    table: &QualifiedName,
    errors: &[MappingError],
) -> PipelineError {
    let described = |error: &MappingError| match error.remedy() {
        Some(remedy) => format!("{error}; do at the destination: {remedy}"),
        None => error.to_string(),
    };
    schema(table, join(errors.iter().map(described)))
}

fn schema(table: &QualifiedName, message: String) -> PipelineError {
    PipelineError::Schema { table: table.clone(), message, lsn: None }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("; ")
}
