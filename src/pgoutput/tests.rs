//! Round trips over generated messages, bytes written by hand, and every way to cut a message.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::pg::catalog::ReplicaIdentity;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

// === generated messages ===

fn name() -> impl Strategy<Value = String> {
    "[^\0]{0,12}"
}

fn set_lsn() -> impl Strategy<Value = Lsn> {
    (1_u64..).prop_map(Lsn::new)
}

fn time() -> impl Strategy<Value = PgTimestamp> {
    any::<i64>().prop_map(PgTimestamp)
}

fn value() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let field = prop_oneof![
        Just(TupleField::Null),
        Just(TupleField::Unchanged),
        value().prop_map(TupleField::Text),
        value().prop_map(TupleField::Binary),
    ];
    vec(field, 0..6).prop_map(Tuple::from_fields)
}

fn old_tuple() -> impl Strategy<Value = OldTuple> {
    prop_oneof![tuple().prop_map(OldTuple::Key), tuple().prop_map(OldTuple::Full)]
}

fn identity() -> impl Strategy<Value = ReplicaIdentity> {
    prop_oneof![
        Just(ReplicaIdentity::Default),
        Just(ReplicaIdentity::Nothing),
        Just(ReplicaIdentity::Full),
        Just(ReplicaIdentity::Index),
    ]
}

fn relation(xid: Option<u32>) -> impl Strategy<Value = Message> {
    let column = (any::<bool>(), name(), any::<u32>(), any::<i32>()).prop_map(
        |(is_identity, name, type_oid, type_modifier)| RelationColumn {
            is_identity,
            name,
            type_oid,
            type_modifier,
        },
    );
    (any::<u32>(), name(), name(), identity(), vec(column, 0..5)).prop_map(
        move |(id, schema, name, identity, columns)| {
            Message::Relation(Relation { xid, id, schema, name, identity, columns })
        },
    )
}

fn row_message(xid: Option<u32>) -> impl Strategy<Value = Message> {
    prop_oneof![
        (any::<u32>(), tuple()).prop_map(move |(relation_id, new)| Message::Insert(Insert {
            xid,
            relation_id,
            new
        })),
        (any::<u32>(), option::of(old_tuple()), tuple()).prop_map(
            move |(relation_id, old, new)| {
                Message::Update(Update { xid, relation_id, old, new })
            }
        ),
        (any::<u32>(), old_tuple()).prop_map(move |(relation_id, old)| Message::Delete(Delete {
            xid,
            relation_id,
            old
        })),
    ]
}

/// The kinds of message that carry an xid inside a streamed transaction.
fn streamable(xid: Option<u32>) -> impl Strategy<Value = Message> {
    prop_oneof![
        relation(xid),
        row_message(xid),
        (any::<u32>(), name(), name()).prop_map(move |(oid, schema, name)| Message::Type(Type {
            xid,
            oid,
            schema,
            name
        })),
        (any::<bool>(), any::<bool>(), vec(any::<u32>(), 0..5)).prop_map(
            move |(cascade, restart_identity, relation_ids)| {
                Message::Truncate(Truncate { xid, cascade, restart_identity, relation_ids })
            }
        ),
        (any::<bool>(), set_lsn(), name(), value()).prop_map(
            move |(is_transactional, lsn, prefix, content)| {
                Message::Logical(LogicalMessage { xid, is_transactional, lsn, prefix, content })
            }
        ),
    ]
}

fn bracket() -> impl Strategy<Value = Message> {
    prop_oneof![
        (set_lsn(), time(), any::<u32>()).prop_map(|(commit_lsn, commit_time, xid)| {
            Message::Begin(Begin { commit_lsn, commit_time, xid })
        }),
        (set_lsn(), set_lsn(), time()).prop_map(|(commit_lsn, end_lsn, commit_time)| {
            Message::Commit(Commit { commit_lsn, end_lsn, commit_time })
        }),
        (set_lsn(), name())
            .prop_map(|(origin_lsn, name)| Message::Origin(Origin { origin_lsn, name })),
        (any::<u32>(), any::<bool>())
            .prop_map(|(xid, is_first)| Message::StreamStart(StreamStart { xid, is_first })),
        Just(Message::StreamStop),
        (any::<u32>(), set_lsn(), set_lsn(), time()).prop_map(
            |(xid, commit_lsn, end_lsn, commit_time)| {
                Message::StreamCommit(StreamCommit { xid, commit_lsn, end_lsn, commit_time })
            }
        ),
        (any::<u32>(), any::<u32>()).prop_map(|(xid, subtransaction_xid)| {
            Message::StreamAbort(StreamAbort { xid, subtransaction_xid })
        }),
    ]
}

/// A message and whether it stands inside a streamed transaction.
fn message() -> impl Strategy<Value = (Message, bool)> {
    prop_oneof![
        (bracket(), any::<bool>()),
        streamable(None).prop_map(|message| (message, false)),
        any::<u32>().prop_flat_map(|xid| streamable(Some(xid))).prop_map(|m| (m, true)),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded((message, streaming) in message()) {
        prop_assert_eq!(decode(encode(&message), streaming), Ok(message));
    }

    #[test]
    fn every_cut_of_a_message_is_an_error((message, streaming) in message()) {
        let whole = encode(&message);
        for length in 0..whole.len() {
            let cut = decode(whole.slice(..length), streaming);
            prop_assert!(cut.is_err(), "{} of {} bytes gave {:?}", length, whole.len(), cut);
        }
    }

    #[test]
    fn bytes_after_a_message_are_an_error((message, streaming) in message(), extra in 1_usize..4) {
        let mut bytes = BytesMut::from(&encode(&message)[..]);
        let end = bytes.len();
        bytes.resize(end + extra, 0);
        let error = decode(bytes.freeze(), streaming).expect_err("bytes are left over");
        prop_assert_eq!(error.problem, Problem::TrailingBytes { count: extra });
        prop_assert_eq!(error.offset, end);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(
        tag in prop::sample::select(&b"BCORYIUDTMSEcA"[..]),
        body in vec(any::<u8>(), 0..60),
        streaming in any::<bool>(),
    ) {
        let bytes = Bytes::from([&[tag], &body[..]].concat());
        if let Ok(message) = decode(bytes.clone(), streaming) {
            // Nothing was skipped: the message holds every byte.
            prop_assert_eq!(encode(&message), bytes);
        }
    }

    #[test]
    fn one_wrong_byte_never_panics((message, streaming) in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = BytesMut::from(&encode(&message)[..]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Message::Insert(insert)) = decode(bytes.freeze(), streaming) {
            prop_assert_eq!(insert.new.iter().count(), insert.new.count());
        }
    }
}

// === bytes by hand ===

fn decoded(bytes: &'static [u8]) -> Message {
    decode(Bytes::from_static(bytes), false).expect("well-formed")
}

fn problem(bytes: &'static [u8]) -> (Problem, usize) {
    let error = decode(Bytes::from_static(bytes), false).expect_err("malformed");
    assert_eq!(error.tag, bytes.first().copied());
    (error.problem, error.offset)
}

#[test]
fn a_begin_is_lsn_time_xid() {
    let bytes = b"B\0\0\0\x16\xB3\x74\xD8\x48\0\0\0\0\0\0\x01\0\0\0\x02\xF0";
    let expected = Begin {
        commit_lsn: "16/B374D848".parse().expect("valid"),
        commit_time: PgTimestamp(256),
        xid: 752,
    };
    assert_eq!(decoded(bytes), Message::Begin(expected));
}

#[test]
fn a_commit_has_flags_two_positions_and_the_time() {
    let bytes = b"C\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x40\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    let expected =
        Commit { commit_lsn: Lsn::new(16), end_lsn: Lsn::new(64), commit_time: PgTimestamp(-1) };
    assert_eq!(decoded(bytes), Message::Commit(expected));
}

#[test]
fn a_relation_lists_columns_with_flag_name_type_and_modifier() {
    let bytes = b"R\0\0\x40\0public\0t\0d\0\x02\
        \x01id\0\0\0\0\x17\xFF\xFF\xFF\xFF\
        \0na\xC3\xAFf\0\0\0\x04\x13\0\0\0\x0C";
    let column = |is_identity, name: &str, type_oid, type_modifier| RelationColumn {
        is_identity,
        name: name.to_owned(),
        type_oid,
        type_modifier,
    };
    let expected = Relation {
        xid: None,
        id: 16_384,
        schema: "public".to_owned(),
        name: "t".to_owned(),
        identity: ReplicaIdentity::Default,
        columns: vec![column(true, "id", 23, -1), column(false, "naïf", 1043, 12)],
    };
    assert_eq!(decoded(bytes), Message::Relation(expected));
}

#[test]
fn null_unchanged_text_and_binary_are_four_things() {
    let bytes = b"I\0\0\x40\0N\0\x05nut\0\0\0\0t\0\0\0\x01ab\0\0\0\x02\0\xFF";
    let Message::Insert(insert) = decoded(bytes) else { panic!("not an insert") };
    let fields: Vec<TupleField> = insert.new.iter().collect();
    let expected = [
        TupleField::Null,
        TupleField::Unchanged,
        TupleField::Text(Bytes::new()),
        TupleField::Text(Bytes::from_static(b"a")),
        TupleField::Binary(Bytes::from_static(b"\0\xFF")),
    ];
    assert_eq!(fields, expected);
    assert_eq!(insert.new.iter().len(), 5);
}

#[test]
fn values_are_slices_of_the_payload() {
    let payload = Bytes::from_static(b"I\0\0\x40\0N\0\x01t\0\0\0\x03abc");
    let inside = payload.as_ptr_range();
    let Ok(Message::Insert(insert)) = decode(payload, false) else { panic!("not an insert") };
    let Some(TupleField::Text(value)) = insert.new.iter().next() else { panic!("not text") };
    assert!(inside.contains(&value.as_ptr()));
}

#[test]
fn an_update_may_come_with_an_old_key_an_old_row_or_neither() {
    let old = |bytes| match decoded(bytes) {
        Message::Update(update) => update.old,
        other => panic!("{} is not an update", other.kind()),
    };
    let nothing = Tuple::from_fields([]);
    assert_eq!(old(b"U\0\0\0\x01N\0\0"), None);
    assert_eq!(old(b"U\0\0\0\x01K\0\0N\0\0"), Some(OldTuple::Key(nothing.clone())));
    assert_eq!(old(b"U\0\0\0\x01O\0\0N\0\0"), Some(OldTuple::Full(nothing)));
}

#[test]
fn the_same_insert_is_longer_inside_a_streamed_transaction() {
    let streamed = Bytes::from_static(b"I\0\0\x02\xF0\0\0\x40\0N\0\x01n");
    let Ok(Message::Insert(insert)) = decode(streamed.clone(), true) else { panic!("no insert") };
    assert_eq!((insert.xid, insert.relation_id), (Some(752), 16_384));
    assert!(decode(streamed, false).is_err(), "an xid was taken for a relation");
}

#[test]
fn malformed_messages_are_named_with_their_place() {
    use Problem::*;
    let cases: [(&'static [u8], Problem, usize); 18] = [
        (b"", Short, 0),
        (b"b", UnknownTag, 0),
        (b"\x00", UnknownTag, 0),
        (b"B\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", ZeroLsn, 1),
        (b"C\x01", UnknownFlags { flags: 1 }, 1),
        (b"R\0\0\0\x01", Short, 5),
        (b"R\0\0\0\x01pub", Short, 5),
        (b"R\0\0\0\x01\xFF\0t\0d\0\0", NameNotUtf8, 5),
        (b"R\0\0\0\x01\0t\0x\0\0", UnknownReplicaIdentity { byte: b'x' }, 8),
        (b"R\0\0\0\x01\0t\0d\xFF\xFF", NegativeCount { count: -1 }, 9),
        (b"R\0\0\0\x01\0t\0d\0\x01\x02", UnknownFlags { flags: 2 }, 11),
        (b"I\0\0\0\x01K\0\0", UnknownTupleTag { byte: b'K' }, 5),
        (b"U\0\0\0\x01K\0\0O\0\0", UnknownTupleTag { byte: b'O' }, 8),
        (b"D\0\0\0\x01N\0\0", UnknownTupleTag { byte: b'N' }, 5),
        (b"I\0\0\0\x01N\0\x01x", UnknownValueKind { byte: b'x' }, 8),
        (b"I\0\0\0\x01N\0\x01t\xFF\xFF\xFF\xFF", NegativeLength { length: -1 }, 9),
        (b"T\x7F\xFF\xFF\xFF\0\0\0\0\x01", Short, 6),
        (b"T\0\0\0\0\x04", UnknownFlags { flags: 4 }, 5),
    ];
    for (bytes, expected, offset) in cases {
        assert_eq!(problem(bytes), (expected, offset), "for {}", bytes.escape_ascii());
    }
}

#[test]
fn an_error_reads_like_a_sentence() {
    let error = decode(Bytes::from_static(b"I\0\0\0\x01N\0\x01x"), false).expect_err("malformed");
    let text = "malformed pgoutput message 'I' at byte 8: value kind 'x' is unknown";
    assert_eq!(error.to_string(), text);
}

// === bytes of a real server ===

/// The messages of a captured stream, and their tags as one word.
fn captured(hex: &str) -> (Vec<Message>, String) {
    let mut is_streaming = false;
    let mut tags = String::new();
    let decode_line = |line: &str| {
        let digits = line.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Bytes = digits.map(|pair| byte(pair).expect("hex")).collect();
        tags.push(char::from(bytes[0]));
        let message = decode(bytes.clone(), is_streaming).expect("a server wrote it");
        assert_eq!(encode(&message), bytes, "nothing is lost: {line}");
        match message {
            Message::StreamStart(_) => is_streaming = true,
            Message::StreamStop => is_streaming = false,
            _ => {}
        }
        message
    };
    let messages = hex.lines().map(decode_line).collect();
    (messages, tags)
}

#[test]
fn what_postgres_15_wrote_is_understood_to_the_last_byte() {
    let (text, tags) = captured(include_str!("../../tests/golden/pgoutput/pg15-text.hex"));
    let expected = "BYYRIICBUCBUCBDCBRICBUCBDCBRICBUCBDCBRICBRRICBUCBDCBMCMBYYRRTCBYYRIIUC";
    assert_eq!(tags, expected);
    let (binary, tags) = captured(include_str!("../../tests/golden/pgoutput/pg15-binary.hex"));
    assert_eq!(tags, expected);
    for (text, binary) in text.iter().zip(&binary) {
        if let (Message::Insert(text), Message::Insert(binary)) = (text, binary) {
            let is_text = |field| !matches!(field, TupleField::Binary(_));
            assert!(text.new.iter().all(is_text));
            assert!(!binary.new.iter().all(is_text));
        }
    }
    let (streamed, tags) = captured(include_str!("../../tests/golden/pgoutput/pg15-streamed.hex"));
    let in_progress = "SYYRIIESIIESIIESIIEASYYRUEc";
    assert_eq!(tags, format!("{}{in_progress}", expected.trim_end_matches("BYYRIIUC")));
    let xid = |message: &Message| match message {
        Message::Insert(insert) => insert.xid,
        _ => None,
    };
    assert_eq!(streamed.iter().filter_map(xid).count(), 8);
}
