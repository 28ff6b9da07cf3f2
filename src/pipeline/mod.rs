//! Assembles the stages and owns the tasks: the only module that knows everything.
//!
//! [`run()`] supervises attempts ([`attempt`]): look, preflight, lease, slot, copy ([`copy`]), stream
//! ([`stream`]). What to do about an error is decided in [`policy`] alone.
//!
//! **Invariant:** it does not know HTTP or the command line; what they show is on the
//! [`Board`](status::Board).

pub mod attempt;
pub mod backfill;
pub mod backoff;
pub mod check;
pub mod choice;
pub mod chosen_key;
pub mod code;
mod constants;
pub mod context;
pub mod copy;
pub mod destination_check;
pub mod drift;
pub mod error;
pub mod expressions;
pub mod foreign_keys;
mod kept;
pub mod lease;
pub mod lineage;
pub mod look;
mod made_fit;
pub mod membership;
mod merged;
mod money;
pub mod observe;
pub mod partitions;
pub mod patience;
pub mod pending;
pub mod planner;
pub mod policy;
pub mod poll;
pub mod pooling;
pub mod preview;
pub mod pulse;
pub mod requests;
pub mod reread;
pub mod reset;
pub mod resync;
pub mod retention;
pub mod run;
pub mod selection;
pub mod slot_creation;
pub mod status;
pub mod stream;
pub mod stream_tables;
mod structure_findings;
pub mod supervise;
pub mod survey;
pub mod switch;
mod there_and_back;
mod unique_keys;
mod visible;
pub mod wait;
pub mod watch;

pub use run::{RunOptions, run};
pub use supervise::RunEnd;
