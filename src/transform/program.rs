//! What the server computes for a table's rows: its expressions, the values that they read, and the
//! statement that computes them for many rows at once.
//!
//! ```sql
//! SELECT (SELECT (price * 1.10) FROM (SELECT v.i0 AS "price") AS r), …
//!   FROM (VALUES (1, $1, $2), (2, $3, $4), …) AS v (n, i0, i1) ORDER BY v.n
//! ```
//!
//! Each expression sees a row of its own, so that one may read a column as the source has it and another
//! as its steps leave it. Values go there and come back in the stream's format, binary or text.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use super::plan::Action;
use crate::model::row::Value;
use crate::pg::catalog::ColumnInfo;
use crate::pg::ident::identifier;
use crate::pg::oid::Oid;

/// Parameters of one statement: a protocol limit.
const PARAMETERS_MAX: usize = 65_535;

/// Rows of one statement. More save no time that could be measured, and a plan takes longer to make.
const ROWS_MAX: usize = 256;

/// A table's expressions. Compiled with the table's plan.
#[derive(Debug)]
pub struct Program {
    /// What expressions read, each once.
    pub(super) inputs: Vec<Input>,
    /// Of columns, as [`super::plan::Output`] refers to them.
    pub(super) columns: Vec<Expression>,
    /// Which rows are replicated, where that is not for the publication to say.
    pub(super) filter: Option<Expression>,
}

/// A source column as it is read.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// Position of the source column.
    pub(super) source: usize,
    /// The steps that its value goes through before.
    pub(super) action: Action,
    /// The value's type after them.
    pub(super) type_oid: Oid,
}

#[derive(Clone, Debug)]
pub(super) struct Expression {
    /// The settings' name of the column; none for the filter.
    pub(super) column: Option<String>,
    pub(super) sql: String,
    /// The names that it says, and which inputs they are.
    pub(super) reads: Vec<(String, usize)>,
    pub(super) result: ColumnInfo,
}

/// Two programs are one where they stand at one place: they are compared as keys of what is prepared.
impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Program {}

impl Hash for Program {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::hash(self, state);
    }
}

/// What one row gives an expression to read, in the program's order of inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs(pub(super) Vec<Value>);

/// What the server made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In the program's order of columns.
    pub values: Vec<Value>,
    /// Whether the row is replicated.
    pub passes: bool,
}

impl Inputs {
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    pub fn memory_bytes(&self) -> usize {
        let payload: usize = self.0.iter().filter_map(Value::bytes).map(bytes::Bytes::len).sum();
        payload + self.0.len() * size_of::<Value>()
    }
}

impl Program {
    /// Types of one row's parameters, in order.
    pub fn parameter_types(&self) -> impl Iterator<Item = Oid> {
        self.inputs.iter().map(|input| input.type_oid)
    }

    /// How many rows one statement takes at most.
    pub fn rows_max(&self) -> usize {
        (PARAMETERS_MAX / self.inputs.len().max(1)).clamp(1, ROWS_MAX)
    }

    /// Values of one row of the answer, the filter's last.
    pub fn outcome_width(&self) -> usize {
        self.columns.len() + usize::from(self.filter.is_some())
    }

    pub fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// What is computed, for an error's message.
    pub fn names(&self) -> String {
        self.columns.iter().chain(&self.filter).map(Expression::name).collect::<Vec<_>>().join(", ")
    }

    /// The statement for `row_count` rows. In text, a value is what its type's output function says,
    /// where a cast may say another thing.
    pub fn statement(&self, row_count: usize, is_binary: bool) -> String {
        let mut sql = "SELECT ".to_owned();
        for (index, expression) in self.columns.iter().enumerate() {
            sql.push_str(if index == 0 { "" } else { ", " });
            match is_binary {
                true => write!(sql, "({})", expression.over_its_row()),
                false => write!(
                    sql,
                    "(SELECT CASE WHEN x IS DISTINCT FROM NULL THEN pg_catalog.concat(x) END \
                     FROM ({} OFFSET 0) AS q (x))",
                    expression.over_its_row()
                ),
            }
            .expect("writing to a String cannot fail");
        }
        if let Some(filter) = &self.filter {
            sql.push_str(if self.columns.is_empty() { "" } else { ", " });
            write!(sql, "({}) IS TRUE", filter.over_its_row()).expect("as above");
        }
        sql.push_str(" FROM (VALUES ");
        let mut parameter = 1;
        for row in 0..row_count {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            write!(sql, "{row}").expect("as above");
            for _ in &self.inputs {
                write!(sql, ", ${parameter}").expect("as above");
                parameter += 1;
            }
            sql.push(')');
        }
        sql.push_str(") AS v (n");
        for index in 0..self.inputs.len() {
            write!(sql, ", i{index}").expect("as above");
        }
        sql.push_str(") ORDER BY v.n");
        sql
    }
}

impl Expression {
    pub(super) fn name(&self) -> String {
        match &self.column {
            Some(column) => format!("sql of column \"{column}\""),
            None => "where".to_owned(),
        }
    }

    fn over_its_row(&self) -> String {
        let reads =
            self.reads.iter().map(|(name, input)| format!("v.i{input} AS {}", identifier(name)));
        let reads: Vec<String> = reads.collect();
        format!(
            "SELECT (\n{}\n) FROM (SELECT {}) AS \"sync_agent row\"",
            self.sql,
            reads.join(", ")
        )
    }

    /// Whether it reads nothing that was sent, and something that was not.
    pub(super) fn is_unsent(&self, inputs: &[Value]) -> bool {
        !self.reads.is_empty() && self.reads.iter().all(|(_, input)| inputs[*input].is_unchanged())
    }
}
