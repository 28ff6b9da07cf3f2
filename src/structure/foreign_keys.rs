//! Foreign keys of the tables that we create, for after all loads.

use std::collections::HashMap;

use super::names::{Token, tokens, with_listed_columns};
use super::scope::{Scope, comment_sql};
use super::table::{Table, VERSION_18};
use super::{OutputColumn, Statement, TableRequest};
use crate::pg::catalog::structure::ConstraintRow;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid::Oid;

/// What there is to do, and what is not done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignKeys {
    pub keys: Vec<ForeignKey>,
    pub left_out: Vec<LeftOut>,
}

/// One foreign key that is not there yet, or not validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The selected source table that it belongs to (its partition has it, perhaps).
    pub source: Oid,
    /// At the destination.
    pub table: QualifiedName,
    pub referenced: QualifiedName,
    pub name: String,
    /// Adds it; `None` where it is there.
    pub add: Option<Statement>,
    /// Whether `add` leaves the rows unchecked: then [`ForeignKey::validate`] follows.
    pub is_added_unchecked: bool,
    /// Checks the rows; `None` where the source's is not valid either.
    pub validate: Option<Statement>,
    pub comment: Option<Statement>,
}

/// A foreign key that is not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub table: QualifiedName,
    pub name: String,
    pub reason: String,
}

/// Where foreign keys may point.
pub(super) struct Referable<'a> {
    pub(super) requests: HashMap<Oid, &'a TableRequest>,
    /// Tables and partitions that we create.
    pub(super) tables: &'a HashMap<Oid, Table<'a>>,
}

pub(super) fn plan(
    scope: &Scope<'_>,
    referable: &Referable<'_>,
    rows: &[&ConstraintRow],
) -> ForeignKeys {
    let mut planned = ForeignKeys::default();
    for row in rows.iter().filter(|row| row.kind == "f") {
        let Some(table) = referable.tables.get(&row.relation) else { continue };
        // What a foreign key has for each partition that it points to is not the table's.
        let is_own = !row.is_inherited || table.stands_alone() && row.is_of_parent;
        if !is_own {
            continue;
        }
        match one(scope, referable, table, row) {
            Ok(Some(key)) => planned.keys.push(key),
            Ok(None) => {}
            Err(reason) => planned.left_out.push(LeftOut {
                table: table.name.clone(),
                name: row.name.clone(),
                reason,
            }),
        }
    }
    planned.keys.sort_by(|a, b| (&a.table, &a.name).cmp(&(&b.table, &b.name)));
    planned
}

fn one(
    scope: &Scope<'_>,
    referable: &Referable<'_>,
    table: &Table<'_>,
    row: &ConstraintRow,
) -> Result<Option<ForeignKey>, String> {
    let version = scope.present.version();
    if version < VERSION_18 && (!row.is_enforced || row.is_temporal) {
        return Err("the destination's version has no such foreign keys".to_owned());
    }
    let (referenced, referenced_columns) = referenced(referable, row)?;
    outlives(referable, table, row)?;
    let is_shared = |root: Oid| referable.requests.get(&root).is_some_and(|r| r.apart.is_some());
    if is_shared(table.row.root) || is_shared(row.referenced.unwrap_or_default()) {
        return Err("several source tables share one of its tables".to_owned());
    }
    table.passage(&row.columns)?;
    let columns: Vec<&str> =
        row.columns.iter().filter_map(|&number| table.passed_name(number)).collect();
    let (on, name) = (table.name.sql(), identifier(&row.name));
    let object = format!("foreign key {name} of table {on}");
    let present = scope.present.constraint(&table.name, &row.name);
    // Before version 18 the server cannot leave the rows of a partitioned table unchecked.
    let may_be_unchecked = !table.is_partitioned || version >= VERSION_18;
    let is_checked_later = may_be_unchecked && row.is_enforced;
    let validate =
        (row.is_validated && row.is_enforced && present != Some(true) && is_checked_later).then(
            || Statement::new(&object, format!("ALTER TABLE {on} VALIDATE CONSTRAINT {name}")),
        );
    if present.is_some() && validate.is_none() {
        return Ok(None);
    }
    let add = present.is_none().then(|| {
        let actions = with_listed_columns(&actions(&row.definition), |column| table.renamed(column));
        let unchecked = if is_checked_later { " NOT VALID" } else { "" };
        let sql = format!(
            "ALTER TABLE {on} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {} ({}){actions}{unchecked}",
            listed(&columns, row.is_temporal),
            referenced.sql(),
            listed(&referenced_columns, row.is_temporal)
        );
        Statement::new(&object, sql)
    });
    let comment = row.comment.as_ref().map(|text| {
        Statement::new(&object, comment_sql(&format!("CONSTRAINT {name} ON {on}"), text))
    });
    Ok(Some(ForeignKey {
        source: table.row.root,
        table: table.name.clone(),
        referenced,
        name: row.name.clone(),
        add,
        is_added_unchecked: is_checked_later,
        validate,
        comment,
    }))
}

/// Rows that stay would be left without those that they point to.
fn outlives(
    referable: &Referable<'_>,
    table: &Table<'_>,
    row: &ConstraintRow,
) -> Result<(), String> {
    let keeps = |root: Oid| referable.requests.get(&root).is_some_and(|r| r.kept.is_some());
    let oid = row.referenced.unwrap_or_default();
    let root = referable.tables.get(&oid).map_or(oid, |table| table.row.root);
    match keeps(table.row.root) && !keeps(root) {
        true => Err("rows of the table stay that the source has deleted (on_delete), and those that they point to do not".to_owned()),
        false => Ok(()),
    }
}

/// The other side, under the destination's names.
fn referenced(
    referable: &Referable<'_>,
    row: &ConstraintRow,
) -> Result<(QualifiedName, Vec<String>), String> {
    let oid = row.referenced.unwrap_or_default();
    let (name, outputs): (&QualifiedName, Vec<&OutputColumn>) =
        match (referable.tables.get(&oid), referable.requests.get(&oid)) {
            (Some(table), _) => (&table.name, table.columns.iter().map(|c| &c.output).collect()),
            (None, Some(request)) => (&request.destination, request.columns.iter().collect()),
            (None, None) => {
                let name = QualifiedName::new(
                    row.referenced_schema.as_deref().unwrap_or_default(),
                    row.referenced_name.as_deref().unwrap_or_default(),
                );
                return Err(format!("it points to table {}, which is not replicated", name.sql()));
            }
        };
    let mut columns = Vec::with_capacity(row.referenced_columns.len());
    for column in &row.referenced_columns {
        let output = outputs.iter().find(|output| output.source_name.as_ref() == Some(column));
        match output {
            Some(output) if output.is_untransformed => columns.push(output.name.clone()),
            _ => {
                return Err(format!(
                    "column {} of table {} does not pass as it is",
                    identifier(column),
                    name.sql()
                ));
            }
        }
    }
    Ok((name.clone(), columns))
}

fn listed(columns: &[impl AsRef<str>], is_temporal: bool) -> String {
    let last = columns.len().saturating_sub(1);
    let quoted = columns.iter().enumerate().map(|(place, column)| {
        let period = if is_temporal && place == last { "PERIOD " } else { "" };
        format!("{period}{}", identifier(column.as_ref()))
    });
    quoted.collect::<Vec<_>>().join(", ")
}

/// What stands behind both lists of columns, NOT VALID left aside: MATCH, ON UPDATE, DEFERRABLE, ….
fn actions(definition: &str) -> String {
    let mut lists = 0;
    let mut depth = 0;
    let mut rest = String::new();
    for token in tokens(definition) {
        if lists == 2 {
            rest.push_str(token.text());
        }
        match token {
            Token::Other("(") => depth += 1,
            Token::Other(")") => {
                depth -= 1;
                if depth == 0 && lists < 2 {
                    lists += 1;
                }
            }
            _ => {}
        }
    }
    rest.strip_suffix(" NOT VALID").map_or(rest.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_what_follows_both_lists() {
        for (definition, expected) in [
            ("FOREIGN KEY (a) REFERENCES s.t(id)", ""),
            ("FOREIGN KEY (a) REFERENCES s.t(id) NOT VALID", ""),
            (
                "FOREIGN KEY (a, \"b)\") REFERENCES s.t(id, x) MATCH FULL ON DELETE SET NULL (a) DEFERRABLE",
                " MATCH FULL ON DELETE SET NULL (a) DEFERRABLE",
            ),
        ] {
            assert_eq!(actions(definition), expected, "{definition}");
        }
    }
}
