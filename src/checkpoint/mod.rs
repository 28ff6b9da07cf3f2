//! What survives a restart.

pub mod row;
pub mod row_error;
pub mod schema;
pub mod tables;

pub use row_error::CheckpointError;
