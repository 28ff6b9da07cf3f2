//! Assembles the stages and owns the tasks.

pub mod status;
