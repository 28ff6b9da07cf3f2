//! One chunk's rows, as the COPY statement that reads them.

use crate::pg::ident::QualifiedName;
use crate::snapshot::plan::Chunk;

/// What one COPY reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOutPlan {
    /// The table, or one leaf of a partitioned table.
    pub relation: QualifiedName,
    /// SQL of each output column: a quoted name, or an expression over one.
    pub columns: Vec<String>,
    /// Every output column is a bare column of the relation.
    pub is_plain: bool,
    pub is_binary: bool,
}

impl CopyOutPlan {
    /// The COPY of one chunk.
    ///
    /// A whole table of bare columns uses `COPY table`, which skips the executor; anything else
    /// `COPY (SELECT …)`. `ONLY`: children of an inheritance parent are tables of their own.
    pub fn sql(&self, chunk: Chunk) -> String {
        let columns = self.columns.join(", ");
        let format = if self.is_binary { "binary" } else { "text" };
        let relation = self.relation.sql();
        if chunk.is_whole() && self.is_plain && !self.columns.is_empty() {
            return format!("COPY {relation} ({columns}) TO STDOUT (FORMAT {format})");
        }
        let filter = match (chunk.first_block, chunk.end_block) {
            (0, None) => String::new(),
            (0, Some(end)) => format!(" WHERE ctid < '({end},0)'"),
            (first, None) => format!(" WHERE ctid >= '({first},0)'"),
            (first, Some(end)) => format!(" WHERE ctid >= '({first},0)' AND ctid < '({end},0)'"),
        };
        format!("COPY (SELECT {columns} FROM ONLY {relation}{filter}) TO STDOUT (FORMAT {format})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(is_plain: bool) -> CopyOutPlan {
        CopyOutPlan {
            relation: QualifiedName::new("public", "t"),
            columns: vec!["\"a\"".to_owned(), "\"b\"".to_owned()],
            is_plain,
            is_binary: true,
        }
    }

    #[test]
    fn a_whole_table_is_copied_without_a_query() {
        assert_eq!(
            plan(true).sql(Chunk::WHOLE),
            "COPY \"public\".\"t\" (\"a\", \"b\") TO STDOUT (FORMAT binary)"
        );
        assert!(plan(false).sql(Chunk::WHOLE).starts_with("COPY (SELECT"));
    }

    #[test]
    fn chunks_are_tid_ranges() {
        let sql = plan(true).sql(Chunk { first_block: 10, end_block: Some(20) });
        assert!(sql.contains("ctid >= '(10,0)' AND ctid < '(20,0)'"), "{sql}");
        let last = plan(true).sql(Chunk { first_block: 20, end_block: None });
        assert!(last.contains("WHERE ctid >= '(20,0)')"), "{last}");
    }
}
