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

// Where tests end the agent; empty in a release build.
pub mod failpoint;

// How often the agent looks; a test has it look more often.
pub mod pace;

// Ground: Postgres facts; knows nothing about our pipeline.
pub mod pg;

// Ground: the nouns (table, row, change, finding).
pub mod model;

// The file as written, the settings as meant.
pub mod config;

// Every metric, registered once; handles are passed down to the stages.
pub mod metrics;

// Bytes on a connection of our own: replication, COPY out, COPY in.
pub mod wire;

// Bytes to messages; pure.
pub mod pgoutput;

// Messages to changes, and what we promise back to the source.
pub mod source;

// Rows as of one LSN.
pub mod snapshot;

// Per-table row functions; pure.
pub mod transform;

// What tables consist of, as statements for a destination that lacks them; pure.
pub mod structure;

// Whole transactions folded to net effects; pure.
pub mod batch;

// What survives a restart: the destination's row, and its local mirror.
pub mod checkpoint;

// Net effects to the destination.
pub mod apply;

// The only module that knows everything: assembles the stages and owns the tasks.
pub mod pipeline;

// What the agent shows: metrics, health, status. Read-only.
pub mod http;

// The command line: one file per verb, thin.
pub mod cli;
