//! Bytes to messages.
//!
//! Layouts, after "Logical Replication Message Formats" in PostgreSQL's documentation and
//! `src/backend/replication/logical/proto.c`. Integers are big-endian; `lsn` and `time` are 64-bit;
//! `name` is zero-terminated; `[xid]` is there only inside a streamed transaction.
//!
//! ```text
//! B  Begin          commit lsn · time · xid 32
//! C  Commit         flags 8 (0) · commit lsn · end lsn · time
//! O  Origin         origin lsn · name
//! R  Relation       [xid 32] · oid 32 · schema name · name · identity d|n|f|i · count 16 · column…
//!    column         flags 8 (1: identity) · name · type oid 32 · type modifier 32
//! Y  Type           [xid 32] · oid 32 · schema name · name
//! I  Insert         [xid 32] · relation oid 32 · N tuple
//! U  Update         [xid 32] · relation oid 32 · (K tuple | O tuple)? · N tuple
//! D  Delete         [xid 32] · relation oid 32 · (K tuple | O tuple)
//! T  Truncate       [xid 32] · count 32 · flags 8 (1: cascade, 2: restart identity) · oid 32…
//! M  Message        [xid 32] · flags 8 (1: transactional) · lsn · prefix name · length 32 · bytes
//! S  Stream Start   xid 32 · first 8 (0|1)
//! E  Stream Stop    -
//! c  Stream Commit  xid 32 · flags 8 (0) · commit lsn · end lsn · time
//! A  Stream Abort   xid 32 · subtransaction xid 32
//!    tuple          count 16 · value…
//!    value          n | u | t length 32 bytes | b length 32 bytes
//! ```

use bytes::Bytes;

use super::error::{DecodeError, Problem};
use super::message::{
    Begin, Commit, Delete, Insert, LogicalMessage, Message, OldTuple, Origin, Relation,
    RelationColumn, StreamAbort, StreamCommit, StreamStart, Truncate, Type, Update, flag, tag,
};
use super::reader::Reader;
use super::tuple::Tuple;
use crate::pg::catalog::ReplicaIdentity;
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;

/// Decodes one message. `streaming_context` says whether it stands between Stream Start and Stream
/// Stop: nothing in the message itself does.
pub fn decode(payload: Bytes, streaming_context: bool) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(&payload);
    let reader = &mut reader;
    let tag = reader.tag()?;
    let message = match tag {
        tag::BEGIN => Message::Begin(begin(reader)?),
        tag::COMMIT => Message::Commit(commit(reader)?),
        tag::ORIGIN => Message::Origin(origin(reader)?),
        tag::STREAM_START => Message::StreamStart(stream_start(reader)?),
        tag::STREAM_STOP => Message::StreamStop,
        tag::STREAM_COMMIT => Message::StreamCommit(stream_commit(reader)?),
        tag::STREAM_ABORT => Message::StreamAbort(stream_abort(reader)?),
        tag::RELATION
        | tag::TYPE
        | tag::INSERT
        | tag::UPDATE
        | tag::DELETE
        | tag::TRUNCATE
        | tag::MESSAGE => {
            let xid = if streaming_context { Some(reader.u32()?) } else { None };
            match tag {
                tag::INSERT => Message::Insert(insert(reader, xid)?),
                tag::UPDATE => Message::Update(update(reader, xid)?),
                tag::DELETE => Message::Delete(delete(reader, xid)?),
                tag::TRUNCATE => Message::Truncate(truncate(reader, xid)?),
                tag::RELATION => Message::Relation(relation(reader, xid)?),
                tag::TYPE => Message::Type(type_(reader, xid)?),
                _ => Message::Logical(logical_message(reader, xid)?),
            }
        }
        _ => return Err(reader.error(0, Problem::UnknownTag)),
    };
    reader.finish()?;
    Ok(message)
}

fn begin(reader: &mut Reader<'_>) -> Result<Begin, DecodeError> {
    Ok(Begin { commit_lsn: set_lsn(reader)?, commit_time: reader.timestamp()?, xid: reader.u32()? })
}

fn commit(reader: &mut Reader<'_>) -> Result<Commit, DecodeError> {
    known_flags(reader, 0)?;
    Ok(Commit {
        commit_lsn: set_lsn(reader)?,
        end_lsn: set_lsn(reader)?,
        commit_time: reader.timestamp()?,
    })
}

fn origin(reader: &mut Reader<'_>) -> Result<Origin, DecodeError> {
    Ok(Origin { origin_lsn: reader.lsn()?, name: reader.name()? })
}

fn relation(reader: &mut Reader<'_>, xid: Option<u32>) -> Result<Relation, DecodeError> {
    let id = reader.u32()?;
    let schema = reader.name()?;
    let name = reader.name()?;
    let identity = match reader.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        byte => return Err(reader.error_before(Problem::UnknownReplicaIdentity { byte })),
    };
    let count = reader.count16()?;
    let columns = (0..count).map(|_| relation_column(reader)).collect::<Result<_, _>>()?;
    Ok(Relation { xid, id, schema, name, identity, columns })
}

fn relation_column(reader: &mut Reader<'_>) -> Result<RelationColumn, DecodeError> {
    let flags = known_flags(reader, flag::COLUMN_IS_IDENTITY)?;
    Ok(RelationColumn {
        is_identity: flags & flag::COLUMN_IS_IDENTITY != 0,
        name: reader.name()?,
        type_oid: reader.u32()?,
        type_modifier: reader.i32()?,
    })
}

fn type_(reader: &mut Reader<'_>, xid: Option<u32>) -> Result<Type, DecodeError> {
    Ok(Type { xid, oid: reader.u32()?, schema: reader.name()?, name: reader.name()? })
}

fn insert(reader: &mut Reader<'_>, xid: Option<u32>) -> Result<Insert, DecodeError> {
    let relation_id = reader.u32()?;
    match reader.u8()? {
        tag::NEW => Ok(Insert { xid, relation_id, new: Tuple::read(reader)? }),
        byte => Err(reader.error_before(Problem::UnknownTupleTag { byte })),
    }
}

fn update(reader: &mut Reader<'_>, xid: Option<u32>) -> Result<Update, DecodeError> {
    let relation_id = reader.u32()?;
    let mut tuple_tag = reader.u8()?;
    let mut old = None;
    if tuple_tag != tag::NEW {
        old = Some(old_tuple(reader, tuple_tag)?);
        tuple_tag = reader.u8()?;
    }
    if tuple_tag != tag::NEW {
        return Err(reader.error_before(Problem::UnknownTupleTag { byte: tuple_tag }));
    }
    Ok(Update { xid, relation_id, old, new: Tuple::read(reader)? })
}

fn delete(reader: &mut Reader<'_>, xid: Option<u32>) -> Result<Delete, DecodeError> {
    let relation_id = reader.u32()?;
    let tuple_tag = reader.u8()?;
    Ok(Delete { xid, relation_id, old: old_tuple(reader, tuple_tag)? })
}

fn old_tuple(reader: &mut Reader<'_>, tuple_tag: u8) -> Result<OldTuple, DecodeError> {
    match tuple_tag {
        tag::OLD_KEY => Ok(OldTuple::Key(Tuple::read(reader)?)),
        tag::OLD_FULL => Ok(OldTuple::Full(Tuple::read(reader)?)),
        byte => Err(reader.error_before(Problem::UnknownTupleTag { byte })),
    }
}

fn truncate(reader: &mut Reader<'_>, xid: Option<u32>) -> Result<Truncate, DecodeError> {
    let count = reader.count32()?;
    let flags = known_flags(reader, flag::TRUNCATE_CASCADE | flag::TRUNCATE_RESTART_IDENTITY)?;
    // Checked before anything is reserved: a broken count must not ask for gigabytes.
    if count > reader.remaining() / size_of::<Oid>() {
        return Err(reader.error(reader.offset(), Problem::Short));
    }
    let relation_ids = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
    Ok(Truncate {
        xid,
        cascade: flags & flag::TRUNCATE_CASCADE != 0,
        restart_identity: flags & flag::TRUNCATE_RESTART_IDENTITY != 0,
        relation_ids,
    })
}

fn logical_message(
    reader: &mut Reader<'_>,
    xid: Option<u32>,
) -> Result<LogicalMessage, DecodeError> {
    let flags = known_flags(reader, flag::MESSAGE_TRANSACTIONAL)?;
    let lsn = reader.lsn()?;
    let prefix = reader.name()?;
    let length = reader.length()?;
    let content = reader.take(length)?;
    let is_transactional = flags & flag::MESSAGE_TRANSACTIONAL != 0;
    Ok(LogicalMessage { xid, is_transactional, lsn, prefix, content })
}

fn stream_start(reader: &mut Reader<'_>) -> Result<StreamStart, DecodeError> {
    let xid = reader.u32()?;
    Ok(StreamStart { xid, is_first: known_flags(reader, 1)? == 1 })
}

fn stream_commit(reader: &mut Reader<'_>) -> Result<StreamCommit, DecodeError> {
    let xid = reader.u32()?;
    let Commit { commit_lsn, end_lsn, commit_time } = commit(reader)?;
    Ok(StreamCommit { xid, commit_lsn, end_lsn, commit_time })
}

fn stream_abort(reader: &mut Reader<'_>) -> Result<StreamAbort, DecodeError> {
    Ok(StreamAbort { xid: reader.u32()?, subtransaction_xid: reader.u32()? })
}

/// A position that the server always sets.
fn set_lsn(reader: &mut Reader<'_>) -> Result<Lsn, DecodeError> {
    let at = reader.offset();
    match reader.lsn()? {
        Lsn::ZERO => Err(reader.error(at, Problem::ZeroLsn)),
        lsn => Ok(lsn),
    }
}

/// One byte of flags of which only `known` may be set.
fn known_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, DecodeError> {
    let flags = reader.u8()?;
    if flags & !known != 0 {
        return Err(reader.error_before(Problem::UnknownFlags { flags }));
    }
    Ok(flags)
}
