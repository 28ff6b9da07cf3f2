//! The expressions of a table: what is to be asked of the server about them, and the program that they
//! become.

use super::{Compiler, PlanInput, Planned};
use crate::config::settings::{ColumnSettings, Step};
use crate::model::table::Column;
use crate::pg::ident::QualifiedName;
use crate::pg::oid::{self, Oid};
use crate::transform::error::Refusal;
use crate::transform::expression::{Answer, Purpose, Question, VisibleColumn};
use crate::transform::plan::{Action, Output, TransformPlan};
use crate::transform::program::{Expression, Input, Program};
use crate::transform::text_form::base_type;

/// A column's steps around its expression.
pub(super) struct Around<'a> {
    pub(super) before: &'a [Step],
    pub(super) sql: &'a str,
    pub(super) after: &'a [Step],
}

pub(super) fn around(steps: &[Step]) -> Option<Around<'_>> {
    let at = steps.iter().position(|step| matches!(step, Step::Sql(_)))?;
    let Step::Sql(sql) = &steps[at] else { return None };
    Some(Around { before: &steps[..at], sql, after: &steps[at + 1..] })
}

impl TransformPlan {
    /// Everything that has to be asked of the server before the table's plan can be compiled.
    pub fn questions(input: PlanInput<'_>) -> Vec<Question> {
        let Some(settings) = input.settings else { return Vec::new() };
        let compiler = Compiler::new(input);
        let columns = settings.columns.iter().filter_map(|column| {
            let around = around(&column.steps)?;
            Some(compiler.question(
                Purpose::Column,
                around.sql,
                Some((&column.name, around.before)),
            ))
        });
        let filter = settings.filter.iter();
        let filter = filter.map(|sql| compiler.question(Purpose::Filter, sql, None));
        columns.chain(filter).collect()
    }
}

/// A source column as an expression sees it.
struct Seen {
    action: Action,
    type_oid: Oid,
    /// A step masks it only after it is computed: what it holds before is nobody else's to see.
    is_hidden: bool,
}

impl<'a> Compiler<'a> {
    fn question(&self, purpose: Purpose, sql: &str, own: Option<(&str, &[Step])>) -> Question {
        let columns = self.input.table.columns.iter().map(|column| {
            // Steps that do not fit are refused where they stand.
            let seen = self.seen(column, purpose, own);
            let type_oid = seen.map_or_else(|_| self.base(column.type_oid), |seen| seen.type_oid);
            let collation = self.collation(column, type_oid);
            VisibleColumn { name: column.name.clone(), type_oid, collation }
        });
        Question { purpose, sql: sql.to_owned(), columns: columns.collect() }
    }

    /// A domain is seen as what it is made of: its checks are about the source's rows, and a parameter of
    /// one that is NOT NULL could not stand for a value that was not sent.
    fn base(&self, type_oid: Oid) -> Oid {
        base_type(type_oid, -1, self.input.type_info).0
    }

    /// What steps leave of the column's own type is compared as the column is.
    fn collation(&self, column: &Column, type_oid: Oid) -> Option<QualifiedName> {
        let is_own = type_oid == self.base(column.type_oid);
        is_own.then(|| (self.input.collation)(&column.name)).flatten()
    }

    fn seen(
        &self,
        column: &Column,
        purpose: Purpose,
        own: Option<(&str, &[Step])>,
    ) -> Result<Seen, Refusal> {
        let type_oid = self.base(column.type_oid);
        let raw = Seen { action: Action::Pass, type_oid, is_hidden: false };
        // A filter sees the row as the source has it, whatever becomes of it.
        if purpose == Purpose::Filter {
            return Ok(raw);
        }
        let through = |steps: &[Step], is_hidden| {
            let (action, made) = self.action(Some((&column.name, column)), &column.name, steps)?;
            let type_oid = self.base(made.map_or(column.type_oid, |made| made.type_oid));
            Ok(Seen { type_oid, action, is_hidden })
        };
        if let Some((_, before)) = own.filter(|(name, _)| *name == column.name) {
            return through(before, false);
        }
        let Some(settings) = self.settings_of(&column.name) else { return Ok(raw) };
        if !settings.steps.iter().any(hides) {
            return Ok(raw);
        }
        match around(&settings.steps) {
            None => through(&settings.steps, false),
            Some(around) => through(around.before, !around.before.iter().any(hides)),
        }
    }

    /// The column that an expression makes, if the settings have one for it.
    pub(super) fn computed(&mut self, settings: &ColumnSettings) -> Option<()> {
        let around = around(&settings.steps)?;
        let own = (settings.name.as_str(), around.before);
        let expression = self.expression(Purpose::Column, around.sql, own);
        let name = settings.rename.as_ref().unwrap_or(&settings.name).clone();
        let made = expression.and_then(|expression| {
            let result = Column {
                name,
                type_oid: expression.result.type_oid,
                type_modifier: expression.result.type_modifier,
                is_identity: false,
            };
            let (action, made) =
                self.action(Some((&settings.name, &result)), &result.name, around.after)?;
            let (type_oid, type_modifier) = made
                .map_or((result.type_oid, result.type_modifier), |made| {
                    (made.type_oid, made.type_modifier)
                });
            Ok((expression, Column { type_oid, type_modifier, ..result }, action))
        });
        let (expression, column, action) = match made {
            Ok(made) => made,
            Err(refusal) => {
                self.refuse(&settings.name, refusal);
                return Some(());
            }
        };
        self.program.columns.push(expression);
        let computed = Some(self.program.columns.len() - 1);
        let output = Output { source: None, computed, action };
        self.planned.push(Planned { source_name: settings.name.clone(), output, column });
        Some(())
    }

    pub(super) fn filter(&mut self) {
        let Some(settings) = self.input.settings else { return };
        let Some(sql) = &settings.filter else { return };
        match self.expression(Purpose::Filter, sql, ("", &[])) {
            Ok(filter) => self.program.filter = Some(Expression { column: None, ..filter }),
            Err(refusal) => self.refuse("", Refusal::Filter(Box::new(refusal))),
        }
    }

    fn expression(
        &mut self,
        purpose: Purpose,
        sql: &str,
        own: (&str, &[Step]),
    ) -> Result<Expression, Refusal> {
        let question = self.question(purpose, sql, Some(own));
        let answer = (self.input.answer)(&question).ok_or(Refusal::Unasked)?;
        // It was fine when the table was copied.
        let is_later = self.input.known_columns.is_some();
        let unusable = |unusable| match is_later {
            true => Refusal::Broken(unusable),
            false => Refusal::Expression(unusable),
        };
        let Answer { inputs, result } = answer.map_err(unusable)?;
        let mut reads = Vec::with_capacity(inputs.len());
        for name in inputs {
            let Some(source) = self.input.table.column_index(&name) else { continue };
            let seen = self.seen(&self.input.table.columns[source].clone(), purpose, Some(own))?;
            let masks = |s: &ColumnSettings| s.steps.iter().any(hides);
            let is_masked = self.settings_of(&name).is_some_and(masks);
            let is_closed =
                purpose == Purpose::Filter && is_masked && !self.input.filters_copy_only;
            if seen.is_hidden || is_closed {
                return Err(Refusal::ReadsMasked(name));
            }
            let collation = self.collation(&self.input.table.columns[source], seen.type_oid);
            let (action, type_oid) = (seen.action, seen.type_oid);
            let place = self.program.input(Input { source, action, type_oid, collation });
            reads.push((name, place));
        }
        let types = reads.iter().map(|(_, place)| self.program.inputs[*place].source);
        let mut types = types.map(|source| self.input.table.columns[source].type_oid);
        // What has no fixed length may be kept apart from its row, and is not sent where it did not change.
        let may_lack = types.any(|type_oid| !oid::has_fixed_length(type_oid));
        let column = Some(own.0.to_owned());
        Ok(Expression { column, sql: sql.to_owned(), reads, may_lack, result })
    }
}

impl Program {
    pub(super) fn empty() -> Program {
        Program { inputs: Vec::new(), columns: Vec::new(), filter: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.filter.is_none()
    }

    /// The place of an input. Only columns as the source has them are shared between expressions.
    fn input(&mut self, input: Input) -> usize {
        let is_raw = |input: &Input| matches!(input.action, Action::Pass);
        let known = self
            .inputs
            .iter()
            .position(|known| known.source == input.source && is_raw(known) && is_raw(&input));
        known.unwrap_or_else(|| {
            self.inputs.push(input);
            self.inputs.len() - 1
        })
    }
}

/// Steps whose point is that nobody sees what was there. A dropped column is seen by expressions alone.
fn hides(step: &Step) -> bool {
    match step {
        Step::Null | Step::Hash(_) | Step::Mask(_) | Step::Replace(_) => true,
        Step::JsonDrop(_) | Step::Fake(_) => true,
        Step::Value(_) | Step::Lower | Step::Trim | Step::Drop | Step::Sql(_) => false,
    }
}

/// Whether an expression can be computed where the table is read: it sees nothing but the source's own.
pub(in crate::transform) fn is_at_source(program: &Program, expression: &Expression) -> bool {
    let is_raw =
        |(_, input): &(String, usize)| matches!(program.inputs[*input].action, Action::Pass);
    expression.reads.iter().all(is_raw)
}
