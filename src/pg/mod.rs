//! Postgres facts: positions, types, names, formats, connections, catalog questions.
//!
//! **Invariant:** nothing here knows our pipeline or our configuration.

pub mod catalog;
pub mod client;
pub mod conninfo;
pub mod copy_format;
pub mod dial;
pub mod ident;
pub mod lsn;
pub mod oid;
pub mod server_error;
pub mod time;
pub mod tls;
