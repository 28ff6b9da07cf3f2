//! Checks: those that stand in CREATE TABLE, and those that wait for the rows.

use super::Statement;
use super::scope::{Scope, comment_sql};
use super::table::{Passage, Table, VERSION_18, left_out};
use crate::pg::catalog::structure::ConstraintRow;
use crate::pg::ident::identifier;

impl<'a> Table<'a> {
    /// Checks that stand in CREATE TABLE: the rows that come satisfy them.
    pub(super) fn early_checks(&mut self, scope: &Scope<'_>) -> Vec<&'a ConstraintRow> {
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

    pub(super) fn usable_check(
        &self,
        scope: &Scope<'_>,
        check: &ConstraintRow,
    ) -> Result<(), String> {
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
            let is_parents = check.is_inherited && !check.is_local && !self.stands_alone();
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
