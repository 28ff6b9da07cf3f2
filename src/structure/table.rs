//! One table (or partition) with its columns as they will be, and what passes as it is.
//!
//! Columns that a transform renames get their new names at once, unless an expression of the table's
//! reads one of them: then the table is created under the old names and the server renames, because
//! it alone knows which words of an expression are columns.

use super::{Kept, OutputColumn};
use crate::pg::catalog::structure::{ColumnRow, ConstraintRow, RelationRow, SequenceRow};
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pg::oid::Oid;

/// The first version with virtual generated columns, named NOT NULL constraints and NOT ENFORCED.
pub(super) const VERSION_18: i32 = 18;

/// A table with what belongs to it.
pub(super) struct Table<'a> {
    pub(super) row: &'a RelationRow,
    /// At the destination.
    pub(super) name: QualifiedName,
    pub(super) columns: Vec<Column<'a>>,
    pub(super) checks: Vec<&'a ConstraintRow>,
    /// NOT NULL constraints, which have names since version 18.
    pub(super) not_nulls: Vec<&'a ConstraintRow>,
    pub(super) sequences: Vec<&'a SequenceRow>,
    /// It is partitioned at the destination, too.
    pub(super) is_partitioned: bool,
    /// Tables at the destination that it inherits from.
    pub(super) parents: Vec<(Oid, QualifiedName)>,
    /// Inherited columns are left to the parents (CREATE TABLE … INHERITS).
    pub(super) is_born_child: bool,
    /// Inherited columns whose default or NOT NULL is not the parents'.
    pub(super) overrides: Vec<Override>,
    pub(super) notes: Vec<String>,
    pub(super) kept: Option<Kept>,
    /// What is unique at the source is so beside this column.
    pub(super) apart: Option<String>,
}

/// An inherited column that is not as the parents have it.
#[derive(Clone, Copy)]
pub(super) struct Override {
    pub(super) number: i16,
    pub(super) default_differs: bool,
    pub(super) is_not_null: bool,
}

/// A column as it will be.
#[derive(Clone)]
pub(super) struct Column<'a> {
    pub(super) output: OutputColumn,
    /// The source's column that it is made from.
    pub(super) row: Option<&'a ColumnRow>,
}

/// Whether a set of columns is at the destination as it is at the source.
pub(super) enum Passage {
    Same,
    /// Some have another name.
    Renamed,
}

impl Column<'_> {
    pub(super) fn passed(&self) -> Option<&ColumnRow> {
        self.row.filter(|_| self.output.is_untransformed)
    }

    pub(super) fn is_renamed(&self) -> bool {
        self.passed().is_some_and(|row| row.name != self.output.name)
    }
}

impl<'a> Table<'a> {
    /// A partition at the source that is a table of its own here: what it has by inheritance is its
    /// own.
    pub(super) fn stands_alone(&self) -> bool {
        self.row.bound.is_some() && self.row.parent.is_none()
    }

    pub(super) fn object(&self) -> String {
        format!("table {}", self.name.sql())
    }

    pub(super) fn column(&self, number: i16) -> Option<&Column<'a>> {
        self.columns.iter().find(|column| column.row.is_some_and(|row| row.number == number))
    }

    /// The destination's name of a source column whose values pass as they are.
    pub(super) fn passed_name(&self, number: i16) -> Option<&str> {
        let column = self.column(number)?;
        column.passed().map(|_| column.output.name.as_str())
    }

    /// The destination's name of a column that has another at the source.
    pub(super) fn renamed(&self, source_name: &str) -> Option<String> {
        let is_it = |column: &&Column<'_>| column.row.is_some_and(|row| row.name == source_name);
        let column = self.columns.iter().find(is_it)?;
        (column.output.name != source_name).then(|| column.output.name.clone())
    }

    /// As [`Table::passage`], for a key of plain columns: values that were changed will do, if equal
    /// ones stayed equal and others different.
    pub(super) fn key_passage(&self, numbers: &[i16]) -> Result<Passage, String> {
        let columns: Option<Vec<&Column<'a>>> =
            numbers.iter().map(|&number| self.column(number)).collect();
        match columns {
            Some(columns) if columns.iter().all(|column| column.output.is_distinct) => {
                let is_renamed = |column: &&Column<'_>| {
                    column.row.is_some_and(|row| row.name != column.output.name)
                };
                let any = columns.iter().any(is_renamed);
                Ok(if any { Passage::Renamed } else { Passage::Same })
            }
            _ => self.passage(numbers),
        }
    }

    /// Whether all of the columns pass as they are; the reason where one does not.
    pub(super) fn passage(&self, numbers: &[i16]) -> Result<Passage, String> {
        let mut passage = Passage::Same;
        for &number in numbers {
            if number <= 0 {
                let all_same =
                    self.columns.iter().all(|c| c.output.is_untransformed && !c.is_renamed());
                if !all_same || self.name.name != self.row.name {
                    return Err("it reads whole rows, which change".to_owned());
                }
                continue;
            }
            match self.column(number) {
                Some(column) if column.passed().is_some() => {
                    if column.is_renamed() {
                        passage = Passage::Renamed;
                    }
                }
                Some(column) => {
                    let name = identifier(column.row.map_or("", |row| &row.name));
                    return Err(format!("its column {name} does not pass as it is"));
                }
                None => return Err("one of its columns does not pass".to_owned()),
            }
        }
        Ok(passage)
    }

    /// Statements that undo the renames and do them again, around ones that must say the source's
    /// names: the server's names are the only sure ones in an expression.
    pub(super) fn under_source_names(&self, sql: &str) -> String {
        let renamed: Vec<(&str, &str)> = self
            .columns
            .iter()
            .filter(|column| column.is_renamed())
            .filter_map(|column| Some((column.row?.name.as_str(), column.output.name.as_str())))
            .collect();
        let back: Vec<(&str, &str)> = renamed.iter().map(|&(from, to)| (to, from)).collect();
        format!("{}; {sql}; {}", self.rename_sql(&back), self.rename_sql(&renamed))
    }

    /// Renames in two steps where one's new name is another's old one.
    pub(super) fn rename_sql(&self, renames: &[(&str, &str)]) -> String {
        let table = self.name.sql();
        let one = |from: &str, to: &str| {
            format!("ALTER TABLE {table} RENAME COLUMN {} TO {}", identifier(from), identifier(to))
        };
        let is_tangled = renames.iter().any(|(_, to)| renames.iter().any(|(from, _)| from == to));
        let statements: Vec<String> = if is_tangled {
            let between = |place: usize| format!("sync_agent_rename_{place}");
            let first = renames.iter().enumerate().map(|(i, (from, _))| one(from, &between(i)));
            let second = renames.iter().enumerate().map(|(i, (_, to))| one(&between(i), to));
            first.chain(second).collect()
        } else {
            renames.iter().map(|(from, to)| one(from, to)).collect()
        };
        statements.join("; ")
    }
}

pub(super) fn left_out(kind: &str, name: &str, reason: &str) -> String {
    format!("{kind} {} is left out: {reason}", identifier(name))
}

/// A literal as a `regclass`.
pub(super) fn regclass(name: &QualifiedName) -> String {
    format!("{}::pg_catalog.regclass", literal(&name.sql()).trim_start())
}
