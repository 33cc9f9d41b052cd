//! What is known about one upload once it is over. Made by `load`, counted by `tally`, written out by `upload_log`.

use std::time::Duration;

use pixseal::client::error::ErrorKind;
use pixseal::roster::NodeId;

use crate::acknowledged::AcknowledgedCopy;

/// One upload, successful or not.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Which image, from 1.
    pub(crate) number: u64,
    pub(crate) band: usize,
    pub(crate) bytes: u64,
    /// When it should have been offered, since the run began: by the schedule of a fixed rate, otherwise the moment
    /// the image was ready.
    pub(crate) intended: Duration,
    /// From `intended` to the first offer: how late the client was.
    pub(crate) late: Duration,
    /// The time to paint, if the image was painted for this upload.
    pub(crate) paint: Duration,
    /// From `intended` to the receipt or the last failure, with all retries and waits.
    pub(crate) total: Duration,
    /// From the offer that was accepted until 100; nothing for a small image, which is sent at once.
    pub(crate) offer: Duration,
    /// From 100 until the last byte was sent.
    pub(crate) transfer: Duration,
    /// From the last byte until the receipt.
    pub(crate) receipt: Duration,
    /// How many times it was offered.
    pub(crate) rounds: u32,
    pub(crate) setbacks: Vec<(Option<NodeId>, ErrorKind)>,
    /// Nodes that accepted besides the one that got the body.
    pub(crate) also_accepted: Vec<NodeId>,
    /// The node acknowledged before it had the whole body.
    pub(crate) answered_early: bool,
    /// Bytes of the body sent, in all rounds.
    pub(crate) body_bytes_sent: u64,
    pub(crate) outcome: UploadOutcome,
}

impl Sample {
    /// Not offered yet.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UploadOutcome {
    /// Acknowledged by `node`, which placed it by one of `views`.
    Stored {
        /// Has the image.
        node: NodeId,
        /// Which copy of it the receipt promises, if it says so.
        copy: Option<AcknowledgedCopy>,
        /// The term that the receipt names.
        term: u64,
        /// The alive ids that went with that term: those in the receipt, otherwise those in nodes' /cluster, which can
        /// be several while two leaders meet, or none.
        views: Vec<Vec<NodeId>>,
        /// Whether the receipt named them itself.
        claimed: bool,
        /// What is wrong in the receipt.
        wrong_receipt: Option<String>,
    },
    /// Not acknowledged.
    Failed { cause: ErrorKind, text: String },
}
