//! pgoutput messages: bytes in, messages out; pure.
//!
//! In: the payload of one XLogData message. Out: one [`Message`], or a [`DecodeError`] that names
//! the message's tag and the byte where it stopped making sense. Protocol versions 1 and 2 are
//! understood, with and without streamed in-progress transactions, in text and in binary.
//!
//! **Invariants:** decoding never panics, never guesses and never skips: short input, unknown
//! tags, unknown flags, trailing bytes and names that are not UTF-8 are errors. Row values are
//! slices of the payload, never copies, and are not looked into.

mod decode;
mod encode;
mod error;
mod message;
mod oversized;
mod reader;
mod tuple;

pub use decode::decode;
pub use encode::encode;
pub use error::{DecodeError, Problem};
pub use message::{
    Begin, Commit, Delete, Insert, LogicalMessage, Message, OldTuple, Origin, Relation,
    RelationColumn, StreamAbort, StreamCommit, StreamStart, Truncate, Type, Update,
};
pub use oversized::{Oversized, oversized, relation_id};
pub use tuple::{Tuple, TupleField, TupleIter};

#[cfg(test)]
mod tests;
