//! A query's table at the destination, as it is or as it will be, and how the result fits into it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Looked, MERGED, Subject, mistake, name, object, record};
use crate::apply::add_column::type_names;
use crate::apply::mapping::{Mapping, MappingError};
use crate::apply::preflight::{self, DestinationRequest, DestinationTable};
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::config::settings::{OnExisting, QuerySettings};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, CatalogError, ColumnInfo, ResultColumn, TableFilter, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};
use crate::pipeline::copy::query::{Fill, QueryPlan};
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::{describe, map};
use crate::transform::{PlanInput, TransformPlan, query_fingerprint};

/// One query with both sides' descriptions.
struct Checked {
    index: usize,
    result: TableInfo,
    existing: Option<TableInfo>,
    transform: TransformPlan,
    mapping: Result<Mapping, Vec<MappingError>>,
    fill: Fill,
    /// As it will be, where it is missing.
    created: Option<TableInfo>,
}

pub(super) async fn look(
    subject: Subject<'_>,
    described: Vec<(usize, TableInfo)>,
    looked: &mut Looked,
) -> Result<(), PipelineError> {
    let failed = || PipelineError::catalog(Side::Destination);
    let queries = &subject.context.settings.queries;
    let names: Vec<QualifiedName> =
        described.iter().map(|(index, _)| queries[*index].destination.clone()).collect();
    let existing = catalog::tables(subject.destination, TableFilter::Names(&names)).await;
    let mut existing: HashMap<QualifiedName, TableInfo> =
        existing.map_err(failed())?.into_iter().map(|table| (table.name.clone(), table)).collect();
    looked.findings.extend(fed(subject, described.iter().map(|(index, _)| *index)));
    let schemas = schema_findings(subject, &names, &existing).await.map_err(failed())?;
    looked.findings.extend(schemas);
    let mut checked = Vec::new();
    for (index, result) in described {
        let found = existing.remove(&queries[index].destination);
        if let Some(one) = check(subject, index, result, found, looked).await? {
            checked.push(one);
        }
    }
    looked.findings.extend(table_findings(subject, &checked).await.map_err(failed())?);
    for one in checked {
        looked.plans.extend(plan(subject, one));
    }
    Ok(())
}

async fn check(
    subject: Subject<'_>,
    index: usize,
    result: TableInfo,
    existing: Option<TableInfo>,
    looked: &mut Looked,
) -> Result<Option<Checked>, PipelineError> {
    let settings = &subject.context.settings;
    let query = &settings.queries[index];
    let transform = TransformPlan::compile(PlanInput {
        settings: None,
        destination: &query.destination,
        table: &Arc::new(describe(&result)),
        type_info: &|_| None,
        collation: &|_| None,
        destination_type: &|_| None,
        known_columns: None,
        unique_keys: &[],
        answer: &|_| None,
        filters_copy_only: true,
        has_text_only: false,
    });
    let transform = match transform {
        Ok(transform) => transform,
        Err(errors) => {
            let problems = errors.iter().map(ToString::to_string);
            problems.for_each(|message| looked.take(mistake(settings, index, "sql", &message)));
            return Ok(None);
        }
    };
    let (fill, created) = match &existing {
        Some(_) if settings.destination.on_existing == OnExisting::Merge => (Fill::Merge, None),
        Some(_) => (Fill::Replace, None),
        None => match created(subject, query, &result, looked).await? {
            Some((table, sql)) => (Fill::Create(sql), Some(table)),
            None => return Ok(None),
        },
    };
    let Some(table) = existing.as_ref().or(created.as_ref()) else { return Ok(None) };
    let mapping = map(&transform, &result, table);
    Ok(Some(Checked { index, result, existing, transform, mapping, fill, created }))
}

/// The table that is missing, and the statement that makes it.
async fn created(
    subject: Subject<'_>,
    query: &QuerySettings,
    result: &TableInfo,
    looked: &mut Looked,
) -> Result<Option<(TableInfo, String)>, PipelineError> {
    let failed = || PipelineError::catalog(Side::Destination);
    let settings = &subject.context.settings;
    let types: Vec<String> = result
        .columns
        .iter()
        .filter_map(|column| type_names(column, &settings.destination.schemas).pop())
        .collect();
    let found = catalog::types_by_name(subject.destination, &types).await.map_err(failed())?;
    let mut wanted = Vec::new();
    for ((column, type_name), found) in result.columns.iter().zip(&types).zip(found) {
        match found {
            Some(type_oid) => wanted.push(ResultColumn {
                name: column.name.clone(),
                type_oid,
                type_modifier: column.type_modifier,
            }),
            None => looked.findings.push(missing_type(query, column, type_name)),
        }
    }
    if wanted.len() < result.columns.len() {
        return Ok(None);
    }
    let columns = catalog::result_columns(subject.destination, &wanted).await.map_err(failed())?;
    let described: Vec<String> = result
        .columns
        .iter()
        .zip(&types)
        .map(|(column, type_name)| format!("{} {type_name}", identifier(&column.name)))
        .collect();
    let name = query.destination.sql();
    let sql = format!("CREATE TABLE {name} ({})", described.join(", "));
    let object = format!("table {name}");
    if !settings.destination.create_tables {
        let message = format!("it is missing, and create_tables is false: {}", self::object(query));
        looked.findings.push(Finding::error(Side::Destination, object, message).remedy(sql));
        return Ok(None);
    }
    let message = format!("snapshot creates it for {}", self::object(query));
    looked.findings.push(Finding::info(Side::Destination, object, message).remedy(sql.clone()));
    let table = TableInfo {
        name: query.destination.clone(),
        columns,
        indexes: Vec::new(),
        ..result.clone()
    };
    Ok(Some((table, sql)))
}

fn missing_type(query: &QuerySettings, column: &ColumnInfo, type_name: &str) -> Finding {
    let message = format!(
        "it does not exist, and column {} of {} has it",
        identifier(&column.name),
        object(query)
    );
    Finding::error(Side::Destination, format!("type {type_name}"), message).remedy(format!(
        "create it like the source's; or cast in the query: {}::text",
        identifier(&column.name)
    ))
}

/// Schemas of missing tables.
async fn schema_findings(
    subject: Subject<'_>,
    names: &[QualifiedName],
    existing: &HashMap<QualifiedName, TableInfo>,
) -> Result<Vec<Finding>, CatalogError> {
    let missing: BTreeSet<String> = names
        .iter()
        .filter(|name| !existing.contains_key(name))
        .map(|name| name.schema.clone())
        .collect();
    let missing: Vec<String> = missing.into_iter().collect();
    if missing.is_empty() || !subject.context.settings.destination.create_tables {
        return Ok(Vec::new());
    }
    let present = catalog::schemas(subject.destination, &missing).await?;
    let facts = subject.destination_facts;
    let role = identifier(&facts.role);
    let mut findings = Vec::new();
    for schema in &missing {
        let name = identifier(schema);
        let finding =
            |message: String| Finding::error(Side::Destination, format!("schema {name}"), message);
        match present.iter().find(|present| present.name == *schema) {
            None if facts.can_create_in_database => {}
            None => findings.push(
                finding(format!("role {role} may not create it for the tables of queries"))
                    .remedy(format!("CREATE SCHEMA {name} AUTHORIZATION {role}")),
            ),
            Some(present) if present.can_create && present.can_use => {}
            Some(_) => findings.push(
                finding(format!("role {role} may not create the tables of queries there"))
                    .remedy(format!("GRANT USAGE, CREATE ON SCHEMA {name} TO {role}")),
            ),
        }
    }
    Ok(findings)
}

/// Tables that exist: privileges, columns, rows that are in the way.
async fn table_findings(
    subject: Subject<'_>,
    checked: &[Checked],
) -> Result<Vec<Finding>, CatalogError> {
    let settings = &subject.context.settings;
    let on_existing = settings.destination.on_existing;
    let tables: Vec<DestinationTable<'_>> = checked
        .iter()
        .map(|one| {
            let is_unexplained = !is_explained(subject, &settings.queries[one.index]);
            DestinationTable {
                source: &one.result,
                name: &settings.queries[one.index].destination,
                existing: one.existing.as_ref(),
                mapping: Some(&one.mapping),
                must_be_empty: is_unexplained && on_existing == OnExisting::Refuse,
                is_emptied: is_unexplained && on_existing == OnExisting::Truncate,
                is_merged: one.fill == Fill::Merge,
                needs_truncate: false,
                needs_delete: one.fill == Fill::Replace,
                own_rows: None,
                is_copy_only: true,
                is_followed: false,
                keys_are_pending: false,
            }
        })
        .collect();
    let request = DestinationRequest {
        facts: subject.destination_facts,
        source_facts: subject.source_facts,
        state_schema: &settings.destination.state_schema,
        tables: &tables,
    };
    let mut findings = preflight::existing_findings(subject.destination, request).await?;
    // Whether the table holds rows or not.
    for one in checked.iter().filter(|one| one.fill == Fill::Merge) {
        let Ok(Mapping { arbiter: Err(problem), destination, key, .. }) = &one.mapping else {
            continue;
        };
        let finding = preflight::no_arbiter_finding(destination, key, problem);
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    Ok(findings)
}

/// Whether all rows of the query's table are its own, of an earlier call.
fn is_explained(subject: Subject<'_>, query: &QuerySettings) -> bool {
    record(subject.records, query).is_some_and(|record| !record.fingerprint.starts_with(MERGED))
}

/// Tables that a pipeline of ours keeps in step.
fn fed(subject: Subject<'_>, indexes: impl Iterator<Item = usize>) -> Vec<Finding> {
    let queries = &subject.context.settings.queries;
    let mut findings = Vec::new();
    for query in indexes.map(|index| &queries[index]) {
        let Some((name, pipeline)) = subject.fed.iter().find(|(n, _)| *n == query.destination)
        else {
            continue;
        };
        let message = format!(
            "pipeline \"{pipeline}\" keeps it in step; {} would overwrite what it has applied: give \
             the query another destination",
            object(query)
        );
        findings.push(Finding::error(Side::Destination, format!("table {}", name.sql()), message));
    }
    findings
}

/// `None` where a finding says why not.
fn plan(subject: Subject<'_>, one: Checked) -> Option<QueryPlan> {
    let query = &subject.context.settings.queries[one.index];
    let earlier = record(subject.records, query);
    let has_others_rows = one.fill == Fill::Merge && !is_explained(subject, query);
    let digest = query_fingerprint(query);
    let record = TableRecord {
        source: name(query),
        destination: query.destination.clone(),
        state: CopyState::Copied,
        copied_lsn: None,
        created: one.created.is_some() || earlier.is_some_and(|record| record.created),
        fingerprint: if has_others_rows { format!("{MERGED}{digest}") } else { digest },
        known_columns: one.result.columns.iter().map(|column| column.name.clone()).collect(),
        rows: 0,
        bytes: 0,
        copied_at: None,
        source_oid: None,
        published: None,
        partitions: None,
        finished: true,
        source_shape: None,
        destination_oid: None,
        beside: false,
    };
    Some(QueryPlan {
        record,
        sql: query.sql.clone(),
        destination: one.existing.or(one.created)?,
        result: one.result,
        transform: one.transform,
        mapping: one.mapping.ok()?,
        fill: one.fill,
        key: query.key.clone(),
    })
}
