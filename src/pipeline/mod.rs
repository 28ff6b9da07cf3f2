//! Assembles the stages and owns the tasks.

pub mod code;
pub mod status;
