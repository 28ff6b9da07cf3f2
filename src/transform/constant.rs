//! The `value` and `null` steps: whatever the row holds, the same comes out.
//!
//! A constant is text that the destination's type parses. In binary that only works for types
//! whose binary form is their text, so the plan has to know the destination's type to let a
//! constant join a binary row; otherwise it asks for a text stream. (Four characters of text taken
//! for a binary int4 would be a number, without an error.)

use bytes::Bytes;

use crate::model::row::Value;
use crate::pg::oid::{self, Oid};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Constant {
    Null,
    Text {
        text: Bytes,
        /// Whether the destination's type has the same bytes in binary.
        joins_binary: bool,
    },
}

impl Constant {
    pub(super) fn text(text: impl Into<Bytes>, destination_type: Option<Oid>) -> Constant {
        Constant::Text {
            text: text.into(),
            joins_binary: destination_type.is_some_and(is_text_in_binary),
        }
    }

    /// The constant as a value of a row whose other values are in binary, or not.
    pub(super) fn value(&self, row_is_binary: bool) -> Value {
        match self {
            Constant::Null => Value::Null,
            Constant::Text { text, joins_binary } if row_is_binary && *joins_binary => {
                Value::Binary(text.clone())
            }
            Constant::Text { text, .. } => Value::Text(text.clone()),
        }
    }

    pub(super) fn needs_text(&self) -> bool {
        matches!(self, Constant::Text { joins_binary: false, .. })
    }
}

fn is_text_in_binary(type_oid: Oid) -> bool {
    matches!(type_oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::JSON)
}
