//! What stands in the way of filling tables anew: rows that refer to theirs, indexes half built.

use tokio_postgres::Client;

use super::names::split;
use super::{CatalogError, Cells, query, query_one};
use crate::pg::ident::{QualifiedName, identifier};

/// A foreign key of a table that refers to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    pub referred: QualifiedName,
    pub table: QualifiedName,
    pub constraint: String,
    pub columns: Vec<String>,
    /// Our role may look at the table's rows.
    pub can_select: bool,
}

/// Foreign keys of tables other than `tables` that refer to one of them.
pub async fn referrers(
    client: &Client,
    tables: &[QualifiedName],
) -> Result<Vec<Referrer>, CatalogError> {
    const QUESTION: &str = "tables that refer to others";
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let (schemas, names) = split(tables);
    let sql = include_str!("referrers.sql");
    let rows = query(client, QUESTION, sql, &[&schemas, &names]).await?;
    let referrer = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(Referrer {
            referred: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
            table: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
            constraint: cells.next()?,
            columns: cells.next()?,
            can_select: cells.next()?,
        })
    };
    rows.iter().map(referrer).collect()
}

/// A foreign key between two tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub table: QualifiedName,
    pub referred: QualifiedName,
}

/// Which of `tables` refers to which of them.
pub async fn references(
    client: &Client,
    tables: &[QualifiedName],
) -> Result<Vec<Reference>, CatalogError> {
    const QUESTION: &str = "foreign keys between tables";
    let (schemas, names) = split(tables);
    let sql = include_str!("references.sql");
    let rows = query(client, QUESTION, sql, &[&schemas, &names]).await?;
    let reference = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(Reference {
            table: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
            referred: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
        })
    };
    rows.iter().map(reference).collect()
}

/// Whether a row of the table does refer: a foreign key with a NULL in it refers to nothing.
pub async fn does_refer(client: &Client, referrer: &Referrer) -> Result<bool, CatalogError> {
    const QUESTION: &str = "rows that refer to others";
    let columns = referrer.columns.iter().map(|column| identifier(column));
    let are_set: Vec<String> = columns.map(|column| format!("{column} IS NOT NULL")).collect();
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} WHERE {})",
        referrer.table.sql(),
        are_set.join(" AND ")
    );
    let row = query_one(client, QUESTION, &sql, &[]).await?;
    Cells::new(&row, QUESTION).next()
}

/// Indexes of `tables` whose names begin with `prefix` and that no constraint owns.
pub async fn loose_indexes(
    client: &Client,
    tables: &[QualifiedName],
    prefix: &str,
) -> Result<Vec<QualifiedName>, CatalogError> {
    const QUESTION: &str = "indexes without a constraint";
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let (schemas, names) = split(tables);
    let sql = include_str!("loose_indexes.sql");
    let rows = query(client, QUESTION, sql, &[&schemas, &names, &prefix]).await?;
    let name = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?))
    };
    rows.iter().map(name).collect()
}

/// Whether our role may make temporary tables in this database.
pub async fn may_make_temporary_tables(client: &Client) -> Result<bool, CatalogError> {
    const QUESTION: &str = "its privileges on the database";
    let sql =
        "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')";
    let row = query_one(client, QUESTION, sql, &[]).await?;
    Cells::new(&row, QUESTION).next()
}
