//! A row as on the wire: checked once while decoding, cut into values when somebody asks.
//!
//! **Invariant:** the bytes of a [`Tuple`] hold exactly `count` well-formed values, because only
//! [`Tuple::read`] and [`Tuple::from_fields`] make one. So iterating cannot fail.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::{DecodeError, Problem};
use super::reader::Reader;

/// What each value begins with (`LOGICALREP_COLUMN_*` in `logicalproto.h`).
pub(super) const NULL: u8 = b'n';
pub(super) const UNCHANGED: u8 = b'u';
pub(super) const TEXT: u8 = b't';
pub(super) const BINARY: u8 = b'b';

/// Bytes before a value's own: its kind and its length.
const VALUE_HEADER_BYTES: usize = 5;

/// The values of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    count: u16,
    bytes: Bytes,
}

/// One value; its bytes are a slice of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TupleField {
    /// `n`: NULL. In the old tuple of a table whose identity is not FULL it says nothing about a
    /// column outside the identity.
    Null,
    /// `u`: an out-of-line value that did not change and was not sent.
    Unchanged,
    /// `t`: the type's text output.
    Text(Bytes),
    /// `b`: the type's binary send form.
    Binary(Bytes),
}

impl Tuple {
    /// How many columns it has.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    pub fn iter(&self) -> TupleIter<'_> {
        TupleIter { bytes: &self.bytes, offset: 0, remaining: self.count }
    }

    /// A tuple of these values. At most 32,767 columns of less than 2 GiB each, as on the wire.
    pub fn from_fields(fields: impl IntoIterator<Item = TupleField>) -> Tuple {
        let mut bytes = BytesMut::new();
        let mut count = 0_i16;
        for field in fields {
            count = count.checked_add(1).expect("a tuple has at most 32,767 columns");
            match field {
                TupleField::Null => bytes.put_u8(NULL),
                TupleField::Unchanged => bytes.put_u8(UNCHANGED),
                TupleField::Text(value) => put_value(&mut bytes, TEXT, &value),
                TupleField::Binary(value) => put_value(&mut bytes, BINARY, &value),
            }
        }
        let count = u16::try_from(count).expect("a count from zero up");
        Tuple { count, bytes: bytes.freeze() }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Tuple, DecodeError> {
        let count = reader.count16()?;
        let start = reader.offset();
        for _ in 0..count {
            match reader.u8()? {
                NULL | UNCHANGED => {}
                TEXT | BINARY => {
                    let length = reader.length()?;
                    reader.skip(length)?;
                }
                byte => return Err(reader.error_before(Problem::UnknownValueKind { byte })),
            }
        }
        Ok(Tuple { count, bytes: reader.since(start) })
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.count);
        out.extend_from_slice(&self.bytes);
    }
}

fn put_value(bytes: &mut BytesMut, kind: u8, value: &[u8]) {
    bytes.put_u8(kind);
    bytes.put_i32(i32::try_from(value.len()).expect("a value is shorter than 2 GiB"));
    bytes.extend_from_slice(value);
}

impl<'a> IntoIterator for &'a Tuple {
    type Item = TupleField;
    type IntoIter = TupleIter<'a>;

    fn into_iter(self) -> TupleIter<'a> {
        self.iter()
    }
}

// === impl TupleIter ===

/// The values of a [`Tuple`] from left to right.
#[derive(Clone, Debug)]
pub struct TupleIter<'a> {
    bytes: &'a Bytes,
    offset: usize,
    remaining: u16,
}

impl Iterator for TupleIter<'_> {
    type Item = TupleField;

    #[inline]
    fn next(&mut self) -> Option<TupleField> {
        self.remaining = self.remaining.checked_sub(1)?;
        let kind = self.bytes[self.offset];
        if kind == NULL || kind == UNCHANGED {
            self.offset += 1;
            return Some(if kind == NULL { TupleField::Null } else { TupleField::Unchanged });
        }
        let start = self.offset + VALUE_HEADER_BYTES;
        let length = self.bytes[self.offset + 1..].first_chunk().map(|b| u32::from_be_bytes(*b));
        let length = length.and_then(|length| usize::try_from(length).ok());
        self.offset = start + length.expect("checked when the tuple was read");
        let value = self.bytes.slice(start..self.offset);
        Some(if kind == TEXT { TupleField::Text(value) } else { TupleField::Binary(value) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = usize::from(self.remaining);
        (count, Some(count))
    }
}

impl ExactSizeIterator for TupleIter<'_> {}
