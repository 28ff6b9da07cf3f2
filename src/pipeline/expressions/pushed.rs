//! Filters that our own publication carries, so that rows which stay out are not even sent.
//!
//! The hard question: when may it? A published table whose filter names a column outside its replica
//! identity makes the application's own UPDATE and DELETE fail. So a filter is pushed only where every
//! column that it names belongs to the identity, or the identity is FULL, or only inserts are sent. And
//! the server takes but some expressions: immutable ones without anything that users made. It is asked,
//! by a publication that is rolled back.
//!
//! Of a partitioned table the server asks each partition's own identity. One that comes later has the
//! primary key for its identity, whatever the root and the others have: so the columns must be in the
//! primary key, and in every partition's identity.
//!
//! The agent looks at each row all the same. What was written before the filter was pushed is sent whole,
//! and a publication is not ours alone to alter.

use std::collections::BTreeMap;

use super::Calculator;
use crate::config::settings::{Settings, Step, TableSettings, Unlisted};
use crate::model::finding::Side;
use crate::pg::catalog::{
    self, RelationKind, ReplicaIdentity, ServerFacts, TableFilter, TableInfo,
};
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::oid::Oid;
use crate::pg::server_error;
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::Planner;

/// The first version whose publications have row filters.
const FILTERS_SINCE: i32 = 15;

/// What a lock on the table may be waited for: another's DDL holds it.
const LOCK_TIMEOUT: &str = "10s";

/// Filters by table, as the server writes them down.
pub type Pushed = BTreeMap<QualifiedName, String>;

/// Why a filter stays with the agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    #[error("publications have row filters since version 15")]
    Version,
    #[error(
        "it names column \"{0}\", which is outside the replica identity: published, it would make the application's UPDATE and DELETE fail"
    )]
    OutsideIdentity(String),
    #[error(
        "it names column \"{0}\", which is outside the primary key or a partition's replica identity: published, it would make the application's UPDATE and DELETE fail, in a partition that is made later perhaps"
    )]
    OutsidePartition(String),
    #[error("it names column \"{0}\", which does not arrive as it is")]
    Changed(String),
    #[error("no publication takes it: {0}")]
    NotTaken(String),
}

/// Each table's filter: pushed, or why not.
pub async fn pushed(
    settings: &Settings,
    facts: &ServerFacts,
    planner: &Planner,
    tables: &[TableInfo],
) -> Result<BTreeMap<QualifiedName, Result<String, Kept>>, PipelineError> {
    let mut filters = BTreeMap::new();
    for info in tables {
        let Some(table) = settings.table(&info.name) else { continue };
        let Some(sql) = &table.filter else { continue };
        // One that cannot be used at all is found where the table is planned.
        let Some(inputs) = planner.filter_inputs(info).await? else { continue };
        let leaves = leaves(planner, info).await?;
        let judged = match judge(table, facts, (info, &leaves), &inputs) {
            Some(kept) => Err(kept),
            None => planner.calculator().publishable(&info.name, sql).await?,
        };
        filters.insert(info.name.clone(), judged);
    }
    Ok(filters)
}

/// The heaps of a partitioned table.
async fn leaves(planner: &Planner, info: &TableInfo) -> Result<Vec<TableInfo>, PipelineError> {
    if info.kind != RelationKind::Partitioned {
        return Ok(Vec::new());
    }
    let asking = || PipelineError::catalog(Side::Source);
    let leaves = catalog::partition_leaves(planner.source(), &[info.oid]).await.map_err(asking())?;
    let oids: Vec<Oid> = leaves.iter().map(|leaf| leaf.oid).collect();
    let found = catalog::tables(planner.source(), TableFilter::Oids(&oids)).await;
    found.map_err(asking())
}

fn judge(
    table: &TableSettings,
    facts: &ServerFacts,
    (info, leaves): (&TableInfo, &[TableInfo]),
    inputs: &[String],
) -> Option<Kept> {
    if facts.major_version() < FILTERS_SINCE {
        return Some(Kept::Version);
    }
    let is_changed = |name: &&String| match table.columns.iter().find(|c| c.name == **name) {
        Some(column) => !column.steps.is_empty(),
        None => table.unlisted == Some(Unlisted::Drop),
    };
    if let Some(name) = inputs.iter().find(is_changed) {
        return Some(Kept::Changed(name.clone()));
    }
    // Inserts alone are published.
    if !info.has_usable_identity() {
        return None;
    }
    if info.kind == RelationKind::Partitioned {
        let key = info.primary_key().map_or(&[][..], |key| &key.columns);
        let is_outside =
            |name: &&String| !key.contains(name) || leaves.iter().any(|leaf| !sends(leaf, name));
        return inputs.iter().find(is_outside).map(|name| Kept::OutsidePartition(name.clone()));
    }
    let outside = inputs.iter().find(|name| !sends(info, name));
    outside.map(|name| Kept::OutsideIdentity(name.clone()))
}

/// Whether the column is part of the replica identity.
fn sends(info: &TableInfo, column: &String) -> bool {
    info.identity == ReplicaIdentity::Full || info.key_columns().contains(column)
}

/// Those that are pushed.
pub fn only_pushed(filters: BTreeMap<QualifiedName, Result<String, Kept>>) -> Pushed {
    filters.into_iter().filter_map(|(table, filter)| Some((table, filter.ok()?))).collect()
}

impl Calculator {
    /// The filter as a publication of the table would have it, or why none takes it. Nothing is made:
    /// the publication is rolled back.
    async fn publishable(
        &self,
        table: &QualifiedName,
        sql: &str,
    ) -> Result<Result<String, Kept>, PipelineError> {
        let key = (table.clone(), sql.to_owned());
        if let Some(known) = self.publishable.lock().await.get(&key) {
            return Ok(known.clone());
        }
        // By itself: a stream may be computing meanwhile, and must not do so inside the trial.
        let session = self.connect().await?;
        let name = format!("sync_agent_trial_{}", session.client.backend_pid());
        let make = format!(
            "BEGIN READ WRITE; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; \
             CREATE PUBLICATION {} FOR TABLE {} WHERE (\n{sql}\n) \
             WITH (publish_via_partition_root = true); SET LOCAL search_path = ''",
            identifier(&name),
            table.sql(),
        );
        let written = format!(
            "SELECT pg_catalog.pg_get_expr(r.prqual, r.prrelid) FROM pg_catalog.pg_publication_rel r \
             JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = {}",
            literal(&name)
        );
        let tried = async {
            session.client.batch_execute(&make).await?;
            session.client.query_one(&written, &[]).await?.try_get::<_, String>(0)
        };
        let tried = tried.await;
        let ended = session.client.batch_execute("ROLLBACK").await;
        let asking =
            || PipelineError::query(Side::Source, "asking whether a filter can be published");
        ended.map_err(asking())?;
        let answer = match tried {
            Ok(written) => Ok(written),
            Err(error) => match server_error::of(&error) {
                Some(refused) if is_refusal(refused.code.code()) => {
                    Err(Kept::NotTaken(refused.message))
                }
                _ => return Err(asking()(error)),
            },
        };
        self.publishable.lock().await.insert(key, answer.clone());
        Ok(answer)
    }
}

/// The expression is not taken (0A, 22, 42 without what is a matter of rights), or we may make no
/// publication here at all.
fn is_refusal(code: &str) -> bool {
    ["0A", "22", "42", "25", "55000"].iter().any(|class| code.starts_with(class))
}

/// Whether a column goes to the destination, for a finding.
pub fn is_dropped(table: &TableSettings, name: &str) -> bool {
    match table.columns.iter().find(|column| column.name == name) {
        Some(column) => column.steps.iter().any(|step| matches!(step, Step::Drop)),
        None => table.unlisted == Some(Unlisted::Drop),
    }
}
