//! Publications: what they are made of, and what they publish in the end.

use tokio_postgres::Client;

use super::{CatalogError, Cells, query};
use crate::pg::ident::QualifiedName;

/// One publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationInfo {
    pub name: String,
    pub owner: String,
    /// Whether our role owns it (or is a member of the owner): may alter it.
    pub is_owner: bool,
    pub all_tables: bool,
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
    pub truncate: bool,
    /// `publish_via_partition_root`.
    pub via_root: bool,
    /// Tables it names itself (`FOR TABLE`); schemas and `FOR ALL TABLES` are not resolved here.
    pub members: Vec<QualifiedName>,
}

/// One table of one publication, after schemas, partitions and `FOR ALL TABLES` are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedTable {
    pub publication: String,
    pub table: QualifiedName,
    /// Column names that are published; `None` on version 14, which publishes all. Versions before
    /// 18 name stored generated columns here and do not send them.
    pub columns: Option<Vec<String>>,
    pub row_filter: Option<String>,
}

/// Those of `names` that exist.
pub async fn publications(
    client: &Client,
    names: &[String],
) -> Result<Vec<PublicationInfo>, CatalogError> {
    const QUESTION: &str = "its publications";
    let rows = query(client, QUESTION, include_str!("publications.sql"), &[&names]).await?;
    let publication = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(PublicationInfo {
            name: cells.next()?,
            owner: cells.next()?,
            is_owner: cells.next()?,
            all_tables: cells.next()?,
            insert: cells.next()?,
            update: cells.next()?,
            delete: cells.next()?,
            truncate: cells.next()?,
            via_root: cells.next()?,
            members: Vec::new(),
        })
    };
    let mut publications: Vec<PublicationInfo> =
        rows.iter().map(publication).collect::<Result<_, _>>()?;
    let rows = query(client, QUESTION, include_str!("publication_members.sql"), &[&names]).await?;
    for row in &rows {
        let mut cells = Cells::new(row, QUESTION);
        let name: String = cells.next()?;
        let member = QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?);
        if let Some(publication) = publications.iter_mut().find(|p| p.name == name) {
            publication.members.push(member);
        }
    }
    Ok(publications)
}

/// What the publications publish, table by table.
pub async fn publication_tables(
    client: &Client,
    names: &[String],
) -> Result<Vec<PublishedTable>, CatalogError> {
    const QUESTION: &str = "its publications' tables";
    let rows = query(client, QUESTION, include_str!("publication_tables.sql"), &[&names]).await?;
    let table = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(PublishedTable {
            publication: cells.next()?,
            table: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
            columns: cells.next()?,
            row_filter: cells.next()?,
        })
    };
    rows.iter().map(table).collect()
}
