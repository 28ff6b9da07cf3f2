//! sync-agent keeps tables of one PostgreSQL database in step with tables of another.
//!
//! ```text
//!           source Postgres                                                 destination Postgres
//!                 │                                                                  ▲
//!    wire ──► pgoutput ──► source ──┐                                                │
//!   (bytes)   (messages)  (changes) ├──► transform ──► batch ──────► apply ──────────┘
//!                         snapshot ─┘    (pure)        (pure)          │
//!                         (rows)                                       ▼
//!         ▲                                                       checkpoint
//!         └──────────────── feedback: only what is checkpointed ◄──────┘
//! ```
//!
//! The order of the `mod` lines is the reading order, the data-flow order and the dependency
//! order: a module imports only from modules declared above it (`tests/tidy.rs` enforces it).

#![forbid(unsafe_code)]

/// Net effects to the destination.
pub mod apply;
/// Whole transactions folded to net effects; pure.
pub mod batch;
/// What survives a restart: the destination's row, and its local mirror.
pub mod checkpoint;
/// The command line: one file per verb, thin.
pub mod cli;
/// The file as written, the settings as meant.
pub mod config;
/// What the agent shows: metrics, health, status. Read-only.
pub mod http;
/// Every metric, registered once; handles are passed down to the stages.
pub mod metrics;
/// Ground: the nouns (table, row, change, finding).
pub mod model;
/// Ground: Postgres facts; knows nothing about our pipeline.
pub mod pg;
/// Bytes to messages; pure.
pub mod pgoutput;
/// The only module that knows everything: assembles the stages and owns the tasks.
pub mod pipeline;
/// Rows as of one LSN.
pub mod snapshot;
/// Messages to changes, and what we promise back to the source.
pub mod source;
/// Per-table row functions; pure.
pub mod transform;
/// Bytes on a connection of our own: replication, COPY out, COPY in.
pub mod wire;
