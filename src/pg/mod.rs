//! Postgres facts: positions, types, names, formats, connections, catalog questions.
//!
//! **Invariant:** nothing here knows our pipeline or our configuration.

pub mod cancel;
pub mod catalog;
pub mod channel;
pub mod client;
pub mod connect_error;
pub mod conninfo;
pub mod copy_format;
pub mod dial;
pub mod ident;
pub mod lsn;
pub mod oid;
pub mod open;
pub mod password;
mod replay;
pub mod server_error;
pub mod startup;
pub mod stream;
pub mod time;
pub mod tls;
