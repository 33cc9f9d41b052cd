//! The protocol on real nodes: every row of what the server promises, one file a noun.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, in its helpers too, and touches what it tests"
)]

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod download;
mod drain;
mod exhaustion;
mod hostile;
mod journal;
mod leaving;
mod lenient;
mod listing;
mod lost_folder;
mod names;
mod old_cluster_file;
mod page;
mod placement;
mod quota;
mod reading;
mod relay;
mod removal;
mod status;
mod survey;
mod tokens;
mod unwritable;
mod upload;
