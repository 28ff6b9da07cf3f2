//! Which tables the settings mean, looked up in the source's catalog.

use crate::config::settings::Settings;
use crate::model::finding::Side;
use crate::pg::catalog::{self, RelationKind, RelationSummary, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::error::PipelineError;
use crate::source::publication::without_covered_partitions;

/// The selected tables, and all relations beside them for what preflight has to say.
#[derive(Debug)]
pub struct Selection {
    pub tables: Vec<TableInfo>,
    pub relations: Vec<RelationSummary>,
    /// Relations that the settings name without a wildcard.
    pub named: Vec<QualifiedName>,
}

impl Selection {
    pub fn names(&self) -> Vec<QualifiedName> {
        self.tables.iter().map(|table| table.name.clone()).collect()
    }
}

/// Reads what the settings select for replication. A pattern or a `[[table]]` that matches nothing
/// is an error: a typing mistake must not silently replicate less.
pub async fn select(client: &Client, settings: &Settings) -> Result<Selection, PipelineError> {
    let relations = read_relations(client).await?;
    refuse_unmatched(settings, &relations)?;
    select_from(client, settings, relations, RelationSummary::is_replicable).await
}

/// The same while we run: a table that was there and is gone stops nothing.
pub async fn select_again(
    client: &Client,
    settings: &Settings,
) -> Result<Selection, PipelineError> {
    let relations = read_relations(client).await?;
    for message in unmatched(settings, &relations) {
        tracing::warn!("{message}");
    }
    select_from(client, settings, relations, RelationSummary::is_replicable).await
}

/// Reads what the settings select for a copy without a stream: rows need not be in the WAL.
pub async fn select_for_copy(
    client: &Client,
    settings: &Settings,
) -> Result<Selection, PipelineError> {
    let relations = read_relations(client).await?;
    refuse_unmatched(settings, &relations)?;
    select_from(client, settings, relations, |relation| relation.kind != RelationKind::Other).await
}

async fn read_relations(client: &Client) -> Result<Vec<RelationSummary>, PipelineError> {
    catalog::relations(client).await.map_err(PipelineError::catalog(Side::Source))
}

async fn select_from(
    client: &Client,
    settings: &Settings,
    relations: Vec<RelationSummary>,
    is_eligible: impl Fn(&RelationSummary) -> bool,
) -> Result<Selection, PipelineError> {
    let selected: Vec<QualifiedName> = relations
        .iter()
        .filter(|relation| is_eligible(relation) && settings.selects(&relation.name))
        .map(|relation| relation.name.clone())
        .collect();
    let tables = catalog::tables(client, TableFilter::Names(&selected)).await;
    let tables = without_covered_partitions(tables.map_err(PipelineError::catalog(Side::Source))?);
    let named: Vec<QualifiedName> = relations
        .iter()
        .map(|relation| &relation.name)
        .filter(|name| is_named(settings, name) && settings.selects(name))
        .cloned()
        .collect();
    // What is named and cannot be replicated is a finding of its own.
    if tables.is_empty() && named.is_empty() {
        return Err(PipelineError::Config {
            message: "include and exclude select no table at the source: name tables that exist, or create them first".to_owned(),
        });
    }
    Ok(Selection { tables, relations, named })
}

fn refuse_unmatched(
    settings: &Settings,
    relations: &[RelationSummary],
) -> Result<(), PipelineError> {
    let unmatched = unmatched(settings, relations);
    if unmatched.is_empty() {
        return Ok(());
    }
    Err(PipelineError::Config { message: unmatched.join("\n") })
}

fn is_named(settings: &Settings, name: &QualifiedName) -> bool {
    settings.include.iter().any(|pattern| pattern.literal().as_ref() == Some(name))
}

fn unmatched(settings: &Settings, relations: &[RelationSummary]) -> Vec<String> {
    let mut messages: Vec<String> = settings
        .include
        .iter()
        .enumerate()
        .filter(|(_, pattern)| !relations.iter().any(|relation| pattern.matches(&relation.name)))
        .map(|(index, pattern)| {
            let place = settings.places.include(index);
            format!("{place}: pattern {pattern} matches no table at the source")
        })
        .collect();
    for (index, table) in settings.tables.iter().enumerate() {
        let exists = relations.iter().any(|relation| relation.name == table.name);
        if !exists {
            let place = settings.places.table(index);
            messages.push(format!("{place}: no table {} at the source", table.name.sql()));
        }
    }
    messages
}
