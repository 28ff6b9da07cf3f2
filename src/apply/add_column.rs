//! Statements that add one column to a table that exists; pure.
//!
//! A constant default fills existing rows without rewriting them (PostgreSQL 11 and later keep it in
//! the catalog). It is put there as the value that the source keeps for its own existing rows; the
//! default for rows to come follows in a second statement.

use crate::pg::catalog::{ColumnInfo, Generated, Identity};
use crate::pg::ident::{QualifiedName, identifier, literal};

/// The first version with virtual generated columns.
const VIRTUAL_COLUMNS_SINCE: i32 = 18;

/// A column to add.
#[derive(Clone, Copy, Debug)]
pub struct NewColumn<'a> {
    pub table: &'a QualifiedName,
    /// Its name at the destination.
    pub name: &'a str,
    /// The source's column.
    pub source: &'a ColumnInfo,
    /// The type as the destination names it.
    pub type_name: &'a str,
    /// What existing rows hold, as text; NULL where there is none.
    pub existing: Option<&'a str>,
}

impl NewColumn<'_> {
    pub fn statements(&self) -> Vec<String> {
        let (table, name) = (self.table.sql(), identifier(self.name));
        let mut add = format!("ALTER TABLE {table} ADD COLUMN {name} {}", self.type_name);
        if let Some(collation) = &self.source.collation {
            add.push_str(&format!(" COLLATE {}", collation.sql()));
        }
        if let Some(value) = self.existing {
            add.push_str(&format!(" DEFAULT {}::{}", literal(value), self.type_name));
            // Without a value for rows that exist, NOT NULL is a promise about rows to come only.
            if self.source.not_null {
                add.push_str(" NOT NULL");
            }
        }
        let mut statements = vec![add];
        let column = format!("ALTER TABLE {table} ALTER COLUMN {name}");
        match self.portable_default() {
            Some(default) => statements.push(format!("{column} SET DEFAULT {default}")),
            None if self.existing.is_some() => statements.push(format!("{column} DROP DEFAULT")),
            None => {}
        }
        statements
    }

    /// The default where the destination can be expected to understand it.
    fn portable_default(&self) -> Option<&str> {
        let default = self.source.default.as_deref()?;
        let is_own = self.source.expression_has_dependencies || default.contains("nextval(");
        (!is_own && self.source.identity == Identity::No).then_some(default)
    }

    /// The statement for a generated column; `None` where the destination cannot compute it.
    pub fn generated(&self, major_version: i32) -> Option<String> {
        let expression = self.source.generation.as_deref()?;
        let kind = match self.source.generated {
            Generated::No => return None,
            Generated::Virtual if major_version < VIRTUAL_COLUMNS_SINCE => return None,
            Generated::Virtual => "VIRTUAL",
            Generated::Stored => "STORED",
        };
        if self.source.expression_has_dependencies {
            return None;
        }
        Some(format!(
            "ALTER TABLE {} ADD COLUMN {} {} GENERATED ALWAYS AS ({expression}) {kind}",
            self.table.sql(),
            identifier(self.name),
            self.type_name
        ))
    }
}

/// The type's name at a destination whose schemas are named otherwise: a type of a mapped schema is
/// looked for beside its tables, too.
pub fn type_names(
    source: &ColumnInfo,
    schemas: &std::collections::BTreeMap<String, String>,
) -> Vec<String> {
    let mut names = vec![source.type_name.clone()];
    let schema = &source.type_qualified.schema;
    if let Some(mapped) = schemas.get(schema) {
        let prefixes = [format!("{schema}."), format!("{}.", identifier(schema))];
        let rest = prefixes.iter().find_map(|prefix| source.type_name.strip_prefix(prefix));
        names.extend(rest.map(|rest| format!("{}.{rest}", identifier(mapped))));
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::pg::catalog::table_info::fixture::column;
    use crate::pg::oid::INT4;

    fn added(source: &ColumnInfo, existing: Option<&str>) -> Vec<String> {
        let table = QualifiedName::new("public", "t");
        let type_name = &source.type_name;
        NewColumn { table: &table, name: "n", source, type_name, existing }.statements()
    }

    #[test]
    fn existing_rows_get_their_value_and_later_ones_the_default_of_today() {
        let plain = column("n", "integer", INT4);
        assert_eq!(added(&plain, None), [r#"ALTER TABLE "public"."t" ADD COLUMN "n" integer"#]);
        let later = ColumnInfo { default: Some("7".to_owned()), not_null: true, ..plain.clone() };
        let add = r#"ALTER TABLE "public"."t" ADD COLUMN "n" integer"#;
        let set = r#"ALTER TABLE "public"."t" ALTER COLUMN "n" SET DEFAULT 7"#;
        assert_eq!(
            added(&later, Some("5")),
            [format!("{add} DEFAULT '5'::integer NOT NULL"), set.to_owned()]
        );
        assert_eq!(added(&later, None), [add, set], "NOT NULL cannot be promised");
        let drop = r#"ALTER TABLE "public"."t" ALTER COLUMN "n" DROP DEFAULT"#;
        assert_eq!(
            added(&plain, Some("5")),
            [format!("{add} DEFAULT '5'::integer").as_str(), drop]
        );
    }

    #[test]
    fn a_default_of_the_sources_own_objects_is_left_out() {
        let plain = column("n", "integer", INT4);
        let own = ColumnInfo {
            default: Some("public.f()".to_owned()),
            expression_has_dependencies: true,
            ..plain.clone()
        };
        assert_eq!(added(&own, None).len(), 1);
        let serial = ColumnInfo { default: Some("nextval('s'::regclass)".to_owned()), ..plain };
        assert_eq!(added(&serial, None).len(), 1);
    }

    #[test]
    fn a_type_of_a_mapped_schema_is_looked_for_in_both() {
        let mood = ColumnInfo {
            type_qualified: QualifiedName::new("s", "mood"),
            ..column("n", "s.mood", 20_001)
        };
        let schemas = BTreeMap::from([("s".to_owned(), "d".to_owned())]);
        assert_eq!(type_names(&mood, &schemas), ["s.mood", "\"d\".mood"]);
        assert_eq!(type_names(&mood, &BTreeMap::new()), ["s.mood"]);
    }
}
