//! Statements that create a missing table as the source has it; pure.
//!
//! The table comes first, keys and unique constraints after the load ([`constraints_sql`]): an index
//! is built faster over rows than by them. What cannot be kept is left out with a note, never
//! silently: a default that calls a user's function, a generated column whose inputs are not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::pg::catalog::{
    ColumnInfo, Generated, Identity, IndexInfo, RelationKind, SequenceInfo, TableInfo,
};
use crate::pg::ident::{QualifiedName, identifier, identifiers, literal};

/// The first version with virtual generated columns.
const VIRTUAL_COLUMNS_SINCE: i32 = 18;

/// One column as it leaves the transforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// At the destination.
    pub name: String,
    /// At the source; `None` for one that a transform adds.
    pub source_name: Option<String>,
    pub type_name: String,
    pub not_null: bool,
    /// Its values are the source's own: default, identity, generation and collation are kept.
    pub is_untransformed: bool,
}

impl OutputColumn {
    /// A column that passes as it is.
    pub fn untransformed(column: &ColumnInfo) -> OutputColumn {
        OutputColumn {
            name: column.name.clone(),
            source_name: Some(column.name.clone()),
            type_name: column.type_name.clone(),
            not_null: column.not_null,
            is_untransformed: true,
        }
    }
}

/// The table to create.
#[derive(Clone, Copy, Debug)]
pub struct NewTable<'a> {
    pub source: &'a TableInfo,
    pub name: &'a QualifiedName,
    /// All that it shall have, generated ones included.
    pub columns: &'a [OutputColumn],
    /// Source schema → destination schema; one that is not named maps to itself.
    pub schemas: &'a BTreeMap<String, String>,
    /// Schemas that the destination has: `CREATE SCHEMA IF NOT EXISTS` would ask for a privilege
    /// even where there is nothing to do.
    pub existing_schemas: &'a BTreeSet<String>,
    /// The destination's, 14, 15, ….
    pub major_version: i32,
}

/// Statements in order, and what they leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ddl {
    pub statements: Vec<String>,
    /// Lowercase sentences for `check` and the log.
    pub notes: Vec<String>,
}

/// Schema, sequences and the table itself, without keys.
pub fn create_table_sql(table: &NewTable<'_>) -> Ddl {
    let mut ddl = Ddl::default();
    let mut schemas = BTreeSet::new();
    let mut sequences = Vec::new();
    let mut owned_by = Vec::new();
    let mut definitions = Vec::new();
    schemas.insert(table.name.schema.clone());
    for output in table.columns {
        let Some(definition) = table.definition(output, &mut ddl.notes) else { continue };
        definitions.push(definition);
        let Some((sequence, name)) = table.default_sequence(output) else { continue };
        schemas.insert(name.schema.clone());
        sequences.push(create_sequence(sequence, &name));
        if sequence.is_owned {
            let column = identifier(&output.name);
            let table = table.name.sql();
            owned_by.push(format!("ALTER SEQUENCE {} OWNED BY {table}.{column}", name.sql()));
        }
    }
    let new_schemas = schemas.difference(table.existing_schemas);
    ddl.statements = new_schemas
        .map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(schema)))
        .collect();
    ddl.statements.extend(sequences);
    let columns = definitions.join(", ");
    ddl.statements.push(format!("CREATE TABLE {} ({columns})", table.name.sql()));
    ddl.statements.extend(owned_by);
    if table.source.kind == RelationKind::Partitioned {
        ddl.notes.push("it is partitioned at the source and becomes an ordinary table".to_owned());
    }
    ddl
}

/// Primary key and unique constraints, as far as `destination` (its table now) lacks them.
pub fn constraints_sql(table: &NewTable<'_>, destination: Option<&TableInfo>) -> Ddl {
    let mut ddl = Ddl::default();
    for index in &table.source.indexes {
        if destination.is_some_and(|present| table.has_index(index, present)) {
            continue;
        }
        match table.index_statement(index) {
            Ok(statement) => ddl.statements.push(statement),
            Err(reason) => {
                ddl.notes.push(format!("index {} is left out: {reason}", identifier(&index.name)));
            }
        }
    }
    ddl
}

/// Types the table needs that no server has by itself, by schema and name.
pub fn user_types(table: &NewTable<'_>) -> BTreeSet<QualifiedName> {
    let columns = table.columns.iter().filter_map(|output| table.source_column(output));
    columns
        .map(|column| &column.type_qualified)
        .filter(|name| name.schema != "pg_catalog")
        .cloned()
        .collect()
}

/// Collations the table names.
pub fn collations(table: &NewTable<'_>) -> BTreeSet<QualifiedName> {
    let columns = table.columns.iter().filter_map(|output| table.source_column(output));
    columns.filter_map(|column| column.collation.clone()).collect()
}

impl NewTable<'_> {
    /// The source's column where it passes untransformed.
    fn source_column(&self, output: &OutputColumn) -> Option<&ColumnInfo> {
        let name = output.source_name.as_deref().filter(|_| output.is_untransformed)?;
        self.source.column(name)
    }

    /// The destination's name of a source column, if it has one.
    fn output(&self, source_name: &str) -> Option<&OutputColumn> {
        self.columns.iter().find(|output| output.source_name.as_deref() == Some(source_name))
    }

    fn definition(&self, output: &OutputColumn, notes: &mut Vec<String>) -> Option<String> {
        let name = identifier(&output.name);
        let mut text = format!("{name} {}", output.type_name);
        if let Some(column) = self.source_column(output) {
            if let Some(collation) = &column.collation {
                text.push_str(&format!(" COLLATE {}", collation.sql()));
            }
            match column.generated {
                Generated::No => text.push_str(&self.default_clause(output, column, notes)),
                Generated::Stored | Generated::Virtual => match self.generation_clause(column) {
                    Ok(clause) => text.push_str(&clause),
                    Err(reason) => {
                        notes.push(format!("generated column {name} is left out: {reason}"));
                        return None;
                    }
                },
            }
        }
        if output.not_null {
            text.push_str(" NOT NULL");
        }
        Some(text)
    }

    fn generation_clause(&self, column: &ColumnInfo) -> Result<String, String> {
        let expression = column.generation.as_deref().unwrap_or_default();
        if column.expression_has_dependencies {
            return Err("its expression uses functions or types of the source".to_owned());
        }
        let keeps_input = |input: &String| {
            let output = self.output(input);
            output.is_some_and(|output| output.is_untransformed && output.name == *input)
        };
        if let Some(input) = column.expression_columns.iter().find(|input| !keeps_input(input)) {
            return Err(format!("its input {} does not pass as it is", identifier(input)));
        }
        let kind = match column.generated {
            Generated::Virtual if self.major_version < VIRTUAL_COLUMNS_SINCE => {
                return Err("the destination has no virtual columns".to_owned());
            }
            Generated::Virtual => "VIRTUAL",
            Generated::Stored | Generated::No => "STORED",
        };
        Ok(format!(" GENERATED ALWAYS AS ({expression}) {kind}"))
    }

    fn default_clause(
        &self,
        output: &OutputColumn,
        column: &ColumnInfo,
        notes: &mut Vec<String>,
    ) -> String {
        let identity = |kind: &str| {
            let sequence = self.source.sequences.iter().find(|s| s.column == column.name);
            let options = sequence.map(|s| format!(" ({})", sequence_options(s)));
            format!(" GENERATED {kind} AS IDENTITY{}", options.unwrap_or_default())
        };
        match column.identity {
            Identity::Always => return identity("ALWAYS"),
            Identity::ByDefault => return identity("BY DEFAULT"),
            Identity::No => {}
        }
        if let Some((_, name)) = self.default_sequence(output) {
            let name = literal(&name.sql());
            return format!(" DEFAULT pg_catalog.nextval({name}::pg_catalog.regclass)");
        }
        let Some(default) = &column.default else { return String::new() };
        let reads_sequence = self.source.sequences.iter().any(|s| s.column == column.name);
        if column.expression_has_dependencies || reads_sequence {
            notes.push(format!(
                "the default of column {} is left out: it uses objects of the source",
                identifier(&output.name)
            ));
            return String::new();
        }
        format!(" DEFAULT {default}")
    }

    /// The sequence of a plain `nextval` default, and its name at the destination.
    fn default_sequence(&self, output: &OutputColumn) -> Option<(&SequenceInfo, QualifiedName)> {
        let column = self.source_column(output)?;
        let default = column.default.as_deref()?;
        let is_plain = default.starts_with("nextval('")
            && default.ends_with("'::regclass)")
            && default.matches("nextval(").count() == 1;
        let sequence = self.source.sequences.iter().find(|s| s.column == column.name)?;
        if column.identity != Identity::No || !is_plain {
            return None;
        }
        // Beside its table where it is there at the source, so that a table which goes elsewhere
        // by its own entry takes it along.
        let schema = if sequence.name.schema == self.source.name.schema {
            &self.name.schema
        } else {
            self.schemas.get(&sequence.name.schema).unwrap_or(&sequence.name.schema)
        };
        Some((sequence, QualifiedName::new(schema.clone(), sequence.name.name.clone())))
    }

    fn has_index(&self, index: &IndexInfo, present: &TableInfo) -> bool {
        if index.is_primary {
            return present.primary_key().is_some();
        }
        let Some(columns) = self.index_columns(index) else { return false };
        present.indexes.iter().any(|other| {
            other.is_unique && !other.is_partial && !columns.is_empty() && other.columns == columns
        })
    }

    /// The index's columns under the destination's names; `None` where one does not pass.
    fn index_columns(&self, index: &IndexInfo) -> Option<Vec<String>> {
        let output = |name: &String| self.output(name).map(|output| output.name.clone());
        index.columns.iter().map(output).collect()
    }

    fn index_statement(&self, index: &IndexInfo) -> Result<String, String> {
        if index.columns.is_empty() || index.is_partial {
            return Err("indexes on expressions or some of the rows are not created yet".to_owned());
        }
        if index.is_exclusion {
            return Err("exclusion constraints are not created yet".to_owned());
        }
        let Some(columns) = self.index_columns(index) else {
            return Err("one of its columns does not pass".to_owned());
        };
        let table = self.name.sql();
        let list = identifiers(columns.iter().map(String::as_str));
        // Another table may use the name already when several sources' schemas become one.
        let keeps_name = self.name.name == self.source.name.name;
        let Some((name, definition)) = &index.constraint else {
            let name =
                if keeps_name { format!(" {}", identifier(&index.name)) } else { String::new() };
            return Ok(format!("CREATE UNIQUE INDEX{name} ON {table} ({list})"));
        };
        let name =
            if keeps_name { format!(" CONSTRAINT {}", identifier(name)) } else { String::new() };
        if columns == index.columns && self.passes_whole(definition, index) {
            return Ok(format!("ALTER TABLE {table} ADD{name} {definition}"));
        }
        let kind = if index.is_primary { "PRIMARY KEY" } else { "UNIQUE" };
        let deferrable = if index.is_immediate { "" } else { " DEFERRABLE" };
        Ok(format!("ALTER TABLE {table} ADD{name} {kind} ({list}){deferrable}"))
    }

    /// Whether every column that the definition may name passes under its own name: `INCLUDE` lists
    /// some that are not among the index's columns.
    fn passes_whole(&self, definition: &str, index: &IndexInfo) -> bool {
        let passes = |name: &String| self.output(name).is_some_and(|output| output.name == *name);
        let all_pass = self.source.columns.iter().all(|column| passes(&column.name));
        all_pass || (!definition.contains(" INCLUDE (") && index.columns.iter().all(passes))
    }
}

fn create_sequence(sequence: &SequenceInfo, name: &QualifiedName) -> String {
    format!(
        "CREATE SEQUENCE IF NOT EXISTS {} AS {} {}",
        name.sql(),
        sequence.type_name,
        sequence_options(sequence)
    )
}

fn sequence_options(sequence: &SequenceInfo) -> String {
    let cycle = if sequence.cycle { " CYCLE" } else { "" };
    format!(
        "INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {} CACHE {}{cycle}",
        sequence.increment, sequence.min, sequence.max, sequence.start, sequence.cache
    )
}

#[cfg(test)]
mod tests;
