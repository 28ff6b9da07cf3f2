//! What a server is, allows and has left.

use tokio_postgres::Client;

use super::{CatalogError, Cells, query_one};
use crate::pg::oid::Oid;

/// One look at a server, its database and our role there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// `server_version_num`: 150018 is 15.18.
    pub version_num: i32,
    /// As the server writes it.
    pub version: String,
    /// `None` where the role may not ask; the source tells it by `IDENTIFY_SYSTEM` too.
    pub system_identifier: Option<String>,
    pub in_recovery: bool,
    /// The level in force (`effective_wal_level` where the server has it, else `wal_level`).
    pub wal_level: String,
    pub max_replication_slots: i32,
    pub used_replication_slots: i32,
    pub max_wal_senders: i32,
    pub used_wal_senders: i32,
    pub database_oid: Oid,
    pub database: String,
    pub encoding: String,
    pub lc_monetary: String,
    pub role: String,
    pub is_superuser: bool,
    /// May open replication connections: the attribute, superuser, or a managed service's role.
    pub has_replication: bool,
    /// CREATE on the database: schemas and publications.
    pub can_create_in_database: bool,
    /// New sessions of this role or database are read-only unless they ask otherwise.
    pub is_read_only_by_default: bool,
    pub has_large_objects: bool,
}

impl ServerFacts {
    /// 14, 15, ….
    pub fn major_version(&self) -> i32 {
        self.version_num / 10_000
    }

    pub fn free_replication_slots(&self) -> i32 {
        self.max_replication_slots - self.used_replication_slots
    }

    pub fn free_wal_senders(&self) -> i32 {
        self.max_wal_senders - self.used_wal_senders
    }

    /// Whether both are one database of one cluster. Unknown system identifiers are never the
    /// same: a finding says so where it matters.
    pub fn is_same_database(&self, other: &ServerFacts) -> bool {
        self.system_identifier.is_some()
            && self.system_identifier == other.system_identifier
            && self.database_oid == other.database_oid
    }
}

pub async fn server_facts(client: &Client) -> Result<ServerFacts, CatalogError> {
    const QUESTION: &str = "its settings";
    let row = query_one(client, QUESTION, include_str!("server_facts.sql"), &[]).await?;
    let mut cells = Cells::new(&row, QUESTION);
    let mut facts = ServerFacts {
        version_num: cells.next()?,
        version: cells.next()?,
        system_identifier: None,
        in_recovery: cells.next()?,
        wal_level: cells.next()?,
        max_replication_slots: cells.next()?,
        used_replication_slots: cells.next()?,
        max_wal_senders: cells.next()?,
        used_wal_senders: cells.next()?,
        database_oid: cells.next()?,
        database: cells.next()?,
        encoding: cells.next()?,
        lc_monetary: cells.next()?,
        role: cells.next()?,
        is_superuser: cells.next()?,
        has_replication: cells.next()?,
        can_create_in_database: cells.next()?,
        is_read_only_by_default: false,
        has_large_objects: false,
    };
    let may_ask_for_identifier: bool = cells.next()?;
    facts.is_read_only_by_default = cells.next()?;
    facts.has_large_objects = cells.next()?;
    if may_ask_for_identifier {
        facts.system_identifier = Some(system_identifier(client).await?);
    }
    Ok(facts)
}

/// Unsigned 64 bits that the server shows as `int8`: the text is the unsigned form, as
/// `IDENTIFY_SYSTEM` prints it.
async fn system_identifier(client: &Client) -> Result<String, CatalogError> {
    const QUESTION: &str = "its system identifier";
    let row = query_one(client, QUESTION, include_str!("system_identifier.sql"), &[]).await?;
    let identifier: i64 = Cells::new(&row, QUESTION).next()?;
    Ok(identifier.cast_unsigned().to_string())
}
