//! What tables' rows go through: the settings compiled against both tables, the copy's record and what the
//! server says of the expressions.
//!
//! **Invariant:** the server is asked of a table's expressions before its transform is made; making it asks
//! nobody.

use std::sync::Arc;

use super::described::{describe, type_facts};
use super::left_alone::left_alone;
use super::{Planner, refusals};
use crate::config::settings::TableSettings;
use crate::model::table::Table;
use crate::pg::catalog::TableInfo;
use crate::pg::oid::{self, Oid};
use crate::pipeline::error::PipelineError;
use crate::pipeline::unique_keys::unique_keys;
use crate::transform::{PlanInput, Purpose, TransformPlan, UniqueKey};

impl Planner {
    /// Has the server look at the tables' expressions: their transforms cannot be made before.
    pub async fn examine(&self, tables: &[TableInfo]) -> Result<(), PipelineError> {
        for info in tables {
            self.examine_described(&Arc::new(describe(info)), info).await?;
        }
        Ok(())
    }

    pub(super) async fn examine_described(
        &self,
        table: &Arc<Table>,
        source_info: &TableInfo,
    ) -> Result<(), PipelineError> {
        let settings = self.settings.table(&table.name);
        if !settings.is_some_and(TableSettings::has_expressions) {
            return Ok(());
        }
        let questions = self.with_input(table, source_info, None, &[], TransformPlan::questions);
        self.answers.ask(&questions).await
    }

    /// The transform of a table that the destination has, or that will be created there.
    pub fn transform(
        &self,
        table: &Arc<Table>,
        source_info: &TableInfo,
        destination: Option<&TableInfo>,
    ) -> Result<TransformPlan, PipelineError> {
        let keys = unique_keys(self.settings.table(&table.name), source_info, destination);
        self.transform_with(table, source_info, destination, &keys)
    }

    /// The same where the destination's table and its keys are judged elsewhere.
    pub fn transform_unjudged(
        &self,
        table: &Arc<Table>,
        source_info: &TableInfo,
    ) -> Result<TransformPlan, PipelineError> {
        let settings = self.settings.table(&table.name);
        let mut keys = unique_keys(settings, source_info, None);
        keys.iter_mut().for_each(|key| key.is_kept = false);
        self.transform_with(table, source_info, None, &keys)
    }

    fn transform_with(
        &self,
        table: &Arc<Table>,
        source_info: &TableInfo,
        destination: Option<&TableInfo>,
        unique_keys: &[UniqueKey],
    ) -> Result<TransformPlan, PipelineError> {
        let compiled =
            self.with_input(table, source_info, destination, unique_keys, TransformPlan::compile);
        compiled.map_err(|errors| refusals::not_compiled(&self.settings, source_info, &errors))
    }

    /// The columns that a table's filter reads; none where it has no filter, or none that can be used.
    pub async fn filter_inputs(
        &self,
        info: &TableInfo,
    ) -> Result<Option<Vec<String>>, PipelineError> {
        let table = Arc::new(describe(info));
        self.examine_described(&table, info).await?;
        let questions = self.with_input(&table, info, None, &[], TransformPlan::questions);
        let filter = questions.iter().find(|question| question.purpose == Purpose::Filter);
        let answer = filter.and_then(|question| self.answers.of(question));
        Ok(answer.and_then(Result::ok).map(|answer| answer.inputs))
    }

    /// What a plan is compiled from.
    fn with_input<T>(
        &self,
        table: &Arc<Table>,
        source_info: &TableInfo,
        destination: Option<&TableInfo>,
        unique_keys: &[UniqueKey],
        compile: impl FnOnce(PlanInput<'_>) -> T,
    ) -> T {
        let type_info = |oid: Oid| type_facts(&source_info.columns, oid);
        let collation =
            |column: &str| source_info.column(column).and_then(|it| it.base_collation.clone());
        let destination_type = |column: &str| match destination {
            Some(destination) => destination.column(column).map(|column| column.type_oid),
            None => Some(oid::TEXT),
        };
        let name = self.settings.destination_name(&table.name);
        let record = self.records.get(&table.name);
        let settings = self.settings.table(&table.name);
        let alone = destination.and_then(|there| left_alone(settings?, table, there));
        compile(PlanInput {
            settings: alone.as_ref().or(settings),
            destination: &name,
            table,
            type_info: &type_info,
            collation: &collation,
            destination_type: &destination_type,
            known_columns: record.map(|record| record.known_columns.as_slice()),
            answer: &|question| self.answers.of(question),
            filters_copy_only: self.filters_copy_only,
            has_text_only: source_info.columns.iter().any(|column| !column.has_binary),
            unique_keys,
        })
    }
}
