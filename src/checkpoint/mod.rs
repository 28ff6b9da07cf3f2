//! What survives a restart.
//!
//! **The order law.** A position reaches the source only after it can no longer be lost:
//!
//! ```text
//! destination commit ──► local mirror durable ──► feedback to the source
//! (rows and row of        (Store::mirror            (confirmed_flush_lsn)
//!  sync_agent.checkpoint   resolved)
//!  in one transaction)
//! ```
//!
//! It is carried out in one place, the pipeline's attempt; this module supplies the steps.
//!
//! * [`row`]: the destination's row, which is the truth: taking the epoch, advancing under it. A
//!   restart resumes from this row and from nothing else.
//! * [`tables`], [`schema`]: what the destination remembers of each table, and the schema that
//!   holds it all.
//! * [`chunks`], [`missing`], [`catch_up`]: how far copies are that are not complete, and the second slot's position
//!   while tables are copied beside the stream.
//! * [`requests`]: what operators ask of the agent, and what came of it.
//! * [`record`]: the bytes of the local mirror: versioned, checksummed, pure. Only states that are
//!   durable at the destination have a record.
//! * [`store`]: the local mirror itself, in sled. Lost, stale, corrupt or emptied, it never moves a
//!   position: it is made anew and filled from the destination's row. [`local`] removes it.
//!
//! **Invariant:** nothing here knows when it is called.

pub mod catch_up;
pub mod chunks;
mod disk;
pub mod local;
pub mod missing;
pub mod record;
pub mod requests;
pub mod row;
pub mod row_error;
pub mod schema;
pub mod shape;
pub mod store;
pub mod store_error;
pub mod tables;

pub use record::{Record, RecordError};
pub use row_error::CheckpointError;
pub use store::{Origin, Store};
pub use store_error::StoreError;
