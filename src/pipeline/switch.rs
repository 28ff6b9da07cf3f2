//! `source.partitions`, changed on a pipeline that has begun.
//!
//! A partitioned table and its partitions are not the same tables: rows that came under one name would
//! stay behind while their changes come under another. So the change is refused until the tables
//! concerned are asked to be copied again; then they make room for those that take their place.

use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::{CopyState, TableRecord};
use crate::config::settings::Partitions;
use crate::model::finding::Side;
use crate::pg::catalog::{self, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::choice::is_by_leaf;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::selection::Selection;
use crate::transform;

/// What is selected now, to be put against what was copied.
#[derive(Clone, Copy, Debug)]
pub struct Switch<'a> {
    pub context: &'a Context,
    pub selection: &'a Selection,
}

impl Switch<'_> {
    /// Refuses copied tables whose rows came under other names than they would now.
    pub fn refuse(&self, records: &[TableRecord]) -> Result<(), PipelineError> {
        let copied = records.iter().filter(|record| record.state == CopyState::Copied);
        let messages: Vec<String> = copied
            .filter(|record| self.is_replaced(record))
            .map(|record| {
                let name = &record.source;
                format!(
                    "{}: changed since the rows of {} were copied under that name; undo the change, \
                     or have them copied again: sync-agent resync --table {}",
                    self.context.settings.places.key(&["source", "partitions"]),
                    name.sql(),
                    name.argument()
                )
            })
            .collect();
        if messages.is_empty() {
            return Ok(());
        }
        Err(PipelineError::Config { message: messages.join("\n") })
    }

    fn is_replaced(&self, record: &TableRecord) -> bool {
        if self.selection.table(&record.source).is_some() {
            return false;
        }
        match self.context.settings.source.partitions {
            Partitions::Leaf => record.partitions.is_some() && self.below(record).next().is_some(),
            Partitions::Root => {
                let view = &self.selection.choice.view;
                let above = record.source_oid.map_or_else(Vec::new, |oid| view.ancestors(oid));
                let mut selected = self.selection.tables.iter();
                is_by_leaf(record) && selected.any(|table| above.contains(&table.oid))
            }
        }
    }

    /// Selected tables that are partitions of the record's.
    fn below<'s>(&'s self, record: &'s TableRecord) -> impl Iterator<Item = &'s TableInfo> {
        self.selection.tables.iter().filter(|table| {
            record.source_oid.is_some_and(|oid| table.partition_ancestors.contains(&oid))
        })
    }

    /// Records of partitions that take the place of what they are partitions of, where the destination
    /// has them as its partitions, too: the rows in them have come by us.
    pub async fn inherited(
        &self,
        destination: &Client,
        records: &[TableRecord],
    ) -> Result<Vec<TableRecord>, PipelineError> {
        if self.context.settings.source.partitions == Partitions::Root {
            return Ok(Vec::new());
        }
        let mut inherited = Vec::new();
        for record in records.iter().filter(|record| record.partitions.is_some()) {
            let is_new = |table: &&TableInfo| records.iter().all(|r| r.source != table.name);
            let leaves: Vec<&TableInfo> = self.below(record).filter(is_new).collect();
            let name = |leaf: &TableInfo| self.context.settings.destination_name(&leaf.name);
            let mut names: Vec<QualifiedName> = leaves.iter().map(|leaf| name(leaf)).collect();
            names.push(record.destination.clone());
            let found = catalog::tables(destination, TableFilter::Names(&names)).await;
            let found = found.map_err(PipelineError::catalog(Side::Destination))?;
            let Some(root) = found.iter().find(|table| table.name == record.destination) else {
                continue;
            };
            let is_ours = |leaf: &&&TableInfo| {
                let mut below = found.iter().filter(|t| t.partition_ancestors.contains(&root.oid));
                below.any(|table| table.name == name(leaf))
            };
            let made = leaves.iter().filter(is_ours).map(|leaf| self.record(record, leaf));
            inherited.extend(made);
        }
        Ok(inherited)
    }

    fn record(&self, root: &TableRecord, leaf: &TableInfo) -> TableRecord {
        let settings = &self.context.settings;
        let destination = settings.destination_name(&leaf.name);
        TableRecord {
            source: leaf.name.clone(),
            fingerprint: transform::fingerprint(settings.table(&leaf.name), &destination),
            destination,
            state: CopyState::Copying,
            copied_lsn: None,
            known_columns: leaf.columns.iter().map(|column| column.name.clone()).collect(),
            source_oid: Some(leaf.oid),
            published: None,
            partitions: None,
            source_shape: Some(SourceShape::of(leaf)),
            destination_oid: None,
            beside: false,
            ..root.clone()
        }
    }
}
