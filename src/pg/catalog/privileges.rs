//! What our role may do with tables.

use tokio_postgres::Client;

use super::{CatalogError, Cells, query};
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;

/// Our role's privileges on one table, by itself or through a role it is a member of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePrivileges {
    pub oid: Oid,
    pub name: QualifiedName,
    /// USAGE on the table's schema.
    pub schema_usage: bool,
    /// On the whole table; where it is false the column lists tell the rest.
    pub select: bool,
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
    pub truncate: bool,
    /// Columns without SELECT, INSERT, UPDATE; empty where the table's privilege covers them.
    pub no_select: Vec<String>,
    pub no_insert: Vec<String>,
    pub no_update: Vec<String>,
}

/// For each table that exists, ordered by name.
pub async fn privileges(
    client: &Client,
    tables: &[Oid],
) -> Result<Vec<TablePrivileges>, CatalogError> {
    const QUESTION: &str = "our role's privileges";
    let rows = query(client, QUESTION, include_str!("privileges.sql"), &[&tables]).await?;
    let privileges = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(TablePrivileges {
            oid: cells.next()?,
            name: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
            schema_usage: cells.next()?,
            select: cells.next()?,
            insert: cells.next()?,
            update: cells.next()?,
            delete: cells.next()?,
            truncate: cells.next()?,
            no_select: cells.next()?,
            no_insert: cells.next()?,
            no_update: cells.next()?,
        })
    };
    rows.iter().map(privileges).collect()
}

/// Whether our role may make temporary tables in this database.
pub async fn may_use_temporary(client: &Client) -> Result<bool, CatalogError> {
    const QUESTION: &str = "our role's privileges";
    const SQL: &str = "SELECT pg_catalog.has_database_privilege(\
         pg_catalog.current_database(), 'TEMPORARY')";
    let row = super::query_one(client, QUESTION, SQL, &[]).await?;
    Cells::new(&row, QUESTION).next()
}

/// A sequence that a column's default reads and that our role may not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSequence {
    pub table: Oid,
    pub column: String,
    pub name: QualifiedName,
}

/// For each table that exists; identity columns read theirs without a privilege.
pub async fn closed_sequences(
    client: &Client,
    tables: &[Oid],
) -> Result<Vec<ClosedSequence>, CatalogError> {
    const QUESTION: &str = "our role's privileges";
    let rows = query(client, QUESTION, include_str!("closed_sequences.sql"), &[&tables]).await?;
    let sequence = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(ClosedSequence {
            table: cells.next()?,
            column: cells.next()?,
            name: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
        })
    };
    rows.iter().map(sequence).collect()
}

/// Tables of a schema that our role may not read and write as its own.
pub async fn closed_tables(client: &Client, schema: &str) -> Result<Vec<String>, CatalogError> {
    const QUESTION: &str = "our role's privileges";
    let rows = query(client, QUESTION, include_str!("closed_tables.sql"), &[&schema]).await?;
    rows.iter().map(|row| Cells::new(row, QUESTION).next()).collect()
}
