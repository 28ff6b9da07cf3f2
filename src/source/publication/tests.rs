//! Plans for our own publications and for somebody else's.

use super::own::{EVERYTHING, INSERT_ONLY};
use super::*;
use crate::pg::catalog::table_info::fixture;
use crate::pg::catalog::{
    PartitionLink, PublicationInfo, PublicationMember, PublicationSchema, RelationKind,
    RelationSummary, ReplicaIdentity,
};
use crate::pg::oid::{INT4, Oid};

static NONE: BTreeMap<QualifiedName, String> = BTreeMap::new();

/// One OID a name, the same in publications and tables.
fn oid(name: &str) -> Oid {
    name.bytes().fold(17, |oid, byte| oid.wrapping_mul(31).wrapping_add(u32::from(byte)))
}

fn keyed(name: &str) -> TableInfo {
    let columns = vec![fixture::column("id", "integer", INT4)];
    TableInfo {
        oid: oid(name),
        ..fixture::table(name, columns, vec![fixture::primary_key(&["id"])])
    }
}

fn unkeyed(name: &str) -> TableInfo {
    TableInfo { indexes: Vec::new(), ..keyed(name) }
}

fn member(name: &str) -> PublicationMember {
    PublicationMember {
        oid: oid(name) + 1,
        relation: oid(name),
        name: QualifiedName::new("public", name),
        columns: None,
        filter: None,
        is_exception: false,
    }
}

fn publication(name: &str, operations: &str, members: &[&str]) -> PublicationInfo {
    PublicationInfo {
        oid: oid(name),
        version: "700".to_owned(),
        name: name.to_owned(),
        owner: "owner".to_owned(),
        is_owner: true,
        all_tables: false,
        insert: operations.contains("insert"),
        update: operations.contains("update"),
        delete: operations.contains("delete"),
        truncate: operations.contains("truncate"),
        via_root: true,
        generated: false,
        members: members.iter().map(|name| member(name)).collect(),
        schemas: Vec::new(),
    }
}

fn relation(table: &TableInfo) -> RelationSummary {
    RelationSummary {
        oid: table.oid,
        name: table.name.clone(),
        kind: table.kind,
        kind_label: "table",
        is_partition: table.is_partition,
        is_permanent: true,
        is_owner: true,
    }
}

fn view(publications: &[PublicationInfo], tables: &[TableInfo], links: &[(Oid, Oid)]) -> View {
    let relations: Vec<RelationSummary> = tables.iter().map(relation).collect();
    let link = |&(partition, parent): &(Oid, Oid)| PartitionLink {
        partition,
        parent,
        version: "700".to_owned(),
        is_born: true,
    };
    View::new(publications.to_vec(), &relations, links.iter().map(link).collect())
}

fn planned(owned: &[&str], tables: &[TableInfo], existing: &[PublicationInfo]) -> PublicationPlan {
    planned_for(&["p"], owned, tables, existing)
}

fn planned_for(
    names: &[&str],
    owned: &[&str],
    tables: &[TableInfo],
    existing: &[PublicationInfo],
) -> PublicationPlan {
    let strings =
        |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
    let (names, owned) = (strings(names), strings(owned));
    let request = PublicationRequest {
        names: &names,
        owned: &owned,
        tables,
        established: &[],
        via_root: true,
        filters: &NONE,
    };
    plan_for(request, &view(existing, tables, &[]))
}

#[test]
fn absent_publications_are_created_one_for_each_kind_of_table() {
    let plan = planned(&[], &[keyed("a"), unkeyed("log"), keyed("b")], &[]);
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
    let plan = planned(&[], &[keyed("a")], &[]);
    assert_eq!(plan.names, ["p"]);
    assert_eq!(plan.statements.len(), 1);
}

#[test]
fn what_is_as_wanted_is_left_alone() {
    let existing =
        [publication("p", EVERYTHING, &["a"]), publication("p_insert", INSERT_ONLY, &["log"])];
    let plan = planned(&["p", "p_insert"], &[keyed("a"), unkeyed("log")], &existing);
    assert!(plan.statements.is_empty(), "{:?}", plan.statements);
    assert_eq!(plan.names, ["p", "p_insert"]);
}

#[test]
fn a_table_that_gains_a_key_changes_sides_by_drop_then_add() {
    let existing =
        [publication("p", EVERYTHING, &["a"]), publication("p_insert", INSERT_ONLY, &["log"])];
    let plan = planned(&["p", "p_insert"], &[keyed("a"), keyed("log")], &existing);
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
    let plan = planned(&["p"], &[keyed("a")], &existing);
    assert_eq!(
        plan.statements,
        ["ALTER PUBLICATION \"p\" SET (publish = 'insert, update, delete, truncate', \
          publish_via_partition_root = true)"]
    );
}

#[test]
fn somebody_elses_publication_is_never_altered() {
    let existing = [publication("p", "insert, truncate", &["a"])];
    let plan = planned(&[], &[keyed("a"), keyed("b")], &existing);
    assert!(plan.statements.is_empty() && plan.owned.is_empty());
    let remedies: Vec<&str> =
        plan.findings.iter().filter_map(|finding| finding.remedy.as_deref()).collect();
    let publish = "ALTER PUBLICATION \"p\" SET (publish = 'insert, update, delete, truncate')";
    assert_eq!(remedies, [publish, publish, "ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"b\""]);
    let severities: Vec<Severity> = plan.findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Warning, Severity::Error]);
}

#[test]
fn what_a_publication_leaves_out_of_a_table_is_said() {
    let mut narrow = publication("p", EVERYTHING, &["a"]);
    narrow.members[0].filter = Some("id > 1".to_owned());
    narrow.members[0].columns = Some(vec!["id".to_owned()]);
    let plan = planned(&[], &[keyed("a")], &[narrow]);
    let [finding] = &plan.findings[..] else { panic!("{:?}", plan.findings) };
    assert_eq!(finding.severity, Severity::Info);
    assert_eq!(
        finding.message,
        "publication \"p\" sends only rows where (id > 1) and columns \"id\""
    );
}

#[test]
fn different_column_lists_of_one_table_are_an_error() {
    let mut lists = publication("q", EVERYTHING, &["a"]);
    lists.members[0].columns = Some(vec!["id".to_owned()]);
    let existing = [publication("p", EVERYTHING, &["a"]), lists];
    let plan = planned_for(&["p", "q"], &[], &[keyed("a")], &existing);
    assert!(plan.findings[0].message.contains("list different columns"), "{:?}", plan.findings);
}

#[test]
fn filters_are_alternatives_and_none_wins() {
    let filtered = |name: &str, filter: Option<&str>| {
        let mut publication = publication(name, EVERYTHING, &["a"]);
        publication.members[0].filter = filter.map(str::to_owned);
        publication
    };
    let names = ["p", "q"].map(str::to_owned);
    let filters = |publications: &[PublicationInfo]| match view(publications, &[keyed("a")], &[])
        .sent(oid("a"), &names)
    {
        Sent::Table(sent) => sent.filters.into_values().next(),
        other => panic!("{other:?}"),
    };
    let (one, other) = (filtered("p", Some("x")), filtered("q", Some("y")));
    assert_eq!(filters(&[one.clone(), other.clone()]).as_deref(), Some("(x) OR (y)"));
    assert_eq!(filters(&[one.clone(), filtered("q", None)]), None);
    let deletes = PublicationInfo { insert: false, ..other.clone() };
    assert_eq!(filters(&[one.clone(), deletes]).as_deref(), Some("(x)"), "it sends no inserts");
    let schema = PublicationSchema { oid: 5, name: "public".to_owned() };
    let whole = PublicationInfo { schemas: vec![schema], ..other };
    assert_eq!(filters(&[one, whole]), None, "the schema is published whole");
}

#[test]
fn rows_go_under_the_highest_name_that_a_publication_via_root_has() {
    let root = TableInfo { kind: RelationKind::Partitioned, ..keyed("root") };
    let tables = [root, keyed("leaf")];
    let links = [(oid("leaf"), oid("root"))];
    let names = ["p", "q"].map(str::to_owned);
    let sent = |publications: &[PublicationInfo], table: &str| {
        view(publications, &tables, &links).sent(oid(table), &names)
    };
    let via_root = |name: &str, via_root: bool, members: &[&str]| PublicationInfo {
        via_root,
        ..publication(name, EVERYTHING, members)
    };
    let both = [via_root("p", false, &["leaf"]), via_root("q", true, &["root"])];
    assert!(matches!(sent(&both, "root"), Sent::Table(sent) if sent.publications == ["q"]));
    assert!(matches!(sent(&both, "leaf"), Sent::AsAncestor(_)));
    let leaves = [via_root("p", false, &["root"])];
    assert_eq!(sent(&leaves, "root"), Sent::AsPartitions);
    assert!(matches!(sent(&leaves, "leaf"), Sent::Table(_)));
    let every = PublicationInfo { all_tables: true, ..via_root("p", true, &[]) };
    assert!(matches!(sent(&[every], "root"), Sent::Table(_)));
    assert_eq!(sent(&[], "root"), Sent::Nothing);
}

#[test]
fn what_others_send_is_not_sent_by_ours_again() {
    let mut theirs = publication("q", EVERYTHING, &["a"]);
    theirs.members[0].filter = Some("id > 1".to_owned());
    let plan = planned_for(&["p", "q"], &[], &[keyed("a"), keyed("b")], &[theirs]);
    assert_eq!(plan.names, ["p", "q"]);
    assert_eq!(plan.owned, ["p"]);
    assert_eq!(plan.statements.len(), 1);
    assert!(
        plan.statements[0].starts_with("CREATE PUBLICATION \"p\" FOR TABLE \"public\".\"b\" WITH")
    );
    let plan =
        planned_for(&["p", "q"], &[], &[keyed("a")], &[publication("p", EVERYTHING, &["a"])]);
    assert_eq!(plan.findings[0].object, "publication \"q\"");
}

#[test]
fn a_member_that_somebody_narrowed_is_put_in_again() {
    let mut narrowed = publication("p", EVERYTHING, &["a"]);
    narrowed.members[0].filter = Some("id > 1".to_owned());
    let plan = planned(&["p"], &[keyed("a")], &[narrowed]);
    assert_eq!(
        plan.statements,
        [
            "ALTER PUBLICATION \"p\" DROP TABLE \"public\".\"a\"",
            "ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"a\"",
        ]
    );
}

#[test]
fn a_root_published_by_leaves_is_told_how_to_publish_the_root() {
    let root = TableInfo { kind: RelationKind::Partitioned, ..keyed("root") };
    let existing = [PublicationInfo { via_root: false, ..publication("p", EVERYTHING, &["root"]) }];
    let leaf = keyed("leaf");
    let names = ["p".to_owned()];
    let tables = [root, leaf];
    let view = view(&existing, &tables, &[(oid("leaf"), oid("root"))]);
    let tables = &tables[..1];
    let request = PublicationRequest {
        names: &names,
        owned: &[],
        tables,
        established: &[],
        via_root: true,
        filters: &NONE,
    };
    let plan = plan_for(request, &view);
    assert_eq!(
        plan.findings[0].remedy.as_deref(),
        Some("ALTER PUBLICATION \"p\" SET (publish_via_partition_root = true)")
    );
}

#[test]
fn leaves_are_listed_and_one_that_goes_by_its_root_is_told_how_to_go_by_itself() {
    let root = TableInfo { kind: RelationKind::Partitioned, ..keyed("root") };
    let all = [root, keyed("leaf")];
    let (names, owned) = (["p".to_owned()], ["p".to_owned()]);
    let tables = &all[1..];
    let links = [(oid("leaf"), oid("root"))];
    let wanted = |owned| PublicationRequest {
        names: &names,
        owned,
        tables,
        established: &[],
        via_root: false,
        filters: &NONE,
    };
    let plan = plan_for(wanted(&owned[..]), &view(&[], &all, &links));
    let create = "CREATE PUBLICATION \"p\" FOR TABLE \"public\".\"leaf\" WITH (publish = 'insert, \
                  update, delete, truncate', publish_via_partition_root = false)";
    assert_eq!(plan.statements, [create]);
    let by_root = [publication("p", EVERYTHING, &["root"])];
    let plan = plan_for(wanted(&[]), &view(&by_root, &all, &links));
    assert_eq!(
        plan.findings[0].remedy.as_deref(),
        Some("ALTER PUBLICATION \"p\" SET (publish_via_partition_root = false)")
    );
    let by_leaf = [PublicationInfo { via_root: false, ..by_root[0].clone() }];
    let by_leaf = view(&by_leaf, &all, &links);
    assert!(plan_for(wanted(&[]), &by_leaf).findings.is_empty(), "that is what is wanted");
    let mark = by_leaf.mark(oid("leaf"), &names).expect("it is published");
    let members = [format!("table {} by 700", oid("root") + 1)];
    assert_eq!(mark.through[0].members, members, "attached again, it was not published meanwhile");
}

#[test]
fn a_second_publication_of_that_name_that_is_not_ours_is_not_touched() {
    let existing = [publication("p_insert", EVERYTHING, &["x"])];
    let plan = planned(&[], &[keyed("a")], &existing);
    assert_eq!(plan.names, ["p"]);
    assert!(plan.findings.is_empty(), "it is not needed");
    let plan = planned(&[], &[unkeyed("log")], &existing);
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
fn a_publication_of_ours_that_is_gone_is_not_made_again() {
    let names = ["p".to_owned()];
    let tables = [keyed("a"), keyed("b")];
    let established = [QualifiedName::new("public", "a")];
    let request = PublicationRequest {
        names: &names,
        owned: &names,
        tables: &tables,
        established: &established,
        via_root: true,
        filters: &NONE,
    };
    let plan = plan_for(request, &view(&[], &tables, &[]));
    assert!(plan.findings[0].message.contains("it was dropped"), "{:?}", plan.findings);
    assert!(plan.statements.is_empty());
    let plan = plan_for(request, &view(&[publication("p", EVERYTHING, &["b"])], &tables, &[]));
    assert_eq!(plan.statements, ["ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"a\""]);
}

#[test]
fn an_administrators_second_publication_is_used_too() {
    let existing =
        [publication("p", EVERYTHING, &["a"]), publication("p_insert", INSERT_ONLY, &["log"])];
    let tables = [keyed("a"), unkeyed("log")];
    let plan = planned(&[], &tables, &existing);
    assert_eq!(plan.names, ["p", "p_insert"]);
    assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    let plan = planned(&[], &tables, &existing[..1]);
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
    let plan = planned(&[], &[unkeyed("log")], &existing);
    assert!(plan.findings[0].message.starts_with("the server refuses its updates"));
}

#[test]
fn thousands_of_tables_are_added_by_statements_that_stand_alone() {
    let tables: Vec<TableInfo> = (0..1200).map(|number| keyed(&format!("t{number:04}"))).collect();
    let plan = planned(&[], &tables, &[]);
    assert!(plan.is_split);
    let counts: Vec<usize> =
        plan.statements.iter().map(|sql| sql.matches("\"public\"").count()).collect();
    assert_eq!(counts, [500, 500, 200]);
    assert!(plan.statements[0].starts_with("CREATE PUBLICATION \"p\" FOR TABLE"));
    assert!(plan.statements[2].starts_with("ALTER PUBLICATION \"p\" ADD TABLE"));
    let moving = [publication("p", EVERYTHING, &["gone"])];
    let plan = planned(&["p"], &tables, &moving);
    assert!(!plan.is_split, "a table that moves must not be in neither for a moment");
}
