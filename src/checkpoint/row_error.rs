//! What can go wrong with the state at the destination.

use crate::pg::lsn::Lsn;
use crate::pg::server_error::{self, ServerError};

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the destination failed on the agent's state")]
    Destination(#[from] tokio_postgres::Error),
    #[error(
        "state schema \"{schema}\" has layout version {found}, written by a newer agent: use that version"
    )]
    NewerState { schema: String, found: i32 },
    /// Another process took the pipeline over.
    #[error("pipeline \"{pipeline}\" was taken over: our epoch {ours}, the destination's {theirs}")]
    Fenced { pipeline: String, ours: i64, theirs: i64 },
    /// Our epoch, but not our position: somebody changed history.
    #[error(
        "the checkpoint of pipeline \"{pipeline}\" is at {found}, expected {expected}: the destination was restored or changed behind our back"
    )]
    Moved { pipeline: String, found: String, expected: Lsn },
    #[error("the checkpoint row of pipeline \"{pipeline}\" is gone from the destination")]
    Gone { pipeline: String },
}

impl CheckpointError {
    /// What the server said, where it was the server.
    pub fn server_error(&self) -> Option<ServerError> {
        match self {
            CheckpointError::Destination(error) => server_error::of(error),
            _ => None,
        }
    }
}
