//! Tables with their columns, indexes and sequences: five queries, however many tables there are.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::{Client, Row};

use super::names::split;
use super::table_info::{
    ColumnInfo, Generated, Identity, IndexInfo, Leaf, RelationKind, SequenceInfo, TableInfo,
};
use super::{CatalogError, Cells, ReplicaIdentity, query};
use crate::pg::ident::{QualifiedName, operator};
use crate::pg::oid::{MONEY, Oid, is_text_only};

/// Which tables.
#[derive(Clone, Copy, Debug)]
pub enum TableFilter<'a> {
    /// By name; one that does not exist is left out.
    Names(&'a [QualifiedName]),
    /// By OID; one that does not exist is left out.
    Oids(&'a [Oid]),
    /// Every table of these schemas, temporary ones left out.
    Schemas(&'a [String]),
}

/// Tables with all that can be said about them, ordered by name.
pub async fn tables(
    client: &Client,
    filter: TableFilter<'_>,
) -> Result<Vec<TableInfo>, CatalogError> {
    let oids = oids(client, filter).await?;
    if oids.is_empty() {
        return Ok(Vec::new());
    }
    let mut tables = read_tables(client, &oids).await?;
    let mut columns = read_columns(client, &oids).await?;
    let mut indexes = read_indexes(client, &oids).await?;
    let mut sequences = read_sequences(client, &oids).await?;
    for table in &mut tables {
        table.columns = columns.remove(&table.oid).unwrap_or_default();
        table.indexes = indexes.remove(&table.oid).unwrap_or_default();
        table.sequences = sequences.remove(&table.oid).unwrap_or_default();
    }
    Ok(tables)
}

pub async fn table_by_oid(client: &Client, oid: Oid) -> Result<Option<TableInfo>, CatalogError> {
    Ok(tables(client, TableFilter::Oids(&[oid])).await?.pop())
}

/// Whether the table holds a row, its partitions and children included.
pub async fn has_rows(client: &Client, table: &QualifiedName) -> Result<bool, CatalogError> {
    Ok(!tables_with_rows(client, std::slice::from_ref(table)).await?.is_empty())
}

/// Those of `names` that hold a row.
pub async fn tables_with_rows(
    client: &Client,
    names: &[QualifiedName],
) -> Result<Vec<QualifiedName>, CatalogError> {
    let asked: Vec<(QualifiedName, Option<String>)> =
        names.iter().map(|name| (name.clone(), None)).collect();
    let answers = have_rows(client, &asked).await?;
    let with_rows = names.iter().zip(answers).filter(|(_, has_rows)| *has_rows);
    Ok(with_rows.map(|(name, _)| name.clone()).collect())
}

/// Whether each of these tables has rows, of which a condition is true where one is given.
pub async fn have_rows(
    client: &Client,
    asked: &[(QualifiedName, Option<String>)],
) -> Result<Vec<bool>, CatalogError> {
    /// Tables asked about in one statement: each takes a lock until the statement ends, and the
    /// lock table has room for 64 a session (`max_locks_per_transaction`).
    const TABLES_PER_STATEMENT: usize = 50;
    const QUESTION: &str = "tables with rows";
    let mut answers = Vec::with_capacity(asked.len());
    for chunk in asked.chunks(TABLES_PER_STATEMENT) {
        let exists = |(name, condition): &(QualifiedName, Option<String>)| {
            let condition = condition.as_deref().unwrap_or("true");
            format!("EXISTS (SELECT FROM {} WHERE {condition})", name.sql())
        };
        let exists: Vec<String> = chunk.iter().map(exists).collect();
        let sql = format!("SELECT ARRAY[{}]", exists.join(", "));
        let row = super::query_one(client, QUESTION, &sql, &[]).await?;
        let answered: Vec<bool> = Cells::new(&row, QUESTION).next()?;
        answers.extend(answered);
    }
    Ok(answers)
}

async fn oids(client: &Client, filter: TableFilter<'_>) -> Result<Vec<Oid>, CatalogError> {
    const QUESTION: &str = "its tables";
    let rows = match filter {
        TableFilter::Oids(oids) => return Ok(oids.to_vec()),
        TableFilter::Names(names) => {
            let (schemas, names) = split(names);
            let sql = include_str!("oids_by_name.sql");
            query(client, QUESTION, sql, &[&schemas, &names]).await?
        }
        TableFilter::Schemas(schemas) => {
            query(client, QUESTION, include_str!("oids_in_schemas.sql"), &[&schemas]).await?
        }
    };
    rows.iter().map(|row| Cells::new(row, QUESTION).next()).collect()
}

async fn read_tables(client: &Client, oids: &[Oid]) -> Result<Vec<TableInfo>, CatalogError> {
    const QUESTION: &str = "its tables";
    let rows = query(client, QUESTION, include_str!("tables.sql"), &[&oids]).await?;
    let table = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(TableInfo {
            oid: cells.next()?,
            name: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
            kind: match cells.next_char()? {
                'r' => RelationKind::Table,
                'p' => RelationKind::Partitioned,
                _ => RelationKind::Other,
            },
            is_partition: cells.next()?,
            is_permanent: cells.next_char()? == 'p',
            identity: match cells.next_char()? {
                'd' => ReplicaIdentity::Default,
                'n' => ReplicaIdentity::Nothing,
                'f' => ReplicaIdentity::Full,
                'i' => ReplicaIdentity::Index,
                other => return Err(cells.unknown(other)),
            },
            columns: Vec::new(),
            indexes: Vec::new(),
            sequences: Vec::new(),
            row_filters: BTreeMap::new(),
            has_foreign_keys: cells.next()?,
            row_security_active: cells.next()?,
            is_owner: cells.next()?,
            owner: cells.next()?,
            heap_bytes: u64::try_from(cells.next::<i64>()?).unwrap_or(0),
            table_bytes: u64::try_from(cells.next::<i64>()?).unwrap_or(0),
            estimated_rows: estimate(cells.next()?),
            filenode: cells.next()?,
            attribute_count: cells.next()?,
            is_heap: cells.next()?,
            partition_ancestors: cells.next()?,
            has_leaf_without_identity: cells.next()?,
            needs_generated_published: cells.next()?,
            has_before_triggers: cells.next()?,
        })
    };
    rows.iter().map(table).collect()
}

/// `reltuples`: -1 is "never counted".
fn estimate(reltuples: f32) -> Option<u64> {
    (reltuples >= 0.0).then_some(reltuples as u64)
}

type ByTable<T> = HashMap<Oid, Vec<T>>;

async fn read_columns(client: &Client, oids: &[Oid]) -> Result<ByTable<ColumnInfo>, CatalogError> {
    const QUESTION: &str = "its columns";
    let sql = with_types(include_str!("columns.sql"));
    let rows = query(client, QUESTION, &sql, &[&oids]).await?;
    described(client, QUESTION, &rows).await
}

/// A question about columns, with what both ask of a column's type.
fn with_types(sql: &str) -> String {
    sql.replace("{type values}", include_str!("column_type_values.sql").trim_end())
        .replace("{type tables}", include_str!("column_type_tables.sql").trim_end())
}

/// A column of a query's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    pub name: String,
    pub type_oid: Oid,
    pub type_modifier: i32,
}

/// What a table's columns of these types are like, in the same order. A type that the server does not
/// have leaves its column out.
pub async fn result_columns(
    client: &Client,
    columns: &[ResultColumn],
) -> Result<Vec<ColumnInfo>, CatalogError> {
    const QUESTION: &str = "types of a query's columns";
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let types: Vec<Oid> = columns.iter().map(|column| column.type_oid).collect();
    let modifiers: Vec<i32> = columns.iter().map(|column| column.type_modifier).collect();
    let sql = with_types(include_str!("result_columns.sql"));
    let rows = query(client, QUESTION, &sql, &[&names, &types, &modifiers]).await?;
    let mut columns = described(client, QUESTION, &rows).await?;
    Ok(columns.remove(&0).unwrap_or_default())
}

/// Types by the names that `format_type` gives them; `None` where there is none.
pub async fn types_by_name(
    client: &Client,
    names: &[String],
) -> Result<Vec<Option<Oid>>, CatalogError> {
    const QUESTION: &str = "its types";
    const SQL: &str = "SELECT pg_catalog.to_regtype(w.name)::pg_catalog.oid \
         FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS w (name, number) ORDER BY w.number";
    let rows = query(client, QUESTION, SQL, &[&names]).await?;
    rows.iter().map(|row| Cells::new(row, QUESTION).next()).collect()
}

async fn described(
    client: &Client,
    question: &'static str,
    rows: &[Row],
) -> Result<ByTable<ColumnInfo>, CatalogError> {
    let mut columns: ByTable<ColumnInfo> = HashMap::new();
    for row in rows {
        let (table, column) = column(row, question)?;
        columns.entry(table).or_default().push(column);
    }
    know_types(client, columns.values_mut().flatten().collect()).await?;
    Ok(columns)
}

/// A type's values, described as a column's without a name; none for a type that no column has.
pub async fn result_type(
    client: &Client,
    (type_oid, type_modifier): (Oid, i32),
) -> Result<Option<ColumnInfo>, CatalogError> {
    let column = ResultColumn { name: String::new(), type_oid, type_modifier };
    let described = result_columns(client, &[column]).await?.pop();
    Ok(described.filter(|column| column.type_kind != 'p'))
}

async fn know_types(client: &Client, columns: Vec<&mut ColumnInfo>) -> Result<(), CatalogError> {
    let mut types: Vec<Oid> =
        columns.iter().flat_map(|column| [column.type_oid, column.leaf.type_oid]).collect();
    types.sort_unstable();
    types.dedup();
    let forms = read_types(client, &types).await?;
    for column in columns {
        if let Some(form) = forms.get(&column.type_oid) {
            column.has_binary = form.has_binary;
            column.has_money = form.has_money;
            column.type_shape.clone_from(&form.shape);
            column.equality.clone_from(&form.equality);
        }
        if let Some(form) = forms.get(&column.leaf.type_oid) {
            column.leaf.shape.clone_from(&form.shape);
        }
    }
    Ok(())
}

fn column(row: &Row, question: &'static str) -> Result<(Oid, ColumnInfo), CatalogError> {
    let mut cells = Cells::new(row, question);
    let table = cells.next()?;
    let column = ColumnInfo {
        number: cells.next()?,
        name: cells.next()?,
        type_oid: cells.next()?,
        type_modifier: cells.next()?,
        type_name: cells.next()?,
        base_type_name: cells.next()?,
        type_qualified: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
        array_type_oid: cells.next()?,
        type_kind: cells.next_char()?,
        has_binary: false,
        type_shape: String::new(),
        equality: None,
        leaf: Leaf {
            type_oid: cells.next()?,
            type_modifier: cells.next()?,
            array_depth: cells.next()?,
            name: cells.next()?,
            kind: cells.next_char()?,
            shape: String::new(),
        },
        has_money: false,
        not_null: cells.next()?,
        default: cells.next()?,
        identity: match cells.next_char()? {
            '\0' => Identity::No,
            'a' => Identity::Always,
            'd' => Identity::ByDefault,
            other => return Err(cells.unknown(other)),
        },
        generated: match cells.next_char()? {
            '\0' => Generated::No,
            's' => Generated::Stored,
            'v' => Generated::Virtual,
            other => return Err(cells.unknown(other)),
        },
        is_published_generated: false,
        generation: cells.next()?,
        collation: cells.next_name()?,
        base_collation: cells.next_name()?,
        expression_has_dependencies: cells.next()?,
        expression_columns: cells.next()?,
    };
    Ok((table, column))
}

/// How a type's values travel.
struct TypeForm {
    has_binary: bool,
    has_money: bool,
    shape: String,
    equality: Option<String>,
}

async fn read_types(
    client: &Client,
    types: &[Oid],
) -> Result<HashMap<Oid, TypeForm>, CatalogError> {
    const QUESTION: &str = "its types";
    let rows = query(client, QUESTION, include_str!("types.sql"), &[&types]).await?;
    let form = |row| {
        let mut cells = Cells::new(row, QUESTION);
        let oid = cells.next()?;
        let has_functions: bool = cells.next()?;
        let parts: Vec<Oid> = cells.next()?;
        let has_money = parts.contains(&MONEY);
        let has_binary = has_functions && !parts.into_iter().any(is_text_only);
        let shape = cells.next()?;
        let equality = match (cells.next::<Option<String>>()?, cells.next::<Option<String>>()?) {
            (Some(schema), Some(name)) => Some(operator(&schema, &name)),
            _ => None,
        };
        Ok((oid, TypeForm { has_binary, has_money, shape, equality }))
    };
    rows.iter().map(form).collect()
}

async fn read_indexes(client: &Client, oids: &[Oid]) -> Result<ByTable<IndexInfo>, CatalogError> {
    const QUESTION: &str = "its indexes";
    let rows = query(client, QUESTION, include_str!("indexes.sql"), &[&oids]).await?;
    let mut indexes: ByTable<IndexInfo> = HashMap::new();
    for row in &rows {
        let mut cells = Cells::new(row, QUESTION);
        let table = cells.next()?;
        indexes.entry(table).or_default().push(IndexInfo {
            name: cells.next()?,
            is_primary: cells.next()?,
            is_unique: cells.next()?,
            is_exclusion: cells.next()?,
            is_immediate: cells.next()?,
            is_valid: cells.next()?,
            is_partial: cells.next()?,
            is_replica_identity: cells.next()?,
            columns: cells.next()?,
            constraint: match (cells.next::<Option<String>>()?, cells.next::<Option<String>>()?) {
                (Some(name), Some(definition)) => Some((name, definition)),
                _ => None,
            },
            nulls_are_equal: cells.next()?,
            read_columns: cells.next()?,
        });
    }
    Ok(indexes)
}

async fn read_sequences(
    client: &Client,
    oids: &[Oid],
) -> Result<ByTable<SequenceInfo>, CatalogError> {
    const QUESTION: &str = "its sequences";
    let rows = query(client, QUESTION, include_str!("sequences.sql"), &[&oids]).await?;
    let mut sequences: ByTable<SequenceInfo> = HashMap::new();
    for row in &rows {
        let mut cells = Cells::new(row, QUESTION);
        let table = cells.next()?;
        sequences.entry(table).or_default().push(SequenceInfo {
            column: cells.next()?,
            name: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
            type_name: cells.next()?,
            start: cells.next()?,
            increment: cells.next()?,
            min: cells.next()?,
            max: cells.next()?,
            cache: cells.next()?,
            cycle: cells.next()?,
            is_owned: cells.next()?,
        });
    }
    Ok(sequences)
}
