//! Statements as text; that servers take them is tested with real ones.

use serde_json::{Value, json};

use super::*;
use crate::pg::catalog::present::{PresentRelation, PresentRows, ServerAbilities};
use crate::pg::catalog::structure::StructureRows;

fn rows<T: serde::de::DeserializeOwned>(values: &[Value]) -> Vec<T> {
    values.iter().map(|value| serde_json::from_value(value.clone()).expect("a row")).collect()
}

fn column(number: i16, name: &str, more: Value) -> Value {
    let mut column = json!({
        "relation": 1, "number": number, "name": name, "type_oid": 23, "type": "integer",
        "not_null": false, "generated": "", "identity": "", "expression_columns": [],
        "is_local": true, "is_inherited": false,
    });
    let more = more.as_object().expect("fields").clone();
    column.as_object_mut().expect("fields").extend(more);
    column
}

fn index(name: &str, more: Value) -> Value {
    let mut index = json!({
        "oid": 50, "relation": 1, "name": name, "is_partitioned": false, "tail": "btree (id)",
        "is_unique": true, "is_primary": false, "is_exclusion": false, "is_valid": true,
        "is_replica_identity": false, "is_clustered": false, "has_expression": false,
        "nulls_not_distinct": false, "columns": [1], "is_temporal": false, "statistics": [],
    });
    let more = more.as_object().expect("fields").clone();
    index.as_object_mut().expect("fields").extend(more);
    index
}

/// `shop.t (id, mood, twice)` with a type, a key, an index on an expression and a check.
fn source() -> StructureRows {
    StructureRows {
        relations: rows(&[json!({
            "oid": 1, "root": 1, "schema": "shop", "name": "t", "is_partitioned": false,
            "row_type": 2, "partition_columns": [], "inherits": [], "identity": "d",
            "comment": "it's", "options": ["fillfactor=70"],
        })]),
        columns: rows(&[
            column(1, "id", json!({ "not_null": true })),
            column(
                2,
                "mood",
                json!({ "type_oid": 9, "type": "shop.mood",
                "expression": "'ok'::shop.mood", "expression_oid": 30 }),
            ),
            column(
                3,
                "twice",
                json!({ "generated": "s", "expression": "(id * 2)",
                "expression_columns": [1] }),
            ),
        ]),
        indexes: rows(&[
            index(
                "t_pkey",
                json!({ "is_primary": true, "constraint_name": "t_pkey",
                "constraint_oid": 51, "constraint_definition": "PRIMARY KEY (id)" }),
            ),
            index(
                "t_half",
                json!({ "oid": 52, "tail": "btree (((id / 2)))", "is_unique": false,
                "has_expression": true }),
            ),
        ]),
        constraints: rows(&[json!({
            "oid": 60, "relation": 1, "name": "sane", "kind": "c", "columns": [1],
            "definition": "CHECK ((id > 0))", "is_validated": true, "is_enforced": true,
            "is_local": true, "is_inherited": false, "no_inherit": false,
            "referenced_columns": [], "is_temporal": false,
        })]),
        types: rows(&[json!({
            "oid": 9, "schema": "shop", "name": "mood", "kind": "e", "is_array": false,
            "is_row_type": false, "labels": ["ok"], "not_null": false, "checks": [],
            "attributes": [], "needs": [],
        })]),
        ..StructureRows::default()
    }
}

fn output(name: &str, source_name: &str, type_name: &str) -> OutputColumn {
    OutputColumn {
        name: name.to_owned(),
        source_name: Some(source_name.to_owned()),
        type_name: type_name.to_owned(),
        not_null: source_name == "id",
        is_untransformed: true,
        is_distinct: true,
    }
}

fn planned(columns: Vec<OutputColumn>, schema: &str, present: PresentRows) -> Structure {
    let requests = [TableRequest {
        oid: 1,
        source: QualifiedName::new("shop", "t"),
        destination: QualifiedName::new(schema, "t"),
        columns,
        is_ours: true,
        kept: None,
        apart: None,
    }];
    let rows = source();
    let schemas = [("shop".to_owned(), schema.to_owned())].into();
    let names = Names::of(&schemas, &requests, &rows);
    plan(StructureInput {
        rows: &rows,
        present: &Present::new(present),
        names: &names,
        source_functions: &[],
        requests: &requests,
    })
}

fn empty() -> PresentRows {
    let server = ServerAbilities { major_version: 15, ..ServerAbilities::default() };
    PresentRows { server, ..PresentRows::default() }
}

fn texts(statements: &[Statement]) -> Vec<&str> {
    statements.iter().map(|statement| statement.sql.as_str()).collect()
}

fn all_columns() -> Vec<OutputColumn> {
    vec![
        output("id", "id", "integer"),
        output("mood", "mood", "shop.mood"),
        output("twice", "twice", "integer"),
    ]
}

#[test]
fn everything_comes_after_what_it_needs() {
    let structure = planned(all_columns(), "shop", empty());
    assert_eq!(
        texts(&structure.before),
        ["CREATE SCHEMA IF NOT EXISTS \"shop\"", "CREATE TYPE \"shop\".\"mood\" AS ENUM ('ok')",]
    );
    let table = &structure.tables[&1];
    assert_eq!(
        texts(&table.create),
        [
            "CREATE TABLE \"shop\".\"t\" (\"id\" integer NOT NULL, \"mood\" shop.mood DEFAULT \
             'ok'::shop.mood, \"twice\" integer GENERATED ALWAYS AS ((id * 2)) STORED, CONSTRAINT \
             \"sane\" CHECK ((id > 0))) WITH (fillfactor='70')",
            "COMMENT ON TABLE \"shop\".\"t\" IS 'it''s'",
        ]
    );
    assert_eq!(
        texts(&table.keys),
        ["ALTER TABLE \"shop\".\"t\" ADD CONSTRAINT \"t_pkey\" PRIMARY KEY (id)"]
    );
    assert_eq!(
        texts(&table.indexes),
        ["CREATE INDEX \"t_half\" ON \"shop\".\"t\" USING btree (((id / 2)))"]
    );
    assert!(table.notes.is_empty() && structure.lacks.is_empty(), "{structure:?}");
}

#[test]
fn expressions_over_renamed_columns_are_said_under_the_sources_names() {
    let mut columns = all_columns();
    columns[0].name = "no".to_owned();
    let structure = planned(columns, "store", empty());
    let table = &structure.tables[&1];
    let create = texts(&table.create);
    assert!(create[0].starts_with("CREATE TABLE \"store\".\"t\" (\"id\" integer NOT NULL, "));
    assert!(create[0].contains("'ok'::\"store\".\"mood\""), "{create:?}");
    assert_eq!(create[1], "ALTER TABLE \"store\".\"t\" RENAME COLUMN \"id\" TO \"no\"");
    assert_eq!(
        texts(&table.keys),
        ["ALTER TABLE \"store\".\"t\" ADD CONSTRAINT \"t_pkey\" PRIMARY KEY (\"no\")"]
    );
    assert_eq!(
        texts(&table.indexes),
        ["ALTER TABLE \"store\".\"t\" RENAME COLUMN \"no\" TO \"id\"; CREATE INDEX \"t_half\" ON \
          \"store\".\"t\" USING btree (((id / 2))); ALTER TABLE \"store\".\"t\" RENAME COLUMN \
          \"id\" TO \"no\""]
    );
}

#[test]
fn what_needs_a_changed_column_is_left_out_with_a_note() {
    let mut columns = all_columns();
    columns[0].is_untransformed = false;
    columns[0].is_distinct = false;
    columns[0].type_name = "text".to_owned();
    let structure = planned(columns, "shop", empty());
    let table = &structure.tables[&1];
    assert!(table.keys.is_empty() && table.indexes.is_empty(), "{table:?}");
    let notes = table.notes.join("\n");
    for part in
        ["generated column \"twice\"", "index \"t_pkey\"", "index \"t_half\"", "check \"sane\""]
    {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn what_is_there_is_not_made_again_and_a_taken_name_is_avoided() {
    let relation = |name: &str, kind: &str, of: Option<&str>| PresentRelation {
        schema: "shop".to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        of_table: of.map(|table| ("shop".to_owned(), table.to_owned())),
        is_primary: name == "t_pkey",
        is_valid: true,
        parents: Vec::new(),
    };
    let mut present = empty();
    present.server.schemas = vec!["shop".to_owned()];
    present.relations = vec![
        relation("t", "r", None),
        relation("t_pkey", "i", Some("t")),
        relation("t_half", "i", Some("other")),
    ];
    let structure = planned(all_columns(), "shop", present);
    let table = &structure.tables[&1];
    assert!(table.create.is_empty() && table.keys.is_empty(), "{table:?}");
    assert_eq!(
        texts(&table.indexes),
        ["CREATE INDEX \"t_half_1\" ON \"shop\".\"t\" USING btree (((id / 2)))"]
    );
}
