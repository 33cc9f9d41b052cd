//! What can go wrong between a client and the nodes.

use std::fmt;

/// What went wrong, as far as a caller acts on it or counts it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// No connection could be made: the node is down, or its name or route is wrong.
    Unreachable,
    /// TLS: it cannot show that it is who it should be, wants to be shown something else, or does not speak it.
    Untrusted,
    /// The connection ended in the middle.
    Lost,
    /// Nothing arrived, or nothing could be sent, in time.
    Silent,
    /// What arrived is not HTTP, or not an answer to what was asked.
    Protocol,
    /// 503, 504, 429, 408: the node is there and asks to wait.
    Busy,
    /// 5xx other than 503, 504 and 507: the node failed.
    Broken,
    /// 507: the node's disk is full, or all is taken that the user may have.
    DiskFull,
    /// 412: the image is not as the request demands.
    PreconditionFailed,
    /// 4xx: asking again would not help.
    Refused,
    /// Every node that answered named another one.
    Disputed,
    /// The caller asked to stop.
    Stopped,
}

/// A kind, with a sentence for people that names the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What a program acts on.
    pub kind: ErrorKind,
    /// What a person reads.
    pub text: String,
}

impl ErrorKind {
    /// The kind of a final answer that is no success.
    pub(super) fn of_status(status: u16) -> ErrorKind {
        match status {
            408 | 429 | 503 | 504 => ErrorKind::Busy,
            507 => ErrorKind::DiskFull,
            412 => ErrorKind::PreconditionFailed,
            500..=599 => ErrorKind::Broken,
            400..=499 => ErrorKind::Refused,
            _ => ErrorKind::Protocol,
        }
    }
}

/// Whether an answer to a question in the clear means that the node speaks TLS: it says 400, and what our programs and nodes
/// ask is never malformed.
pub fn wants_tls(status: u16, is_in_the_clear: bool) -> bool {
    is_in_the_clear && status == 400
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Untrusted => "not trusted (TLS)",
            ErrorKind::Lost => "connection lost",
            ErrorKind::Silent => "no answer in time",
            ErrorKind::Protocol => "answer makes no sense",
            ErrorKind::Busy => "busy (503, 429 or 408)",
            ErrorKind::Broken => "server error (5xx)",
            ErrorKind::DiskFull => "disk or quota full (507)",
            ErrorKind::PreconditionFailed => "precondition failed (412)",
            ErrorKind::Refused => "refused (4xx)",
            ErrorKind::Disputed => "nobody accepted",
            ErrorKind::Stopped => "stopped",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
