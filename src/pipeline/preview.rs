//! `preview`, without its command line: source rows beside what the copy makes of them.
//!
//! The copy's own plan and select list, over the first rows that a table has, in text.
//!
//! **Invariant:** nothing is created or changed on either side. A value that does not travel as it is
//! leaves the source only where it was asked for by name (`--show-source`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::config::settings::{ColumnSettings, TableSettings};
use crate::model::finding::{Finding, Side};
use crate::model::row::Value;
use crate::model::table::Column;
use crate::pg::catalog::{self, RelationKind, TableInfo};
use crate::pg::client::Client;
use crate::pg::copy_format::TextReader;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::ComputeError;
use crate::pipeline::planner::{Planner, describe};
use crate::pipeline::selection::select_for_copy;
use crate::source::preflight::privilege_findings;
use crate::transform::{Inputs, TransformError, TransformPlan};
use crate::wire::{Session, WireError, frame};

/// Rows that a filter is tried on.
const FILTERED_MAX: u32 = 1000;

/// What is shown.
#[derive(Clone, Debug)]
pub struct PreviewOptions {
    /// Empty: all that the settings select.
    pub tables: Vec<QualifiedName>,
    /// Rows a table.
    pub limit: u32,
    /// The source's own values, too.
    pub shows_source: bool,
}

/// One table's rows.
#[derive(Clone, Debug)]
pub struct TablePreview {
    pub source: QualifiedName,
    pub destination: QualifiedName,
    /// As the destination has them.
    pub columns: Vec<PreviewColumn>,
    /// The source's columns, in its order; empty where they are not shown.
    pub source_columns: Vec<String>,
    /// Source columns that do not travel.
    pub dropped: Vec<String>,
    /// Where the table has a filter: only rows that pass it are among the others.
    pub filtered: Option<Filtered>,
    pub rows: Vec<PreviewRow>,
}

/// What a filter makes of a table's first rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filtered {
    pub looked_at: u64,
    pub left_out: u64,
}

/// A column of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewColumn {
    pub name: String,
    /// The source's column that it is made from, or whose place it takes.
    pub source: Option<String>,
    /// Its values are the source's.
    pub is_untouched: bool,
}

/// A row's values as text; `None` is NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRow {
    /// In the order of `source_columns`.
    pub source: Vec<Option<String>>,
    /// In the order of `columns`.
    pub destination: Vec<Option<String>>,
}

/// Reads the first rows of the chosen tables and transforms them.
pub async fn preview(
    context: &Context,
    options: &PreviewOptions,
) -> Result<Vec<TablePreview>, PipelineError> {
    let source = Arc::new(context.source_client("preview").await?);
    let selection = select_for_copy(&source, &context.settings).await?;
    let tables = selection.only(&options.tables)?;
    refuse_closed(&source, &tables).await?;
    let destination = match context.destination_client("preview").await {
        Ok(client) => Some(Arc::new(client)),
        Err(error) => {
            tracing::warn!("{}; its tables are taken to be like the source's", error.chain());
            None
        }
    };
    let is_known = destination.is_some();
    // Where there is no destination nobody asks it anything.
    let destination = destination.unwrap_or_else(|| Arc::clone(&source));
    let planner = Planner::new(context, &source, &destination, false).for_copy_only();
    planner.examine(&tables).await?;
    let existing = match is_known {
        true => planner.destination_tables(&tables).await?,
        false => HashMap::new(),
    };
    let mut session = context.reading_session("preview").await?;
    let mut previews = Vec::with_capacity(tables.len());
    for info in &tables {
        let name = context.settings.destination_name(&info.name);
        let description = Arc::new(describe(info));
        let transform = planner.transform(&description, info, existing.get(&name))?;
        previews.push(one(context, &mut session, info, &transform, options).await?);
    }
    session.close().await;
    Ok(previews)
}

/// Tables that our role may not read, all of them at once.
async fn refuse_closed(source: &Client, tables: &[TableInfo]) -> Result<(), PipelineError> {
    let failed = || PipelineError::catalog(Side::Source);
    let facts = catalog::server_facts(source).await.map_err(failed())?;
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let privileges = catalog::privileges(source, &oids).await.map_err(failed())?;
    let mut findings = privilege_findings(&facts.role, &privileges);
    for table in tables.iter().filter(|table| table.row_security_active) {
        let message = "row-level security hides rows of it from our role";
        let finding = Finding::error(Side::Source, format!("table {}", table.name.sql()), message);
        findings.push(finding.remedy(format!("ALTER ROLE {} BYPASSRLS", identifier(&facts.role))));
    }
    if findings.is_empty() { Ok(()) } else { Err(PipelineError::Preflight(findings)) }
}

async fn one(
    context: &Context,
    session: &mut Session,
    info: &TableInfo,
    transform: &TransformPlan,
    options: &PreviewOptions,
) -> Result<TablePreview, PipelineError> {
    let columns = columns(transform, context.settings.table(&info.name));
    let used: BTreeSet<&String> = columns.iter().filter_map(|c| c.source.as_ref()).collect();
    let all: Vec<String> =
        transform.source_table().columns.iter().map(|column| column.name.clone()).collect();
    let dropped = all.iter().filter(|name| !used.contains(name)).cloned().collect();
    let source_columns = if options.shows_source { all } else { Vec::new() };
    let mut select: Vec<String> =
        transform.copy_columns().into_iter().map(|column| column.source_sql).collect();
    let inputs = transform.copy_input_columns();
    let input_count = inputs.len();
    select.extend(inputs);
    select.extend(source_columns.iter().map(|name| identifier(name)));
    let mut begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
    if transform.copy_has_expressions() {
        begin.push_str(&format!("; {}", context.calculator.local_path().await?));
    }
    // On lines of its own: it may end in a comment.
    let condition = transform.copy_filter().map(|filter| format!(" WHERE (\n{filter}\n)"));
    let sql = format!(
        "{begin}; COPY (SELECT {} FROM {}{} LIMIT {}) TO STDOUT (FORMAT text)",
        select.join(", "),
        rows_of(info),
        condition.unwrap_or_default(),
        options.limit
    );
    let read = read(session, info, &sql, select.len()).await?;
    let filtered = filtered(session, info, transform.filter()).await?;
    let (mut sources, mut gathered) = (Vec::new(), Vec::new());
    for mut values in read {
        sources.push(values.split_off(columns.len() + input_count));
        let inputs = values.split_off(columns.len());
        gathered.push((values, inputs));
    }
    let made = made(context, info, transform, gathered).await?;
    let rows = made.iter().zip(&sources).map(|(made, source)| PreviewRow {
        source: source.iter().map(text).collect(),
        destination: made.iter().map(text).collect(),
    });
    Ok(TablePreview {
        source: info.name.clone(),
        destination: transform.table().name.clone(),
        rows: rows.collect(),
        columns,
        source_columns,
        dropped,
        filtered,
    })
}

fn columns(transform: &TransformPlan, settings: Option<&TableSettings>) -> Vec<PreviewColumn> {
    let named = settings.map_or(&[][..], |table| table.columns.as_slice());
    let source = transform.source_table();
    // An expression may read any column; it takes the place of the one that it was written for.
    let replaced = |name: &str| {
        let is_it =
            |column: &&ColumnSettings| column.rename.as_ref().unwrap_or(&column.name) == name;
        let column = named.iter().find(is_it)?;
        source.column_index(&column.name).map(|index| source.columns[index].name.clone())
    };
    let outputs = transform.table().columns.iter().enumerate();
    let column = |(index, column): (usize, &Column)| PreviewColumn {
        name: column.name.clone(),
        source: transform
            .origin_column(index)
            .map_or_else(|| replaced(&column.name), |origin| Some(origin.name.clone())),
        is_untouched: transform.passed_column(index).is_some(),
    };
    outputs.map(column).collect()
}

/// What the copy makes of rows: the select list's values, and those that expressions read.
async fn made(
    context: &Context,
    info: &TableInfo,
    transform: &TransformPlan,
    rows: Vec<(Vec<Value>, Vec<Value>)>,
) -> Result<Vec<Vec<Value>>, PipelineError> {
    let failed = |error: TransformError| data_error(info, &error);
    let (mut made, mut inputs) = (Vec::new(), Vec::new());
    for (values, behind) in rows {
        let values = values.into_iter().enumerate();
        let values = values.map(|(index, value)| transform.copy_value(index, value));
        made.push(values.collect::<Result<Vec<Value>, _>>().map_err(failed)?);
        inputs.push(transform.copy_inputs(behind, false).map_err(failed)?);
    }
    let program = transform.program().filter(|_| transform.copy_computes());
    let Some(program) = program.filter(|_| !made.is_empty()) else { return Ok(made) };
    let asked: Vec<&Inputs> = inputs.iter().collect();
    let outcomes = context.calculator.compute(program, &asked, false).await;
    let outcomes = outcomes.map_err(|error| match error {
        ComputeError::Row { message, .. } => data_error(info, &message),
        ComputeError::Pipeline(error) => error,
    })?;
    for (values, outcome) in made.iter_mut().zip(outcomes) {
        for (index, value) in values.iter_mut().enumerate() {
            let computed = transform.copy_computed(index, &outcome, false).map_err(failed)?;
            if let Some(computed) = computed {
                *value = computed;
            }
        }
    }
    Ok(made)
}

/// Rows of a partitioned table lie in its partitions; children in inheritance have rows of their own.
fn rows_of(info: &TableInfo) -> String {
    let only = if info.kind == RelationKind::Partitioned { "" } else { "ONLY " };
    format!("{only}{}", info.name.sql())
}

/// Ends the transaction, after a look at what the filter does.
async fn filtered(
    session: &mut Session,
    info: &TableInfo,
    filter: Option<&str>,
) -> Result<Option<Filtered>, PipelineError> {
    let failed = || PipelineError::wire(Side::Source, "looking at what a filter leaves out");
    let Some(filter) = filter else {
        session.execute("COMMIT").await.map_err(failed())?;
        return Ok(None);
    };
    let sql = format!(
        "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE (\n{filter}\n) IS NOT TRUE) \
         FROM (SELECT * FROM {} LIMIT {FILTERED_MAX}) AS {}; COMMIT",
        rows_of(info),
        identifier(&info.name.name)
    );
    let rows = session.simple_query(&sql).await;
    let rows =
        rows.map_err(|error| refused(info, &error).unwrap_or_else(|| failed()(error.reworded())))?;
    let count = |place: usize| rows.first()?.get(place)?.as_deref()?.parse().ok();
    Ok(count(0).zip(count(1)).map(|(looked_at, left_out)| Filtered { looked_at, left_out }))
}

/// The rows of one COPY, in text.
async fn read(
    session: &mut Session,
    info: &TableInfo,
    sql: &str,
    column_count: usize,
) -> Result<Vec<Vec<Value>>, PipelineError> {
    let reading = || PipelineError::wire(Side::Source, "reading a table's first rows");
    let refused = |error: WireError| refused(info, &error).unwrap_or_else(|| reading()(error));
    let mut reader = TextReader::new(column_count);
    let mut rows = Vec::new();
    let mut copy_out = session.copy_out(sql).await.map_err(refused)?;
    // From here on it has seen rows.
    let refused = |error: WireError| refused(error.reworded());
    while let Some(frames) = copy_out.next_frames().await.map_err(refused)? {
        for payload in frame::payloads(frames) {
            reader.push(payload);
            while let Some(row) = reader.next_row().map_err(|error| data_error(info, &error))? {
                let value = |bytes: Option<Bytes>| bytes.map_or(Value::Null, Value::Text);
                rows.push(row.into_iter().map(value).collect());
            }
        }
    }
    reader.finish().map_err(|error| data_error(info, &error))?;
    Ok(rows)
}

/// An expression that failed for a row: what the server says may hold the row's values.
fn refused(info: &TableInfo, error: &WireError) -> Option<PipelineError> {
    let server = error.server_error().filter(|server| server.may_be_about_a_row())?;
    let message = format!("an expression failed for a row: {}", server.without_words());
    Some(data_error(info, &message))
}

/// What is no UTF-8 (a SQL_ASCII source) is shown with a mark in its place.
fn text(value: &Value) -> Option<String> {
    value.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn data_error(info: &TableInfo, error: &dyn std::fmt::Display) -> PipelineError {
    let message = error.to_string();
    PipelineError::Data { table: info.name.clone(), key: Vec::new(), message, lsn: None }
}
