//! A copy's rows into a table that keeps its own: staged, then upserted by the key; pure.
//!
//! A row with the same values stays as it is, so that merging again writes nothing. "The same" is by the
//! values' bytes (`*<>`): that compares every type, and `1.0` with `1.00` is a difference. The key is set,
//! too, because keys that count as equal need not be the same text.

use crate::apply::statement;
use crate::apply::target::Target;
use crate::pg::ident::{identifier, identifiers};

/// The staging table of a chunk; it goes with the chunk's transaction.
pub const STAGING: &str = "sync_agent_merge";

/// The statements of one chunk, inside its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeSql {
    /// Makes the staging table and begins to fill it.
    pub copy_in: String,
    /// From the staging table into the table. The last one returns how many rows were overwritten.
    pub merge: Vec<String>,
}

/// The target must have an arbiter.
pub fn merge_sql(target: &Target, is_binary: bool) -> MergeSql {
    let all: Vec<usize> = (0..target.columns.len()).collect();
    let create = format!(
        "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
        identifier(STAGING),
        columns(target, &all),
        target.name.sql(),
    );
    let staged = statement::staging_name(STAGING);
    let load = statement::copy_in(&staged, target, &all, is_binary);
    let mut merge = Vec::new();
    merge.extend(delete_unsettable(target, &staged));
    merge.push(upsert(target, &staged));
    MergeSql { copy_in: format!("{create}; {load}"), merge }
}

/// Before a staged copy of the whole table is merged: marks the rows that it does not have, because the
/// source has deleted them while nobody saw it. None where nothing is marked.
pub fn mark_unstaged(target: &Target) -> Option<String> {
    let staged = statement::staging_name(STAGING);
    let is_same = statement::key_equals(target, "d", "s");
    let mark = mark_all(target)?;
    Some(format!("{mark} AND NOT EXISTS (SELECT FROM {staged} AS s WHERE {is_same})"))
}

/// Marks every row that is not marked. A row that is merged is cleared again.
pub fn mark_all(target: &Target) -> Option<String> {
    let mark = target.mark?;
    let column = identifier(&target.columns[mark.column].name);
    Some(format!(
        "UPDATE {} AS d SET {column} = {} WHERE NOT (d.{}){}",
        target.rows_sql(),
        mark.kind.set_sql(),
        mark.kind.is_set_sql(&column),
        target.own_rows.as_ref().map(|own| format!(" AND d.{own}")).unwrap_or_default()
    ))
}

fn columns(target: &Target, mask: &[usize]) -> String {
    identifiers(mask.iter().map(|&index| target.columns[index].name.as_str()))
}

/// Rows whose identity column (`GENERATED ALWAYS`, not of the key) differs: no UPDATE may set it.
fn delete_unsettable(target: &Target, staged: &str) -> Option<String> {
    let unsettable: Vec<usize> = (0..target.columns.len())
        .filter(|index| target.columns[*index].is_identity_always && !target.key.contains(index))
        .collect();
    if unsettable.is_empty() {
        return None;
    }
    let is_same_key = target
        .key_columns()
        .map(|column| (identifier(&column.name), &column.equality))
        .map(|(name, equals)| format!("d.{name} {equals} s.{name}"))
        .collect::<Vec<_>>()
        .join(" AND ");
    Some(format!(
        "DELETE FROM {} AS d USING {staged} AS s WHERE {is_same_key} AND {}",
        target.rows_sql(),
        differ(target, &unsettable, "s"),
    ))
}

fn upsert(target: &Target, staged: &str) -> String {
    let all: Vec<usize> = (0..target.columns.len()).collect();
    let settable: Vec<usize> =
        all.iter().copied().filter(|&index| !target.columns[index].is_identity_always).collect();
    let set = settable
        .iter()
        .map(|&index| identifier(&target.columns[index].name))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect::<Vec<_>>()
        .join(", ");
    let action = match settable.is_empty() {
        true => "NOTHING".to_owned(),
        false => format!("UPDATE SET {set} WHERE {}", differ(target, &settable, "excluded")),
    };
    let overriding = if target.has_identity_always() { " OVERRIDING SYSTEM VALUE" } else { "" };
    // A partitioned table has no xmax to tell by: there the old row is still seen.
    let is_fresh = if target.is_partitioned {
        let is_same = statement::key_equals(target, "present", "d");
        format!("NOT EXISTS (SELECT FROM {} AS present WHERE {is_same})", target.name.sql())
    } else {
        "d.xmax = 0".to_owned()
    };
    let key = identifiers(target.key_columns().map(|column| column.name.as_str()));
    let columns = columns(target, &all);
    format!(
        "WITH written AS (INSERT INTO {table} AS d ({columns}){overriding} SELECT {columns} \
         FROM {staged} ORDER BY {key} ON CONFLICT ({key}) DO {action} RETURNING {is_fresh} AS fresh) \
         SELECT pg_catalog.count(*) FILTER (WHERE NOT fresh) FROM written",
        table = target.name.sql(),
    )
}

/// A row in parentheses alone would be compared column by column, with each type's own operator.
fn differ(target: &Target, mask: &[usize], with: &str) -> String {
    let row = |of: &str| {
        let values: Vec<String> = mask
            .iter()
            .map(|&index| format!("{of}.{}", identifier(&target.columns[index].name)))
            .collect();
        format!("ROW({})::pg_catalog.record", values.join(", "))
    };
    format!("{} OPERATOR(pg_catalog.*<>) {}", row("d"), row(with))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::target::TargetColumn;
    use crate::batch::FoldPolicy;
    use crate::pg::ident::QualifiedName;

    fn target(identity: &[usize]) -> Target {
        let column = |index: usize| TargetColumn {
            name: ["a", "k", "b"][index].to_owned(),
            type_name: "integer".to_owned(),
            value_index: index,
            is_identity_always: identity.contains(&index),
            equality: "=".to_owned(),
        };
        Target {
            name: QualifiedName::new("public", "t"),
            columns: (0..3).map(column).collect(),
            own_columns: Vec::new(),
            key: vec![1],
            has_arbiter: true,
            is_partitioned: false,
            may_suppress: false,
            policy: FoldPolicy::Fold,
            mark: None,
            own_rows: None,
            keeps_deleted: false,
            remember: None,
        }
    }

    #[test]
    fn rows_are_staged_and_upserted_in_key_order() {
        let sql = merge_sql(&target(&[]), true);
        assert_eq!(
            sql.copy_in,
            "CREATE TEMPORARY TABLE \"sync_agent_merge\" ON COMMIT DROP AS SELECT \"a\", \"k\", \"b\" \
             FROM \"public\".\"t\" WITH NO DATA; COPY pg_temp.\"sync_agent_merge\" (\"a\", \"k\", \"b\") \
             FROM STDIN (FORMAT binary)"
        );
        assert_eq!(
            sql.merge,
            ["WITH written AS (INSERT INTO \"public\".\"t\" AS d (\"a\", \"k\", \"b\") SELECT \
              \"a\", \"k\", \"b\" FROM pg_temp.\"sync_agent_merge\" ORDER BY \"k\" ON CONFLICT (\"k\") \
              DO UPDATE SET \"a\" = excluded.\"a\", \"k\" = excluded.\"k\", \"b\" = excluded.\"b\" \
              WHERE ROW(d.\"a\", d.\"k\", d.\"b\")::pg_catalog.record OPERATOR(pg_catalog.*<>) \
              ROW(excluded.\"a\", excluded.\"k\", excluded.\"b\")::pg_catalog.record \
              RETURNING d.xmax = 0 AS fresh) \
              SELECT pg_catalog.count(*) FILTER (WHERE NOT fresh) FROM written"]
        );
    }

    #[test]
    fn an_identity_column_is_never_set() {
        let sql = merge_sql(&target(&[0, 1]), false);
        assert_eq!(sql.merge.len(), 2);
        assert!(sql.merge[0].starts_with("DELETE FROM"), "{}", sql.merge[0]);
        assert!(sql.merge[0].contains("d.\"k\" = s.\"k\" AND ROW(d.\"a\")"), "{}", sql.merge[0]);
        assert!(sql.merge[1].contains("OVERRIDING SYSTEM VALUE"), "{}", sql.merge[1]);
        assert!(
            sql.merge[1].contains("UPDATE SET \"b\" = excluded.\"b\" WHERE"),
            "{}",
            sql.merge[1]
        );
    }
}
