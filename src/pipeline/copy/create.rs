//! What missing destination tables become: the source's structure, as it leaves the transforms.

use std::sync::Arc;

use crate::apply::add_column::{NewColumn, type_names};
use crate::model::finding::Side;
use crate::pg::catalog::{self, Generated, TableInfo, present, structure as rows};
use crate::pg::client::Client;
use crate::pg::ident::identifier;
use crate::pg::oid::{self, Oid};
use crate::pipeline::context::Context;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::{Planner, describe};
use crate::structure::{
    Kept, Names, OutputColumn, Present, Structure, StructureInput, TableRequest,
};
use crate::transform::TransformPlan;

/// Both sides, for whoever plans structure.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    pub context: &'a Context,
    pub source: &'a Client,
    pub destination: &'a Client,
}

impl Sides<'_> {
    /// What the destination lacks of the tables that `requests` call ours. Asks nobody where none
    /// is.
    pub async fn plan(&self, requests: &[TableRequest]) -> Result<Structure, PipelineError> {
        let ours: Vec<Oid> =
            requests.iter().filter(|request| request.is_ours).map(|request| request.oid).collect();
        if ours.is_empty() {
            return Ok(Structure::default());
        }
        let at_source = || PipelineError::catalog(Side::Source);
        let at_destination = || PipelineError::catalog(Side::Destination);
        let found = rows::structure(self.source, &ours).await.map_err(at_source())?;
        let schemas = &self.context.settings.destination.schemas;
        let names = Names::of(schemas, requests, &found);
        let used: Vec<String> = found.dependencies.iter().map(|row| row.name.clone()).collect();
        let schemas = names.destination_schemas(&found);
        let present = present::present(self.destination, &schemas, &used).await;
        let present = Present::new(present.map_err(at_destination())?);
        // Only a younger source has functions that the destination may lack.
        let source = present::abilities(self.source).await.map_err(at_source())?;
        let is_younger = source.major_version > present.server.major_version;
        let source_functions = if is_younger { source.functions } else { Vec::new() };
        Ok(crate::structure::plan(StructureInput {
            rows: &found,
            present: &present,
            names: &names,
            source_functions: &source_functions,
            requests,
        }))
    }
}

/// The requests of all selected tables; `is_ours` says which are to be planned.
pub fn requests(
    context: &Context,
    planner: &Planner,
    is_ours: impl Fn(&TableInfo) -> bool,
) -> Result<Vec<TableRequest>, PipelineError> {
    let mut requests = Vec::new();
    for info in planner.source_tables() {
        let transform = planner.transform_unjudged(&Arc::new(describe(info)), info)?;
        requests.push(request(context, info, &transform, is_ours(info)));
    }
    Ok(requests)
}

/// One table's request.
pub fn request(
    context: &Context,
    info: &TableInfo,
    transform: &TransformPlan,
    is_ours: bool,
) -> TableRequest {
    TableRequest {
        oid: info.oid,
        source: info.name.clone(),
        destination: context.settings.destination_name(&info.name),
        columns: output_columns(info, transform),
        is_ours,
        kept: context.settings.keeps_deleted(&info.name).then(|| kept(transform)),
        apart: transform.apart().map(str::to_owned),
    }
}

fn kept(transform: &TransformPlan) -> Kept {
    let key = transform.source_table().key_columns().map(|column| column.name.clone());
    // A table of our making has a time for its mark.
    let is_present = transform.mark_name().map(|mark| format!("{} IS NULL", identifier(mark)));
    Kept { key: key.collect(), is_present }
}

/// The transform's columns, and the generated ones, which the destination computes itself.
fn output_columns(source: &TableInfo, transform: &TransformPlan) -> Vec<OutputColumn> {
    let description = transform.table();
    let mut columns = Vec::new();
    for (index, column) in description.columns.iter().enumerate() {
        let origin = transform.origin_column(index).and_then(|c| source.column(&c.name));
        let passed = transform.passed_column(index).and(origin);
        // What is computed stands where the source has the column.
        let place = transform.place_name(index).and_then(|name| source.column(name));
        let place = place.filter(|info| info.generated == Generated::No);
        let source_name = place.map(|info| info.name.clone());
        if let Some(computed) = transform.computed_column(index) {
            columns.push(OutputColumn {
                name: column.name.clone(),
                source_name,
                // A type that users made may be nobody else's in the table, and be missing there.
                type_name: match oid::is_built_in(computed.type_oid) {
                    true => computed.type_name.clone(),
                    false => "text".to_owned(),
                },
                not_null: false,
                is_untransformed: false,
                is_distinct: false,
            });
            continue;
        }
        columns.push(match (passed, origin) {
            (Some(info), _) => OutputColumn { name: column.name.clone(), ..untransformed(info) },
            (None, origin) => OutputColumn {
                name: column.name.clone(),
                source_name,
                type_name: match transform.mark() {
                    Some(mark) if mark.index == index => "timestamp with time zone".to_owned(),
                    _ => made_type(transform, index, origin),
                },
                not_null: origin.is_some_and(|info| info.not_null) && !transform.is_null(index),
                is_untransformed: false,
                is_distinct: origin.is_some() && transform.keeps_apart(index),
            },
        });
    }
    let generated = source.columns.iter().filter(|column| column.generated != Generated::No);
    columns.extend(generated.map(untransformed));
    columns
}

/// The type of a column that steps make, as far as they keep the source's; else text, which holds
/// everything.
fn made_type(
    transform: &TransformPlan,
    index: usize,
    origin: Option<&catalog::ColumnInfo>,
) -> String {
    let is_there = |info: &&catalog::ColumnInfo| oid::is_built_in(info.type_oid);
    if let Some(info) = origin.filter(is_there).filter(|_| transform.is_null(index)) {
        return info.type_name.clone();
    }
    let Some((type_oid, modifier)) = transform.made_type(index) else { return "text".to_owned() };
    match origin.filter(|info| info.type_oid == type_oid) {
        Some(info) => info.type_name.clone(),
        None => oid::written(type_oid, modifier).unwrap_or_else(|| "text".to_owned()),
    }
}

/// A column that passes as it is.
fn untransformed(column: &catalog::ColumnInfo) -> OutputColumn {
    OutputColumn {
        name: column.name.clone(),
        source_name: Some(column.name.clone()),
        type_name: column.type_name.clone(),
        not_null: column.not_null,
        is_untransformed: true,
        is_distinct: true,
    }
}

impl Sides<'_> {
    /// Statements that add what a table of ours lacks, before it is copied again. Its rows are about
    /// to be copied, so none has to be given a value.
    pub fn missing_columns(
        &self,
        source: &TableInfo,
        present: &TableInfo,
        transform: &TransformPlan,
    ) -> Vec<String> {
        let schemas = &self.context.settings.destination.schemas;
        let major_version = i32::try_from(self.destination.server_version_num() / 10_000);
        let mut statements = Vec::new();
        let outputs = output_columns(source, transform);
        for output in outputs.iter().filter(|output| present.column(&output.name).is_none()) {
            let origin = output.source_name.as_deref().and_then(|name| source.column(name));
            let Some(info) = origin.filter(|_| output.is_untransformed) else { continue };
            let type_name = type_names(info, schemas).pop().unwrap_or_default();
            let new = NewColumn {
                table: &present.name,
                name: &output.name,
                source: info,
                type_name: &type_name,
                existing: None,
            };
            if info.generated == Generated::No {
                statements.extend(new.statements());
            } else {
                statements.extend(new.generated(major_version.unwrap_or(0)));
            }
        }
        statements
    }
}
