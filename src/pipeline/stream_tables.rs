//! The tables of one stream: what happens to each one's changes.
//!
//! A table is planned when its description first arrives, and again whenever the description
//! changes; the destination is asked only then. A table that the publication has and the settings
//! do not select is left aside.
//!
//! **Invariant:** a change of a table counts only from the table's own consistent point on:
//! transactions whose commit record starts before it are in the table's copy.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::apply::targets::Targets;
use crate::batch::FoldPolicy;
use crate::config::settings::OnTruncate;
use crate::model::change::{Change, RowChange, Truncate};
use crate::model::table::{Table, TableId};
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::{Planner, TablePlan};
use crate::transform::TransformPlan;

/// Source names by table, for whoever counts. Filled as tables appear.
#[derive(Clone, Debug, Default)]
pub struct SourceNames(Arc<RwLock<HashMap<TableId, QualifiedName>>>);

impl SourceNames {
    fn insert(&self, table: TableId, name: QualifiedName) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(table, name);
    }

    pub fn of(&self, table: TableId) -> Option<QualifiedName> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&table).cloned()
    }
}

/// What happens to one table's changes.
#[derive(Debug)]
pub enum StreamTable {
    /// Published, not selected.
    Ignored,
    Followed(Box<Followed>),
}

#[derive(Debug)]
pub struct Followed {
    source: QualifiedName,
    transform: Arc<TransformPlan>,
    policy: FoldPolicy,
    copied_lsn: Lsn,
    on_truncate: OnTruncate,
}

impl StreamTable {
    /// The change as the destination gets it; none where it does not count.
    pub fn take(
        &self,
        change: RowChange,
        commit_lsn: Lsn,
    ) -> Result<Option<(Change, FoldPolicy)>, PipelineError> {
        let StreamTable::Followed(table) = self else { return Ok(None) };
        if commit_lsn < table.copied_lsn {
            return Ok(None);
        }
        let change = table.transform.apply(change).map_err(|error| PipelineError::Data {
            table: table.source.clone(),
            message: error.to_string(),
            lsn: Some(commit_lsn),
        })?;
        let description = Arc::clone(table.transform.table());
        Ok(Some((Change::Row { table: description, change }, table.policy)))
    }
}

/// What a TRUNCATE becomes.
#[derive(Debug)]
pub enum Truncated {
    Apply(Change, FoldPolicy),
    Ignored,
}

/// The tables of one stream.
#[derive(Debug)]
pub struct StreamTables {
    planner: Planner,
    targets: Targets,
    names: SourceNames,
    known: HashMap<TableId, (Arc<Table>, Arc<StreamTable>)>,
}

impl StreamTables {
    pub fn new(planner: Planner, targets: Targets) -> StreamTables {
        StreamTables { planner, targets, names: SourceNames::default(), known: HashMap::new() }
    }

    pub fn names(&self) -> SourceNames {
        self.names.clone()
    }

    /// Source names of the tables that are followed.
    pub fn followed(&self) -> Vec<QualifiedName> {
        self.planner.recorded().cloned().collect()
    }

    /// The plan of a table as described, if it was made already.
    pub fn known(&self, table: &Arc<Table>) -> Option<Arc<StreamTable>> {
        let (described, known) = self.known.get(&table.id)?;
        (Arc::ptr_eq(described, table) || described == table).then(|| Arc::clone(known))
    }

    /// Plans a table that is described for the first time, or anew.
    pub async fn resolve(
        &mut self,
        table: &Arc<Table>,
        commit_lsn: Lsn,
    ) -> Result<Arc<StreamTable>, PipelineError> {
        let planned = self.plan(table).await;
        let planned = Arc::new(planned.map_err(|error| at_commit(error, commit_lsn))?);
        self.known.insert(table.id, (Arc::clone(table), Arc::clone(&planned)));
        Ok(planned)
    }

    async fn plan(&mut self, table: &Arc<Table>) -> Result<StreamTable, PipelineError> {
        let Some(record) = self.planner.record(&table.name).cloned() else {
            tracing::debug!(table = %table.name, "published but not selected: left aside");
            return Ok(StreamTable::Ignored);
        };
        let TablePlan { transform, target, .. } = self.planner.plan_described(table).await?;
        self.names.insert(table.id, table.name.clone());
        let policy = target.policy;
        self.targets.register(Arc::clone(transform.table()), Arc::new(target));
        Ok(StreamTable::Followed(Box::new(Followed {
            source: table.name.clone(),
            transform,
            policy,
            copied_lsn: record.copied_lsn.unwrap_or(Lsn::ZERO),
            on_truncate: self.planner.settings().on_truncate(&table.name),
        })))
    }

    /// What a TRUNCATE of tables that are all known becomes.
    pub fn truncate(
        &self,
        truncate: Truncate,
        commit_lsn: Lsn,
    ) -> Result<Truncated, PipelineError> {
        let mut tables = Vec::with_capacity(truncate.tables.len());
        let mut policy = FoldPolicy::Fold;
        for table in &truncate.tables {
            let Some(known) = self.known(table) else { continue };
            let StreamTable::Followed(followed) = &*known else { continue };
            if commit_lsn < followed.copied_lsn {
                continue;
            }
            match followed.on_truncate {
                OnTruncate::Ignore => {
                    tracing::info!(table = %followed.source, lsn = %commit_lsn, "TRUNCATE ignored (on_truncate)");
                }
                OnTruncate::Halt => {
                    return Err(PipelineError::Schema {
                        table: followed.source.clone(),
                        message: "was truncated at the source, and on_truncate is \"halt\""
                            .to_owned(),
                        lsn: Some(commit_lsn),
                    });
                }
                OnTruncate::Truncate => {
                    policy = followed.policy;
                    tables.push(Arc::clone(followed.transform.table()));
                }
            }
        }
        if tables.is_empty() {
            return Ok(Truncated::Ignored);
        }
        let Truncate { cascade, restart_identity, .. } = truncate;
        let change = Change::Truncate(Truncate { tables, cascade, restart_identity });
        Ok(Truncated::Apply(change, policy))
    }
}

/// A planning error gets the position at which it was met.
fn at_commit(error: PipelineError, commit_lsn: Lsn) -> PipelineError {
    match error {
        PipelineError::Schema { table, message, .. } => {
            PipelineError::Schema { table, message, lsn: Some(commit_lsn) }
        }
        other => other,
    }
}
