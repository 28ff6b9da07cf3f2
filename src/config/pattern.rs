//! `include` and `exclude` patterns: SQL-style names, `*` within a part.

use crate::pg::ident::QualifiedName;

/// One pattern: `public.*`, `"Weird Schema".orders_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {}

impl Pattern {
    pub fn matches(&self, _table: &QualifiedName) -> bool {
        false
    }
}
