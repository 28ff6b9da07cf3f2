//! Which tables the settings mean, as the publications send them.

use std::collections::HashSet;

use crate::checkpoint::tables::TableRecord;
use crate::config::settings::{Partitions, Settings};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{self, RelationKind, RelationSummary, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::choice::{Choice, Present, is_copyable, is_named};
use crate::pipeline::error::PipelineError;
use crate::source::publication::without_covered_partitions;

/// The selected tables, and all relations beside them for what preflight has to say.
#[derive(Debug)]
pub struct Selection {
    pub tables: Vec<TableInfo>,
    /// What the tables were chosen from. Of a copy without a stream it holds the relations only.
    pub choice: Choice,
    /// Relations that the settings name without a wildcard.
    pub named: Vec<QualifiedName>,
}

impl Selection {
    pub fn names(&self) -> Vec<QualifiedName> {
        self.tables.iter().map(|table| table.name.clone()).collect()
    }

    /// Partitions of selected tables whose rows are elsewhere.
    pub fn foreign_partitions(&self) -> Vec<Finding> {
        let view = &self.choice.view;
        let is_selected = |oid: &u32| self.tables.iter().find(|table| table.oid == *oid);
        let foreign = |relation: &RelationSummary| {
            let above = view.ancestors(relation.oid);
            let root = above.iter().find_map(is_selected)?;
            let message = format!(
                "it is a partition of {}, and its rows are not in the write-ahead log: they are left \
                 out",
                root.name.sql()
            );
            let object = format!("{} {}", relation.kind_label, relation.name.sql());
            Some(Finding::warning(Side::Source, object, message))
        };
        let partitions = self.choice.relations.iter().filter(|r| r.is_partition && !is_copyable(r));
        partitions.filter_map(foreign).collect()
    }

    /// The selected tables, or those of them that were asked for by name.
    pub fn only(&self, names: &[QualifiedName]) -> Result<Vec<TableInfo>, PipelineError> {
        if names.is_empty() {
            return Ok(self.tables.clone());
        }
        let unknown: Vec<String> = names
            .iter()
            .filter(|name| self.table(name).is_none())
            .map(|name| {
                format!(
                    "--table {name}: the settings select no such table at the source (include, exclude)"
                )
            })
            .collect();
        if !unknown.is_empty() {
            return Err(PipelineError::Config { message: unknown.join("\n") });
        }
        Ok(self.tables.iter().filter(|table| names.contains(&table.name)).cloned().collect())
    }

    pub fn table(&self, name: &QualifiedName) -> Option<&TableInfo> {
        self.tables.iter().find(|table| table.name == *name)
    }
}

/// Reads what the settings select for replication, narrowed to what is published of it. A pattern
/// or a `[[table]]` that matches nothing is an error: a typing mistake must not silently replicate
/// less.
pub async fn select(
    client: &Client,
    settings: &Settings,
    present: Present<'_>,
) -> Result<Selection, PipelineError> {
    let choice = Choice::take(client, settings, present).await?;
    if !present.is_running {
        refuse_unmatched(settings, &choice, present.records)?;
    }
    let selected: Vec<QualifiedName> =
        choice.selected.iter().map(|(name, _)| name.clone()).collect();
    let mut tables = read(client, &selected).await?;
    // A table of the same name that took its place meanwhile is seen at the next look.
    let seen: HashSet<u32> = choice.selected.iter().map(|(_, oid)| *oid).collect();
    tables.retain(|table| seen.contains(&table.oid));
    let is_held = !choice.halted.is_empty() || !choice.aside.is_empty();
    let named = named(settings, &choice.relations);
    if tables.is_empty() && named.is_empty() && !is_held && !present.is_running {
        return Err(nothing());
    }
    choice.narrow(&mut tables);
    Ok(Selection { tables, choice, named })
}

/// Reads what the settings select for a copy without a stream: rows need not be in the WAL, nor
/// published.
pub async fn select_for_copy(
    client: &Client,
    settings: &Settings,
) -> Result<Selection, PipelineError> {
    let choice = Choice::of_relations(client).await?;
    refuse_unmatched(settings, &choice, &[])?;
    let selected: Vec<QualifiedName> = choice
        .relations
        .iter()
        .filter(|relation| is_copyable(relation) && choice.is_meant(settings, relation))
        .map(|relation| relation.name.clone())
        .collect();
    let tables = read(client, &selected).await?;
    let named = named(settings, &choice.relations);
    // What is named and cannot be replicated is a finding of its own.
    if tables.is_empty() && named.is_empty() && settings.queries.is_empty() {
        return Err(nothing());
    }
    Ok(Selection { tables, choice, named })
}

async fn read(client: &Client, names: &[QualifiedName]) -> Result<Vec<TableInfo>, PipelineError> {
    let tables = catalog::tables(client, TableFilter::Names(names)).await;
    Ok(without_covered_partitions(tables.map_err(PipelineError::catalog(Side::Source))?))
}

fn nothing() -> PipelineError {
    PipelineError::Config {
        message: "include and exclude select no table at the source: name tables that exist, or create them first".to_owned(),
    }
}

fn named(settings: &Settings, relations: &[RelationSummary]) -> Vec<QualifiedName> {
    relations
        .iter()
        .map(|relation| &relation.name)
        .filter(|name| is_named(settings, name) && settings.selects(name))
        .cloned()
        .collect()
}

fn refuse_unmatched(
    settings: &Settings,
    choice: &Choice,
    records: &[TableRecord],
) -> Result<(), PipelineError> {
    let mut unmatched = unmatched(settings, &choice.relations, records);
    unmatched.extend(misplaced(settings, choice));
    if unmatched.is_empty() {
        return Ok(());
    }
    Err(PipelineError::Config { message: unmatched.join("\n") })
}

/// Entries of tables whose rows are replicated under other names: they would do nothing, silently.
fn misplaced(settings: &Settings, choice: &Choice) -> Vec<String> {
    let by_leaf = settings.source.partitions == Partitions::Leaf;
    let mut messages = Vec::new();
    for (index, table) in settings.tables.iter().enumerate() {
        let of = |relation: &&RelationSummary| relation.name == table.name;
        let Some(relation) = choice.relations.iter().find(of) else { continue };
        let (place, name) = (settings.places.table(index), table.name.sql());
        if by_leaf && relation.kind == RelationKind::Partitioned {
            messages.push(format!(
                "{place}: {name} is partitioned, and with source.partitions = \"leaf\" its partitions \
                 are the tables: give each of them an entry"
            ));
        }
        let above = choice.view.ancestors(relation.oid);
        let mut above = above.iter().filter_map(|oid| choice.view.name(*oid));
        let covering = above.rfind(|above| !by_leaf && settings.selects(above));
        if let Some(root) = covering {
            messages.push(format!(
                "{place}: {name} is a partition, and its rows are replicated under the name of {}: \
                 put the entry there, or set source.partitions = \"leaf\"",
                root.sql()
            ));
        }
    }
    messages
}

/// What matched once, and is gone from the source since, is no slip.
fn unmatched(
    settings: &Settings,
    relations: &[RelationSummary],
    records: &[TableRecord],
) -> Vec<String> {
    let names: Vec<&QualifiedName> = relations
        .iter()
        .map(|relation| &relation.name)
        .chain(records.iter().map(|record| &record.source))
        .collect();
    let mut messages: Vec<String> = settings
        .include
        .iter()
        .enumerate()
        .filter(|(_, pattern)| !names.iter().any(|name| pattern.matches(name)))
        .map(|(index, pattern)| {
            let place = settings.places.include(index);
            format!("{place}: pattern {pattern} matches no table at the source")
        })
        .collect();
    for (index, table) in settings.tables.iter().enumerate() {
        if !names.contains(&&table.name) {
            let place = settings.places.table(index);
            messages.push(format!("{place}: no table {} at the source", table.name.sql()));
        }
    }
    messages
}
