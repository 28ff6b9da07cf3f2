//! `[[table]]`: names, overrides, and that each stands for one table that `include` covers.

use crate::config::document::Path;
use crate::config::file::{ConfigFile, TableFile, UnlistedFile};
use crate::config::pattern::{Pattern, QualifiedName, parse_name};
use crate::config::settings::{ColumnSettings, OnDelete, TableSettings, Unlisted};
use crate::config::validate::columns::SYSTEM_HINT;
use crate::config::validate::{Check, new_columns, on_existing, on_truncate};
use crate::pg::ident::SYSTEM_COLUMNS;

/// Longest name PostgreSQL keeps, in bytes.
const NAME_BYTES_MAX: usize = 63;

impl Check<'_> {
    pub(super) fn tables(
        &mut self,
        file: &ConfigFile,
        include: &[Pattern],
        exclude: &[Pattern],
    ) -> Vec<TableSettings> {
        let mut tables: Vec<TableSettings> = Vec::new();
        for (index, entry) in file.table.iter().flatten().enumerate() {
            let path = Path::of(&["table"]).index(index);
            let table = self.table(entry, &path);
            if let Some(table) = table {
                self.covered(&table.name, &path, include, exclude);
                self.alone(&table, &tables, &path);
                tables.push(table);
            }
        }
        tables
    }

    /// `None` where there is no name to speak of; the other keys are checked all the same.
    fn table(&mut self, entry: &TableFile, path: &Path) -> Option<TableSettings> {
        let name = entry.name.as_deref().and_then(|text| self.table_name(&path.key("name"), text));
        let destination = entry
            .destination
            .as_deref()
            .and_then(|text| self.table_name(&path.key("destination"), text));
        let columns = self.columns(entry.columns.as_ref(), &path.key("columns"));
        let on_delete = self.on_delete(entry.on_delete.as_deref(), &path.key("on_delete"));
        self.own_mark(&on_delete, &columns, path);
        Some(TableSettings {
            name: name?,
            destination,
            on_existing: entry.on_existing.map(on_existing),
            new_columns: entry.new_columns.map(new_columns),
            on_truncate: entry.on_truncate.map(on_truncate),
            on_delete,
            create_tables: entry.create_tables,
            apart: None,
            key: self.key(entry.key.as_deref(), &path.key("key")),
            unlisted: entry.unlisted.map(|unlisted| match unlisted {
                UnlistedFile::Pass => Unlisted::Pass,
                UnlistedFile::Drop => Unlisted::Drop,
                UnlistedFile::Fail => Unlisted::Fail,
            }),
            filter: self.expression(entry.filter.as_deref(), &path.key("where")),
            columns,
        })
    }

    /// An SQL expression. That it is one only the server can say.
    pub(super) fn expression(&mut self, sql: Option<&str>, path: &Path) -> Option<String> {
        let sql = sql?;
        if sql.trim().is_empty() {
            let problem = self.problems.value(path, "the expression is empty");
            problem.hint("Write an SQL expression over the table's columns, or leave it out.");
            return None;
        }
        Some(sql.to_owned())
    }

    fn on_delete(&mut self, written: Option<&str>, path: &Path) -> OnDelete {
        match written {
            None | Some("delete") => OnDelete::Delete,
            Some("keep") => OnDelete::Keep,
            Some(text) => match text.strip_prefix("mark:").filter(|column| !column.is_empty()) {
                Some(column) if column.len() > NAME_BYTES_MAX || column.contains('\0') => {
                    let message = format!("\"{column}\" is no name of a column");
                    self.problems.value(path, message).hint("A name has at most 63 bytes.");
                    OnDelete::Keep
                }
                Some(column) if SYSTEM_COLUMNS.contains(&column) => {
                    let message = format!("no table's column can be called \"{column}\"");
                    self.problems.value(path, message).hint(SYSTEM_HINT);
                    OnDelete::Keep
                }
                Some(column) => OnDelete::Mark(column.to_owned()),
                None => {
                    let problem =
                        self.problems.value(path, format!("\"{text}\" is not a way to delete"));
                    problem.hint("Write \"delete\", \"keep\" or \"mark:<column>\".");
                    OnDelete::Delete
                }
            },
        }
    }

    /// The marked column is the agent's alone.
    fn own_mark(&mut self, on_delete: &OnDelete, columns: &[ColumnSettings], path: &Path) {
        let Some(mark) = on_delete.mark() else { return };
        let is_it = |column: &&ColumnSettings| {
            column.name == mark || column.rename.as_deref() == Some(mark)
        };
        if let Some(column) = columns.iter().find(is_it) {
            let columns = path.key("columns").key(&column.name);
            let message = format!("column \"{mark}\" is also in [table.columns] ({columns})");
            let problem = self.problems.value(&path.key("on_delete"), message);
            problem.hint("The mark needs a column of its own at the destination.");
        }
    }

    pub(super) fn key(&mut self, columns: Option<&[String]>, path: &Path) -> Option<Vec<String>> {
        let columns = columns?;
        if columns.is_empty() {
            let problem = self.problems.value(path, "a key without columns identifies nothing");
            problem.hint("Name its columns, or leave it out: then it is the replica identity's.");
        }
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].contains(column) {
                let message = format!("column \"{column}\" is in the key already");
                self.problems.value(&path.index(index), message);
            }
        }
        Some(columns.to_vec())
    }

    pub(super) fn table_name(&mut self, path: &Path, text: &str) -> Option<QualifiedName> {
        match parse_name(text) {
            Ok(name) => Some(name),
            Err(err) => {
                self.problems.value(path, format!("table name {err}")).hint = err.hint();
                None
            }
        }
    }

    fn covered(
        &mut self,
        name: &QualifiedName,
        path: &Path,
        include: &[Pattern],
        exclude: &[Pattern],
    ) {
        // Patterns that could not be read may have been the ones that cover it.
        let lists = [Path::of(&["include"]), Path::of(&["exclude"])];
        if lists.iter().any(|list| self.problems.within(list)) {
            return;
        }
        let path = path.key("name");
        if !include.iter().any(|pattern| pattern.matches(name)) {
            let problem =
                self.problems.value(&path, format!("table \"{name}\" is not covered by include"));
            problem.hint("Add it to include, or leave the entry out.");
        } else if let Some(pattern) = exclude.iter().find(|pattern| pattern.matches(name)) {
            let message = format!("table \"{name}\" is excluded by \"{pattern}\"");
            self.problems.value(&path, message);
        }
    }

    fn alone(&mut self, table: &TableSettings, before: &[TableSettings], path: &Path) {
        if before.iter().any(|other| other.name == table.name) {
            let message = format!("table \"{}\" has an entry already", table.name);
            self.problems.value(&path.key("name"), message);
        }
    }
}
