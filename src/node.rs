//! What a node does with images: admit an upload, take it in, send it, find it, remove it, list it.
//!
//! - [`shared`]: `Node`, what all threads of a node share
//! - [`admit`]: whose upload it is, before any of its body is read
//! - [`receive`]: takes an upload in and makes its receipt; [`intake`] reads it from the socket, [`sealer`] seals and
//!   writes it
//! - [`commit`]: the end of a write: its name, and that no reader can miss it; [`received`]: an upload without a name;
//!   [`conditions`]: preconditions; [`names`]: one at a time changes a name
//! - [`intent`]: what is about to be written is declared to the other nodes first
//! - [`lookup`]: which copy of a name is the image, in the whole cluster
//! - [`misplaced`]: how many copies lie here that belong elsewhere, and whether people want them moved now
//! - [`settle`]: brings copies to their node; [`hand_over`] gives them, [`take_over`] takes them
//! - [`disk`]: watches the disk, and whether people drain the node; [`unable`]: why the node takes no images
//! - [`pause`], [`random`]: waiting, and random bytes
//! - [`find`]: which node's copy of an image counts
//! - [`send`]: an image to a client; [`segments`] are read ahead, and [`opening`] verifies them
//! - [`delete`], [`list`]: as they say; [`listings`]: a few at a time
//! - [`leave`]: how a node goes; [`transfers`]: what is in progress, which it waits for
//! - [`peers`]: what other nodes are asked
//! - [`etag`]: the entity tag of a sealed file
//! - [`counters`]: what is counted
//! - [`error`]: what can go wrong in here
//!
//! Knows nothing of requests, answers and status codes: `server` asks, and says in HTTP what came of it.

pub(crate) mod admit;
pub(crate) mod commit;
pub(crate) mod conditions;
pub(crate) mod counters;
pub(crate) mod delete;
pub(crate) mod disk;
pub(crate) mod error;
pub(crate) mod etag;
pub(crate) mod find;
pub(crate) mod hand_over;
pub(crate) mod intake;
pub(crate) mod intent;
pub(crate) mod leave;
pub(crate) mod list;
pub(crate) mod listings;
pub(crate) mod lookup;
pub(crate) mod misplaced;
pub(crate) mod names;
pub(crate) mod opening;
pub(crate) mod pause;
pub(crate) mod peers;
pub(crate) mod random;
pub(crate) mod receive;
pub(crate) mod received;
pub(crate) mod sealer;
pub(crate) mod segments;
pub(crate) mod send;
pub(crate) mod settle;
pub(crate) mod shared;
pub(crate) mod take_over;
pub(crate) mod transfers;
pub(crate) mod unable;
