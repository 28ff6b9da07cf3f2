//! What can go wrong with the local store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::record::RecordError;

/// A failure of the local store. Cloned to everyone who waits for the same write.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("state directory \"{}\" is in use by another sync-agent", dir.display())]
    InUse { dir: PathBuf },
    #[error(
        "state directory \"{}\" has room for {room_bytes} bytes, less than the {needed_bytes} that \
         the local store needs",
        dir.display()
    )]
    NoSpace { dir: PathBuf, room_bytes: u64, needed_bytes: u64 },
    #[error("could not {doing} \"{}\"", path.display())]
    Io { doing: &'static str, path: PathBuf, source: Arc<io::Error> },
    #[error("could not {doing} the local store in \"{}\"", dir.display())]
    Sled { doing: &'static str, dir: PathBuf, source: sled::Error },
    #[error("the local store in \"{}\" failed inside sled while trying to {doing} it: {message}", dir.display())]
    Panicked { doing: &'static str, dir: PathBuf, message: String },
    #[error("the local store in \"{}\" did not open within {seconds} s", dir.display())]
    Stuck { dir: PathBuf, seconds: u64 },
    #[error("the checkpoint cannot be written to the local store")]
    Record {
        #[from]
        source: RecordError,
    },
    #[error("the local store is closed")]
    Closed,
}

impl StoreError {
    /// What an operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            StoreError::InUse { .. } => Some(
                "Stop the other process, or give each pipeline a [state] dir or a pipeline name \
                 of its own.",
            ),
            StoreError::NoSpace { .. } => {
                Some("Free disk space, or set [state] dir to a volume that has some.")
            }
            StoreError::Io { .. } => Some(
                "Make sure that the [state] dir exists, is on a local disk and may be written by \
                 this user.",
            ),
            StoreError::Sled { .. } | StoreError::Panicked { .. } | StoreError::Stuck { .. } => {
                Some(
                    "The store is a mirror of the destination's checkpoint: with the agent \
                     stopped, its directory may be deleted.",
                )
            }
            StoreError::Record { .. } | StoreError::Closed => None,
        }
    }
}
