//! `on_delete = "mark:<column>"` in a plan: one more column, which every row that is there has cleared, and
//! which a delete sets.

use super::compile::{Compiler, Planned};
use super::error::Refusal;
use super::plan::{Action, Output, TransformPlan};
use crate::model::change::OldRow;
use crate::model::mark::MarkKind;
use crate::model::row::{Row, Value};
use crate::model::table::Column;
use crate::pg::time::PgTimestamp;

/// A plan's column that says of a row that the source has deleted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its place among the plan's columns.
    pub index: usize,
    pub kind: MarkKind,
}

impl Compiler<'_> {
    /// The marked column, behind all others. Where the destination has it with a type that cannot say it,
    /// that is for whoever looks at the destination to find.
    pub(super) fn mark(&mut self) {
        let Some(name) = self.input.settings.and_then(|settings| settings.on_delete.mark()) else {
            return;
        };
        let mut outputs = self.planned.iter().map(|planned| planned.column.name.as_str());
        if self.input.table.column_index(name).is_some() || outputs.any(|output| output == name) {
            let known = self.input.known_columns;
            let appeared = known.is_some_and(|known| known.iter().all(|known| known != name));
            self.refuse(name, if appeared { Refusal::AppearedMark } else { Refusal::TakenMark });
            return;
        }
        let known = (self.input.destination_type)(name);
        let kind = known.and_then(MarkKind::of_type).unwrap_or(MarkKind::Timestamp);
        let column = Column {
            name: name.to_owned(),
            type_oid: kind.type_oid(),
            type_modifier: -1,
            is_identity: false,
        };
        let output = Output { source: None, computed: None, action: Action::Mark(kind) };
        self.planned.push(Planned { source_name: name.to_owned(), output, column });
    }
}

impl TransformPlan {
    /// The column that says of a row that the source has deleted it, where the table has one.
    pub fn mark(&self) -> Option<Mark> {
        self.outputs.iter().enumerate().find_map(|(index, output)| match output.action {
            Action::Mark(kind) => Some(Mark { index, kind }),
            _ => None,
        })
    }

    /// Its name at the destination.
    pub fn mark_name(&self) -> Option<&str> {
        self.mark().map(|mark| self.table.columns[mark.index].name.as_str())
    }

    /// What is written of a row that the source deleted at that moment: the key finds it, the mark is set.
    pub fn marked(&self, mark: Mark, old: &OldRow, at: PgTimestamp) -> Row {
        let is_binary = old.row().values().iter().any(|value| matches!(value, Value::Binary(_)));
        let mut values = vec![Value::Unchanged; self.outputs.len()];
        for &key in &self.table.key {
            values[key].clone_from(&old.row().values()[key]);
        }
        values[mark.index] = mark.kind.set(is_binary, at);
        Row::new(values)
    }
}
