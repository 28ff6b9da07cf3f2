//! What settings compile to, and every reason why they do not.

use super::*;
use crate::config::steps::{FakeKind, Mask};
use crate::model::table::TableId;
use crate::pg::catalog::ReplicaIdentity;
use crate::transform::fixture::{
    fake, hmac, json_drop, named, renamed, replace, sha256, table_settings, value,
};

const DESTINATION: &str = "staff";

fn column(name: &str, type_oid: Oid, is_identity: bool) -> Column {
    Column { name: name.to_owned(), type_oid, type_modifier: 7, is_identity }
}

/// `public.people(note text, id int4 key, name varchar, born timestamptz, doc xml)`
fn people() -> Arc<Table> {
    Arc::new(Table {
        id: TableId(16_400),
        name: QualifiedName::new("public", "people"),
        identity: ReplicaIdentity::Default,
        columns: vec![
            column("note", oid::TEXT, false),
            column("id", oid::INT4, true),
            column("name", oid::VARCHAR, false),
            column("born", oid::TIMESTAMPTZ, false),
            column("doc", oid::XML, false),
        ],
        key: vec![1],
    })
}

fn settings(unlisted: Option<Unlisted>, columns: Vec<ColumnSettings>) -> TableSettings {
    table_settings(&people().name, unlisted, columns)
}

fn compile_known(
    settings: &TableSettings,
    known_columns: Option<&[String]>,
) -> Result<TransformPlan, Vec<PlanError>> {
    TransformPlan::compile(PlanInput {
        settings: Some(settings),
        destination: &QualifiedName::new("hr", DESTINATION),
        table: &people(),
        type_info: &|_| None,
        collation: &|_| None,
        destination_type: &|name| (name == "region").then_some(oid::TEXT),
        known_columns,
        answer: &|_| None,
        filters_copy_only: false,
        has_text_only: false,
        unique_keys: &[],
    })
}

fn compile(columns: Vec<ColumnSettings>) -> Result<TransformPlan, Vec<PlanError>> {
    compile_known(&settings(None, columns), None)
}

fn refusals(compiled: Result<TransformPlan, Vec<PlanError>>) -> Vec<(String, Refusal)> {
    let errors = compiled.expect_err("is refused");
    errors.into_iter().map(|error| (error.column, error.refusal)).collect()
}

fn refusal(columns: Vec<ColumnSettings>) -> Refusal {
    let mut all = refusals(compile(columns));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).1
}

#[test]
fn without_settings_only_the_name_changes() {
    let source = people();
    let destination = QualifiedName::new("hr", DESTINATION);
    let plan = TransformPlan::compile(PlanInput {
        settings: None,
        destination: &destination,
        table: &source,
        type_info: &|_| None,
        collation: &|_| None,
        destination_type: &|_| None,
        known_columns: None,
        answer: &|_| None,
        filters_copy_only: false,
        has_text_only: false,
        unique_keys: &[],
    })
    .expect("compiles");
    assert!(plan.is_identity() && !plan.copy_needs_decode() && !plan.needs_text_stream());
    assert_eq!(**plan.table(), Table { name: destination, ..(*source).clone() });
}

#[test]
fn the_description_follows_the_steps() {
    let plan = compile(vec![
        named("note", vec![Step::Drop]),
        renamed("id", "person", vec![sha256()]),
        renamed("name", "full_name", vec![]),
        named("region", vec![value("eu-1")]),
    ])
    .expect("compiles");
    let table = plan.table();
    let columns: Vec<_> =
        table.columns.iter().map(|c| (c.name.as_str(), c.type_oid, c.type_modifier)).collect();
    assert_eq!(
        columns,
        [
            ("person", oid::TEXT, -1),
            ("full_name", oid::VARCHAR, 7),
            ("born", oid::TIMESTAMPTZ, 7),
            ("doc", oid::XML, 7),
            ("region", oid::TEXT, -1),
        ]
    );
    assert_eq!(table.id, people().id);
    assert_eq!(table.name, QualifiedName::new("hr", DESTINATION));
    assert_eq!(table.key, [0], "the key moved with its column");
    assert!(table.columns[0].is_identity && !plan.is_identity());
    assert_eq!(plan.source_columns_used(), ["id", "name", "born", "doc"]);
}

#[test]
fn renaming_alone_leaves_rows_as_they_are() {
    let plan = compile(vec![renamed("id", "number", vec![])]).expect("compiles");
    assert!(plan.is_identity());
    assert_eq!(plan.table().columns[1].name, "number");
}

#[test]
fn two_columns_may_swap_names() {
    let swap = vec![renamed("note", "name", vec![]), renamed("name", "note", vec![])];
    let plan = compile(swap).expect("compiles");
    assert_eq!(plan.table().columns[0].name, "name");
}

#[test]
fn a_text_stream_is_asked_for_where_a_step_reads_what_binary_does_not_tell() {
    let needs = |columns| {
        let plan = compile(columns).expect("compiles");
        (plan.needs_text_stream(), plan.copy_needs_text())
    };
    assert_eq!(needs(vec![named("id", vec![sha256()])]), (false, false));
    assert_eq!(needs(vec![named("born", vec![sha256()])]), (true, false));
    assert_eq!(needs(vec![named("region", vec![value("eu-1")])]), (false, false));
    assert_eq!(needs(vec![named("elsewhere", vec![value("1")])]), (true, true));
    assert_eq!(needs(vec![named("born", vec![Step::Null])]), (false, false));
}

#[test]
fn all_problems_come_at_once() {
    let all = refusals(compile(vec![
        named("missing", vec![sha256()]),
        named("id", vec![Step::Drop]),
        named("doc", vec![sha256()]),
        renamed("note", "name", vec![]),
    ]));
    let columns: Vec<_> = all.iter().map(|(column, _)| column.as_str()).collect();
    assert_eq!(columns, ["id", "doc", "missing", "name"]);
}

#[test]
fn each_mistake_has_its_refusal() {
    let long = "x".repeat(64);
    let empty_key = hmac("");
    assert_eq!(refusal(vec![named("nme", vec![])]), Refusal::Absent);
    assert_eq!(refusal(vec![named("nme", vec![Step::Null])]), Refusal::Absent);
    assert_eq!(
        refusal(vec![renamed("note", "name", vec![])]),
        Refusal::SameName("name".to_owned())
    );
    assert_eq!(
        refusal(vec![renamed("region", "name", vec![value("x")])]),
        Refusal::SameName("name".to_owned())
    );
    assert_eq!(refusal(vec![renamed("note", "", vec![])]), Refusal::BadName(String::new()));
    assert_eq!(refusal(vec![renamed("note", &long, vec![])]), Refusal::BadName(long));
    assert_eq!(refusal(vec![named("id", vec![Step::Drop])]), Refusal::DroppedKey);
    assert_eq!(refusal(vec![named("id", vec![Step::Null])]), Refusal::ConstantKey);
    assert_eq!(refusal(vec![named("id", vec![value("1")])]), Refusal::ConstantKey);
    assert_eq!(refusal(vec![named("id", vec![value("1"), sha256()])]), Refusal::ConstantKey);
    assert_eq!(refusal(vec![named("note", vec![Step::Drop, sha256()])]), Refusal::DropAndMore);
    assert_eq!(refusal(vec![renamed("note", "n", vec![Step::Drop])]), Refusal::DropAndMore);
    assert_eq!(refusal(vec![named("note", vec![empty_key.clone()])]), Refusal::EmptyHashKey);
    assert_eq!(refusal(vec![named("note", vec![Step::Null, empty_key])]), Refusal::EmptyHashKey);
    assert_eq!(refusal(vec![named("note", vec![value("a\0b")])]), Refusal::ZeroByte);
    assert!(matches!(refusal(vec![named("doc", vec![sha256()])]), Refusal::NoTextForm(_)));
}

#[test]
fn a_step_keeps_the_type_that_it_reads_or_makes_text() {
    let made = |column: &str, steps: Vec<Step>| {
        let plan = compile(vec![named(column, steps)]).expect("compiles");
        let index = plan.table().column_index(column).expect("it stays");
        (plan.made_type(index), plan.keeps_apart(index))
    };
    let mask = || Step::Mask(Mask::Full);
    assert_eq!(made("note", vec![mask()]), (Some((oid::TEXT, 7)), false));
    assert_eq!(made("name", vec![Step::Lower, Step::Trim]), (Some((oid::VARCHAR, 7)), false));
    assert_eq!(made("name", vec![mask(), sha256()]), (Some((oid::TEXT, -1)), false));
    assert_eq!(made("name", vec![sha256(), sha256()]), (Some((oid::TEXT, -1)), true));
    assert_eq!(made("born", vec![fake(FakeKind::Uuid)]), (Some((oid::TEXT, -1)), true));
    assert_eq!(made("born", vec![fake(FakeKind::Name), mask()]), (Some((oid::TEXT, -1)), false));
    assert_eq!(made("name", vec![value("x")]), (None, false));
    assert_eq!(made("name", vec![]), (None, true));
}

#[test]
fn a_step_on_a_type_that_it_does_not_take_is_refused() {
    let refused = |column, step: Step| match refusal(vec![named(column, vec![step])]) {
        Refusal::TakesNot { step, found, .. } => (step, found),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(refused("id", Step::Mask(Mask::Full)), ("mask", "integer"));
    assert_eq!(refused("born", Step::Lower), ("lower", "timestamp with time zone"));
    assert_eq!(refused("id", Step::Trim), ("trim", "integer"));
    assert_eq!(refused("id", replace("a", "b")), ("replace", "integer"));
    assert_eq!(refused("note", json_drop(&["a"])), ("json_drop", "text"));
    let too_long = Refusal::TooNarrow { kind: "name", needed: 20, room: 3 };
    assert_eq!(refusal(vec![named("name", vec![fake(FakeKind::Name)])]), too_long);
}

#[test]
fn steps_over_a_constant_are_done_once() {
    let steps = vec![value(" A@x.org "), Step::Trim, Step::Lower, Step::Mask(Mask::Email)];
    let plan = compile(vec![named("region", steps)]).expect("compiles");
    assert_eq!(plan.copy_columns()[5].source_sql, "'*@x.org'::pg_catalog.text");
    assert!(!plan.copy_needs_decode());
    let nothing = vec![Step::Null, Step::Mask(Mask::Full), fake(FakeKind::Name)];
    let plan = compile(vec![named("note", nothing)]).expect("compiles");
    assert_eq!(plan.copy_columns()[0].source_sql, "NULL::pg_catalog.text");
}

#[test]
fn unlisted_columns_pass_drop_or_fail() {
    let columns = || vec![named("id", vec![]), named("name", vec![sha256()])];
    let compiled = |unlisted| compile_known(&settings(Some(unlisted), columns()), None);
    assert_eq!(compiled(Unlisted::Pass).expect("compiles").table().columns.len(), 5);
    let dropped = compiled(Unlisted::Drop).expect("compiles");
    assert_eq!(dropped.source_columns_used(), ["id", "name"]);
    assert_eq!(dropped.table().key, [0]);
    let failed = refusals(compiled(Unlisted::Fail));
    assert_eq!(
        failed.iter().map(|(column, _)| column).collect::<Vec<_>>(),
        ["note", "born", "doc"]
    );
    assert!(failed.iter().all(|(_, refusal)| *refusal == Refusal::Unlisted));
}

#[test]
fn an_unlisted_key_is_not_dropped() {
    let drop = settings(Some(Unlisted::Drop), vec![named("name", vec![])]);
    assert_eq!(refusals(compile_known(&drop, None)), [("id".to_owned(), Refusal::DroppedKey)]);
}

#[test]
fn a_new_column_halts_a_table_with_masked_columns_and_no_rule() {
    let known: Vec<String> = ["note", "id", "name", "born"].map(str::to_owned).to_vec();
    let with = |unlisted, step| {
        compile_known(&settings(unlisted, vec![named("name", vec![step])]), Some(&known))
    };
    let mask = Step::Mask(Mask::Full);
    let made = [mask, replace("a", "b")];
    for masking in [sha256(), Step::Null, Step::Drop].into_iter().chain(made) {
        let errors = with(None, masking).expect_err("is refused");
        assert_eq!(errors.len(), 1);
        assert_eq!((errors[0].column.as_str(), &errors[0].refusal), ("doc", &Refusal::Appeared));
        assert!(errors[0].is_schema_change());
    }
    for masking in [json_drop(&["a"]), fake(FakeKind::Email)] {
        assert!(settings(None, vec![named("note", vec![masking])]).is_masked());
    }
    for open in [value("x"), Step::Lower, Step::Trim] {
        assert!(with(None, open).is_ok(), "it hides nothing");
    }
    let errors = with(Some(Unlisted::Fail), sha256()).expect_err("is refused");
    let appeared = errors.iter().find(|error| error.column == "doc").expect("among others");
    assert!(appeared.refusal == Refusal::AppearedUnlisted && appeared.is_schema_change());
    assert!(with(Some(Unlisted::Pass), sha256()).is_ok());
    assert!(with(Some(Unlisted::Drop), sha256()).is_err(), "the key is unlisted");
    let listed = settings(None, vec![named("name", vec![sha256()]), named("doc", vec![])]);
    assert!(compile_known(&listed, Some(&known)).is_ok(), "naming the column decides it");
}

#[test]
fn a_named_column_that_went_away_is_a_schema_change() {
    let known: Vec<String> =
        ["note", "id", "name", "born", "doc", "ssn"].map(str::to_owned).to_vec();
    let gone = settings(None, vec![named("ssn", vec![sha256()])]);
    let errors = compile_known(&gone, Some(&known)).expect_err("is refused");
    assert_eq!(errors[0].refusal, Refusal::Gone);
    assert!(errors[0].is_schema_change());
}

#[test]
fn messages_name_the_column_and_its_table() {
    let errors = compile(vec![named("id", vec![Step::Drop])]).expect_err("is refused");
    assert_eq!(
        errors[0].to_string(),
        "column \"id\" of table \"public\".\"people\": identifies the table's rows and cannot be \
         dropped"
    );
}
