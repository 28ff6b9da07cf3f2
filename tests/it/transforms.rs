//! Transforms: columns and rows that change on their way. What arrives is what the source's server makes
//! of the rows with the expression that defines each step: by copy, by insert, by update, by resync.

mod beside;
mod cut_off;
mod expressions;
mod filters;
mod fits;
mod key_changes;
mod leaks;
mod merged;
mod merged_copy;
mod named;
mod on_delete;
mod partitioned;
mod refused;
mod steps;
mod trouble;
mod uniform;
mod unlisted;
mod versions;
