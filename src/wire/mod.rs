//! Bytes on a connection of our own: replication, COPY out, COPY in.
//!
//! ```text
//! Session::connect ──► idle ──┬─ simple_query, commands ──► idle
//!                             ├─ copy_out ─ frames … ─────► idle
//!                             ├─ copy_in ─ frames … ──────► idle
//!                             └─ start_replication ───────► CopyBoth (the session is used up)
//! ```
//!
//! tokio-postgres can do none of this in the way it is needed: it has no replication mode, and its
//! COPY handles rows one by one. **Invariant:** nothing here knows pgoutput, tables, or which
//! positions may be reported.

mod command;
mod copy_both;
mod copy_in;
mod copy_out;
pub mod envelope;
pub mod frame;
mod hold;
mod session;

pub use self::command::{
    CreatedSlot, StreamOptions, SystemIdentity, TimelineSwitch, start_replication_sql,
};
pub use self::copy_both::CopyBoth;
pub use self::copy_in::CopyIn;
pub use self::copy_out::CopyOut;
pub use self::envelope::{Envelope, StatusUpdate};
pub use self::hold::Hold;
pub use self::session::Session;
pub use crate::pg::channel::{TextRows, WireError};
pub use crate::pg::open::Mode;
