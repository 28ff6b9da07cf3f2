//! Publications as the catalog has them: options, members, schemas. What they publish in the end is
//! worked out in `source::publication`, by the walsender's own rules.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::{CatalogError, Cells, query};
use crate::pg::ident::QualifiedName;
use crate::pg::oid::Oid;

/// One publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationInfo {
    pub oid: Oid,
    /// `xmin` of its row: another one after every change of an option or of the owner.
    pub version: String,
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
    /// `publish_generated_columns = stored` (18 and up).
    pub generated: bool,
    /// Tables it names itself (`FOR TABLE`).
    pub members: Vec<PublicationMember>,
    /// Schemas it publishes whole (`FOR TABLES IN SCHEMA`, 15 and up).
    pub schemas: Vec<PublicationSchema>,
}

/// A table that a publication names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationMember {
    /// Of the membership: a table that is removed and added again has another one.
    pub oid: Oid,
    pub relation: Oid,
    pub name: QualifiedName,
    /// The column list in `attnum` order; `None` where there is none.
    pub columns: Option<Vec<String>>,
    /// The row filter, under an empty search path.
    pub filter: Option<String>,
    /// Left out of `FOR ALL TABLES` (19 and up).
    pub is_exception: bool,
}

/// A schema that a publication publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationSchema {
    pub oid: Oid,
    pub name: String,
}

const QUESTION: &str = "its publications";

/// Those of `names` that exist.
pub async fn publications(
    client: &Client,
    names: &[String],
) -> Result<Vec<PublicationInfo>, CatalogError> {
    let rows = query(client, QUESTION, include_str!("publications.sql"), &[&names]).await?;
    let mut narrows = false;
    let mut publications = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = Cells::new(row, QUESTION);
        publications.push(PublicationInfo {
            oid: cells.next()?,
            version: cells.next()?,
            name: cells.next()?,
            owner: cells.next()?,
            is_owner: cells.next()?,
            all_tables: cells.next()?,
            insert: cells.next()?,
            update: cells.next()?,
            delete: cells.next()?,
            truncate: cells.next()?,
            via_root: cells.next()?,
            generated: cells.next()?,
            members: Vec::new(),
            schemas: Vec::new(),
        });
        narrows = cells.next()?;
    }
    if publications.is_empty() {
        return Ok(publications);
    }
    read_members(client, names, &mut publications).await?;
    if narrows {
        read_narrowings(client, names, &mut publications).await?;
        read_schemas(client, names, &mut publications).await?;
    }
    Ok(publications)
}

async fn read_members(
    client: &Client,
    names: &[String],
    publications: &mut [PublicationInfo],
) -> Result<(), CatalogError> {
    let rows = query(client, QUESTION, include_str!("publication_members.sql"), &[&names]).await?;
    for row in &rows {
        let mut cells = Cells::new(row, QUESTION);
        let of: Oid = cells.next()?;
        let member = PublicationMember {
            oid: cells.next()?,
            relation: cells.next()?,
            name: QualifiedName::new(cells.next::<String>()?, cells.next::<String>()?),
            columns: None,
            filter: None,
            is_exception: cells.next()?,
        };
        if let Some(publication) = publications.iter_mut().find(|p| p.oid == of) {
            publication.members.push(member);
        }
    }
    Ok(())
}

async fn read_narrowings(
    client: &Client,
    names: &[String],
    publications: &mut [PublicationInfo],
) -> Result<(), CatalogError> {
    let sql = include_str!("publication_narrowings.sql");
    let mut narrowings = HashMap::new();
    for row in &query(client, QUESTION, sql, &[&names]).await? {
        let mut cells = Cells::new(row, QUESTION);
        let member: Oid = cells.next()?;
        let narrowing: (Option<Vec<String>>, Option<String>) = (cells.next()?, cells.next()?);
        narrowings.insert(member, narrowing);
    }
    for member in publications.iter_mut().flat_map(|publication| &mut publication.members) {
        if let Some((columns, filter)) = narrowings.remove(&member.oid) {
            (member.columns, member.filter) = (columns, filter);
        }
    }
    Ok(())
}

async fn read_schemas(
    client: &Client,
    names: &[String],
    publications: &mut [PublicationInfo],
) -> Result<(), CatalogError> {
    let rows = query(client, QUESTION, include_str!("publication_schemas.sql"), &[&names]).await?;
    for row in &rows {
        let mut cells = Cells::new(row, QUESTION);
        let of: Oid = cells.next()?;
        let schema = PublicationSchema { oid: cells.next()?, name: cells.next()? };
        if let Some(publication) = publications.iter_mut().find(|p| p.oid == of) {
            publication.schemas.push(schema);
        }
    }
    Ok(())
}

/// Those of `names`, by OID, that may be younger than what `slot` has yet to send.
pub async fn young_publications(
    client: &Client,
    slot: &str,
    names: &[String],
) -> Result<Vec<(Oid, String)>, CatalogError> {
    let sql = include_str!("young_publications.sql");
    let rows = query(client, QUESTION, sql, &[&slot, &names]).await?;
    let publication = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok((cells.next()?, cells.next()?))
    };
    rows.iter().map(publication).collect()
}

/// A partition and the table directly above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLink {
    pub partition: Oid,
    pub parent: Oid,
    /// `xmin` of the link: another one after DETACH and ATTACH.
    pub version: String,
    /// `CREATE TABLE … PARTITION OF`: no row can have been in it before.
    pub is_born: bool,
}

/// Every partition of the database.
pub async fn partition_links(client: &Client) -> Result<Vec<PartitionLink>, CatalogError> {
    const QUESTION: &str = "its partitions";
    let rows = query(client, QUESTION, include_str!("partition_links.sql"), &[]).await?;
    let link = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok(PartitionLink {
            partition: cells.next()?,
            parent: cells.next()?,
            version: cells.next()?,
            is_born: cells.next()?,
        })
    };
    rows.iter().map(link).collect()
}

/// Those of `tables` whose updates and deletes cannot be published. Asked of the tables that hold
/// rows and of partitioned ones alike: an update is checked against both.
pub async fn without_identity(client: &Client, tables: &[Oid]) -> Result<Vec<Oid>, CatalogError> {
    const QUESTION: &str = "its tables' identities";
    let rows = query(client, QUESTION, include_str!("without_identity.sql"), &[&tables]).await?;
    rows.iter().map(|row| Cells::new(row, QUESTION).next()).collect()
}

/// Updates and deletes of each of `tables` so far, by the server's statistics.
pub async fn writes(client: &Client, tables: &[Oid]) -> Result<Vec<(Oid, i64)>, CatalogError> {
    const QUESTION: &str = "its statistics";
    let rows = query(client, QUESTION, include_str!("writes.sql"), &[&tables]).await?;
    let count = |row| {
        let mut cells = Cells::new(row, QUESTION);
        Ok((cells.next()?, cells.next()?))
    };
    rows.iter().map(count).collect()
}
