//! The plan for a copy: the select list of `COPY (SELECT …) TO STDOUT`, and what is left to do to
//! its rows. A re-read of single rows by key uses the same.
//!
//! The select list already drops, renames and orders. Constants are literals of type text in it
//! (a constant whose destination type is another needs the copy in text, where the destination's
//! type parses it), so a copy is decoded only where something is hashed. What is hashed is selected
//! as `"column"::text`: the server makes the text form itself, and the rows carry it in either
//! format.

use super::constant::Constant;
use super::error::TransformError;
use super::plan::{Action, Output, TransformPlan, hash};
use super::text_form::TextForm;
use crate::model::row::{Row, Value};
use crate::pg::ident::{identifier, literal};

/// One column of the copy, in the destination's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyColumn {
    /// An expression for the select list, quoted.
    pub source_sql: String,
    pub destination_name: String,
    /// Whether [`TransformPlan::copy_row`] has to see the value.
    pub step_needed: bool,
    /// A column of the source as it is: `COPY table` can name it without a query.
    pub is_bare: bool,
}

impl TransformPlan {
    pub fn copy_columns(&self) -> Vec<CopyColumn> {
        let column = |(output, column): (&Output, &crate::model::table::Column)| CopyColumn {
            source_sql: self.source_sql(output),
            destination_name: column.name.clone(),
            step_needed: matches!(output.action, Action::Hash(..)),
            is_bare: matches!(output.action, Action::Pass),
        };
        self.outputs.iter().zip(&self.table.columns).map(column).collect()
    }

    fn source_sql(&self, output: &Output) -> String {
        let name = || {
            let source = output.source.expect("only a constant has no source column");
            identifier(&self.source.columns[source].name)
        };
        match &output.action {
            Action::Pass => name(),
            Action::Hash(..) => format!("{}::pg_catalog.text", name()),
            Action::Constant(Constant::Null) => "NULL::pg_catalog.text".to_owned(),
            Action::Constant(Constant::Text { text, .. }) => {
                let text = std::str::from_utf8(text).expect("a constant comes from a string");
                format!("{}::pg_catalog.text", literal(text).trim_start())
            }
        }
    }

    /// Whether the copy's rows have to go through [`TransformPlan::copy_row`]; where not, its bytes
    /// may pass as they are.
    pub fn copy_needs_decode(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output.action, Action::Hash(..)))
    }

    /// Whether the copy has to run in text, because a constant is parsed by the destination's type.
    pub fn copy_needs_text(&self) -> bool {
        self.outputs.iter().any(|output| match &output.action {
            Action::Constant(constant) => constant.needs_text(),
            Action::Pass | Action::Hash(..) => false,
        })
    }

    /// One row of the copy, in the order of [`TransformPlan::copy_columns`].
    pub fn copy_row(&self, mut row: Row) -> Result<Row, TransformError> {
        self.check_width(&row, self.outputs.len())?;
        for index in 0..self.outputs.len() {
            let slot = &mut row.values_mut()[index];
            let value = std::mem::replace(slot, Value::Null);
            *slot = self.copy_value(index, value)?;
        }
        Ok(row)
    }

    /// One value of the copy: `index` is its place in [`TransformPlan::copy_columns`].
    pub fn copy_value(&self, index: usize, value: Value) -> Result<Value, TransformError> {
        match &self.outputs[index].action {
            // The server has made the text form, and text has one form in text and binary.
            Action::Hash(_, steps) => {
                hash(TextForm::Verbatim, steps, value).map_err(|cause| self.no_text(index, cause))
            }
            Action::Pass | Action::Constant(_) => Ok(value),
        }
    }
}
