//! Per-table row functions; pure.
