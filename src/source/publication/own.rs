//! Our own publications: the statements that make them what the tables need.

use std::collections::{BTreeMap, BTreeSet};

use super::view::{View, operations};
use super::{PublicationPlan, PublicationRequest, insert_only_name};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{PublicationInfo, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};

/// Tables in one statement. Each is locked until its transaction ends, and a server with default
/// settings has room for some 6,000 locks in all (`max_locks_per_transaction`); fewer only means
/// more statements.
const TABLES_PER_STATEMENT: usize = 500;

/// `publish` of the two kinds of publication we make.
pub(super) const EVERYTHING: &str = "insert, update, delete, truncate";
pub(super) const INSERT_ONLY: &str = "insert, truncate";

/// Plans our publications for `tables`.
pub(super) fn plan(
    plan: &mut PublicationPlan,
    request: PublicationRequest<'_>,
    view: &View,
    tables: &[&TableInfo],
) {
    let name = &request.names[0];
    let second = insert_only_name(name);
    let (main, insert_only) = (view.publication(name), view.publication(&second));
    let (keyed, unkeyed): (Vec<&TableInfo>, Vec<&TableInfo>) =
        tables.iter().partition(|table| table.has_usable_identity());
    plan.names = request.names.to_vec();
    plan.owned.push(name.clone());
    let mut changes = Changes {
        via_root: request.via_root,
        filters: request.filters.clone(),
        ..Changes::default()
    };
    if main.is_none() && !request.established.is_empty() {
        let message = "it was dropped; changes since then are lost (E_SLOT)";
        let remedy = "sync-agent reset; -- then empty the destination's tables and copy again";
        let object = format!("publication {}", identifier(name));
        plan.findings.push(Finding::error(Side::Source, object, message).remedy(remedy));
        return;
    }
    changes.publication(name, EVERYTHING, main, &keyed);
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
        if !plan.names.contains(&second) {
            plan.names.push(second.clone());
        }
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

#[derive(Default)]
struct Changes {
    /// `publish_via_partition_root`.
    via_root: bool,
    filters: BTreeMap<QualifiedName, String>,
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
        tables: &[&TableInfo],
    ) {
        let wanted: BTreeSet<&QualifiedName> = tables.iter().map(|table| &table.name).collect();
        let Some(present) = present else {
            let first = &tables[..tables.len().min(TABLES_PER_STATEMENT)];
            let sql = create_filtered(name, publish, self.via_root, first, &self.filters);
            self.adds.push(sql);
            self.created.push(name.to_owned());
            self.added.extend(first.iter().map(|table| table.name.clone()));
            let rest = &tables[first.len()..];
            return self.add(name, &rest.iter().map(|table| &table.name).collect::<Vec<_>>());
        };
        // A member that somebody narrowed is taken out and put in again. One that is sent whole stays so,
        // because what its filter leaves out the agent leaves out, too.
        let is_whole = |name: &QualifiedName| {
            let members = present.members.iter().filter(|member| member.name == *name);
            let is_ours = |filter: &Option<String>| {
                filter.is_none() || filter.as_ref() == self.filters.get(name)
            };
            members.clone().all(|member| member.columns.is_none() && is_ours(&member.filter))
        };
        let members: BTreeSet<&QualifiedName> =
            present.members.iter().map(|member| &member.name).collect();
        let kept: BTreeSet<&QualifiedName> =
            members.intersection(&wanted).copied().filter(|name| is_whole(name)).collect();
        let extra = list(members.difference(&kept).copied());
        if !extra.is_empty() {
            self.drops.push(format!("ALTER PUBLICATION {} DROP TABLE {extra}", identifier(name)));
        }
        self.add(name, &wanted.difference(&kept).copied().collect::<Vec<_>>());
        if present.via_root != self.via_root || operations(present) != publish {
            self.adds.push(format!(
                "ALTER PUBLICATION {} SET ({})",
                identifier(name),
                options(publish, self.via_root)
            ));
        }
    }

    fn list<'t>(&self, names: impl Iterator<Item = &'t QualifiedName>) -> String {
        names.map(|name| member(name, &self.filters)).collect::<Vec<_>>().join(", ")
    }

    fn add(&mut self, name: &str, tables: &[&QualifiedName]) {
        for chunk in tables.chunks(TABLES_PER_STATEMENT) {
            let chunk_list = self.list(chunk.iter().copied());
            self.adds
                .push(format!("ALTER PUBLICATION {} ADD TABLE {chunk_list}", identifier(name)));
            self.added.extend(chunk.iter().map(|&table| table.clone()));
        }
    }
}

pub(super) fn create_statement(
    name: &str,
    publish: &str,
    via_root: bool,
    tables: &[&TableInfo],
) -> String {
    create_filtered(name, publish, via_root, tables, &BTreeMap::new())
}

fn create_filtered(
    name: &str,
    publish: &str,
    via_root: bool,
    tables: &[&TableInfo],
    filters: &BTreeMap<QualifiedName, String>,
) -> String {
    let tables: Vec<String> = tables.iter().map(|table| member(&table.name, filters)).collect();
    let tables = tables.join(", ");
    let members = if tables.is_empty() { String::new() } else { format!(" FOR TABLE {tables}") };
    let options = options(publish, via_root);
    format!("CREATE PUBLICATION {}{members} WITH ({options})", identifier(name))
}

/// A table with its filter.
fn member(name: &QualifiedName, filters: &BTreeMap<QualifiedName, String>) -> String {
    match filters.get(name) {
        Some(filter) => format!("{} WHERE ({filter})", name.sql()),
        None => name.sql(),
    }
}

fn options(publish: &str, via_root: bool) -> String {
    format!("publish = '{publish}', publish_via_partition_root = {via_root}")
}

fn list<'a>(names: impl Iterator<Item = &'a QualifiedName>) -> String {
    names.map(QualifiedName::sql).collect::<Vec<_>>().join(", ")
}
