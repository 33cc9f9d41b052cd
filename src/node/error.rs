//! What can go wrong in a node. Nothing is kept of an upload that ends in any of these, unless it says otherwise.

use crate::condition::Condition;
use crate::image;
use crate::roster::NodeId;
use crate::store;

#[derive(Debug)]
pub(crate) enum Error {
    /// A precondition does not hold.
    Precondition,
    /// These nodes cannot be asked, and what they hold would decide. None: the nodes go by different views.
    Unknown(Vec<NodeId>),
    /// Too many listings read the folder.
    TooManyListings,
    /// There is no leader, or not all nodes follow it yet.
    NotReady,
    /// No node takes the write at the moment. Nothing of it is kept.
    NotPlaced,
    /// Images are not moved while these members are away.
    Away(Vec<NodeId>),
    /// The write is stored, but not all nodes have confirmed that it counts: it may be kept or not.
    Unconfirmed,
    /// The upload was redirected too often: the nodes see different clusters.
    Disagreement,
    /// This node takes no images at present, with the sentence that says why, without its subject.
    Unable(Condition, String),
    /// This node is going away.
    Leaving,
    /// The image is longer than this many bytes.
    TooLarge(u64),
    /// It is not a PNG that is accepted.
    Image(image::Error),
    /// The body's chunking is malformed, with what is wrong.
    Body(&'static str),
    /// It does not have the digest that came with it.
    Digest,
    /// The sender is too slow.
    Slow,
    /// The sender stalls, others need its memory, and it has stalled for longest.
    Stalled,
    /// The client is gone, with how that was seen.
    Lost(String),
    /// The system gives no random numbers.
    Random(String),
    /// A stored file does not open: changed, cut, or sealed with another key.
    Damaged,
    Store(store::error::Error),
}

impl From<store::error::Error> for Error {
    fn from(error: store::error::Error) -> Error {
        Error::Store(error)
    }
}
