//! Messages to bytes: the mirror of `decode`, so that tests can speak the protocol.
//!
//! Names must not contain a zero byte and counts must fit their field; the server cannot produce
//! such messages and neither can this.

use bytes::{BufMut, Bytes, BytesMut};

use super::message::{
    Delete, Insert, LogicalMessage, Message, OldTuple, Relation, Truncate, Type, Update, flag, tag,
};
use super::tuple::Tuple;
use crate::pg::catalog::ReplicaIdentity;
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

/// Encodes one message. An `xid` in it is written, so it must be decoded with a streaming context.
pub fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    match message {
        Message::Begin(begin) => {
            out.put_u8(tag::BEGIN);
            put_lsn(&mut out, begin.commit_lsn);
            put_time(&mut out, begin.commit_time);
            out.put_u32(begin.xid);
        }
        Message::Commit(commit) => {
            out.put_u8(tag::COMMIT);
            put_commit(&mut out, commit.commit_lsn, commit.end_lsn, commit.commit_time);
        }
        Message::Origin(origin) => {
            out.put_u8(tag::ORIGIN);
            put_lsn(&mut out, origin.origin_lsn);
            put_name(&mut out, &origin.name);
        }
        Message::Relation(relation) => put_relation(&mut out, relation),
        Message::Type(type_) => put_type(&mut out, type_),
        Message::Insert(insert) => put_insert(&mut out, insert),
        Message::Update(update) => put_update(&mut out, update),
        Message::Delete(delete) => put_delete(&mut out, delete),
        Message::Truncate(truncate) => put_truncate(&mut out, truncate),
        Message::Logical(message) => put_logical_message(&mut out, message),
        Message::StreamStart(start) => {
            out.put_u8(tag::STREAM_START);
            out.put_u32(start.xid);
            out.put_u8(u8::from(start.is_first));
        }
        Message::StreamStop => out.put_u8(tag::STREAM_STOP),
        Message::StreamCommit(commit) => {
            out.put_u8(tag::STREAM_COMMIT);
            out.put_u32(commit.xid);
            put_commit(&mut out, commit.commit_lsn, commit.end_lsn, commit.commit_time);
        }
        Message::StreamAbort(abort) => {
            out.put_u8(tag::STREAM_ABORT);
            out.put_u32(abort.xid);
            out.put_u32(abort.subtransaction_xid);
        }
    }
    out.freeze()
}

fn put_relation(out: &mut BytesMut, relation: &Relation) {
    put_head(out, tag::RELATION, relation.xid);
    out.put_u32(relation.id);
    put_name(out, &relation.schema);
    put_name(out, &relation.name);
    out.put_u8(match relation.identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    out.put_i16(i16::try_from(relation.columns.len()).expect("at most 32,767 columns"));
    for column in &relation.columns {
        out.put_u8(if column.is_identity { flag::COLUMN_IS_IDENTITY } else { 0 });
        put_name(out, &column.name);
        out.put_u32(column.type_oid);
        out.put_i32(column.type_modifier);
    }
}

fn put_type(out: &mut BytesMut, type_: &Type) {
    put_head(out, tag::TYPE, type_.xid);
    out.put_u32(type_.oid);
    put_name(out, &type_.schema);
    put_name(out, &type_.name);
}

fn put_insert(out: &mut BytesMut, insert: &Insert) {
    put_head(out, tag::INSERT, insert.xid);
    out.put_u32(insert.relation_id);
    put_tuple(out, tag::NEW, &insert.new);
}

fn put_update(out: &mut BytesMut, update: &Update) {
    put_head(out, tag::UPDATE, update.xid);
    out.put_u32(update.relation_id);
    if let Some(old) = &update.old {
        put_old_tuple(out, old);
    }
    put_tuple(out, tag::NEW, &update.new);
}

fn put_delete(out: &mut BytesMut, delete: &Delete) {
    put_head(out, tag::DELETE, delete.xid);
    out.put_u32(delete.relation_id);
    put_old_tuple(out, &delete.old);
}

fn put_truncate(out: &mut BytesMut, truncate: &Truncate) {
    put_head(out, tag::TRUNCATE, truncate.xid);
    out.put_i32(i32::try_from(truncate.relation_ids.len()).expect("fewer than 2^31 relations"));
    let cascade = if truncate.cascade { flag::TRUNCATE_CASCADE } else { 0 };
    let restart = if truncate.restart_identity { flag::TRUNCATE_RESTART_IDENTITY } else { 0 };
    out.put_u8(cascade | restart);
    for &relation_id in &truncate.relation_ids {
        out.put_u32(relation_id);
    }
}

fn put_logical_message(out: &mut BytesMut, message: &LogicalMessage) {
    put_head(out, tag::MESSAGE, message.xid);
    out.put_u8(if message.is_transactional { flag::MESSAGE_TRANSACTIONAL } else { 0 });
    put_lsn(out, message.lsn);
    put_name(out, &message.prefix);
    out.put_i32(i32::try_from(message.content.len()).expect("shorter than 2 GiB"));
    out.extend_from_slice(&message.content);
}

fn put_head(out: &mut BytesMut, tag: u8, xid: Option<u32>) {
    out.put_u8(tag);
    if let Some(xid) = xid {
        out.put_u32(xid);
    }
}

fn put_commit(out: &mut BytesMut, commit_lsn: Lsn, end_lsn: Lsn, commit_time: PgTimestamp) {
    out.put_u8(0);
    put_lsn(out, commit_lsn);
    put_lsn(out, end_lsn);
    put_time(out, commit_time);
}

fn put_old_tuple(out: &mut BytesMut, old: &OldTuple) {
    match old {
        OldTuple::Key(tuple) => put_tuple(out, tag::OLD_KEY, tuple),
        OldTuple::Full(tuple) => put_tuple(out, tag::OLD_FULL, tuple),
    }
}

fn put_tuple(out: &mut BytesMut, tag: u8, tuple: &Tuple) {
    out.put_u8(tag);
    tuple.write(out);
}

fn put_name(out: &mut BytesMut, name: &str) {
    assert!(!name.contains('\0'), "a name on the wire ends at the first zero byte");
    out.extend_from_slice(name.as_bytes());
    out.put_u8(0);
}

fn put_lsn(out: &mut BytesMut, lsn: Lsn) {
    out.put_u64(lsn.as_u64());
}

fn put_time(out: &mut BytesMut, time: PgTimestamp) {
    out.put_i64(time.0);
}
