//! Why a request is refused before the node is asked. `answers` says what the client is told.

use crate::http::head;

/// What a client that is not known has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// No `Authorization`.
    None,
    /// One that is no token, or a token that is unknown, revoked or has expired.
    Bad,
}

#[derive(Debug)]
pub(crate) enum Error {
    /// The head is malformed or too large.
    Head(head::Error),
    /// The head arrives too slowly.
    HeadTooSlow,
    /// Plain HTTP where TLS is spoken.
    PlainHttp,
    /// The request target is malformed, with what is wrong.
    Target(&'static str),
    /// This node does not answer for that host.
    Host,
    /// A page of another site writes.
    Origin,
    /// No token, or one that is not good.
    Unauthorized(Credential),
    /// The token does not allow this.
    Forbidden,
    /// The token is used more often than it may be.
    TooManyRequests,
    /// The method is not known here.
    MethodUnknown,
    /// The method is not allowed there; these are.
    Method(&'static str),
    /// Nothing is at this path.
    Path,
    /// User or name are not allowed, with what is wrong.
    Name(String),
    /// An upload does not say how long it is.
    LengthMissing,
    ContentEncoding,
    ContentRange,
    /// `If-Match` or `If-None-Match` is malformed.
    EntityTag,
    /// `?local` on a DELETE.
    LocalDelete,
    /// A copy that is handed over does not say how long it is.
    CopyLength,
    /// `Content-Digest` is malformed.
    ContentDigest,
    /// `?limit=` is out of bounds; this is the highest.
    Limit(usize),
    /// Too many connections are open.
    ConnectionQuota,
    /// The client's address has its share of the workers already.
    WorkerQuota,
    /// The queue is full.
    QueueFull,
    /// The node cannot take uploads, with why not.
    NotReady(String),
}
