//! What the server computes for a table's rows: its expressions, the values that they read, and the
//! statement that computes them for many rows at once.
//!
//! ```sql
//! SELECT (SELECT CASE WHEN f.passes AND v.s0 THEN (price * 1.10) END
//!           FROM (SELECT v.i0 AS "price") AS r), …, f.passes
//!   FROM (VALUES (1, $1, $2, $3), (2, $4, $5, $6), …) AS v (n, i0, i1, s0)
//!  CROSS JOIN LATERAL (SELECT (…) IS TRUE) AS f (passes) ORDER BY v.n
//! ```
//!
//! As in the copy, nothing else is computed of a row that the filter does not let pass.
//! `s0` says whether all of what the expression reads was sent: where it may not have been, the server is
//! told not to look, since a NULL in its place is a value that no row has.
//!
//! Each expression sees a row of its own, so that one may read a column as the source has it and another
//! as its steps leave it. Values go there and come back in the stream's format, binary or text.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

use super::expression::{ROW, visible};
use super::plan::Action;
use crate::model::row::Value;
use crate::pg::catalog::ColumnInfo;
use crate::pg::ident::{QualifiedName, identifier};
use crate::pg::oid::{self, Oid};

/// Parameters of one statement: a protocol limit.
const PARAMETERS_MAX: usize = 65_535;

/// Rows of one statement. More save no time that could be measured, and a plan takes longer to make.
const ROWS_MAX: usize = 256;

/// What stands for a value that no parameter can be.
static NULL: Value = Value::Null;

static TRUE: Value = Value::Text(Bytes::from_static(b"t"));

static FALSE: Value = Value::Text(Bytes::from_static(b"f"));

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
    /// The column's, where it is not the type's default.
    pub(super) collation: Option<QualifiedName>,
}

#[derive(Clone, Debug)]
pub(super) struct Expression {
    /// The settings' name of the column; none for the filter.
    pub(super) column: Option<String>,
    pub(super) sql: String,
    /// The names that it says, and which inputs they are.
    pub(super) reads: Vec<(String, usize)>,
    /// Something that it reads may not have been sent.
    pub(super) may_lack: bool,
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

    /// Whether all that the expression reads was sent.
    pub(super) fn has(&self, expression: &Expression) -> bool {
        expression.reads.iter().all(|(_, input)| !self.0[*input].is_unchanged())
    }

    pub fn memory_bytes(&self) -> usize {
        let payload: usize = self.0.iter().filter_map(Value::bytes).map(Bytes::len).sum();
        payload + self.0.len() * size_of::<Value>()
    }
}

impl Program {
    /// Types of one row's parameters, in order.
    pub fn parameter_types(&self) -> impl Iterator<Item = Oid> {
        let inputs = self.inputs.iter().map(|input| input.type_oid);
        inputs.chain(self.lacking().map(|_| oid::BOOL))
    }

    /// One row's parameters, in order.
    pub fn parameters<'a>(&'a self, row: &'a Inputs) -> impl Iterator<Item = &'a Value> {
        let inputs = row.0.iter().map(|value| if value.is_unchanged() { &NULL } else { value });
        inputs.chain(self.lacking().map(|lacking| if row.has(lacking) { &TRUE } else { &FALSE }))
    }

    /// The columns' expressions that may lack what they read. The filter's never does when it is asked.
    fn lacking(&self) -> impl Iterator<Item = &Expression> {
        self.columns.iter().filter(|expression| expression.may_lack)
    }

    /// How many rows one statement takes at most.
    pub fn rows_max(&self) -> usize {
        (PARAMETERS_MAX / self.parameter_types().count().max(1)).clamp(1, ROWS_MAX)
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
            let guards = self.guards(index);
            match is_binary {
                true => write!(sql, "({})", self.over_its_row(expression, &guards)),
                false => write!(
                    sql,
                    "(SELECT CASE WHEN x IS DISTINCT FROM NULL THEN pg_catalog.concat(x) END \
                     FROM ({} OFFSET 0) AS q (x))",
                    self.over_its_row(expression, &guards)
                ),
            }
            .expect("writing to a String cannot fail");
        }
        if self.filter.is_some() {
            sql.push_str(if self.columns.is_empty() { "" } else { ", " });
            sql.push_str("f.passes");
        }
        // OFFSET keeps the planner from putting values in the place of names: what stands behind a condition
        // would be computed before it.
        sql.push_str(" FROM (SELECT * FROM (VALUES ");
        let mut parameter = 1;
        for row in 0..row_count {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            write!(sql, "{row}").expect("as above");
            for _ in self.parameter_types() {
                write!(sql, ", ${parameter}").expect("as above");
                parameter += 1;
            }
            sql.push(')');
        }
        sql.push_str(") AS v (n");
        for index in 0..self.inputs.len() {
            write!(sql, ", i{index}").expect("as above");
        }
        let columns = self.columns.iter().enumerate();
        for (index, _) in columns.filter(|(_, expression)| expression.may_lack) {
            write!(sql, ", s{index}").expect("as above");
        }
        sql.push_str(") OFFSET 0) AS v");
        if let Some(filter) = &self.filter {
            let passes = self.over_its_row(filter, &[]);
            write!(sql, " CROSS JOIN LATERAL (SELECT ({passes}) IS TRUE OFFSET 0) AS f (passes)")
                .expect("as above");
        }
        sql.push_str(" ORDER BY v.n");
        sql
    }

    /// What has to be so before a column's expression is looked at.
    fn guards(&self, index: usize) -> Vec<String> {
        let passes = self.filter.iter().map(|_| "f.passes".to_owned());
        let is_sent = self.columns[index].may_lack.then(|| format!("v.s{index}"));
        passes.chain(is_sent).collect()
    }

    fn over_its_row(&self, expression: &Expression, guards: &[String]) -> String {
        let read = |(name, input): &(String, usize)| {
            visible(&format!("v.i{input}"), self.inputs[*input].collation.as_ref(), name)
        };
        let reads: Vec<String> = expression.reads.iter().map(read).collect();
        let looked_at = match guards.is_empty() {
            false => format!("CASE WHEN {} THEN {} END", guards.join(" AND "), expression.typed()),
            true => expression.typed(),
        };
        format!("SELECT {looked_at} FROM (SELECT {}) AS {}", reads.join(", "), identifier(ROW))
    }
}

impl Expression {
    /// With the type that it had when it was looked at: what it calls may have been made anew, and its bytes
    /// would be taken for those of another type. On lines of its own: it may end in a comment.
    pub(super) fn typed(&self) -> String {
        format!("(\n{}\n)::{}", self.sql, self.result.type_qualified.sql())
    }

    pub(super) fn name(&self) -> String {
        match &self.column {
            Some(column) => format!("sql of column \"{column}\""),
            None => "where".to_owned(),
        }
    }
}
