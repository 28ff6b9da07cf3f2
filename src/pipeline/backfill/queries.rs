//! `[[query]]`: results of queries that a backfill copies beside tables.
//!
//! ```text
//! settings ─► at the source: one query that reads, columns, types
//!          ─► at the destination: the table as it is, or as it will be ─► QueryPlan ─► a job of the copy
//! ```
//!
//! A query has a record like a table's, under its name and no schema. It is written with the rows, so
//! there is none of an unfinished query.
//!
//! **Invariant:** nothing is created or changed here but schemas, once preflight has passed.

mod at_destination;
mod at_source;

use crate::checkpoint::schema::{self, Presence};
use crate::checkpoint::tables::{self, CopyState, TableRecord};
use crate::config::settings::{QuerySettings, Settings};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, ServerFacts, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pipeline::context::{Context, SNAPSHOT_SUFFIX};
use crate::pipeline::copy::query::QueryPlan;
use crate::pipeline::error::PipelineError;
use crate::transform::query_fingerprint;

/// What stands before the fingerprint of a query that was merged into rows of others.
const MERGED: &str = "merged ";

/// The query in records, reports and on the board.
pub(super) fn name(query: &QuerySettings) -> QualifiedName {
    QualifiedName::new("", query.name.clone())
}

/// What a query was looked at with.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) context: &'a Context,
    pub(super) destination: &'a Client,
    pub(super) source_facts: &'a ServerFacts,
    pub(super) destination_facts: &'a ServerFacts,
    pub(super) records: &'a [TableRecord],
    /// The selected tables.
    pub(super) tables: &'a [TableInfo],
    /// Destination tables that a pipeline feeds, with its name.
    pub(super) fed: &'a [(QualifiedName, String)],
}

/// What was seen of queries.
#[derive(Debug, Default)]
pub struct Looked {
    pub plans: Vec<QueryPlan>,
    /// The servers are not prepared.
    pub findings: Vec<Finding>,
    /// The settings do not fit them.
    pub mistakes: Vec<String>,
    /// Queries that fail at the data they read: name and message.
    pub doomed: Vec<(String, String)>,
}

/// One thing that is wrong with a query.
#[derive(Debug)]
enum Problem {
    Mistake(String),
    Finding(Finding),
    /// It fails at the data that it reads.
    Doomed(String, String),
}

impl Looked {
    fn take(&mut self, problem: Problem) {
        match problem {
            Problem::Mistake(mistake) => self.mistakes.push(mistake),
            Problem::Finding(finding) => self.findings.push(finding),
            Problem::Doomed(query, message) => self.doomed.push((query, message)),
        }
    }
}

/// Which of the queries are to be copied: positions in the settings.
pub(super) async fn pending(
    context: &Context,
    records: &[TableRecord],
    destination: &Client,
) -> Result<Vec<usize>, PipelineError> {
    let queries = &context.settings.queries;
    let names: Vec<QualifiedName> = queries.iter().map(|query| query.destination.clone()).collect();
    let present = catalog::tables(destination, TableFilter::Names(&names)).await;
    let present = present.map_err(PipelineError::catalog(Side::Destination))?;
    let is_finished = |query: &QuerySettings| {
        let Some(record) = record(records, query) else { return false };
        let fingerprint = record.fingerprint.trim_start_matches(MERGED);
        let is_present = present.iter().any(|table| table.name == query.destination);
        if !is_present {
            tracing::warn!(query = query.name, destination = %query.destination, "the destination's table is gone; it is copied again");
        }
        record.state == CopyState::Copied && fingerprint == query_fingerprint(query) && is_present
    };
    let pending = queries.iter().enumerate().filter(|(_, query)| !is_finished(query));
    Ok(pending.map(|(index, _)| index).collect())
}

/// Looks at all queries, for whoever copies none.
pub async fn check(
    context: &Context,
    source: &Client,
    destination: &Client,
    tables: &[TableInfo],
) -> Result<Looked, PipelineError> {
    let settings = &context.settings;
    if settings.queries.is_empty() {
        return Ok(Looked::default());
    }
    let source_facts = catalog::server_facts(source).await;
    let source_facts = source_facts.map_err(PipelineError::catalog(Side::Source))?;
    let destination_facts = catalog::server_facts(destination).await;
    let destination_facts = destination_facts.map_err(PipelineError::catalog(Side::Destination))?;
    let schema = &context.checkpoint.schema;
    let (mut records, mut fed) = (Vec::new(), Vec::new());
    if schema::presence(destination, schema).await? == Presence::Readable {
        let pipeline = format!("{}{SNAPSHOT_SUFFIX}", settings.pipeline);
        records = tables::read_all(destination, schema, &pipeline).await?;
        fed = tables::fed_by_others(destination, schema, SNAPSHOT_SUFFIX).await?;
    }
    let subject = Subject {
        context,
        destination,
        source_facts: &source_facts,
        destination_facts: &destination_facts,
        records: &records,
        tables,
        fed: &fed,
    };
    let all: Vec<usize> = (0..settings.queries.len()).collect();
    Box::pin(look(subject, &all)).await
}

/// The record that explains the rows of the query's table.
fn record<'a>(records: &'a [TableRecord], query: &QuerySettings) -> Option<&'a TableRecord> {
    let name = name(query);
    records.iter().find(|r| r.source == name && r.destination == query.destination)
}

/// Looks at the queries `indexes` on both sides; changes nothing.
pub(super) async fn look(subject: Subject<'_>, indexes: &[usize]) -> Result<Looked, PipelineError> {
    let mut looked = Looked::default();
    if indexes.is_empty() {
        return Ok(looked);
    }
    let context = subject.context;
    let client = context.source_client("query").await?;
    let mut described = Vec::new();
    for &index in indexes {
        let role = &subject.source_facts.role;
        match at_source::describe(&client, &context.settings, index, role).await? {
            Ok(result) => described.push((index, result)),
            Err(problems) => problems.into_iter().for_each(|problem| looked.take(problem)),
        }
        let shared = shared_place(subject, index);
        looked.mistakes.extend(shared);
    }
    at_destination::look(subject, described, &mut looked).await?;
    Ok(looked)
}

/// A table of ours that has the query's destination.
fn shared_place(subject: Subject<'_>, index: usize) -> Option<String> {
    let settings = &subject.context.settings;
    let query = &settings.queries[index];
    let is_there = |table: &&TableInfo| settings.destination_name(&table.name) == query.destination;
    let table = subject.tables.iter().find(is_there)?;
    Some(format!(
        "{}: table {} has the destination {} already",
        settings.places.query(index, "destination"),
        table.name.sql(),
        query.destination.sql()
    ))
}

/// Schemas that tables of queries are about to be created in.
pub(super) async fn create_schemas(
    context: &Context,
    destination: &Client,
    epoch: i64,
    plans: &[QueryPlan],
) -> Result<(), PipelineError> {
    let mut names: Vec<&str> =
        plans.iter().map(|plan| plan.destination.name.schema.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let owned: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let present = catalog::schemas(destination, &owned).await;
    let present = present.map_err(PipelineError::catalog(Side::Destination))?;
    names.retain(|name| !present.iter().any(|schema| schema.name == *name));
    if names.is_empty() {
        return Ok(());
    }
    let mut statements = vec![context.checkpoint.guarded_begin_text(epoch)];
    statements.extend(names.iter().map(|name| format!("CREATE SCHEMA {}", identifier(name))));
    statements.push("COMMIT".to_owned());
    let created = destination.batch_execute(&statements.join("; ")).await;
    if created.is_err() {
        // The transaction is still open on this connection; its error is what counts.
        let _ = destination.batch_execute("ROLLBACK").await;
    }
    created.map_err(PipelineError::query(Side::Destination, "creating schemas for queries"))
}

/// A query that fails at its data, as a finding.
pub fn doomed((query, message): (String, String)) -> Finding {
    Finding::error(Side::Source, format!("query \"{query}\""), message)
}

fn object(query: &QuerySettings) -> String {
    format!("query \"{}\"", query.name)
}

/// `<place>: query "<name>": <message>`.
fn mistake(settings: &Settings, index: usize, key: &str, message: &str) -> Problem {
    let place = settings.places.query(index, key);
    Problem::Mistake(format!("{place}: {}: {message}", object(&settings.queries[index])))
}
