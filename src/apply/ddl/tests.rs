//! The statements as text; that servers take them is tested with real ones.

use super::*;
use crate::pg::catalog::table_info::fixture::{column, primary_key, table, unique};
use crate::pg::oid::{INT4, INT8, TEXT};

fn sequence(of: &str, name: &str, is_owned: bool) -> SequenceInfo {
    SequenceInfo {
        column: of.to_owned(),
        name: QualifiedName::new("public", name),
        type_name: "integer".to_owned(),
        start: 1,
        increment: 2,
        min: 1,
        max: 2_147_483_647,
        cache: 1,
        cycle: false,
        is_owned,
    }
}

fn orders() -> TableInfo {
    let nextval = |name: &str| Some(format!("nextval('public.{name}'::regclass)"));
    let text = |default: &str| Some(default.to_owned());
    let columns = vec![
        ColumnInfo {
            default: nextval("orders_id_seq"),
            not_null: true,
            ..column("id", "integer", INT4)
        },
        ColumnInfo { identity: Identity::Always, not_null: true, ..column("no", "bigint", INT8) },
        ColumnInfo {
            generated: Generated::Stored,
            generation: text("(id * 2)"),
            expression_columns: vec!["id".to_owned()],
            ..column("twice", "integer", INT4)
        },
        ColumnInfo {
            default: text("'x'::text"),
            collation: Some(QualifiedName::new("pg_catalog", "C")),
            ..column("note", "text", TEXT)
        },
        ColumnInfo {
            default: text("public.f()"),
            expression_has_dependencies: true,
            ..column("code", "integer", INT4)
        },
    ];
    let named = |name: &str, definition: &str| Some((name.to_owned(), definition.to_owned()));
    let indexes = vec![
        IndexInfo { constraint: named("orders_pkey", "PRIMARY KEY (id)"), ..primary_key(&["id"]) },
        IndexInfo {
            constraint: named("orders_no_key", "UNIQUE (no) DEFERRABLE"),
            is_immediate: false,
            ..unique("orders_no_key", &["no"])
        },
        unique("orders_note_idx", &["note"]),
        IndexInfo { is_partial: true, ..unique("orders_code_idx", &["code"]) },
    ];
    let sequences =
        vec![sequence("id", "orders_id_seq", true), sequence("no", "orders_no_seq", true)];
    TableInfo { sequences, ..table("orders", columns, indexes) }
}

struct Case {
    source: TableInfo,
    name: QualifiedName,
    columns: Vec<OutputColumn>,
    schemas: BTreeMap<String, String>,
    existing: BTreeSet<String>,
}

impl Case {
    fn of(source: TableInfo, schema: &str, name: &str) -> Case {
        Case {
            columns: source.columns.iter().map(OutputColumn::untransformed).collect(),
            source,
            name: QualifiedName::new(schema, name),
            schemas: BTreeMap::new(),
            existing: BTreeSet::from(["public".to_owned()]),
        }
    }

    fn table(&self) -> NewTable<'_> {
        NewTable {
            source: &self.source,
            name: &self.name,
            columns: &self.columns,
            schemas: &self.schemas,
            existing_schemas: &self.existing,
            major_version: 15,
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let column = self.columns.iter_mut().find(|column| column.name == from);
        to.clone_into(&mut column.expect("the column exists").name);
    }
}

#[test]
fn a_table_is_created_with_all_that_its_columns_are() {
    let case = Case::of(orders(), "public", "orders");
    let ddl = create_table_sql(&case.table());
    assert_eq!(
        ddl.statements,
        [
            "CREATE SEQUENCE IF NOT EXISTS \"public\".\"orders_id_seq\" AS integer INCREMENT BY 2 \
             MINVALUE 1 MAXVALUE 2147483647 START WITH 1 CACHE 1",
            "CREATE TABLE \"public\".\"orders\" (\"id\" integer DEFAULT \
             pg_catalog.nextval('\"public\".\"orders_id_seq\"'::pg_catalog.regclass) NOT NULL, \
             \"no\" bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 2 MINVALUE 1 MAXVALUE \
             2147483647 START WITH 1 CACHE 1) NOT NULL, \
             \"twice\" integer GENERATED ALWAYS AS ((id * 2)) STORED, \
             \"note\" text COLLATE \"pg_catalog\".\"C\" DEFAULT 'x'::text, \"code\" integer)",
            "ALTER SEQUENCE \"public\".\"orders_id_seq\" OWNED BY \"public\".\"orders\".\"id\"",
        ]
    );
    assert_eq!(
        ddl.notes,
        ["the default of column \"code\" is left out: it uses objects of the source"]
    );
}

#[test]
fn keys_come_apart_and_only_where_they_are_missing() {
    let case = Case::of(orders(), "public", "orders");
    let ddl = constraints_sql(&case.table(), None);
    assert_eq!(
        ddl.statements,
        [
            "ALTER TABLE \"public\".\"orders\" ADD CONSTRAINT \"orders_pkey\" PRIMARY KEY (id)",
            "ALTER TABLE \"public\".\"orders\" ADD CONSTRAINT \"orders_no_key\" UNIQUE (no) DEFERRABLE",
            "CREATE UNIQUE INDEX \"orders_note_idx\" ON \"public\".\"orders\" (\"note\")",
        ]
    );
    assert_eq!(ddl.notes.len(), 1, "the partial index: {:?}", ddl.notes);
    let mut present = orders();
    assert!(constraints_sql(&case.table(), Some(&present)).statements.is_empty());
    present.indexes.remove(0);
    assert_eq!(constraints_sql(&case.table(), Some(&present)).statements.len(), 1);
}

#[test]
fn another_schema_and_name_take_the_sequence_along() {
    let case = Case::of(orders(), "shop", "sold");
    let created = create_table_sql(&case.table()).statements;
    assert_eq!(created[0], "CREATE SCHEMA IF NOT EXISTS \"shop\"");
    assert!(created[1].starts_with("CREATE SEQUENCE IF NOT EXISTS \"shop\".\"orders_id_seq\""));
    assert!(created[2].contains("nextval('\"shop\".\"orders_id_seq\"'"));
    let keys = constraints_sql(&case.table(), None).statements;
    assert_eq!(keys[0], "ALTER TABLE \"shop\".\"sold\" ADD PRIMARY KEY (id)");
}

#[test]
fn renamed_columns_rename_keys_and_stop_expressions_that_read_them() {
    let mut case = Case::of(orders(), "public", "orders");
    case.rename("id", "order_id");
    let ddl = create_table_sql(&case.table());
    assert!(!ddl.statements.join(";").contains("twice"));
    assert!(ddl.notes[0].contains("generated column \"twice\" is left out"), "{:?}", ddl.notes);
    let keys = constraints_sql(&case.table(), None).statements;
    assert_eq!(
        keys[0],
        "ALTER TABLE \"public\".\"orders\" ADD CONSTRAINT \"orders_pkey\" PRIMARY KEY (\"order_id\")"
    );
}

#[test]
fn a_transformed_column_keeps_nothing_but_what_it_is_given() {
    let mut case = Case::of(orders(), "public", "orders");
    case.columns.retain(|column| column.name == "id" || column.name == "note");
    case.columns[1].is_untransformed = false;
    let ddl = create_table_sql(&case.table());
    assert!(ddl.statements[1].ends_with("NOT NULL, \"note\" text)"), "{}", ddl.statements[1]);
    let keys = constraints_sql(&case.table(), None);
    assert_eq!(keys.statements.len(), 2, "the key and the index on the note");
}

#[test]
fn user_types_and_collations_are_announced() {
    let mut source = orders();
    source.columns[4].type_qualified = QualifiedName::new("public", "mood");
    let case = Case::of(source, "public", "orders");
    let names = |set: BTreeSet<QualifiedName>| -> Vec<String> {
        set.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(user_types(&case.table())), ["public.mood"]);
    assert_eq!(names(collations(&case.table())), ["pg_catalog.C"]);
}

#[test]
fn a_partitioned_table_becomes_an_ordinary_one_and_says_so() {
    let source = TableInfo { kind: RelationKind::Partitioned, ..orders() };
    let case = Case::of(source, "public", "orders");
    let notes = create_table_sql(&case.table()).notes;
    assert!(notes.iter().any(|note| note.contains("becomes an ordinary table")), "{notes:?}");
}
