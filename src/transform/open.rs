//! Rows on their way: what the agent makes of them is made, what the server computes is still open.
//!
//! ```text
//!   change ──► open ──► OpenChange { the change, what its rows give expressions to read }
//!                              │                         │
//!                              │                  (the server computes)
//!                              ▼                         ▼
//!                            settle ◄─────────────── Outcomes ──► the change as the destination gets it
//! ```
//!
//! A filter on our side looks at the row as it is *now*. Whether the destination has the row nobody needs
//! to know: a row that passes is written, one that does not is deleted, and to delete what is not there is
//! nothing. What an old row says now is not asked even where it is sent whole (FULL): a condition that knows
//! the time may have let it pass. Only without a key, where a row is known by all of its values, the old row
//! is looked at, too: one that did not pass must not be taken for another that is like it at the destination.
//!
//! **Invariant:** an expression that reads a value which was not sent, beside one that was, is never
//! computed: the row has to be completed first ([`TransformPlan::needs_reading`]). One that reads nothing
//! but such values leaves its column as it is, and so does every expression that lacks a value because its
//! row is gone from the source by now: what becomes of the row is in the stream.

use super::error::TransformError;
use super::plan::TransformPlan;
use super::program::{Expression, Inputs, Outcome, Program};
use crate::model::change::{OldRow, RowChange};
use crate::model::row::{Row, Value};
use crate::model::table::Column;

/// A change whose computed values are not there yet.
#[derive(Debug)]
pub struct OpenChange {
    change: RowChange,
    new: Option<Inputs>,
    old: Option<Inputs>,
}

impl OpenChange {
    /// What the server is to compute, row by row.
    pub fn inputs(&self) -> impl Iterator<Item = &Inputs> {
        self.new.iter().chain(&self.old)
    }

    pub fn memory_bytes(&self) -> usize {
        let inputs: usize = self.inputs().map(Inputs::memory_bytes).sum();
        self.change.memory_bytes() + inputs
    }
}

impl TransformPlan {
    /// Whether a new row has to be completed at the source before its expressions can be computed.
    pub fn needs_reading(&self, new: &Row) -> bool {
        let Some(program) = &self.program else { return false };
        let is_mixed = |expression: &Expression| {
            let unsent = unsent_count(program, expression, new);
            unsent > 0 && unsent < expression.reads.len()
        };
        self.is_filter_open(new) || program.columns.iter().any(is_mixed)
    }

    /// Whether the filter reads what was not sent of a new row.
    pub fn is_filter_open(&self, new: &Row) -> bool {
        let program = self.program.as_ref();
        program.is_some_and(|program| {
            let filter = program.filter.as_ref();
            filter.is_some_and(|filter| unsent_count(program, filter, new) > 0)
        })
    }

    /// One change of the tail, for a table with expressions.
    pub fn open(&self, change: RowChange) -> Result<OpenChange, TransformError> {
        let (new, old) = match &change {
            RowChange::Insert { new } => (Some(new), None),
            RowChange::Update { old, new } => (Some(new), old.as_ref()),
            RowChange::Delete { old } => (None, Some(old)),
            // Made of a row that went through here.
            RowChange::Mark { .. } => (None, None),
        };
        let new = new.map(|new| self.inputs(new)).transpose()?;
        let old = match old {
            Some(OldRow::Full(old)) if self.looks_at_old_rows() => Some(self.inputs(old)?),
            _ => None,
        };
        Ok(OpenChange { change: self.apply(change)?, new, old })
    }

    /// A row is known by all of its values.
    fn looks_at_old_rows(&self) -> bool {
        self.table.key.is_empty()
    }

    /// What a row in the source's layout gives the expressions to read.
    pub fn inputs(&self, row: &Row) -> Result<Inputs, TransformError> {
        self.check_width(row, self.source.columns.len())?;
        let is_binary = row.values().iter().any(|value| matches!(value, Value::Binary(_)));
        let inputs = self.program.iter().flat_map(|program| &program.inputs);
        let values = inputs.map(|input| {
            let value = row.values()[input.source].clone();
            let name = || self.source.columns[input.source].name.clone();
            input.action.make(value, is_binary).map_err(|cause| self.no_text_of(name(), cause))
        });
        Ok(Inputs(values.collect::<Result<_, _>>()?))
    }

    /// The change as the destination gets it; none where its row is not replicated. `outcomes` are in the
    /// order of [`OpenChange::inputs`].
    pub fn settle(
        &self,
        open: OpenChange,
        mut outcomes: impl Iterator<Item = Outcome>,
    ) -> Result<Option<RowChange>, TransformError> {
        let OpenChange { change, new: new_inputs, old: old_inputs } = open;
        let mut computed = |inputs: Option<Inputs>| {
            let Some(inputs) = inputs else { return Ok(None) };
            match outcomes.next() {
                Some(outcome) => Ok(Some((inputs, outcome))),
                None => Err(TransformError::Uncomputed { table: self.source.name.clone() }),
            }
        };
        let (new_computed, old_computed) = (computed(new_inputs)?, computed(old_inputs)?);
        let passes = |computed: &Option<(Inputs, Outcome)>| {
            computed.as_ref().is_none_or(|(_, outcome)| outcome.passes)
        };
        let (new_passes, old_passes) = (passes(&new_computed), passes(&old_computed));
        let finish = |row: Row, computed: Option<(Inputs, Outcome)>| match computed {
            Some((inputs, outcome)) => self.fill(row, inputs, outcome),
            None => Ok(row),
        };
        let finish_old = |old: OldRow| match old {
            OldRow::Full(row) => finish(row, old_computed).map(OldRow::Full),
            identity @ OldRow::Identity(_) => Ok(identity),
        };
        Ok(match change {
            RowChange::Insert { new } if new_passes => {
                Some(RowChange::Insert { new: finish(new, new_computed)? })
            }
            RowChange::Insert { .. } => None,
            RowChange::Update { old: Some(OldRow::Full(_)), .. } if !new_passes && !old_passes => {
                None
            }
            RowChange::Update { old: Some(OldRow::Full(_)), new } if !old_passes => {
                Some(RowChange::Insert { new: finish(new, new_computed)? })
            }
            RowChange::Update { old, new } if new_passes => Some(RowChange::Update {
                old: old.map(finish_old).transpose()?,
                new: finish(new, new_computed)?,
            }),
            RowChange::Update { old: Some(old), .. } => {
                Some(RowChange::Delete { old: finish_old(old)? })
            }
            // The key is as it was, and always sent.
            RowChange::Update { old: None, new } => {
                Some(RowChange::Delete { old: OldRow::Identity(new) })
            }
            RowChange::Delete { old: OldRow::Full(_) } if !old_passes => None,
            RowChange::Delete { old } => Some(RowChange::Delete { old: finish_old(old)? }),
            mark @ RowChange::Mark { .. } => Some(mark),
        })
    }

    /// Puts what was computed into a row of the destination's layout.
    pub fn fill(
        &self,
        mut row: Row,
        inputs: Inputs,
        outcome: Outcome,
    ) -> Result<Row, TransformError> {
        let Some(program) = &self.program else { return Ok(row) };
        let is_binary = outcome.values.iter().any(|value| matches!(value, Value::Binary(_)));
        let mut values: Vec<Value> = outcome.values;
        for (index, output) in self.outputs.iter().enumerate() {
            let Some(computed) = output.computed else { continue };
            let value = match inputs.has(&program.columns[computed]) {
                false => Value::Unchanged,
                true => std::mem::replace(&mut values[computed], Value::Null),
            };
            let made = output.action.make(value, is_binary);
            row.values_mut()[index] = made.map_err(|cause| self.no_text(index, cause))?;
        }
        Ok(row)
    }

    /// Each expression, by what messages call it, with the source columns that it reads.
    pub fn expressions(&self) -> impl Iterator<Item = (String, Vec<&Column>)> {
        self.program.iter().flat_map(|program| {
            let all = program.columns.iter().chain(&program.filter);
            all.map(|expression| {
                let inputs =
                    expression.reads.iter().map(|(_, input)| program.inputs[*input].source);
                let columns = inputs.map(|source| &self.source.columns[source]);
                (expression.name(), columns.collect())
            })
        })
    }

    /// Whether a row of the destination's layout lacks a value that is computed.
    pub fn lacks_computed(&self, row: &Row) -> bool {
        let values = self.outputs.iter().zip(row.values());
        values.into_iter().any(|(output, value)| output.computed.is_some() && value.is_unchanged())
    }
}

fn unsent_count(program: &Program, expression: &Expression, row: &Row) -> usize {
    let sources = expression.reads.iter().map(|(_, input)| program.inputs[*input].source);
    sources.filter(|source| row.values()[*source].is_unchanged()).count()
}
