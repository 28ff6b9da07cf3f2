//! COPY in binary.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{CopyField, CopyFormatError, CopyRow, Frames, whole_row};

/// What a stream begins with: signature, no flags, no extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What a stream ends with: a row of -1 columns.
pub const TRAILER: &[u8] = &[0xff, 0xff];

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const END_COUNT: i16 = -1;
pub(super) const NULL_LENGTH: i32 = -1;

/// Appends one row. A value that is text or was not sent is an error; `out` is then as before.
pub fn encode_row<'a, F>(
    out: &mut BytesMut,
    values: impl IntoIterator<Item = F>,
) -> Result<(), CopyFormatError>
where
    F: Into<CopyField<'a>>,
{
    whole_row(out, |out| {
        let count_at = out.len();
        let mut count = 0_usize;
        out.put_i16(0);
        for value in values {
            count += 1;
            match value.into() {
                CopyField::Null => out.put_i32(NULL_LENGTH),
                CopyField::Binary(bytes) => {
                    let length = bytes.len();
                    let Ok(length) = i32::try_from(length) else {
                        return Err(CopyFormatError::TooLong { length });
                    };
                    out.put_i32(length);
                    out.extend_from_slice(bytes);
                }
                CopyField::Text(_) => return Err(wrong_format("text")),
                CopyField::Unchanged => return Err(wrong_format("not sent")),
            }
        }
        let Ok(short) = i16::try_from(count) else {
            return Err(CopyFormatError::TooManyColumns { count });
        };
        out[count_at..count_at + size_of::<i16>()].copy_from_slice(&short.to_be_bytes());
        Ok(())
    })
}

fn wrong_format(given: &'static str) -> CopyFormatError {
    CopyFormatError::WrongFormat { format: "binary", given }
}

// === impl BinaryReader ===

/// Reads rows from the frames of a binary COPY.
///
/// `push` a frame, then call `next_row` until it gives `None`; `finish` when the server is done.
#[derive(Debug, Default)]
pub struct BinaryReader {
    frames: Frames,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Rows,
    /// The trailer was read: nothing may follow.
    Done,
}

impl BinaryReader {
    pub fn new() -> BinaryReader {
        BinaryReader::default()
    }

    pub fn push(&mut self, frame: Bytes) {
        self.frames.push(frame);
    }

    /// The next row that has arrived whole.
    pub fn next_row(&mut self) -> Result<Option<CopyRow>, CopyFormatError> {
        if self.state == State::Header {
            let Some(length) = header_length(self.frames.bytes())? else { return Ok(None) };
            self.frames.take(length);
            self.state = State::Rows;
        }
        if self.state == State::Rows {
            match next_item(self.frames.bytes())? {
                Item::Incomplete => return Ok(None),
                Item::Row { length } => return Ok(Some(cut(self.frames.take(length)))),
                Item::Trailer => {
                    self.frames.take(TRAILER.len());
                    self.state = State::Done;
                }
            }
        }
        match self.frames.bytes().len() {
            0 => Ok(None),
            count => Err(CopyFormatError::AfterTrailer { count }),
        }
    }

    /// The server says that this was all: the trailer must have come.
    pub fn finish(&self) -> Result<(), CopyFormatError> {
        match self.state {
            State::Header => Err(CopyFormatError::Incomplete { part: "the header" }),
            State::Rows => Err(CopyFormatError::Incomplete { part: "the rows" }),
            State::Done if !self.frames.bytes().is_empty() => {
                Err(CopyFormatError::AfterTrailer { count: self.frames.bytes().len() })
            }
            State::Done => Ok(()),
        }
    }
}

/// What stands at the front of the bytes.
enum Item {
    Incomplete,
    Row { length: usize },
    Trailer,
}

/// Length of the header with its extension, once it is there.
fn header_length(bytes: &[u8]) -> Result<Option<usize>, CopyFormatError> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(CopyFormatError::Signature);
    }
    if bytes.len() < HEADER.len() {
        return Ok(None);
    }
    let mut rest = &bytes[SIGNATURE.len()..];
    let flags = rest.get_u32();
    if flags != 0 {
        return Err(CopyFormatError::UnknownFlags { flags });
    }
    // The extension is for readers that know it; the format tells the others to pass over it.
    let length = HEADER.len() + non_negative(rest.get_i32())?;
    Ok((length <= bytes.len()).then_some(length))
}

/// Walks over one row without touching its values.
fn next_item(bytes: &[u8]) -> Result<Item, CopyFormatError> {
    let Some(count) = bytes.first_chunk().map(|bytes| i16::from_be_bytes(*bytes)) else {
        return Ok(Item::Incomplete);
    };
    if count == END_COUNT {
        return Ok(Item::Trailer);
    }
    let mut offset = size_of::<i16>();
    for _ in 0..non_negative(i32::from(count))? {
        let Some(length) = bytes.get(offset..).and_then(|rest| rest.first_chunk()) else {
            return Ok(Item::Incomplete);
        };
        offset += size_of::<i32>();
        match i32::from_be_bytes(*length) {
            NULL_LENGTH => {}
            length => offset += non_negative(length)?,
        }
    }
    Ok(if offset <= bytes.len() { Item::Row { length: offset } } else { Item::Incomplete })
}

/// The values of a row that [`next_item`] has walked over.
fn cut(mut row: Bytes) -> CopyRow {
    let count = row.get_i16();
    let mut value = || {
        let length = usize::try_from(row.get_i32()).ok()?;
        Some(row.split_to(length))
    };
    (0..count).map(|_| value()).collect()
}

fn non_negative(value: i32) -> Result<usize, CopyFormatError> {
    usize::try_from(value).map_err(|_| CopyFormatError::Negative { value })
}
