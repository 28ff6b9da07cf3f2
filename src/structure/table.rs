//! One table (or partition): its columns as they will be, and the statements that create it.
//!
//! Columns that a transform renames get their new names at once, unless an expression of the table's
//! reads one of them: then the table is created under the old names and the server renames, because
//! it alone knows which words of an expression are columns.

use std::collections::BTreeMap;

use super::scope::{Scope, comment_sql, options, options_sql};
use super::types::{Made, collate};
use super::{OutputColumn, Statement};
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
    fn passed(&self) -> Option<&ColumnRow> {
        self.row.filter(|_| self.output.is_untransformed)
    }

    pub(super) fn is_renamed(&self) -> bool {
        self.passed().is_some_and(|row| row.name != self.output.name)
    }
}

impl<'a> Table<'a> {
    pub(super) fn object(&self) -> String {
        format!("table {}", self.name.sql())
    }

    fn column(&self, number: i16) -> Option<&Column<'a>> {
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
    fn rename_sql(&self, renames: &[(&str, &str)]) -> String {
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

    /// Whether something in CREATE TABLE reads a column that is renamed.
    fn needs_source_names(&self, checks: &[&ConstraintRow]) -> bool {
        let is_renamed = |numbers: &[i16]| matches!(self.passage(numbers), Ok(Passage::Renamed));
        let of_columns = self.columns.iter().filter_map(Column::passed);
        let mut generated = of_columns.filter(|row| !row.generated.is_empty());
        generated.any(|row| is_renamed(&row.expression_columns))
            || checks.iter().any(|check| is_renamed(&check.columns))
            || self.is_partitioned && is_renamed(&self.row.partition_columns)
    }

    /// CREATE TABLE and what follows at once. Checks that rows may break are the caller's.
    pub(super) fn create(&mut self, scope: &Scope<'_>) -> Vec<Statement> {
        let object = self.object();
        let mut made = Made::default();
        let checks = self.early_checks(scope);
        let under_source_names = self.needs_source_names(&checks);
        let mut parts: Vec<String> = Vec::with_capacity(self.columns.len() + checks.len());
        for column in &self.columns {
            let is_left_to_parents = self.is_born_child
                && column.row.is_some_and(|row| row.is_inherited && !row.is_local);
            if !is_left_to_parents {
                parts.push(self.definition(scope, column, under_source_names, &mut made));
            }
        }
        for check in &checks {
            let name = identifier(&check.name);
            parts.push(format!("CONSTRAINT {name} {}", scope.names.text(&check.definition)));
        }
        let mut sql = format!("CREATE TABLE {} ({})", self.name.sql(), parts.join(", "));
        if self.is_born_child {
            let parents: Vec<String> = self.parents.iter().map(|(_, name)| name.sql()).collect();
            sql.push_str(&format!(" INHERITS ({})", parents.join(", ")));
        }
        if self.is_partitioned {
            let key = self.row.partition_key.as_deref().unwrap_or_default();
            let key = scope.names.text(key);
            let renamed = |name: &str| self.renamed(name).filter(|_| !under_source_names);
            sql.push_str(&format!(
                " PARTITION BY {}",
                super::names::with_listed_columns(&key, renamed)
            ));
        }
        if let Some(method) = &self.row.access_method {
            if scope.present.has_access_method(method) {
                sql.push_str(&format!(" USING {}", identifier(method)));
            } else {
                self.notes.push(format!(
                    "access method \"{method}\" is left out: the destination lacks it"
                ));
            }
        }
        let toast = options(self.row.toast_options.as_ref());
        let toast: Vec<(String, &str)> =
            toast.into_iter().map(|(name, value)| (format!("toast.{name}"), value)).collect();
        let mut all = options(self.row.options.as_ref());
        all.extend(toast.iter().map(|(name, value)| (name.as_str(), *value)));
        if let Some(options) = options_sql(&all, scope.present.version()) {
            sql.push_str(&format!(" WITH {options}"));
        }
        let mut statements = vec![Statement::new(&object, sql)];
        if under_source_names {
            statements.push(Statement::new(&object, self.final_names()));
        }
        self.notes.extend(made.notes.into_iter().map(|(_, note)| note));
        statements.extend(self.settings(scope));
        statements
    }

    fn final_names(&self) -> String {
        let renamed: Vec<(&str, &str)> = self
            .columns
            .iter()
            .filter(|column| column.is_renamed())
            .filter_map(|column| Some((column.row?.name.as_str(), column.output.name.as_str())))
            .collect();
        self.rename_sql(&renamed)
    }

    fn definition(
        &self,
        scope: &Scope<'_>,
        column: &Column<'_>,
        under_source_names: bool,
        made: &mut Made,
    ) -> String {
        let passed = column.passed();
        let name = match passed {
            Some(row) if under_source_names => &row.name,
            _ => &column.output.name,
        };
        let mut text =
            format!("{} {}", identifier(name), scope.names.text(&column.output.type_name));
        if let Some(row) = passed {
            text.push_str(&collate(scope, row.collation, &self.object(), made));
            text.push_str(&self.value_clause(scope, row, made));
        }
        if column.output.not_null {
            text.push_str(&self.not_null_clause(scope, column));
        }
        text
    }

    /// With its name where the destination keeps one and would choose another.
    fn not_null_clause(&self, scope: &Scope<'_>, column: &Column<'_>) -> String {
        let plain = " NOT NULL".to_owned();
        let number = column.row.map(|row| row.number);
        let named = self.not_nulls.iter().find(|row| row.columns.first().copied() == number);
        let Some(named) = named.filter(|_| scope.present.version() >= VERSION_18) else {
            return plain;
        };
        let usual = format!("{}_{}_not_null", self.name.name, column.output.name);
        let no_inherit = if named.no_inherit { " NO INHERIT" } else { "" };
        if named.name == usual {
            return format!("{plain}{no_inherit}");
        }
        format!(" CONSTRAINT {}{plain}{no_inherit}", identifier(&named.name))
    }

    /// Default, identity or generation.
    fn value_clause(&self, scope: &Scope<'_>, row: &ColumnRow, made: &mut Made) -> String {
        let expression = row.expression.as_deref().unwrap_or_default();
        match row.generated.as_str() {
            "v" => {
                return format!(
                    " GENERATED ALWAYS AS {} VIRTUAL",
                    parenthesized(scope.names.text(expression))
                );
            }
            "s" => {
                return format!(
                    " GENERATED ALWAYS AS {} STORED",
                    parenthesized(scope.names.text(expression))
                );
            }
            _ => {}
        }
        let is_partition = self.row.parent.is_some();
        let kind = match row.identity.as_str() {
            // A partition has its root's.
            "a" | "d" if is_partition => return String::new(),
            "a" => "ALWAYS",
            "d" => "BY DEFAULT",
            _ if row.expression.is_none() => return String::new(),
            _ => {
                return match scope.usable(row.expression_oid, expression) {
                    Ok(()) => format!(" DEFAULT {}", scope.names.text(expression)),
                    Err(reason) => {
                        let column = identifier(&row.name);
                        let note = format!("the default of column {column} is left out: {reason}");
                        made.notes.push((self.object(), note));
                        String::new()
                    }
                };
            }
        };
        let sequence = self.sequences.iter().find(|s| s.is_identity && s.column == row.number);
        let options = sequence.map(|sequence| {
            let name = QualifiedName::new(&self.name.schema, &sequence.name);
            let named = if scope.present.has_relation(&name) {
                String::new()
            } else {
                format!("SEQUENCE NAME {} ", name.sql())
            };
            format!(" ({named}{})", super::sequences::options_sql(sequence))
        });
        format!(" GENERATED {kind} AS IDENTITY{}", options.unwrap_or_default())
    }

    /// Checks that stand in CREATE TABLE: the rows that come satisfy them.
    fn early_checks(&mut self, scope: &Scope<'_>) -> Vec<&'a ConstraintRow> {
        let mut early = Vec::new();
        for check in self.checks.clone() {
            if self.is_born_child && check.is_inherited && !check.is_local {
                continue;
            }
            if is_late(scope, check) {
                continue;
            }
            match self.usable_check(scope, check) {
                Ok(()) => early.push(check),
                Err(reason) => self.notes.push(left_out("check", &check.name, &reason)),
            }
        }
        early
    }

    fn usable_check(&self, scope: &Scope<'_>, check: &ConstraintRow) -> Result<(), String> {
        self.passage(&check.columns)?;
        scope.usable(Some(check.oid), &check.definition)?;
        if !check.is_enforced && scope.present.version() < VERSION_18 {
            return Err("the destination's version has no NOT ENFORCED".to_owned());
        }
        Ok(())
    }

    /// Checks that rows of the source may break, or that may read other tables.
    pub(super) fn late_checks(&mut self, scope: &Scope<'_>) -> Vec<Statement> {
        let mut statements = Vec::new();
        for check in self.checks.clone() {
            let is_parents = check.is_inherited && !check.is_local;
            let is_present = scope.present.constraint(&self.name, &check.name).is_some();
            if !is_late(scope, check) || is_parents || is_present {
                continue;
            }
            if let Err(reason) = self.usable_check(scope, check) {
                self.notes.push(left_out("check", &check.name, &reason));
                continue;
            }
            let (table, name) = (self.name.sql(), identifier(&check.name));
            let definition = scope.names.text(&check.definition);
            let mut sql = format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}");
            if matches!(self.passage(&check.columns), Ok(Passage::Renamed)) {
                sql = self.under_source_names(&sql);
            }
            statements.push(Statement::new(format!("constraint {name} of table {table}"), sql));
        }
        statements
    }

    /// What a child has that its parents' columns have not, or its parents.
    pub(super) fn inheritance(&self, scope: &Scope<'_>) -> Vec<Statement> {
        let table = self.name.sql();
        let mut statements = Vec::new();
        let mut alter = |sql: String| {
            statements
                .push(Statement::new(self.object(), format!("ALTER TABLE ONLY {table} {sql}")));
        };
        if !self.is_born_child {
            for (_, parent) in &self.parents {
                alter(format!("INHERIT {}", parent.sql()));
            }
            return statements;
        }
        for differing in &self.overrides {
            let Some(column) = self.column(differing.number) else { continue };
            let Some(row) = column.passed() else { continue };
            let name = identifier(&column.output.name);
            if differing.default_differs {
                let usable = |text: &&str| scope.usable(row.expression_oid, text).is_ok();
                alter(match row.expression.as_deref().filter(usable) {
                    Some(value) => {
                        format!("ALTER COLUMN {name} SET DEFAULT {}", scope.names.text(value))
                    }
                    None => format!("ALTER COLUMN {name} DROP DEFAULT"),
                });
            }
            if differing.is_not_null {
                alter(format!("ALTER COLUMN {name} SET NOT NULL"));
            }
        }
        statements
    }

    /// What columns and table have besides their definition.
    fn settings(&self, scope: &Scope<'_>) -> Vec<Statement> {
        let table = self.name.sql();
        let mut alterations = Vec::new();
        for column in self.columns.iter().filter(|column| column.passed().is_some()) {
            let Some(row) = column.passed() else { continue };
            let alter = format!("ALTER COLUMN {}", identifier(&column.output.name));
            let storage = BTreeMap::from([
                ("p", "PLAIN"),
                ("e", "EXTERNAL"),
                ("m", "MAIN"),
                ("x", "EXTENDED"),
            ]);
            if let Some(storage) = row.storage.as_deref().and_then(|kind| storage.get(kind)) {
                alterations.push(format!("{alter} SET STORAGE {storage}"));
            }
            match row.compression.as_deref() {
                Some("p") => alterations.push(format!("{alter} SET COMPRESSION pglz")),
                Some("l") if scope.present.server.has_lz4 => {
                    alterations.push(format!("{alter} SET COMPRESSION lz4"));
                }
                _ => {}
            }
            if let Some(target) = row.statistics {
                alterations.push(format!("{alter} SET STATISTICS {target}"));
            }
            let options = options_sql(&options(row.options.as_ref()), scope.present.version());
            if let Some(options) = options {
                alterations.push(format!("{alter} SET {options}"));
            }
        }
        match self.row.identity.as_str() {
            "f" => alterations.push("REPLICA IDENTITY FULL".to_owned()),
            "n" => alterations.push("REPLICA IDENTITY NOTHING".to_owned()),
            _ => {}
        }
        let mut statements = Vec::new();
        if !alterations.is_empty() {
            let sql = format!("ALTER TABLE ONLY {table} {}", alterations.join(", "));
            statements.push(Statement::new(self.object(), sql));
        }
        statements.extend(self.comments());
        statements
    }

    fn comments(&self) -> Vec<Statement> {
        let table = self.name.sql();
        let of_table =
            self.row.comment.iter().map(|text| comment_sql(&format!("TABLE {table}"), text));
        let of_columns = self.columns.iter().filter_map(|column| {
            let comment = column.row?.comment.as_ref()?;
            let name = identifier(&column.output.name);
            Some(comment_sql(&format!("COLUMN {table}.{name}"), comment))
        });
        of_table.chain(of_columns).map(|sql| Statement::new(self.object(), sql)).collect()
    }

    /// Comments on checks, as far as these are there by then.
    pub(super) fn check_comments(&self, scope: &Scope<'_>) -> Vec<Statement> {
        let table = self.name.sql();
        let commented = self.checks.iter().filter(|check| self.usable_check(scope, check).is_ok());
        commented
            .filter_map(|check| {
                let name = identifier(&check.name);
                let object = format!("CONSTRAINT {name} ON {table}");
                let sql = comment_sql(&object, check.comment.as_ref()?);
                Some(Statement::new(format!("constraint {name} of table {table}"), sql))
            })
            .collect()
    }
}

fn is_late(scope: &Scope<'_>, check: &ConstraintRow) -> bool {
    !check.is_validated || scope.calls_users_functions(check.oid)
}

pub(super) fn left_out(kind: &str, name: &str, reason: &str) -> String {
    format!("{kind} {} is left out: {reason}", identifier(name))
}

fn parenthesized(expression: String) -> String {
    // The server writes operators with parentheses and function calls without.
    format!("({expression})")
}

/// Generated columns that the destination cannot compute, with the reason.
pub(super) fn generated_misfit(
    scope: &Scope<'_>,
    table: &Table<'_>,
    row: &ColumnRow,
) -> Option<String> {
    if row.generated == "v" && scope.present.version() < VERSION_18 {
        return Some("the destination has no virtual columns".to_owned());
    }
    let text = row.expression.as_deref().unwrap_or_default();
    let fits =
        table.passage(&row.expression_columns).and_then(|_| scope.usable(row.expression_oid, text));
    fits.err()
}

/// A literal as a `regclass`.
pub(super) fn regclass(name: &QualifiedName) -> String {
    format!("{}::pg_catalog.regclass", literal(&name.sql()).trim_start())
}
