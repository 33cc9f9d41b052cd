//! What the newest acknowledged write of an image must have left: on which node, and which copy. Kept for every image
//! of a run, so it is small.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use pixseal::report::Receipt;
use pixseal::roster::NodeId;
use pixseal::version::Version;

/// A place for each image of a run; empty until its upload is acknowledged. Each is uploaded once.
pub(crate) type Acknowledgements = [OnceLock<Acknowledged>];

/// One acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Has the image.
    pub(crate) holder: NodeId,
    /// Which copy was acknowledged, if the receipt says it.
    pub(crate) copy: Option<AcknowledgedCopy>,
}

/// The copy that a receipt promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcknowledgedCopy {
    /// Its place in the order of all writes.
    pub(crate) version: Version,
    /// A hash in place of the entity tag, which would take four times the memory.
    etag_hash: u64,
}

impl AcknowledgedCopy {
    /// The copy of this receipt; none if it names no version or no entity tag.
    pub(crate) fn of(receipt: &Receipt) -> Option<AcknowledgedCopy> {
        let version = receipt.version.filter(|_| !receipt.etag.is_empty())?;
        Some(AcknowledgedCopy {
            version,
            etag_hash: hash(&receipt.etag),
        })
    }

    /// Whether a copy with this entity tag is the one.
    pub(crate) fn has_etag(&self, etag: &str) -> bool {
        self.etag_hash == hash(etag)
    }
}

fn hash(etag: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    etag.hash(&mut hasher);
    hasher.finish()
}
