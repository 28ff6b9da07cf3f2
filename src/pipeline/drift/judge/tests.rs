use std::collections::BTreeMap;

use super::*;
use crate::pg::oid::{INT4, INT8, TEXT};

const PART: u32 = 500;

/// A column by number, name and type.
type Said<'a> = (i16, &'a str, u32);

fn known(count: i16, columns: &[Said<'_>]) -> SourceShape {
    let column = |&(number, name, type_oid): &Said<'_>| KnownColumn {
        number,
        name: name.to_owned(),
        type_oid,
        type_modifier: -1,
    };
    SourceShape {
        attribute_count: count,
        columns: columns.iter().map(column).collect(),
        files: BTreeMap::from([(PART, 1)]),
    }
}

fn attribute((number, name, type_oid): Said<'_>) -> Attribute {
    Attribute {
        number,
        name: name.to_owned(),
        type_oid,
        type_modifier: -1,
        is_dropped: name.starts_with("dropped"),
        is_generated: name.starts_with("generated"),
        is_identity: false,
        missing: BTreeMap::from([(PART, None)]),
    }
}

fn present(columns: &[Said<'_>]) -> TableShape {
    let attributes: Vec<Attribute> = columns.iter().map(|&column| attribute(column)).collect();
    TableShape {
        attribute_count: i16::try_from(attributes.len()).expect("few"),
        attributes,
        files: BTreeMap::from([(PART, 1)]),
    }
}

fn described(columns: &[(&str, u32)]) -> Vec<Column> {
    let column = |&(name, type_oid): &(&str, u32)| Column {
        name: name.to_owned(),
        type_oid,
        type_modifier: -1,
        is_identity: false,
    };
    columns.iter().map(column).collect()
}

const ID: Said<'_> = (1, "id", INT4);
const A: Said<'_> = (2, "a", TEXT);

fn before() -> SourceShape {
    known(2, &[ID, A])
}

fn added(drift: &Drift) -> &ExistingRows {
    let [column] = drift.added.as_slice() else { panic!("one column: {drift:?}") };
    assert!(drift.unclear.is_empty() && drift.renamed.is_empty() && drift.retyped.is_empty());
    &column.existing
}

fn is_unknown(existing: &ExistingRows) -> bool {
    matches!(existing, ExistingRows::Unknown(_))
}

#[test]
fn what_is_known_is_nothing_new() {
    let stream = described(&[("id", INT4), ("a", TEXT)]);
    assert!(judge(&before(), &stream, &present(&[ID, A])).is_none());
    // Of the past: a column that is not there yet, one that is gone since.
    assert!(judge(&before(), &stream, &present(&[ID, A, (3, "b", TEXT)])).is_none());
    assert!(judge(&before(), &stream, &present(&[ID, (2, "dropped", 0)])).is_none());
    // Gone in the stream, too.
    let narrow = described(&[("id", INT4)]);
    assert!(judge(&before(), &narrow, &present(&[ID, (2, "dropped", 0)])).is_none());
}

#[test]
fn a_new_column_without_rewrite_has_null_or_its_constant() {
    let stream = described(&[("id", INT4), ("a", TEXT), ("b", INT4)]);
    let mut shape = present(&[ID, A, (3, "b", INT4)]);
    let drift = judge(&before(), &stream, &shape);
    assert_eq!(added(&drift), &ExistingRows::Null);
    assert_eq!(drift.next.attribute_count, 3);
    assert_eq!(drift.next.names(), ["id", "a", "b"]);
    shape.attributes[2].missing = BTreeMap::from([(PART, Some("5".to_owned()))]);
    let drift = judge(&before(), &stream, &shape);
    assert_eq!(added(&drift), &ExistingRows::Constant("5".to_owned()));
    assert!(judge(&drift.next, &stream, &shape).is_none(), "judged once");
}

#[test]
fn after_a_rewrite_nobody_knows() {
    let stream = described(&[("id", INT4), ("a", TEXT), ("b", INT4)]);
    let mut shape = present(&[ID, A, (3, "b", INT4)]);
    shape.files = BTreeMap::from([(PART, 2)]);
    assert!(is_unknown(added(&judge(&before(), &stream, &shape))));
    let no_files = SourceShape { files: Files::new(), ..before() };
    shape.files = BTreeMap::from([(PART, 1)]);
    assert!(is_unknown(added(&judge(&no_files, &stream, &shape))));
}

#[test]
fn a_column_that_was_dropped_in_between_makes_the_next_one_doubtful() {
    let stream = described(&[("id", INT4), ("a", TEXT), ("b", INT4)]);
    let shape = present(&[ID, A, (3, "dropped", 0), (4, "b", INT4)]);
    assert!(is_unknown(added(&judge(&before(), &stream, &shape))));
    let gone = present(&[ID, A, (3, "dropped", 0)]);
    assert_eq!(judge(&before(), &stream, &gone).unclear[0].name, "b");
    // One that was dropped before the table was copied does not.
    let shape = present(&[ID, (2, "dropped", 0), (3, "a", TEXT), (4, "b", INT4)]);
    let before = known(3, &[ID, (3, "a", TEXT)]);
    assert_eq!(added(&judge(&before, &stream, &shape)), &ExistingRows::Null);
}

#[test]
fn a_renamed_column_is_not_an_added_one() {
    let stream = described(&[("id", INT4), ("b", TEXT)]);
    let drift = judge(&before(), &stream, &present(&[ID, (2, "b", TEXT)]));
    assert!(drift.added.is_empty());
    let renamed = RenamedColumn { before: "a".to_owned(), now: "b".to_owned() };
    assert_eq!(drift.renamed, [renamed]);
    assert_eq!(drift.next.names(), ["id", "b"]);
    // It was renamed, and has a third name by now.
    let drift = judge(&before(), &stream, &present(&[ID, (2, "c", TEXT)]));
    assert_eq!(drift.unclear[0].name, "b");
    // Where it stood, another one of its new name stands: it was never the last.
    let known = known(3, &[ID, A, (3, "z", TEXT)]);
    let shape = present(&[ID, (2, "dropped", 0), (3, "z", TEXT), (4, "b", TEXT)]);
    let stream = described(&[("id", INT4), ("b", TEXT), ("z", TEXT)]);
    assert!(is_unknown(added(&judge(&known, &stream, &shape))));
}

#[test]
fn a_column_dropped_and_added_again_is_another() {
    let stream = |type_oid| described(&[("id", INT4), ("a", type_oid)]);
    let same_type = present(&[ID, (2, "dropped", 0), (3, "a", TEXT)]);
    assert_eq!(judge(&before(), &stream(TEXT), &same_type).unclear[0].name, "a");
    let other_type = present(&[ID, (2, "dropped", 0), (3, "a", INT4)]);
    assert!(judge(&before(), &stream(TEXT), &other_type).is_none(), "of before");
    assert_eq!(judge(&before(), &stream(INT4), &other_type).unclear[0].name, "a");
}

#[test]
fn swapped_names_are_seen() {
    let before = known(3, &[ID, A, (3, "b", TEXT)]);
    let swapped = present(&[ID, (2, "b", TEXT), (3, "a", TEXT)]);
    let stream = described(&[("id", INT4), ("b", TEXT), ("a", TEXT)]);
    assert_eq!(judge(&before, &stream, &swapped).unclear.len(), 2);
}

#[test]
fn a_change_of_type_says_whether_rows_were_rewritten() {
    let stream = described(&[("id", INT8), ("a", TEXT)]);
    let mut shape = present(&[(1, "id", INT8), A]);
    let drift = judge(&before(), &stream, &shape);
    let [column] = drift.retyped.as_slice() else { panic!("{drift:?}") };
    assert!(!column.is_rewritten && column.is_present);
    assert_eq!(drift.next.by_number(1).map(|column| column.type_oid), Some(INT8));
    let old = described(&[("id", INT4), ("a", TEXT)]);
    assert!(judge(&drift.next, &old, &shape).is_none(), "a description of before");
    shape.files = BTreeMap::from([(PART, 2)]);
    assert!(judge(&before(), &stream, &shape).retyped[0].is_rewritten);
    // By now it is a third one.
    let shape = present(&[(1, "id", TEXT), A]);
    let drift = judge(&before(), &stream, &shape);
    assert!(!drift.retyped[0].is_present);
    assert_eq!(drift.next, before());
}

#[test]
fn a_generated_column_is_found_without_the_stream_naming_it() {
    let stream = described(&[("id", INT4), ("a", TEXT)]);
    let shape = present(&[ID, A, (3, "generated", INT4)]);
    let drift = judge(&before(), &stream, &shape);
    assert_eq!(drift.generated[0].name, "generated");
    assert!(judge(&drift.next, &stream, &shape).is_none());
}

#[test]
fn partitions_have_to_agree() {
    let stream = described(&[("id", INT4), ("a", TEXT), ("b", INT4)]);
    let mut shape = present(&[ID, A, (3, "b", INT4)]);
    let mut before = before();
    before.files = BTreeMap::from([(PART, 1), (501, 1)]);
    let value = |value: &str| Some(value.to_owned());
    shape.files = BTreeMap::from([(PART, 1), (501, 1), (502, 9)]);
    let missing = [(PART, value("5")), (501, value("5")), (502, None)];
    shape.attributes[2].missing = BTreeMap::from(missing);
    let drift = judge(&before, &stream, &shape);
    assert_eq!(added(&drift), &ExistingRows::Constant("5".to_owned()), "502 came later");
    shape.attributes[2].missing.insert(501, value("6"));
    assert!(is_unknown(added(&judge(&before, &stream, &shape))));
}

#[test]
fn a_later_look_moves_on_what_is_known_only_where_the_columns_are_the_same() {
    let mut look = present(&[ID, A, (3, "dropped", 0)]);
    look.files = BTreeMap::from([(PART, 7)]);
    let moved = moved_on(&before(), &look).expect("the same columns");
    assert_eq!((moved.attribute_count, &moved.files), (3, &look.files));
    assert_eq!(moved_on(&moved, &look), None, "nothing more");
    for other in [(3, "b", INT4), (3, "generated", INT4)] {
        assert_eq!(moved_on(&before(), &present(&[ID, A, other])), None);
    }
    assert_eq!(moved_on(&before(), &present(&[(1, "id", INT8), A])), None);
    assert_eq!(moved_on(&before(), &present(&[ID, (2, "b", TEXT)])), None);
}

#[test]
fn a_record_without_a_shape_takes_todays_columns_by_name() {
    let names = ["id".to_owned(), "a".to_owned()];
    let same = first_look(&names, &present(&[ID, A]));
    assert_eq!(same, before());
    let more = first_look(&names, &present(&[ID, A, (3, "b", INT4)]));
    assert_eq!((more.attribute_count, more.files.is_empty()), (2, true), "nobody knows");
}
