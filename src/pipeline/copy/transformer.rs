//! Rows of a copy through a table's transform: COPY frames in, COPY data out.
//!
//! Expressions are part of the SELECT, and their values come with the rows. Where one reads a column in
//! its masked form, which only the agent makes, or where the table's values would come in another form
//! beside expressions ([`crate::transform::TransformPlan::copy_computes`]), the rows are gathered and the
//! source is asked for many at once ([`crate::pipeline::expressions`]); a row that its filter leaves out
//! ends here.

use bytes::{Bytes, BytesMut};

use super::CopyJob;
use crate::apply::writer::LARGE_ROW_BYTES;
use crate::model::finding::Side;
use crate::model::row::{Row, Value};
use crate::pg::copy_format::{self, BinaryReader, RowPieces, TextReader};
use crate::pipeline::error::PipelineError;
use crate::pipeline::expressions::{Calculator, ComputeError};
use crate::transform::Inputs;
use crate::wire::{CopyIn, frame};

/// Transformed rows leave in pieces of this size: few writes, little memory.
const PIECE_BYTES: usize = 128 * 1024;

/// Rows that wait for their expressions: as many as keep several questions on their way.
const GATHERED_MAX: usize = 2048;

/// Bytes of such rows.
const GATHERED_BYTES_MAX: usize = 1 << 20;

enum Reader {
    Binary(BinaryReader),
    Text(TextReader),
}

/// Takes COPY frames apart, transforms their rows and writes them again.
pub(super) struct Transformer<'a> {
    job: &'a CopyJob,
    reader: Reader,
    out: BytesMut,
    calculator: Option<&'a Calculator>,
    gathered: Vec<(Vec<Value>, Inputs)>,
    gathered_bytes: usize,
    filtered_count: u64,
}

impl<'a> Transformer<'a> {
    pub(super) fn new(job: &'a CopyJob, calculator: &'a Calculator) -> Transformer<'a> {
        let mut out = BytesMut::with_capacity(PIECE_BYTES * 2);
        let input_count = job.transform.copy_input_columns().len();
        let reader = if job.is_binary {
            out.extend_from_slice(copy_format::HEADER);
            Reader::Binary(BinaryReader::new())
        } else {
            Reader::Text(TextReader::new(job.outputs.len() + input_count))
        };
        let calculator = job.transform.copy_computes().then_some(calculator);
        Transformer {
            job,
            reader,
            out,
            calculator,
            gathered: Vec::new(),
            gathered_bytes: 0,
            filtered_count: 0,
        }
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
            while let Some(values) = self.next_row()? {
                self.take(values, copy_in).await?;
            }
        }
        Ok(())
    }

    fn next_row(&mut self) -> Result<Option<Vec<Value>>, PipelineError> {
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
        Ok(row.map(|values| values.into_iter().map(value).collect()))
    }

    async fn take(
        &mut self,
        mut values: Vec<Value>,
        copy_in: &mut CopyIn<'_>,
    ) -> Result<(), PipelineError> {
        let transform = &self.job.transform;
        if values.len() < self.job.outputs.len() {
            return Err(self.data_error(&"a row has fewer values than were selected"));
        }
        let behind = values.split_off(self.job.outputs.len());
        for (value, &index) in values.iter_mut().zip(&self.job.outputs) {
            let made = transform.copy_value(index, std::mem::replace(value, Value::Null));
            *value = made.map_err(|error| self.data_error(&error))?;
        }
        if self.calculator.is_none() {
            return self.write(&Row::new(values), copy_in).await;
        }
        let inputs = transform.copy_inputs(behind, self.job.is_binary);
        let inputs = inputs.map_err(|error| self.data_error(&error))?;
        let payload: usize = values.iter().filter_map(Value::bytes).map(Bytes::len).sum();
        self.gathered_bytes += payload + inputs.memory_bytes();
        self.gathered.push((values, inputs));
        match self.gathered.len() >= GATHERED_MAX || self.gathered_bytes >= GATHERED_BYTES_MAX {
            true => self.compute(copy_in).await,
            false => Ok(()),
        }
    }

    /// Has the gathered rows' expressions computed, and writes the rows.
    async fn compute(&mut self, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
        let transform = &self.job.transform;
        let (Some(calculator), Some(program)) = (self.calculator, transform.program()) else {
            return Ok(());
        };
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        if gathered.is_empty() {
            return Ok(());
        }
        let rows: Vec<&Inputs> = gathered.iter().map(|(_, inputs)| inputs).collect();
        let outcomes = calculator.compute(program, &rows, self.job.is_binary).await;
        let outcomes = outcomes.map_err(|error| match error {
            ComputeError::Row { message, .. } => self.data_error(&message),
            ComputeError::Pipeline(error) => error,
        })?;
        for ((mut values, _), outcome) in gathered.into_iter().zip(outcomes) {
            if !outcome.passes {
                self.filtered_count += 1;
                continue;
            }
            for (value, &index) in values.iter_mut().zip(&self.job.outputs) {
                let computed = transform.copy_computed(index, &outcome, self.job.is_binary);
                if let Some(computed) = computed.map_err(|error| self.data_error(&error))? {
                    *value = computed;
                }
            }
            self.write(&Row::new(values), copy_in).await?;
        }
        Ok(())
    }

    async fn write(&mut self, row: &Row, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
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
        written.map_err(|error| self.data_error(&error))?;
        match self.out.len() >= PIECE_BYTES {
            true => self.send(copy_in).await,
            false => Ok(()),
        }
    }

    async fn send(&mut self, copy_in: &mut CopyIn<'_>) -> Result<(), PipelineError> {
        let sent = copy_in.send_data(&self.out).await;
        self.out.clear();
        sent.map_err(PipelineError::wire(Side::Destination, "loading a table"))
    }

    /// How many rows the table's filter has left out here.
    pub(super) async fn finish(mut self, copy_in: &mut CopyIn<'_>) -> Result<u64, PipelineError> {
        self.compute(copy_in).await?;
        let finished = match &self.reader {
            Reader::Binary(reader) => reader.finish(),
            Reader::Text(reader) => reader.finish(),
        };
        finished.map_err(|error| self.data_error(&error))?;
        if self.job.is_binary {
            self.out.extend_from_slice(copy_format::TRAILER);
        }
        self.send(copy_in).await?;
        Ok(self.filtered_count)
    }

    fn data_error(&self, error: &dyn std::fmt::Display) -> PipelineError {
        PipelineError::Data {
            table: self.job.record.source.clone(),
            key: self.job.transform.source_key(),
            message: error.to_string(),
            lsn: None,
        }
    }
}
