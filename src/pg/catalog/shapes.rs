//! A table's attributes as they come and go, and the files that hold its rows.
//!
//! `attnum` names a column for ever: a dropped one keeps its number, one that is added again gets
//! another. A file's number changes when its rows are rewritten. Both are read in one statement.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Row};

use super::{CatalogError, Cells, query};
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;

/// The file of each part that holds rows: the table's own, or its leaves'.
pub type Files = BTreeMap<Oid, Oid>;

/// One attribute, live or dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub number: i16,
    /// A dropped one's is `........pg.dropped.N........`.
    pub name: String,
    pub type_oid: Oid,
    pub type_modifier: i32,
    pub is_dropped: bool,
    pub is_generated: bool,
    pub is_identity: bool,
    /// The value, as text, of rows older than the column (`attmissingval`), by part.
    pub missing: BTreeMap<Oid, Option<String>>,
}

/// A table's attributes and files at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableShape {
    /// `relnatts`: how many it ever had.
    pub attribute_count: i16,
    pub attributes: Vec<Attribute>,
    pub files: Files,
}

impl TableShape {
    pub fn by_number(&self, number: i16) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.number == number)
    }

    /// The live attribute of this name.
    pub fn by_name(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| !attribute.is_dropped && attribute.name == name)
    }
}

/// The shapes of those of `oids` that exist.
pub async fn shapes(
    client: &Client,
    oids: &[Oid],
) -> Result<HashMap<Oid, TableShape>, CatalogError> {
    const QUESTION: &str = "its tables' attributes";
    let rows = query(client, QUESTION, include_str!("shapes.sql"), &[&oids]).await?;
    let mut shapes: HashMap<Oid, TableShape> = HashMap::new();
    for row in &rows {
        let mut cells = Cells::new(row, QUESTION);
        let (oid, attribute_count, files) = head(&mut cells)?;
        let parts: Vec<Oid> = files.keys().copied().collect();
        let shape = shapes.entry(oid).or_insert_with(|| TableShape {
            attribute_count,
            attributes: Vec::new(),
            files,
        });
        // A table without attributes is one row of nothing.
        let Some(number) = cells.next::<Option<i16>>()? else { continue };
        shape.attributes.push(Attribute {
            number,
            name: cells.next()?,
            type_oid: cells.next()?,
            type_modifier: cells.next()?,
            is_dropped: cells.next()?,
            is_generated: cells.next()?,
            is_identity: cells.next()?,
            missing: parts.into_iter().zip(cells.next::<Vec<Option<String>>>()?).collect(),
        });
    }
    Ok(shapes)
}

/// How many attributes each of `oids` ever had, and its files; absent where it is gone.
pub async fn files(
    client: &Client,
    oids: &[Oid],
) -> Result<HashMap<Oid, (i16, Files)>, CatalogError> {
    const QUESTION: &str = "its tables' files";
    let rows = query(client, QUESTION, include_str!("files.sql"), &[&oids]).await?;
    let entry = |row: &Row| {
        let (oid, attribute_count, files) = head(&mut Cells::new(row, QUESTION))?;
        Ok((oid, (attribute_count, files)))
    };
    rows.iter().map(entry).collect()
}

/// Where the next WAL record is written: every commit that was seen before starts below.
pub async fn insert_lsn(client: &Client) -> Result<Lsn, CatalogError> {
    const QUESTION: &str = "its WAL position";
    let row = super::query_one(client, QUESTION, include_str!("insert_lsn.sql"), &[]).await?;
    let lsn: Option<PgLsn> = Cells::new(&row, QUESTION).next()?;
    Ok(lsn.map_or(Lsn::ZERO, Lsn::from))
}

/// Whether changes of one of the transactions may still be hidden from others.
pub async fn is_in_progress(client: &Client, xids: &[u32]) -> Result<bool, CatalogError> {
    const QUESTION: &str = "a transaction's state";
    let xids: Vec<String> = xids.iter().map(u32::to_string).collect();
    let sql = include_str!("in_progress.sql");
    let row = super::query_one(client, QUESTION, sql, &[&xids]).await?;
    Cells::new(&row, QUESTION).next()
}

/// A type as the server writes it.
pub async fn type_name(
    client: &Client,
    type_oid: Oid,
    modifier: i32,
) -> Result<String, CatalogError> {
    const QUESTION: &str = "a type's name";
    let sql = "SELECT pg_catalog.format_type($1, $2)";
    let row = super::query_one(client, QUESTION, sql, &[&type_oid, &modifier]).await?;
    Cells::new(&row, QUESTION).next()
}

/// The first of `names` that is a type there.
pub async fn first_type(client: &Client, names: &[String]) -> Result<Option<String>, CatalogError> {
    const QUESTION: &str = "its types";
    let sql = "SELECT n.name FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY \
               AS n (name, number) WHERE pg_catalog.to_regtype(n.name) IS NOT NULL \
               ORDER BY n.number LIMIT 1";
    let rows = query(client, QUESTION, sql, &[&names]).await?;
    rows.first().map(|row| Cells::new(row, QUESTION).next()).transpose()
}

/// An enum and its labels, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumInfo {
    pub name: QualifiedName,
    pub labels: Vec<String>,
}

/// The enums of a table's columns.
pub async fn enums(client: &Client, table: Oid) -> Result<Vec<EnumInfo>, CatalogError> {
    const QUESTION: &str = "a table's enums";
    let rows = query(client, QUESTION, include_str!("enums.sql"), &[&table]).await?;
    let info = |row: &Row| {
        let mut cells = Cells::new(row, QUESTION);
        let name = QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?);
        Ok(EnumInfo { name, labels: cells.next()? })
    };
    rows.iter().map(info).collect()
}

/// Those of `oids` that exist.
pub async fn present_oids(client: &Client, oids: &[Oid]) -> Result<Vec<Oid>, CatalogError> {
    const QUESTION: &str = "its tables";
    let rows = query(client, QUESTION, include_str!("present_oids.sql"), &[&oids]).await?;
    rows.iter().map(|row| Cells::new(row, QUESTION).next()).collect()
}

fn head(cells: &mut Cells<'_>) -> Result<(Oid, i16, Files), CatalogError> {
    let (oid, attribute_count) = (cells.next()?, cells.next()?);
    let parts: Vec<Oid> = cells.next()?;
    let files: Vec<Oid> = cells.next()?;
    Ok((oid, attribute_count, parts.into_iter().zip(files).collect()))
}
