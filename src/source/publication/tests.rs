//! Plans for our own publications and for somebody else's.

use super::*;
use crate::pg::catalog::table_info::fixture;
use crate::pg::catalog::{RelationKind, ReplicaIdentity};
use crate::pg::oid::INT4;

fn keyed(name: &str) -> TableInfo {
    let columns = vec![fixture::column("id", "integer", INT4)];
    fixture::table(name, columns, vec![fixture::primary_key(&["id"])])
}

fn unkeyed(name: &str) -> TableInfo {
    TableInfo { indexes: Vec::new(), ..keyed(name) }
}

fn publication(name: &str, operations: &str, members: &[&str]) -> PublicationInfo {
    PublicationInfo {
        name: name.to_owned(),
        owner: "owner".to_owned(),
        is_owner: true,
        all_tables: false,
        insert: operations.contains("insert"),
        update: operations.contains("update"),
        delete: operations.contains("delete"),
        truncate: operations.contains("truncate"),
        via_root: true,
        members: members.iter().map(|&name| QualifiedName::new("public", name)).collect(),
    }
}

fn published(table: &str, columns: Option<&[&str]>) -> PublishedTable {
    PublishedTable {
        publication: "p".to_owned(),
        table: QualifiedName::new("public", table),
        columns: columns.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        row_filter: None,
    }
}

fn planned(
    owned: &[&str],
    tables: &[TableInfo],
    existing: &[PublicationInfo],
    published: &[PublishedTable],
) -> PublicationPlan {
    let names = ["p".to_owned()];
    let owned: Vec<String> = owned.iter().map(|&name| name.to_owned()).collect();
    let request = PublicationRequest { names: &names, owned: &owned, tables, established: &[] };
    plan_for(request, existing, published)
}

#[test]
fn absent_publications_are_created_one_for_each_kind_of_table() {
    let plan = planned(&[], &[keyed("a"), unkeyed("log"), keyed("b")], &[], &[]);
    assert_eq!(
        plan.statements,
        [
            "CREATE PUBLICATION \"p\" FOR TABLE \"public\".\"a\", \"public\".\"b\" WITH (publish = \
             'insert, update, delete, truncate', publish_via_partition_root = true)",
            "CREATE PUBLICATION \"p_insert\" FOR TABLE \"public\".\"log\" WITH (publish = \
             'insert, truncate', publish_via_partition_root = true)",
        ]
    );
    assert_eq!(plan.names, ["p", "p_insert"]);
    assert_eq!(plan.owned, ["p", "p_insert"]);
}

#[test]
fn without_unkeyed_tables_there_is_no_second_publication() {
    let plan = planned(&[], &[keyed("a")], &[], &[]);
    assert_eq!(plan.names, ["p"]);
    assert_eq!(plan.statements.len(), 1);
}

#[test]
fn what_is_as_wanted_is_left_alone() {
    let existing =
        [publication("p", EVERYTHING, &["a"]), publication("p_insert", INSERT_ONLY, &["log"])];
    let plan = planned(&["p", "p_insert"], &[keyed("a"), unkeyed("log")], &existing, &[]);
    assert!(plan.statements.is_empty(), "{:?}", plan.statements);
    assert_eq!(plan.names, ["p", "p_insert"]);
}

#[test]
fn a_table_that_gains_a_key_changes_sides_by_drop_then_add() {
    let existing =
        [publication("p", EVERYTHING, &["a"]), publication("p_insert", INSERT_ONLY, &["log"])];
    let plan = planned(&["p", "p_insert"], &[keyed("a"), keyed("log")], &existing, &[]);
    assert_eq!(
        plan.statements,
        [
            "ALTER PUBLICATION \"p_insert\" DROP TABLE \"public\".\"log\"",
            "ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"log\"",
        ]
    );
}

#[test]
fn our_publication_is_put_right_when_its_options_were_changed() {
    let existing = [publication("p", "insert, update", &["a"])];
    let plan = planned(&["p"], &[keyed("a")], &existing, &[]);
    assert_eq!(
        plan.statements,
        ["ALTER PUBLICATION \"p\" SET (publish = 'insert, update, delete, truncate', \
          publish_via_partition_root = true)"]
    );
}

#[test]
fn somebody_elses_publication_is_never_altered() {
    let existing = [publication("p", "insert, truncate", &["a"])];
    let plan = planned(&[], &[keyed("a"), keyed("b")], &existing, &[published("a", None)]);
    assert!(plan.statements.is_empty() && plan.owned.is_empty());
    let remedies: Vec<&str> =
        plan.findings.iter().filter_map(|finding| finding.remedy.as_deref()).collect();
    let publish = "ALTER PUBLICATION \"p\" SET (publish = 'insert, update, delete, truncate')";
    assert_eq!(remedies, [publish, publish, "ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"b\""]);
    let severities: Vec<Severity> = plan.findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Warning, Severity::Error]);
}

#[test]
fn a_foreign_publication_that_narrows_a_table_is_refused_for_now() {
    let existing = [publication("p", EVERYTHING, &["a"])];
    let narrow = PublishedTable { row_filter: Some("id > 1".to_owned()), ..published("a", None) };
    let plan = planned(&[], &[keyed("a")], &existing, &[narrow]);
    assert!(plan.findings[0].message.contains("filters its rows"));
    let plan = planned(&[], &[keyed("a")], &existing, &[published("a", Some(&[]))]);
    assert!(plan.findings[0].message.contains("leaves out columns \"id\""));
    let plan = planned(&[], &[keyed("a")], &existing, &[published("a", Some(&["id"]))]);
    assert!(plan.findings.is_empty());
}

#[test]
fn a_root_published_by_leaves_is_told_how_to_publish_the_root() {
    let root = TableInfo { kind: RelationKind::Partitioned, ..keyed("root") };
    let existing = [PublicationInfo { via_root: false, ..publication("p", EVERYTHING, &["root"]) }];
    let plan = planned(&[], &[root], &existing, &[published("leaf", None)]);
    assert_eq!(
        plan.findings[0].remedy.as_deref(),
        Some("ALTER PUBLICATION \"p\" SET (publish_via_partition_root = true)")
    );
}

#[test]
fn a_second_publication_of_that_name_that_is_not_ours_is_not_touched() {
    let existing = [publication("p_insert", EVERYTHING, &["x"])];
    let plan = planned(&[], &[keyed("a")], &existing, &[]);
    assert_eq!(plan.names, ["p"]);
    assert!(plan.findings.is_empty(), "it is not needed");
    let plan = planned(&[], &[unkeyed("log")], &existing, &[]);
    assert_eq!(plan.findings[0].object, "publication \"p_insert\"");
    assert!(!plan.statements.iter().any(|statement| statement.contains("p_insert")));
}

#[test]
fn a_leaf_is_left_out_only_with_its_root_selected() {
    let root = TableInfo { oid: 1, kind: RelationKind::Partitioned, ..keyed("root") };
    let leaf = TableInfo { oid: 2, partition_ancestors: vec![1], ..keyed("leaf") };
    let identity = TableInfo { identity: ReplicaIdentity::Full, ..keyed("other") };
    let names = |tables: Vec<TableInfo>| -> Vec<String> {
        without_covered_partitions(tables).into_iter().map(|table| table.name.name).collect()
    };
    assert_eq!(names(vec![root, leaf.clone(), identity]), ["root", "other"]);
    assert_eq!(names(vec![leaf]), ["leaf"]);
}

#[test]
fn a_gap_that_somebody_tore_is_named_and_not_mended_in_silence() {
    let names = ["p".to_owned()];
    let a = QualifiedName::new("public", "a");
    let tables = [keyed("a"), keyed("b")];
    let established = [a];
    let request = PublicationRequest {
        names: &names,
        owned: &names,
        tables: &tables,
        established: &established,
    };
    let message = |existing: &[PublicationInfo]| {
        let plan = plan_for(request, existing, &[]);
        plan.findings.first().map(|finding| finding.message.clone())
    };
    assert_eq!(message(&[publication("p", EVERYTHING, &["a"])]), None, "b is new");
    assert_eq!(message(&[]).as_deref(), Some("it was dropped; changes since then are lost"));
    assert_eq!(
        message(&[publication("p", EVERYTHING, &["b"])]).as_deref(),
        Some("table \"public\".\"a\" was removed from it; its changes since are lost")
    );
    assert_eq!(
        message(&[publication("p", "insert", &["a"])]).as_deref(),
        Some("its options were changed; changes that it left out are lost")
    );
}

#[test]
fn an_administrators_second_publication_is_used_too() {
    let existing =
        [publication("p", EVERYTHING, &["a"]), publication("p_insert", INSERT_ONLY, &["log"])];
    let log = PublishedTable { publication: "p_insert".to_owned(), ..published("log", None) };
    let tables = [keyed("a"), unkeyed("log")];
    let plan = planned(&[], &tables, &existing, &[published("a", None), log]);
    assert_eq!(plan.names, ["p", "p_insert"]);
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    let plan = planned(&[], &tables, &existing[..1], &[published("a", None)]);
    assert_eq!(
        plan.findings[0].remedy.as_deref(),
        Some(
            "CREATE PUBLICATION \"p_insert\" FOR TABLE \"public\".\"log\" WITH (publish = \
              'insert, truncate', publish_via_partition_root = true)"
        )
    );
}

#[test]
fn a_publication_that_breaks_the_application_is_a_warning() {
    let existing = [publication("p", EVERYTHING, &["log"])];
    let plan = planned(&[], &[unkeyed("log")], &existing, &[published("log", None)]);
    assert!(plan.findings[0].message.starts_with("the server refuses its updates"));
}

#[test]
fn thousands_of_tables_are_added_by_statements_that_stand_alone() {
    let tables: Vec<TableInfo> = (0..1200).map(|number| keyed(&format!("t{number:04}"))).collect();
    let plan = planned(&[], &tables, &[], &[]);
    assert!(plan.is_split);
    let counts: Vec<usize> =
        plan.statements.iter().map(|sql| sql.matches("\"public\"").count()).collect();
    assert_eq!(counts, [500, 500, 200]);
    assert!(plan.statements[0].starts_with("CREATE PUBLICATION \"p\" FOR TABLE"));
    assert!(plan.statements[2].starts_with("ALTER PUBLICATION \"p\" ADD TABLE"));
    let moving = [publication("p", EVERYTHING, &["gone"])];
    let plan = planned(&["p"], &tables, &moving, &[]);
    assert!(!plan.is_split, "a table that moves must not be in neither for a moment");
}
