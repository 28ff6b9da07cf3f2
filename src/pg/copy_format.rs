//! The COPY binary and text formats, both directions; pure.
//!
//! In and out: the payloads of CopyData frames. A server of version 14 and up sends one row a frame,
//! in binary with the header before the first row and the trailer in a frame of its own; none of
//! that is relied on, so rows may be cut anywhere.
//!
//! ```text
//! binary  header: "PGCOPY\n\xff\r\n\0" · flags 32 · extension length 32 · extension
//!         row:    count 16 · (length 32 · bytes | -1 32 for NULL)…
//!         trailer: -1 16
//! text    row:    value \t value … \n     NULL is \N; \\ \b \f \n \r \t \v are escapes
//! ```
//!
//! **Invariants:** decoding never panics, never guesses and never skips. A row is written whole or
//! not at all.

use bytes::{Bytes, BytesMut};

mod binary;
mod oversized;
mod pieces;
mod text;

pub use binary::{BinaryReader, HEADER, TRAILER, encode_row};
pub use oversized::oversized_value;
pub use pieces::RowPieces;
pub use text::{TextReader, decode_text_row, encode_text_row};

/// One value on its way into a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyField<'a> {
    Null,
    /// The source did not send it: an error in either format.
    Unchanged,
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

/// A row as read: `None` is NULL. Values are slices of the frame where that is possible.
pub type CopyRow = Vec<Option<Bytes>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyFormatError {
    #[error("COPY data does not begin with the binary signature")]
    Signature,
    #[error("COPY data has flags {flags:#010x}, which are unknown")]
    UnknownFlags { flags: u32 },
    #[error("COPY data has a negative length or count ({value})")]
    Negative { value: i32 },
    #[error("{count} bytes follow the trailer of COPY data")]
    AfterTrailer { count: usize },
    #[error("COPY data ends in the middle of {part}")]
    Incomplete { part: &'static str },
    #[error("COPY text has an escape that the server does not write (byte {byte:#04x})")]
    UnknownEscape { byte: u8 },
    #[error("COPY text row has {actual} columns where {expected} are due")]
    ColumnCount { expected: usize, actual: usize },
    #[error("a {given} value cannot be written to a {format} COPY")]
    WrongFormat { format: &'static str, given: &'static str },
    #[error("a row of {count} columns does not fit the COPY format")]
    TooManyColumns { count: usize },
    #[error("a value of {length} bytes does not fit the COPY format")]
    TooLong { length: usize },
}

/// Runs `write`; if it fails, what it has written is taken back.
fn whole_row(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), CopyFormatError>,
) -> Result<(), CopyFormatError> {
    let start = out.len();
    write(out).inspect_err(|_| out.truncate(start))
}

/// Frames put together again: what was pushed and not yet taken.
///
/// A row that came whole in one frame is never copied. A row cut between frames is, each byte once
/// (and by the growth of the buffer).
///
/// **Invariant:** at most one of the two holds bytes.
#[derive(Debug, Default)]
struct Frames {
    whole: Bytes,
    joined: BytesMut,
}

impl Frames {
    fn push(&mut self, frame: Bytes) {
        if self.bytes().is_empty() {
            self.whole = frame;
            return;
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.whole));
        self.joined.extend_from_slice(&frame);
    }

    fn bytes(&self) -> &[u8] {
        if self.joined.is_empty() { &self.whole } else { &self.joined }
    }

    /// The first `length` bytes, which must be there.
    fn take(&mut self, length: usize) -> Bytes {
        if self.joined.is_empty() {
            self.whole.split_to(length)
        } else {
            self.joined.split_to(length).freeze()
        }
    }
}

#[cfg(test)]
mod tests;
