//! Messages to changes, and what we promise back.
//!
//! In: pgoutput messages of one replication connection. Out: [`TailEvent`]s in commit order, each
//! change carrying its table; and, the other way, the positions that may be reported.
//!
//! **Invariant:** nothing here knows transforms, the destination or how a checkpoint is stored. What
//! may be reported is told to [`Feedback`] from outside, after it is durable.
//!
//! [`TailEvent`]: crate::model::change::TailEvent

pub mod assemble;
pub mod error;
pub mod feedback;
pub mod oversized;
pub mod preflight;
pub mod publication;
pub mod relation;
pub mod slot;
pub mod tail;

pub use assemble::Assembler;
pub use error::AssembleError;
pub use feedback::{Feedback, IdleRule, StatusLsns};
pub use oversized::Oversized;
pub use relation::{KeyLookup, RelationCache};
pub use tail::{Tail, TailError, TailStart};
