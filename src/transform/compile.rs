//! Settings and a table's description go in, a plan comes out, or every reason why not.
//!
//! The steps that shape the row (`rename`, `drop`, `unlisted`, columns that only the destination
//! has) are settled here; the steps that make values are compiled to actions.
//!
//! **Invariant:** a plan keeps every key column, with values that differ where the source's do.

mod expressions;

pub(super) use expressions::is_at_source;

use std::collections::HashMap;
use std::sync::Arc;

use super::chain::{Chain, Made};
use super::constant::Constant;
use super::error::{PlanError, Refusal};
use super::expression::{Answer, Question, Unusable};
use super::plan::{Action, Output, Shape, TransformPlan};
use super::program::Program;
use super::text_form::TypeFacts;
use super::unique::{self, Arrival, UniqueKey};
use crate::config::settings::{ColumnSettings, Step, TableSettings, Unlisted};
use crate::model::table::{Column, Table};
use crate::pg::ident::QualifiedName;
use crate::pg::oid::{self, Oid};

/// Longest name PostgreSQL keeps, in bytes (`NAMEDATALEN` - 1); it cuts longer ones, and two cut
/// names may be the same.
const NAME_BYTES_MAX: usize = 63;

/// What a plan is compiled from.
#[derive(Clone, Copy)]
pub struct PlanInput<'a> {
    /// The table's `[[table]]`, if it has one.
    pub settings: Option<&'a TableSettings>,
    pub destination: &'a QualifiedName,
    /// The source's description: from a RELATION message or from the catalog.
    pub table: &'a Arc<Table>,
    /// The source's types that are not built in. One it does not know is not hashed.
    pub type_info: &'a dyn Fn(Oid) -> Option<TypeFacts>,
    /// A source column's collation where it is not its type's default, domains looked through.
    pub collation: &'a dyn Fn(&str) -> Option<QualifiedName>,
    /// The destination column's type, by the destination's column name; text for a column that
    /// will be created for a constant. `None` where it is unknown: a constant then needs text.
    pub destination_type: &'a dyn Fn(&str) -> Option<Oid>,
    /// The source columns at the first copy; `None` before it. A column that is not among them
    /// halts a table with masked columns that has no `unlisted`.
    pub known_columns: Option<&'a [String]>,
    /// What the server says of an expression; `None` where it was not asked.
    pub answer: &'a dyn Fn(&Question) -> Option<Result<Answer, Unusable>>,
    /// No stream follows the copy: `where` runs at the source, where it may see every column.
    pub filters_copy_only: bool,
    /// Some of the table's values travel as text alone. It may name objects (regclass), and does so by the
    /// search path.
    pub has_text_only: bool,
    /// What is unique at the source or at the destination; the table's key need not be among them.
    pub unique_keys: &'a [UniqueKey],
}

impl TransformPlan {
    pub fn compile(input: PlanInput<'_>) -> Result<TransformPlan, Vec<PlanError>> {
        let table = keyed(input)?;
        let input = PlanInput { table: &table, ..input };
        let mut compiler = Compiler::new(input);
        compiler.source_columns();
        compiler.destination_columns();
        compiler.filter();
        compiler.mark();
        compiler.check_names();
        compiler.check_unique_keys();
        if compiler.errors.is_empty() { Ok(compiler.finish()) } else { Err(compiler.errors) }
    }
}

/// The source's table with the key that the settings choose, if they do.
fn keyed(input: PlanInput<'_>) -> Result<Arc<Table>, Vec<PlanError>> {
    let Some(names) = input.settings.and_then(|settings| settings.key.as_ref()) else {
        return Ok(Arc::clone(input.table));
    };
    let (mut key, mut errors) = (Vec::with_capacity(names.len()), Vec::new());
    for name in names {
        match input.table.column_index(name) {
            Some(index) => key.push(index),
            None => {
                let was_known = input.known_columns.is_some_and(|known| known.contains(name));
                let refusal = if was_known { Refusal::GoneKey } else { Refusal::AbsentKey };
                let table = input.table.name.clone();
                errors.push(PlanError { table, column: name.clone(), refusal });
            }
        }
    }
    key.sort_unstable();
    match errors.is_empty() {
        true => Ok(Arc::new(Table { key, ..Table::clone(input.table) })),
        false => Err(errors),
    }
}

pub(super) struct Compiler<'a> {
    pub(super) input: PlanInput<'a>,
    pub(super) planned: Vec<Planned>,
    program: Program,
    errors: Vec<PlanError>,
}

/// One destination column in the making.
pub(super) struct Planned {
    /// The source's name, or the configuration's for a column that only the destination has.
    pub(super) source_name: String,
    pub(super) output: Output,
    pub(super) column: Column,
}

impl<'a> Compiler<'a> {
    fn new(input: PlanInput<'a>) -> Compiler<'a> {
        Compiler { input, planned: Vec::new(), program: Program::empty(), errors: Vec::new() }
    }

    fn source_columns(&mut self) {
        let table = Arc::clone(self.input.table);
        for (index, column) in table.columns.iter().enumerate() {
            let settings = self.settings_of(&column.name);
            if !self.is_kept(column, settings) {
                if table.key.contains(&index) {
                    self.refuse(&column.name, Refusal::DroppedKey);
                }
                continue;
            }
            if let Some(settings) = settings
                && self.computed(settings).is_some()
            {
                if table.key.contains(&index) {
                    self.refuse(&column.name, Refusal::ComputedKey);
                }
                continue;
            }
            let mut column = column.clone();
            let source_name = column.name.clone();
            let steps = settings.map_or(&[][..], |settings| &settings.steps);
            if let Some(rename) = settings.and_then(|settings| settings.rename.as_ref()) {
                column.name.clone_from(rename);
            }
            let (action, made) =
                match self.action(Some((&source_name, &column)), &column.name, steps) {
                    Ok(compiled) => compiled,
                    Err(refusal) => {
                        self.refuse(&source_name, refusal);
                        continue;
                    }
                };
            match &action {
                Action::Constant(_) if table.key.contains(&index) => {
                    self.refuse(&source_name, Refusal::ConstantKey);
                }
                Action::Constant(_) | Action::Mark(_) | Action::Pass | Action::Steps(..) => {}
            }
            if let Some(made) = made {
                (column.type_oid, column.type_modifier) = (made.type_oid, made.type_modifier);
            }
            let output = Output { source: Some(index), computed: None, action };
            self.planned.push(Planned { source_name, output, column });
        }
    }

    /// Columns that the settings name and the source does not have: constants of the destination,
    /// or mistakes.
    fn destination_columns(&mut self) {
        let Some(settings) = self.input.settings else { return };
        for named in &settings.columns {
            if self.input.table.column_index(&named.name).is_some() {
                continue;
            }
            if matches!(named.steps.first(), Some(Step::Sql(_))) {
                self.computed(named);
                continue;
            }
            if !matches!(named.steps.first(), Some(Step::Value(_))) {
                let was_known = self.input.known_columns.is_some_and(|k| k.contains(&named.name));
                self.refuse(&named.name, if was_known { Refusal::Gone } else { Refusal::Absent });
                continue;
            }
            let name = named.rename.as_ref().unwrap_or(&named.name).clone();
            match self.action(None, &name, &named.steps) {
                Ok((action, _)) => {
                    let known = (self.input.destination_type)(&name);
                    let column = Column {
                        name,
                        // Other OIDs are the destination's and mean nothing beside the source's.
                        type_oid: known.filter(|&oid| oid::is_built_in(oid)).unwrap_or(oid::TEXT),
                        type_modifier: -1,
                        is_identity: false,
                    };
                    let source_name = named.name.clone();
                    let output = Output { source: None, computed: None, action };
                    self.planned.push(Planned { source_name, output, column });
                }
                Err(refusal) => self.refuse(&named.name, refusal),
            }
        }
    }

    /// Whether a source column reaches the destination.
    fn is_kept(&mut self, column: &Column, settings: Option<&ColumnSettings>) -> bool {
        if let Some(settings) = settings {
            let drops = settings.steps.iter().any(|step| matches!(step, Step::Drop));
            if drops && (settings.steps.len() > 1 || settings.rename.is_some()) {
                self.refuse(&column.name, Refusal::DropAndMore);
            }
            return !drops;
        }
        let Some(table) = self.input.settings else { return true };
        let known = self.input.known_columns;
        let appeared = known.is_some_and(|known| !known.contains(&column.name));
        match table.unlisted {
            Some(Unlisted::Pass) => {}
            Some(Unlisted::Drop) => return false,
            Some(Unlisted::Fail) if appeared => {
                self.refuse(&column.name, Refusal::AppearedUnlisted);
            }
            Some(Unlisted::Fail) => self.refuse(&column.name, Refusal::Unlisted),
            None if appeared && table.is_masked() => {
                self.refuse(&column.name, Refusal::Appeared);
            }
            None => {}
        }
        true
    }

    /// The steps of one column, folded, and the type that they make where they read the value.
    /// `source` is the source's name and description; `None` for a column without one, whose first step is
    /// a value.
    fn action(
        &self,
        source: Option<(&str, &Column)>,
        destination_name: &str,
        steps: &[Step],
    ) -> Result<(Action, Option<Made>), Refusal> {
        let constant = |text: bytes::Bytes| {
            Constant::text(text, (self.input.destination_type)(destination_name))
        };
        let is_unique = source.is_some_and(|(name, _)| self.is_unique(name));
        let mut action = Action::Pass;
        let mut chain: Option<Chain> = None;
        for step in steps {
            match (step, &action) {
                (Step::Drop, _) => return Err(Refusal::DropAndMore),
                (Step::Sql(_), _) => return Err(Refusal::SecondExpression),
                (Step::Null, _) => action = Action::Constant(Constant::Null),
                (Step::Value(text), _) if text.contains('\0') => return Err(Refusal::ZeroByte),
                (Step::Value(text), _) => action = Action::Constant(constant(text.clone().into())),
                (step, Action::Constant(given)) => {
                    let mut over_text = Chain::over_text();
                    over_text.push(step, is_unique)?;
                    if let Constant::Text { text, .. } = given {
                        action = Action::Constant(constant(over_text.of_constant(text)?));
                    }
                }
                (step, Action::Pass | Action::Mark(_) | Action::Steps(..)) => {
                    let mut longer = match chain.take() {
                        Some(chain) => chain,
                        None => {
                            let (type_oid, modifier) = source
                                .map_or((oid::TEXT, -1), |(_, column)| {
                                    (column.type_oid, column.type_modifier)
                                });
                            Chain::over(type_oid, modifier, self.input.type_info)?
                        }
                    };
                    longer.push(step, is_unique)?;
                    chain = Some(longer);
                }
            }
        }
        match (action, chain) {
            (Action::Pass, Some(chain)) => {
                let (form, steps, made) = chain.finish();
                Ok((Action::Steps(form, steps, made.type_oid), Some(made)))
            }
            (action, _) => Ok((action, None)),
        }
    }

    /// Whether equal values may not be in two rows.
    fn is_unique(&self, source_name: &str) -> bool {
        let mut keys = self.input.unique_keys.iter();
        self.input.table.key_columns().any(|column| column.name == source_name)
            || keys.any(|key| key.columns.iter().any(|name| name == source_name))
    }

    fn check_unique_keys(&mut self) {
        let mut keys = self.input.unique_keys.to_vec();
        if self.input.table.has_key() {
            keys.push(UniqueKey {
                columns: self.input.table.key_columns().map(|column| column.name.clone()).collect(),
                nulls_are_equal: false,
                is_kept: true,
                is_sure: false,
            });
        }
        let arrivals: Vec<Arrival<'_>> = self
            .planned
            .iter()
            .map(|Planned { source_name, output, .. }| Arrival { source_name, output })
            .collect();
        let step_of = |name: &str| {
            unique::colliding_step(self.settings_of(name).map_or(&[], |settings| &settings.steps))
        };
        let mut found = unique::collisions(&keys, &arrivals, step_of);
        // Those have their refusal.
        found.retain(|(column, _)| !self.errors.iter().any(|error| error.column == *column));
        found.iter().for_each(|(column, refusal)| self.refuse(column, refusal.clone()));
    }

    fn check_names(&mut self) {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let mut refused = Vec::new();
        for planned in &self.planned {
            let name = planned.column.name.as_str();
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
                refused.push((&planned.source_name, Refusal::BadName(name.to_owned())));
            }
            if seen.insert(name, &planned.source_name).is_some() {
                refused.push((&planned.source_name, Refusal::SameName(name.to_owned())));
            }
        }
        let table = &self.input.table.name;
        self.errors.extend(refused.into_iter().map(|(column, refusal)| PlanError {
            table: table.clone(),
            column: column.clone(),
            refusal,
        }));
    }

    fn finish(self) -> TransformPlan {
        let source = Arc::clone(self.input.table);
        let position = |key: &usize| {
            let found = self.planned.iter().position(|planned| planned.output.source == Some(*key));
            found.expect("a plan keeps every key column")
        };
        let mut key: Vec<usize> = source.key.iter().map(position).collect();
        let apart = self.input.settings.and_then(|settings| settings.apart.clone());
        if let Some(apart) = apart.as_ref().filter(|_| !key.is_empty()) {
            let is_it = |planned: &Planned| planned.column.name == apart.column;
            key.splice(0..0, self.planned.iter().position(is_it));
        }
        let (outputs, columns): (Vec<_>, Vec<_>) =
            self.planned.into_iter().map(|planned| (planned.output, planned.column)).unzip();
        let table = Arc::new(Table {
            id: source.id,
            name: self.input.destination.clone(),
            identity: source.identity,
            columns,
            key,
        });
        let is_made = |key: &usize| {
            let passes = |output: &Output| matches!(output.action, Action::Pass);
            !outputs.iter().any(|output| output.source == Some(*key) && passes(output))
        };
        let hidden_key: Vec<usize> = source.key.iter().copied().filter(is_made).collect();
        let shape = shape(&source, &outputs);
        let mut program = self.program;
        // Where the copy has it in its SELECT nothing else is asked about it.
        if self.input.filters_copy_only && !self.input.has_text_only {
            program.filter = None;
        }
        let program = (!program.is_empty()).then(|| Arc::new(program));
        let filter = self.input.settings.and_then(|settings| settings.filter.clone());
        let copies_apart = self.input.has_text_only;
        TransformPlan {
            source,
            table,
            outputs,
            shape,
            hidden_key,
            filter,
            program,
            apart,
            copies_apart,
        }
    }

    fn settings_of(&self, column: &str) -> Option<&'a ColumnSettings> {
        self.input.settings?.columns.iter().find(|settings| settings.name == column)
    }

    pub(super) fn refuse(&mut self, column: &str, refusal: Refusal) {
        let table = self.input.table.name.clone();
        self.errors.push(PlanError { table, column: column.to_owned(), refusal });
    }
}

fn shape(source: &Table, outputs: &[Output]) -> Shape {
    let stays = |(index, output): (usize, &Output)| output.source == Some(index);
    if outputs.len() != source.columns.len() || !outputs.iter().enumerate().all(stays) {
        Shape::Rebuilt
    } else if outputs.iter().all(|output| matches!(output.action, Action::Pass)) {
        Shape::Same
    } else {
        Shape::InPlace
    }
}

#[cfg(test)]
mod tests;
