//! Sequences behind columns: made before the tables that read them, given to the columns that own
//! them, and moved to where the source's are once the rows are there.

use super::Statement;
use super::scope::{Scope, comment_sql};
use super::table::{Table, regclass};
use crate::pg::catalog::structure::SequenceRow;
use crate::pg::ident::{QualifiedName, identifier, literal};

/// A sequence that a default reads or a column owns; identities have their own.
pub(super) fn create(scope: &Scope<'_>, row: &SequenceRow, name: &QualifiedName) -> Vec<Statement> {
    let object = format!("sequence {}", name.sql());
    let sql = format!("CREATE SEQUENCE {} AS {} {}", name.sql(), row.type_name, options_sql(row));
    let mut statements = Vec::new();
    if !scope.present.has_relation(name) {
        statements.push(Statement::new(&object, sql));
        let comment = row.comment.as_ref();
        statements.extend(comment.map(|text| {
            Statement::new(&object, comment_sql(&format!("SEQUENCE {}", name.sql()), text))
        }));
    }
    statements
}

/// Comments on identities' sequences, which came with their table.
pub(super) fn identity_comments(scope: &Scope<'_>, table: &Table<'_>) -> Vec<Statement> {
    let identities = table.sequences.iter().filter(|row| row.is_identity);
    identities
        .filter_map(|row| {
            let name = QualifiedName::new(&table.name.schema, &row.name);
            let is_made = table.passed_name(row.column).is_some() && table.row.parent.is_none();
            if !is_made || scope.present.has_relation(&name) {
                return None;
            }
            let sql = comment_sql(&format!("SEQUENCE {}", name.sql()), row.comment.as_ref()?);
            Some(Statement::new(format!("sequence {}", name.sql()), sql))
        })
        .collect()
}

pub(super) fn options_sql(sequence: &SequenceRow) -> String {
    let cycle = if sequence.cycle { " CYCLE" } else { "" };
    format!(
        "INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {} CACHE {}{cycle}",
        sequence.increment, sequence.min, sequence.max, sequence.start, sequence.cache
    )
}

/// Which column a sequence goes with.
pub(super) fn owned_by(scope: &Scope<'_>, table: &Table<'_>) -> Vec<Statement> {
    let owned = table.sequences.iter().filter(|row| row.is_owned && !row.is_identity);
    owned
        .filter_map(|row| {
            let name = scope.names.object(&row.qualified());
            let column = identifier(table.passed_name(row.column)?);
            let sql =
                format!("ALTER SEQUENCE {} OWNED BY {}.{column}", name.sql(), table.name.sql());
            Some(Statement::new(format!("sequence {}", name.sql()), sql))
        })
        .collect()
}

/// Where the sequences stand, once the rows are there. One that we may not read is put behind its
/// column's values.
pub(super) fn positions(scope: &Scope<'_>, table: &mut Table<'_>) -> Vec<Statement> {
    let mut statements = Vec::new();
    for row in table.sequences.clone() {
        let Some(column) = table.passed_name(row.column).map(str::to_owned) else { continue };
        let name = scope.names.object(&row.qualified());
        let object = format!("sequence {}", name.sql());
        let of = if row.is_identity {
            // By its column: the server chose the name where ours was taken.
            let table = literal(&table.name.sql());
            let column = literal(&column);
            format!("pg_catalog.pg_get_serial_sequence({table}, {column})")
        } else {
            regclass(&name)
        };
        let sql = match row.position {
            Some(position) => format!("SELECT pg_catalog.setval({of}, {position}, true)"),
            None if row.is_readable => match row.restart {
                Some(next) => format!("SELECT pg_catalog.setval({of}, {next}, false)"),
                None => continue,
            },
            None => {
                table.notes.push(format!(
                    "the position of sequence {} is taken from the rows: reading it at the source needs GRANT SELECT ON SEQUENCE",
                    row.qualified().sql()
                ));
                if row.increment < 0 || !is_number(table, row.column) {
                    continue;
                }
                let (column, from) = (identifier(&column), table.name.sql());
                format!(
                    "SELECT pg_catalog.setval({of}, pg_catalog.max({column}), true) FROM {from} HAVING pg_catalog.max({column}) > 0"
                )
            }
        };
        statements.push(Statement::new(object, sql));
    }
    statements
}

fn is_number(table: &Table<'_>, number: i16) -> bool {
    const INTEGERS: [&str; 3] = ["smallint", "integer", "bigint"];
    let of =
        |column: &&super::table::Column<'_>| column.row.is_some_and(|row| row.number == number);
    let column = table.columns.iter().find(of);
    column.is_some_and(|column| INTEGERS.contains(&column.output.type_name.as_str()))
}
