//! CREATE TABLE, and what makes it a child.

use super::Statement;
use super::names::with_listed_columns;
use super::scope::{Scope, options, options_sql};
use super::table::{Column, Passage, Table};
use super::types::Made;
use crate::pg::catalog::structure::ConstraintRow;
use crate::pg::ident::identifier;

impl Table<'_> {
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
            sql.push_str(&format!(" PARTITION BY {}", with_listed_columns(&key, renamed)));
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

    /// Whether something in CREATE TABLE reads a column that is renamed.
    pub(super) fn needs_source_names(&self, checks: &[&ConstraintRow]) -> bool {
        let is_renamed = |numbers: &[i16]| matches!(self.passage(numbers), Ok(Passage::Renamed));
        let of_columns = self.columns.iter().filter_map(Column::passed);
        let mut generated = of_columns.filter(|row| !row.generated.is_empty());
        generated.any(|row| is_renamed(&row.expression_columns))
            || checks.iter().any(|check| is_renamed(&check.columns))
            || self.is_partitioned && is_renamed(&self.row.partition_columns)
    }

    pub(super) fn final_names(&self) -> String {
        let renamed: Vec<(&str, &str)> = self
            .columns
            .iter()
            .filter(|column| column.is_renamed())
            .filter_map(|column| Some((column.row?.name.as_str(), column.output.name.as_str())))
            .collect();
        self.rename_sql(&renamed)
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
}
