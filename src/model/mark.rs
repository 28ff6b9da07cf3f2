//! What says of a row that the source has deleted it (`on_delete = "mark:<column>"`): a column that only
//! the destination has.
//!
//! | the column's type | there | deleted |
//! | --- | --- | --- |
//! | `boolean` | false | true |
//! | `timestamptz` | NULL | when the source committed the delete |
//!
//! Like every value it is text or binary, whatever the other values of its row are.

use bytes::Bytes;

use crate::model::row::Value;
use crate::pg::oid::{self, Oid};
use crate::pg::time::PgTimestamp;

/// The kinds of column that can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    Boolean,
    Timestamp,
}

impl MarkKind {
    /// `None`: no column of this type can.
    pub fn of_type(type_oid: Oid) -> Option<MarkKind> {
        match type_oid {
            oid::BOOL => Some(MarkKind::Boolean),
            oid::TIMESTAMPTZ => Some(MarkKind::Timestamp),
            _ => None,
        }
    }

    pub fn type_oid(self) -> Oid {
        match self {
            MarkKind::Boolean => oid::BOOL,
            MarkKind::Timestamp => oid::TIMESTAMPTZ,
        }
    }

    /// Of a row that is there.
    pub fn cleared(self, is_binary: bool) -> Value {
        match (self, is_binary) {
            (MarkKind::Timestamp, _) => Value::Null,
            (MarkKind::Boolean, true) => Value::Binary(Bytes::from_static(&[0])),
            (MarkKind::Boolean, false) => Value::Text(Bytes::from_static(b"f")),
        }
    }

    /// Of a row that the source deleted at that moment.
    pub fn set(self, is_binary: bool, at: PgTimestamp) -> Value {
        match (self, is_binary) {
            (MarkKind::Boolean, true) => Value::Binary(Bytes::from_static(&[1])),
            (MarkKind::Boolean, false) => Value::Text(Bytes::from_static(b"t")),
            // `timestamptz_send`: the microseconds as they came.
            (MarkKind::Timestamp, true) => {
                Value::Binary(Bytes::copy_from_slice(&at.0.to_be_bytes()))
            }
            (MarkKind::Timestamp, false) => Value::Text(at.to_utc_text().into()),
        }
    }

    /// What a row has that is there, as SQL.
    pub fn cleared_sql(self) -> &'static str {
        match self {
            MarkKind::Boolean => "false",
            MarkKind::Timestamp => "NULL::pg_catalog.timestamptz",
        }
    }

    /// What a row gets that is found to be gone from the source, nobody knows since when, as SQL.
    pub fn set_sql(self) -> &'static str {
        match self {
            MarkKind::Boolean => "true",
            MarkKind::Timestamp => "pg_catalog.now()",
        }
    }

    /// Whether a column, quoted, says that its row is deleted, as SQL that is never NULL.
    pub fn is_set_sql(self, column: &str) -> String {
        match self {
            MarkKind::Boolean => format!("{column} IS TRUE"),
            MarkKind::Timestamp => format!("{column} IS NOT NULL"),
        }
    }
}

/// Whether a mark's value, of either kind and in either form, says that the row is there.
pub fn is_cleared(value: &Value) -> bool {
    value.bytes().is_none_or(|bytes| matches!(&bytes[..], b"f" | [0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_the_form_of_its_row() {
        let at = PgTimestamp(1);
        let all = [MarkKind::Boolean, MarkKind::Timestamp];
        for (kind, text) in all.into_iter().zip(["t", "2000-01-01 00:00:00.000001+00"]) {
            assert_eq!(kind.set(false, at), Value::Text(text.into()));
            assert!(matches!(kind.set(true, at), Value::Binary(_)));
            for is_binary in [false, true] {
                assert!(is_cleared(&kind.cleared(is_binary)));
                assert!(!is_cleared(&kind.set(is_binary, at)));
            }
            assert_eq!(MarkKind::of_type(kind.type_oid()), Some(kind));
        }
        assert_eq!(MarkKind::Timestamp.cleared(true), Value::Null);
        assert_eq!(MarkKind::Boolean.cleared(false), Value::Text("f".into()));
    }
}
