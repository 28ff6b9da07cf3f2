//! A compiled plan: rows in the source's layout go in, rows in the destination's come out.

use std::sync::Arc;

use super::constant::Constant;
use super::error::TransformError;
use super::program::Program;
use super::text_form::{NoText, TextForm};
use super::value_step::{self, ValueStep};
use crate::config::settings::Apart;
use crate::model::change::{OldRow, RowChange};
use crate::model::mark::MarkKind;
use crate::model::row::{Row, Value};
use crate::model::table::{Column, Table};
use crate::pg::catalog::ColumnInfo;
use crate::pg::ident::{identifier, literal};
use crate::pg::oid::{self, Oid};

/// What one table's rows go through. Compiled once per description of the table
/// ([`super::compile`]); shared by the copy and the tail.
#[derive(Clone, Debug)]
pub struct TransformPlan {
    pub(super) source: Arc<Table>,
    pub(super) table: Arc<Table>,
    /// One for each column of `table`, in its order.
    pub(super) outputs: Vec<Output>,
    pub(super) shape: Shape,
    /// Positions in `source` of the key's columns that a step makes other values of. A row of which
    /// something was not sent carries their own values behind its last column, where nobody writes them
    /// from: it can be asked for at the source by nothing else.
    pub(super) hidden_key: Vec<usize>,
    /// SQL that a row of the source's has to pass.
    pub(super) filter: Option<String>,
    /// What the server computes for rows of the stream.
    pub(super) program: Option<Arc<Program>>,
    /// What tells its rows from those of other source tables in the destination's.
    pub(super) apart: Option<Apart>,
    /// No expression may stand in the copy's SELECT, whose search path also shapes the text of values.
    pub(super) copies_apart: bool,
}

/// Where one destination column comes from.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Position of the source column; `None` for a column that only the destination has, and for one
    /// that is computed.
    pub(super) source: Option<usize>,
    /// Position among the program's columns.
    pub(super) computed: Option<usize>,
    /// What happens to the source column's value, or to the computed one.
    pub(super) action: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Pass,
    Constant(Constant),
    /// At least one step, over the text form of the column's type; the type of what comes out.
    Steps(TextForm, Vec<ValueStep>, Oid),
    /// The column that says of a row that the source has deleted it; cleared in every row that is there.
    Mark(MarkKind),
}

/// How much of a row has to be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing: rows go through as they are.
    Same,
    /// The columns stay where they are.
    InPlace,
    /// Columns were dropped or added.
    Rebuilt,
}

impl Action {
    /// Whether it cannot be made of a value in binary.
    pub(super) fn reads_text(&self) -> bool {
        match self {
            Action::Steps(form, ..) => !form.reads_binary(),
            Action::Constant(constant) => constant.needs_text(),
            Action::Pass | Action::Mark(_) => false,
        }
    }

    /// The value that comes out, in the form (text or binary) of its row.
    pub(super) fn make(&self, value: Value, is_binary: bool) -> Result<Value, NoText> {
        match self {
            Action::Pass => Ok(value),
            Action::Constant(constant) => Ok(constant.value(is_binary)),
            Action::Mark(kind) => Ok(kind.cleared(is_binary)),
            Action::Steps(form, steps, made) => value_step::made(*form, steps, *made, value),
        }
    }
}

impl TransformPlan {
    /// Whether rows go through as they are. Names may differ all the same: the description that
    /// goes with the rows is [`TransformPlan::table`], always.
    pub fn is_identity(&self) -> bool {
        self.shape == Shape::Same
    }

    /// What the server has to compute for the table's rows.
    pub fn program(&self) -> Option<&Arc<Program>> {
        self.program.as_ref()
    }

    /// Whether the table's filter is looked at on our side of the stream.
    pub fn filters_stream(&self) -> bool {
        self.program.as_ref().is_some_and(|program| program.filter.is_some())
    }

    /// The rows of the destination's table that are this source table's, as SQL; `None`: all of them.
    pub fn own_rows(&self) -> Option<String> {
        let apart = self.apart.as_ref()?;
        Some(format!("{} = {}", identifier(&apart.column), literal(&apart.value)))
    }

    /// The destination's column that tells its rows from those of other source tables.
    pub fn apart(&self) -> Option<&str> {
        self.apart.as_ref().map(|apart| apart.column.as_str())
    }

    /// The table as the destination sees it: its name, its columns' names and types, the key's new
    /// positions. The id is the source's.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The description that the plan was compiled for.
    pub fn source_table(&self) -> &Arc<Table> {
        &self.source
    }

    /// The source's names of the columns that identify a row.
    pub fn source_key(&self) -> Vec<String> {
        self.source.key_columns().map(|column| column.name.clone()).collect()
    }

    /// The source's column that output `index` passes on untouched; none where a step makes the
    /// value.
    pub fn passed_column(&self, index: usize) -> Option<&Column> {
        let output = &self.outputs[index];
        let source = output.source.filter(|_| matches!(output.action, Action::Pass))?;
        Some(&self.source.columns[source])
    }

    /// The expression's values that output `index` is, as they come from the server: described as a
    /// column's without a name.
    pub fn computed_column(&self, index: usize) -> Option<&ColumnInfo> {
        let output = &self.outputs[index];
        let computed = output.computed.filter(|_| matches!(output.action, Action::Pass))?;
        Some(&self.program.as_ref()?.columns[computed].result)
    }

    /// The source's column that output `index` is made from; none for a constant, and for what is
    /// computed.
    pub fn origin_column(&self, index: usize) -> Option<&Column> {
        self.outputs[index].source.map(|source| &self.source.columns[source])
    }

    /// Whether what output `index` makes of a value may be written in binary to a column of this type.
    pub fn joins_binary(&self, index: usize, destination: Oid) -> bool {
        match &self.outputs[index].action {
            Action::Steps(..) => {
                value_step::joins_binary(self.table.columns[index].type_oid, destination)
            }
            _ => matches!(destination, oid::TEXT | oid::VARCHAR),
        }
    }

    /// The type and modifier of what the steps of output `index` make; none where there are none.
    pub fn made_type(&self, index: usize) -> Option<(Oid, i32)> {
        let column = &self.table.columns[index];
        let has_steps = matches!(self.outputs[index].action, Action::Steps(..));
        has_steps.then_some((column.type_oid, column.type_modifier))
    }

    /// The name of the column that output `index` stands for: the source's, or the one that an expression
    /// is written for.
    pub fn place_name(&self, index: usize) -> Option<&str> {
        let output = &self.outputs[index];
        match (output.source, output.computed) {
            (Some(source), _) => Some(&self.source.columns[source].name),
            (None, Some(computed)) => self.program.as_ref()?.columns[computed].column.as_deref(),
            (None, None) => None,
        }
    }

    /// Whether output `index` is NULL in every row.
    pub fn is_null(&self, index: usize) -> bool {
        matches!(self.outputs[index].action, Action::Constant(Constant::Null))
    }

    /// The text that output `index` is in every row.
    pub fn constant(&self, index: usize) -> Option<&[u8]> {
        match &self.outputs[index].action {
            Action::Constant(Constant::Text { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// Whether two values of output `index` differ where those that they are made from do.
    pub fn keeps_apart(&self, index: usize) -> bool {
        self.outputs[index].keeps_apart()
    }

    /// Source columns whose values are needed, in column order. The others need not be read.
    pub fn source_columns_used(&self) -> Vec<&str> {
        let used = |output: &Output| match output.action {
            Action::Constant(_) | Action::Mark(_) => None,
            Action::Pass | Action::Steps(..) => output.source,
        };
        let mut indexes: Vec<usize> = self.outputs.iter().filter_map(used).collect();
        if let Some(program) = &self.program {
            indexes.extend(program.inputs.iter().map(|input| input.source));
        }
        indexes.sort_unstable();
        indexes.dedup();
        indexes.into_iter().map(|index| self.source.columns[index].name.as_str()).collect()
    }

    /// Whether the change stream has to run in text for this table.
    pub fn needs_text_stream(&self) -> bool {
        !self.text_stream_reasons().is_empty()
    }

    /// Why it has to, one sentence a column.
    pub fn text_stream_reasons(&self) -> Vec<String> {
        let columns = self.table.columns.iter().map(|column| column.name.as_str());
        let reason = |(output, name): (&Output, &str)| match &output.action {
            Action::Steps(form, ..) if !form.reads_binary() => {
                Some(format!("a step of column \"{name}\" reads the value's text"))
            }
            Action::Constant(constant) if constant.needs_text() => {
                Some(format!("the value of column \"{name}\" is parsed by the destination's type"))
            }
            _ => None,
        };
        let mut reasons: Vec<String> =
            self.outputs.iter().zip(columns).filter_map(reason).collect();
        let inputs = self.program.iter().flat_map(|program| &program.inputs);
        reasons.extend(inputs.filter(|input| input.action.reads_text()).map(|input| {
            let name = &self.source.columns[input.source].name;
            format!(
                "an expression reads column \"{name}\" as its steps leave it, and they read text"
            )
        }));
        if self.copies_apart && self.program.is_some() {
            reasons.push("expressions read values of a type that has no binary form".to_owned());
        }
        reasons
    }

    /// One change of the tail. Old rows go the same way as new ones.
    pub fn apply(&self, change: RowChange) -> Result<RowChange, TransformError> {
        if self.is_identity() {
            return Ok(change);
        }
        Ok(match change {
            RowChange::Insert { new } => RowChange::Insert { new: self.new_row(new)? },
            RowChange::Update { old, new } => RowChange::Update {
                old: old.map(|old| self.old_row(old)).transpose()?,
                new: self.new_row(new)?,
            },
            RowChange::Delete { old } => RowChange::Delete { old: self.old_row(old)? },
            // Made of a row that went through here.
            RowChange::Mark { row } => RowChange::Mark { row },
        })
    }

    fn old_row(&self, old: OldRow) -> Result<OldRow, TransformError> {
        Ok(match old {
            OldRow::Identity(row) => OldRow::Identity(self.row(row)?),
            OldRow::Full(row) => OldRow::Full(self.row(row)?),
        })
    }

    /// One row in the source's layout, as the tail delivers it.
    pub fn row(&self, mut row: Row) -> Result<Row, TransformError> {
        self.check_width(&row, self.source.columns.len())?;
        let is_binary = row.values().iter().any(|value| matches!(value, Value::Binary(_)));
        match self.shape {
            Shape::Same => Ok(row),
            Shape::InPlace => {
                for (index, output) in self.outputs.iter().enumerate() {
                    if !matches!(output.action, Action::Pass) {
                        let value = std::mem::replace(&mut row.values_mut()[index], Value::Null);
                        row.values_mut()[index] = self.value(index, value, is_binary)?;
                    }
                }
                Ok(row)
            }
            Shape::Rebuilt => {
                let mut values = Vec::with_capacity(self.outputs.len());
                for (index, output) in self.outputs.iter().enumerate() {
                    // Each source column feeds one output at most, so taking it is safe.
                    let value = output.source.map_or(Value::Null, |source| {
                        std::mem::replace(&mut row.values_mut()[source], Value::Null)
                    });
                    values.push(self.value(index, value, is_binary)?);
                }
                Ok(Row::new(values))
            }
        }
    }

    /// A row that is to be written: with the key's own values, where somebody may have to ask for others
    /// by them.
    fn new_row(&self, row: Row) -> Result<Row, TransformError> {
        if self.hidden_key.is_empty() || row.is_complete() {
            return self.row(row);
        }
        let hidden = self.hidden_key.iter().map(|&key| row.values()[key].clone()).collect();
        Ok(self.row(row)?.followed_by(hidden))
    }

    /// What has to be read at the source for `row`, which this plan has made and which lacks values: a row
    /// of the source's layout with the key's values, `Unchanged` where a value is needed, NULL elsewhere.
    /// Once it is filled, [`TransformPlan::row`] makes of it what is missing.
    pub fn unsent(&self, row: &Row) -> Row {
        let mut values = vec![Value::Null; self.source.columns.len()];
        for (output, value) in self.outputs.iter().zip(row.values()) {
            if !value.is_unchanged() {
                continue;
            }
            if let Some(source) = output.source {
                values[source] = Value::Unchanged;
            }
            // All are computed at once, so that none is computed from a NULL that is none.
            if let (Some(program), Some(_)) = (&self.program, output.computed) {
                for input in &program.inputs {
                    values[input.source] = Value::Unchanged;
                }
            }
        }
        for &key in &self.source.key {
            values[key] = row.values()[self.key_place(key)].clone();
        }
        Row::new(values)
    }

    /// Where a row has the value of the source's key column `key`.
    fn key_place(&self, key: usize) -> usize {
        match self.hidden_key.iter().position(|&hidden| hidden == key) {
            Some(place) => self.outputs.len() + place,
            None => {
                let passed = self.outputs.iter().position(|output| output.source == Some(key));
                passed.expect("a plan keeps every key column")
            }
        }
    }

    fn value(&self, index: usize, value: Value, is_binary: bool) -> Result<Value, TransformError> {
        let output = &self.outputs[index];
        match output.computed {
            // Its value is on its way.
            Some(_) => Ok(Value::Null),
            None => output.action.make(value, is_binary).map_err(|c| self.no_text(index, c)),
        }
    }

    pub(super) fn check_width(&self, row: &Row, expected: usize) -> Result<(), TransformError> {
        let found = row.values().len();
        if found == expected {
            return Ok(());
        }
        Err(TransformError::Width { table: self.source.name.clone(), expected, found })
    }

    pub(super) fn no_text(&self, index: usize, cause: NoText) -> TransformError {
        self.no_text_of(self.table.columns[index].name.clone(), cause)
    }

    pub(super) fn no_text_of(&self, column: String, cause: NoText) -> TransformError {
        let table = self.source.name.clone();
        match cause {
            NoText::Malformed(form) => TransformError::Malformed { table, column, form },
            NoText::Binary => TransformError::NeedsText { table, column },
            NoText::TooLong(characters) => TransformError::TooLong { table, column, characters },
        }
    }
}

#[cfg(test)]
mod tests;
