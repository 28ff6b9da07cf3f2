//! From a table's description to what its rows go through and where they land.
//!
//! One planner serves the copy (descriptions from the source's catalog) and the tail (descriptions
//! from RELATION messages): both get the same transform plan and the same target.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::apply::mapping::{Mapping, MappingError};
use crate::apply::mark::MarkMisfit;
use crate::apply::target::{Circumstances, Target, TargetMark};
use crate::checkpoint::tables::TableRecord;
use crate::config::settings::{Apart, Settings, TableSettings};
use crate::model::finding::Side;
use crate::model::table::{Column, Table, TableId};
use crate::pg::catalog::{self, ColumnInfo, Generated, TableFilter, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pg::oid::{self, Oid};
use crate::pipeline::chosen_key;
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::Calculator;
use crate::pipeline::made_fit;
use crate::pipeline::reread::Equalities;
use crate::pipeline::unique_keys::unique_keys;
use crate::transform::{
    Answer, PlanError, PlanInput, Purpose, Question, TransformPlan, TypeFacts, UniqueKey, Unusable,
};

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
    calculator: Calculator,
    /// What the server says of the expressions of the tables looked at so far.
    answers: Mutex<HashMap<Question, Result<Answer, Unusable>>>,
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
            calculator: context.calculator.clone(),
            answers: Mutex::default(),
            filters_copy_only: false,
            source,
            destination,
            source_tables: HashMap::new(),
            records: HashMap::new(),
            keeps_order,
        }
    }

    pub fn calculator(&self) -> &Calculator {
        &self.calculator
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

    /// Has the server look at the tables' expressions: their transforms cannot be made before.
    pub async fn examine(&self, tables: &[TableInfo]) -> Result<(), PipelineError> {
        for info in tables {
            self.examine_described(&Arc::new(describe(info)), info).await?;
        }
        Ok(())
    }

    async fn examine_described(
        &self,
        table: &Arc<Table>,
        source_info: &TableInfo,
    ) -> Result<(), PipelineError> {
        let settings = self.settings.table(&table.name);
        if !settings.is_some_and(TableSettings::has_expressions) {
            return Ok(());
        }
        let questions = self.with_input(table, source_info, None, &[], TransformPlan::questions);
        let answers = self.calculator.examine(&questions).await?;
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
        Ok(())
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
            let destination = destination.ok_or_else(|| missing(&table.name, &name))?;
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
            let remedy = format!("ALTER TABLE {} REPLICA IDENTITY FULL", table.name.sql());
            let resync = format!("sync-agent resync --table {}", table.name.argument());
            let message = format!("{misfit}; do at the source: {remedy}; then: {resync}");
            return Err(PipelineError::Schema { table: table.name.clone(), message, lsn: None });
        }
        let destination = self.destinations_of(std::slice::from_ref(&table.name)).await?;
        let name = self.settings.destination_name(&table.name);
        let destination =
            destination.into_values().next().ok_or_else(|| missing(&table.name, &name))?;
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
            .map_err(|errors| schema_error(table, &errors))?;
        if transform.mark().is_some() && !transform.table().has_key() {
            let message = format!("deleted rows cannot be marked: {NO_KEY_TO_MARK_BY}");
            return Err(PipelineError::Schema { table: table.clone(), message, lsn: None });
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
            destination_type: &destination_type,
            known_columns: record.map(|record| record.known_columns.as_slice()),
            answer: &|question| self.answer(question),
            filters_copy_only: self.filters_copy_only,
            has_text_only: source_info.columns.iter().any(|column| !column.has_binary),
            unique_keys,
        })
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
        compiled.map_err(|errors| {
            let is_schema = errors.iter().any(|error| error.is_schema_change());
            let described = |error: &PlanError| format!("{error}. {}", error.hint());
            if is_schema {
                let message = join(errors.iter().map(described));
                return PipelineError::Schema { table: table.name.clone(), message, lsn: None };
            }
            let settings = &self.settings;
            let index = settings.tables.iter().position(|entry| entry.name == table.name);
            let placed = |error: &PlanError| match index {
                Some(index) => {
                    let place = match () {
                        () if error.is_of_the_key() => settings.places.table_key(index),
                        () if error.is_of_the_filter() => settings.places.table_filter(index),
                        () if error.is_of_the_mark() => settings.places.table_on_delete(index),
                        () => settings.places.column(index, &error.column),
                    };
                    format!("{place}: {}", described(error))
                }
                None => described(error),
            };
            let lines: Vec<String> = errors.iter().map(placed).collect();
            PipelineError::Config { message: lines.join("\n") }
        })
    }
}

impl Planner {
    /// The columns that a table's filter reads; none where it has no filter, or none that can be used.
    pub async fn filter_inputs(
        &self,
        info: &TableInfo,
    ) -> Result<Option<Vec<String>>, PipelineError> {
        let table = Arc::new(describe(info));
        self.examine_described(&table, info).await?;
        let questions = self.with_input(&table, info, None, &[], TransformPlan::questions);
        let filter = questions.iter().find(|question| question.purpose == Purpose::Filter);
        let answer = filter.and_then(|question| self.answer(question));
        Ok(answer.and_then(Result::ok).map(|answer| answer.inputs))
    }

    fn answer(&self, question: &Question) -> Option<Result<Answer, Unusable>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(question).cloned()
    }
}

/// Why `on_delete = "mark:…"` is refused of a table.
pub const NO_KEY_TO_MARK_BY: &str = "no columns identify a row of the source's table, and of several equal ones one would be marked that another row stands for; give it a primary key, or set on_delete to \"keep\"";

/// The settings of a table whose destination's key has one of its constants in front: other tables have rows
/// there, which are not of this pipeline, or not any more.
fn left_alone(
    settings: &TableSettings,
    table: &Table,
    destination: &TableInfo,
) -> Option<TableSettings> {
    if settings.apart.is_some() || !table.has_key() && settings.key.is_none() {
        return None;
    }
    let renamed = |name: &str| {
        let column = settings.columns.iter().find(|column| column.name == name);
        column.and_then(|column| column.rename.clone()).unwrap_or_else(|| name.to_owned())
    };
    let key: BTreeSet<String> = match &settings.key {
        Some(key) => key.iter().map(|name| renamed(name)).collect(),
        None => table.key_columns().map(|column| renamed(&column.name)).collect(),
    };
    let has_unique = |wanted: &BTreeSet<String>| {
        let mut indexes = destination.indexes.iter().filter(|index| index.is_unique);
        indexes.any(|index| index.columns.iter().cloned().collect::<BTreeSet<_>>() == *wanted)
    };
    if has_unique(&key) {
        return None;
    }
    let is_it = |apart: &Apart| {
        let mut wanted = key.clone();
        table.column_index(&apart.column).is_none()
            && wanted.insert(apart.column.clone())
            && has_unique(&wanted)
    };
    let apart = Apart::candidates(&settings.columns).find(is_it)?;
    Some(TableSettings { apart: Some(apart), ..settings.clone() })
}

fn missing(source: &QualifiedName, destination: &QualifiedName) -> PipelineError {
    PipelineError::Schema {
        table: source.clone(),
        message: format!(
            "its destination table {} does not exist; create it there, then copy it again: sync-agent resync --table {source}",
            destination.sql()
        ),
        lsn: None,
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("; ")
}

pub fn schema_error(table: &QualifiedName, errors: &[MappingError]) -> PipelineError {
    let described = |error: &MappingError| match error.remedy() {
        Some(remedy) => format!("{error}; do at the destination: {remedy}"),
        None => error.to_string(),
    };
    PipelineError::Schema {
        table: table.clone(),
        message: join(errors.iter().map(described)),
        lsn: None,
    }
}

/// The transform's output against the destination's table.
pub fn map(
    transform: &TransformPlan,
    source: &TableInfo,
    destination: &TableInfo,
) -> Result<Mapping, Vec<MappingError>> {
    // The catalog shows the present, the stream the past: a column that has another type by now is
    // taken as text.
    let described = |index| {
        let Some(passed) = transform.passed_column(index) else {
            return transform.computed_column(index);
        };
        source.column(&passed.name).filter(|column| column.type_oid == passed.type_oid)
    };
    let columns: Vec<Option<&ColumnInfo>> =
        (0..transform.table().columns.len()).map(described).collect();
    let mapped = Mapping::new(transform.table(), &columns, destination);
    let mut errors = made_fit::misfits(transform, destination);
    if let Some(mark) = transform.mark_name() {
        errors.extend(MarkMisfit::of(destination, mark).map(MappingError::from));
    }
    if errors.is_empty() {
        return mapped;
    }
    // A column that is marked has one reason only.
    let is_mark = |error: &MappingError| match error {
        MappingError::MissingColumn { column, .. } => {
            Some(column.as_str()) == transform.mark_name()
        }
        _ => false,
    };
    let others = mapped.err().into_iter().flatten().filter(|error| !is_mark(error));
    Err(others.chain(errors).collect())
}

/// Whether all values may be written in binary.
pub(super) fn is_binary_compatible(transform: &TransformPlan, mapping: &Mapping) -> bool {
    mapping.columns.iter().filter(|column| column.is_written()).all(|column| {
        column.is_binary_compatible
            || transform.mark().is_some_and(|mark| mark.index == column.value_index)
            || transform.passed_column(column.value_index).is_none()
                && transform.computed_column(column.value_index).is_none()
                && transform.joins_binary(column.value_index, column.destination.type_oid)
    })
}

/// Types that users made have a text form of their own choosing; until the catalog question for
/// casts is asked, only those whose text is their output function's are known: enums, citext, and
/// domains over these and over built-in types.
fn type_facts(columns: &[ColumnInfo], oid: Oid) -> Option<TypeFacts> {
    let is_it = |column: &&ColumnInfo| {
        column.leaf.array_depth == 0 && (column.type_oid == oid || column.leaf.type_oid == oid)
    };
    let column = columns.iter().find(is_it)?;
    let leaf = &column.leaf;
    let facts =
        TypeFacts { kind: leaf.kind, base_type: 0, base_modifier: -1, has_text_cast: false };
    match leaf.kind {
        _ if leaf.type_oid != oid => Some(TypeFacts {
            kind: 'd',
            base_type: leaf.type_oid,
            base_modifier: leaf.type_modifier,
            ..facts
        }),
        'e' => Some(facts),
        'b' if leaf.name == "citext" => Some(TypeFacts { base_type: oid::TEXT, ..facts }),
        _ => None,
    }
}

/// Whether the catalog's description has every column of the stream's, with its type.
fn knows(info: &TableInfo, table: &Table) -> bool {
    info.name == table.name
        && table.columns.iter().all(|column| {
            info.column(&column.name).is_some_and(|known| {
                known.type_oid == column.type_oid && known.type_modifier == column.type_modifier
            })
        })
}

/// The catalog's description in the stream's terms: generated columns are not replicated.
pub fn describe(info: &TableInfo) -> Table {
    let key_names = info.key_columns();
    let columns: Vec<Column> = info
        .columns
        .iter()
        .filter(|column| column.generated == Generated::No)
        .map(|column| Column {
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            is_identity: key_names.contains(&column.name),
        })
        .collect();
    let key = (0..columns.len()).filter(|&index| columns[index].is_identity).collect();
    Table { id: TableId(info.oid), name: info.name.clone(), identity: info.identity, columns, key }
}
