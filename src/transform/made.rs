//! What is known of the values that steps make, without seeing one.

use super::plan::{Action, TransformPlan};
use super::value_step::ValueStep;
use crate::pg::oid::{self, Oid};

/// What a column's steps make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeValues {
    /// text, varchar, bpchar, json, jsonb or uuid; another one where the column keeps a type of an
    /// extension's that is a text.
    pub type_oid: Oid,
    /// Most characters, where there is a most.
    pub longest: Option<usize>,
    pub content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Whatever the column holds, more or less.
    Any,
    /// No value of another type than a text's.
    Masked,
    /// The same, and no blanks at the end.
    Word,
    /// The text of a uuid.
    Uuid,
}

/// Digits of a SHA-256.
const HASH_CHARACTERS: usize = 64;

impl TransformPlan {
    /// What is known of output `index`, where steps make it of the source's column or of what an expression
    /// gives.
    pub fn made_values(&self, index: usize) -> Option<MadeValues> {
        let output = &self.outputs[index];
        let Action::Steps(_, steps, type_oid) = &output.action else { return None };
        let start = MadeValues { type_oid: *type_oid, longest: None, content: Content::Any };
        let mut made = steps.iter().fold(start, after);
        let modifier = self.table.columns[index].type_modifier;
        if let Some(room) = oid::characters(*type_oid, modifier) {
            made.longest = Some(made.longest.map_or(room, |longest| longest.min(room)));
        }
        Some(made)
    }
}

fn after(made: MadeValues, step: &ValueStep) -> MadeValues {
    let (longest, content) = match step {
        ValueStep::Hash(_) => (Some(HASH_CHARACTERS), Content::Word),
        ValueStep::Fake(step) if step.is_uuid() => (Some(step.characters_max()), Content::Uuid),
        ValueStep::Fake(step) => (Some(step.characters_max()), Content::Word),
        ValueStep::Mask(_) => (made.longest, Content::Masked),
        ValueStep::Replace(_) => (None, Content::Any),
        ValueStep::Lower | ValueStep::Trim | ValueStep::Within { .. } => {
            (made.longest, made.content)
        }
        ValueStep::JsonDrop(_) => (None, Content::Any),
    };
    MadeValues { longest, content, ..made }
}
