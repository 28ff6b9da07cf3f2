//! Publications that are not ours: what they lack for the selected tables.

use std::collections::BTreeSet;

use super::insert_only_name;
use super::own::{EVERYTHING, INSERT_ONLY, create_statement};
use super::view::{Sent, SentTable, View, operations};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{PublicationInfo, RelationKind, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};

/// Publications that are not ours.
pub(super) struct Foreign<'a> {
    pub(super) view: &'a View,
    /// The first is the one that a table which is in none should be added to.
    pub(super) names: &'a [String],
    /// Rows of partitions are wanted under the name of what they are partitions of.
    pub(super) via_root: bool,
}

impl Foreign<'_> {
    fn used(&self) -> impl Iterator<Item = &PublicationInfo> {
        self.names.iter().filter_map(|name| self.view.publication(name))
    }

    /// What they lack for the selected tables.
    pub(super) fn findings(&self, tables: &[TableInfo]) -> Vec<Finding> {
        let first = identifier(&self.names[0]);
        let mut findings = Vec::new();
        for operation in EVERYTHING.split(", ") {
            if !self.publishes(operation) {
                let message =
                    format!("it does not publish {operation}: these changes never arrive");
                findings.push(
                    Finding::warning(Side::Source, format!("publication {first}"), message).remedy(
                        format!("ALTER PUBLICATION {first} SET (publish = '{EVERYTHING}')"),
                    ),
                );
            }
        }
        findings.extend(self.left_aside(tables));
        findings.extend(tables.iter().flat_map(|table| self.finding(table)));
        findings
    }

    /// Whether any of them publishes `operation`, of some table at least.
    fn publishes(&self, operation: &str) -> bool {
        self.used().any(|publication| operations(publication).split(", ").any(|o| o == operation))
    }

    /// Tables that a publication names and the settings do not select.
    fn left_aside(&self, tables: &[TableInfo]) -> Vec<Finding> {
        let selected: BTreeSet<&QualifiedName> = tables.iter().map(|table| &table.name).collect();
        let oids: BTreeSet<u32> = tables.iter().map(|table| table.oid).collect();
        let above: BTreeSet<u32> =
            tables.iter().flat_map(|table| self.view.ancestors(table.oid)).collect();
        let mut findings = Vec::new();
        for publication in self.used() {
            let is_aside = |oid: u32, name: &QualifiedName| {
                let is_covered = self.view.ancestors(oid).iter().any(|above| oids.contains(above));
                !selected.contains(name) && !is_covered && !above.contains(&oid)
            };
            let members = publication.members.iter().filter(|member| !member.is_exception);
            let aside: Vec<String> = members
                .filter(|member| is_aside(member.relation, &member.name))
                .map(|member| member.name.sql())
                .collect();
            if aside.is_empty() {
                continue;
            }
            let object = format!("publication {}", identifier(&publication.name));
            let message = format!("tables not included are left aside: {}", aside.join(", "));
            findings.push(Finding::info(Side::Source, object, message));
        }
        findings
    }

    pub(super) fn finding(&self, table: &TableInfo) -> Vec<Finding> {
        let object = format!("table {}", table.name.sql());
        let error = |message: String| Finding::error(Side::Source, object.clone(), message);
        match self.view.sent(table.oid, self.names) {
            Sent::Nothing if !self.names_partitioned(table) => vec![self.unpublished(table)],
            Sent::Nothing | Sent::AsPartitions => {
                let message = "its changes are published under its partitions' names";
                let remedy = self.via_root(table);
                vec![error(message.to_owned()).remedy(remedy)]
            }
            Sent::AsAncestor(ancestor) if !self.via_root => {
                let message = format!(
                    "its changes are published under the name of {}, and source.partitions is \
                     \"leaf\"",
                    ancestor.sql()
                );
                vec![error(message).remedy(self.by_leaf(table))]
            }
            Sent::AsAncestor(ancestor) => {
                let message = format!(
                    "its changes are published under the name of {}: include that table, or \
                     exclude this one",
                    ancestor.sql()
                );
                vec![error(message)]
            }
            Sent::Conflict(one, other) => {
                let (one, other) = (identifier(&one), identifier(&other));
                let message = format!(
                    "publications {one} and {other} list different columns of it: the server \
                     refuses to send its changes"
                );
                let remedy = format!(
                    "ALTER PUBLICATION {other} DROP TABLE {}; -- or give both the same columns",
                    table.name.sql()
                );
                vec![error(message).remedy(remedy)]
            }
            Sent::Table(sent) => {
                let mut findings = self.narrowings(table, &sent);
                findings.extend(self.breaks_updates(table, &sent));
                if !sent.insert {
                    let message = "its inserts are not published: new rows never arrive";
                    findings.push(Finding::warning(Side::Source, object.clone(), message));
                }
                findings.extend(self.not_sent(table, &sent).map(|what| {
                    let message = format!("its {what} are not published: they never arrive");
                    Finding::warning(Side::Source, object, message)
                }));
                findings
            }
        }
    }

    /// Changes that are sent of other tables and not of this one. Without an identity, updates and
    /// deletes are not to be.
    fn not_sent(&self, table: &TableInfo, sent: &SentTable) -> Option<String> {
        let is_wanted = |operation: &str| {
            self.publishes(operation) && (operation == "truncate" || table.has_usable_identity())
        };
        let all = [("update", sent.update), ("delete", sent.delete), ("truncate", sent.truncate)];
        let missing = all.iter().filter(|(operation, is_sent)| !is_sent && is_wanted(operation));
        let missing: Vec<String> = missing.map(|(operation, _)| format!("{operation}s")).collect();
        (!missing.is_empty()).then(|| missing.join(" and "))
    }

    /// Whether a partitioned table without partitions is in a publication all the same.
    fn names_partitioned(&self, table: &TableInfo) -> bool {
        let names = |publication: &PublicationInfo| {
            let mut members = publication.members.iter();
            publication.all_tables
                || members.any(|member| member.relation == table.oid && !member.is_exception)
                || publication.schemas.iter().any(|schema| schema.name == table.name.schema)
        };
        table.kind == RelationKind::Partitioned && self.used().any(names)
    }

    /// Which publication to change so that a partitioned table goes under its own name.
    fn via_root(&self, table: &TableInfo) -> String {
        let has = |publication: &&PublicationInfo| {
            let mut members = publication.members.iter();
            publication.all_tables
                || members.any(|member| member.relation == table.oid)
                || publication.schemas.iter().any(|schema| schema.name == table.name.schema)
        };
        match self.used().find(has) {
            Some(publication) => format!(
                "ALTER PUBLICATION {} SET (publish_via_partition_root = true)",
                identifier(&publication.name)
            ),
            None => format!(
                "ALTER PUBLICATION {first} ADD TABLE {}; ALTER PUBLICATION {first} SET \
                 (publish_via_partition_root = true)",
                table.name.sql(),
                first = identifier(&self.names[0])
            ),
        }
    }

    /// Which publications to change so that a partition goes under its own name.
    fn by_leaf(&self, table: &TableInfo) -> String {
        let ancestors = self.view.ancestors(table.oid);
        let names_one = |publication: &&PublicationInfo| {
            let mut above = ancestors.iter();
            publication.all_tables || above.any(|oid| self.view.names(publication, *oid))
        };
        let sends = self.used().filter(|publication| publication.via_root).filter(names_one);
        let statements: Vec<String> = sends
            .map(|publication| {
                let name = identifier(&publication.name);
                format!("ALTER PUBLICATION {name} SET (publish_via_partition_root = false)")
            })
            .collect();
        statements.join("; ")
    }

    /// What the stream leaves out, so that the copy does, too.
    fn narrowings(&self, table: &TableInfo, sent: &SentTable) -> Vec<Finding> {
        let object = format!("table {}", table.name.sql());
        let of: Vec<String> = sent.publications.iter().map(|name| identifier(name)).collect();
        let mut parts = Vec::new();
        if let Some(filter) = sent.filters.values().next() {
            parts.push(format!("rows where {filter}"));
        }
        if let Some(columns) = &sent.columns {
            let names: Vec<String> = columns.iter().map(|name| identifier(name)).collect();
            parts.push(format!("columns {}", names.join(", ")));
        }
        if parts.is_empty() {
            return Vec::new();
        }
        let message = format!("publication {} sends only {}", of.join(", "), parts.join(" and "));
        vec![Finding::info(Side::Source, object, message)]
    }

    fn breaks_updates(&self, table: &TableInfo, sent: &SentTable) -> Option<Finding> {
        if table.has_usable_identity() || !(sent.update || sent.delete) {
            return None;
        }
        let mut breaking = self.used().filter(|publication| {
            sent.publications.contains(&publication.name)
                && (publication.update || publication.delete)
        });
        let of = breaking.next().map(|publication| identifier(&publication.name))?;
        let name = table.name.sql();
        // What is not listed is gone from our description, an identity with it.
        let (lack, statement) = if sent.columns.is_some() {
            (
                "lists only a part of a replica identity",
                format!(
                    "ALTER PUBLICATION {of} DROP TABLE {name}; ALTER PUBLICATION {of} ADD TABLE {name}; \
                     -- or list the columns of its key, too"
                ),
            )
        } else {
            ("it has no replica identity", format!("ALTER TABLE {name} REPLICA IDENTITY FULL"))
        };
        let message = format!(
            "the server refuses its updates and deletes, because publication {of} publishes them \
             and {lack}"
        );
        let object = format!("table {name}");
        Some(Finding::warning(Side::Source, object, message).remedy(statement))
    }

    fn unpublished(&self, table: &TableInfo) -> Finding {
        let (first, name) = (identifier(&self.names[0]), table.name.sql());
        let message = format!("included, but publication {first} does not publish it");
        let finding = Finding::error(Side::Source, format!("table {name}"), message);
        if table.has_usable_identity() {
            return finding.remedy(format!("ALTER PUBLICATION {first} ADD TABLE {name}"));
        }
        let second = insert_only_name(&self.names[0]);
        finding.remedy(if self.names.contains(&second) {
            format!("ALTER PUBLICATION {} ADD TABLE {name}", identifier(&second))
        } else {
            create_statement(&second, INSERT_ONLY, self.via_root, &[table])
        })
    }
}
