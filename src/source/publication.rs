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

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::model::finding::{Finding, Severity, Side};
use crate::pg::catalog::{self, CatalogError, PublicationInfo, PublishedTable, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};

mod foreign;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct PublicationRequest<'a> {
    /// From the settings; the first is the one we create when it is absent.
    pub names: &'a [String],
    /// Publications that the destination's row records as made by us.
    pub owned: &'a [String],
    /// The selected tables, partitions of selected roots left out ([`without_covered_partitions`]).
    pub tables: &'a [TableInfo],
    /// Tables whose changes have been arriving through our publications: one that is in none of
    /// them has lost changes, which adding it again would only hide.
    pub established: &'a [QualifiedName],
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
    let mut names = request.names.to_vec();
    names.extend(request.names.first().map(|name| insert_only_name(name)));
    let existing = catalog::publications(client, &names).await?;
    let published = catalog::publication_tables(client, &names).await?;
    Ok(plan_for(request, &existing, &published))
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
pub fn plan_for(
    request: PublicationRequest<'_>,
    existing: &[PublicationInfo],
    published: &[PublishedTable],
) -> PublicationPlan {
    let mut plan = PublicationPlan::default();
    let Some(first) = request.names.first() else { return plan };
    let find = |name: &str| existing.iter().find(|publication| publication.name == name);
    let is_owned = |name: &str| request.owned.iter().any(|owned| owned == name);
    for name in &request.names[1..] {
        if find(name).is_none() {
            let object = format!("publication \"{name}\"");
            let finding = Finding::error(Side::Source, object, "it does not exist");
            plan.findings.push(finding.remedy(create_statement(name, EVERYTHING, request.tables)));
        }
    }
    match find(first) {
        Some(_) if !is_owned(first) => {
            plan.names = request.names.to_vec();
            let second = insert_only_name(first);
            if find(&second).is_some() && !plan.names.contains(&second) {
                plan.names.push(second);
            }
            plan.findings.extend(foreign::foreign_findings(
                &plan.names,
                request,
                existing,
                published,
            ));
        }
        main => plan_own(&mut plan, request, main, find(&insert_only_name(first))),
    }
    plan
}

/// Tables in one statement. Each is locked until its transaction ends, and a server with default
/// settings has room for some 6,000 locks in all (`max_locks_per_transaction`); fewer only means
/// more statements.
const TABLES_PER_STATEMENT: usize = 500;

/// `publish` of the two kinds of publication we make.
const EVERYTHING: &str = "insert, update, delete, truncate";
const INSERT_ONLY: &str = "insert, truncate";

fn plan_own(
    plan: &mut PublicationPlan,
    request: PublicationRequest<'_>,
    main: Option<&PublicationInfo>,
    insert_only: Option<&PublicationInfo>,
) {
    let name = &request.names[0];
    let second = insert_only_name(name);
    let (keyed, unkeyed): (Vec<_>, Vec<_>) =
        request.tables.iter().cloned().partition(TableInfo::has_usable_identity);
    let mut changes = Changes::default();
    if request.established.is_empty() {
        changes.publication(name, EVERYTHING, main, &keyed);
    } else {
        plan.findings.extend(lost_history_findings(request, main, insert_only));
        if main.is_some() {
            changes.publication(name, EVERYTHING, main, &keyed);
        }
    }
    plan.names = request.names.to_vec();
    plan.owned.push(name.clone());
    let second_is_ours = request.owned.contains(&second);
    if insert_only.is_some() && !second_is_ours && !unkeyed.is_empty() {
        let message = format!(
            "it exists already and is not ours; \"{name}\" needs it for tables \
             without a replica identity"
        );
        plan.findings.push(
            Finding::error(Side::Source, format!("publication \"{second}\""), message)
                .remedy(format!("DROP PUBLICATION {}", identifier(&second))),
        );
    } else if !unkeyed.is_empty() || (insert_only.is_some() && second_is_ours) {
        changes.publication(&second, INSERT_ONLY, insert_only, &unkeyed);
        plan.names.push(second.clone());
        plan.owned.push(second);
    }
    // Drops come first: a table that changes sides is never in both. It must not be in neither for
    // a moment: only where nothing is dropped may each statement stand alone.
    plan.is_split = changes.drops.is_empty() && changes.added.len() > TABLES_PER_STATEMENT;
    plan.statements = changes.drops;
    plan.statements.extend(changes.adds);
    let is_altered = |publication: &&PublicationInfo| {
        let alter = format!("ALTER PUBLICATION {} ", identifier(&publication.name));
        plan.statements.iter().any(|statement| statement.starts_with(&alter))
    };
    let altered = main.into_iter().chain(insert_only).filter(|publication| !publication.is_owner);
    plan.not_ours =
        altered.filter(is_altered).map(|publication| publication.name.clone()).collect();
    plan.created = changes.created;
    plan.added = changes.added;
}

/// Somebody changed our publications behind our back, so that changes were not sent. Mending them
/// silently would hide the gap (version 18 goes on even without the publication, with a warning in
/// the server's log).
fn lost_history_findings(
    request: PublicationRequest<'_>,
    main: Option<&PublicationInfo>,
    insert_only: Option<&PublicationInfo>,
) -> Vec<Finding> {
    let name = &request.names[0];
    let object = format!("publication {}", identifier(name));
    let lost = |message: &str, statement: String, tables: &str| {
        Finding::error(Side::Source, object.clone(), message)
            .remedy(format!("{statement}; -- then sync-agent resync {tables}"))
    };
    let Some(main) = main else {
        let message = "it was dropped; changes since then are lost";
        return vec![lost(message, create_statement(name, EVERYTHING, request.tables), "--all")];
    };
    let mut findings = Vec::new();
    if !main.via_root || published_operations(main) != EVERYTHING {
        let message = "its options were changed; changes that it left out are lost";
        let statement =
            format!("ALTER PUBLICATION {} SET ({})", identifier(name), options(EVERYTHING));
        findings.push(lost(message, statement, "--all"));
    }
    let members: BTreeSet<&QualifiedName> =
        main.members.iter().chain(insert_only.iter().flat_map(|second| &second.members)).collect();
    let selected: BTreeSet<&QualifiedName> =
        request.tables.iter().map(|table| &table.name).collect();
    let removed = request
        .established
        .iter()
        .filter(|table| selected.contains(table) && !members.contains(table));
    for table in removed {
        let message =
            format!("table {} was removed from it; its changes since are lost", table.sql());
        let statement = format!("ALTER PUBLICATION {} ADD TABLE {}", identifier(name), table.sql());
        findings.push(lost(&message, statement, &format!("--table {table}")));
    }
    findings
}

#[derive(Default)]
struct Changes {
    drops: Vec<String>,
    adds: Vec<String>,
    created: Vec<String>,
    added: Vec<QualifiedName>,
}

impl Changes {
    fn publication(
        &mut self,
        name: &str,
        publish: &str,
        present: Option<&PublicationInfo>,
        tables: &[TableInfo],
    ) {
        let wanted: BTreeSet<&QualifiedName> = tables.iter().map(|table| &table.name).collect();
        let Some(present) = present else {
            let first = &tables[..tables.len().min(TABLES_PER_STATEMENT)];
            self.adds.push(create_statement(name, publish, first));
            self.created.push(name.to_owned());
            self.added.extend(first.iter().map(|table| table.name.clone()));
            let rest = &tables[first.len()..];
            return self.add(name, &rest.iter().map(|table| &table.name).collect::<Vec<_>>());
        };
        let members: BTreeSet<&QualifiedName> = present.members.iter().collect();
        let extra = list(members.difference(&wanted).copied());
        if !extra.is_empty() {
            self.drops.push(format!("ALTER PUBLICATION {} DROP TABLE {extra}", identifier(name)));
        }
        self.add(name, &wanted.difference(&members).copied().collect::<Vec<_>>());
        if !present.via_root || published_operations(present) != publish {
            self.adds.push(format!(
                "ALTER PUBLICATION {} SET ({})",
                identifier(name),
                options(publish)
            ));
        }
    }

    fn add(&mut self, name: &str, tables: &[&QualifiedName]) {
        for chunk in tables.chunks(TABLES_PER_STATEMENT) {
            let chunk_list = list(chunk.iter().copied());
            self.adds
                .push(format!("ALTER PUBLICATION {} ADD TABLE {chunk_list}", identifier(name)));
            self.added.extend(chunk.iter().map(|&table| table.clone()));
        }
    }
}

fn create_statement(name: &str, publish: &str, tables: &[TableInfo]) -> String {
    let tables = list(tables.iter().map(|table| &table.name));
    let members = if tables.is_empty() { String::new() } else { format!(" FOR TABLE {tables}") };
    format!("CREATE PUBLICATION {}{members} WITH ({})", identifier(name), options(publish))
}

fn options(publish: &str) -> String {
    format!("publish = '{publish}', publish_via_partition_root = true")
}

fn list<'a>(names: impl Iterator<Item = &'a QualifiedName>) -> String {
    names.map(QualifiedName::sql).collect::<Vec<_>>().join(", ")
}

fn published_operations(publication: &PublicationInfo) -> String {
    let operations = [
        (publication.insert, "insert"),
        (publication.update, "update"),
        (publication.delete, "delete"),
        (publication.truncate, "truncate"),
    ];
    let named = operations.iter().filter(|(is_published, _)| *is_published);
    named.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
