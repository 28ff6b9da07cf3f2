//! Target and shape to SQL text; pure.
//!
//! Row statements take one row's values as parameters `$1 …` in the order of the columns they
//! name; set statements read a staging table of the same column names. Operators and casts never
//! name a type modifier: an assignment checks the length, an explicit cast would cut silently.

use crate::apply::target::{Target, TargetColumn, TargetMark};
use crate::model::mark::MarkKind;
use crate::pg::ident::{identifier, identifiers};

/// Columns of an update: positions in `Target::columns`, in order.
pub type Mask = Vec<usize>;

pub(super) fn column_list<'a>(columns: impl IntoIterator<Item = &'a TargetColumn>) -> String {
    identifiers(columns.into_iter().map(|column| column.name.as_str()))
}

fn overriding(target: &Target) -> &'static str {
    if target.has_identity_always() { " OVERRIDING SYSTEM VALUE" } else { "" }
}

/// What is counted of a row statement that wrote nothing because a trigger kept it from it: more than
/// one row can be.
pub const SUPPRESSED: u64 = 2;

/// Whether an insert leaves a row alone that has its key: then "nothing written" says that there is one.
pub fn leaves_existing(target: &Target) -> bool {
    target.has_arbiter && settable(target).is_empty()
}

/// `SET` columns when every value is known: all but the key and what only the server may set.
fn settable(target: &Target) -> Vec<usize> {
    (0..target.columns.len())
        .filter(|index| !target.key.contains(index))
        .filter(|&index| !target.columns[index].is_identity_always)
        .collect()
}

fn set_from(target: &Target, mask: &[usize], source: &str) -> String {
    mask.iter()
        .map(|&index| identifier(&target.columns[index].name))
        .map(|name| format!("{name} = {source}.{name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// ` ON CONFLICT (key) DO …`: the newer row wins. The table must go by another name in the statement
/// ([`inserted_into`]).
fn on_conflict(target: &Target, mask: &[usize]) -> String {
    let key = column_list(target.key_columns());
    if mask.is_empty() {
        return format!(" ON CONFLICT ({key}) DO NOTHING");
    }
    format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set_from(target, mask, "excluded"))
}

/// `RETURNING` whether the row is new. A partitioned table has no system columns to tell by; there
/// the old row is looked for, and found although it was overwritten: a statement does not see what it
/// has written itself.
fn returning_fresh(target: &Target) -> String {
    if !target.is_partitioned {
        return " RETURNING xmax = 0".to_owned();
    }
    if !target.has_arbiter {
        return " RETURNING true".to_owned();
    }
    let is_same = key_equals(target, "present", WRITTEN);
    format!(" RETURNING NOT EXISTS (SELECT FROM {} AS present WHERE {is_same})", target.name.sql())
}

/// What a table is called that rows are inserted into: one whose own name is `excluded` would make the
/// statement's `excluded` ambiguous.
const WRITTEN: &str = "written_row";

fn inserted_into(target: &Target) -> String {
    format!("{} AS {WRITTEN}", target.name.sql())
}

/// Inserts one row; where the key exists the newer row wins. Returns `true` for a new row, `false`
/// or nothing for one that was there.
pub fn insert_row(target: &Target) -> String {
    if target.columns.is_empty() {
        return format!(
            "INSERT INTO {} DEFAULT VALUES{}",
            inserted_into(target),
            returning_fresh(target)
        );
    }
    let mut sql = format!(
        "INSERT INTO {} ({}){} VALUES ({})",
        inserted_into(target),
        column_list(&target.columns),
        overriding(target),
        (0..target.columns.len())
            .map(|index| typed(target, index, index + 1))
            .collect::<Vec<_>>()
            .join(", "),
    );
    if target.has_arbiter {
        sql.push_str(&on_conflict(target, &settable(target)));
    }
    sql.push_str(&returning_fresh(target));
    sql
}

fn key_equals_parameters(target: &Target, first: usize) -> String {
    target
        .key_columns()
        .enumerate()
        .map(|(offset, column)| {
            let (name, equals) = (identifier(&column.name), &column.equality);
            format!("{name} {equals} ${}::{}", first + offset, column.type_name)
        })
        .collect::<Vec<_>>()
        .join(" AND ")
}

/// `$n::type`, so that a parameter has its column's type wherever it stands.
pub(super) fn typed(target: &Target, index: usize, number: usize) -> String {
    format!("${number}::{}", target.columns[index].type_name)
}

pub(super) fn set_parameters(target: &Target, mask: &[usize]) -> String {
    mask.iter()
        .enumerate()
        .map(|(offset, &index)| {
            let name = identifier(&target.columns[index].name);
            format!("{name} = {}", typed(target, index, offset + 1))
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// How a row statement finds its row. The values follow the new row's in the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Find {
    /// By the key's values.
    Key,
    /// One of the rows equal in every column, by text: every type has a text form, not every type
    /// an equality (identity FULL without a key).
    Equal,
}

pub(super) fn finding(target: &Target, find: Find, first: usize) -> String {
    match find {
        Find::Key => key_equals_parameters(target, first),
        Find::Equal => one_equal_row(target, first),
    }
}

/// Updates the columns of `mask`.
pub fn update_row(target: &Target, mask: &[usize], find: Find) -> String {
    format!(
        "UPDATE {} SET {} WHERE {}",
        target.rows_sql(),
        set_parameters(target, mask),
        finding(target, find, mask.len() + 1)
    )
}

/// Updates the columns of `mask`, or inserts the row where none was found. The parameters are all
/// of the row's columns. Counts the rows inserted; where a trigger kept the row from being written,
/// [`SUPPRESSED`].
pub fn update_or_insert_row(target: &Target, mask: &[usize], find: Find) -> String {
    let set = mask
        .iter()
        .map(|&index| {
            let name = identifier(&target.columns[index].name);
            format!("{name} = {}", typed(target, index, index + 1))
        })
        .collect::<Vec<_>>()
        .join(", ");
    let values = (0..target.columns.len())
        .map(|index| typed(target, index, index + 1))
        .collect::<Vec<_>>()
        .join(", ");
    let (table, rows) = (target.name.sql(), target.rows_sql());
    let found = finding(target, find, target.columns.len() + 1);
    let update = format!("UPDATE {rows} SET {set} WHERE {found} RETURNING 1");
    let insert = format!(
        "INSERT INTO {table} ({}){} SELECT {values} WHERE NOT EXISTS (SELECT 1 FROM updated)",
        column_list(&target.columns),
        overriding(target),
    );
    if !target.may_suppress {
        return format!("WITH updated AS ({update}) {insert}");
    }
    // A row that is there and was not updated is not missing.
    format!(
        "WITH present AS (SELECT 1 FROM {rows} WHERE {found}), updated AS ({update}), \
         made AS ({insert} AND NOT EXISTS (SELECT 1 FROM present) RETURNING 1) \
         SELECT 1 FROM made UNION ALL SELECT 1 FROM pg_catalog.generate_series(1, {SUPPRESSED}) \
         WHERE NOT EXISTS (SELECT 1 FROM updated) AND NOT EXISTS (SELECT 1 FROM made)",
    )
}

/// Whether a row with this key is there.
pub fn find_row(target: &Target) -> String {
    format!("SELECT 1 FROM {} WHERE {}", target.rows_sql(), finding(target, Find::Key, 1))
}

pub fn delete_row(target: &Target, find: Find) -> String {
    format!("DELETE FROM {} WHERE {}", target.rows_sql(), finding(target, find, 1))
}

/// Marks a row that the source has deleted; one that is marked keeps its time. The parameters are the mark and
/// the key's values.
pub fn mark_row(target: &Target, find: Find) -> String {
    let Some(mark) = target.mark else { return update_row(target, &[], find) };
    let set = marked(target, mark, &typed(target, mark.column, 1), "");
    format!("UPDATE {} SET {set} WHERE {}", target.rows_sql(), finding(target, find, 2))
}

/// The same for the rows of a staging table.
pub fn mark_staged(target: &Target, staging: &str) -> String {
    let Some(mark) = target.mark else { return update_staged(target, staging, &[]) };
    let column = identifier(&target.columns[mark.column].name);
    format!(
        "UPDATE {} AS t SET {} FROM {} AS s WHERE {}",
        target.rows_sql(),
        marked(target, mark, &format!("s.{column}"), "t."),
        staging_name(staging),
        key_joins(target)
    )
}

fn marked(target: &Target, mark: TargetMark, value: &str, table: &str) -> String {
    let column = identifier(&target.columns[mark.column].name);
    match mark.kind {
        MarkKind::Boolean => format!("{column} = {value}"),
        MarkKind::Timestamp => format!("{column} = COALESCE({table}{column}, {value})"),
    }
}

/// Deletes the row of a key that another row gets, which the source has deleted. The parameters are that
/// key's values and the other row's own: two texts that count as equal are one row.
pub fn clear_key(target: &Target) -> String {
    let own = finding(target, Find::Key, target.key.len() + 1);
    let is_marked = target.mark.map(|mark| {
        let column = identifier(&target.columns[mark.column].name);
        format!(" AND {}", mark.kind.is_set_sql(&column))
    });
    format!(
        "DELETE FROM {} WHERE {} AND NOT ({own}){}",
        target.rows_sql(),
        finding(target, Find::Key, 1),
        is_marked.unwrap_or_default()
    )
}

/// Deletes all rows of the source's table.
pub fn delete_all(target: &Target) -> String {
    let own = target.own_rows.as_ref().map(|own| format!(" WHERE {own}"));
    format!("DELETE FROM {}{}", target.rows_sql(), own.unwrap_or_default())
}

/// Whether a cast to text gives the text that the type is stored and sent as. Types of users may
/// have another cast; that of `bpchar` drops blanks at the end, which count where no length is set.
fn is_cast_exact(type_name: &str) -> bool {
    !type_name.contains('.') && !type_name.contains("bpchar")
}

fn one_equal_row(target: &Target, first: usize) -> String {
    let equal = (0..target.columns.len())
        .map(|index| {
            let column = &target.columns[index];
            let (name, sent) = (identifier(&column.name), typed(target, index, first + index));
            match is_cast_exact(&column.type_name) {
                true => format!("{name}::text IS NOT DISTINCT FROM ({sent})::text"),
                // A row's text is made by its columns' output functions.
                false => format!("ROW({name})::text = ROW({sent})::text"),
            }
        })
        .collect::<Vec<_>>()
        .join(" AND ");
    // Rows of a table without columns are all the same.
    let equal = if equal.is_empty() { "true".to_owned() } else { equal };
    let table = target.rows_sql();
    if target.is_partitioned {
        // A ctid names a row of one partition only.
        return format!(
            "(tableoid, ctid) IN (SELECT tableoid, ctid FROM {table} WHERE {equal} LIMIT 1)"
        );
    }
    format!("ctid = (SELECT ctid FROM {table} WHERE {equal} LIMIT 1)")
}

/// Every column that an insert sets of a row that is there already.
pub fn insert_mask(target: &Target) -> Mask {
    settable(target)
}

/// Every column that an update sets where all values are known. The mark of deleted rows stays as it is,
/// unless it is cleared by updates.
pub fn full_mask(target: &Target) -> Mask {
    let mut mask = settable(target);
    mask.retain(|&index| !target.keeps_mark(index));
    mask
}

/// Creates a staging table with the columns of `mask`, as the destination types them.
pub fn create_staging(target: &Target, staging: &str, mask: &[usize]) -> String {
    format!(
        "CREATE TEMPORARY TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA",
        identifier(staging),
        column_list(mask.iter().map(|&index| &target.columns[index])),
        target.name.sql()
    )
}

/// The staging table's name in statements: never a user's table of the same name.
pub fn staging_name(staging: &str) -> String {
    format!("pg_temp.{}", identifier(staging))
}

/// Loads rows of the columns in `mask`, by position.
pub fn copy_in(table: &str, target: &Target, mask: &[usize], is_binary: bool) -> String {
    format!("{})", copy_in_open(table, target, mask, is_binary))
}

/// The same into a table that this transaction has created or emptied: rows arrive as VACUUM would
/// leave them.
pub fn copy_in_frozen(table: &str, target: &Target, mask: &[usize], is_binary: bool) -> String {
    format!("{}, FREEZE)", copy_in_open(table, target, mask, is_binary))
}

fn copy_in_open(table: &str, target: &Target, mask: &[usize], is_binary: bool) -> String {
    let columns = column_list(mask.iter().map(|&index| &target.columns[index]));
    // A table without columns: an empty list is no syntax.
    let columns = if columns.is_empty() { columns } else { format!(" ({columns})") };
    let format = if is_binary { "binary" } else { "text" };
    format!("COPY {table}{columns} FROM STDIN (FORMAT {format}")
}

/// Upserts a staging table of whole rows, in key order; of a row that is there already it sets the columns
/// of `mask`. Returns how many rows there were and how
/// many of them were new.
pub fn upsert_staged(target: &Target, staging: &str, mask: &[usize]) -> String {
    let columns = column_list(&target.columns);
    format!(
        "WITH written AS (INSERT INTO {table} ({columns}){overriding} SELECT {columns} FROM {staged} \
         ORDER BY {key}{conflict}{returning} AS fresh) \
         SELECT count(*), count(*) FILTER (WHERE fresh) FROM written",
        table = inserted_into(target),
        overriding = overriding(target),
        staged = staging_name(staging),
        key = column_list(target.key_columns()),
        conflict = on_conflict(target, mask),
        returning = returning_fresh(target),
    )
}

fn key_joins(target: &Target) -> String {
    key_equals(target, "t", "s")
}

pub(super) fn key_equals(target: &Target, one: &str, other: &str) -> String {
    target
        .key_columns()
        .map(|column| (identifier(&column.name), &column.equality))
        .map(|(name, equals)| format!("{one}.{name} {equals} {other}.{name}"))
        .collect::<Vec<_>>()
        .join(" AND ")
}

/// Updates the columns of `mask` from a staging table that also holds the key.
pub fn update_staged(target: &Target, staging: &str, mask: &[usize]) -> String {
    format!(
        "UPDATE {} AS t SET {} FROM {} AS s WHERE {}",
        target.rows_sql(),
        set_from(target, mask, "s"),
        staging_name(staging),
        key_joins(target)
    )
}

/// Deletes the keys of a staging table.
pub fn delete_staged(target: &Target, staging: &str) -> String {
    format!(
        "DELETE FROM {} AS t USING {} AS s WHERE {}",
        target.rows_sql(),
        staging_name(staging),
        key_joins(target)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::FoldPolicy;
    use crate::pg::ident::QualifiedName;

    fn column(name: &str, value_index: usize) -> TargetColumn {
        TargetColumn {
            name: name.to_owned(),
            type_name: "integer".to_owned(),
            value_index,
            is_identity_always: false,
            equality: "=".to_owned(),
        }
    }

    fn target() -> Target {
        Target {
            name: QualifiedName::new("public", "t"),
            columns: vec![column("a", 0), column("k", 1), column("b", 2)],
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
    fn an_insert_overwrites_the_row_with_its_key() {
        assert_eq!(
            insert_row(&target()),
            "INSERT INTO \"public\".\"t\" AS written_row (\"a\", \"k\", \"b\") VALUES ($1::integer, $2::integer, $3::integer) \
             ON CONFLICT (\"k\") DO UPDATE SET \"a\" = excluded.\"a\", \"b\" = excluded.\"b\" \
             RETURNING xmax = 0"
        );
    }

    #[test]
    fn identity_always_is_overridden_and_never_updated() {
        let mut target = target();
        target.columns[0].is_identity_always = true;
        let sql = insert_row(&target);
        assert!(sql.contains("OVERRIDING SYSTEM VALUE"), "{sql}");
        assert!(!sql.contains("\"a\" = excluded"), "{sql}");
        assert_eq!(full_mask(&target), [2]);
    }

    #[test]
    fn an_update_names_only_what_was_sent() {
        assert_eq!(
            update_row(&target(), &[2], Find::Key),
            "UPDATE ONLY \"public\".\"t\" SET \"b\" = $1::integer WHERE \"k\" = $2::integer"
        );
    }

    #[test]
    fn a_row_without_a_key_is_found_by_all_its_values() {
        let sql = delete_row(&target(), Find::Equal);
        assert!(sql.contains("LIMIT 1"), "{sql}");
        assert!(sql.contains("\"b\"::text IS NOT DISTINCT FROM ($3::integer)::text"), "{sql}");
    }

    #[test]
    fn a_row_of_a_partitioned_table_is_named_with_its_partition() {
        let target = Target { is_partitioned: true, ..target() };
        let sql = delete_row(&target, Find::Equal);
        assert!(sql.contains("(tableoid, ctid) IN (SELECT tableoid, ctid"), "{sql}");
    }

    #[test]
    fn a_partitioned_table_tells_a_new_row_by_the_old_one() {
        let target = Target { is_partitioned: true, ..target() };
        for sql in [insert_row(&target), upsert_staged(&target, "stage_1", &[0, 2])] {
            let returning = "RETURNING NOT EXISTS (SELECT FROM \"public\".\"t\" AS present WHERE \
                             present.\"k\" = written_row.\"k\")";
            assert!(sql.contains("INTO \"public\".\"t\" AS written_row ("), "{sql}");
            assert!(sql.contains(returning), "{sql}");
        }
    }

    #[test]
    fn staged_rows_are_written_in_key_order() {
        let sql = upsert_staged(&target(), "stage_1", &[0, 2]);
        assert!(sql.contains("FROM pg_temp.\"stage_1\" ORDER BY \"k\" ON CONFLICT"), "{sql}");
    }
}
