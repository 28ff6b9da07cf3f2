//! The nouns everybody shares.
//!
//! **Invariant:** nothing here knows where rows come from or where they go.

pub mod change;
pub mod finding;
pub mod mark;
pub mod row;
pub mod table;
