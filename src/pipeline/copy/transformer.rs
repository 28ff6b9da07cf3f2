//! Rows of a copy through a table's transform: COPY frames in, COPY data out.

use bytes::{Bytes, BytesMut};

use super::CopyJob;
use crate::apply::writer::LARGE_ROW_BYTES;
use crate::model::finding::Side;
use crate::model::row::{Row, Value};
use crate::pg::copy_format::{self, BinaryReader, RowPieces, TextReader};
use crate::pipeline::error::PipelineError;
use crate::wire::{CopyIn, frame};

/// Transformed rows leave in pieces of this size: few writes, little memory.
const PIECE_BYTES: usize = 128 * 1024;

enum Reader {
    Binary(BinaryReader),
    Text(TextReader),
}

/// Takes COPY frames apart, transforms their rows and writes them again.
pub(super) struct Transformer<'a> {
    job: &'a CopyJob,
    reader: Reader,
    out: BytesMut,
}

impl<'a> Transformer<'a> {
    pub(super) fn new(job: &'a CopyJob) -> Transformer<'a> {
        let mut out = BytesMut::with_capacity(PIECE_BYTES * 2);
        let reader = if job.is_binary {
            out.extend_from_slice(copy_format::HEADER);
            Reader::Binary(BinaryReader::new())
        } else {
            Reader::Text(TextReader::new(job.transform.copy_columns().len()))
        };
        Transformer { job, reader, out }
    }

    pub(super) async fn pass(
        &mut self,
        frames: Bytes,
        copy_in: &mut CopyIn<'_>,
    ) -> Result<(), PipelineError> {
        // One by one: a row that came whole in its frame is not copied.
        for payload in frame::payloads(frames) {
            match &mut self.reader {
                Reader::Binary(reader) => reader.push(payload),
                Reader::Text(reader) => reader.push(payload),
            }
            while let Some(row) = self.next_row()? {
                self.write(row, copy_in).await?;
                if self.out.len() >= PIECE_BYTES {
                    self.send(copy_in).await?;
                }
            }
        }
        Ok(())
    }

    fn next_row(&mut self) -> Result<Option<Row>, PipelineError> {
        let row = match &mut self.reader {
            Reader::Binary(reader) => reader.next_row(),
            Reader::Text(reader) => reader.next_row(),
        };
        let is_binary = self.job.is_binary;
        let value = |bytes: Option<Bytes>| match bytes {
            None => Value::Null,
            Some(bytes) if is_binary => Value::Binary(bytes),
            Some(bytes) => Value::Text(bytes),
        };
        let row = row.map_err(|error| self.data_error(&error))?;
        Ok(row.map(|values| Row::new(values.into_iter().map(value).collect())))
    }

    async fn write(&mut self, row: Row, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
        let row = self.job.transform.copy_row(row).map_err(|error| self.data_error(&error))?;
        if row.memory_bytes() >= LARGE_ROW_BYTES {
            let pieces = RowPieces::new(self.job.is_binary, row.values());
            let mut pieces = pieces.map_err(|error| self.data_error(&error))?;
            while pieces.fill(&mut self.out, PIECE_BYTES) {
                self.send(copy_in).await?;
            }
            return Ok(());
        }
        let written = if self.job.is_binary {
            copy_format::encode_row(&mut self.out, row.values())
        } else {
            copy_format::encode_text_row(&mut self.out, row.values())
        };
        written.map_err(|error| self.data_error(&error))
    }

    async fn send(&mut self, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
        let sent = copy_in.send_data(&self.out).await;
        self.out.clear();
        sent.map_err(PipelineError::wire(Side::Destination, "loading a table"))
    }

    pub(super) async fn finish(mut self, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
        let finished = match &self.reader {
            Reader::Binary(reader) => reader.finish(),
            Reader::Text(reader) => reader.finish(),
        };
        finished.map_err(|error| self.data_error(&error))?;
        if self.job.is_binary {
            self.out.extend_from_slice(copy_format::TRAILER);
        }
        self.send(copy_in).await
    }

    fn data_error(&self, error: &dyn std::fmt::Display) -> PipelineError {
        PipelineError::Data {
            table: self.job.record.source.clone(),
            message: error.to_string(),
            lsn: None,
        }
    }
}
