//! Publications: what must be created, changed or asked for so that the selected tables are
//! published and nothing else breaks.
//!
//! Our own publications name their tables one by one. There are two, because the server refuses
//! updates and deletes of a published table that has no replica identity (`CheckCmdReplicaIdentity`)
//! and so would break the application:
//!
//! ```text
//!   <name>          insert, update, delete, truncate   tables with a usable identity
//!   <name>_insert   insert, truncate                   the others: only their inserts arrive
//! ```
//!
//! A publication that we do not own is used as it is; what it lacks is a finding with the
//! statement for its owner. Moving a table between the two happens in one transaction, so that no
//! moment exists in which it is in neither or in a wrong one.
//!
//! [`View`] is what publications send of each table, [`narrow()`] makes a table's description that,
//! [`Mark`] is what is remembered of it.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

pub use self::mark::{Difference, Mark};
pub use self::narrow::narrow;
pub use self::view::{Sent, SentTable, View};
use crate::model::finding::{Finding, Severity, Side};
use crate::pg::catalog::{self, CatalogError, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};

mod foreign;
mod mark;
mod narrow;
mod own;
mod view;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct PublicationRequest<'a> {
    /// From the settings; the first is the one we create when it is absent.
    pub names: &'a [String],
    /// Publications that the destination's row records as made by us.
    pub owned: &'a [String],
    /// Rows of partitions go under the name of what they are partitions of; else under their own.
    pub via_root: bool,
    /// The selected tables, partitions of selected roots left out ([`without_covered_partitions`]).
    pub tables: &'a [TableInfo],
    /// Tables whose changes have been arriving: with them, a publication of ours that is not there
    /// was dropped.
    pub established: &'a [QualifiedName],
    /// Row filters of our own publications, as the server writes them down.
    pub filters: &'a BTreeMap<QualifiedName, String>,
}

/// What to do and what to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicationPlan {
    /// What START_REPLICATION asks for once the statements have run.
    pub names: Vec<String>,
    /// Publications that are ours once the statements have run: to be recorded before they do.
    pub owned: Vec<String>,
    /// In order; empty where everything is as wanted.
    pub statements: Vec<String>,
    /// There are more tables than one transaction could lock: each statement is one of its own.
    pub is_split: bool,
    /// Publications that the statements create.
    pub created: Vec<String>,
    /// Publications of ours that the statements alter and that somebody else owns by now.
    pub not_ours: Vec<String>,
    /// Tables that the statements add: only their owners may.
    pub added: Vec<QualifiedName>,
    pub findings: Vec<Finding>,
}

#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    #[error("could not look at the source's publications")]
    Catalog(#[from] CatalogError),
    #[error("could not create or alter the source's publications")]
    Statement(#[source] tokio_postgres::Error),
    /// E_PREFLIGHT: the findings say what is missing.
    #[error("the source's publications do not publish what is selected")]
    Unsuitable { findings: Vec<Finding> },
}

/// The second publication's name, for tables without a usable identity.
pub fn insert_only_name(name: &str) -> String {
    format!("{name}_insert")
}

/// The publications that may count: those of the settings, and the first one's second.
pub fn candidates(names: &[String]) -> Vec<String> {
    let mut all = names.to_vec();
    if let Some(second) = names.first().map(|name| insert_only_name(name))
        && !all.contains(&second)
    {
        all.push(second);
    }
    all
}

/// Partitions whose root (or any partitioned table above them) is selected too are published under
/// that table's name, so they are left out here.
pub fn without_covered_partitions(tables: Vec<TableInfo>) -> Vec<TableInfo> {
    let selected: BTreeSet<u32> = tables.iter().map(|table| table.oid).collect();
    let is_covered =
        |table: &TableInfo| table.partition_ancestors.iter().any(|oid| selected.contains(oid));
    tables.into_iter().filter(|table| !is_covered(table)).collect()
}

/// What [`ensure`] would do; changes nothing.
pub async fn plan(
    client: &Client,
    request: PublicationRequest<'_>,
) -> Result<PublicationPlan, PublicationError> {
    let relations = catalog::relations(client).await?;
    let view = View::read(client, &candidates(request.names), &relations).await?;
    Ok(plan_for(request, &view))
}

/// Makes the publications what the tables need; running it again changes nothing.
pub async fn ensure(
    client: &Client,
    request: PublicationRequest<'_>,
) -> Result<PublicationPlan, PublicationError> {
    let plan = plan(client, request).await?;
    if plan.findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(PublicationError::Unsuitable { findings: plan.findings });
    }
    // Several statements in one message are one transaction, undone whole on an error.
    let transactions =
        if plan.is_split { plan.statements.clone() } else { vec![plan.statements.join("; ")] };
    for transaction in transactions.iter().filter(|sql| !sql.is_empty()) {
        client.batch_execute(transaction).await.map_err(PublicationError::Statement)?;
    }
    Ok(plan)
}

/// [`plan`] on what the catalog said; pure.
pub fn plan_for(request: PublicationRequest<'_>, view: &View) -> PublicationPlan {
    let mut plan = PublicationPlan::default();
    let Some((first, others)) = request.names.split_first() else { return plan };
    let second = insert_only_name(first);
    let is_foreign = view.publication(first).is_some() && !request.owned.contains(first);
    // What somebody else's publications send need not, and with filters must not, be sent by ours.
    let mut foreign: Vec<String> = others.to_vec();
    if is_foreign {
        foreign = request.names.to_vec();
        if view.publication(&second).is_some() && !foreign.contains(&second) {
            foreign.push(second);
        }
    }
    let is_sent = |table: &&TableInfo| view.sent(table.oid, &foreign) != Sent::Nothing;
    let (theirs, rest): (Vec<&TableInfo>, Vec<&TableInfo>) =
        request.tables.iter().partition(is_sent);
    for name in others.iter().filter(|name| view.publication(name).is_none()) {
        let object = format!("publication {}", identifier(name));
        let finding = Finding::error(Side::Source, object, "it does not exist");
        let (publish, via_root) = (own::EVERYTHING, request.via_root);
        plan.findings.push(finding.remedy(own::create_statement(name, publish, via_root, &rest)));
    }
    let judged = foreign::Foreign { view, names: &foreign, via_root: request.via_root };
    if is_foreign {
        plan.findings.extend(judged.findings(request.tables));
        plan.names = foreign;
        return plan;
    }
    plan.findings.extend(theirs.iter().flat_map(|table| judged.finding(table)));
    own::plan(&mut plan, request, view, &rest);
    plan
}

#[cfg(test)]
mod tests;
