//! Whole source transactions in, net effects out: what one destination transaction writes.
//!
//! [`batcher`] collects transactions until a limit; [`coalesce`] folds a table's changes by key;
//! [`steps`] keeps the order where folding would be unsafe; [`contents`] is the result.
//!
//! **Invariant:** no I/O, no SQL, no clock but a parameter. Applying a batch leaves the same tables
//! as applying its changes one by one.

pub mod batcher;
pub mod coalesce;
pub mod contents;
pub mod steps;

pub use batcher::{Batcher, Limits};
pub use contents::{Batch, End, NetEffects, OrderedChanges, Step, TableCounts};
pub use steps::FoldPolicy;

#[cfg(test)]
mod tests;
