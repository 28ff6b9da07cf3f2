//! What an operator sees: one owner of everything that `/status`, `/metrics` and the `status` verb
//! show.
//!
//! In come facts from the stages, through the methods of [`Board`]; out go [`Status`] (a copy of
//! them at one moment) and the text of `/metrics`. Nobody else writes a metric, so the two cannot
//! contradict each other.
//!
//! **Invariants:** a method of [`Board`] takes a short lock and never blocks, waits or asks a
//! database. What is not known is `None` in [`Status`] and absent in the metrics. Nothing here
//! decides anything: a pipeline without a board would do the same.

mod board;
mod clock;
mod lag;
mod render;
mod report;
mod states;
mod tables;

pub use board::{Board, BoardOptions, ErrorReport, SlotPoll, SourcePoll};
pub use render::{printable, render_human};
pub use report::{
    CopyStatus, ErrorStatus, LagStatus, OpCounts, Positions, QueueStatus, SCHEMA_VERSION,
    ServerStatus, SlotStatus, Status, TableStatus, Totals,
};
pub use states::{ConflictKind, State, TableState};
pub(crate) use tables::label as table_label;
