//! The destination's side of preflight: every table as it would be written, put before
//! `apply::preflight`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::apply::ddl::OutputColumn;
use crate::apply::mapping::{Mapping, MappingError};
use crate::apply::preflight::{self, DestinationRequest, DestinationTable};
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::config::settings::{OnExisting, OnTruncate};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, ServerFacts, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::context::Context;
use crate::pipeline::copy::create::output_columns;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::{Planner, describe, map};

/// One table with everything that the request refers to.
struct Checked<'a> {
    source: &'a TableInfo,
    name: QualifiedName,
    existing: Option<TableInfo>,
    mapping: Option<Result<Mapping, Vec<MappingError>>>,
    columns: Vec<OutputColumn>,
}

/// What the check is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub source_facts: &'a ServerFacts,
    pub destination_facts: &'a ServerFacts,
    pub tables: &'a [TableInfo],
    pub records: &'a [TableRecord],
    /// No change follows the copy: only INSERT is needed, and no key.
    pub is_copy_only: bool,
}

pub async fn findings(
    context: &Context,
    subject: Subject<'_>,
    planner: &Planner,
    destination: &Client,
) -> Result<Vec<Finding>, PipelineError> {
    let failed = || PipelineError::catalog(Side::Destination);
    let settings = &context.settings;
    let names: Vec<QualifiedName> =
        subject.tables.iter().map(|table| settings.destination_name(&table.name)).collect();
    let existing = catalog::tables(destination, TableFilter::Names(&names)).await;
    let mut existing: HashMap<QualifiedName, TableInfo> =
        existing.map_err(failed())?.into_iter().map(|table| (table.name.clone(), table)).collect();
    let mut checked = Vec::with_capacity(names.len());
    let mut mistakes = Vec::new();
    for (source, name) in subject.tables.iter().zip(names) {
        let existing = existing.remove(&name);
        let description = Arc::new(describe(source));
        let transform = match planner.transform(&description, source, existing.as_ref()) {
            Ok(transform) => transform,
            Err(PipelineError::Config { message }) => {
                mistakes.push(message);
                continue;
            }
            Err(error) => return Err(error),
        };
        checked.push(Checked {
            mapping: existing.as_ref().map(|existing| map(&transform, source, existing)),
            columns: output_columns(source, &transform),
            source,
            name,
            existing,
        });
    }
    if !mistakes.is_empty() {
        return Err(PipelineError::Config { message: mistakes.join("\n") });
    }
    let tables: Vec<DestinationTable<'_>> =
        checked.iter().map(|table| request(context, subject, table)).collect();
    let request = DestinationRequest {
        facts: subject.destination_facts,
        source_facts: subject.source_facts,
        state_schema: &settings.destination.state_schema,
        schemas: &settings.destination.schemas,
        tables: &tables,
    };
    preflight::findings(destination, request).await.map_err(failed())
}

fn request<'a>(
    context: &Context,
    subject: Subject<'_>,
    table: &'a Checked<'a>,
) -> DestinationTable<'a> {
    let settings = &context.settings;
    let name = &table.source.name;
    // A record explains the rows of the table that it names and of no other.
    let record = subject
        .records
        .iter()
        .find(|record| record.source == *name && record.destination == table.name);
    let is_copied = record.is_some_and(|record| record.state == CopyState::Copied);
    let on_existing = settings.on_existing(name);
    let is_explained = record.is_some_and(|record| record.state != CopyState::Merging);
    let is_unexplained = !is_explained && settings.snapshot.copy_data;
    DestinationTable {
        source: table.source,
        name: &table.name,
        existing: table.existing.as_ref(),
        mapping: table.mapping.as_ref(),
        columns: &table.columns,
        may_create: settings.create_tables(name),
        must_be_empty: is_unexplained && on_existing == OnExisting::Refuse,
        is_emptied: is_unexplained && on_existing == OnExisting::Truncate,
        is_merged: is_unexplained && on_existing == OnExisting::Merge,
        needs_truncate: (!is_copied && on_existing == OnExisting::Truncate)
            || (!subject.is_copy_only && settings.on_truncate(name) == OnTruncate::Truncate)
            || (subject.is_copy_only && is_explained),
        is_copy_only: subject.is_copy_only,
        keys_are_pending: record
            .is_some_and(|record| record.created && record.state == CopyState::Copying),
    }
}
