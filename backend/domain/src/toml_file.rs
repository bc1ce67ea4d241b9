//! Files that operators write in TOML, judged strictly: every mistake is named, all at once.

use std::fs;
use std::io;
use std::path::Path;

use toml::Table;

/// How big such a file may be. A thousand plans take a tenth of it; a path that leads elsewhere may lead to anything.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why a file cannot be used. Fit to follow "the file of plans".
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or not to be read.
    #[error("cannot be read: {}", .0.kind())]
    Unreadable(#[source] io::Error),
    /// It is bigger than any such file.
    #[error("is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// It is no TOML.
    #[error("is not TOML: line {line}: {message}")]
    NotToml {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// It says what it must not, or lacks what it must say: each problem names its place and key.
    #[error("{}", .0.join("; "))]
    Unusable(Vec<String>),
}

/// The text of the file at `path`.
pub fn read(path: &Path) -> Result<String, FileError> {
    let bytes = fs::metadata(path).map_err(FileError::Unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(FileError::TooLarge);
    }
    fs::read_to_string(path).map_err(FileError::Unreadable)
}

/// What the text of such a file says.
pub fn table(text: &str) -> Result<Table, FileError> {
    text.parse().map_err(|error: toml::de::Error| FileError::NotToml {
        line: error.span().map_or(1, |span| text[..span.start].lines().count().max(1)),
        message: error.message().to_owned(),
    })
}
