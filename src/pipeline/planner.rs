//! From a table's description to what its rows go through and where they land.
//!
//! One planner serves the copy (descriptions from the source's catalog) and the tail (descriptions
//! from RELATION messages): both get the same transform plan and the same target.

mod answers;
mod described;
mod left_alone;
mod mapped;
mod refusals;
mod transforms;

use std::collections::HashMap;
use std::sync::Arc;

use answers::Answers;
pub use described::describe;
use described::knows;
pub(super) use mapped::is_binary_compatible;
pub use mapped::map;
pub(super) use refusals::{NO_KEY_TO_MARK_BY, not_mapped};

use crate::apply::mapping::Mapping;
use crate::apply::target::{Circumstances, Target, TargetMark};
use crate::checkpoint::tables::TableRecord;
use crate::config::settings::Settings;
use crate::model::finding::Side;
use crate::model::table::{Table, TableId};
use crate::pg::catalog::{self, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::chosen_key;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::Calculator;
use crate::pipeline::reread::Equalities;
use crate::transform::TransformPlan;

/// A planned table.
#[derive(Debug)]
pub struct TablePlan {
    pub transform: Arc<TransformPlan>,
    pub target: Target,
    pub mapping: Mapping,
    /// The stream may run in binary, as far as this table goes.
    pub is_stream_binary: bool,
    /// The table's copy may run in binary.
    pub is_copy_binary: bool,
    /// The destination's table as it is.
    pub destination: TableInfo,
    pub source_equalities: Equalities,
}

/// A table of the stream before its columns are put against the destination's.
#[derive(Debug)]
pub struct Outline {
    /// As the source's catalog has it now.
    pub source: TableInfo,
    pub destination: TableInfo,
    pub transform: TransformPlan,
}

/// Knows the settings, both catalogs and the copy records.
#[derive(Debug)]
pub struct Planner {
    settings: Arc<Settings>,
    source: Arc<Client>,
    destination: Arc<Client>,
    source_tables: HashMap<TableId, TableInfo>,
    records: HashMap<QualifiedName, TableRecord>,
    keeps_order: bool,
    answers: Answers,
    filters_copy_only: bool,
}

impl Planner {
    /// `keeps_order`: the destination's role may not set the replica role, so that foreign keys are
    /// checked while we write.
    pub fn new(
        context: &Context,
        source: &Arc<Client>,
        destination: &Arc<Client>,
        keeps_order: bool,
    ) -> Planner {
        let (source, destination) = (Arc::clone(source), Arc::clone(destination));
        Planner {
            settings: Arc::clone(&context.settings),
            answers: Answers::new(context.calculator.clone()),
            filters_copy_only: false,
            source,
            destination,
            source_tables: HashMap::new(),
            records: HashMap::new(),
            keeps_order,
        }
    }

    pub fn calculator(&self) -> &Calculator {
        self.answers.calculator()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// For a copy that no stream follows.
    pub fn for_copy_only(self) -> Planner {
        Planner { filters_copy_only: true, ..self }
    }

    pub async fn set_source_tables(&mut self, tables: &[TableInfo]) -> Result<(), PipelineError> {
        self.source_tables =
            tables.iter().map(|table| (TableId(table.oid), table.clone())).collect();
        self.examine(tables).await
    }

    /// The selected tables.
    pub fn source_tables(&self) -> impl Iterator<Item = &TableInfo> {
        self.source_tables.values()
    }

    pub fn set_records(&mut self, records: Vec<TableRecord>) {
        self.records = records.into_iter().map(|record| (record.source.clone(), record)).collect();
    }

    pub fn record(&self, source: &QualifiedName) -> Option<&TableRecord> {
        self.records.get(source)
    }

    /// Whether foreign keys are checked while we write.
    pub fn keeps_order(&self) -> bool {
        self.keeps_order
    }

    /// Destination tables that have a copy record.
    pub fn recorded_destinations(&self) -> impl Iterator<Item = &QualifiedName> {
        self.records.values().map(|record| &record.destination)
    }

    /// Every table that has a copy record.
    pub fn recorded(&self) -> impl Iterator<Item = &QualifiedName> {
        self.records.keys()
    }

    /// Plans tables as the source's catalog describes them. The destination is asked once.
    pub async fn plan_catalog(
        &self,
        tables: &[TableInfo],
    ) -> Result<Vec<TablePlan>, PipelineError> {
        self.plan_each(tables).await?.into_iter().collect()
    }

    /// The same, where one table's misfit is not the others'.
    pub async fn plan_each(
        &self,
        tables: &[TableInfo],
    ) -> Result<Vec<Result<TablePlan, PipelineError>>, PipelineError> {
        self.examine(tables).await?;
        let destinations = self.destination_tables(tables).await?;
        let plan = |table: &TableInfo| {
            let name = self.settings.destination_name(&table.name);
            let destination = destinations.get(&name).cloned();
            let destination = destination.ok_or_else(|| refusals::missing(&table.name, &name))?;
            self.plan(&Arc::new(describe(table)), table, destination)
        };
        Ok(tables.iter().map(plan).collect())
    }

    /// The destination's tables of `tables`, as far as they exist, by their own names.
    pub async fn destination_tables(
        &self,
        tables: &[TableInfo],
    ) -> Result<HashMap<QualifiedName, TableInfo>, PipelineError> {
        let sources: Vec<QualifiedName> = tables.iter().map(|table| table.name.clone()).collect();
        self.destinations_of(&sources).await
    }

    /// The same for tables that are known by name.
    pub async fn destinations_of(
        &self,
        sources: &[QualifiedName],
    ) -> Result<HashMap<QualifiedName, TableInfo>, PipelineError> {
        let names: Vec<QualifiedName> =
            sources.iter().map(|source| self.settings.destination_name(source)).collect();
        let found = catalog::tables(&self.destination, TableFilter::Names(&names)).await;
        let found = found.map_err(PipelineError::catalog(Side::Destination))?;
        Ok(found.into_iter().map(|table| (table.name.clone(), table)).collect())
    }

    /// Both tables behind a description of the stream, and what its rows go through.
    pub async fn outline(&mut self, table: &Arc<Table>) -> Result<Option<Outline>, PipelineError> {
        let is_known = self.source_tables.get(&table.id).is_some_and(|info| knows(info, table));
        if !is_known {
            let info = catalog::table_by_oid(&self.source, table.id.0).await;
            let info = info.map_err(PipelineError::catalog(Side::Source))?;
            let Some(info) = info else { return Ok(None) };
            self.source_tables.insert(table.id, info);
        }
        let source = self.source_tables[&table.id].clone();
        if let Some(misfit) = chosen_key::misfit(self.settings.table(&table.name), table) {
            return Err(refusals::chosen_key_misfit(&table.name, &misfit));
        }
        let destination = self.destinations_of(std::slice::from_ref(&table.name)).await?;
        let name = self.settings.destination_name(&table.name);
        let destination = destination
            .into_values()
            .next()
            .ok_or_else(|| refusals::missing(&table.name, &name))?;
        self.examine_described(table, &source).await?;
        let transform = self.transform(table, &source, Some(&destination))?;
        Ok(Some(Outline { source, destination, transform }))
    }

    /// The plan of an outlined table.
    pub fn plan_outlined(
        &self,
        table: &QualifiedName,
        outline: Outline,
    ) -> Result<TablePlan, PipelineError> {
        let Outline { source, destination, transform } = outline;
        self.plan_with(table, transform, &source, destination)
    }

    /// Replaces a table's record: its columns have been judged anew.
    pub fn set_record(&mut self, record: TableRecord) {
        self.records.insert(record.source.clone(), record);
    }

    /// The source's description of this table is out of date.
    pub fn look_again(&mut self, table: TableId) {
        self.source_tables.remove(&table);
    }

    pub fn source(&self) -> &Client {
        &self.source
    }

    pub fn destination(&self) -> &Client {
        &self.destination
    }

    pub fn records(&self) -> impl Iterator<Item = &TableRecord> {
        self.records.values()
    }

    fn plan(
        &self,
        table: &Arc<Table>,
        source_info: &TableInfo,
        destination: TableInfo,
    ) -> Result<TablePlan, PipelineError> {
        let transform = self.transform(table, source_info, Some(&destination))?;
        self.plan_with(&table.name, transform, source_info, destination)
    }

    fn plan_with(
        &self,
        table: &QualifiedName,
        transform: TransformPlan,
        source_info: &TableInfo,
        destination: TableInfo,
    ) -> Result<TablePlan, PipelineError> {
        let mapping = map(&transform, source_info, &destination)
            .map_err(|errors| not_mapped(table, &errors))?;
        if transform.mark().is_some() && !transform.table().has_key() {
            return Err(refusals::no_key_to_mark_by(table));
        }
        let is_values_binary = is_binary_compatible(&transform, &mapping);
        let circumstances = Circumstances {
            keeps_order: self.keeps_order && mapping.has_foreign_keys,
            has_further_columns: destination.columns.len() > mapping.columns.len(),
            own_rows: transform.own_rows(),
            keeps_deleted: self.settings.keeps_deleted(table),
            mark: transform.mark().map(|mark| TargetMark {
                column: mark.index,
                kind: mark.kind,
                is_cleared_by_updates: transform.filters_stream(),
            }),
        };
        Ok(TablePlan {
            is_stream_binary: is_values_binary && !transform.needs_text_stream(),
            is_copy_binary: is_values_binary && !transform.copy_needs_text(),
            target: Target::new(&mapping, transform.table(), circumstances),
            transform: Arc::new(transform),
            mapping,
            destination,
            source_equalities: source_info
                .columns
                .iter()
                .filter_map(|column| Some((column.name.clone(), column.equality.clone()?)))
                .collect(),
        })
    }
}
