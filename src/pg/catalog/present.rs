//! What a destination has already of all that belongs to tables: four questions.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio_postgres::Client;

use super::CatalogError;
use super::structure::rows;

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct PresentRows {
    pub server: ServerAbilities,
    pub relations: Vec<PresentRelation>,
    pub constraints: Vec<PresentConstraint>,
    pub objects: Vec<PresentObject>,
}

/// What a server is able to, as far as structure goes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ServerAbilities {
    pub major_version: i32,
    pub schemas: Vec<String>,
    pub access_methods: Vec<String>,
    /// Names of the system's own functions.
    pub functions: Vec<String>,
    /// Which extensions there are, and in which schema.
    pub extensions: BTreeMap<String, String>,
    pub has_lz4: bool,
    pub has_icu: bool,
}

/// A table, index, sequence, view, ….
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PresentRelation {
    pub schema: String,
    pub name: String,
    /// `relkind`.
    pub kind: String,
    /// An index's table: schema and name.
    pub of_table: Option<(String, String)>,
    pub is_primary: bool,
    pub is_valid: bool,
    /// What it is a partition or child of.
    pub parents: Vec<(String, String)>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PresentConstraint {
    pub schema: String,
    pub table: String,
    pub name: String,
    /// `contype`.
    pub kind: String,
    pub is_validated: bool,
}

/// A type, collation, function, ….
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PresentObject {
    pub kind: String,
    pub schema: String,
    /// A type's, collation's or statistics' name, anything else's identity.
    pub name: String,
    /// An enum's.
    pub labels: Vec<String>,
}

/// What the server is able to.
pub async fn abilities(client: &Client) -> Result<ServerAbilities, CatalogError> {
    let sql = include_str!("structure/present_server.sql");
    let mut found = rows(client, "its abilities", sql, &[]).await?;
    Ok(found.pop().unwrap_or_default())
}

/// Looks at `schemas`, at those that extensions are in, and for objects by their bare `names`.
pub async fn present(
    client: &Client,
    schemas: &[String],
    names: &[String],
) -> Result<PresentRows, CatalogError> {
    let relations = include_str!("structure/present_relations.sql");
    let constraints = include_str!("structure/present_constraints.sql");
    let objects = include_str!("structure/present_objects.sql");
    let server = abilities(client).await?;
    let of_extensions = server.extensions.values().filter(|schema| *schema != "pg_catalog");
    let with_types: Vec<&String> = schemas.iter().chain(of_extensions).collect();
    Ok(PresentRows {
        relations: rows(client, "its relations", relations, &[&schemas]).await?,
        constraints: rows(client, "its constraints", constraints, &[&schemas]).await?,
        objects: rows(client, "its types", objects, &[&with_types, &names]).await?,
        server,
    })
}
