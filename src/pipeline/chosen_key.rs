//! `[[table]] key`: columns of the user's choice identify rows at the destination. What has to be so
//! at the source, each with the statement that mends it; pure.
//!
//! A delete, and an update that moves the key, find their row by values from before the change, and
//! the stream has those of the replica identity only. That the destination has an index on the key
//! is `apply::preflight`'s to ask, as for every key.

use std::collections::BTreeSet;

use crate::config::settings::TableSettings;
use crate::model::finding::{Finding, Side};
use crate::model::table::{ReplicaIdentity, Table};
use crate::pg::catalog::{IndexInfo, TableInfo};
use crate::pg::ident::{identifier, identifiers};

/// One table, and what follows its copy.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub settings: Option<&'a TableSettings>,
    pub source: &'a TableInfo,
    /// The destination has no such table: it gets the indexes that the source's table has.
    pub is_missing: bool,
    /// No change follows the copy.
    pub is_copy_only: bool,
}

/// What is wrong or worth knowing about the key that the settings choose.
pub fn findings(asked: Asked<'_>) -> Vec<Finding> {
    let Some(key) = asked.settings.and_then(|settings| settings.key.as_deref()) else {
        return Vec::new();
    };
    let source = asked.source;
    let (table, columns) = (source.name.sql(), identifiers(key.iter().map(String::as_str)));
    let object = format!("table {table}");
    let mut findings = Vec::new();
    let outside = outside_identity(key, source.identity, &source.key_columns());
    if !asked.is_copy_only && !outside.is_empty() {
        let finding = Finding::error(Side::Source, object.clone(), outside_message(&outside));
        findings.push(finding.remedy(full_identity(source)));
    }
    for name in key {
        // One that is not there is the configuration's mistake, and said with its place.
        if source.column(name).is_some_and(|column| !column.not_null) {
            let name = identifier(name);
            let message = "it is in the key, and rows without a value could not be told apart";
            findings.push(
                Finding::error(Side::Source, format!("column {name} of table {table}"), message)
                    .remedy(format!("ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL")),
            );
        }
    }
    let create = format!("CREATE UNIQUE INDEX ON {table} ({columns})");
    let wanted: BTreeSet<&str> = key.iter().map(String::as_str).collect();
    let mut unique = source.indexes.iter().filter(|index| is_arbiter(index));
    if asked.is_missing && !asked.is_copy_only && !unique.clone().any(|i| wanted == columns_of(i)) {
        let message = format!(
            "the destination's table is created with its indexes, and none of them is a unique one on \
             exactly the key ({columns})"
        );
        findings.push(Finding::error(Side::Source, object, message).remedy(create));
    } else if !unique.any(|index| columns_of(index).is_subset(&wanted) && !index.columns.is_empty())
    {
        let message = format!(
            "no unique index keeps two rows from having the same key ({columns}): they would be one \
             row at the destination"
        );
        findings.push(Finding::warning(Side::Source, object, message).remedy(create));
    }
    findings
}

/// Why changes of a table, as the stream describes it, cannot be followed by the key.
pub fn misfit(settings: Option<&TableSettings>, table: &Table) -> Option<String> {
    let key = settings?.key.as_deref()?;
    let columns = table.columns.iter().filter(|column| column.is_identity);
    let identity: Vec<String> = columns.map(|column| column.name.clone()).collect();
    let outside = outside_identity(key, table.identity, &identity);
    (!outside.is_empty()).then(|| outside_message(&outside))
}

fn outside_identity<'a>(
    key: &'a [String],
    identity: ReplicaIdentity,
    columns: &[String],
) -> Vec<&'a str> {
    let is_outside = |name: &&String| identity != ReplicaIdentity::Full && !columns.contains(name);
    key.iter().filter(is_outside).map(String::as_str).collect()
}

fn outside_message(columns: &[&str]) -> String {
    format!(
        "its key in the configuration names {}, outside the replica identity: the values from before \
         a change are not in the stream",
        identifiers(columns.iter().copied())
    )
}

fn full_identity(table: &TableInfo) -> String {
    format!("ALTER TABLE {} REPLICA IDENTITY FULL", table.name.sql())
}

fn columns_of(index: &IndexInfo) -> BTreeSet<&str> {
    index.columns.iter().map(String::as_str).collect()
}

fn is_arbiter(index: &IndexInfo) -> bool {
    index.is_unique
        && !index.is_exclusion
        && index.is_immediate
        && index.is_valid
        && !index.is_partial
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::catalog::table_info::fixture::{column, primary_key, table, unique};
    use crate::pg::oid::{INT4, TEXT};
    use crate::transform::fixture::table_settings;

    /// Remedies of a table with `id` as its primary key and `code`, keyed by `key`.
    fn remedies(key: &[&str], change: impl Fn(&mut TableInfo), is_missing: bool) -> Vec<String> {
        let columns = vec![column("id", "integer", INT4), column("code", "text", TEXT)];
        let mut source = table("t", columns, vec![primary_key(&["id"])]);
        source.columns[0].not_null = true;
        change(&mut source);
        let mut settings = table_settings(&source.name, None, Vec::new());
        settings.key = Some(key.iter().map(|&name| name.to_owned()).collect());
        let asked =
            Asked { settings: Some(&settings), source: &source, is_missing, is_copy_only: false };
        findings(asked).into_iter().filter_map(|finding| finding.remedy).collect()
    }

    const FULL: &str = "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL";
    const NOT_NULL: &str = "ALTER TABLE \"public\".\"t\" ALTER COLUMN \"code\" SET NOT NULL";
    const UNIQUE: &str = "CREATE UNIQUE INDEX ON \"public\".\"t\" (\"code\")";

    #[test]
    fn what_a_key_needs_at_the_source_is_said_with_the_statement() {
        assert_eq!(remedies(&["id"], |_| {}, true), [""; 0]);
        assert_eq!(remedies(&["code"], |_| {}, false), [FULL, NOT_NULL, UNIQUE]);
        let whole = |source: &mut TableInfo| {
            source.identity = ReplicaIdentity::Full;
            source.columns[1].not_null = true;
        };
        assert_eq!(remedies(&["code"], whole, false), [UNIQUE], "a warning");
        assert_eq!(remedies(&["code", "id"], whole, false), [""; 0], "the primary key is enough");
        let indexed = |source: &mut TableInfo| {
            whole(source);
            source.indexes.push(unique("t_code", &["code"]));
        };
        assert_eq!(remedies(&["code"], indexed, true), [""; 0]);
        let both = "CREATE UNIQUE INDEX ON \"public\".\"t\" (\"code\", \"id\")";
        assert_eq!(remedies(&["code", "id"], indexed, true), [both], "nobody would make it");
    }
}
