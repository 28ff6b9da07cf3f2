//! Columns: what stands in CREATE TABLE about each, and what ALTER TABLE adds at once.

use std::collections::BTreeMap;

use super::Statement;
use super::scope::{Scope, comment_sql, options, options_sql};
use super::table::{Column, Table, VERSION_18};
use super::types::{Made, collate};
use crate::pg::catalog::structure::ColumnRow;
use crate::pg::ident::{QualifiedName, identifier};

impl Table<'_> {
    pub(super) fn definition(
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
    pub(super) fn not_null_clause(&self, scope: &Scope<'_>, column: &Column<'_>) -> String {
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
    pub(super) fn value_clause(
        &self,
        scope: &Scope<'_>,
        row: &ColumnRow,
        made: &mut Made,
    ) -> String {
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

    /// What columns and table have besides their definition.
    pub(super) fn settings(&self, scope: &Scope<'_>) -> Vec<Statement> {
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

    pub(super) fn comments(&self) -> Vec<Statement> {
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
