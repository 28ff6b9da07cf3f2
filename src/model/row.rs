//! A row: the bytes that came over the wire, column by column.
//!
//! A value stays what the server sent (binary or text) from the source to the destination, unless a
//! transform asks for it. That keeps the agent out of the business of knowing types.

use bytes::Bytes;

use crate::pg::copy_format::CopyField;

/// One column's value in one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    Null,
    /// The TOAST marker `u`: the value did not change and was not sent.
    Unchanged,
    /// The type's text output, in the connection's encoding (UTF-8).
    Text(Bytes),
    /// The type's binary send form.
    Binary(Bytes),
}

impl Value {
    pub fn is_unchanged(&self) -> bool {
        matches!(self, Value::Unchanged)
    }

    /// The bytes on the wire; none for NULL and for a value that was not sent.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Value::Text(bytes) | Value::Binary(bytes) => Some(bytes),
            Value::Null | Value::Unchanged => None,
        }
    }
}

impl<'a> From<&'a Value> for CopyField<'a> {
    fn from(value: &'a Value) -> CopyField<'a> {
        match value {
            Value::Null => CopyField::Null,
            Value::Unchanged => CopyField::Unchanged,
            Value::Text(bytes) => CopyField::Text(bytes),
            Value::Binary(bytes) => CopyField::Binary(bytes),
        }
    }
}

/// A row's values in the order of its table's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(Box<[Value]>);

impl Row {
    pub fn new(values: Vec<Value>) -> Row {
        Row(values.into_boxed_slice())
    }

    pub fn values(&self) -> &[Value] {
        &self.0
    }

    pub fn values_mut(&mut self) -> &mut [Value] {
        &mut self.0
    }

    /// The row with `more` behind its last column: what goes along and is no column's.
    pub fn followed_by(self, more: Vec<Value>) -> Row {
        Row::new(self.0.into_iter().chain(more).collect())
    }

    /// Whether every value was sent.
    pub fn is_complete(&self) -> bool {
        !self.0.iter().any(Value::is_unchanged)
    }

    /// Memory the row holds: its bytes and one [`Value`] a column.
    pub fn memory_bytes(&self) -> usize {
        let payload: usize = self.0.iter().filter_map(Value::bytes).map(Bytes::len).sum();
        payload + self.0.len() * size_of::<Value>()
    }

    /// Takes every value that `later` has; what it carries behind its last column stays.
    pub fn overwrite_from(&mut self, later: &Row) {
        for (value, after) in self.0.iter_mut().zip(&later.0) {
            if !after.is_unchanged() {
                value.clone_from(after);
            }
        }
    }

    /// Takes from `earlier` every value that this row lacks.
    pub fn fill_unchanged_from(&mut self, earlier: &Row) {
        for (value, before) in self.0.iter_mut().zip(&earlier.0) {
            if value.is_unchanged() {
                value.clone_from(before);
            }
        }
    }
}
