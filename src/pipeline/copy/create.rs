//! What a missing destination table becomes: the transform's output, in the source's types.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::ddl::{self, Ddl, NewTable, OutputColumn};
use crate::model::finding::Side;
use crate::pg::catalog::{self, Generated, TableInfo};
use crate::pg::client::Client;
use crate::pg::ident::QualifiedName;
use crate::pipeline::error::PipelineError;
use crate::transform::TransformPlan;

/// What creating tables at the destination has to know of it.
#[derive(Clone, Debug)]
pub struct DestinationShape {
    pub major_version: i32,
    pub schemas: BTreeSet<String>,
    /// Source schema → destination schema.
    pub schema_names: BTreeMap<String, String>,
}

impl DestinationShape {
    pub async fn read(
        client: &Client,
        schema_names: &BTreeMap<String, String>,
    ) -> Result<DestinationShape, PipelineError> {
        let asking = || PipelineError::query(Side::Destination, "reading its schemas");
        let rows = client.query("SELECT nspname::text FROM pg_catalog.pg_namespace", &[]).await;
        let schemas = rows.map_err(asking())?.iter().map(|row| row.get(0)).collect();
        let facts = catalog::server_facts(client).await;
        let facts = facts.map_err(PipelineError::catalog(Side::Destination))?;
        Ok(DestinationShape {
            major_version: facts.major_version(),
            schemas,
            schema_names: schema_names.clone(),
        })
    }
}

/// The statements that create one table, and those that complete it after the load.
#[derive(Clone, Debug)]
pub struct Creation {
    pub table: Ddl,
    pub constraints: Ddl,
    /// User-defined types that have to exist.
    pub user_types: BTreeSet<QualifiedName>,
}

/// Plans the creation of `name` for the source table. `present`: the table, where it exists.
pub fn creation(
    source: &TableInfo,
    name: &QualifiedName,
    transform: &TransformPlan,
    shape: &DestinationShape,
    present: Option<&TableInfo>,
) -> Creation {
    let columns = output_columns(source, transform);
    let table = NewTable {
        source,
        name,
        columns: &columns,
        schemas: &shape.schema_names,
        existing_schemas: &shape.schemas,
        major_version: shape.major_version,
    };
    Creation {
        table: ddl::create_table_sql(&table),
        constraints: ddl::constraints_sql(&table, present),
        user_types: ddl::user_types(&table),
    }
}

/// The transform's columns, and the generated ones, which the destination computes itself.
pub fn output_columns(source: &TableInfo, transform: &TransformPlan) -> Vec<OutputColumn> {
    let description = transform.table();
    let mut columns = Vec::new();
    for (index, column) in description.columns.iter().enumerate() {
        let origin = transform.origin_column(index).and_then(|c| source.column(&c.name));
        let passed = transform.passed_column(index).and(origin);
        columns.push(match (passed, origin) {
            (Some(info), _) => {
                OutputColumn { name: column.name.clone(), ..OutputColumn::untransformed(info) }
            }
            (None, origin) => OutputColumn {
                name: column.name.clone(),
                source_name: origin.map(|info| info.name.clone()),
                type_name: "text".to_owned(),
                not_null: origin.is_some_and(|info| info.not_null),
                is_untransformed: false,
            },
        });
    }
    let generated = source.columns.iter().filter(|column| column.generated != Generated::No);
    columns.extend(generated.map(OutputColumn::untransformed));
    columns
}
