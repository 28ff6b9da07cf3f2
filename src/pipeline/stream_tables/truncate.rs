//! What a TRUNCATE becomes, as each of its tables has it (`on_truncate`).

use std::sync::Arc;

use super::{StreamTable, StreamTables};
use crate::batch::FoldPolicy;
use crate::config::settings::OnTruncate;
use crate::model::change::{Change, Truncate};
use crate::pg::ident::QualifiedName;
use crate::pg::lsn::Lsn;
use crate::pipeline::error::PipelineError;

#[derive(Debug)]
pub struct Truncated {
    /// Of the tables that are emptied.
    pub change: Option<(Change, FoldPolicy)>,
    /// Tables that keep their rows (`on_truncate`), by the source's names.
    pub ignored: Vec<QualifiedName>,
}

impl StreamTables {
    /// What a TRUNCATE of tables that are all known becomes.
    pub fn truncate(
        &self,
        truncate: Truncate,
        commit_lsn: Lsn,
    ) -> Result<Truncated, PipelineError> {
        let mut tables = Vec::with_capacity(truncate.tables.len());
        let mut policy = FoldPolicy::Fold;
        let mut ignored = Vec::new();
        for table in &truncate.tables {
            let Some(known) = self.known(table, commit_lsn) else { continue };
            let StreamTable::Followed(followed) = &*known else { continue };
            if commit_lsn < followed.copied_lsn {
                continue;
            }
            match followed.on_truncate {
                OnTruncate::Ignore => {
                    tracing::info!(table = %followed.source, lsn = %commit_lsn, "TRUNCATE ignored (on_truncate)");
                    ignored.push(followed.source.clone());
                }
                OnTruncate::Halt => {
                    return Err(held_truncate(&followed.source, commit_lsn));
                }
                OnTruncate::Truncate => {
                    policy = followed.policy;
                    tables.push(Arc::clone(followed.transform.table()));
                }
            }
        }
        let Truncate { cascade, restart_identity, .. } = truncate;
        let is_empty = tables.is_empty();
        let change = Change::Truncate(Truncate { tables, cascade, restart_identity });
        Ok(Truncated { change: (!is_empty).then_some((change, policy)), ignored })
    }
}

/// `on_truncate = "halt"`: what to do is the operator's choice.
fn held_truncate(table: &QualifiedName, commit_lsn: Lsn) -> PipelineError {
    PipelineError::Schema {
        table: table.clone(),
        message: format!(
            "was truncated at the source, and on_truncate is \"halt\"; have it copied again as it is \
             now: sync-agent resync --table {}; or set on_truncate to \"truncate\" or \"ignore\" and \
             start the agent again",
            table.argument()
        ),
        lsn: Some(commit_lsn),
    }
}
