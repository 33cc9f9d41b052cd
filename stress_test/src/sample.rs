//! What is known about one upload once it is over. Made by `load`, counted by `tally`, written out by `upload_log`.

use std::time::Duration;

use pixseal::client::error::ErrorKind;
use pixseal::roster::NodeId;

/// One image's way into the cluster, or the end of trying.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Which image, from 1.
    pub(crate) number: u64,
    /// Its band of size.
    pub(crate) band: usize,
    /// Its size.
    pub(crate) bytes: u64,
    /// When it should have been offered, since the run began. With a fixed rate that is the schedule; otherwise
    /// the moment the image was at hand.
    pub(crate) intended: Duration,
    /// From there until the first offer: how far behind its schedule the client was.
    pub(crate) late: Duration,
    /// How long painting took, if the image was painted for this upload.
    pub(crate) paint: Duration,
    /// From `intended` to the receipt (or the end of trying), retries and waits included.
    pub(crate) total: Duration,
    /// From the offer that was accepted until 100.
    pub(crate) offer: Duration,
    /// From there until the last byte was sent.
    pub(crate) transfer: Duration,
    /// From there until the receipt.
    pub(crate) receipt: Duration,
    /// How often it was offered.
    pub(crate) rounds: u32,
    /// What went wrong on the way.
    pub(crate) setbacks: Vec<(Option<NodeId>, ErrorKind)>,
    /// Who accepted besides the node that got the body.
    pub(crate) also_accepted: Vec<NodeId>,
    /// The node acknowledged before it had the whole body.
    pub(crate) answered_early: bool,
    /// Bytes of the body sent, in all rounds.
    pub(crate) body_bytes_sent: u64,
    /// Where it came to rest.
    pub(crate) outcome: UploadOutcome,
}

impl Sample {
    /// An image that nothing has happened to yet.
    pub(crate) fn untried(number: u64, band: usize, bytes: u64) -> Sample {
        Sample {
            number,
            band,
            bytes,
            intended: Duration::ZERO,
            late: Duration::ZERO,
            paint: Duration::ZERO,
            total: Duration::ZERO,
            offer: Duration::ZERO,
            transfer: Duration::ZERO,
            receipt: Duration::ZERO,
            rounds: 0,
            setbacks: Vec::new(),
            also_accepted: Vec::new(),
            answered_early: false,
            body_bytes_sent: 0,
            outcome: UploadOutcome::Failed {
                cause: ErrorKind::Stopped,
                text: "not tried".to_owned(),
            },
        }
    }
}

/// How an upload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UploadOutcome {
    /// Acknowledged by `node`, which placed it by one of `views`.
    Stored {
        /// Who gave the receipt.
        node: NodeId,
        /// The term that the receipt names.
        term: u64,
        /// The alive ids that went with that term: the receipt's own, or else what nodes told, which can be
        /// several while two leaders meet, and none.
        views: Vec<Vec<NodeId>>,
        /// Whether the receipt named them itself.
        claimed: bool,
        /// What the receipt says that is not so.
        wrong_receipt: Option<String>,
    },
    /// Not acknowledged.
    Failed {
        /// The last cause.
        cause: ErrorKind,
        /// The last words.
        text: String,
    },
}
