//! Per-table row functions: settings and a table's description go in, a [`TransformPlan`] comes
//! out, or every reason why not. Pure: no I/O, no clock, no log, no randomness.
//!
//! ```text
//! TableSettings ┐
//!               ├─► compile ─► TransformPlan ─┬─► row, change        (tail: the source's layout)
//! Table         ┘                             └─► copy_columns, copy_row        (copy, re-read)
//! ```
//!
//! **Invariants:**
//! * Copy and tail give the same value. What a step reads is the value's text form, exactly
//!   `value::text` of the source: the copy lets the server make it, the tail makes it from the wire
//!   bytes ([`text_form`]), and where it cannot the stream runs in text or the step is refused.
//! * A column that no step touches is moved, never decoded; a row costs one move a column.
//! * NULL stays NULL and an unchanged value stays unchanged, whatever the step.
//! * Old rows go through the same plan, so deletes and key changes follow a hashed key.
//! * There is no way out that returns a masked column's own value: a step that fails is an error.

mod chain;
mod compile;
mod constant;
mod copy;
mod error;
mod expression;
mod fake;
mod fingerprint;
#[cfg(test)]
pub(crate) mod fixture;
mod hash;
mod json_drop;
mod made;
mod mark;
mod mask;
mod open;
mod plan;
mod program;
mod replace;
mod text_case;
mod text_form;
mod unique;
mod value_step;

pub use compile::PlanInput;
pub use copy::CopyColumn;
pub use error::{PlanError, Refusal, TransformError};
pub use expression::{Answer, Purpose, Question, ShapeError, Unusable, VisibleColumn, check_shape};
pub(crate) use expression::{ROW, visible};
pub use fingerprint::{changed_keys, fingerprint, query_fingerprint};
pub use made::{Content, MadeValues};
pub use mark::Mark;
pub use open::OpenChange;
pub use plan::TransformPlan;
pub use program::{Inputs, Outcome, Program};
pub use text_form::TypeFacts;
pub use unique::UniqueKey;
