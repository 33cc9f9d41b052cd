//! What can go wrong in the store.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::usage::OverQuota;
use crate::condition::Condition;
use crate::durable;

/// What went wrong. In every case the final name is as it was before, unless the text says otherwise.
#[derive(Debug)]
pub enum Error {
    /// The images folder is not where it was.
    Lost(String),
    /// No space or no quota is left.
    Full(String),
    /// The file would be longer than the process may write: not the disk's fault.
    TooLong(String),
    /// The disk, or the folder, may only be read.
    ReadOnly(String),
    /// The disk reports an error.
    Failing(String),
    /// No file descriptor is left; a moment later there may be one.
    Exhausted(String),
    /// The name was taken, and the caller asked not to replace.
    Taken,
    /// The folder holds another version of the name than the caller went by; nothing was changed.
    Changed,
    /// The change is made, but the sync of the folder failed: nobody knows whether it outlives a power loss.
    Unsynced(String),
    /// The user's images take all that they may.
    OverQuota(OverQuota),
    /// Anything else, with the operation and the path.
    Io(String),
}

impl Error {
    pub(crate) fn lost(images: &Path) -> Error {
        Error::Lost(format!(
            "the images folder {} is not in place (removed, moved, unmounted, or another one lies over it): put it \
             back or mount its disk; this node notices that by itself",
            images.display()
        ))
    }

    /// Whether the disk cannot be written, which says nothing of what can be read.
    pub(super) fn is_of_disk(&self) -> bool {
        self.condition() != Condition::Able
    }

    /// What a write that failed with this says of the disk.
    pub(super) fn condition(&self) -> Condition {
        match self {
            Error::Full(_) => Condition::DiskFull,
            Error::ReadOnly(_) => Condition::ReadOnly,
            Error::Failing(_) | Error::Unsynced(_) => Condition::DiskFailing,
            // Whether the folder is in place is looked at, not remembered.
            Error::Lost(_)
            | Error::TooLong(_)
            | Error::Exhausted(_)
            | Error::Taken
            | Error::Changed
            | Error::OverQuota(_)
            | Error::Io(_) => Condition::Able,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Lost(text)
            | Error::Full(text)
            | Error::TooLong(text)
            | Error::ReadOnly(text)
            | Error::Failing(text)
            | Error::Exhausted(text)
            | Error::Unsynced(text)
            | Error::Io(text) => text.fmt(f),
            Error::Taken => "an image of this name exists".fmt(f),
            Error::Changed => "the image has changed meanwhile".fmt(f),
            Error::OverQuota(OverQuota { used, quota }) => write!(
                f,
                "the images of this user take {used} of the {quota} bytes that they may take in this folder (--user-quota)"
            ),
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
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => Error::Exhausted(text),
        Some(Errno::NOSPC | Errno::DQUOT) => Error::Full(text),
        Some(Errno::FBIG) => Error::TooLong(text),
        Some(Errno::ROFS) => Error::ReadOnly(text),
        // A folder that may not be changed; a file that may not be read is one file.
        Some(Errno::ACCESS | Errno::PERM) if matches!(operation, "create" | "rename to" | "remove") => {
            Error::ReadOnly(text)
        }
        Some(Errno::IO | Errno::NXIO | Errno::NODEV | Errno::REMOTEIO | Errno::UCLEAN) => {
            Error::Failing(text)
        }
        _ => Error::Io(text),
    }
}
