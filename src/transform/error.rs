//! Why a table's settings give no plan, and why a row did not go through one.

use super::expression::Unusable;
use crate::pg::ident::QualifiedName;

/// One reason why a table's settings do not fit the table. They are reported all at once.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{} of table {}: {refusal}", subject(column), table.sql())]
pub struct PlanError {
    /// The source's name.
    pub table: QualifiedName,
    /// Empty for the table's `where`.
    pub column: String,
    pub refusal: Refusal,
}

fn subject(column: &str) -> String {
    match column {
        "" => "where".to_owned(),
        column => format!("column \"{column}\""),
    }
}

/// What is wrong with one column, or with the filter.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("is named in the configuration but does not exist at the source")]
    Absent,
    #[error("is named in the configuration but is gone from the source")]
    Gone,
    #[error("is in the key of the configuration but does not exist at the source")]
    AbsentKey,
    #[error("is in the key of the configuration but is gone from the source")]
    GoneKey,
    #[error("appeared at the source, and the table has masked columns but no rule for new ones")]
    Appeared,
    #[error("appeared at the source, and unlisted is \"fail\"")]
    AppearedUnlisted,
    #[error("is the mark of deleted rows (on_delete), which only the destination may have")]
    TakenMark,
    #[error(
        "appeared at the source, and is the mark of deleted rows (on_delete), which only the destination may have"
    )]
    AppearedMark,
    #[error("is not named in [table.columns], and unlisted is \"fail\"")]
    Unlisted,
    #[error("has the destination name \"{0}\", as another column of the table does")]
    SameName(String),
    #[error(
        "has the destination name \"{0}\", which is empty, holds a zero byte or is longer than 63 bytes"
    )]
    BadName(String),
    #[error("identifies the table's rows and cannot be dropped")]
    DroppedKey,
    #[error("identifies the table's rows, which would all have the same key")]
    ConstantKey,
    #[error("is in a unique key ({key}), and its step {step} may make two values the same")]
    Collides { step: &'static str, key: String },
    #[error("is dropped, which leaves nothing for its other steps")]
    DropAndMore,
    #[error("has a step with an empty key")]
    EmptyHashKey,
    #[error("has a value with a zero byte, which no type can hold")]
    ZeroByte,
    #[error("has no text that a step could read: {0}")]
    NoTextForm(&'static str),
    #[error("{0}")]
    Expression(Unusable),
    #[error("its expression fits the source's table no more: {0}")]
    Broken(Unusable),
    #[error("{0}")]
    Filter(Box<Refusal>),
    #[error("has two expressions")]
    SecondExpression,
    #[error("identifies the table's rows and cannot be an expression's value")]
    ComputedKey,
    #[error("reads column \"{0}\", which is masked: its own value must not leave the source")]
    ReadsMasked(String),
    #[error("its expression was not put to the server (a defect of the agent's)")]
    Unasked,
    #[error("has type {found}, and its step {step} takes {takes}")]
    TakesNot { step: &'static str, takes: &'static str, found: &'static str },
    #[error("has room for {room} characters, and fake \"{kind}\" makes up to {needed}")]
    TooNarrow { kind: &'static str, needed: usize, room: usize },
}

impl PlanError {
    /// Whether the source's table changed (`E_SCHEMA`), rather than the configuration being wrong
    /// for it (`E_CONFIG`).
    pub fn is_schema_change(&self) -> bool {
        match &self.refusal {
            Refusal::Gone
            | Refusal::GoneKey
            | Refusal::Appeared
            | Refusal::AppearedUnlisted
            | Refusal::AppearedMark
            | Refusal::Broken(_) => true,
            Refusal::Filter(refusal) => matches!(**refusal, Refusal::Broken(_)),
            _ => false,
        }
    }

    /// Whether it is about `key`, rather than about the column's steps.
    pub fn is_of_the_key(&self) -> bool {
        matches!(self.refusal, Refusal::AbsentKey | Refusal::GoneKey)
    }

    /// Whether it is about `where`.
    pub fn is_of_the_filter(&self) -> bool {
        matches!(self.refusal, Refusal::Filter(_))
    }

    /// Whether it is about `on_delete`.
    pub fn is_of_the_mark(&self) -> bool {
        matches!(self.refusal, Refusal::TakenMark | Refusal::AppearedMark)
    }

    /// What an operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self.refusal {
            Refusal::Absent => {
                "Correct the name; a column that only the destination has needs a value or sql step."
            }
            Refusal::Gone => "Take the column out of [table.columns], then resync the table.",
            Refusal::AbsentKey => "Name a column of the source's table.",
            Refusal::GoneKey => "Choose another key, then resync the table.",
            Refusal::Appeared | Refusal::AppearedUnlisted => {
                "Name the column in [table.columns], or set unlisted to \"pass\" or \"drop\"."
            }
            Refusal::TakenMark | Refusal::AppearedMark => "Choose another column for the mark.",
            Refusal::Unlisted => "Name the column in [table.columns], or set unlisted.",
            Refusal::SameName(_) | Refusal::BadName(_) => "Rename one of the columns.",
            Refusal::DroppedKey | Refusal::ConstantKey => {
                "Hash or rename the column instead, or choose another replica identity."
            }
            Refusal::Collides { .. } => {
                "Hash the column or fake it instead, which keeps values apart; or drop the unique index."
            }
            Refusal::DropAndMore => "Remove the drop step or the others.",
            Refusal::EmptyHashKey => "Give the step a secret key.",
            Refusal::ZeroByte => "Remove the zero byte from the value.",
            Refusal::NoTextForm(_) => "Drop the column, set it to NULL or give it a value.",
            Refusal::Expression(_) => {
                "An expression reads the source's columns by their bare names, and calls immutable or \
                 stable functions."
            }
            Refusal::Filter(ref refusal) => match **refusal {
                Refusal::ReadsMasked(_) => "Filter by another column, or take the mask away.",
                _ => {
                    "A filter is a boolean expression over the source's columns, by their bare names."
                }
            },
            Refusal::Broken(_) => {
                "Write the expression for the table as it is now, then resync the table; or give it back \
                 what the expression reads."
            }
            Refusal::SecondExpression => "Write one expression that does both.",
            Refusal::ComputedKey => "Rename, hash or fake the column instead.",
            Refusal::ReadsMasked(_) => {
                "Mask the column before its expression, or leave the column out of the other one."
            }
            Refusal::Unasked => "Report it.",
            Refusal::TakesNot { .. } => {
                "Hash the column, drop it, set it to NULL or give it a value instead."
            }
            Refusal::TooNarrow { .. } => {
                "Hash the column, drop it or set it to NULL instead, or make the source's type wider."
            }
        }
    }
}

/// A row that did not go through its plan. Nothing of the row's values is in here.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransformError {
    #[error("row of table {} has {found} values where its description has {expected} columns", table.sql())]
    Width { table: QualifiedName, expected: usize, found: usize },
    #[error("value of column \"{column}\" of table {} is not a well-formed {form}", table.sql())]
    Malformed { table: QualifiedName, column: String, form: &'static str },
    #[error("value of column \"{column}\" of table {} came in binary, and its step reads it as text", table.sql())]
    NeedsText { table: QualifiedName, column: String },
    #[error(
        "replace makes a value of column \"{column}\" of table {} longer than the {characters} \
         characters that its type has room for", table.sql()
    )]
    TooLong { table: QualifiedName, column: String, characters: usize },
    #[error("row of table {} has expressions that nobody computed", table.sql())]
    Uncomputed { table: QualifiedName },
}
