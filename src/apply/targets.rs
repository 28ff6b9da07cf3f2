//! The targets of the tables that have appeared in the stream: registered by the reader, looked up
//! by the applier while batches of an earlier description may still be on their way.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::apply::error::ApplyError;
use crate::apply::target::Target;
use crate::model::table::{Table, TableId};
use crate::pg::ident::QualifiedName;

/// Descriptions kept a table. Batches on their way are few, so two would do; a schema that changes
/// more often than this within one batch is refused as a lost plan, never written wrongly.
const DESCRIPTIONS_MAX: usize = 64;

type Described = Vec<(Arc<Table>, Arc<Target>)>;

#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<RwLock<HashMap<TableId, Described>>>);

impl Targets {
    pub fn register(&self, table: Arc<Table>, target: Arc<Target>) {
        let mut targets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let described = targets.entry(table.id).or_default();
        described.retain(|(known, _)| **known != *table);
        if described.len() >= DESCRIPTIONS_MAX {
            described.remove(0);
        }
        described.push((table, target));
    }

    /// The names of the columns that identify rows of a destination's table.
    pub fn key_columns(&self, destination: &QualifiedName) -> Vec<String> {
        let targets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut described = targets.values().flatten();
        let found = described.find(|(_, target)| target.name == *destination);
        found.map_or_else(Vec::new, |(_, target)| {
            target.key_columns().map(|column| column.name.clone()).collect()
        })
    }

    pub fn of(&self, table: &Arc<Table>) -> Result<Arc<Target>, ApplyError> {
        let targets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let described = targets.get(&table.id).map_or(&[][..], Vec::as_slice);
        described
            .iter()
            .rev()
            .find(|(known, _)| Arc::ptr_eq(known, table) || known == table)
            .map(|(_, target)| Arc::clone(target))
            .ok_or_else(|| ApplyError::NoTarget { table: table.name.clone() })
    }
}
