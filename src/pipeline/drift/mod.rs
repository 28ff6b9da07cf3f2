//! What happens when a table's structure changes while its changes are followed.
//!
//! PostgreSQL's stream has no DDL in it, only descriptions that differ. [`judge`] compares one with
//! what was known; [`decide`] says whether the destination can follow, and how; [`follow`] does it,
//! between two streams, when nothing of ours is open there: an ALTER TABLE would wait for our own
//! transaction otherwise. [`watch`] looks for what no change announces: tables that are gone.
//!
//! **Invariant:** no row is written under a description that was not judged, and nothing that was
//! not seen at the source is assumed of the rows that exist.

pub mod decide;
pub mod enums;
pub mod follow;
pub mod judge;
pub mod looks;
pub mod renamed;
pub mod tables;
pub mod watch;

pub use follow::Follow;
pub use looks::Looks;
