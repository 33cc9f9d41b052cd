//! One image to be uploaded, and everything that happened to it. Judging that is left to the caller.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::error::{Error, ErrorKind};
use crate::report::Receipt;
use crate::roster::NodeId;

/// How many bytes of a body are read and sent at a time. Larger pieces leave the processor's cache.
pub const PIECE_BYTES: usize = 256 << 10;

/// Where the bytes of an image come from.
pub enum UploadBody<'a> {
    /// From memory.
    Bytes(&'a [u8]),
    /// From a file of this many bytes, read a piece at a time from its beginning.
    File(&'a mut File, u64),
}

/// Which nodes an image is offered to first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every node: all of them decide.
    All,
    /// The node that it is assigned to; another one only if that node names it.
    Assigned,
}

/// How one image is to be uploaded.
pub struct Terms<'a> {
    /// Which nodes it is offered to. A small image is sent at once to the node that it is assigned to, unless `hold` is set.
    pub audience: Audience,
    /// When to stop trying.
    pub deadline: Instant,
    /// `true`: no further attempt.
    pub stop: &'a AtomicBool,
    /// Holds back the last byte for this long, to see whether the node sends a receipt before it has the whole image.
    pub hold: Option<Duration>,
}

/// What happened to one image.
#[derive(Debug)]
pub struct Upload {
    /// The receipt, or the last error.
    pub outcome: Result<Receipt, Error>,
    /// The node that took the image in the last round, or answered 100 and was sent it.
    pub accepted: Option<NodeId>,
    /// Other nodes that answered 100.
    pub also_accepted: Vec<NodeId>,
    /// From the first offer until the receipt, or until the end of trying; pauses and `held` included.
    pub elapsed: Duration,
    /// From the first offer of the last round until 100; nothing for an image that was sent at once.
    pub offer: Duration,
    /// From the 100 until the last byte of the body was handed to the kernel.
    pub transfer: Duration,
    /// From the last byte until the receipt.
    pub receipt: Duration,
    /// How long the last byte was held back on purpose; part of `elapsed` only.
    pub held: Duration,
    /// Whether the node answered before it had the whole body.
    pub answered_early: bool,
    /// How often the image was offered.
    pub rounds: u32,
    /// What went wrong on the way, and at which node; the first ones, if there were many.
    pub setbacks: Vec<(Option<NodeId>, ErrorKind)>,
    /// Bytes of the body that were sent, in all rounds.
    pub body_bytes_sent: u64,
}

impl UploadBody<'_> {
    /// The size of the image.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            UploadBody::Bytes(bytes) => bytes.len() as u64,
            UploadBody::File(_, bytes) => *bytes,
        }
    }

    /// The whole of a small image, read into `buf` if it is not in memory.
    pub(super) fn read_small<'b>(&'b mut self, buf: &'b mut Vec<u8>) -> Result<&'b [u8], Error> {
        match self {
            UploadBody::Bytes(bytes) => Ok(bytes),
            UploadBody::File(file, bytes) => {
                let bytes = usize::try_from(*bytes).expect("it is small");
                let read = make_room(buf, bytes);
                file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(&e))?;
                file.read_exact(read).map_err(|e| unreadable(&e))?;
                Ok(read)
            }
        }
    }
}

impl Upload {
    pub(super) fn new() -> Upload {
        Upload {
            outcome: Err(Error {
                kind: ErrorKind::Stopped,
                text: "not tried".to_owned(),
            }),
            accepted: None,
            also_accepted: Vec::new(),
            elapsed: Duration::ZERO,
            offer: Duration::ZERO,
            transfer: Duration::ZERO,
            receipt: Duration::ZERO,
            held: Duration::ZERO,
            answered_early: false,
            rounds: 0,
            setbacks: Vec::new(),
            body_bytes_sent: 0,
        }
    }
}

/// The first `bytes` of `buf`, which grows if it has to.
pub(super) fn make_room(buf: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if buf.len() < bytes {
        buf.resize(bytes, 0);
    }
    &mut buf[..bytes]
}

pub(super) fn unreadable(e: &io::Error) -> Error {
    Error {
        kind: ErrorKind::Refused,
        text: format!("cannot read the image: {e}"),
    }
}
