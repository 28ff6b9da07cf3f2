//! From what is new about a table's columns to what to do about it at the destination.
//!
//! ```text
//!  drift ──┬─ nothing ───────────────────────────────────► go on
//!          ├─ the destination can follow ─► statements ──► a pause in the stream, then go on
//!          └─ nobody can know, or it may not ────────────► E_SCHEMA, position held
//! ```
//!
//! A doubt about existing rows is no doubt where there are none: then the destination's emptiness is
//! a condition that is looked at when everything before is applied.

use crate::apply::add_column::{NewColumn, type_names};
use crate::apply::fit::takes_all;
use crate::checkpoint::shape::SourceShape;
use crate::checkpoint::tables::TableRecord;
use crate::config::settings::{NewColumns, Settings, Step, Unlisted};
use crate::model::finding::Side;
use crate::pg::catalog::{ColumnInfo, shapes};
use crate::pg::client::Client;
use crate::pg::ident::{QualifiedName, identifier, literal};
use crate::pipeline::drift::follow::{Condition, Follow};
use crate::pipeline::drift::judge::{
    AddedColumn, Drift, ExistingRows, RenamedColumn, RetypedColumn, Type,
};
use crate::pipeline::error::PipelineError;
use crate::pipeline::planner::Outline;

/// What to do.
#[derive(Debug)]
pub enum Decision {
    /// The plan can be made.
    GoOn,
    Follow(Box<Follow>),
    /// It depends on whether the destination's table is empty, and changes of the table before
    /// this one are on their way: look again once they are applied.
    LookAgain,
}

/// One table's case.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub settings: &'a Settings,
    pub source: &'a Client,
    pub destination: &'a Client,
    pub record: &'a TableRecord,
    /// What was judged before.
    pub known: &'a SourceShape,
    pub outline: &'a Outline,
    pub drift: &'a Drift,
    pub sight: Sight,
}

/// Whether changes of the table came before in this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    First,
    /// Yes, and they can be applied first.
    Later,
    /// Yes, in the very transaction.
    SameTransaction,
}

/// Decides about a drift that is not nothing.
pub async fn decide(case: Case<'_>) -> Result<Decision, PipelineError> {
    let mut decider = Decider {
        case,
        follow: Follow {
            conditions: Vec::new(),
            statements: Vec::new(),
            columns: Vec::new(),
            record: TableRecord {
                known_columns: case.drift.next.names(),
                source_shape: Some(case.drift.next.clone()),
                ..case.record.clone()
            },
        },
        needs_empty: None,
    };
    if let Some(column) = case.drift.unclear.first() {
        let message = format!("column \"{}\" {}", column.name, column.reason);
        return Err(decider.resync(&message));
    }
    for column in &case.drift.renamed {
        decider.renamed(column)?;
    }
    for column in &case.drift.retyped {
        decider.retyped(column).await?;
    }
    for column in &case.drift.added {
        decider.added(column).await?;
    }
    for column in &case.drift.generated {
        decider.generated(&column.name)?;
    }
    decider.finish()
}

struct Decider<'a> {
    case: Case<'a>,
    follow: Follow,
    /// Why the destination's table must be empty.
    needs_empty: Option<String>,
}

impl Decider<'_> {
    fn finish(mut self) -> Result<Decision, PipelineError> {
        if let Some(message) = self.needs_empty.take() {
            match self.case.sight {
                Sight::Later => return Ok(Decision::LookAgain),
                Sight::SameTransaction => return Err(self.resync(&message)),
                Sight::First => {}
            }
            let table = self.case.outline.destination.name.sql();
            let own = self.and_own();
            self.follow.conditions.insert(
                0,
                Condition {
                    broken: format!("EXISTS (SELECT FROM {table} WHERE true{own})"),
                    error: self.resync_text(&message),
                },
            );
            // Which files those rows would have been in nobody knows; the next look tells.
            if let Some(shape) = &mut self.follow.record.source_shape {
                shape.files.clear();
            }
        }
        let is_changed = self.follow.record.source_shape.as_ref() != Some(self.case.known);
        if !is_changed && self.follow.statements.is_empty() && self.follow.conditions.is_empty() {
            return Ok(Decision::GoOn);
        }
        Ok(Decision::Follow(Box::new(self.follow)))
    }

    /// Of rows of several source tables, the others' do not count.
    fn and_own(&self) -> String {
        let own = self.case.outline.transform.own_rows();
        own.map(|own| format!(" AND {own}")).unwrap_or_default()
    }

    fn renamed(&mut self, column: &RenamedColumn) -> Result<(), PipelineError> {
        let RenamedColumn { before, now } = column;
        let Some(now_there) = self.output_name(now) else { return Ok(()) };
        let destination = &self.case.outline.destination;
        let (has_before, has_now) =
            (destination.column(before).is_some(), destination.column(&now_there).is_some());
        if has_now && !has_before {
            self.follow.columns.push(now.clone());
            return Ok(());
        }
        let said = format!("column \"{before}\" was renamed to \"{now}\" at the source");
        if has_now {
            return Err(self.resync(&format!("{said}, and the destination has both names")));
        }
        let remedy = format!(
            "ALTER TABLE {} RENAME COLUMN {} TO {}",
            destination.name.sql(),
            identifier(before),
            identifier(&now_there)
        );
        Err(self.error(format!("{said}; do at the destination: {remedy}")))
    }

    async fn retyped(&mut self, column: &RetypedColumn) -> Result<(), PipelineError> {
        let name = &column.name;
        let outline = self.case.outline;
        if !outline.transform.source_columns_used().contains(&name.as_str()) {
            return Ok(());
        }
        let (before, now) =
            (self.type_name(column.before).await?, self.type_name(column.now).await?);
        let said =
            format!("column \"{name}\" changed its type from {before} to {now} at the source");
        let info = outline.source.column(name).filter(|info| info.type_oid == column.now.oid);
        let there = self.passed_name(name).and_then(|name| outline.destination.column(&name));
        if let (Some(info), Some(there)) = (info, there)
            && !takes_all(info, there)
        {
            let remedy = format!(
                "ALTER TABLE {} ALTER COLUMN {} TYPE {now}",
                outline.destination.name.sql(),
                identifier(&there.name)
            );
            let there = &there.type_name;
            return Err(self.error(format!(
                "{said}, and the destination's type {there} does not hold all of it; do at the destination: {remedy}"
            )));
        }
        if column.is_rewritten {
            self.needs_empty.get_or_insert(format!(
                "{said}, which rewrote its rows: what became of them is not in the stream"
            ));
        }
        Ok(())
    }

    async fn added(&mut self, column: &AddedColumn) -> Result<(), PipelineError> {
        let name = &column.name;
        let Some(name_there) = self.output_name(name) else { return Ok(()) };
        let outline = self.case.outline;
        let Some(info) = outline.source.column(name) else {
            let message = format!("column \"{name}\" was added at the source and is gone again");
            return Err(self.resync(&message));
        };
        let existing = match &column.existing {
            ExistingRows::Null => None,
            ExistingRows::Constant(value) => Some(value.as_str()),
            ExistingRows::Unknown(reason) => {
                self.needs_empty.get_or_insert(format!(
                    "column \"{name}\" was added at the source, and the value that its existing rows got is not in the stream ({reason})"
                ));
                None
            }
        };
        let is_known = !matches!(column.existing, ExistingRows::Unknown(_));
        if let Some(there) = outline.destination.column(&name_there) {
            if is_known {
                self.must_hold(name, there, existing);
            }
            return Ok(());
        }
        let type_name = self.destination_type(info).await?;
        let table = &outline.destination.name;
        let new =
            NewColumn { table, name: &name_there, source: info, type_name: &type_name, existing };
        let statements = new.statements();
        if self.case.settings.new_columns(&outline.source.name) == NewColumns::Halt {
            if !is_known {
                return Err(self.resync(self.needs_empty.as_deref().unwrap_or_default()));
            }
            return Err(self.error(format!(
                "table {} has no column \"{name_there}\", which was added at the source; do at the destination: {}",
                table.sql(),
                statements.join("; ")
            )));
        }
        self.follow.statements.extend(statements);
        self.follow.columns.push(name.clone());
        Ok(())
    }

    /// A column that somebody has added at the destination: its rows must hold what the source's
    /// existing ones do, because no change will ever bring it.
    fn must_hold(&mut self, name: &str, there: &ColumnInfo, existing: Option<&str>) {
        let table = self.case.outline.destination.name.sql();
        let own = self.and_own();
        let column = identifier(&there.name);
        let (is_other, held) = match existing {
            None => (format!("{column} IS NOT NULL"), "NULL"),
            // As text after a cast: json has no equality, and 5 is 5.00 in a numeric(10,2).
            Some(value) => (
                format!(
                    "{column}::pg_catalog.text IS DISTINCT FROM {}::{}::pg_catalog.text",
                    literal(value),
                    there.type_name
                ),
                "its default",
            ),
        };
        let message = format!(
            "column \"{name}\" was added at the source, where existing rows hold {held}; the destination's column holds something else in some rows: set it there"
        );
        self.follow.conditions.push(Condition {
            broken: format!("EXISTS (SELECT FROM {table} WHERE {is_other}{own})"),
            error: self.resync_text(&message),
        });
        self.follow.columns.push(name.to_owned());
    }

    fn generated(&mut self, name: &str) -> Result<(), PipelineError> {
        let outline = self.case.outline;
        let settings = self.case.settings.table(&outline.source.name);
        let named = settings.and_then(|s| s.columns.iter().find(|column| column.name == name));
        let is_dropped = match named {
            Some(column) => column.steps.iter().any(|step| matches!(step, Step::Drop)),
            None => settings.is_some_and(|settings| settings.unlisted == Some(Unlisted::Drop)),
        };
        let name_there = named.and_then(|column| column.rename.as_deref()).unwrap_or(name);
        if is_dropped || outline.destination.column(name_there).is_some() {
            return Ok(());
        }
        Err(self.resync(&format!(
            "generated column \"{name}\" was added at the source, and its values are not in the stream; add it to {} as a generated column, or copy the table again",
            outline.destination.name.sql()
        )))
    }

    /// The type at the destination, by the first of its names that is one there.
    async fn destination_type(&self, info: &ColumnInfo) -> Result<String, PipelineError> {
        let names = type_names(info, &self.case.settings.destination.schemas);
        let found = shapes::first_type(self.case.destination, &names).await;
        found.map_err(PipelineError::catalog(Side::Destination))?.ok_or_else(|| {
            self.error(format!(
                "column \"{}\" was added at the source, and its type {} does not exist at the destination; create the type there",
                info.name, info.type_name
            ))
        })
    }

    async fn type_name(&self, named: Type) -> Result<String, PipelineError> {
        let name = shapes::type_name(self.case.source, named.oid, named.modifier).await;
        name.map_err(PipelineError::catalog(Side::Source))
    }

    /// What a source column is called at the destination; none where it does not go there.
    fn output_name(&self, source: &str) -> Option<String> {
        self.output(source, |_| true)
    }

    /// The same where its values go there as they are.
    fn passed_name(&self, source: &str) -> Option<String> {
        let transform = &self.case.outline.transform;
        self.output(source, |index| transform.passed_column(index).is_some())
    }

    fn output(&self, source: &str, is_meant: impl Fn(usize) -> bool) -> Option<String> {
        let transform = &self.case.outline.transform;
        let columns = transform.table().columns.iter().enumerate();
        columns
            .filter(|(index, _)| is_meant(*index))
            .find(|(index, _)| {
                transform.origin_column(*index).is_some_and(|column| column.name == source)
            })
            .map(|(_, column)| column.name.clone())
    }

    fn resync(&self, message: &str) -> PipelineError {
        self.error(self.resync_text(message))
    }

    fn resync_text(&self, message: &str) -> String {
        resync_text(&self.case.outline.source.name, message)
    }

    fn error(&self, message: String) -> PipelineError {
        PipelineError::Schema { table: self.case.record.source.clone(), message, lsn: None }
    }
}

/// The way out of everything that the stream does not tell.
pub fn resync_text(table: &QualifiedName, message: &str) -> String {
    format!("{message}; copy the table again: sync-agent resync --table {table}")
}
