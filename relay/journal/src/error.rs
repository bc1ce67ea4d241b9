//! What can go wrong, for those who open, append and read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::entry::Position;

/// The journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another relay", .0.display())]
    Locked(PathBuf),
    /// It was written by a Tollgate whose format this one does not know.
    #[error("segment {name} in {} has format {version}, which this version does not read", dir.display())]
    OtherVersion {
        /// The folder.
        dir: PathBuf,
        /// The segment's file.
        name: String,
        /// Its format.
        version: u32,
    },
    /// The folder or a file in it cannot be used.
    #[error("could not open the journal in {}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// An event could not be kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room on the disk. The next append tries again.
    #[error("no room left on the disk")]
    Full,
    /// The disk failed. The next append tries again.
    #[error("the disk failed: {0}")]
    Io(Arc<io::Error>),
    /// The body is longer than [`BODY_BYTES_MAX`](crate::BODY_BYTES_MAX).
    #[error("the body is too long")]
    TooLong,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

/// An entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no intact entry at that position; a pruned one is not there either.
    #[error("no entry at {0}")]
    NotThere(Position),
    /// The file cannot be read.
    #[error("could not read the journal")]
    Io(#[from] io::Error),
}
