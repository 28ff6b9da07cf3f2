//! Rows as of one LSN.
//!
//! [`plan`] cuts tables into chunks; [`point`] holds the consistent point and its snapshot;
//! [`copy_out`] reads one chunk under it as raw COPY frames.
//!
//! **Invariant:** every row of every chunk is read under the same exported snapshot. Who loads the
//! rows is not known here.

pub mod copy_out;
pub mod plan;
pub mod point;

pub use plan::{Chunk, TableSize, missing_chunks, plan_chunks};
pub use point::ConsistentPoint;
