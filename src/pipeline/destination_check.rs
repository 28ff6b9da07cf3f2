//! The destination's side of preflight: every table as it would be written, put before
//! `apply::preflight`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::apply::mapping::{Mapping, MappingError};
use crate::apply::preflight::{self, DestinationRequest, DestinationTable};
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::config::settings::{NewColumns, OnExisting, OnTruncate};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, ServerFacts, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::chosen_key;
use crate::pipeline::constants;
use crate::pipeline::context::Context;
use crate::pipeline::copy::create::{Sides, request as structure_request};
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions;
use crate::pipeline::kept::Kept;
use crate::pipeline::merged;
use crate::pipeline::money;
use crate::pipeline::planner::{Planner, describe, map};
use crate::pipeline::structure_findings::{self, Creator, Wanted};
use crate::structure::TableRequest;

/// One table with everything that the request refers to.
struct Checked<'a> {
    source: &'a TableInfo,
    name: QualifiedName,
    existing: Option<TableInfo>,
    own_rows: Option<String>,
    mapping: Option<Result<Mapping, Vec<MappingError>>>,
    /// What it would be created with.
    wanted: TableRequest,
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
    source_client: &Client,
    destination: &Client,
) -> Result<Vec<Finding>, PipelineError> {
    let failed = || PipelineError::catalog(Side::Destination);
    let settings = &context.settings;
    planner.examine(subject.tables).await?;
    let names: Vec<QualifiedName> =
        subject.tables.iter().map(|table| settings.destination_name(&table.name)).collect();
    let existing = catalog::tables(destination, TableFilter::Names(&names)).await;
    let existing: HashMap<QualifiedName, TableInfo> =
        existing.map_err(failed())?.into_iter().map(|table| (table.name.clone(), table)).collect();
    let mut checked = Vec::with_capacity(names.len());
    let mut mistakes = Vec::new();
    let mut misfits = Vec::new();
    let mut constants = Vec::new();
    for (source, name) in subject.tables.iter().zip(names) {
        let existing = existing.get(&name).cloned();
        let asked = chosen_key::Asked {
            settings: settings.table(&source.name),
            source,
            is_missing: existing.is_none(),
            is_copy_only: subject.is_copy_only,
        };
        misfits.extend(chosen_key::findings(asked));
        let description = Arc::new(describe(source));
        let transform = match planner.transform(&description, source, existing.as_ref()) {
            Ok(transform) => transform,
            Err(PipelineError::Config { message }) => {
                mistakes.push(message);
                continue;
            }
            Err(error) if is_followed(subject, source, &name) => {
                misfits.push(later(&name, error.to_string()));
                continue;
            }
            Err(error) => return Err(error),
        };
        misfits.extend(expressions::findings::of_table(settings, source, &transform));
        let mut mapping = existing.as_ref().map(|existing| map(&transform, source, existing));
        if settings.keeps_deleted(&source.name) {
            let kept = Kept {
                transform: &transform,
                existing: existing.as_ref(),
                is_copy_only: subject.is_copy_only,
            };
            misfits.extend(kept.findings(&mut mapping));
        }
        if let Some(existing) = existing.as_ref().filter(|_| !is_followed(subject, source, &name)) {
            let (asked, found) = constants::of_table(&transform, existing);
            constants.extend(asked);
            misfits.extend(found);
        }
        if is_followed(subject, source, &name) {
            // Both sides as they are now; the stream may be far from there.
            match (&existing, &mapping) {
                (None, _) => {
                    misfits.push(later(&name, "it is gone".to_owned()));
                    continue;
                }
                (Some(_), Some(Err(errors))) => {
                    misfits.extend(errors.iter().map(|error| later(&name, error.to_string())));
                    mapping = None;
                }
                (Some(_), _) => {}
            }
        }
        let is_recorded = subject.records.iter().any(|record| record.source == source.name);
        if is_recorded
            && settings.new_columns(&source.name) == NewColumns::Add
            && let Some(Err(errors)) = &mut mapping
        {
            // They are added before the table is copied again.
            errors.retain(|error| !matches!(error, MappingError::MissingColumn { .. }));
            if errors.is_empty() {
                mapping = None;
            }
        }
        checked.push(Checked {
            mapping,
            own_rows: transform.own_rows(),
            wanted: structure_request(
                context,
                source,
                &transform,
                is_ours(subject.records, source, &name, existing.is_none()),
            ),
            source,
            name,
            existing,
        });
    }
    let shared: Vec<_> =
        checked.iter().map(|table| (&table.wanted, table.existing.is_none())).collect();
    mistakes.extend(merged::mistakes(settings, &shared));
    misfits.extend(merged::findings(&shared));
    if !mistakes.is_empty() {
        return Err(PipelineError::Config { message: mistakes.join("\n") });
    }
    let in_the_way =
        checked.iter().filter_map(|table| Some((&table.wanted, table.existing.as_ref()?)));
    misfits.extend(merged::index_findings(in_the_way));
    let (refused, hides_rows) = constants::refused(destination, &constants).await?;
    misfits.extend(refused);
    if hides_rows {
        return Ok(distinct(misfits));
    }
    misfits.extend(constants::equal(destination, &constants).await);
    let tables: Vec<DestinationTable<'_>> =
        checked.iter().map(|table| request(context, subject, table)).collect();
    let request = DestinationRequest {
        facts: subject.destination_facts,
        source_facts: subject.source_facts,
        state_schema: &settings.destination.state_schema,
        tables: &tables,
    };
    let mut findings = preflight::findings(destination, request).await.map_err(failed())?;
    let wanted = checked.iter().map(|table| (table.source, &table.wanted));
    findings.extend(money::findings(subject.source_facts, subject.destination_facts, wanted));
    let sides = Sides { context, source: source_client, destination };
    findings.extend(structure_of(sides, subject, &checked).await?);
    findings.extend(misfits);
    Ok(distinct(findings))
}

/// Each once: of a destination that several tables share each of them finds the same.
fn distinct(mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut seen = HashSet::new();
    findings.retain(|finding| {
        seen.insert((finding.object.clone(), finding.message.clone(), finding.remedy.clone()))
    });
    findings
}

/// Missing tables are ours to create; so are those of our making that are not finished.
fn is_ours(
    records: &[TableRecord],
    source: &TableInfo,
    name: &QualifiedName,
    is_missing: bool,
) -> bool {
    let record = records.iter().find(|r| r.source == source.name && r.destination == *name);
    let is_unfinished = record.is_some_and(|record| {
        record.created && (record.state == CopyState::Copying || !record.finished)
    });
    is_missing || is_unfinished
}

async fn structure_of(
    sides: Sides<'_>,
    subject: Subject<'_>,
    checked: &[Checked<'_>],
) -> Result<Vec<Finding>, PipelineError> {
    let requests: Vec<TableRequest> = checked.iter().map(|table| table.wanted.clone()).collect();
    let structure = sides.plan(&requests).await?;
    let wanted: BTreeMap<_, _> = checked
        .iter()
        .filter(|table| table.wanted.is_ours)
        .map(|table| {
            let wanted = Wanted {
                request: &table.wanted,
                is_missing: table.existing.is_none(),
                may_create: sides.context.settings.create_tables(&table.source.name),
            };
            (table.source.oid, wanted)
        })
        .collect();
    let creator = Creator { destination: sides.destination, facts: subject.destination_facts };
    let findings = structure_findings::findings(creator, &structure, &wanted).await;
    findings.map_err(PipelineError::catalog(Side::Destination))
}

/// A table whose copy is done, so that its stream decides what has to fit.
fn is_followed(subject: Subject<'_>, source: &TableInfo, destination: &QualifiedName) -> bool {
    !subject.is_copy_only
        && subject.records.iter().any(|record| {
            record.source == source.name
                && record.destination == *destination
                && record.state == CopyState::Copied
        })
}

/// What `run` will meet once the table's changes come to where it is now.
fn later(name: &QualifiedName, message: String) -> Finding {
    let object = format!("table {}", name.sql());
    Finding::warning(
        Side::Destination,
        object,
        format!(
            "run follows it (new_columns) or holds with E_SCHEMA when its changes come to this: {message}"
        ),
    )
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
        own_rows: table.own_rows.as_deref(),
        mapping: table.mapping.as_ref(),
        must_be_empty: is_unexplained && on_existing == OnExisting::Refuse,
        is_emptied: is_unexplained && on_existing == OnExisting::Truncate,
        is_merged: is_unexplained && on_existing == OnExisting::Merge,
        needs_truncate: table.own_rows.is_none()
            && ((!is_copied && on_existing == OnExisting::Truncate)
                || (!subject.is_copy_only && settings.on_truncate(name) == OnTruncate::Truncate)
                || (subject.is_copy_only && is_explained)),
        needs_delete: table.own_rows.is_some()
            && (is_explained || !is_copied && on_existing == OnExisting::Truncate),
        is_copy_only: subject.is_copy_only,
        is_followed: is_followed(subject, table.source, &table.name),
        keys_are_pending: record
            .is_some_and(|record| record.created && record.state == CopyState::Copying),
    }
}
