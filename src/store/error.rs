//! What can go wrong in the store.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::durable;

/// What went wrong. In every case the final name is as it was before, unless the text says otherwise.
#[derive(Debug)]
pub enum Error {
    /// No space or no quota is left.
    Full(String),
    /// No file descriptor is left; a moment later there may be one.
    Exhausted(String),
    /// The name was taken, and the caller asked not to replace.
    Taken,
    /// The change is made, but the sync of the folder failed: nobody knows whether it outlives a power loss.
    Unsynced(String),
    /// Anything else, with the operation and the path.
    Io(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Full(text) | Error::Exhausted(text) | Error::Unsynced(text) | Error::Io(text) => {
                text.fmt(f)
            }
            Error::Taken => "an image of this name exists".fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<durable::Error> for Error {
    fn from(error: durable::Error) -> Error {
        match error {
            durable::Error::Taken => Error::Taken,
            durable::Error::Io {
                operation,
                path,
                error,
            } => failed(operation, &path, &error),
            durable::Error::Unsynced { .. } => Error::Unsynced(error.to_string()),
        }
    }
}

pub(super) fn failed(operation: &str, path: &Path, error: &io::Error) -> Error {
    let text = format!("cannot {operation} {}: {error}", path.display());
    if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) {
        return Error::Exhausted(text);
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::Full(text)
        }
        _ => Error::Io(text),
    }
}
