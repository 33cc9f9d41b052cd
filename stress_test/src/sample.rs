//! What is known about one upload once it is over. Made by `load`, counted by `tally`, written out by `upload_log`.

use std::time::Duration;

use pixseal::client::error::ErrorKind;
use pixseal::roster::NodeId;

/// One image's way into the cluster, or the end of trying.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Which image, from 1.
    pub number: u64,
    /// Its band of size.
    pub band: usize,
    /// Its size.
    pub bytes: u64,
    /// When it should have been offered, since the run began. With a fixed rate that is the schedule; otherwise
    /// the moment the image was at hand.
    pub intended: Duration,
    /// From there until the first offer: how far behind its schedule the client was.
    pub late: Duration,
    /// How long painting took, if the image was painted for this upload.
    pub paint: Duration,
    /// From `intended` to the receipt (or the end of trying), retries and waits included.
    pub total: Duration,
    /// From the offer that was accepted until 100.
    pub offer: Duration,
    /// From there until the last byte was sent.
    pub transfer: Duration,
    /// From there until the receipt.
    pub receipt: Duration,
    /// How often it was offered.
    pub rounds: u32,
    /// What went wrong on the way.
    pub setbacks: Vec<(Option<NodeId>, ErrorKind)>,
    /// Who accepted besides the node that got the body.
    pub also_accepted: Vec<NodeId>,
    /// The node acknowledged before it had the whole body.
    pub answered_early: bool,
    /// Bytes of the body sent, in all rounds.
    pub body_bytes_sent: u64,
    /// Where it came to rest.
    pub outcome: UploadOutcome,
}

impl Sample {
    /// An image that nothing has happened to yet.
    pub fn untried(number: u64, band: usize, bytes: u64) -> Sample {
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
pub enum UploadOutcome {
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
