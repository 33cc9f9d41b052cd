//! What a node does with images: admit an upload, take it in, send it, find it, remove it, list it.
//!
//! - [`shared`]: `Node`, what all threads of a node share
//! - [`admit`]: whose upload it is, before any of its body is read
//! - [`receive`]: takes an upload in and makes its receipt; [`intake`] reads it from the socket, [`sealer`] seals and
//!   writes it
//! - [`find`]: which node's copy of an image counts
//! - [`send`]: an image to a client; [`opening`] reads and verifies its segments
//! - [`delete`], [`list`]: as they say
//! - [`peers`]: what other nodes are asked
//! - [`etag`]: the entity tag of a sealed file
//! - [`counters`]: what is counted
//! - [`error`]: what can go wrong in here
//!
//! Knows nothing of requests, answers and status codes: `server` asks, and says in HTTP what came of it.

pub(crate) mod admit;
pub(crate) mod counters;
pub(crate) mod delete;
pub(crate) mod error;
pub(crate) mod etag;
pub(crate) mod find;
pub(crate) mod intake;
pub(crate) mod list;
pub(crate) mod opening;
pub(crate) mod peers;
pub(crate) mod receive;
pub(crate) mod sealer;
pub(crate) mod send;
pub(crate) mod shared;
