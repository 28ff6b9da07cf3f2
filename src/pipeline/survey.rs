//! A look at two servers before there is a configuration: what `init` writes down.
//!
//! In: two addresses. Out: a [`Survey`]: which schemas hold tables, what is special about them, what
//! the destination holds already. What the servers lack is `check`'s business; only what concerns
//! the source as a whole is here.
//!
//! **Invariant:** reads only, and takes nothing: neither the lease nor a lock beyond a query's.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::apply::preflight as destination_preflight;
use crate::checkpoint::{row, schema, tables};
use crate::config::settings::Settings;
use crate::model::finding::{Finding, Severity, Side};
use crate::pg::catalog::{
    self, RelationKind, RelationSummary, ServerFacts, TableFilter, TableInfo,
};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::look::refuse_same_database;
use crate::source::preflight as source_preflight;
use crate::source::publication::without_covered_partitions;

/// What was seen.
#[derive(Debug)]
pub struct Survey {
    pub source: ServerFacts,
    pub destination: ServerFacts,
    /// What the servers as a whole lack, worst first.
    pub findings: Vec<Finding>,
    /// The tables that a stream could carry, ordered by name; partitions are in their roots.
    pub tables: Vec<SurveyedTable>,
    /// Relations whose rows are not in the WAL or are no rows of their own, ordered by name.
    pub others: Vec<RelationSummary>,
    /// Names of pipelines that the destination remembers.
    pub pipelines: HashSet<String>,
    /// Names of logical slots at the source that look like ours.
    pub slots: HashSet<String>,
}

/// One table at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedTable {
    pub name: QualifiedName,
    /// Leaves of a partitioned table.
    pub partition_count: Option<usize>,
    /// With its partitions.
    pub heap_bytes: u64,
    /// Updates and deletes can be replicated.
    pub has_usable_identity: bool,
    /// The destination's table of that name holds rows that no pipeline of ours has put there.
    pub is_occupied: bool,
}

/// Looks at both servers.
pub async fn survey(context: &Context) -> Result<Survey, PipelineError> {
    let at_source = || PipelineError::catalog(Side::Source);
    let at_destination = || PipelineError::catalog(Side::Destination);
    let (source, destination) =
        tokio::join!(context.source_client("init"), context.destination_client("init"));
    let (source, destination) = (source?, destination?);
    let source_facts = catalog::server_facts(&source).await.map_err(at_source())?;
    let destination_facts = catalog::server_facts(&destination).await.map_err(at_destination())?;
    refuse_same_database(&context.settings, &source_facts, &destination_facts)?;
    let mut findings = source_preflight::server_findings(&source_facts);
    findings.extend(destination_preflight::server_findings(&destination_facts, &source_facts));
    findings.retain(|finding| finding.severity != Severity::Info);
    findings.sort_by_key(|finding| (finding.severity, finding.side));

    let memory = memory(context, &destination).await;
    let relations = catalog::relations(&source).await.map_err(at_source())?;
    let is_foreign = |relation: &RelationSummary| is_ours_or_chosen(context, relation);
    let (streamed, others): (Vec<_>, Vec<_>) =
        relations.into_iter().filter(is_foreign).partition(RelationSummary::is_replicable);
    let mut tables = replicable(&source, &streamed).await.map_err(at_source())?;
    mark_occupied(&context.settings, &destination, &memory, &mut tables)
        .await
        .map_err(at_destination())?;
    let slots =
        slots(&source).await.map_err(PipelineError::query(Side::Source, "reading its slots"))?;
    Ok(Survey {
        source: source_facts,
        destination: destination_facts,
        findings,
        tables,
        others,
        pipelines: memory.pipelines,
        slots,
    })
}

/// Whatever the settings say of tables by default; our own state is nobody's table.
fn is_ours_or_chosen(context: &Context, relation: &RelationSummary) -> bool {
    relation.name.schema != context.settings.destination.state_schema
        && !relation.name.schema.starts_with("pg_")
}

async fn replicable(
    source: &Client,
    relations: &[RelationSummary],
) -> Result<Vec<SurveyedTable>, catalog::CatalogError> {
    let oids: Vec<Oid> = relations.iter().map(|relation| relation.oid).collect();
    let all = catalog::tables(source, TableFilter::Oids(&oids)).await?;
    let sizes: HashMap<Oid, u64> = all.iter().map(|table| (table.oid, table.heap_bytes)).collect();
    let is_root = |table: &&TableInfo| table.kind == RelationKind::Partitioned;
    let roots: Vec<Oid> = all.iter().filter(is_root).map(|table| table.oid).collect();
    let mut leaves: HashMap<Oid, Vec<Oid>> = HashMap::new();
    for leaf in catalog::partition_leaves(source, &roots).await? {
        leaves.entry(leaf.root).or_default().push(leaf.oid);
    }
    let surveyed = |table: TableInfo| {
        let leaves = leaves.get(&table.oid).map_or(&[][..], Vec::as_slice);
        let below: u64 = leaves.iter().filter_map(|leaf| sizes.get(leaf)).sum();
        SurveyedTable {
            has_usable_identity: table.has_usable_identity(),
            partition_count: (table.kind == RelationKind::Partitioned).then_some(leaves.len()),
            heap_bytes: table.heap_bytes + below,
            name: table.name,
            is_occupied: false,
        }
    };
    Ok(without_covered_partitions(all).into_iter().map(surveyed).collect())
}

// === the destination ===

/// What the destination remembers of pipelines.
#[derive(Default)]
struct Memory {
    pipelines: HashSet<String>,
    /// Destination tables that one of them fills.
    filled: HashSet<QualifiedName>,
}

/// Where our role may not read it nothing is remembered: `check` says what is missing.
async fn memory(context: &Context, destination: &Client) -> Memory {
    let name = &context.checkpoint.schema;
    let read = async {
        if !schema::exists(destination, name).await? {
            return Ok(Memory::default());
        }
        let mut memory = Memory::default();
        for pipeline in row::pipelines(destination, name).await? {
            let records = tables::read_all(destination, name, &pipeline).await?;
            memory.filled.extend(records.into_iter().map(|record| record.destination));
            memory.pipelines.insert(pipeline);
        }
        Ok::<_, crate::checkpoint::CheckpointError>(memory)
    };
    read.await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the destination's state cannot be read");
        Memory::default()
    })
}

async fn mark_occupied(
    settings: &Settings,
    destination: &Client,
    memory: &Memory,
    tables: &mut [SurveyedTable],
) -> Result<(), catalog::CatalogError> {
    let names: BTreeMap<QualifiedName, usize> = tables
        .iter()
        .enumerate()
        .map(|(index, table)| (settings.destination_name(&table.name), index))
        .filter(|(name, _)| !memory.filled.contains(name))
        .collect();
    let wanted: Vec<QualifiedName> = names.keys().cloned().collect();
    let existing = catalog::tables(destination, TableFilter::Names(&wanted)).await?;
    let oids: Vec<Oid> = existing.iter().map(|table| table.oid).collect();
    let privileges = catalog::privileges(destination, &oids).await?;
    // Where we may not look, `check` says so.
    let readable: Vec<QualifiedName> = privileges
        .into_iter()
        .filter(|table| table.schema_usage && table.select)
        .map(|table| table.name)
        .collect();
    for name in catalog::tables_with_rows(destination, &readable).await? {
        if let Some(&index) = names.get(&name) {
            tables[index].is_occupied = true;
        }
    }
    Ok(())
}

async fn slots(source: &Client) -> Result<HashSet<String>, tokio_postgres::Error> {
    let sql = "SELECT slot_name::pg_catalog.text FROM pg_catalog.pg_replication_slots";
    let rows = source.query(sql, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
