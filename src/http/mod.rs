//! What the agent shows over HTTP. Read-only: nothing can be changed from here.
//!
//! | path | answer |
//! | --- | --- |
//! | `/metrics` | the metrics, text format 0.0.4 |
//! | `/live` | 200 as long as the process runs, whatever the databases do |
//! | `/started` | 200 once the configuration is valid and both servers were reached, else 503 |
//! | `/ready` | 200 when the copy is done and the stream connected, or on standby, else 503 |
//! | `/status` | JSON, the structure that the `status` verb prints ([`Status`]) |
//! | `/` | a page for people |
//!
//! GET and HEAD only. The bodies of `/live`, `/started` and `/ready` are JSON with `state` and
//! `reason`. An answer is made from the [`Board`] alone: no request ever reaches a database, and a
//! slow client costs one of a bounded number of connections for a bounded time.
//!
//! **Invariant:** nothing here knows how to change anything.
//!
//! [`Board`]: crate::pipeline::status::Board
//! [`Status`]: crate::pipeline::status::Status

mod client;
mod error;
mod respond;
mod server;

pub use client::fetch_status;
pub use error::HttpError;
pub use respond::respond;
pub use server::{bind, serve};
