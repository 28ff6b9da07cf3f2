//! What publications send, and what happens when that changes: in the copy and in the tail alike,
//! while the agent runs and while it does not.

/// Publications of others: used as they are, or refused with what they lack.
mod existing;
/// What was not published for a while is copied again, or ends the pipeline; it is never missed.
mod gaps;
/// Tables without identity: the application is left alone, and what is missed is said.
mod insert_only;
/// Row filters and column lists.
mod narrowed;
/// Tables that appear while the pipeline is there.
mod new_tables;
/// Partitions that come and go.
mod partitions;
/// What only some versions have.
mod versions;
/// What is published of everything, at every moment of rest.
mod views;
