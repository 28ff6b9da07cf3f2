//! Whether the destination's column can say of a row that the source has deleted it.

use crate::model::mark::MarkKind;
use crate::pg::catalog::{Generated, TableInfo};
use crate::pg::ident::{QualifiedName, identifier};

/// Why it cannot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkMisfit {
    #[error("table {} has no column \"{column}\" to mark deleted rows in (on_delete)", .table.sql())]
    Missing { table: QualifiedName, column: String },
    #[error(
        "column \"{column}\" of table {} is {is}, and deleted rows are marked (on_delete) in a boolean or \
         timestamptz", .table.sql()
    )]
    Type { table: QualifiedName, column: String, is: String },
    #[error(
        "column \"{column}\" of table {} is NOT NULL, and NULL is what rows have that are not deleted \
         (on_delete)", .table.sql()
    )]
    Required { table: QualifiedName, column: String },
}

impl MarkMisfit {
    /// Asked of a table that is there.
    pub fn of(destination: &TableInfo, column: &str) -> Option<MarkMisfit> {
        let (table, name) = (destination.name.clone(), column.to_owned());
        let Some(found) = destination.column(column) else {
            return Some(MarkMisfit::Missing { table, column: name });
        };
        let is = match found.generated {
            Generated::No => found.type_name.clone(),
            Generated::Stored | Generated::Virtual => "generated".to_owned(),
        };
        match MarkKind::of_type(found.type_oid).filter(|_| found.generated == Generated::No) {
            None => Some(MarkMisfit::Type { table, column: name, is }),
            Some(MarkKind::Timestamp) if found.not_null => {
                Some(MarkMisfit::Required { table, column: name })
            }
            Some(_) => None,
        }
    }

    /// The statement that mends it.
    pub fn remedy(&self) -> String {
        let add = |table: &QualifiedName, column: &str| {
            format!("ALTER TABLE {} ADD COLUMN {} timestamptz", table.sql(), identifier(column))
        };
        match self {
            MarkMisfit::Missing { table, column } => add(table, column),
            MarkMisfit::Type { table, column, .. } => {
                let aside = identifier(&format!("{column}_before"));
                let (name, column_sql) = (table.sql(), identifier(column));
                format!(
                    "ALTER TABLE {name} RENAME COLUMN {column_sql} TO {aside}; {}",
                    add(table, column)
                )
            }
            MarkMisfit::Required { table, column } => {
                let column = identifier(column);
                format!("ALTER TABLE {} ALTER COLUMN {column} DROP NOT NULL", table.sql())
            }
        }
    }
}
