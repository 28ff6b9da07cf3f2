//! COPY in text, with the default delimiter and NULL.

use bytes::{BufMut, Bytes, BytesMut};

use super::{CopyField, CopyFormatError, CopyRow, Frames, whole_row};

pub(super) const NULL: &[u8] = b"\\N";
pub(super) const DELIMITER: u8 = b'\t';
pub(super) const ROW_END: u8 = b'\n';
const ESCAPE: u8 = b'\\';

/// Bytes that must not stand in a value as they are, with the letter that stands for each after a
/// backslash (`CopyAttributeOutText` in `copyto.c`).
const ESCAPES: [(u8, u8); 7] = [
    (0x08, b'b'),
    (0x0b, b'v'),
    (0x0c, b'f'),
    (b'\n', b'n'),
    (b'\r', b'r'),
    (b'\t', b't'),
    (b'\\', b'\\'),
];

/// For each byte the letter that escapes it; 0 where it stands for itself.
const ESCAPE_LETTER: [u8; 256] = {
    let mut letters = [0; 256];
    let mut index = 0;
    while index < ESCAPES.len() {
        letters[ESCAPES[index].0 as usize] = ESCAPES[index].1;
        index += 1;
    }
    letters
};

/// Appends one row with its newline. A value that is binary or was not sent is an error; `out` is
/// then as before.
pub fn encode_text_row<'a, F>(
    out: &mut BytesMut,
    values: impl IntoIterator<Item = F>,
) -> Result<(), CopyFormatError>
where
    F: Into<CopyField<'a>>,
{
    whole_row(out, |out| {
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                out.put_u8(DELIMITER);
            }
            match value.into() {
                CopyField::Null => out.extend_from_slice(NULL),
                CopyField::Text(text) => put_escaped(out, text),
                CopyField::Binary(_) => return Err(wrong_format("binary")),
                CopyField::Unchanged => return Err(wrong_format("not sent")),
            }
        }
        out.put_u8(ROW_END);
        Ok(())
    })
}

fn wrong_format(given: &'static str) -> CopyFormatError {
    CopyFormatError::WrongFormat { format: "text", given }
}

pub(super) fn put_escaped(out: &mut BytesMut, mut text: &[u8]) {
    let is_special = |byte: &u8| ESCAPE_LETTER[usize::from(*byte)] != 0;
    while let Some(at) = text.iter().position(is_special) {
        out.extend_from_slice(&text[..at]);
        out.put_slice(&[ESCAPE, ESCAPE_LETTER[usize::from(text[at])]]);
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

/// Cuts one row, with or without its newline, into `column_count` values.
///
/// The count has to be given because a row without columns and a row of one empty value look the
/// same.
pub fn decode_text_row(row: &Bytes, column_count: usize) -> Result<CopyRow, CopyFormatError> {
    let row = match row.last() {
        Some(&ROW_END) => row.slice(..row.len() - 1),
        _ => row.clone(),
    };
    if column_count == 0 && row.is_empty() {
        return Ok(Vec::new());
    }
    // A tab inside a value is always escaped, so each one that stands there separates.
    let actual = 1 + row.iter().filter(|&&byte| byte == DELIMITER).count();
    if actual != column_count {
        return Err(CopyFormatError::ColumnCount { expected: column_count, actual });
    }
    let mut start = 0;
    row.split(|&byte| byte == DELIMITER)
        .map(|raw| {
            let value = row.slice(start..start + raw.len());
            start += raw.len() + 1;
            unescape(value)
        })
        .collect()
}

/// A value without its escapes; the slice itself where it has none.
fn unescape(raw: Bytes) -> Result<Option<Bytes>, CopyFormatError> {
    if raw == NULL {
        return Ok(None);
    }
    if !raw.iter().any(|&byte| ESCAPE_LETTER[usize::from(byte)] != 0) {
        return Ok(Some(raw));
    }
    let mut value = BytesMut::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(&byte) = rest.next() {
        if byte != ESCAPE {
            // A raw newline or the like: the server never writes one.
            if ESCAPE_LETTER[usize::from(byte)] != 0 {
                return Err(CopyFormatError::UnknownEscape { byte });
            }
            value.put_u8(byte);
            continue;
        }
        let Some(&letter) = rest.next() else {
            return Err(CopyFormatError::Incomplete { part: "an escape" });
        };
        match ESCAPES.iter().find(|(_, known)| *known == letter) {
            Some(&(byte, _)) => value.put_u8(byte),
            None => return Err(CopyFormatError::UnknownEscape { byte: letter }),
        }
    }
    Ok(Some(value.freeze()))
}

// === impl TextReader ===

/// Reads rows from the frames of a text COPY.
///
/// `push` a frame, then call `next_row` until it gives `None`; `finish` when the server is done.
#[derive(Debug)]
pub struct TextReader {
    column_count: usize,
    frames: Frames,
    /// Bytes at the front that hold no newline: a long row in many frames is not searched again.
    searched: usize,
}

impl TextReader {
    pub fn new(column_count: usize) -> TextReader {
        TextReader { column_count, frames: Frames::default(), searched: 0 }
    }

    pub fn push(&mut self, frame: Bytes) {
        self.frames.push(frame);
    }

    /// The next row that has arrived whole.
    pub fn next_row(&mut self) -> Result<Option<CopyRow>, CopyFormatError> {
        let bytes = self.frames.bytes();
        let Some(at) = bytes[self.searched..].iter().position(|&byte| byte == ROW_END) else {
            self.searched = bytes.len();
            return Ok(None);
        };
        let length = self.searched + at + 1;
        self.searched = 0;
        decode_text_row(&self.frames.take(length), self.column_count).map(Some)
    }

    /// The server says that this was all: the last row must have ended.
    pub fn finish(&self) -> Result<(), CopyFormatError> {
        match self.frames.bytes().len() {
            0 => Ok(()),
            _ => Err(CopyFormatError::Incomplete { part: "a row" }),
        }
    }
}
