//! Net effects to the destination.
//!
//! [`target`] says which value goes into which column; [`statement`] turns that into SQL;
//! [`writer`] sends it; [`transaction`] makes a batch one destination transaction that ends with
//! the checkpoint's move.
//!
//! **Invariant:** nothing is committed but together with the position it leads to, under our epoch.
//! Nothing here knows the source, the local store, or when feedback is sent.

pub mod add_column;
pub mod conflicts;
pub mod error;
pub mod fit;
pub mod mapping;
pub mod mark;
pub mod merge;
pub mod parameter;
pub mod preflight;
mod remember;
mod replace;
pub mod reread;
mod row_plan;
pub mod rows;
pub mod statement;
pub mod target;
pub mod targets;
pub mod transaction;
pub mod writer;

pub use error::ApplyError;
