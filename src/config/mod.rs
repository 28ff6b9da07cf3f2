//! Configuration: the file as written ([`mod@file`]), the settings as meant ([`settings`]).
//!
//! [`load::load`] is the way from one to the other. **Invariant:** nothing here touches the
//! network. All errors are reported at once, each with line, column and key path; none shows a
//! secret.

pub mod diagnostics;
mod document;
mod excerpt;
mod file;
pub mod load;
mod merge;
pub mod pattern;
pub mod places;
mod problems;
pub mod replacement;
pub mod schema;
pub mod secret;
pub mod settings;
pub mod steps;
pub mod units;
mod validate;

#[cfg(test)]
mod tests;
