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
    /// SQL over a row: only rows for which it is true are read.
    pub filter: Option<String>,
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
        let is_every_row = chunk.is_whole() && self.filter.is_none();
        if is_every_row && self.is_plain && !self.columns.is_empty() {
            return format!("COPY {relation} ({columns}) TO STDOUT (FORMAT {format})");
        }
        let range = match (chunk.first_block, chunk.end_block) {
            (0, None) => None,
            (0, Some(end)) => Some(format!("ctid < '({end},0)'")),
            (first, None) => Some(format!("ctid >= '({first},0)'")),
            (first, Some(end)) => Some(format!("ctid >= '({first},0)' AND ctid < '({end},0)'")),
        };
        let filter = self.filter.as_ref().map(|filter| format!("({filter})"));
        let conditions: Vec<String> = range.into_iter().chain(filter).collect();
        let conditions = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        format!(
            "COPY (SELECT {columns} FROM ONLY {relation}{conditions}) TO STDOUT (FORMAT {format})"
        )
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
            filter: None,
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
    fn a_filter_is_kept_apart_from_the_range() {
        let plan = CopyOutPlan { filter: Some("a > 1 OR b".to_owned()), ..plan(true) };
        let whole = plan.sql(Chunk::WHOLE);
        assert!(whole.contains("FROM ONLY \"public\".\"t\" WHERE (a > 1 OR b))"), "{whole}");
        let part = plan.sql(Chunk { first_block: 0, end_block: Some(2) });
        assert!(part.contains("WHERE ctid < '(2,0)' AND (a > 1 OR b))"), "{part}");
    }

    #[test]
    fn chunks_are_tid_ranges() {
        let sql = plan(true).sql(Chunk { first_block: 10, end_block: Some(20) });
        assert!(sql.contains("ctid >= '(10,0)' AND ctid < '(20,0)'"), "{sql}");
        let last = plan(true).sql(Chunk { first_block: 20, end_block: None });
        assert!(last.contains("WHERE ctid >= '(20,0)')"), "{last}");
    }
}
