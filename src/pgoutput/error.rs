//! Why bytes are not a pgoutput message.

use std::fmt;

/// A payload that is not a pgoutput message as we know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed pgoutput message {} at byte {offset}: {problem}", ShownTag(*tag))]
pub struct DecodeError {
    /// The message's first byte; none where the payload is empty.
    pub tag: Option<u8>,
    /// Bytes from the payload's start to where reading stopped.
    pub offset: usize,
    pub problem: Problem,
}

/// What is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The payload ends inside a field.
    Short,
    /// The message is complete and bytes are left over.
    TrailingBytes {
        count: usize,
    },
    UnknownTag,
    UnknownFlags {
        flags: u8,
    },
    UnknownReplicaIdentity {
        byte: u8,
    },
    /// Neither `K`, `O` nor `N` where a tuple is due.
    UnknownTupleTag {
        byte: u8,
    },
    /// Neither `n`, `u`, `t` nor `b` where a value is due.
    UnknownValueKind {
        byte: u8,
    },
    NegativeLength {
        length: i32,
    },
    NegativeCount {
        count: i32,
    },
    NameNotUtf8,
    /// A position that must be set is zero.
    ZeroLsn,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Problem::Short => f.write_str("it ends too early"),
            Problem::TrailingBytes { count } => write!(f, "{count} bytes follow its end"),
            Problem::UnknownTag => f.write_str("the tag is unknown"),
            Problem::UnknownFlags { flags } => write!(f, "flags {flags:#04x} are unknown"),
            Problem::UnknownReplicaIdentity { byte } => {
                write!(f, "replica identity '{}' is unknown", byte.escape_ascii())
            }
            Problem::UnknownTupleTag { byte } => {
                write!(f, "tuple tag '{}' is not expected", byte.escape_ascii())
            }
            Problem::UnknownValueKind { byte } => {
                write!(f, "value kind '{}' is unknown", byte.escape_ascii())
            }
            Problem::NegativeLength { length } => write!(f, "length {length} is negative"),
            Problem::NegativeCount { count } => write!(f, "count {count} is negative"),
            Problem::NameNotUtf8 => f.write_str("a name is not valid UTF-8"),
            Problem::ZeroLsn => f.write_str("a position is not set"),
        }
    }
}

struct ShownTag(Option<u8>);

impl fmt::Display for ShownTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(tag) => write!(f, "'{}'", tag.escape_ascii()),
            None => f.write_str("without a tag"),
        }
    }
}
