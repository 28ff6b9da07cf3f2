//! From rows to tables: columns as they will be, partitions, parents, and the order of creation.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::columns::generated_misfit;
use super::scope::{Scope, by};
use super::table::{Column, Override, Table};
use super::{OutputColumn, TableRequest};
use crate::pg::catalog::structure::{ColumnRow, ConstraintRow, RelationRow, StructureRows};
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid::Oid;

pub(super) type Tables<'a> = HashMap<Oid, Table<'a>>;

/// Rows by the relation they belong to.
struct Rows<'a> {
    columns: BTreeMap<Oid, Vec<&'a ColumnRow>>,
    constraints: BTreeMap<Oid, Vec<&'a ConstraintRow>>,
    sequences: BTreeMap<Oid, Vec<&'a crate::pg::catalog::structure::SequenceRow>>,
}

/// The tables that are ours, and their partitions. A destination that two source tables share is
/// the first one's.
pub(super) fn describe<'a>(scope: &Scope<'a>, requests: &[TableRequest]) -> Tables<'a> {
    let rows = Rows {
        columns: by(&scope.rows.columns, |row| row.relation),
        constraints: by(&scope.rows.constraints, |row| row.relation),
        sequences: by(&scope.rows.sequences, |row| row.relation),
    };
    let mut names = HashSet::new();
    let ours: HashMap<Oid, &TableRequest> = requests
        .iter()
        .filter(|request| request.is_ours && names.insert(&request.destination))
        .map(|request| (request.oid, request))
        .collect();
    let mut tables = Tables::new();
    let mut ordinary = HashMap::new();
    for row in &scope.rows.relations {
        let Some(request) = ours.get(&row.root) else { continue };
        let mut table = table(scope, &rows, request, row);
        leave_out_generated(scope, &mut table);
        if row.is_partitioned
            && let Err(reason) = partitioning(scope, &table)
        {
            ordinary.entry(row.root).or_insert(reason);
        }
        tables.insert(row.oid, table);
    }
    for (root, reason) in ordinary {
        tables.retain(|oid, table| table.row.root != root || *oid == root);
        if let Some(table) = tables.get_mut(&root) {
            table.is_partitioned = false;
            let note =
                format!("it is partitioned at the source and becomes an ordinary table: {reason}");
            table.notes.push(note);
        }
    }
    relate(&mut tables);
    tables
}

fn table<'a>(
    scope: &Scope<'a>,
    rows: &Rows<'a>,
    request: &TableRequest,
    row: &'a RelationRow,
) -> Table<'a> {
    let constraints = rows.constraints.get(&row.oid).cloned().unwrap_or_default();
    let (not_nulls, others): (Vec<_>, Vec<_>) =
        constraints.into_iter().partition(|constraint| constraint.kind == "n");
    let column_rows = rows.columns.get(&row.oid).cloned().unwrap_or_default();
    let name = if row.oid == row.root {
        request.destination.clone()
    } else {
        scope.names.object(&row.qualified())
    };
    Table {
        row,
        name,
        columns: columns(request, row, &column_rows, &not_nulls),
        checks: others.into_iter().filter(|constraint| constraint.kind == "c").collect(),
        not_nulls,
        sequences: rows.sequences.get(&row.oid).cloned().unwrap_or_default(),
        is_partitioned: row.is_partitioned,
        parents: Vec::new(),
        is_born_child: false,
        overrides: Vec::new(),
        notes: Vec::new(),
        kept: request.kept.clone(),
        apart: request.apart.clone(),
    }
}

/// In the source's order; what only the destination has comes last.
fn columns<'a>(
    request: &TableRequest,
    relation: &RelationRow,
    rows: &[&'a ColumnRow],
    not_nulls: &[&ConstraintRow],
) -> Vec<Column<'a>> {
    let row_of = |output: &OutputColumn| {
        let name = output.source_name.as_ref()?;
        rows.iter().find(|row| row.name == *name).copied()
    };
    let mut columns: Vec<Column<'a>> = request
        .columns
        .iter()
        .map(|output| {
            let row = row_of(output);
            let mut output = output.clone();
            if let Some(row) = row.filter(|_| output.is_untransformed) {
                // A partition may be stricter than its root.
                output.not_null = row.not_null || relation.parent.is_none() && output.not_null;
                let is_unchecked =
                    |check: &&&ConstraintRow| check.columns == [row.number] && !check.is_validated;
                output.not_null &= !not_nulls.iter().any(|check| is_unchecked(&check));
            }
            Column { output, row }
        })
        .collect();
    columns.sort_by_key(|column| column.row.map_or(i16::MAX, |row| row.number));
    columns
}

fn leave_out_generated(scope: &Scope<'_>, table: &mut Table<'_>) {
    let misfit = |column: &Column<'_>| {
        let row = column.row.filter(|row| !row.generated.is_empty())?;
        let has_its_name = |other: &Column<'_>| {
            other.output.name == column.output.name && other.output != column.output
        };
        if table.columns.iter().any(has_its_name) {
            return Some((row.number, "another column is given its name".to_owned()));
        }
        Some((row.number, generated_misfit(scope, table, row)?))
    };
    let misfits: Vec<(i16, String)> = table.columns.iter().filter_map(misfit).collect();
    for (number, reason) in misfits {
        let is_it = |column: &Column<'_>| column.row.is_some_and(|row| row.number == number);
        let name = table.columns.iter().find(|column| is_it(column)).map(|c| c.output.name.clone());
        table.columns.retain(|column| !is_it(column));
        let name = identifier(&name.unwrap_or_default());
        table.notes.push(format!("generated column {name} is left out: {reason}"));
    }
}

/// Whether the destination's table can be partitioned as the source's is.
fn partitioning(scope: &Scope<'_>, table: &Table<'_>) -> Result<(), String> {
    if scope.present.has_relation(&table.name) && !scope.present.is_partitioned(&table.name) {
        return Err("the destination's is one".to_owned());
    }
    let key = table.row.partition_key.as_deref().unwrap_or_default();
    table.passage(&table.row.partition_columns)?;
    scope.usable(Some(table.row.oid), key)
}

/// Finds the parents of classic inheritance.
fn relate(tables: &mut Tables<'_>) {
    let children: Vec<Oid> = tables
        .values()
        .filter(|table| table.row.parent.is_none() && !table.row.inherits.is_empty())
        .map(|table| table.row.oid)
        .collect();
    for child in children {
        let Some(table) = tables.get(&child) else { continue };
        let mut notes = Vec::new();
        let mut parents = Vec::new();
        for oid in &table.row.inherits {
            match tables.get(oid) {
                Some(parent) if is_inheritable(parent, table) => {
                    parents.push((*oid, parent.name.clone()));
                }
                Some(parent) => notes.push(format!(
                    "its inheritance from {} is left out: their columns differ",
                    parent.name.sql()
                )),
                None => notes.push(
                    "its inheritance is left out: the table that it inherits from is not created, too"
                        .to_owned(),
                ),
            }
        }
        let inherits_renamed = table
            .columns
            .iter()
            .any(|column| column.row.is_some_and(|row| row.is_inherited) && column.is_renamed());
        let is_born_child = notes.is_empty() && !inherits_renamed;
        let overrides = if is_born_child { overrides(tables, table) } else { Vec::new() };
        if let Some(table) = tables.get_mut(&child) {
            table.overrides = overrides;
            table.parents = parents;
            table.is_born_child = is_born_child;
            table.notes.extend(notes);
        }
    }
}

/// Inherited columns that are not as their parents have them.
fn overrides(tables: &Tables<'_>, child: &Table<'_>) -> Vec<Override> {
    let parents: Vec<&Table<'_>> =
        child.row.inherits.iter().filter_map(|oid| tables.get(oid)).collect();
    let inherited = child.columns.iter().filter_map(|column| {
        column.row.filter(|row| row.is_inherited && !row.is_local && row.generated.is_empty())
    });
    let differing = inherited.filter_map(|row| {
        let of_parents = parents.iter().flat_map(|parent| &parent.columns);
        let theirs = of_parents.filter_map(|c| c.row).find(|theirs| theirs.name == row.name)?;
        Some(Override {
            number: row.number,
            default_differs: theirs.expression != row.expression,
            is_not_null: row.not_null && !theirs.not_null,
        })
    });
    differing.filter(|found| found.default_differs || found.is_not_null).collect()
}

/// Every column of the parent is one of the child's, by name, type and content.
fn is_inheritable(parent: &Table<'_>, child: &Table<'_>) -> bool {
    parent.columns.iter().all(|column| {
        child.columns.iter().any(|own| {
            own.output.name == column.output.name
                && own.output.type_name == column.output.type_name
                && own.output.source_name == column.output.source_name
        })
    })
}

/// Selected tables in the order of their creation: parents and row types before what needs them.
pub(super) fn order(rows: &StructureRows, tables: &Tables<'_>) -> Vec<Oid> {
    let types: HashMap<Oid, (Vec<Oid>, Option<Oid>)> = rows
        .types
        .iter()
        .map(|row| (row.oid, (row.needs.clone(), row.relation.filter(|_| row.is_row_type))))
        .collect();
    let mut order = Order { tables, types, seen: HashSet::new(), ordered: Vec::new() };
    for relation in rows.relations.iter().filter(|relation| relation.oid == relation.root) {
        order.visit(relation.oid);
    }
    order.ordered
}

struct Order<'t, 'a> {
    tables: &'t Tables<'a>,
    types: HashMap<Oid, (Vec<Oid>, Option<Oid>)>,
    seen: HashSet<Oid>,
    ordered: Vec<Oid>,
}

impl Order<'_, '_> {
    fn visit(&mut self, oid: Oid) {
        let Some(table) = self.tables.get(&oid) else { return };
        if !self.seen.insert(oid) {
            return;
        }
        let parents: Vec<Oid> = table.parents.iter().map(|(parent, _)| *parent).collect();
        let mut types: Vec<Oid> =
            table.columns.iter().filter_map(|column| column.row.map(|row| row.type_oid)).collect();
        let mut seen_types = HashSet::new();
        let mut needed = parents;
        while let Some(type_oid) = types.pop() {
            if !seen_types.insert(type_oid) {
                continue;
            }
            if let Some((parts, relation)) = self.types.get(&type_oid) {
                types.extend(parts);
                needed.extend(relation);
            }
        }
        for table in needed {
            self.visit(table);
        }
        self.ordered.push(oid);
    }
}

/// A partition's table at the destination, with what it is a partition of.
pub(super) fn parent_name(tables: &Tables<'_>, row: &RelationRow) -> Option<QualifiedName> {
    Some(tables.get(&row.parent?)?.name.clone())
}
