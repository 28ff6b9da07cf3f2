//! The destination's table as the statements see it: which of a row's values go into which column.

use crate::apply::mapping::Mapping;
use crate::batch::FoldPolicy;
use crate::model::mark::MarkKind;
use crate::model::table::Table;
use crate::pg::ident::QualifiedName;

/// One column that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    pub name: String,
    /// The type's name without modifier, for casts.
    pub type_name: String,
    /// Position of its value in a row.
    pub value_index: usize,
    /// `GENERATED ALWAYS AS IDENTITY`: inserted with OVERRIDING SYSTEM VALUE, never updated.
    pub is_identity_always: bool,
    /// The operator that two of its values are compared with.
    pub equality: String,
}

/// The column that says of a row that the source has deleted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetMark {
    /// Its position in the target's columns.
    pub column: usize,
    pub kind: MarkKind,
    /// An update says that its row is there: a filter on our side makes one of a row that comes back.
    pub is_cleared_by_updates: bool,
}

/// One destination table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: QualifiedName,
    pub columns: Vec<TargetColumn>,
    /// The destination's own columns, which no value is sent for: a row that is written as a delete
    /// and an insert keeps them.
    pub own_columns: Vec<String>,
    /// Positions in `columns` that identify a row; empty where nothing does.
    pub key: Vec<usize>,
    /// A valid, immediate, non-partial unique index stands on exactly the key: ON CONFLICT may name it.
    pub has_arbiter: bool,
    pub is_partitioned: bool,
    /// A trigger may keep a row from being written.
    pub may_suppress: bool,
    pub policy: FoldPolicy,
    /// Position in `columns` of the one that says of a row that the source has deleted it.
    pub mark: Option<TargetMark>,
    /// Its rows, where other source tables have theirs in the table, too: an SQL condition.
    pub own_rows: Option<String>,
    /// Rows stay that the source has deleted: a key that is there is nothing to wonder about.
    pub keeps_deleted: bool,
    /// The table is loaded in part: the head of the statement that writes down the key of a row which
    /// an update could not make.
    pub remember: Option<String>,
}

/// What decides how freely a table's changes may be rearranged, besides its indexes.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// Foreign keys are checked while we write.
    pub keeps_order: bool,
    /// The destination's rows hold values that no change carries.
    pub has_further_columns: bool,
    pub own_rows: Option<String>,
    /// Rows stay that the source has deleted.
    pub keeps_deleted: bool,
    /// The column that says so of a row, by the position of its value.
    pub mark: Option<TargetMark>,
}

impl Target {
    /// The target of a mapped table.
    pub fn new(mapping: &Mapping, table: &Table, circumstances: Circumstances) -> Target {
        let written = mapping.columns.iter().filter(|column| column.is_written());
        let columns: Vec<TargetColumn> = written
            .map(|column| TargetColumn {
                name: column.destination.name.clone(),
                type_name: column.destination.base_type_name.clone(),
                value_index: column.value_index,
                is_identity_always: column.is_identity_always(),
                equality: column.destination.equals().to_owned(),
            })
            .collect();
        let position = |index: &usize| columns.iter().position(|c| c.value_index == *index);
        let key: Vec<usize> = table.key.iter().filter_map(position).collect();
        let mark = circumstances
            .mark
            .and_then(|mark| Some(TargetMark { column: position(&mark.column)?, ..mark }));
        let has_unsettable = unsettable(&columns, &key);
        let policy = if circumstances.keeps_order {
            FoldPolicy::InOrder
        } else if mapping.has_extra_unique || mapping.has_deferrable || has_unsettable {
            FoldPolicy::TableOrder
        } else if circumstances.has_further_columns || mapping.needs_overriding() {
            FoldPolicy::FoldKeepRows
        } else {
            FoldPolicy::Fold
        };
        Target {
            name: mapping.destination.clone(),
            columns,
            own_columns: mapping.own_columns.clone(),
            key,
            has_arbiter: mapping.arbiter.is_ok(),
            is_partitioned: mapping.is_partitioned,
            may_suppress: mapping.has_before_triggers,
            policy,
            mark,
            own_rows: circumstances.own_rows,
            keeps_deleted: circumstances.keeps_deleted,
            remember: None,
        }
    }

    /// The same table while it is loaded in part: row by row, and a row may not be there yet.
    pub fn into_partial(self, remember: String) -> Target {
        Target { policy: FoldPolicy::TableOrder, remember: Some(remember), ..self }
    }

    /// The table where a statement looks for rows. Tables that inherit from it hold rows of their own,
    /// with keys of their own, and are replicated for themselves; partitions hold this one's.
    pub fn rows_sql(&self) -> String {
        let only = if self.is_partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.name.sql())
    }

    pub fn is_partial(&self) -> bool {
        self.remember.is_some()
    }

    /// Whether a column is the mark of deleted rows.
    pub fn is_mark(&self, column: usize) -> bool {
        self.mark.is_some_and(|mark| mark.column == column)
    }

    /// Whether a column is the mark of deleted rows, and an update leaves it as it is.
    pub fn keeps_mark(&self, column: usize) -> bool {
        self.is_mark(column) && !self.mark.is_some_and(|mark| mark.is_cleared_by_updates)
    }

    pub fn has_identity_always(&self) -> bool {
        self.columns.iter().any(|column| column.is_identity_always)
    }

    /// A column besides the key can change at the source and not be set here: updates are written
    /// as a delete and an insert.
    pub fn has_unsettable(&self) -> bool {
        unsettable(&self.columns, &self.key)
    }

    pub fn key_columns(&self) -> impl Iterator<Item = &TargetColumn> {
        self.key.iter().map(|&index| &self.columns[index])
    }
}

fn unsettable(columns: &[TargetColumn], key: &[usize]) -> bool {
    (0..columns.len()).any(|index| columns[index].is_identity_always && !key.contains(&index))
}
