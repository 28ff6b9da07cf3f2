//! Streams built message by message.

use bytes::Bytes;

use super::*;
use crate::pg::time::PgTimestamp;
use crate::pgoutput::{LogicalMessage, Origin, Relation, RelationColumn, StreamStart, Type};
use crate::source::relation::KeyLookup;

const TABLE: Oid = 16_384;

fn lsn(value: u64) -> Lsn {
    Lsn::new(value)
}

fn begin(commit_lsn: u64) -> Message {
    let commit_time = PgTimestamp(1_000);
    Message::Begin(pgoutput::Begin { commit_lsn: lsn(commit_lsn), commit_time, xid: 7 })
}

fn commit(commit_lsn: u64, end_lsn: u64) -> Message {
    let (commit_lsn, end_lsn) = (lsn(commit_lsn), lsn(end_lsn));
    let commit_time = PgTimestamp(1_000);
    Message::Commit(pgoutput::Commit { commit_lsn, end_lsn, commit_time })
}

fn relation(identity: ReplicaIdentity) -> Message {
    let column = |name: &str, is_identity| RelationColumn {
        is_identity: is_identity || identity == ReplicaIdentity::Full,
        name: name.to_owned(),
        type_oid: 25,
        type_modifier: -1,
    };
    Message::Relation(Relation {
        xid: None,
        id: TABLE,
        schema: "public".to_owned(),
        name: "doc".to_owned(),
        identity,
        columns: vec![column("id", identity != ReplicaIdentity::Nothing), column("body", false)],
    })
}

/// `~` is unchanged, `-` is NULL, anything else is text.
fn tuple(values: &[&'static str]) -> Tuple {
    Tuple::from_fields(values.iter().map(|&value| match value {
        "~" => TupleField::Unchanged,
        "-" => TupleField::Null,
        text => TupleField::Text(Bytes::from_static(text.as_bytes())),
    }))
}

fn model(values: &[&'static str]) -> Row {
    let value = |&value: &&'static str| match value {
        "~" => Value::Unchanged,
        "-" => Value::Null,
        text => Value::Text(Bytes::from_static(text.as_bytes())),
    };
    Row::new(values.iter().map(value).collect())
}

fn insert(values: &[&'static str]) -> Message {
    Message::Insert(pgoutput::Insert { xid: None, relation_id: TABLE, new: tuple(values) })
}

fn update(old: Option<OldTuple>, new: &[&'static str]) -> Message {
    Message::Update(pgoutput::Update { xid: None, relation_id: TABLE, old, new: tuple(new) })
}

fn delete(old: OldTuple) -> Message {
    Message::Delete(pgoutput::Delete { xid: None, relation_id: TABLE, old })
}

fn truncate(relation_ids: Vec<Oid>) -> Message {
    let (cascade, restart_identity) = (true, false);
    Message::Truncate(pgoutput::Truncate { xid: None, cascade, restart_identity, relation_ids })
}

fn assembler(resume_lsn: u64) -> Assembler {
    Assembler::new(RelationCache::new(KeyLookup::default()), lsn(resume_lsn))
}

/// Feeds everything; the events, or the first error.
fn feed_all(
    assembler: &mut Assembler,
    messages: impl IntoIterator<Item = Message>,
) -> Result<Vec<TailEvent>, AssembleError> {
    let events = messages.into_iter().filter_map(|message| assembler.feed(message).transpose());
    events.collect()
}

/// The one change of a transaction on a table with this identity.
fn change(identity: ReplicaIdentity, message: Message) -> Result<RowChange, AssembleError> {
    let messages = [begin(10), relation(identity), message];
    let events = feed_all(&mut assembler(0), messages)?;
    match events.into_iter().nth(1) {
        Some(TailEvent::Change(Change::Row { change, .. })) => Ok(change),
        other => panic!("not a row change: {other:?}"),
    }
}

#[test]
fn a_transaction_is_begin_changes_commit() {
    let mut assembler = assembler(0);
    let messages = [
        begin(10),
        relation(ReplicaIdentity::Default),
        insert(&["1", "-"]),
        delete(OldTuple::Key(tuple(&["1", "-"]))),
        truncate(vec![TABLE]),
        commit(10, 20),
    ];
    let events = feed_all(&mut assembler, messages).expect("well-formed");
    let table = Arc::clone(assembler.relations.table(TableId(TABLE)).expect("described"));
    let commit_time = PgTimestamp(1_000);
    let row = |change| Change::Row { table: Arc::clone(&table), change };
    let expected = [
        TailEvent::Begin(Begin { commit_lsn: lsn(10), commit_time, xid: 7 }),
        TailEvent::Change(row(RowChange::Insert { new: model(&["1", "-"]) })),
        TailEvent::Change(row(RowChange::Delete { old: OldRow::Identity(model(&["1", "-"])) })),
        TailEvent::Change(Change::Truncate(Truncate {
            tables: vec![Arc::clone(&table)],
            cascade: true,
            restart_identity: false,
        })),
        TailEvent::Commit(Commit { commit_lsn: lsn(10), end_lsn: lsn(20), commit_time, xid: 7 }),
    ];
    assert_eq!(events, expected);
    assert_eq!(assembler.finish(), Ok(()));
}

// === the bracket ===

#[test]
fn a_change_or_commit_outside_a_transaction_is_an_error() {
    let outside = |message| AssembleError::OutsideTransaction { message };
    let cases = [
        (insert(&["1", "a"]), outside("Insert")),
        (update(None, &["1", "a"]), outside("Update")),
        (delete(OldTuple::Key(tuple(&["1", "-"]))), outside("Delete")),
        (truncate(vec![TABLE]), outside("Truncate")),
        (commit(10, 20), outside("Commit")),
    ];
    for (message, error) in cases {
        let mut fresh = assembler(0);
        assert_eq!(feed_all(&mut fresh, [relation(ReplicaIdentity::Default)]), Ok(vec![]));
        assert_eq!(fresh.feed(message.clone()), Err(error.clone()));
        let mut after_commit = assembler(0);
        feed_all(&mut after_commit, [begin(1), commit(1, 2)]).expect("well-formed");
        assert_eq!(after_commit.feed(message), Err(error));
    }
}

#[test]
fn a_begin_inside_a_transaction_is_an_error() {
    let error = feed_all(&mut assembler(0), [begin(10), begin(30)]).expect_err("nested");
    let (open_commit_lsn, commit_lsn) = (lsn(10), lsn(30));
    assert_eq!(error, AssembleError::NestedBegin { open_commit_lsn, commit_lsn });
}

#[test]
fn a_commit_must_agree_with_its_begin() {
    let mut late = commit(10, 20);
    if let Message::Commit(commit) = &mut late {
        commit.commit_time = PgTimestamp(1_001);
    }
    for commit in [commit(11, 20), commit(9, 20), commit(10, 10), late] {
        let error = feed_all(&mut assembler(0), [begin(10), commit]).expect_err("disagrees");
        assert!(matches!(error, AssembleError::CommitMismatch { .. }), "{error}");
    }
}

#[test]
fn an_end_inside_a_transaction_is_an_error_even_in_a_skipped_one() {
    for resume_lsn in [0, 100] {
        let mut assembler = assembler(resume_lsn);
        feed_all(&mut assembler, [begin(10)]).expect("well-formed");
        assert!(assembler.in_transaction());
        let commit_lsn = lsn(10);
        assert_eq!(assembler.finish(), Err(AssembleError::EndInsideTransaction { commit_lsn }));
    }
}

#[test]
fn commits_that_go_back_are_an_error_and_adjacent_ones_are_not() {
    let mut assembler = assembler(0);
    feed_all(&mut assembler, [begin(10), commit(10, 20), begin(20), commit(20, 30)])
        .expect("adjacent");
    let (commit_lsn, previous_end_lsn) = (lsn(29), lsn(30));
    let error = AssembleError::OutOfOrder { commit_lsn, previous_end_lsn };
    assert_eq!(assembler.feed(begin(29)), Err(error));
}

// === what is skipped ===

#[test]
fn transactions_before_the_resume_position_are_skipped_whole() {
    let mut assembler = assembler(20);
    let messages = [
        begin(5),
        relation(ReplicaIdentity::Default),
        insert(&["1", "a"]),
        commit(5, 10),
        begin(19),
        insert(&["2", "b"]),
        truncate(vec![TABLE]),
        commit(19, 20),
    ];
    assert_eq!(feed_all(&mut assembler, messages), Ok(vec![]));
    assert_eq!(assembler.skipped_count(), 2);
    let last = assembler.last_skipped().expect("skipped");
    assert_eq!((last.commit_lsn, last.end_lsn, last.xid), (lsn(19), lsn(20), 7));
}

#[test]
fn a_transaction_whose_commit_starts_at_the_resume_position_is_delivered() {
    let mut assembler = assembler(20);
    let messages =
        [begin(20), relation(ReplicaIdentity::Default), insert(&["1", "a"]), commit(20, 30)];
    assert_eq!(feed_all(&mut assembler, messages).expect("well-formed").len(), 3);
    assert_eq!((assembler.skipped_count(), assembler.last_skipped()), (0, None));
}

#[test]
fn a_relation_described_in_a_skipped_transaction_is_known_afterwards() {
    let mut assembler = assembler(20);
    let messages = [
        begin(5),
        relation(ReplicaIdentity::Default),
        commit(5, 10),
        begin(20),
        insert(&["1", "a"]),
        commit(20, 30),
    ];
    assert_eq!(feed_all(&mut assembler, messages).expect("well-formed").len(), 3);
}

#[test]
fn the_bracket_is_checked_in_skipped_transactions_too() {
    assert!(feed_all(&mut assembler(99), [begin(5), begin(6)]).is_err());
    assert!(feed_all(&mut assembler(99), [begin(5), commit(6, 7)]).is_err());
}

#[test]
fn messages_that_change_no_row_yield_nothing() {
    let logical = |is_transactional| {
        let (lsn, prefix) = (lsn(3), "p".to_owned());
        let content = Bytes::from_static(b"x");
        Message::Logical(LogicalMessage { xid: None, is_transactional, lsn, prefix, content })
    };
    let type_ = Type { xid: None, oid: 1, schema: String::new(), name: "mood".to_owned() };
    let origin = Origin { origin_lsn: lsn(1), name: "elsewhere".to_owned() };
    let messages = [
        logical(false),
        begin(10),
        Message::Origin(origin),
        Message::Type(type_),
        logical(true),
        commit(10, 20),
    ];
    assert_eq!(feed_all(&mut assembler(0), messages).expect("well-formed").len(), 2);
}

#[test]
fn streamed_transactions_are_refused() {
    let start = Message::StreamStart(StreamStart { xid: 1, is_first: true });
    let error = assembler(0).feed(start).expect_err("not asked for");
    assert_eq!(error, AssembleError::StreamingNotRequested { message: "Stream Start" });
}

// === rows ===

#[test]
fn a_tuple_of_the_wrong_width_is_an_error_that_names_the_table() {
    for values in [&["1"][..], &["1", "a", "b"]] {
        let error = change(ReplicaIdentity::Default, insert(values)).expect_err("wrong width");
        let text = format!(
            "tuple of table \"public.doc\" has {} values, its relation 2 columns",
            values.len()
        );
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_change_of_a_relation_never_described_is_an_error() {
    for message in [insert(&["1", "a"]), truncate(vec![TABLE])] {
        let error = feed_all(&mut assembler(0), [begin(10), message]).expect_err("unknown");
        assert_eq!(error, AssembleError::UnknownRelation { id: TableId(TABLE) });
    }
}

#[test]
fn an_insert_may_carry_unchanged_values() {
    let change = change(ReplicaIdentity::Default, insert(&["1", "~"]));
    assert_eq!(change, Ok(RowChange::Insert { new: model(&["1", "~"]) }));
}

#[test]
fn under_full_identity_unchanged_values_come_from_the_old_row() {
    let old = OldTuple::Full(tuple(&["1", "long"]));
    let change = change(ReplicaIdentity::Full, update(Some(old), &["2", "~"]));
    let old = Some(OldRow::Full(model(&["1", "long"])));
    assert_eq!(change, Ok(RowChange::Update { old, new: model(&["2", "long"]) }));
}

#[test]
fn a_value_that_was_sent_is_never_replaced_by_the_old_one() {
    let old = OldTuple::Full(tuple(&["1", "long"]));
    let change = change(ReplicaIdentity::Full, update(Some(old), &["1", "-"]));
    let old = Some(OldRow::Full(model(&["1", "long"])));
    assert_eq!(change, Ok(RowChange::Update { old, new: model(&["1", "-"]) }));
}

#[test]
fn an_unchanged_value_never_becomes_null() {
    // The old row of a partition without FULL identity, published under a root that has it.
    let old = OldTuple::Full(tuple(&["1", "-"]));
    let full = change(ReplicaIdentity::Full, update(Some(old), &["1", "~"]));
    let old = Some(OldRow::Full(model(&["1", "-"])));
    assert_eq!(full, Ok(RowChange::Update { old, new: model(&["1", "~"]) }));
    // Outside the identity the old NULL means nothing.
    let old = OldTuple::Key(tuple(&["1", "-"]));
    let keyed = change(ReplicaIdentity::Default, update(Some(old), &["2", "~"]));
    let old = Some(OldRow::Identity(model(&["1", "-"])));
    assert_eq!(keyed, Ok(RowChange::Update { old, new: model(&["2", "~"]) }));
}

#[test]
fn an_old_tuple_that_contradicts_the_identity_is_an_error() {
    let key = || OldTuple::Key(tuple(&["1", "-"]));
    let full = || OldTuple::Full(tuple(&["1", "a"]));
    let cases = [
        (ReplicaIdentity::Full, key()),
        (ReplicaIdentity::Default, full()),
        (ReplicaIdentity::Index, full()),
        (ReplicaIdentity::Nothing, full()),
    ];
    for (identity, old) in cases {
        for message in [delete(old.clone()), update(Some(old.clone()), &["1", "a"])] {
            let error = change(identity, message).expect_err("contradiction");
            assert!(matches!(error, AssembleError::OldTupleKind { .. }), "{error}");
        }
    }
}

#[test]
fn an_old_row_must_have_every_value_that_identifies_it() {
    let full = change(ReplicaIdentity::Full, delete(OldTuple::Full(tuple(&["1", "~"]))));
    let text = "old tuple of table \"public.doc\" lacks the value of column \"body\"";
    assert_eq!(full.expect_err("not sent").to_string(), text);
    let keyed = change(ReplicaIdentity::Default, delete(OldTuple::Key(tuple(&["~", "-"]))));
    assert!(matches!(keyed, Err(AssembleError::OldValueNotSent { .. })));
    let outside = change(ReplicaIdentity::Default, delete(OldTuple::Key(tuple(&["1", "~"]))));
    assert!(outside.is_ok(), "a value outside the identity is not needed");
}

// === a real server's stream ===

/// The row changes of the captured stream, without their tables.
fn captured_changes(hex: &str) -> Vec<(String, RowChange)> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let payload = |line: &str| -> Bytes {
        line.as_bytes().chunks(2).map(|pair| byte(pair).expect("hex")).collect()
    };
    let mut assembler = assembler(0);
    let messages = hex.lines().map(|l| pgoutput::decode(payload(l), false).expect("captured"));
    let events = feed_all(&mut assembler, messages).expect("a server wrote it");
    assert_eq!(assembler.finish(), Ok(()));
    let change = |event| match event {
        TailEvent::Change(Change::Row { table, change }) => Some((table.name.name.clone(), change)),
        _ => None,
    };
    events.into_iter().filter_map(change).collect()
}

#[test]
fn what_postgres_15_sends_of_unchanged_values_is_kept_apart_from_null() {
    let changes = captured_changes(include_str!("../../../tests/golden/pgoutput/pg15-text.hex"));
    let updates = |name: &str| -> Vec<(Option<OldRow>, Row)> {
        let of = |(table, change): &(String, RowChange)| match change {
            RowChange::Update { old, new } if table == name => Some((old.clone(), new.clone())),
            _ => None,
        };
        changes.iter().filter_map(of).collect()
    };

    // Default identity, key untouched: no old row. Key changed: the old key.
    let default = updates("d");
    assert_eq!(default[0].0, None);
    assert!(default[0].1.values()[1].is_unchanged());
    let Some(OldRow::Identity(old)) = &default[1].0 else { panic!("no old key") };
    assert_eq!(old, &model(&["1", "-", "-", "-", "-", "-"]));
    assert!(default[1].1.values()[1].is_unchanged());

    // FULL: the value that was not sent is the old row's.
    let full = updates("f");
    let Some(OldRow::Full(old)) = &full[0].0 else { panic!("no old row") };
    assert_eq!(old.values()[1].bytes().map(Bytes::len), Some(2_100));
    assert_eq!(full[0].1.values()[1], old.values()[1]);

    // A root with FULL identity over a partition without: sent as a whole old row, and is none.
    let root = updates("root");
    let Some(OldRow::Full(old)) = &root[0].0 else { panic!("no old row") };
    assert_eq!(old, &model(&["1", "1", "-"]));
    assert!(root[0].1.values()[2].is_unchanged(), "it must not become NULL");
}
