//! What a folder holds of a name.

use super::sealed::Sealed;
use crate::version::{Copy, Version};

/// The newest of what a folder holds of a name.
pub enum Held {
    /// A sealed image.
    Image(Sealed),
    /// The trace of a delete.
    Tombstone(Version),
}

impl Held {
    /// Which write it is of.
    pub fn copy(&self) -> Copy {
        match self {
            Held::Image(sealed) => Copy {
                version: sealed.version(),
                deleted: false,
            },
            Held::Tombstone(version) => Copy {
                version: *version,
                deleted: true,
            },
        }
    }
}

/// What a folder has to hold of a name for a write to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Whatever it may be.
    Any,
    /// An image or a tombstone of this version, or nothing.
    Version(Option<Version>),
}
