//! The copy: what it finds at the destination, what it builds there, and what disturbs it.

/// Indexes after the load, several at once.
mod builds;
/// Tables that hold rows: refuse, truncate, merge.
mod existing;
