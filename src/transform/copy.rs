//! The plan for a copy: the select list of `COPY (SELECT …) TO STDOUT`, and what is left to do to
//! its rows. A re-read of single rows by key uses the same.
//!
//! The select list already drops, renames and orders. Constants are literals of type text in it
//! (a constant whose destination type is another needs the copy in text, where the destination's
//! type parses it), so a copy is decoded only where a step reads a value. What a step reads is selected
//! as `"column"::text`: the server makes the text form itself, and the rows carry it in either
//! format.

use super::compile::is_at_source;
use super::constant::Constant;
use super::error::TransformError;
use super::plan::{Action, Output, TransformPlan};
use super::program::{Inputs, Outcome, Program};
use super::text_form::TextForm;
use super::value_step;
use crate::model::row::Value;
use crate::pg::ident::{identifier, literal};

/// One column of the copy, in the destination's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyColumn {
    /// An expression for the select list, quoted.
    pub source_sql: String,
    pub destination_name: String,
    /// Whether [`TransformPlan::copy_value`] has to see the value.
    pub step_needed: bool,
    /// A column of the source as it is: `COPY table` can name it without a query.
    pub is_bare: bool,
}

impl TransformPlan {
    pub fn copy_columns(&self) -> Vec<CopyColumn> {
        let column = |(output, column): (&Output, &crate::model::table::Column)| CopyColumn {
            source_sql: self.source_sql(output),
            destination_name: column.name.clone(),
            step_needed: matches!(output.action, Action::Steps(..)),
            is_bare: output.computed.is_none() && matches!(output.action, Action::Pass),
        };
        self.outputs.iter().zip(&self.table.columns).map(column).collect()
    }

    /// What is selected behind the columns for expressions that are computed apart
    /// ([`TransformPlan::copy_inputs`]).
    pub fn copy_input_columns(&self) -> Vec<String> {
        let inputs = self.program.iter().filter(|_| self.copy_computes());
        let inputs = inputs.flat_map(|program| &program.inputs);
        inputs.map(|input| identifier(&self.source.columns[input.source].name)).collect()
    }

    /// Whether an expression stands in the SELECT, where its names have to be found.
    pub fn copy_has_expressions(&self) -> bool {
        self.copy_filter().is_some() || self.program.is_some() && !self.copy_computes()
    }

    /// The condition on the rows that are read; none where it is computed apart.
    pub fn copy_filter(&self) -> Option<&str> {
        self.filter().filter(|_| !self.copies_apart)
    }

    /// The condition on the source's rows.
    pub fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }

    fn source_sql(&self, output: &Output) -> String {
        if let Some(computed) = output.computed {
            return self.computed_sql(computed, &output.action);
        }
        let name = || {
            let source = output.source.expect("only a constant has no source column");
            identifier(&self.source.columns[source].name)
        };
        match &output.action {
            Action::Pass => name(),
            Action::Steps(..) => format!("{}::pg_catalog.text", name()),
            Action::Mark(kind) => kind.cleared_sql().to_owned(),
            Action::Constant(Constant::Null) => "NULL::pg_catalog.text".to_owned(),
            Action::Constant(Constant::Text { text, .. }) => {
                let text = std::str::from_utf8(text).expect("a constant comes from a string");
                format!("{}::pg_catalog.text", literal(text).trim_start())
            }
        }
    }

    fn computed_sql(&self, computed: usize, action: &Action) -> String {
        let expression = self.program.as_ref().map(|program| &program.columns[computed]);
        match expression.filter(|_| !self.copy_computes()) {
            Some(expression) if matches!(action, Action::Pass) => expression.typed(),
            Some(expression) => format!("{}::pg_catalog.text", expression.typed()),
            None => "NULL::pg_catalog.text".to_owned(),
        }
    }

    /// Whether expressions are computed apart from the SELECT: one reads what the agent makes, or the search
    /// path that finds their names would leave its mark on values.
    pub fn copy_computes(&self) -> bool {
        let reads_made =
            |program: &Program| !program.columns.iter().all(|e| is_at_source(program, e));
        let program = self.program.as_ref();
        program.is_some_and(|program| self.copies_apart || reads_made(program))
    }

    /// Whether the copy's rows have to go through [`TransformPlan::copy_value`]; where not, its bytes
    /// may pass as they are.
    pub fn copy_needs_decode(&self) -> bool {
        self.copy_computes()
            || self.outputs.iter().any(|output| matches!(output.action, Action::Steps(..)))
    }

    /// Whether the copy has to run in text, because a constant is parsed by the destination's type, or a
    /// step reads a value's text.
    pub fn copy_needs_text(&self) -> bool {
        let is_parsed = |output: &Output| match &output.action {
            Action::Constant(constant) => constant.needs_text(),
            Action::Pass | Action::Steps(..) | Action::Mark(_) => false,
        };
        let computed = self.outputs.iter().filter(|output| output.computed.is_some());
        let inputs = self.program.iter().flat_map(|program| &program.inputs);
        self.outputs.iter().any(is_parsed)
            || self.copies_apart && self.program.is_some()
            || self.copy_computes()
                && (computed.into_iter().any(|output| output.action.reads_text())
                    || inputs.into_iter().any(|input| input.action.reads_text()))
    }

    /// One value of the copy: `index` is its place in [`TransformPlan::copy_columns`].
    pub fn copy_value(&self, index: usize, value: Value) -> Result<Value, TransformError> {
        let output = &self.outputs[index];
        match &output.action {
            // The server has made the text form, and text has one form in text and binary.
            Action::Steps(_, steps, made) if output.computed.is_none() || !self.copy_computes() => {
                let made = value_step::made(TextForm::Verbatim, steps, *made, value);
                made.map_err(|cause| self.no_text(index, cause))
            }
            Action::Steps(..) | Action::Pass | Action::Constant(_) | Action::Mark(_) => Ok(value),
        }
    }

    /// What expressions read of one row of the copy: the values behind its columns.
    pub fn copy_inputs(
        &self,
        values: Vec<Value>,
        is_binary: bool,
    ) -> Result<Inputs, TransformError> {
        let inputs = self.program.iter().flat_map(|program| &program.inputs);
        let values = values.into_iter().zip(inputs).map(|(value, input)| {
            let name = || self.source.columns[input.source].name.clone();
            input.action.make(value, is_binary).map_err(|cause| self.no_text_of(name(), cause))
        });
        Ok(Inputs(values.collect::<Result<_, _>>()?))
    }

    /// The value of output `index` of a row of the copy whose expressions are computed apart; none where
    /// an expression does not make it.
    pub fn copy_computed(
        &self,
        index: usize,
        outcome: &Outcome,
        is_binary: bool,
    ) -> Result<Option<Value>, TransformError> {
        let output = &self.outputs[index];
        let Some(computed) = output.computed else { return Ok(None) };
        let made = output.action.make(outcome.values[computed].clone(), is_binary);
        made.map(Some).map_err(|cause| self.no_text(index, cause))
    }
}
