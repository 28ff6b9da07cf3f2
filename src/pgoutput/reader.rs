//! A bounds-checked cursor over one message.
//!
//! **Invariant:** `offset` never passes the end; every read that would is [`Problem::Short`] and
//! moves nothing.

use bytes::Bytes;

use super::error::{DecodeError, Problem};
use crate::pg::lsn::Lsn;
use crate::pg::time::PgTimestamp;

pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    offset: usize,
    tag: Option<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a Bytes) -> Reader<'a> {
        Reader { bytes, offset: 0, tag: None }
    }

    /// Reads the message's first byte, which every later error names.
    pub(super) fn tag(&mut self) -> Result<u8, DecodeError> {
        let tag = self.u8()?;
        self.tag = Some(tag);
        Ok(tag)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn, DecodeError> {
        Ok(Lsn::new(u64::from_be_bytes(self.array()?)))
    }

    pub(super) fn timestamp(&mut self) -> Result<PgTimestamp, DecodeError> {
        Ok(PgTimestamp(i64::from_be_bytes(self.array()?)))
    }

    /// A 16-bit count, which the server never makes negative.
    pub(super) fn count16(&mut self) -> Result<u16, DecodeError> {
        let at = self.offset;
        let count = i16::from_be_bytes(self.array()?);
        u16::try_from(count)
            .map_err(|_| self.error(at, Problem::NegativeCount { count: i32::from(count) }))
    }

    /// A 32-bit count of things, which the server never makes negative.
    pub(super) fn count32(&mut self) -> Result<usize, DecodeError> {
        let at = self.offset;
        let count = self.i32()?;
        usize::try_from(count).map_err(|_| self.error(at, Problem::NegativeCount { count }))
    }

    /// A 32-bit length of bytes that follow.
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        let at = self.offset;
        let length = self.i32()?;
        usize::try_from(length).map_err(|_| self.error(at, Problem::NegativeLength { length }))
    }

    /// A zero-terminated name.
    pub(super) fn name(&mut self) -> Result<String, DecodeError> {
        let at = self.offset;
        let rest = self.rest();
        let Some(length) = rest.iter().position(|&byte| byte == 0) else {
            return Err(self.error(at, Problem::Short));
        };
        let Ok(name) = std::str::from_utf8(&rest[..length]) else {
            return Err(self.error(at, Problem::NameNotUtf8));
        };
        let name = name.to_owned();
        self.offset += length + 1;
        Ok(name)
    }

    /// The next `length` bytes as a slice of the message.
    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let start = self.offset;
        self.skip(length)?;
        Ok(self.bytes.slice(start..self.offset))
    }

    pub(super) fn skip(&mut self, length: usize) -> Result<(), DecodeError> {
        if length > self.remaining() {
            return Err(self.error(self.offset, Problem::Short));
        }
        self.offset += length;
        Ok(())
    }

    /// What was read since `start`, as a slice of the message.
    pub(super) fn since(&self, start: usize) -> Bytes {
        self.bytes.slice(start..self.offset)
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The message must end here.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(self.error(self.offset, Problem::TrailingBytes { count })),
        }
    }

    /// An error about the byte just read.
    pub(super) fn error_before(&self, problem: Problem) -> DecodeError {
        self.error(self.offset.saturating_sub(1), problem)
    }

    pub(super) fn error(&self, offset: usize, problem: Problem) -> DecodeError {
        DecodeError { tag: self.tag, offset, problem }
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(array) = self.rest().first_chunk::<N>() else {
            return Err(self.error(self.offset, Problem::Short));
        };
        self.offset += N;
        Ok(*array)
    }
}
