//! The copy: what it finds at the destination, what it builds there, and what disturbs it.

/// Tables copied while the others stream on.
mod beside;
/// Indexes after the load, several at once.
mod builds;
/// Foreign keys and triggers at the destination.
mod constraints;
/// Time limits, lost sessions, and DDL at the source meanwhile.
mod disturbed;
/// Tables that hold rows: refuse, truncate, merge.
mod existing;
/// Copies that were cut off go on with the chunks that are missing.
mod resumed;
