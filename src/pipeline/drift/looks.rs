//! Looks at the source's catalog that are known to be of the past.
//!
//! A description in the stream is older than any look at the catalog, by how much nobody knows. But
//! a transaction that commits behind the WAL position of a look describes its tables as they were
//! then, or later: whoever changed a table before the look held a lock until it had committed, and
//! nobody wrote rows meanwhile. So looks are remembered with their position and used only for what
//! comes behind it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::checkpoint::shape::SourceShape;
use crate::pg::catalog::CatalogError;
use crate::pg::catalog::shapes::{self, TableShape};
use crate::pg::client::Client;
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;
use crate::pipeline::drift::judge::moved_on;

/// One table as it was at or before `lsn`.
#[derive(Clone, Debug)]
struct Look {
    lsn: Lsn,
    shape: Arc<TableShape>,
}

/// The last look at each table. Cheap to clone: every clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Looks(Arc<RwLock<HashMap<Oid, Look>>>);

impl Looks {
    /// Looks at these tables; gives those that are gone. Attributes are read again only where their
    /// number or a file is another: what a rename changes does not matter here.
    pub async fn look(&self, source: &Client, oids: &[Oid]) -> Result<Vec<Oid>, CatalogError> {
        let files = shapes::files(source, oids).await?;
        let changed: Vec<Oid> = files
            .iter()
            .filter(|(oid, (count, files))| {
                self.shape(**oid)
                    .is_none_or(|shape| shape.attribute_count != *count || shape.files != *files)
            })
            .map(|(oid, _)| *oid)
            .collect();
        let read = match changed.is_empty() {
            true => HashMap::new(),
            false => shapes::shapes(source, &changed).await?,
        };
        // After the catalog was read: what it showed had committed before.
        let lsn = shapes::insert_lsn(source).await?;
        let mut looks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (oid, shape) in read {
            looks.insert(oid, Look { lsn, shape: Arc::new(shape) });
        }
        for oid in files.keys().filter(|oid| !changed.contains(oid)) {
            if let Some(look) = looks.get_mut(oid) {
                look.lsn = lsn;
            }
        }
        Ok(oids.iter().filter(|oid| !files.contains_key(oid)).copied().collect())
    }

    pub fn shape(&self, oid: Oid) -> Option<Arc<TableShape>> {
        let looks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        looks.get(&oid).map(|look| Arc::clone(&look.shape))
    }

    /// What is known of a table, moved on to its last look, for a transaction that commits at
    /// `commit_lsn`. `None`: as it was.
    pub fn moved_on(&self, oid: Oid, known: &SourceShape, commit_lsn: Lsn) -> Option<SourceShape> {
        let looks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let look = looks.get(&oid).filter(|look| look.lsn <= commit_lsn)?;
        moved_on(known, &look.shape)
    }
}
