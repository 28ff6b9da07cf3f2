//! What rows become, in the tail and in the copy.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::settings::{ColumnSettings, Step};
use crate::model::table::{Column, TableId};
use crate::pg::catalog::ReplicaIdentity;
use crate::pg::ident::QualifiedName;
use crate::pg::oid;
use crate::transform::PlanInput;
use crate::transform::fixture::{named, renamed, sha256, table_settings, value};

/// `printf %s 7 | sha256sum`
const SHA256_OF_7: &str = "7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451";

fn column(name: &str, type_oid: oid::Oid) -> Column {
    Column { name: name.to_owned(), type_oid, type_modifier: -1, is_identity: name == "id" }
}

/// A plan over `public.t(id int4 key, body text, paid bool)`; `region` is text at the destination.
fn plan(columns: Vec<ColumnSettings>) -> TransformPlan {
    let name = QualifiedName::new("public", "t");
    let table = Arc::new(Table {
        id: TableId(1),
        name: name.clone(),
        identity: ReplicaIdentity::Default,
        columns: vec![
            column("id", oid::INT4),
            column("body", oid::TEXT),
            column("paid", oid::BOOL),
        ],
        key: vec![0],
    });
    let settings = table_settings(&name, None, columns);
    TransformPlan::compile(PlanInput {
        settings: Some(&settings),
        destination: &name,
        table: &table,
        type_info: &|_| None,
        collation: &|_| None,
        destination_type: &|name| (name == "region").then_some(oid::TEXT),
        known_columns: None,
        answer: &|_| None,
        filters_copy_only: false,
        has_text_only: false,
        unique_keys: &[],
    })
    .expect("compiles")
}

fn text(text: &str) -> Value {
    Value::Text(Bytes::copy_from_slice(text.as_bytes()))
}

fn binary(bytes: &[u8]) -> Value {
    Value::Binary(Bytes::copy_from_slice(bytes))
}

fn row(id: Value) -> Row {
    Row::new(vec![id, Value::Unchanged, Value::Null])
}

#[test]
fn columns_are_dropped_hashed_and_added() {
    let plan = plan(vec![
        named("body", vec![Step::Drop]),
        named("id", vec![sha256()]),
        named("region", vec![value("eu-1")]),
    ]);
    let from_text = plan.row(Row::new(vec![text("7"), text("secret"), text("t")]));
    assert_eq!(from_text, Ok(Row::new(vec![text(SHA256_OF_7), text("t"), text("eu-1")])));
    let from_binary = plan.row(Row::new(vec![binary(&[0, 0, 0, 7]), binary(b"x"), binary(&[1])]));
    let expected = vec![binary(SHA256_OF_7.as_bytes()), binary(&[1]), binary(b"eu-1")];
    assert_eq!(from_binary, Ok(Row::new(expected)));
}

#[test]
fn a_constant_of_unknown_type_is_never_taken_for_binary() {
    let plan = plan(vec![named("level", vec![value("1234")])]);
    assert!(plan.needs_text_stream());
    let row = plan.row(row(binary(&[0, 0, 0, 7]))).expect("passes");
    assert_eq!(row.values()[3], text("1234"));
}

#[test]
fn old_rows_follow_a_hashed_key() {
    let plan = plan(vec![named("id", vec![sha256()])]);
    let old = || OldRow::Identity(row(text("7")));
    let hashed = || OldRow::Identity(row(text(SHA256_OF_7)));
    assert_eq!(
        plan.apply(RowChange::Delete { old: old() }),
        Ok(RowChange::Delete { old: hashed() })
    );
    let update = RowChange::Update { old: Some(old()), new: row(text("8")) };
    let RowChange::Update { old, new } = plan.apply(update).expect("applies") else {
        unreachable!("an update stays an update")
    };
    assert_eq!(old, Some(hashed()));
    assert_ne!(new.values()[0], text(SHA256_OF_7));
    assert_eq!(new.values()[1], Value::Unchanged);
    let asked = plan.unsent(&new);
    assert_eq!(asked.values(), &[text("8"), Value::Unchanged, Value::Null]);
}

#[test]
fn null_stays_null_and_unchanged_stays_unchanged() {
    let hashes = ["body", "paid"].map(|name| named(name, vec![sha256()]));
    let row = row(text("7"));
    assert_eq!(plan(hashes.to_vec()).row(row.clone()), Ok(row));
}

#[test]
fn the_steps_null_and_value_hide_the_value() {
    let plan =
        plan(vec![named("body", vec![Step::Null]), named("paid", vec![value("7"), sha256()])]);
    let row = plan.row(Row::new(vec![text("7"), text("secret"), text("t")]));
    assert_eq!(row, Ok(Row::new(vec![text("7"), Value::Null, text(SHA256_OF_7)])));
}

#[test]
fn hashes_may_follow_each_other() {
    let once = plan(vec![named("body", vec![sha256()])]);
    let twice = plan(vec![named("body", vec![sha256(), sha256()])]);
    let row_of = |body| Row::new(vec![text("1"), body, Value::Null]);
    let first = once.row(row_of(text("x"))).expect("passes").values()[1].clone();
    assert_eq!(twice.row(row_of(text("x"))), once.row(row_of(first)));
}

#[test]
fn a_row_of_another_width_is_an_error_and_not_a_shifted_row() {
    let plan = plan(vec![named("body", vec![Step::Drop])]);
    let narrow = plan.row(Row::new(vec![text("7"), text("secret")]));
    assert!(matches!(narrow, Err(TransformError::Width { expected: 3, found: 2, .. })));
}

#[test]
fn errors_hold_no_value() {
    let plan = plan(vec![named("paid", vec![sha256()])]);
    let error = plan.row(Row::new(vec![text("1"), Value::Null, text("canary")]));
    let error = error.expect_err("not a bool");
    assert!(!error.to_string().contains("canary") && !format!("{error:?}").contains("canary"));
    assert!(error.to_string().contains("\"paid\""), "{error}");
}

#[test]
fn the_copy_selects_what_the_destination_gets() {
    let plan = plan(vec![
        named("body", vec![Step::Drop]),
        renamed("paid", "ok", vec![sha256()]),
        named("region", vec![value("e'\\u")]),
    ]);
    let columns = plan.copy_columns();
    let parts: Vec<_> = columns
        .iter()
        .map(|c| (c.source_sql.as_str(), c.destination_name.as_str(), c.step_needed))
        .collect();
    assert_eq!(
        parts,
        [
            ("\"id\"", "id", false),
            ("\"paid\"::pg_catalog.text", "ok", true),
            ("E'e''\\\\u'::pg_catalog.text", "region", false),
        ]
    );
    assert!(plan.copy_needs_decode());
}

#[test]
fn a_copy_that_only_renames_drops_and_adds_is_not_decoded() {
    let plan = plan(vec![
        named("body", vec![Step::Drop]),
        renamed("paid", "ok", vec![]),
        named("region", vec![value("eu-1")]),
    ]);
    assert!(!plan.copy_needs_decode() && !plan.is_identity());
}

#[test]
fn copy_and_tail_give_the_same_values() {
    let plan = plan(vec![named("paid", vec![sha256()]), named("id", vec![sha256()])]);
    let tail = plan.row(Row::new(vec![binary(&[0, 0, 0, 7]), binary(b"x"), binary(&[1])]));
    // The copy's server has cast what is hashed.
    let copied = [binary(b"7"), binary(b"x"), binary(b"true")].into_iter().enumerate();
    let copied = copied.map(|(index, value)| plan.copy_value(index, value));
    assert_eq!(tail, copied.collect::<Result<_, _>>().map(Row::new));
}

proptest! {
    /// Text and binary rows of the same values give the same rows.
    #[test]
    fn both_stream_formats_give_the_same_values(id: i32, body in ".*", paid: bool) {
        let plan = plan(["id", "body", "paid"].map(|name| named(name, vec![sha256()])).to_vec());
        let in_text =
            Row::new(vec![text(&id.to_string()), text(&body), text(if paid { "t" } else { "f" })]);
        let in_binary = Row::new(vec![
            binary(&id.to_be_bytes()), binary(body.as_bytes()), binary(&[u8::from(paid)]),
        ]);
        let from_text = plan.row(in_text).expect("passes");
        let from_binary = plan.row(in_binary).expect("passes");
        let bytes = |row: &Row| row.values().iter().map(|v| v.bytes().cloned()).collect::<Vec<_>>();
        prop_assert_eq!(bytes(&from_text), bytes(&from_binary));
        prop_assert!(from_binary.values().iter().all(|v| matches!(v, Value::Binary(_))));
    }
}
