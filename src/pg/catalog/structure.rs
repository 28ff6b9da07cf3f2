//! All that belongs to tables, as the source's catalogs have it: nine questions, however many tables.
//!
//! Each row arrives as one JSON object, because rows are wide and their fields are named in the SQL
//! beside this file. Texts of expressions are the server's own (`pg_get_expr` and the like) under an
//! empty search path, so every name in them that is not the system's is qualified.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::{CatalogError, query};
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;

/// Everything about the selected tables and the partitions below them.
#[derive(Clone, Debug, Default)]
pub struct StructureRows {
    /// Roots before their partitions.
    pub relations: Vec<RelationRow>,
    pub columns: Vec<ColumnRow>,
    pub indexes: Vec<IndexRow>,
    pub constraints: Vec<ConstraintRow>,
    pub statistics: Vec<StatisticsRow>,
    pub sequences: Vec<SequenceRow>,
    pub types: Vec<TypeRow>,
    pub collations: Vec<CollationRow>,
    pub dependencies: Vec<DependencyRow>,
}

/// A selected table, or a partition of one.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct RelationRow {
    pub oid: Oid,
    /// The selected table above it, or itself.
    pub root: Oid,
    pub schema: String,
    pub name: String,
    pub is_partitioned: bool,
    /// Its composite type.
    pub row_type: Oid,
    /// What it is a partition of; `None` for a selected table.
    pub parent: Option<Oid>,
    /// `FOR VALUES …` or `DEFAULT`.
    pub bound: Option<String>,
    /// What stands after PARTITION BY.
    pub partition_key: Option<String>,
    pub partition_columns: Vec<i16>,
    /// Classic inheritance, in order.
    pub inherits: Vec<Oid>,
    pub options: Option<Vec<String>>,
    pub toast_options: Option<Vec<String>>,
    /// Where it is not heap.
    pub access_method: Option<String>,
    /// `relreplident`.
    pub identity: String,
    pub comment: Option<String>,
    pub schema_comment: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ColumnRow {
    pub relation: Oid,
    pub number: i16,
    pub name: String,
    pub type_oid: Oid,
    #[serde(rename = "type")]
    pub type_name: String,
    pub not_null: bool,
    /// Empty, `s` or `v`.
    pub generated: String,
    /// Empty, `a` or `d`.
    pub identity: String,
    /// `pg_attrdef`'s row: what the expression's dependencies hang on.
    pub expression_oid: Option<Oid>,
    /// The default, or what generates it.
    pub expression: Option<String>,
    /// The other columns that it reads.
    pub expression_columns: Vec<i16>,
    /// Where it is not the type's own.
    pub collation: Option<Oid>,
    pub is_local: bool,
    pub is_inherited: bool,
    /// Where it is not the type's own: p, e, m or x.
    pub storage: Option<String>,
    /// p or l.
    pub compression: Option<String>,
    pub statistics: Option<i32>,
    pub options: Option<Vec<String>>,
    pub comment: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct IndexRow {
    pub oid: Oid,
    pub relation: Oid,
    pub name: String,
    /// On a partitioned table: it has no entries of its own.
    pub is_partitioned: bool,
    /// The partitioned index that it is attached to.
    pub parent: Option<Oid>,
    /// What stands after USING: method, keys, INCLUDE, WITH, WHERE.
    pub tail: String,
    pub is_unique: bool,
    pub is_primary: bool,
    pub is_exclusion: bool,
    pub is_valid: bool,
    pub is_replica_identity: bool,
    pub is_clustered: bool,
    /// Expressions among its keys, or a predicate.
    pub has_expression: bool,
    pub nulls_not_distinct: bool,
    /// All columns that it reads.
    pub columns: Vec<i16>,
    pub options: Option<Vec<String>>,
    pub constraint_oid: Option<Oid>,
    pub constraint_name: Option<String>,
    pub constraint_definition: Option<String>,
    /// WITHOUT OVERLAPS.
    pub is_temporal: bool,
    pub constraint_comment: Option<String>,
    /// Key's number and target.
    pub statistics: Vec<(i16, i32)>,
    pub comment: Option<String>,
}

/// A check, a foreign key or a NOT NULL constraint.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ConstraintRow {
    pub oid: Oid,
    pub relation: Oid,
    pub name: String,
    /// c, f or n.
    pub kind: String,
    pub definition: String,
    /// 0 stands for the whole row.
    pub columns: Vec<i16>,
    pub is_validated: bool,
    pub is_enforced: bool,
    pub is_local: bool,
    /// From a parent by inheritance, or from a partitioned table above.
    pub is_inherited: bool,
    /// A foreign key that a table has because the table that it is a partition of has it.
    #[serde(default)]
    pub is_of_parent: bool,
    pub no_inherit: bool,
    pub referenced: Option<Oid>,
    pub referenced_schema: Option<String>,
    pub referenced_name: Option<String>,
    pub referenced_columns: Vec<String>,
    pub is_temporal: bool,
    pub comment: Option<String>,
}

/// Extended statistics.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct StatisticsRow {
    pub oid: Oid,
    pub relation: Oid,
    pub schema: String,
    pub name: String,
    /// `(kinds) ON columns`.
    pub tail: String,
    pub has_expression: bool,
    pub columns: Vec<i16>,
    pub target: Option<i32>,
    pub comment: Option<String>,
}

/// A sequence and one column that owns or reads it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct SequenceRow {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    pub relation: Oid,
    pub column: i16,
    pub is_owned: bool,
    pub is_identity: bool,
    #[serde(rename = "type")]
    pub type_name: String,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cache: i64,
    pub cycle: bool,
    /// Our role may read it.
    pub is_readable: bool,
    /// The last value that was given out; `None` before the first.
    pub position: Option<i64>,
    /// The first value that it will give out, where it gave none and this is not `start`.
    #[serde(skip)]
    pub restart: Option<i64>,
    pub comment: Option<String>,
}

/// A type that users made, or an extension brought.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct TypeRow {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    /// `typtype`.
    pub kind: String,
    pub is_array: bool,
    pub relation: Option<Oid>,
    /// It came with a table, view, ….
    pub is_row_type: bool,
    pub labels: Vec<String>,
    pub base: Option<String>,
    pub not_null: bool,
    pub default: Option<String>,
    pub collation: Option<Oid>,
    pub checks: Vec<DomainCheck>,
    pub attributes: Vec<Attribute>,
    pub range: Option<Range>,
    /// Types that it is made of.
    pub needs: Vec<Oid>,
    pub extension: Option<String>,
    pub comment: Option<String>,
    pub schema_comment: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct DomainCheck {
    pub oid: Oid,
    pub name: String,
    pub definition: String,
    pub is_validated: bool,
    pub comment: Option<String>,
}

/// A composite type's.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub collation: Option<Oid>,
    pub comment: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Range {
    pub subtype: String,
    /// Where it is not the subtype's default one.
    pub operator_class: Option<String>,
    pub collation: Option<Oid>,
    pub has_canonical: bool,
    pub subtype_difference: Option<String>,
    pub multirange_schema: String,
    pub multirange_name: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct CollationRow {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    /// b, c, d or i.
    pub provider: String,
    pub is_deterministic: bool,
    pub lc_collate: Option<String>,
    pub lc_ctype: Option<String>,
    pub locale: Option<String>,
    pub rules: Option<String>,
    pub comment: Option<String>,
}

/// Something that an expression, index, key or type uses.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct DependencyRow {
    /// The row (of `pg_attrdef`, `pg_constraint`, `pg_class`, …) that uses it.
    pub owner: Oid,
    /// In words, as SQL has them: `function`, `operator class`, ….
    pub kind: String,
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    /// The name, with argument types where these belong to it.
    pub identity: String,
    pub extension: Option<String>,
}

impl RelationRow {
    pub fn qualified(&self) -> QualifiedName {
        QualifiedName::new(&self.schema, &self.name)
    }
}

impl SequenceRow {
    pub fn qualified(&self) -> QualifiedName {
        QualifiedName::new(&self.schema, &self.name)
    }
}

impl TypeRow {
    pub fn qualified(&self) -> QualifiedName {
        QualifiedName::new(&self.schema, &self.name)
    }
}

impl CollationRow {
    pub fn qualified(&self) -> QualifiedName {
        QualifiedName::new(&self.schema, &self.name)
    }
}

/// Reads everything about `tables` and the partitions below them.
pub async fn structure(client: &Client, tables: &[Oid]) -> Result<StructureRows, CatalogError> {
    if tables.is_empty() {
        return Ok(StructureRows::default());
    }
    let relations: Vec<RelationRow> =
        rows(client, "its tables", include_str!("structure/relations.sql"), &[&tables]).await?;
    let oids: Vec<Oid> = relations.iter().map(|relation| relation.oid).collect();
    let columns: Vec<ColumnRow> =
        rows(client, "its columns", include_str!("structure/columns.sql"), &[&oids]).await?;
    let indexes =
        rows(client, "its indexes", include_str!("structure/indexes.sql"), &[&oids]).await?;
    let constraints =
        rows(client, "its constraints", include_str!("structure/constraints.sql"), &[&oids])
            .await?;
    let statistics =
        rows(client, "its statistics", include_str!("structure/statistics.sql"), &[&oids]).await?;
    let mut sequences: Vec<SequenceRow> =
        rows(client, "its sequences", include_str!("structure/sequences.sql"), &[&oids]).await?;
    read_restarts(client, &mut sequences).await?;
    let types: Vec<TypeRow> =
        rows(client, "its types", include_str!("structure/types.sql"), &[&oids]).await?;
    let type_oids: Vec<Oid> = types.iter().map(|described| described.oid).collect();
    let sql = include_str!("structure/dependencies.sql");
    let dependencies: Vec<DependencyRow> =
        rows(client, "what its tables use", sql, &[&oids, &type_oids]).await?;
    let wanted = collation_oids(&columns, &types, &dependencies);
    let sql = include_str!("structure/collations.sql");
    let collations = rows(client, "its collations", sql, &[&wanted]).await?;
    Ok(StructureRows {
        relations,
        columns,
        indexes,
        constraints,
        statistics,
        sequences,
        types,
        collations,
        dependencies,
    })
}

/// Where sequences begin that were moved before their first use: only they themselves know.
async fn read_restarts(client: &Client, sequences: &mut [SequenceRow]) -> Result<(), CatalogError> {
    /// Sequences asked in one statement: each takes a lock until its end.
    const SEQUENCES_PER_STATEMENT: usize = 50;
    const QUESTION: &str = "its sequences' positions";
    let mut unused: Vec<&mut SequenceRow> =
        sequences.iter_mut().filter(|row| row.is_readable && row.position.is_none()).collect();
    for chunk in unused.chunks_mut(SEQUENCES_PER_STATEMENT) {
        let asked: Vec<String> = chunk
            .iter()
            .map(|row| format!("(SELECT last_value FROM {})", row.qualified().sql()))
            .collect();
        let sql = format!("SELECT pg_catalog.to_jsonb(ARRAY[{}])::text", asked.join(", "));
        let mut found: Vec<Vec<i64>> = rows(client, QUESTION, &sql, &[]).await?;
        for (row, next) in chunk.iter_mut().zip(found.pop().unwrap_or_default()) {
            row.restart = (next != row.start).then_some(next);
        }
    }
    Ok(())
}

fn collation_oids(
    columns: &[ColumnRow],
    types: &[TypeRow],
    dependencies: &[DependencyRow],
) -> Vec<Oid> {
    let of_columns = columns.iter().filter_map(|column| column.collation);
    let of_types = types.iter().flat_map(|described| {
        let of_attributes = described.attributes.iter().filter_map(|a| a.collation);
        let of_range = described.range.iter().filter_map(|range| range.collation);
        described.collation.into_iter().chain(of_attributes).chain(of_range)
    });
    let used = dependencies.iter().filter(|used| used.kind == "collation").map(|used| used.oid);
    let mut oids: Vec<Oid> = of_columns.chain(of_types).chain(used).collect();
    oids.sort_unstable();
    oids.dedup();
    oids
}

/// Rows that are one JSON object each.
pub(super) async fn rows<T: DeserializeOwned>(
    client: &Client,
    question: &'static str,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<T>, CatalogError> {
    let read = |row: &tokio_postgres::Row| {
        let text: &str =
            row.try_get(0).map_err(|source| CatalogError::Query { question, source })?;
        serde_json::from_str(text).map_err(|error| CatalogError::UnknownValue {
            question,
            value: format!("{text}: {error}"),
        })
    };
    query(client, question, sql, parameters).await?.iter().map(read).collect()
}
