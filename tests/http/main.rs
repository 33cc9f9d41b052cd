//! The protocol on real nodes: every row of what the server promises, one file a noun.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod upload;
