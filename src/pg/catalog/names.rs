//! Which relations, schemas, types and collations there are.

use tokio_postgres::Client;

use super::{CatalogError, Cells, RelationKind, query};
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;

/// A relation an operator could name, before anything else is asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationSummary {
    pub oid: Oid,
    pub name: QualifiedName,
    pub kind: RelationKind,
    /// In words: `view`, `foreign table`, ….
    pub kind_label: &'static str,
    pub is_partition: bool,
    pub is_permanent: bool,
    /// Whether our role owns it (or is a member of the owner): may publish it.
    pub is_owner: bool,
}

impl RelationSummary {
    /// Whether a pattern may select it: a table whose rows are in the WAL.
    pub fn is_replicable(&self) -> bool {
        self.kind != RelationKind::Other && self.is_permanent
    }
}

/// Every table, partition, view and foreign table outside the system's schemas.
pub async fn relations(client: &Client) -> Result<Vec<RelationSummary>, CatalogError> {
    const QUESTION: &str = "its relations";
    let rows = query(client, QUESTION, include_str!("relations.sql"), &[]).await?;
    let summary = |row| {
        let mut cells = Cells::new(row, QUESTION);
        let oid = cells.next()?;
        let name = QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?);
        let (kind, kind_label) = match cells.next_char()? {
            'r' => (RelationKind::Table, "table"),
            'p' => (RelationKind::Partitioned, "partitioned table"),
            'v' => (RelationKind::Other, "view"),
            'm' => (RelationKind::Other, "materialized view"),
            'f' => (RelationKind::Other, "foreign table"),
            other => return Err(cells.unknown(other)),
        };
        let is_partition = cells.next()?;
        let is_permanent = cells.next_char()? == 'p';
        let is_owner = cells.next()?;
        Ok(RelationSummary { oid, name, kind, kind_label, is_partition, is_permanent, is_owner })
    };
    rows.iter().map(summary).collect()
}

/// A table that holds rows of a partitioned table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLeaf {
    pub root: Oid,
    pub oid: Oid,
    pub name: QualifiedName,
}

/// The leaves below each of `roots`; a table that is not partitioned has none.
pub async fn partition_leaves(
    client: &Client,
    roots: &[Oid],
) -> Result<Vec<PartitionLeaf>, CatalogError> {
    const QUESTION: &str = "its partitions";
    let rows = query(client, QUESTION, include_str!("partition_leaves.sql"), &[&roots]).await?;
    let leaf = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(PartitionLeaf {
            root: cells.next()?,
            oid: cells.next()?,
            name: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
        })
    };
    rows.iter().map(leaf).collect()
}

/// A schema and what our role may do in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaInfo {
    pub name: String,
    pub can_use: bool,
    pub can_create: bool,
}

/// Those of `names` that exist.
pub async fn schemas(client: &Client, names: &[String]) -> Result<Vec<SchemaInfo>, CatalogError> {
    const QUESTION: &str = "its schemas";
    let rows = query(client, QUESTION, include_str!("schemas.sql"), &[&names]).await?;
    let schema = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(SchemaInfo { name: cells.next()?, can_use: cells.next()?, can_create: cells.next()? })
    };
    rows.iter().map(schema).collect()
}

/// Those of `tables` that exist and that our role may not refer to with a foreign key.
pub async fn tables_without_references(
    client: &Client,
    tables: &[QualifiedName],
) -> Result<Vec<QualifiedName>, CatalogError> {
    let sql = include_str!("tables_without_references.sql");
    missing(client, "who may refer to its tables", sql, tables).await
}

async fn missing(
    client: &Client,
    question: &'static str,
    sql: &str,
    wanted: &[QualifiedName],
) -> Result<Vec<QualifiedName>, CatalogError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (schemas, names) = split(wanted);
    let rows = query(client, question, sql, &[&schemas, &names]).await?;
    let name = |row| {
        let mut cells = Cells::new(row, question);
        Ok(QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?))
    };
    rows.iter().map(name).collect()
}

/// Schemas and bare names as the two arrays a query takes.
pub(super) fn split(names: &[QualifiedName]) -> (Vec<&str>, Vec<&str>) {
    names.iter().map(|name| (name.schema.as_str(), name.name.as_str())).unzip()
}
