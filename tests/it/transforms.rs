//! Transforms: what becomes of rows on their way, by copy, by insert, by update and by resync.

mod expressions;
mod filters;
