//! Configuration: the file as written ([`file`]), the settings as meant ([`settings`]).
//!
//! **Invariant:** nothing here touches the network. All errors are reported at once, each with
//! line, column and key path.

pub mod file;
pub mod load;
pub mod pattern;
pub mod secret;
pub mod settings;
