//! Assembles the stages and owns the tasks.
