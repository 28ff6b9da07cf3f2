//! What pgoutput says, with every byte that has a closed set of meanings turned into an enum.
//!
//! `xid` is there exactly for messages inside a streamed (in-progress) transaction, protocol 2 and
//! up; the server leaves it out everywhere else.

use bytes::Bytes;

use super::tuple::Tuple;
use crate::pg::catalog::ReplicaIdentity;
use crate::pg::lsn::Lsn;
use crate::pg::oid::Oid;
use crate::pg::time::PgTimestamp;

/// The first byte of each message (`LogicalRepMsgType` in `logicalproto.h`).
pub(super) mod tag {
    pub(crate) const BEGIN: u8 = b'B';
    pub(crate) const COMMIT: u8 = b'C';
    pub(crate) const ORIGIN: u8 = b'O';
    pub(crate) const RELATION: u8 = b'R';
    pub(crate) const TYPE: u8 = b'Y';
    pub(crate) const INSERT: u8 = b'I';
    pub(crate) const UPDATE: u8 = b'U';
    pub(crate) const DELETE: u8 = b'D';
    pub(crate) const TRUNCATE: u8 = b'T';
    pub(crate) const MESSAGE: u8 = b'M';
    pub(crate) const STREAM_START: u8 = b'S';
    pub(crate) const STREAM_STOP: u8 = b'E';
    pub(crate) const STREAM_COMMIT: u8 = b'c';
    pub(crate) const STREAM_ABORT: u8 = b'A';

    /// Before a tuple: the identity's old values, the whole old row, the new row.
    pub(crate) const OLD_KEY: u8 = b'K';
    pub(crate) const OLD_FULL: u8 = b'O';
    pub(crate) const NEW: u8 = b'N';
}

/// The flag bits we know; any other is an error.
pub(super) mod flag {
    pub(crate) const COLUMN_IS_IDENTITY: u8 = 1;
    pub(crate) const TRUNCATE_CASCADE: u8 = 1;
    pub(crate) const TRUNCATE_RESTART_IDENTITY: u8 = 2;
    pub(crate) const MESSAGE_TRANSACTIONAL: u8 = 1;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Begin(Begin),
    Commit(Commit),
    Origin(Origin),
    Relation(Relation),
    Type(Type),
    Insert(Insert),
    Update(Update),
    Delete(Delete),
    Truncate(Truncate),
    Logical(LogicalMessage),
    StreamStart(StreamStart),
    StreamStop,
    StreamCommit(StreamCommit),
    StreamAbort(StreamAbort),
}

impl Message {
    /// The message's name in PostgreSQL's documentation, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Begin(_) => "Begin",
            Message::Commit(_) => "Commit",
            Message::Origin(_) => "Origin",
            Message::Relation(_) => "Relation",
            Message::Type(_) => "Type",
            Message::Insert(_) => "Insert",
            Message::Update(_) => "Update",
            Message::Delete(_) => "Delete",
            Message::Truncate(_) => "Truncate",
            Message::Logical(_) => "Message",
            Message::StreamStart(_) => "Stream Start",
            Message::StreamStop => "Stream Stop",
            Message::StreamCommit(_) => "Stream Commit",
            Message::StreamAbort(_) => "Stream Abort",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Start of the commit record (`final_lsn` in PostgreSQL's documentation).
    pub commit_lsn: Lsn,
    pub commit_time: PgTimestamp,
    pub xid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub commit_lsn: Lsn,
    /// One past the commit record.
    pub end_lsn: Lsn,
    pub commit_time: PgTimestamp,
}

/// The transaction came to the source by replication from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The commit's position at the origin, not at the source.
    pub origin_lsn: Lsn,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub xid: Option<u32>,
    pub id: Oid,
    /// Empty means `pg_catalog`.
    pub schema: String,
    pub name: String,
    pub identity: ReplicaIdentity,
    pub columns: Vec<RelationColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Part of the replica identity; under FULL every column is.
    pub is_identity: bool,
    pub name: String,
    pub type_oid: Oid,
    pub type_modifier: i32,
}

/// A type that is not built in, before the first relation that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    pub xid: Option<u32>,
    pub oid: Oid,
    /// Empty means `pg_catalog`.
    pub schema: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert {
    pub xid: Option<u32>,
    pub relation_id: Oid,
    pub new: Tuple,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub xid: Option<u32>,
    pub relation_id: Oid,
    pub old: Option<OldTuple>,
    pub new: Tuple,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    pub xid: Option<u32>,
    pub relation_id: Oid,
    pub old: OldTuple,
}

/// The row before the change, as far as the replica identity has it logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldTuple {
    /// `K`: the identity's columns; every other value is sent as NULL and means nothing.
    Key(Tuple),
    /// `O`: every column (REPLICA IDENTITY FULL).
    Full(Tuple),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    pub xid: Option<u32>,
    pub cascade: bool,
    pub restart_identity: bool,
    pub relation_ids: Vec<Oid>,
}

/// `pg_logical_emit_message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalMessage {
    pub xid: Option<u32>,
    /// Otherwise it is sent where it stands in the WAL, outside any transaction.
    pub is_transactional: bool,
    pub lsn: Lsn,
    pub prefix: String,
    pub content: Bytes,
}

/// A piece of a transaction that has not committed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamStart {
    pub xid: u32,
    pub is_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCommit {
    pub xid: u32,
    pub commit_lsn: Lsn,
    pub end_lsn: Lsn,
    pub commit_time: PgTimestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamAbort {
    pub xid: u32,
    /// Equal to `xid` when the whole transaction was rolled back.
    pub subtransaction_xid: u32,
}
