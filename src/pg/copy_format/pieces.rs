//! One large row in pieces, so that it need not be in memory a second time.

use bytes::{BufMut, BytesMut};

use super::binary::NULL_LENGTH;
use super::text::{DELIMITER, NULL, ROW_END, put_escaped};
use super::{CopyField, CopyFormatError};

/// A row on its way out. Give it to [`RowPieces::fill`] until there is nothing left.
///
/// Where frames are cut does not matter to a server. What is written is, piece by piece, what
/// `encode_row` and `encode_text_row` write at once.
#[derive(Debug)]
pub struct RowPieces<'a> {
    is_binary: bool,
    fields: Vec<CopyField<'a>>,
    count: i16,
    is_begun: bool,
    index: usize,
    /// Of the value at `index`, how much is written; `None`: not even what stands before it.
    written: Option<usize>,
}

impl<'a> RowPieces<'a> {
    /// Fails before anything is written, if at all.
    pub fn new<F: Into<CopyField<'a>>>(
        is_binary: bool,
        values: impl IntoIterator<Item = F>,
    ) -> Result<RowPieces<'a>, CopyFormatError> {
        let fields: Vec<CopyField<'a>> = values.into_iter().map(Into::into).collect();
        let format = if is_binary { "binary" } else { "text" };
        let wrong = |given| Err(CopyFormatError::WrongFormat { format, given });
        for field in &fields {
            match field {
                CopyField::Unchanged => return wrong("not sent"),
                CopyField::Text(_) if is_binary => return wrong("text"),
                CopyField::Binary(_) if !is_binary => return wrong("binary"),
                CopyField::Binary(bytes) if i32::try_from(bytes.len()).is_err() => {
                    return Err(CopyFormatError::TooLong { length: bytes.len() });
                }
                CopyField::Null | CopyField::Text(_) | CopyField::Binary(_) => {}
            }
        }
        let count = fields.len();
        let Ok(count) = i16::try_from(count) else {
            return Err(CopyFormatError::TooManyColumns { count });
        };
        Ok(RowPieces { is_binary, fields, count, is_begun: false, index: 0, written: None })
    }

    /// Appends what comes next until `out` holds `piece_bytes` (a little more where values are
    /// escaped). False once the row is complete.
    pub fn fill(&mut self, out: &mut BytesMut, piece_bytes: usize) -> bool {
        if !self.is_begun && self.is_binary {
            out.put_i16(self.count);
        }
        self.is_begun = true;
        while let Some(&field) = self.fields.get(self.index) {
            let written = match self.written {
                Some(written) => written,
                None => {
                    self.begin_value(out, field);
                    0
                }
            };
            let value = bytes_of(field);
            let room = piece_bytes.saturating_sub(out.len()).min(value.len() - written);
            let piece = &value[written..written + room];
            if self.is_binary {
                out.extend_from_slice(piece)
            } else {
                put_escaped(out, piece)
            }
            self.written = Some(written + room);
            if written + room < value.len() {
                return true;
            }
            self.written = None;
            self.index += 1;
        }
        if !self.is_binary {
            out.put_u8(ROW_END);
        }
        false
    }

    /// What stands before a value's bytes.
    fn begin_value(&self, out: &mut BytesMut, field: CopyField<'_>) {
        if !self.is_binary {
            if self.index > 0 {
                out.put_u8(DELIMITER);
            }
            if field == CopyField::Null {
                out.extend_from_slice(NULL);
            }
            return;
        }
        match field {
            CopyField::Binary(bytes) => {
                out.put_i32(i32::try_from(bytes.len()).expect("checked when it was made"));
            }
            _ => out.put_i32(NULL_LENGTH),
        }
    }
}

fn bytes_of(field: CopyField<'_>) -> &[u8] {
    match field {
        CopyField::Text(bytes) | CopyField::Binary(bytes) => bytes,
        CopyField::Null | CopyField::Unchanged => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::copy_format::{encode_row, encode_text_row};

    fn in_pieces(is_binary: bool, fields: &[CopyField<'_>], piece_bytes: usize) -> BytesMut {
        let mut row = RowPieces::new(is_binary, fields.iter().copied()).expect("a valid row");
        let (mut all, mut out) = (BytesMut::new(), BytesMut::new());
        while row.fill(&mut out, piece_bytes) {
            assert!(out.len() <= piece_bytes.max(8) * 2, "{} bytes in a piece", out.len());
            all.extend_from_slice(&out.split());
        }
        all.extend_from_slice(&out);
        all
    }

    #[test]
    fn the_pieces_are_the_row() {
        let values: [Option<&[u8]>; 5] =
            [Some(b""), None, Some(b"a\tb\\c\nd"), Some(&[b'x'; 1000]), Some(b"end")];
        for piece_bytes in [1, 2, 7, 64, 4096] {
            for is_binary in [true, false] {
                let fields: Vec<CopyField<'_>> = values
                    .iter()
                    .map(|value| match value {
                        None => CopyField::Null,
                        Some(bytes) if is_binary => CopyField::Binary(bytes),
                        Some(bytes) => CopyField::Text(bytes),
                    })
                    .collect();
                let mut whole = BytesMut::new();
                let encoded = match is_binary {
                    true => encode_row(&mut whole, fields.iter().copied()),
                    false => encode_text_row(&mut whole, fields.iter().copied()),
                };
                encoded.expect("a valid row");
                assert_eq!(in_pieces(is_binary, &fields, piece_bytes), whole, "{piece_bytes}");
            }
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_before_anything_is_written() {
        assert!(RowPieces::new(true, [CopyField::Text(b"a")]).is_err());
        assert!(RowPieces::new(false, [CopyField::Binary(b"a")]).is_err());
        assert!(RowPieces::new(true, [CopyField::Unchanged]).is_err());
    }
}
