//! Publications that are not ours: what they lack for the selected tables.

use std::collections::BTreeMap;

use super::{
    EVERYTHING, INSERT_ONLY, PublicationRequest, create_statement, insert_only_name,
    published_operations,
};
use crate::model::finding::{Finding, Side};
use crate::pg::catalog::{Generated, PublicationInfo, PublishedTable, RelationKind, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};

/// What somebody else's publications lack for the selected tables.
pub(super) fn foreign_findings(
    names: &[String],
    request: PublicationRequest<'_>,
    existing: &[PublicationInfo],
    published: &[PublishedTable],
) -> Vec<Finding> {
    let used: Vec<&PublicationInfo> =
        existing.iter().filter(|publication| names.contains(&publication.name)).collect();
    let first = identifier(&request.names[0]);
    let mut findings = Vec::new();
    for operation in ["insert", "update", "delete", "truncate"] {
        let publishes =
            |publication: &&PublicationInfo| published_operations(publication).contains(operation);
        if !used.iter().any(publishes) {
            let message = format!("it does not publish {operation}: these changes never arrive");
            findings.push(
                Finding::warning(Side::Source, format!("publication {first}"), message)
                    .remedy(format!("ALTER PUBLICATION {first} SET (publish = '{EVERYTHING}')")),
            );
        }
    }
    let foreign = Foreign { used: &used, first: &request.names[0] };
    let mut entries: BTreeMap<&QualifiedName, Vec<&PublishedTable>> = BTreeMap::new();
    for entry in published.iter().filter(|entry| names.contains(&entry.publication)) {
        entries.entry(&entry.table).or_default().push(entry);
    }
    for table in request.tables {
        let entries = entries.get(&table.name).map_or(&[][..], Vec::as_slice);
        findings.extend(foreign.finding(table, entries));
    }
    findings
}

/// Publications that are not ours.
struct Foreign<'a> {
    used: &'a [&'a PublicationInfo],
    first: &'a str,
}

impl Foreign<'_> {
    fn finding(&self, table: &TableInfo, entries: &[&PublishedTable]) -> Option<Finding> {
        if entries.is_empty() {
            return Some(self.unpublished(table));
        }
        let object = format!("table {}", table.name.sql());
        let error = |message: String| Finding::error(Side::Source, object.clone(), message);
        // There is no statement that widens one member in place.
        let again = |publication: &str| {
            let (of, name) = (identifier(publication), table.name.sql());
            format!(
                "ALTER PUBLICATION {of} DROP TABLE {name}; ALTER PUBLICATION {of} ADD TABLE {name}"
            )
        };
        if let Some(filtered) = entries.iter().find(|entry| entry.row_filter.is_some()) {
            let of = identifier(&filtered.publication);
            let message = format!("publication {of} filters its rows; that is not supported yet");
            return Some(error(message).remedy(again(&filtered.publication)));
        }
        let unpublished = unpublished_columns(table, entries);
        if !unpublished.is_empty() {
            let of = identifier(&entries[0].publication);
            let columns = unpublished.join(", ");
            let message =
                format!("publication {of} leaves out columns {columns}; that is not supported yet");
            return Some(error(message).remedy(again(&entries[0].publication)));
        }
        let breaks_updates = |entry: &&&PublishedTable| {
            let of = self.used.iter().find(|publication| publication.name == entry.publication);
            of.is_some_and(|publication| publication.update || publication.delete)
        };
        if table.has_usable_identity() {
            return None;
        }
        let breaking = entries.iter().find(breaks_updates)?;
        let message = format!(
            "the server refuses its updates and deletes, because publication {} publishes them and \
             it has no replica identity",
            identifier(&breaking.publication)
        );
        let statement = format!("ALTER TABLE {} REPLICA IDENTITY FULL", table.name.sql());
        Some(Finding::warning(Side::Source, object, message).remedy(statement))
    }

    fn unpublished(&self, table: &TableInfo) -> Finding {
        let (first, name) = (identifier(self.first), table.name.sql());
        let object = format!("table {name}");
        // Without publish_via_partition_root the catalog lists the leaves instead of the root.
        let is_member = self
            .used
            .iter()
            .any(|publication| publication.all_tables || publication.members.contains(&table.name));
        if table.kind == RelationKind::Partitioned && is_member {
            let message = "its changes are published under its partitions' names";
            return Finding::error(Side::Source, object, message).remedy(format!(
                "ALTER PUBLICATION {first} SET (publish_via_partition_root = true)"
            ));
        }
        let message = format!("included, but publication {first} does not publish it");
        let finding = Finding::error(Side::Source, object, message);
        if table.has_usable_identity() {
            return finding.remedy(format!("ALTER PUBLICATION {first} ADD TABLE {name}"));
        }
        let second = insert_only_name(self.first);
        finding.remedy(if self.used.iter().any(|publication| publication.name == second) {
            format!("ALTER PUBLICATION {} ADD TABLE {name}", identifier(&second))
        } else {
            create_statement(&second, INSERT_ONLY, std::slice::from_ref(table))
        })
    }
}

/// Columns that no publication sends. Generated ones are not sent by any version's default, and
/// named by some versions' views all the same: they do not count.
fn unpublished_columns(table: &TableInfo, entries: &[&PublishedTable]) -> Vec<String> {
    let is_sent = |name: &String| {
        entries.iter().any(|entry| entry.columns.as_ref().is_none_or(|list| list.contains(name)))
    };
    let plain = table.columns.iter().filter(|column| column.generated == Generated::No);
    plain.filter(|column| !is_sent(&column.name)).map(|column| identifier(&column.name)).collect()
}
