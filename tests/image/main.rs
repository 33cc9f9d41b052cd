//! What is a PNG: our check alone, item by item, and beside a decoder. What is sent to a real node is in `tests/http`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod odd;
mod referee;
mod structure;
