//! Indexes and the constraints that stand on them, extended statistics, and what is said of them.
//!
//! A partitioned table's index is built last and without ONLY: the server then finds the indexes of
//! its partitions, which are there under their own names, and attaches them.

use std::collections::BTreeSet;

use super::names::{has_predicate, with_inserted, with_listed_columns};
use super::scope::{Scope, comment_sql, options, options_sql};
use super::table::{Passage, Table, VERSION_18, left_out};
use super::{Kept, Statement};
use crate::pg::catalog::structure::{IndexRow, StatisticsRow};
use crate::pg::ident::{QualifiedName, identifier, literal};

/// The first version with NULLS NOT DISTINCT.
const NULLS_NOT_DISTINCT_SINCE: i32 = 15;

/// What is built after a table's load.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// In order.
    pub(super) keys: Vec<Statement>,
    /// Each for itself.
    pub(super) indexes: Vec<Statement>,
    /// In order, after all others.
    pub(super) rest: Vec<Statement>,
}

impl Built {
    pub(super) fn append(&mut self, mut other: Built) {
        self.keys.append(&mut other.keys);
        self.indexes.append(&mut other.indexes);
        self.rest.append(&mut other.rest);
    }
}

pub(super) fn build(scope: &Scope<'_>, table: &mut Table<'_>, rows: &[&IndexRow]) -> Built {
    let mut built = Built::default();
    for row in rows {
        let beside = table.apart.as_ref().filter(|_| row.is_unique).map(|apart| beside(row, apart));
        match one_index(scope, table, beside.as_ref().unwrap_or(row), &mut built) {
            Ok(note) => table.notes.extend(note),
            Err(reason) => table.notes.push(left_out("index", &row.name, &reason)),
        }
    }
    built
}

fn one_index(
    scope: &Scope<'_>,
    table: &Table<'_>,
    row: &IndexRow,
    built: &mut Built,
) -> Result<Option<String>, String> {
    if !row.is_valid {
        return Err("it is not valid at the source".to_owned());
    }
    let is_plain_key = row.is_unique && !row.has_expression && !row.is_exclusion;
    let passage = if is_plain_key && row.tail.starts_with("btree ") {
        table.key_passage(&row.columns)?
    } else {
        table.passage(&row.columns)?
    };
    scope.usable(Some(row.oid), &row.tail)?;
    if let Some(oid) = row.constraint_oid {
        scope.usable(Some(oid), "")?;
    }
    fits_version(row, scope.present.version())?;
    if let Some(kept) = table.kept.as_ref().filter(|kept| is_loosened(kept, table, row)) {
        return loosened(scope, table, row, (kept, &passage), built);
    }
    let is_new_primary = row.is_primary && !scope.present.has_primary_key(&table.name);
    let (name, is_there) = scope.index_name(&table.name, &row.name);
    if !is_there && (is_new_primary || !row.is_primary) {
        let statement = statement(scope, table, row, &name, &passage);
        if row.constraint_name.is_some() || row.is_replica_identity {
            built.keys.push(statement);
        } else if row.is_partitioned && table.is_partitioned {
            built.rest.push(statement);
        } else {
            built.indexes.push(statement);
        }
    }
    marks(table, row, &name, built);
    Ok(None)
}

/// A unique index with one more column in front: of several source tables each has its own values.
fn beside(row: &IndexRow, apart: &str) -> IndexRow {
    let first = |text: &String| match text.split_once('(') {
        Some((head, rest)) => format!("{head}({}, {rest}", identifier(apart)),
        None => text.clone(),
    };
    IndexRow {
        tail: first(&row.tail),
        constraint_definition: row.constraint_definition.as_ref().map(first),
        ..row.clone()
    }
}

/// Whether an index would refuse a row because of one that the source has deleted.
fn is_loosened(kept: &Kept, table: &Table<'_>, row: &IndexRow) -> bool {
    let name =
        |number: &i16| table.column(*number).and_then(|column| column.row).map(|row| &row.name);
    let columns: Option<BTreeSet<&String>> = row.columns.iter().map(name).collect();
    let is_key = !row.has_expression && columns == Some(kept.key.iter().collect());
    row.is_exclusion || row.is_unique && !is_key
}

/// The index where rows stay that the source has deleted: unique among the others, or not at all. The
/// second value is what to say about it.
fn loosened(
    scope: &Scope<'_>,
    table: &Table<'_>,
    row: &IndexRow,
    (kept, passage): (&Kept, &Passage),
    built: &mut Built,
) -> Result<Option<String>, String> {
    if row.is_exclusion || row.is_temporal {
        return Err("rows that the source has deleted stay, and would be in the way".to_owned());
    }
    if kept.is_present.is_none() && row.nulls_not_distinct {
        return Err("rows that the source has deleted stay, and it cannot be unique".to_owned());
    }
    let quoted = identifier(&row.name);
    let (row, note) = match &kept.is_present {
        Some(is_present) => {
            let more = if has_predicate(&row.tail) { "AND" } else { "WHERE" };
            let tail = format!("{} {more} ({is_present})", row.tail);
            let note = format!("index {quoted} is unique among the rows that are not deleted");
            (IndexRow { tail, ..row.clone() }, note)
        }
        None => {
            let note = format!(
                "index {quoted} is not unique, because rows stay that the source has deleted"
            );
            (IndexRow { is_unique: false, ..row.clone() }, note)
        }
    };
    let row = IndexRow { constraint_name: None, constraint_comment: None, ..row };
    let (name, is_there) = scope.index_name(&table.name, &row.name);
    if !is_there {
        let statement = statement(scope, table, &row, &name, passage);
        let is_last = row.is_partitioned && table.is_partitioned;
        if is_last { built.rest.push(statement) } else { built.indexes.push(statement) }
    }
    if let Some(text) = &row.comment {
        let index = QualifiedName::new(&table.name.schema, &name).sql();
        let sql = comment_sql(&format!("INDEX {index}"), text);
        built.rest.push(Statement::new(format!("index {index}"), sql));
    }
    Ok(Some(note))
}

fn fits_version(row: &IndexRow, version: i32) -> Result<(), String> {
    if row.nulls_not_distinct && version < NULLS_NOT_DISTINCT_SINCE {
        return Err("the destination's version has no NULLS NOT DISTINCT".to_owned());
    }
    if row.is_temporal && version < VERSION_18 {
        return Err("the destination's version has no WITHOUT OVERLAPS".to_owned());
    }
    Ok(())
}

fn statement(
    scope: &Scope<'_>,
    table: &Table<'_>,
    row: &IndexRow,
    name: &str,
    passage: &Passage,
) -> Statement {
    let (on, quoted) = (table.name.sql(), identifier(name));
    let wrapped = |sql: String| match passage {
        Passage::Renamed if row.has_expression => table.under_source_names(&sql),
        _ => sql,
    };
    let columns = |text: &str| match passage {
        Passage::Renamed if !row.has_expression => {
            with_listed_columns(text, |column| table.renamed(column))
        }
        _ => text.to_owned(),
    };
    let (Some(_), Some(definition)) = (&row.constraint_name, &row.constraint_definition) else {
        let unique = if row.is_unique { "UNIQUE " } else { "" };
        let tail = columns(&scope.names.text(&row.tail));
        let sql = format!("CREATE {unique}INDEX {quoted} ON {on} USING {tail}");
        let object = QualifiedName::new(&table.name.schema, name);
        return Statement::new(format!("index {}", object.sql()), wrapped(sql));
    };
    let mut definition = columns(&scope.names.text(definition));
    // An exclusion constraint's definition has its storage parameters in it.
    let options = options_sql(&options(row.options.as_ref()), scope.present.version());
    if let Some(options) = options.filter(|_| !row.is_exclusion || row.is_temporal) {
        definition = with_inserted(&definition, &format!("WITH {options}"), "DEFERRABLE");
    }
    let sql = format!("ALTER TABLE {on} ADD CONSTRAINT {quoted} {definition}");
    Statement::new(format!("constraint {quoted} of table {on}"), wrapped(sql))
}

/// What is said of an index once it is there.
fn marks(table: &Table<'_>, row: &IndexRow, name: &str, built: &mut Built) {
    let (on, quoted) = (table.name.sql(), identifier(name));
    let index = QualifiedName::new(&table.name.schema, name).sql();
    let object = format!("index {index}");
    if row.is_replica_identity {
        let sql = format!("ALTER TABLE ONLY {on} REPLICA IDENTITY USING INDEX {quoted}");
        built.keys.push(Statement::new(&object, sql));
    }
    for (number, target) in &row.statistics {
        let sql = format!("ALTER INDEX {index} ALTER COLUMN {number} SET STATISTICS {target}");
        built.rest.push(Statement::new(&object, sql));
    }
    if row.is_clustered {
        let sql = format!("ALTER TABLE {on} CLUSTER ON {quoted}");
        built.rest.push(Statement::new(&object, sql));
    }
    if let Some(text) = &row.comment {
        built.rest.push(Statement::new(&object, comment_sql(&format!("INDEX {index}"), text)));
    }
    if let Some(text) = &row.constraint_comment {
        let sql = comment_sql(&format!("CONSTRAINT {quoted} ON {on}"), text);
        built.rest.push(Statement::new(format!("constraint {quoted} of table {on}"), sql));
    }
}

/// Extended statistics: no row depends on them.
pub(super) fn statistics(
    scope: &Scope<'_>,
    table: &mut Table<'_>,
    rows: &[&StatisticsRow],
) -> Vec<Statement> {
    let mut statements = Vec::new();
    for row in rows {
        let name = scope.names.object(&QualifiedName::new(&row.schema, &row.name));
        if scope.present.has_statistics(&name) {
            continue;
        }
        let usable = scope.usable(Some(row.oid), &row.tail);
        let passage = match usable.and_then(|()| table.passage(&row.columns)) {
            Ok(passage) => passage,
            Err(reason) => {
                table.notes.push(left_out("statistics", &row.name, &reason));
                continue;
            }
        };
        let (quoted, on) = (name.sql(), table.name.sql());
        let tail = scope.names.text(&row.tail);
        let mut sql = format!("CREATE STATISTICS {quoted} {tail} FROM {on}");
        if matches!(passage, Passage::Renamed) {
            sql = table.under_source_names(&sql);
        }
        let object = format!("statistics {quoted}");
        statements.push(Statement::new(&object, sql));
        if let Some(target) = row.target {
            let sql = format!("ALTER STATISTICS {quoted} SET STATISTICS {target}");
            statements.push(Statement::new(&object, sql));
        }
        if let Some(text) = &row.comment {
            let sql = format!("COMMENT ON STATISTICS {quoted} IS {}", literal(text).trim_start());
            statements.push(Statement::new(&object, sql));
        }
    }
    statements
}
